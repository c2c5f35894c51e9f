/**
 * What we can do, with its parameters. Lengths are in bytes unless a name says bits; IDs are those of iana/transforms.ts.
 * A lookup answers null for a transform ID that we do not do.
 */
import { assert } from '../base/assert.ts'
import { EncrId, IntegId, KeId, PrfId } from '../iana/transforms.ts'

export interface EncrAlgorithm {
  readonly id: number
  readonly mode: 'cbc' | 'ctr' | 'aead' | 'null'
  /** Values of the Key Length attribute, in bits; empty where the transform has no such attribute (RFC 7296 3.3.5). */
  readonly keyLengthsInBits: readonly number[]
  /** Key without salt where there is no Key Length attribute, else 0. */
  readonly fixedKeyLength: number
  /** Taken from the keying material behind the key (RFC 4106 8.1, RFC 5930 2.2, RFC 7634 2). */
  readonly saltLength: number
  /** As it stands in the message. */
  readonly ivLength: number
  /** The ciphertext is a multiple of it. */
  readonly blockSize: number
  /** Of an AEAD; 0 for a cipher that needs an integrity algorithm beside it. */
  readonly icvLength: number
}

export interface IntegAlgorithm {
  readonly id: number
  readonly keyLength: number
  /** After truncation. */
  readonly icvLength: number
}

export interface PrfAlgorithm {
  readonly id: number
  /** The preferred key length (RFC 7296 2.14): the length of SK_d, SK_pi and SK_pr. */
  readonly keyLength: number
  readonly outputLength: number
  /** AES PRFs: SKEYSEED is made from the first 64 bits of each nonce (RFC 7296 2.14). */
  readonly hasFixedKey: boolean
}

export interface KeGroup {
  readonly id: number
  readonly kind: 'montgomery' | 'ecp' | 'modp' | 'ml-kem'
  /** Length of the data in the KE payload of who begins. */
  readonly publicValueLength: number
  /** The same of who answers: of a KEM it is the ciphertext. */
  readonly answerLength: number
  readonly sharedSecretLength: number
}

const AES_KEY_LENGTHS = [128, 192, 256]
const AES = { keyLengthsInBits: AES_KEY_LENGTHS, fixedKeyLength: 0 } as const
const AES_GCM = { mode: 'aead', ...AES, saltLength: 4, ivLength: 8, blockSize: 1 } as const

const ENCR: ReadonlyMap<number, EncrAlgorithm> = byId([
  {
    id: EncrId.ENCR_NULL,
    mode: 'null',
    keyLengthsInBits: [],
    fixedKeyLength: 0,
    saltLength: 0,
    ivLength: 0,
    blockSize: 1,
    icvLength: 0,
  },
  { id: EncrId.ENCR_AES_CBC, mode: 'cbc', ...AES, saltLength: 0, ivLength: 16, blockSize: 16, icvLength: 0 },
  { id: EncrId.ENCR_AES_CTR, mode: 'ctr', ...AES, saltLength: 4, ivLength: 8, blockSize: 1, icvLength: 0 },
  { id: EncrId.ENCR_AES_GCM_8, ...AES_GCM, icvLength: 8 },
  { id: EncrId.ENCR_AES_GCM_12, ...AES_GCM, icvLength: 12 },
  { id: EncrId.ENCR_AES_GCM_16, ...AES_GCM, icvLength: 16 },
  {
    id: EncrId.ENCR_CHACHA20_POLY1305,
    mode: 'aead',
    keyLengthsInBits: [],
    fixedKeyLength: 32,
    saltLength: 4,
    ivLength: 8,
    blockSize: 1,
    icvLength: 16,
  },
])

const INTEG: ReadonlyMap<number, IntegAlgorithm> = byId([
  { id: IntegId.AUTH_HMAC_SHA1_96, keyLength: 20, icvLength: 12 },
  { id: IntegId.AUTH_AES_XCBC_96, keyLength: 16, icvLength: 12 },
  { id: IntegId.AUTH_AES_CMAC_96, keyLength: 16, icvLength: 12 },
  { id: IntegId.AUTH_HMAC_SHA2_256_128, keyLength: 32, icvLength: 16 },
  { id: IntegId.AUTH_HMAC_SHA2_384_192, keyLength: 48, icvLength: 24 },
  { id: IntegId.AUTH_HMAC_SHA2_512_256, keyLength: 64, icvLength: 32 },
])

const PRF: ReadonlyMap<number, PrfAlgorithm> = byId([
  { id: PrfId.PRF_HMAC_SHA1, keyLength: 20, outputLength: 20, hasFixedKey: false },
  { id: PrfId.PRF_AES128_XCBC, keyLength: 16, outputLength: 16, hasFixedKey: true },
  { id: PrfId.PRF_HMAC_SHA2_256, keyLength: 32, outputLength: 32, hasFixedKey: false },
  { id: PrfId.PRF_HMAC_SHA2_384, keyLength: 48, outputLength: 48, hasFixedKey: false },
  { id: PrfId.PRF_HMAC_SHA2_512, keyLength: 64, outputLength: 64, hasFixedKey: false },
  { id: PrfId.PRF_AES128_CMAC, keyLength: 16, outputLength: 16, hasFixedKey: true },
])

const KE: ReadonlyMap<number, KeGroup> = byId([
  // A Diffie-Hellman group does not tell who began.
  ...[
    { id: KeId.MODP_2048, kind: 'modp' as const, publicValueLength: 256, sharedSecretLength: 256 },
    { id: KeId.MODP_3072, kind: 'modp' as const, publicValueLength: 384, sharedSecretLength: 384 },
    { id: KeId.MODP_4096, kind: 'modp' as const, publicValueLength: 512, sharedSecretLength: 512 },
    { id: KeId.MODP_6144, kind: 'modp' as const, publicValueLength: 768, sharedSecretLength: 768 },
    { id: KeId.MODP_8192, kind: 'modp' as const, publicValueLength: 1024, sharedSecretLength: 1024 },
    { id: KeId.ECP_256, kind: 'ecp' as const, publicValueLength: 64, sharedSecretLength: 32 },
    { id: KeId.ECP_384, kind: 'ecp' as const, publicValueLength: 96, sharedSecretLength: 48 },
    { id: KeId.ECP_521, kind: 'ecp' as const, publicValueLength: 132, sharedSecretLength: 66 },
    { id: KeId.CURVE25519, kind: 'montgomery' as const, publicValueLength: 32, sharedSecretLength: 32 },
    { id: KeId.CURVE448, kind: 'montgomery' as const, publicValueLength: 56, sharedSecretLength: 56 },
  ].map((group): KeGroup => ({ ...group, answerLength: group.publicValueLength })),
  // FIPS 203 8, table 3.
  { id: KeId.ML_KEM_512, kind: 'ml-kem', publicValueLength: 800, answerLength: 768, sharedSecretLength: 32 },
  { id: KeId.ML_KEM_768, kind: 'ml-kem', publicValueLength: 1184, answerLength: 1088, sharedSecretLength: 32 },
  { id: KeId.ML_KEM_1024, kind: 'ml-kem', publicValueLength: 1568, answerLength: 1568, sharedSecretLength: 32 },
])

/** All that we do, each kind in the order of its transform IDs. */
export const ALGORITHMS = {
  encr: [...ENCR.values()],
  integ: [...INTEG.values()],
  prf: [...PRF.values()],
  ke: [...KE.values()],
} as const

/** ENCR_NULL is here too: ESP may use it with an integrity algorithm, an IKE_SA may not. */
export function encrAlgorithm(id: number): EncrAlgorithm | null {
  return ENCR.get(id) ?? null
}

export function integAlgorithm(id: number): IntegAlgorithm | null {
  return INTEG.get(id) ?? null
}

export function prfAlgorithm(id: number): PrfAlgorithm | null {
  return PRF.get(id) ?? null
}

export function keGroup(id: number): KeGroup | null {
  return KE.get(id) ?? null
}

/** What one direction takes from the keying material: key and salt. `keyLength` in bits, null without the attribute. */
export function encrKeyMaterialLength(encr: { readonly id: number; readonly keyLength: number | null }): number {
  const algorithm = encrAlgorithm(encr.id)
  assert(algorithm !== null, 'only encryption algorithms that we do are negotiated')
  if (encr.keyLength === null) {
    assert(algorithm.keyLengthsInBits.length === 0, 'an algorithm of several key lengths is negotiated with one')
    return algorithm.fixedKeyLength + algorithm.saltLength
  }
  assert(algorithm.keyLengthsInBits.includes(encr.keyLength), 'only key lengths that we do are negotiated')
  return encr.keyLength / 8 + algorithm.saltLength
}

function byId<T extends { readonly id: number }>(algorithms: readonly T[]): ReadonlyMap<number, T> {
  return new Map(algorithms.map((algorithm) => [algorithm.id, algorithm]))
}
