/**
 * What a number of CRLs, all of them signed by who may and about certificates of one issuer, say of one of these.
 */
import { compareBytes, equalBytes } from '../base/bytes.ts'
import { MINUTE, type Milliseconds } from '../base/time.ts'
import type { Certificate } from './certificate.ts'
import { CERTIFICATE_HOLD, REMOVE_FROM_CRL, type Crl, type Revocation } from './crl.ts'

export interface CrlJudgement {
  /** `none`: no complete list among them tells. `hold`: for the time being, a newer list may say otherwise. */
  readonly status: 'none' | 'good' | 'stale' | 'hold' | 'revoked'
  /** The list that says so; of those for `good` and `stale` the one that holds longest. Null for `none`. */
  readonly crl: Crl | null
  /** The newest complete list. */
  readonly base: Crl | null
  readonly revocation: Revocation | null
}

/** How far another's clock may be ahead of ours. */
export const CLOCK_SKEW: Milliseconds = 5 * MINUTE

/** `now` in milliseconds since 1970. */
export function judgeCrls(certificate: Certificate, crls: readonly Crl[], now: Milliseconds): CrlJudgement {
  const current = crls.filter((crl) => !isFuture(crl, now))
  const base = newest(current.filter((crl) => crl.baseNumber === null && covers(crl, certificate)))
  // strongSwan: revoked is revoked, however old the list is that says so.
  for (const crl of current) {
    const revocation = crl.find(certificate)
    if (revocation !== null && revocation.reason !== CERTIFICATE_HOLD && revocation.reason !== REMOVE_FROM_CRL)
      return { status: 'revoked', crl, base, revocation }
  }
  if (base === null) return { status: 'none', crl: null, base, revocation: null }
  const delta = newest(current.filter((crl) => covers(crl, certificate) && isDeltaTo(crl, base)))
  const changed = delta?.find(certificate) ?? null
  const revocation = changed ?? base.find(certificate)
  if (revocation !== null && revocation.reason !== REMOVE_FROM_CRL)
    return { status: 'hold', crl: changed === null ? base : delta, base, revocation }
  const crl = delta !== null && endOf(delta) > endOf(base) ? delta : base
  return { status: isCurrent(crl, now) ? 'good' : 'stale', crl, base, revocation: null }
}

export function isFuture(crl: Crl, now: Milliseconds): boolean {
  return crl.thisUpdate > now + CLOCK_SKEW
}

/** Whether it can be relied on still. */
export function isCurrent(crl: Crl, now: Milliseconds): boolean {
  return now <= endOf(crl)
}

/** RFC 5280 5.1.2.5 wants one; a list without it has no time in which it can be relied on. */
function endOf({ nextUpdate }: Crl): Milliseconds {
  return nextUpdate ?? -Infinity
}

/**
 * Whether a list that does not have the certificate says by that that it is good (RFC 5280 5.2.5, 6.3.3 b): it must be
 * for such certificates, for all reasons, and for one of its distribution points. (strongSwan does not look.)
 */
export function covers({ scope }: Crl, certificate: Certificate): boolean {
  if (scope === null) return true
  if (scope.onlySomeReasons || scope.onlyAttributeCertificates) return false
  if (certificate.isCa ? scope.onlyUserCertificates : scope.onlyCaCertificates) return false
  // Names of other forms are the directory's, whose distribution points we cannot tell apart.
  if (scope.uris.length === 0 || scope.hasOtherName) return true
  return certificate.crlDistributionPoints.some(({ uris }) => uris.some((uri) => scope.uris.includes(uri)))
}

/** RFC 5280 5.2.4: it begins no later than the complete list ends, ends no earlier, and is of the same issuer. */
export function isDeltaTo(crl: Crl, base: Crl): boolean {
  if (crl.baseNumber === null || crl.number === null || base.number === null) return false
  return (
    compareNumbers(crl.baseNumber, base.number) <= 0 &&
    compareNumbers(crl.number, base.number) >= 0 &&
    equalBytes(crl.issuer, base.issuer)
  )
}

function newest(crls: readonly Crl[]): Crl | null {
  return crls.reduce<Crl | null>((best, crl) => (best === null || isNewer(crl, best) ? crl : best), null)
}

/** By number where both have one, else by date (strongSwan as well). */
export function isNewer(crl: Crl, than: Crl): boolean {
  return crl.number !== null && than.number !== null
    ? compareNumbers(crl.number, than.number) > 0
    : crl.thisUpdate > than.thisUpdate
}

/** Numbers without leading zeros. */
function compareNumbers(a: Uint8Array, b: Uint8Array): number {
  return a.length - b.length || compareBytes(a, b)
}
