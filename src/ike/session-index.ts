/**
 * IKE_SAs by something they have in common, so that they are found without a search, with twenty thousand standing as
 * with one.
 */
import type { Session } from './session.ts'

export class SessionIndex {
  /** Nearly every key has one IKE_SA, which goes without a set. */
  readonly #sessions = new Map<string, Session | Set<Session>>()

  /** Keys that have one. */
  get size(): number {
    return this.#sessions.size
  }

  /** In the order they were added. */
  get(key: string): readonly Session[] {
    const there = this.#sessions.get(key)
    if (there === undefined) return []
    return there instanceof Set ? [...there] : [there]
  }

  add(key: string, session: Session): void {
    const there = this.#sessions.get(key)
    if (there === undefined) this.#sessions.set(key, session)
    else if (there instanceof Set) there.add(session)
    else if (there !== session) this.#sessions.set(key, new Set([there, session]))
  }

  /** Nothing happens for one that was never added. */
  remove(key: string, session: Session): void {
    const there = this.#sessions.get(key)
    if (there instanceof Set) {
      there.delete(session)
      if (there.size === 0) this.#sessions.delete(key)
    } else if (there === session) {
      this.#sessions.delete(key)
    }
  }
}
