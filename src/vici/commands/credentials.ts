/**
 * load-shared, load-cert, load-key and their like: secrets, certificates and private keys (strongSwan: vici_cred.c).
 * As long as no certificate is read there are none, and no key; loading one is refused.
 */
import { UNUSED_SECRETS, readOwner, secretKind, sharedSecret } from '../../config/secret.ts'
import { EspalierError } from '../../base/errors.ts'
import type { Identity } from '../../auth/identity.ts'
import { Secret } from '../../crypto/secret.ts'
import { Refusal, succeeded, type Handlers } from '../command.ts'
import { CERTIFICATES_UNSUPPORTED, loaded } from '../given.ts'
import { bytesOf, listOf, section, textOf, type ViciSection } from '../message.ts'

/** strongSwan: certificate_type_names and cert_types. */
const CERTIFICATE_TYPES = new Set([
  ...['any', 'x509', 'x509_crl', 'ocsp_request', 'ocsp_response', 'x509_ac', 'pubkey', 'pkcs10_request', 'pgp'],
  ...['x509ca', 'x509ocsp', 'x509aa', 'x509ac', 'x509crl'],
])

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
    return succeeded()
  },

  /** Nothing is kept of certificates that peers sent, so there is nothing to throw away. */
  'flush-certs': (request) => {
    const type = textOf(request, 'type')
    if (type !== null && !CERTIFICATE_TYPES.has(type.toLowerCase())) throw new Refusal(`invalid certificate type '${type}'`)
    return succeeded()
  },

  'load-cert': () => {
    throw new Refusal(CERTIFICATES_UNSUPPORTED)
  },

  'load-key': () => {
    throw new Refusal(PRIVATE_KEYS_UNSUPPORTED)
  },

  'load-token': () => {
    throw new Refusal(PRIVATE_KEYS_UNSUPPORTED)
  },

  'unload-key': (request) => {
    throw new Refusal(textOf(request, 'id') === null ? 'key id missing' : 'key not found')
  },

  'get-keys': () => section(['keys', []]),

  'list-certs': () => section(),
}

const PRIVATE_KEYS_UNSUPPORTED = 'private keys are not supported yet'

function ownersOf(request: ViciSection): readonly Identity[] {
  try {
    return (listOf(request, 'owners') ?? []).map(readOwner)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    throw new Refusal(`parsing shared key owners failed: ${error.message}`, { cause: error })
  }
}
