/**
 * Public keys: read from SubjectPublicKeyInfo and from the forms keys come in as files, and the verification of what
 * their private halves signed. OpenSSL does the arithmetic; which keys are taken at all is decided here.
 */
import { constants, createPublicKey, hash, verify as verifySignature, type KeyObject } from 'node:crypto'

import { OutOfBytes, Reader } from '../base/bytes.ts'
import { DerReader, Tag, decodeOid, encodeBitString, encodeInteger, encodeNull, encodeOid, encodeSequence } from '../base/der.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import { saltOf, type KeyType, type SignatureHash, type SignatureScheme } from './signature-scheme.ts'

export type { KeyType } from './signature-scheme.ts'

export type Curve = 'P-256' | 'P-384' | 'P-521'

export class PublicKey {
  readonly type: KeyType
  /** Of the modulus or curve (256, 384, 521); 256 and 456 for Ed25519 and Ed448: what strongSwan compares with a constraint. */
  readonly bits: number
  readonly curve: Curve | null
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** SHA-1 of what subjectPublicKey holds (RFC 5280 4.2.1.2 method 1): strongSwan's keyid, VICI's key ids are its hex. */
  readonly fingerprint: Uint8Array
  /** SHA-1 of `spki`: what CERTREQ carries (RFC 7296 3.7). */
  readonly spkiFingerprint: Uint8Array
  #object: KeyObject | null = null

  /** Only readPublicKey knows that `spki` is what the rest says. */
  constructor(spki: Uint8Array, type: KeyType, bits: number, curve: Curve | null, subjectPublicKey: Uint8Array) {
    this.spki = spki
    this.type = type
    this.bits = bits
    this.curve = curve
    this.fingerprint = hash('sha1', subjectPublicKey, 'buffer')
    this.spkiFingerprint = hash('sha1', spki, 'buffer')
  }

  /** OpenSSL's side of the key, made when it is first needed; throws EspalierError when OpenSSL refuses the key. */
  get object(): KeyObject {
    return (this.#object ??= openSslKey(this.spki))
  }

  toString(): string {
    return `public key, ${this.type} ${this.bits}`
  }
}

/** Whether `signature` of `data` was made by the private half of `key` with `scheme`. False whatever is wrong, never throws. */
export function verify(key: PublicKey, scheme: SignatureScheme, data: Uint8Array, signature: Uint8Array): boolean {
  if (scheme.key !== key.type) return false
  // RFC 4754: the classic methods are each for one curve.
  if (scheme.raw === true && key.curve !== CURVE_OF_RAW[scheme.hash]) return false
  try {
    return verifySignature(digestOf(scheme), data, { key: key.object, ...optionsOf(scheme) }, signature)
  } catch {
    return false
  }
}

/** What node:crypto wants beside the key to sign or verify with a scheme. */
export function optionsOf(scheme: SignatureScheme): SignatureOptions {
  if (scheme.key === 'ecdsa') return { dsaEncoding: scheme.raw === true ? 'ieee-p1363' : 'der' }
  if (scheme.key !== 'rsa') return {}
  if (!scheme.pss) return { padding: constants.RSA_PKCS1_PADDING }
  return { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltOf(scheme) }
}
export interface SignatureOptions {
  readonly dsaEncoding?: 'ieee-p1363' | 'der'
  readonly padding?: number
  readonly saltLength?: number
}

/** node:crypto's name of a scheme's hash, null for those that hash by themselves. */
export function digestOf(scheme: SignatureScheme): string | null {
  return scheme.hash === 'identity' ? null : scheme.hash
}

/**
 * The key of a SubjectPublicKeyInfo. Throws EspalierError (malformed, KEY_MALFORMED; peer-incompatible, KEY_UNSUPPORTED
 * for another algorithm or curve; policy, KEY_WEAK for RSA below 1024 bits unless `weak`).
 */
export function readPublicKey(spki: Uint8Array, { weak = false }: { readonly weak?: boolean } = {}): PublicKey {
  try {
    return readSpki(spki, weak)
  } catch (error) {
    if (error instanceof EspalierError && error.code === 'DER_MALFORMED')
      throw new EspalierError('malformed', 'KEY_MALFORMED', `the public key is malformed ${error.message}`, { cause: error })
    throw error
  }
}

/**
 * PEM or DER of SubjectPublicKeyInfo or PKCS#1, an OpenSSH line (`ssh-rsa AAAA…`), or with `0s` (base64) or `0x` (hex) in
 * front either DER or, for RSA, RFC 3110: what `pubkeys` takes. Throws as readPublicKey.
 */
export function readPublicKeyFile(bytes: Uint8Array): PublicKey {
  // A key's DER has bytes that no text has; "0s" could begin either.
  const isText = bytes.every((byte) => byte === 0x09 || byte === 0x0a || byte === 0x0d || (byte >= 0x20 && byte < 0x7f))
  if (!isText) return readDerKey(bytes)
  const text = Buffer.from(bytes).toString('latin1').trim()
  const pem = /-----BEGIN (?:RSA )?PUBLIC KEY-----([\sA-Za-z0-9+/=]*)-----END (?:RSA )?PUBLIC KEY-----/.exec(text)
  if (pem !== null) return readDerKey(Buffer.from(pem[1]!, 'base64'))
  const ssh = /^(ssh-rsa|ssh-ed25519|ssh-ed448|ecdsa-sha2-nistp\d{3}) +([A-Za-z0-9+/=]+)/.exec(text)
  if (ssh !== null) return readSshKey(Buffer.from(ssh[2]!, 'base64'))
  const given = /^0s([A-Za-z0-9+/=\s]+)$/i.exec(text) ?? /^0x((?:[0-9a-f]{2})+)$/i.exec(text)
  if (given === null) throw malformed('the file holds no public key: neither PEM, DER, SSH nor 0s/0x')
  const raw = Buffer.from(given[1]!, text[1]!.toLowerCase() === 's' ? 'base64' : 'hex')
  return raw[0] === Tag.SEQUENCE ? readDerKey(raw) : readRfc3110(raw)
}

function readSpki(spki: Uint8Array, weak: boolean): PublicKey {
  const info = DerReader.inside(spki)
  const algorithm = info.enter()
  const oid = algorithm.oid()
  const parameters = algorithm.isAtEnd ? null : algorithm.next()
  algorithm.end()
  const key = info.bitString()
  info.end()
  switch (oid) {
    case RSA_ENCRYPTION:
      if (parameters?.tag !== Tag.NULL || parameters.contents.length > 0) throw malformed("an RSA key's parameters are NULL")
      return new PublicKey(spki, 'rsa', readRsaBits(key, weak), null, key)
    case EC_PUBLIC_KEY: {
      if (parameters?.tag !== Tag.OBJECT_IDENTIFIER) throw unsupported('an elliptic curve that is spelled out, not named')
      const dotted = decodeOid(parameters)
      const known = CURVES.find(({ oid }) => oid === dotted)
      if (known === undefined) throw unsupported(`the elliptic curve ${dotted}`)
      const length = Math.ceil(known.bits / 8)
      const isPoint = key[0] === 4 ? key.length === 1 + 2 * length : (key[0] === 2 || key[0] === 3) && key.length === 1 + length
      if (!isPoint) throw malformed(`${key.length} bytes are no point of ${known.curve}`)
      return checked(new PublicKey(spki, 'ecdsa', known.bits, known.curve, key))
    }
    case ED25519:
    case ED448: {
      const [type, length, bits] = oid === ED25519 ? (['ed25519', 32, 256] as const) : (['ed448', 57, 456] as const)
      if (parameters !== null || key.length !== length) throw malformed(`the ${type} key does not have ${length} bytes`)
      return checked(new PublicKey(spki, type, bits, null, key))
    }
  }
  throw unsupported(`public keys of the algorithm ${oid}`)
}

/** RFC 8017 A.1.1. */
function readRsaBits(key: Uint8Array, weak: boolean): number {
  const numbers = DerReader.inside(key)
  const modulus = positive(numbers.integer())
  const exponent = positive(numbers.integer())
  numbers.end()
  const bits = bitsOf(modulus)
  if ((modulus.at(-1)! & 1) === 0) throw malformed('the RSA modulus is even')
  if ((exponent.at(-1)! & 1) === 0 || bitsOf(exponent) < 2 || bitsOf(exponent) > MAXIMUM_EXPONENT_BITS)
    throw malformed(`the RSA exponent is not odd, from 3 to ${MAXIMUM_EXPONENT_BITS} bits`)
  if (bits > MAXIMUM_RSA_BITS) throw unsupported(`RSA keys of ${bits} bits (more than ${MAXIMUM_RSA_BITS})`)
  if (bits < MINIMUM_RSA_BITS && !weak)
    throw new EspalierError('policy', 'KEY_WEAK', `the RSA key has ${bits} bits, less than ${MINIMUM_RSA_BITS}`)
  return bits
}

function readDerKey(der: Uint8Array): PublicKey {
  // SEQUENCE { SEQUENCE … } is a SubjectPublicKeyInfo, SEQUENCE { INTEGER … } PKCS#1.
  let first: number | null
  try {
    first = DerReader.inside(der).peek()
  } catch (error) {
    throw malformed(`the public key is malformed ${messageOf(error)}`)
  }
  return readPublicKey(first === Tag.INTEGER ? spkiOf(RSA_ENCRYPTION, encodeNull(), der) : der)
}

/** RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4. */
function readSshKey(bytes: Uint8Array): PublicKey {
  try {
    const reader = new Reader(bytes)
    const next = (): Uint8Array => reader.bytes(reader.u32())
    const type = Buffer.from(next()).toString('latin1')
    if (type === 'ssh-rsa') {
      const exponent = next()
      return readPublicKey(rsaSpki(next(), exponent))
    }
    if (type === 'ssh-ed25519') return readPublicKey(spkiOf(ED25519, null, next()))
    if (type === 'ssh-ed448') return readPublicKey(spkiOf(ED448, null, next()))
    const curve = Buffer.from(next()).toString('latin1')
    const known = CURVES.find(({ ssh }) => ssh === curve)
    if (known === undefined) throw unsupported(`the elliptic curve ${JSON.stringify(curve.slice(0, 40))}`)
    return readPublicKey(spkiOf(EC_PUBLIC_KEY, encodeOid(known.oid), next()))
  } catch (error) {
    if (error instanceof OutOfBytes) throw malformed('the SSH key is cut short')
    throw error
  }
}

/** RFC 3110 2: one byte of length (or zero and two), exponent, modulus. */
function readRfc3110(bytes: Uint8Array): PublicKey {
  try {
    const reader = new Reader(bytes)
    const short = reader.u8()
    const exponent = reader.bytes(short === 0 ? reader.u16() : short)
    return readPublicKey(rsaSpki(reader.rest(), exponent))
  } catch (error) {
    if (error instanceof OutOfBytes) throw malformed('the RSA key of RFC 3110 is cut short')
    throw error
  }
}

function rsaSpki(modulus: Uint8Array, exponent: Uint8Array): Uint8Array {
  return spkiOf(RSA_ENCRYPTION, encodeNull(), encodeSequence(encodeInteger(modulus), encodeInteger(exponent)))
}
function spkiOf(oid: string, parameters: Uint8Array | null, key: Uint8Array): Uint8Array {
  return encodeSequence(encodeSequence(encodeOid(oid), ...(parameters === null ? [] : [parameters])), encodeBitString(key))
}

/** OpenSSL looks whether a point is on its curve; for RSA there is nothing it would find. */
function checked(key: PublicKey): PublicKey {
  void key.object
  return key
}
function openSslKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength), format: 'der', type: 'spki' })
  } catch (error) {
    throw new EspalierError('malformed', 'KEY_MALFORMED', `OpenSSL refuses the public key: ${messageOf(error)}`, { cause: error })
  }
}

function positive(integer: Uint8Array): Uint8Array {
  if (integer[0]! >= 0x80) throw malformed('a number of the RSA key is negative')
  return integer[0] === 0 ? integer.subarray(1) : integer
}
function bitsOf(number: Uint8Array): number {
  return number.length === 0 ? 0 : (number.length - 1) * 8 + (32 - Math.clz32(number[0]!))
}

function malformed(message: string): EspalierError {
  return new EspalierError('malformed', 'KEY_MALFORMED', message)
}
function unsupported(what: string): EspalierError {
  return new EspalierError('peer-incompatible', 'KEY_UNSUPPORTED', `${what} are not supported`)
}

/** Our limits. The least is what OpenSSL and strongSwan's documentation stopped recommending long ago; below it a key is no key. */
export const MINIMUM_RSA_BITS = 1024
const MAXIMUM_RSA_BITS = 16384
/** Larger exponents only make verifying slow. */
const MAXIMUM_EXPONENT_BITS = 33

const RSA_ENCRYPTION = '1.2.840.113549.1.1.1'
const EC_PUBLIC_KEY = '1.2.840.10045.2.1'
const ED25519 = '1.3.101.112'
const ED448 = '1.3.101.113'

const CURVES: readonly { readonly curve: Curve; readonly oid: string; readonly bits: number; readonly ssh: string }[] = [
  { curve: 'P-256', oid: '1.2.840.10045.3.1.7', bits: 256, ssh: 'nistp256' },
  { curve: 'P-384', oid: '1.3.132.0.34', bits: 384, ssh: 'nistp384' },
  { curve: 'P-521', oid: '1.3.132.0.35', bits: 521, ssh: 'nistp521' },
]

const CURVE_OF_RAW: Readonly<Partial<Record<SignatureHash, Curve>>> = { sha256: 'P-256', sha384: 'P-384', sha512: 'P-521' }
