import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { formatLeases, KEPT_LEASES_MAX, parseLeases } from '../../src/address/lease-text.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { IpAddress } from '../../src/base/ip.ts'
import type { KeptLease } from '../../src/ports.ts'

const lease = (pool: string, address: string, name: string): KeptLease => ({
  pool,
  address: IpAddress.parse(address),
  holder: { key: `2 ${name}`, name },
})
const TEXT = 'espalier leases 1\n["a","10.3.0.1","2 x","x"]\n["six","fd00::1","2 y","y"]\nend 2\n'

test('a line for each lease, in order, and a count behind them', () => {
  const leases = [lease('a', '10.3.0.1', 'x'), lease('six', 'fd00::1', 'y')]
  assert.equal(formatLeases(leases), TEXT)
  assert.deepEqual(parseLeases(TEXT), leases)
  assert.deepEqual(parseLeases(formatLeases([])), [])
})

test('whatever names there are, what is written is read again', () => {
  const any = fc.record({ pool: fc.string(), name: fc.string(), octets: fc.uint8Array({ minLength: 4, maxLength: 4 }) })
  fc.assert(
    fc.property(fc.array(any), (many) => {
      const leases = many.map(({ pool, name, octets }) => lease(pool, octets.join('.'), name))
      assert.deepEqual(
        parseLeases(formatLeases(leases)).map(({ pool, address, holder }) => [pool, address.toString(), holder]),
        leases.map(({ pool, address, holder }) => [pool, address.toString(), holder]),
      )
    }),
  )
})

test('what was cut off anywhere, or is of another kind, is refused with its reason', () => {
  for (let length = 0; length < TEXT.length; length++)
    assert.throws(() => parseLeases(TEXT.slice(0, length)), EspalierError, `${length} characters`)
  for (const [text, why] of [
    [TEXT.replace('leases 1', 'leases 2'), /another version/],
    ['nameserver 10.0.0.1\n', /no list of leases/],
    [TEXT.replace('end 2', 'end 3'), /its end is missing/],
    [TEXT.replace('fd00::1', 'fd00::g'), /line 3 is no lease/],
    [TEXT.replace(',"y"]', ']'), /line 3 is no lease/],
    [TEXT.replace(',"x"]', ',1]'), /line 2 is no lease/],
    [TEXT.replace('["a"', '{"a"'), /line 2 is no lease/],
  ] as const)
    assert.throws(() => parseLeases(text), { name: 'EspalierError', message: why })
})

test('any bytes are leases or a reason', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseLeases(`espalier leases 1\n${text}`)
      } catch (error) {
        assert.ok(error instanceof EspalierError)
      }
    }),
  )
})

test('of too many those go first who have been away longest', () => {
  const leases = Array.from({ length: KEPT_LEASES_MAX + 2 }, (_, i) => ({
    ...lease('a', '10.3.0.1', `n${i}`),
    address: new IpAddress(Uint8Array.of(10, i >> 16, (i >> 8) & 255, i & 255)),
  }))
  const again = parseLeases(formatLeases(leases))
  assert.deepEqual([again.length, again[0]!.holder.name], [KEPT_LEASES_MAX, 'n2'])
})
