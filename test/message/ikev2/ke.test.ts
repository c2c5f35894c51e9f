import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { assertBodyMalformed, assertRefusesToWrite, readOne, sameBothWays } from './support.ts'

const KE = 34

test('a key exchange is read and written, whatever the group and the length', () => {
  const key = 'a0'.repeat(32)
  sameBothWays(KE, `001f 0000 ${key}`, { kind: 'KE', group: 31, data: fromHex(key) })
  sameBothWays(KE, 'ffff 0000', { kind: 'KE', group: 65535, data: new Uint8Array(0) })
})

test('the reserved half is ignored', () => {
  assert.deepEqual(readOne(KE, '0013 ffff 01'), { kind: 'KE', group: 19, data: fromHex('01') })
})

test('a key exchange cut short', () => {
  assertBodyMalformed(KE, '', 'KE', 0, /2 bytes wanted, 0 left/)
  assertBodyMalformed(KE, '00', 'KE', 0, /2 bytes wanted, 1 left/)
  assertBodyMalformed(KE, '001f', 'KE', 2, /2 bytes wanted, 0 left/)
  assertBodyMalformed(KE, '001f 00', 'KE', 2, /2 bytes wanted, 1 left/)
})

test('a group that does not fit is not written', () => {
  assertRefusesToWrite({ kind: 'KE', group: 65536, data: new Uint8Array(32) }, /key exchange method 65536/)
})
