import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import {
  outboundSelectorCount,
  outboundSelectors,
  policyKey,
  portMaskOf,
  portRangeOf,
  reversed,
} from '../../src/kernel/selectors.ts'
import { ANY_PORT } from '../../src/kernel/vocabulary.ts'
import { selector, traffic } from './fixtures.ts'

test('port ranges become the narrowest mask that covers them', () => {
  assert.deepEqual(portMaskOf(ANY_PORT), { port: 0, mask: 0 })
  assert.deepEqual(portMaskOf({ first: 443, last: 443 }), { port: 443, mask: 0xffff })
  assert.deepEqual(portMaskOf({ first: 1024, last: 2047 }), { port: 1024, mask: 0xfc00 })
  assert.deepEqual(portMaskOf({ first: 5, last: 6 }), { port: 4, mask: 0xfffc })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }), (a, b) => {
      const range = { first: Math.min(a, b), last: Math.max(a, b) }
      const covered = portRangeOf(portMaskOf(range))
      assert.ok(covered.first <= range.first && covered.last >= range.last)
      // Half of it would not do.
      const middle = (covered.first + covered.last + 1) / 2
      assert.ok(covered.first === covered.last || (range.first < middle && range.last >= middle))
    }),
  )
})

test('every pair of selectors that can meet becomes a policy selector, ranges are split, doubles are given once', () => {
  const texts = outboundSelectors(
    [traffic('10.1.0.0/16'), traffic('2001:db8:1::/48'), traffic('10.1.0.0/16')],
    [traffic('10.2.0.1-10.2.0.3'), traffic('2001:db8:2::/48')],
  ).map((one) => `${one.source.toString()} ${one.destination.toString()}`)
  assert.deepEqual(texts, ['10.1.0.0/16 10.2.0.1/32', '10.1.0.0/16 10.2.0.2/31', '2001:db8:1::/48 2001:db8:2::/48'])
})

test('how many policy selectors there are at most is known without making them', () => {
  const ranges = (text: string, count: number): ReturnType<typeof traffic>[] =>
    Array.from({ length: count }, (_, i) => traffic(`10.${text}.${i}.1-10.${text}.${i}.254`))
  assert.equal(outboundSelectorCount(ranges('1', 3), ranges('2', 4)), 3 * 14 * 4 * 14)
  assert.equal(outboundSelectors(ranges('1', 3), ranges('2', 4)).length, 3 * 14 * 4 * 14)
  assert.equal(outboundSelectorCount(ranges('1', 255), ranges('2', 255)), (255 * 14) ** 2)
  assert.equal(outboundSelectorCount([traffic('10.1.0.0/16')], [traffic('2001:db8:2::/48')]), 0)
})

test('protocols that exclude each other make no policy, any takes that of the other side', () => {
  assert.deepEqual(outboundSelectors([traffic('10.1.0.0/16', 6)], [traffic('10.2.0.0/16', 17)]), [])
  const [one] = outboundSelectors([traffic('10.1.0.0/16')], [traffic('10.2.0.0/16', 6, 80, 80)])
  assert.deepEqual([one?.protocol, one?.sourcePorts, one?.destinationPorts], [6, ANY_PORT, { first: 80, last: 80 }])
})

test('ICMP type rides in the source port and code in the destination port, in both directions', () => {
  const echo = (8 << 8) | 0
  const [exact] = outboundSelectors([traffic('10.1.0.0/16', 1, echo, echo)], [traffic('10.2.0.0/16', 1)])
  assert.deepEqual(
    [exact?.sourcePorts, exact?.destinationPorts],
    [
      { first: 8, last: 8 },
      { first: 0, last: 0 },
    ],
  )
  assert.deepEqual(reversed(exact!), { ...exact!, source: exact!.destination, destination: exact!.source })
  const [anyCode] = outboundSelectors([traffic('10.1.0.0/16', 1)], [traffic('10.2.0.0/16', 1, 3 << 8, (3 << 8) | 255)])
  assert.deepEqual([anyCode?.sourcePorts, anyCode?.destinationPorts], [{ first: 3, last: 3 }, ANY_PORT])
  const [anyType] = outboundSelectors([traffic('10.1.0.0/16', 1, 3 << 8, 8 << 8)], [traffic('10.2.0.0/16', 1)])
  assert.deepEqual([anyType?.sourcePorts, anyType?.destinationPorts], [ANY_PORT, ANY_PORT])
})

test('OPAQUE ports are the port 0 the kernel reads from packets without visible ports', () => {
  const [one] = outboundSelectors([traffic('10.1.0.0/16', 17, 65535, 0)], [traffic('10.2.0.0/16', 17)])
  assert.deepEqual(one?.sourcePorts, { first: 0, last: 0 })
})

test('policies have one key exactly when the kernel takes them for one', () => {
  const base = selector('10.1.0.0/16', '10.2.0.0/16', { protocol: 17 })
  const wide = { ...base, sourcePorts: { first: 1000, last: 1005 } }
  const wider = { ...base, sourcePorts: { first: 1000, last: 1007 } }
  const id = { direction: 'out', selector: wide, mark: null, ifId: 0 } as const
  assert.equal(policyKey(id), policyKey({ ...id, selector: wider }))
  const marked = { ...id, mark: { value: 7, mask: 0xff } }
  const others = [
    { ...id, direction: 'in' as const },
    { ...id, selector: base },
    { ...id, ifId: 7 },
    marked,
    { ...marked, mark: { value: 7, mask: 0xf } },
    { ...marked, ifId: 7 },
  ]
  assert.equal(new Set([id, ...others].map(policyKey)).size, others.length + 1)
})
