import assert from 'node:assert/strict'
import { test } from 'node:test'

import { AssertionError } from '../../src/base/assert.ts'
import { Reqids } from '../../src/kernel/reqids.ts'

test('equal keys share a reqid until the last holder lets go', () => {
  const reqids = new Reqids()
  const first = reqids.allocate('a')
  assert.equal(reqids.allocate('a'), first)
  const other = reqids.allocate('b')
  assert.notEqual(other, first)
  reqids.release('a')
  assert.equal(reqids.allocate('a'), first)
  reqids.release('a')
  reqids.release('a')
  assert.equal(reqids.size, 1)
  // A freed one is not handed out at once: packets of its states may still be under way.
  assert.notEqual(reqids.allocate('a'), first)
})

test('reqids start at the base, and nobody releases what he does not hold', () => {
  const reqids = new Reqids(100)
  assert.equal(reqids.allocate('a'), 100)
  assert.throws(() => reqids.release('b'), AssertionError)
})

test('after the last reqid the first free one follows', () => {
  const reqids = new Reqids(0x3fff_fffe)
  assert.equal(reqids.allocate('a'), 0x3fff_fffe)
  assert.equal(reqids.allocate('b'), 0x3fff_ffff)
  reqids.release('a')
  assert.equal(reqids.allocate('c'), 0x3fff_fffe)
})

test('holders go by another key one after the other, and keep the reqid while either has it', () => {
  const reqids = new Reqids()
  const reqid = reqids.allocate('old')
  reqids.allocate('old')
  assert.ok(reqids.rename('old', 'new'))
  assert.deepEqual([reqids.allocate('new'), reqids.allocate('old'), reqids.size], [reqid, reqid, 1])
  reqids.release('new')
  reqids.release('old')
  assert.ok(reqids.rename('old', 'new'))
  assert.ok(reqids.rename('new', 'new'))
  const other = reqids.allocate('other')
  assert.equal(reqids.rename('new', 'other'), false)
  reqids.release('new')
  assert.equal(reqids.size, 2)
  reqids.release('new')
  reqids.release('other')
  assert.deepEqual([reqids.size, reqids.allocate('old') === reqid || other === reqid], [0, false])
})
