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
