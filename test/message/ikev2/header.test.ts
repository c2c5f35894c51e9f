import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex, Writer } from '../../../src/base/bytes.ts'
import { HEADER_LENGTH, readHeader, writeHeader, type Header } from '../../../src/message/ikev2/header.ts'
import { assertMalformed } from './support.ts'

const BYTES = '0102030405060708 f1f2f3f4f5f6f7f8 2e 20 23 28 00000001 0000001c'
const HEADER: Header = {
  initiatorSpi: 0x0102030405060708n,
  responderSpi: 0xf1f2f3f4f5f6f7f8n,
  nextPayload: 46,
  majorVersion: 2,
  minorVersion: 0,
  exchangeType: 35,
  fromInitiator: true,
  higherVersion: false,
  response: true,
  messageId: 1,
  length: 28,
}

function written(header: Header): string {
  const writer = new Writer()
  writeHeader(writer, header, header.nextPayload, header.length)
  return toHex(writer.finish())
}

test('a header is read and written', () => {
  assert.deepEqual(readHeader(fromHex(BYTES)), HEADER)
  assert.equal(written(HEADER), BYTES.replaceAll(' ', ''))
})

const flagsOf = (bits: string): Pick<Header, 'fromInitiator' | 'higherVersion' | 'response'> => {
  const { fromInitiator, higherVersion, response } = readHeader(fromHex(BYTES.replace(' 28 ', ` ${bits} `)))
  return { fromInitiator, higherVersion, response }
}

test('each flag has its bit, and the reserved ones say nothing', () => {
  assert.deepEqual(flagsOf('08'), { fromInitiator: true, higherVersion: false, response: false })
  assert.deepEqual(flagsOf('10'), { fromInitiator: false, higherVersion: true, response: false })
  assert.deepEqual(flagsOf('20'), { fromInitiator: false, higherVersion: false, response: true })
  assert.deepEqual(flagsOf('c7'), { fromInitiator: false, higherVersion: false, response: false })
  const version = { ...HEADER, fromInitiator: false, higherVersion: true, response: false }
  assert.equal(written(version).slice(38, 40), '10')
})

test('versions are told, not judged', () => {
  const header = readHeader(fromHex(BYTES.replace(' 20 ', ' 3f ')))
  assert.equal(header.majorVersion, 3)
  assert.equal(header.minorVersion, 15)
})

test('fewer bytes than a header are malformed where they end', () => {
  for (let length = 0; length < HEADER_LENGTH; length++) {
    assertMalformed(() => readHeader(fromHex(BYTES).subarray(0, length)), 'header', length, /fewer than the 28/)
  }
})

test("a length that is not the datagram's is malformed, too small or too large", () => {
  for (const length of ['00000000', '0000001b', '0000001d', 'ffffffff']) {
    assertMalformed(() => readHeader(fromHex(BYTES.replace('0000001c', length))), 'header', 24, /not that of the datagram, 28/)
  }
  assertMalformed(() => readHeader(fromHex(`${BYTES} 00`)), 'header', 24, /length 28 is not that of the datagram, 29/)
})

test('a header whose values do not fit is not written', () => {
  const wrong: Partial<Header>[] = [
    { initiatorSpi: -1n },
    { responderSpi: 1n << 64n },
    { nextPayload: 256 },
    { majorVersion: 16 },
    { minorVersion: -1 },
    { exchangeType: 1.5 },
    { messageId: 0x1_0000_0000 },
    { length: -1 },
  ]
  for (const fields of wrong) assert.throws(() => written({ ...HEADER, ...fields }), { name: 'AssertionError' })
})
