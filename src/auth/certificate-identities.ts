/**
 * Who a certificate is about: its subject and its other names, as identities (RFC 7296 3.5).
 */
import type { Certificate, GeneralName } from '../pki/certificate.ts'
import { decodeDistinguishedName } from '../pki/distinguished-name.ts'
import { IpAddress } from '../base/ip.ts'
import { concatBytes, equalBytes, fromHex } from '../base/bytes.ts'
import {
  identitiesEqual,
  identityOfAddress,
  identityOfSubject,
  matchIdentity,
  MATCH_NONE,
  MATCH_PERFECT,
  type Identity,
  type IdentityPattern,
} from './identity.ts'

/** IANA "IKEv2 Identification Payload ID Types". */
const ID_FQDN = 2
const ID_RFC822_ADDR = 3
const ID_DER_ASN1_DN = 9
const ID_KEY_ID = 11

/** The subject first, then the other names that an identity can be. */
export function identitiesOf({ subject, subjectAltNames }: Certificate): readonly Identity[] {
  return [identityOfSubject(subject), ...subjectAltNames.flatMap((name) => identityOfName(name) ?? [])]
}

function identityOfName({ kind, value }: GeneralName): Identity | null {
  switch (kind) {
    case 'dns':
      return { type: ID_FQDN, data: value }
    case 'email':
      return { type: ID_RFC822_ADDR, data: value }
    case 'ip':
      return value.length === 4 || value.length === 16 ? identityOfAddress(new IpAddress(value)) : null
    case 'directory':
      return identityOfSubject(value)
    case 'uri':
    case 'other':
      return null
  }
}

/**
 * Whether it is about an identity that somebody claims. There are no wildcards and no ranges here: a claim that has a star
 * in it is no other name than it says.
 */
export function confirms(certificate: Certificate, id: Identity): boolean {
  if (id.type === ID_KEY_ID && keyIdsOf(certificate).some((keyId) => equalBytes(keyId, id.data))) return true
  return identitiesOf(certificate).some((name) => identitiesEqual(name, id))
}

function keyIdsOf({ fingerprint, subjectKeyId, publicKey, serial }: Certificate): readonly Uint8Array[] {
  const ids = [fromHex(fingerprint), publicKey.fingerprint, publicKey.spkiFingerprint, serial]
  return subjectKeyId === null ? ids : [...ids, subjectKeyId]
}

/** Of lists that were searched. A list is never changed, but replaced by another. */
const indexes = new WeakMap<readonly Certificate[], ReadonlyMap<string, readonly Certificate[]>>()

/**
 * Those of a list that are about an identity (`confirms`), in their order. There may be thousands: all are looked at the first
 * time, and for a KEY_ID, of which each has too many to keep and few peers have any.
 */
export function certificatesOf(id: Identity, certificates: readonly Certificate[]): readonly Certificate[] {
  if (id.type === ID_KEY_ID) return certificates.filter((certificate) => confirms(certificate, id))
  let index = indexes.get(certificates)
  if (index === undefined) {
    index = indexOf(certificates)
    indexes.set(certificates, index)
  }
  return (index.get(placeOf(id)) ?? []).filter((certificate) => confirms(certificate, id))
}

function indexOf(certificates: readonly Certificate[]): ReadonlyMap<string, readonly Certificate[]> {
  const index = new Map<string, Certificate[]>()
  for (const certificate of certificates) {
    for (const identity of identitiesOf(certificate)) {
      const place = placeOf(identity)
      const those = index.get(place)
      if (those === undefined) index.set(place, [certificate])
      else if (those.at(-1) !== certificate) those.push(certificate)
    }
  }
  return index
}

/** The same for identities that are equal: without case, and of a name without the types of its strings. */
function placeOf({ type, data }: Identity): string {
  const attributes = type === ID_DER_ASN1_DN ? decodeDistinguishedName(data) : null
  const bytes = attributes === null ? data : concatBytes(...attributes.map(({ value }) => value))
  return `${type} ${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1').toLowerCase()}`
}

/** How well `pattern` fits whom a certificate is about; a KEY_ID may be the certificate, its key or its number (strongSwan: has_subject). */
export function matchCertificate(pattern: IdentityPattern, certificate: Certificate): number {
  if (pattern.kind !== 'any' && pattern.identity.type === ID_KEY_ID) {
    const { data } = pattern.identity
    if (keyIdsOf(certificate).some((keyId) => equalBytes(keyId, data))) return MATCH_PERFECT
  }
  return identitiesOf(certificate).reduce((best, identity) => Math.max(best, matchIdentity(pattern, identity)), MATCH_NONE)
}
