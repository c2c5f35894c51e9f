/**
 * Who a certificate is about: its subject and its other names, as identities (RFC 7296 3.5).
 */
import type { Certificate, GeneralName } from '../pki/certificate.ts'
import { IpAddress } from '../base/ip.ts'
import { equalBytes, fromHex } from '../base/bytes.ts'
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

/** How well `pattern` fits whom a certificate is about; a KEY_ID may be the certificate, its key or its number (strongSwan: has_subject). */
export function matchCertificate(pattern: IdentityPattern, certificate: Certificate): number {
  if (pattern.kind !== 'any' && pattern.identity.type === ID_KEY_ID) {
    const { data } = pattern.identity
    if (keyIdsOf(certificate).some((keyId) => equalBytes(keyId, data))) return MATCH_PERFECT
  }
  return identitiesOf(certificate).reduce((best, identity) => Math.max(best, matchIdentity(pattern, identity)), MATCH_NONE)
}
