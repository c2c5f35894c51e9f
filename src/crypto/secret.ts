/**
 * Key material. A Secret prints as "secret, 32 bytes" wherever it is printed, so that it cannot reach a log by
 * accident; only crypto/ and the kernel codec open it; whoever owns it destroys it when it is no longer needed.
 */
import { timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'

export class Secret {
  readonly #bytes: Uint8Array

  /** Takes ownership of `bytes`: the caller keeps no other use of them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get length(): number {
    return this.#bytes.length
  }

  /** The bytes themselves, not a copy. Named so that a reviewer sees every place that looks inside. */
  dangerouslyReveal(): Uint8Array {
    return this.#bytes
  }

  /** A Secret over a copy of part of this one, from `start` up to `end` (bytes). */
  slice(start: number, end?: number): Secret {
    return new Secret(this.#bytes.slice(start, end))
  }

  /** Constant-time comparison; lengths are public. */
  equals(other: Secret): boolean {
    return constantTimeEqual(this.#bytes, other.#bytes)
  }

  /** Overwrites the bytes with zeros. */
  destroy(): void {
    this.#bytes.fill(0)
  }

  toString(): string {
    return `secret, ${this.length} bytes`
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
