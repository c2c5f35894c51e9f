import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, test, after } from 'node:test'

import { escapePattern } from '../../src/config/files.ts'
import { diskFiles } from '../../src/edge/files.ts'

const base = mkdtempSync(`${tmpdir()}/espalier [files] {a,b}-`)
after(() => rmSync(base, { recursive: true }))
for (const name of ['10.conf', '20.conf', '.hidden.conf', 'a{1}.conf', 'b*.conf', 'c.txt'])
  writeFileSync(`${base}/${name}`, `name = ${name}\n`)
mkdirSync(`${base}/deep`)
writeFileSync(`${base}/deep/x.conf`, '')

const names = (pattern: string): string[] =>
  diskFiles
    .glob(`${escapePattern(base)}/${pattern}`)
    .map((path) => path.slice(base.length + 1))
    .toSorted()

describe('patterns mean what they mean to glob(3)', () => {
  const cases: [string, string[]][] = [
    ['*.conf', ['10.conf', '20.conf', 'a{1}.conf', 'b*.conf']],
    ['.*.conf', ['.hidden.conf']],
    ['?0.conf', ['10.conf', '20.conf']],
    ['[12]0.conf', ['10.conf', '20.conf']],
    ['[!1]0.conf', ['20.conf']],
    ['10.conf', ['10.conf']],
    ['gone*', []],
    ['{10,20}.conf', []],
    ['a{1}.conf', ['a{1}.conf']],
    ['**.conf', ['10.conf', '20.conf', 'a{1}.conf', 'b*.conf']],
    ['**/x.conf', ['deep/x.conf']],
    ['b\\*.conf', ['b*.conf']],
    ['\\1\\0.conf', ['10.conf']],
    ['*/*.conf', ['deep/x.conf']],
    ['[', []],
  ]
  for (const [pattern, expected] of cases) test(pattern, () => assert.deepEqual(names(pattern), expected))

  test('a directory with wildcards in its name is found', () => assert.deepEqual(diskFiles.glob(escapePattern(base)), [base]))
})

describe('reading', () => {
  test('a file', () => assert.equal(diskFiles.read(`${base}/10.conf`), 'name = 10.conf\n'))
  test('nothing, a directory, a device and a path through a file are no files', () => {
    for (const path of [`${base}/gone`, base, '/dev/null', `${base}/10.conf/x`]) assert.equal(diskFiles.read(path), null)
  })
  test('a path that cannot be one throws with the reason', () => assert.throws(() => diskFiles.read('/a\0b'), /null bytes/))
})
