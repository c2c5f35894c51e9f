/**
 * Our last answers: a peer that deleted its IKE_SA and lost our answer asks again, for minutes, whoever has nothing
 * left to answer from. The same octets are answered by the same octets.
 */
import { toHex } from '../base/bytes.ts'
import { MINUTE, type Milliseconds } from '../base/time.ts'
import { sha1 } from '../crypto/digest.ts'

/** Longer than a request is sent again by default (165 s). */
const KEPT_FOR: Milliseconds = 3 * MINUTE
/** Our limit: answers kept. */
const KEPT_MAX = 1024

interface Farewell {
  readonly request: string
  readonly answer: readonly Uint8Array[]
  readonly until: Milliseconds
}

export class Farewells {
  /** By our SPI, in the order they run out. */
  readonly #kept = new Map<bigint, Farewell>()

  /** Of a request in fragments: its first one. The answer may be several. */
  keep(ownSpi: bigint, request: Uint8Array, answer: readonly Uint8Array[], now: Milliseconds): void {
    this.#prune(now)
    this.#kept.set(ownSpi, { request: toHex(sha1(request)), answer, until: now + KEPT_FOR })
  }

  /** The answer to the very request that ended the IKE_SA, or null. */
  answerTo(ownSpi: bigint, request: Uint8Array, now: Milliseconds): readonly Uint8Array[] | null {
    const farewell = this.#kept.get(ownSpi)
    if (farewell === undefined || now >= farewell.until || farewell.request !== toHex(sha1(request))) return null
    return farewell.answer
  }

  #prune(now: Milliseconds): void {
    for (const [spi, { until }] of this.#kept) {
      if (now < until && this.#kept.size < KEPT_MAX) return
      this.#kept.delete(spi)
    }
  }
}
