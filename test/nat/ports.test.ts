import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { NO_NAT_TRAVERSAL } from '../../src/nat/detection.ts'
import { floated, floats, initialLocalPort, markerLength, withMarker, withoutMarker } from '../../src/nat/ports.ts'

const OWN = { port: 500, portNatT: 4500 }
const CUSTOM = { port: 1500, portNatT: 14500 }
const MESSAGE = Uint8Array.of(1, 2, 3, 4, 5)
const NO_NAT = { ...NO_NAT_TRAVERSAL, supported: true }

test('the marker is put on by our socket, whatever the peer’s port', () => {
  assert.deepEqual([...withMarker(MESSAGE, 4500, OWN)], [0, 0, 0, 0, 1, 2, 3, 4, 5])
  assert.deepEqual([...withMarker(MESSAGE, 500, OWN)], [1, 2, 3, 4, 5])
  assert.deepEqual([...withMarker(MESSAGE, 14500, CUSTOM)], [0, 0, 0, 0, 1, 2, 3, 4, 5])
  assert.deepEqual([...withMarker(MESSAGE, 1500, CUSTOM)], [1, 2, 3, 4, 5])
})

test('the marker is as long as is said', () => {
  for (const port of [500, 4500, 1500, 14500])
    assert.equal(markerLength(port, OWN), withMarker(MESSAGE, port, OWN).length - MESSAGE.length)
})

test('what has the marker on the NAT-T socket is IKE, anything else there is not', () => {
  assert.deepEqual([...withoutMarker(withMarker(MESSAGE, 4500, OWN), 4500, OWN)!], [...MESSAGE])
  assert.equal(withoutMarker(MESSAGE, 4500, OWN), null)
  for (const junk of [[], [0xff], [0], [0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    assert.equal(withoutMarker(Uint8Array.from(junk), 4500, OWN), null, String(junk))
  assert.deepEqual([...withoutMarker(Uint8Array.of(0, 0, 0, 0), 4500, OWN)!], [])
  assert.deepEqual([...withoutMarker(MESSAGE, 500, OWN)!], [...MESSAGE])
})

test('a peer that listens elsewhere than on 500 gets its first message from the NAT-T socket', () => {
  assert.equal(initialLocalPort(500, 500, OWN), 500)
  assert.equal(initialLocalPort(500, 4500, OWN), 4500)
  assert.equal(initialLocalPort(500, 14500, OWN), 4500)
  assert.equal(initialLocalPort(4500, 500, OWN), 4500)
  assert.equal(initialLocalPort(500, 500, CUSTOM), 1500)
})

test('the initiator floats with any NAT, and with MOBIKE without one, but never without NAT detection', () => {
  assert.equal(floats(NO_NAT, false), false)
  assert.equal(floats(NO_NAT, true), true)
  for (const fact of ['here', 'there', 'faked'] as const) assert.equal(floats({ ...NO_NAT, [fact]: true }, false), true)
  assert.equal(floats(NO_NAT_TRAVERSAL, true), false)
})

test('floating moves our IKE port, and the peer’s only where either is 500', () => {
  const address = IpAddress.parse('192.0.2.1')
  const after = (local: number, remote: number, own = OWN): readonly number[] => {
    const moved = floated(new Endpoint(address, local), new Endpoint(address, remote), own)
    return [moved.local.port, moved.remote.port]
  }
  assert.deepEqual(after(500, 500), [4500, 4500])
  assert.deepEqual(after(4500, 4500), [4500, 4500])
  assert.deepEqual(after(4500, 14500), [4500, 14500])
  assert.deepEqual(after(4500, 500), [4500, 4500])
  // Our own ports are others: the peer still is on its well-known one.
  assert.deepEqual(after(1500, 500, CUSTOM), [14500, 4500])
  assert.deepEqual(after(14500, 24500, CUSTOM), [14500, 24500])
})
