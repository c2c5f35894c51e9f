import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'

import { concatBytes, toHex, Writer } from '../../src/base/bytes.ts'
import { DerReader, encodeBitString, encodeInteger, encodeNull, encodeOid, encodeSequence } from '../../src/base/der.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { readPublicKey, readPublicKeyFile, verify } from '../../src/crypto/public-key.ts'
import type { SignatureScheme } from '../../src/crypto/signature-scheme.ts'
import { keyIdOf, keyPair, pem, schemeOf, signWith, type TestKeyType } from '../support/pki.ts'

const EVERY: [TestKeyType, string, number, string | null][] = [
  ['rsa-1024', 'rsa', 1024, null],
  ['rsa-2048', 'rsa', 2048, null],
  ['rsa-4096', 'rsa', 4096, null],
  ['p256', 'ecdsa', 256, 'P-256'],
  ['p384', 'ecdsa', 384, 'P-384'],
  ['p521', 'ecdsa', 521, 'P-521'],
  ['ed25519', 'ed25519', 256, null],
  ['ed448', 'ed448', 456, null],
]
const DATA = Buffer.from('the bytes that are signed')

const failsWith =
  (code: string, message: RegExp) =>
  (error: unknown): boolean =>
    error instanceof EspalierError && error.code === code && message.test(error.message)

test('every kind of key says its type, size, curve and fingerprints', () => {
  for (const [type, expected, bits, curve] of EVERY) {
    const key = readPublicKey(keyPair(type).spki)
    assert.deepEqual([key.type, key.bits, key.curve, String(key)], [expected, bits, curve, `public key, ${expected} ${bits}`])
    assert.equal(toHex(key.fingerprint), toHex(keyIdOf(keyPair(type))))
    assert.equal(toHex(key.spkiFingerprint), createHash('sha1').update(key.spki).digest('hex'))
  }
})

test('what a key signed is verified, and nothing else', () => {
  for (const [type] of EVERY) {
    const scheme = schemeOf(type)
    const key = readPublicKey(keyPair(type).spki)
    const signature = signWith(keyPair(type), scheme, DATA)
    assert(verify(key, scheme, DATA, signature), type)
    assert(!verify(key, scheme, Buffer.from('other bytes'), signature), type)
    assert(!verify(readPublicKey(keyPair(type, 'another').spki), scheme, DATA, signature), type)
    assert(!verify(key, scheme, DATA, signature.subarray(1)), type)
    assert(!verify(key, scheme, DATA, new Uint8Array()), type)
    for (const [other] of EVERY)
      if (schemeOf(other).key !== scheme.key) assert(!verify(key, schemeOf(other), DATA, signature), `${type} ${other}`)
  }
})

test('RSA paddings and salts are told apart', () => {
  const key = readPublicKey(keyPair('rsa-2048').spki)
  const schemes: SignatureScheme[] = [
    { key: 'rsa', hash: 'sha1', pss: false },
    { key: 'rsa', hash: 'sha256', pss: false },
    { key: 'rsa', hash: 'sha512', pss: false },
    { key: 'rsa', hash: 'sha256', pss: true },
    { key: 'rsa', hash: 'sha256', pss: true, saltLength: 20 },
    { key: 'rsa', hash: 'sha384', pss: true },
  ]
  for (const scheme of schemes) {
    const signature = signWith(keyPair('rsa-2048'), scheme, DATA)
    assert.deepEqual(
      schemes.filter((other) => verify(key, other, DATA, signature)),
      [scheme],
    )
  }
})

test('raw ECDSA signatures are of the curve of their AUTH method (RFC 4754)', () => {
  for (const [type, hash, length] of [
    ['p256', 'sha256', 64],
    ['p384', 'sha384', 96],
    ['p521', 'sha512', 132],
  ] as const) {
    // prettier-ignore
    const raw: SignatureScheme = { key: 'ecdsa', hash, pss: false, raw: true }
    const signature = signWith(keyPair(type), raw, DATA)
    assert.equal(signature.length, length)
    assert(verify(readPublicKey(keyPair(type).spki), raw, DATA, signature))
    assert(!verify(readPublicKey(keyPair(type).spki), { ...raw, raw: false }, DATA, signature))
    // P-521 with SHA-256 is a signature OpenSSL would take; no AUTH method has it.
    const other = { ...raw, hash: hash === 'sha256' ? 'sha512' : 'sha256' } as const
    assert(!verify(readPublicKey(keyPair(type).spki), other, DATA, signWith(keyPair(type), other, DATA)))
  }
})

test('weak, unsupported and malformed keys are refused with the reason', () => {
  const rsa = (modulus: Uint8Array, exponent: number | Uint8Array): Uint8Array =>
    encodeSequence(
      encodeSequence(encodeOid('1.2.840.113549.1.1.1'), encodeNull()),
      encodeBitString(encodeSequence(encodeInteger(modulus), encodeInteger(exponent))),
    )
  const modulus = new Uint8Array(256).fill(0xff)
  assert.equal(readPublicKey(rsa(modulus, 3)).bits, 2048)
  assert.throws(() => readPublicKey(keyPair('rsa-512').spki), failsWith('KEY_WEAK', /512 bits, less than 1024/))
  assert.throws(() => readPublicKey(keyPair('rsa-768').spki), failsWith('KEY_WEAK', /768 bits/))
  assert.equal(readPublicKey(keyPair('rsa-512').spki, { weak: true }).bits, 512)
  for (const exponent of [0, 1, 2, 65_536])
    assert.throws(() => readPublicKey(rsa(modulus, exponent)), failsWith('KEY_MALFORMED', /exponent/))
  assert.throws(() => readPublicKey(rsa(modulus, new Uint8Array(8).fill(0xff))), failsWith('KEY_MALFORMED', /exponent/))
  assert.throws(() => readPublicKey(rsa(modulus.with(255, 0xfe), 3)), failsWith('KEY_MALFORMED', /even/))
  assert.throws(() => readPublicKey(rsa(new Uint8Array(2049).fill(0xff), 3)), failsWith('KEY_UNSUPPORTED', /16392 bits/))
  for (const [curve, message] of [
    ['secp256k1', /1\.3\.132\.0\.10/],
    ['brainpoolP256r1', /1\.3\.36/],
  ] as const) {
    // prettier-ignore
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: curve, publicKeyEncoding: { format: 'der', type: 'spki' }, privateKeyEncoding: { format: 'der', type: 'pkcs8' } }) // prettier-ignore
    assert.throws(() => readPublicKey(publicKey), failsWith('KEY_UNSUPPORTED', message))
  }
  const { publicKey: explicit } = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit', publicKeyEncoding: { format: 'der', type: 'spki' }, privateKeyEncoding: { format: 'der', type: 'pkcs8' } }) // prettier-ignore
  assert.throws(() => readPublicKey(explicit), failsWith('KEY_UNSUPPORTED', /spelled out/))
  const x25519 = generateKeyPairSync('x25519').publicKey.export({ format: 'der', type: 'spki' })
  assert.throws(() => readPublicKey(x25519), failsWith('KEY_UNSUPPORTED', /1\.3\.101\.110/))
  // A point that is not on the curve, one of another length, and a key of another length.
  const { spki } = keyPair('p256')
  assert.throws(() => readPublicKey(spki.with(spki.length - 1, spki.at(-1)! ^ 1)), failsWith('KEY_MALFORMED', /OpenSSL refuses/))
  const point = (bytes: Uint8Array): Uint8Array => encodeSequence(encodeSequence(encodeOid('1.2.840.10045.2.1'), encodeOid('1.2.840.10045.3.1.7')), encodeBitString(bytes)) // prettier-ignore
  assert.throws(() => readPublicKey(point(new Uint8Array(65))), failsWith('KEY_MALFORMED', /no point/))
  assert.throws(() => readPublicKey(point(Uint8Array.of(0))), failsWith('KEY_MALFORMED', /no point/))
  assert.throws(
    () => readPublicKey(encodeSequence(encodeSequence(encodeOid('1.3.101.112')), encodeBitString(new Uint8Array(31)))),
    failsWith('KEY_MALFORMED', /32 bytes/),
  )
  assert.throws(() => readPublicKey(concatBytes(spki, Uint8Array.of(0))), failsWith('KEY_MALFORMED', /bytes too many/))
})

test('files of public keys: PEM, DER, PKCS#1, OpenSSH, RFC 3110', () => {
  for (const [type] of EVERY) {
    const { spki, publicPem } = keyPair(type)
    for (const file of [
      spki,
      Buffer.from(publicPem),
      Buffer.from(`\n${publicPem}`),
      Buffer.from(`0s${Buffer.from(spki).toString('base64')}`),
      Buffer.from(`0x${toHex(spki)}`),
    ])
      assert.equal(toHex(readPublicKeyFile(file).spki), toHex(spki))
  }
  const { spki } = keyPair('rsa-2048')
  const pkcs1 = pkcs1Of(spki)
  const numbers = DerReader.inside(pkcs1)
  const [modulus, exponent] = [numbers.integer(), numbers.integer()]
  const rfc3110 = concatBytes(Uint8Array.of(exponent.length), exponent, modulus.subarray(1))
  const files = [
    pkcs1,
    Buffer.from(pem('RSA PUBLIC KEY', pkcs1)),
    Buffer.from(`0s${Buffer.from(rfc3110).toString('base64')}`),
    ssh('ssh-rsa', exponent, modulus),
  ]
  for (const file of files) assert.equal(toHex(readPublicKeyFile(file).spki), toHex(spki))
  const ed = keyPair('ed25519').spki
  assert.equal(toHex(readPublicKeyFile(ssh('ssh-ed25519', ed.subarray(12))).spki), toHex(ed))
  const p384 = keyPair('p384').spki
  assert.equal(
    toHex(readPublicKeyFile(ssh('ecdsa-sha2-nistp384', Buffer.from('nistp384'), p384.subarray(p384.length - 97))).spki),
    toHex(p384),
  )
})

test('files without a public key are refused', () => {
  for (const text of [
    '',
    'hello',
    '0s',
    '0x123',
    '-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----',
    'ssh-rsa AAAA',
    '0sAwEA',
    '0',
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA',
  ])
    assert.throws(() => readPublicKeyFile(Buffer.from(text)), failsWith('KEY_MALFORMED', /./), text)
})

function pkcs1Of(spki: Uint8Array): Uint8Array {
  const info = DerReader.inside(spki)
  info.next()
  return info.bitString()
}

function ssh(type: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer()
  for (const part of [Buffer.from(type), ...parts]) writer.u32(part.length).bytes(part)
  return Buffer.from(`${type} ${Buffer.from(writer.finish()).toString('base64')} carol@example.org\n`)
}
