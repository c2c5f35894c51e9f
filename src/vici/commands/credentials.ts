/**
 * load-shared, load-cert, load-key and their like: secrets, certificates and private keys (strongSwan: vici_cred.c).
 */
import type { Identity } from '../../auth/identity.ts'
import { toHex } from '../../base/bytes.ts'
import { EspalierError } from '../../base/errors.ts'
import { readOwner } from '../../config/authentication.ts'
import { UNUSED_SECRETS, secretKind, sharedSecret } from '../../config/secret.ts'
import { readPrivateKey } from '../../crypto/private-key.ts'
import { Secret } from '../../crypto/secret.ts'
import { Refusal, succeeded, type Handlers } from '../command.ts'
import { certificateKind, listed, loadCertificate, parsed, wantedKind } from '../certificates.ts'
import { loaded } from '../given.ts'
import { bytesOf, listOf, section, textOf, type ViciSection } from '../message.ts'

/** strongSwan: key_type_names. The key says itself of which type it is. */
const KEY_TYPES = ['ANY', 'RSA', 'ECDSA', 'DSA', 'ED25519', 'ED448']

export const credentialCommands: Handlers = {
  'load-shared': (request, { operations: { gateway } }) => {
    const id = textOf(request, 'id') ?? ''
    const type = textOf(request, 'type')
    if (type === null) throw new Refusal('shared key type missing')
    const kind = secretKind(type)
    if (kind === null) throw new Refusal(`invalid shared key type: ${type}`)
    const data = bytesOf(request, 'data')
    if (data === null || data.length === 0) throw new Refusal('shared key data missing')
    // The bytes are the message's, which goes; the secret's are its own.
    const secret = sharedSecret(id, kind, new Secret(data.slice()), ownersOf(request))
    const lost = UNUSED_SECRETS[kind]
    const warnings = lost === null ? [] : [`${id === '' ? 'a shared key' : id}: kept, and not used: ${lost}`]
    gateway.configured.warn(warnings)
    gateway.configured.loadShared(secret)
    return loaded(warnings)
  },

  /** strongSwan: to have nothing to unload is no failure. */
  'unload-shared': (request, { operations: { gateway } }) => {
    const id = textOf(request, 'id')
    if (id === null) throw new Refusal('unique identifier missing')
    gateway.configured.unloadShared(id)
    return succeeded()
  },

  'get-shared': (_request, { operations: { gateway } }) => section(['keys', gateway.configured.sharedIds()]),

  'clear-creds': (_request, { operations: { gateway } }) => {
    gateway.configured.clearCredentials()
    gateway.revocationCache.flush()
    return succeeded()
  },

  /** Of certificates that peers sent nothing is kept; of what was fetched about revocation it is. */
  'flush-certs': (request, { operations: { gateway } }) => {
    const name = textOf(request, 'type')
    const type = certificateKind(name ?? 'ANY')?.type
    if (type === undefined) throw new Refusal(`invalid certificate type '${name}'`)
    if (type === 'ANY') gateway.revocationCache.flush()
    if (type === 'X509_CRL') gateway.revocationCache.flush('crls')
    if (type === 'OCSP_RESPONSE') gateway.revocationCache.flush('ocsp')
    return succeeded()
  },

  'load-cert': (request, { operations: { gateway } }) => {
    const kind = wantedKind(request)
    const data = bytesOf(request, 'data')
    if (data === null || data.length === 0) throw new Refusal('certificate data missing')
    // The message goes.
    loadCertificate(gateway.configured.credentials, kind, data.slice())
    return succeeded()
  },

  'load-key': (request, { operations: { gateway } }) => {
    const type = textOf(request, 'type')
    if (type === null) throw new Refusal('key type missing')
    const name = type.toUpperCase()
    if (!KEY_TYPES.includes(name)) throw new Refusal(`invalid key type: ${type}`)
    const data = bytesOf(request, 'data')
    if (data === null || data.length === 0) throw new Refusal('key data missing')
    const key = parsed(`parsing ${name} private key failed`, () => readPrivateKey(data, null))
    gateway.configured.credentials.loadPrivateKey(key)
    return succeeded(['id', toHex(key.publicKey.fingerprint)])
  },

  'unload-key': (request, { operations: { gateway } }) => {
    const id = textOf(request, 'id')
    if (id === null) throw new Refusal('key id missing')
    // strongSwan reads it as hexadecimal, which may have colons.
    if (!gateway.configured.credentials.unloadPrivateKey(id.replaceAll(':', '').toLowerCase())) throw new Refusal('key not found')
    return succeeded()
  },

  'get-keys': (_request, { operations: { gateway } }) => section(['keys', gateway.configured.credentials.privateKeyIds()]),

  'load-token': (request) => {
    if (textOf(request, 'handle') === null) throw new Refusal('keyid missing')
    throw new Refusal('loading private key from token failed: keys on tokens are not read')
  },

  'list-certs': async (request, context) => {
    const { gateway } = context.operations
    for (const entry of listed(request, gateway.configured.credentials, gateway.revocationCache)) {
      if (context.signal.aborted) break
      await context.stream('list-cert', entry)
    }
    return section()
  },
}

function ownersOf(request: ViciSection): readonly Identity[] {
  try {
    return (listOf(request, 'owners') ?? []).map(readOwner)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    throw new Refusal(`parsing shared key owners failed: ${error.message}`, { cause: error })
  }
}
