/** Attribute certificates (RFC 5755) as they are read: ours, strongSwan's `pki --acert`, and what a stranger may send. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import fc from 'fast-check'

import { toHex } from '../../src/base/bytes.ts'
import {
  Tag,
  encodeContext,
  encodeElement,
  encodeNull,
  encodeOctetString,
  encodeOid,
  encodeSequence,
} from '../../src/base/der.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { verify } from '../../src/crypto/public-key.ts'
import {
  describeAttributeCertificate,
  readAttributeCertificate,
  readAttributeCertificateFile,
} from '../../src/pki/attribute-certificate.ts'
import { mutated, mutations, readQuickly } from '../message/ikev2/hostile.ts'
import {
  baseCertificateId,
  entityName,
  groupAttribute,
  ietfAttribute,
  makeAttributeCertificate,
  type AttributeCertificateOptions,
} from '../support/attribute-certificates.ts'
import { encodeGeneralName, makeCa, makeCertificate, makeExtension, pem } from '../support/pki.ts'
import { changed, changes } from './hostile.ts'

const ROOT = makeCa('C=CH, O=espalier, CN=Root')
const AUTHORITY = makeCertificate({ subject: 'C=CH, O=espalier, CN=AA', issuer: ROOT })
const ALICE = makeCertificate({ subject: 'C=CH, O=espalier, CN=alice', issuer: ROOT })

const make = (options: Partial<AttributeCertificateOptions> = {}): Uint8Array =>
  makeAttributeCertificate({ holder: ALICE, issuer: AUTHORITY, groups: ['staff', 'sales'], ...options })
const groupsOf = (der: Uint8Array): readonly string[] =>
  readAttributeCertificate(der).groups.map(({ kind, value }) => `${kind} ${Buffer.from(value).toString('latin1')}`)

function refused(der: Uint8Array, why: RegExp, code = 'CERTIFICATE_MALFORMED'): void {
  assert.throws(
    () => readAttributeCertificate(der),
    (error) => error instanceof EspalierError && error.code === code && why.test(error.message),
    String(why),
  )
}

test('holder, issuer, time, groups and signature are read', () => {
  const read = readAttributeCertificate(make({ serial: 0x1234 }))
  assert.deepEqual(
    [read.issuer, read.holder!.issuer, read.holder!.serial, read.holderName!, read.authorityKeyId!].map((bytes) => toHex(bytes)),
    [AUTHORITY.name, ROOT.name, ALICE.certificate.serial, ALICE.name, AUTHORITY.certificate.publicKey.fingerprint].map((bytes) =>
      toHex(bytes),
    ),
  )
  assert.deepEqual(
    [new Date(read.notBefore), new Date(read.notAfter)].map((time) => time.toISOString().slice(0, 10)),
    ['2020-01-01', '2049-12-31'],
  )
  assert.equal(read.noRevAvail, true)
  assert.equal(describeAttributeCertificate(read), "attribute certificate by 'C=CH, O=espalier, CN=AA' (serial 12:34)")
  assert.ok(verify(AUTHORITY.certificate.publicKey, read.signatureScheme!, read.tbs, read.signature))
  assert.ok(!verify(ROOT.certificate.publicKey, read.signatureScheme!, read.tbs, read.signature))
})

test('groups are octets, OIDs and strings, of every attribute of groups; other attributes say nothing', () => {
  const octets = encodeOctetString(Uint8Array.of(0x61))
  const oid = encodeOid('1.2.3')
  assert.deepEqual(groupsOf(make({ groups: ['a b', octets, oid] })), ['string a b', 'octets a', 'oid *\x03'])
  const attributes = [
    groupAttribute(ietfAttribute('dns:policy.example', octets)),
    encodeSequence(encodeOid('2.5.4.72'), encodeElement(Tag.SET, encodeSequence(encodeContext(1, encodeNull())))),
  ]
  assert.deepEqual(groupsOf(make({ groups: [], attributes })), ['octets a'])
  refused(make({ groups: [encodeNull()] }), /a group is octets, an OID or a string$/)
  refused(make({ attributes: [groupAttribute(encodeNull())] }), /no IetfAttrSyntax$/)
  refused(make({ groups: Array.from({ length: 1025 }, () => 'x') }), /a list of more than 1024$/)
})

test('a holder may be named alone; by a digest it is nobody we know', () => {
  const named = readAttributeCertificate(make({ holderFields: [entityName(ALICE)] }))
  assert.deepEqual([named.holder, toHex(named.holderName!)], [null, toHex(ALICE.name)])
  const numbered = readAttributeCertificate(make({ holderFields: [baseCertificateId(ALICE)] }))
  assert.deepEqual([toHex(numbered.holder!.serial), numbered.holderName], [toHex(ALICE.certificate.serial), null])
  const email = readAttributeCertificate(make({ holderFields: [encodeContext(1, encodeGeneralName('email:a@b'))] }))
  assert.deepEqual([email.holder, email.holderName], [null, null])
  refused(make({ holderFields: [encodeContext(2, encodeNull())] }), /names its holder by a digest$/, 'CERTIFICATE_UNSUPPORTED')
})

test('what must not be passed over is refused', () => {
  refused(make({ version: 1 }), /^v1 attribute certificates are not supported$/)
  const unknown = makeExtension('1.2.3.4', true, encodeNull())
  refused(make({ extensions: [unknown] }), /critical extension 1\.2\.3\.4, which is unknown$/, 'CERTIFICATE_UNSUPPORTED')
  assert.deepEqual(groupsOf(make({ extensions: [makeExtension('1.2.3.4', false, encodeNull())] })), [
    'string staff',
    'string sales',
  ])
  refused(make({ extensions: [makeExtension('2.5.29.56', false, encodeNull())] }), /the extension 2\.5\.29\.56 is there twice$/)
  refused(new Uint8Array(65_537).fill(0x30), /more than 65536$/)
  refused(ALICE.der, /^the attribute certificate is malformed at byte /)
})

test('a file has DER of one or PEM of several', () => {
  const [one, other] = [make(), make({ serial: 8 })]
  assert.equal(readAttributeCertificateFile(one).length, 1)
  const text = pem('ATTRIBUTE CERTIFICATE', one) + pem('ATTRIBUTE CERTIFICATE', other)
  assert.deepEqual(
    readAttributeCertificateFile(Buffer.from(text)).map(({ serial }) => toHex(serial)),
    ['07', '08'],
  )
  assert.throws(() => readAttributeCertificateFile(Buffer.from(ALICE.pem)), /^\S*Error: the file holds no attribute certificate/)
})

const hasPki = spawnSync('pki', ['--gen', '--type', 'ed25519']).status === 0

test('strongSwan’s pki makes what we read, and its signature holds', { skip: hasPki ? false : 'no pki' }, (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-acert-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = (name: string, text: string): string => {
    const path = join(directory, name)
    writeFileSync(path, text)
    return path
  }
  for (const key of ['p256', 'rsa-2048', 'ed25519'] as const) {
    const authority = makeCertificate({ subject: `C=CH, CN=AA ${key}`, issuer: ROOT, key })
    const words = [
      ...['--acert', '--in', file('alice.pem', ALICE.pem), '--issuercert', file('aa.pem', authority.pem)],
      ...['--issuerkey', file('aa-key.pem', authority.key.pem), '--group', 'staff', '--group', 'C=CH, CN=sales'],
      ...['--serial', '0a0b', '--lifetime', '48'],
    ]
    for (const form of ['der', 'pem']) {
      const bytes = execFileSync('pki', [...words, '--outform', form], { stdio: ['ignore', 'pipe', 'ignore'] })
      const [read] = readAttributeCertificateFile(bytes)
      assert.deepEqual(
        read!.groups.map(({ kind, value }) => `${kind} ${Buffer.from(value).toString()}`),
        ['string staff', 'string C=CH, CN=sales'],
      )
      assert.equal(toHex(read!.holder!.serial), toHex(ALICE.certificate.serial))
      assert.equal(toHex(read!.holder!.issuer), toHex(ROOT.name))
      assert.equal(toHex(read!.holderName!), toHex(ALICE.name))
      assert.equal(toHex(read!.issuer), toHex(authority.name))
      assert.equal(toHex(read!.authorityKeyId!), toHex(authority.certificate.publicKey.fingerprint))
      assert.equal(read!.notAfter - read!.notBefore, 48 * 3600 * 1000)
      assert.ok(verify(authority.certificate.publicKey, read!.signatureScheme!, read!.tbs, read!.signature))
    }
  }
})

test('whatever a stranger sends is read, or refused with an EspalierError, in time', () => {
  const corpus = [
    make(),
    make({ holderFields: [entityName(ALICE)], groups: [encodeOctetString(Uint8Array.of(1)), encodeOid('1.2.3')] }),
    make({ attributes: [groupAttribute(ietfAttribute('dns:policy.example', encodeOid('1.2')))], authorityKeyId: null }),
  ]
  let count = 0
  let taken = 0
  const judge = (der: Uint8Array): void => {
    count++
    readQuickly(() => {
      try {
        describeAttributeCertificate(readAttributeCertificate(der))
        taken++
      } catch (error) {
        if (!(error instanceof EspalierError)) throw error
      }
    }, der)
  }
  for (const der of corpus) {
    fc.assert(
      fc.property(mutations, (mutation) => judge(mutated(der, mutation))),
      { numRuns: 2_000 },
    )
    fc.assert(
      fc.property(changes, (all) => judge(changed(der, all))),
      { numRuns: 2_000 },
    )
  }
  assert.ok(count >= 12_000 && taken > 0 && taken < count, `${taken} of ${count} were taken`)
})
