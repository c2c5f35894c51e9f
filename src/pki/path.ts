/**
 * Certification paths (RFC 5280 6): from a certificate to a trust anchor by way of what was sent and loaded.
 *
 * A path is first put together by names and key identifiers, which costs nothing, and only when it ends at an anchor are
 * its rules checked: dates, CAs, key usage, lengths; then its signatures, from the anchor down, so that a stranger's own
 * certificates cost no more than one verification with an anchor's key; then names and policies.
 * Several paths are tried where there are several issuers (cross certificates, a CA with a new certificate).
 *
 * As strongSwan: a path ends only at an anchor that is self-signed; a trusted CA that is not is a link like any other;
 * dates, unknown critical extensions and the path length of the anchor count, too; SHA-1 signatures and RSA from 1024 bits
 * pass, unless the connection's constraints say otherwise. Stricter than strongSwan: keyCertSign is asked of CAs, MD5 is
 * never taken.
 */
import { equalBytes } from '../base/bytes.ts'
import { formatCalendar } from '../base/calendar.ts'
import type { Milliseconds } from '../base/time.ts'
import { MINIMUM_RSA_BITS, verify } from '../crypto/public-key.ts'
import { KeyUsage, describeCertificate, issuerOf, type Certificate } from './certificate.ts'
import { ConstraintBudget, constraintViolation } from './name-constraints.ts'
import { canonicalName } from './names.ts'
import { checkPolicies } from './policies.ts'

export interface PathRequest {
  readonly leaf: Certificate
  /** What was sent and what is loaded: candidates, trusted only if a path holds. */
  readonly intermediates: readonly Certificate[]
  /** Trusted by themselves if they are self-signed; the others are candidates that come before `intermediates`. */
  readonly anchors: readonly Certificate[]
  /** Milliseconds since 1970. */
  readonly now: Milliseconds
  /** RFC 4945 5.1.3.2: a keyUsage of the leaf has to allow signatures. False for certificates of other uses. Default true. */
  readonly leafSigns?: boolean
  /** In place of `isSignedBy`, for those who remember. */
  readonly verifySignature?: (subject: Certificate, issuer: Certificate) => boolean
}

export type PathFailureCode =
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'NO_ISSUER'
  | 'SELF_SIGNED'
  | 'BAD_SIGNATURE'
  | 'UNKNOWN_ALGORITHM'
  | 'NOT_A_CA'
  | 'PATH_TOO_LONG'
  | 'KEY_USAGE'
  | 'NAME_CONSTRAINT'
  | 'UNKNOWN_CRITICAL'
  | 'WEAK_KEY'
  | 'WEAK_HASH'
  | 'POLICY'
  | 'SEARCH_LIMIT'

export interface PathFailure {
  readonly code: PathFailureCode
  readonly certificate: Certificate
  /** `certificate 'CN=moon' (serial 0a) expired on 2026-01-01 00:00:00 UTC` */
  readonly sentence: string
}

export type PathResult =
  | {
      readonly ok: true
      /** Leaf … anchor; the leaf alone if it is an anchor itself. */
      readonly path: readonly Certificate[]
      /** Policies of the leaf that hold for this path, dotted. */
      readonly policies: readonly string[]
    }
  | { readonly ok: false; readonly reason: PathFailure }

/** Every path there is, those that hold and those that fail, in the order of the candidates; the search is bounded. */
export function* paths(request: PathRequest): Generator<PathResult, void, undefined> {
  for (const { result } of new Search(request).from([request.leaf])) yield result
}

/** The first path that holds, else the failure of the one that came furthest. */
export function findPath(request: PathRequest): PathResult {
  let best: Found | null = null
  for (const found of new Search(request).from([request.leaf])) {
    if (found.result.ok) return found.result
    if (best === null || found.rank > best.rank) best = found
  }
  return best!.result
}

/** Whether `issuer` signed `subject`: name, key identifier and signature; neither dates nor constraints. */
export function isIssuedBy(subject: Certificate, issuer: Certificate): boolean {
  return isNamedIssuer(subject, issuer) && isSignedBy(subject, issuer)
}

/** Signed by its own key under its own name. Where the signature is one we never take (MD5), the name decides: it proves nothing anyway. */
export function isSelfSigned(certificate: Certificate): boolean {
  return isNamedIssuer(certificate, certificate) && (certificate.signatureScheme === null || isSignedBy(certificate, certificate))
}

/** Whether the key of `issuer` made the signature of `subject`; remembered as long as both are. */
export function isSignedBy(subject: Certificate, issuer: Certificate): boolean {
  const known = verified.get(subject)?.get(issuer)
  if (known !== undefined) return known
  const { signatureScheme: scheme, tbs, signature } = subject
  const isSigned = scheme !== null && verify(issuer.publicKey, scheme, tbs, signature)
  const ofSubject = verified.get(subject) ?? new WeakMap<Certificate, boolean>()
  verified.set(subject, ofSubject.set(issuer, isSigned))
  return isSigned
}

/** A memory of a pure function: it lasts no longer than the certificates do. */
const verified = new WeakMap<Certificate, WeakMap<Certificate, boolean>>()

/** What `isIssuedBy` asks before the signature. A key identifier that differs is another key (RFC 5280 4.2.1.1). */
function isNamedIssuer(subject: Certificate, issuer: Certificate): boolean {
  if (canonical(subject).issuer !== canonical(issuer).subject) return false
  const { authorityKeyId } = subject
  const { subjectKeyId } = issuer
  return authorityKeyId === null || subjectKeyId === null || equalBytes(authorityKeyId, subjectKeyId)
}

/** Names as they compare, made once a certificate. */
function canonical(certificate: Certificate): { readonly subject: string; readonly issuer: string } {
  const known = canonicals.get(certificate)
  if (known !== undefined) return known
  const [subject, issuer] = [certificate.subject, certificate.issuer].map((name) => canonicalName(name).join('\0')) as [
    string,
    string,
  ]
  canonicals.set(certificate, { subject, issuer })
  return { subject, issuer }
}
const canonicals = new WeakMap<Certificate, { readonly subject: string; readonly issuer: string }>()

/** `rank`: how far it came, to tell the failure worth telling. */
interface Found {
  readonly result: PathResult
  readonly rank: number
}

class Search {
  readonly #request: PathRequest
  readonly #anchors: readonly Certificate[]
  readonly #candidates: readonly Certificate[]
  #steps = 0

  constructor(request: PathRequest) {
    this.#request = request
    this.#anchors = request.anchors.filter(isSelfSigned)
    this.#candidates = [...new Set([...this.#anchors, ...request.anchors, ...request.intermediates])]
  }

  /** All ways on from a path that is not at its end. */
  *from(path: readonly Certificate[]): Generator<Found, void, undefined> {
    const subject = path.at(-1)!
    if (this.#anchors.some(({ der }) => equalBytes(der, subject.der))) {
      const reason = this.#refusal(path)
      if (reason !== null && 'code' in reason) yield { result: { ok: false, reason }, rank: COMPLETE }
      else yield { result: { ok: true, path, policies: reason.policies }, rank: COMPLETE }
      return
    }
    if (path.length >= MAXIMUM_PATH) return yield partial(path, tooLong(path))
    const issuers = this.#candidates.filter(
      (candidate) => isNamedIssuer(subject, candidate) && !path.some((passed) => isSameEntity(passed, candidate)),
    )
    if (issuers.length === 0) return yield partial(path, noIssuer(subject))
    for (const issuer of issuers) {
      if (++this.#steps > MAXIMUM_STEPS) return yield partial(path, searchedEnough(subject))
      yield* this.from([...path, issuer])
    }
  }

  /** What is wrong with a path that ends at an anchor, or the policies that hold for it. */
  #refusal(path: readonly Certificate[]): PathFailure | { readonly policies: readonly string[] } {
    for (const [i, certificate] of path.entries()) {
      const failure = this.#refusalOf(certificate, i, path)
      if (failure !== null) return failure
    }
    const verifySignature = this.#request.verifySignature ?? isSignedBy
    for (let i = path.length - 2; i >= 0; i--) {
      const certificate = path[i]!
      if (!verifySignature(certificate, path[i + 1]!))
        return fail('BAD_SIGNATURE', certificate, `was not signed by the key of its issuer '${issuerOf(certificate)}'`)
    }
    const budget = new ConstraintBudget()
    for (let i = path.length - 2; i >= 0; i--) {
      const certificate = path[i]!
      // RFC 5280 6.1.3 b, c: a CA's own change of keys is not a name given to others.
      if (i > 0 && isSelfIssued(certificate)) continue
      for (const ca of path.slice(i + 1)) {
        const violation = constraintViolation(certificate, ca, budget)
        if (violation !== null) return fail('NAME_CONSTRAINT', certificate, violation)
      }
    }
    const policies = checkPolicies(path)
    return policies.ok ? policies : fail('POLICY', policies.failure.certificate, policies.failure.why)
  }

  /** The rules for one certificate that need no signature. */
  #refusalOf(certificate: Certificate, i: number, path: readonly Certificate[]): PathFailure | null {
    const { now, leafSigns = true } = this.#request
    const { keyUsage, publicKey, notBefore, notAfter, unknownCritical, signatureScheme, signatureAlgorithm } = certificate
    if (unknownCritical.length > 0)
      return fail('UNKNOWN_CRITICAL', certificate, `has the critical extension ${unknownCritical[0]!}, which is unknown`)
    if (now < notBefore) return fail('NOT_YET_VALID', certificate, `is not valid before ${formatCalendar(notBefore)}`)
    // RFC 5280 4.1.2.5: the second that is named is the last one, and wholly.
    if (now >= notAfter + 1000) return fail('EXPIRED', certificate, `expired on ${formatCalendar(notAfter)}`)
    if (publicKey.type === 'rsa' && publicKey.bits < MINIMUM_RSA_BITS)
      return fail('WEAK_KEY', certificate, `has a weak key: RSA of ${publicKey.bits} bits, less than ${MINIMUM_RSA_BITS}`)
    const isAnchor = i === path.length - 1
    if (signatureScheme === null && !isAnchor) {
      const weak = WEAK_ALGORITHMS[signatureAlgorithm]
      if (weak !== undefined) return fail('WEAK_HASH', certificate, `is signed with ${weak}, which can be forged`)
      return fail('UNKNOWN_ALGORITHM', certificate, `is signed with the algorithm ${signatureAlgorithm}, which is unknown`)
    }
    if (i === 0) {
      const signs = KeyUsage.DIGITAL_SIGNATURE | KeyUsage.NON_REPUDIATION
      if (leafSigns && keyUsage !== null && (keyUsage & signs) === 0)
        return fail('KEY_USAGE', certificate, 'may not sign: its keyUsage has neither digitalSignature nor nonRepudiation')
      return null
    }
    if (!certificate.isCa) return fail('NOT_A_CA', certificate, `is no CA and issued ${describeCertificate(path[i - 1]!)}`)
    if (keyUsage !== null && (keyUsage & KeyUsage.KEY_CERT_SIGN) === 0)
      return fail('KEY_USAGE', certificate, 'may not sign certificates: its keyUsage lacks keyCertSign')
    const below = path.slice(1, i).filter((ca) => !isSelfIssued(ca)).length
    if (certificate.pathLength !== null && below > certificate.pathLength)
      return fail(
        'PATH_TOO_LONG',
        certificate,
        `allows ${certificate.pathLength} CAs between it and the end of a path, and there are ${below}`,
      )
    return null
  }
}

/** RFC 4158 2.4.2: a name with a key that a path has passed leads nowhere new, in whatever certificate. */
function isSameEntity(a: Certificate, b: Certificate): boolean {
  return a === b || (canonical(a).subject === canonical(b).subject && equalBytes(a.publicKey.spki, b.publicKey.spki))
}

function isSelfIssued(certificate: Certificate): boolean {
  const { subject, issuer } = canonical(certificate)
  return subject === issuer
}

function noIssuer(certificate: Certificate): PathFailure {
  if (isSelfSigned(certificate)) return fail('SELF_SIGNED', certificate, 'is self-signed and not trusted')
  return fail('NO_ISSUER', certificate, `has no issuer that is known: '${issuerOf(certificate)}' is neither loaded nor sent`)
}
function tooLong(path: readonly Certificate[]): PathFailure {
  return fail('PATH_TOO_LONG', path[0]!, `is more than ${MAXIMUM_PATH - 1} certificates away from a trusted CA`)
}
function searchedEnough(certificate: Certificate): PathFailure {
  return fail('SEARCH_LIMIT', certificate, `has more possible issuers than we try (${MAXIMUM_STEPS})`)
}

function partial(path: readonly Certificate[], reason: PathFailure): Found {
  return { result: { ok: false, reason }, rank: path.length }
}

function fail(code: PathFailureCode, certificate: Certificate, why: string): PathFailure {
  return { code, certificate, sentence: `${describeCertificate(certificate)} ${why}` }
}

/** strongSwan's limit (its path length of 7 counts from 0): the leaf, seven CAs, the anchor. */
const MAXIMUM_PATH = 9
/** Our limit: links tried in one search. */
const MAXIMUM_STEPS = 128
/** Rank of every path that came to an anchor. */
const COMPLETE = MAXIMUM_PATH + 1

const WEAK_ALGORITHMS: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.2': 'MD2',
  '1.2.840.113549.1.1.3': 'MD4',
  '1.2.840.113549.1.1.4': 'MD5',
}
