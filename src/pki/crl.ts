/**
 * Certificate revocation lists (RFC 5280 5), complete ones and deltas, direct ones and indirect. A list may have hundreds
 * of thousands of entries: they stay in the DER, with an index beside it of where they begin (crl-entries.ts).
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import { DerReader, Tag, contextTag } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { pemBlocks } from '../base/pem.ts'
import type { Milliseconds } from '../base/time.ts'
import { sha1 } from '../crypto/digest.ts'
import { schemeOfAlgorithm, type SignatureScheme } from '../crypto/signature-scheme.ts'
import { readDistributionPoints, readGeneralNames, type Certificate, type DistributionPoint } from './certificate.ts'
import { CrlEntries, NO_ENTRIES, withoutLeadingZeros, type Revocation } from './crl-entries.ts'
import { equalNames } from './names.ts'

export type { Revocation } from './crl-entries.ts'

/** Our limit, also of what is fetched. */
export const CRL_BYTES_MAX = 10 * 1024 * 1024

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
export const CERTIFICATE_HOLD = 6
export const REMOVE_FROM_CRL = 8

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

/** Views on `der` all of them. */
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
  /** Null when we don't know the algorithm, whose dotted identifier is `signatureAlgorithm`. */
  readonly signatureScheme: SignatureScheme | null
  readonly signatureAlgorithm: string
  /** The bytes that are signed. */
  readonly tbs: Uint8Array
  readonly signature: Uint8Array
  readonly entryCount: number
  /** What it says of a certificate that it is about, or null. */
  find(certificate: Certificate): Revocation | null
}

/**
 * DER of one. Throws EspalierError (malformed, CRL_MALFORMED), which says where, and (peer-incompatible, CRL_UNSUPPORTED)
 * for critical extensions that we don't know: such a list must not be used (RFC 5280 5.2). At most CRL_BYTES_MAX.
 */
export function readCrl(der: Uint8Array): Crl {
  if (der.length > CRL_BYTES_MAX) throw malformed(`it has more than the ${CRL_BYTES_MAX} bytes that we read`)
  try {
    return read(der)
  } catch (error) {
    if (error instanceof EspalierError && error.accused === 'malformed' && error.code !== 'CRL_MALFORMED')
      throw malformed(error.message)
    throw error
  }
}

/** DER or PEM, which may hold several. Throws as readCrl. */
export function readCrlFile(bytes: Uint8Array): Crl[] {
  if (bytes[0] === Tag.SEQUENCE) return [readCrl(bytes)]
  const blocks = pemBlocks(bytes, ['X509 CRL'])
  if (blocks.length === 0) throw malformed('there is neither DER nor PEM of one')
  return blocks.map(readCrl)
}

/** strongSwan: `<authority key identifier>.crl`, `<…>_delta.crl`; by name where there is no identifier. */
export function crlFileName({ authorityKeyId, issuer, baseNumber }: Crl): string {
  return `${toHex(authorityKeyId ?? sha1(issuer))}${baseNumber === null ? '' : '_delta'}.crl`
}

// RFC 5280 5.1.
function read(der: Uint8Array): Crl {
  const list = DerReader.inside(der)
  const { whole: tbs, contents, offset } = list.read(Tag.SEQUENCE)
  const { whole: algorithm } = list.read(Tag.SEQUENCE)
  const signature = list.bitString()
  list.end()

  const fields = new DerReader(contents, offset)
  const version = fields.peek() === Tag.INTEGER ? fields.smallInteger() : 0
  if (version > 1) throw malformed(`version ${version + 1} is none there is`)
  const inner = fields.read(Tag.SEQUENCE).whole
  if (!equalBytes(inner, algorithm)) throw malformed('its two signature algorithms differ')
  const issuer = fields.read(Tag.SEQUENCE).whole
  const thisUpdate = fields.time()
  const nextUpdate = fields.peek() === Tag.UTC_TIME || fields.peek() === Tag.GENERALIZED_TIME ? fields.time() : null
  const revoked = fields.optional(Tag.SEQUENCE)
  const entries = revoked === null ? NO_ENTRIES : new CrlEntries(der, revoked)
  const extensions = readExtensions(fields.enterOptional(contextTag(0, true)))
  fields.end()

  return {
    der,
    issuer,
    thisUpdate,
    nextUpdate,
    ...extensions,
    signatureScheme: schemeOfAlgorithm(algorithm),
    signatureAlgorithm: DerReader.inside(algorithm).oid(),
    tbs,
    signature,
    entryCount: entries.count,
    find(certificate) {
      const ofCertificate = (names: readonly Uint8Array[]): boolean => names.some((name) => equalNames(name, certificate.issuer))
      return entries.find(certificate.serial, ofCertificate, thisUpdate)
    },
  }
}

type Extensions = Pick<Crl, 'authorityKeyId' | 'number' | 'baseNumber' | 'freshest' | 'scope'>

function readExtensions(explicit: DerReader | null): Extensions {
  const found: { -readonly [Key in keyof Extensions]: Extensions[Key] } = {
    authorityKeyId: null,
    number: null,
    baseNumber: null,
    freshest: [],
    scope: null,
  }
  if (explicit === null) return found
  const extensions = explicit.enter()
  explicit.end()
  const seen = new Set<string>()
  while (!extensions.isAtEnd) {
    const extension = extensions.enter()
    const oid = extension.oid()
    const isCritical = extension.peek() === Tag.BOOLEAN && extension.boolean()
    const value = extension.enter(Tag.OCTET_STRING)
    extension.end()
    if (seen.has(oid)) throw malformed(`the extension ${oid} is there twice`)
    if (seen.size === EXTENSIONS_MAX) throw malformed(`it has more than ${EXTENSIONS_MAX} extensions`)
    seen.add(oid)
    switch (oid) {
      case Oid.AUTHORITY_KEY_IDENTIFIER:
        found.authorityKeyId = value.enter().optional(contextTag(0, false))?.contents ?? null
        break
      case Oid.CRL_NUMBER:
        found.number = withoutLeadingZeros(value.integer())
        break
      case Oid.DELTA_CRL_INDICATOR:
        found.baseNumber = withoutLeadingZeros(value.integer())
        break
      case Oid.FRESHEST_CRL:
        found.freshest = readDistributionPoints(value.enter())
        break
      case Oid.ISSUING_DISTRIBUTION_POINT:
        found.scope = readScope(value)
        break
      default:
        if (isCritical) throw unsupported(`the critical extension ${oid}`)
    }
  }
  return found
}

function readScope(value: DerReader): IssuingDistributionPoint {
  const point = value.enter()
  const flag = (number: number): boolean => point.peek() === contextTag(number, false) && point.boolean(contextTag(number, false))
  const name = point.enterOptional(contextTag(0, true))
  const fullName = name?.enterOptional(contextTag(0, true)) ?? null
  const names = fullName === null ? [] : readGeneralNames(fullName)
  const onlyUserCertificates = flag(1)
  const onlyCaCertificates = flag(2)
  const onlySomeReasons = point.optional(contextTag(3, false)) !== null
  const isIndirect = flag(4)
  const onlyAttributeCertificates = flag(5)
  point.end()
  return {
    uris: names.filter(({ kind }) => kind === 'uri').map(({ value }) => Buffer.from(value).toString('latin1')),
    hasOtherName: name !== null && (fullName === null || names.some(({ kind }) => kind !== 'uri')),
    onlyUserCertificates,
    onlyCaCertificates,
    onlyAttributeCertificates,
    onlySomeReasons,
    isIndirect,
  }
}

const Oid = {
  CRL_NUMBER: '2.5.29.20',
  DELTA_CRL_INDICATOR: '2.5.29.27',
  ISSUING_DISTRIBUTION_POINT: '2.5.29.28',
  AUTHORITY_KEY_IDENTIFIER: '2.5.29.35',
  FRESHEST_CRL: '2.5.29.46',
} as const

/** Our limit. */
const EXTENSIONS_MAX = 32

function malformed(what: string): EspalierError {
  return new EspalierError('malformed', 'CRL_MALFORMED', `the CRL is malformed: ${what}`)
}

function unsupported(what: string): EspalierError {
  return new EspalierError('peer-incompatible', 'CRL_UNSUPPORTED', `the CRL has ${what}, which we don't know`)
}
