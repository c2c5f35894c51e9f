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

/** What bytes there are are views on `der`. */
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
export function serialOf(certificate: Certificate): string {
  const { serial } = certificate
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
  const extensions: Extensions = { ...WITHOUT_EXTENSIONS }
  const list = reader.enterOptional(contextTag(3, true))
  if (list !== null) {
    if (version !== 3) throw malformed('only certificates of version 3 have extensions')
    readExtensions(list.enter(), extensions)
    list.end()
  }
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

/** The part of a certificate that extensions say. */
type Extensions = { -readonly [Field in keyof typeof WITHOUT_EXTENSIONS]: Certificate[Field] }

/** RFC 5280 4.1.2.9: each at most once. */
function readExtensions(list: DerReader, into: Extensions): void {
  const seen = new Set<string>()
  while (!list.isAtEnd) {
    const extension = list.enter()
    const oid = extension.oid()
    const critical = extension.peek() === Tag.BOOLEAN && extension.boolean()
    const value = extension.read(Tag.OCTET_STRING)
    extension.end()
    if (seen.has(oid)) throw malformed(`the extension ${oid} is there twice`)
    if (seen.add(oid).size > MAXIMUM_EXTENSIONS) throw malformed(`more than ${MAXIMUM_EXTENSIONS} extensions`)
    const known = EXTENSIONS.get(oid)
    if (known === undefined) {
      if (critical) into.unknownCritical = [...into.unknownCritical, oid]
      continue
    }
    const inside = new DerReader(value.contents, value.offset)
    known(inside, into)
    inside.end()
  }
}

const EXTENSIONS = new Map<string, (reader: DerReader, into: Extensions) => void>([
  ['2.5.29.14', (reader, into) => (into.subjectKeyId = reader.octetString())],
  ['2.5.29.15', (reader, into) => (into.keyUsage = reader.namedBits())],
  ['2.5.29.17', (reader, into) => (into.subjectAltNames = readGeneralNames(reader.enter(), [4, 16]))],
  ['2.5.29.19', readBasicConstraints],
  ['2.5.29.30', readNameConstraints],
  ['2.5.29.31', (reader, into) => (into.crlDistributionPoints = readDistributionPoints(reader.enter()))],
  ['2.5.29.32', readPolicies],
  ['2.5.29.33', readPolicyMappings],
  ['2.5.29.35', readAuthorityKeyId],
  ['2.5.29.36', readPolicyConstraints],
  ['2.5.29.37', (reader, into) => (into.extendedKeyUsage = listOf(reader.enter(), (list) => list.oid()))],
  ['2.5.29.46', (reader, into) => (into.freshestCrlUris = readDistributionPoints(reader.enter()).flatMap(({ uris }) => uris))],
  ['2.5.29.54', (reader, into) => (into.inhibitAnyPolicy = reader.smallInteger())],
  ['1.3.6.1.5.5.7.1.1', readAuthorityInfoAccess],
  [
    '1.3.6.1.5.5.7.48.1.5',
    (reader, into) => {
      reader.read(Tag.NULL)
      into.ocspNoCheck = true
    },
  ],
])

/** RFC 5280 4.2.1.9. A path length without CA says nothing (strongSwan). */
function readBasicConstraints(reader: DerReader, into: Extensions): void {
  const constraints = reader.enter()
  into.isCa = constraints.peek() === Tag.BOOLEAN && constraints.boolean()
  const pathLength = constraints.isAtEnd ? null : constraints.smallInteger()
  constraints.end()
  into.pathLength = into.isCa ? pathLength : null
}

/** RFC 5280 4.2.1.10; minimum is 0 and maximum absent, as it demands. */
function readNameConstraints(reader: DerReader, into: Extensions): void {
  const constraints = reader.enter()
  const subtrees = (number: number): GeneralName[] => {
    const list = constraints.enterOptional(contextTag(number, true))
    if (list === null) return []
    return listOf(list, (list) => {
      const subtree = list.enter()
      const base = readGeneralName(subtree, [8, 32])
      const minimum = subtree.peek() === contextTag(0, false) ? subtree.smallInteger(contextTag(0, false)) : 0
      if (minimum !== 0 || !subtree.isAtEnd) throw malformed('a name constraint has a minimum or maximum')
      return base
    })
  }
  into.nameConstraints = { permitted: subtrees(0), excluded: subtrees(1) }
  constraints.end()
}

/** RFC 5280 4.2.1.4. */
function readPolicies(reader: DerReader, into: Extensions): void {
  into.policies = listOf(reader.enter(), (list) => {
    const information = list.enter()
    const policy = information.oid()
    // Qualifiers are texts for people.
    information.optional(Tag.SEQUENCE)
    information.end()
    return policy
  })
}

/** RFC 5280 4.2.1.5. */
function readPolicyMappings(reader: DerReader, into: Extensions): void {
  into.policyMappings = listOf(reader.enter(), (list) => {
    const mapping = list.enter()
    const pair = { issuerPolicy: mapping.oid(), subjectPolicy: mapping.oid() }
    mapping.end()
    return pair
  })
}

/** RFC 5280 4.2.1.11. */
function readPolicyConstraints(reader: DerReader, into: Extensions): void {
  const constraints = reader.enter()
  const skip = (number: number): number | null =>
    constraints.peek() === contextTag(number, false) ? constraints.smallInteger(contextTag(number, false)) : null
  into.requireExplicitPolicy = skip(0)
  into.inhibitPolicyMapping = skip(1)
  constraints.end()
}

/** RFC 5280 4.2.1.1. Issuer and serial number, which may stand beside the key identifier, are not used (nor does strongSwan). */
function readAuthorityKeyId(reader: DerReader, into: Extensions): void {
  const id = reader.enter()
  into.authorityKeyId = id.optional(contextTag(0, false))?.contents ?? null
  id.optional(contextTag(1, true))
  id.optional(contextTag(2, false))
  id.end()
}

/** RFC 5280 4.2.2.1. */
function readAuthorityInfoAccess(reader: DerReader, into: Extensions): void {
  const accesses = listOf(reader.enter(), (list) => {
    const access = list.enter()
    const method = access.oid()
    const location = readGeneralName(access, null)
    access.end()
    return { method, location }
  })
  into.ocspUris = accesses.filter(({ method }) => method === OCSP).flatMap(({ location }) => uriOf(location))
}

/** RFC 5280 4.2.1.13. A name relative to the issuer is no place to fetch from. */
export function readDistributionPoints(list: DerReader): DistributionPoint[] {
  return listOf(list, (list) => {
    const point = list.enter()
    const place = point.enterOptional(contextTag(0, true))
    const fullName = place?.enterOptional(contextTag(0, true)) ?? null
    const uris = fullName === null ? [] : readGeneralNames(fullName, null).flatMap(uriOf)
    place?.optional(contextTag(1, true))
    place?.end()
    point.optional(contextTag(1, false))
    const issuers = point.enterOptional(contextTag(2, true))
    const issuer = issuers === null ? undefined : readGeneralNames(issuers, null).find(({ kind }) => kind === 'directory')
    point.end()
    return { uris, issuer: issuer?.value ?? null }
  })
}

/** The GeneralNames of a list. `ipLengths` as below. */
export function readGeneralNames(list: DerReader, ipLengths: readonly number[] | null = null): GeneralName[] {
  return listOf(list, (list) => readGeneralName(list, ipLengths))
}

/** RFC 5280 4.2.1.6. `ipLengths`: how many bytes an iPAddress may have here, null if none of them matters. */
function readGeneralName(reader: DerReader, ipLengths: readonly number[] | null): GeneralName {
  const { tag, contents, whole, offset } = reader.next()
  switch (tag) {
    case contextTag(1, false):
      return { kind: 'email', value: contents }
    case contextTag(2, false):
      return { kind: 'dns', value: contents }
    case contextTag(4, true): {
      const inside = new DerReader(contents, offset)
      const value = readName(inside)
      inside.end()
      return { kind: 'directory', value }
    }
    case contextTag(6, false):
      return { kind: 'uri', value: contents }
    case contextTag(7, false):
      if (ipLengths !== null && !ipLengths.includes(contents.length))
        throw malformed(`an iPAddress of ${contents.length} bytes (not ${ipLengths.join(' or ')})`)
      return { kind: 'ip', value: contents }
    // otherName, x400Address, ediPartyName, registeredID
    case contextTag(0, true):
    case contextTag(3, true):
    case contextTag(5, true):
    case contextTag(8, false):
      return { kind: 'other', value: whole }
  }
  throw malformed(`at byte ${offset}: tag 0x${tag.toString(16).padStart(2, '0')} is no GeneralName`)
}

/** The URI as text if it is one that can be asked for: visible ASCII. */
function uriOf({ kind, value }: GeneralName): string[] {
  return kind === 'uri' && value.every((byte) => byte >= 0x20 && byte < 0x7f) ? [String.fromCharCode(...value)] : []
}

/** DER of a Name that is one: SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, a value }. */
function readName(reader: DerReader): Uint8Array {
  const { whole, contents, offset } = reader.read(Tag.SEQUENCE)
  const sets = new DerReader(contents, offset)
  let attributes = 0
  while (!sets.isAtEnd) {
    const set = sets.enter(Tag.SET)
    do {
      const attribute = set.enter()
      attribute.oid()
      attribute.next()
      attribute.end()
      if (++attributes > MAXIMUM_ATTRIBUTES) throw malformed(`a name of more than ${MAXIMUM_ATTRIBUTES} attributes`)
    } while (!set.isAtEnd)
  }
  return whole
}

function listOf<T>(list: DerReader, readOne: (list: DerReader) => T): T[] {
  const all: T[] = []
  while (!list.isAtEnd) {
    if (all.length === MAXIMUM_LIST) throw malformed(`at byte ${list.offset}: a list of more than ${MAXIMUM_LIST}`)
    all.push(readOne(list))
  }
  return all
}

export function nameText(name: Uint8Array): string {
  const text = formatDistinguishedName(name, printable) ?? toHex(name)
  return text.length <= MAXIMUM_TEXT ? text : `${text.slice(0, MAXIMUM_TEXT - 3)}...`
}

function malformed(message: string, cause?: unknown): EspalierError {
  return new EspalierError('malformed', 'CERTIFICATE_MALFORMED', message, { cause })
}

// Our limits.
const MAXIMUM_BYTES = 65_536
const MAXIMUM_SERIAL_BYTES = 64
const MAXIMUM_EXTENSIONS = 64
/** Of one name. */
const MAXIMUM_ATTRIBUTES = 64
/** Of names, constraints, policies in one extension: a thousand by a thousand is compared in milliseconds. */
const MAXIMUM_LIST = 1024
/** Characters of a name in a sentence. */
const MAXIMUM_TEXT = 512

/** What is so without any extension. */
const WITHOUT_EXTENSIONS = {
  isCa: false,
  pathLength: null,
  keyUsage: null,
  extendedKeyUsage: [],
  subjectKeyId: null,
  authorityKeyId: null,
  subjectAltNames: [],
  nameConstraints: null,
  policies: [],
  policyMappings: [],
  requireExplicitPolicy: null,
  inhibitPolicyMapping: null,
  inhibitAnyPolicy: null,
  crlDistributionPoints: [],
  freshestCrlUris: [],
  ocspUris: [],
  ocspNoCheck: false,
  unknownCritical: [],
}

const CERTIFICATE_LABELS = ['CERTIFICATE', 'X509 CERTIFICATE']
const OCSP = '1.3.6.1.5.5.7.48.1'
