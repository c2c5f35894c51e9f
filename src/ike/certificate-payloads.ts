/**
 * CERT and CERTREQ payloads (RFC 7296 3.6, 3.7): certificates leaf first, raw public keys (RFC 7670), CRLs, OCSP answers
 * (RFC 4806), attribute certificates (RFC 5755); what the other side is asked for, by the SHA-1 of the public keys of CAs. Certificates come whole: by hash
 * and URL they would be fetched from wherever a stranger says.
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { isOf } from '../auth/groups.ts'
import type { OwnCredential } from '../auth/own-credential.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import { CertEncoding, nameOf } from '../iana/ikev2.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { readAttributeCertificate, type AttributeCertificate } from '../pki/attribute-certificate.ts'
import { readCertificate, type Certificate } from '../pki/certificate.ts'
import type { Connection } from './connection.ts'
import type { Authenticating, CertificateRequest } from './opening.ts'

/** Our limits for one message: certificates that are read at all, and how many of a chain's are. */
const CERT_PAYLOADS_MAX = 20
const CERTIFICATES_MAX = 10
/** CRLs, OCSP answers and attribute certificates that are kept of one message, of each. */
const STATUS_MAX = 8
/** CAs that are asked for by name; with more of them anything is welcome (an IKE_SA_INIT goes in one piece). */
const AUTHORITIES_MAX = 60
const KEY_ID_LENGTH = 20

/** What the peer sent to be believed by. */
export interface SentCertificates {
  readonly leaf: Certificate | null
  /** Those behind it, read when they are first asked for: who does not have the key of the leaf is not worth that. */
  issuers(): readonly Certificate[]
  /** As `issuers`. */
  attributeCertificates(): readonly AttributeCertificate[]
  readonly crls: readonly Uint8Array[]
  readonly ocspAnswers: readonly Uint8Array[]
}

/** Reads what there is; what is no certificate is told and passed over: perhaps it is not needed. */
export function readCertificates(
  session: Pick<Authenticating, 'sa' | 'env'>,
  payloads: readonly Payload[],
  takesOcsp: boolean,
): SentCertificates {
  const { sa, env } = session
  const encoded: Uint8Array[] = []
  const attributes: Uint8Array[] = []
  const crls: Uint8Array[] = []
  const ocspAnswers: Uint8Array[] = []
  const ignore = (sentence: string): void => env.report({ event: 'certificate-ignored', sa, sentence })
  let count = 0
  for (const payload of payloads) {
    if (payload.kind !== 'CERT') continue
    if (++count > CERT_PAYLOADS_MAX) {
      ignore(`more than ${CERT_PAYLOADS_MAX} CERT payloads, the others are ignored`)
      break
    }
    switch (payload.encoding) {
      case CertEncoding.X509_SIGNATURE:
        if (encoded.length < CERTIFICATES_MAX) encoded.push(payload.data)
        break
      case CertEncoding.X509_ATTRIBUTE:
        if (attributes.length < STATUS_MAX) attributes.push(payload.data)
        break
      case CertEncoding.CRL:
        if (crls.length < STATUS_MAX) crls.push(payload.data)
        break
      case CertEncoding.OCSP_CONTENT:
        if (!takesOcsp) ignore("received OCSP response, but we didn't request any, ignore")
        else if (ocspAnswers.length < STATUS_MAX) ocspAnswers.push(payload.data)
        break
      case CertEncoding.RAW_PUBLIC_KEY:
        // It has to be one that we know anyway, and those are tried.
        break
      case CertEncoding.HASH_AND_URL_X509:
      case CertEncoding.HASH_AND_URL_X509_BUNDLE:
        ignore("received hash-and-url encoded cert, but we don't accept them, ignore")
        break
      default:
        ignore(`certificate encoding ${nameOf(CertEncoding, payload.encoding)} not supported`)
    }
  }
  const [first, ...others] = encoded
  const leaf = first === undefined ? null : readOne(session, first, true)
  let issuers: readonly Certificate[] | null = null
  let attributeCertificates: readonly AttributeCertificate[] | null = null
  return {
    leaf,
    issuers: () => (issuers ??= others.flatMap((der) => readOne(session, der, false) ?? [])),
    attributeCertificates: () => (attributeCertificates ??= attributes.flatMap((der) => readAttributes(session, der) ?? [])),
    crls,
    ocspAnswers,
  }
}

function readAttributes({ sa, env }: Pick<Authenticating, 'sa' | 'env'>, der: Uint8Array): AttributeCertificate | null {
  try {
    const certificate = readAttributeCertificate(der)
    env.report({ event: 'attribute-certificate-received', sa, certificate })
    return certificate
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    const sentence = `received an attribute certificate that cannot be read: ${error.message}`
    env.report({ event: 'certificate-ignored', sa, sentence })
    return null
  }
}

function readOne({ sa, env }: Pick<Authenticating, 'sa' | 'env'>, der: Uint8Array, isLeaf: boolean): Certificate | null {
  try {
    const certificate = readCertificate(der)
    env.report({ event: 'certificate-received', sa, certificate, isLeaf })
    return certificate
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    env.report({ event: 'certificate-ignored', sa, sentence: `received a certificate that cannot be read: ${error.message}` })
    return null
  }
}

/** Null if the peer asks for nothing. */
export function readRequest(
  session: Pick<Authenticating, 'sa' | 'env'>,
  payloads: readonly Payload[],
): CertificateRequest | null {
  const { sa, env } = session
  const authorities = new Set<string>()
  let isAsked = false
  let wantsRawKeys = false
  let wantsOcsp = false
  for (const payload of payloads) {
    if (payload.kind !== 'CERTREQ') continue
    if (payload.encoding === CertEncoding.OCSP_CONTENT) {
      wantsOcsp = true
      continue
    }
    isAsked = true
    if (payload.encoding === CertEncoding.RAW_PUBLIC_KEY) wantsRawKeys = true
    if (payload.encoding !== CertEncoding.X509_SIGNATURE) continue
    for (let at = 0; at + KEY_ID_LENGTH <= payload.data.length; at += KEY_ID_LENGTH)
      authorities.add(toHex(payload.data.subarray(at, at + KEY_ID_LENGTH)))
  }
  if (!isAsked && !wantsOcsp) return null
  const known = env
    .credentials()
    .authorities()
    .filter(({ publicKey }) => authorities.has(toHex(publicKey.spkiFingerprint)))
  env.report({ event: 'certificate-requested', sa, known, unknown: Math.max(0, authorities.size - known.length) })
  return { authorities, wantsRawKeys, wantsOcsp }
}

/** Both, of different messages. */
export function both(a: CertificateRequest | null, b: CertificateRequest | null): CertificateRequest | null {
  if (a === null || b === null) return a ?? b
  return {
    authorities: new Set([...a.authorities, ...b.authorities]),
    wantsRawKeys: a.wantsRawKeys || b.wantsRawKeys,
    wantsOcsp: a.wantsOcsp || b.wantsOcsp,
  }
}

/**
 * What we ask of a peer that one of these connections is for: CAs that they name, else all that we trust (strongSwan).
 * Nothing where no certificate could help.
 */
export function certificateRequests(
  session: Pick<Authenticating, 'sa' | 'env'>,
  connections: readonly Connection[],
): readonly Payload[] {
  const { sa, env } = session
  const rounds = connections
    .filter(({ sendCertificateRequest }) => sendCertificateRequest)
    .flatMap(({ remote }) => remote.filter(({ method }) => method !== 'psk'))
  const requests: Payload[] = []
  if (rounds.length > 0) {
    const isNamed = rounds.every(({ caCertificates }) => caCertificates.length > 0)
    const authorities = isNamed ? rounds.flatMap(({ caCertificates }) => caCertificates) : env.credentials().authorities()
    const unique = withoutTwins(authorities.map(({ publicKey }) => publicKey))
    const fitting = unique.length > AUTHORITIES_MAX ? [] : unique
    if (unique.length > 0) {
      requests.push(request(CertEncoding.X509_SIGNATURE, Buffer.concat(fitting.map(({ spkiFingerprint }) => spkiFingerprint))))
      env.report({ event: 'certificate-request-sent', sa, authorities })
    }
    if (rounds.some(({ publicKeys }) => publicKeys.length > 0))
      requests.push(request(CertEncoding.RAW_PUBLIC_KEY, new Uint8Array()))
  }
  if (requestsOcsp(connections)) requests.push(request(CertEncoding.OCSP_CONTENT, new Uint8Array()))
  return requests
}

/** What goes with AUTH by a key of ours, as far as the connection has it sent. */
export function ownCertificates(
  session: Pick<Authenticating, 'sa' | 'env'>,
  { sendCertificate }: Connection,
  asked: CertificateRequest | null,
  { certificate, intermediates, key }: OwnCredential,
): readonly Payload[] {
  if (sendCertificate === 'never' || (sendCertificate === 'ifasked' && asked === null)) return []
  const { sa, env } = session
  if (certificate === null) {
    // charon would not know what it is.
    if (asked?.wantsRawKeys !== true) return []
    return [{ kind: 'CERT', encoding: CertEncoding.RAW_PUBLIC_KEY, data: key.publicKey.spki }]
  }
  const certificates = [certificate, ...intermediates].map((one, i): Payload => {
    env.report({ event: 'certificate-sent', sa, certificate: one, isLeaf: i === 0 })
    return { kind: 'CERT', encoding: CertEncoding.X509_SIGNATURE, data: one.der }
  })
  // strongSwan: whatever is loaded about it and in date goes along, asked for or not.
  const now = env.clock.wall()
  const attributes = env
    .credentials()
    .attributeCertificates()
    .filter((one) => isOf(one, certificate) && one.notBefore <= now && now <= one.notAfter)
  const about = attributes.slice(0, STATUS_MAX).map((one): Payload => {
    env.report({ event: 'attribute-certificate-sent', sa, certificate: one })
    return { kind: 'CERT', encoding: CertEncoding.X509_ATTRIBUTE, data: one.der }
  })
  return [...certificates, ...about]
}

/** Whether OCSP answers are asked for in IKE, of a peer that one of these connections is for. */
export function requestsOcsp(connections: readonly Connection[]): boolean {
  return connections.length > 0 && connections.every(({ ocsp }) => ocsp === 'request' || ocsp === 'both')
}

function withoutTwins(keys: readonly PublicKey[]): readonly PublicKey[] {
  return keys.filter((key, i) => keys.findIndex((other) => equalBytes(other.spki, key.spki)) === i)
}

function request(encoding: number, data: Uint8Array): Payload {
  return { kind: 'CERTREQ', encoding, data }
}
