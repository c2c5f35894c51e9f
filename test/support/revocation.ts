/**
 * CRLs and OCSP answers for tests, by our own DER writer, with whatever is right or wrong with them; and a fetcher that
 * finds them at their URIs without a network.
 */
import { hash } from 'node:crypto'

import {
  Tag,
  contextTag,
  encodeBitString,
  encodeBoolean,
  encodeContext,
  encodeElement,
  encodeInteger,
  encodeNull,
  encodeOctetString,
  encodeOid,
  encodeSequence,
  encodeTime,
} from '../../src/base/der.ts'
import { toCalendar } from '../../src/base/calendar.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { MINUTE, type Milliseconds } from '../../src/base/time.ts'
import { algorithmOf } from '../../src/crypto/signature-scheme.ts'
import { DEFAULT_REVOCATION_SETTINGS, RevocationCache, type RevocationSources } from '../../src/pki/revocation.ts'
import type { Fetcher, FetchRequest } from '../../src/ports.ts'
import { seededEntropy } from './crypto-fixtures.ts'
import { encodeGeneralName, keyIdOf, makeExtension, schemeOf, signWith, type TestCertificate } from './pki.ts'

/** The wall clock of these tests, at which lists and answers are current unless they are made otherwise. */
export const NOW: Milliseconds = Date.UTC(2026, 5, 1)
export const HOUR: Milliseconds = 60 * MINUTE

export interface CrlOptions {
  /** Who signs. */
  readonly issuer: TestCertificate
  readonly revoked?: readonly CrlEntryOptions[]
  /** Default: an hour before NOW and a day after; null leaves it out. */
  readonly thisUpdate?: Milliseconds
  readonly nextUpdate?: Milliseconds | null
  /** Default 1; null for none. */
  readonly number?: number | null
  /** Number of the complete list, for a delta. */
  readonly base?: number
  readonly freshestUris?: readonly string[]
  readonly scope?: {
    readonly uris?: readonly string[]
    readonly onlyUser?: boolean
    readonly onlyCa?: boolean
    readonly someReasons?: boolean
    readonly indirect?: boolean
    readonly onlyAttribute?: boolean
  }
  readonly keyId?: boolean
  /** An extension nobody knows, critical. */
  readonly unknownCritical?: boolean
  /** One bit of the signature is wrong. */
  readonly badSignature?: boolean
  /** RSA with MD5 is what it says of its signature. */
  readonly md5?: boolean
}

export interface CrlEntryOptions {
  readonly certificate?: TestCertificate
  readonly serial?: Uint8Array | number
  readonly at?: Milliseconds
  readonly reason?: number
  /** certificateIssuer, from this entry on. */
  readonly issuer?: string
  /** An extension nobody knows, critical. */
  readonly unknownCritical?: boolean
}

export function makeCrl(options: CrlOptions): Uint8Array {
  const { issuer, revoked = [], thisUpdate = NOW - HOUR, nextUpdate = NOW + 24 * HOUR, number = 1 } = options
  const entries = revoked.map(encodeEntry)
  const extensions = [
    ...(options.keyId === false
      ? []
      : [makeExtension('2.5.29.35', false, encodeSequence(encodeElement(contextTag(0, false), keyIdOf(issuer.key))))]),
    ...(number === null ? [] : [makeExtension('2.5.29.20', false, encodeInteger(number))]),
    ...(options.base === undefined ? [] : [makeExtension('2.5.29.27', true, encodeInteger(options.base))]),
    ...(options.freshestUris === undefined ? [] : [makeExtension('2.5.29.46', false, encodePoints(options.freshestUris))]),
    ...(options.scope === undefined ? [] : [makeExtension('2.5.29.28', true, encodeScope(options.scope))]),
    ...(options.unknownCritical === true ? [makeExtension('1.3.6.1.4.1.99999.2', true, encodeNull())] : []),
  ]
  const algorithm = options.md5 === true ? MD5_WITH_RSA : algorithmOf(schemeOf(issuer.key.type))
  const tbs = encodeSequence(
    encodeInteger(1),
    algorithm,
    issuer.name,
    encodeTime(thisUpdate),
    ...(nextUpdate === null ? [] : [encodeTime(nextUpdate)]),
    ...(entries.length === 0 ? [] : [encodeSequence(...entries)]),
    ...(extensions.length === 0 ? [] : [encodeContext(0, encodeSequence(...extensions))]),
  )
  return encodeSequence(tbs, algorithm, encodeBitString(signatureOf(issuer, tbs, options.badSignature)))
}

function encodeEntry({ certificate, serial, at, reason, issuer, unknownCritical }: CrlEntryOptions): Uint8Array {
  const extensions = [
    ...(reason === undefined ? [] : [makeExtension('2.5.29.21', false, encodeEnumerated(reason))]),
    ...(issuer === undefined ? [] : [makeExtension('2.5.29.29', true, encodeSequence(encodeGeneralName(`dn:${issuer}`)))]),
    ...(unknownCritical === true ? [makeExtension('1.3.6.1.4.1.99999.3', true, encodeNull())] : []),
  ]
  return encodeSequence(
    encodeInteger(certificate?.certificate.serial ?? serial ?? 1),
    encodeTime(at ?? NOW - 48 * HOUR),
    ...(extensions.length === 0 ? [] : [encodeSequence(...extensions)]),
  )
}

function encodePoints(uris: readonly string[]): Uint8Array {
  return encodeSequence(...uris.map((uri) => encodeSequence(encodeContext(0, encodeContext(0, encodeGeneralName(`uri:${uri}`))))))
}

function encodeScope(scope: NonNullable<CrlOptions['scope']>): Uint8Array {
  const flag = (number: number, isSet: boolean | undefined): Uint8Array[] =>
    isSet === true ? [encodeElement(contextTag(number, false), encodeBoolean(true).subarray(2))] : []
  const uris = scope.uris ?? []
  return encodeSequence(
    ...(uris.length === 0 ? [] : [encodeContext(0, encodeContext(0, ...uris.map((uri) => encodeGeneralName(`uri:${uri}`))))]),
    ...flag(1, scope.onlyUser),
    ...flag(2, scope.onlyCa),
    ...(scope.someReasons === true ? [encodeElement(contextTag(3, false), Uint8Array.of(6, 0x40))] : []),
    ...flag(4, scope.indirect),
    ...flag(5, scope.onlyAttribute),
  )
}

export interface OcspOptions {
  /** About whom. */
  readonly certificate: TestCertificate
  readonly issuer: TestCertificate
  /** Who signs; default the issuer. */
  readonly signer?: TestCertificate
  readonly status?: 'good' | 'revoked' | 'unknown'
  readonly revokedAt?: Milliseconds
  readonly reason?: number
  /** Default: an hour before NOW and an hour after; null leaves it out. */
  readonly thisUpdate?: Milliseconds
  readonly nextUpdate?: Milliseconds | null
  readonly producedAt?: Milliseconds
  readonly nonce?: Uint8Array
  readonly hash?: 'sha1' | 'sha256' | 'sha384'
  /** The signer is named by its key. */
  readonly byKey?: boolean
  /** Certificates to go with it; default the signer's, unless it is the issuer. */
  readonly certificates?: readonly TestCertificate[]
  readonly unknownCritical?: boolean
  readonly badSignature?: boolean
  readonly md5?: boolean
}

export function makeOcspAnswer(options: OcspOptions): Uint8Array {
  const { certificate, issuer, signer = issuer, status = 'good', thisUpdate = NOW - HOUR, nextUpdate = NOW + HOUR } = options
  const { nonce, reason, byKey = false, hash: algorithmName = 'sha1' } = options
  const certificates = options.certificates ?? (signer === issuer ? [] : [signer])
  const digest = (bytes: Uint8Array): Uint8Array => encodeOctetString(hash(algorithmName, bytes, 'buffer'))
  const key = issuer.certificate.publicKey
  const keyBits = algorithmName === 'sha1' ? encodeOctetString(key.fingerprint) : digest(lastBits(key.spki))
  const single = encodeSequence(
    encodeSequence(
      encodeSequence(encodeOid(HASHES[algorithmName]), encodeNull()),
      digest(issuer.name),
      keyBits,
      encodeInteger(certificate.certificate.serial),
    ),
    status === 'revoked'
      ? encodeContext(
          1,
          generalizedTime(options.revokedAt ?? NOW - 48 * HOUR),
          ...(reason === undefined ? [] : [encodeContext(0, encodeEnumerated(reason))]),
        )
      : encodeElement(contextTag(status === 'good' ? 0 : 2, false)),
    generalizedTime(thisUpdate),
    ...(nextUpdate === null ? [] : [encodeContext(0, generalizedTime(nextUpdate))]),
  )
  const extensions = [
    ...(nonce === undefined ? [] : [makeExtension('1.3.6.1.5.5.7.48.1.2', false, encodeOctetString(nonce))]),
    ...(options.unknownCritical === true ? [makeExtension('1.3.6.1.4.1.99999.4', true, encodeNull())] : []),
  ]
  const tbs = encodeSequence(
    byKey ? encodeContext(2, encodeOctetString(keyIdOf(signer.key))) : encodeContext(1, signer.name),
    generalizedTime(options.producedAt ?? thisUpdate),
    encodeSequence(single),
    ...(extensions.length === 0 ? [] : [encodeContext(1, encodeSequence(...extensions))]),
  )
  const basic = encodeSequence(
    tbs,
    options.md5 === true ? MD5_WITH_RSA : algorithmOf(schemeOf(signer.key.type)),
    encodeBitString(signatureOf(signer, tbs, options.badSignature)),
    ...(certificates.length === 0 ? [] : [encodeContext(0, encodeSequence(...certificates.map(({ der }) => der)))]),
  )
  return encodeSequence(
    encodeEnumerated(0),
    encodeContext(0, encodeSequence(encodeOid('1.3.6.1.5.5.7.48.1.1'), encodeOctetString(basic))),
  )
}

/** A responder's refusal: RFC 6960 4.2.1, OCSPResponseStatus. */
export function makeOcspRefusal(status: number): Uint8Array {
  return encodeSequence(encodeEnumerated(status))
}

/** The nonce of a request, which an honest responder repeats. */
export function nonceOf(request: Uint8Array): Uint8Array {
  const oid = Buffer.from(encodeOid('1.3.6.1.5.5.7.48.1.2'))
  const at = Buffer.from(request).indexOf(oid) + oid.length
  // OCTET STRING in OCTET STRING, both short.
  return request.subarray(at + 4, at + 4 + request[at + 3]!)
}

export const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9'

/** What answers at an URI: bytes, a function of the request, or the error that it gives. */
export type Offer = Uint8Array | EspalierError | ((request: FetchRequest) => Uint8Array | Promise<Uint8Array>)

/** A network of URIs and what is there, which counts what is asked. */
export class FakeFetcher implements Fetcher {
  readonly offers: Map<string, Offer>
  readonly asked: string[] = []
  constructor(offers: Readonly<Record<string, Offer>> = {}) {
    this.offers = new Map(Object.entries(offers))
  }
  async fetch(uri: string, request: FetchRequest): Promise<Uint8Array> {
    this.asked.push(uri)
    const offer = this.offers.get(uri) ?? new EspalierError('system', 'FETCH_FAILED', 'connect ECONNREFUSED')
    if (offer instanceof EspalierError) throw offer
    return typeof offer === 'function' ? offer(request) : offer
  }
}

/** Sources with nothing in them but what is given; `clock` can be moved. */
export function makeSources(given: Partial<RevocationSources> = {}): RevocationSources & { readonly clock: FakeClock } {
  return {
    settings: DEFAULT_REVOCATION_SETTINGS,
    authorities: [],
    crls: [],
    certificates: [],
    ocspSigners: [],
    ocspSent: [],
    crlsSent: [],
    cache: new RevocationCache(),
    fetcher: new FakeFetcher(),
    entropy: seededEntropy('revocation'),
    ...given,
    clock: new FakeClock(),
  }
}

export class FakeClock {
  passed: Milliseconds = 0
  now(): Milliseconds {
    return 1000 + this.passed
  }
  wall(): Milliseconds {
    return NOW + this.passed
  }
}

function signatureOf(signer: TestCertificate, tbs: Uint8Array, isBad = false): Uint8Array {
  const signature = Uint8Array.from(signWith(signer.key, schemeOf(signer.key.type), tbs))
  if (isBad) signature[signature.length - 1]! ^= 1
  return signature
}

function encodeEnumerated(value: number): Uint8Array {
  return encodeElement(Tag.ENUMERATED, Uint8Array.of(value))
}

function generalizedTime(time: Milliseconds): Uint8Array {
  const { year, ...rest } = toCalendar(time)
  const digits = Object.values(rest).map((number) => String(number).padStart(2, '0'))
  return encodeElement(Tag.GENERALIZED_TIME, Buffer.from([year, ...digits, 'Z'].join('')))
}

/** What subjectPublicKey, the last element of a SubjectPublicKeyInfo, holds. */
function lastBits(spki: Uint8Array): Uint8Array {
  const head = spki[1]! < 0x80 ? 2 : 2 + (spki[1]! & 0x7f)
  const bits = head + 2 + spki[head + 1]!
  return spki.subarray(bits + 3 + (spki[bits + 1]! < 0x80 ? 0 : spki[bits + 1]! & 0x7f))
}

const MD5_WITH_RSA = encodeSequence(encodeOid('1.2.840.113549.1.1.4'), encodeNull())

const HASHES = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
} as const
