/**
 * PKCS#12 (RFC 7292): private keys and certificates in one file under a passphrase. The file's MAC is checked first, with
 * the passphrase; then its parts are opened: certificates with PBES2 (RFC 8018) or SHA-1 and Triple-DES or RC2, keys by OpenSSL.
 *
 * DER only: files with indefinite lengths are refused, and so are those without a MAC; the error says how to convert them.
 * What was decrypted is zeroed when it has been read.
 */
import { createDecipheriv, createHash, createHmac, pbkdf2Sync } from 'node:crypto'

import { concatBytes } from '../base/bytes.ts'
import { DerReader, Tag, contextTag } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { readPrivateKey, type PrivateKey } from '../crypto/private-key.ts'
import { decryptRc2 } from '../crypto/rc2.ts'
import { Secret, constantTimeEqual } from '../crypto/secret.ts'

export interface Pkcs12 {
  readonly keys: readonly PrivateKey[]
  /** DER, in the file's order. */
  readonly certificates: readonly Uint8Array[]
}

/**
 * Throws EspalierError (caller, PKCS12_MALFORMED, KEY_NEEDS_PASSPHRASE, KEY_PASSPHRASE_WRONG, KEY_UNSUPPORTED; and as
 * readPrivateKey). Without a passphrase a file under the empty one is opened.
 */
export function readPkcs12(bytes: Uint8Array, passphrase: Secret | null): Pkcs12 {
  try {
    return open(bytes, passphrase)
  } catch (error) {
    if (error instanceof EspalierError && error.code === 'DER_MALFORMED')
      throw malformed(`the PKCS#12 file is malformed ${error.message}`, error)
    throw error
  }
}

/** RFC 7292 4: PFX { 3, authSafe, macData }. */
function open(bytes: Uint8Array, passphrase: Secret | null): Pkcs12 {
  const pfx = DerReader.inside(bytes)
  if (pfx.smallInteger() !== 3) throw malformed('the PKCS#12 file is not of version 3')
  const content = readContent(pfx)
  if (content.type !== DATA) throw unsupported('a PKCS#12 file that is protected by signatures')
  const safes = content.inside.octetString()
  const passwords = new Passwords(passphrase)
  try {
    if (pfx.isAtEnd) throw unsupported('a PKCS#12 file without a MAC')
    checkMac(pfx.enter(), safes, passwords)
    pfx.end()
    const found = { keys: [] as PrivateKey[], certificates: [] as Uint8Array[] }
    const list = DerReader.inside(safes)
    while (!list.isAtEnd) readSafe(readContent(list), passwords, passphrase, found)
    return found
  } finally {
    passwords.destroy()
  }
}

/** A passphrase in its two forms: UTF-8 for PBES2, UTF-16 with two zeros at its end for PKCS#12's own derivation. */
class Passwords {
  readonly utf8: Uint8Array
  /** RFC 7292 B.1. Empty when the file's MAC says that there is no password at all. */
  bmp: Uint8Array
  readonly isGiven: boolean
  constructor(passphrase: Secret | null) {
    this.isGiven = passphrase !== null
    this.utf8 = new Uint8Array(passphrase?.dangerouslyReveal() ?? [])
    this.bmp = utf16OfUtf8(this.utf8)
  }
  destroy(): void {
    this.utf8.fill(0)
    this.bmp.fill(0)
  }
}

interface Content {
  readonly type: string
  readonly inside: DerReader
}

/** RFC 5652 3: ContentInfo { type, [0] content }. */
function readContent(reader: DerReader): Content {
  const info = reader.enter()
  const type = info.oid()
  const inside = info.enter(contextTag(0, true))
  info.end()
  return { type, inside }
}

function checkMac(macData: DerReader, authenticated: Uint8Array, passwords: Passwords): void {
  const info = macData.enter()
  const algorithm = info.enter()
  const oid = algorithm.oid()
  const hash = HASHES[oid]
  const expected = info.octetString()
  const salt = macData.octetString()
  const iterations = macData.isAtEnd ? 1 : readIterations(macData)
  macData.end()
  if (hash === undefined) throw unsupported(`the MAC algorithm ${oid}`)
  const matches = (password: Uint8Array): boolean => {
    const key = derive(hash, MAC_KEY, password, salt, iterations, HASH_BYTES[hash]!)
    const mac = createHmac(hash, key).update(authenticated).digest()
    key.fill(0)
    return constantTimeEqual(mac, expected)
  }
  if (matches(passwords.bmp)) return
  // "No password" and "the empty password" are two things here, and programs differ.
  if (passwords.utf8.length === 0 && matches(NOTHING)) {
    passwords.bmp = NOTHING
    return
  }
  if (passwords.isGiven)
    throw new EspalierError('caller', 'KEY_PASSPHRASE_WRONG', 'the passphrase does not open the PKCS#12 file')
  throw new EspalierError('caller', 'KEY_NEEDS_PASSPHRASE', 'the PKCS#12 file is encrypted and there is no passphrase for it')
}

interface Found {
  readonly keys: PrivateKey[]
  readonly certificates: Uint8Array[]
}

function readSafe({ type, inside }: Content, passwords: Passwords, passphrase: Secret | null, found: Found): void {
  if (type === DATA) return readBags(DerReader.inside(inside.octetString()), passphrase, found)
  if (type !== ENCRYPTED_DATA) throw unsupported('a part of the PKCS#12 file that is encrypted for a public key')
  const data = inside.enter()
  data.smallInteger()
  const encrypted = data.enter()
  encrypted.oid()
  const algorithm = encrypted.enter()
  const plain = decrypt(algorithm, encrypted.read(contextTag(0, false)).contents, passwords)
  try {
    readBags(DerReader.inside(plain), passphrase, found)
  } finally {
    plain.fill(0)
  }
}

/** RFC 7292 4.2. Bags of other kinds (CRLs, secrets) are none of ours. */
function readBags(bags: DerReader, passphrase: Secret | null, found: Found): void {
  while (!bags.isAtEnd) {
    const bag = bags.enter()
    const type = bag.oid()
    const value = bag.enter(contextTag(0, true))
    bag.optional(Tag.SET)
    bag.end()
    if (found.keys.length + found.certificates.length >= MAXIMUM_BAGS)
      throw malformed(`more than ${MAXIMUM_BAGS} bags in the PKCS#12 file`)
    switch (type) {
      case KEY_BAG:
      case SHROUDED_KEY_BAG:
        found.keys.push(readPrivateKey(value.read(Tag.SEQUENCE).whole, passphrase ?? EMPTY))
        break
      case CERTIFICATE_BAG: {
        const certificate = value.enter()
        if (certificate.oid() !== X509_CERTIFICATE) break
        // A copy: what it is a view on will be zeroed.
        found.certificates.push(certificate.enter(contextTag(0, true)).octetString().slice())
        break
      }
    }
  }
}

function decrypt(algorithm: DerReader, encrypted: Uint8Array, passwords: Passwords): Uint8Array {
  const oid = algorithm.oid()
  const parameters = algorithm.enter()
  const { cipher, key, iv } = oid === PBES2 ? readPbes2(parameters, passwords.utf8) : readPbe(oid, parameters, passwords.bmp)
  try {
    if (cipher === RC2) {
      const plain = decryptRc2(key, iv, encrypted)
      if (plain === null) throw malformed('a part of the PKCS#12 file does not decrypt')
      return plain
    }
    const decipher = createDecipheriv(cipher, key, iv)
    const [first, last] = [decipher.update(encrypted), decipher.final()]
    const plain = concatBytes(first, last)
    first.fill(0)
    last.fill(0)
    return plain
  } catch (error) {
    throw error instanceof EspalierError ? error : malformed('a part of the PKCS#12 file does not decrypt', error)
  } finally {
    key.fill(0)
  }
}

interface CipherKey {
  readonly cipher: string
  readonly key: Uint8Array
  readonly iv: Uint8Array
}

/** RFC 8018 A.2, A.4. */
function readPbes2(parameters: DerReader, password: Uint8Array): CipherKey {
  const derivation = parameters.enter()
  const derivationOid = derivation.oid()
  if (derivationOid !== PBKDF2) throw unsupported(`the key derivation ${derivationOid}`)
  const pbkdf2 = derivation.enter()
  const salt = pbkdf2.octetString()
  const iterations = readIterations(pbkdf2)
  if (pbkdf2.peek() === Tag.INTEGER) pbkdf2.smallInteger()
  const prf = pbkdf2.isAtEnd ? HMAC_SHA1 : pbkdf2.enter().oid()
  const scheme = parameters.enter()
  const cipherOid = scheme.oid()
  const cipher = CIPHERS[cipherOid]
  const hash = PRFS[prf]
  if (cipher === undefined) throw unsupported(`the cipher ${cipherOid}`)
  if (hash === undefined) throw unsupported(`the pseudo-random function ${prf}`)
  const iv = scheme.octetString()
  return { cipher: cipher.name, key: pbkdf2Sync(password, salt, iterations, cipher.keyBytes, hash), iv }
}

/** RFC 7292 C. */
function readPbe(oid: string, parameters: DerReader, password: Uint8Array): CipherKey {
  const cipher = PBES[oid]
  if (cipher === undefined) throw unsupported(`the encryption ${oid}`)
  const salt = parameters.octetString()
  const iterations = readIterations(parameters)
  const part = (purpose: number, length: number): Uint8Array => derive('sha1', purpose, password, salt, iterations, length)
  return { cipher: cipher.name, key: part(CIPHER_KEY, cipher.keyBytes), iv: part(INITIALISATION_VECTOR, 8) }
}

function readIterations(reader: DerReader): number {
  const iterations = reader.smallInteger()
  if (iterations < 1 || iterations > MAXIMUM_ITERATIONS) throw unsupported(`${iterations} rounds of key derivation`)
  return iterations
}

/** RFC 7292 B.2: `length` bytes for a purpose. */
function derive(
  hash: string,
  purpose: number,
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
  length: number,
): Uint8Array {
  const block = hash === 'sha384' || hash === 'sha512' ? 128 : 64
  const filled = (bytes: Uint8Array): Uint8Array => repeated(bytes, Math.ceil(bytes.length / block) * block)
  const diversifier = new Uint8Array(block).fill(purpose)
  const input = concatBytes(filled(salt), filled(password))
  const out = new Uint8Array(length)
  for (let at = 0; at < length;) {
    let digest = createHash(hash).update(diversifier).update(input).digest()
    for (let i = 1; i < iterations; i++) digest = createHash(hash).update(digest).digest()
    out.set(digest.subarray(0, length - at), at)
    at += digest.length
    const addend = repeated(digest, block)
    for (let start = 0; start < input.length; start += block) addOneAnd(input.subarray(start, start + block), addend)
  }
  input.fill(0)
  return out
}

function repeated(bytes: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => bytes[i % bytes.length]!)
}

/** number += addend + 1, of equal lengths, what does not fit is dropped. */
function addOneAnd(number: Uint8Array, addend: Uint8Array): void {
  let carry = 1
  for (let i = number.length - 1; i >= 0; i--) {
    carry += number[i]! + addend[i]!
    number[i] = carry & 0xff
    carry >>= 8
  }
}

/** Without strings on the way; characters beyond the Basic Multilingual Plane become surrogates, as OpenSSL has them. */
function utf16OfUtf8(utf8: Uint8Array): Uint8Array {
  const units: number[] = []
  for (let i = 0; i < utf8.length;) {
    const first = utf8[i]!
    const size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
    let point = size === 1 ? first : first & (0x7f >> size)
    for (let k = 1; k < size; k++) point = (point << 6) | ((utf8[i + k] ?? 0) & 0x3f)
    i += size
    if (point < 0x10000) units.push(point)
    else units.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff))
  }
  const bytes = new Uint8Array(2 * units.length + 2)
  for (const [i, unit] of units.entries()) {
    bytes[2 * i] = unit >> 8
    bytes[2 * i + 1] = unit & 0xff
  }
  units.fill(0)
  return bytes
}

function malformed(message: string, cause?: unknown): EspalierError {
  return new EspalierError('caller', 'PKCS12_MALFORMED', message, { cause })
}
function unsupported(what: string): EspalierError {
  const convert = 'openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW'
  return new EspalierError('caller', 'KEY_UNSUPPORTED', `${what} is not supported; '${convert}' makes a file that is`)
}

const EMPTY = new Secret(new Uint8Array())
const NOTHING = new Uint8Array()

// Our limits.
const MAXIMUM_BAGS = 100
const MAXIMUM_ITERATIONS = 5_000_000

// RFC 7292 B.3
const CIPHER_KEY = 1
const INITIALISATION_VECTOR = 2
const MAC_KEY = 3

const DATA = '1.2.840.113549.1.7.1'
const ENCRYPTED_DATA = '1.2.840.113549.1.7.6'
const KEY_BAG = '1.2.840.113549.1.12.10.1.1'
const SHROUDED_KEY_BAG = '1.2.840.113549.1.12.10.1.2'
const CERTIFICATE_BAG = '1.2.840.113549.1.12.10.1.3'
const X509_CERTIFICATE = '1.2.840.113549.1.9.22.1'

const HASHES: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}
const HASH_BYTES: Readonly<Record<string, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 }

const PBES2 = '1.2.840.113549.1.5.13'
const PBKDF2 = '1.2.840.113549.1.5.12'
const HMAC_SHA1 = '1.2.840.113549.2.7'
const PRFS: Readonly<Record<string, string>> = {
  [HMAC_SHA1]: 'sha1',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
}

interface Cipher {
  readonly name: string
  readonly keyBytes: number
}
const TRIPLE_DES: Cipher = { name: 'des-ede3-cbc', keyBytes: 24 }
const CIPHERS: Readonly<Record<string, Cipher>> = {
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyBytes: 32 },
  '1.2.840.113549.3.7': TRIPLE_DES,
}
const RC2 = 'rc2'
const PBES: Readonly<Record<string, Cipher>> = {
  '1.2.840.113549.1.12.1.3': TRIPLE_DES,
  '1.2.840.113549.1.12.1.5': { name: RC2, keyBytes: 16 },
  '1.2.840.113549.1.12.1.6': { name: RC2, keyBytes: 5 },
}
