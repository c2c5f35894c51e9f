import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import fc from 'fast-check'

import { formatIdentity, parseIdentityPattern } from '../../src/auth/identity.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { NOTHING_LOADED } from '../../src/auth/loaded-credentials.ts'
import { DEFAULT_LOG_SETTINGS } from '../../src/config/log.ts'
import { loadConfiguration, type Configuration, type Loaded } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import { DEFAULT_SYSTEM_SETTINGS } from '../../src/config/system.ts'
import { diskFiles } from '../../src/edge/files.ts'
import {
  DEFAULT_CHILD,
  DEFAULT_CONNECTION,
  DEFAULT_IKE_SETTINGS,
  DEFAULT_LOCAL,
  DEFAULT_REMOTE,
  type AddressPattern,
  type ChildConnection,
  type Connection,
} from '../../src/ike/connection.ts'
import { defaultProposals, parseProposal } from '../../src/negotiate/proposals.ts'
import { formatSelector, type SelectorTemplate } from '../../src/negotiate/selectors.ts'
import { memoryFiles } from './memory-files.ts'

function load(swanctl: string, strongswan = '', others: Record<string, string | Error> = {}): Loaded {
  const files = memoryFiles({ '/s/strongswan.conf': strongswan, '/s/swanctl/swanctl.conf': swanctl, ...others })
  return loadConfiguration({ strongswanConf: '/s/strongswan.conf', swanctlDir: '/s/swanctl', files })
}

function loadFixture(name: string): { loaded: Loaded; errors: string[]; warnings: string[] } {
  const directory = `${import.meta.dirname}/fixtures/${name}`
  const loaded = loadConfiguration({
    strongswanConf: `${directory}/strongswan.conf`,
    swanctlDir: `${directory}/swanctl`,
    files: diskFiles,
  })
  const texts = (problems: Loaded['errors']): string[] =>
    problems.map((problem) => formatProblem(problem).replaceAll(`${directory}/`, ''))
  return { loaded, errors: texts(loaded.errors), warnings: texts(loaded.warnings) }
}

function taken({ configuration, errors }: Loaded): Configuration {
  assert.deepEqual(errors.map(formatProblem), [])
  return configuration!
}
const errorsOf = (loaded: Loaded): string[] => {
  assert.equal(loaded.configuration, null)
  return loaded.errors.map(formatProblem)
}
const warningsOf = (loaded: Loaded): string[] => {
  taken(loaded)
  return loaded.warnings.map(formatProblem)
}

/** A connection with `lines` in it, its authentication complete; `lines` begin in line 2. */
const connection = (lines: string): string =>
  `connections {\n c {\n${lines}\n local { auth = psk\n }\n remote { auth = psk\n }\n }\n}`
const child = (lines: string): string => connection(` children {\n net {\n${lines}\n }\n }`)
const only = (loaded: Loaded): Connection => taken(loaded).connections[0]!
const onlyChild = (loaded: Loaded): ChildConnection => only(loaded).children[0]!

const addressText = (pattern: AddressPattern): string =>
  pattern.kind === 'range' ? pattern.range.toString() : pattern.kind === 'host' ? pattern.name : `%any${pattern.family ?? ''}`
const selectorText = (template: SelectorTemplate): string =>
  template.range === null
    ? `dynamic${template.protocol === 0 ? '' : `[${template.protocol}/${template.firstPort}-${template.lastPort}]`}`
    : formatSelector({ ...template, range: template.range })

describe('configurations of real gateways', () => {
  test("offices that share a template, with certificates' kind of identity, several children and included secrets", () => {
    const { loaded, errors, warnings } = loadFixture('site-to-site')
    assert.deepEqual([...errors, ...warnings], [])
    const { connections, secrets, settings } = loaded.configuration!
    assert.deepEqual(
      connections.map(({ name }) => name),
      ['bern', 'basel'],
    )
    const [bern, basel] = connections as [Connection, Connection]
    assert.deepEqual(bern.localAddresses.map(addressText), ['192.0.2.1/32', '2001:db8::1/128'])
    assert.deepEqual(basel.localAddresses.map(addressText), ['%any'])
    assert.deepEqual(
      [bern, basel].map(({ remoteAddresses }) => remoteAddresses.map(addressText)),
      [['bern.example.ch'], ['198.51.100.7/32']],
    )
    assert.deepEqual(bern.proposals, [parseProposal('aes256gcm16-prfsha384-ecp384', 'ike'), ...defaultProposals('ike')])
    assert.equal(formatIdentity(basel.local[0]!.id!), 'C=CH, O=Example AG, CN=Zürich')
    assert.deepEqual(basel.remote[0]!.id, parseIdentityPattern('basel.example.ch'))
    assert.deepEqual(bern.children, basel.children)
    const [lan, voice] = bern.children as [ChildConnection, ChildConnection]
    assert.deepEqual(
      [lan.remoteSelectors, voice.remoteSelectors].map((list) => list.map(selectorText)),
      [['10.2.0.0/16', '10.22.0.0/24[tcp/443]'], ['10.3.0.0..10.3.0.99[udp/5060-5061]']],
    )
    assert.deepEqual([lan.startAction.start, voice.startAction.start], [true, false])
    assert.deepEqual(lan.proposals, [parseProposal('aes256gcm16-x25519', 'esp'), parseProposal('aes128-sha256', 'esp')])
    assert.deepEqual([voice.copyDscp, voice.priority, voice.reqid], ['yes', 1000, 77])
    assert.deepEqual(
      secrets.map(({ name, owners, secret }) => [
        name,
        owners.map(formatIdentity),
        Buffer.from(secret.dangerouslyReveal()).toString(),
      ]),
      [
        ['ike-bern', ['bern.example.ch', 'C=CH, O=Example AG, CN=Zürich'], 'between # Zürich {and} Bern'],
        ['ike-basel', ['basel.example.ch'], 'base'],
        ['ike-rest', [], 'rest'],
      ],
    )
    assert.deepEqual(settings, {
      ...DEFAULT_IKE_SETTINGS,
      keepAlive: 15_000,
      retransmitTimeout: 2000,
      retransmitBase: 1.5,
      retransmitTries: 4,
    })
  })

  test('a road warrior behind NAT', () => {
    const { loaded, errors, warnings } = loadFixture('road-warrior')
    assert.deepEqual([...errors, ...warnings], [])
    const { connections, secrets, settings } = loaded.configuration!
    const { children, proposals, local, remote, ...home } = connections[0]!
    assert.deepEqual(home, {
      ...DEFAULT_CONNECTION,
      name: 'home',
      localAddresses: [{ kind: 'any', family: null }],
      remoteAddresses: [{ kind: 'host', name: 'vpn.example.org' }],
      localPort: 0,
      remotePort: 4500,
      forceEncapsulation: true,
      mobike: false,
      keyingTries: 0,
    })
    assert.deepEqual(proposals, defaultProposals('ike'))
    assert.deepEqual(
      [formatIdentity(local[0]!.id!), remote[0]!.id.kind === 'wildcard' && remote[0]!.id.text],
      ['me@example.org', '*.example.org'],
    )
    assert.deepEqual(children[0]!.remoteSelectors.map(selectorText), ['0.0.0.0/0', '::/0'])
    assert.deepEqual([children[0]!.startAction.start, children[0]!.replayWindow], [true, 128])
    assert.deepEqual(secrets[0]!.owners, [])
    assert.deepEqual(settings, {
      ...DEFAULT_IKE_SETTINGS,
      port: 0,
      portNatT: 0,
      cookieThreshold: 0,
      cookieThresholdIp: 0,
      blockThreshold: 0,
      replayWindow: 128,
    })
  })

  test('transport mode between hosts, without a strongswan.conf', () => {
    const { loaded, errors, warnings } = loadFixture('transport')
    assert.deepEqual([...errors, ...warnings], [])
    const { connections, secrets, settings } = loaded.configuration!
    assert.deepEqual(connections[0]!.remoteAddresses.map(addressText), ['10.0.0.5/32', '10.0.1.1-10.0.1.99', '%any6'])
    assert.equal(formatIdentity(connections[0]!.local[0]!.id!), '@#0a0b0c')
    const { proposals, localSelectors, remoteSelectors, ...rsync } = connections[0]!.children[0]!
    const { localSelectors: _local, remoteSelectors: _remote, ...defaults } = DEFAULT_CHILD
    assert.deepEqual(rsync, { ...defaults, name: 'rsync', mode: 'transport', replayWindow: 0, copyDf: false, copyEcn: false })
    assert.deepEqual(proposals, defaultProposals('esp'))
    assert.deepEqual([...localSelectors, ...remoteSelectors].map(selectorText), ['dynamic[6/0-65535]', 'dynamic[6/873-873]'])
    assert.deepEqual(secrets[0]!.owners, [], '%any as only owner is everyone')
    assert.deepEqual(settings, DEFAULT_IKE_SETTINGS)
  })

  test('what a distribution installs says nothing, so nothing is said about it', () => {
    const { loaded, errors, warnings } = loadFixture('debian')
    assert.deepEqual([...errors, ...warnings], [])
    assert.deepEqual(loaded.configuration, {
      connections: [],
      secrets: [],
      pools: [],
      credentials: NOTHING_LOADED,
      settings: DEFAULT_IKE_SETTINGS,
      log: DEFAULT_LOG_SETTINGS,
      control: { kind: 'unix', path: '/var/run/charon.vici' },
      system: DEFAULT_SYSTEM_SETTINGS,
    })
  })

  test('a gateway that needs more than pre-shared keys is not loaded with less: every reason in one go, in the order of the file', () => {
    const { loaded, errors, warnings } = loadFixture('certificates')
    assert.equal(loaded.configuration, null)
    assert.deepEqual(errors, [
      'swanctl/swanctl.conf:6: connections.rw.local.certs: swanctl/x509/moonCert.pem: there is no such file',
      'swanctl/swanctl.conf:10: connections.rw.remote.auth: auth = eap-mschapv2 is not supported yet, only pubkey and psk are',
      'swanctl/swanctl.conf:11: connections.rw.remote.eap_id: not supported: EAP is not supported yet',
      'swanctl/swanctl.conf:25: connections.certs.remote.cacerts: swanctl/x509ca/strongswanCert.pem: there is no such file',
      'swanctl/swanctl.conf:30: connections.old.version: IKEv1 is not supported yet',
      'swanctl/swanctl.conf:35: connections.old.local-2.auth: auth = xauth is not supported yet, only pubkey and psk are',
      'swanctl/swanctl.conf:47: connections.mixed.remote.cacert-1.file: unable to load certificate: cacert-1: /no/such/ca.pem: there is no such file',
      'swanctl/swanctl.conf:59: connections.mixed.children.marked.policies: not supported: policies are always installed',
      'swanctl/swanctl.conf:60: connections.mixed.children.marked.ah_proposals: not supported: AH is not supported',
      "swanctl/swanctl.conf:61: connections.mixed.children.marked.esp_proposals: the ESP proposal 'aes256' has no integrity algorithm: encryption without it protects nothing",
    ])
    assert.deepEqual(
      warnings.map((text) => text.split(': ')[1]),
      ['secrets.eap-carol', 'secrets.private-moon.file'],
    )
  })

  test('what is not honoured is one warning each, unless it asks for nothing that is not done', () => {
    const { loaded, errors, warnings } = loadFixture('everything')
    assert.deepEqual(errors, [])
    assert.deepEqual(
      warnings.map((text) => text.split(': ', 2).join(' ')),
      [
        'strongswan.conf:15 charon.plugins.eap-radius.secret',
        'strongswan.conf:16 charon.plugins.eap-radius.servers',
        'swanctl/swanctl.conf:3 connections.all.version',
        'swanctl/swanctl.conf:23 connections.all.local.xauth_id',
        'swanctl/swanctl.conf:42 connections.all.children.net.hw_offload',
        'swanctl/swanctl.conf:44 connections.all.children.net.start_action',
        'swanctl/swanctl.conf:47 connections.all.children.unreachable.start_action',
        'swanctl/swanctl.conf:58 leftover',
      ],
    )
    assert.deepEqual(
      loaded.configuration!.connections[0]!.children.map(({ startAction }) => startAction),
      [
        { trap: true, start: true },
        { trap: false, start: true },
      ],
    )
    assert.ok(!warnings.some((text) => text.includes('gv6URkSs')))
  })
})

describe('where files are', () => {
  test('a missing directory is an error, a directory without swanctl.conf is an empty configuration', () => {
    const from = (table: Record<string, string>): Loaded =>
      loadConfiguration({ strongswanConf: '/none', swanctlDir: '/s/[swanctl]', files: memoryFiles(table) })
    assert.deepEqual(errorsOf(from({})), ['/s/[swanctl]: there is no such directory'])
    assert.deepEqual(taken(from({ '/s/[swanctl]/other': '' })).connections, [])
  })

  test('a file that cannot be read is an error', () => {
    const denied = new Error('EACCES: permission denied')
    assert.deepEqual(errorsOf(load('', '', { '/s/swanctl/swanctl.conf': denied, '/s/swanctl/x': '' })), [
      '/s/swanctl/swanctl.conf: /s/swanctl/swanctl.conf cannot be read: EACCES: permission denied',
    ])
    const files = memoryFiles({ '/s/strongswan.conf': denied, '/s/swanctl/swanctl.conf': '' })
    assert.deepEqual(errorsOf(loadConfiguration({ strongswanConf: '/s/strongswan.conf', swanctlDir: '/s/swanctl', files })), [
      '/s/strongswan.conf: /s/strongswan.conf cannot be read: EACCES: permission denied',
    ])
  })
})

describe('errors', () => {
  test('a file that does not parse tells of its syntax only, the other file is still looked at', () => {
    assert.deepEqual(errorsOf(load('connections {\n c {\n nonsense = 1\n }\n', 'charon {\n prt = 500\n}')), [
      "/s/strongswan.conf:2: charon.prt: unknown key 'prt'; did you mean 'port'?",
      "/s/swanctl/swanctl.conf:5: the file ends within section 'connections' opened in line 1",
    ])
  })

  const unknown: [string, string, string][] = [
    [
      'a slip in a key',
      connection(' local_adrs = 10.0.0.1'),
      ":3: connections.c.local_adrs: unknown key 'local_adrs'; did you mean 'local_addrs'?",
    ],
    [
      'swapped letters',
      child(' lcoal_ts = 10.0.0.1'),
      ":5: connections.c.children.net.lcoal_ts: unknown key 'lcoal_ts'; did you mean 'local_ts'?",
    ],
    [
      'a key of another section',
      connection(' auth = psk'),
      ":3: connections.c.auth: unknown key 'auth'; it belongs in connections.<name>.local<suffix>",
    ],
    [
      'a key of strongswan.conf',
      'retransmit_tries = 4',
      ":1: retransmit_tries: unknown key 'retransmit_tries'; it belongs in charon",
    ],
    [
      'a key with nothing like it',
      connection(' zzzzzzzzzz = 1'),
      ":3: connections.c.zzzzzzzzzz: unknown key 'zzzzzzzzzz'; the nearest known name is 'version'",
    ],
    [
      'a key among the connections',
      'connections {\n version = 2\n}',
      ":2: connections.version: unknown key 'version'; it belongs in connections.<name>",
    ],
    [
      'a slip in a section',
      connection(' childen { }'),
      ":3: connections.c.childen: unknown section 'childen'; did you mean 'children'?",
    ],
    ['a slip at the top', 'conections {\n}', ":1: conections: unknown section 'conections'; did you mean 'connections'?"],
    [
      'a section for a key',
      connection(' version { }'),
      ":3: connections.c.version: 'version' is a key, not a section: write version = ...",
    ],
    [
      'a key for a section',
      connection(' children = net'),
      ":3: connections.c.children: 'children' is a section, not a key: write children { ... }",
    ],
    [
      'a kind of secret nobody knows',
      'secrets {\n psk-1 {\n secret = a\n }\n}',
      ":2: secrets.psk-1: unknown section 'psk-1'; the nearest known name is 'ppk'",
    ],
    [
      'a slip in a secret that is not honoured',
      'secrets {\n eap-1 {\n secrt = a\n secret = a\n }\n}',
      ":3: secrets.eap-1.secrt: unknown key 'secrt'; did you mean 'secret'?",
    ],
    [
      'a slip in a pool',
      'pools {\n a {\n adrs = 10.0.0.0/8\n addrs = 10.0.0.0/8\n 25 = x\n }\n}',
      ":3: pools.a.adrs: unknown key 'adrs'; did you mean 'addrs'?",
    ],
    [
      'names of objects in JavaScript',
      connection(' constructor = 1'),
      ":3: connections.c.constructor: unknown key 'constructor'; the nearest known name is 'version'",
    ],
  ]
  for (const [title, text, expected] of unknown) {
    test(`${title} is an error with the nearest known name`, () =>
      assert.deepEqual(errorsOf(load(text)), [`/s/swanctl/swanctl.conf${expected}`]))
  }

  test('a slip in an inherited section is one error, however many connections inherit it', () => {
    const text =
      'base {\n local { auth = psk\n }\n remote { auth = psk\n }\n mobik = no\n}\nconnections {\n a : base { }\n b : base { }\n}'
    assert.deepEqual(errorsOf(load(text)), [
      "/s/swanctl/swanctl.conf:6: connections.a.mobik: unknown key 'mobik'; did you mean 'mobike'?",
    ])
  })

  const values: [string, string, RegExp][] = [
    ['version', connection(' version = 3'), /:3: connections\.c\.version: expected a whole number from 0 to 2, not '3'$/],
    [
      'local_addrs',
      connection(' local_addrs = 10.0.0.1, 10.0.0.300'),
      /:3: connections\.c\.local_addrs: expected an address, .* not '10\.0\.0\.300'$/,
    ],
    [
      'remote_addrs',
      connection(' remote_addrs = 10.0.0.0/33'),
      /:3: connections\.c\.remote_addrs: expected an address, .*prefix length 33/,
    ],
    [
      'local_port',
      connection(' local_port = 1500'),
      /:3: connections\.c\.local_port: expected the port of charon\.port \(500\) or of charon\.port_nat_t \(4500\)/,
    ],
    [
      'remote_port',
      connection(' remote_port = 65536'),
      /:3: connections\.c\.remote_port: expected a whole number from 0 to 65535/,
    ],
    [
      'proposals',
      connection(' proposals = aes128-sha257-x25519'),
      /:3: connections\.c\.proposals: 'sha257' in proposal .* did you mean 'sha256'\?$/,
    ],
    ['encap', connection(' encap = maybe'), /:3: connections\.c\.encap: expected yes or no, not 'maybe'$/],
    ['mobike', connection(' mobike = 2'), /:3: connections\.c\.mobike: expected yes or no/],
    ['keyingtries', connection(' keyingtries = %forever'), /:3: connections\.c\.keyingtries: expected a whole number/],
    [
      'local_ts',
      child(' local_ts = 10.0.0.0/8, 10.0.0.0/8[tcpp]'),
      /:5: connections\.c\.children\.net\.local_ts: 'tcpp' is no IP protocol/,
    ],
    [
      'remote_ts of a child that is negotiated',
      child(` remote_ts = ${Array.from({ length: 256 }, (_, i) => `10.0.0.${i}`).join(', ')}`),
      /:5: connections\.c\.children\.net\.remote_ts: remote_ts has 256 traffic selectors, more than the 255/,
    ],
    ['remote_ts', child(' remote_ts = moon'), /:5: connections\.c\.children\.net\.remote_ts: 'moon' is no address/],
    ['mode', child(' mode = tunel'), /:5: connections\.c\.children\.net\.mode: expected tunnel, transport, .*not 'tunel'$/],
    [
      'start_action',
      child(' start_action = start|now'),
      /:5: connections\.c\.children\.net\.start_action: expected none, .*not 'now'$/,
    ],
    [
      'replay_window',
      child(' replay_window = 5000'),
      /:5: connections\.c\.children\.net\.replay_window: expected a whole number from 0 to 4096/,
    ],
    ['reqid', child(' reqid = -1'), /:5: connections\.c\.children\.net\.reqid: expected a whole number/],
    ['priority', child(' priority = high'), /:5: connections\.c\.children\.net\.priority: expected a whole number/],
    ['copy_df', child(' copy_df = out'), /:5: connections\.c\.children\.net\.copy_df: expected yes or no/],
    ['copy_ecn', child(' copy_ecn = out'), /:5: connections\.c\.children\.net\.copy_ecn: expected yes or no/],
    [
      'copy_dscp',
      child(' copy_dscp = both'),
      /:5: connections\.c\.children\.net\.copy_dscp: expected out, in, yes or no, not 'both'$/,
    ],
    [
      'a secret',
      'secrets {\n ike {\n secret = 0xgeheim\n }\n}',
      /:3: secrets\.ike\.secret: expected hexadecimal digits behind 0x$/,
    ],
    ['no secret', 'secrets {\n ike-1 {\n id = moon\n }\n}', /:2: secrets\.ike-1: there is no secret in it$/],
    [
      'an owner',
      'secrets {\n ike {\n id-1 = @#0a\n secret = a\n }\n}',
      /:3: secrets\.ike\.id-1: '@' is no identity; # begins a comment unless the value is in quotes$/,
    ],
  ]
  for (const [title, text, expected] of values) {
    test(`a bad value of ${title} names file, line, key and what was expected`, () => {
      const errors = errorsOf(load(text))
      assert.equal(errors.length, 1)
      assert.match(errors[0]!, expected)
    })
  }

  const settings: [string, RegExp][] = [
    ['port = 70000', /:2: charon\.port: expected a whole number from 0 to 65535/],
    ['port_nat_t = 500', /:2: charon\.port_nat_t: has to be another port than port$/],
    ['keep_alive = soon', /:2: charon\.keep_alive: expected a time/],
    ['keep_alive_dpd_margin = 1w', /:2: charon\.keep_alive_dpd_margin: expected a time/],
    ['retransmit_timeout = 0', /:2: charon\.retransmit_timeout: expected a number from 0\.001/],
    ['retransmit_base = 0.5', /:2: charon\.retransmit_base: expected a number from 1 to 100/],
    ['retransmit_tries = many', /:2: charon\.retransmit_tries: expected a whole number/],
    ['retransmit_jitter = 101', /:2: charon\.retransmit_jitter: expected a whole number from 0 to 100/],
    ['retransmit_limit = 5m', /:2: charon\.retransmit_limit: expected a whole number/],
    ['cookie_threshold = -1', /:2: charon\.cookie_threshold: expected a whole number/],
    ['cookie_threshold_ip = x', /:2: charon\.cookie_threshold_ip: expected a whole number/],
    ['half_open_timeout = 1.5', /:2: charon\.half_open_timeout: expected a whole number/],
    ['dos_protection = perhaps', /:2: charon\.dos_protection: expected yes or no/],
    ['replay_window = 4097', /:2: charon\.replay_window: expected a whole number from 0 to 4096/],
    ['initiator_only = yes', /:2: charon\.initiator_only: not supported: /],
    ['plugin { }', /:2: charon\.plugin: unknown section 'plugin'; did you mean 'plugins'\?$/],
  ]
  for (const [line, expected] of settings) {
    test(`charon { ${line} } is an error`, () => {
      const errors = errorsOf(load('', `charon {\n ${line}\n}`))
      assert.equal(errors.length, 1)
      assert.match(errors[0]!, expected)
    })
  }

  test('the method of authentication is never replaced by another one', () => {
    const refusal = (method: string): string | undefined =>
      errorsOf(load(`connections {\n c {\n local {\n auth = ${method}\n }\n remote { auth = psk\n }\n }\n}`))[0]
    for (const method of ['eap-tls', 'eap', 'xauth', 'xauth-eap'])
      assert.equal(
        refusal(method),
        `/s/swanctl/swanctl.conf:4: connections.c.local.auth: auth = ${method} is not supported yet, only pubkey and psk are`,
      )
    for (const method of ['pskk', '""'])
      assert.equal(
        refusal(method),
        `/s/swanctl/swanctl.conf:4: connections.c.local.auth: expected pubkey or psk, not '${method.replaceAll('"', '')}'`,
      )
    assert.match(refusal('pubkey-sha257')!, /^\/s\/swanctl\/swanctl.conf:4: connections\.c\.local\.auth: 'sha257' is no hash/)
  })

  test('an identity that a number sign cut short, and a regular expression, are errors', () => {
    const withId = (id: string): string =>
      `connections {\n c {\n local { auth = psk\n id = ${id}\n }\n remote { auth = psk\n id = ${id}\n }\n }\n}`
    assert.match(
      errorsOf(load(withId('@#0a0b'))).join('\n'),
      /:4: connections\.c\.local\.id: '@' is no identity.*\n.*:7: connections\.c\.remote\.id: '@' is no identity/,
    )
    assert.match(errorsOf(load(withId('keyid:#0a0b'))).join('\n'), /:4: connections\.c\.local\.id: 'keyid:' is no identity/)
    assert.match(errorsOf(load(withId('"fqdn:^vpn[0-9]+$"'))).join('\n'), /:7: connections\.c\.remote\.id: regular expressions/)
  })
})

describe('values', () => {
  test("the defaults are strongSwan's", () => {
    const loaded = load(child(''))
    assert.deepEqual(loaded.warnings, [])
    assert.deepEqual(only(loaded), {
      ...DEFAULT_CONNECTION,
      name: 'c',
      proposals: defaultProposals('ike'),
      local: [{ ...DEFAULT_LOCAL, method: 'psk' }],
      remote: [{ ...DEFAULT_REMOTE, method: 'psk' }],
      children: [{ ...DEFAULT_CHILD, name: 'net', proposals: defaultProposals('esp') }],
    })
  })

  test('an empty list is the default, and a cleared key was never there', () => {
    const { localAddresses, mobike } = only(load(connection(' local_addrs = ""\n mobike =')))
    assert.deepEqual([localAddresses, mobike], [[{ kind: 'any', family: null }], true])
  })

  test('%any as our identity is our address', () => {
    assert.equal(
      only(load('connections {\n c {\n local { auth = psk\n id = %any\n }\n remote { auth = psk\n }\n }\n}')).local[0]!.id,
      null,
    )
  })

  test("ports follow charon's: the default is charon.port, its NAT-T port is allowed, too", () => {
    assert.equal(only(load(connection(''), 'charon { port = 600\n }')).localPort, 600)
    assert.equal(only(load(connection(' local_port = 4600'), 'charon { port_nat_t = 4600\n }')).localPort, 4600)
  })

  test('all of strongswan.conf that is honoured', () => {
    const text = `charon {
      signature_authentication = no\n signature_authentication_constraints = no\n rsa_pss = yes\n multiple_authentication = no
      port = 501\n port_nat_t = 4501\n keep_alive = 1m\n keep_alive_dpd_margin = 5s\n retry_initiate_interval = 30\n retransmit_timeout = 0.5\n retransmit_base = 2\n retransmit_tries = 3
      retransmit_jitter = 50\n retransmit_limit = 60\n cookie_threshold = 7\n cookie_threshold_ip = 0\n half_open_timeout = 10\n init_limit_half_open = 11
      init_limit_job_load = 12\n block_threshold = 9\n ikesa_limit = 13\n follow_redirects = no\n close_ike_on_child_failure = yes\n prefer_best_path = yes\n prefer_temporary_addrs = yes\n process_route = no\n interfaces_ignore = eth0, eth1\n interfaces_use = eth2\n  check_current_path = yes\n replay_window = 64\n delete_rekeyed_delay = 7\n install_routes = no\n install_virtual_ip = no\n routing_table = 221\n routing_table_prio = 222\n make_before_break = no\n inactivity_close_ike = yes\n install_virtual_ip_on = lo\n dns1 = 10.0.0.1\n nbns1 = 10.0.0.2\n dns2 = fd00::1\n plugins { updown { load = no\n dns_handler = yes } }\n fragment_size = 600\n fragment_size_v6 = 1400\n max_packet = 9000\n}`
    const loaded = load(child(''), text)
    assert.deepEqual(taken(loaded).settings, {
      port: 501,
      portNatT: 4501,
      keepAlive: 60_000,
      keepAliveDpdMargin: 5_000,
      retryInitiateInterval: 30_000,
      retransmitTimeout: 500,
      retransmitBase: 2,
      retransmitTries: 3,
      retransmitJitter: 20,
      retransmitLimit: 60_000,
      cookieThreshold: 7,
      cookieThresholdIp: 0,
      blockThreshold: 9,
      ikeSaLimit: 13,
      signatureAuthentication: false,
      signatureAuthenticationConstraints: false,
      rsaPss: true,
      multipleAuthentication: false,
      revocation: DEFAULT_IKE_SETTINGS.revocation,
      followRedirects: false,
      closeIkeOnChildFailure: true,
      halfOpenTimeout: 10_000,
      initLimitHalfOpen: 11,
      initLimitJobLoad: 12,
      replayWindow: 64,
      deleteRekeyedDelay: 7_000,
      installRoutes: false,
      installVirtualAddresses: false,
      virtualAddressesOn: 'lo',
      attributes: [
        { type: 3, value: IpAddress.parse('10.0.0.1').bytes },
        { type: 4, value: IpAddress.parse('10.0.0.2').bytes },
        { type: 10, value: IpAddress.parse('fd00::1').bytes },
      ],
      runsUpdown: false,
      updownHandlesNameServers: true,
      routingTable: 221,
      routingTablePriority: 222,
      makeBeforeBreak: false,
      inactivityCloseIke: true,
      fragmentSizeV4: 600,
      fragmentSizeV6: 1400,
      maxPacket: 9000,
      interfacesIgnore: ['eth0', 'eth1'],
      interfacesUse: ['eth2'],
      preferTemporaryAddresses: true,
      processRoute: false,
      preferBestPath: true,
      checkCurrentPath: true,
    })
    assert.equal(onlyChild(loaded).replayWindow, 64)
  })

  test('fragment_size counts for the family that says nothing of its own; 0 is what every path of a family carries', () => {
    for (const [charon, v4, v6] of [
      ['', 1280, 1280],
      ['fragment_size = 0', 576, 1280],
      ['fragment_size = 700', 700, 700],
      ['fragment_size = 700\n fragment_size_v4 = 576', 576, 700],
      ['fragment_size = 0\n fragment_size_v6 = 1400', 576, 1400],
    ] as const) {
      const { settings } = taken(load('', `charon { ${charon}\n}`))
      assert.deepEqual([settings.fragmentSizeV4, settings.fragmentSizeV6], [v4, v6], charon)
    }
  })

  test('charon-systemd comes before charon, key by key', () => {
    const { settings } = taken(load('', 'charon { port = 501\n keep_alive = 5\n}\ncharon-systemd { keep_alive = 6\n}'))
    assert.deepEqual([settings.port, settings.keepAlive], [501, 6000])
  })

  test('owners keep their wildcards; %any beside others stays one', () => {
    const { secrets } = taken(load('secrets {\n ike-a {\n secret = a\n id-1 = *@example.org\n id-2 = %any\n }\n}'))
    assert.deepEqual(secrets[0]!.owners.map(formatIdentity), ['*@example.org', '%any'])
  })

  const harmless: [string, string, string][] = [
    ['ipcomp', 'no', 'yes'],
    ['hw_offload', 'no', 'packet'],
    ['tfc_padding', '0', 'mtu'],
    ['per_cpu_sas', 'no', 'encap'],
    ['icmp', 'no', 'yes'],
    ['sha256_96', 'no', 'yes'],
    ['policies_fwd_out', 'no', 'yes'],
  ]
  for (const [key, quiet, loud] of harmless) {
    test(`${key} = ${quiet} asks for nothing, ${key} = ${loud} is one warning`, () => {
      assert.deepEqual(warningsOf(load(child(` ${key} = ${quiet}`))), [])
      const warnings = warningsOf(load(child(` ${key} = ${loud}`)))
      assert.equal(warnings.length, 1)
      assert.match(
        warnings[0]!,
        new RegExp(`^/s/swanctl/swanctl\\.conf:5: connections\\.c\\.children\\.net\\.${key}: not honoured: `),
      )
    })
  }

  test('a trap for nobody is a warning that says what happens to the traffic; a shunt needs nobody', () => {
    const started = (lines: string, remote: string): Loaded =>
      load(connection(` ${remote}\n children {\n net {\n start_action = trap\n ${lines}\n }\n }`))
    assert.match(warningsOf(started('', ''))[0]!, /nobody to initiate to: .*holds its traffic back, which leaves unprotected$/)
    const loaded = started('', 'remote_addrs = 192.0.2.1')
    assert.deepEqual(warningsOf(loaded), [])
    assert.deepEqual(onlyChild(loaded).startAction, { trap: true, start: false })
    for (const mode of ['pass', 'drop'] as const) {
      const shunt = started(`mode = ${mode}`, '')
      assert.deepEqual(warningsOf(shunt), [])
      assert.equal(onlyChild(shunt).mode, mode)
    }
  })

  test('an include that is missing is a warning', () => {
    assert.deepEqual(warningsOf(load('include gone.conf')), ['/s/swanctl/swanctl.conf:1: there is no file gone.conf to include'])
  })
})

test('no damage to a good configuration makes loading throw, or load with errors', () => {
  const good = diskFiles.read(`${import.meta.dirname}/fixtures/site-to-site/swanctl/swanctl.conf`)!
  const damage = fc.record({
    at: fc.nat(good.length),
    length: fc.nat(30),
    insert: fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom('{', '}', '"', '#', '=', '\n', ' : office', ','),
    ),
  })
  fc.assert(
    fc.property(damage, ({ at, length, insert }) => {
      const loaded = load(good.slice(0, at) + insert + good.slice(at + length))
      assert.equal(loaded.configuration === null, loaded.errors.length > 0)
      for (const { line, message } of [...loaded.errors, ...loaded.warnings]) assert.ok(line > 0 && message !== '')
    }),
    { numRuns: 1000 },
  )
})
