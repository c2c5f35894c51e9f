import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import { MappingLifetime, MappingLifetimes, NETWORKS_MAX } from '../../src/nat/adaptive.ts'

const FIXED = 20 * SECOND

/** Probes a NAT that answers by `outcomeOf` until there is nothing more to learn; tells how long that took. */
function learn(
  lifetime: MappingLifetime,
  outcomeOf: (gap: Milliseconds) => 'survived' | 'lost',
  begin: Milliseconds = 0,
): { readonly now: Milliseconds; readonly gaps: readonly Milliseconds[] } {
  const gaps: Milliseconds[] = []
  let now = begin
  for (;;) {
    const gap = lifetime.nextGap(FIXED, now)
    if (gap === null) return { now, gaps }
    assert.ok(gaps.push(gap) < 50, `it comes to an end: ${gaps.join(', ')}`)
    now += gap + 5
    lifetime.note(gap + 5, outcomeOf(gap + 5), FIXED, now)
  }
}

const keepsFor =
  (time: Milliseconds) =>
  (gap: Milliseconds): 'survived' | 'lost' =>
    gap < time ? 'survived' : 'lost'

test('gaps grow until the port changes, twice, and then close in on what is borne', () => {
  const lifetime = new MappingLifetime()
  const { gaps } = learn(lifetime, keepsFor(2 * MINUTE))
  assert.deepEqual(
    gaps.map((gap) => Math.round(gap / SECOND)),
    [30, 60, 120, 120, 90, 105],
  )
  assert.equal(Math.round(lifetime.known! / SECOND), 105)
  assert.equal(Math.round(lifetime.interval(FIXED) / SECOND), 84)
})

test('whatever the NAT does, keepalives are often enough for it, and rarer where it allows that', () => {
  fc.assert(
    fc.property(fc.integer({ min: 21, max: 890 }), (seconds) => {
      const lifetime = new MappingLifetime()
      learn(lifetime, keepsFor(seconds * SECOND))
      const interval = lifetime.interval(FIXED)
      assert.ok(interval < seconds * SECOND, `${interval} ms for ${seconds} s`)
      if (seconds >= 40) assert.ok(interval > 0.65 * seconds * SECOND, `${interval} ms for ${seconds} s`)
    }),
  )
})

test('a NAT that always gives the same port teaches nothing: keepalives stay as they were', () => {
  const lifetime = new MappingLifetime()
  const { gaps, now } = learn(lifetime, () => 'survived')
  assert.ok(gaps.length < 10)
  assert.deepEqual([lifetime.known, lifetime.interval(FIXED)], [null, FIXED])
  assert.equal(lifetime.nextGap(FIXED, now + 24 * 60 * MINUTE), null)
})

test('nor does one whose port changed once, for another reason', () => {
  const lifetime = new MappingLifetime()
  let probes = 0
  learn(lifetime, () => (++probes === 4 ? 'lost' : 'survived'))
  assert.deepEqual([lifetime.known, lifetime.interval(FIXED)], [null, FIXED])
})

test('before the second change nothing counts', () => {
  const lifetime = new MappingLifetime()
  lifetime.note(30_000, 'survived', FIXED, 0)
  lifetime.note(60_000, 'survived', FIXED, 0)
  lifetime.note(120_000, 'lost', FIXED, 0)
  assert.equal(lifetime.interval(FIXED), FIXED)
  lifetime.note(120_000, 'lost', FIXED, 0)
  assert.equal(lifetime.interval(FIXED), 48_000)
})

test('a NAT that forgets sooner than the interval that was configured makes it shorter', () => {
  const lifetime = new MappingLifetime()
  learn(lifetime, keepsFor(16 * SECOND))
  assert.ok(lifetime.interval(FIXED) < 16 * SECOND)
})

test('what was learnt is tried again after hours, and forgotten when it is not so any more', () => {
  const lifetime = new MappingLifetime()
  const { now } = learn(lifetime, keepsFor(5 * MINUTE))
  const interval = lifetime.interval(FIXED)
  assert.ok(interval > 3 * MINUTE)
  assert.equal(lifetime.nextGap(FIXED, now + 5 * 60 * MINUTE), null)
  const later = now + 7 * 60 * MINUTE
  assert.equal(lifetime.nextGap(FIXED, later), lifetime.known)
  const again = learn(lifetime, keepsFor(MINUTE), later)
  assert.ok(lifetime.interval(FIXED) < MINUTE)
  assert.ok(lifetime.interval(FIXED) > 35 * SECOND)
  assert.ok(again.gaps.length > 1)
})

test('in what may be another network nothing counts until two gaps have shown it again', () => {
  const lifetime = new MappingLifetime()
  const { now } = learn(lifetime, keepsFor(5 * MINUTE))
  const before = lifetime.interval(FIXED)
  lifetime.doubt()
  assert.equal(lifetime.interval(FIXED), FIXED)
  assert.equal(learn(lifetime, keepsFor(5 * MINUTE), now).gaps.length, 2)
  assert.ok(Math.abs(lifetime.interval(FIXED) - before) < 100)
  // The same address elsewhere: a NAT that forgets sooner, and one that keeps its ports.
  lifetime.doubt()
  learn(lifetime, keepsFor(100 * SECOND), now)
  assert.ok(lifetime.interval(FIXED) < 100 * SECOND)
  lifetime.doubt()
  learn(lifetime, () => 'survived', now)
  assert.equal(lifetime.interval(FIXED), FIXED)
})

test('a bounded number of networks is remembered, those used last', () => {
  const lifetimes = new MappingLifetimes()
  const at = (text: string): MappingLifetime => lifetimes.of(IpAddress.parse(text))
  const home = at('192.168.1.7')
  for (let i = 0; i < NETWORKS_MAX - 1; i++) at(`10.0.0.${i}`)
  assert.equal(at('192.168.1.7'), home)
  for (let i = 0; i < NETWORKS_MAX; i++) at(`10.0.1.${i}`)
  assert.equal(lifetimes.size, NETWORKS_MAX)
  assert.notEqual(at('192.168.1.7'), home)
})
