/** What is counted, and what is not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { ExchangeType } from '../../src/iana/ikev2.ts'
import type { IkeEvent, MessageFacts } from '../../src/ike/events.ts'
import { COUNTER_NAMES, Counters } from '../../src/report/counters.ts'

const endpoint = new Endpoint(IpAddress.parse('192.0.2.1'), 500)

function message(event: 'message-sent' | 'message-received', facts: Partial<MessageFacts> = {}): IkeEvent {
  return {
    ...(event === 'message-sent' ? { event, fragmentLengths: null } : { event, isReassembled: false }),
    sa: null,
    exchangeType: ExchangeType.IKE_AUTH,
    isResponse: false,
    messageId: 1,
    payloads: [],
    length: 100,
    local: endpoint,
    remote: endpoint,
    isRetransmission: false,
    ...facts,
  }
}

function counted(...events: readonly IkeEvent[]): Record<string, number> {
  const counters = new Counters()
  events.forEach(counters.handle)
  return Object.fromEntries([...counters.get(null)!].filter(([, count]) => count > 0))
}

test('every counter of strongSwan is there, in its order', () => {
  assert.deepEqual([...new Counters().get(null)!.keys()], [...COUNTER_NAMES])
})

test('messages are counted by exchange, direction and kind', () => {
  const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL } = ExchangeType
  const both = [IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL].flatMap((exchangeType) =>
    [false, true].flatMap((isResponse) => [
      message('message-sent', { exchangeType, isResponse }),
      message('message-received', { exchangeType, isResponse }),
    ]),
  )
  const names = COUNTER_NAMES.filter((name) => /-(in|out)-/.test(name))
  assert.equal(names.length, 16)
  assert.deepEqual(counted(...both), Object.fromEntries(names.map((name) => [name, 1])))
})

test('a message is counted once, however often it is sent', () => {
  assert.deepEqual(counted(message('message-sent'), message('message-sent', { isRetransmission: true })), {
    'ike-auth-out-req': 1,
  })
})

test('an exchange nobody knows is not counted', () => {
  assert.deepEqual(counted(message('message-received', { exchangeType: 250 })), {})
})

test('what cannot be read or opened is invalid, what is for no IKE_SA has an invalid SPI', () => {
  const dropped = (['not-ike', 'malformed', 'not-authentic', 'unknown-spi', 'out-of-window'] as const).map(
    (reason): IkeEvent => ({ event: 'datagram-dropped', remote: endpoint, local: endpoint, reason, header: null }),
  )
  assert.deepEqual(counted(...dropped), { 'invalid': 3, 'invalid-spi': 1 })
})
