/** Marks and interface IDs: what is configured, what is unique, what is chosen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { Separations } from '../../src/gateway/separations.ts'
import { DEFAULT_CHILD, NO_MARK, type ChildConnection, type Mark } from '../../src/ike/connection.ts'
import { separationKey, UNSEPARATED } from '../../src/kernel/separation.ts'
import type { Flows } from '../../src/ports.ts'

const NONE = { in: 0, out: 0 }
const ALL = 0xffff_ffff

function child(change: Partial<ChildConnection>): ChildConnection {
  return { ...DEFAULT_CHILD, name: 'net', proposals: [], ...change }
}
const mark = (value: Mark['value'], mask = ALL): Mark => ({ value, mask })

class CountedFlows implements Flows {
  readonly apart = new Set<number>()
  refusal: EspalierError | null = null
  keepApart(value: number): Promise<void> {
    if (this.refusal !== null) return Promise.reject(this.refusal)
    assert.ok(!this.apart.has(value), 'each mark is kept apart once')
    this.apart.add(value)
    return Promise.resolve()
  }
  letGo(value: number): void {
    this.apart.delete(value)
  }
}

test('a child without marks and interface IDs has none, and those of its connection if that has some', () => {
  const separations = new Separations(null)
  assert.equal(separations.configured(child({}), NONE), UNSEPARATED)
  assert.equal(separationKey(UNSEPARATED), '')
  assert.deepEqual(separations.configured(child({}), { in: 3, out: 4 }), { ...UNSEPARATED, ifIdIn: 3, ifIdOut: 4 })
  const { ifIdIn, ifIdOut } = separations.configured(child({ interfaceIdOut: 9 }), { in: 3, out: 4 })
  assert.deepEqual([ifIdIn, ifIdOut], [3, 9])
})

test('fixed marks are taken as they are, and 0 in no bit is none', () => {
  const found = new Separations(null).configured(
    child({ markIn: mark(7, 0xff), markInOnState: true, setMarkIn: mark('same', 0xf0), setMarkOut: mark(0), markOut: NO_MARK }),
    NONE,
  )
  assert.deepEqual(found, {
    ...UNSEPARATED,
    markIn: { value: 7, mask: 0xff },
    markInOnState: true,
    setMarkIn: { value: 7, mask: 0xf0 },
    setMarkOut: { value: 0, mask: ALL },
  })
})

test('%unique is one number for both directions, %unique-dir one for each, and none is given twice', () => {
  const separations = new Separations(null)
  const of = (change: Partial<ChildConnection>): unknown => {
    const { markIn, markOut, setMarkIn, setMarkOut, ifIdIn, ifIdOut } = separations.configured(child(change), NONE)
    return [markIn?.value, markOut?.value, setMarkIn?.value, setMarkOut?.value, ifIdIn, ifIdOut]
  }
  const both = { markIn: mark('unique'), markOut: mark('unique') }
  assert.deepEqual(of(both), [1, 1, undefined, undefined, 0, 0])
  assert.deepEqual(of({ ...both, setMarkIn: mark('same'), setMarkOut: mark('same') }), [2, 2, 2, 2, 0, 0])
  assert.deepEqual(of({ markIn: mark('unique-dir'), markOut: mark('unique') }), [3, 4, undefined, undefined, 0, 0])
  assert.deepEqual(of({ markIn: mark(9), markOut: mark('unique') }), [9, 5, undefined, undefined, 0, 0])
  assert.deepEqual(of({ interfaceIdIn: 'unique', interfaceIdOut: 'unique' }), [undefined, undefined, undefined, undefined, 1, 1])
  assert.deepEqual(separations.interfaceIdsOf({ interfaceIdIn: 'unique-dir', interfaceIdOut: 'unique-dir' }), { in: 2, out: 3 })
  assert.deepEqual(separations.interfaceIdsOf({ interfaceIdIn: 7, interfaceIdOut: 0 }), { in: 7, out: 0 })
})

test('a chosen mark is on inbound packets and policies, not on what leaves, and is held as long as a CHILD_SA has it', async () => {
  const flows = new CountedFlows()
  const separations = new Separations(flows)
  const first = separations.choose()!
  const value = 0x4553_0001
  const chosen = { value, mask: ALL }
  assert.deepEqual(first, {
    ...UNSEPARATED,
    markIn: chosen,
    markOut: chosen,
    setMarkIn: chosen,
    setMarkOut: { value: 0, mask: ALL },
    isChosen: true,
  })
  await separations.hold(first)
  // A rekeyed one holds it beside its predecessor.
  await separations.hold(first)
  separations.release(first)
  assert.deepEqual([...flows.apart], [value])
  assert.equal(separations.choose()!.markIn!.value, value + 1)
  separations.release(first)
  assert.deepEqual([flows.apart.size, separations.chosenCount], [0, 0])
})

test('a mark that cannot be kept apart is held by nobody', async () => {
  const flows = new CountedFlows()
  flows.refusal = new EspalierError('caller', 'NO_FLOWS', 'there is no program nft')
  const separations = new Separations(flows)
  await assert.rejects(separations.hold(separations.choose()!), /no program nft/)
  assert.equal(separations.chosenCount, 0)
})

test('without connection tracking nothing is chosen', () => {
  assert.equal(new Separations(null).choose(), null)
})

test('numbers that are held are passed over when the others were used up', async () => {
  const separations = new Separations(new CountedFlows())
  const first = separations.choose()!
  await separations.hold(first)
  for (let i = 1; i < 0xffff; i++) separations.choose()
  assert.equal(separations.choose()!.markIn!.value, first.markIn!.value + 1)
})

test('there is a limit to marks that are chosen', async () => {
  const separations = new Separations(new CountedFlows())
  for (let i = 0; i < 4096; i++) await separations.hold(separations.choose()!)
  assert.equal(separations.choose(), null)
})
