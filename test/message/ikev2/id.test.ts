import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex } from '../../../src/base/bytes.ts'
import { restOfIdPayload } from '../../../src/message/ikev2/id.ts'
import { assertBodyMalformed, assertRefusesToWrite, readOne, sameBothWays } from './support.ts'

const IDI = 35
const IDR = 36

test('identifications of both sides are read and written', () => {
  sameBothWays(IDI, '02 000000 6d6f6f6e2e6578616d706c65', {
    kind: 'IDi',
    idType: 2,
    data: new TextEncoder().encode('moon.example'),
  })
  sameBothWays(IDR, '01 000000 c0000201', { kind: 'IDr', idType: 1, data: fromHex('c0000201') })
  sameBothWays(IDR, `05 000000 20010db8${'00'.repeat(11)}01`, {
    kind: 'IDr',
    idType: 5,
    data: fromHex(`20010db8${'00'.repeat(11)}01`),
  })
  sameBothWays(IDI, 'c8 000000', { kind: 'IDi', idType: 200, data: new Uint8Array(0) })
})

test('what AUTH covers is the body as the peer sent it, reserved bits and all', () => {
  const plain = readOne(IDI, '0b 000000 0102')
  assert(plain.kind === 'IDi')
  assert.equal(toHex(restOfIdPayload(plain)), '0b0000000102')
  sameBothWays(IDI, '0b a1b2c3 0102', { kind: 'IDi', idType: 11, data: fromHex('0102'), reserved: 0xa1b2c3 })
  const odd = readOne(IDI, '0b a1b2c3 0102')
  assert(odd.kind === 'IDi')
  assert.equal(toHex(restOfIdPayload(odd)), '0ba1b2c30102')
})

test('an identification cut short', () => {
  assertBodyMalformed(IDI, '', 'IDi', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(IDR, '02', 'IDr', 1, /1 bytes wanted, 0 left/)
  assertBodyMalformed(IDR, '02 0000', 'IDr', 2, /2 bytes wanted, 1 left/)
})

test('an address that is no address', () => {
  assertBodyMalformed(IDI, '01 000000', 'IDi', 4, /IPv4 address of 0 bytes/)
  assertBodyMalformed(IDI, '01 000000 c000020100', 'IDi', 4, /IPv4 address of 5 bytes/)
  assertBodyMalformed(IDR, '05 000000 c0000201', 'IDr', 4, /IPv6 address of 4 bytes/)
})

test('an identity that nobody has', () => {
  sameBothWays(IDI, `0b 000000 ${'07'.repeat(4096)}`, { kind: 'IDi', idType: 11, data: new Uint8Array(4096).fill(7) })
  assertBodyMalformed(IDI, `0b 000000 ${'07'.repeat(4097)}`, 'IDi', 4, /an identity of 4097 bytes, more than 4096/)
})

test('our own mistakes are not written', () => {
  assertRefusesToWrite({ kind: 'IDi', idType: 1, data: new Uint8Array(16) }, /has the length of its type/)
  assertRefusesToWrite({ kind: 'IDr', idType: 256, data: new Uint8Array(1) }, /ID type 256/)
  assertRefusesToWrite({ kind: 'IDr', idType: 2, data: new Uint8Array(1), reserved: 0x100_0000 }, /reserved bits/)
})
