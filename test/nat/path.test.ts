/**
 * What is remembered of a path, and how much of it at most.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { NO_NAT_TRAVERSAL } from '../../src/nat/detection.ts'
import { detectionOf, MOVES_KEPT, Path } from '../../src/nat/path.ts'

const local = new Endpoint(IpAddress.parse('192.0.2.1'), 4500)
const remote = (port: number) => new Endpoint(IpAddress.parse('203.0.113.7'), port)

test('which hash differed is remembered with what it was compared with', () => {
  const seen = { sources: [], destinations: [], local, remote: remote(1024), forced: true }
  const facts = { supported: true, here: false, there: true, faked: false }
  assert.deepEqual(detectionOf(5, seen, facts), {
    at: 5,
    supported: true,
    sourceMatched: false,
    destinationMatched: true,
    forced: true,
    local,
    remote: remote(1024),
  })
})

test('nothing matched where nothing was compared', () => {
  const detection = detectionOf(0, { sources: [], destinations: [], local, remote: remote(500), forced: false }, NO_NAT_TRAVERSAL)
  assert.deepEqual([detection.supported, detection.sourceMatched, detection.destinationMatched], [false, false, false])
})

test('the latest moves are kept, all are counted', () => {
  const path = new Path()
  assert.equal(path.moves.length, 0)
  for (let port = 1000; port < 1000 + MOVES_KEPT + 5; port++) {
    path.noteMove({ at: port, from: { local, remote: remote(port) }, to: { local, remote: remote(port + 1) }, cause: 'mapping' })
  }
  assert.equal(path.moveCount, MOVES_KEPT + 5)
  assert.equal(path.moves.length, MOVES_KEPT)
  assert.equal(path.moves[0]?.from.remote.port, 1005)
  assert.equal(path.moves.at(-1)?.to.remote.port, 1000 + MOVES_KEPT + 5)
})
