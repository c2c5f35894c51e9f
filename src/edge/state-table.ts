/**
 * What the kernel in memory keeps by SPI, destination and mark, as Linux finds states: a text made of the three for every
 * question would cost more than the answer.
 */
import { assert } from '../base/assert.ts'
import type { Mark, StateId } from '../kernel/vocabulary.ts'

/** What tells states apart; their source does not. */
export type Place = Pick<StateId, 'spi' | 'destination' | 'mark'>

export class StateTable<Entry extends { readonly id: Place }> {
  /** Oldest first. */
  readonly #entries = new Set<Entry>()
  /** Nearly always one of each. */
  readonly #bySpi = new Map<number, readonly Entry[]>()

  get size(): number {
    return this.#entries.size
  }

  /** Oldest first; what comes and goes meanwhile does no harm. */
  values(): IterableIterator<Entry> {
    return this.#entries.values()
  }

  get(place: Place): Entry | undefined {
    const there = this.#bySpi.get(place.spi)
    if (there !== undefined) for (const entry of there) if (isSamePlace(entry.id, place)) return entry
    return undefined
  }

  add(entry: Entry): void {
    assert(this.get(entry.id) === undefined, 'one state is in one place')
    this.#entries.add(entry)
    this.#bySpi.set(entry.id.spi, [...(this.#bySpi.get(entry.id.spi) ?? []), entry])
  }

  /** False if there is none. */
  delete(place: Place): boolean {
    const entry = this.get(place)
    if (entry === undefined) return false
    this.#entries.delete(entry)
    const others = this.#bySpi.get(place.spi)!.filter((other) => other !== entry)
    if (others.length === 0) this.#bySpi.delete(place.spi)
    else this.#bySpi.set(place.spi, others)
    return true
  }
}

function isSamePlace(one: Place, other: Place): boolean {
  return one.destination.equals(other.destination) && isSameMark(one.mark ?? null, other.mark ?? null)
}

function isSameMark(one: Mark | null, other: Mark | null): boolean {
  return one === other || (one !== null && one.value === other?.value && one.mask === other.mask)
}
