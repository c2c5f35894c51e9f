/**
 * Lines of the log as events: `log` for whoever registered for it, `control-log` for the client whose command the line
 * is about. strongSwan's keys, in its order (its vici_logger.c and vici_control.c).
 */
import { DEFAULT_LOUDNESS, loudnesses, type Line } from '../report/line.ts'
import type { LogHub } from '../report/hub.ts'
import type { EventName } from './event-names.ts'
import { section, type ViciNode, type ViciSection } from './message.ts'

/** The part of the server that is needed. */
export interface LogSink {
  raise(event: EventName, message: () => ViciSection): void
  watch(event: EventName, watcher: (wanted: boolean) => void): void
}

/** Raises every line up to strongSwan's level 1 as a `log` event, and listens only while a client wants it. */
export function raiseLog(sink: LogSink, hub: LogHub): void {
  let stop: (() => void) | null = null
  sink.watch('log', (wanted) => {
    if (wanted) {
      stop ??= hub.listen(loudnesses(DEFAULT_LOUDNESS), (line) => sink.raise('log', () => logEvent(line)))
    } else {
      stop?.()
      stop = null
    }
  })
}

/** One thread does everything here: it is number 0. */
function logEvent(line: Line): ViciSection {
  return section(['group', line.group.toUpperCase()], ['level', String(line.loudness)], ['thread', '0'], ...restOf(line))
}

export function controlLogEvent(line: Line): ViciSection {
  return section(['group', line.group.toUpperCase()], ['level', String(line.loudness)], ...restOf(line))
}

function restOf({ ike, message }: Line): (readonly [string, ViciNode | null])[] {
  return [
    ['ikesa-name', ike?.name ?? null],
    ['ikesa-uniqueid', ike === null ? null : String(ike.uniqueId)],
    ['msg', message],
  ]
}
