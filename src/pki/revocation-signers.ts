/**
 * Who may say that a certificate is revoked: its CA, whom the CA named instead, and whom the administrator did.
 */
import { equalBytes } from '../base/bytes.ts'
import type { Milliseconds } from '../base/time.ts'
import { verify } from '../crypto/public-key.ts'
import { ExtendedKeyUsage, KeyUsage, type Certificate } from './certificate.ts'
import type { Crl } from './crl.ts'
import { equalNames } from './names.ts'
import type { OcspAnswer } from './ocsp.ts'
import { findPath, isIssuedBy } from './path.ts'

export interface SignerRequest {
  /** The CA that issued the certificate in question. */
  readonly issuer: Certificate
  /** Where the certificate's path ends: the path of a CRL's signer must end there too (RFC 5280 6.3.3 f). */
  readonly anchor: Certificate
  /** Other certificates that are known. */
  readonly certificates: readonly Certificate[]
  /** OCSP signers that the administrator trusts. */
  readonly ocspSigners: readonly Certificate[]
  /** Milliseconds since 1970. */
  readonly now: Milliseconds
  /** Whether the CRL's signature is by the certificate's key, for those who remember. */
  readonly isSignedBy?: (crl: Crl, signer: Certificate) => boolean
}

/** Whether a list is about certificates of this issuer: its own, or that of a CRL issuer which the certificate names. */
export function isAbout(crl: Crl, certificate: Certificate, issuer: Certificate): boolean {
  return isIssuersOwn(crl, issuer) || isNamed(crl, certificate)
}

function isIssuersOwn(crl: Crl, issuer: Certificate): boolean {
  const { authorityKeyId } = crl
  const { subjectKeyId } = issuer
  // strongSwan: key identifiers decide where both have one, else names.
  return authorityKeyId !== null && subjectKeyId !== null
    ? equalBytes(authorityKeyId, subjectKeyId)
    : equalNames(crl.issuer, issuer.subject)
}

/** RFC 5280 4.2.1.13: cRLIssuer. */
function isNamed(crl: Crl, certificate: Certificate): boolean {
  return certificate.crlDistributionPoints.some(({ issuer }) => issuer !== null && equalNames(issuer, crl.issuer))
}

/** Whoever signed a list that `isAbout` its issuer's certificates, and may; null if that is nobody we know. */
export function crlSigner(crl: Crl, request: SignerRequest): Certificate | null {
  const { issuer, anchor, certificates, now, isSignedBy = isCrlSignedBy } = request
  const maySign = (candidate: Certificate): boolean => canSignCrls(candidate) && isIssuersOwn(crl, candidate)
  if (maySign(issuer) && isSignedBy(crl, issuer)) return issuer
  // A CRL issuer, or the CA under a newer key.
  const others = [anchor, ...certificates].filter(
    (candidate) => candidate.fingerprint !== issuer.fingerprint && maySign(candidate),
  )
  for (const candidate of others.slice(0, CANDIDATES_MAX)) {
    if (!isSignedBy(crl, candidate)) continue
    const path = findPath({ leaf: candidate, intermediates: certificates, anchors: [anchor], now, leafSigns: false })
    if (candidate.fingerprint === anchor.fingerprint || path.ok) return candidate
  }
  return null
}

/** strongSwan: a CA whose certificate says nothing of its key's usage may sign CRLs. */
function canSignCrls({ keyUsage, isCa }: Certificate): boolean {
  return keyUsage === null ? isCa : (keyUsage & KeyUsage.CRL_SIGN) !== 0
}

export function isCrlSignedBy({ signatureScheme, tbs, signature }: Crl, { publicKey }: Certificate): boolean {
  return signatureScheme !== null && verify(publicKey, signatureScheme, tbs, signature)
}

/**
 * Whoever signed an OCSP answer, and may (RFC 6960 4.2.2.2): the CA; one to whom it gave a certificate for that; or a
 * signer that the administrator trusts. Null if that is nobody we know.
 */
export function ocspSigner(answer: OcspAnswer, request: SignerRequest): Certificate | null {
  const { issuer, certificates, ocspSigners, now } = request
  const isCa = (candidate: Certificate): boolean => candidate.fingerprint === issuer.fingerprint
  const isDelegate = (candidate: Certificate): boolean => isForOcsp(candidate) && isIssuedBy(candidate, issuer)
  const isWithinLife = ({ notBefore, notAfter }: Certificate): boolean => notBefore <= now && now <= notAfter
  const isOurs = (candidate: Certificate): boolean =>
    isResponder(answer, candidate) && isWithinLife(candidate) && candidate.unknownCritical.length === 0
  const byTheCa = [issuer, ...answer.certificates, ...certificates].filter(isOurs).slice(0, CANDIDATES_MAX)
  return (
    byTheCa.find((candidate) => (isCa(candidate) || isDelegate(candidate)) && isAnswerSignedBy(answer, candidate)) ??
    ocspSigners.filter(isOurs).find((candidate) => isForOcsp(candidate) && isAnswerSignedBy(answer, candidate)) ??
    null
  )
}

function isForOcsp({ extendedKeyUsage }: Certificate): boolean {
  return extendedKeyUsage.includes(ExtendedKeyUsage.OCSP_SIGNING)
}

function isResponder({ responder }: OcspAnswer, { subject, publicKey }: Certificate): boolean {
  return 'name' in responder ? equalNames(responder.name, subject) : equalBytes(responder.keyHash, publicKey.fingerprint)
}

function isAnswerSignedBy({ signatureScheme, tbs, signature }: OcspAnswer, { publicKey }: Certificate): boolean {
  return signatureScheme !== null && verify(publicKey, signatureScheme, tbs, signature)
}

/** Our limit: signatures that are tried for one list or answer. */
const CANDIDATES_MAX = 16
