import assert from 'node:assert/strict'
import { test } from 'node:test'

import * as iana from '../../../src/iana/ikev2.ts'

test('a number has the name of its table, or its digits', () => {
  assert.equal(iana.nameOf(iana.NotifyType, 16388), 'NAT_DETECTION_SOURCE_IP')
  assert.equal(iana.nameOf(iana.NotifyType, 40000), '40000')
  assert.equal(iana.nameOf(iana.PayloadType, 53), 'SKF')
  assert.equal(iana.nameOf(iana.PayloadType, 0), 'NONE')
  assert.equal(iana.nameOf(iana.ExchangeType, 43), 'IKE_INTERMEDIATE')
})

test('no table gives a number two names', () => {
  for (const [name, table] of Object.entries(iana)) {
    if (typeof table !== 'object') continue
    const numbers = Object.values(table)
    assert.equal(new Set(numbers).size, numbers.length, name)
  }
})
