/**
 * Things that are loaded, by a key of theirs, in the order they came, with where from: what came from files goes when it
 * has gone from them, what a client loaded stays until a client unloads it.
 */
import { EspalierError } from '../base/errors.ts'

export type Origin = 'files' | 'client'

/** The list of all is made once: strangers make us look at it. */
export class Store<Thing> {
  readonly #keyOf: (thing: Thing) => string
  readonly #maximum: number
  readonly #things: Map<string, { readonly thing: Thing; readonly origin: Origin }>
  #all: readonly Thing[] | null = null

  /** `things` come from files. More than `maximum` of them there cannot be. */
  constructor(things: readonly Thing[], keyOf: (thing: Thing) => string, maximum = Infinity) {
    this.#keyOf = keyOf
    this.#maximum = maximum
    this.#things = new Map(things.slice(0, maximum).map((thing) => [keyOf(thing), { thing, origin: 'files' }]))
  }

  all(): readonly Thing[] {
    this.#all ??= Array.from(this.#things.values(), ({ thing }) => thing)
    return this.#all
  }

  get(key: string): Thing | null {
    return this.#things.get(key)?.thing ?? null
  }

  /** In the place of the one of its key. Throws EspalierError when there are too many. */
  put(thing: Thing, origin: Origin): void {
    const key = this.#keyOf(thing)
    if (this.#things.size >= this.#maximum && !this.#things.has(key))
      throw new EspalierError('policy', 'TOO_MANY_LOADED', `there are ${this.#maximum} of this kind already, which is the limit`)
    this.#things.set(key, { thing, origin })
    this.#all = null
  }

  /** It has come again, as it is: what is in the files is the files'. */
  keep(key: string, origin: Origin): void {
    const { thing } = this.#things.get(key)!
    if (origin === 'files') this.#things.set(key, { thing, origin })
  }

  remove(key: string): Thing | null {
    const thing = this.get(key)
    if (this.#things.delete(key)) this.#all = null
    return thing
  }

  /** Keys of what came from the files and is not in them any more. */
  goneFrom(things: readonly Thing[]): readonly string[] {
    const keys = new Set(things.map(this.#keyOf))
    return [...this.#things].filter(([key, { origin }]) => origin === 'files' && !keys.has(key)).map(([key]) => key)
  }
}

export function nameOf({ name }: { readonly name: string }): string {
  return name
}
