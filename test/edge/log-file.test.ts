import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { logLevels } from '../../src/config/log-groups.ts'
import type { LogFile } from '../../src/config/log.ts'
import { formatTime, openLogFile } from '../../src/edge/log-file.ts'
import type { Line } from '../../src/report/report.ts'

const LINE: Line = {
  group: 'ike',
  loudness: 1,
  level: 'info',
  message: 'sending keep alive to 192.0.2.1[4500]',
  ike: { name: 'home', uniqueId: 7 },
  fields: {},
}

const PLAIN: LogFile = {
  path: '',
  levels: logLevels(1),
  append: true,
  hasIkeName: false,
  hasLevel: false,
  timeFormat: '',
}

test('lines stand in the file as strongSwan writes them, each at once; it is kept or begun anew', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-log-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'charon.log')
  const write = (form: Partial<LogFile>): string => {
    const file = openLogFile({ ...PLAIN, path, ...form }, assert.fail)
    file.write(LINE)
    const text = readFileSync(path, 'utf8')
    file.close()
    file.write(LINE)
    return text
  }
  assert.equal(write({}), '00[IKE] sending keep alive to 192.0.2.1[4500]\n')
  assert.equal(
    write({ hasIkeName: true, hasLevel: true }),
    '00[IKE] sending keep alive to 192.0.2.1[4500]\n00[IKE1] <home|7> sending keep alive to 192.0.2.1[4500]\n',
  )
  assert.match(write({ append: false, timeFormat: '%Y %T' }), /^\d{4} \d\d:\d\d:\d\d 00\[IKE\] sending [^\n]+\n$/)
})

test('a file that cannot be opened is an error with its path', () => {
  assert.throws(
    () => openLogFile({ ...PLAIN, path: '/nowhere/at/all' }, assert.fail),
    /\/nowhere\/at\/all cannot be opened: ENOENT/,
  )
})

test('a file that takes nothing more is told of once, and stops nobody', () => {
  const troubles: string[] = []
  const file = openLogFile({ ...PLAIN, path: '/dev/full' }, (sentence) => troubles.push(sentence))
  file.write(LINE)
  file.write(LINE)
  file.close()
  assert.equal(troubles.length, 1)
  assert.match(troubles[0]!, /^nothing more is written to the log file \/dev\/full: ENOSPC/)
})

test('times are what date(1) makes of the same format', () => {
  const format = '%a %A %b %B %d %D %e %F %H %I %j %m %M %p %R %s %S %T %y %Y %z %%'
  for (const seconds of [0, 951_782_400, 1_770_000_000, 1_782_864_000]) {
    const expected = execFileSync('date', ['-d', `@${seconds}`, `+${format}`], { env: { ...process.env, LC_ALL: 'C' } })
    assert.equal(formatTime(new Date(seconds * 1000), format), expected.toString().trimEnd())
  }
})
