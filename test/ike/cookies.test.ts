import assert from 'node:assert/strict'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { Cookies } from '../../src/ike/cookies.ts'

const ADDRESS = IpAddress.parse('198.51.100.7')
const OTHER = IpAddress.parse('198.51.100.8')
const SPI = 0x0102030405060708n
const NOW = 1_234_500

function cookies(): Cookies {
  let count = 0
  return new Cookies({ bytes: (length) => new Uint8Array(length).fill(++count) })
}

test('a cookie is good for the address and the SPI it was made for', () => {
  const jar = cookies()
  const cookie = jar.bake(SPI, ADDRESS, NOW)
  assert.equal(jar.verify(cookie, SPI, ADDRESS, NOW), true)
  assert.equal(jar.verify(cookie, SPI, OTHER, NOW), false)
  assert.equal(jar.verify(cookie, SPI + 1n, ADDRESS, NOW), false)
  assert.equal(jar.verify(cookie, SPI, IpAddress.parse('::ffff:c633:6407'), NOW), false)
  assert.ok(cookie.length <= 64, 'RFC 7296 2.6 allows 64 octets')
})

test('a cookie is good for ten seconds', () => {
  const jar = cookies()
  const cookie = jar.bake(SPI, ADDRESS, NOW)
  assert.equal(jar.verify(cookie, SPI, ADDRESS, NOW + 10 * SECOND), true)
  assert.equal(jar.verify(cookie, SPI, ADDRESS, NOW + 11 * SECOND), false)
  // One from the future was not made by us in this life.
  assert.equal(jar.verify(cookie, SPI, ADDRESS, NOW - 5 * SECOND), false)
})

test('every octet of a cookie counts', () => {
  const jar = cookies()
  const cookie = jar.bake(SPI, ADDRESS, NOW)
  for (let i = 0; i < cookie.length; i++) {
    const changed = cookie.slice()
    changed[i]! ^= 1
    assert.equal(jar.verify(changed, SPI, ADDRESS, NOW), false, `octet ${i}`)
  }
  assert.equal(jar.verify(cookie.subarray(1), SPI, ADDRESS, NOW), false)
  assert.equal(jar.verify(Uint8Array.of(...cookie, 0), SPI, ADDRESS, NOW), false)
  assert.equal(jar.verify(new Uint8Array(), SPI, ADDRESS, NOW), false)
})

test('the secret changes every two minutes; cookies of the one before are still good, older ones are not', () => {
  const jar = cookies()
  jar.bake(SPI, ADDRESS, NOW)
  const late = NOW + 2 * MINUTE
  const cookie = jar.bake(SPI, ADDRESS, late)
  const next = jar.bake(SPI, ADDRESS, late + SECOND)
  assert.notEqual(next[0], cookie[0], 'another secret')
  assert.equal(jar.verify(cookie, SPI, ADDRESS, late + SECOND), true)
  // A third secret forgets the first.
  jar.bake(SPI, ADDRESS, late + 2 * SECOND + 2 * MINUTE)
  assert.equal(jar.verify(cookie, SPI, ADDRESS, late + SECOND), false)
})

test('nobody’s cookie is good before the first was made', () => {
  assert.equal(cookies().verify(new Uint8Array(37), SPI, ADDRESS, NOW), false)
})
