/**
 * Key material. A Secret prints as "secret, 32 bytes" wherever it is printed, so that it cannot reach a log by
 * accident; only crypto/ and the kernel codec open it; whoever owns it destroys it when it is no longer needed.
 */
import { timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'

import { assert } from '../base/assert.ts'

export class Secret {
  /** Null once it is destroyed. */
  #bytes: Uint8Array | null

  /** Takes ownership of `bytes`: the caller keeps no other use of them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get length(): number {
    return this.#bytes?.length ?? 0
  }

  get isDestroyed(): boolean {
    return this.#bytes === null
  }

  /**
   * The bytes themselves, not a copy. Named so that a reviewer sees every place that looks inside. Asserts that it was
   * not destroyed: nobody must take zeros for a key.
   */
  dangerouslyReveal(): Uint8Array {
    assert(this.#bytes !== null, 'a secret is used before it is destroyed')
    return this.#bytes
  }

  /** A Secret over a copy of part of this one, from `start` up to `end` (bytes). */
  slice(start: number, end?: number): Secret {
    return new Secret(this.dangerouslyReveal().slice(start, end))
  }

  /** Constant-time comparison; lengths are public. */
  equals(other: Secret): boolean {
    return constantTimeEqual(this.dangerouslyReveal(), other.dangerouslyReveal())
  }

  /** Overwrites the bytes with zeros and lets go of them. */
  destroy(): void {
    this.#bytes?.fill(0)
    this.#bytes = null
  }

  toString(): string {
    return this.isDestroyed ? 'secret, destroyed' : `secret, ${this.length} bytes`
  }
  toJSON(): string {
    return this.toString()
  }
  [inspect.custom](): string {
    return this.toString()
  }
}

/** Comparison of keys and authentication data whose time tells nothing about where they differ; lengths are public. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
