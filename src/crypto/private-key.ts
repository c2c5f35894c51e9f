/**
 * Private keys. They live in OpenSSL's KeyObjects, never in strings, and print as "private key, rsa 2048".
 */
import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'
import { inspect, promisify } from 'node:util'

import { DerReader, Tag } from '../base/der.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import { digestOf, optionsOf, readPublicKey, type PublicKey } from './public-key.ts'
import type { Secret } from './secret.ts'
import type { KeyType, SignatureScheme } from './signature-scheme.ts'

export class PrivateKey {
  readonly publicKey: PublicKey
  readonly #object: KeyObject

  /** Throws EspalierError as readPublicKey if it is a key of a kind we don't take. */
  constructor(object: KeyObject) {
    this.#object = object
    this.publicKey = readPublicKey(createPublicKey(object).export({ format: 'der', type: 'spki' }))
  }

  get type(): KeyType {
    return this.publicKey.type
  }

  /** Signs at once: right for ECDSA and EdDSA, which take a tenth of a millisecond. Throws EspalierError (system, SIGNING_FAILED). */
  sign(scheme: SignatureScheme, data: Uint8Array): Uint8Array {
    try {
      return sign(digestOf(scheme), data, { key: this.#object, ...optionsOf(scheme) })
    } catch (error) {
      throw this.#failure(error)
    }
  }

  /** Signs in a thread: for RSA, which takes milliseconds. The edge calls it; the core asks the Signer. */
  async signInThread(scheme: SignatureScheme, data: Uint8Array): Promise<Uint8Array> {
    try {
      return await signLater(digestOf(scheme), data, { key: this.#object, ...optionsOf(scheme) })
    } catch (error) {
      throw this.#failure(error)
    }
  }

  /** PKCS#8, DER, in the clear: for a client that hands its user's key on to a daemon. Whoever takes it overwrites it. */
  dangerouslyExport(): Uint8Array {
    return this.#object.export({ type: 'pkcs8', format: 'der' })
  }

  #failure(error: unknown): EspalierError {
    // OpenSSL's words, such as "digest too big for rsa key".
    return new EspalierError('system', 'SIGNING_FAILED', `the ${this.toString()} does not sign: ${messageOf(error)}`, {
      cause: error,
    })
  }

  toString(): string {
    return `private key, ${this.type} ${this.publicKey.bits}`
  }
  toJSON(): string {
    return this.toString()
  }
  [inspect.custom](): string {
    return this.toString()
  }
}

const signLater = promisify(sign) as (
  digest: string | null,
  data: Uint8Array,
  key: Parameters<typeof sign>[2],
) => Promise<Uint8Array>

/**
 * A private key from PEM or DER: PKCS#1, SEC1, PKCS#8 (encrypted too), encrypted traditional PEM. The caller zeroes `bytes`
 * afterwards. Throws EspalierError (caller, KEY_NEEDS_PASSPHRASE, KEY_PASSPHRASE_WRONG, KEY_MALFORMED, KEY_UNSUPPORTED; policy, KEY_WEAK).
 */
export function readPrivateKey(bytes: Uint8Array, passphrase: Secret | null): PrivateKey {
  const form = formOf(bytes)
  if (form.isEncrypted && passphrase === null)
    throw new EspalierError('caller', 'KEY_NEEDS_PASSPHRASE', 'the private key is encrypted and there is no passphrase for it')
  const copy = Buffer.from(bytes)
  try {
    // Always a passphrase: without one OpenSSL would ask a terminal.
    const opener = form.isEncrypted ? Buffer.from(passphrase!.dangerouslyReveal()) : Buffer.alloc(0)
    try {
      return new PrivateKey(createPrivateKey({ key: copy, ...form.input, passphrase: opener }))
    } finally {
      opener.fill(0)
    }
  } catch (error) {
    if (error instanceof EspalierError) throw error
    if (form.isEncrypted && isWrongPassphrase(error))
      throw new EspalierError('caller', 'KEY_PASSPHRASE_WRONG', 'the passphrase does not open the private key', { cause: error })
    throw malformed(`OpenSSL refuses the private key: ${messageOf(error)}`)
  } finally {
    copy.fill(0)
  }
}

interface Form {
  readonly input: { readonly format: 'pem' } | { readonly format: 'der'; readonly type: 'pkcs1' | 'pkcs8' | 'sec1' }
  readonly isEncrypted: boolean
}

/** Which form the bytes have; only the label of a PEM becomes a string. */
function formOf(bytes: Uint8Array): Form {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[0] === Tag.SEQUENCE) return formOfDer(bytes)
  let foreign: string | null = null
  for (let at = buffer.indexOf(BEGIN); at >= 0; at = buffer.indexOf(BEGIN, at + BEGIN.length)) {
    const label = buffer
      .subarray(at + BEGIN.length, at + BEGIN.length + LONGEST_LABEL)
      .toString('latin1')
      .split('-----', 1)[0]!
    const isEncrypted = label === 'ENCRYPTED PRIVATE KEY' || buffer.includes('Proc-Type: 4,ENCRYPTED', at)
    if (PEM_LABELS.has(label)) return { input: { format: 'pem' }, isEncrypted }
    if (label.endsWith('PRIVATE KEY')) foreign = label
  }
  if (foreign !== null)
    throw new EspalierError('caller', 'KEY_UNSUPPORTED', `keys of the form ${JSON.stringify(foreign)} are not supported`)
  throw malformed('the file holds no private key, neither PEM nor DER')
}

/** PKCS#8 { 0, algorithm, … }, encrypted PKCS#8 { algorithm, octets }, PKCS#1 { 0, modulus, … }, SEC1 { 1, octets, … }. */
function formOfDer(bytes: Uint8Array): Form {
  let second: number | null
  try {
    const reader = DerReader.inside(bytes)
    const { tag } = reader.next()
    second = reader.peek()
    if (tag === Tag.SEQUENCE && second === Tag.OCTET_STRING) return { input: { format: 'der', type: 'pkcs8' }, isEncrypted: true }
  } catch (error) {
    throw malformed(`the private key is malformed ${messageOf(error)}`)
  }
  const type = second === Tag.SEQUENCE ? 'pkcs8' : second === Tag.INTEGER ? 'pkcs1' : 'sec1'
  return { input: { format: 'der', type }, isEncrypted: false }
}

/** Padding that is wrong, or a key that is none: both are what another passphrase leaves (1 in 256 passes the padding). */
function isWrongPassphrase(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code !== 'ERR_OSSL_UNSUPPORTED' && code !== 'ERR_OSSL_EVP_UNSUPPORTED'
}
function malformed(message: string): EspalierError {
  return new EspalierError('caller', 'KEY_MALFORMED', message)
}

const BEGIN = '-----BEGIN '
const LONGEST_LABEL = 64
const PEM_LABELS = new Set(['PRIVATE KEY', 'ENCRYPTED PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY'])
