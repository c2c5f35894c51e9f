/**
 * The deadlines an IKE_SA can have: a closed list, one of each at most, all in the shard's one heap.
 */
import { DeadlineHeap, type Deadline, type Milliseconds } from '../base/time.ts'

export type DeadlineName =
  /** The outstanding request is sent again, or given up. */
  | 'retransmit'
  /** A responder's IKE_SA that never authenticates goes away. */
  | 'half-open'
  | 'keepalive'

/** Whoever has deadlines keeps them in such a table, written only by Deadlines. */
export interface DeadlineOwner {
  readonly deadlines: Partial<Record<DeadlineName, Deadline<DeadlineOwner>>>
}

export class Deadlines<Owner extends DeadlineOwner> {
  readonly #heap = new DeadlineHeap<Owner>()
  readonly #armed: (at: Milliseconds) => void

  /** `armed` is told of every deadline set, so that the one real timer can be moved forward. */
  constructor(armed: (at: Milliseconds) => void) {
    this.#armed = armed
  }

  set(owner: Owner, name: DeadlineName, at: Milliseconds): void {
    this.clear(owner, name)
    owner.deadlines[name] = this.#heap.add(at, owner, name)
    this.#armed(at)
  }

  clear(owner: Owner, name: DeadlineName): void {
    const deadline = owner.deadlines[name]
    if (deadline === undefined) return
    this.#heap.cancel(deadline as Deadline<Owner>)
    delete owner.deadlines[name]
  }

  clearAll(owner: Owner): void {
    for (const name of Object.keys(owner.deadlines) as DeadlineName[]) this.clear(owner, name)
  }

  next(): Milliseconds | null {
    return this.#heap.next()
  }

  /** Takes what is due, one at a time. */
  take(now: Milliseconds): { readonly owner: Owner; readonly name: DeadlineName; readonly at: Milliseconds } | null {
    const deadline = this.#heap.take(now)
    if (deadline === null) return null
    const name = deadline.name as DeadlineName
    delete deadline.owner.deadlines[name]
    return { owner: deadline.owner, name, at: deadline.at }
  }
}
