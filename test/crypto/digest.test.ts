import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { sha1 as nobleSha1 } from '@noble/hashes/legacy.js'

import { toHex } from '../../src/base/bytes.ts'
import { sha1 } from '../../src/crypto/digest.ts'
import { seededEntropy } from '../support/crypto-fixtures.ts'

test('SHA-1: RFC 3174 7.3', () => {
  assert.equal(toHex(sha1(new TextEncoder().encode('abc'))), 'a9993e364706816aba3e25717850c26c9cd0d89d')
  assert.equal(toHex(sha1(new TextEncoder().encode('a'.repeat(1_000_000)))), '34aa973cd4c4daa4f61eeb2bdbad27316534016f')
})

test('SHA-1 of what NAT detection hashes is what another implementation makes of it', () => {
  for (const length of [0, 18, 22, 34, 55, 56, 64, 200]) {
    const bytes = seededEntropy('sha1').bytes(length)
    assert.equal(toHex(sha1(bytes)), toHex(nobleSha1(bytes)))
  }
})
