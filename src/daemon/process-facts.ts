/**
 * What the process knows of itself, for VICI's `stats`.
 */
import type { ProcessFacts } from '../vici/operations.ts'
import type { KernelKind } from './kernel-kind.ts'

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

export function processFacts(kernel: KernelKind): ProcessFacts {
  return {
    // strongSwan's names, for what does the same here.
    plugins: ['openssl', kernel === 'memory' ? 'kernel-memory' : 'kernel-netlink', 'socket-default', 'counters', 'vici'],
    // The event loop, which is busy while somebody asks.
    workers: () => ({ total: 1, busy: 1 }),
    memory: () => process.memoryUsage(),
    localTime,
  }
}

/** As strongSwan prints times: `Nov 22 15:04:05 2026`. */
function localTime(wall: number): string {
  const time = new Date(wall)
  const two = (number: number): string => String(number).padStart(2, '0')
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':')
  return `${MONTHS[time.getMonth()]} ${two(time.getDate())} ${clock} ${time.getFullYear()}`
}
