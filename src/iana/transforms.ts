/**
 * Transform types and transform IDs of IKEv2, from IANA's registry "Internet Key Exchange Version 2 (IKEv2)
 * Parameters" (RFC 7296 3.3.2). Also the ones we do not do, so that an error can call them by name; what we do is in
 * crypto/algorithms.ts.
 */

/** RFC 7296 3.3.2; the additional key exchanges are RFC 9370's. */
export const TransformType = {
  ENCR: 1,
  PRF: 2,
  INTEG: 3,
  KE: 4,
  ESN: 5,
  ADDKE1: 6,
  ADDKE7: 12,
} as const

/** Transform types of additional key exchanges, in the order in which these take place (RFC 9370 2.2.2). */
export const ADDITIONAL_KE: readonly number[] = [6, 7, 8, 9, 10, 11, 12]

export function isAdditionalKe(type: number): boolean {
  return type >= TransformType.ADDKE1 && type <= TransformType.ADDKE7
}

export const EncrId = {
  ENCR_DES: 2,
  ENCR_3DES: 3,
  ENCR_CAST: 6,
  ENCR_BLOWFISH: 7,
  ENCR_NULL: 11,
  /** RFC 3602 */
  ENCR_AES_CBC: 12,
  /** RFC 3686, RFC 5930 */
  ENCR_AES_CTR: 13,
  /** RFC 4309, RFC 5282 */
  ENCR_AES_CCM_8: 14,
  ENCR_AES_CCM_12: 15,
  ENCR_AES_CCM_16: 16,
  /** RFC 4106, RFC 5282 */
  ENCR_AES_GCM_8: 18,
  ENCR_AES_GCM_12: 19,
  ENCR_AES_GCM_16: 20,
  /** RFC 4543 */
  ENCR_NULL_AUTH_AES_GMAC: 21,
  /** RFC 5529 */
  ENCR_CAMELLIA_CBC: 23,
  ENCR_CAMELLIA_CTR: 24,
  ENCR_CAMELLIA_CCM_8: 25,
  ENCR_CAMELLIA_CCM_12: 26,
  ENCR_CAMELLIA_CCM_16: 27,
  /** RFC 7634 */
  ENCR_CHACHA20_POLY1305: 28,
} as const

export const PrfId = {
  PRF_HMAC_MD5: 1,
  /** RFC 2104 */
  PRF_HMAC_SHA1: 2,
  /** RFC 4434 */
  PRF_AES128_XCBC: 4,
  /** RFC 4868 */
  PRF_HMAC_SHA2_256: 5,
  PRF_HMAC_SHA2_384: 6,
  PRF_HMAC_SHA2_512: 7,
  /** RFC 4615 */
  PRF_AES128_CMAC: 8,
} as const

export const IntegId = {
  NONE: 0,
  AUTH_HMAC_MD5_96: 1,
  /** RFC 2404 */
  AUTH_HMAC_SHA1_96: 2,
  /** RFC 3566 */
  AUTH_AES_XCBC_96: 5,
  AUTH_HMAC_MD5_128: 6,
  AUTH_HMAC_SHA1_160: 7,
  /** RFC 4494 */
  AUTH_AES_CMAC_96: 8,
  /** RFC 4868 */
  AUTH_HMAC_SHA2_256_128: 12,
  AUTH_HMAC_SHA2_384_192: 13,
  AUTH_HMAC_SHA2_512_256: 14,
} as const

export const KeId = {
  NONE: 0,
  MODP_768: 1,
  MODP_1024: 2,
  MODP_1536: 5,
  /** RFC 3526 */
  MODP_2048: 14,
  MODP_3072: 15,
  MODP_4096: 16,
  MODP_6144: 17,
  MODP_8192: 18,
  /** RFC 5903 */
  ECP_256: 19,
  ECP_384: 20,
  ECP_521: 21,
  /** RFC 5114 */
  MODP_1024_160: 22,
  MODP_2048_224: 23,
  MODP_2048_256: 24,
  ECP_192: 25,
  ECP_224: 26,
  /** RFC 6954 */
  ECP_224_BP: 27,
  ECP_256_BP: 28,
  ECP_384_BP: 29,
  ECP_512_BP: 30,
  /** RFC 8031 */
  CURVE25519: 31,
  CURVE448: 32,
  /** RFC 9370 with draft-ietf-ipsecme-ikev2-mlkem */
  ML_KEM_512: 35,
  ML_KEM_768: 36,
  ML_KEM_1024: 37,
} as const

/** RFC 7296 3.3.2, transform type 5. */
export const EsnId = {
  NO_ESN: 0,
  ESN: 1,
} as const
