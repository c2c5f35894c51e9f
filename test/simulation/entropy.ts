/** Dice that fall the same way whenever the seed is the same. */
import { createHash } from 'node:crypto'

import type { Entropy } from '../../src/ports.ts'

export abstract class Dice implements Entropy {
  abstract bytes(count: number): Uint8Array

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

/** SHA-256(seed | counter), block after block. */
export class SeededEntropy extends Dice {
  readonly #seed: string
  #counter = 0
  #block: Uint8Array = new Uint8Array()
  #used = 0

  constructor(seed: string) {
    super()
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
}

/** The same for worlds that throw dice a million times: SplitMix32 over a digest of the seed, which nobody has to guess. */
export class QuickDice extends Dice {
  #state: number

  constructor(seed: string) {
    super()
    this.#state = createHash('sha256').update(seed).digest().readUInt32LE(0)
  }

  bytes(count: number): Uint8Array {
    const drawn = new Uint8Array(count)
    for (let at = 0; at < count; at += 4) {
      const word = this.#next()
      for (let i = 0; i < 4 && at + i < count; i++) drawn[at + i] = word >>> (8 * i)
    }
    return drawn
  }

  override fraction(): number {
    return this.#next() / 2 ** 32
  }

  #next(): number {
    this.#state = (this.#state + 0x9e37_79b9) | 0
    let word = this.#state
    word = Math.imul(word ^ (word >>> 16), 0x21f0_aaad)
    word = Math.imul(word ^ (word >>> 15), 0x735a_2d97)
    return (word ^ (word >>> 15)) >>> 0
  }
}
