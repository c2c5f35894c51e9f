/**
 * Nonces: ours, and whose is the lowest where two exchanges did the same thing at once (RFC 7296 2.8.1, 2.10).
 */
import type { Entropy } from '../ports.ts'

/** Octets of our nonces; at least half the PRF's key (RFC 7296 2.10), enough for any. */
const NONCE_LENGTH = 32

export function newNonce(entropy: Entropy): Uint8Array {
  return entropy.bytes(NONCE_LENGTH)
}

/** Octet by octet; of two that begin alike the shorter one is the lower (RFC 7296 2.8.1). Negative, 0 or positive. */
export function compareNonces(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}

/** The lower of an exchange's two nonces. */
export function lowestNonce(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareNonces(a, b) <= 0 ? a : b
}
