/** Whom certificates are about, among many. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { certificatesOf, confirms } from '../../src/auth/certificate-identities.ts'
import { parseIdentity } from '../../src/auth/identity.ts'
import { toHex } from '../../src/base/bytes.ts'
import { encodeElement, encodeOid, encodeSequence } from '../../src/base/der.ts'
import { subjectOf, type Certificate } from '../../src/pki/certificate.ts'
import { makeCa, makeCertificate } from '../support/pki.ts'

const CA = makeCa('CN=CA')
/** CN=moon as a UTF8String, which `CN=moon` in a configuration is not. */
const OTHER_STRING = encodeSequence(
  encodeElement(0x31, encodeSequence(encodeOid('2.5.4.3'), encodeElement(0x0c, new TextEncoder().encode('moon')))),
)
const list: readonly Certificate[] = [
  makeCertificate({
    subject: 'C=CH, CN=sun',
    issuer: CA,
    serial: 1,
    san: ['dns:moon.example.org', 'ip:192.0.2.1', 'ip:2001:db8::1'],
  }),
  makeCertificate({ subject: 'CN=moon', issuer: CA, serial: 2, san: ['dns:MOON.example.org', 'dns:moon.example.org'] }),
  makeCertificate({ subject: 'C=CH, CN=Sun', issuer: CA, serial: 3, san: ['email:moon.example.org', 'dn:CN=moon'] }),
  makeCertificate({
    subject: OTHER_STRING,
    issuer: CA,
    serial: 4,
    san: ['email:Moon@example.org', 'uri:http://moon.example.org'],
  }),
].map(({ certificate }) => certificate)

/** Subjects and serial numbers. */
function found(text: string): readonly string[] {
  const identity = parseIdentity(text)
  const those = certificatesOf(identity, list)
  assert.deepEqual(
    those,
    list.filter((certificate) => confirms(certificate, identity)),
  )
  return those.map((certificate) => `${subjectOf(certificate)} ${toHex(certificate.serial)}`)
}

test('by name, address and subject, each certificate once and in their order', () => {
  assert.deepEqual(found('Moon.Example.org'), ['C=CH, CN=sun 01', 'CN=moon 02'])
  assert.deepEqual(found('moon@EXAMPLE.org'), ['CN=moon 04'])
  assert.deepEqual(found('email:moon.example.org'), ['C=CH, CN=Sun 03'])
  assert.deepEqual(found('192.0.2.1'), ['C=CH, CN=sun 01'])
  assert.deepEqual(found('2001:db8::1'), ['C=CH, CN=sun 01'])
  assert.deepEqual(found('C=ch, CN=SUN'), ['C=CH, CN=sun 01', 'C=CH, CN=Sun 03'])
  assert.deepEqual(found('CN=moon'), ['CN=moon 02', 'C=CH, CN=Sun 03', 'CN=moon 04'])
  for (const nobody of ['moon', 'moon.example.org.', '192.0.2.2', 'CN=sun', 'CN=sun, C=CH', 'CN=mars', '*.example.org', '%any'])
    assert.deepEqual(found(nobody), [])
})

test('by key identifier: of the certificate, of its key, by its number', () => {
  const [, moon] = list as [Certificate, Certificate]
  for (const id of [moon.fingerprint, toHex(moon.publicKey.fingerprint), toHex(moon.publicKey.spkiFingerprint), '02'])
    assert.deepEqual(found(`@#${id}`), ['CN=moon 02'], id)
  assert.deepEqual(found('@#0202'), [])
})

test('another list is another one, though it begins with the same', () => {
  const identity = parseIdentity('192.0.2.1')
  assert.equal(certificatesOf(identity, list).length, 1)
  assert.equal(certificatesOf(identity, list.slice(1)).length, 0)
})
