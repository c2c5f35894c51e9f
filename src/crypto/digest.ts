/**
 * Digests that are not keyed. SHA-1 is what NAT detection hashes addresses with (RFC 7296 2.23), where it need not
 * resist collisions.
 */
import { hash } from 'node:crypto'

/** 20 bytes. */
export function sha1(bytes: Uint8Array): Uint8Array {
  return hash('sha1', bytes, 'buffer')
}
