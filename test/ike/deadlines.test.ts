import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Deadlines, noDeadlines, type DeadlineOwner } from '../../src/ike/deadlines.ts'

test('each owner has at most one deadline of a name: setting it again moves it', () => {
  const armed: number[] = []
  const deadlines = new Deadlines<DeadlineOwner>((at) => armed.push(at))
  const owner: DeadlineOwner = { deadlines: noDeadlines() }
  deadlines.set(owner, 'keepalive', 50)
  deadlines.set(owner, 'retransmit', 20)
  deadlines.set(owner, 'retransmit', 70)
  assert.deepEqual(armed, [50, 20, 70])
  assert.equal(deadlines.next(), 50)
  assert.equal(deadlines.take(49), null)
  assert.deepEqual(deadlines.take(100), { owner, name: 'keepalive', at: 50 })
  assert.equal(owner.deadlines.keepalive, null)
  assert.equal(owner.deadlines.retransmit?.at, 70)
  assert.deepEqual(deadlines.take(100), { owner, name: 'retransmit', at: 70 })
  assert.equal(deadlines.next(), null)
})

test('what is cleared never comes', () => {
  const deadlines = new Deadlines<DeadlineOwner>(() => undefined)
  const [one, other]: [DeadlineOwner, DeadlineOwner] = [{ deadlines: noDeadlines() }, { deadlines: noDeadlines() }]
  deadlines.set(one, 'keepalive', 1)
  deadlines.set(one, 'half-open', 2)
  deadlines.set(other, 'keepalive', 3)
  deadlines.clear(one, 'retransmit')
  deadlines.clearAll(one)
  assert.deepEqual(one.deadlines, noDeadlines())
  assert.equal(deadlines.take(10)?.owner, other)
  assert.equal(deadlines.take(10), null)
})
