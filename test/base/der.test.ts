import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import {
  DerReader,
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
import { EspalierError } from '../../src/base/errors.ts'

const reader = (hex: string): DerReader => new DerReader(fromHex(hex))
const malformed =
  (message: RegExp) =>
  (error: unknown): boolean =>
    error instanceof EspalierError &&
    error.code === 'DER_MALFORMED' &&
    error.accused === 'malformed' &&
    message.test(error.message)

test('a structure is read as it was written, and its end is seen', () => {
  const bytes = encodeSequence(
    encodeInteger(5),
    encodeInteger(fromHex('00ff00')),
    encodeBoolean(true),
    encodeOctetString(fromHex('abcd')),
    encodeBitString(fromHex('1234')),
    encodeNull(),
    encodeOid('1.2.840.113549.1.1.11'),
    encodeContext(3, encodeSequence()),
    encodeElement(Tag.OCTET_STRING, new Uint8Array(300)),
  )
  const inside = DerReader.inside(bytes)
  assert.equal(inside.smallInteger(), 5)
  assert.equal(toHex(inside.integer()), '00ff00')
  assert.equal(inside.boolean(), true)
  assert.equal(toHex(inside.octetString()), 'abcd')
  assert.equal(toHex(inside.bitString()), '1234')
  assert.throws(() => inside.end(), malformed(/bytes too many/))
  inside.read(Tag.NULL)
  assert.equal(inside.oid(), '1.2.840.113549.1.1.11')
  assert.equal(inside.optional(Tag.NULL), null)
  const explicit = inside.enter(contextTag(3, true))
  explicit.enter().end()
  explicit.end()
  const last = inside.next()
  assert.equal(last.contents.length, 300)
  assert.equal(toHex(last.whole.subarray(0, 4)), '0482012c')
  assert.equal(inside.peek(), null)
  inside.end()
  assert.throws(() => inside.next(), malformed(/missing or cut short/))
})

test('what is no DER is refused, with the place', () => {
  const refused: [string, (reader: DerReader) => unknown, RegExp][] = [
    ['', (r) => r.next(), /at byte 0: an element is missing/],
    ['30', (r) => r.next(), /cut short/],
    ['3003020105ff', (r) => (r.enter().smallInteger(), r.end()), /at byte 5: 1 bytes too many/],
    ['3080020105', (r) => r.next(), /indefinite length/],
    ['308500000000010500', (r) => r.next(), /a length of 5 bytes/],
    ['30810105', (r) => r.next(), /could be shorter/],
    ['3082000105', (r) => r.next(), /could be shorter/],
    ['308201', (r) => r.next(), /a length is cut short/],
    ['30050201', (r) => r.next(), /5 bytes announced, 2 left/],
    ['3084ffffffff00', (r) => r.next(), /4294967295 bytes announced/],
    ['1f8101020304', (r) => r.next(), /a tag of more than one byte/],
    ['020105', (r) => r.octetString(), /OCTET STRING expected, INTEGER found/],
    ['', (r) => r.octetString(), /OCTET STRING expected, nothing found/],
    ['a000', (r) => r.octetString(), /tag 0xa0 found/],
    ['0200', (r) => r.integer(), /without contents/],
    ['02020005', (r) => r.integer(), /could be shorter/],
    ['0202ff85', (r) => r.integer(), /could be shorter/],
    ['0201ff', (r) => r.smallInteger(), /0 to 2147483647/],
    ['02050100000000', (r) => r.smallInteger(), /0 to 2147483647/],
    ['010101', (r) => r.boolean(), /neither TRUE nor FALSE/],
    ['0100', (r) => r.boolean(), /neither TRUE nor FALSE/],
    ['0300', (r) => r.bitString(), /whole bytes/],
    ['030204f0', (r) => r.bitString(), /whole bytes/],
    ['0300', (r) => r.namedBits(), /named bits/],
    ['03020880', (r) => r.namedBits(), /named bits/],
    ['030101', (r) => r.namedBits(), /named bits/],
    ['0306000102030405', (r) => r.namedBits(), /named bits/],
    ['0600', (r) => r.oid(), /no OBJECT IDENTIFIER/],
    ['06022a86', (r) => r.oid(), /no OBJECT IDENTIFIER/],
    ['06032a8001', (r) => r.oid(), /could be shorter/],
    [`0641${'01'.repeat(65)}`, (r) => r.oid(), /up to 64 bytes/],
  ]
  for (const [hex, read, message] of refused) assert.throws(() => read(reader(hex)), malformed(message), hex)
})

test('offsets of errors count from the outermost input', () => {
  const outer = reader('3006040130020200ff')
  const inside = outer.enter()
  inside.octetString()
  assert.equal(inside.offset, 5)
  assert.throws(() => inside.boolean(), malformed(/at byte 5: /))
})

test('named bits count from the first', () => {
  assert.equal(reader('03020780').namedBits(), 1)
  assert.equal(reader('03020106').namedBits(), 0b110_0000)
  assert.equal(reader('0303070080').namedBits(), 0x100)
  assert.equal(reader('030100').namedBits(), 0)
})

test('object identifiers in dots and back', () => {
  for (const dotted of [
    '0.9.2342',
    '1.2.840.113549.1.1.11',
    '2.5.29.32.0',
    '2.999.3',
    '2.25.329800735698586629295641978511506172918',
    '1.39',
    '2.0',
  ])
    assert.equal(new DerReader(encodeOid(dotted)).oid(), dotted)
  assert.equal(toHex(encodeOid('2.999')), '06028837')
})

test('times to the second, of years up to 9999', () => {
  const utc = (text: string): number => new DerReader(encodeElement(Tag.UTC_TIME, Buffer.from(text))).time()
  const general = (text: string): number => new DerReader(encodeElement(Tag.GENERALIZED_TIME, Buffer.from(text))).time()
  assert.equal(utc('260131081502Z'), Date.UTC(2026, 0, 31, 8, 15, 2))
  assert.equal(utc('491231235959Z'), Date.UTC(2049, 11, 31, 23, 59, 59))
  assert.equal(utc('500101000000Z'), Date.UTC(1950, 0, 1))
  assert.equal(general('99991231235959Z'), Date.UTC(9999, 11, 31, 23, 59, 59))
  for (const text of [
    '2601310815Z',
    '260131081502',
    '260131081502+0100',
    '260231000000Z',
    '261301000000Z',
    '260131240000Z',
    '260131086000Z',
    '26013108150 Z',
    '20260131081502Z',
  ])
    assert.throws(() => utc(text), malformed(/time/), text)
  for (const text of ['20260131081502.5Z', '260131081502Z', '20260230000000Z', '20260131081502Z00'])
    assert.throws(() => general(text), malformed(/time/), text)
  assert.throws(() => reader('020105').time(), malformed(/no time/))
  for (const time of [0, Date.UTC(1950, 0, 1), Date.UTC(2049, 11, 31, 23, 59, 59), Date.UTC(2050, 0, 1), Date.UTC(1949, 5, 6)])
    assert.equal(new DerReader(encodeTime(time)).time(), time)
})

test('numbers are written as short as they can be', () => {
  const written: [number | string, string][] = [[0, '020100'], [127, '02017f'], [128, '02020080'], [65_536, '0203010000'], ['', '020100'], ['0000', '020100'], ['00ff', '020200ff'], ['7f', '02017f']] // prettier-ignore
  for (const [value, hex] of written) assert.equal(toHex(encodeInteger(typeof value === 'string' ? fromHex(value) : value)), hex)
})

test('any element is read as it was written, and any bytes are read or refused', () => {
  fc.assert(
    fc.property(fc.nat(0x1e), fc.uint8Array({ maxLength: 70_000, size: 'max' }), (tag, contents) => {
      const { tag: read, contents: got, whole } = new DerReader(encodeElement(tag, contents)).next()
      assert.deepEqual(
        [read, toHex(got).slice(0, 100), got.length, whole.length > got.length],
        [tag, toHex(contents).slice(0, 100), contents.length, true],
      )
    }),
    { numRuns: 20 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const input = new DerReader(bytes)
      try {
        while (!input.isAtEnd) input.next()
      } catch (error) {
        assert(error instanceof EspalierError && error.code === 'DER_MALFORMED')
      }
    }),
    { numRuns: 5000 },
  )
})
