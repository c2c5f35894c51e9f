/**
 * The two MACs on AES-128, each a CBC-MAC whose last block is masked:
 *
 *               CBC-MAC key    mask of a full last block    mask of a padded one (10*)
 *   AES-XCBC    E(K, 01..01)   E(K, 02..02)                 E(K, 03..03)             RFC 3566 4
 *   AES-CMAC    K              2·E(K, 0)                    4·E(K, 0) in GF(2^128)   RFC 4493 2.3
 */
import { createCipheriv, createSecretKey, type KeyObject } from 'node:crypto'

import { assert } from '../base/assert.ts'

export type AesMacKind = 'xcbc' | 'cmac'

const BLOCK = 16
const ZERO = new Uint8Array(BLOCK)

export class AesMac {
  readonly #key: KeyObject
  readonly #fullMask: Uint8Array
  readonly #paddedMask: Uint8Array

  /** `key` has 16 bytes. */
  constructor(kind: AesMacKind, key: Uint8Array) {
    assert(key.length === BLOCK, 'an AES-128 MAC has a key of 16 bytes')
    if (kind === 'xcbc') {
      const derived = encrypt('aes-128-ecb', createSecretKey(key), null, repeated([1, 2, 3]))
      this.#key = createSecretKey(derived.subarray(0, BLOCK))
      this.#fullMask = derived.subarray(BLOCK, 2 * BLOCK)
      this.#paddedMask = derived.subarray(2 * BLOCK)
    } else {
      this.#key = createSecretKey(key)
      this.#fullMask = doubled(encrypt('aes-128-ecb', this.#key, null, ZERO))
      this.#paddedMask = doubled(this.#fullMask)
    }
  }

  /** The MAC, 16 bytes, of the parts of a message put one after the other. */
  compute(...data: readonly Uint8Array[]): Uint8Array {
    let length = 0
    for (const part of data) length += part.length
    const blocks = new Uint8Array(Math.max(1, Math.ceil(length / BLOCK)) * BLOCK)
    let at = 0
    for (const part of data) {
      blocks.set(part, at)
      at += part.length
    }
    const isFull = length === blocks.length
    if (!isFull) blocks[length] = 0x80
    const mask = isFull ? this.#fullMask : this.#paddedMask
    const last = blocks.length - BLOCK
    for (let i = 0; i < BLOCK; i++) blocks[last + i]! ^= mask[i]!
    return encrypt('aes-128-cbc', this.#key, ZERO, blocks).subarray(last)
  }
}

function encrypt(cipherName: string, key: KeyObject, iv: Uint8Array | null, blocks: Uint8Array): Uint8Array {
  const cipher = createCipheriv(cipherName, key, iv)
  cipher.setAutoPadding(false)
  return cipher.update(blocks)
}

function repeated(bytes: readonly number[]): Uint8Array {
  const all = new Uint8Array(bytes.length * BLOCK)
  bytes.forEach((byte, i) => all.fill(byte, i * BLOCK, (i + 1) * BLOCK))
  return all
}

/** Multiplication by x in GF(2^128), RFC 4493 2.3. The reduction is a mask, not a branch: the block is secret. */
function doubled(block: Uint8Array): Uint8Array {
  const result = new Uint8Array(BLOCK)
  for (let i = 0; i < BLOCK; i++) result[i] = (block[i]! << 1) | ((block[i + 1] ?? 0) >> 7)
  result[BLOCK - 1]! ^= 0x87 & -(block[0]! >> 7)
  return result
}
