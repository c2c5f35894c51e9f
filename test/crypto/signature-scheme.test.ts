import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import {
  algorithmOf,
  authMethodOf,
  equalSchemes,
  hashNumberOf,
  schemeName,
  schemeOfAlgorithm,
  schemeOfAuthMethod,
  schemesFor,
  type SignatureScheme,
} from '../../src/crypto/signature-scheme.ts'

/** RFC 7427 appendix A, RFC 8420 appendix A. */
const WRITTEN: [string, SignatureScheme][] = [
  ['300d06092a864886f70d0101050500', { key: 'rsa', hash: 'sha1', pss: false }],
  ['300d06092a864886f70d01010b0500', { key: 'rsa', hash: 'sha256', pss: false }],
  ['300d06092a864886f70d01010c0500', { key: 'rsa', hash: 'sha384', pss: false }],
  ['300d06092a864886f70d01010d0500', { key: 'rsa', hash: 'sha512', pss: false }],
  ['300906072a8648ce3d0401', { key: 'ecdsa', hash: 'sha1', pss: false }],
  ['300a06082a8648ce3d040302', { key: 'ecdsa', hash: 'sha256', pss: false }],
  ['300a06082a8648ce3d040303', { key: 'ecdsa', hash: 'sha384', pss: false }],
  ['300a06082a8648ce3d040304', { key: 'ecdsa', hash: 'sha512', pss: false }],
  ['300d06092a864886f70d01010a3000', { key: 'rsa', hash: 'sha1', pss: true }],
  [
    '304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120',
    { key: 'rsa', hash: 'sha256', pss: true },
  ],
  ['300506032b6570', { key: 'ed25519', hash: 'identity', pss: false }],
  ['300506032b6571', { key: 'ed448', hash: 'identity', pss: false }],
]

test('the algorithm identifiers of RFC 7427 and RFC 8420, both ways', () => {
  for (const [hex, scheme] of WRITTEN) {
    assert.deepEqual(schemeOfAlgorithm(fromHex(hex)), scheme)
    assert.equal(toHex(algorithmOf(scheme)), hex)
  }
})

test('PSS with any salt, and with the defaults written out or the NULL left out', () => {
  for (const saltLength of [0, 20, 64, 222]) {
    const scheme: SignatureScheme = { key: 'rsa', hash: 'sha256', pss: true, saltLength }
    const read = schemeOfAlgorithm(algorithmOf(scheme))
    assert(read !== null && equalSchemes(read, scheme))
  }
  const parts = (hash: string, mask: string, rest: string): Uint8Array => {
    const body = `${hash}${mask}${rest}`
    return fromHex(`30${hex(13 + body.length / 2)}06092a864886f70d01010a30${hex(body.length / 2)}${body}`)
  }
  const hex = (length: number): string => length.toString(16).padStart(2, '0')
  const SHA256 = 'a00d300b0609608648016503040201'
  const MASK256 = 'a11a301806092a864886f70d010108300b0609608648016503040201'
  assert.deepEqual(schemeOfAlgorithm(parts(SHA256, MASK256, 'a203020120')), { key: 'rsa', hash: 'sha256', pss: true })
  assert.deepEqual(schemeOfAlgorithm(parts(SHA256, MASK256, 'a203020120a303020101')), { key: 'rsa', hash: 'sha256', pss: true })
  // MGF1 with another hash (absent: SHA-1), another trailer, another hash altogether, something behind.
  assert.equal(schemeOfAlgorithm(parts(SHA256, '', 'a203020120')), null)
  assert.equal(schemeOfAlgorithm(parts(SHA256, MASK256, 'a203020120a303020102')), null)
  assert.equal(schemeOfAlgorithm(parts(SHA256.replace('0201', '0208'), MASK256.replace(/0201$/, '0208'), '')), null)
  assert.equal(schemeOfAlgorithm(parts(SHA256, MASK256, 'a2030201200500')), null)
})

test('an algorithm we do not know is none, and so are bytes that are no algorithm', () => {
  // MD5 with RSA, DSA with SHA-256, RSA without its NULL, ECDSA with one.
  for (const hex of [
    '300d06092a864886f70d0101040500',
    '300b0609608648016503040302',
    '300b06092a864886f70d01010b',
    '300c06082a8648ce3d0403020500',
    '',
    '30',
    '3000',
    '300506032b657000',
    'ff',
  ])
    assert.equal(schemeOfAlgorithm(fromHex(hex)), null, hex)
})

test('keys sign with hashes no weaker than they are, and RSA with shorter ones at the end, as strongSwan does', () => {
  const all = new Set([1, 2, 3, 4, 5])
  const names = (type: SignatureScheme['key'], bits: number, hashes = all, rsaPss = false): string =>
    schemesFor({ type, bits }, hashes, { rsaPss }).map(schemeName).join(' ')
  assert.equal(names('rsa', 3072), 'RSA_EMSA_PKCS1_SHA2_256 RSA_EMSA_PKCS1_SHA2_384 RSA_EMSA_PKCS1_SHA2_512')
  assert.equal(names('rsa', 4096), 'RSA_EMSA_PKCS1_SHA2_384 RSA_EMSA_PKCS1_SHA2_512 RSA_EMSA_PKCS1_SHA2_256')
  assert.equal(names('rsa', 8192), 'RSA_EMSA_PKCS1_SHA2_512 RSA_EMSA_PKCS1_SHA2_384 RSA_EMSA_PKCS1_SHA2_256')
  assert.equal(names('rsa', 2048, new Set([2]), true), 'RSA_EMSA_PSS_SHA2_256_SALT_32 RSA_EMSA_PKCS1_SHA2_256')
  assert.equal(names('rsa', 2048, new Set([1, 5])), '')
  assert.equal(names('ecdsa', 256), 'ECDSA_WITH_SHA256_DER ECDSA_WITH_SHA384_DER ECDSA_WITH_SHA512_DER')
  assert.equal(names('ecdsa', 521), 'ECDSA_WITH_SHA512_DER')
  assert.equal(names('ecdsa', 384, new Set([2])), '')
  assert.equal(names('ed25519', 256), 'ED25519')
  assert.equal(names('ed448', 456, new Set([2, 3, 4])), '')
})

test('the classic AUTH methods and their keys', () => {
  assert.deepEqual(schemeOfAuthMethod(1), { key: 'rsa', hash: 'sha1', pss: false })
  assert.deepEqual(
    [9, 10, 11].map((method) => schemeName(schemeOfAuthMethod(method)!)),
    ['ECDSA-256', 'ECDSA-384', 'ECDSA-521'],
  )
  assert.deepEqual([0, 2, 3, 12, 13, 14, 300].map(schemeOfAuthMethod), [null, null, null, null, null, null, null])
  assert.deepEqual(
    [256, 384, 521, 100].map((bits) => authMethodOf({ type: 'ecdsa', bits })),
    [9, 10, 11, null],
  )
  assert.deepEqual([authMethodOf({ type: 'rsa', bits: 1024 }), authMethodOf({ type: 'ed25519', bits: 256 })], [1, null])
})

test('hashes have the numbers of RFC 7427 and RFC 8420', () => {
  assert.deepEqual((['sha1', 'sha256', 'sha384', 'sha512', 'identity', 'sha224'] as const).map(hashNumberOf), [1, 2, 3, 4, 5, 0])
})
