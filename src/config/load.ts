/**
 * strongswan.conf and swanctl.conf to the typed configuration the gateway runs on, or to all that is wrong with them.
 */
import type { SharedSecret } from '../auth/secrets.ts'
import { parseIdentity, parseIdentityPattern, type Identity, type IdentityPattern } from '../auth/identity.ts'
import { EspalierError } from '../base/errors.ts'
import { SECOND } from '../base/time.ts'
import {
  DEFAULT_IKE_SETTINGS,
  type AddressPattern,
  type ChildConnection,
  type Connection,
  type IkeSettings,
  type LocalAuthentication,
  type RemoteAuthentication,
} from '../ike/connection.ts'
import { defaultProposals, parseProposals } from '../negotiate/proposals.ts'
import { DYNAMIC_SELECTOR, parseSelectorTemplate, type SelectorTemplate } from '../negotiate/selectors.ts'
import { checkSection, namesIn, nearest, sectionRules, type Report } from './check.ts'
import { escapePattern, type ConfigurationFiles } from './files.ts'
import { STRONGSWAN, SWANCTL, type SectionRules } from './known-keys.ts'
import { problemAt, inOrder, type Problem } from './problems.ts'
import { resolveReferences, type ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import { readSyntaxTree } from './syntax.ts'
import {
  parseAddressPattern,
  parseBoolean,
  parseDecimal,
  parseInteger,
  parseList,
  parseSecret,
  parseTime,
  parseWord,
} from './values.ts'

export interface Configuration {
  readonly connections: readonly Connection[]
  readonly secrets: readonly SharedSecret[]
  readonly settings: IkeSettings
}

export interface Loaded {
  /** Null if there is any error: a configuration is taken as a whole or not at all. */
  readonly configuration: Configuration | null
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
}

export interface Sources {
  /** Path of strongswan.conf; without such a file the defaults hold. */
  readonly strongswanConf: string
  /** Directory of swanctl.conf; an existing one without that file has no connections. */
  readonly swanctlDir: string
  readonly files: ConfigurationFiles
}

/** Reads both files. Nothing in them makes this throw; what does is a defect of ours. */
export function loadConfiguration(sources: Sources): Loaded {
  const report: Report = { errors: [], warnings: [] }
  const strongswan = readTree(sources.strongswanConf, sources.files, report)
  const settings = strongswan === null ? DEFAULTS : readStrongswan(strongswan, report)
  const swanctl = readTree(`${sources.swanctlDir}/swanctl.conf`, sources.files, report)
  if (swanctl === null && sources.files.glob(escapePattern(sources.swanctlDir)).length === 0) {
    report.errors.push(problemAt({ file: sources.swanctlDir, line: 0 }, null, 'there is no such directory'))
  }
  const connections = swanctl === null ? [] : readConnections(swanctl, settings, report)
  const secrets = swanctl === null ? [] : readSecrets(swanctl, report)
  const errors = inOrder(report.errors)
  const configuration = errors.length === 0 ? { connections, secrets, settings: settings.ike } : null
  return { configuration, errors, warnings: inOrder(report.warnings) }
}

/** strongswan.conf's share: what the core takes, and a default for the children. */
interface Settings {
  readonly ike: IkeSettings
  readonly replayWindow: number
}
const DEFAULTS: Settings = { ike: DEFAULT_IKE_SETTINGS, replayWindow: 32 }

/** Our limits: the replay window is the kernel's (XFRMA_REPLAY_ESN_MAX), the times keep sums of milliseconds exact. */
const MAXIMUM_REPLAY_WINDOW = 4096
const MAXIMUM_SECONDS = 1_000_000
const MAXIMUM_TRIES = 1000
const MAXIMUM_COUNT = 1_000_000_000
const MAXIMUM_U32 = 0xffff_ffff
/** A section at the top whose name is this near to a known one is taken for a slip, not for a template. */
const MAXIMUM_SLIPS = 2
/** strongSwan: RETRANSMIT_JITTER_MAX. */
const MAXIMUM_JITTER = 20

interface Tree {
  readonly root: ResolvedSection
  readonly referenced: ReadonlySet<string>
}

/** Null if there is no file. A file that does not parse is an empty one with errors: its keys tell nothing any more. */
function readTree(path: string, files: ConfigurationFiles, report: Report): Tree | null {
  const tree = readSyntaxTree(path, files)
  report.errors.push(...tree.errors)
  report.warnings.push(...tree.warnings)
  if (tree.root === null) return null
  if (tree.errors.length === 0) {
    const { root, referenced, errors } = resolveReferences(tree.root)
    report.errors.push(...errors)
    if (errors.length === 0) return { root, referenced }
  }
  return { root: { name: '', file: path, line: 0, settings: new Map(), sections: new Map() }, referenced: new Set() }
}

function readStrongswan(tree: Tree, report: Report): Settings {
  checkSection(withoutTemplates(tree, STRONGSWAN, report), STRONGSWAN, '', report)
  const layers = ['charon-systemd', 'charon'].map((name) => Values.of(tree.root, name, report))
  const read = <Value>(key: string, parse: (text: string) => Value, fallback: Value): Value => {
    const layer = layers.find((values) => values.has(key))
    return layer === undefined ? fallback : layer.read(key, parse, fallback)
  }
  const port = (text: string): number => parseInteger(text, 0, 65535)
  const count = (text: string): number => parseInteger(text, 0, MAXIMUM_COUNT)
  const seconds = (text: string): number => parseInteger(text, 0, MAXIMUM_SECONDS) * SECOND
  const protection = read('dos_protection', parseBoolean, true)
  const cookieThreshold = read('cookie_threshold', count, DEFAULTS.ike.cookieThreshold)
  const cookieThresholdIp = read('cookie_threshold_ip', count, DEFAULTS.ike.cookieThresholdIp)
  const ike: IkeSettings = {
    ...DEFAULTS.ike,
    port: read('port', port, DEFAULTS.ike.port),
    portNatT: read('port_nat_t', port, DEFAULTS.ike.portNatT),
    keepAlive: read('keep_alive', parseTime, DEFAULTS.ike.keepAlive),
    keepAliveDpdMargin: read('keep_alive_dpd_margin', parseTime, DEFAULTS.ike.keepAliveDpdMargin),
    retransmitTimeout: read(
      'retransmit_timeout',
      (text) => Math.round(parseDecimal(text, 0.001, MAXIMUM_SECONDS) * SECOND),
      DEFAULTS.ike.retransmitTimeout,
    ),
    retransmitBase: read('retransmit_base', (text) => parseDecimal(text, 1, 100), DEFAULTS.ike.retransmitBase),
    retransmitTries: read('retransmit_tries', (text) => parseInteger(text, 0, MAXIMUM_TRIES), DEFAULTS.ike.retransmitTries),
    retransmitJitter: read(
      'retransmit_jitter',
      (text) => Math.min(parseInteger(text, 0, 100), MAXIMUM_JITTER),
      DEFAULTS.ike.retransmitJitter,
    ),
    retransmitLimit: read('retransmit_limit', seconds, DEFAULTS.ike.retransmitLimit),
    cookieThreshold: protection ? cookieThreshold : 0,
    cookieThresholdIp: protection ? cookieThresholdIp : 0,
    halfOpenTimeout: read('half_open_timeout', seconds, DEFAULTS.ike.halfOpenTimeout),
  }
  const portValues = layers.find((values) => values.has('port_nat_t')) ?? layers.find((values) => values.has('port'))
  if (ike.port === ike.portNatT && ike.port !== 0) portValues?.error('port_nat_t', 'has to be another port than port')
  return { ike, replayWindow: read('replay_window', parseReplayWindow, DEFAULTS.replayWindow) }
}

/**
 * The tree without the sections that only serve as templates: they may have any name, and are checked where they are
 * inherited. One that nobody inherits is a warning, or an error (by checkSection) if it looks like a slip of the keys.
 */
function withoutTemplates(tree: Tree, rules: SectionRules, report: Report): ResolvedSection {
  const sections = new Map(tree.root.sections)
  for (const section of tree.root.sections.values()) {
    if (sectionRules(section.name, rules) !== null) continue
    const referenced = tree.referenced.has(section.name)
    const slips = nearest(section.name, namesIn(rules))?.distance ?? Infinity
    if (!referenced && slips <= MAXIMUM_SLIPS) continue
    sections.delete(section.name)
    if (!referenced)
      report.warnings.push(
        problemAt(section, section.name, 'not used: no section of this name is known, and no other one refers to it'),
      )
  }
  return { ...tree.root, sections }
}

function readConnections(tree: Tree, settings: Settings, report: Report): Connection[] {
  checkSection(withoutTemplates(tree, SWANCTL, report), SWANCTL, '', report)
  const all = tree.root.sections.get('connections')?.sections.values() ?? []
  return Array.from(all, (section) => readConnection(section, settings, report)).filter((connection) => connection !== null)
}

/** Null if it cannot be loaded; the report says why. */
function readConnection(section: ResolvedSection, settings: Settings, report: Report): Connection | null {
  const values = new Values(section, `connections.${section.name}`, true, report)
  readVersion(values)
  const local = readLocal(values)
  const remote = readRemote(values)
  const remoteAddresses = values.read('remote_addrs', listOf(parseAddressPattern), ANY_ADDRESS)
  const children = values
    .sections((name) => name === 'children')
    .flatMap((all) => all.sections(() => true).map((child) => readChild(child, settings, remoteAddresses)))
  if (local === null || remote === null) return null
  const { port, portNatT } = settings.ike
  const localPort = values.read('local_port', parsePort, port)
  if (localPort !== port && localPort !== portNatT && port !== 0) {
    values.error(
      'local_port',
      `expected the port of charon.port (${port}) or of charon.port_nat_t (${portNatT}): no others are opened`,
    )
  }
  return {
    name: section.name,
    localAddresses: values.read('local_addrs', listOf(parseAddressPattern), ANY_ADDRESS),
    remoteAddresses,
    localPort,
    remotePort: values.read('remote_port', parsePort, 500),
    proposals: values.read('proposals', (text) => parseProposals(parseList(text), 'ike'), defaultProposals('ike')),
    forceEncapsulation: values.read('encap', parseBoolean, false),
    mobike: values.read('mobike', parseBoolean, true),
    keyingTries: values.read('keyingtries', (text) => parseInteger(text, 0, MAXIMUM_U32), 1),
    local,
    remote,
    children,
  }
}

function readVersion(values: Values): void {
  const version = values.read('version', (text) => parseInteger(text, 0, 2), 2)
  if (version === 1) values.error('version', 'IKEv1 is not supported yet')
  if (version === 0) values.warn('version', 'only IKEv2 is spoken: IKEv1 is not supported yet')
}

function readLocal(values: Values): LocalAuthentication | null {
  const round = readRound(values, 'local')
  return round === null ? null : { method: 'psk', id: round.read('id', parseOwnIdentity, null) }
}

function readRemote(values: Values): RemoteAuthentication | null {
  const round = readRound(values, 'remote')
  return round === null
    ? null
    : { method: 'psk', id: round.read<IdentityPattern>('id', notCutShort(parseIdentityPattern), { kind: 'any' }) }
}

/** The one round of authentication on this side, if it is by pre-shared key. Nothing weaker or other is ever put in the place of what was asked for. */
function readRound(values: Values, side: 'local' | 'remote'): Values | null {
  const rounds = values.sections((name) => name.startsWith(side))
  const round = rounds[0]
  if (round === undefined) {
    values.error(null, `auth = pubkey, the default, is not supported yet: write ${side} { auth = psk }`)
    return null
  }
  if (rounds[1] !== undefined) {
    rounds[1].error(null, 'authentication in several rounds is not supported yet')
    return null
  }
  const method = round.read<string | null>('auth', (text) => text, null)
  if (method?.toLowerCase() === 'psk') return round
  if (method === null) round.error(null, 'auth = pubkey, the default, is not supported yet: write auth = psk')
  else round.error('auth', `auth = ${method} is not supported yet, only psk is`)
  return null
}

function readChild(values: Values, settings: Settings, remoteAddresses: readonly AddressPattern[]): ChildConnection {
  const startAction = readStartAction(values)
  const reachable = remoteAddresses.some(
    (address) => address.kind === 'host' || (address.kind === 'range' && address.range.first.equals(address.range.last)),
  )
  if (startAction === 'start' && !reachable) {
    values.warn('start_action', 'there is nobody to initiate to: remote_addrs has no single address and no host name')
  }
  return {
    name: values.name,
    proposals: values.read('esp_proposals', (text) => parseProposals(parseList(text), 'esp'), defaultProposals('esp')),
    mode: readMode(values),
    localSelectors: values.read('local_ts', listOf(parseSelectorTemplate), DYNAMIC),
    remoteSelectors: values.read('remote_ts', listOf(parseSelectorTemplate), DYNAMIC),
    startAction,
    replayWindow: values.read('replay_window', parseReplayWindow, settings.replayWindow),
    reqid: values.read('reqid', (text) => parseInteger(text, 0, MAXIMUM_U32), 0),
    copyDf: values.read('copy_df', parseBoolean, true),
    copyEcn: values.read('copy_ecn', parseBoolean, true),
    copyDscp: values.read('copy_dscp', (text) => parseWord(text, ['out', 'in', 'yes', 'no']), 'out'),
    priority: values.read('priority', (text) => parseInteger(text, 0, MAXIMUM_U32), 0),
  }
}

function readMode(values: Values): ChildConnection['mode'] {
  const mode = values.read('mode', (text) => parseWord(text, MODES), 'tunnel')
  if (mode === 'tunnel' || mode === 'transport') return mode
  values.error('mode', `mode = ${mode} is not supported yet, only tunnel and transport are`)
  return 'tunnel'
}

/** strongSwan's words, its older ones included. A trap that is not set does not hold traffic back, so the warning says so. */
function readStartAction(values: Values): ChildConnection['startAction'] {
  const actions = values.read('start_action', (text) => text.split('|').map((word) => parseWord(word.trim(), ACTIONS)), ['none'])
  if (actions.some((action) => action === 'trap' || action === 'route')) {
    values.warn(
      'start_action',
      'trap is not honoured yet: no traffic starts this CHILD_SA, and until it is up traffic leaves unprotected',
    )
  }
  return actions.some((action) => action === 'start' || action === 'restart') ? 'start' : 'none'
}

function readSecrets(tree: Tree, report: Report): SharedSecret[] {
  const all = tree.root.sections.get('secrets')
  if (all === undefined) return []
  return new Values(all, 'secrets', false, report)
    .sections((name) => name.startsWith('ike'))
    .flatMap((values) => {
      const secret = values.read('secret', parseSecret, null)
      if (secret === null && !values.has('secret')) values.error(null, 'there is no secret in it')
      const owners = values.keys((key) => key.startsWith('id')).flatMap((key) => values.read(key, readOwner, null) ?? [])
      // strongSwan: whoever has no owner belongs to %any.
      const everyone = owners.length > 0 && owners.every((owner) => owner.type === 0)
      return secret === null ? [] : [{ name: values.name, owners: everyone ? [] : owners, secret }]
    })
}

/** Owners may have wildcards: auth/identity.ts patternOf. */
function readOwner(text: string): Identity {
  notCutShort(parseIdentityPattern)(text)
  return parseIdentity(text)
}

/** Null for %any: our address at the time. */
function parseOwnIdentity(text: string): Identity | null {
  const pattern = notCutShort(parseIdentityPattern)(text)
  return pattern.kind === 'any' ? null : pattern.identity
}

/** `id = @#0a0b` without quotes is `@` and a comment: said here, because it is never meant. */
function notCutShort<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    if (/^@{1,2}$|^[a-z0-9{}]+:$/i.test(text))
      throw new EspalierError(
        'caller',
        'VALUE_INVALID',
        `'${text}' is no identity; # begins a comment unless the value is in quotes`,
      )
    return parse(text)
  }
}

function listOf<Value>(parse: (text: string) => Value): (text: string) => Value[] {
  return (text) => parseList(text).map(parse)
}
function parsePort(text: string): number {
  return parseInteger(text, 0, 65535)
}
function parseReplayWindow(text: string): number {
  return parseInteger(text, 0, MAXIMUM_REPLAY_WINDOW)
}

const ANY_ADDRESS: AddressPattern[] = [{ kind: 'any', family: null }]
const DYNAMIC: SelectorTemplate[] = [DYNAMIC_SELECTOR]
const MODES = ['tunnel', 'transport', 'transport_proxy', 'iptfs', 'beet', 'pass', 'drop'] as const
const ACTIONS = ['none', 'clear', 'start', 'restart', 'trap', 'route'] as const
