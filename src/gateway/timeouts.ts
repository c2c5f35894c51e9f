/**
 * How long somebody outside waits for something: commands have time limits, and the core has no timers but its one
 * next deadline (base/time.ts).
 */
import { DeadlineHeap, type Milliseconds } from '../base/time.ts'

interface Waiting {
  readonly resolve: () => void
}

export const TIMED_OUT = Symbol('timed out')

export class Timeouts {
  readonly #heap = new DeadlineHeap<Waiting>()
  readonly #now: () => Milliseconds
  readonly #armed: (at: Milliseconds) => void

  constructor(now: () => Milliseconds, armed: (at: Milliseconds) => void) {
    this.#now = now
    this.#armed = armed
  }

  get size(): number {
    return this.#heap.size
  }

  /** What `promise` comes to, or TIMED_OUT when that takes longer than `duration`. Whatever it comes to later is its own affair. */
  async within<T>(duration: Milliseconds, promise: Promise<T>): Promise<T | typeof TIMED_OUT> {
    const at = this.#now() + duration
    const { promise: timeout, resolve } = Promise.withResolvers<typeof TIMED_OUT>()
    const deadline = this.#heap.add(at, { resolve: () => resolve(TIMED_OUT) }, 'timeout')
    this.#armed(at)
    try {
      return await Promise.race([promise, timeout])
    } finally {
      this.#heap.cancel(deadline)
    }
  }

  next(): Milliseconds | null {
    return this.#heap.next()
  }

  /** Ends every wait that is due. */
  handleDue(): void {
    const now = this.#now()
    for (;;) {
      const due = this.#heap.take(now)
      if (due === null) return
      due.owner.resolve()
    }
  }
}
