import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import { decryptRc2 } from '../../src/crypto/rc2.ts'

test('one block of RFC 2268 5, by way of CBC', () => {
  // 64 bits of key, all of them effective: ffffffffffffffff is 278b27e42e2f0d49 in the RFC. As the last block of a text it
  // needs padding, which an initialisation vector makes of it.
  const padding = fromHex('0808080808080808')
  const iv = padding.map((byte) => byte ^ 0xff)
  assert.equal(toHex(decryptRc2(fromHex('ffffffffffffffff'), iv, fromHex('278b27e42e2f0d49'))!), '')
  const iv128 = fromHex('0000000000000001')
  assert.equal(
    toHex(decryptRc2(fromHex('88bca90e90875a7f0f79c384627bafb2'), iv128, fromHex('2269552ab0f85ca6'))!),
    '00000000000000',
  )
})

test('what has no padding, or is not of whole blocks, is none', () => {
  const key = fromHex('0102030405')
  for (const encrypted of ['', '00', '0000000000000000', '000000000000000000'])
    assert.equal(decryptRc2(key, new Uint8Array(8), fromHex(encrypted)), null)
})
