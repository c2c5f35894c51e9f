/**
 * Certification paths (RFC 5280 6): from a certificate to a trust anchor by way of what was sent and loaded.
 */
import type { Milliseconds } from '../base/time.ts'
import type { Certificate } from './certificate.ts'

export interface PathRequest {
  readonly leaf: Certificate
  /** What was sent and what is loaded: candidates, trusted only if a path holds. */
  readonly intermediates: readonly Certificate[]
  /** Trusted by themselves; an anchor that is not self-signed ends a path too (strongSwan: x509ca). */
  readonly anchors: readonly Certificate[]
  /** Milliseconds since 1970. */
  readonly now: Milliseconds
  /** The digitalSignature/nonRepudiation rule of RFC 4945 for the leaf; an OCSP signer has others. Default true. */
  readonly leafSigns?: boolean
  /** Instead of checking each signature anew, for those who remember. */
  readonly verifySignature?: (subject: Certificate, issuer: Certificate) => boolean
}

export type PathFailureCode =
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'NO_ISSUER'
  | 'SELF_SIGNED'
  | 'BAD_SIGNATURE'
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
  | { readonly ok: true; readonly path: readonly Certificate[] }
  | { readonly ok: false; readonly reason: PathFailure }

/** Every path there is, those that hold and those that fail, nearest anchors first; the search is bounded. `path` is leaf … anchor. */
export function* paths(request: PathRequest): Generator<PathResult, void, undefined> {
  yield notYet(request)
}

/** The first path that holds, else the failure of the one that came furthest. */
export function findPath(request: PathRequest): PathResult {
  return notYet(request)
}

/** Whether `issuer` signed `subject`: names, key identifiers and signature; neither dates nor constraints. */
export function isIssuedBy(subject: Certificate, issuer: Certificate): boolean {
  return notYet(subject, issuer)
}

/** Signed by its own key under its own name. */
export function isSelfSigned(certificate: Certificate): boolean {
  return notYet(certificate)
}

function notYet(...of: unknown[]): never {
  throw new Error(`not yet: ${of.length}`)
}
