import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import {
  encapsulates,
  fakeSource,
  natDetectionHash,
  natDetectionHashes,
  natFacts,
  NO_NAT_TRAVERSAL,
  type Observation,
} from '../../src/nat/detection.ts'

const endpoint = (address: string, port: number): Endpoint => new Endpoint(IpAddress.parse(address), port)
const SPIS = { initiatorSpi: 0x0102030405060708n, responderSpi: 0n }
const HERE = endpoint('203.0.113.1', 500)
const THERE = endpoint('198.51.100.7', 500)
const ELSEWHERE = endpoint('192.0.2.1', 30000)

function observed(changes: Partial<Observation>): ReturnType<typeof natFacts> {
  return natFacts({
    spis: SPIS,
    sources: [natDetectionHash(SPIS, THERE)],
    destinations: [natDetectionHash(SPIS, HERE)],
    local: HERE,
    remote: THERE,
    forced: false,
    publicAddresses: [],
    ...changes,
  })
}

test('the hash is SHA-1 over both SPIs, the address and the port, in network order', () => {
  const covered = fromHex('0102030405060708 0000000000000000 c6336407 01f4')
  assert.equal(toHex(natDetectionHash(SPIS, THERE)), createHash('sha1').update(covered).digest('hex'))
  const covered6 = fromHex('0102030405060708 1122334455667788 20010db8000000000000000000000001 1194')
  const hash6 = natDetectionHash({ ...SPIS, responderSpi: 0x1122334455667788n }, endpoint('2001:db8::1', 4500))
  assert.equal(toHex(hash6), createHash('sha1').update(covered6).digest('hex'))
})

test('hashes that match what is seen mean that there is no NAT', () => {
  assert.deepEqual(observed({}), { supported: true, here: false, there: false, faked: false })
})

test('a source that is seen elsewhere is behind a NAT; so are we when the destination is not ours', () => {
  assert.deepEqual(observed({ remote: ELSEWHERE }), { supported: true, here: false, there: true, faked: false })
  assert.deepEqual(observed({ local: ELSEWHERE }), { supported: true, here: true, there: false, faked: false })
  assert.deepEqual(observed({ local: ELSEWHERE, remote: ELSEWHERE }), { supported: true, here: true, there: true, faked: false })
  // A port alone makes a NAT.
  assert.equal(observed({ remote: THERE.withPort(501) }).there, true)
})

test('any source hash that matches is enough', () => {
  const wrong = new Uint8Array(20)
  assert.equal(observed({ sources: [wrong, wrong, natDetectionHash(SPIS, THERE)] }).there, false)
  assert.equal(observed({ sources: [wrong, wrong] }).there, true)
})

test('without both kinds of hashes there is no NAT traversal', () => {
  assert.deepEqual(observed({ sources: [] }), NO_NAT_TRAVERSAL)
  assert.deepEqual(observed({ destinations: [], local: ELSEWHERE, remote: ELSEWHERE }), NO_NAT_TRAVERSAL)
  assert.deepEqual(observed({ sources: [], forced: true }), NO_NAT_TRAVERSAL)
})

test('a hash of another length is a mismatch, also when it begins or ends right', () => {
  const right = natDetectionHash(SPIS, THERE)
  for (const odd of [new Uint8Array(), right.subarray(0, 16), Uint8Array.of(...right, 0), right.subarray(1)]) {
    assert.equal(observed({ sources: [odd] }).there, true, `${odd.length} octets`)
  }
})

test('forced encapsulation is a fake only where no real NAT is', () => {
  assert.deepEqual(observed({ forced: true }), { supported: true, here: false, there: false, faked: true })
  assert.equal(observed({ forced: true, remote: ELSEWHERE }).faked, false)
  assert.equal(observed({ forced: true, local: ELSEWHERE }).faked, false)
})

test('any of the three facts puts ESP into UDP', () => {
  const none = observed({})
  assert.equal(encapsulates(none), false)
  for (const fact of ['here', 'there', 'faked'] as const) assert.equal(encapsulates({ ...none, [fact]: true }), true)
  assert.equal(encapsulates(NO_NAT_TRAVERSAL), false)
})

test('a fake stands in for our source and leaves the destination alone', () => {
  const fake = fakeSource(Uint8Array.of(9, 8, 7, 6))
  assert.equal(fake.toString(), '9.8.7.6[0]')
  const publicAddresses = [IpAddress.parse('192.0.2.77')]
  const honest = natDetectionHashes(SPIS, HERE, THERE, { publicAddresses: [], fake: null })
  for (const faked of [
    natDetectionHashes(SPIS, HERE, THERE, { publicAddresses: [], fake }),
    natDetectionHashes(SPIS, HERE, THERE, { publicAddresses, fake }),
  ]) {
    assert.deepEqual(faked.sources, [natDetectionHash(SPIS, fake)])
    assert.deepEqual(faked.destination, honest.destination)
  }
  assert.deepEqual(honest.sources, [natDetectionHash(SPIS, HERE)])
})

test('public addresses of the IP version stand in for ours, in what is claimed and in what is expected', () => {
  const inside = endpoint('10.0.0.5', 4500)
  const outside = endpoint('203.0.113.5', 4500)
  const publicAddresses = ['2001:db8::5', '203.0.113.5', '203.0.113.6', '203.0.113.5'].map((text) => IpAddress.parse(text))
  const { sources } = natDetectionHashes(SPIS, inside, THERE, { publicAddresses, fake: null })
  assert.deepEqual(sources, [natDetectionHash(SPIS, outside), natDetectionHash(SPIS, endpoint('203.0.113.6', 4500))])

  const seenAt = (destination: Endpoint, local = inside): ReturnType<typeof natFacts> =>
    observed({ local, publicAddresses, destinations: [natDetectionHash(SPIS, destination)] })
  assert.deepEqual(seenAt(outside), { supported: true, here: false, there: false, faked: false, outside: outside.address })
  // Another port is another mapping.
  assert.equal(seenAt(outside.withPort(4501)).here, true)
  // A peer that comes past the NAT finds one, since our source is not what we claim; so do we.
  assert.equal(seenAt(inside).here, true)
  assert.equal(seenAt(endpoint('198.51.100.1', 4500)).here, true)
  // None of that IP version: as without any.
  const v6 = endpoint('2001:db8:1::1', 4500)
  assert.deepEqual(
    observed({ local: v6, publicAddresses: publicAddresses.slice(1), destinations: [natDetectionHash(SPIS, v6)] }),
    {
      supported: true,
      here: false,
      there: false,
      faked: false,
    },
  )
})
