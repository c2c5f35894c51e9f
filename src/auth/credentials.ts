/**
 * What is loaded of keys and certificates, whoever loaded it: what IKE_AUTH asks for. The gateway keeps it.
 */
import type { PrivateKey } from '../crypto/private-key.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import type { AttributeCertificate } from '../pki/attribute-certificate.ts'
import type { Authority } from '../pki/authority.ts'
import type { Certificate } from '../pki/certificate.ts'
import type { Crl } from '../pki/crl.ts'

export interface Credentials {
  /** The private half, null if we don't have it. */
  privateKeyFor(publicKey: PublicKey): PrivateKey | null
  /** End entities (x509), our own and others': trusted for who they name. */
  certificates(): readonly Certificate[]
  /** CA certificates that are trusted (x509ca, and those of authorities). */
  authorities(): readonly Certificate[]
  /** CA certificates that are known, and trusted only by a path. */
  intermediates(): readonly Certificate[]
  /** OCSP signers (x509ocsp), believed about every CA. */
  ocspSigners(): readonly Certificate[]
  /** Attribute authorities (x509aa), believed about every holder. */
  attributeAuthorities(): readonly Certificate[]
  attributeCertificates(): readonly AttributeCertificate[]
  authorityInfos(): readonly Authority[]
  crls(): readonly Crl[]
  rawPublicKeys(): readonly PublicKey[]
}

export const NO_CREDENTIALS: Credentials = {
  privateKeyFor: () => null,
  certificates: () => [],
  authorities: () => [],
  intermediates: () => [],
  ocspSigners: () => [],
  attributeAuthorities: () => [],
  attributeCertificates: () => [],
  authorityInfos: () => [],
  crls: () => [],
  rawPublicKeys: () => [],
}
