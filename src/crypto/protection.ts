/**
 * Protection of IKE messages: the body of an Encrypted payload (RFC 7296 3.14, RFC 5282 3) or of an Encrypted
 * Fragment payload (RFC 7383 2.5), that is everything behind the payload's generic header (and fragment numbers):
 *
 *   | IV | ciphertext of: plaintext, padding, pad length (1 octet) | ICV |
 *
 * The associated data is the message from the IKE header up to the IV. With an AEAD it is authenticated as such (RFC
 * 5282 5.1); with an integrity algorithm the ICV is over associated data, IV and ciphertext (encrypt, then MAC).
 */
import { assert } from '../base/assert.ts'
import { Writer } from '../base/bytes.ts'
import type { Entropy } from '../ports.ts'
import { type Cipher, createCipher } from './cipher.ts'
import { createIntegrity, type Integrity } from './integrity.ts'
import { constantTimeEqual, type Secret } from './secret.ts'

/** The chosen transforms of an IKE_SA. `integ` is null with an AEAD; `keyLength` in bits, null without the attribute. */
export interface Suite {
  readonly encr: { readonly id: number; readonly keyLength: number | null }
  readonly integ: { readonly id: number } | null
  readonly prf: number
  readonly ke: number
}

/** The half of a Suite that protects messages. */
export type ProtectionSuite = Pick<Suite, 'encr' | 'integ'>

export interface Sealer {
  /** Length of the body that `seal` makes of a plaintext, for the length fields in front of it. */
  sealedLength(plaintextLength: number): number
  /** How many IVs of its counter are used up: a sealer that goes on with the same key in its place begins there. */
  readonly ivsUsed: number
  /** The body: IV, ciphertext, ICV. */
  seal(associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
}

export interface Opener {
  /** The plaintext without its padding, or null for a body that is too short, not authentic or badly padded. */
  open(associatedData: Uint8Array, body: Uint8Array): Uint8Array | null
}

/**
 * Seals what we send. `encrKey` is SK_e, salt behind the key where the cipher has one; `integKey` SK_a, null with an
 * AEAD. Both are kept, not copied: once they are destroyed, sealing throws. A key must get one sealer only: with an AEAD and AES-CTR the IV counts the
 * messages of this sealer, and a second one would count the same numbers under the same key: one that goes on where
 * another has ended is told its `ivsUsed`.
 */
export function createSealer(
  suite: ProtectionSuite,
  encrKey: Secret,
  integKey: Secret | null,
  entropy: Entropy,
  ivsUsed = 0,
): Sealer {
  return new SuiteSealer(createCipher(suite.encr, encrKey), integrityOf(suite, integKey), entropy, ivsUsed)
}

/** Opens what the peer sends; keys as in createSealer. */
export function createOpener(suite: ProtectionSuite, encrKey: Secret, integKey: Secret | null): Opener {
  return new SuiteOpener(createCipher(suite.encr, encrKey), integrityOf(suite, integKey))
}

function integrityOf(suite: ProtectionSuite, key: Secret | null): Integrity | null {
  assert((suite.integ === null) === (key === null), 'an integrity algorithm has a key')
  return suite.integ === null || key === null ? null : createIntegrity(suite.integ.id, key)
}

/** Numbers 0, 1, 2 ... in eight octets: IVs that need only be different, each from the other (RFC 5282 3.1, RFC 5930 2.2). */
class IvCounter {
  #next: number

  constructor(next: number) {
    this.#next = next
  }

  get next(): number {
    return this.#next
  }

  take(): Uint8Array {
    assert(this.#next < Number.MAX_SAFE_INTEGER, 'an IKE_SA is rekeyed long before its IVs run out')
    return new Writer(8)
      .u32(Math.floor(this.#next / 2 ** 32))
      .u32(this.#next++ % 2 ** 32)
      .finish()
  }
}

class SuiteSealer implements Sealer {
  readonly #cipher: Cipher
  readonly #integrity: Integrity | null
  readonly #entropy: Entropy
  readonly #ivs: IvCounter
  readonly #icvLength: number

  constructor(cipher: Cipher, integrity: Integrity | null, entropy: Entropy, ivsUsed: number) {
    this.#cipher = cipher
    this.#integrity = integrity
    this.#entropy = entropy
    this.#ivs = new IvCounter(ivsUsed)
    this.#icvLength = icvLengthOf(cipher, integrity)
  }

  get ivsUsed(): number {
    return this.#ivs.next
  }

  sealedLength(plaintextLength: number): number {
    const { ivLength, blockSize } = this.#cipher.algorithm
    return ivLength + paddedLength(plaintextLength, blockSize) + this.#icvLength
  }

  seal(associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const { mode, ivLength, blockSize } = this.#cipher.algorithm
    const body = new Uint8Array(this.sealedLength(plaintext.length))
    // A CBC IV must be unpredictable to who chooses the plaintext (RFC 7296 3.14); elsewhere a counter is enough.
    const iv = mode === 'cbc' ? this.#entropy.bytes(ivLength) : this.#ivs.take()
    body.set(iv)
    const padded = withPadding(plaintext, blockSize)
    try {
      this.#cipher.encrypt(iv, associatedData, padded, body, ivLength)
    } finally {
      padded.fill(0)
    }
    if (this.#integrity !== null) {
      const icvAt = body.length - this.#icvLength
      body.set(this.#integrity.compute(associatedData, body.subarray(0, icvAt)), icvAt)
    }
    return body
  }
}

class SuiteOpener implements Opener {
  readonly #cipher: Cipher
  readonly #integrity: Integrity | null
  readonly #icvLength: number

  constructor(cipher: Cipher, integrity: Integrity | null) {
    this.#cipher = cipher
    this.#integrity = integrity
    this.#icvLength = icvLengthOf(cipher, integrity)
  }

  open(associatedData: Uint8Array, body: Uint8Array): Uint8Array | null {
    const { ivLength, blockSize } = this.#cipher.algorithm
    const icvAt = body.length - this.#icvLength
    const paddedLength = icvAt - ivLength
    if (paddedLength < blockSize || paddedLength % blockSize !== 0) return null
    const integrity = this.#integrity
    if (
      integrity !== null &&
      !constantTimeEqual(integrity.compute(associatedData, body.subarray(0, icvAt)), body.subarray(icvAt))
    )
      return null
    const sealed = body.subarray(ivLength, integrity === null ? body.length : icvAt)
    const padded = this.#cipher.decrypt(body.subarray(0, ivLength), associatedData, sealed)
    return padded === null ? null : withoutPadding(padded)
  }
}

function icvLengthOf(cipher: Cipher, integrity: Integrity | null): number {
  const { mode, icvLength } = cipher.algorithm
  assert(
    (mode === 'aead') === (integrity === null),
    'an integrity algorithm goes with a cipher that is no AEAD, and with no other',
  )
  return integrity === null ? icvLength : integrity.icvLength
}

function paddedLength(plaintextLength: number, blockSize: number): number {
  return Math.ceil((plaintextLength + 1) / blockSize) * blockSize
}

/** Most messages fit; what is longer gets memory of its own. */
const SCRATCH = new Uint8Array(2048)

/**
 * Plaintext, the least padding (zeros; any octets will do, RFC 7296 3.14) and the pad length; to be overwritten with zeros
 * before the next is made, since one after the other is made in the same place.
 */
function withPadding(plaintext: Uint8Array, blockSize: number): Uint8Array {
  const length = paddedLength(plaintext.length, blockSize)
  const padded = length > SCRATCH.length ? new Uint8Array(length) : SCRATCH.subarray(0, length)
  padded.set(plaintext)
  padded[padded.length - 1] = padded.length - plaintext.length - 1
  return padded
}

/** Null when the pad length is more than there is. It is authentic here, so its checking tells a stranger nothing. */
function withoutPadding(padded: Uint8Array): Uint8Array | null {
  const length = padded.length - 1 - padded[padded.length - 1]!
  return length < 0 ? null : padded.subarray(0, length)
}
