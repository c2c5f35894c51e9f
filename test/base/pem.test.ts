import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { pemBlocks } from '../../src/base/pem.ts'

const blocks = (text: string): string[] => pemBlocks(Buffer.from(text), ['CERTIFICATE']).map(toHex)

test('every block of the wanted label is read, whatever stands around it', () => {
  const text = `subject=moon
-----BEGIN CERTIFICATE-----
AQID
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----\r\nBwgJ\r\nCg==\r\n-----END CERTIFICATE-----`
  assert.deepEqual(blocks(text), ['010203', '0708090a'])
})

test('a block without its end, or with another, is none', () => {
  assert.deepEqual(blocks('-----BEGIN CERTIFICATE-----\nAQID\n'), [])
  assert.deepEqual(blocks('-----BEGIN CERTIFICATE-----\nAQID\n-----END X509 CRL-----\n'), [])
  assert.deepEqual(blocks('-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END CERTIFICATE-----\n'), [])
})

test('many beginnings without an end are seen through in one go', () => {
  assert.deepEqual(blocks('-----BEGIN CERTIFICATE-----\n'.repeat(20_000)), [])
})
