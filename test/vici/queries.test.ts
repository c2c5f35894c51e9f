/** What list-sas, stats, counters and their like answer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { algorithms } from '../../src/vici/algorithms.ts'
import { summaryOf } from '../simulation/packet.ts'
import { addClient, addGateway, CLIENT, HOME_HOST, OFFICE_HOST } from '../simulation/places.ts'
import { beginIkeRekey, current, standing } from '../simulation/standing.ts'
import { scenario } from '../simulation/world.ts'
import { at, Operator, plain, text, type Plain } from './operator.ts'

scenario('list-sas has marks, their masks unless they are whole, and interface IDs, behind the SPIs', async (world) => {
  addGateway(world)
  const marks = { markIn: { value: 'unique', mask: 0xffff_ffff }, markOut: { value: 0xa, mask: 0xff } } as const
  const client = addClient(world, { marks, defaultInterfaceId: 'unique-dir' })
  await world.initiate(client)
  const [listed] = await new Operator(world, client).listSas()
  const ike = Object.entries(at(listed!, 'home'))
  const first = ike.findIndex(([key]) => key === 'if-id-in')
  assert.deepEqual(ike.slice(first, first + 2), [
    ['if-id-in', '00000001'],
    ['if-id-out', '00000002'],
  ])
  const child = Object.entries(at(listed!, 'home', 'child-sas', 'net-1'))
  const behind = child.findIndex(([key]) => key === 'spi-out') + 1
  assert.deepEqual(child.slice(behind, behind + 6), [
    ['mark-in', '00000001'],
    ['mark-out', '0000000a'],
    ['mark-mask-out', '000000ff'],
    ['if-id-in', '00000001'],
    ['if-id-out', '00000002'],
    ['encr-alg', 'AES_GCM_16'],
  ])
})

scenario('list-sas has the keys of strongSwan in its order', async (world) => {
  const nat = world.addNat('nat', '198.51.100.1')
  const gateway = addGateway(world)
  const client = addClient(world, { lifetime: { rand: 0, reauth: 600 * MINUTE } }, { behind: nat })
  await world.initiate(client)
  assert.ok(await world.ping(client, HOME_HOST, OFFICE_HOST))
  await world.pass(5 * SECOND)

  const [listed, ...others] = await new Operator(world, client).listSas()
  assert.deepEqual(others, [])
  assert.deepEqual(Object.keys(listed!), ['home'])
  const { sa } = client.session
  const { 'child-sas': children, ...ike } = at(listed!, 'home')
  assert.deepEqual(Object.entries(ike), [
    ['uniqueid', '1'],
    ['version', '2'],
    ['state', 'ESTABLISHED'],
    ['local-host', '192.168.1.7'],
    ['local-port', '4500'],
    ['local-id', 'client@example.org'],
    ['remote-host', '203.0.113.1'],
    ['remote-port', '4500'],
    ['remote-id', 'gateway.example.org'],
    ['initiator', 'yes'],
    ['initiator-spi', sa.ownSpi.toString(16).padStart(16, '0')],
    ['responder-spi', sa.peerSpi.toString(16).padStart(16, '0')],
    ['nat-local', 'yes'],
    ['nat-any', 'yes'],
    ['encr-alg', 'AES_GCM_16'],
    ['encr-keysize', '128'],
    ['prf-alg', 'PRF_HMAC_SHA2_256'],
    ['dh-group', 'CURVE_25519'],
    ['established', text(ike, 'established')],
    ['rekey-time', text(ike, 'rekey-time')],
    ['reauth-time', text(ike, 'reauth-time')],
  ])
  assert.equal(Object.keys(at(listed!, 'home')).at(-1), 'child-sas')
  assert.ok(children !== undefined)
  const child = sa.children[0]!
  assert.deepEqual(Object.keys(at(listed!, 'home', 'child-sas')), ['net-1'])
  const shown = at(listed!, 'home', 'child-sas', 'net-1')
  assert.deepEqual(Object.entries(shown), [
    ['name', 'net'],
    ['uniqueid', '1'],
    ['reqid', '1'],
    ['state', 'INSTALLED'],
    ['mode', 'TUNNEL'],
    ['protocol', 'ESP'],
    ['encap', 'yes'],
    ['spi-in', child.inboundSpi.toString(16).padStart(8, '0')],
    ['spi-out', child.outboundSpi.toString(16).padStart(8, '0')],
    ['encr-alg', 'AES_GCM_16'],
    ['encr-keysize', '128'],
    ['bytes-in', '84'],
    ['packets-in', '1'],
    ['use-in', text(shown, 'use-in')],
    ['bytes-out', '84'],
    ['packets-out', '1'],
    ['use-out', text(shown, 'use-out')],
    ['rekey-time', text(shown, 'rekey-time')],
    ['life-time', text(shown, 'life-time')],
    ['install-time', text(shown, 'install-time')],
    ['local-ts', ['10.2.0.0/16']],
    ['remote-ts', ['10.1.0.0/16']],
    ['health', 'untested'],
    ['health-time', text(shown, 'health-time')],
    // 1500 less IPv4, UDP, ESP, IV, ICV, and what makes it a multiple of four with the trailer.
    ['mtu', '1438'],
  ])
  // A ping that took a second, and five seconds since; all in whole seconds of the clock.
  for (const [value, seconds] of [
    [text(ike, 'established'), 7],
    [text(ike, 'rekey-time'), 4 * 3600 - 7],
    [text(ike, 'reauth-time'), 10 * 3600 - 7],
    [text(shown, 'life-time'), 66 * 60 - 7],
    [text(shown, 'install-time'), 7],
    [text(shown, 'use-out'), 6],
    [text(shown, 'use-in'), 6],
  ] as const)
    assert.ok(Math.abs(Number(value) - seconds) <= 1, `${value} is about ${seconds}`)
  // Six minutes of the hour are thrown for.
  const soonest = Number(text(shown, 'rekey-time'))
  assert.ok(soonest >= 54 * 60 - 8 && soonest <= 3600 - 6, `${soonest} is within 54 and 60 minutes`)

  const [atGateway] = await new Operator(world, gateway).listSas()
  const other = at(atGateway!, 'home')
  assert.deepEqual([other['initiator'], other['nat-remote'], other['nat-local']], [undefined, 'yes', undefined])
  assert.deepEqual([other['initiator-spi'], other['responder-spi']], [ike['initiator-spi'], ike['responder-spi']])
})

scenario('keys of algorithms that are not AEADs, and of what is not there', async (world) => {
  const words = {
    ikeProposals: ['aes256-sha384-modp2048'],
    proposals: ['aes192-sha256-esn'],
    mobike: false,
    childLifetime: {},
  }
  const client = addClient(world, { ...words, encap: true })
  addGateway(world, words)
  await world.initiate(client)
  const [listed] = await new Operator(world, client).listSas()
  const ike = at(listed!, 'home')
  assert.deepEqual(
    ['encr-alg', 'encr-keysize', 'integ-alg', 'integ-keysize', 'prf-alg', 'dh-group', 'nat-fake', 'nat-any'].map(
      (key) => ike[key],
    ),
    ['AES_CBC', '256', 'HMAC_SHA2_384_192', undefined, 'PRF_HMAC_SHA2_384', 'MODP_2048', 'yes', 'yes'],
  )
  const child = at(ike, 'child-sas', 'net-1')
  assert.deepEqual(
    ['encr-alg', 'encr-keysize', 'integ-alg', 'dh-group', 'esn', 'use-in', 'bytes-in', 'rekey-time'].map((key) => child[key]),
    ['AES_CBC', '192', 'HMAC_SHA2_256_128', undefined, '1', undefined, '0', undefined],
  )
})

scenario('additional key exchanges are ake1 to ake7 of strongSwan 6, behind the first one', async (world) => {
  const words = {
    ikeProposals: ['aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke3_ecp384'],
    proposals: ['aes128gcm16-mlkem512-ke7_mlkem1024-esn'],
  }
  const client = addClient(world, words)
  addGateway(world, words)
  await world.initiate(client)
  await world.outcome(standing(client).runExchange((session) => rekeyChild(session, current(client)), 'rekey-child'))
  const [listed] = await new Operator(world, client).listSas()
  const keysOf = (section: Plain): readonly (readonly [string, unknown])[] =>
    Object.entries(section).filter(([key]) => /^(?:dh-|ake|esn)/.test(key))
  const ike = at(listed!, 'home')
  assert.deepEqual(keysOf(ike), [
    ['dh-group', 'CURVE_25519'],
    ['ake1', 'ML_KEM_768'],
    ['ake3', 'ECP_384'],
  ])
  assert.deepEqual(keysOf(at(ike, 'child-sas', `net-${current(client).uniqueId}`)), [
    ['dh-group', 'ML_KEM_512'],
    ['ake7', 'ML_KEM_1024'],
    ['esn', '1'],
  ])
})

scenario('an IKE_SA under way shows what it is at', async (world) => {
  const client = addClient(world)
  const operator = new Operator(world, client)
  await operator.command('initiate', { child: 'net', timeout: '-1' })
  const [begun] = await operator.listSas()
  const ike = at(begun!, 'home')
  assert.deepEqual(
    [ike['state'], ike['responder-spi'], ike['remote-id'], ike['established'], ike['encr-alg'], ike['tasks-active']],
    ['CONNECTING', '0000000000000000', '%any', undefined, undefined, ['IKE_INIT', 'IKE_NATD', 'IKE_AUTH', 'CHILD_CREATE']],
  )
  assert.deepEqual(at(ike, 'child-sas'), {})

  const gateway = addGateway(world)
  await world.until(() => gateway.sessions().some(({ opening }) => opening !== null), 'IKE_SA_INIT is answered')
  const [half] = await new Operator(world, gateway).listSas()
  assert.deepEqual(at(half!, '(unnamed)')['tasks-passive'], ['IKE_AUTH', 'CHILD_CREATE'])
  await world.until(() => client.session.sa.state === 'established', 'the IKE_SA is established')

  await world.pass(SECOND)
  gateway.isAsleep = true
  void operator.begin('terminate', { child: 'net' })
  void operator.begin('terminate', { ike: 'home' })
  await world.pass(SECOND)
  const [ending] = await operator.listSas()
  assert.deepEqual([at(ending!, 'home')['tasks-queued'], at(ending!, 'home')['tasks-active']], [['IKE_DELETE'], ['CHILD_DELETE']])
  gateway.isAsleep = false
  await world.until(() => client.sessions().length === 0, 'the peer hears of both')
})

scenario('list-sas takes filters, of IKE_SAs and of the CHILD_SAs in them', async (world) => {
  const gateway = addGateway(world)
  for (const i of [1, 2]) {
    const side = { name: `client${i}`, address: `198.51.100.${i}` }
    await world.initiate(addClient(world, { localId: `client${i}@example.org`, local: [`10.2.${i}.0/24`] }, side))
  }
  const operator = new Operator(world, gateway)
  const found = async (request: Record<string, string>): Promise<readonly string[]> =>
    (await operator.listSas(request)).map((listed) => {
      const ike = at(listed, 'home')
      return `${text(ike, 'uniqueid')}: ${Object.keys(at(ike, 'child-sas')).join(' ')}`
    })
  assert.deepEqual(await found({}), ['1: net-1', '2: net-2'])
  assert.deepEqual(await found({ noblock: 'yes' }), ['1: net-1', '2: net-2'])
  assert.deepEqual(await found({ ike: 'home' }), ['1: net-1', '2: net-2'])
  assert.deepEqual(await found({ ike: 'office' }), [])
  assert.deepEqual(await found({ 'ike-id': '2' }), ['2: net-2'])
  assert.deepEqual(await found({ 'ike-id': '0' }), ['1: net-1', '2: net-2'])
  assert.deepEqual(await found({ 'child-id': '1' }), ['1: net-1', '2: '])
  assert.deepEqual(await found({ 'child': 'other', 'ike-id': '1' }), ['1: '])
})

scenario(
  'an IKE_SA that goes while the kernel is asked is left out, and a kernel that will not tell is no end of it',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    await world.initiate(client)
    const operator = new Operator(world, client)
    client.refuse = (operation) => (operation.op === 'query-state' ? 12 : null)
    const [listed] = await operator.listSas()
    assert.equal(at(listed!, 'home', 'child-sas', 'net-1')['bytes-in'], '0')
    client.refuse = null

    const before = operator.streamed.length
    const listing = operator.begin('list-sas')
    const closing = client.session.close('deleted-by-us')
    await world.outcome(Promise.all([listing, closing]))
    assert.deepEqual(operator.streamed.slice(before), [])
    world.expectsAgreement = false
    assert.equal(gateway.sessions().length, 1)
  },
)

scenario('many IKE_SAs are listed each once', async (world) => {
  const gateway = addGateway(world)
  for (let i = 0; i < 40; i++) {
    const side = { name: `client${i}`, address: `198.51.100.${i + 1}` }
    const client = addClient(world, { localId: `client${i}@example.org`, local: [`10.2.${i}.0/24`] }, side)
    await world.outcome(client.gateway.initiate('home', 'net'))
  }
  const ids = (await new Operator(world, gateway).listSas()).map((listed) => Number(at(listed, 'home')['uniqueid']))
  assert.deepEqual(
    ids.toSorted((a, b) => a - b),
    Array.from({ length: 40 }, (_, i) => i + 1),
  )
})

scenario('policies are installed, listed by kind and name, and uninstalled', async (world) => {
  addGateway(world)
  const client = addClient(world, {
    children: [
      { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] },
      { name: 'host', remote: ['10.1.0.0/16'] },
      { name: 'dns', mode: 'pass', local: ['dynamic'], remote: ['10.1.0.53/32[udp/53]'] },
      { name: 'rest', mode: 'drop', remote: ['10.0.0.0/8'] },
    ],
  })
  const operator = new Operator(world, client)
  const listed = async (request: Record<string, string>): Promise<readonly (readonly [string, Plain])[]> => {
    const before = operator.streamed.length
    assert.deepEqual(await operator.command('list-policies', request), {})
    return operator.streamed.slice(before).flatMap(({ message }) => Object.entries(message) as [string, Plain][])
  }
  const everything = { trap: 'yes', drop: 'yes', pass: 'yes' }
  await world.initiate(client)
  assert.deepEqual(await listed(everything), [], 'what CHILD_SAs install is not listed')
  for (const child of ['net', 'host', 'dns', 'rest'])
    assert.deepEqual(await operator.command('install', { child, ike: 'home' }), { success: 'yes' })
  assert.deepEqual(await operator.command('install', { child: 'net' }), { success: 'yes' })
  assert.deepEqual(await listed(everything), [
    [
      'home/host',
      {
        'child': 'host',
        'reqid': '2',
        'ike': 'home',
        'mode': 'TUNNEL',
        'local-ts': ['198.51.100.7/32'],
        'remote-ts': ['10.1.0.0/16'],
      },
    ],
    [
      'home/net',
      // A CHILD_SA with the same traffic has the same reqid.
      {
        'child': 'net',
        'reqid': '1',
        'ike': 'home',
        'mode': 'TUNNEL',
        'local-ts': ['10.2.0.0/16'],
        'remote-ts': ['10.1.0.0/16'],
      },
    ],
    [
      'home/dns',
      { 'child': 'dns', 'ike': 'home', 'mode': 'PASS', 'local-ts': ['dynamic'], 'remote-ts': ['10.1.0.53/32[udp/53]'] },
    ],
    ['home/rest', { 'child': 'rest', 'ike': 'home', 'mode': 'DROP', 'local-ts': ['dynamic'], 'remote-ts': ['10.0.0.0/8'] }],
  ])
  const names = async (request: Record<string, string>): Promise<readonly string[]> =>
    (await listed(request)).map(([name]) => name)
  assert.deepEqual(await names({ drop: 'yes' }), ['home/rest'])
  assert.deepEqual(await names({ pass: 'yes' }), ['home/dns'])
  assert.deepEqual(await names({ ...everything, child: 'net' }), ['home/net'])
  assert.deepEqual(await names({ ...everything, ike: 'away' }), [])
  assert.deepEqual(await names({}), [])
  assert.deepEqual(await operator.command('uninstall', { child: 'net', ike: 'away' }), {
    success: 'no',
    errmsg: "policy 'net' not found",
  })
  for (const child of ['net', 'host', 'dns']) {
    assert.deepEqual(await operator.command('uninstall', { child }), { success: 'yes' })
    assert.equal((await operator.command('uninstall', { child }))['success'], 'no')
  }
  assert.deepEqual(await names(everything), ['home/rest'])
})

scenario('a trap needs somebody to initiate to', async (world) => {
  const operator = new Operator(world, addGateway(world))
  const answer = await operator.command('install', { child: 'net' })
  assert.equal(answer['success'], 'no')
  assert.match(text(answer, 'errmsg'), /^installing policy 'net' failed: .*remote_addrs names no single address/)
})

test('get-algorithms has the headings of strongSwan, and what IKE can be done with', () => {
  const listed = plain(algorithms())
  assert.deepEqual(Object.keys(listed), [
    'encryption',
    'integrity',
    'aead',
    'hasher',
    'prf',
    'xof',
    'kdf',
    'drbg',
    'ke',
    'rng',
    'nonce-gen',
  ])
  assert.deepEqual(Object.keys(at(listed, 'encryption')), ['AES_CBC', 'AES_CTR'])
  assert.deepEqual(Object.keys(at(listed, 'aead')), ['AES_GCM_8', 'AES_GCM_12', 'AES_GCM_16', 'CHACHA20_POLY1305'])
  assert.deepEqual(Object.keys(at(listed, 'ke')).slice(-4), ['CURVE_448', 'ML_KEM_512', 'ML_KEM_768', 'ML_KEM_1024'])
})

scenario('stats has the keys of strongSwan', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  await world.pass(3 * MINUTE)
  await operator.command('initiate', { child: 'other' })
  const stats = await operator.command('stats')
  assert.deepEqual(stats, {
    uptime: { running: '3 minutes', since: 'Nov 22 15:04:05 2026' },
    workers: { total: '1', idle: '0', active: { critical: '0', high: '0', medium: '1', low: '0' } },
    queues: { critical: '0', high: '0', medium: '0', low: '0' },
    scheduled: '2',
    ikesas: { 'total': '1', 'half-open': '0' },
    plugins: ['vici'],
    mallinfo: { sbrk: '7', mmap: '3', used: '5', free: '2' },
  })
  assert.deepEqual(Object.keys(stats), ['uptime', 'workers', 'queues', 'scheduled', 'ikesas', 'plugins', 'mallinfo'])
  await world.pass(180 * MINUTE)
  assert.equal(at(await operator.command('stats'), 'uptime')['running'], '3 hours')
  assert.equal(gateway.sessions().length, 1)
})

scenario('stats counts IKE_SAs that are half open, and what is scheduled for them', async (world) => {
  const operator = new Operator(world, addClient(world))
  await operator.command('initiate', { child: 'net', timeout: '-1' })
  const stats = await operator.command('stats')
  assert.deepEqual([stats['ikesas'], stats['scheduled']], [{ 'total': '1', 'half-open': '1' }, '1'])
  assert.equal(at(stats, 'uptime')['running'], '0 seconds')
})

scenario('stats does not count what is being made in the place of another IKE_SA, nor do init-limits', async (world) => {
  const words = { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ke1_mlkem512'] }
  const settings = { initLimitHalfOpen: 1 }
  const nodes = [addGateway(world, { ...words, remoteAddresses: [CLIENT] }, { settings }), addClient(world, words, { settings })]
  await world.initiate(nodes[1]!)
  world.network.tap((sent) => (summaryOf(sent).startsWith('IKE_FOLLOWUP_KE') ? [] : [sent]))
  void beginIkeRekey(nodes[1]!)
  await world.until(() => nodes.every((node) => node.sessions().length === 2), 'another one is in the making at both')
  for (const node of nodes) {
    const operator = new Operator(world, node)
    assert.deepEqual((await operator.command('stats'))['ikesas'], { 'total': '1', 'half-open': '0' })
    const { connections } = node.configuration
    node.gateway.reload({ ...node.configuration, connections: [...connections, { ...connections[0]!, name: 'other' }] })
    const request = { 'child': 'net', 'ike': 'other', 'timeout': '-1', 'init-limits': 'yes' }
    assert.deepEqual(await operator.command('initiate', request), { success: 'yes' })
  }
  world.expectsAgreement = false
})

scenario('rekeys are counted by who began them', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const [here, there] = [new Operator(world, client), new Operator(world, gateway)]
  await world.initiate(client)
  await here.command('rekey', { child: 'net' })
  await world.pass(MINUTE)
  await here.command('rekey', { ike: 'home' })
  await world.pass(MINUTE)
  const rekeys = async (operator: Operator): Promise<readonly unknown[]> => {
    const counters = at(await operator.command('get-counters', { name: 'home' }), 'counters', 'home')
    return ['ike-rekey-init', 'ike-rekey-resp', 'child-rekey'].map((key) => counters[key])
  }
  assert.deepEqual(await rekeys(here), ['1', '0', '1'])
  assert.deepEqual(await rekeys(there), ['0', '1', '1'])
})

scenario('counters are asked for and reset, in all and by connection', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  const all = await operator.command('get-counters')
  assert.deepEqual(Object.keys(all), ['counters', 'success'])
  const global = at(all, 'counters', '')
  assert.deepEqual(
    ['ike-init-out-req', 'ike-init-in-resp', 'ike-auth-out-req', 'ike-auth-in-resp', 'info-out-req'].map((key) => global[key]),
    ['1', '1', '1', '1', '0'],
  )
  assert.deepEqual(at(await operator.command('get-counters', { name: 'home' }), 'counters', 'home'), global)
  assert.deepEqual(await operator.command('get-counters', { all: 'yes' }), { counters: { home: global }, success: 'yes' })
  assert.deepEqual(await operator.command('get-counters', { name: 'office' }), {
    counters: {},
    success: 'no',
    errmsg: 'no counters found for this connection',
  })
  assert.deepEqual(await operator.command('reset-counters', { all: 'yes' }), { success: 'yes' })
  assert.deepEqual(await operator.command('get-counters', { all: 'yes' }), { counters: {}, success: 'yes' })
  assert.equal(at(await operator.command('get-counters'), 'counters', '')['ike-init-out-req'], '1')
  await operator.command('reset-counters')
  assert.equal(at(await operator.command('get-counters'), 'counters', '')['ike-init-out-req'], '0')
})
