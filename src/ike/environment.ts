/**
 * What the exchanges of a shard have in their hands: the ports, the books, what is configured, and nobody's globals.
 */
import type { Leases } from '../address/leases.ts'
import type { Credentials } from '../auth/credentials.ts'
import type { SharedSecret } from '../auth/secrets.ts'
import type { Endpoint } from '../base/ip.ts'
import type { Books } from '../kernel/books.ts'
import type { Separation } from '../kernel/separation.ts'
import type { MappingLifetimes } from '../nat/adaptive.ts'
import type { OwnPorts } from '../nat/ports.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { RevocationCache } from '../pki/revocation.ts'
import type { Clock, CrlStore, Entropy, Fetcher, HostNetwork, KeyExchanges, Network, Signer } from '../ports.ts'
import type { ChildConnection, Connection, IkeSettings } from './connection.ts'
import type { IkeEvent } from './events.ts'
import type { IkeSa, InterfaceIds } from './sa.ts'
import type { TrafficClaims } from './traffic-claims.ts'

/** Whoever has the kernel ask for CHILD_SAs that there are none of (gateway/traps.ts). */
export interface TrapKeeper {
  /** Puts the trap of a child in place, as its IKE_SA has the addresses; resolves when it is there, or why not was told. */
  set(sa: IkeSa, child: ChildConnection): Promise<void>
  /** Sequence number of the kernel's question that a CHILD_SA with these selectors answers, 0 if there is none. */
  questionFor(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): number
  /** Marks and interface IDs of the trap of a child, which its CHILD_SA has as well; null if there is none. */
  separationOf(connection: string, child: string): Separation | null
}

/** Whoever hands out marks and interface IDs (gateway/separations.ts). */
export interface SeparationKeeper {
  /** What a connection asks for, for an IKE_SA; new numbers at each call where it wants unique ones. */
  interfaceIdsOf(connection: Pick<Connection, 'interfaceIdIn' | 'interfaceIdOut'>): InterfaceIds
  /** The same for one of its CHILD_SAs, which has the interface IDs of its IKE_SA unless it has its own. */
  configured(child: ChildConnection, inherited: InterfaceIds): Separation
  /** For one whose traffic another peer has; null if there is no way to tell them apart. */
  choose(): Separation | null
  /** Before a CHILD_SA has it. Rejects with an EspalierError if it cannot. */
  hold(separation: Separation): Promise<void>
  /** A CHILD_SA has it no more. */
  release(separation: Separation): void
}

export interface Environment {
  readonly network: Network
  readonly host: HostNetwork
  readonly clock: Clock
  readonly entropy: Entropy
  readonly keyExchanges: KeyExchanges
  readonly signer: Signer
  readonly fetcher: Fetcher
  credentials(): Credentials
  readonly revocations: RevocationCache
  /** Null: no CRL that was fetched outlives us. */
  readonly crlStore: CrlStore | null
  readonly books: Books
  readonly traffic: TrafficClaims
  readonly leases: Leases
  /** What is known of the NATs before us. */
  readonly mappings: MappingLifetimes
  readonly traps: TrapKeeper
  readonly separations: SeparationKeeper
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
