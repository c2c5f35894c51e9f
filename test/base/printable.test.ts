import assert from 'node:assert/strict'
import { test } from 'node:test'

import { printable } from '../../src/base/printable.ts'

test('what a terminal would obey, or a line of a log break at, is written in hexadecimal', () => {
  assert.equal(printable(Buffer.from('moon – Zürich')), 'moon – Zürich')
  assert.equal(printable(Buffer.from('a\u001b[31m\n\u2028\\\u202e')), 'a\\x1b[31m\\x0a\\xe2\\x80\\xa8\\x5c\\xe2\\x80\\xae')
  assert.equal(printable(Uint8Array.of(0x61, 0xff, 0x5c, 0x00)), 'a\\xff\\x5c\\x00')
})
