import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { notify } from '../../../src/message/ikev2/find.ts'
import { assertBodyMalformed, assertRefusesToWrite, hex, readOne, sameBothWays } from './support.ts'

const NOTIFY = 41

test('a notify without SPI is read and written', () => {
  const hash = 'd1'.repeat(20)
  sameBothWays(NOTIFY, `00 00 4004 ${hash}`, notify(16388, fromHex(hash)))
  sameBothWays(NOTIFY, '00 00 400c', notify(16396))
})

test('REKEY_SA with the SPI of an ESP SA is read and written', () => {
  sameBothWays(NOTIFY, '03 04 4009 c0010203', notify(16393, new Uint8Array(0), 3, fromHex('c0010203')))
})

test('a protocol without SPI and an IKE SPI are let pass', () => {
  sameBothWays(NOTIFY, '03 00 000e', notify(14, new Uint8Array(0), 3))
  sameBothWays(NOTIFY, '01 08 0004 a1a2a3a4a5a6a7a8', notify(4, new Uint8Array(0), 1, fromHex('a1a2a3a4a5a6a7a8')))
})

test('a NAT detection hash of any length is read', () => {
  assert.deepEqual(readOne(NOTIFY, '00 00 4005 d1d2'), notify(16389, fromHex('d1d2')))
})

test('a notify cut short', () => {
  assertBodyMalformed(NOTIFY, '', 'Notify', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(NOTIFY, '00', 'Notify', 1, /1 bytes wanted, 0 left/)
  assertBodyMalformed(NOTIFY, '00 00', 'Notify', 2, /2 bytes wanted, 0 left/)
  assertBodyMalformed(NOTIFY, '00 00 40', 'Notify', 2, /2 bytes wanted, 1 left/)
})

test('an SPI size past the end, or one that does not suit the protocol', () => {
  assertBodyMalformed(NOTIFY, '03 04 4009 c00102', 'Notify', 1, /SPI size 4 .* protocol 3 with 3 bytes left/)
  assertBodyMalformed(NOTIFY, '00 ff 4009 c0010203', 'Notify', 1, /SPI size 255/)
  for (const [protocol, size] of [
    [1, 4],
    [2, 8],
    [3, 3],
    [3, 5],
  ] as const) {
    const body = `${hex(protocol, 1)} ${hex(size, 1)} 4009 ${'00'.repeat(16)}`
    assertBodyMalformed(NOTIFY, body, 'Notify', 1, /does not suit/)
  }
})

test('our own mistakes are not written', () => {
  assertRefusesToWrite(notify(65536), /notify type 65536/)
  assertRefusesToWrite(notify(1, new Uint8Array(0), 256), /protocol ID 256/)
  assertRefusesToWrite(notify(1, new Uint8Array(0), 3, new Uint8Array(8)), /SPI of a Notify/)
  assertRefusesToWrite(notify(1, new Uint8Array(0), 0, new Uint8Array(256)), /SPI size 256/)
})
