/**
 * Protection of IKE messages: the body of an Encrypted payload (RFC 7296 3.14, RFC 5282 3) or of an Encrypted
 * Fragment payload (RFC 7383 2.5), that is everything behind the payload's generic header (and fragment numbers):
 *
 *   | IV | ciphertext of: plaintext, padding, pad length (1 octet) | ICV |
 *
 * The associated data is the message from the IKE header up to the IV. With an AEAD it is authenticated as such (RFC
 * 5282 5.1); with an integrity algorithm the ICV is over associated data, IV and ciphertext (encrypt, then MAC).
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'

import { assert } from '../base/assert.ts'
import { EncrId } from '../iana/transforms.ts'
import type { Entropy } from '../ports.ts'
import { type EncrAlgorithm, encrAlgorithm, encrKeyMaterialLength } from './algorithms.ts'
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
  /** The body: IV, ciphertext, ICV. */
  seal(associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
}

export interface Opener {
  /** The plaintext without its padding, or null for a body that is too short, not authentic or badly padded. */
  open(associatedData: Uint8Array, body: Uint8Array): Uint8Array | null
}

/**
 * Seals what we send. `encrKey` is SK_e, salt behind the key where the cipher has one; `integKey` SK_a, null with an
 * AEAD. Both may be destroyed afterwards. A key must get one sealer only: with an AEAD and AES-CTR the IV counts the
 * messages of this sealer, and a second one would count the same numbers under the same key.
 */
export function createSealer(suite: ProtectionSuite, encrKey: Secret, integKey: Secret | null, entropy: Entropy): Sealer {
  const keys = prepare(suite, encrKey, integKey)
  if (keys.integrity === null) return new AeadSealer(keys)
  return new MacSealer(keys, keys.integrity, entropy)
}

/** Opens what the peer sends; keys as in createSealer. */
export function createOpener(suite: ProtectionSuite, encrKey: Secret, integKey: Secret | null): Opener {
  const keys = prepare(suite, encrKey, integKey)
  if (keys.integrity === null) return new AeadOpener(keys)
  return new MacOpener(keys, keys.integrity)
}

interface Keys {
  readonly algorithm: EncrAlgorithm
  /** OpenSSL's name. */
  readonly cipher: string
  readonly key: KeyObject
  readonly salt: Uint8Array
  /** Null with an AEAD. */
  readonly integrity: Integrity | null
}

function prepare(suite: ProtectionSuite, encrKey: Secret, integKey: Secret | null): Keys {
  const { encr, integ } = suite
  const algorithm = encrAlgorithm(encr.id)
  assert(algorithm !== null && algorithm.mode !== 'null', 'an IKE_SA is encrypted with a cipher that we do')
  assert(encrKey.length === encrKeyMaterialLength(encr), 'an encryption key has the length of its algorithm, salt included')
  const isAead = algorithm.mode === 'aead'
  assert(isAead === (integ === null) && isAead === (integKey === null), 'an integrity algorithm goes with a cipher that is no AEAD, and with no other')
  const material = encrKey.dangerouslyReveal()
  const keyLength = material.length - algorithm.saltLength
  return {
    algorithm,
    cipher: encr.id === EncrId.ENCR_CHACHA20_POLY1305 ? 'chacha20-poly1305' : `aes-${keyLength * 8}-${isAead ? 'gcm' : algorithm.mode}`,
    key: createSecretKey(material.subarray(0, keyLength)),
    salt: material.slice(keyLength),
    integrity: integ === null || integKey === null ? null : createIntegrity(integ.id, integKey),
  }
}

/** Numbers 0, 1, 2 ... in eight octets: IVs that need only be different, each from the other (RFC 5282 3.1, RFC 5930 2.2). */
class IvCounter {
  #next = 0

  writeTo(iv: Uint8Array): void {
    assert(this.#next < Number.MAX_SAFE_INTEGER, 'an IKE_SA is rekeyed long before its IVs run out')
    const view = new DataView(iv.buffer, iv.byteOffset, iv.byteLength)
    view.setUint32(0, Math.floor(this.#next / 2 ** 32))
    view.setUint32(4, this.#next % 2 ** 32)
    this.#next++
  }
}

/** Of a stream cipher or AEAD: salt and IV, and for AES-CTR the block counter that starts at 1 (RFC 3686 4). */
class Nonce {
  readonly #bytes: Uint8Array
  readonly #saltLength: number

  constructor(keys: Keys) {
    this.#saltLength = keys.salt.length
    this.#bytes = new Uint8Array(keys.salt.length + keys.algorithm.ivLength + (keys.algorithm.mode === 'ctr' ? 4 : 0))
    this.#bytes.set(keys.salt)
    if (keys.algorithm.mode === 'ctr') this.#bytes[this.#bytes.length - 1] = 1
  }

  /** Valid until the next call. */
  of(iv: Uint8Array): Uint8Array {
    this.#bytes.set(iv, this.#saltLength)
    return this.#bytes
  }
}

class AeadSealer implements Sealer {
  readonly #keys: Keys
  readonly #nonce: Nonce
  readonly #ivs = new IvCounter()
  readonly #tag: { readonly authTagLength: number }

  constructor(keys: Keys) {
    this.#keys = keys
    this.#nonce = new Nonce(keys)
    this.#tag = { authTagLength: keys.algorithm.icvLength }
  }

  sealedLength(plaintextLength: number): number {
    const { ivLength, icvLength } = this.#keys.algorithm
    return ivLength + plaintextLength + 1 + icvLength
  }

  seal(associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const { algorithm, cipher: cipherName, key } = this.#keys
    const body = new Uint8Array(this.sealedLength(plaintext.length))
    const iv = body.subarray(0, algorithm.ivLength)
    this.#ivs.writeTo(iv)
    // The common type of `createCipheriv` knows no authTagLength for a name made at run time.
    const cipher = createCipheriv(cipherName as 'aes-256-gcm', key, this.#nonce.of(iv), this.#tag)
    cipher.setAAD(associatedData)
    body.set(cipher.update(withPadding(plaintext, 1)), algorithm.ivLength)
    cipher.final()
    body.set(cipher.getAuthTag(), body.length - algorithm.icvLength)
    return body
  }
}

class AeadOpener implements Opener {
  readonly #keys: Keys
  readonly #nonce: Nonce
  readonly #tag: { readonly authTagLength: number }

  constructor(keys: Keys) {
    this.#keys = keys
    this.#nonce = new Nonce(keys)
    this.#tag = { authTagLength: keys.algorithm.icvLength }
  }

  open(associatedData: Uint8Array, body: Uint8Array): Uint8Array | null {
    const { algorithm, cipher, key } = this.#keys
    const icvAt = body.length - algorithm.icvLength
    if (icvAt < algorithm.ivLength + 1) return null
    const decipher = createDecipheriv(cipher as 'aes-256-gcm', key, this.#nonce.of(body.subarray(0, algorithm.ivLength)), this.#tag)
    decipher.setAAD(associatedData)
    decipher.setAuthTag(body.subarray(icvAt))
    const padded = decipher.update(body.subarray(algorithm.ivLength, icvAt))
    try {
      decipher.final()
    } catch {
      return null
    }
    return withoutPadding(padded)
  }
}

class MacSealer implements Sealer {
  readonly #keys: Keys
  readonly #integrity: Integrity
  readonly #entropy: Entropy
  readonly #nonce: Nonce
  readonly #ivs = new IvCounter()

  constructor(keys: Keys, integrity: Integrity, entropy: Entropy) {
    this.#keys = keys
    this.#integrity = integrity
    this.#entropy = entropy
    this.#nonce = new Nonce(keys)
  }

  sealedLength(plaintextLength: number): number {
    const { ivLength, blockSize } = this.#keys.algorithm
    return ivLength + paddedLength(plaintextLength, blockSize) + this.#integrity.icvLength
  }

  seal(associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const { algorithm, cipher: cipherName, key } = this.#keys
    const body = new Uint8Array(this.sealedLength(plaintext.length))
    const iv = body.subarray(0, algorithm.ivLength)
    // A CBC IV must be unpredictable to who chooses the plaintext (RFC 7296 3.14); a counter is enough for CTR.
    if (algorithm.mode === 'cbc') iv.set(this.#entropy.bytes(algorithm.ivLength))
    else this.#ivs.writeTo(iv)
    const cipher = createCipheriv(cipherName, key, this.#nonce.of(iv))
    cipher.setAutoPadding(false)
    body.set(cipher.update(withPadding(plaintext, algorithm.blockSize)), algorithm.ivLength)
    const icvAt = body.length - this.#integrity.icvLength
    body.set(this.#integrity.compute(associatedData, body.subarray(0, icvAt)), icvAt)
    return body
  }
}

class MacOpener implements Opener {
  readonly #keys: Keys
  readonly #integrity: Integrity
  readonly #nonce: Nonce

  constructor(keys: Keys, integrity: Integrity) {
    this.#keys = keys
    this.#integrity = integrity
    this.#nonce = new Nonce(keys)
  }

  open(associatedData: Uint8Array, body: Uint8Array): Uint8Array | null {
    const { algorithm, cipher, key } = this.#keys
    const icvAt = body.length - this.#integrity.icvLength
    const ciphertextLength = icvAt - algorithm.ivLength
    if (ciphertextLength < algorithm.blockSize || ciphertextLength % algorithm.blockSize !== 0) return null
    if (!constantTimeEqual(this.#integrity.compute(associatedData, body.subarray(0, icvAt)), body.subarray(icvAt))) return null
    const decipher = createDecipheriv(cipher, key, this.#nonce.of(body.subarray(0, algorithm.ivLength)))
    decipher.setAutoPadding(false)
    return withoutPadding(decipher.update(body.subarray(algorithm.ivLength, icvAt)))
  }
}

function paddedLength(plaintextLength: number, blockSize: number): number {
  return Math.ceil((plaintextLength + 1) / blockSize) * blockSize
}

/** Plaintext, the least padding (zeros; any octets will do, RFC 7296 3.14) and the pad length. */
function withPadding(plaintext: Uint8Array, blockSize: number): Uint8Array {
  const padded = new Uint8Array(paddedLength(plaintext.length, blockSize))
  padded.set(plaintext)
  padded[padded.length - 1] = padded.length - plaintext.length - 1
  return padded
}

/** Null when the pad length is more than there is. It is authentic here, so its checking tells a stranger nothing. */
function withoutPadding(padded: Uint8Array): Uint8Array | null {
  const length = padded.length - 1 - padded[padded.length - 1]!
  return length < 0 ? null : padded.subarray(0, length)
}
