import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { assertBodyMalformed, assertRefusesToWrite, sameBothWays } from './support.ts'

const NONCE = 40

test('nonces of 16 to 256 bytes are read and written', () => {
  for (const length of [16, 32, 256]) {
    const bytes = '5a'.repeat(length)
    sameBothWays(NONCE, bytes, { kind: 'Nonce', data: fromHex(bytes) })
  }
})

test('shorter and longer ones are malformed', () => {
  for (const length of [0, 1, 15, 257, 1000]) {
    assertBodyMalformed(NONCE, '5a'.repeat(length), 'Nonce', 0, new RegExp(`^${length} bytes are not 16 to 256$`))
  }
})

test('shorter and longer ones are not written', () => {
  for (const length of [15, 257]) {
    assertRefusesToWrite({ kind: 'Nonce', data: new Uint8Array(length) }, /16 to 256/)
  }
})
