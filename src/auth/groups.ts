/**
 * The groups that a peer is in: what attribute certificates say of the one that it has shown (RFC 5755; strongSwan:
 * acert_validator.c). As there, the holder is known by issuer and serial number of its certificate alone, the authority is
 * one of those in x509aa, groups are strings, read as identities; and nobody is asked for revocations of attribute
 * certificates. Stricter: the authority's certificate has a path to a CA that is trusted, or is self-signed.
 */
import { equalBytes } from '../base/bytes.ts'
import { formatCalendar } from '../base/calendar.ts'
import { EspalierError } from '../base/errors.ts'
import type { Milliseconds } from '../base/time.ts'
import { verify } from '../crypto/public-key.ts'
import { describeAttributeCertificate, type AttributeCertificate, type Group } from '../pki/attribute-certificate.ts'
import { describeCertificate, nameText, type Certificate } from '../pki/certificate.ts'
import { equalNames } from '../pki/names.ts'
import { findPath, isSelfSigned } from '../pki/path.ts'
import type { Credentials } from './credentials.ts'
import { parseIdentity, type Identity } from './identity.ts'

export interface GroupContext {
  readonly credentials: Credentials
  readonly now: Milliseconds
}

export interface Membership {
  readonly groups: readonly Identity[]
  /** Why attribute certificates of this holder do not count, a sentence each. */
  readonly refusals: readonly string[]
}

/** Our limit: attribute certificates about one holder that are verified. */
const CERTIFICATES_MAX = 16

/** Of the holder of a certificate, by all that is loaded and that it `sent`. */
export function membershipOf(holder: Certificate, sent: readonly AttributeCertificate[], context: GroupContext): Membership {
  const groups: Identity[] = []
  const refusals: string[] = []
  const all = [...context.credentials.attributeCertificates(), ...sent].filter((one) => isOf(one, holder))
  let verified = 0
  for (const certificate of all) {
    // Those of long ago may lie about in x509ac; they cost nothing, and keep no place from others.
    const outOfDate = outOfDateRefusal(certificate, context.now)
    if (outOfDate === null && ++verified > CERTIFICATES_MAX) break
    const refusal = outOfDate ?? refusalOf(certificate, context)
    if (refusal === null) groups.push(...certificate.groups.flatMap((group) => identityOfGroup(group) ?? []))
    else refusals.push(refusal)
  }
  return { groups, refusals }
}

/** Whether it is about whoever has this certificate. */
export function isOf({ holder }: AttributeCertificate, certificate: Certificate): boolean {
  return holder !== null && equalBytes(holder.serial, certificate.serial) && equalNames(holder.issuer, certificate.issuer)
}

function outOfDateRefusal(certificate: AttributeCertificate, now: Milliseconds): string | null {
  const { notBefore, notAfter } = certificate
  if (now < notBefore) return `${describeAttributeCertificate(certificate)} is not valid before ${formatCalendar(notBefore)}`
  // As of certificates, the second that is named is the last one, and wholly.
  if (now >= notAfter + 1000) return `${describeAttributeCertificate(certificate)} expired on ${formatCalendar(notAfter)}`
  return null
}

function refusalOf(certificate: AttributeCertificate, { credentials, now }: GroupContext): string | null {
  const which = describeAttributeCertificate(certificate)
  const { issuer, signatureScheme: scheme, signatureAlgorithm, tbs, signature } = certificate
  if (scheme === null) return `${which} is signed with the algorithm ${signatureAlgorithm}, which is unknown`
  const issuers = credentials.attributeAuthorities().filter((authority) => isNamedIssuer(certificate, authority))
  let refusal = `${which} has no issuer that is known: '${nameText(issuer)}' is no attribute authority that is loaded`
  for (const authority of issuers.slice(0, ISSUERS_MAX)) {
    if (!verify(authority.publicKey, scheme, tbs, signature)) {
      refusal = `${which} was not signed by the key of ${describeCertificate(authority)}`
      continue
    }
    const path = findPath({
      leaf: authority,
      intermediates: credentials.intermediates(),
      anchors: [...credentials.authorities(), ...(isSelfSigned(authority) ? [authority] : [])],
      now,
    })
    if (path.ok) return null
    refusal = `${which} is by an authority that is not trusted: ${path.reason.sentence}`
  }
  return refusal
}

/** Our limit: certificates of authorities of one name that are tried. */
const ISSUERS_MAX = 8

/** By name and, where it says one, by key: the hash of the authority's key, or what its certificate has as such. */
function isNamedIssuer({ issuer, authorityKeyId }: AttributeCertificate, authority: Certificate): boolean {
  if (!equalNames(issuer, authority.subject)) return false
  const ids = [authority.publicKey.fingerprint, ...(authority.subjectKeyId === null ? [] : [authority.subjectKeyId])]
  return authorityKeyId === null || ids.some((id) => equalBytes(id, authorityKeyId))
}

/** Null for octets and OIDs, which no configuration names, and for what is no text (strongSwan). */
function identityOfGroup({ kind, value }: Group): Identity | null {
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')
  if (kind !== 'string' || !/^[ -~]{1,256}$/.test(text)) return null
  try {
    return parseIdentity(text)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    return null
  }
}
