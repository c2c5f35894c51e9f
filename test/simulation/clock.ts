/** Time in the simulator: it stands still until the driver moves it. */
import { assert } from '../../src/base/assert.ts'
import type { Milliseconds } from '../../src/base/time.ts'
import type { Clock } from '../../src/ports.ts'

/** Neither zero nor round, so that code which takes 0 for "never" or adds the two clocks up is found out. */
const START: Milliseconds = 1_234_567
/** 2026-01-01T00:00:00Z. */
const WALL_AT_ZERO: Milliseconds = 1_767_225_600_000

export class SimulatedClock implements Clock {
  #now: Milliseconds = START

  now(): Milliseconds {
    return this.#now
  }
  wall(): Milliseconds {
    return WALL_AT_ZERO + this.#now
  }
  moveTo(at: Milliseconds): void {
    assert(at >= this.#now, 'time does not run backwards')
    this.#now = at
  }
  /** For people: seconds since the simulation began. */
  toString(): string {
    return `${((this.#now - START) / 1000).toFixed(4)} s`
  }
}
