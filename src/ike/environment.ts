/**
 * What the exchanges of a shard have in their hands: the ports, the books, what is configured, and nobody's globals.
 */
import type { SharedSecret } from '../auth/secrets.ts'
import type { Endpoint } from '../base/ip.ts'
import type { Books } from '../kernel/books.ts'
import type { OwnPorts } from '../nat/ports.ts'
import type { Clock, Entropy, KeyExchanges, Network } from '../ports.ts'
import type { Connection, IkeSettings } from './connection.ts'
import type { IkeEvent } from './events.ts'
import type { TrafficClaims } from './traffic-claims.ts'

export interface Environment {
  readonly network: Network
  readonly clock: Clock
  readonly entropy: Entropy
  readonly keyExchanges: KeyExchanges
  readonly books: Books
  readonly traffic: TrafficClaims
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
