/**
 * One child of a connection out of its section. Defaults that depend on other keys are strongSwan's (vici_config.c,
 * check_lifetimes).
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import {
  DEFAULT_CHILD,
  NO_ACTION,
  NO_MARK,
  type Action,
  type AddressPattern,
  type ChildConnection,
  type ChildLifetime,
  type IkeSettings,
  type Limit,
} from '../ike/connection.ts'
import { defaultProposals, parseProposals } from '../negotiate/proposals.ts'
import { parseSelectorTemplate, SELECTORS_MAX, type SelectorTemplate } from '../negotiate/selectors.ts'
import type { Values } from './section-values.ts'
import {
  parseAction,
  parseBoolean,
  parseCount,
  parseInterfaceId,
  parseMark,
  parsePrintable,
  parseReplayWindow,
  parseSize,
  parseTime,
  parseU32,
  parseWord,
} from './values.ts'

/** strongSwan: LFT_DEFAULT_CHILD_REKEY_TIME; bytes and packets have none. */
const DEFAULT_REKEY_SECONDS = 3600

/** `remoteAddresses`: those of its connection, to warn of a start that leads nowhere. */
export function readChild(values: Values, settings: IkeSettings, remoteAddresses: readonly AddressPattern[]): ChildConnection {
  const boolean = (key: string, fallback: boolean): boolean => values.read(key, parseBoolean, fallback)
  const action = (key: string): Action => values.read(key, parseAction, NO_ACTION)
  const text = (key: string): string | null => values.read<string | null>(key, (value) => parsePrintable(value) || null, null)
  const u32 = (key: string): number => values.read(key, parseU32, 0)
  const mode = readMode(values)
  return {
    name: values.name,
    proposals: values.readItems('esp_proposals', (items) => parseProposals(items, 'esp'), defaultProposals('esp')),
    mode,
    localSelectors: readSelectors(values, 'local_ts', mode, DEFAULT_CHILD.localSelectors),
    remoteSelectors: readSelectors(values, 'remote_ts', mode, DEFAULT_CHILD.remoteSelectors),
    startAction: readStartAction(values, mode, remoteAddresses),
    dpdAction: action('dpd_action'),
    closeAction: action('close_action'),
    lifetime: readLifetime(values),
    inactivity: values.read('inactivity', parseTime, DEFAULT_CHILD.inactivity),
    updown: text('updown'),
    hostAccess: boolean('hostaccess', DEFAULT_CHILD.hostAccess),
    policies: boolean('policies', DEFAULT_CHILD.policies),
    policiesForwardOut: boolean('policies_fwd_out', DEFAULT_CHILD.policiesForwardOut),
    ipcomp: boolean('ipcomp', DEFAULT_CHILD.ipcomp),
    replayWindow: values.read('replay_window', parseReplayWindow, settings.replayWindow),
    reqid: u32('reqid'),
    priority: u32('priority'),
    interface: text('interface'),
    markIn: values.read('mark_in', (value) => parseMark(value, ['unique', 'unique-dir']), NO_MARK),
    markInOnState: boolean('mark_in_sa', DEFAULT_CHILD.markInOnState),
    markOut: values.read('mark_out', (value) => parseMark(value, ['unique', 'unique-dir']), NO_MARK),
    setMarkIn: values.read('set_mark_in', (value) => parseMark(value, ['same']), NO_MARK),
    setMarkOut: values.read('set_mark_out', (value) => parseMark(value, ['same']), NO_MARK),
    interfaceIdIn: values.read('if_id_in', parseInterfaceId, DEFAULT_CHILD.interfaceIdIn),
    interfaceIdOut: values.read('if_id_out', parseInterfaceId, DEFAULT_CHILD.interfaceIdOut),
    label: text('label'),
    labelMode: values.read('label_mode', (value) => parseWord(value, ['system', 'simple', 'selinux']), DEFAULT_CHILD.labelMode),
    tfcPadding: values.read('tfc_padding', (value) => (value === 'mtu' ? 'mtu' : parseU32(value)), DEFAULT_CHILD.tfcPadding),
    sha256Truncation96: boolean('sha256_96', DEFAULT_CHILD.sha256Truncation96),
    perCpuSas: values.read(
      'per_cpu_sas',
      (value) => (value.toLowerCase() === 'encap' ? 'encap' : parseBoolean(value) ? 'yes' : 'no'),
      DEFAULT_CHILD.perCpuSas,
    ),
    hardwareOffload: values.read(
      'hw_offload',
      (value) => {
        const word = parseWord(value, ['no', 'yes', 'crypto', 'packet', 'auto'])
        return word === 'yes' ? 'crypto' : word
      },
      DEFAULT_CHILD.hardwareOffload,
    ),
    copyDf: boolean('copy_df', DEFAULT_CHILD.copyDf),
    copyEcn: boolean('copy_ecn', DEFAULT_CHILD.copyEcn),
    copyDscp: values.read('copy_dscp', (value) => parseWord(value, ['out', 'in', 'yes', 'no']), DEFAULT_CHILD.copyDscp),
    icmp: boolean('icmp', DEFAULT_CHILD.icmp),
  }
}

function readMode(values: Values): ChildConnection['mode'] {
  const mode = values.read('mode', (text) => parseWord(text, MODES), DEFAULT_CHILD.mode)
  if (mode === 'tunnel' || mode === 'transport' || mode === 'pass' || mode === 'drop') return mode
  values.refuse('mode', `mode = ${mode} is not supported yet, only tunnel, transport, pass and drop are`)
  return 'tunnel'
}

/** Those of a pass or drop policy are told to nobody. */
function readSelectors(
  values: Values,
  key: 'local_ts' | 'remote_ts',
  mode: ChildConnection['mode'],
  fallback: readonly SelectorTemplate[],
): readonly SelectorTemplate[] {
  const selectors = values.readList(key, parseSelectorTemplate, fallback)
  if ((mode === 'tunnel' || mode === 'transport') && selectors.length > SELECTORS_MAX)
    values.refuse(key, `${key} has ${selectors.length} traffic selectors, more than the ${SELECTORS_MAX} that can be negotiated`)
  return selectors
}

/** A trap that cannot be set does not hold traffic back, so the warning says so. */
function readStartAction(values: Values, mode: ChildConnection['mode'], remoteAddresses: readonly AddressPattern[]): Action {
  const action = values.read('start_action', parseAction, NO_ACTION)
  if (mode === 'pass' || mode === 'drop') return action
  const isReachable = remoteAddresses.some(
    (address) => address.kind === 'host' || (address.kind === 'range' && address.range.first.equals(address.range.last)),
  )
  if ((action.start || action.trap) && !isReachable) {
    const lost = action.trap ? '; no trap holds its traffic back, which leaves unprotected' : ''
    values.warn('start_action', `there is nobody to initiate to: remote_addrs has no single address and no host name${lost}`)
  }
  return action
}

function readLifetime(values: Values): ChildLifetime {
  const limit = <Unit>(unit: string, parse: (text: string) => Unit): GivenLimit<Unit> => ({
    rekey: values.read<Unit | null>(`rekey_${unit}`, parse, null),
    life: values.read<Unit | null>(`life_${unit}`, parse, null),
    rand: values.read<Unit | null>(`rand_${unit}`, parse, null),
  })
  const seconds = completed(
    limit('time', (text) => BigInt(parseTime(text) / SECOND)),
    BigInt(DEFAULT_REKEY_SECONDS),
  )
  const time = (value: bigint): Milliseconds => Number(value) * SECOND
  return {
    time: { rekey: time(seconds.rekey), life: time(seconds.life), rand: time(seconds.rand) },
    bytes: completed(limit('bytes', parseSize), 0n),
    packets: completed(limit('packets', parseCount), 0n),
  }
}

type GivenLimit<Unit> = Readonly<Record<keyof Limit<Unit>, Unit | null>>

/** Ten percent lie between the soft and the hard limit, and are what the random part may take off. */
function completed({ rekey: givenRekey, life: givenLife, rand }: GivenLimit<bigint>, fallback: bigint): Limit<bigint> {
  const rekey = givenRekey ?? (givenLife === null ? fallback : scaled(givenLife, (life) => life / 1.1))
  const life = givenLife ?? scaled(rekey, (soft) => soft * 1.1)
  return { rekey, life, rand: rand ?? (life > rekey ? life - rekey : 0n) }
}

/** In floating point and cut off, as strongSwan calculates, so that both show the same numbers. */
function scaled(value: bigint, scale: (value: number) => number): bigint {
  return BigInt(Math.trunc(scale(Number(value))))
}

const MODES = ['tunnel', 'transport', 'transport_proxy', 'iptfs', 'beet', 'pass', 'drop'] as const
