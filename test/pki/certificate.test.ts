import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { rootCertificates } from 'node:tls'

import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts'
import {
  encodeBoolean,
  encodeContext,
  encodeElement,
  encodeInteger,
  encodeOctetString,
  encodeOid,
  encodeSequence,
} from '../../src/base/der.ts'
import { EspalierError } from '../../src/base/errors.ts'
import {
  describeCertificate,
  issuerOf,
  KeyUsage,
  readCertificate,
  readCertificateFile,
  serialOf,
  subjectOf,
  type Certificate,
} from '../../src/pki/certificate.ts'
import { keyIdOf, keyPair, makeCa, makeCertificate, makeExtension, type CertificateOptions } from '../support/pki.ts'

const ca = makeCa('C=CH, O=strongSwan, CN=strongSwan Root CA')
const read = (options: Partial<CertificateOptions>): Certificate =>
  readCertificate(makeCertificate({ subject: 'C=CH, O=strongSwan, CN=moon', issuer: ca, ...options }).der)

const failsWith =
  (message: RegExp, code = 'CERTIFICATE_MALFORMED') =>
  (error: unknown): boolean =>
    error instanceof EspalierError && error.code === code && message.test(error.message)

test('a certificate is read into what it says', () => {
  const certificate = read({
    serial: fromHex('00ab12'),
    notBefore: Date.UTC(2026, 0, 1),
    notAfter: Date.UTC(2051, 0, 1),
    keyUsage: KeyUsage.DIGITAL_SIGNATURE | KeyUsage.DECIPHER_ONLY,
    extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.17'],
    san: [
      'dns:moon.strongswan.org',
      'email:carol@strongswan.org',
      'ip:192.0.2.1',
      'ip:2001:db8::1',
      'uri:https://x/',
      'dn:CN=other',
      'rid:1.2.3',
      'upn:carol',
    ],
    crlUris: ['http://crl.strongswan.org/a.crl', 'ldap://ldap.strongswan.org/b'],
    crlIssuer: 'CN=CRL signer',
    freshestCrlUris: ['http://crl.strongswan.org/delta.crl'],
    ocspUris: ['http://ocsp.strongswan.org:8880'],
    ocspNoCheck: true,
    policies: ['1.2.3', '2.5.29.32.0'],
    policyMappings: [['1.2.3', '1.2.4']],
    requireExplicitPolicy: 2,
    inhibitPolicyMapping: 0,
    inhibitAnyPolicy: 7,
    unknownCritical: true,
  })
  assert.equal(certificate.version, 3)
  assert.equal(toHex(certificate.serial), '00ab12')
  assert.equal(describeCertificate(certificate), "certificate 'C=CH, O=strongSwan, CN=moon' (serial ab:12)")
  assert.equal(issuerOf(certificate), 'C=CH, O=strongSwan, CN=strongSwan Root CA')
  assert.deepEqual([certificate.notBefore, certificate.notAfter], [Date.UTC(2026, 0, 1), Date.UTC(2051, 0, 1)])
  assert.deepEqual([certificate.isCa, certificate.pathLength], [false, null])
  assert.equal(certificate.keyUsage, KeyUsage.DIGITAL_SIGNATURE | KeyUsage.DECIPHER_ONLY)
  assert.deepEqual(certificate.extendedKeyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.17'])
  assert.equal(toHex(certificate.authorityKeyId!), toHex(keyIdOf(ca.key)))
  assert.equal(toHex(certificate.subjectKeyId!), toHex(certificate.publicKey.fingerprint))
  const names = certificate.subjectAltNames.map(({ kind, value }) => `${kind} ${['dns', 'email', 'uri'].includes(kind) ? Buffer.from(value).toString() : toHex(value)}`) // prettier-ignore
  assert.deepEqual(names, ['dns moon.strongswan.org', 'email carol@strongswan.org', 'ip c0000201', 'ip 20010db8000000000000000000000001', 'uri https://x/', 'directory 3010310e300c060355040313056f74686572', 'other 88022a03', 'other a015060a2b060104018237140203a0070c056361726f6c']) // prettier-ignore
  assert.deepEqual(certificate.crlUris, ['http://crl.strongswan.org/a.crl', 'ldap://ldap.strongswan.org/b'])
  assert.deepEqual(
    certificate.crlDistributionPoints.map(({ issuer }) => issuer !== null),
    [true, true],
  )
  assert.deepEqual(certificate.freshestCrlUris, ['http://crl.strongswan.org/delta.crl'])
  assert.deepEqual(certificate.ocspUris, ['http://ocsp.strongswan.org:8880'])
  assert.equal(certificate.ocspNoCheck, true)
  assert.deepEqual(certificate.policies, ['1.2.3', '2.5.29.32.0'])
  assert.deepEqual(certificate.policyMappings, [{ issuerPolicy: '1.2.3', subjectPolicy: '1.2.4' }])
  assert.deepEqual([certificate.requireExplicitPolicy, certificate.inhibitPolicyMapping, certificate.inhibitAnyPolicy], [2, 0, 7])
  assert.deepEqual(certificate.unknownCritical, ['1.3.6.1.4.1.99999.1'])
  assert.deepEqual(certificate.signatureScheme, { key: 'ecdsa', hash: 'sha256', pss: false })
})

test('a place to ask that nobody can be asked at is still one', () => {
  const certificate = read({ crlUris: ['http://a/\n'], ocspUris: ['http://b/\xff'] })
  assert.deepEqual([certificate.crlUris, certificate.ocspUris], [['http://a/\\x0a'], ['http://b/\\xff']])
})

test('a CA says how many may follow and what they may be called', () => {
  const certificate = read({
    ca: true,
    pathLength: 3,
    nameConstraints: { permitted: ['dns:example.org', 'ip:10.0.0.0/8'], excluded: ['email:.example.org', 'dn:C=DE'] },
  })
  assert.deepEqual(
    [certificate.isCa, certificate.pathLength, certificate.keyUsage],
    [true, 3, KeyUsage.KEY_CERT_SIGN | KeyUsage.CRL_SIGN],
  )
  assert.deepEqual(
    certificate.nameConstraints!.permitted.map(({ kind }) => kind),
    ['dns', 'ip'],
  )
  assert.equal(toHex(certificate.nameConstraints!.permitted[1]!.value), '0a000000ff000000')
  assert.deepEqual(
    certificate.nameConstraints!.excluded.map(({ kind }) => kind),
    ['email', 'directory'],
  )
  assert.equal(read({ ca: false, pathLength: 3 }).pathLength, null)
})

test('a certificate of version 1 says nothing of all that', () => {
  const certificate = read({ version: 1 })
  assert.deepEqual(
    [certificate.version, certificate.isCa, certificate.keyUsage, certificate.subjectKeyId],
    [1, false, null, null],
  )
})

test('files hold one in DER or several in PEM', () => {
  const moon = makeCertificate({ subject: 'CN=moon', issuer: ca })
  assert.deepEqual(readCertificateFile(moon.der).map(subjectOf), ['CN=moon'])
  const text = `# moon and its CA\n${moon.pem}${moon.key.pem}\n${ca.pem.replaceAll('\n', '\r\n')}`
  assert.deepEqual(readCertificateFile(Buffer.from(text)).map(subjectOf), [
    'CN=moon',
    'C=CH, O=strongSwan, CN=strongSwan Root CA',
  ])
  assert.throws(() => readCertificateFile(Buffer.from(moon.key.pem)), failsWith(/no certificate/))
  assert.throws(() => readCertificateFile(new Uint8Array()), failsWith(/no certificate/))
})

test('the CA certificates of the web are read as OpenSSL reads them', () => {
  assert(rootCertificates.length > 100)
  for (const pem of rootCertificates) {
    const [certificate] = readCertificateFile(Buffer.from(pem)) as [Certificate]
    const theirs = new X509Certificate(pem)
    assert.equal(BigInt(`0x${serialOf(certificate).replaceAll(':', '')}`), BigInt(`0x${theirs.serialNumber}`))
    assert.equal(certificate.fingerprint, theirs.fingerprint.replaceAll(':', '').toLowerCase())
    assert.deepEqual([certificate.notBefore, certificate.notAfter], [Date.parse(theirs.validFrom), Date.parse(theirs.validTo)])
    assert.equal(certificate.isCa, theirs.ca)
    assert.equal(toHex(certificate.publicKey.spki), toHex(theirs.publicKey.export({ format: 'der', type: 'spki' })))
  }
})

test('names in sentences are made safe for a terminal', () => {
  const subject = encodeSequence(
    encodeElement(0x31, encodeSequence(encodeOid('2.5.4.3'), encodeElement(0x0c, Buffer.from('a\n\u001b[2J')))),
  )
  assert.equal(describeCertificate(read({ subject, serial: 10 })), "certificate 'CN=a\\x0a\\x1b[2J' (serial 0a)")
})

test('what is no certificate is refused, with the place or the reason', () => {
  const { der } = makeCertificate({ subject: 'CN=moon', issuer: ca })
  assert.throws(() => readCertificate(der.subarray(0, der.length - 1)), failsWith(/malformed at byte 0: \d+ bytes announced/))
  assert.throws(() => readCertificate(concatBytes(der, Uint8Array.of(0))), failsWith(/malformed at byte \d+: 1 bytes too many/))
  assert.throws(() => readCertificate(new Uint8Array()), failsWith(/malformed at byte 0/))
  assert.throws(() => readCertificate(new Uint8Array(65_537)), failsWith(/65537 bytes, more than 65536/))
  // The algorithm inside differs from the one outside.
  const other = makeCertificate({ subject: 'CN=moon', issuer: ca, scheme: { key: 'ecdsa', hash: 'sha384', pss: false } }).der
  const [inside, outside] = [
    Buffer.from(der).indexOf(fromHex('2a8648ce3d040302')),
    Buffer.from(der).lastIndexOf(fromHex('2a8648ce3d040302')),
  ]
  assert(inside < outside)
  assert.throws(
    () => readCertificate(Buffer.from(der).fill(fromHex('2a8648ce3d040303'), outside, outside + 8)),
    failsWith(/one signature algorithm inside/),
  )
  assert.doesNotThrow(() => readCertificate(other))
  assert.throws(
    () => read({ key: keyPair('ed25519'), extensions: [], serial: new Uint8Array(65).fill(1) }),
    failsWith(/serial number of 65 bytes/),
  )
})

test('extensions that break their rules are refused', () => {
  const refused: [string, Uint8Array[], RegExp][] = [
    ['twice', [makeExtension('2.5.29.54', true, encodeInteger(1)), makeExtension('2.5.29.54', true, encodeInteger(1))], /2\.5\.29\.54 is there twice/],
    ['an address of five bytes', [makeExtension('2.5.29.17', false, encodeSequence(encodeElement(0x87, new Uint8Array(5))))], /iPAddress of 5 bytes \(not 4 or 16\)/],
    ['no GeneralName', [makeExtension('2.5.29.17', false, encodeSequence(encodeElement(0x89, new Uint8Array(5))))], /tag 0x89 is no GeneralName/],
    ['a subtree with a minimum', [makeExtension('2.5.29.30', true, encodeSequence(encodeContext(0, encodeSequence(encodeElement(0x82), encodeElement(0x80, Uint8Array.of(1))))))], /minimum or maximum/],
    ['a mask of four bytes', [makeExtension('2.5.29.30', true, encodeSequence(encodeContext(0, encodeSequence(encodeElement(0x87, new Uint8Array(4))))))], /not 8 or 32/],
    ['a negative path length', [makeExtension('2.5.29.19', true, encodeSequence(encodeBoolean(true), Uint8Array.of(2, 1, 0xff)))], /0 to 2147483647/],
    ['something behind', [makeExtension('2.5.29.14', false, concatBytes(encodeOctetString(new Uint8Array(20)), Uint8Array.of(5, 0)))], /bytes too many/],
    ['too many', Array.from({ length: 65 }, (_, i) => makeExtension(`1.2.3.${i}`, false, new Uint8Array())), /more than 64 extensions/],
    ['too many names', [makeExtension('2.5.29.17', false, encodeSequence(...Array.from({ length: 1025 }, () => encodeElement(0x82, Uint8Array.of(0x61)))))], /more than 1024/],
  ] // prettier-ignore
  for (const [what, extensions, message] of refused)
    assert.throws(() => read({ extensions, keyIds: false }), failsWith(message), what)
  // What is not critical and not known is nobody's business.
  assert.deepEqual(read({ extensions: [makeExtension('1.2.3.4', false, fromHex('ffff'))] }).unknownCritical, [])
})

test('a key we do not take is named; a weak one is for path validation to refuse', () => {
  assert.equal(read({ key: 'rsa-512' }).publicKey.bits, 512)
  assert.throws(() => read({ key: 'p256', version: 1, subject: new Uint8Array(0) }), failsWith(/malformed/))
})
