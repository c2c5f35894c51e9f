/**
 * Private keys. They live in OpenSSL's KeyObjects, never in strings, and print as "private key, rsa 2048".
 */
import { createPrivateKey, createPublicKey, sign, type KeyObject, type PrivateKeyInput } from 'node:crypto'
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
    const given = form.isEncrypted ? { passphrase: Buffer.from(passphrase!.dangerouslyReveal()) } : {}
    return new PrivateKey(createPrivateKey({ key: copy, ...form.input, ...given }))
  } catch (error) {
    if (error instanceof EspalierError) throw error
    if (form.isEncrypted && isWrongPassphrase(error))
      throw new EspalierError('caller', 'KEY_PASSPHRASE_WRONG', 'the passphrase does not open the private key', { cause: error })
    throw malformed(`OpenSSL refuses the private key: ${messageOf(error)}`)
  } finally {
    copy.fill(0)
  }
}

function formOf(bytes: Uint8Array): { readonly input: Omit<PrivateKeyInput, 'key'>; readonly isEncrypted: boolean } {
  return notYet(bytes)
}
function isWrongPassphrase(error: unknown): boolean {
  return notYet(error)
}
function malformed(message: string): EspalierError {
  return new EspalierError('caller', 'KEY_MALFORMED', message)
}
function notYet(...of: unknown[]): never {
  throw new Error(`not yet ${of.length} ${Tag.NULL} ${typeof DerReader}`)
}
