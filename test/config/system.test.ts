/**
 * What strongswan.conf says of this machine's files and commands, and of what every client is told.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { loadConfiguration, type Loaded } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import { DEFAULT_SYSTEM_SETTINGS } from '../../src/config/system.ts'
import { memoryFiles } from './memory-files.ts'

function load(charon: string): Loaded {
  const files = memoryFiles({ '/s/strongswan.conf': `charon {\n${charon}\n}`, '/s/swanctl/swanctl.conf': '' })
  return loadConfiguration({ strongswanConf: '/s/strongswan.conf', swanctlDir: '/s/swanctl', files })
}
const taken = (charon: string): NonNullable<Loaded['configuration']> => {
  const { configuration, errors, warnings } = load(charon)
  assert.deepEqual([...errors, ...warnings].map(formatProblem), [])
  return configuration!
}
const systemOf = (charon: string): unknown => taken(charon).system
const attributesOf = (charon: string): readonly string[] =>
  taken(charon).settings.attributes.map(({ type, value }) => `${type} ${Buffer.from(value).toString('hex')}`)

test("leases are kept where it is usual, in another file, or not at all; the resolver is told as strongSwan's is", () => {
  assert.deepEqual(systemOf(''), DEFAULT_SYSTEM_SETTINGS)
  const { resolver } = DEFAULT_SYSTEM_SETTINGS
  assert.deepEqual(systemOf('lease_file = /srv/leases'), { leaseFile: { path: '/srv/leases' }, stateFile: 'default', resolver })
  assert.deepEqual(systemOf('lease_file = none'), { leaseFile: 'none', stateFile: 'default', resolver })
  assert.deepEqual(systemOf('plugins { resolve { load = no } }'), { leaseFile: 'default', stateFile: 'default', resolver: null })
  const told = 'plugins { resolve { file = /srv/resolv.conf\n resolvconf { iface = tun0.vpn\n path = resolvconf -x } } }'
  assert.deepEqual(systemOf(told), {
    leaseFile: 'default',
    stateFile: 'default',
    resolver: { file: '/srv/resolv.conf', resolvconf: 'resolvconf -x', interface: 'tun0.vpn' },
  })
})

test('what is no path and no name of an interface is an error with its line', () => {
  for (const [text, problem] of [
    ['lease_file = leases', /strongswan\.conf:2: charon\.lease_file: expected an absolute path, not 'leases'/],
    ['plugins { resolve { file = resolv.conf } }', /charon\.plugins\.resolve\.file: expected an absolute path/],
    ['plugins { resolve { resolvconf { iface = "lo; reboot" } } }', /iface: 'lo; reboot' is no name of an interface/],
    ['dns1 = ns.example.org', /charon\.dns1: expected an address, not 'ns\.example\.org'/],
  ] as const) {
    const { configuration, errors } = load(text)
    assert.equal(configuration, null)
    assert.match(errors.map(formatProblem).join('\n'), problem)
  }
})

test('what clients are told whatever their pool is: servers by number, attributes by name or number', () => {
  assert.deepEqual(attributesOf('dns1 = 10.0.0.1\n dns2 = fd00::1\n nbns2 = 10.0.0.2'), [
    '3 0a000001',
    `10 fd00${'00'.repeat(13)}01`,
    '4 0a000002',
  ])
  const attr =
    'plugins { attr { dns = 10.0.0.3, fd00::3\n p-cscf = 10.0.0.4\n subnet = 10.9.0.0/16\n 25 = example.org\n split-include = 10.8.0.0/16 } }'
  assert.deepEqual(attributesOf(attr), [
    '3 0a000003',
    `10 fd00${'00'.repeat(13)}03`,
    '20 0a000004',
    '13 0a090000ffff0000',
    `25 ${Buffer.from('example.org').toString('hex')}`,
  ])
})
