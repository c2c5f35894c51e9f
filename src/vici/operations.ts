/**
 * What commands may ask of the daemon.
 */
import type { Milliseconds } from '../base/time.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Clock } from '../ports.ts'

export interface Operations {
  readonly gateway: Gateway
  readonly clock: Clock
  readonly daemon: DaemonFacts
}

/** What is known and can be done outside the core. */
export interface DaemonFacts {
  readonly version: string
  /** When it started, by the wall clock. */
  readonly started: Milliseconds
  /** As uname(2) has them. */
  readonly system: { readonly name: string; readonly release: string; readonly machine: string }
  /** Reads strongswan.conf anew. Rejects with an EspalierError when it has errors; what was loaded before then stays. */
  reloadSettings(): Promise<void>
}
