/**
 * PKCS#12 (RFC 7292): private keys and certificates in one file under a passphrase.
 */
import type { PrivateKey } from '../crypto/private-key.ts'
import type { Secret } from '../crypto/secret.ts'

export interface Pkcs12 {
  readonly keys: readonly PrivateKey[]
  /** DER, in the file's order. */
  readonly certificates: readonly Uint8Array[]
}

/** Throws EspalierError (caller, PKCS12_MALFORMED, KEY_NEEDS_PASSPHRASE, KEY_PASSPHRASE_WRONG, KEY_UNSUPPORTED). */
export function readPkcs12(bytes: Uint8Array, passphrase: Secret | null): Pkcs12 {
  return notYet(bytes, passphrase)
}

function notYet(...of: unknown[]): never {
  throw new Error(`not yet: ${of.length}`)
}
