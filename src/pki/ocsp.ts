/**
 * OCSP (RFC 6960): the question about one certificate, and answers read. Whose word an answer is, ocsp-signer.ts says.
 */
import { hash } from 'node:crypto'

import { equalBytes } from '../base/bytes.ts'
import {
  DerReader,
  Tag,
  contextTag,
  encodeContext,
  encodeInteger,
  encodeNull,
  encodeOctetString,
  encodeOid,
  encodeSequence,
} from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { schemeOfAlgorithm, type SignatureScheme } from '../crypto/signature-scheme.ts'
import { readCertificate, type Certificate } from './certificate.ts'
import { withoutLeadingZeros, type Revocation } from './crl-entries.ts'

/** Our limit, also of what is fetched. */
export const OCSP_BYTES_MAX = 1024 * 1024

export const OCSP_REQUEST_TYPE = 'application/ocsp-request'

/** What an answer says of one certificate. */
export interface OcspStatus {
  readonly status: 'good' | 'revoked' | 'unknown'
  /** When and why, of one that is revoked. */
  readonly revocation: Revocation | null
  /** Milliseconds since 1970. */
  readonly thisUpdate: Milliseconds
  readonly nextUpdate: Milliseconds
}

interface SingleAnswer extends OcspStatus {
  readonly hash: string | null
  readonly issuerNameHash: Uint8Array
  readonly issuerKeyHash: Uint8Array
  readonly serial: Uint8Array
}

/** Views on `der` all of them. */
export interface OcspAnswer {
  readonly der: Uint8Array
  /** The signer's name (DER), or else SHA-1 of its public key. */
  readonly responder: { readonly name: Uint8Array } | { readonly keyHash: Uint8Array }
  readonly producedAt: Milliseconds
  readonly nonce: Uint8Array | null
  readonly signatureScheme: SignatureScheme | null
  readonly signatureAlgorithm: string
  /** The bytes that are signed. */
  readonly tbs: Uint8Array
  readonly signature: Uint8Array
  /** Who may have signed it; those that can't be read are left out. */
  readonly certificates: readonly Certificate[]
  /** What it says of a certificate of this issuer, or null. */
  find(certificate: Certificate, issuer: Certificate): OcspStatus | null
}

/** The question about a certificate. strongSwan: SHA-1, which is all that some responders know; a nonce; only basic answers. */
export function encodeOcspRequest(certificate: Certificate, issuer: Certificate, nonce: Uint8Array): Uint8Array {
  const certId = encodeSequence(
    encodeSequence(encodeOid(HASHES.sha1), encodeNull()),
    encodeOctetString(hash('sha1', issuer.subject, 'buffer')),
    encodeOctetString(issuer.publicKey.fingerprint),
    encodeInteger(certificate.serial),
  )
  const extension = (oid: string, value: Uint8Array): Uint8Array => encodeSequence(encodeOid(oid), encodeOctetString(value))
  return encodeSequence(
    encodeSequence(
      encodeSequence(encodeSequence(certId)),
      encodeContext(
        2,
        encodeSequence(
          // RFC 8954 2.1: an OCTET STRING of its own within the extension's.
          extension(NONCE, encodeOctetString(nonce)),
          extension(ACCEPTABLE_RESPONSES, encodeSequence(encodeOid(BASIC_RESPONSE))),
        ),
      ),
    ),
  )
}

/**
 * Throws EspalierError: malformed, OCSP_MALFORMED, which says where; peer-incompatible, OCSP_REFUSED for the responder's
 * refusal; peer-incompatible, OCSP_UNSUPPORTED for what we don't know. At most OCSP_BYTES_MAX.
 */
export function readOcspAnswer(der: Uint8Array): OcspAnswer {
  if (der.length > OCSP_BYTES_MAX) throw malformed(`it has more than the ${OCSP_BYTES_MAX} bytes that we read`)
  try {
    return readResponse(der)
  } catch (error) {
    if (error instanceof EspalierError && error.code === 'DER_MALFORMED') throw malformed(error.message)
    throw error
  }
}

function readResponse(der: Uint8Array): OcspAnswer {
  const response = DerReader.inside(der)
  const status = response.smallInteger(Tag.ENUMERATED)
  if (status !== 0) {
    const name = REFUSALS[status] ?? `status ${status}`
    throw new EspalierError('peer-incompatible', 'OCSP_REFUSED', `the OCSP responder refuses to answer: ${name}`)
  }
  const explicit = response.enter(contextTag(0, true))
  response.end()
  const bytes = explicit.enter()
  explicit.end()
  const type = bytes.oid()
  if (type !== BASIC_RESPONSE) throw unsupported(`an answer of type ${type}`)
  const inside = bytes.enter(Tag.OCTET_STRING)
  bytes.end()
  const basic = inside.enter()
  inside.end()
  return readBasic(der, basic)
}

// RFC 6960 4.2.1.
function readBasic(der: Uint8Array, basic: DerReader): OcspAnswer {
  const { whole: tbs, contents, offset } = basic.read(Tag.SEQUENCE)
  const algorithm = basic.read(Tag.SEQUENCE).whole
  const signature = basic.bitString()
  const certificates = readCertificates(basic.enterOptional(contextTag(0, true)))
  basic.end()

  const data = new DerReader(contents, offset)
  const version = data.enterOptional(contextTag(0, true))
  if (version !== null && version.smallInteger() !== 0) throw unsupported('an answer of another version than 1')
  const responder = readResponder(data)
  const producedAt = data.time()
  const answers = readAnswers(data.enter(), producedAt)
  const nonce = readNonce(data.enterOptional(contextTag(1, true)))
  data.end()

  return {
    der,
    responder,
    producedAt,
    nonce,
    signatureScheme: schemeOfAlgorithm(algorithm),
    signatureAlgorithm: DerReader.inside(algorithm).oid(),
    tbs,
    signature,
    certificates,
    find: (certificate, issuer) => {
      const serial = withoutLeadingZeros(certificate.serial)
      return answers.find((answer) => equalBytes(answer.serial, serial) && isOfIssuer(answer, certificate, issuer)) ?? null
    },
  }
}

function readResponder(data: DerReader): OcspAnswer['responder'] {
  const byName = data.enterOptional(contextTag(1, true))
  if (byName !== null) {
    const name = byName.read(Tag.SEQUENCE).whole
    byName.end()
    return { name }
  }
  const byKey = data.enter(contextTag(2, true))
  const keyHash = byKey.octetString()
  byKey.end()
  return { keyHash }
}

function readAnswers(list: DerReader, producedAt: Milliseconds): SingleAnswer[] {
  const answers: SingleAnswer[] = []
  while (!list.isAtEnd) {
    if (answers.length === ANSWERS_MAX) throw malformed(`it is about more than ${ANSWERS_MAX} certificates`)
    answers.push(readAnswer(list.enter(), producedAt))
  }
  return answers
}

function readAnswer(answer: DerReader, producedAt: Milliseconds): SingleAnswer {
  const certId = answer.enter()
  const algorithm = certId.enter().oid()
  const issuerNameHash = certId.octetString()
  const issuerKeyHash = certId.octetString()
  const serial = withoutLeadingZeros(certId.read(Tag.INTEGER).contents)
  certId.end()
  const { status, revocation } = readStatus(answer)
  const thisUpdate = answer.time()
  const next = answer.enterOptional(contextTag(0, true))
  // strongSwan: an answer that does not say how long it holds holds a little.
  const nextUpdate = next === null ? producedAt + LIFETIME_UNTOLD : next.time()
  next?.end()
  readExtensions(answer.enterOptional(contextTag(1, true)), () => false)
  answer.end()
  const known = Object.entries(HASHES).find(([, oid]) => oid === algorithm)
  return { hash: known?.[0] ?? null, issuerNameHash, issuerKeyHash, serial, status, revocation, thisUpdate, nextUpdate }
}

function readStatus(answer: DerReader): Pick<OcspStatus, 'status' | 'revocation'> {
  if (answer.optional(contextTag(0, false)) !== null) return { status: 'good', revocation: null }
  if (answer.optional(contextTag(2, false)) !== null) return { status: 'unknown', revocation: null }
  const revoked = answer.enter(contextTag(1, true))
  const at = revoked.time()
  const explicit = revoked.enterOptional(contextTag(0, true))
  const reason = explicit?.smallInteger(Tag.ENUMERATED) ?? 0
  explicit?.end()
  revoked.end()
  return { status: 'revoked', revocation: { at, reason } }
}

function readNonce(explicit: DerReader | null): Uint8Array | null {
  let nonce: Uint8Array | null = null
  readExtensions(explicit, (oid, value) => {
    if (oid !== NONCE) return false
    nonce = value.octetString()
    value.end()
    return true
  })
  return nonce
}

/** `take` says whether it knows one; a critical one that nobody knows must not be overlooked (RFC 6960 4.4). */
function readExtensions(explicit: DerReader | null, take: (oid: string, value: DerReader) => boolean): void {
  if (explicit === null) return
  const extensions = explicit.enter()
  explicit.end()
  while (!extensions.isAtEnd) {
    const extension = extensions.enter()
    const oid = extension.oid()
    const isCritical = extension.peek() === Tag.BOOLEAN && extension.boolean()
    const isKnown = take(oid, extension.enter(Tag.OCTET_STRING))
    extension.end()
    if (isCritical && !isKnown) throw unsupported(`the critical extension ${oid}`)
  }
}

function readCertificates(explicit: DerReader | null): Certificate[] {
  if (explicit === null) return []
  const list = explicit.enter()
  explicit.end()
  const certificates: Certificate[] = []
  for (let count = 0; !list.isAtEnd; count++) {
    if (count === CERTIFICATES_MAX) throw malformed(`it brings more than ${CERTIFICATES_MAX} certificates`)
    const { whole } = list.read(Tag.SEQUENCE)
    try {
      certificates.push(readCertificate(whole))
    } catch (error) {
      // It cannot be the signer's; another one may be (strongSwan as well).
      if (!(error instanceof EspalierError)) throw error
    }
  }
  return certificates
}

/** The issuer's key decides (strongSwan as well), and its name, as the certificate or as the issuer itself has it. */
function isOfIssuer(answer: SingleAnswer, certificate: Certificate, issuer: Certificate): boolean {
  const algorithm = answer.hash
  if (algorithm === null) return false
  const isHash = (digest: Uint8Array, bytes: Uint8Array): boolean => equalBytes(hash(algorithm, bytes, 'buffer'), digest)
  const { spki } = issuer.publicKey
  return (
    (isHash(answer.issuerNameHash, certificate.issuer) || isHash(answer.issuerNameHash, issuer.subject)) &&
    isHash(answer.issuerKeyHash, subjectPublicKey(spki))
  )
}

/** What the BIT STRING of a SubjectPublicKeyInfo holds. */
function subjectPublicKey(spki: Uint8Array): Uint8Array {
  const info = DerReader.inside(spki)
  info.next()
  return info.bitString()
}

const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1'
const NONCE = '1.3.6.1.5.5.7.48.1.2'
const ACCEPTABLE_RESPONSES = '1.3.6.1.5.5.7.48.1.4'

const HASHES = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
} as const

/** RFC 6960 4.2.1: OCSPResponseStatus. */
const REFUSALS: Readonly<Record<number, string>> = {
  1: 'it calls our request malformed',
  2: 'internal error',
  3: 'try later',
  5: 'it wants requests to be signed',
  6: 'it is not allowed to answer about this certificate',
}

const LIFETIME_UNTOLD: Milliseconds = 30 * SECOND

/** Our limits. */
const ANSWERS_MAX = 100
const CERTIFICATES_MAX = 8

function malformed(what: string): EspalierError {
  return new EspalierError('malformed', 'OCSP_MALFORMED', `the OCSP answer is malformed: ${what}`)
}

function unsupported(what: string): EspalierError {
  return new EspalierError('peer-incompatible', 'OCSP_UNSUPPORTED', `the OCSP answer has ${what}, which we don't know`)
}
