/**
 * Encryption algorithms (transform type 1) with explicit IVs: what RFC 3602 (CBC), RFC 3686 and 5930 (CTR), RFC 4106
 * and 5282 (GCM) and RFC 7634 (ChaCha20-Poly1305) have in common. Padding and integrity are protection.ts's.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'

import { assert } from '../base/assert.ts'
import { EncrId } from '../iana/transforms.ts'
import { type EncrAlgorithm, encrAlgorithm, encrKeyMaterialLength } from './algorithms.ts'
import type { Secret } from './secret.ts'

export interface Cipher {
  readonly algorithm: EncrAlgorithm
  /**
   * Writes ciphertext, and behind it the ICV of an AEAD, into `sealed` from `at` on. `plaintext` is a multiple of the block
   * size; only an AEAD minds the associated data.
   */
  encrypt(iv: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array, sealed: Uint8Array, at: number): void
  /** The plaintext, or null where the ICV of an AEAD is wrong. `ciphertext` has the ICV behind it, and whole blocks. */
  decrypt(iv: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array | null
}

/**
 * `key` is key and salt. It is kept, not copied: once it is destroyed, the cipher throws. `encr.keyLength` is in bits,
 * null without the attribute.
 */
export function createCipher(encr: { readonly id: number; readonly keyLength: number | null }, key: Secret): Cipher {
  const algorithm = encrAlgorithm(encr.id)
  assert(algorithm !== null && algorithm.mode !== 'null', 'messages are encrypted with a cipher that we do')
  assert(key.length === encrKeyMaterialLength(encr), 'an encryption key has the length of its algorithm, salt included')
  const keyLength = key.length - algorithm.saltLength
  if (algorithm.mode !== 'aead') return new ClassicCipher(algorithm, `aes-${keyLength * 8}-${algorithm.mode}`, key)
  const name = encr.id === EncrId.ENCR_CHACHA20_POLY1305 ? 'chacha20-poly1305' : `aes-${keyLength * 8}-gcm`
  // The names are made at run time; any AEAD's will do for the types.
  return new AeadCipher(algorithm, name as 'aes-256-gcm', key)
}

function withoutSalt(key: Secret, algorithm: EncrAlgorithm): Uint8Array {
  const material = key.dangerouslyReveal()
  return algorithm.saltLength === 0 ? material : material.subarray(0, material.length - algorithm.saltLength)
}

function saltOf(key: Secret, algorithm: EncrAlgorithm): Uint8Array {
  return key.dangerouslyReveal().subarray(key.length - algorithm.saltLength)
}

class ClassicCipher implements Cipher {
  readonly algorithm: EncrAlgorithm
  readonly #name: string
  readonly #key: Secret
  readonly #counterBlock: Uint8Array | null

  constructor(algorithm: EncrAlgorithm, name: string, key: Secret) {
    this.algorithm = algorithm
    this.#name = name
    this.#key = key
    this.#counterBlock = null
    if (algorithm.mode === 'ctr') {
      // Salt, IV, and a block counter that starts at 1 (RFC 3686 4).
      this.#counterBlock = new Uint8Array(16)
      this.#counterBlock.set(saltOf(key, algorithm))
      this.#counterBlock[15] = 1
    }
  }

  encrypt(iv: Uint8Array, _associatedData: Uint8Array, plaintext: Uint8Array, sealed: Uint8Array, at: number): void {
    const cipher = createCipheriv(this.#name, withoutSalt(this.#key, this.algorithm), this.#startOf(iv))
    cipher.setAutoPadding(false)
    sealed.set(cipher.update(plaintext), at)
  }

  decrypt(iv: Uint8Array, _associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    const decipher = createDecipheriv(this.#name, withoutSalt(this.#key, this.algorithm), this.#startOf(iv))
    decipher.setAutoPadding(false)
    return plain(decipher.update(ciphertext))
  }

  /** What OpenSSL calls the IV. */
  #startOf(iv: Uint8Array): Uint8Array {
    if (this.#counterBlock === null) return iv
    this.#counterBlock.set(iv, this.algorithm.saltLength)
    return this.#counterBlock
  }
}

class AeadCipher implements Cipher {
  readonly algorithm: EncrAlgorithm
  readonly #name: 'aes-256-gcm'
  readonly #key: Secret
  readonly #options: { readonly authTagLength: number }
  /** Salt and IV. */
  readonly #nonce: Uint8Array

  constructor(algorithm: EncrAlgorithm, name: 'aes-256-gcm', key: Secret) {
    this.algorithm = algorithm
    this.#name = name
    this.#key = key
    this.#options = { authTagLength: algorithm.icvLength }
    this.#nonce = new Uint8Array(algorithm.saltLength + algorithm.ivLength)
    this.#nonce.set(saltOf(key, algorithm))
  }

  encrypt(iv: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array, sealed: Uint8Array, at: number): void {
    this.#nonce.set(iv, this.algorithm.saltLength)
    const cipher = createCipheriv(this.#name, withoutSalt(this.#key, this.algorithm), this.#nonce, this.#options)
    cipher.setAAD(associatedData)
    sealed.set(cipher.update(plaintext), at)
    cipher.final()
    sealed.set(cipher.getAuthTag(), at + plaintext.length)
  }

  decrypt(iv: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array | null {
    this.#nonce.set(iv, this.algorithm.saltLength)
    const icvAt = ciphertext.length - this.algorithm.icvLength
    const decipher = createDecipheriv(this.#name, withoutSalt(this.#key, this.algorithm), this.#nonce, this.#options)
    decipher.setAAD(associatedData)
    decipher.setAuthTag(ciphertext.subarray(icvAt))
    const plaintext = plain(decipher.update(ciphertext.subarray(0, icvAt)))
    try {
      decipher.final()
    } catch {
      return null
    }
    return plaintext
  }
}

/** Of a Buffer, slice() is no copy: who keeps three octets of a plaintext that way would keep all of it. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}
