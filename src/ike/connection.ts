/**
 * What we were told to do: a connection as swanctl.conf or a VICI client hands it to the life of an IKE_SA. Names follow
 * swanctl.conf; times are milliseconds. What is parsed here need not be honoured yet: config/known-keys.ts says what is.
 */
import type { PoolAttribute } from '../address/pool.ts'
import { NO_CONSTRAINTS, type Constraints } from '../auth/constraints.ts'
import { assert } from '../base/assert.ts'
import type { IpAddress, IpRange } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { Identity, IdentityPattern } from '../auth/identity.ts'
import type { Requirements } from '../auth/trust.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import type { Certificate } from '../pki/certificate.ts'
import { DEFAULT_REVOCATION_SETTINGS, type RevocationSettings } from '../pki/revocation.ts'
import type { SuiteProposal } from '../negotiate/proposals.ts'
import { DYNAMIC_SELECTOR, type SelectorTemplate } from '../negotiate/selectors.ts'

/** One entry of local_addrs or remote_addrs. */
export type AddressPattern =
  | { readonly kind: 'any'; /** %any = null, %any4 = 4, %any6 = 6 */ readonly family: 4 | 6 | null }
  /** An address (a range of one), a range or a subnet. Only single addresses can be initiated to. */
  | { readonly kind: 'range'; readonly range: IpRange }
  | { readonly kind: 'host'; readonly name: string }

export interface Connection {
  readonly name: string
  /** 0: either version is accepted; IKEv2 is what we speak in both cases. */
  readonly version: 0 | 2
  /** Empty means %any. */
  readonly localAddresses: readonly AddressPattern[]
  readonly remoteAddresses: readonly AddressPattern[]
  readonly localPort: number
  readonly remotePort: number
  readonly proposals: readonly SuiteProposal[]
  /** encap = yes: fake a NAT so that ESP is always in UDP. */
  readonly forceEncapsulation: boolean
  /** nat = refuse: no IKE_SA comes of it where a NAT is found. Ours alone. */
  readonly natPolicy: 'allow' | 'refuse'
  /** public_addrs: what a 1:1 NAT makes of our addresses, for NAT detection. Ours alone. */
  readonly publicAddresses: readonly IpAddress[]
  readonly mobike: boolean
  /** Differentiated services codepoint of IKE packets, 6 bits. */
  readonly dscp: number
  /** What keepalives may be apart: a time, as seldom as the NAT turns out to allow, or null: as charon.keep_alive says; 0 = none. */
  readonly keepAlive: Milliseconds | 'adaptive' | null
  /** Silence after which a liveness check is made; 0 = never. */
  readonly dpdDelay: Milliseconds
  /** IKEv1 only; 0 = retransmission decides. */
  readonly dpdTimeout: Milliseconds
  readonly fragmentation: 'yes' | 'accept' | 'no' | 'force'
  readonly childless: 'allow' | 'prefer' | 'never' | 'force'
  readonly unique: 'no' | 'never' | 'keep' | 'replace'
  /** Retries of an initiation that timed out; 0 = for ever. */
  readonly keyingTries: number
  readonly lifetime: IkeLifetime
  /** Addresses to ask for; 0.0.0.0 and :: for any. */
  readonly virtualAddresses: readonly IpAddress[]
  /** Names of pools to assign addresses from. */
  readonly pools: readonly string[]
  readonly interfaceIdIn: InterfaceId
  readonly interfaceIdOut: InterfaceId
  readonly sendCertificateRequest: boolean
  readonly sendCertificate: 'ifasked' | 'always' | 'never'
  readonly ocsp: 'never' | 'reply' | 'request' | 'both'
  /** Post-quantum pre-shared key (RFC 8784). */
  readonly ppk: { readonly id: Identity | null; readonly isRequired: boolean }
  /** IKEv1 only. */
  readonly aggressive: boolean
  readonly pull: boolean
  readonly mediation: { readonly isMediation: boolean; readonly by: string | null; readonly peer: Identity | null }
  /** Rounds of authentication, in their order; one or more (RFC 4739). */
  readonly local: readonly LocalAuthentication[]
  readonly remote: readonly RemoteAuthentication[]
  readonly children: readonly ChildConnection[]
}

/** When an IKE_SA is made anew. A random part of `rand` is taken off rekey and reauth; `over` later it is closed. 0 = never. */
export interface IkeLifetime {
  readonly rekey: Milliseconds
  readonly reauth: Milliseconds
  readonly over: Milliseconds
  readonly rand: Milliseconds
}

/** One round of how we show who we are. */
export interface LocalAuthentication {
  /** any: none was asked for, which is a public key (strongSwan). */
  readonly method: 'psk' | 'pubkey' | 'any'
  /** Null: the subject of a certificate that we find for ourselves, else our IP address at the time. That of a certificate of `certificates` stands here. */
  readonly id: Identity | null
  /** What we may show, best first. */
  readonly certificates: readonly Certificate[]
  readonly publicKeys: readonly PublicKey[]
  /** What we sign with. */
  readonly constraints: Constraints
}

/** One round of what we want of the peer. */
export interface RemoteAuthentication extends Requirements {
  readonly method: 'psk' | 'pubkey' | 'any'
  /** Pattern without restriction (%any) when not configured. */
  readonly id: IdentityPattern
}

export interface ChildConnection {
  readonly name: string
  readonly proposals: readonly SuiteProposal[]
  /** pass and drop make a shunt of it: policies, and nothing to negotiate. */
  readonly mode: 'tunnel' | 'transport' | 'pass' | 'drop'
  readonly localSelectors: readonly SelectorTemplate[]
  readonly remoteSelectors: readonly SelectorTemplate[]
  /** When the connection is loaded, when the peer is silent, when the peer closes the CHILD_SA. */
  readonly startAction: Action
  readonly dpdAction: Action
  readonly closeAction: Action
  readonly lifetime: ChildLifetime
  /** Idle time after which it is closed; 0 = never. */
  readonly inactivity: Milliseconds
  /** The script to call when it comes and goes. */
  readonly updown: string | null
  readonly hostAccess: boolean
  readonly policies: boolean
  readonly policiesForwardOut: boolean
  readonly ipcomp: boolean
  readonly replayWindow: number
  /** Fixed reqid, 0 = one is handed out. */
  readonly reqid: number
  /** In the place of the calculated policy priority when not 0. */
  readonly priority: number
  /** Policies only count for traffic of this interface. */
  readonly interface: string | null
  readonly markIn: Mark
  /** markIn on the inbound state, too. */
  readonly markInOnState: boolean
  readonly markOut: Mark
  readonly setMarkIn: Mark
  readonly setMarkOut: Mark
  readonly interfaceIdIn: InterfaceId
  readonly interfaceIdOut: InterfaceId
  readonly label: string | null
  readonly labelMode: 'system' | 'simple' | 'selinux'
  /** Least size of ESP packets, 'mtu' for that of the path; 0 = as they come. */
  readonly tfcPadding: number | 'mtu'
  readonly sha256Truncation96: boolean
  readonly perCpuSas: 'no' | 'yes' | 'encap'
  readonly hardwareOffload: 'no' | 'crypto' | 'packet' | 'auto'
  readonly copyDf: boolean
  readonly copyEcn: boolean
  readonly copyDscp: 'out' | 'in' | 'yes' | 'no'
  /** Let ICMP errors of hosts outside the selectors through. */
  readonly icmp: boolean
}

/** Both together: a trap for what comes, and a start at once. */
export interface Action {
  readonly trap: boolean
  readonly start: boolean
}

/** Soft limit, hard limit, and what a random part of is taken off the soft one. 0 = none. */
export interface Limit<Unit> {
  readonly rekey: Unit
  readonly life: Unit
  readonly rand: Unit
}
export interface ChildLifetime {
  readonly time: Limit<Milliseconds>
  readonly bytes: Limit<bigint>
  readonly packets: Limit<bigint>
}

/** 'unique' is handed out to each CHILD_SA, 'unique-dir' to each of its directions, 'same' is that of the other mark key. */
export interface Mark {
  readonly value: number | 'unique' | 'unique-dir' | 'same'
  readonly mask: number
}
export type InterfaceId = number | 'unique' | 'unique-dir'

export function isShunt(child: ChildConnection): child is ChildConnection & { readonly mode: 'pass' | 'drop' } {
  return child.mode === 'pass' || child.mode === 'drop'
}

/** The round that decides which connection it is: who the peer says it is first. */
export function firstRounds({ local, remote }: Pick<Connection, 'local' | 'remote'>): {
  readonly local: LocalAuthentication
  readonly remote: RemoteAuthentication
} {
  const [ours, theirs] = [local[0], remote[0]]
  assert(ours !== undefined && theirs !== undefined, 'a connection has a round of authentication on each side')
  return { local: ours, remote: theirs }
}

export const NO_ACTION: Action = { trap: false, start: false }
/** Matches every packet. */
export const NO_MARK: Mark = { value: 0, mask: 0 }

/** What a connection is if nothing more is said (strongSwan: vici_config.c), but for names, authentication and algorithms. */
export const DEFAULT_CONNECTION = {
  version: 0,
  localAddresses: [{ kind: 'any', family: null }],
  remoteAddresses: [{ kind: 'any', family: null }],
  localPort: 500,
  remotePort: 500,
  forceEncapsulation: false,
  natPolicy: 'allow',
  publicAddresses: [],
  mobike: true,
  dscp: 0,
  keepAlive: null,
  dpdDelay: 0,
  dpdTimeout: 0,
  fragmentation: 'yes',
  childless: 'allow',
  unique: 'no',
  keyingTries: 1,
  lifetime: { rekey: 14_400_000, reauth: 0, over: 1_440_000, rand: 1_440_000 },
  virtualAddresses: [],
  pools: [],
  interfaceIdIn: 0,
  interfaceIdOut: 0,
  sendCertificateRequest: true,
  sendCertificate: 'ifasked',
  ocsp: 'reply',
  ppk: { id: null, isRequired: false },
  aggressive: false,
  pull: true,
  mediation: { isMediation: false, by: null, peer: null },
} as const satisfies Partial<Connection>

/** The same for a round of authentication: strongSwan's is by public key. */
export const DEFAULT_LOCAL = {
  method: 'pubkey',
  id: null,
  certificates: [],
  publicKeys: [],
  constraints: NO_CONSTRAINTS,
} as const satisfies LocalAuthentication
export const DEFAULT_REMOTE = {
  method: 'pubkey',
  id: { kind: 'any' },
  certificates: [],
  publicKeys: [],
  caCertificates: [],
  caId: null,
  constraints: NO_CONSTRAINTS,
  groups: [],
  certificatePolicies: [],
  revocation: 'relaxed',
} as const satisfies RemoteAuthentication

/** The same for a child. */
export const DEFAULT_CHILD = {
  mode: 'tunnel',
  localSelectors: [DYNAMIC_SELECTOR],
  remoteSelectors: [DYNAMIC_SELECTOR],
  startAction: NO_ACTION,
  dpdAction: NO_ACTION,
  closeAction: NO_ACTION,
  lifetime: {
    time: { rekey: 3_600_000, life: 3_960_000, rand: 360_000 },
    bytes: { rekey: 0n, life: 0n, rand: 0n },
    packets: { rekey: 0n, life: 0n, rand: 0n },
  },
  inactivity: 0,
  updown: null,
  hostAccess: false,
  policies: true,
  policiesForwardOut: false,
  ipcomp: false,
  replayWindow: 32,
  reqid: 0,
  priority: 0,
  interface: null,
  markIn: NO_MARK,
  markInOnState: false,
  markOut: NO_MARK,
  setMarkIn: NO_MARK,
  setMarkOut: NO_MARK,
  interfaceIdIn: 0,
  interfaceIdOut: 0,
  label: null,
  labelMode: 'system',
  tfcPadding: 0,
  sha256Truncation96: false,
  perCpuSas: 'no',
  hardwareOffload: 'no',
  copyDf: true,
  copyEcn: true,
  copyDscp: 'out',
  icmp: false,
} as const satisfies Partial<ChildConnection>

/** What strongswan.conf says to the core (section charon). */
export interface IkeSettings {
  readonly port: number
  readonly portNatT: number
  /** charon.keep_alive; 0 = off. */
  readonly keepAlive: Milliseconds
  readonly keepAliveDpdMargin: Milliseconds
  /** Until an initiation that found no address, or no way there, is tried again; 0 = never. */
  readonly retryInitiateInterval: Milliseconds
  readonly retransmitTimeout: Milliseconds
  readonly retransmitBase: number
  readonly retransmitTries: number
  /** Percent. */
  readonly retransmitJitter: number
  /** 0 = none. */
  readonly retransmitLimit: Milliseconds
  /** Half-open IKE_SAs in all, and per source address, from which on a cookie is asked for; 0 = never. */
  readonly cookieThreshold: number
  readonly cookieThresholdIp: number
  /** Half-open IKE_SAs of one source address from which on who shows a wrong cookie is not answered; 0 = never. */
  readonly blockThreshold: number
  /** IKE_SAs from which on strangers may begin no more; 0 = any number. */
  readonly ikeSaLimit: number
  /** Signatures by RFC 7427; what `auth` asks of certificates counts for them, too; hashes in it mean PSS as well. */
  readonly signatureAuthentication: boolean
  readonly signatureAuthenticationConstraints: boolean
  readonly rsaPss: boolean
  /** Several rounds of authentication (RFC 4739). */
  readonly multipleAuthentication: boolean
  readonly revocation: RevocationSettings
  /** We go where a gateway sends us (RFC 5685). */
  readonly followRedirects: boolean
  /** An IKE_SA whose CHILD_SA of IKE_AUTH fails goes with it. */
  readonly closeIkeOnChildFailure: boolean
  readonly halfOpenTimeout: Milliseconds
  /** Half-open IKE_SAs and pieces of work waiting from which on nothing new is begun, by strangers or by ourselves; 0 = never. */
  readonly initLimitHalfOpen: number
  readonly initLimitJobLoad: number
  /** charon.replay_window: that of children that say none. */
  readonly replayWindow: number
  /** Whether tunnels get routes, and virtual addresses of ours their place; the table of the routes and the priority of its rule. */
  readonly installRoutes: boolean
  readonly installVirtualAddresses: boolean
  /** Name of the interface that gets virtual addresses of ours; null: that which leads to the peer. */
  readonly virtualAddressesOn: string | null
  /** What every client is told that gets an address, besides what its pool says. */
  readonly attributes: readonly PoolAttribute[]
  /** Whether scripts of children are run, and name servers that peers tell us are theirs to install. */
  readonly runsUpdown: boolean
  readonly updownHandlesNameServers: boolean
  readonly routingTable: number
  readonly routingTablePriority: number
  /** How long what the peer sent on a CHILD_SA is let in after that was replaced and deleted. */
  readonly deleteRekeyedDelay: Milliseconds
  /** A new IKE_SA is made before the one that it reauthenticates is deleted, or after. */
  readonly makeBeforeBreak: boolean
  /** An IKE_SA whose only CHILD_SA is idle goes with it. */
  readonly inactivityCloseIke: boolean
  /** Octets of an IP datagram, headers and all, from which on an IKE message goes in fragments. */
  readonly fragmentSizeV4: number
  readonly fragmentSizeV6: number
  /** Octets that a message which comes in fragments may have. */
  readonly maxPacket: number
  /** Names of interfaces: nothing is heard of those that are ignored, and if any are to be used, of no others. */
  readonly interfacesIgnore: readonly string[]
  readonly interfacesUse: readonly string[]
  /** Our IPv6 addresses that change for privacy are used and told of instead of those that stay. */
  readonly preferTemporaryAddresses: boolean
  /** News of routes is followed, not of links and addresses alone. */
  readonly processRoute: boolean
  /** A path that works is left for a better one (MOBIKE). */
  readonly preferBestPath: boolean
  /** A path that seems to work after routes have changed is tried. */
  readonly checkCurrentPath: boolean
}

export const DEFAULT_IKE_SETTINGS: IkeSettings = {
  port: 500,
  portNatT: 4500,
  keepAlive: 20_000,
  keepAliveDpdMargin: 0,
  retryInitiateInterval: 0,
  retransmitTimeout: 4_000,
  retransmitBase: 1.8,
  retransmitTries: 5,
  retransmitJitter: 0,
  retransmitLimit: 0,
  cookieThreshold: 30,
  cookieThresholdIp: 3,
  blockThreshold: 5,
  ikeSaLimit: 0,
  signatureAuthentication: true,
  signatureAuthenticationConstraints: true,
  rsaPss: false,
  multipleAuthentication: true,
  revocation: DEFAULT_REVOCATION_SETTINGS,
  followRedirects: true,
  closeIkeOnChildFailure: false,
  halfOpenTimeout: 30_000,
  initLimitHalfOpen: 0,
  initLimitJobLoad: 0,
  replayWindow: 32,
  installRoutes: true,
  installVirtualAddresses: true,
  virtualAddressesOn: null,
  attributes: [],
  runsUpdown: true,
  updownHandlesNameServers: false,
  routingTable: 220,
  routingTablePriority: 220,
  deleteRekeyedDelay: 5_000,
  makeBeforeBreak: true,
  inactivityCloseIke: false,
  fragmentSizeV4: 1280,
  fragmentSizeV6: 1280,
  maxPacket: 10_000,
  interfacesIgnore: [],
  interfacesUse: [],
  preferTemporaryAddresses: false,
  processRoute: true,
  preferBestPath: false,
  checkCurrentPath: false,
}
