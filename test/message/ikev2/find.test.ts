import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { find, findNotify, notifies, notify } from '../../../src/message/ikev2/find.ts'
import type { Payload } from '../../../src/message/ikev2/payload.ts'

const first = notify(16388, fromHex('01'))
const other = notify(16389, fromHex('02'))
const second = notify(16388, fromHex('03'))
const ke: Payload = { kind: 'KE', group: 31, data: fromHex('aa') }
const payloads: Payload[] = [first, ke, other, { kind: 'KE', group: 19, data: fromHex('bb') }, second]

test('the first payload of a kind is found, with its type', () => {
  const group: number | undefined = find(payloads, 'KE')?.group
  assert.equal(group, 31)
  assert.equal(find(payloads, 'KE'), ke)
  assert.equal(find(payloads, 'Nonce'), null)
  assert.equal(find(payloads, 'IDi'), null)
})

test('notifies are found by their type', () => {
  assert.equal(findNotify(payloads, 16388), first)
  assert.equal(findNotify(payloads, 16389), other)
  assert.equal(findNotify(payloads, 1), null)
  assert.deepEqual(notifies(payloads, 16388), [first, second])
  assert.deepEqual(notifies(payloads, 1), [])
})

test('a notify is made without SPI unless it is given one', () => {
  const none = new Uint8Array(0)
  assert.deepEqual(notify(24), { kind: 'Notify', protocol: 0, spi: none, notifyType: 24, data: none })
  assert.deepEqual(notify(16393, none, 3, fromHex('c0010203')), {
    kind: 'Notify',
    protocol: 3,
    spi: fromHex('c0010203'),
    notifyType: 16393,
    data: none,
  })
})
