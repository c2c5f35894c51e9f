/**
 * One IKE_SA is handled by one place at a time. Everything that happens to it (datagrams, deadlines, commands, kernel
 * events) is a piece of work in its queue; a piece begins when the one before it has ended.
 *
 * Our own exchanges outlive a piece of work: they wait for the peer's answer while other work goes on. So an own
 * exchange runs only inside a piece that drives it: the piece ends when the exchange waits for the wire again or is
 * over. Nothing is locked and no two places ever hold the IKE_SA.
 */
export class Turns {
  readonly #queue: (() => void | Promise<void>)[] = []
  #busy = false
  #onPark: (() => void) | null = null

  /** Pieces waiting, the one being done not counted. */
  get waiting(): number {
    return this.#queue.length
  }

  /** Adds a piece of work; it begins at once when nothing else is being done. It must not throw. */
  enqueue(work: () => void | Promise<void>): void {
    this.#queue.push(work)
    if (!this.#busy) void this.#drain()
  }

  async #drain(): Promise<void> {
    this.#busy = true
    for (;;) {
      const work = this.#queue.shift()
      if (work === undefined) break
      // Awaiting only what is asynchronous keeps a burst of plain datagrams within one turn of the event loop.
      const ending = work()
      if (ending !== undefined) await ending
    }
    // An emptied array keeps its room, 150 octets for every IKE_SA that waits for nothing; one of length 0 gives it back.
    this.#queue.length = 0
    this.#busy = false
  }

  /** For use inside a piece of work: does `step`, which sets an own exchange going, and waits until that parks or ends. */
  drive(step: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.#onPark = resolve
      step()
    })
  }

  /** Called by an own exchange that now waits for the wire, or that is over. */
  park(): void {
    const resolve = this.#onPark
    this.#onPark = null
    resolve?.()
  }
}
