/**
 * IANA's ESP transforms and what the Linux crypto API calls them. Key lengths count the salt or nonce that travels
 * with the key and stands behind it (RFC 4106 8.1, RFC 3686 5.1, RFC 7634 2).
 */
import { assert } from '../../base/assert.ts'
import { EncrId, IntegId } from '../../iana/transforms.ts'
import type { EspAlgorithms } from '../../negotiate/algorithms.ts'

/** How the kernel wants an encryption transform: as an AEAD with an ICV of `icvBits`, or as a cipher beside an integrity algorithm. */
export interface KernelCipher {
  readonly name: string
  /** Null for a cipher. */
  readonly icvBits: number | null
  /** Octets behind the key proper. */
  readonly saltLength: number
  /** Octets of the key proper where the transform has no key length attribute, else null. */
  readonly fixedKeyLength: number | null
}

export interface KernelIntegrity {
  readonly name: string
  /** Bits of the ICV; sent along because the kernel's default is not always IPsec's (SHA-256: 96). */
  readonly truncatedBits: number
  readonly keyLength: number
}

/** By ENCR transform ID. */
const CIPHERS: ReadonlyMap<number, KernelCipher> = new Map<number, KernelCipher>([
  [EncrId.ENCR_NULL, { name: 'ecb(cipher_null)', icvBits: null, saltLength: 0, fixedKeyLength: 0 }],
  [EncrId.ENCR_AES_CBC, { name: 'cbc(aes)', icvBits: null, saltLength: 0, fixedKeyLength: null }],
  [EncrId.ENCR_AES_CTR, { name: 'rfc3686(ctr(aes))', icvBits: null, saltLength: 4, fixedKeyLength: null }],
  [EncrId.ENCR_AES_GCM_8, { name: 'rfc4106(gcm(aes))', icvBits: 64, saltLength: 4, fixedKeyLength: null }],
  [EncrId.ENCR_AES_GCM_12, { name: 'rfc4106(gcm(aes))', icvBits: 96, saltLength: 4, fixedKeyLength: null }],
  [EncrId.ENCR_AES_GCM_16, { name: 'rfc4106(gcm(aes))', icvBits: 128, saltLength: 4, fixedKeyLength: null }],
  [EncrId.ENCR_CHACHA20_POLY1305, { name: 'rfc7539esp(chacha20,poly1305)', icvBits: 128, saltLength: 4, fixedKeyLength: 32 }],
])

/** By INTEG transform ID. */
const INTEGRITIES: ReadonlyMap<number, KernelIntegrity> = new Map<number, KernelIntegrity>([
  [IntegId.AUTH_HMAC_SHA1_96, { name: 'hmac(sha1)', truncatedBits: 96, keyLength: 20 }],
  [IntegId.AUTH_AES_XCBC_96, { name: 'xcbc(aes)', truncatedBits: 96, keyLength: 16 }],
  [IntegId.AUTH_AES_CMAC_96, { name: 'cmac(aes)', truncatedBits: 96, keyLength: 16 }],
  [IntegId.AUTH_HMAC_SHA2_256_128, { name: 'hmac(sha256)', truncatedBits: 128, keyLength: 32 }],
  [IntegId.AUTH_HMAC_SHA2_384_192, { name: 'hmac(sha384)', truncatedBits: 192, keyLength: 48 }],
  [IntegId.AUTH_HMAC_SHA2_512_256, { name: 'hmac(sha512)', truncatedBits: 256, keyLength: 64 }],
])

/** Null when the kernel has no name for the transform. */
export function kernelCipher(id: number): KernelCipher | null {
  return CIPHERS.get(id) ?? null
}

/** Null when the kernel has no name for the transform. */
export function kernelIntegrity(id: number): KernelIntegrity | null {
  return INTEGRITIES.get(id) ?? null
}

/** Octets of key material, salt included, of an encryption transform the kernel knows. */
export function cipherKeyLength(cipher: KernelCipher, keyLength: number | null): number {
  const proper = cipher.fixedKeyLength ?? (keyLength ?? 0) / 8
  assert(cipher.fixedKeyLength !== null || proper > 0, `${cipher.name} comes with a key length`)
  return proper + cipher.saltLength
}

/** The kernel's names of a choice, for messages: `cbc(aes) with hmac(sha256)`. */
export function algorithmNames(choice: EspAlgorithms): string {
  const cipher = kernelCipher(choice.encryption.id)?.name ?? `encryption transform ${choice.encryption.id}`
  if (choice.integrity === null) return cipher
  return `${cipher} with ${kernelIntegrity(choice.integrity)?.name ?? `integrity transform ${choice.integrity}`}`
}
