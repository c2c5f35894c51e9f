/**
 * The real clock, and the one real timer of the process.
 */
import type { Milliseconds } from '../base/time.ts'
import type { Clock } from '../ports.ts'

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
}

/** Resolves when whatever else has happened by now was seen to. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** setTimeout takes no more than this; a later alarm is looked at again then. */
const TIMEOUT_MAX: Milliseconds = 2 ** 31 - 1

/** One timer for many deadlines: armed with the earliest, it calls `ring`, which sees to all that are due. */
export class Alarm {
  readonly #ring: () => Milliseconds | null
  #timer: NodeJS.Timeout | null = null
  #at: Milliseconds = Number.POSITIVE_INFINITY

  /** `ring` returns the next deadline, or null when there is none. */
  constructor(ring: () => Milliseconds | null) {
    this.#ring = ring
  }

  /** Makes the alarm ring at `at` or earlier (absolute milliseconds of systemClock). */
  arm(at: Milliseconds): void {
    if (at >= this.#at) return
    this.stop()
    this.#at = at
    this.#timer = setTimeout(() => this.#rang(), Math.min(TIMEOUT_MAX, Math.max(0, Math.ceil(at - systemClock.now()))))
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#at = Number.POSITIVE_INFINITY
  }

  #rang(): void {
    this.#timer = null
    this.#at = Number.POSITIVE_INFINITY
    const next = this.#ring()
    if (next !== null) this.arm(next)
  }
}
