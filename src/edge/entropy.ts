/**
 * The real dice: OpenSSL's generator, seeded by the kernel. Drawn in advance in larger pieces, since a handshake asks
 * for a dozen small ones.
 */
import { randomFillSync } from 'node:crypto'

import type { Entropy } from '../ports.ts'

const POOL_BYTES = 4096

class SystemEntropy implements Entropy {
  readonly #pool = new Uint8Array(POOL_BYTES)
  #used = POOL_BYTES

  bytes(count: number): Uint8Array {
    if (count > POOL_BYTES / 4) return randomFillSync(new Uint8Array(count))
    if (this.#used + count > POOL_BYTES) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const drawn = this.#pool.slice(this.#used, this.#used + count)
    // What was given out is not kept: a later look at this memory must not find old keys.
    this.#pool.fill(0, this.#used, this.#used + count)
    this.#used += count
    return drawn
  }
}

export const systemEntropy: Entropy = new SystemEntropy()
