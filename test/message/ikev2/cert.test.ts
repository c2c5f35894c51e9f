import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { assertBodyMalformed, assertRefusesToWrite, sameBothWays } from './support.ts'

const CERT = 37
const CERTREQ = 38

test('a certificate is read and written', () => {
  sameBothWays(CERT, '04 30820122', { kind: 'CERT', encoding: 4, data: fromHex('30820122') })
  sameBothWays(CERT, 'c9', { kind: 'CERT', encoding: 201, data: new Uint8Array(0) })
})

test('a certificate request is read and written, its data as long as it may be', () => {
  const authorities = 'a1'.repeat(20) + 'b2'.repeat(20)
  sameBothWays(CERTREQ, `04 ${authorities}`, { kind: 'CERTREQ', encoding: 4, data: fromHex(authorities) })
  sameBothWays(CERTREQ, '04 a1a2', { kind: 'CERTREQ', encoding: 4, data: fromHex('a1a2') })
  sameBothWays(CERTREQ, '0e', { kind: 'CERTREQ', encoding: 14, data: new Uint8Array(0) })
})

test('without an encoding both are malformed', () => {
  assertBodyMalformed(CERT, '', 'CERT', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(CERTREQ, '', 'CERTREQ', 0, /1 bytes wanted, 0 left/)
})

test('an encoding that does not fit, and more than 65535 bytes, are not written', () => {
  assertRefusesToWrite({ kind: 'CERT', encoding: 256, data: new Uint8Array(1) }, /certificate encoding 256/)
  assertRefusesToWrite({ kind: 'CERTREQ', encoding: -1, data: new Uint8Array(1) }, /certificate encoding -1/)
  assertRefusesToWrite({ kind: 'CERT', encoding: 4, data: new Uint8Array(65531) }, /payload length 65536/)
})
