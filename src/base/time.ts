/**
 * Time inside the core: milliseconds of a monotonic clock that starts anywhere, as plain numbers, handed in
 * by the edge. Kernel lifetimes are seconds and say so in their names (`...Seconds`).
 */
export type Milliseconds = number

export const SECOND: Milliseconds = 1000
export const MINUTE: Milliseconds = 60 * SECOND

/**
 * Deadlines in one binary heap, many owners. An owner sets a deadline by a key of its own; setting it again moves it.
 * Moved or cancelled entries stay in the heap as tombstones until they surface or outnumber the living.
 */
export class DeadlineHeap<Owner extends object> {
  readonly #heap: Deadline<Owner>[] = []
  #dead = 0

  /** Earliest deadline, or null when there is none. */
  next(): Milliseconds | null {
    this.#dropDead()
    return this.#heap[0]?.at ?? null
  }

  get size(): number {
    return this.#heap.length - this.#dead
  }

  /** Adds a deadline; keep the returned handle to cancel it. */
  add(at: Milliseconds, owner: Owner, name: string): Deadline<Owner> {
    const deadline = new Deadline(at, owner, name)
    this.#heap.push(deadline)
    this.#up(this.#heap.length - 1)
    return deadline
  }

  cancel(deadline: Deadline<Owner>): void {
    if (deadline.cancelled) return
    deadline.cancelled = true
    this.#dead++
    if (this.#dead > 64 && this.#dead * 2 > this.#heap.length) this.#compact()
  }

  /** Takes the earliest deadline that is due at `now`, or null. */
  take(now: Milliseconds): Deadline<Owner> | null {
    this.#dropDead()
    const first = this.#heap[0]
    if (first === undefined || first.at > now) return null
    this.#pop()
    first.cancelled = true
    return first
  }

  #dropDead(): void {
    while (this.#heap[0]?.cancelled === true) {
      this.#pop()
      this.#dead--
    }
  }

  #compact(): void {
    const living = this.#heap.filter((deadline) => !deadline.cancelled)
    this.#heap.length = 0
    this.#dead = 0
    for (const deadline of living) {
      this.#heap.push(deadline)
      this.#up(this.#heap.length - 1)
    }
  }

  #pop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#down(0)
  }

  #up(index: number): void {
    const heap = this.#heap
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(heap[index]!, heap[parent]!)) return
      swap(heap, index, parent)
      index = parent
    }
  }

  #down(index: number): void {
    const heap = this.#heap
    for (;;) {
      const left = 2 * index + 1
      const right = left + 1
      let least = index
      if (left < heap.length && before(heap[left]!, heap[least]!)) least = left
      if (right < heap.length && before(heap[right]!, heap[least]!)) least = right
      if (least === index) return
      swap(heap, index, least)
      index = least
    }
  }
}

/** One entry of a DeadlineHeap. Ties are taken in the order they were added, so that a run can be repeated exactly. */
export class Deadline<Owner extends object> {
  static #count = 0
  readonly at: Milliseconds
  readonly owner: Owner
  readonly name: string
  readonly order: number
  cancelled = false
  constructor(at: Milliseconds, owner: Owner, name: string) {
    this.at = at
    this.owner = owner
    this.name = name
    this.order = Deadline.#count++
  }
}

function before(a: Deadline<object>, b: Deadline<object>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

function swap<T>(items: T[], i: number, j: number): void {
  const held = items[i]!
  items[i] = items[j]!
  items[j] = held
}
