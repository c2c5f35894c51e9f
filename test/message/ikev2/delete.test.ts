import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { MAX_DELETE_SPIS } from '../../../src/message/ikev2/limits.ts'
import { assertBodyMalformed, assertRefusesToWrite, hex, readOne, repeated, sameBothWays } from './support.ts'

const DELETE = 42

test('the deletion of the IKE SA and of ESP SAs is read and written', () => {
  sameBothWays(DELETE, '01 00 0000', { kind: 'Delete', protocol: 1, spis: [] })
  sameBothWays(DELETE, '03 04 0002 c0010203 c0010204', {
    kind: 'Delete',
    protocol: 3,
    spis: [fromHex('c0010203'), fromHex('c0010204')],
  })
  sameBothWays(DELETE, '02 04 0000', { kind: 'Delete', protocol: 2, spis: [] })
})

test('the IKE SA announced as one SPI of no bytes is the IKE SA', () => {
  assert.deepEqual(readOne(DELETE, '01 00 0001'), { kind: 'Delete', protocol: 1, spis: [] })
})

test('a delete cut short', () => {
  assertBodyMalformed(DELETE, '', 'Delete', 0, /wanted/)
  assertBodyMalformed(DELETE, '03', 'Delete', 1, /wanted/)
  assertBodyMalformed(DELETE, '03 04', 'Delete', 2, /2 bytes wanted, 0 left/)
  assertBodyMalformed(DELETE, '03 04 00', 'Delete', 2, /2 bytes wanted, 1 left/)
})

test('an SPI size that does not suit the protocol', () => {
  assertBodyMalformed(DELETE, '01 08 0001 a1a2a3a4a5a6a7a8', 'Delete', 1, /SPI size 8 does not suit protocol 1/)
  assertBodyMalformed(DELETE, '03 00 0001', 'Delete', 1, /SPI size 0 does not suit protocol 3/)
  assertBodyMalformed(DELETE, '02 08 0001 a1a2a3a4a5a6a7a8', 'Delete', 1, /SPI size 8 does not suit protocol 2/)
})

test('a number of SPIs that is not theirs', () => {
  assertBodyMalformed(DELETE, '03 04 0001', 'Delete', 2, /1 SPIs of 4 bytes are not the 0 bytes left/)
  assertBodyMalformed(DELETE, '03 04 0002 c0010203', 'Delete', 2, /are not the 4 bytes left/)
  assertBodyMalformed(DELETE, '03 04 0001 c0010203 c0', 'Delete', 2, /are not the 5 bytes left/)
  assertBodyMalformed(DELETE, '03 04 ffff c0010203', 'Delete', 2, /65535 SPIs/)
  assertBodyMalformed(DELETE, '01 00 0000 c0', 'Delete', 2, /are not the 1 bytes left/)
})

const bodyOf = (count: number): string => `03 04 ${hex(count, 2)} ${'c0010203'.repeat(count)}`

test('more SPIs than the limit', () => {
  const payload = readOne(DELETE, bodyOf(MAX_DELETE_SPIS))
  assert(payload.kind === 'Delete')
  assert.equal(payload.spis.length, MAX_DELETE_SPIS)
  assertBodyMalformed(DELETE, bodyOf(MAX_DELETE_SPIS + 1), 'Delete', 2, /more than 1024/)
})

test('65535 SPIs of no bytes cost nothing', () => {
  assert.deepEqual(readOne(DELETE, 'c8 00 ffff'), { kind: 'Delete', protocol: 200, spis: [] })
})

const refuses = (protocol: number, lengths: number[], belief: RegExp): void =>
  assertRefusesToWrite({ kind: 'Delete', protocol, spis: lengths.map((length) => new Uint8Array(length)) }, belief)

test('our own mistakes are not written', () => {
  refuses(1, [8], /suit its protocol/)
  refuses(3, [8], /suit its protocol/)
  refuses(3, [4, 3], /one size/)
  refuses(200, [0], /one size/)
  refuses(256, [4], /protocol ID 256/)
  refuses(3, repeated(MAX_DELETE_SPIS + 1, 4), /no more SPIs/)
})
