/**
 * Attribute certificates (RFC 5755): what an attribute authority says of the holder of a certificate. Read are those of
 * the RFC's profile, with our own DER reader, into plain data; of the attributes the groups (strongSwan: x509_ac.c).
 * Whether one may be believed is auth/groups.ts'.
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import { DerReader, Tag, contextTag } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { pemBlocks } from '../base/pem.ts'
import type { Milliseconds } from '../base/time.ts'
import { sha1 } from '../crypto/digest.ts'
import { schemeOfAlgorithm, type SignatureScheme } from '../crypto/signature-scheme.ts'
import { nameText, serialOf } from './certificate.ts'
import { isEmptyName } from './names.ts'
import { listOf, malformed, readGeneralNames } from './general-names.ts'

/** RFC 5755 4.4.4: the value of a group as it was written, the contents of its element. */
export interface Group {
  readonly kind: 'octets' | 'oid' | 'string'
  readonly value: Uint8Array
}

/** What bytes there are are views on `der`. */
export interface AttributeCertificate {
  readonly der: Uint8Array
  /** Hex of SHA-1 of `der`: a key for caches. */
  readonly fingerprint: string
  /** Contents of the INTEGER. */
  readonly serial: Uint8Array
  /** DER Name of the attribute authority. */
  readonly issuer: Uint8Array
  /** The holder's certificate (baseCertificateID); null where the holder is only named. */
  readonly holder: { readonly issuer: Uint8Array; readonly serial: Uint8Array } | null
  /** The holder's entityName, DER Name; null where it has none, or one of another form. */
  readonly holderName: Uint8Array | null
  /** Milliseconds since 1970. */
  readonly notBefore: Milliseconds
  readonly notAfter: Milliseconds
  readonly groups: readonly Group[]
  readonly authorityKeyId: Uint8Array | null
  /** It says that nobody will ever revoke it (RFC 5755 4.3.6). */
  readonly noRevAvail: boolean
  /** Null when we don't know the algorithm, whose dotted identifier is `signatureAlgorithm`. */
  readonly signatureScheme: SignatureScheme | null
  readonly signatureAlgorithm: string
  /** The bytes that are signed. */
  readonly tbs: Uint8Array
  readonly signature: Uint8Array
}

/**
 * Throws EspalierError (malformed, CERTIFICATE_MALFORMED), which says where, and (peer-incompatible,
 * CERTIFICATE_UNSUPPORTED) for what must not be passed over: critical extensions that we don't know (RFC 5755 4.3), holders
 * by a digest. At most 64 KiB.
 */
export function readAttributeCertificate(der: Uint8Array): AttributeCertificate {
  if (der.length > MAXIMUM_BYTES) throw malformed(`the attribute certificate has ${der.length} bytes, more than ${MAXIMUM_BYTES}`)
  try {
    return read(der)
  } catch (error) {
    if (error instanceof EspalierError && error.code === 'DER_MALFORMED')
      throw malformed(`the attribute certificate is malformed ${error.message}`, error)
    throw error
  }
}

/** DER or PEM of one or several. Throws as readAttributeCertificate, or when there is none. */
export function readAttributeCertificateFile(bytes: Uint8Array): AttributeCertificate[] {
  if (bytes[0] === Tag.SEQUENCE) return [readAttributeCertificate(bytes)]
  const ders = pemBlocks(bytes, ['ATTRIBUTE CERTIFICATE'])
  if (ders.length === 0) throw malformed('the file holds no attribute certificate, neither PEM nor DER')
  return ders.map(readAttributeCertificate)
}

/** `attribute certificate by 'CN=AA' (serial 0a:bc)`: how every sentence about one begins. */
export function describeAttributeCertificate(certificate: AttributeCertificate): string {
  return `attribute certificate by '${nameText(certificate.issuer)}' (serial ${serialOf(certificate)})`
}

// RFC 5755 4.1.
function read(der: Uint8Array): AttributeCertificate {
  const outer = DerReader.inside(der)
  const tbs = outer.read(Tag.SEQUENCE)
  const algorithm = outer.read(Tag.SEQUENCE)
  const signature = outer.bitString()
  outer.end()

  const reader = new DerReader(tbs.contents, tbs.offset)
  const version = reader.smallInteger() + 1
  if (version !== 2) throw malformed(`v${version} attribute certificates are not supported`)
  const holder = readHolder(reader.enter())
  const issuer = readIssuer(reader.enter(contextTag(0, true)))
  if (!equalBytes(reader.read(Tag.SEQUENCE).whole, algorithm.whole))
    throw malformed('the attribute certificate names one signature algorithm inside and another outside')
  const serial = readSerial(reader)
  const validity = reader.enter()
  const notBefore = readTime(validity)
  const notAfter = readTime(validity)
  validity.end()
  const groups = listOf(reader.enter(), readAttribute).flat()
  // issuerUniqueID, which RFC 5755 4.2.8 has nobody use.
  reader.optional(Tag.BIT_STRING)
  const extensions = readExtensions(reader.enterOptional(Tag.SEQUENCE))
  reader.end()
  return {
    der,
    fingerprint: toHex(sha1(der)),
    serial,
    issuer,
    ...holder,
    notBefore,
    notAfter,
    groups,
    ...extensions,
    signatureScheme: schemeOfAlgorithm(algorithm.whole),
    signatureAlgorithm: new DerReader(algorithm.contents, algorithm.offset).oid(),
    tbs: tbs.whole,
    signature,
  }
}

/** RFC 5755 4.2.2. */
function readHolder(reader: DerReader): Pick<AttributeCertificate, 'holder' | 'holderName'> {
  let holder: AttributeCertificate['holder'] = null
  const base = reader.enterOptional(contextTag(0, true))
  if (base !== null) {
    holder = { issuer: readOnlyName(base.enter(), 'issuer of the holder'), serial: readSerial(base) }
    base.optional(Tag.BIT_STRING)
    base.end()
  }
  const entity = reader.enterOptional(contextTag(1, true))
  const holderName = entity === null ? null : (readGeneralNames(entity).find(({ kind }) => kind === 'directory')?.value ?? null)
  if (reader.peek() === contextTag(2, true)) throw unsupported('names its holder by a digest')
  reader.end()
  return { holder, holderName }
}

/** RFC 5755 4.2.3: v2Form with the one name of the authority, and nothing else. */
function readIssuer(reader: DerReader): Uint8Array {
  const issuer = readOnlyName(reader.enter(), 'issuer')
  reader.end()
  return issuer
}

function readOnlyName(list: DerReader, what: string): Uint8Array {
  const [name, ...others] = readGeneralNames(list)
  if (name?.kind !== 'directory' || others.length > 0 || isEmptyName(name.value))
    throw malformed(`the ${what} of the attribute certificate is not one distinguished name`)
  return name.value
}

function readSerial(reader: DerReader): Uint8Array {
  const serial = reader.integer()
  if (serial.length > MAXIMUM_SERIAL_BYTES) throw malformed(`a serial number of ${serial.length} bytes`)
  return serial
}

/** RFC 5755 4.2.6: GeneralizedTime alone. */
function readTime(reader: DerReader): Milliseconds {
  if (reader.peek() !== Tag.GENERALIZED_TIME) throw malformed('the validity of the attribute certificate is no GeneralizedTime')
  return reader.time()
}

/** The groups of one attribute; other attributes say nothing to us. */
function readAttribute(list: DerReader): readonly Group[] {
  const attribute = list.enter()
  const oid = attribute.oid()
  const values = attribute.enter(Tag.SET)
  attribute.end()
  const groups = listOf(values, (values) => {
    const { tag, contents, offset } = values.next()
    if (oid !== Oid.GROUP) return []
    if (tag !== Tag.SEQUENCE) throw malformed(`at byte ${offset}: no IetfAttrSyntax`)
    return readGroups(new DerReader(contents, offset))
  })
  return groups.flat()
}

/** RFC 5755 4.4: IetfAttrSyntax. */
function readGroups(reader: DerReader): readonly Group[] {
  const policyAuthority = reader.enterOptional(contextTag(0, true))
  if (policyAuthority !== null) readGeneralNames(policyAuthority)
  const groups = listOf(reader.enter(), (values): Group => {
    const { tag, contents, offset } = values.next()
    const kind = KINDS.get(tag)
    if (kind === undefined) throw malformed(`at byte ${offset}: a group is octets, an OID or a string`)
    return { kind, value: contents }
  })
  reader.end()
  return groups
}

const KINDS = new Map<number, Group['kind']>([
  [Tag.OCTET_STRING, 'octets'],
  [Tag.OBJECT_IDENTIFIER, 'oid'],
  [Tag.UTF8_STRING, 'string'],
])

/** RFC 5755 4.3. */
function readExtensions(list: DerReader | null): Pick<AttributeCertificate, 'authorityKeyId' | 'noRevAvail'> {
  let authorityKeyId: Uint8Array | null = null
  let noRevAvail = false
  const seen = new Set<string>()
  if (list === null) return { authorityKeyId, noRevAvail }
  while (!list.isAtEnd) {
    const extension = list.enter()
    const oid = extension.oid()
    const isCritical = extension.peek() === Tag.BOOLEAN && extension.boolean()
    const value = extension.enter(Tag.OCTET_STRING)
    extension.end()
    if (seen.has(oid)) throw malformed(`the extension ${oid} is there twice`)
    if (seen.add(oid).size > MAXIMUM_EXTENSIONS) throw malformed(`more than ${MAXIMUM_EXTENSIONS} extensions`)
    switch (oid) {
      case Oid.AUTHORITY_KEY_IDENTIFIER:
        authorityKeyId = value.enter().optional(contextTag(0, false))?.contents ?? null
        value.end()
        break
      case Oid.NO_REV_AVAIL:
        value.read(Tag.NULL)
        value.end()
        noRevAvail = true
        break
      default:
        if (isCritical) throw unsupported(`has the critical extension ${oid}, which is unknown`)
    }
  }
  return { authorityKeyId, noRevAvail }
}

function unsupported(why: string): EspalierError {
  return new EspalierError('peer-incompatible', 'CERTIFICATE_UNSUPPORTED', `the attribute certificate ${why}`)
}

const Oid = {
  GROUP: '1.3.6.1.5.5.7.10.4',
  AUTHORITY_KEY_IDENTIFIER: '2.5.29.35',
  NO_REV_AVAIL: '2.5.29.56',
} as const

// Our limits, those of certificates.
const MAXIMUM_BYTES = 65_536
const MAXIMUM_SERIAL_BYTES = 64
const MAXIMUM_EXTENSIONS = 64
