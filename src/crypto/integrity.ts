/**
 * Integrity algorithms (transform type 3): a keyed MAC, truncated. HMACs per RFC 2404 and RFC 4868, AES-XCBC-MAC-96
 * per RFC 3566, AES-CMAC-96 per RFC 4494.
 */
import { assert } from '../base/assert.ts'
import { IntegId } from '../iana/transforms.ts'
import { AesMac, type AesMacKind } from './aes-mac.ts'
import { integAlgorithm } from './algorithms.ts'
import { hmac, type HmacHash } from './hmac.ts'
import type { Secret } from './secret.ts'

export interface Integrity {
  readonly icvLength: number
  /** The truncated MAC of the parts of a message put one after the other. */
  compute(...data: readonly Uint8Array[]): Uint8Array
}

const HASHES: ReadonlyMap<number, HmacHash> = new Map([
  [IntegId.AUTH_HMAC_SHA1_96, 'sha1'],
  [IntegId.AUTH_HMAC_SHA2_256_128, 'sha256'],
  [IntegId.AUTH_HMAC_SHA2_384_192, 'sha384'],
  [IntegId.AUTH_HMAC_SHA2_512_256, 'sha512'],
])
const AES_MACS: ReadonlyMap<number, AesMacKind> = new Map([
  [IntegId.AUTH_AES_XCBC_96, 'xcbc'],
  [IntegId.AUTH_AES_CMAC_96, 'cmac'],
])

/** `key` has the algorithm's key length. It is kept, not copied: once it is destroyed, `compute` throws. */
export function createIntegrity(id: number, key: Secret): Integrity {
  const algorithm = integAlgorithm(id)
  assert(algorithm !== null, 'only integrity algorithms that we do are negotiated')
  assert(key.length === algorithm.keyLength, 'an integrity key has the length of its algorithm')
  const { icvLength } = algorithm
  const hash = HASHES.get(id)
  if (hash !== undefined) return new TruncatedHmac(hash, key, icvLength)
  const kind = AES_MACS.get(id)
  assert(kind !== undefined, 'an integrity algorithm is an HMAC or an AES MAC')
  return new TruncatedAesMac(new AesMac(kind, key.dangerouslyReveal()), icvLength)
}

// Classes and no closures: there are two for every IKE_SA.

class TruncatedHmac implements Integrity {
  readonly icvLength: number
  readonly #hash: HmacHash
  readonly #key: Secret

  constructor(hash: HmacHash, key: Secret, icvLength: number) {
    this.icvLength = icvLength
    this.#hash = hash
    this.#key = key
  }

  compute(...data: readonly Uint8Array[]): Uint8Array {
    return hmac(this.#hash, this.#key.dangerouslyReveal(), data).subarray(0, this.icvLength)
  }
}

class TruncatedAesMac implements Integrity {
  readonly icvLength: number
  readonly #mac: AesMac

  constructor(mac: AesMac, icvLength: number) {
    this.icvLength = icvLength
    this.#mac = mac
  }

  compute(...data: readonly Uint8Array[]): Uint8Array {
    return this.#mac.compute(...data).subarray(0, this.icvLength)
  }
}
