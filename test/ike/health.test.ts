/** The round of all CHILD_SAs (ike/health.ts): how many questions it asks, and what a mistake of ours costs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { MINUTE } from '../../src/base/time.ts'
import type { Environment } from '../../src/ike/environment.ts'
import { HealthWatch, type Watched } from '../../src/ike/health.ts'
import { ChildHealth } from '../../src/nat/health.ts'
import { state } from '../kernel/fixtures.ts'

const UNUSED = { packets: 0n, integrityFailed: 0, replayed: 0 }

/** So many CHILD_SAs, of an IKE_SA each, and a clock that goes from look to look. */
function rounds(count: number, usage: (number: number) => unknown) {
  let now = 0
  const seen = { asked: [] as number[], counted: 0, looks: 0, broken: [] as unknown[] }
  const books = {
    look: (all: readonly { readonly number: number }[], countsDrops: boolean) => {
      seen.asked.push(...all.map(({ number }) => number))
      if (countsDrops) seen.counted++
      return Promise.resolve({ usages: all.map(({ number }) => usage(number)), stateMismatches: countsDrops ? 0 : null })
    },
  }
  const env = { books, clock: { now: () => now }, report: () => undefined } as unknown as Environment
  const watched = new Map<number, Watched>()
  for (let number = 0; number < count; number++) {
    const installed = { number, outboundHalf: 'installed', inbound: state(), outbound: state({ direction: 'out' }) }
    const session = {
      sa: { state: 'established', nat: {}, lastInbound: 0, connection: null },
      exchanges: { isWaiting: false },
      run: (work: () => void) => Promise.resolve(work()),
      breakDown: (error: unknown) => void seen.broken.push(error),
    }
    watched.set(number, { session, child: { state: 'installed', installed, health: new ChildHealth(0) } } as unknown as Watched)
  }
  const watch = new HealthWatch(env, watched, () => undefined)
  watch.handleChange()
  const pass = async (time: number): Promise<void> => {
    const end = now + time
    for (let next = watch.next(); next !== null && next <= end; next = watch.next()) {
      now = next
      seen.looks++
      watch.handleDeadline()
      await new Promise<void>((resolve) => void setImmediate(resolve))
    }
    now = end
  }
  return { seen, pass, watched, watch }
}

const unused = (): unknown => ({ in: UNUSED, out: UNUSED })

/** Packets come in all the time. */
function busy(): () => unknown {
  let packets = 0n
  return () => ({ in: { ...UNUSED, packets: ++packets }, out: UNUSED })
}

for (const count of [1, 3, 100, 5000]) {
  test(`of ${count} each is looked at about once a minute, and never more than 64 at a time`, async () => {
    const { seen, pass } = rounds(count, busy())
    await pass(2 * MINUTE)
    const times = new Map<number, number>()
    for (const number of seen.asked) times.set(number, (times.get(number) ?? 0) + 1)
    assert.equal(times.size, count)
    assert.ok(seen.asked.length <= seen.looks * 64)
    // The few are looked at somewhat more often.
    assert.ok(Math.max(...times.values()) <= (count < 4 ? 6 : 3))
    // One file for all of them, three times a minute.
    assert.ok(seen.counted <= 7, `${seen.counted} times`)
  })
}

for (const count of [1, 3, 100, 5000]) {
  test(`of ${count} that nothing goes through each is looked at every other minute, and the counter read once`, async () => {
    const { seen, pass } = rounds(count, unused)
    await pass(2 * MINUTE)
    const { asked, counted } = { asked: seen.asked.length, counted: seen.counted }
    await pass(20 * MINUTE)
    const times = (seen.asked.length - asked) / count / 10
    assert.ok(times > 0.6 && times < 1.4, `${times} times in two minutes`)
    assert.ok(seen.counted - counted <= 21, `${seen.counted - counted} times`)
  })
}

test('one that something goes through is looked at as often as before, however long it was idle', async () => {
  let packets = 0n
  const { seen, pass } = rounds(1, () => ({ in: { ...UNUSED, packets }, out: UNUSED }))
  await pass(30 * MINUTE)
  packets++
  // It rests for two minutes, and is looked at in the next.
  await pass(3 * MINUTE)
  const asked = seen.asked.length
  for (let i = 0; i < 10; i++) {
    packets++
    await pass(MINUTE)
  }
  assert.ok(seen.asked.length - asked >= 10)
})

test('one that was sent much in vain does not rest: it is judged a minute later, although nothing is sent any more', async () => {
  let packets = 0n
  const { pass, watched } = rounds(1, () => ({ in: UNUSED, out: { ...UNUSED, packets } }))
  await pass(30 * MINUTE)
  packets = 10n
  await pass(5 * MINUTE)
  const [
    {
      child: { health },
    },
  ] = [...watched.values()] as [Watched]
  assert.equal(health.reason, 'no-return')
})

test('where there is none there is no deadline, and none is left', async () => {
  const { watch, watched, pass } = rounds(1, unused)
  assert.notEqual(watch.next(), null)
  watched.clear()
  watch.handleChange()
  assert.equal(watch.next(), null)
  const none = rounds(0, unused)
  assert.equal(none.watch.next(), null)
  await pass(MINUTE)
})

test('a mistake of ours costs the IKE_SA that it was made with, and the round goes on', async () => {
  const mistake = new Error('made up')
  const carried = busy()
  const wrong = {
    get in(): never {
      throw mistake
    },
  }
  const { seen, pass } = rounds(3, (number) => (number === 1 ? wrong : carried()))
  await pass(2 * MINUTE)
  assert.ok(seen.broken.length >= 1 && seen.broken.every((error) => error === mistake))
  assert.ok(seen.asked.filter((number) => number === 2).length >= 2)
})
