/**
 * What of ours is in the kernel beyond the end of this program. A journal is kept of it; what the program before this one
 * has left there without a word goes on for a while, so that its peers' packets still arrive and ours still leave, until
 * a CHILD_SA takes its place or its time is over.
 */
import type { IkeEvent } from '../ike/events.ts'
import type { Books } from '../kernel/books.ts'
import { KernelError, type KernelObjects } from '../kernel/vocabulary.ts'
import type { KernelJournal } from '../ports.ts'

export class Inheritance {
  readonly #books: Books
  readonly #journal: KernelJournal | null
  readonly #report: (event: IkeEvent) => void
  #inherited: readonly KernelObjects[] = []

  constructor(books: Books, journal: KernelJournal | null, report: (event: IkeEvent) => void) {
    this.#books = books
    this.#journal = journal
    this.#report = report
  }

  handle(event: IkeEvent): void {
    switch (event.event) {
      case 'child-established':
      case 'child-rekeyed':
        void this.#sweep(this.#inherited.filter((objects) => objects.states.length > 0 && this.#books.isReplaced(objects)))
        return this.#note()
      case 'child-activated':
      case 'child-resumed':
      case 'child-closed':
      case 'endpoints-moved':
      case 'policies-changed':
        return this.#note()
      default:
    }
  }

  take(objects: readonly KernelObjects[]): void {
    this.#inherited = objects
    this.#note()
  }

  /** What is left is let go. */
  end(): Promise<void> {
    return this.#sweep(this.#inherited)
  }

  #note(): void {
    this.#journal?.changed(() => [...this.#books.inventory(), ...this.#inherited])
  }

  async #sweep(objects: readonly KernelObjects[]): Promise<void> {
    if (objects.length === 0) return
    this.#inherited = this.#inherited.filter((one) => !objects.includes(one))
    try {
      await this.#books.sweep(objects)
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.#report({ event: 'kernel-refused', error })
    }
  }
}
