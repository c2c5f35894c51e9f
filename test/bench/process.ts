/**
 * What /proc says about a process: how much of the processor it took, how much memory it occupies.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Microseconds by tick of /proc/PID/stat, where the kernel has nothing finer. */
const TICK_MICROSECONDS = 10_000

/** Of all its threads, user and system, microseconds since it began. Threads that have ended are not in it. */
export function processorTimeOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`)
  return Math.round(threads.reduce((sum, thread) => sum + threadTime(`/proc/${pid}/task/${thread}`), 0))
}

function threadTime(directory: string): number {
  try {
    // Nanoseconds on a processor, waiting for one, and how often.
    return Number(readFileSync(`${directory}/schedstat`, 'utf8').split(' ')[0]) / 1000
  } catch {
    return ticksOf(directory) * TICK_MICROSECONDS
  }
}

/** User and system time are fields 14 and 15; the name, field 2, may have anything in it but ends with the last ')'. */
function ticksOf(directory: string): number {
  const stat = readFileSync(`${directory}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}

/** Bytes in memory, its own and shared ones. */
export function residentBytesOf(pid: number): number {
  return memoryOf(pid, 'VmRSS')
}

/** The most it was since `forgetPeakOf`, or since it began. */
export function peakBytesOf(pid: number): number {
  return memoryOf(pid, 'VmHWM')
}

export function forgetPeakOf(pid: number): void {
  // proc(5): 5 is the peak of what is resident.
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

function memoryOf(pid: number, name: string): number {
  const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  if (kilobytes === null) throw new Error(`/proc/${pid}/status names no ${name}`)
  return Number(kilobytes[1]) * 1024
}
