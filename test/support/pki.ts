/**
 * A public key infrastructure for tests: keys and certificates with whatever is right or wrong with them, made by our own
 * DER writer and node:crypto. The same names give the same bytes as far as the algorithms allow: keys are made of their
 * names (RSA's are stored), RSA PKCS#1 and EdDSA signatures have no chance in them, ECDSA and PSS ones do.
 *
 *   const ca = makeCa('C=CH, O=strongSwan, CN=strongSwan Root CA')
 *   const moon = makeCertificate({ subject: 'C=CH, O=strongSwan, CN=moon', issuer: ca, san: ['dns:moon.strongswan.org'] })
 *   moon.certificate  moon.der  moon.pem  moon.key.privateKey  moon.key.pem
 */
import { createECDH, createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'

import { concatBytes } from '../../src/base/bytes.ts'
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
import { IpAddress, IpRange } from '../../src/base/ip.ts'
import type { Milliseconds } from '../../src/base/time.ts'
import { PrivateKey } from '../../src/crypto/private-key.ts'
import { digestOf, optionsOf } from '../../src/crypto/public-key.ts'
import { algorithmOf, type SignatureScheme } from '../../src/crypto/signature-scheme.ts'
import { KeyUsage, readCertificate, type Certificate } from '../../src/pki/certificate.ts'
import { encodeDistinguishedName } from '../../src/pki/distinguished-name.ts'
import { RSA_KEYS } from './rsa-keys.ts'

export type TestKeyType = `rsa-${512 | 768 | 1024 | 2048 | 3072 | 4096}` | 'p256' | 'p384' | 'p521' | 'ed25519' | 'ed448'

/** A key pair in every form a test may want. */
export class TestKey {
  readonly type: TestKeyType
  readonly object: KeyObject
  constructor(type: TestKeyType, object: KeyObject) {
    this.type = type
    this.object = object
  }
  /** As the daemon reads it; throws for RSA below 1024 bits. */
  get privateKey(): PrivateKey {
    return new PrivateKey(this.object)
  }
  get spki(): Uint8Array {
    return derOfPublic(this.object)
  }
  /** PKCS#8, DER. */
  get pkcs8(): Uint8Array {
    return this.object.export({ format: 'der', type: 'pkcs8' })
  }
  /** PKCS#8, PEM. */
  get pem(): string {
    return pem('PRIVATE KEY', this.pkcs8)
  }
  /** SubjectPublicKeyInfo, PEM. */
  get publicPem(): string {
    return pem('PUBLIC KEY', this.spki)
  }
}

/** A certificate and its key. */
export class TestCertificate {
  readonly der: Uint8Array
  readonly key: TestKey
  readonly name: Uint8Array
  #read: Certificate | null = null
  constructor(der: Uint8Array, key: TestKey, name: Uint8Array) {
    this.der = der
    this.key = key
    this.name = name
  }
  get certificate(): Certificate {
    return (this.#read ??= readCertificate(this.der))
  }
  get pem(): string {
    return pem('CERTIFICATE', this.der)
  }
}

export interface CertificateOptions {
  /** `C=CH, O=strongSwan, CN=moon`, or DER of a Name. */
  readonly subject: string | Uint8Array
  /** Who signs; itself when absent. */
  readonly issuer?: TestCertificate
  /** Default p256, by the subject's name. */
  readonly key?: TestKey | TestKeyType
  /** Default: a number made of the subject. */
  readonly serial?: number | Uint8Array
  /** Default 2020-01-01 to 2049-12-31. */
  readonly notBefore?: Milliseconds
  readonly notAfter?: Milliseconds
  /** basicConstraints; absent: no such extension unless by makeCa. */
  readonly ca?: boolean
  readonly pathLength?: number
  /** Bits of KeyUsage; null for none. Default: keyCertSign and cRLSign of a CA, none for others. */
  readonly keyUsage?: number | null
  readonly extendedKeyUsage?: readonly string[]
  /** `dns:`, `email:`, `ip:`, `uri:`, `dn:`, `rid:`, `upn:`. */
  readonly san?: readonly string[]
  /** The same, ip with a prefix. */
  readonly nameConstraints?: { readonly permitted?: readonly string[]; readonly excluded?: readonly string[] }
  readonly crlUris?: readonly string[]
  /** Name of the CRL's signer. */
  readonly crlIssuer?: string
  readonly freshestCrlUris?: readonly string[]
  readonly ocspUris?: readonly string[]
  readonly ocspNoCheck?: boolean
  readonly policies?: readonly string[]
  readonly policyMappings?: readonly (readonly [issuer: string, subject: string])[]
  readonly requireExplicitPolicy?: number
  readonly inhibitPolicyMapping?: number
  readonly inhibitAnyPolicy?: number
  /** An extension nobody knows, critical. */
  readonly unknownCritical?: boolean
  /** Extensions as they are: DER of Extension. */
  readonly extensions?: readonly Uint8Array[]
  /** subjectKeyIdentifier and authorityKeyIdentifier; default true. */
  readonly keyIds?: boolean
  /** In place of the issuer's key's identifier. */
  readonly authorityKeyId?: Uint8Array
  /** Key that really signs, instead of the issuer's: the signature is wrong. */
  readonly signer?: TestKey
  /** Default: SHA-256, or what fits the key. `md5`: PKCS#1 with MD5. */
  readonly scheme?: SignatureScheme | 'md5'
  /** Default 3; 1 has no extensions. */
  readonly version?: 1 | 3
}

/** A self-signed CA, or with `issuer` one below it. */
export function makeCa(subject: string, options: Partial<CertificateOptions> = {}): TestCertificate {
  return makeCertificate({ ca: true, ...options, subject })
}

export function makeCertificate(options: CertificateOptions): TestCertificate {
  const name = typeof options.subject === 'string' ? encodeDistinguishedName(options.subject) : options.subject
  const key = options.key instanceof TestKey ? options.key : keyPair(options.key ?? 'p256', Buffer.from(name).toString('hex'))
  const issuerKey = options.issuer?.key ?? key
  const signer = options.signer ?? issuerKey
  const scheme = options.scheme ?? schemeOf(signer.type)
  const algorithm = scheme === 'md5' ? encodeSequence(encodeOid('1.2.840.113549.1.1.4'), encodeNull()) : algorithmOf(scheme)
  const version = options.version ?? 3
  const tbs = encodeSequence(
    ...(version === 3 ? [encodeContext(0, encodeInteger(2))] : []),
    encodeInteger(options.serial ?? serialOf(name, options.issuer)),
    algorithm,
    options.issuer?.name ?? name,
    encodeSequence(encodeTime(options.notBefore ?? Date.UTC(2020, 0, 1)), encodeTime(options.notAfter ?? Date.UTC(2049, 11, 31))),
    name,
    key.spki,
    ...(version === 3 ? encodeExtensions(options, key, issuerKey) : []),
  )
  return new TestCertificate(encodeSequence(tbs, algorithm, encodeBitString(signWith(signer, scheme, tbs))), key, name)
}

/** The wrapper of everything that is signed: SEQUENCE { tbs, algorithm, signature }. */
export function makeSigned(tbs: (algorithm: Uint8Array) => Uint8Array, key: TestKey, scheme = schemeOf(key.type)): Uint8Array {
  const algorithm = algorithmOf(scheme)
  const signed = tbs(algorithm)
  return encodeSequence(signed, algorithm, encodeBitString(signWith(key, scheme, signed)))
}

export function signWith(key: TestKey, scheme: SignatureScheme | 'md5', data: Uint8Array): Uint8Array {
  if (scheme === 'md5') return sign('md5', data, key.object)
  return sign(digestOf(scheme), data, { key: key.object, ...optionsOf(scheme) })
}

/** What a key signs with when nothing else is asked for. */
export function schemeOf(type: TestKeyType): SignatureScheme {
  if (type === 'ed25519' || type === 'ed448') return { key: type, hash: 'identity', pss: false }
  if (type.startsWith('rsa')) return { key: 'rsa', hash: 'sha256', pss: false }
  return { key: 'ecdsa', hash: type === 'p256' ? 'sha256' : type === 'p384' ? 'sha384' : 'sha512', pss: false }
}

/** The key of that type and name: always the same in a run, and in every run but for RSA keys beyond those stored. */
export function keyPair(type: TestKeyType, name = 'a key'): TestKey {
  const known = keys.get(`${type} ${name}`)
  if (known !== undefined) return known
  const key = new TestKey(type, type.startsWith('rsa') ? rsaKey(Number(type.slice(4))) : keyOfName(type, name))
  keys.set(`${type} ${name}`, key)
  return key
}

/** DER of an Extension. */
export function makeExtension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return encodeSequence(encodeOid(oid), ...(critical ? [encodeBoolean(true)] : []), encodeOctetString(value))
}

/** DER of the GeneralName `dns:…`, `email:…`, `ip:…` (with a prefix: address and mask), `uri:…`, `dn:…`, `rid:…`, `upn:…`. */
export function encodeGeneralName(text: string): Uint8Array {
  const [kind, value] = [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)]
  switch (kind) {
    case 'email':
      return encodeElement(contextTag(1, false), Buffer.from(value, 'latin1'))
    case 'dns':
      return encodeElement(contextTag(2, false), Buffer.from(value, 'latin1'))
    case 'dn':
      return encodeContext(4, encodeDistinguishedName(value))
    case 'uri':
      return encodeElement(contextTag(6, false), Buffer.from(value, 'latin1'))
    case 'ip':
      return encodeElement(contextTag(7, false), value.includes('/') ? subnet(value) : IpAddress.parse(value).bytes)
    case 'rid':
      return encodeElement(contextTag(8, false), encodeOid(value).subarray(2))
    case 'upn':
      return encodeContext(
        0,
        encodeOid('1.3.6.1.4.1.311.20.2.3'),
        encodeContext(0, encodeElement(Tag.UTF8_STRING, Buffer.from(value))),
      )
  }
  throw new RangeError(`no kind of name: ${text}`)
}

/** PEM, lines of 64 characters. */
export function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`
}

/** SHA-1 of what subjectPublicKey holds. */
export function keyIdOf(key: TestKey): Uint8Array {
  const { spki } = key
  // The last element of the SubjectPublicKeyInfo, without the count of unused bits.
  const algorithmEnd = spki[1]! < 0x80 ? 2 : 2 + (spki[1]! & 0x7f)
  let at = algorithmEnd + 2 + spki[algorithmEnd + 1]!
  at += spki[at + 1]! < 0x80 ? 2 : 2 + (spki[at + 1]! & 0x7f)
  return createHash('sha1')
    .update(spki.subarray(at + 1))
    .digest()
}

function encodeExtensions(options: CertificateOptions, key: TestKey, issuerKey: TestKey): Uint8Array[] {
  const all: Uint8Array[] = []
  const add = (oid: string, critical: boolean, ...value: Uint8Array[]): void => {
    all.push(makeExtension(oid, critical, value.length === 1 ? value[0]! : concatBytes(...value)))
  }
  if (options.keyIds !== false) {
    add('2.5.29.14', false, encodeOctetString(keyIdOf(key)))
    add('2.5.29.35', false, encodeSequence(encodeElement(contextTag(0, false), options.authorityKeyId ?? keyIdOf(issuerKey))))
  }
  if (options.ca !== undefined) {
    const pathLength = options.pathLength === undefined ? [] : [encodeInteger(options.pathLength)]
    add('2.5.29.19', true, encodeSequence(...(options.ca ? [encodeBoolean(true)] : []), ...pathLength))
  }
  const keyUsage =
    options.keyUsage === undefined ? (options.ca === true ? KeyUsage.KEY_CERT_SIGN | KeyUsage.CRL_SIGN : null) : options.keyUsage
  if (keyUsage !== null) add('2.5.29.15', true, encodeNamedBits(keyUsage))
  if (options.extendedKeyUsage !== undefined) add('2.5.29.37', false, encodeSequence(...options.extendedKeyUsage.map(encodeOid)))
  if (options.san !== undefined)
    add('2.5.29.17', options.subject.length === 0, encodeSequence(...options.san.map(encodeGeneralName)))
  if (options.nameConstraints !== undefined) {
    const subtrees = (number: number, names: readonly string[] | undefined): Uint8Array[] =>
      names === undefined ? [] : [encodeContext(number, ...names.map((name) => encodeSequence(encodeGeneralName(name))))]
    const { permitted, excluded } = options.nameConstraints
    add('2.5.29.30', true, encodeSequence(...subtrees(0, permitted), ...subtrees(1, excluded)))
  }
  if (options.crlUris !== undefined) add('2.5.29.31', false, encodeDistributionPoints(options.crlUris, options.crlIssuer))
  if (options.freshestCrlUris !== undefined) add('2.5.29.46', false, encodeDistributionPoints(options.freshestCrlUris))
  if (options.ocspUris !== undefined) {
    const accesses = options.ocspUris.map((uri) =>
      encodeSequence(encodeOid('1.3.6.1.5.5.7.48.1'), encodeGeneralName(`uri:${uri}`)),
    )
    add('1.3.6.1.5.5.7.1.1', false, encodeSequence(...accesses))
  }
  if (options.ocspNoCheck === true) add('1.3.6.1.5.5.7.48.1.5', false, encodeNull())
  if (options.policies !== undefined)
    add('2.5.29.32', false, encodeSequence(...options.policies.map((policy) => encodeSequence(encodeOid(policy)))))
  if (options.policyMappings !== undefined) {
    const pairs = options.policyMappings.map(([issuer, subject]) => encodeSequence(encodeOid(issuer), encodeOid(subject)))
    add('2.5.29.33', true, encodeSequence(...pairs))
  }
  const { requireExplicitPolicy, inhibitPolicyMapping, inhibitAnyPolicy } = options
  if (requireExplicitPolicy !== undefined || inhibitPolicyMapping !== undefined) {
    const skip = (number: number, value: number | undefined): Uint8Array[] =>
      value === undefined ? [] : [encodeElement(contextTag(number, false), encodeInteger(value).subarray(2))]
    add('2.5.29.36', true, encodeSequence(...skip(0, requireExplicitPolicy), ...skip(1, inhibitPolicyMapping)))
  }
  if (inhibitAnyPolicy !== undefined) add('2.5.29.54', true, encodeInteger(inhibitAnyPolicy))
  if (options.unknownCritical === true) add('1.3.6.1.4.1.99999.1', true, encodeNull())
  all.push(...(options.extensions ?? []))
  return all.length === 0 ? [] : [encodeContext(3, encodeSequence(...all))]
}

function encodeDistributionPoints(uris: readonly string[], issuer?: string): Uint8Array {
  const points = uris.map((uri) =>
    encodeSequence(
      encodeContext(0, encodeContext(0, encodeGeneralName(`uri:${uri}`))),
      ...(issuer === undefined ? [] : [encodeContext(2, encodeGeneralName(`dn:${issuer}`))]),
    ),
  )
  return encodeSequence(...points)
}

/** A BIT STRING without the zeros at its end, as DER wants named bits. */
function encodeNamedBits(bits: number): Uint8Array {
  const length = 32 - Math.clz32(bits)
  const bytes = new Uint8Array(1 + Math.ceil(length / 8))
  bytes[0] = (bytes.length - 1) * 8 - length
  for (let i = 0; i < length; i++) if ((bits & (1 << i)) !== 0) bytes[1 + (i >> 3)]! |= 0x80 >> (i & 7)
  return encodeElement(Tag.BIT_STRING, bytes)
}

function subnet(text: string): Uint8Array {
  const range = IpRange.parse(text)
  return concatBytes(
    range.first.bytes,
    range.first.bytes.map((byte, i) => 0xff ^ (byte ^ range.last.bytes[i]!)),
  )
}

function serialOf(name: Uint8Array, issuer: TestCertificate | undefined): Uint8Array {
  const digest = createHash('sha256')
    .update(name)
    .update(issuer?.name ?? '')
    .digest()
  digest[0]! &= 0x7f
  digest[0]! |= 0x40
  return digest.subarray(0, 8)
}

const keys = new Map<string, TestKey>()
const rsaKeysTaken = new Map<number, number>()

function rsaKey(bits: number): KeyObject {
  const taken = rsaKeysTaken.get(bits) ?? 0
  rsaKeysTaken.set(bits, taken + 1)
  const stored = RSA_KEYS[bits]?.[taken]
  if (stored === undefined) return generateKeyPairSync('rsa', { modulusLength: bits }).privateKey
  return createPrivateKey({ key: Buffer.from(stored, 'base64'), format: 'der', type: 'pkcs8' })
}

/** The private number is a hash of the name, so that a simulated world replays. */
function keyOfName(type: TestKeyType, name: string): KeyObject {
  const seed = createHash('shake256', { outputLength: 66 }).update(`${type} ${name}`).digest()
  if (type === 'ed25519' || type === 'ed448') {
    const [oid, length] = type === 'ed25519' ? ['1.3.101.112', 32] : ['1.3.101.113', 57]
    const inner = encodeOctetString(encodeOctetString(seed.subarray(0, length)))
    return fromDer(encodeSequence(encodeInteger(0), encodeSequence(encodeOid(oid)), inner), 'pkcs8')
  }
  const [curve, oid, length] = (
    {
      p256: ['prime256v1', '1.2.840.10045.3.1.7', 32],
      p384: ['secp384r1', '1.3.132.0.34', 48],
      p521: ['secp521r1', '1.3.132.0.35', 66],
    } as const
  )[type as 'p256' | 'p384' | 'p521']
  const number = seed.subarray(0, length)
  // Below the order of each of these curves, which begin with ff, and with 01ff.
  number[0] = 0
  const ecdh = createECDH(curve)
  ecdh.setPrivateKey(number)
  const point = encodeContext(1, encodeBitString(ecdh.getPublicKey()))
  const parameters = encodeContext(0, encodeOid(oid))
  return fromDer(encodeSequence(encodeInteger(1), encodeOctetString(number), parameters, point), 'sec1')
}

function fromDer(der: Uint8Array, type: 'pkcs8' | 'sec1'): KeyObject {
  return createPrivateKey({ key: Buffer.from(der), format: 'der', type })
}

function derOfPublic(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ format: 'der', type: 'spki' })
}
