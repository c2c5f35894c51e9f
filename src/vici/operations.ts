/**
 * What commands may ask of the daemon.
 */
import type { Milliseconds } from '../base/time.ts'
import type { CredentialFiles } from '../config/credential-files.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Clock } from '../ports.ts'
import type { Counters } from '../report/counters.ts'
import type { LogHub } from '../report/hub.ts'

export interface Operations {
  readonly gateway: Gateway
  readonly clock: Clock
  readonly daemon: DaemonFacts
  readonly process: ProcessFacts
  readonly counters: Counters
  readonly log: LogHub
  /** Files that a client names, as they are now. */
  credentialFiles(): CredentialFiles
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

/** What the process knows of itself. */
export interface ProcessFacts {
  readonly plugins: readonly string[]
  workers(): { readonly total: number; readonly busy: number }
  /** Bytes. */
  memory(): { readonly heapTotal: number; readonly heapUsed: number; readonly external: number }
  /** A time of the wall clock where the daemon runs, as strongSwan prints it: `Nov 22 15:04:05 2026`. */
  localTime(wall: Milliseconds): string
}
