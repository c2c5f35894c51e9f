/**
 * stats, get-counters, reset-counters: how the daemon fares.
 */
import { MINUTE, SECOND, type Milliseconds } from '../../base/time.ts'
import type { CounterSet } from '../../report/counters.ts'
import { failed, succeeded, type Handlers } from '../command.ts'
import { booleanOf, section, textOf, type ViciSection } from '../message.ts'

const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

export const statisticsCommands: Handlers = {
  /**
   * strongSwan's keys. Where it counts threads and their jobs we have one thread, busy while it answers this, and pieces
   * of work that wait for their turn; where it tells of malloc's memory, we tell of the JavaScript heap.
   */
  'stats': (_request, { operations: { gateway, clock, daemon, process } }) => {
    const sessions = gateway.sessions()
    // What is to replace another one counts when it has (strongSwan).
    const listed = sessions.filter(({ isSuccessor }) => !isSuccessor)
    const waiting = sessions.reduce((sum, { turns }) => sum + turns.waiting, 0)
    const workers = process.workers()
    const memory = process.memory()
    return section(
      ['uptime', section(['running', timeSpan(clock.wall() - daemon.started)], ['since', process.localTime(daemon.started)])],
      [
        'workers',
        section(
          ['total', String(workers.total)],
          ['idle', String(workers.total - workers.busy)],
          ['active', perPriority(workers.busy)],
        ),
      ],
      ['queues', perPriority(waiting)],
      ['scheduled', String(gateway.scheduledCount)],
      [
        'ikesas',
        section(
          ['total', String(listed.length)],
          ['half-open', String(listed.filter(({ sa }) => sa.state === 'connecting').length)],
        ),
      ],
      ['plugins', process.plugins],
      [
        'mallinfo',
        section(
          ['sbrk', String(memory.heapTotal)],
          ['mmap', String(memory.external)],
          ['used', String(memory.heapUsed)],
          ['free', String(memory.heapTotal - memory.heapUsed)],
        ),
      ],
    )
  },

  'get-counters': (request, { operations: { counters } }) => {
    const name = textOf(request, 'name')
    if (booleanOf(request, 'all', false)) {
      const all = counters.connections().map((connection) => [connection, counted(counters.get(connection))] as const)
      return section(['counters', section(...all)], ['success', 'yes'])
    }
    const found = counters.get(name)
    if (found === null) return section(['counters', section()], ...failed('no counters found for this connection'))
    return section(['counters', section([name ?? '', counted(found)])], ['success', 'yes'])
  },

  /** `all` is all connections; the counters of all together are reset when no connection is named (strongSwan). */
  'reset-counters': (request, { operations: { counters } }) => {
    if (booleanOf(request, 'all', false)) counters.resetConnections()
    else counters.reset(textOf(request, 'name'))
    return succeeded()
  },
}

function counted(set: CounterSet | null): ViciSection {
  return section(...[...(set ?? [])].map(([name, count]) => [name, String(count)] as const))
}

/** All of our work is of the same priority. */
function perPriority(count: number): ViciSection {
  return section(['critical', '0'], ['high', '0'], ['medium', String(count)], ['low', '0'])
}

/** As strongSwan says it: in the largest unit of which there are more than two. */
function timeSpan(duration: Milliseconds): string {
  const [unit, name] =
    duration > 2 * DAY
      ? [DAY, 'day']
      : duration > 2 * HOUR
        ? [HOUR, 'hour']
        : duration > 2 * MINUTE
          ? [MINUTE, 'minute']
          : [SECOND, 'second']
  const count = Math.floor(duration / unit)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}
