/**
 * charon.plugins.vici in strongswan.conf: where VICI clients find the daemon, or that they don't.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { loadConfiguration, type Loaded } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import type { StreamAddress } from '../../src/config/stream-address.ts'
import { memoryFiles } from './memory-files.ts'

function load(strongswan: string): Loaded {
  const files = memoryFiles({ '/s/strongswan.conf': strongswan, '/s/swanctl/swanctl.conf': '' })
  return loadConfiguration({ strongswanConf: '/s/strongswan.conf', swanctlDir: '/s/swanctl', files })
}
function controlOf(vici: string, program = 'charon'): StreamAddress | null {
  const { configuration, errors, warnings } = load(`${program} { plugins { vici { ${vici} } } }`)
  assert.deepEqual([...errors, ...warnings].map(formatProblem), [])
  return configuration!.control
}
const DEFAULT = { kind: 'unix', path: '/var/run/charon.vici' }

test("without a word about it, the socket is strongSwan's", () => {
  assert.deepEqual(load('').configuration?.control, DEFAULT)
  assert.deepEqual(controlOf(''), DEFAULT)
})

test('socket names another one, for charon-systemd before charon', () => {
  assert.deepEqual(controlOf('socket = unix:///run/vici'), { kind: 'unix', path: '/run/vici' })
  assert.deepEqual(controlOf('socket = tcp://[::1]:4502', 'charon-systemd'), { kind: 'tcp', address: '::1', port: 4502 })
  const both =
    'charon { plugins { vici { socket = unix:///a\n load = no } } }\ncharon-systemd { plugins { vici { socket = unix:///b\n load = 5 } } }'
  assert.deepEqual(load(both).configuration?.control, { kind: 'unix', path: '/b' })
})

test('load = no and load = 0 listen nowhere, a priority and yes do', () => {
  for (const no of ['no', '0', 'false']) assert.equal(controlOf(`load = ${no}`), null)
  for (const yes of ['yes', '1', '17', 'true']) assert.deepEqual(controlOf(`load = ${yes}`), DEFAULT)
})

test('a socket that strangers could reach is an error with its line', () => {
  const { configuration, errors } = load('charon {\n plugins {\n  vici {\n   socket = tcp://0.0.0.0:4502\n }\n }\n}')
  assert.equal(configuration, null)
  assert.match(
    errors.map(formatProblem).join('\n'),
    /strongswan\.conf:4: charon\.plugins\.vici\.socket: .*neither encrypted nor authenticated/,
  )
})
