/**
 * Certificates and keys as they were loaded, by whichever door.
 */
import type { PrivateKey } from '../crypto/private-key.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import type { AttributeCertificate } from '../pki/attribute-certificate.ts'
import type { Authority } from '../pki/authority.ts'
import { ExtendedKeyUsage, type Certificate } from '../pki/certificate.ts'
import type { Crl } from '../pki/crl.ts'

/** What a certificate is for, by strongSwan's names: of an authority, of an attribute authority, of who answers OCSP requests, of anybody. */
export type CertificateFlag = 'NONE' | 'CA' | 'AA' | 'OCSP'

export interface FlaggedCertificate {
  readonly certificate: Certificate
  readonly flag: CertificateFlag
  /** What stood behind it in its file: to build chains with, and not trusted for that. */
  readonly chain: readonly Certificate[]
}

/** Everything of this kind that files have. */
export interface LoadedCredentials {
  readonly certificates: readonly FlaggedCertificate[]
  readonly attributeCertificates: readonly AttributeCertificate[]
  readonly crls: readonly Crl[]
  readonly publicKeys: readonly PublicKey[]
  readonly privateKeys: readonly PrivateKey[]
  readonly authorities: readonly Authority[]
}

export const NOTHING_LOADED: LoadedCredentials = {
  certificates: [],
  attributeCertificates: [],
  crls: [],
  publicKeys: [],
  privateKeys: [],
  authorities: [],
}

/**
 * A certificate that was loaded as `asked`: it says by itself whether it is an authority's. Null if it was to be one and
 * is none (strongSwan).
 */
export function flagged(
  certificate: Certificate,
  asked: CertificateFlag,
  chain: readonly Certificate[] = [],
): FlaggedCertificate | null {
  if (certificate.isCa) return { certificate, flag: 'CA', chain }
  if (asked === 'CA') return null
  const signsOcsp = certificate.extendedKeyUsage.includes(ExtendedKeyUsage.OCSP_SIGNING)
  return { certificate, flag: asked === 'NONE' && signsOcsp ? 'OCSP' : asked, chain }
}
