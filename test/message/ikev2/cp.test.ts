import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { MAX_CP_ATTRIBUTES } from '../../../src/message/ikev2/limits.ts'
import { assertBodyMalformed, assertRefusesToWrite, readOne, repeated, sameBothWays } from './support.ts'

const CP = 47
const NONE = new Uint8Array(0)

test('a request and a reply are read and written', () => {
  sameBothWays(CP, '01 000000 0001 0000 0003 0000', {
    kind: 'CP',
    cpType: 1,
    attributes: [
      { type: 1, value: NONE },
      { type: 3, value: NONE },
    ],
  })
  sameBothWays(CP, '02 000000 0001 0004 0a030001 7001 0003 616263', {
    kind: 'CP',
    cpType: 2,
    attributes: [
      { type: 1, value: fromHex('0a030001') },
      { type: 0x7001, value: fromHex('616263') },
    ],
  })
  sameBothWays(CP, 'c8 000000', { kind: 'CP', cpType: 200, attributes: [] })
})

test('reserved bits are ignored', () => {
  assert.deepEqual(readOne(CP, '01 ffffff 8001 0000'), { kind: 'CP', cpType: 1, attributes: [{ type: 1, value: NONE }] })
})

test('a payload or an attribute cut short', () => {
  assertBodyMalformed(CP, '', 'CP', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(CP, '01 0000', 'CP', 1, /3 bytes wanted, 2 left/)
  assertBodyMalformed(CP, '01 000000 00', 'CP', 4, /2 bytes wanted, 1 left/)
  assertBodyMalformed(CP, '01 000000 0001', 'CP', 6, /2 bytes wanted, 0 left/)
  assertBodyMalformed(CP, '01 000000 0001 00', 'CP', 6, /2 bytes wanted, 1 left/)
})

test('an attribute length past the end', () => {
  assertBodyMalformed(CP, '02 000000 0001 0005 0a030001', 'CP', 6, /attribute length 5 is more than the 4 bytes left/)
  assertBodyMalformed(CP, '02 000000 0001 0000 0002 ffff', 'CP', 10, /attribute length 65535/)
})

test('more attributes than the limit', () => {
  const payload = readOne(CP, `02 000000 ${'000d 0000'.repeat(MAX_CP_ATTRIBUTES)}`)
  assert(payload.kind === 'CP')
  assert.equal(payload.attributes.length, MAX_CP_ATTRIBUTES)
  const body = `02 000000 ${'000d 0000'.repeat(MAX_CP_ATTRIBUTES + 1)}`
  assertBodyMalformed(CP, body, 'CP', 4 + 4 * MAX_CP_ATTRIBUTES, /more than 512 attributes/)
})

test('our own mistakes are not written', () => {
  assertRefusesToWrite({ kind: 'CP', cpType: 256, attributes: [] }, /CFG type 256/)
  assertRefusesToWrite({ kind: 'CP', cpType: 1, attributes: [{ type: 0x8000, value: NONE }] }, /attribute type 32768/)
  assertRefusesToWrite(
    { kind: 'CP', cpType: 1, attributes: [{ type: 1, value: new Uint8Array(65536) }] },
    /attribute length 65536/,
  )
  const crowd = repeated(MAX_CP_ATTRIBUTES + 1, { type: 1, value: NONE })
  assertRefusesToWrite({ kind: 'CP', cpType: 1, attributes: crowd }, /no more attributes/)
})
