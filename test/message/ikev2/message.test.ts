import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

import { concatBytes, fromHex, toHex, Writer } from '../../../src/base/bytes.ts'
import { IpRange } from '../../../src/base/ip.ts'
import { ExchangeType } from '../../../src/iana/ikev2.ts'
import { find, notify } from '../../../src/message/ikev2/find.ts'
import {
  associatedDataOf,
  intermediateOctets,
  parseMessage,
  parsePayloads,
  reassembledIntermediateOctets,
  receivedIntermediateOctets,
  writeMessage,
  writePayloads,
  writeProtectedFragments,
  writeProtectedMessage,
  writeProtectedPieces,
  type HeaderFields,
  type Sealer,
} from '../../../src/message/ikev2/message.ts'
import type { Payload, SkfPayload, SkPayload, WireTransform } from '../../../src/message/ikev2/payload.ts'
import { wireSelector } from '../../../src/message/ikev2/ts.ts'
import { FIELDS } from './support.ts'

const ICV_LENGTH = 12
const BLOCK = 16
const IV = fromHex('a0a1a2a3a4a5a6a7a8a9aaabacadaeaf')

/** Stands in for a cipher: IV | plaintext, padding, Pad Length | a hash over what must be covered. Hides nothing. */
const openSealer: Sealer = {
  sealedLength: (length) => IV.length + Math.ceil((length + 1) / BLOCK) * BLOCK + ICV_LENGTH,
  seal(associatedData, plaintext) {
    const padLength = BLOCK - 1 - (plaintext.length % BLOCK)
    const padded = concatBytes(plaintext, new Uint8Array(padLength), Uint8Array.of(padLength))
    return concatBytes(IV, padded, icv(associatedData, IV, padded))
  },
}

function icv(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(
    createHash('sha256')
      .update(concatBytes(...parts))
      .digest()
      .subarray(0, ICV_LENGTH),
  )
}

/** The plaintext in a message that `openSealer` sealed; asserts that the hash covers what RFC 7296 3.14 says. */
function open(bytes: Uint8Array, payload: SkPayload | SkfPayload): Uint8Array {
  const padded = payload.body.subarray(IV.length, payload.body.length - ICV_LENGTH)
  const associatedData = associatedDataOf(bytes, payload)
  assert.equal(associatedData.length, payload.kind === 'SK' ? 32 : 36)
  assert.equal(toHex(payload.body.subarray(-ICV_LENGTH)), toHex(icv(associatedData, IV, padded)))
  return padded.subarray(0, padded.length - 1 - padded.at(-1)!)
}

const REQUEST: HeaderFields = { ...FIELDS, exchangeType: 35, messageId: 1 }
const INNER: Payload[] = [
  { kind: 'IDi', idType: 2, data: new TextEncoder().encode('moon.example') },
  { kind: 'CERT', encoding: 4, data: new Uint8Array(700).fill(0x30) },
  { kind: 'AUTH', method: 14, data: new Uint8Array(80).fill(0xc3) },
  { kind: 'TSi', selectors: [wireSelector({ range: IpRange.parse('10.1.0.0/16'), protocol: 0, firstPort: 0, lastPort: 65535 })] },
]

const transform = (type: number, id: number, keyLength: number | null = null): WireTransform => ({
  type,
  id,
  keyLength,
  otherAttributes: false,
})

test('an IKE_SA_INIT request as strongSwan sends it is read and written', () => {
  const key = '3b'.repeat(32)
  const nonce = '7e'.repeat(32)
  const source = 'd1'.repeat(20)
  const destination = 'd2'.repeat(20)
  const bytes = fromHex(`
    8f6e5d4c3b2a1908 0000000000000000 21 20 22 08 00000000 00000124
    22 00 0064
      02 00 002c 01 01 00 04
        03 00 000c 01 00 000c 800e 0100
        03 00 0008 03 00 000c
        03 00 0008 02 00 0005
        00 00 0008 04 00 001f
      00 00 0034 02 01 00 05
        03 00 000c 01 00 0014 800e 0100
        03 00 0008 02 00 0005
        03 00 0008 02 00 0007
        03 00 0008 04 00 001f
        00 00 0008 04 00 0013
    28 00 0028 001f 0000 ${key}
    29 00 0024 ${nonce}
    29 00 001c 00 00 4004 ${source}
    29 00 001c 00 00 4005 ${destination}
    29 00 0008 00 00 402e
    29 00 0010 00 00 402f 0002 0003 0004 0005
    00 00 0008 00 00 4016`)
  const message = parseMessage(bytes)
  assert.deepEqual(message, {
    header: {
      initiatorSpi: 0x8f6e5d4c3b2a1908n,
      responderSpi: 0n,
      nextPayload: 33,
      majorVersion: 2,
      minorVersion: 0,
      exchangeType: 34,
      fromInitiator: true,
      higherVersion: false,
      response: false,
      messageId: 0,
      length: 292,
    },
    payloads: [
      {
        kind: 'SA',
        proposals: [
          {
            number: 1,
            protocol: 1,
            spi: new Uint8Array(0),
            transforms: [transform(1, 12, 256), transform(3, 12), transform(2, 5), transform(4, 31)],
          },
          {
            number: 2,
            protocol: 1,
            spi: new Uint8Array(0),
            transforms: [transform(1, 20, 256), transform(2, 5), transform(2, 7), transform(4, 31), transform(4, 19)],
          },
        ],
      },
      { kind: 'KE', group: 31, data: fromHex(key) },
      { kind: 'Nonce', data: fromHex(nonce) },
      notify(16388, fromHex(source)),
      notify(16389, fromHex(destination)),
      notify(16430),
      notify(16431, fromHex('0002000300040005')),
      notify(16406),
    ],
    unknownCritical: null,
  })
  assert.equal(toHex(writeMessage(message.header, message.payloads)), toHex(bytes))
})

test('a message is of version 2.0 without flag V unless its fields say otherwise', () => {
  assert.equal(toHex(writeMessage(FIELDS, [])), '0102030405060708111213141516171800202508000000070000001c')
  const { header } = parseMessage(
    writeMessage({ ...FIELDS, majorVersion: 3, minorVersion: 1, higherVersion: true, response: true }, []),
  )
  assert.deepEqual([header.majorVersion, header.minorVersion, header.higherVersion, header.response], [3, 1, true, true])
})

test('a protected message holds its payloads in SK, lengths final before it is sealed', () => {
  const bytes = writeProtectedMessage(REQUEST, INNER, openSealer)
  const { header, payloads, unknownCritical } = parseMessage(bytes)
  assert.equal(unknownCritical, null)
  assert.deepEqual([header.nextPayload, header.length, header.exchangeType, header.messageId], [46, bytes.length, 35, 1])
  assert.deepEqual(
    payloads.map((payload) => payload.kind),
    ['SK'],
  )
  const sk = find(payloads, 'SK')!
  assert.equal(sk.innerFirst, 35)
  const plaintext = open(bytes, sk)
  assert.equal(toHex(plaintext), toHex(writePayloads(INNER)))
  const inner = parsePayloads(sk.innerFirst, plaintext, sk.bodyOffset + IV.length)
  assert.deepEqual(
    inner.payloads.map((payload) => payload.kind),
    ['IDi', 'CERT', 'AUTH', 'TSi'],
  )
})

test('an empty protected message names no first payload', () => {
  const bytes = writeProtectedMessage(FIELDS, [], openSealer)
  const sk = find(parseMessage(bytes).payloads, 'SK')!
  assert.equal(sk.innerFirst, 0)
  assert.equal(open(bytes, sk).length, 0)
})

test('fragments hold the same content in order, each as full as it may be', () => {
  const plaintext = writePayloads(INNER)
  for (const most of [81, 200, 333, 576, 860, 1200]) {
    const messages = writeProtectedFragments(REQUEST, INNER, openSealer, most)
    const parts = messages.map((bytes, i) => {
      assert(bytes.length <= most)
      const { header, payloads } = parseMessage(bytes)
      assert.deepEqual([header.nextPayload, header.messageId, payloads.length], [53, 1, 1])
      const skf = find(payloads, 'SKF')!
      assert.deepEqual([skf.fragmentNumber, skf.totalFragments], [i + 1, messages.length])
      assert.equal(skf.innerFirst, i === 0 ? 35 : 0)
      const part = open(bytes, skf)
      if (i < messages.length - 1) assert(36 + openSealer.sealedLength(part.length + 1) > most, 'one more byte would not fit')
      assert(part.length > 0)
      return part
    })
    assert.equal(toHex(concatBytes(...parts)), toHex(plaintext))
  }
})

test('one fragment is a fragment, of nothing too', () => {
  const [only, ...rest] = writeProtectedFragments(REQUEST, [], openSealer, 1280)
  assert.equal(rest.length, 0)
  const skf = find(parseMessage(only!).payloads, 'SKF')!
  assert.deepEqual([skf.fragmentNumber, skf.totalFragments, skf.innerFirst], [1, 1, 0])
  assert.equal(open(only!, skf).length, 0)
})

test('a message goes in one piece as long as it fits, and in fragments from one byte less on', () => {
  const whole = writeProtectedMessage(REQUEST, INNER, openSealer)
  const fitting = writeProtectedPieces(REQUEST, INNER, openSealer, whole.length)
  assert.deepEqual(fitting, { pieces: [whole], wholeLength: whole.length })
  const { pieces, wholeLength } = writeProtectedPieces(REQUEST, INNER, openSealer, whole.length - 1)
  assert.deepEqual(pieces, writeProtectedFragments(REQUEST, INNER, openSealer, whole.length - 1))
  assert.deepEqual([pieces.length, wholeLength], [2, whole.length])
})

const mistake = (belief: RegExp) => ({ name: 'AssertionError', message: belief })

test('what IntAuth covers is the same of a message sent, received whole, and put together from fragments (RFC 9242 3.3.2)', () => {
  const header: HeaderFields = { ...FIELDS, exchangeType: ExchangeType.IKE_INTERMEDIATE, messageId: 1 }
  const payloads: readonly Payload[] = [
    { kind: 'KE', group: 36, data: new Uint8Array(300).fill(5) },
    { kind: 'VendorId', data: new Uint8Array(3) },
  ]
  const content = writePayloads(payloads)
  const expected = concatBytes(
    writeMessage(header, payloads).subarray(0, 16),
    Uint8Array.of(46),
    writeMessage(header, payloads).subarray(17, 24),
    new Writer(8)
      .u32(32 + content.length)
      .u8(34)
      .u8(0)
      .u16(4 + content.length)
      .finish(),
    content,
  )
  assert.deepEqual(Buffer.from(intermediateOctets(header, payloads)), Buffer.from(expected))
  const whole = writeProtectedMessage(header, payloads, openSealer)
  const sealed = parseMessage(whole).payloads.at(-1)
  assert.ok(sealed?.kind === 'SK')
  assert.deepEqual(Buffer.from(receivedIntermediateOctets(whole, sealed, content)), Buffer.from(expected))
  const [first, ...others] = writeProtectedFragments(header, payloads, openSealer, 200)
  assert.ok(others.length > 0)
  assert.deepEqual(Buffer.from(reassembledIntermediateOctets(first!, content)!), Buffer.from(expected))
})

test('payloads in the clear before SK are covered as they stand, before SKF they are not taken', () => {
  const inClear: Payload = { kind: 'VendorId', data: Uint8Array.of(1, 2, 3) }
  const header: HeaderFields = { ...FIELDS, exchangeType: ExchangeType.IKE_INTERMEDIATE, messageId: 1 }
  const body = new Uint8Array(40)
  const bytes = writeMessage(header, [inClear, { kind: 'SK', innerFirst: 34, body, bodyOffset: 0 }])
  const sealed = parseMessage(bytes).payloads.at(-1)
  assert.ok(sealed?.kind === 'SK')
  const octets = receivedIntermediateOctets(bytes, sealed, Uint8Array.of(9, 9))
  const headLength = bytes.length - body.length
  assert.deepEqual(octets.subarray(28, headLength - 4), bytes.subarray(28, headLength - 4))
  assert.equal(new DataView(octets.buffer).getUint32(24), headLength + 2)
  assert.equal(new DataView(octets.buffer).getUint16(headLength - 2), 6)
  const place = { fragmentNumber: 1, totalFragments: 2 }
  const fragment = writeMessage(header, [inClear, { kind: 'SKF', innerFirst: 34, ...place, body, bodyOffset: 0 }])
  assert.equal(reassembledIntermediateOctets(fragment, Uint8Array.of(9, 9)), null)
})

test('our own mistakes are not sent', () => {
  const large = [{ kind: 'VendorId', data: new Uint8Array(65500) } as const]
  assert.throws(() => writeProtectedMessage(REQUEST, large, openSealer), mistake(/fits a datagram/))
  assert.throws(() => writeProtectedFragments(REQUEST, INNER, openSealer, 79), mistake(/room for content/))
  assert.throws(() => writeProtectedFragments(REQUEST, INNER, openSealer, 10), mistake(/room for content/))
  assert.throws(() => writeProtectedFragments(REQUEST, INNER, openSealer, 65528), mistake(/fits a datagram/))
  for (const change of [-1, 1]) {
    const liar: Sealer = { ...openSealer, sealedLength: (length) => openSealer.sealedLength(length) + change }
    assert.throws(() => writeProtectedMessage(REQUEST, INNER, liar), mistake(/length announced/))
    assert.throws(() => writeProtectedFragments(REQUEST, INNER, liar, 1280), mistake(/length announced/))
  }
})
