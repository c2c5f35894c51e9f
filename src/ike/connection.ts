/**
 * What we were told to do: a connection as the configuration (or VICI, later) hands it to the life of an IKE_SA.
 * Names follow swanctl.conf; times are milliseconds.
 */
import type { IpRange } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { Identity, IdentityPattern } from '../auth/identity.ts'
import type { SuiteProposal } from '../negotiate/proposals.ts'
import type { SelectorTemplate } from '../negotiate/selectors.ts'

/** One entry of local_addrs or remote_addrs. */
export type AddressPattern =
  | { readonly kind: 'any'; /** %any = null, %any4 = 4, %any6 = 6 */ readonly family: 4 | 6 | null }
  /** An address (a range of one), a range or a subnet. Only single addresses can be initiated to. */
  | { readonly kind: 'range'; readonly range: IpRange }
  | { readonly kind: 'host'; readonly name: string }

export interface Connection {
  readonly name: string
  /** Empty means %any. */
  readonly localAddresses: readonly AddressPattern[]
  readonly remoteAddresses: readonly AddressPattern[]
  readonly localPort: number
  readonly remotePort: number
  readonly proposals: readonly SuiteProposal[]
  /** encap = yes: fake a NAT so that ESP is always in UDP. */
  readonly forceEncapsulation: boolean
  readonly mobike: boolean
  /** Retries of an initiation that timed out; 0 = for ever. */
  readonly keyingTries: number
  readonly local: LocalAuthentication
  readonly remote: RemoteAuthentication
  readonly children: readonly ChildConnection[]
}

/** Only pre-shared keys so far. `id` null: our IP address at the time. */
export interface LocalAuthentication {
  readonly method: 'psk'
  readonly id: Identity | null
}
export interface RemoteAuthentication {
  readonly method: 'psk'
  /** Pattern without restriction (%any) when not configured. */
  readonly id: IdentityPattern
}

export interface ChildConnection {
  readonly name: string
  readonly proposals: readonly SuiteProposal[]
  readonly mode: 'tunnel' | 'transport'
  readonly localSelectors: readonly SelectorTemplate[]
  readonly remoteSelectors: readonly SelectorTemplate[]
  readonly startAction: 'none' | 'start'
  readonly replayWindow: number
  /** Fixed reqid, 0 = one is handed out. */
  readonly reqid: number
  readonly copyDf: boolean
  readonly copyEcn: boolean
  readonly copyDscp: 'out' | 'in' | 'yes' | 'no'
  /** Added to the calculated policy priority when not 0: replaces it (swanctl.conf `priority`). */
  readonly priority: number
}

/** What strongswan.conf says to the core (section charon). */
export interface IkeSettings {
  readonly port: number
  readonly portNatT: number
  /** charon.keep_alive; 0 = off. */
  readonly keepAlive: Milliseconds
  readonly keepAliveDpdMargin: Milliseconds
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
  readonly halfOpenTimeout: Milliseconds
}

export const DEFAULT_IKE_SETTINGS: IkeSettings = {
  port: 500,
  portNatT: 4500,
  keepAlive: 20_000,
  keepAliveDpdMargin: 0,
  retransmitTimeout: 4_000,
  retransmitBase: 1.8,
  retransmitTries: 5,
  retransmitJitter: 0,
  retransmitLimit: 0,
  cookieThreshold: 30,
  cookieThresholdIp: 3,
  halfOpenTimeout: 30_000,
}
