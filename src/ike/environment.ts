/**
 * What the exchanges of a shard have in their hands: the ports, the books, what is configured, and nobody's globals.
 */
import type { Leases } from '../address/leases.ts'
import type { SharedSecret } from '../auth/secrets.ts'
import type { Endpoint } from '../base/ip.ts'
import type { Books } from '../kernel/books.ts'
import type { OwnPorts } from '../nat/ports.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { Clock, Entropy, HostNetwork, KeyExchanges, Network } from '../ports.ts'
import type { ChildConnection, Connection, IkeSettings } from './connection.ts'
import type { IkeEvent } from './events.ts'
import type { IkeSa } from './sa.ts'
import type { TrafficClaims } from './traffic-claims.ts'

/** Whoever has the kernel ask for CHILD_SAs that there are none of (gateway/traps.ts). */
export interface TrapKeeper {
  /** Puts the trap of a child in place, as its IKE_SA has the addresses; resolves when it is there, or why not was told. */
  set(sa: IkeSa, child: ChildConnection): Promise<void>
  /** Sequence number of the kernel's question that a CHILD_SA with these selectors answers, 0 if there is none. */
  questionFor(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): number
}

export interface Environment {
  readonly network: Network
  readonly host: HostNetwork
  readonly clock: Clock
  readonly entropy: Entropy
  readonly keyExchanges: KeyExchanges
  readonly books: Books
  readonly traffic: TrafficClaims
  readonly leases: Leases
  readonly traps: TrapKeeper
  /** The ports our sockets are really bound to. */
  readonly ports: OwnPorts
  /** Hashed as our source address under `encap = yes`. */
  readonly fakeSource: Endpoint
  settings(): IkeSettings
  connections(): readonly Connection[]
  secrets(): readonly SharedSecret[]
  /** Numbers for people, counted apart: `home[3]` is an IKE_SA, `net{7}` a CHILD_SA. */
  nextIkeSaNumber(): number
  nextChildSaNumber(): number
  report(event: IkeEvent): void
}
