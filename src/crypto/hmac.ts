/**
 * HMAC (RFC 2104) out of one-shot digests: H(K ^ opad | H(K ^ ipad | data)).
 *
 * OpenSSL computes the digests. node:crypto's own HMAC is an object with a finalizer for each MAC; a handshake takes
 * two dozen, and collecting them costs as much as computing them.
 */
import { hash as digest } from 'node:crypto'

/** By OpenSSL's names: the length of the block that a key fills, and room for such a block and a digest. */
const HASHES = {
  sha1: { blockLength: 64, outer: Buffer.alloc(64 + 20) },
  sha256: { blockLength: 64, outer: Buffer.alloc(64 + 32) },
  sha384: { blockLength: 128, outer: Buffer.alloc(128 + 48) },
  sha512: { blockLength: 128, outer: Buffer.alloc(128 + 64) },
} as const
const INNER_PAD = 0x36
const OUTER_PAD = 0x5c
/** Most messages of a handshake fit; what is longer gets memory of its own. */
const SCRATCH_LENGTH = 2048
const scratch = new Uint8Array(SCRATCH_LENGTH)

export type HmacHash = keyof typeof HASHES

/** The MAC over the parts of `data` put one after the other, as long as the digest; `key` has any length. */
export function hmac(hash: HmacHash, key: Uint8Array, data: readonly Uint8Array[]): Uint8Array {
  const { blockLength, outer } = HASHES[hash]
  const fitting = key.length > blockLength ? digest(hash, key, 'buffer') : key
  let length = blockLength
  for (const part of data) length += part.length
  const inner = length > SCRATCH_LENGTH ? new Uint8Array(length) : scratch.subarray(0, length)
  for (let i = 0; i < blockLength; i++) {
    const byte = i < fitting.length ? fitting[i]! : 0
    inner[i] = byte ^ INNER_PAD
    outer[i] = byte ^ OUTER_PAD
  }
  let at = blockLength
  for (const part of data) {
    inner.set(part, at)
    at += part.length
  }
  // Of use to nobody without the key, and as text, one character for each octet, it takes half the time.
  outer.write(digest(hash, inner, 'latin1'), blockLength, 'latin1')
  const mac = digest(hash, outer, 'buffer')
  // The key is in there, and in key derivation the data is as secret.
  inner.fill(0)
  outer.fill(0)
  return mac
}
