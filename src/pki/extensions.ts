/**
 * Extensions of certificates (RFC 5280 4.2): each of those we know into plain data, and which critical ones we don't.
 */
import { DerReader, Tag, contextTag } from '../base/der.ts'
import { listOf, malformed, readGeneralName, readGeneralNames, uriOf, type GeneralName } from './general-names.ts'

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

/** What the extensions of a certificate say, and what is so without them. */
export interface Extensions {
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
  readonly freshestCrlUris: readonly string[]
  readonly ocspUris: readonly string[]
  /** id-pkix-ocsp-nocheck (RFC 6960 4.2.2.2.1). */
  readonly ocspNoCheck: boolean
  /** Critical extensions we don't know, dotted: such a certificate reads, and every path with it is refused. */
  readonly unknownCritical: readonly string[]
}

/** Fields to be filled in. */
type Draft = { -readonly [Field in keyof Extensions]: Extensions[Field] }

/** RFC 5280 4.1.2.9: each at most once. Null where a certificate has none. */
export function readExtensions(list: DerReader | null): Extensions {
  const into: Draft = { ...WITHOUT_EXTENSIONS }
  if (list === null) return into

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
  return into
}

const EXTENSIONS = new Map<string, (reader: DerReader, into: Draft) => void>([
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
function readBasicConstraints(reader: DerReader, into: Draft): void {
  const constraints = reader.enter()
  into.isCa = constraints.peek() === Tag.BOOLEAN && constraints.boolean()
  const pathLength = constraints.isAtEnd ? null : constraints.smallInteger()
  constraints.end()
  into.pathLength = into.isCa ? pathLength : null
}

/** RFC 5280 4.2.1.10; minimum is 0 and maximum absent, as it demands. */
function readNameConstraints(reader: DerReader, into: Draft): void {
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
function readPolicies(reader: DerReader, into: Draft): void {
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
function readPolicyMappings(reader: DerReader, into: Draft): void {
  into.policyMappings = listOf(reader.enter(), (list) => {
    const mapping = list.enter()
    const pair = { issuerPolicy: mapping.oid(), subjectPolicy: mapping.oid() }
    mapping.end()
    return pair
  })
}

/** RFC 5280 4.2.1.11. */
function readPolicyConstraints(reader: DerReader, into: Draft): void {
  const constraints = reader.enter()
  const skip = (number: number): number | null =>
    constraints.peek() === contextTag(number, false) ? constraints.smallInteger(contextTag(number, false)) : null
  into.requireExplicitPolicy = skip(0)
  into.inhibitPolicyMapping = skip(1)
  constraints.end()
}

/** RFC 5280 4.2.1.1. Issuer and serial number, which may stand beside the key identifier, are not used (nor does strongSwan). */
function readAuthorityKeyId(reader: DerReader, into: Draft): void {
  const id = reader.enter()
  into.authorityKeyId = id.optional(contextTag(0, false))?.contents ?? null
  id.optional(contextTag(1, true))
  id.optional(contextTag(2, false))
  id.end()
}

/** RFC 5280 4.2.2.1. */
function readAuthorityInfoAccess(reader: DerReader, into: Draft): void {
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

/** Our limit. */
const MAXIMUM_EXTENSIONS = 64

/** What is so without any extension. */
const WITHOUT_EXTENSIONS: Extensions = {
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

const OCSP = '1.3.6.1.5.5.7.48.1'
