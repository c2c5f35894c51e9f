/**
 * Certificates as clients load and list them: by type and flag (strongSwan: vici_cred.c, vici_query.c, vici_cert_info.c).
 */
import { matchCertificate } from '../auth/certificate-identities.ts'
import {
  formatIdentity,
  identityOfKey,
  identityOfSubject,
  matchIdentity,
  parseIdentity,
  patternOf,
  type Identity,
  type IdentityPattern,
} from '../auth/identity.ts'
import { flagged, type CertificateFlag } from '../auth/loaded-credentials.ts'
import { EspalierError } from '../base/errors.ts'
import { readPublicKeyFile } from '../crypto/public-key.ts'
import type { CredentialStore } from '../gateway/credentials.ts'
import { readAttributeCertificateFile, type AttributeCertificate } from '../pki/attribute-certificate.ts'
import { readCertificateFile } from '../pki/certificate.ts'
import { readCrlFile } from '../pki/crl.ts'
import type { RevocationCache } from '../pki/revocation-cache.ts'
import { Refusal } from './command.ts'
import { section, textOf, type ViciSection } from './message.ts'

/** IANA "IKEv2 Identification Payload ID Types". */
const ID_KEY_ID = 11

/** strongSwan: certificate_type_names. */
const TYPES = ['ANY', 'X509', 'X509_CRL', 'OCSP_REQUEST', 'OCSP_RESPONSE', 'X509_AC', 'PUBKEY', 'PKCS10_REQUEST', 'PGP'] as const
type CertificateType = (typeof TYPES)[number]

export interface CertificateKind {
  readonly type: CertificateType
  /** Of X509; ANY where it does not matter. */
  readonly flag: CertificateFlag | 'ANY'
}

/** strongSwan: cert_types, by the names of swanctl's directories. */
const DIRECTORIES: Readonly<Record<string, CertificateKind>> = {
  x509ca: { type: 'X509', flag: 'CA' },
  x509ocsp: { type: 'X509', flag: 'OCSP' },
  x509aa: { type: 'X509', flag: 'AA' },
  x509ac: { type: 'X509_AC', flag: 'NONE' },
  x509crl: { type: 'X509_CRL', flag: 'NONE' },
}
const FLAGS: readonly CertificateFlag[] = ['NONE', 'CA', 'AA', 'OCSP']

/** By either name, in any case; null if it is none. */
export function certificateKind(name: string): CertificateKind | null {
  const type = TYPES.find((type) => type === name.toUpperCase())
  if (type !== undefined) return { type, flag: 'ANY' }
  const folded = name.toLowerCase()
  return Object.hasOwn(DIRECTORIES, folded) ? DIRECTORIES[folded]! : null
}

/** What load-cert says that a certificate is. Throws a Refusal. */
export function wantedKind(request: ViciSection): CertificateKind {
  const name = textOf(request, 'type')
  if (name === null) throw new Refusal('certificate type missing')
  const kind = certificateKind(name)
  if (kind === null) throw new Refusal(`invalid certificate type '${name}'`)
  if (kind.type !== 'X509' || kind.flag !== 'ANY') return kind
  const flag = flagNamed(textOf(request, 'flag') ?? 'NONE')
  if (flag === null) throw new Refusal(`invalid certificate flag '${textOf(request, 'flag')}'`)
  return { type: kind.type, flag }
}

function flagNamed(name: string): CertificateKind['flag'] | null {
  return [...FLAGS, 'ANY' as const].find((flag) => flag === name.toUpperCase()) ?? null
}

/** Throws a Refusal. `data` is kept. */
export function loadCertificate(store: CredentialStore, { type, flag }: CertificateKind, data: Uint8Array): void {
  const failure = `parsing ${type} certificate failed`
  switch (type) {
    case 'X509': {
      const [certificate, ...chain] = parsed(failure, () => readCertificateFile(data))
      if (certificate === undefined) throw new Refusal(failure)
      const added = flagged(certificate, flag === 'ANY' ? 'NONE' : flag, chain)
      if (added === null) throw new Refusal('ca certificate lacks CA basic constraint, rejected')
      store.loadCertificate(added)
      return
    }
    case 'X509_AC':
      for (const certificate of parsed(failure, () => readAttributeCertificateFile(data)))
        store.loadAttributeCertificate(certificate)
      return
    case 'X509_CRL':
      for (const crl of parsed(failure, () => readCrlFile(data))) store.loadCrl(crl)
      return
    case 'PUBKEY':
      return store.loadPublicKey(parsed(failure, () => readPublicKeyFile(data)))
    default:
      throw new Refusal(`${failure}: certificates of this type are not read`)
  }
}

/** What `read` returns; a Refusal with strongSwan's sentence and our reason where it cannot. */
export function parsed<Thing>(failure: string, read: () => Thing): Thing {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    throw new Refusal(`${failure}: ${error.message}`, { cause: error })
  }
}

/** Of a value's 16-bit length. */
const VALUE_BYTES_MAX = 0xffff

// -- list-certs ----------------------------------------------------------------------------------------------------

/** The events of list-certs: public keys, then certificates by what they are for, attribute certificates, CRLs and OCSP answers, those that were fetched as well (strongSwan's order). Nothing for what nobody knows. */
export function* listed(request: ViciSection, store: CredentialStore, cache: RevocationCache): Iterable<ViciSection> {
  const kind = certificateKind(textOf(request, 'type') ?? 'ANY')
  if (kind === null) return
  const { type } = kind
  const flag = type === 'X509' && kind.flag === 'ANY' ? flagNamed(textOf(request, 'flag') ?? 'ANY') : kind.flag
  if (flag === null) return
  const text = textOf(request, 'subject')
  const subject = text === null ? null : patternOf(parseIdentity(text))

  if (type === 'ANY' || type === 'PUBKEY') {
    for (const { key, owner } of store.ownedPublicKeys()) {
      if (subject !== null && matchIdentity(subject, owner ?? identityOfKey(key.spkiFingerprint)) === 0) continue
      yield section(
        ['type', 'PUBKEY'],
        ['has_privkey', store.privateKeyFor(key) === null ? null : 'yes'],
        ['data', key.spki],
        ['subject', owner === null || owner.type === ID_KEY_ID ? null : formatIdentity(owner)],
      )
    }
  }
  if (type === 'ANY' || type === 'X509') {
    for (const wanted of FLAGS) {
      if (type !== 'ANY' && flag !== 'ANY' && flag !== wanted) continue
      for (const entry of store.flaggedCertificates()) {
        if (entry.flag !== wanted || (subject !== null && matchCertificate(subject, entry.certificate) === 0)) continue
        const { certificate } = entry
        yield section(
          ['type', 'X509'],
          ['flag', wanted],
          ['has_privkey', store.privateKeyFor(certificate.publicKey) === null ? null : 'yes'],
          ['data', certificate.der],
        )
      }
    }
  }
  if (type === 'ANY' || type === 'X509_AC') {
    for (const { holder, holderName, der } of store.attributeCertificates().toReversed()) {
      if (subject !== null && !isAboutHolder(subject, holder, holderName)) continue
      yield section(['type', 'X509_AC'], ['data', der])
    }
  }
  if (type === 'ANY' || type === 'X509_CRL') {
    for (const crl of new Set([...store.crls(), ...cache.crls()])) {
      if (subject !== null && matchIdentity(subject, identityOfSubject(crl.issuer)) === 0) continue
      // The format has no longer values.
      if (crl.der.length <= VALUE_BYTES_MAX) yield section(['type', 'X509_CRL'], ['data', crl.der])
    }
  }
  if ((type === 'ANY' || type === 'OCSP_RESPONSE') && subject === null) {
    for (const { der } of cache.ocspAnswers()) yield section(['type', 'OCSP_RESPONSE'], ['data', der])
  }
}

/** By the holder's name, or by the serial number of its certificate as a KEY_ID (strongSwan). */
function isAboutHolder(
  subject: IdentityPattern,
  holder: AttributeCertificate['holder'],
  holderName: AttributeCertificate['holderName'],
): boolean {
  const ids: readonly Identity[] = [
    ...(holderName === null ? [] : [identityOfSubject(holderName)]),
    ...(holder === null ? [] : [identityOfKey(holder.serial)]),
  ]
  return ids.some((id) => matchIdentity(subject, id) > 0)
}
