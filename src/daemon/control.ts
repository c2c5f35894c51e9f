/**
 * The control socket, served; connect.ts is the other end.
 */
import { machine, release, type } from 'node:os'

import { formatStreamAddress, type StreamAddress } from '../config/stream-address.ts'
import { nextTurn, systemClock } from '../edge/clock.ts'
import { listen } from '../edge/streams.ts'
import type { IkeEvent } from '../ike/events.ts'
import { COMMANDS } from '../vici/commands.ts'
import { raiseLog } from '../vici/log.ts'
import { SaEvents } from '../vici/events.ts'
import type { DaemonFacts, Operations } from '../vici/operations.ts'
import { ViciServer } from '../vici/server.ts'
import { version } from './version.ts'

export interface Control {
  /** Tells clients of it. */
  readonly handle: (event: IkeEvent) => void
  /** Where it listens, as one writes it. */
  readonly address: string
  close(): Promise<void>
}

/** Listens. `onTrouble` gets what is to be told in the log, a sentence each. Rejects with an EspalierError. */
export async function openControl(
  address: StreamAddress,
  operations: Operations,
  onTrouble: (sentence: string, isDefect: boolean) => void,
): Promise<Control> {
  const server = new ViciServer({ commands: COMMANDS, operations, nextTurn, onTrouble })
  raiseLog(server, operations.log)
  const listener = await listen(
    address,
    (stream) => server.accept(stream),
    (sentence) => onTrouble(sentence, false),
  )
  const events = new SaEvents(server, operations.clock)
  return {
    handle: events.handle,
    address: formatStreamAddress(listener.address),
    async close() {
      server.close()
      await listener.close()
    },
  }
}

/** What a daemon that starts now has to say of itself. */
export function daemonFacts(reloadSettings: DaemonFacts['reloadSettings']): DaemonFacts {
  return {
    version,
    started: systemClock.wall(),
    system: { name: type(), release: release(), machine: machine() },
    reloadSettings,
  }
}
