import assert from 'node:assert/strict'
import { test } from 'node:test'

import { poolOfRange, poolOfSubnet } from '../../src/address/pool.ts'
import { IpAddress, IpRange } from '../../src/base/ip.ts'

const subnet = (address: string, length: number): readonly unknown[] | null => {
  const pool = poolOfSubnet(IpAddress.parse(address), length)
  return pool === null ? null : [pool.base.toString(), pool.size]
}

test('a subnet gives its addresses, but for its own and the last one, from the one that is written on', () => {
  assert.deepEqual(subnet('10.3.0.0', 24), ['10.3.0.1', 254])
  assert.deepEqual(subnet('10.3.0.16', 24), ['10.3.0.16', 239])
  assert.deepEqual(subnet('10.3.0.254', 24), ['10.3.0.254', 1])
  assert.equal(subnet('10.3.0.255', 24), null)
  assert.deepEqual(subnet('fd00::', 112), ['fd00::1', 65_534])
})

test('where there are one or two, they are given', () => {
  assert.deepEqual(subnet('10.3.0.7', 32), ['10.3.0.7', 1])
  assert.deepEqual(subnet('10.3.0.6', 31), ['10.3.0.6', 2])
  assert.deepEqual(subnet('10.3.0.7', 31), ['10.3.0.7', 1])
})

test('of more than 31 bits of hosts the first half of what 32 bits can count is given', () => {
  assert.deepEqual(subnet('fd00::', 64), ['fd00::1', 2 ** 31 - 2])
  assert.deepEqual(subnet('0.0.0.0', 0), ['0.0.0.1', 2 ** 31 - 2])
})

test('a range gives all of its addresses, if 32 bits can count them', () => {
  const range = (text: string): unknown => poolOfRange(IpRange.parse(text))?.size ?? null
  assert.equal(range('10.0.0.0-10.0.0.255'), 256)
  assert.equal(range('fd00::1-fd00::1'), 1)
  assert.equal(range('fd00::-fd00::ffff:ffff'), null)
  assert.equal(range('fd00::1-fd00::ffff:ffff'), 2 ** 32 - 1)
})
