import assert from 'node:assert/strict'
import { test } from 'node:test'

import { loadSettings } from '../../src/config/load.ts'
import { logLevels } from '../../src/config/log-groups.ts'
import { DEFAULT_LOG_SETTINGS } from '../../src/config/log.ts'
import { memoryFiles } from './memory-files.ts'

function load(strongswan: string): ReturnType<typeof loadSettings> {
  return loadSettings({ strongswanConf: '/s/strongswan.conf', files: memoryFiles({ '/s/strongswan.conf': strongswan }) })
}

test('without a word about it every group is told up to level 1, to standard output only', () => {
  assert.deepEqual(load('').log, DEFAULT_LOG_SETTINGS)
  assert.deepEqual(DEFAULT_LOG_SETTINGS, { standardOutput: logLevels(1), files: [] })
})

test('groups have levels of their own; charon-systemd is read first', () => {
  const { log, errors } = load('charon { journal { default = 0\n ike = 1\n net = -1 } }\ncharon-systemd { journal { ike = 2 } }')
  assert.deepEqual(errors, [])
  assert.deepEqual(log.standardOutput, { ...logLevels(0), ike: 2, net: -1 })
})

test('a log file is read with all it may have, and by its name alone', () => {
  const { log, errors, warnings } = load(`charon { filelog {
    charon {
      path = /var/log/charon.log
      time_format = %b %e %T
      default = 1
      ike = 2
      enc = -1
      append = no
      ike_name = yes
      log_level = yes
      flush_line = yes
    }
    stderr { }
  } }`)
  assert.deepEqual([...errors, ...warnings], [])
  assert.deepEqual(log.files, [
    {
      path: '/var/log/charon.log',
      levels: { ...logLevels(1), ike: 2, enc: -1 },
      append: false,
      hasIkeName: true,
      hasLevel: true,
      timeFormat: '%b %e %T',
    },
    { path: 'stderr', levels: logLevels(1), append: true, hasIkeName: false, hasLevel: false, timeFormat: '' },
  ])
})

const MISTAKES = [
  { text: 'journal { ike = loud }', problem: /charon\.journal\.ike: expected a whole number from 0 to 4, not 'loud'/ },
  { text: 'journal { ikke = 2 }', problem: /unknown key 'ikke'; did you mean 'ike'\?/ },
  { text: 'filelog { a { time_format = %Q } }', problem: /charon\.filelog\.a\.time_format: expected a time made of text and %a/ },
  { text: 'filelog { a { time_format = 100% } }', problem: /charon\.filelog\.a\.time_format: expected a time/ },
]

for (const { text, problem } of MISTAKES) {
  test(`charon { ${text} } is an error`, () => {
    const { settings, errors } = load(`charon { ${text} }`)
    assert.equal(settings, null)
    assert.match(`${errors[0]!.key}: ${errors[0]!.message}`, problem)
  })
}

test('what goes to syslog, and files in JSON, are not honoured, and said so', () => {
  const { warnings } = load('charon { syslog { daemon { ike = 2 } }\n filelog { a { json = yes } } }')
  assert.deepEqual(
    warnings.map(({ key }) => key),
    ['charon.syslog', 'charon.filelog.a.json'],
  )
})
