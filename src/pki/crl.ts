/**
 * Certificate revocation lists (RFC 5280 5), complete ones and deltas, direct ones and indirect. A list may have hundreds
 * of thousands of entries: they stay in the DER, beside an index of where they begin.
 */
import type { Milliseconds } from '../base/time.ts'
import type { SignatureScheme } from '../crypto/signature-scheme.ts'
import type { Certificate, DistributionPoint } from './certificate.ts'

/** RFC 5280 5.3.1, by number. */
export const CRL_REASONS: readonly string[] = [
  'unspecified',
  'key compromise',
  'CA compromise',
  'affiliation changed',
  'superseded',
  'cessation of operation',
  'certificate hold',
  'reason 7',
  'remove from CRL',
  'privilege withdrawn',
  'AA compromise',
]

export interface Revocation {
  /** Milliseconds since 1970. */
  readonly at: Milliseconds
  /** RFC 5280 5.3.1. */
  readonly reason: number
}

/** RFC 5280 5.2.5. */
export interface IssuingDistributionPoint {
  readonly uris: readonly string[]
  /** It has a name of another form than URIs. */
  readonly hasOtherName: boolean
  readonly onlyUserCertificates: boolean
  readonly onlyCaCertificates: boolean
  readonly onlyAttributeCertificates: boolean
  readonly onlySomeReasons: boolean
  readonly isIndirect: boolean
}

export interface Crl {
  readonly der: Uint8Array
  /** DER Name. */
  readonly issuer: Uint8Array
  readonly authorityKeyId: Uint8Array | null
  /** Milliseconds since 1970. */
  readonly thisUpdate: Milliseconds
  /** Null where the list does not say, as it must. */
  readonly nextUpdate: Milliseconds | null
  /** CRL number without leading zeros. */
  readonly number: Uint8Array | null
  /** Of a delta: the number of the complete list that it adds to. */
  readonly baseNumber: Uint8Array | null
  /** Where deltas to it are. */
  readonly freshest: readonly DistributionPoint[]
  readonly scope: IssuingDistributionPoint | null
  readonly signatureScheme: SignatureScheme | null
  readonly signatureAlgorithm: string
  readonly tbs: Uint8Array
  readonly signature: Uint8Array
  readonly entryCount: number
  /** What it says of the certificate, or null. */
  find(certificate: Certificate): Revocation | null
}

/** DER of one. Throws EspalierError (malformed, CRL_MALFORMED), which says where. At most CRL_BYTES_MAX. */
export function readCrl(der: Uint8Array): Crl {
  throw new Error(`not yet: ${der.length}`)
}

/** DER or PEM, which may hold several. Throws as readCrl. */
export function readCrlFile(bytes: Uint8Array): Crl[] {
  return [readCrl(bytes)]
}
