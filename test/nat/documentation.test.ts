/** The table of docs/nat-traversal.md that says which test shows what: each of them is there. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const tests = join(import.meta.dirname, '..')
const manual = readFileSync(join(tests, '../docs/nat-traversal.md'), 'utf8')

test('every row of "Compared" names a test, and every test that is named exists', () => {
  const rows = manual
    .slice(manual.indexOf('\n## Compared\n'), manual.indexOf('\n## What is missing\n'))
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2)
  assert.ok(rows.length >= 25)
  for (const row of rows) {
    const cells = row.split(' | ')
    assert.equal(cells.length, 6, row)
    const named = [...cells[5]!.matchAll(/`([a-z]+\/[a-z0-9-]+)` “([^”]+)”/g)]
    assert.ok(named.length > 0, row)
    for (const [, file, title] of named)
      assert.ok(readFileSync(join(tests, `${file}.test.ts`), 'utf8').includes(title!), `${file}: ${title}`)
    const rest = cells[5]!.replaceAll(/`[a-z]+\/[a-z0-9-]+` “[^”]+”/g, '')
    assert.match(rest, /^[, |]*$/, row)
  }
})
