/**
 * What a route tells of its MTU, in rtnetlink's bytes.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { decodeLink, decodeRouteMtu, encodeRouteQuery } from '../../src/kernel/rtnetlink.ts'
import { RTM } from '../../src/kernel/rtnetlink-constants.ts'
import { readMessages, RequestMessage, type ReceivedMessage } from '../../src/kernel/xfrm/attributes.ts'

const isLittle = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1
const word = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, isLittle)
  return bytes
}
/** An attribute: length and type of 16 bits each, then its value. */
const attribute = (type: number, value: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(4 + value.length)
  new DataView(bytes.buffer).setUint16(0, bytes.length, isLittle)
  new DataView(bytes.buffer).setUint16(2, type, isLittle)
  bytes.set(value, 4)
  return bytes
}

function message(type: number, structure: number, attributes: readonly (readonly [number, Uint8Array])[]): ReceivedMessage {
  const built = new RequestMessage(type, 0, 1, structure)
  for (const [kind, value] of attributes) built.put(built.attribute(kind, value.length), value)
  const [read] = readMessages(built.finish())
  assert.ok(read !== undefined)
  return read
}

const route = (...attributes: readonly (readonly [number, Uint8Array])[]): ReceivedMessage =>
  message(RTM.NEWROUTE, 12, attributes)

test('a route has its own MTU, or that of the interface it leaves by', () => {
  const oif = [4, word(3)] as const
  assert.deepEqual(decodeRouteMtu(route(oif)), { interfaceIndex: 3, mtu: null })
  assert.deepEqual(decodeRouteMtu(route(oif, [8, attribute(2, word(1400))])), { interfaceIndex: 3, mtu: 1400 })
  // Other metrics are none of it, and 0 is none at all.
  assert.deepEqual(decodeRouteMtu(route(oif, [8, attribute(10, word(64))])), { interfaceIndex: 3, mtu: null })
  assert.deepEqual(decodeRouteMtu(route(oif, [8, attribute(2, word(0))])), { interfaceIndex: 3, mtu: null })
  assert.deepEqual(decodeRouteMtu(route()), { interfaceIndex: null, mtu: null })
})

test('a link tells its MTU', () => {
  assert.equal(decodeLink(message(RTM.NEWLINK, 16, [[4, word(9000)]])).mtu, 9000)
})

test('asked for is the route as it is used, not the entry of the table', () => {
  const ends = { local: IpAddress.parse('192.0.2.1'), remote: IpAddress.parse('192.0.2.2'), interfaceIndex: null }
  const flagsOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(24, isLittle)
  // RTM_F_FIB_MATCH
  assert.equal(flagsOf(encodeRouteQuery(ends, 1)), 0x2000)
  assert.equal(flagsOf(encodeRouteQuery({ ...ends, asUsed: true }, 1)), 0)
})
