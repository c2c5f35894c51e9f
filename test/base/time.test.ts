import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { DeadlineHeap, type Deadline } from '../../src/base/time.ts'

test('deadlines come in the order of their times, and nothing comes early', () => {
  const heap = new DeadlineHeap<object>()
  for (const at of [30, 10, 20]) heap.add(at, {}, String(at))
  assert.equal(heap.next(), 10)
  assert.equal(heap.take(9), null)
  assert.deepEqual([heap.take(25)?.at, heap.take(25)?.at, heap.take(25)], [10, 20, null])
  assert.equal(heap.size, 1)
  assert.equal(heap.next(), 30)
})

test('ties come in the order they were set', () => {
  const heap = new DeadlineHeap<object>()
  for (let i = 0; i < 100; i++) heap.add(5, {}, String(i))
  assert.deepEqual(
    Array.from({ length: 100 }, () => heap.take(5)?.name),
    Array.from({ length: 100 }, (_, i) => String(i)),
  )
})

test('what is cancelled never comes, and is no mistake to cancel again', () => {
  const heap = new DeadlineHeap<object>()
  const first = heap.add(1, {}, 'first')
  heap.add(2, {}, 'second')
  heap.cancel(first)
  heap.cancel(first)
  assert.equal(heap.size, 1)
  assert.equal(heap.next(), 2)
  const taken = heap.take(2)!
  // It has come: there is nothing left to cancel.
  heap.cancel(taken)
  assert.equal(heap.size, 0)
  assert.equal(heap.next(), null)
})

test('it behaves as a sorted list would, through any number of additions, cancellations and takings', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('add' as const), at: fc.nat(50) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), at: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('take' as const), at: fc.nat(60) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const heap = new DeadlineHeap<object>()
      let model: Deadline<object>[] = []
      for (const { do: what, at } of steps) {
        if (what === 'add') {
          model.push(heap.add(at, {}, ''))
        } else if (what === 'cancel' && model.length > 0) {
          const [victim] = model.splice(at % model.length, 1)
          heap.cancel(victim!)
        } else if (what === 'take') {
          const earliest = model.toSorted((a, b) => a.at - b.at || a.order - b.order)[0]
          const expected = earliest !== undefined && earliest.at <= at ? earliest : null
          assert.equal(heap.take(at), expected)
          model = model.filter((deadline) => deadline !== expected)
        }
        assert.equal(heap.size, model.length)
        assert.equal(heap.next(), model.length === 0 ? null : Math.min(...model.map((deadline) => deadline.at)))
      }
    }),
  )
})

test('moving a deadline again and again does not fill the memory', () => {
  const heap = new DeadlineHeap<object>()
  const owner = {}
  let deadline = heap.add(1000, owner, 'moves')
  for (let i = 0; i < 100_000; i++) {
    heap.cancel(deadline)
    deadline = heap.add(1000 + i, owner, 'moves')
  }
  assert.equal(heap.size, 1)
  assert.equal(heap.next(), 100_999)
  assert.equal(heap.take(200_000), deadline)
  assert.equal(heap.take(200_000), null)
})
