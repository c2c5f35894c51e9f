/**
 * Cookies (RFC 7296 2.6): a stranger shows that it receives at the address it sends from before we spend anything on
 * it. Nothing is kept per stranger; the cookie carries what is needed to know it again:
 *
 *   octet 0      which secret (a counter)
 *   octets 1-4   when, in seconds of our own clock
 *   octets 5-36  HMAC-SHA2-256(secret, when | SPIi | address)
 *
 * The port is left out, so that a NAT which moves the client between the two messages does not shut it out.
 */
import { Reader, Writer } from '../base/bytes.ts'
import type { IpAddress } from '../base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'
import { createPrf } from '../crypto/prf.ts'
import { constantTimeEqual } from '../crypto/secret.ts'
import { PrfId } from '../iana/transforms.ts'
import type { Entropy } from '../ports.ts'

/** strongSwan: a cookie is good for 10 s, its secret is changed every 120 s. */
const COOKIE_LIFETIME: Milliseconds = 10 * SECOND
const SECRET_LIFETIME: Milliseconds = 2 * MINUTE
const SECRET_LENGTH = 32
const COOKIE_LENGTH = 37

interface CookieSecret {
  readonly number: number
  readonly key: Uint8Array
  readonly since: Milliseconds
}

/** good: ours, for this stranger, and in time; old: it was; wrong: not of us, or somebody else's. */
export type CookieVerdict = 'none' | 'good' | 'old' | 'wrong'

export class Cookies {
  readonly #entropy: Entropy
  readonly #prf = createPrf(PrfId.PRF_HMAC_SHA2_256)
  #current: CookieSecret | null = null
  #previous: CookieSecret | null = null

  constructor(entropy: Entropy) {
    this.#entropy = entropy
  }

  bake(initiatorSpi: bigint, address: IpAddress, now: Milliseconds): Uint8Array {
    const secret = this.#secretFor(now)
    return this.#cookie(secret, Math.floor(now / SECOND) >>> 0, initiatorSpi, address)
  }

  /** Whether `cookie` is one we gave to `address` for `initiatorSpi`, and when; null if there is none. */
  judge(cookie: Uint8Array | null, initiatorSpi: bigint, address: IpAddress, now: Milliseconds): CookieVerdict {
    if (cookie === null) return 'none'
    if (cookie.length !== COOKIE_LENGTH) return 'wrong'
    const reader = new Reader(cookie)
    const number = reader.u8()
    const seconds = reader.u32()
    const secret = [this.#current, this.#previous].find((candidate) => candidate?.number === number)
    if (secret === undefined || secret === null) return 'wrong'
    if (!constantTimeEqual(cookie, this.#cookie(secret, seconds, initiatorSpi, address))) return 'wrong'
    const age = ((Math.floor(now / SECOND) >>> 0) - seconds) >>> 0
    return age * SECOND <= COOKIE_LIFETIME ? 'good' : 'old'
  }

  #secretFor(now: Milliseconds): CookieSecret {
    if (this.#current === null || now - this.#current.since > SECRET_LIFETIME) {
      this.#previous = this.#current
      const number = this.#previous === null ? 0 : (this.#previous.number + 1) & 0xff
      this.#current = { number, key: this.#entropy.bytes(SECRET_LENGTH), since: now }
    }
    return this.#current
  }

  #cookie(secret: CookieSecret, seconds: number, initiatorSpi: bigint, address: IpAddress): Uint8Array {
    const covered = new Writer(28).u32(seconds).u64(initiatorSpi).bytes(address.bytes).finish()
    const mac = this.#prf.compute(secret.key, covered)
    return new Writer(COOKIE_LENGTH).u8(secret.number).u32(seconds).bytes(mac).finish()
  }
}
