/**
 * X.509 certificates (RFC 5280), read with our own DER reader into plain data; whether one may be believed is path.ts'.
 */
import type { Milliseconds } from '../base/time.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import type { SignatureScheme } from '../crypto/signature-scheme.ts'

/** RFC 5280 4.2.1.3, as bits of `keyUsage`. */
export const KeyUsage = {
  DIGITAL_SIGNATURE: 1 << 0,
  NON_REPUDIATION: 1 << 1,
  KEY_ENCIPHERMENT: 1 << 2,
  DATA_ENCIPHERMENT: 1 << 3,
  KEY_AGREEMENT: 1 << 4,
  KEY_CERT_SIGN: 1 << 5,
  CRL_SIGN: 1 << 6,
  ENCIPHER_ONLY: 1 << 7,
  DECIPHER_ONLY: 1 << 8,
} as const

/** RFC 5280 4.2.1.12 and RFC 4945 5.1.3.12, dotted. */
export const ExtendedKeyUsage = {
  ANY: '2.5.29.37.0',
  SERVER_AUTH: '1.3.6.1.5.5.7.3.1',
  CLIENT_AUTH: '1.3.6.1.5.5.7.3.2',
  OCSP_SIGNING: '1.3.6.1.5.5.7.3.9',
  IKE_INTERMEDIATE: '1.3.6.1.5.5.8.2.2',
  IPSEC_IKE: '1.3.6.1.5.5.7.3.17',
} as const

/**
 * RFC 5280 4.2.1.6. Bytes: the characters of dns, email and uri (which may be anything a stranger put there); 4 or 16 of
 * ip (8 or 32 with a mask in constraints); DER of the Name of directory; the whole element of all others.
 */
export interface GeneralName {
  readonly kind: 'dns' | 'email' | 'ip' | 'directory' | 'uri' | 'other'
  readonly value: Uint8Array
}

/** RFC 5280 4.2.1.10. */
export interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

/** RFC 5280 4.2.1.13. `issuer` is DER of the Name that signs the CRL when it is not the certificate's issuer. */
export interface DistributionPoint {
  readonly uris: readonly string[]
  readonly issuer: Uint8Array | null
}

/** RFC 5280 4.2.1.5, dotted. */
export interface PolicyMapping {
  readonly issuerPolicy: string
  readonly subjectPolicy: string
}

/** Views on `der` all of them. */
export interface Certificate {
  readonly der: Uint8Array
  /** Hex of SHA-1 of `der`: a key for caches. */
  readonly fingerprint: string
  readonly version: 1 | 2 | 3
  /** Contents of the INTEGER. */
  readonly serial: Uint8Array
  /** DER Names. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  /** Milliseconds since 1970. */
  readonly notBefore: Milliseconds
  readonly notAfter: Milliseconds
  readonly publicKey: PublicKey
  /** Null when we don't know the algorithm, whose dotted identifier is `signatureAlgorithm`. */
  readonly signatureScheme: SignatureScheme | null
  readonly signatureAlgorithm: string
  /** The bytes that are signed. */
  readonly tbs: Uint8Array
  readonly signature: Uint8Array
  readonly isCa: boolean
  readonly pathLength: number | null
  /** Bits of KeyUsage, null without the extension. */
  readonly keyUsage: number | null
  readonly extendedKeyUsage: readonly string[]
  readonly subjectKeyId: Uint8Array | null
  readonly authorityKeyId: Uint8Array | null
  readonly subjectAltNames: readonly GeneralName[]
  readonly nameConstraints: NameConstraints | null
  readonly policies: readonly string[]
  readonly policyMappings: readonly PolicyMapping[]
  /** RFC 5280 4.2.1.11 and 4.2.1.14: certificates that may follow before it counts. */
  readonly requireExplicitPolicy: number | null
  readonly inhibitPolicyMapping: number | null
  readonly inhibitAnyPolicy: number | null
  readonly crlDistributionPoints: readonly DistributionPoint[]
  /** Of all distribution points, http and all other schemes. */
  readonly crlUris: readonly string[]
  readonly freshestCrlUris: readonly string[]
  readonly ocspUris: readonly string[]
  /** id-pkix-ocsp-nocheck (RFC 6960 4.2.2.2.1). */
  readonly ocspNoCheck: boolean
  /** Critical extensions we don't know, dotted: such a certificate reads, and every path with it is refused. */
  readonly unknownCritical: readonly string[]
}

/** Throws EspalierError (malformed, CERTIFICATE_MALFORMED), which says where; for an unreadable key its own code. At most 64 KiB. */
export function readCertificate(der: Uint8Array): Certificate {
  return notYet(der)
}

/** PEM (several may follow each other, other text between them is ignored) or DER of one. Throws as readCertificate. */
export function readCertificateFile(bytes: Uint8Array): Certificate[] {
  return notYet(bytes)
}

/** `C=CH, O=strongSwan, CN=moon`, unprintable characters escaped. */
export function subjectOf(certificate: Certificate): string {
  return notYet(certificate)
}
export function issuerOf(certificate: Certificate): string {
  return notYet(certificate)
}
/** Hex with colons: `0a:bc`. */
export function serialOf(certificate: Certificate): string {
  return notYet(certificate)
}
/** `certificate 'CN=moon' (serial 0a:bc)`: how every sentence about one begins. */
export function describeCertificate(certificate: Certificate): string {
  return notYet(certificate)
}

function notYet(...of: unknown[]): never {
  throw new Error(`not yet: ${of.length}`)
}
