/**
 * Which key of ours proves who we are, and which certificates go with it (strongSwan: credential_manager.c,
 * get_private): of the configured certificates the first whose chain leads to a CA that the peer asks for, else the first
 * that we have the key of; without such, the same among the loaded ones that have our identity.
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import type { PrivateKey } from '../crypto/private-key.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import { IdType } from '../iana/ikev2.ts'
import type { Certificate } from '../pki/certificate.ts'
import { isIssuedBy, isSelfSigned } from '../pki/path.ts'
import { certificatesOf } from './certificate-identities.ts'
import type { Credentials } from './credentials.ts'
import type { Identity } from './identity.ts'

export interface OwnCredential {
  readonly key: PrivateKey
  /** Null of a raw public key. */
  readonly certificate: Certificate | null
  /** From its issuer upwards as far as is known, without a root. */
  readonly intermediates: readonly Certificate[]
  /** The root, if it is known. */
  readonly root: Certificate | null
}

/** strongSwan: MAX_TRUST_PATH_LEN. */
const CHAIN_MAX = 7

/** `wanted`: hex of spkiFingerprints of the CAs that the peer asks for, none: any. Null if we have no key for this identity. */
export function ownCredential(
  id: Identity,
  { certificates, publicKeys }: { readonly certificates: readonly Certificate[]; readonly publicKeys: readonly PublicKey[] },
  wanted: ReadonlySet<string>,
  credentials: Credentials,
): OwnCredential | null {
  const issuers = [...credentials.authorities(), ...credentials.intermediates()]
  // Those that nobody here has heard of are no reason to prefer anything.
  const known = issuers.filter(({ publicKey }) => wanted.has(toHex(publicKey.spkiFingerprint)))
  const configured = bestOf(certificates, issuers, known, credentials)
  if (configured !== null) return configured
  for (const publicKey of publicKeys) {
    const key = credentials.privateKeyFor(publicKey)
    if (key !== null) return raw(key)
  }
  const named = bestOf(certificatesOf(id, credentials.certificates()), issuers, known, credentials)
  if (named !== null) return named
  const own = credentials.rawPublicKeys().find((key) => isNamedBy(key, id))
  const key = own === undefined ? null : credentials.privateKeyFor(own)
  return key === null ? null : raw(key)
}

function bestOf(
  certificates: readonly Certificate[],
  issuers: readonly Certificate[],
  known: readonly Certificate[],
  credentials: Credentials,
): OwnCredential | null {
  let first: OwnCredential | null = null
  for (const certificate of certificates) {
    const key = credentials.privateKeyFor(certificate.publicKey)
    if (key === null) continue
    const chain = chainOf(certificate, issuers)
    const end = chain.findIndex((ca) => known.some(({ der }) => equalBytes(der, ca.der)))
    const root = chain.find(isSelfSigned) ?? null
    // What is above the CA that the peer names, it has.
    if (end >= 0) return { key, certificate, intermediates: chain.slice(0, end).filter((ca) => !isSelfSigned(ca)), root }
    first ??= { key, certificate, intermediates: chain.filter((ca) => !isSelfSigned(ca)), root }
    if (known.length === 0) break
  }
  return first
}

function chainOf(certificate: Certificate, issuers: readonly Certificate[]): readonly Certificate[] {
  const chain: Certificate[] = []
  for (let current = certificate; chain.length < CHAIN_MAX && !isSelfSigned(current);) {
    const issuer = issuers.find((ca) => isIssuedBy(current, ca))
    if (issuer === undefined) break
    chain.push(issuer)
    current = issuer
  }
  return chain
}

function isNamedBy({ fingerprint, spkiFingerprint }: PublicKey, { type, data }: Identity): boolean {
  return type === IdType.ID_KEY_ID && (equalBytes(fingerprint, data) || equalBytes(spkiFingerprint, data))
}

function raw(key: PrivateKey): OwnCredential {
  return { key, certificate: null, intermediates: [], root: null }
}
