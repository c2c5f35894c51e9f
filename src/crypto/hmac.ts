/**
 * HMAC (RFC 2104) out of one-shot digests: H(K ^ opad | H(K ^ ipad | data)).
 *
 * OpenSSL computes the digests. node:crypto's own HMAC is an object with a finalizer for each MAC; a handshake takes
 * two dozen, and collecting them costs as much as computing them.
 */
import { hash as digest } from 'node:crypto'

/** OpenSSL's names, with the length of the block that a key fills. */
const BLOCK_LENGTHS = { sha1: 64, sha256: 64, sha384: 128, sha512: 128 } as const
const BLOCK_LENGTH_MAX = 128
const DIGEST_LENGTH_MAX = 64
const INNER_PAD = 0x36
const OUTER_PAD = 0x5c
/** Most messages of a handshake fit; what is longer gets memory of its own. */
const SCRATCH_LENGTH = 2048

export type HmacHash = keyof typeof BLOCK_LENGTHS

const innerScratch = new Uint8Array(SCRATCH_LENGTH)
const outerScratch = new Uint8Array(BLOCK_LENGTH_MAX + DIGEST_LENGTH_MAX)

/** The MAC over the parts of `data` put one after the other, as long as the digest; `key` has any length. */
export function hmac(hash: HmacHash, key: Uint8Array, data: readonly Uint8Array[]): Uint8Array {
  const blockLength = BLOCK_LENGTHS[hash]
  const fitting = key.length > blockLength ? digest(hash, key, 'buffer') : key
  let length = blockLength
  for (const part of data) length += part.length
  const inner = length > SCRATCH_LENGTH ? new Uint8Array(length) : innerScratch.subarray(0, length)
  for (let i = 0; i < blockLength; i++) {
    const byte = i < fitting.length ? fitting[i]! : 0
    inner[i] = byte ^ INNER_PAD
    outerScratch[i] = byte ^ OUTER_PAD
  }
  let at = blockLength
  for (const part of data) {
    inner.set(part, at)
    at += part.length
  }
  const innerDigest = digest(hash, inner, 'buffer')
  outerScratch.set(innerDigest, blockLength)
  const mac = digest(hash, outerScratch.subarray(0, blockLength + innerDigest.length), 'buffer')
  // The key is in there, and in key derivation the data is as secret.
  inner.fill(0)
  outerScratch.fill(0)
  return mac
}
