/**
 * Integrity algorithms (transform type 3): a keyed MAC, truncated. HMACs per RFC 2404 and RFC 4868, AES-XCBC-MAC-96
 * per RFC 3566, AES-CMAC-96 per RFC 4494.
 */
import { createHmac, createSecretKey } from 'node:crypto'

import { assert } from '../base/assert.ts'
import { IntegId } from '../iana/transforms.ts'
import { AesMac, type AesMacKind } from './aes-mac.ts'
import { integAlgorithm } from './algorithms.ts'
import type { Secret } from './secret.ts'

export interface Integrity {
  readonly icvLength: number
  /** The truncated MAC of the parts of a message put one after the other. */
  compute(...data: readonly Uint8Array[]): Uint8Array
}

const HASHES: ReadonlyMap<number, string> = new Map([
  [IntegId.AUTH_HMAC_SHA1_96, 'sha1'],
  [IntegId.AUTH_HMAC_SHA2_256_128, 'sha256'],
  [IntegId.AUTH_HMAC_SHA2_384_192, 'sha384'],
  [IntegId.AUTH_HMAC_SHA2_512_256, 'sha512'],
])
const AES_MACS: ReadonlyMap<number, AesMacKind> = new Map([
  [IntegId.AUTH_AES_XCBC_96, 'xcbc'],
  [IntegId.AUTH_AES_CMAC_96, 'cmac'],
])

/** `key` has the algorithm's key length, and is not needed any more afterwards. */
export function createIntegrity(id: number, key: Secret): Integrity {
  const algorithm = integAlgorithm(id)
  assert(algorithm !== null, 'only integrity algorithms that we do are negotiated')
  assert(key.length === algorithm.keyLength, 'an integrity key has the length of its algorithm')
  const { icvLength } = algorithm
  const hash = HASHES.get(id)
  if (hash !== undefined) {
    const keyObject = createSecretKey(key.dangerouslyReveal())
    return {
      icvLength,
      compute(...data) {
        const hmac = createHmac(hash, keyObject)
        for (const part of data) hmac.update(part)
        return hmac.digest().subarray(0, icvLength)
      },
    }
  }
  const kind = AES_MACS.get(id)
  assert(kind !== undefined, 'an integrity algorithm is an HMAC or an AES MAC')
  const mac = new AesMac(kind, key.dangerouslyReveal())
  return { icvLength, compute: (...data) => mac.compute(...data).subarray(0, icvLength) }
}
