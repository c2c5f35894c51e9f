/**
 * The deadlines an IKE_SA can have: a closed list, one of each at most, all in the shard's one heap.
 */
import { DeadlineHeap, type Deadline, type Milliseconds } from '../base/time.ts'

export type DeadlineName =
  /** The outstanding request is sent again, or given up. */
  | 'retransmit'
  /** What has come of a request in fragments is thrown away. */
  | 'fragments'
  /** A responder's IKE_SA that never authenticates goes away. */
  | 'half-open'
  | 'keepalive'
  /** Nothing was heard of the peer for as long as dpd_delay says, perhaps. */
  | 'liveness'
  /** The next of its CHILD_SAs that something is due of (ChildSa.dueAt). */
  | 'children'
  /** The IKE_SA is to be rekeyed. */
  | 'rekey'
  /** The IKE_SA is to be made anew from the beginning. */
  | 'reauth'
  /** Its time is over: it goes without another word if another has replaced it, else the peer hears of it. */
  | 'over'
  /** Another IKE_SA of the same peer has taken its place (uniqueness.ts). */
  | 'superseded'
  /** A peer that was followed too often of late is followed again, and the kernel asked again for what it refused (moves.ts). */
  | 'move'
  /** A CHILD_SA that the peer had no time for is asked for again. */
  | 'retry'
  /** What the peer has begun and does not go on with is forgotten (follow-up.ts). */
  | 'follow-up'

const NAMES: readonly DeadlineName[] = [
  'retransmit',
  'fragments',
  'half-open',
  'keepalive',
  'liveness',
  'children',
  'rekey',
  'reauth',
  'over',
  'superseded',
  'move',
  'retry',
  'follow-up',
]

/** Whoever has deadlines keeps them in such a table, written only by Deadlines. */
export interface DeadlineOwner {
  readonly deadlines: Record<DeadlineName, Deadline<DeadlineOwner> | null>
}

/** A table with all places empty: places that come and go would make a dictionary of it, 160 octets for every IKE_SA. */
export function noDeadlines(): DeadlineOwner['deadlines'] {
  return {
    'retransmit': null,
    'fragments': null,
    'half-open': null,
    'keepalive': null,
    'liveness': null,
    'children': null,
    'rekey': null,
    'reauth': null,
    'over': null,
    'superseded': null,
    'move': null,
    'retry': null,
    'follow-up': null,
  }
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
    if (deadline === null) return
    this.#heap.cancel(deadline as Deadline<Owner>)
    owner.deadlines[name] = null
  }

  clearAll(owner: Owner): void {
    for (const name of NAMES) this.clear(owner, name)
  }

  get size(): number {
    return this.#heap.size
  }

  next(): Milliseconds | null {
    return this.#heap.next()
  }

  /** Takes what is due, one at a time. */
  take(now: Milliseconds): { readonly owner: Owner; readonly name: DeadlineName; readonly at: Milliseconds } | null {
    const deadline = this.#heap.take(now)
    if (deadline === null) return null
    const name = deadline.name as DeadlineName
    deadline.owner.deadlines[name] = null
    return { owner: deadline.owner, name, at: deadline.at }
  }
}
