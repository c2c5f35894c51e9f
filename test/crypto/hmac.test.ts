import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { hmac as nobleHmac } from '@noble/hashes/hmac.js'
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js'

import { toHex } from '../../src/base/bytes.ts'
import { hmac } from '../../src/crypto/hmac.ts'
import { seededEntropy } from '../support/crypto-fixtures.ts'

// The vectors of RFC 2202 and RFC 4231 are in prf.test.ts and integrity.test.ts; here are the lengths around the edges.
for (const [hash, oracle] of [
  ['sha1', sha1] as const,
  ['sha256', sha256] as const,
  ['sha384', sha384] as const,
  ['sha512', sha512] as const,
]) {
  test(`HMAC with ${hash}, for keys and data of any length, is what another implementation makes of it`, () => {
    const entropy = seededEntropy('hmac')
    for (const keyLength of [0, 1, 20, 63, 64, 65, 127, 128, 129, 200]) {
      for (const dataLength of [0, 1, 63, 64, 1919, 1920, 1921, 1983, 1984, 1985, 9000]) {
        const key = entropy.bytes(keyLength)
        const data = entropy.bytes(dataLength)
        const expected = toHex(nobleHmac(oracle, key, data))
        const third = Math.floor(dataLength / 3)
        assert.equal(toHex(hmac(hash, key, [data])), expected, `${keyLength} and ${dataLength} bytes`)
        assert.equal(toHex(hmac(hash, key, [data.subarray(0, third), data.subarray(third)])), expected, 'in two parts')
      }
    }
  })
}
