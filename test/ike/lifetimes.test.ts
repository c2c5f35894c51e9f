import assert from 'node:assert/strict'
import { test } from 'node:test'

import { DEFAULT_CHILD } from '../../src/ike/connection.ts'
import { childLimits } from '../../src/ike/lifetimes.ts'

const SEQUENCE_NUMBERS = 0xffff_ffffn
/** Dice that always fall the same way: with 0 nothing is taken off, with 255 all there is. */
const dice = (byte: number): { bytes(count: number): Uint8Array } => ({ bytes: (count) => new Uint8Array(count).fill(byte) })
const none = { rekey: 0n, life: 0n, rand: 0n }

test('the default is rekeyed between 54 and 60 minutes after it was made, and gone after 66', () => {
  for (const [byte, seconds] of [
    [0, 3600],
    [255, 3240],
  ] as const) {
    const { in: inbound, out } = childLimits(DEFAULT_CHILD.lifetime, true, dice(byte))
    for (const { softSeconds, hardSeconds, softBytes, hardBytes, softPackets, hardPackets } of [inbound, out]) {
      assert.deepEqual([softSeconds, hardSeconds], [seconds, 3960])
      assert.deepEqual([softBytes, hardBytes, softPackets, hardPackets], [0n, 0n, 0n, 0n])
    }
  }
})

test('each direction has its own dice, so that both sides seldom meet', () => {
  let thrown = 0
  const entropy = { bytes: (count: number) => new Uint8Array(count).fill((thrown += 16)) }
  const { in: inbound, out } = childLimits(DEFAULT_CHILD.lifetime, true, entropy)
  assert.ok(inbound.softSeconds > out.softSeconds)
})

test('without a random part the outbound half has no soft time: both would tell at once', () => {
  const lifetime = { ...DEFAULT_CHILD.lifetime, time: { rekey: 3_600_000, life: 3_960_000, rand: 0 } }
  const limits = childLimits(lifetime, true, dice(77))
  assert.deepEqual([limits.in.softSeconds, limits.out.softSeconds, limits.out.hardSeconds], [3600, 0, 3960])
})

test('bytes and packets are limits of their own; a random part as large as the limit leaves 1, since 0 is none', () => {
  const lifetime = {
    time: { rekey: 0, life: 0, rand: 0 },
    bytes: { rekey: 1000n, life: 1100n, rand: 100n },
    packets: { rekey: 50n, life: 60n, rand: 500n },
  }
  const most = childLimits(lifetime, true, dice(255)).out
  assert.deepEqual(most, {
    softSeconds: 0,
    hardSeconds: 0,
    softBytes: 900n,
    hardBytes: 1100n,
    softPackets: 1n,
    hardPackets: 60n,
  })
})

test('no limit stays none, whatever the dice say', () => {
  const lifetime = { time: { rekey: 0, life: 0, rand: 5000 }, bytes: { ...none, rand: 7n }, packets: { ...none, rand: 7n } }
  const { in: inbound } = childLimits(lifetime, true, dice(200))
  assert.deepEqual([inbound.softSeconds, inbound.softBytes, inbound.softPackets], [0, 0n, 0n])
})

test('without ESN it is rekeyed before its sequence numbers run out, and what is configured counts if it is less', () => {
  const lifetime = { ...DEFAULT_CHILD.lifetime, packets: none }
  const [latest, earliest] = [childLimits(lifetime, false, dice(0)), childLimits(lifetime, false, dice(255))]
  assert.equal(latest.out.softPackets, (SEQUENCE_NUMBERS * 9n) / 10n)
  assert.ok(earliest.out.softPackets >= (SEQUENCE_NUMBERS * 8n) / 10n)
  assert.ok(earliest.out.softPackets < latest.out.softPackets)
  assert.equal(latest.out.hardPackets, SEQUENCE_NUMBERS)
  // Packets that come in use up the peer's numbers, which the peer sees to; in case it does not, we ask in time.
  assert.equal(latest.in.softPackets, latest.out.softPackets)
  assert.equal(latest.in.hardPackets, 0n)

  const configured = childLimits({ ...lifetime, packets: { rekey: 10n, life: 20n, rand: 0n } }, false, dice(0))
  assert.deepEqual([configured.out.softPackets, configured.out.hardPackets, configured.in.hardPackets], [10n, 20n, 20n])
})
