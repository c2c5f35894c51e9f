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
