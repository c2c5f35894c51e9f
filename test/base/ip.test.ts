import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Endpoint, IpAddress, IpRange } from '../../src/base/ip.ts'

const parse = (text: string): IpAddress => IpAddress.parse(text)
const range = (text: string): IpRange => IpRange.parse(text)

const anyAddress = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => new IpAddress(bytes))

test('addresses are written as RFC 5952 wants', () => {
  // RFC 5952 4: lower case, no leading zeros, the longest run of zeros, the first of equal ones, never a single one.
  const pairs = [
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['fe80:0:0:0:0:0:0:0', 'fe80::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['64:ff9b::198.51.100.7', '64:ff9b::c633:6407'],
    ['192.0.2.1', '192.0.2.1'],
  ] as const
  for (const [text, written] of pairs) assert.equal(parse(text).toString(), written)
  assert.equal(JSON.stringify({ at: parse('192.0.2.1') }), '{"at":"192.0.2.1"}')
})

test('what is no plain address is refused, above all what other parsers read as a different one', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '0x7f.0.0.1',
    '127.1',
    '256.0.0.1',
    '1.2.3.4 ',
    ':::',
    '1::2::3',
    'fe80::1%eth0',
    '12345::',
    '::1.2.3',
    'example.org',
  ]) {
    assert.equal(IpAddress.tryParse(text), null, text)
    assert.throws(() => parse(text), RangeError, text)
  }
})

test('any address survives being written and read', () => {
  fc.assert(fc.property(anyAddress, (address) => parse(address.toString()).equals(address)))
})

test('an address has 4 or 16 bytes, and the families are never equal', () => {
  for (const length of [0, 3, 5, 8, 15, 17]) assert.throws(() => new IpAddress(new Uint8Array(length)), RangeError)
  assert.equal(parse('0.0.0.0').equals(parse('::')), false)
  assert.equal(parse('0.0.0.0').isAny && parse('::').isAny && IpAddress.any(4).isAny && IpAddress.any(6).isAny, true)
  assert.equal(parse('0.0.0.1').isAny, false)
  assert.equal(IpAddress.any(6).toString(), '::')
})

test('an endpoint is an address and a port', () => {
  const endpoint = new Endpoint(parse('192.0.2.1'), 500)
  assert.equal(endpoint.toString(), '192.0.2.1[500]')
  assert.equal(endpoint.withPort(500), endpoint)
  assert.equal(endpoint.withPort(4500).toString(), '192.0.2.1[4500]')
  assert.equal(endpoint.equals(new Endpoint(parse('192.0.2.1'), 500)), true)
  assert.equal(endpoint.equals(endpoint.withPort(4500)), false)
  assert.equal(endpoint.equals(new Endpoint(parse('192.0.2.2'), 500)), false)
})

test('prefixes, ranges and single addresses are ranges', () => {
  const cases = [
    ['10.1.2.3/16', '10.1.0.0', '10.1.255.255', '10.1.0.0/16'],
    ['10.1.2.3/30', '10.1.2.0', '10.1.2.3', '10.1.2.0/30'],
    ['0.0.0.0/0', '0.0.0.0', '255.255.255.255', '0.0.0.0/0'],
    ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.1/32'],
    ['192.0.2.1-192.0.2.9', '192.0.2.1', '192.0.2.9', '192.0.2.1-192.0.2.9'],
    ['192.0.2.0 - 192.0.2.255', '192.0.2.0', '192.0.2.255', '192.0.2.0/24'],
    ['2001:db8::/33', '2001:db8::', '2001:db8:7fff:ffff:ffff:ffff:ffff:ffff', '2001:db8::/33'],
    ['::1', '::1', '::1', '::1/128'],
  ] as const
  for (const [text, first, last, written] of cases) {
    assert.equal(range(text).first.toString(), first, text)
    assert.equal(range(text).last.toString(), last, text)
    assert.equal(range(text).toString(), written, text)
  }
})

test('ranges that make no sense are refused', () => {
  for (const text of [
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/1e1',
    '10.0.0.9-10.0.0.1',
    '10.0.0.1-::1',
    '10.0.0.1-',
    '/8',
  ]) {
    assert.throws(() => range(text), RangeError, text)
  }
  assert.throws(() => IpRange.ofPrefix(parse('10.0.0.0'), 1.5), RangeError)
})

test('a prefix length is told only where the range is exactly that prefix; the covering one is always there', () => {
  assert.equal(range('10.0.0.0-10.0.0.255').prefixLength, 24)
  assert.equal(range('10.0.0.1-10.0.0.255').prefixLength, null)
  assert.equal(range('10.0.0.0-10.0.1.254').prefixLength, null)
  assert.equal(range('10.0.0.1-10.0.0.6').coveringPrefixLength, 29)
  fc.assert(
    fc.property(anyAddress, fc.nat(128), (address, length) => {
      const bits = address.bytes.length * 8
      const prefix = IpRange.ofPrefix(address, length % (bits + 1))
      assert.equal(prefix.prefixLength, length % (bits + 1))
      assert.equal(prefix.coveringPrefixLength, prefix.prefixLength)
      assert.ok(prefix.contains(address) && prefix.contains(prefix))
    }),
  )
})

test('containing and intersecting respect the family and the edges', () => {
  assert.equal(range('10.0.0.0/8').contains(parse('10.255.255.255')), true)
  assert.equal(range('10.0.0.0/8').contains(parse('11.0.0.0')), false)
  assert.equal(range('0.0.0.0/0').contains(parse('::')), false)
  assert.equal(range('10.0.0.0/8').contains(range('10.1.0.0/16')), true)
  assert.equal(range('10.1.0.0/16').contains(range('10.0.0.0/8')), false)
  assert.equal(range('10.0.0.0-10.0.0.9').intersect(range('10.0.0.9-10.0.0.20'))!.toString(), '10.0.0.9/32')
  assert.equal(range('10.0.0.0-10.0.0.9').intersect(range('10.0.0.10-10.0.0.20')), null)
  assert.equal(range('0.0.0.0/0').intersect(range('::/0')), null)
  const [a, b] = [range('10.0.0.0/9'), range('10.64.0.0-10.200.0.0')]
  assert.ok(a.intersect(b)!.equals(b.intersect(a)!))
})
