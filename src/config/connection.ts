/**
 * One connection out of its section, whichever door the section came by: swanctl.conf or VICI. Defaults that depend on
 * other keys are strongSwan's (vici_config.c).
 */
import { parseIdentity, type Identity } from '../auth/identity.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'
import {
  DEFAULT_CONNECTION,
  type ChildConnection,
  type Connection,
  type IkeLifetime,
  type IkeSettings,
} from '../ike/connection.ts'
import { defaultProposals, parseProposals } from '../negotiate/proposals.ts'
import { readLocalRounds, readRemoteRounds } from './authentication.ts'
import type { Report } from './check.ts'
import { readChild } from './child.ts'
import type { CredentialFiles } from './credential-files.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import {
  parseAddressPattern,
  parseBoolean,
  parseDscp,
  parseInteger,
  parseInterfaceId,
  parsePort,
  parsePrintable,
  parsePublicAddress,
  parseTime,
  parseU32,
  parseVirtualAddress,
  parseWord,
} from './values.ts'

/** strongSwan: LFT_DEFAULT_IKE_REKEY_TIME. */
const DEFAULT_REKEY: Milliseconds = 240 * MINUTE

/** The report says what is wrong; with an error in it the value counts for nothing. */
export function readConnection(
  section: ResolvedSection,
  settings: IkeSettings,
  credentialFiles: CredentialFiles,
  report: Report,
): Connection {
  const values = new Values(section, `connections.${section.name}`, true, report)
  const version = readVersion(values)
  const remoteAddresses = values.readList('remote_addrs', parseAddressPattern, DEFAULT_CONNECTION.remoteAddresses)
  const children = values
    .sections((name) => name === 'children')
    .flatMap((all) => all.sections(() => true).map((child) => readChild(child, settings, remoteAddresses)))
  const boolean = (key: string, fallback: boolean): boolean => values.read(key, parseBoolean, fallback)
  const wishes: NatWishes = {
    forceEncapsulation: boolean('encap', DEFAULT_CONNECTION.forceEncapsulation),
    natPolicy: values.read('nat', (text) => parseWord(text, ['allow', 'refuse']), DEFAULT_CONNECTION.natPolicy),
    publicAddresses: values.readList('public_addrs', parsePublicAddress, DEFAULT_CONNECTION.publicAddresses),
  }
  checkNatWishes(values, wishes, children)
  const time = (key: string): Milliseconds => values.read(key, parseTime, 0)
  const id = (key: string): Identity | null => values.read<Identity | null>(key, parseIdentity, null)
  return {
    name: section.name,
    version,
    localAddresses: values.readList('local_addrs', parseAddressPattern, DEFAULT_CONNECTION.localAddresses),
    remoteAddresses,
    localPort: readLocalPort(values, settings),
    remotePort: values.read('remote_port', parsePort, DEFAULT_CONNECTION.remotePort),
    proposals: values.readItems('proposals', (items) => parseProposals(items, 'ike'), defaultProposals('ike')),
    ...wishes,
    mobike: boolean('mobike', DEFAULT_CONNECTION.mobike),
    dscp: values.read('dscp', parseDscp, DEFAULT_CONNECTION.dscp),
    keepAlive: values.read<Connection['keepAlive']>('keep_alive', parseKeepAlive, DEFAULT_CONNECTION.keepAlive),
    dpdDelay: time('dpd_delay'),
    dpdTimeout: time('dpd_timeout'),
    fragmentation: values.read('fragmentation', (text) => parseWord(text, ['yes', 'accept', 'no', 'force']), 'yes'),
    childless: values.read('childless', (text) => parseWord(text, ['allow', 'prefer', 'never', 'force']), 'allow'),
    unique: values.read('unique', (text) => parseWord(text, ['no', 'never', 'keep', 'replace']), 'no'),
    keyingTries: values.read('keyingtries', parseU32, DEFAULT_CONNECTION.keyingTries),
    lifetime: readLifetime(values),
    virtualAddresses: values.readList('vips', parseVirtualAddress, DEFAULT_CONNECTION.virtualAddresses),
    pools: values.readList('pools', parsePrintable, DEFAULT_CONNECTION.pools),
    interfaceIdIn: values.read('if_id_in', parseInterfaceId, DEFAULT_CONNECTION.interfaceIdIn),
    interfaceIdOut: values.read('if_id_out', parseInterfaceId, DEFAULT_CONNECTION.interfaceIdOut),
    sendCertificateRequest: boolean('send_certreq', DEFAULT_CONNECTION.sendCertificateRequest),
    sendCertificate: values.read('send_cert', (text) => parseWord(text, ['ifasked', 'always', 'never']), 'ifasked'),
    ocsp: values.read('ocsp', (text) => parseWord(text, ['never', 'reply', 'request', 'both']), 'reply'),
    ppk: { id: id('ppk_id'), isRequired: boolean('ppk_required', false) },
    aggressive: boolean('aggressive', DEFAULT_CONNECTION.aggressive),
    pull: boolean('pull', DEFAULT_CONNECTION.pull),
    mediation: {
      isMediation: boolean('mediation', false),
      by: values.read<string | null>('mediated_by', parsePrintable, null),
      peer: id('mediation_peer'),
    },
    local: readLocalRounds(values, credentialFiles),
    remote: readRemoteRounds(values, credentialFiles),
    children,
  }
}

function readVersion(values: Values): Connection['version'] {
  const version = values.read('version', (text) => parseInteger(text, 0, 2), DEFAULT_CONNECTION.version)
  if (version === 1) values.refuse('version', 'IKEv1 is not supported yet')
  if (version === 0 && values.has('version')) values.warn('version', 'only IKEv2 is spoken: IKEv1 is not supported yet')
  return version === 2 ? 2 : 0
}

function readLocalPort(values: Values, { port, portNatT }: IkeSettings): number {
  const localPort = values.read('local_port', parsePort, port)
  if (localPort !== port && localPort !== portNatT && port !== 0) {
    values.error(
      'local_port',
      `expected the port of charon.port (${port}) or of charon.port_nat_t (${portNatT}): no others are opened`,
    )
  }
  return localPort
}

type NatWishes = Pick<Connection, 'forceEncapsulation' | 'natPolicy' | 'publicAddresses'>

/** Some contradict each other, or what the children are to be. */
function checkNatWishes(values: Values, wishes: NatWishes, children: readonly ChildConnection[]): void {
  const { forceEncapsulation, natPolicy, publicAddresses } = wishes
  if (forceEncapsulation && natPolicy === 'refuse')
    values.error('nat', 'refuse does not go together with encap = yes, which pretends a NAT')
  // Without UDP nobody makes the checksums right that cover the addresses.
  if (!forceEncapsulation && publicAddresses.length > 0 && children.some(({ mode }) => mode === 'transport'))
    values.error('public_addrs', 'mode = transport does not get through a NAT without UDP: leave public_addrs out')
}

/** Rekeying is the default, unless reauthentication was asked for; a tenth on top is left for either, and up to that taken off at random. */
function readLifetime(values: Values): IkeLifetime {
  const time = (key: string): Milliseconds | null => values.read<Milliseconds | null>(key, parseTime, null)
  const [givenRekey, givenReauth] = [time('rekey_time'), time('reauth_time')]
  const rekey = givenRekey ?? (givenReauth === null ? DEFAULT_REKEY : 0)
  const reauth = givenReauth ?? 0
  const longer = Math.max(rekey, reauth)
  const shorter = rekey > 0 && reauth > 0 ? Math.min(rekey, reauth) : longer
  const over = time('over_time') ?? wholeSeconds(longer / 10)
  const rand = time('rand_time') ?? Math.min(over, wholeSeconds(shorter / 2))
  return { rekey, reauth, over, rand }
}

/** Ours alone. */
function parseKeepAlive(text: string): Milliseconds | 'adaptive' {
  return text.toLowerCase() === 'adaptive' ? 'adaptive' : parseTime(text)
}

/** strongSwan counts in seconds and drops what is left of one. */
function wholeSeconds(time: Milliseconds): Milliseconds {
  return Math.floor(time / SECOND) * SECOND
}
