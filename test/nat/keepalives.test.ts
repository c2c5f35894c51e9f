import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { NO_NAT_TRAVERSAL } from '../../src/nat/detection.ts'
import { keepaliveDue, keepalivePlan, keepsAlive } from '../../src/nat/keepalives.ts'

const BASE = { now: 100_000, due: 100_000, lastOutbound: 80_000, interval: 20_000, dpdMargin: 0, exact: true }

test('only who is behind a real NAT keeps it alive, and only with an interval', () => {
  assert.equal(keepsAlive({ ...NO_NAT_TRAVERSAL, supported: true, here: true }, 20_000), true)
  assert.equal(keepsAlive({ ...NO_NAT_TRAVERSAL, supported: true, here: true }, 0), false)
  assert.equal(keepsAlive({ ...NO_NAT_TRAVERSAL, supported: true, there: true }, 20_000), false)
  assert.equal(keepsAlive({ ...NO_NAT_TRAVERSAL, supported: true, faked: true }, 20_000), false)
})

test('after a quiet interval one is sent, and the next is an interval away', () => {
  assert.deepEqual(keepalivePlan(BASE), { step: 'send', next: 120_000 })
})

test('what left meanwhile did its work: the next look is an interval after it', () => {
  assert.deepEqual(keepalivePlan({ ...BASE, lastOutbound: 95_000 }), { step: 'wait', next: 115_000 })
})

test('where only counts are known, the look is twice as often', () => {
  assert.deepEqual(keepalivePlan({ ...BASE, exact: false }), { step: 'send', next: 110_000 })
  assert.deepEqual(keepalivePlan({ ...BASE, exact: false, lastOutbound: 99_000 }), { step: 'wait', next: 110_000 })
})

test('deadlines fall on marks of 100 ms, the one before the interval is over, and a keepalive is sent then', () => {
  assert.equal(keepaliveDue(80_060, 20_000), 100_000)
  assert.deepEqual(keepalivePlan({ ...BASE, lastOutbound: 80_060 }), { step: 'send', next: 120_000 })
  assert.deepEqual(keepalivePlan({ ...BASE, lastOutbound: 80_100 }), { step: 'wait', next: 100_100 })
  assert.deepEqual(keepalivePlan({ ...BASE, now: 100_060, due: 100_060, lastOutbound: 100_050 }), { step: 'wait', next: 120_000 })
  // A short interval keeps most of its length.
  assert.equal(keepaliveDue(1_060, 500), 1_550)
})

test('a deadline that fired later than the margin allows is a probe, with margin 0 never', () => {
  assert.deepEqual(keepalivePlan({ ...BASE, now: 105_001, dpdMargin: 5_000 }), { step: 'probe', next: 125_000 })
  assert.equal(keepalivePlan({ ...BASE, now: 105_000, dpdMargin: 5_000 }).step, 'send')
  assert.equal(keepalivePlan({ ...BASE, now: 900_000 }).step, 'send')
})

test('the next look is always later than now, whatever the rounding', () => {
  const time = fc.double({ min: 0, max: 1e12, noNaN: true })
  fc.assert(
    fc.property(time, time, fc.integer({ min: 1, max: 3_600_000 }), fc.boolean(), (now, ago, interval, exact) => {
      const { next } = keepalivePlan({ now, due: now, lastOutbound: now - (ago % (2 * interval)), interval, dpdMargin: 0, exact })
      assert.ok(next > now)
    }),
  )
})
