import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Leases, type Lease } from '../../src/address/leases.ts'
import type { Pool } from '../../src/address/pool.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'

const pool = (name: string, base: string, size: number): Pool => ({
  name,
  base: IpAddress.parse(base),
  size,
  attributes: [{ type: 3, value: Uint8Array.of(10, 0, 0, size) }],
})
const ANY = IpAddress.parse('0.0.0.0')
const who = (name: string): { key: string; name: string } => ({ key: `2 ${name}`, name })
const at = (port: number): Endpoint => new Endpoint(IpAddress.parse('192.0.2.1'), port)
const text = (lease: Lease | null): string | null => (lease === null ? null : lease.address.toString())

test('each who asks gets an address that nobody had, in order, and nobody gets one when all are in use', () => {
  const leases = new Leases()
  assert.equal(leases.put(pool('a', '10.3.0.1', 2)), 'added')
  assert.equal(text(leases.acquire(['a'], who('x'), ANY, at(1))), '10.3.0.1')
  assert.equal(text(leases.acquire(['a'], who('y'), ANY, at(2))), '10.3.0.2')
  assert.equal(leases.acquire(['a'], who('z'), ANY, at(3)), null)
  assert.equal(leases.acquire(['no such pool'], who('z'), ANY, at(3)), null)
  assert.deepEqual(
    leases.pools().map(({ online, offline }) => [online, offline]),
    [[2, 0]],
  )
})

test('who comes back has its address again, though others came meanwhile', () => {
  const leases = new Leases()
  leases.put(pool('a', '10.3.0.1', 3))
  const first = leases.acquire(['a'], who('x'), ANY, at(1))
  leases.release(first!)
  assert.equal(text(leases.acquire(['a'], who('y'), ANY, at(2))), '10.3.0.2')
  const again = leases.acquire(['a'], who('x'), ANY, at(9))
  assert.deepEqual([text(again), again?.origin], ['10.3.0.1', 'returned'])
})

test('when none is left, the one of who has been away longest is given away', () => {
  const leases = new Leases()
  leases.put(pool('a', '10.3.0.1', 3))
  const [x, y, z] = ['x', 'y', 'z'].map((name, i) => leases.acquire(['a'], who(name), ANY, at(i))!)
  for (const lease of [y!, x!, z!]) leases.release(lease)
  const taken = leases.acquire(['a'], who('new'), ANY, at(7))
  assert.deepEqual([text(taken), taken?.origin], [y!.address.toString(), { takenFrom: who('y') }])
  // Who lost it begins anew, and costs the next one its address.
  assert.equal(text(leases.acquire(['a'], who('y'), ANY, at(8))), x!.address.toString())
})

test('the new IKE_SA of a reauthentication shares the address with the old one, from wherever else it is another one', () => {
  const leases = new Leases()
  leases.put(pool('a', '10.3.0.1', 3))
  const old = leases.acquire(['a'], who('x'), ANY, at(1))!
  const renewal = leases.acquire(['a'], who('x'), ANY, at(1))!
  assert.deepEqual([text(renewal), renewal.origin], ['10.3.0.1', 'shared'])
  assert.equal(text(leases.acquire(['a'], who('x'), ANY, at(2))), '10.3.0.2')
  leases.release(old)
  // Still in use by the new one.
  assert.equal(leases.pools()[0]?.offline, 0)
  leases.release(renewal)
  assert.equal(leases.pools()[0]?.offline, 1)
})

test('a pool of the other family is passed over, one that is full goes on with the next', () => {
  const leases = new Leases()
  leases.put(pool('six', 'fd00::1', 10))
  leases.put(pool('small', '10.3.0.1', 1))
  leases.put(pool('large', '10.4.0.1', 10))
  const names = ['six', 'small', 'large']
  assert.equal(text(leases.acquire(names, who('x'), ANY, at(1))), '10.3.0.1')
  assert.equal(text(leases.acquire(names, who('y'), ANY, at(2))), '10.4.0.1')
  assert.equal(text(leases.acquire(names, who('y'), IpAddress.parse('::'), at(2))), 'fd00::1')
})

test('what goes with an address are the attributes of its pool and of no other', () => {
  const leases = new Leases()
  leases.put(pool('a', '10.3.0.1', 1))
  leases.put(pool('b', '10.4.0.1', 2))
  const lease = leases.acquire(['b', 'a'], who('x'), ANY, at(1))!
  assert.deepEqual(leases.attributesOf([lease, lease]), [{ type: 3, value: Uint8Array.of(10, 0, 0, 2) }])
})

test('a pool in use keeps its addresses: others are refused, other attributes are not', () => {
  const leases = new Leases()
  leases.put(pool('a', '10.3.0.1', 2))
  const lease = leases.acquire(['a'], who('x'), ANY, at(1))!
  assert.equal(leases.put(pool('a', '10.3.0.1', 2)), 'unchanged')
  assert.equal(leases.put(pool('a', '10.9.0.1', 2)), 'refused')
  assert.equal(leases.put({ ...pool('a', '10.3.0.1', 2), attributes: [] }), 'updated')
  assert.equal(leases.remove('a'), false)
  leases.release(lease)
  assert.equal(leases.put(pool('a', '10.9.0.1', 2)), 'replaced')
  // What was of the old pool is nobody's any more.
  leases.release(lease)
  assert.equal(text(leases.acquire(['a'], who('x'), ANY, at(1))), '10.9.0.1')
  assert.equal(leases.remove('a'), false)
})

test('what was kept is known again: who had an address gets it, others get those that nobody had, then those of who was away longest', () => {
  const before = new Leases()
  before.put(pool('a', '10.3.0.1', 4))
  const [x, y, z] = ['x', 'y', 'z'].map((name, i) => before.acquire(['a'], who(name), ANY, at(i))!)
  before.release(z!)
  before.release(x!)
  const kept = before.kept()
  assert.deepEqual(
    kept.map(({ address, holder }) => `${address.toString()} ${holder.name}`),
    ['10.3.0.3 z', '10.3.0.1 x', '10.3.0.2 y'],
  )
  const after = new Leases(kept)
  // The pool comes later, by a client perhaps, and until then nothing is lost.
  assert.deepEqual(after.kept(), kept)
  assert.equal(after.put(pool('a', '10.3.0.1', 4)), 'added')
  assert.deepEqual(after.kept(), kept)
  assert.deepEqual(
    after.pools().map(({ online, offline }) => [online, offline]),
    [[0, 3]],
  )
  const again = after.acquire(['a'], who('y'), ANY, at(9))
  assert.deepEqual([text(again), again?.origin], [y!.address.toString(), 'returned'])
  assert.equal(text(after.acquire(['a'], who('new'), ANY, at(9))), '10.3.0.4')
  const taken = after.acquire(['a'], who('newer'), ANY, at(9))
  assert.deepEqual([text(taken), taken?.origin], ['10.3.0.3', { takenFrom: who('z') }])
})

test('of what was kept only the addresses count that the pool has now; between them others are given out', () => {
  const kept = ['10.3.0.2', '10.3.0.4', '10.9.0.1', 'fd00::1'].map((address) => ({
    pool: 'a',
    address: IpAddress.parse(address),
    holder: who(address),
  }))
  const leases = new Leases([...kept, { ...kept[0]!, holder: who('second') }])
  leases.put(pool('a', '10.3.0.1', 4))
  assert.deepEqual(
    leases.leasesOf('a').map(({ address, holder, isOnline }) => [address.toString(), holder.name, isOnline]),
    [
      ['10.3.0.2', '10.3.0.2', false],
      ['10.3.0.4', '10.3.0.4', false],
    ],
  )
  const given = ['p', 'q', 'r'].map((name, i) => text(leases.acquire(['a'], who(name), ANY, at(i))))
  assert.deepEqual(given, ['10.3.0.1', '10.3.0.3', '10.3.0.2'])
})

test('whoever keeps them hears of every change', () => {
  let changes = 0
  const leases = new Leases([], () => changes++)
  leases.put(pool('a', '10.3.0.1', 1))
  const lease = leases.acquire(['a'], who('x'), ANY, at(1))!
  assert.equal(changes, 1)
  leases.release(lease)
  assert.equal(changes, 2)
  assert.equal(leases.remove('a'), true)
  assert.equal(changes, 3)
  assert.deepEqual(leases.kept(), [])
})

test('a pool that grows or moves keeps who had an address that it still has', () => {
  const leases = new Leases()
  leases.put(pool('a', '10.3.0.1', 2))
  for (const lease of ['x', 'y'].map((name, i) => leases.acquire(['a'], who(name), ANY, at(i))!)) leases.release(lease)
  assert.equal(leases.put(pool('a', '10.3.0.2', 5)), 'replaced')
  assert.deepEqual(
    leases.kept().map(({ address, holder }) => [address.toString(), holder.name]),
    [['10.3.0.2', 'y']],
  )
})

test('whatever comes and goes, no address has two holders and the counts are those of the list', () => {
  const step = fc.record({
    name: fc.constantFrom('u', 'v', 'w', 'x', 'y'),
    port: fc.integer({ min: 1, max: 2 }),
    isNew: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (steps, size) => {
      const leases = new Leases()
      leases.put(pool('a', '10.3.0.1', size))
      const held: Lease[] = []
      for (const { name, port, isNew } of steps) {
        if (!isNew) {
          const at = held.findIndex(({ holder }) => holder.name === name)
          if (at >= 0) leases.release(held.splice(at, 1)[0]!)
          continue
        }
        const lease = leases.acquire(['a'], who(name), ANY, at(port))
        if (lease !== null) held.push(lease)
        else assert.equal(new Set(held.map(({ address }) => address.toString())).size, size)
      }
      const holders = new Map<string, string>()
      for (const { address, holder } of held) {
        const before = holders.get(address.toString())
        assert.ok(before === undefined || before === holder.name, `${address.toString()} has one holder`)
        holders.set(address.toString(), holder.name)
      }
      const list = leases.leasesOf('a')
      assert.equal(new Set(list.map(({ address }) => address.toString())).size, list.length)
      assert.deepEqual(
        new Map(list.filter(({ isOnline }) => isOnline).map(({ address, holder }) => [address.toString(), holder.name])),
        holders,
      )
      assert.equal(leases.pools()[0]?.online, held.length)
      assert.equal(leases.pools()[0]?.offline, list.filter(({ isOnline }) => !isOnline).length)
    }),
  )
})
