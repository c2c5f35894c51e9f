/** What strongSwan makes of keys that depend on each other, and every key's value in its field. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { formatIdentity } from '../../src/auth/identity.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { SWANCTL } from '../../src/config/known-keys.ts'
import { loadConfiguration } from '../../src/config/load.ts'
import { givenConnection, type Given } from '../../src/config/given.ts'
import type { ResolvedSection } from '../../src/config/references.ts'
import {
  DEFAULT_CHILD,
  DEFAULT_CONNECTION,
  DEFAULT_IKE_SETTINGS,
  type ChildConnection,
  type Connection,
} from '../../src/ike/connection.ts'
import { CredentialFiles } from '../../src/config/credential-files.ts'
import { memoryFiles } from './memory-files.ts'

function load(connection: string, child = ''): Connection {
  const text = `connections {\n c {\n ${connection}\n local { auth = psk\n }\n remote { auth = psk\n }\n children { net {\n ${child}\n } }\n }\n}`
  const files = memoryFiles({ '/s/swanctl.conf': text })
  const { configuration, errors } = loadConfiguration({ strongswanConf: '/s/strongswan.conf', swanctlDir: '/s', files })
  assert.deepEqual(errors, [])
  return configuration!.connections[0]!
}
const loadChild = (child: string): ChildConnection => load('', child).children[0]!

describe('lifetimes', () => {
  const HOUR = 3_600_000
  const ike: [string, Partial<Connection['lifetime']>][] = [
    ['', { rekey: 4 * HOUR, reauth: 0, over: 0.4 * HOUR, rand: 0.4 * HOUR }],
    ['rekey_time = 10h', { rekey: 10 * HOUR, reauth: 0, over: HOUR, rand: HOUR }],
    ['reauth_time = 10h', { rekey: 0, reauth: 10 * HOUR, over: HOUR, rand: HOUR }],
    ['rekey_time = 1h\n reauth_time = 10h', { rekey: HOUR, reauth: 10 * HOUR, over: HOUR, rand: 0.5 * HOUR }],
    ['rekey_time = 0', { rekey: 0, reauth: 0, over: 0, rand: 0 }],
    ['rekey_time = 99', { rekey: 99_000, over: 9_000, rand: 9_000 }],
    ['over_time = 3h\n rekey_time = 2h', { rekey: 2 * HOUR, over: 3 * HOUR, rand: HOUR }],
    ['rand_time = 0\n over_time = 1', { rekey: 4 * HOUR, over: 1000, rand: 0 }],
  ]
  for (const [text, expected] of ike) {
    test(`of an IKE_SA with ${text === '' ? 'nothing said' : text.replace('\n', ',')}`, () => {
      assert.deepEqual(load(text).lifetime, { ...load(text).lifetime, ...expected })
    })
  }

  const child: [string, readonly [number, number, number]][] = [
    ['', [3600, 3960, 360]],
    ['rekey_time = 1000', [1000, 1100, 100]],
    ['life_time = 1100', [999, 1100, 101]],
    ['rekey_time = 1000\n life_time = 900', [1000, 900, 0]],
    ['rekey_time = 0', [0, 0, 0]],
    ['rekey_time = 0\n life_time = 1h', [0, 3600, 3600]],
    ['rand_time = 1s', [3600, 3960, 1]],
  ]
  for (const [text, [rekey, life, rand]] of child) {
    test(`of a CHILD_SA with ${text === '' ? 'nothing said' : text.replace('\n', ',')}`, () => {
      assert.deepEqual(loadChild(text).lifetime.time, { rekey: rekey * 1000, life: life * 1000, rand: rand * 1000 })
      const inBytes = text.replaceAll('_time', '_bytes').replace('1h', '3600').replace('1s', '1')
      // Bytes and packets have no limit by themselves.
      if (!inBytes.includes('rekey_bytes') && !inBytes.includes('life_bytes')) return
      const expected = { rekey: BigInt(rekey), life: BigInt(life), rand: BigInt(rand) }
      assert.deepEqual(loadChild(inBytes).lifetime.bytes, expected)
      assert.deepEqual(loadChild(inBytes.replaceAll('_bytes', '_packets')).lifetime.packets, expected)
    })
  }

  test('of bytes and packets, without any', () => {
    assert.deepEqual(loadChild('').lifetime.bytes, { rekey: 0n, life: 0n, rand: 0n })
    assert.deepEqual(loadChild('rand_packets = 5').lifetime.packets, { rekey: 0n, life: 0n, rand: 5n })
  })
})

/** What is made of these keys of a connection and of its child. */
function give(keys: Readonly<Record<string, string>>, child: Readonly<Record<string, string>>): Given<Connection> {
  const section = (
    name: string,
    settings: Readonly<Record<string, string>>,
    sections: readonly ResolvedSection[],
  ): ResolvedSection => ({
    name,
    file: '',
    line: 0,
    settings: new Map(Object.entries(settings).map(([key, value]) => [key, { name: key, value, file: '', line: 0 }])),
    sections: new Map(sections.map((inner) => [inner.name, inner])),
  })
  const psk = (name: string): ResolvedSection => section(name, { auth: 'psk' }, [])
  const children = section('children', {}, [section('net', child, [])])
  return givenConnection(
    section('c', keys, [psk('local'), psk('remote'), children]),
    DEFAULT_IKE_SETTINGS,
    new CredentialFiles('/s', memoryFiles({})),
  )
}

function read(keys: Readonly<Record<string, string>>, child: Readonly<Record<string, string>>): Connection {
  const { value, errors } = give(keys, child)
  assert.deepEqual(errors, [])
  return value!
}

/** By key: a value as one writes it, its field and what stands in it. */
const CONNECTION: Readonly<Record<string, readonly [string, keyof Connection, unknown]>> = {
  version: ['2', 'version', 2],
  remote_port: ['4501', 'remotePort', 4501],
  local_port: ['4500', 'localPort', 4500],
  encap: ['yes', 'forceEncapsulation', true],
  nat: ['refuse', 'natPolicy', 'refuse'],
  public_addrs: ['203.0.113.5, 2001:db8::5', 'publicAddresses', [IpAddress.parse('203.0.113.5'), IpAddress.parse('2001:db8::5')]],
  mobike: ['no', 'mobike', false],
  dscp: ['101110', 'dscp', 46],
  keep_alive: ['adaptive', 'keepAlive', 'adaptive'],
  dpd_delay: ['30s', 'dpdDelay', 30_000],
  dpd_timeout: ['2m', 'dpdTimeout', 120_000],
  fragmentation: ['accept', 'fragmentation', 'accept'],
  childless: ['force', 'childless', 'force'],
  unique: ['keep', 'unique', 'keep'],
  keyingtries: ['0', 'keyingTries', 0],
  pools: ['a, b', 'pools', ['a', 'b']],
  send_certreq: ['no', 'sendCertificateRequest', false],
  send_cert: ['never', 'sendCertificate', 'never'],
  ocsp: ['request', 'ocsp', 'request'],
  aggressive: ['yes', 'aggressive', true],
  pull: ['no', 'pull', false],
}
const CHILD: Readonly<Record<string, readonly [string, keyof ChildConnection, unknown]>> = {
  mode: ['transport', 'mode', 'transport'],
  start_action: ['trap|start', 'startAction', { trap: true, start: true }],
  dpd_action: ['restart', 'dpdAction', { trap: false, start: true }],
  close_action: ['route', 'closeAction', { trap: true, start: false }],
  inactivity: ['1h', 'inactivity', 3_600_000],
  updown: ['/bin/true a b', 'updown', '/bin/true a b'],
  hostaccess: ['yes', 'hostAccess', true],
  policies_fwd_out: ['yes', 'policiesForwardOut', true],
  ipcomp: ['yes', 'ipcomp', true],
  replay_window: ['0', 'replayWindow', 0],
  reqid: ['7', 'reqid', 7],
  priority: ['8', 'priority', 8],
  mark_in_sa: ['yes', 'markInOnState', true],
  label_mode: ['selinux', 'labelMode', 'selinux'],
  tfc_padding: ['mtu', 'tfcPadding', 'mtu'],
  sha256_96: ['yes', 'sha256Truncation96', true],
  per_cpu_sas: ['encap', 'perCpuSas', 'encap'],
  hw_offload: ['yes', 'hardwareOffload', 'crypto'],
  copy_df: ['no', 'copyDf', false],
  copy_ecn: ['no', 'copyEcn', false],
  copy_dscp: ['yes', 'copyDscp', 'yes'],
  icmp: ['yes', 'icmp', true],
}

describe('fields', () => {
  for (const [key, [text, field, expected]] of Object.entries(CONNECTION))
    test(`${key} of a connection`, () => {
      assert.deepEqual(read({ [key]: text }, {})[field], expected)
      assert.notDeepEqual((DEFAULT_CONNECTION as Partial<Connection>)[field], expected, 'not what it is anyway')
    })
  for (const [key, [text, field, expected]] of Object.entries(CHILD))
    test(`${key} of a child`, () => {
      assert.deepEqual(read({}, { [key]: text }).children[0]![field], expected)
      assert.notDeepEqual((DEFAULT_CHILD as Partial<ChildConnection>)[field], expected, 'not what it is anyway')
    })

  test('virtual addresses, a PPK and mediation of a connection', () => {
    const { virtualAddresses, ppk, mediation } = read(
      { vips: '0.0.0.0, 2001:db8::7', ppk_id: 'ppk@example.org', mediated_by: 'middle', mediation_peer: 'other' },
      {},
    )
    assert.deepEqual(virtualAddresses.map(String), ['0.0.0.0', '2001:db8::7'])
    assert.deepEqual([formatIdentity(ppk.id!), ppk.isRequired], ['ppk@example.org', false])
    assert.deepEqual([mediation.isMediation, mediation.by, formatIdentity(mediation.peer!)], [false, 'middle', 'other'])
  })

  test('wishes about NATs that contradict each other are errors', () => {
    const said = (keys: Readonly<Record<string, string>>, child = {}): string[] =>
      give(keys, child).errors.map(({ message }) => message)
    assert.deepEqual(said({ nat: 'refuse', encap: 'yes' }), [
      'refuse does not go together with encap = yes, which pretends a NAT',
    ])
    const transport = { mode: 'transport' }
    assert.deepEqual(said({ public_addrs: '203.0.113.5' }, transport), [
      'mode = transport does not get through a NAT without UDP: leave public_addrs out',
    ])
    assert.deepEqual(said({ public_addrs: '203.0.113.5', encap: 'yes' }, transport), [])
    for (const text of ['203.0.113.0/24', '0.0.0.0', '%any', 'gateway.example.org'])
      assert.deepEqual(said({ public_addrs: text }), [`expected a single IP address, not '${text}'`], text)
  })

  test('there is no key in the tables that nobody reads a value of', () => {
    const rules = SWANCTL.sections['connections']!.otherSections!
    const unread = (
      known: Readonly<Record<string, unknown>>,
      wrap: (words: Record<string, string>) => Given<unknown>,
    ): string[] => Object.keys(known).filter((key) => !wrap({ [key]: '\u0007' }).errors.some(({ kind }) => kind === 'invalid'))
    // Any text is an identity.
    assert.deepEqual(
      unread(rules.keys, (words) => give(words, {})),
      ['ppk_id', 'mediation_peer'],
    )
    // AH is refused whatever the value is.
    assert.deepEqual(
      unread(rules.sections['children']!.otherSections!.keys, (words) => give({}, words)),
      ['ah_proposals'],
    )
  })
})
