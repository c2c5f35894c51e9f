/**
 * docs/vici.md names every command and event there is, and no other.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { COMMANDS } from '../../src/vici/commands.ts'
import { EVENT_NAMES } from '../../src/vici/event-names.ts'

const text = readFileSync(join(import.meta.dirname, '../../docs/vici.md'), 'utf8')

/** What stands in the first column of a section's table. */
function named(heading: string): string[] {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`))
  assert.ok(section !== undefined, `docs/vici.md has a section ${heading}`)
  const cells = section.split('\n').flatMap((line) => /^\| (`.*?) \|/.exec(line)?.[1] ?? [])
  return cells.flatMap((cell) => cell.match(/(?<=`)[a-z-]+(?=`)/g) ?? [])
}

test('the manual names every command and every event', () => {
  assert.deepEqual(named('Commands').toSorted(), Object.keys(COMMANDS).toSorted())
  assert.deepEqual(named('Events').toSorted(), [...EVENT_NAMES].toSorted())
})
