/**
 * Digests that are not keyed. SHA-1 is what NAT detection hashes addresses with (RFC 7296 2.23), where it need not
 * resist collisions.
 */
import { sha1 as nobleSha1 } from '@noble/hashes/legacy.js'

/** 20 bytes. */
export function sha1(bytes: Uint8Array): Uint8Array {
  return nobleSha1(bytes)
}
