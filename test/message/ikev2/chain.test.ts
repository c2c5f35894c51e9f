import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex } from '../../../src/base/bytes.ts'
import { MAX_PAYLOADS } from '../../../src/message/ikev2/limits.ts'
import { parseMessage, parsePayloads, writeMessage } from '../../../src/message/ikev2/message.ts'
import { assertMalformed, assertRefusesToWrite, datagram, FIELDS, generic, hex, repeated } from './support.ts'

const VENDOR_ID = 43
const NONCE = 40
const SK = 46
const SKF = 53
const NAMES: [number, string][] = [
  [33, 'SA'],
  [34, 'KE'],
  [35, 'IDi'],
  [36, 'IDr'],
  [37, 'CERT'],
  [38, 'CERTREQ'],
  [39, 'AUTH'],
  [40, 'Nonce'],
  [41, 'Notify'],
  [42, 'Delete'],
  [43, 'VendorId'],
  [44, 'TSi'],
  [45, 'TSr'],
  [46, 'SK'],
  [47, 'CP'],
  [48, 'EAP'],
  [53, 'SKF'],
  [51, 'GSA'],
  [200, '200'],
]

const vendorId = (text: string) => ({ kind: 'VendorId', data: fromHex(text) }) as const

test('payload lengths 0 to 3 and past the end are malformed, whatever the payload', () => {
  for (const [type, name] of NAMES) {
    for (const length of [0, 1, 2, 3, 9, 0xffff]) {
      const bytes = datagram(type, `00 00 ${hex(length, 2)} 00000000`)
      assertMalformed(() => parseMessage(bytes), name, 30, new RegExp(`^the payload length ${length} is not within 4 to 8$`))
    }
  }
})

test('a generic header cut short is malformed, whatever the payload', () => {
  for (const [type, name] of NAMES) {
    assertMalformed(() => parseMessage(datagram(type, '')), name, 28, /1 bytes wanted, 0 left/)
    assertMalformed(() => parseMessage(datagram(type, '00')), name, 29, /1 bytes wanted, 0 left/)
    assertMalformed(() => parseMessage(datagram(type, '00 00 00')), name, 30, /2 bytes wanted, 1 left/)
  }
})

test('the fault is found in the payload that has it, not in the first', () => {
  const bytes = datagram(VENDOR_ID, generic(NONCE, 'aabb') + generic(0, '00'.repeat(15)))
  assertMalformed(() => parseMessage(bytes), 'Nonce', 28 + 6 + 4, /15 bytes/)
})

test('a length of one payload does not reach into the next', () => {
  const bytes = datagram(41, generic(VENDOR_ID, '00 04 4009') + generic(0, 'c0010203'))
  assertMalformed(() => parseMessage(bytes), 'Notify', 33, /SPI size 4/)
})

test('bytes after the last payload belong to no payload', () => {
  assertMalformed(
    () => parseMessage(datagram(VENDOR_ID, `${generic(0, 'aa')} 00`)),
    'message',
    33,
    /1 bytes after the last payload/,
  )
  assertMalformed(() => parseMessage(datagram(0, '00000000')), 'message', 28, /4 bytes after/)
})

test('a message without payloads is one', () => {
  assert.deepEqual(parseMessage(datagram(0, '')).payloads, [])
  assert.deepEqual(parsePayloads(0, new Uint8Array(0), 100), { payloads: [], unknownCritical: null })
})

test('the critical bit on a payload we know is ignored', () => {
  const { payloads, unknownCritical } = parseMessage(datagram(VENDOR_ID, '00 80 0005 aa'))
  assert.deepEqual(payloads, [vendorId('aa')])
  assert.equal(unknownCritical, null)
})

test('unknown payloads without the critical bit are skipped, reserved bits and all', () => {
  const bytes = datagram(200, `${generic(VENDOR_ID, 'ffff')} 01 00 0005 aa 2b 7f 0006 ffff ${generic(0, 'bb')}`)
  assert.deepEqual(parseMessage(bytes).payloads, [vendorId('aa'), vendorId('bb')])
  assert.equal(parseMessage(bytes).unknownCritical, null)
})

test('an unknown payload with the critical bit is told, the first of several', () => {
  const bytes = datagram(VENDOR_ID, `${generic(200, 'aa')} c9 00 0004 ca 80 0005 11 cb 80 0005 22 00 00 0004`)
  const { payloads, unknownCritical } = parseMessage(bytes)
  assert.equal(unknownCritical, 201)
  assert.deepEqual(payloads, [
    vendorId('aa'),
    { kind: 'Unknown', payloadType: 201, critical: true, data: fromHex('11') },
    { kind: 'Unknown', payloadType: 202, critical: true, data: fromHex('22') },
  ])
})

test('payload types that other documents name are unknown to us all the same', () => {
  for (const type of [1, 13, 32, 49, 50, 51, 52, 54, 255]) {
    assert.deepEqual(parseMessage(datagram(type, '00 00 0004')).payloads, [])
    assert.equal(parseMessage(datagram(type, '00 80 0004')).unknownCritical, type)
  }
})

test('an unknown payload that is malformed is not skipped', () => {
  assertMalformed(() => parseMessage(datagram(200, '00 00 0003')), '200', 30, /payload length 3/)
})

test('an encrypted payload must be the last, its next payload is that of what is inside', () => {
  const { payloads } = parseMessage(datagram(VENDOR_ID, generic(SK, 'aa') + generic(35, 'e7'.repeat(4))))
  assert.deepEqual(payloads, [vendorId('aa'), { kind: 'SK', innerFirst: 35, body: fromHex('e7e7e7e7'), bodyOffset: 37 }])
  const after = generic(0, 'aa')
  assertMalformed(
    () => parseMessage(datagram(SK, generic(VENDOR_ID, 'e7e7') + after)),
    'SK',
    34,
    /5 bytes after a payload that must be/,
  )
  assertMalformed(() => parseMessage(datagram(SKF, generic(VENDOR_ID, '00010001e7') + after)), 'SKF', 37, /5 bytes after/)
})

test('an encrypted payload inside an encrypted payload is malformed', () => {
  assertMalformed(() => parsePayloads(SK, fromHex('00 00 0008 00000000'), 40), 'SK', 40, /inside an encrypted payload/)
  const inner = fromHex(generic(SKF, 'aa') + generic(0, '00010001'))
  assertMalformed(() => parsePayloads(VENDOR_ID, inner, 40), 'SKF', 45, /inside an encrypted payload/)
})

test('offsets in decrypted content count from where the caller says', () => {
  assertMalformed(() => parsePayloads(NONCE, fromHex(generic(0, '00')), 1000), 'Nonce', 1004, /1 bytes/)
  assertMalformed(() => parsePayloads(NONCE, new Uint8Array(0), 1000), 'Nonce', 1000, /1 bytes wanted/)
  assertMalformed(() => parsePayloads(0, fromHex('00'), 1000), 'message', 1000, /1 bytes after/)
})

test('inside, unknown payloads are treated as outside', () => {
  const content = fromHex(`${generic(201, 'aa')} 2b 80 0004 ${generic(0, 'bb')}`)
  const { payloads, unknownCritical } = parsePayloads(200, content, 0)
  assert.equal(unknownCritical, 201)
  assert.deepEqual(payloads, [{ kind: 'Unknown', payloadType: 201, critical: true, data: new Uint8Array(0) }, vendorId('bb')])
})

const chainOf = (type: number, count: number): Uint8Array => datagram(type, generic(type, '').repeat(count - 1) + generic(0, ''))

test('more payloads than the limit are malformed, skipped ones count', () => {
  assert.equal(parseMessage(chainOf(VENDOR_ID, MAX_PAYLOADS)).payloads.length, MAX_PAYLOADS)
  assert.equal(parseMessage(chainOf(200, MAX_PAYLOADS)).payloads.length, 0)
  const offset = 28 + 4 * MAX_PAYLOADS
  assertMalformed(() => parseMessage(chainOf(VENDOR_ID, MAX_PAYLOADS + 1)), 'VendorId', offset, /more than 128 payloads/)
  assertMalformed(() => parseMessage(chainOf(200, MAX_PAYLOADS + 1)), '200', offset, /more than 128 payloads/)
})

test('what is read are views on the datagram', () => {
  const bytes = datagram(VENDOR_ID, generic(0, 'aabb'))
  const payload = parseMessage(bytes).payloads[0]!
  assert(payload.kind === 'VendorId')
  assert.equal(payload.data.buffer, bytes.buffer)
  assert.equal(payload.data.byteOffset, 32)
})

test('a datagram in the middle of a larger buffer is read as itself', () => {
  const bytes = datagram(44, generic(0, '01 000000 07 00 0010 0000 ffff 0a010000 0a01ffff'))
  const larger = new Uint8Array(bytes.length + 8)
  larger.set(bytes, 4)
  assert.deepEqual(parseMessage(larger.subarray(4, 4 + bytes.length)), parseMessage(bytes))
})

test('a chain is written with each payload naming the next, the critical bit only on what we do not know', () => {
  const bytes = writeMessage(FIELDS, [
    vendorId('aa'),
    { kind: 'Unknown', payloadType: 200, critical: true, data: fromHex('bb') },
    { kind: 'Unknown', payloadType: 201, critical: false, data: fromHex('cc') },
    { kind: 'SK', innerFirst: 35, body: fromHex('dd'), bodyOffset: 0 },
  ])
  const expected = 'c8 00 0005 aa  c9 80 0005 bb  2e 00 0005 cc  23 00 0005 dd'
  assert.equal(toHex(bytes), toHex(datagram(VENDOR_ID, expected)))
})

test('our own mistakes are not written', () => {
  const sk = { kind: 'SK', innerFirst: 0, body: fromHex('dd'), bodyOffset: 0 } as const
  assert.throws(() => writeMessage(FIELDS, [sk, vendorId('aa')]), { name: 'AssertionError', message: /is the last/ })
  const crowd = repeated(MAX_PAYLOADS + 1, vendorId('aa'))
  assert.throws(() => writeMessage(FIELDS, crowd), { name: 'AssertionError', message: /no more payloads/ })
  const unknown = { kind: 'Unknown', payloadType: 0, critical: false, data: new Uint8Array(0) } as const
  assertRefusesToWrite(unknown, /payload type has 8 bits/)
  assertRefusesToWrite({ ...unknown, payloadType: 256 }, /next payload 256/)
  assertRefusesToWrite({ ...sk, innerFirst: 256 }, /next payload 256/)
  const late = [vendorId('aa'), { ...unknown, payloadType: 256 }]
  assert.throws(() => writeMessage(FIELDS, late), { name: 'AssertionError', message: /next payload 256/ })
  const half = { kind: 'VendorId', data: new Uint8Array(33000) } as const
  assert.throws(() => writeMessage(FIELDS, [half, half]), { name: 'AssertionError', message: /fits a datagram/ })
})
