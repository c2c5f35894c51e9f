import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import fc from 'fast-check'

import { EspalierError } from '../../src/base/errors.ts'
import { IpAddress, IpRange } from '../../src/base/ip.ts'
import {
  DYNAMIC_SELECTOR,
  formatSelector,
  isSubset,
  narrow,
  parseSelectorTemplate,
  prefixesOf,
  resolveTemplate,
  type TrafficSelector,
} from '../../src/negotiate/selectors.ts'

const HOST = IpAddress.parse('192.0.2.1')
const parse = (text: string): TrafficSelector => resolveTemplate(parseSelectorTemplate(text), [HOST])[0]!
const roundTrip = (text: string): string => formatSelector(parse(text))
const narrowed = (configured: string[], offered: string[]): string[] =>
  narrow(configured.map(parse), offered.map(parse)).map(formatSelector)

describe('text to selector and back', () => {
  const cases: [string, string][] = [
    ['10.1.0.0/16', '10.1.0.0/16'],
    ['10.1.2.3/16', '10.1.0.0/16'],
    ['10.1.0.1', '10.1.0.1/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
    ['fec0::1', 'fec0::1/128'],
    ['10.0.0.1-10.0.0.9', '10.0.0.1..10.0.0.9'],
    ['10.0.0.0-10.0.0.255', '10.0.0.0/24'],
    ['10.0.0.1..10.0.0.9', '10.0.0.1..10.0.0.9'],
    ['fec0::1-fec0::5[udp]', 'fec0::1..fec0::5[udp]'],
    ['dynamic', '192.0.2.1/32'],
    ['[tcp/80]', '192.0.2.1/32[tcp/80]'],
    ['dynamic[gre]', '192.0.2.1/32[gre]'],
    ['10.0.0.0/8[udp/1024-2000]', '10.0.0.0/8[udp/1024-2000]'],
    ['10.0.0.0/8[tcp/http]', '10.0.0.0/8[tcp/80]'],
    ['10.0.0.0/8[6/HTTPS]', '10.0.0.0/8[tcp/443]'],
    ['10.0.0.0/8[17]', '10.0.0.0/8[udp]'],
    ['10.0.0.0/8[0x11/0x35]', '10.0.0.0/8[udp/53]'],
    ['10.0.0.0/8[any/53]', '10.0.0.0/8[0/53]'],
    ['10.0.0.0/8[/53]', '10.0.0.0/8[0/53]'],
    ['10.0.0.0/8[]', '10.0.0.0/8'],
    ['10.0.0.0/8[any/any]', '10.0.0.0/8'],
    ['10.0.0.0/8[tcp/any]', '10.0.0.0/8[tcp]'],
    ['10.0.0.0/8[tcp/]', '10.0.0.0/8[tcp]'],
    ['10.0.0.0/8[udp/opaque]', '10.0.0.0/8[udp/OPAQUE]'],
    ['10.0.0.0/8[/opaque]', '10.0.0.0/8[0/OPAQUE]'],
    ['10.0.0.0/8[icmp/8]', '10.0.0.0/8[icmp/8]'],
    ['10.0.0.0/8[icmp/3(4)]', '10.0.0.0/8[icmp/3(4)]'],
    ['10.0.0.0/8[icmp/772]', '10.0.0.0/8[icmp/3(4)]'],
    ['10.0.0.0/8[icmp/3(1)-3(4)]', '10.0.0.0/8[icmp/3(1)-3(4)]'],
    ['10.0.0.0/8[icmp/0-8]', '10.0.0.0/8[icmp/0-8]'],
    ['::/0[icmpv6/135]', '::/0[ipv6-icmp/135]'],
    ['10.0.0.0/8[253]', '10.0.0.0/8[253]'],
  ]
  for (const [text, expected] of cases) {
    test(`${text} is ${expected}, which reads the same`, () => {
      assert.equal(roundTrip(text), expected)
      assert.equal(roundTrip(expected), expected)
    })
  }

  test('dynamic stays open until the address is known', () => {
    assert.deepEqual(parseSelectorTemplate('dynamic'), DYNAMIC_SELECTOR)
    assert.deepEqual(parseSelectorTemplate('dynamic[tcp/22]'), { range: null, protocol: 6, firstPort: 22, lastPort: 22 })
    const resolved = (...hosts: string[]): readonly string[] =>
      resolveTemplate(
        DYNAMIC_SELECTOR,
        hosts.map((host) => IpAddress.parse(host)),
      ).map(formatSelector)
    assert.deepEqual(resolved('fec0::1', '10.0.0.1'), ['fec0::1/128', '10.0.0.1/32'])
    assert.deepEqual(resolved('0.0.0.0', '::'), ['0.0.0.0/0', '::/0'])
  })

  test('an ICMP type is in the upper, a code in the lower 8 bits of the port (RFC 7296 3.13.1)', () => {
    assert.equal(parse('::/0[icmp/2(3)]').firstPort, 0x0203)
    assert.equal(parse('::/0[icmp/2]').lastPort, 0x0200)
  })

  test('OPAQUE is the range from 65535 to 0 (RFC 7296 3.13.1)', () => {
    const { firstPort, lastPort } = parse('::/0[udp/opaque]')
    assert.deepEqual([firstPort, lastPort], [65535, 0])
  })

  const refused = [
    '',
    '10.0.0.0/33',
    '10.0.0',
    '010.0.0.0/8',
    '10.0.0.9-10.0.0.1',
    '10.0.0.1-fec0::1',
    'moon',
    '%any',
    '10.0.0.0/8[tcp',
    '10.0.0.0/8]',
    '10.0.0.0/8[tcp]x',
    '10.0.0.0/8[tcpp]',
    '10.0.0.0/8[256]',
    '10.0.0.0/8[-1]',
    '10.0.0.0/8[tcp/65536]',
    '10.0.0.0/8[tcp/80-70]',
    '10.0.0.0/8[tcp/1-2-3]',
    '10.0.0.0/8[tcp/nonsense]',
    '10.0.0.0/8[tcp/constructor]',
    '10.0.0.0/8[tcp/3(4)]',
    '10.0.0.0/8[icmp/256(0)]',
    '10.0.0.0/8[icmp/3(256)]',
    '10.0.0.0/8[icmp/http]',
    '10.0.0.0/8[tcp/080]',
  ]
  for (const text of refused) {
    test(`'${text}' is refused`, () => {
      assert.throws(
        () => parseSelectorTemplate(text),
        (error: unknown) => error instanceof EspalierError && error.code === 'SELECTOR_INVALID',
      )
    })
  }
})

describe('narrowing (RFC 7296 2.9)', () => {
  test('the whole of an offer within what is configured, and the configured part of a wider one', () => {
    assert.deepEqual(narrowed(['10.0.0.0/8'], ['10.1.0.0/16']), ['10.1.0.0/16'])
    assert.deepEqual(narrowed(['10.1.0.0/16'], ['0.0.0.0/0']), ['10.1.0.0/16'])
    assert.deepEqual(narrowed(['10.0.0.0-10.0.0.20'], ['10.0.0.10-10.0.0.30']), ['10.0.0.10..10.0.0.20'])
  })

  test('the order is that of the offer, since its first selector is the packet that started it', () => {
    assert.deepEqual(narrowed(['10.1.0.0/16', '10.2.0.0/16'], ['10.2.0.5', '10.1.0.0/16']), ['10.2.0.5/32', '10.1.0.0/16'])
  })

  test('what another selector contains is left out, before and behind it', () => {
    assert.deepEqual(narrowed(['0.0.0.0/0'], ['10.1.0.5', '10.1.0.0/16', '10.1.0.6', '10.1.0.0/16']), ['10.1.0.0/16'])
    assert.deepEqual(narrowed(['10.0.0.0/8', '10.1.0.0/16'], ['10.1.0.0/16']), ['10.1.0.0/16'])
  })

  test('nothing in common is nothing: other addresses, families, protocols, ports', () => {
    for (const [own, offer] of [
      ['10.1.0.0/16', '10.2.0.0/16'],
      ['0.0.0.0/0', '::/0'],
      ['0.0.0.0/0[tcp]', '0.0.0.0/0[udp]'],
      ['0.0.0.0/0[tcp/80]', '0.0.0.0/0[tcp/81-90]'],
    ] as const) {
      assert.deepEqual(narrowed([own], [offer]), [])
    }
    assert.deepEqual(narrowed([], ['10.0.0.0/8']), [])
    assert.deepEqual(narrowed(['10.0.0.0/8'], []), [])
  })

  test('protocol and ports narrow, too', () => {
    assert.deepEqual(narrowed(['10.0.0.0/8[tcp]'], ['10.0.0.0/8']), ['10.0.0.0/8[tcp]'])
    assert.deepEqual(narrowed(['10.0.0.0/8'], ['10.0.0.0/8[udp/53]']), ['10.0.0.0/8[udp/53]'])
    assert.deepEqual(narrowed(['10.0.0.0/8[tcp/1000-2000]'], ['10.0.0.0/8[tcp/1500-3000]']), ['10.0.0.0/8[tcp/1500-2000]'])
  })

  test('OPAQUE meets OPAQUE and any port, but no other', () => {
    assert.deepEqual(narrowed(['10.0.0.0/8[udp/opaque]'], ['10.0.0.0/8[udp/opaque]']), ['10.0.0.0/8[udp/OPAQUE]'])
    assert.deepEqual(narrowed(['10.0.0.0/8'], ['10.0.0.0/8[udp/opaque]']), ['10.0.0.0/8[udp/OPAQUE]'])
    assert.deepEqual(narrowed(['10.0.0.0/8[udp/opaque]'], ['10.0.0.0/8']), ['10.0.0.0/8[udp/OPAQUE]'])
    assert.deepEqual(narrowed(['10.0.0.0/8[udp/53]'], ['10.0.0.0/8[udp/opaque]']), [])
    assert.deepEqual(narrowed(['10.0.0.0/8[udp/0-65534]'], ['10.0.0.0/8[udp/opaque]']), [])
  })

  test('of more than an answer can have the first ones are kept', () => {
    const offer = Array.from({ length: 255 }, (_, i) => `10.0.0.${i}`)
    const both = narrowed(['10.0.0.0/8[tcp]', '10.0.0.0/8[udp]'], offer)
    assert.equal(both.length, 255)
    assert.deepEqual([both[0], both[1], both.at(-1)], ['10.0.0.0/32[tcp]', '10.0.0.0/32[udp]', '10.0.0.127/32[tcp]'])
  })

  test('subsets', () => {
    assert.ok(isSubset(parse('10.1.0.0/16[tcp/80]'), parse('10.0.0.0/8')))
    assert.ok(isSubset(parse('10.1.0.0/16[udp/opaque]'), parse('10.0.0.0/8[udp]')))
    assert.ok(!isSubset(parse('10.1.0.0/16'), parse('10.0.0.0/8[tcp]')))
    assert.ok(!isSubset(parse('10.1.0.0/16[tcp]'), parse('10.0.0.0/8[tcp/80]')))
    assert.ok(!isSubset(parse('10.1.0.0/16[tcp/80]'), parse('10.0.0.0/8[tcp/opaque]')))
    assert.ok(!isSubset(parse('10.0.0.0/8'), parse('10.1.0.0/16')))
  })
})

const address = (last: number): IpAddress => new IpAddress(Uint8Array.of(10, 0, last >> 8, last & 0xff))
const ranges = fc.tuple(fc.nat(15), fc.nat(15)).map(([a, b]) => new IpRange(address(Math.min(a, b)), address(Math.max(a, b))))
const ports = fc.oneof(
  fc.constant([0, 65535] as const),
  fc.constant([65535, 0] as const),
  fc.tuple(fc.nat(3), fc.nat(3)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
)
const selectors = fc
  .record({ range: ranges, protocol: fc.constantFrom(0, 6, 17), ports })
  .map(({ range, protocol, ports: [firstPort, lastPort] }): TrafficSelector => ({ range, protocol, firstPort, lastPort }))

/** A packet of these 16 hosts; port -1 is one whose ports cannot be seen. */
function covers(list: readonly TrafficSelector[], host: number, protocol: number, port: number): boolean {
  return list.some(({ range, protocol: wanted, firstPort, lastPort }) => {
    if (!range.contains(address(host)) || (wanted !== 0 && wanted !== protocol)) return false
    if (firstPort === 0 && lastPort === 65535) return true
    return port < 0 ? firstPort > lastPort : firstPort <= port && port <= lastPort
  })
}

test('narrowing lets through exactly the packets both sides let through, packet by packet', () => {
  fc.assert(
    fc.property(fc.array(selectors, { maxLength: 4 }), fc.array(selectors, { maxLength: 4 }), (own, offer) => {
      const result = narrow(own, offer)
      for (let host = 0; host < 16; host++) {
        for (const protocol of [6, 17]) {
          for (const port of [-1, 0, 1, 2, 3, 4, 65535]) {
            assert.equal(
              covers(result, host, protocol, port),
              covers(own, host, protocol, port) && covers(offer, host, protocol, port),
            )
          }
        }
      }
      for (const [i, a] of result.entries()) for (const [j, b] of result.entries()) assert.ok(i === j || !isSubset(a, b))
    }),
  )
})

test('no text throws anything but an EspalierError', () => {
  const pieces = fc.constantFrom(
    '10.0.0.1',
    '/8',
    '-',
    '..',
    '[',
    ']',
    'tcp',
    '/',
    '80',
    'icmp',
    '(',
    ')',
    'dynamic',
    'any',
    'opaque',
    ' ',
    '::',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces).map((list) => list.join('')),
      ),
      (text) => {
        try {
          assert.equal(roundTrip(roundTrip(text)), roundTrip(text))
        } catch (error) {
          assert.ok(error instanceof EspalierError, String(error))
        }
      },
    ),
    { numRuns: 2000 },
  )
})

describe('prefixes', () => {
  test('of a range that is none', () => {
    assert.deepEqual(prefixesOf(IpRange.parse('10.0.0.1-10.0.0.9')).map(String), [
      '10.0.0.1/32',
      '10.0.0.2/31',
      '10.0.0.4/30',
      '10.0.0.8/31',
    ])
    assert.deepEqual(prefixesOf(IpRange.parse('fec0::-fec0::1:ffff')).map(String), ['fec0::/111'])
  })

  test('of everything, and of one address', () => {
    for (const text of ['0.0.0.0/0', '::/0', '10.0.0.1/32', '255.255.255.255/32', 'fec0::1/128'])
      assert.deepEqual(prefixesOf(IpRange.parse(text)).map(String), [text])
  })

  test('of the worst ranges', () => {
    assert.equal(prefixesOf(IpRange.parse('0.0.0.1-255.255.255.254')).length, 62)
    assert.equal(prefixesOf(IpRange.parse('::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe')).length, 254)
  })

  test('are what the kernel can have, in order, without gaps, and no two could be one', () => {
    const addresses = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => new IpAddress(bytes))
    fc.assert(
      fc.property(addresses, addresses, (a, b) => {
        const range = a.compare(b) <= 0 ? new IpRange(a, b) : new IpRange(b, a)
        const prefixes = prefixesOf(range)
        const number = (at: IpAddress): number => Buffer.from(at.bytes).readUInt32BE()
        assert.equal(number(prefixes[0]!.first), number(range.first))
        assert.equal(number(prefixes.at(-1)!.last), number(range.last))
        for (const [i, prefix] of prefixes.entries()) {
          assert.notEqual(prefix.prefixLength, null)
          const next = prefixes[i + 1]
          if (next === undefined) continue
          assert.equal(number(prefix.last) + 1, number(next.first))
          assert.equal(new IpRange(prefix.first, next.last).prefixLength, null)
        }
      }),
    )
  })
})
