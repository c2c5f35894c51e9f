/** Dice that fall the same way whenever the seed is the same: SHA-256(seed | counter), block after block. */
import { createHash } from 'node:crypto'

import type { Entropy } from '../../src/ports.ts'

export class SeededEntropy implements Entropy {
  readonly #seed: string
  #counter = 0
  #block: Uint8Array = new Uint8Array()
  #used = 0

  constructor(seed: string) {
    this.#seed = seed
  }

  bytes(count: number): Uint8Array {
    const drawn = new Uint8Array(count)
    for (let at = 0; at < count;) {
      if (this.#used === this.#block.length) {
        this.#block = createHash('sha256')
          .update(`${this.#seed} ${this.#counter++}`)
          .digest()
        this.#used = 0
      }
      const part = this.#block.subarray(this.#used, this.#used + count - at)
      drawn.set(part, at)
      at += part.length
      this.#used += part.length
    }
    return drawn
  }

  /** A number from 0 up to, not including, 1. */
  fraction(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) / 2 ** 32
  }
  /** An integer from 0 up to, not including, `limit`. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit)
  }
  /** True with this probability. Draws nothing for 0, so that a perfect link leaves the dice alone. */
  chance(probability: number): boolean {
    return probability > 0 && this.fraction() < probability
  }
}
