/**
 * Who proves what in the bench: a pre-shared key that all have, or a certificate for each, of one CA and one type of key.
 * The keys are made of their names, so that the processes of the bench have the same without telling each other.
 */
import { NO_CREDENTIALS, type Credentials } from '../../src/auth/credentials.ts'
import type { LocalAuthentication, RemoteAuthentication } from '../../src/ike/connection.ts'
import { keyPair, makeCa, makeCertificate, type TestKeyType } from '../support/pki.ts'

export const AUTHS = { 'psk': null, 'ecdsa-p256': 'p256', 'rsa-2048': 'rsa-2048', 'ed25519': 'ed25519' } as const
export type Auth = keyof typeof AUTHS

export function isAuth(text: string): text is Auth {
  return Object.hasOwn(AUTHS, text)
}

const caOf = (key: TestKeyType) => makeCa('C=CH, O=bench, CN=CA', { key })

/** What the responder has in its directory of swanctl's, beside swanctl.conf. */
export function responderFiles(auth: Auth, gateway: string): ReadonlyMap<string, string> {
  const key = AUTHS[auth]
  if (key === null) return new Map()
  const ca = caOf(key)
  const own = makeCertificate({ subject: `C=CH, O=bench, CN=${gateway}`, issuer: ca, san: [`dns:${gateway}`], key })
  return new Map([
    ['x509ca/ca.pem', ca.pem],
    ['x509/gateway.pem', own.pem],
    ['private/gateway.pem', own.key.pem],
  ])
}

/** Lines of the sections `local` and `remote` of the responder. */
export function responderLines(auth: Auth): { readonly local: string; readonly remote: string } {
  return auth === 'psk'
    ? { local: 'auth = psk', remote: 'auth = psk' }
    : { local: 'auth = pubkey\n certs = gateway.pem', remote: 'auth = pubkey' }
}

interface InitiatorSide {
  readonly credentials: Credentials
  /** Of one that is called `name`. */
  roundsOf(name: string): {
    localRounds?: readonly Partial<LocalAuthentication>[]
    remoteRounds?: readonly Partial<RemoteAuthentication>[]
  }
}

/** All initiators have one key, and each a certificate of its own: nothing that the responder could remember. */
export function initiatorSide(auth: Auth): InitiatorSide {
  const type = AUTHS[auth]
  if (type === null) return { credentials: NO_CREDENTIALS, roundsOf: () => ({}) }
  const ca = caOf(type)
  const key = keyPair(type, 'of all initiators')
  const { privateKey } = key
  return {
    credentials: { ...NO_CREDENTIALS, privateKeyFor: () => privateKey, authorities: () => [ca.certificate] },
    roundsOf: (name) => {
      const { certificate } = makeCertificate({ subject: `C=CH, O=bench, CN=${name}`, issuer: ca, san: [`dns:${name}`], key })
      return { localRounds: [{ method: 'pubkey', certificates: [certificate] }], remoteRounds: [{ method: 'pubkey' }] }
    },
  }
}
