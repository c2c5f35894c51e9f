/** When a peer is followed (BEHAVIOUR 2.3): the rules, fact by fact. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import { NO_NAT_TRAVERSAL } from '../../src/nat/detection.ts'
import { afterMove, mappingTime, remoteAfterMapping, remoteAfterMessage, type MoveFacts } from '../../src/nat/moves.ts'

const endpoint = (address: string, port: number): Endpoint => new Endpoint(IpAddress.parse(address), port)
const LOCAL = endpoint('203.0.113.1', 4500)
const OLD = endpoint('192.0.2.1', 30_000)
const NEW = endpoint('192.0.2.1', 30_001)

function facts({ here = false, there = false, mobike = false, first = false }): MoveFacts {
  const nat = { ...NO_NAT_TRAVERSAL, supported: true, here, there }
  return { nat, mobike, isOriginalInitiator: first, current: { local: LOCAL, remote: OLD } }
}

const CASES: readonly (readonly [string, Parameters<typeof facts>[0], byMessage: boolean, byMapping: boolean])[] = [
  ['no NAT at all', {}, false, false],
  ['we alone are behind one', { here: true }, false, false],
  ['the peer is behind one', { there: true }, true, true],
  ['the peer is behind one, and we came first: a port forwarding', { there: true, first: true }, true, true],
  ['both are, and the peer came first', { here: true, there: true }, true, true],
  ['both are, and we came first: the peer is at a port forwarding', { here: true, there: true, first: true }, false, false],
  ['the peer is behind one, with MOBIKE (RFC 4555 3.8)', { there: true, mobike: true }, false, true],
  ['both are and we came first, with MOBIKE', { here: true, there: true, first: true, mobike: true }, false, false],
]

for (const [what, given, byMessage, byMapping] of CASES) {
  test(`${what}: ${byMessage ? '' : 'not '}by an IKE message, ${byMapping ? '' : 'not '}by ESP`, () => {
    assert.equal(remoteAfterMessage(facts(given), { local: LOCAL, remote: NEW }), byMessage ? NEW : null)
    assert.equal(remoteAfterMapping(facts(given), OLD, NEW), byMapping ? NEW : null)
  })
}

test('where the peer is already is nothing new', () => {
  assert.equal(remoteAfterMessage(facts({ there: true }), { local: LOCAL, remote: OLD }), null)
  assert.equal(remoteAfterMapping(facts({ there: true }), NEW, OLD), null)
})

test('what came to another of our endpoints has another mapping', () => {
  for (const local of [LOCAL.withPort(500), endpoint('203.0.113.2', 4500)])
    assert.equal(remoteAfterMessage(facts({ there: true }), { local, remote: NEW }), null)
})

test('an old port of 0 is of a state that has no mapping (strongSwan)', () => {
  assert.equal(remoteAfterMapping(facts({ there: true }), OLD.withPort(0), NEW), null)
  assert.equal(remoteAfterMapping(facts({ there: true }), OLD, NEW.withPort(0)), null)
})

test('four mappings are followed at once, then one a second; after a rest four again', () => {
  let until = 0
  const move = (now: number): number => {
    const at = mappingTime(until, now)
    until = afterMove(until, at)
    return at - now
  }
  const begun = 1_000_000
  assert.deepEqual(
    [0, 1, 2, 3].map((ms) => move(begun + ms)),
    [0, 0, 0, 0],
  )
  assert.equal(move(begun + 4), SECOND - 4)
  assert.equal(move(begun + SECOND), SECOND)
  assert.deepEqual(
    [0, 0, 0, 0].map(() => move(begun + 10 * SECOND)),
    [0, 0, 0, 0],
  )
  assert.equal(move(begun + 10 * SECOND), SECOND)
})
