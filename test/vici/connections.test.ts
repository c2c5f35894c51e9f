/** load-conn, unload-conn, get-conns, list-conns, and the pools and authorities that go with them. */
import assert from 'node:assert/strict'

import { SWANCTL, type SectionRules, type Treatment } from '../../src/config/known-keys.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { configuration } from '../simulation/configuration.ts'
import { addGateway, flows, GATEWAY } from '../simulation/places.ts'
import { makeCertificate } from '../support/pki.ts'
import { scenario, type World } from '../simulation/world.ts'
import { at, Operator, text, type Plain } from './operator.ts'

const PSK_ROUNDS = { local: { auth: 'psk' }, remote: { auth: 'psk' } }
const HOME: Plain = {
  local_addrs: ['%any'],
  remote_addrs: [GATEWAY],
  proposals: ['aes128gcm16-prfsha256-curve25519'],
  local: { auth: 'psk', id: 'client@example.org' },
  remote: { auth: 'psk', id: 'gateway.example.org' },
  children: { net: { local_ts: ['10.2.0.0/16'], remote_ts: ['10.1.0.0/16'], esp_proposals: ['aes128gcm16'] } },
}

/** At the controls of a gateway that has nothing but a key. */
function blank(world: World): Operator {
  return new Operator(world, world.addNode('client', '198.51.100.7', configuration([])))
}

async function names(operator: Operator): Promise<unknown> {
  return (await operator.command('get-conns'))['conns']
}

async function listed(operator: Operator, request: Plain = {}): Promise<readonly Plain[]> {
  const before = operator.streamed.length
  assert.deepEqual(await operator.command('list-conns', request), {})
  return operator.streamed.slice(before).map(({ event, message }) => {
    assert.equal(event, 'list-conn')
    return message
  })
}

scenario('a loaded connection is there, can be used, and goes when it is unloaded', async (world) => {
  const gateway = addGateway(world)
  const operator = blank(world)
  const client = world.nodes[1]!
  assert.deepEqual(await operator.command('load-conn', { home: HOME }), { success: 'yes' })
  assert.deepEqual(await names(operator), ['home'])
  await operator.command('initiate', { child: 'net' })
  assert.ok(await flows(world, client, gateway))
  assert.deepEqual(await operator.command('unload-conn', { name: 'home' }), { success: 'yes' })
  assert.deepEqual(await names(operator), [])
  assert.deepEqual(await operator.command('unload-conn', { name: 'home' }), {
    success: 'no',
    errmsg: "unload: connection 'home' not found",
  })
  assert.equal((await operator.command('unload-conn'))['errmsg'], 'unload: missing connection name')
  // It was not started by its configuration, so it does not end with it.
  await world.pass(MINUTE)
  assert.ok(await flows(world, client, gateway))
})

scenario('start_action = start begins when it is loaded, and loading it again does nothing at all', async (world) => {
  addGateway(world)
  const operator = blank(world)
  const client = world.nodes[1]!
  const started = { home: { ...HOME, children: { net: { ...at(HOME, 'children', 'net'), start_action: 'start' } } } }
  await operator.command('load-conn', started)
  await world.pass(SECOND)
  assert.equal(client.session.sa.children.length, 1)
  const [mark, events] = [world.mark, client.events.length]
  assert.deepEqual(await operator.command('load-conn', started), { success: 'yes' })
  await world.pass(MINUTE)
  assert.deepEqual([world.countSent('request', mark), client.events.length], [0, events])
  await operator.command('unload-conn', { name: 'home' })
  await world.pass(SECOND)
  assert.deepEqual(client.sessions(), [])
})

scenario("list-conns tells of everything, with strongSwan's keys in its order and its defaults", async (world) => {
  const operator = blank(world)
  await operator.command('load-conn', { plain: { ...PSK_ROUNDS, proposals: ['aes128gcm16-prfsha256-x25519'] } })
  await operator.command('load-conn', {
    full: {
      version: '2',
      proposals: ['aes256-aes128-sha256-x25519-ke1_mlkem768-ke1_none-ke3_ecp384', 'chacha20poly1305-prfsha512-mlkem1024'],
      local_addrs: ['192.0.2.1', '10.0.0.0/8'],
      remote_addrs: ['10.0.0.1-10.0.0.9', 'vpn.example.org'],
      local_port: '4500',
      remote_port: '4501',
      reauth_time: '1d',
      unique: 'replace',
      dpd_delay: '30s',
      dpd_timeout: '5m',
      ppk_id: 'ppk@example.org',
      local: { auth: 'psk', id: 'C=CH, CN=moon' },
      remote: { auth: 'psk', id: '*.example.org' },
      children: {
        net: {
          mode: 'transport',
          rekey_time: '10m',
          life_bytes: '1100',
          rekey_packets: '5',
          dpd_action: 'restart',
          close_action: 'trap|start',
          local_ts: ['dynamic[tcp/80]', '10.1.0.0/16'],
          remote_ts: ['10.0.0.1-10.0.0.3[17]'],
          priority: '7',
          esp_proposals: ['aes192-sha384-x25519-ke1_mlkem512-esn-noesn', 'aes256gcm16-modp3072-none'],
        },
        other: { esp_proposals: ['null-sha1'] },
      },
    },
  })
  const round = { groups: [], cert_policy: [], certs: [], cacerts: [] }
  const [plain, full] = await listed(operator)
  assert.equal(
    JSON.stringify(plain),
    JSON.stringify({
      plain: {
        'local_addrs': ['%any'],
        'remote_addrs': ['%any'],
        'local_port': '500',
        'remote_port': '500',
        'version': 'IKEv1/2',
        'reauth_time': '0',
        'rekey_time': '14400',
        'unique': 'UNIQUE_NO',
        'proposals': { 0: { encr: ['AES_GCM_16_128'], prf: ['PRF_HMAC_SHA2_256'], ke: ['CURVE_25519'] } },
        'local-1': { class: 'pre-shared key', ...round },
        'remote-1': { class: 'pre-shared key', ...round },
        'children': {},
      },
    }),
  )
  assert.equal(
    JSON.stringify(full),
    JSON.stringify({
      full: {
        'local_addrs': ['192.0.2.1', '10.0.0.0/8'],
        'remote_addrs': ['10.0.0.1-10.0.0.9', 'vpn.example.org'],
        'local_port': '4500',
        'remote_port': '4501',
        'version': 'IKEv2',
        'reauth_time': '86400',
        // Reauthentication alone was asked for.
        'rekey_time': '0',
        'unique': 'UNIQUE_REPLACE',
        'proposals': {
          0: {
            encr: ['AES_CBC_256', 'AES_CBC_128'],
            integ: ['HMAC_SHA2_256_128'],
            prf: ['PRF_HMAC_SHA2_256'],
            ke: ['CURVE_25519'],
            ake1: ['ML_KEM_768', 'KE_NONE'],
            ake3: ['ECP_384'],
          },
          1: { encr: ['CHACHA20_POLY1305'], prf: ['PRF_HMAC_SHA2_512'], ke: ['ML_KEM_1024'] },
        },
        'dpd_delay': '30',
        'dpd_timeout': '300',
        'ppk_id': 'ppk@example.org',
        'local-1': { id: 'C=CH, CN=moon', class: 'pre-shared key', ...round },
        'remote-1': { id: '*.example.org', class: 'pre-shared key', ...round },
        'children': {
          net: {
            'mode': 'TRANSPORT',
            'rekey_time': '600',
            // Cut off behind a division in floating point, there and here.
            'rekey_bytes': '999',
            'rekey_packets': '5',
            'dpd_action': 'start',
            'close_action': 'trap|start',
            'esp_proposals': {
              0: {
                encr: ['AES_CBC_192'],
                integ: ['HMAC_SHA2_384_192'],
                ke: ['CURVE_25519'],
                ake1: ['ML_KEM_512'],
                sn: ['EXT_SEQ', 'NO_EXT_SEQ'],
              },
              1: { encr: ['AES_GCM_16_256'], ke: ['MODP_3072', 'KE_NONE'], sn: ['NO_EXT_SEQ'] },
            },
            'ah_proposals': {},
            'local-ts': ['dynamic[tcp/80]', '10.1.0.0/16'],
            'remote-ts': ['10.0.0.1..10.0.0.3[udp]'],
            'priority': '7',
          },
          other: {
            'mode': 'TUNNEL',
            'rekey_time': '3600',
            'rekey_bytes': '0',
            'rekey_packets': '0',
            'dpd_action': 'none',
            'close_action': 'none',
            'esp_proposals': { 0: { encr: ['NULL'], integ: ['HMAC_SHA1_96'], sn: ['NO_EXT_SEQ'] } },
            'ah_proposals': {},
            'local-ts': ['dynamic'],
            'remote-ts': ['dynamic'],
          },
        },
      },
    }),
  )
  assert.deepEqual(
    (await listed(operator, { ike: 'full' })).map((message) => Object.keys(message)),
    [['full']],
  )
  assert.deepEqual(await listed(operator, { ike: 'none' }), [])
})

scenario(
  'what is wrong is refused in the words of strongSwan, with every reason behind them, and changes nothing',
  async (world) => {
    const operator = blank(world)
    await operator.command('load-conn', { c: PSK_ROUNDS })
    const errmsg = async (words: Plain): Promise<unknown> => {
      const answer = await operator.command('load-conn', { c: { ...PSK_ROUNDS, mobike: 'no', ...words } })
      assert.deepEqual(Object.keys(answer), ['success', 'errmsg'])
      return answer['errmsg']
    }
    assert.equal(
      await errmsg({ rekey_time: 'soon' }),
      "invalid value for: rekey_time, config discarded: connections.c.rekey_time: expected a time such as 90, 90s, 5m, 4h or 1d, not 'soon'",
    )
    assert.equal(
      await errmsg({ mobik: 'no', encap: 'maybe' }),
      "unknown option: mobik, config discarded: connections.c.mobik: unknown key 'mobik'; did you mean 'mobike'?; connections.c.encap: expected yes or no, not 'maybe'",
    )
    assert.equal(
      await errmsg({ childen: {} }),
      "invalid section: childen, config discarded: connections.c.childen: unknown section 'childen'; did you mean 'children'?",
    )
    assert.equal(
      await errmsg({ children: { net: { label: 'x' } } }),
      'not supported: label, config discarded: connections.c.children.net.label: not supported: policies without the security label would apply to other traffic',
    )
    assert.equal(
      await errmsg({ local: { auth: 'eap-tls' } }),
      'not supported: auth, config discarded: connections.c.local.auth: auth = eap-tls is not supported yet, only pubkey and psk are',
    )
    assert.equal(
      await errmsg({ version: ['2'] }),
      'invalid value for: version, config discarded: connections.c.version: expected one value, not a list',
    )
    assert.match(String(await errmsg({ proposals: ['aes128-sha256-x25519', 'nonsense'] })), /^invalid value for: proposals, /)
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`no-such-key-${i}`, '1']))
    assert.match(String(await errmsg(many)), /; and 30 more$/)
    assert.equal((await operator.command('load-conn', { good: PSK_ROUNDS, bad: { ...PSK_ROUNDS, encap: 'x' } }))['success'], 'no')
    assert.equal((await operator.command('load-conn', { c: 'no section' }))['errmsg'], 'parsing request failed')
    assert.deepEqual(await names(operator), ['c'])
    assert.equal(world.nodes[0]!.gateway.configured.connections()[0]!.mobike, true)
  },
)

scenario('lists stay lists, and a value will do where a list is expected', async (world) => {
  const operator = blank(world)
  const conn = (local_addrs: string | readonly string[]): Plain => ({ ...PSK_ROUNDS, local_addrs })
  await operator.command('load-conn', { list: conn(['10.0.0.1', '10.0.0.2']), value: conn('10.0.0.1, 10.0.0.2'), none: conn([]) })
  assert.deepEqual(
    (await listed(operator)).map((message) => Object.values(message).map((shown) => (shown as Plain)['local_addrs'])),
    [[['10.0.0.1', '10.0.0.2']], [['10.0.0.1', '10.0.0.2']], [['%any']]],
  )
  const answer = await operator.command('load-conn', { one: conn(['10.0.0.1, 10.0.0.2']) })
  assert.match(text(answer, 'errmsg'), /^invalid value for: local_addrs, /)
})

scenario(
  'bytes that are no text are refused, but for certificates, and what is no certificate is refused there',
  async (world) => {
    const operator = blank(world)
    const bytes = Uint8Array.of(0x30, 0x82, 0xff)
    const load = (id: Uint8Array | string, ...certs: Uint8Array[]): Promise<Plain> => {
      const local = new Map<string, string | Uint8Array | readonly Uint8Array[]>([
        ['auth', 'psk'],
        ['id', id],
        ['certs', certs],
      ])
      return operator.command(
        'load-conn',
        new Map([['c', new Map([['local', local] as const, ['remote', new Map([['auth', 'psk']])] as const])]]),
      )
    }
    assert.equal((await load(bytes))['errmsg'], 'invalid value for: id, config discarded: it is not text in UTF-8')
    assert.match(
      text(await load('moon', bytes), 'errmsg'),
      /^invalid value for: certs, config discarded: connections\.c\.local\.certs: /,
    )
    const { der } = makeCertificate({ subject: 'CN=moon' })
    assert.deepEqual(await load('moon', der), { success: 'yes' })
  },
)

/** A value that asks for something, by key, where `yes` does not. */
const LOUD: Readonly<Record<string, string | readonly string[]>> = {
  version: '2',
  local_addrs: ['10.0.0.1'],
  remote_addrs: ['10.0.0.2'],
  local_port: '4500',
  remote_port: '4500',
  proposals: ['aes256-sha256-x25519'],
  esp_proposals: ['aes256-sha256-x25519'],
  ah_proposals: ['sha256'],
  vips: ['0.0.0.0'],
  pools: ['clients'],
  dscp: '101110',
  nat: 'refuse',
  // As swanctl passes on what it does not know: no list.
  public_addrs: '203.0.113.5, 2001:db8::5',
  keep_alive: 'adaptive',
  dpd_delay: '30s',
  dpd_timeout: '150s',
  fragmentation: 'accept',
  childless: 'prefer',
  send_cert: 'always',
  ocsp: 'both',
  ppk_id: 'ppk',
  keyingtries: '3',
  unique: 'replace',
  reauth_time: '1h',
  rekey_time: '1h',
  over_time: '10m',
  rand_time: '5m',
  if_id_in: '7',
  if_id_out: '%unique',
  mediated_by: 'medi',
  mediation_peer: 'peer',
  local_ts: ['10.0.0.0/8'],
  remote_ts: ['10.0.0.0/8'],
  life_time: '2h',
  rekey_bytes: '1g',
  life_bytes: '2g',
  rand_bytes: '1k',
  rekey_packets: '1000',
  life_packets: '2000',
  rand_packets: '10',
  updown: '/usr/libexec/updown',
  mode: 'transport',
  policies: 'no',
  dpd_action: 'restart',
  inactivity: '5m',
  reqid: '77',
  priority: '5',
  interface: 'eth0',
  mark_in: '7/0xff',
  mark_out: '%unique',
  set_mark_in: '%same',
  set_mark_out: '7',
  label: 'a label',
  label_mode: 'simple',
  tfc_padding: 'mtu',
  replay_window: '64',
  per_cpu_sas: 'encap',
  hw_offload: 'auto',
  copy_dscp: 'in',
  start_action: 'start',
  close_action: 'trap',
}

const CONNECTION = SWANCTL.sections['connections']!.otherSections!
const CHILD = CONNECTION.sections['children']!.otherSections!

scenario('every key of a connection and of its children is honoured, warned of by name, or refused by name', async (world) => {
  const operator = blank(world)
  const outcomes = { honoured: 0, silent: 0, unhonoured: 0, refused: 0 }
  const check = async (rules: SectionRules, path: string, wrap: (words: Plain) => Plain): Promise<void> => {
    for (const [key, treatment] of Object.entries<Treatment>(rules.keys)) {
      const answer = await operator.command('load-conn', { c: wrap({ [key]: LOUD[key] ?? 'yes' }) })
      outcomes[treatment.kind]++
      const about = `${path}.${key}: not ${treatment.kind === 'refused' ? 'supported' : 'honoured'}: ${'lost' in treatment ? treatment.lost : ''}`
      if (treatment.kind === 'refused')
        assert.deepEqual(answer, { success: 'no', errmsg: `not supported: ${key}, config discarded: ${about}` })
      else if (treatment.kind === 'unhonoured') assert.deepEqual(answer, { success: 'yes', warnings: [about] })
      else assert.equal(answer['success'], 'yes', `${key} is taken`)
      await operator.command('unload-conn', { name: 'c' })
    }
  }
  await check(CONNECTION, 'connections.c', (words) => ({ ...PSK_ROUNDS, ...words }))
  await check(CHILD, 'connections.c.children.net', (net) => ({ ...PSK_ROUNDS, children: { net } }))
  assert.ok(
    Object.values(outcomes).every((count) => count >= 4),
    JSON.stringify(outcomes),
  )
  // The warnings are in the log as well.
  const logged = world.nodes[0]!.lines.filter(({ fields }) => fields['event'] === 'configuration-warning')
  assert.ok(logged.length >= outcomes.unhonoured)
  assert.ok(logged.every(({ group, level }) => group === 'cfg' && level === 'warn'))
})

scenario('pools are loaded and listed, and unloaded by name', async (world) => {
  const operator = blank(world)
  const load = (name: string, words: Plain): Promise<Plain> => operator.command('load-pool', { [name]: words })
  assert.deepEqual(await load('clients', { addrs: '10.3.0.0/24', dns: ['10.1.0.1', 'fd00::1'], subnet: ['10.1.0.0/16'] }), {
    success: 'yes',
  })
  await load('range', { addrs: '10.4.0.10-10.4.0.19' })
  await load('six', { addrs: 'fd00::/120' })
  await load('one', { addrs: '10.5.0.1/32' })
  assert.equal(
    JSON.stringify(await operator.command('get-pools')),
    JSON.stringify({
      clients: { base: '10.3.0.1', size: '254', online: '0', offline: '0' },
      range: { base: '10.4.0.10', size: '10', online: '0', offline: '0' },
      six: { base: 'fd00::1', size: '254', online: '0', offline: '0' },
      one: { base: '10.5.0.1', size: '1', online: '0', offline: '0' },
    }),
  )
  assert.deepEqual(await operator.command('get-pools', { name: 'one', leases: 'yes' }), {
    one: { base: '10.5.0.1', size: '1', online: '0', offline: '0', leases: {} },
  })
  assert.match(text(await load('bad', {}), 'errmsg'), /^invalid value for: bad, .*there are no addrs in it/)
  assert.match(text(await load('bad', { addrs: 'x' }), 'errmsg'), /^invalid value for: addrs, /)
  assert.match(text(await load('bad', { addrs: '10.0.0.0/8', dns: ['moon'] }), 'errmsg'), /^invalid value for: dns, /)
  assert.match(text(await load('bad', { addrs: '10.0.0.0/8', dsn: ['1'] }), 'errmsg'), /^unknown option: dsn, /)
  assert.deepEqual(await operator.command('unload-pool', { name: 'one' }), { success: 'yes' })
  assert.equal((await operator.command('unload-pool', { name: 'one' }))['errmsg'], 'one not found')
  assert.equal((await operator.command('unload-pool'))['errmsg'], 'missing pool name to unload')
  assert.deepEqual(Object.keys(await operator.command('get-pools')), ['clients', 'range', 'six'])
})
