/**
 * Ways to sign: key type, hash and padding, and the DER AlgorithmIdentifiers that name them in certificates and in
 * RFC 7427's AUTH payload (its appendix A). Numbers stay what they are: a scheme we don't know is null, not an error.
 */
import { equalBytes } from '../base/bytes.ts'
import { DerReader, Tag, contextTag, encodeContext, encodeInteger, encodeNull, encodeOid, encodeSequence } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { AuthMethod, HashAlgorithm } from '../iana/ikev2.ts'

export type KeyType = 'rsa' | 'ecdsa' | 'ed25519' | 'ed448'
/** `identity`: the algorithm hashes by itself, as EdDSA does (RFC 8420). */
export type SignatureHash = 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'identity'

export interface SignatureScheme {
  readonly key: KeyType
  readonly hash: SignatureHash
  /** RSASSA-PSS instead of PKCS#1 1.5; MGF1 with the same hash. */
  readonly pss: boolean
  /** Of PSS, in bytes; the hash's length when absent. */
  readonly saltLength?: number
  /** ECDSA as r | s of the curve's length (RFC 4754), not as DER. */
  readonly raw?: boolean
}

/** Bytes each hash gives. */
export const HASH_LENGTHS: Readonly<Record<SignatureHash, number>> = {
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
  identity: 0,
}

/** The scheme an AlgorithmIdentifier names, null if it is none we know; never throws. */
export function schemeOfAlgorithm(der: Uint8Array): SignatureScheme | null {
  const known = KNOWN.find(({ algorithm }) => equalBytes(algorithm, der))
  if (known !== undefined) return known.scheme
  try {
    return readPss(der)
  } catch (error) {
    if (error instanceof EspalierError) return null
    throw error
  }
}

/** DER of the scheme's AlgorithmIdentifier. */
export function algorithmOf(scheme: SignatureScheme): Uint8Array {
  if (scheme.pss) return encodePss(scheme)
  return KNOWN.find(({ scheme: { key, hash } }) => key === scheme.key && hash === scheme.hash)!.algorithm
}

/**
 * The scheme of a classic AUTH method: 1 (RSA with SHA-1, which RFC 7296 2.15 lets all implementations read), 9 to 11
 * (RFC 4754: ECDSA on one curve with one hash, raw); null for all others.
 */
export function schemeOfAuthMethod(method: number): SignatureScheme | null {
  switch (method) {
    case AuthMethod.RSA_DIGITAL_SIGNATURE:
      return { key: 'rsa', hash: 'sha1', pss: false }
    case AuthMethod.ECDSA_SHA256_P256:
      return { key: 'ecdsa', hash: 'sha256', pss: false, raw: true }
    case AuthMethod.ECDSA_SHA384_P384:
      return { key: 'ecdsa', hash: 'sha384', pss: false, raw: true }
    case AuthMethod.ECDSA_SHA512_P521:
      return { key: 'ecdsa', hash: 'sha512', pss: false, raw: true }
  }
  return null
}

/** The classic AUTH method of a key, null if RFC 7296 and RFC 4754 have none for it. */
export function authMethodOf(key: Pick<KeyKind, 'type' | 'bits'>): number | null {
  if (key.type === 'rsa') return AuthMethod.RSA_DIGITAL_SIGNATURE
  if (key.type !== 'ecdsa') return null
  return (
    { 256: AuthMethod.ECDSA_SHA256_P256, 384: AuthMethod.ECDSA_SHA384_P384, 521: AuthMethod.ECDSA_SHA512_P521 }[key.bits] ?? null
  )
}

/** What decides which schemes a key can sign with; a PublicKey is one. */
export interface KeyKind {
  readonly type: KeyType
  readonly bits: number
}

/**
 * Schemes to sign with, best first, in strongSwan's order: hashes no weaker than the key first (a key of up to 3072 bits
 * begins with SHA-256, up to 7680 with SHA-384), then for RSA the shorter hashes too. PSS only when `rsaPss`
 * (charon.rsa_pss). `hashes` are RFC 7427 numbers, the peer's.
 */
export function schemesFor(
  key: KeyKind,
  hashes: ReadonlySet<number>,
  { rsaPss = false }: { readonly rsaPss?: boolean } = {},
): readonly SignatureScheme[] {
  const fitting = SIGNING.filter(
    ({ scheme, maximumBits }) => scheme.key === key.type && key.bits <= maximumBits && (rsaPss || !scheme.pss),
  ).map(({ scheme }) => scheme)
  if (key.type === 'rsa') fitting.push(...RSA_ANYWAY.filter((scheme) => !fitting.includes(scheme)))
  return fitting.filter(({ hash }) => hashes.has(hashNumberOf(hash)))
}

/** RFC 7427's number of a hash; 0, which is reserved, for those it has none for. */
export function hashNumberOf(hash: SignatureHash): number {
  return HASH_NUMBERS[hash]
}

export function equalSchemes(a: SignatureScheme, b: SignatureScheme): boolean {
  return (
    a.key === b.key && a.hash === b.hash && a.pss === b.pss && (a.raw ?? false) === (b.raw ?? false) && saltOf(a) === saltOf(b)
  )
}

/** strongSwan's name of a scheme: `RSA_EMSA_PSS_SHA2_256_SALT_32`, `RSA_EMSA_PKCS1_SHA2_256`, `ECDSA_WITH_SHA384_DER`, `ED25519`. */
export function schemeName(scheme: SignatureScheme): string {
  const { key, hash, pss, raw } = scheme
  if (key === 'ed25519' || key === 'ed448') return key.toUpperCase()
  const sha = hash.slice(3)
  if (key === 'ecdsa') return raw === true ? `ECDSA-${sha === '512' ? '521' : sha}` : `ECDSA_WITH_SHA${sha}_DER`
  const rsaHash = hash === 'sha1' ? 'SHA1' : `SHA2_${sha}`
  return pss ? `RSA_EMSA_PSS_${rsaHash}_SALT_${saltOf(scheme)}` : `RSA_EMSA_PKCS1_${rsaHash}`
}

/** Bytes of salt of a PSS scheme. */
export function saltOf({ hash, saltLength }: SignatureScheme): number {
  return saltLength ?? HASH_LENGTHS[hash]
}

/** RFC 4055 3.1. What is absent means SHA-1 and 20 bytes; another trailer or MGF1 with another hash we don't take. */
function readPss(der: Uint8Array): SignatureScheme | null {
  const algorithm = DerReader.inside(der)
  if (algorithm.oid() !== RSASSA_PSS) return null
  const parameters = algorithm.enter()
  algorithm.end()
  const hash = readOptional(parameters, 0, readHash, 'sha1')
  const maskHash = readOptional(parameters, 1, readMask, 'sha1')
  const saltLength = readOptional(parameters, 2, (reader) => reader.smallInteger(), 20)
  const trailer = readOptional(parameters, 3, (reader) => reader.smallInteger(), 1)
  parameters.end()
  if (hash === null || hash !== maskHash || trailer !== 1 || saltLength > MAXIMUM_SALT_BYTES) return null
  return { key: 'rsa', hash, pss: true, ...(saltLength === HASH_LENGTHS[hash] ? {} : { saltLength }) }
}

function readOptional<T>(reader: DerReader, number: number, read: (inside: DerReader) => T, absent: T): T {
  const inside = reader.enterOptional(contextTag(number, true))
  if (inside === null) return absent
  const value = read(inside)
  inside.end()
  return value
}

function readMask(reader: DerReader): SignatureHash | null {
  const mask = reader.enter()
  if (mask.oid() !== MGF1) return null
  const hash = readHash(mask)
  mask.end()
  return hash
}

/** RFC 4055 2.1: parameters are NULL, and absent is to be understood. */
function readHash(reader: DerReader): SignatureHash | null {
  const algorithm = reader.enter()
  const oid = algorithm.oid()
  if (!algorithm.isAtEnd) algorithm.read(Tag.NULL)
  algorithm.end()
  return HASHES.find(([, hashOid]) => hashOid === oid)?.[0] ?? null
}

function encodePss(scheme: SignatureScheme): Uint8Array {
  const hashOid = HASHES.find(([hash]) => hash === scheme.hash)![1]
  const hash = encodeSequence(encodeOid(hashOid), encodeNull())
  const salt = saltOf(scheme)
  const parameters = [
    ...(scheme.hash === 'sha1' ? [] : [encodeContext(0, hash), encodeContext(1, encodeSequence(encodeOid(MGF1), hash))]),
    ...(salt === 20 ? [] : [encodeContext(2, encodeInteger(salt))]),
  ]
  return encodeSequence(encodeOid(RSASSA_PSS), encodeSequence(...parameters))
}

const RSASSA_PSS = '1.2.840.113549.1.1.10'
const MGF1 = '1.2.840.113549.1.1.8'

/** Our limit: bytes of salt that fit below the largest modulus we take. */
const MAXIMUM_SALT_BYTES = 2048

const HASHES: readonly (readonly [SignatureHash, oid: string])[] = [
  ['sha1', '1.3.14.3.2.26'],
  ['sha224', '2.16.840.1.101.3.4.2.4'],
  ['sha256', '2.16.840.1.101.3.4.2.1'],
  ['sha384', '2.16.840.1.101.3.4.2.2'],
  ['sha512', '2.16.840.1.101.3.4.2.3'],
]

const HASH_NUMBERS: Readonly<Record<SignatureHash, number>> = {
  sha1: HashAlgorithm.SHA1,
  sha224: 0,
  sha256: HashAlgorithm.SHA2_256,
  sha384: HashAlgorithm.SHA2_384,
  sha512: HashAlgorithm.SHA2_512,
  identity: HashAlgorithm.IDENTITY,
}

/** RSA's parameters are NULL (RFC 4055 5), the others' are absent (RFC 5758 3.2, RFC 8410 3). */
const KNOWN: readonly { readonly algorithm: Uint8Array; readonly scheme: SignatureScheme }[] = (
  [
    ['rsa', 'sha1', '1.2.840.113549.1.1.5'],
    ['rsa', 'sha224', '1.2.840.113549.1.1.14'],
    ['rsa', 'sha256', '1.2.840.113549.1.1.11'],
    ['rsa', 'sha384', '1.2.840.113549.1.1.12'],
    ['rsa', 'sha512', '1.2.840.113549.1.1.13'],
    ['ecdsa', 'sha1', '1.2.840.10045.4.1'],
    ['ecdsa', 'sha224', '1.2.840.10045.4.3.1'],
    ['ecdsa', 'sha256', '1.2.840.10045.4.3.2'],
    ['ecdsa', 'sha384', '1.2.840.10045.4.3.3'],
    ['ecdsa', 'sha512', '1.2.840.10045.4.3.4'],
    ['ed25519', 'identity', '1.3.101.112'],
    ['ed448', 'identity', '1.3.101.113'],
  ] as const
).map(([key, hash, oid]) => ({
  algorithm: encodeSequence(encodeOid(oid), ...(key === 'rsa' ? [encodeNull()] : [])),
  scheme: { key, hash, pss: false },
}))

const scheme = (key: KeyType, hash: SignatureHash, pss = false): SignatureScheme => ({ key, hash, pss })

const RSA_SHA256 = scheme('rsa', 'sha256')
const RSA_SHA384 = scheme('rsa', 'sha384')

/** strongSwan's table of what a key of at most so many bits signs with. */
const SIGNING: readonly { readonly scheme: SignatureScheme; readonly maximumBits: number }[] = [
  { scheme: scheme('rsa', 'sha256', true), maximumBits: 3072 },
  { scheme: scheme('rsa', 'sha384', true), maximumBits: 7680 },
  { scheme: scheme('rsa', 'sha512', true), maximumBits: Infinity },
  { scheme: RSA_SHA256, maximumBits: 3072 },
  { scheme: RSA_SHA384, maximumBits: 7680 },
  { scheme: scheme('rsa', 'sha512'), maximumBits: Infinity },
  { scheme: scheme('ecdsa', 'sha256'), maximumBits: 256 },
  { scheme: scheme('ecdsa', 'sha384'), maximumBits: 384 },
  { scheme: scheme('ecdsa', 'sha512'), maximumBits: Infinity },
  { scheme: scheme('ed25519', 'identity'), maximumBits: Infinity },
  { scheme: scheme('ed448', 'identity'), maximumBits: Infinity },
]

/** What strongSwan also tries with a larger RSA key, when the peer knows no longer hash. */
const RSA_ANYWAY = [RSA_SHA384, RSA_SHA256]
