import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { eapPayload } from '../../../src/message/ikev2/eap.ts'
import type { EapPayload } from '../../../src/message/ikev2/payload.ts'
import { assertBodyMalformed, assertRefusesToWrite, sameBothWays } from './support.ts'

const EAP = 48

const eap = (hex: string, code: number, identifier: number, eapType: number | null): EapPayload => ({
  kind: 'EAP',
  data: fromHex(hex),
  code,
  identifier,
  eapType,
})

test('requests and responses have a type, success and failure none', () => {
  sameBothWays(EAP, '01 2a 0005 01', eap('012a000501', 1, 42, 1))
  sameBothWays(EAP, '02 2a 0008 1a 616263', eap('022a00081a616263', 2, 42, 26))
  sameBothWays(EAP, '03 07 0004', eap('03070004', 3, 7, null))
  sameBothWays(EAP, '04 ff 0004', eap('04ff0004', 4, 255, null))
})

test('a code we do not know has no type, whatever follows', () => {
  sameBothWays(EAP, '06 01 0006 0201', eap('060100060201', 6, 1, null))
})

test('the payload around a packet of ours tells its fields', () => {
  assert.deepEqual(eapPayload(fromHex('012a000501')), eap('012a000501', 1, 42, 1))
  assert.deepEqual(eapPayload(fromHex('03070004')), eap('03070004', 3, 7, null))
})

test('fewer bytes than an EAP header', () => {
  assertBodyMalformed(EAP, '', 'EAP', 0, /0 bytes are fewer than the 4/)
  assertBodyMalformed(EAP, '01 2a 00', 'EAP', 3, /3 bytes are fewer than the 4/)
})

test('an EAP length that is not that of the packet', () => {
  assertBodyMalformed(EAP, '01 2a 0004 01', 'EAP', 2, /EAP length 4 is not that of the packet, 5/)
  assertBodyMalformed(EAP, '01 2a 0006 01', 'EAP', 2, /EAP length 6 is not that of the packet, 5/)
  assertBodyMalformed(EAP, '03 2a 0000', 'EAP', 2, /EAP length 0/)
})

test('a request without a type, a success with one', () => {
  assertBodyMalformed(EAP, '01 2a 0004', 'EAP', 2, /without a Type/)
  assertBodyMalformed(EAP, '02 2a 0004', 'EAP', 2, /without a Type/)
  assertBodyMalformed(EAP, '03 2a 0005 01', 'EAP', 2, /Success or Failure of 5 bytes/)
  assertBodyMalformed(EAP, '04 2a 0005 01', 'EAP', 2, /Success or Failure of 5 bytes/)
})

test('a packet that contradicts itself is not written', () => {
  assertRefusesToWrite(eap('012a000601', 1, 42, 1), /its own length/)
  assert.throws(() => eapPayload(fromHex('012a00')), { name: 'AssertionError' })
})
