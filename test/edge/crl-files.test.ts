import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { CrlFiles } from '../../src/edge/crl-files.ts'

test('a CRL takes the place of the one before, the last one that was told, and nothing else stays', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-crls-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const below = join(directory, 'x509crl')
  const files = new CrlFiles(below, assert.fail)
  files.keep('a.crl', Buffer.from('a'))
  files.keep('b.crl', Buffer.from('b'))
  for (let i = 0; i < 10; i++) files.keep('a.crl', Buffer.from(`a${i}`))
  await files.flush()
  assert.deepEqual(readdirSync(below).toSorted(), ['a.crl', 'b.crl'])
  assert.equal(readFileSync(join(below, 'a.crl'), 'utf8'), 'a9')
  assert.equal(statSync(join(below, 'a.crl')).mode & 0o700, 0o600)
  files.keep('b.crl', Buffer.from('c'))
  await files.flush()
  assert.equal(readFileSync(join(below, 'b.crl'), 'utf8'), 'c')
})

test('a directory that cannot be made is told of', async () => {
  const told: string[] = []
  const files = new CrlFiles('/nonexistent/x509crl', (sentence) => told.push(sentence))
  files.keep('a.crl', Buffer.from('a'))
  await files.flush()
  assert.equal(told.length, 1)
  assert.match(told[0]!, /^the CRL is not kept for the next start: ENOENT/)
})
