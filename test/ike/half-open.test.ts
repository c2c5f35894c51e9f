import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SECOND } from '../../src/base/time.ts'
import { DEFAULT_IKE_SETTINGS, type IkeSettings } from '../../src/ike/connection.ts'
import type { CookieVerdict } from '../../src/ike/cookies.ts'
import { HalfOpen } from '../../src/ike/half-open.ts'

const HERE = '192.0.2.1'
const THERE = '198.51.100.7'
const NOW = 1_000_000

/** So many half-open IKE_SAs from there; the owners are their numbers. */
function crowd(count: number, address = THERE): HalfOpen<number> {
  const halfOpen = new HalfOpen<number>()
  for (let i = 0; i < count; i++) halfOpen.add(i, address)
  return halfOpen
}

function judge(
  halfOpen: HalfOpen<number>,
  cookie: CookieVerdict,
  words: {
    readonly address?: string
    readonly at?: number
    readonly ikeSas?: number
    readonly waiting?: number
  } & Partial<IkeSettings>,
): string {
  const load = { ikeSas: words.ikeSas ?? 0, waiting: () => words.waiting ?? 0 }
  return halfOpen.judge(words.address ?? THERE, cookie, { ...DEFAULT_IKE_SETTINGS, ...words }, load, words.at ?? NOW)
}

test('cookies are asked for from a crowd of one address, and of everybody from a crowd of any', () => {
  assert.equal(judge(crowd(2), 'none', {}), 'heard')
  assert.equal(judge(crowd(3), 'none', {}), 'cookie')
  assert.equal(judge(crowd(3), 'none', { address: HERE }), 'heard')
  assert.equal(judge(crowd(3), 'good', {}), 'heard')
  assert.equal(judge(crowd(29), 'none', { address: HERE }), 'heard')
  assert.equal(judge(crowd(30), 'none', { address: HERE }), 'cookie')
  assert.equal(judge(crowd(30), 'none', { cookieThreshold: 0, cookieThresholdIp: 0, blockThreshold: 0 }), 'heard')
})

test('a cookie that is too old is asked for again, and so is a wrong one as long as few are half open', () => {
  for (const cookie of ['old', 'wrong'] as const) {
    assert.equal(judge(crowd(2), cookie, {}), 'heard')
    assert.equal(judge(crowd(4), cookie, {}), 'cookie')
  }
})

test('beyond block_threshold a wrong cookie is not answered, and nobody else is shut out', () => {
  assert.equal(judge(crowd(5), 'wrong', {}), 'blocked')
  assert.equal(judge(crowd(5), 'wrong', { address: HERE }), 'heard')
  assert.equal(judge(crowd(5), 'wrong', { blockThreshold: 0 }), 'cookie')
  assert.equal(judge(crowd(900), 'good', {}), 'heard')
  assert.equal(judge(crowd(5), 'none', {}), 'cookie')
  assert.equal(judge(crowd(5), 'old', {}), 'cookie')
  // Also where cookies are not asked for otherwise.
  assert.equal(judge(crowd(5), 'none', { cookieThreshold: 0, cookieThresholdIp: 0 }), 'cookie')
})

test('cookies are asked for until ten seconds after the last time there was reason to', () => {
  for (const settings of [{ cookieThreshold: 2 }, { cookieThresholdIp: 2 }]) {
    const halfOpen = crowd(2)
    assert.equal(judge(halfOpen, 'none', settings), 'cookie')
    halfOpen.remove(0)
    halfOpen.remove(1)
    assert.equal(halfOpen.size, 0)
    assert.equal(judge(halfOpen, 'none', { ...settings, at: NOW + 9 * SECOND }), 'cookie')
    assert.equal(judge(halfOpen, 'none', { ...settings, at: NOW + 10 * SECOND }), 'heard')
  }
})

test('one address cannot have all the places, whatever cookies it returns', () => {
  assert.equal(judge(crowd(1_000), 'good', {}), 'half-open-limit')
  assert.equal(judge(crowd(1_000), 'good', { address: HERE }), 'heard')
  assert.equal(judge(crowd(10_000), 'good', { address: HERE }), 'half-open-limit')
})

test('half-open IKE_SAs, waiting work and IKE_SAs are limited where that is asked for', () => {
  assert.equal(judge(crowd(1), 'none', { initLimitHalfOpen: 2 }), 'heard')
  assert.equal(judge(crowd(2), 'none', { initLimitHalfOpen: 2 }), 'half-open-limit')
  assert.equal(judge(crowd(0), 'none', { initLimitJobLoad: 7, waiting: 7 }), 'heard')
  assert.equal(judge(crowd(0), 'none', { initLimitJobLoad: 7, waiting: 8 }), 'job-load')
  assert.equal(judge(crowd(0), 'none', { ikeSaLimit: 3, ikeSas: 2 }), 'heard')
  assert.equal(judge(crowd(0), 'none', { ikeSaLimit: 3, ikeSas: 3 }), 'ike-sa-limit')
  // Who has shown nothing yet does not learn of it.
  assert.equal(judge(crowd(30), 'none', { ikeSaLimit: 3, ikeSas: 3 }), 'cookie')
})
