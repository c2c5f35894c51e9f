/**
 * Times, sizes and algorithms in short.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { harmless } from '../../src/cli/output.ts'
import { count, formatAlgorithm, formatSize, formatTime } from '../../src/cli/words.ts'

test('times have five letters at most', () => {
  const said = [0, 45, 60, 725, 3600, 7505, 36_000, 86_399, 86_400, 273_600, 1_900_000, -5].map(formatTime)
  assert.deepEqual(said, ['0s', '45s', '1m', '12m', '1h', '2h05m', '10h', '23h', '1d', '3d4h', '21d', '-5s'])
})

test('sizes have two or three digits that matter', () => {
  const said = [0, 999, 1000, 1234, 9949, 9950, 999_499, 999_500, 1_234_567, 34e6, 5e18].map(formatSize)
  assert.deepEqual(said, ['0 B', '999 B', '1.0 kB', '1.2 kB', '9.9 kB', '10 kB', '999 kB', '1.0 MB', '1.2 MB', '34 MB', '5.0 EB'])
})

test('counts have the right noun', () => {
  assert.deepEqual([count(0, 'SA'), count(1, 'SA'), count(2, 'authority', 'authorities')], ['0 SAs', '1 SA', '2 authorities'])
})

test("algorithms have the proposals' keywords, and what has none its name", () => {
  const said = [
    formatAlgorithm('AES_GCM_16', '256'),
    formatAlgorithm('AES_CBC', '128'),
    formatAlgorithm('CHACHA20_POLY1305', '256'),
    formatAlgorithm('CHACHA20_POLY1305', null),
    formatAlgorithm('HMAC_SHA2_256_128', null),
    formatAlgorithm('CURVE_25519', null),
    formatAlgorithm('MODP_2048', null),
    formatAlgorithm('CAMELLIA_CBC', '256'),
    formatAlgorithm('SOMETHING_NEW', null),
    formatAlgorithm(null, null),
  ]
  assert.deepEqual(said, [
    'aes256gcm16',
    'aes128',
    'CHACHA20_POLY1305-256',
    'chacha20poly1305',
    'sha256',
    'x25519',
    'modp2048',
    'CAMELLIA_CBC-256',
    'SOMETHING_NEW',
    null,
  ])
})

test('what a terminal would obey is shown, not sent', () => {
  assert.equal(harmless('a\x1b[2Jb\x9bc\nd'), 'a\\x1b[2Jb\\x9bc\\x0ad')
  assert.equal(harmless('Zürich ✓'), 'Zürich ✓')
})
