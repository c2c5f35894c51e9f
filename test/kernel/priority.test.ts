import assert from 'node:assert/strict'
import { test } from 'node:test'

import { policyPriority } from '../../src/kernel/priority.ts'
import { selector } from './fixtures.ts'

test('a /23 and a /24 give 375935, as strongSwan logs it', () => {
  assert.equal(policyPriority(selector('10.0.0.0/23', '10.0.2.0/24'), 'normal'), 375935)
})

test('each part of a selector takes its share, and the kind sets the base', () => {
  const any = selector('0.0.0.0/0', '0.0.0.0/0')
  assert.equal(policyPriority(any, 'normal'), 399_999)
  assert.equal(policyPriority(any, 'trap'), 400_000)
  assert.equal(policyPriority(any, 'pass'), 199_999)
  assert.equal(policyPriority(any, 'fallback'), 599_999)
  const udp = { ...any, protocol: 17 }
  assert.equal(policyPriority(udp, 'normal'), 399_999 - 256)
  assert.equal(policyPriority({ ...udp, destinationPorts: { first: 53, last: 53 } }, 'normal'), 399_999 - 256 - 64)
  // 1024 to 2047 is one mask of 6 bits.
  assert.equal(policyPriority({ ...udp, sourcePorts: { first: 1024, last: 2047 } }, 'normal'), 399_999 - 256 - 24)
})

test('the largest and the smallest value are those strongSwan documents', () => {
  const widest = selector('::/0', '::/0')
  assert.equal(policyPriority(widest, 'trap') - 400_000, 0)
  const port = { first: 1, last: 1 }
  const narrowest = selector('2001:db8::1', '2001:db8::2', { protocol: 6, sourcePorts: port, destinationPorts: port })
  // 131459 in strongSwan's table counts the interface (2), which we never restrict to.
  assert.equal(400_000 - policyPriority(narrowest, 'normal'), 131_459 - 2)
})
