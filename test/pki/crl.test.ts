import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { toHex } from '../../src/base/bytes.ts'
import { DerReader, encodeElement, encodeInteger, encodeSequence, encodeTime, Tag } from '../../src/base/der.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { CRL_BYTES_MAX, readCrl, readCrlFile, type Crl } from '../../src/pki/crl.ts'
import { makeCa, makeCertificate, pem } from '../support/pki.ts'
import { HOUR, makeCrl, NOW } from '../support/revocation.ts'

const ca = makeCa('CN=CA')
const certificate = makeCertificate({ subject: 'CN=x', issuer: ca, serial: 0x0a })

function refusal(act: () => unknown): EspalierError {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof EspalierError, String(error))
    return error
  }
  return assert.fail('it was read')
}

/** A list around these entries, of no more than that. */
const listOf = (...entries: readonly Uint8Array[]): Uint8Array => {
  const algorithm = encodeSequence(encodeElement(Tag.OBJECT_IDENTIFIER, Uint8Array.of(42, 3, 4)))
  const tbs = encodeSequence(
    encodeInteger(1),
    algorithm,
    ca.name,
    encodeTime(NOW - HOUR),
    encodeTime(NOW + HOUR),
    encodeSequence(...entries),
  )
  return encodeSequence(tbs, algorithm, encodeElement(Tag.BIT_STRING, Uint8Array.of(0, 1)))
}
const entryOf = (serial: Uint8Array | number): Uint8Array => encodeSequence(encodeInteger(serial), encodeTime(NOW - HOUR))
const find = (crl: Crl, serial: number): ReturnType<Crl['find']> =>
  crl.find({ ...certificate.certificate, serial: encodeInteger(serial).subarray(2) })

test('a list is read from DER and from PEM', () => {
  const der = makeCrl({ issuer: ca, number: 0x1ff, revoked: [{ certificate, at: NOW - HOUR, reason: 1 }] })
  for (const crl of [readCrl(der), ...readCrlFile(der), ...readCrlFile(Buffer.from(pem('X509 CRL', der)))]) {
    assert.equal(toHex(crl.issuer), toHex(ca.name))
    assert.equal(crl.thisUpdate, NOW - HOUR)
    assert.equal(crl.nextUpdate, NOW + 24 * HOUR)
    assert.equal(toHex(crl.number!), '01ff')
    assert.equal(crl.baseNumber, null)
    assert.deepEqual(crl.find(certificate.certificate), { at: NOW - HOUR, reason: 1 })
  }
  const two = pem('X509 CRL', der) + pem('CERTIFICATE', ca.der) + pem('X509 CRL', der)
  assert.equal(readCrlFile(Buffer.from(two)).length, 2)
})

test('serial numbers are found however long, with and without leading zeros, among thousands', () => {
  const serials = fc.uniqueArray(fc.bigInt({ min: 1n, max: 2n ** 158n }), { minLength: 1, maxLength: 300 })
  const bytesOf = (number: bigint): Uint8Array => Buffer.from(number.toString(16).padStart(40, '0'), 'hex')
  fc.assert(
    fc.property(serials, ([absent, ...present]) => {
      const crl = readCrl(listOf(...present.map((number) => entryOf(bytesOf(number)))))
      assert.equal(crl.entryCount, present.length)
      const isThere = (serial: Uint8Array): boolean => crl.find({ ...certificate.certificate, serial }) !== null
      assert.ok(present.every((number) => isThere(bytesOf(number))))
      assert.ok(!isThere(bytesOf(absent!)))
    }),
    { numRuns: 50 },
  )
})

test('an entry whose date or reason cannot be read is an entry still', () => {
  const time = (text: string): Uint8Array => encodeElement(Tag.UTC_TIME, Buffer.from(text))
  const list = listOf(
    encodeSequence(encodeInteger(10), time('990230000000Z')),
    encodeSequence(
      encodeInteger(11),
      encodeTime(NOW),
      encodeSequence(encodeSequence(encodeElement(6, Uint8Array.of(0x55, 29, 21)), encodeElement(4))),
    ),
  )
  assert.deepEqual(find(readCrl(list), 10), { at: NOW - HOUR, reason: 0 })
  assert.deepEqual(find(readCrl(list), 11), { at: NOW, reason: 0 })
})

test('what is malformed is refused with its place', () => {
  const broken = (entry: Uint8Array): string => refusal(() => readCrl(listOf(entry))).message
  assert.match(broken(encodeSequence()), /^the CRL is malformed: at byte \d+: no element of tag 2 where an entry has one$/)
  assert.match(broken(encodeSequence(encodeElement(2))), /a serial number of 0 bytes$/)
  assert.match(broken(encodeSequence(encodeElement(2, new Uint8Array(65)))), /a serial number of 65 bytes$/)
  assert.match(broken(encodeSequence(encodeInteger(1))), /no element of tag 23 where/)
  assert.match(broken(Uint8Array.of(0x30, 0x80, 2, 1, 1)), /a length that an entry has none of$/)
  assert.match(broken(Uint8Array.of(0x30, 0x81, 3, 2, 1, 1)), /a length that could be shorter$/)
  assert.match(broken(Uint8Array.of(0x30, 9, 2, 1, 1)), /9 bytes announced, 3 left$/)
  assert.match(refusal(() => readCrl(new Uint8Array(CRL_BYTES_MAX + 1))).message, /more than the 10485760 bytes/)
  assert.equal(refusal(() => readCrl(ca.der)).code, 'CRL_MALFORMED')
})

test('critical extensions that nobody knows make a list unusable, be they its own or those of an entry', () => {
  for (const options of [{ unknownCritical: true }, { revoked: [{ serial: 1, unknownCritical: true }] }])
    assert.equal(refusal(() => readCrl(makeCrl({ issuer: ca, ...options }))).code, 'CRL_UNSUPPORTED')
})

test('hostile: nothing but an EspalierError comes of bytes that were changed, cut or put in', () => {
  const revoked = [
    { certificate, reason: 1 },
    { serial: 99, issuer: 'CN=other' },
    { serial: 7, reason: 8 },
  ]
  const scope = { uris: ['http://pki.example/'], onlyUser: true, someReasons: true, indirect: true }
  const whole = makeCrl({ issuer: ca, revoked, scope, base: 3, number: 4, freshestUris: ['http://pki.example/delta'] })
  const change = fc.record({
    at: fc.nat(whole.length - 1),
    with: fc.uint8Array({ maxLength: 4 }),
    instead: fc.nat(4),
    cut: fc.option(fc.nat(whole.length)),
  })
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      let bytes: Uint8Array = whole
      for (const { at, with: put, instead, cut } of changes)
        bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + instead)]).subarray(0, cut ?? undefined)
      try {
        const crl = readCrl(bytes)
        for (const serial of [0x0a, 99, 7, 1]) find(crl, serial)
        assert.ok(crl.entryCount < whole.length)
      } catch (error) {
        assert.ok(error instanceof EspalierError, String(error))
      }
    }),
    { numRuns: 20_000 },
  )
})

test('hostile: every single byte of a list changed in turn', () => {
  const whole = makeCrl({
    issuer: ca,
    revoked: [
      { certificate, reason: 1 },
      { serial: 99, issuer: 'CN=other' },
    ],
    number: 4,
  })
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 0x01, 0x30, 0x7f, 0x80, 0x84, 0xff, whole[at]! ^ 1]) {
      const bytes = Uint8Array.from(whole)
      bytes[at] = value
      try {
        find(readCrl(bytes), 0x0a)
      } catch (error) {
        assert.ok(error instanceof EspalierError, `byte ${at} as ${value}: ${String(error)}`)
      }
    }
  }
})

/** A list of `count` entries as large CAs have them: 16 bytes of serial number and a reason. */
function largeList(count: number, serialOf: (i: number) => Uint8Array): Uint8Array {
  const first = firstEntry(makeCrl({ issuer: ca, revoked: [{ serial: serialOf(0), reason: 4 }] }))
  const entries = Buffer.alloc(count * first.length)
  for (let i = 0; i < count; i++) {
    entries.set(first, i * first.length)
    // After the heads of the entry and of its serial number.
    entries.set(serialOf(i), i * first.length + 4)
  }
  return listOf(entries)
}

/** The first entry of a list as it stands. */
function firstEntry(crl: Uint8Array): Uint8Array {
  const fields = DerReader.inside(crl).enter()
  // Version, algorithm, issuer and two dates.
  for (let i = 0; i < 5; i++) fields.next()
  return fields.enter().next().whole
}

test('a hundred thousand entries make no hundred thousand objects, and are found', (t) => {
  const count = 100_000
  const serialOf = (i: number): Uint8Array => {
    const serial = Buffer.alloc(16, 0x5a)
    serial.writeUInt32BE(Math.imul(i, 2_654_435_761) >>> 0, 8)
    return serial
  }
  const der = largeList(count, serialOf)
  const before = process.memoryUsage().heapUsed
  const begun = process.cpuUsage()
  const crl = readCrl(der)
  const read = process.cpuUsage(begun).user / 1000
  const grown = process.memoryUsage().heapUsed - before
  const serials = Array.from({ length: 1000 }, (_, i) => serialOf(i * 100))
  const asking = process.cpuUsage()
  const found = serials.filter((serial) => crl.find({ ...certificate.certificate, serial })?.reason === 4)
  const asked = process.cpuUsage(asking).user / serials.length
  t.diagnostic(
    `${der.length} bytes read in ${read.toFixed(1)} ms of CPU, ${(grown / count).toFixed(1)} bytes of heap an entry, ` +
      `asked in ${asked.toFixed(2)} µs`,
  )
  assert.equal(crl.entryCount, count)
  assert.equal(found.length, 1000)
  assert.equal(crl.find({ ...certificate.certificate, serial: serialOf(count) }), null)
  // Objects would take a hundred bytes and more.
  assert.ok(grown / count < 60, `${grown} bytes of heap for ${count} entries`)
})

test('hostile: entries that all look alike, as many as there can be, are walked once', () => {
  const serial = Buffer.alloc(16, 1)
  const count = 200_000
  const crl = readCrl(largeList(count, () => serial))
  assert.equal(crl.entryCount, count)
  assert.notEqual(crl.find({ ...certificate.certificate, serial }), null)
  assert.equal(crl.find({ ...certificate.certificate, serial: Uint8Array.of(2) }), null)
})

test('hostile: an indirect list that changes the issuer with every entry has an end', () => {
  const revoked = Array.from({ length: 1025 }, (_, i) => ({ serial: i + 1, issuer: `CN=${i}` }))
  assert.match(refusal(() => readCrl(makeCrl({ issuer: ca, revoked }))).message, /entries of more than 1024 issuers$/)
  const crl = readCrl(makeCrl({ issuer: ca, revoked: revoked.slice(1) }))
  assert.equal(crl.entryCount, 1024)
})
