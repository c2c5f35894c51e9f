/**
 * What a stranger may send as a certificate: whatever it is, it is read, or refused with an EspalierError, in time; and no
 * path holds whose certificates are not byte for byte what their issuers signed. HOSTILE_CASES raises the number of tries,
 * HOSTILE_SEED draws others.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { equalBytes, toHex } from '../../src/base/bytes.ts'
import { encodeElement, encodeOid, encodeSequence } from '../../src/base/der.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { readPrivateKey } from '../../src/crypto/private-key.ts'
import { readPublicKey, readPublicKeyFile } from '../../src/crypto/public-key.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { schemeOfAlgorithm } from '../../src/crypto/signature-scheme.ts'
import {
  describeCertificate,
  issuerOf,
  readCertificate,
  readCertificateFile,
  type Certificate,
} from '../../src/pki/certificate.ts'
import { findPath } from '../../src/pki/path.ts'
import { mutated, mutations, readQuickly } from '../message/ikev2/hostile.ts'
import { keyPair, makeCa, makeCertificate, pem, type TestCertificate, type TestKeyType } from '../support/pki.ts'
import { changed, changes } from './hostile.ts'

const numRuns = Math.max(Number(process.env['HOSTILE_CASES'] ?? 0), 20_000)
/** Fixed, so that it is known how many are still certificates: a tenth; of others it is about that. */
const SEED = 20_260_601
const seed = Number(process.env['HOSTILE_SEED'] ?? SEED)
const leastRead = numRuns / (seed === SEED ? 10 : 20)
const CASES_LEAST = 60_000
let cases = 0

const root = makeCa('C=CH, O=strongSwan, CN=Root', {
  nameConstraints: { permitted: ['dn:C=CH', 'dns:example.org'], excluded: ['ip:10.0.0.0/8'] },
})
const sub = makeCa('C=CH, O=strongSwan, CN=Sub', {
  issuer: root,
  pathLength: 1,
  policies: ['1.2.3'],
  policyMappings: [['1.2.3', '1.2.4']],
})
const leaves: readonly TestCertificate[] = (['p256', 'p521', 'ed25519', 'ed448', 'rsa-1024'] satisfies TestKeyType[]).map((key) =>
  makeCertificate({
    subject: 'C=CH, O=strongSwan, CN=moon, E=moon@example.org',
    issuer: sub,
    key,
    keyUsage: 3,
    extendedKeyUsage: ['1.3.6.1.5.5.7.3.17'],
    san: [
      'dns:moon.example.org',
      'email:moon@example.org',
      'ip:192.0.2.1',
      'uri:https://moon.example.org/',
      'dn:C=CH',
      'rid:1.2',
      'upn:moon',
    ],
    crlUris: ['http://crl.example.org/a.crl'],
    crlIssuer: 'CN=CRL',
    freshestCrlUris: ['http://crl.example.org/d.crl'],
    ocspUris: ['http://ocsp.example.org/'],
    policies: ['1.2.4'],
    requireExplicitPolicy: 0,
    inhibitAnyPolicy: 2,
  }),
)
const NOW = Date.UTC(2026, 5, 1)

/** Reads, and asserts what holds for any bytes; null when they were refused. */
function readOrRefused<T>(read: () => T, input: Uint8Array): T | null {
  cases++
  try {
    return readQuickly(read, input)
  } catch (error) {
    assert(error instanceof EspalierError, `${String(error instanceof Error ? error.stack : error)}\nafter ${toHex(input)}`)
    assert(/^[A-Z0-9_]+$/.test(error.code) && error.message.length > 5 && error.message.length < 1000, error.message)
    return null
  }
}

/** A certificate that was read can be described, has its bytes from the input, and is trusted only if it was signed as it is. */
function look(certificate: Certificate, chain: readonly Certificate[], signed: readonly Uint8Array[]): void {
  assert(describeCertificate(certificate).length < 2000 && issuerOf(certificate).length < 600)
  for (const part of [certificate.tbs, certificate.signature, certificate.serial, certificate.subject, certificate.issuer])
    assert.equal(part.buffer, certificate.der.buffer)
  const [leaf, ...intermediates] = chain as [Certificate, ...Certificate[]]
  const path = findPath({ leaf, intermediates, anchors: [root.certificate], now: NOW })
  if (path.ok)
    for (const { tbs } of path.path.slice(0, -1))
      assert(
        signed.some((bytes) => equalBytes(bytes, tbs)),
        'a path holds that nobody signed',
      )
  else assert(path.reason.sentence.startsWith('certificate ') && path.reason.sentence.length < 3000)
}

const signed = [...leaves, sub].map(({ certificate }) => certificate.tbs)
const whole = [...leaves, sub, root]

test('certificates with their elements moved about, tried as leaf and as CA', () => {
  let read = 0
  fc.assert(
    fc.property(fc.constantFrom(...whole), changes, ({ der }, change) => {
      const bytes = changed(der, change)
      const certificate = readOrRefused(() => readCertificate(bytes), bytes)
      if (certificate === null) return
      read++
      look(certificate, [certificate, sub.certificate], signed)
      look(certificate, [leaves[0]!.certificate, certificate], signed)
    }),
    { numRuns, seed },
  )
  assert(read > leastRead, `only ${read} of ${numRuns} were certificates: the others do not reach far`)
})

test('certificates with bytes changed, cut and repeated', () => {
  let read = 0
  fc.assert(
    fc.property(fc.constantFrom(...whole), mutations, ({ der }, change) => {
      const bytes = mutated(der, change)
      const certificate = readOrRefused(() => readCertificate(bytes), bytes)
      if (certificate === null) return
      read++
      look(certificate, [certificate, sub.certificate], signed)
    }),
    { numRuns, seed },
  )
  assert(read > numRuns / 100, `only ${read} of ${numRuns} were certificates`)
})

test('files of certificates and public keys, and algorithms: any bytes, any text', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 60 }),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => pem('CERTIFICATE', bytes)),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => `0s${Buffer.from(bytes).toString('base64')}`),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => `ssh-ed25519 ${Buffer.from(bytes).toString('base64')}`),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => `ecdsa-sha2-nistp256 ${Buffer.from(bytes).toString('base64')}`),
  )
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    text.map((written) => new Uint8Array(Buffer.from(written))),
    fc.tuple(fc.constantFrom(...whole), changes).map(([{ key }, change]) => changed(key.spki, change)),
  )
  fc.assert(
    fc.property(anything, (bytes) => {
      readOrRefused(() => readCertificateFile(bytes), bytes)
      readOrRefused(() => readPublicKeyFile(bytes), bytes)
      readOrRefused(() => readPublicKey(bytes), bytes)
      schemeOfAlgorithm(bytes)
    }),
    { numRuns: Math.ceil(numRuns / 3), seed },
  )
})

test('private keys with their elements moved about', () => {
  const keys = (['p256', 'ed25519', 'rsa-1024'] satisfies TestKeyType[]).map((type) => keyPair(type).pkcs8)
  fc.assert(
    fc.property(
      fc.constantFrom(...keys),
      fc.oneof(
        changes.map((change) => (der: Uint8Array) => changed(der, change)),
        mutations.map((change) => (der: Uint8Array) => mutated(der, change)),
      ),
      (der, change) => {
        const bytes = change(der)
        readOrRefused(() => readPrivateKey(bytes, null), bytes)
        readOrRefused(() => readPrivateKey(bytes, new Secret(Buffer.from('geheim'))), bytes)
      },
    ),
    { numRuns: Math.ceil(numRuns / 12), seed },
  )
})

test('the largest certificates are read or refused in time, too', () => {
  const many = (element: Uint8Array): Uint8Array =>
    encodeSequence(...Array.from({ length: Math.floor(60_000 / element.length) }, () => element))
  const attribute = encodeElement(0x31, encodeSequence(encodeOid('2.5.4.3'), encodeElement(0x13, Uint8Array.of(0x61))))
  const { der } = leaves[0]!
  const inputs = [
    many(encodeElement(0x05)),
    many(many(encodeElement(0x05)).subarray(0, 4)),
    new Uint8Array(65_536).fill(0x30),
    // 30 80 30 80 …: a nest of indefinite lengths.
    Uint8Array.from({ length: 65_536 }, (_, i) => (i % 2 === 0 ? 0x30 : 0x80)),
    makeCertificate({ subject: many(attribute), issuer: sub }).der,
    makeCertificate({ subject: 'CN=x', issuer: sub, san: Array.from({ length: 1024 }, (_, i) => `dns:${i}.example.org`) }).der,
    makeCertificate({ subject: 'CN=x', issuer: sub, policies: Array.from({ length: 1024 }, (_, i) => `1.2.${i}`) }).der,
    new Uint8Array([...der, ...new Uint8Array(60_000)]),
  ]
  const read = inputs.map((input) => readOrRefused(() => readCertificate(input), input))
  assert.deepEqual(
    read.map((certificate) => certificate !== null),
    [false, false, false, false, false, true, true, false],
  )
  for (const certificate of read)
    if (certificate !== null) look(certificate, [certificate, sub.certificate], [certificate.tbs, sub.certificate.tbs])
})

test('enough cases were tried', (t) => {
  t.diagnostic(`${cases} cases`)
  assert(cases >= CASES_LEAST, `${cases} cases`)
})
