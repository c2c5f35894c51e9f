/**
 * X.509 certificates (RFC 5280), read with our own DER reader into plain data; whether one may be believed is path.ts'.
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import { DerReader, Tag, contextTag } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { pemBlocks } from '../base/pem.ts'
import { printable } from '../base/printable.ts'
import type { Milliseconds } from '../base/time.ts'
import { sha1 } from '../crypto/digest.ts'
import { readPublicKey, type PublicKey } from '../crypto/public-key.ts'
import { schemeOfAlgorithm, type SignatureScheme } from '../crypto/signature-scheme.ts'
import { formatDistinguishedName } from './distinguished-name.ts'
import { readExtensions, type Extensions } from './extensions.ts'
import { malformed, readName } from './general-names.ts'

export { ExtendedKeyUsage, KeyUsage, readDistributionPoints } from './extensions.ts'
export type { DistributionPoint, NameConstraints, PolicyMapping } from './extensions.ts'
export { readGeneralNames, type GeneralName } from './general-names.ts'

/** What bytes there are are views on `der`. */
export interface Certificate extends Extensions {
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
  /** Of all distribution points, http and all other schemes. */
  readonly crlUris: readonly string[]
}

/**
 * Throws EspalierError (malformed, CERTIFICATE_MALFORMED), which says where; for a key we cannot take KEY_MALFORMED or
 * KEY_UNSUPPORTED. A weak key reads: path.ts refuses it by name. At most 64 KiB.
 */
export function readCertificate(der: Uint8Array): Certificate {
  if (der.length > MAXIMUM_BYTES) throw malformed(`the certificate has ${der.length} bytes, more than ${MAXIMUM_BYTES}`)
  try {
    return read(der)
  } catch (error) {
    if (error instanceof EspalierError && error.code === 'DER_MALFORMED')
      throw malformed(`the certificate is malformed ${error.message}`, error)
    throw error
  }
}

/** PEM (several may follow each other, text between them is ignored) or DER of one. Throws as readCertificate, or when there is none. */
export function readCertificateFile(bytes: Uint8Array): Certificate[] {
  if (bytes[0] === Tag.SEQUENCE) return [readCertificate(bytes)]
  const ders = pemBlocks(bytes, CERTIFICATE_LABELS)
  if (ders.length === 0) throw malformed('the file holds no certificate, neither PEM nor DER')
  return ders.map(readCertificate)
}

/** `C=CH, O=strongSwan, CN=moon`, unprintable characters escaped. */
export function subjectOf(certificate: Certificate): string {
  return nameText(certificate.subject)
}
export function issuerOf(certificate: Certificate): string {
  return nameText(certificate.issuer)
}
/** Hex with colons, `0a:bc`. */
export function serialOf({ serial }: Pick<Certificate, 'serial'>): string {
  return toHex(serial.length > 1 && serial[0] === 0 ? serial.subarray(1) : serial).replace(/..(?=.)/g, '$&:')
}
/** `certificate 'CN=moon' (serial 0a:bc)`: how every sentence about one begins. */
export function describeCertificate(certificate: Certificate): string {
  return `certificate '${subjectOf(certificate)}' (serial ${serialOf(certificate)})`
}

// -- reading -------------------------------------------------------------------------------------------------------

/** RFC 5280 4.1. */
function read(der: Uint8Array): Certificate {
  const outer = DerReader.inside(der)
  const tbs = outer.read(Tag.SEQUENCE)
  const algorithm = outer.read(Tag.SEQUENCE)
  const signature = outer.bitString()
  outer.end()

  const reader = new DerReader(tbs.contents, tbs.offset)
  const version = readVersion(reader)
  const serial = reader.integer()
  if (serial.length > MAXIMUM_SERIAL_BYTES) throw malformed(`a serial number of ${serial.length} bytes`)
  if (!equalBytes(reader.read(Tag.SEQUENCE).whole, algorithm.whole))
    throw malformed('the certificate names one signature algorithm inside and another outside')
  const issuer = readName(reader)
  const validity = reader.enter()
  const notBefore = validity.time()
  const notAfter = validity.time()
  validity.end()
  const subject = readName(reader)
  const publicKey = readPublicKey(reader.read(Tag.SEQUENCE).whole, { weak: true })
  if (version > 1) {
    // issuerUniqueID and subjectUniqueID, which RFC 5280 4.1.2.8 tells everybody not to use.
    reader.optional(contextTag(1, false))
    reader.optional(contextTag(2, false))
  }
  const list = reader.enterOptional(contextTag(3, true))
  if (list !== null && version !== 3) throw malformed('only certificates of version 3 have extensions')
  const extensions = readExtensions(list?.enter() ?? null)
  list?.end()
  reader.end()
  return {
    der,
    fingerprint: toHex(sha1(der)),
    version,
    serial,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    signatureScheme: schemeOfAlgorithm(algorithm.whole),
    signatureAlgorithm: new DerReader(algorithm.contents, algorithm.offset).oid(),
    tbs: tbs.whole,
    signature,
    ...extensions,
    crlUris: extensions.crlDistributionPoints.flatMap(({ uris }) => uris),
  }
}

function readVersion(reader: DerReader): 1 | 2 | 3 {
  const explicit = reader.enterOptional(contextTag(0, true))
  if (explicit === null) return 1
  const version = explicit.smallInteger() + 1
  explicit.end()
  if (version !== 1 && version !== 2 && version !== 3) throw malformed(`certificates of version ${version} are unknown`)
  return version
}

export function nameText(name: Uint8Array): string {
  const text = formatDistinguishedName(name, printable) ?? toHex(name)
  return text.length <= MAXIMUM_TEXT ? text : `${text.slice(0, MAXIMUM_TEXT - 3)}...`
}

// Our limits.
const MAXIMUM_BYTES = 65_536
const MAXIMUM_SERIAL_BYTES = 64
/** Characters of a name in a sentence. */
const MAXIMUM_TEXT = 512

const CERTIFICATE_LABELS = ['CERTIFICATE', 'X509 CERTIFICATE']
