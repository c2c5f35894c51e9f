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
  assert.equal(jar.judge(cookie, SPI, ADDRESS, NOW), 'good')
  assert.equal(jar.judge(cookie, SPI, OTHER, NOW), 'wrong')
  assert.equal(jar.judge(cookie, SPI + 1n, ADDRESS, NOW), 'wrong')
  assert.equal(jar.judge(cookie, SPI, IpAddress.parse('::ffff:c633:6407'), NOW), 'wrong')
  assert.ok(cookie.length <= 64, 'RFC 7296 2.6 allows 64 octets')
})

test('a cookie is good for ten seconds', () => {
  const jar = cookies()
  const cookie = jar.bake(SPI, ADDRESS, NOW)
  assert.equal(jar.judge(cookie, SPI, ADDRESS, NOW + 10 * SECOND), 'good')
  assert.equal(jar.judge(cookie, SPI, ADDRESS, NOW + 11 * SECOND), 'old')
  // One from the future was not made by us in this life.
  assert.equal(jar.judge(cookie, SPI, ADDRESS, NOW - 5 * SECOND), 'old')
})

test('every octet of a cookie counts', () => {
  const jar = cookies()
  const cookie = jar.bake(SPI, ADDRESS, NOW)
  for (let i = 0; i < cookie.length; i++) {
    const changed = cookie.slice()
    changed[i]! ^= 1
    assert.equal(jar.judge(changed, SPI, ADDRESS, NOW), 'wrong', `octet ${i}`)
  }
  assert.equal(jar.judge(cookie.subarray(1), SPI, ADDRESS, NOW), 'wrong')
  assert.equal(jar.judge(Uint8Array.of(...cookie, 0), SPI, ADDRESS, NOW), 'wrong')
  assert.equal(jar.judge(new Uint8Array(), SPI, ADDRESS, NOW), 'wrong')
})

test('the secret changes every two minutes; cookies of the one before are still good, older ones are not', () => {
  const jar = cookies()
  jar.bake(SPI, ADDRESS, NOW)
  const late = NOW + 2 * MINUTE
  const cookie = jar.bake(SPI, ADDRESS, late)
  const next = jar.bake(SPI, ADDRESS, late + SECOND)
  assert.notEqual(next[0], cookie[0], 'another secret')
  assert.equal(jar.judge(cookie, SPI, ADDRESS, late + SECOND), 'good')
  // A third secret forgets the first.
  jar.bake(SPI, ADDRESS, late + 2 * SECOND + 2 * MINUTE)
  assert.equal(jar.judge(cookie, SPI, ADDRESS, late + SECOND), 'wrong')
})

test('nobody’s cookie is good before the first was made', () => {
  assert.equal(cookies().judge(new Uint8Array(37), SPI, ADDRESS, NOW), 'wrong')
})
