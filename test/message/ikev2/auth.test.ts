import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { assertBodyMalformed, assertRefusesToWrite, readOne, sameBothWays } from './support.ts'

const AUTH = 39

test('an authentication is read and written', () => {
  const mac = 'c3'.repeat(32)
  sameBothWays(AUTH, `02 000000 ${mac}`, { kind: 'AUTH', method: 2, data: fromHex(mac) })
})

test('the reserved bytes are ignored', () => {
  assert.deepEqual(readOne(AUTH, '0e ffffff aa'), { kind: 'AUTH', method: 14, data: fromHex('aa') })
})

test('an authentication cut short', () => {
  assertBodyMalformed(AUTH, '', 'AUTH', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(AUTH, '02', 'AUTH', 1, /3 bytes wanted, 0 left/)
  assertBodyMalformed(AUTH, '02 0000', 'AUTH', 1, /3 bytes wanted, 2 left/)
})

test('a method that does not fit is not written', () => {
  assertRefusesToWrite({ kind: 'AUTH', method: 256, data: new Uint8Array(32) }, /authentication method 256/)
})
