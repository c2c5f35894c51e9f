/** MOBIKE (RFC 4555) in both roles: addresses that come and go, ways that are tried, NATs that appear and vanish, peers that lie. */
import assert from 'node:assert/strict'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { ExchangeType, nameOf, NotifyType } from '../../src/iana/ikev2.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { probe } from '../../src/ike/liveness.ts'
import { noNatsAllowed } from '../../src/ike/mobike-payloads.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { Session } from '../../src/ike/session.ts'
import { findNotify, notify } from '../../src/message/ikev2/find.ts'
import type { NotifyPayload, Payload } from '../../src/message/ikev2/payload.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { assertOne, beginIkeRekey, standing } from './standing.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const SECOND_ADDRESS = '198.51.100.77'
const GATEWAY_ELSEWHERE = '203.0.113.9'
const CLIENT6 = '2001:db8::7'
const GATEWAY6 = '2001:db8:1::1'

interface Pair {
  readonly client: SimulatedNode
  readonly gateway: SimulatedNode
}

/** A second interface, with a better or worse way out than none. */
function plug(world: World, node: SimulatedNode, ...addresses: readonly string[]): void {
  const { internet, network } = world
  node.interfaces.add(
    'eth1',
    addresses.map((text) => IpAddress.parse(text)),
    internet,
    { ...network.defaultLink },
  )
}

/** A client with two interfaces, the IKE_SA on the first one. */
async function twoWays(world: World, words: Parameters<typeof addClient>[1] = {}): Promise<Pair> {
  const gateway = addGateway(world, words)
  const client = addClient(world, words)
  plug(world, client, SECOND_ADDRESS)
  await world.pass(SECOND)
  await world.initiate(client)
  return { client, gateway }
}

/** Where an IKE_SA is at one node, and in which addresses its states and policies are. */
function places(node: SimulatedNode): readonly string[] {
  const { local, remote } = node.session.sa
  const states = node.kernel
    .states()
    .map(({ direction, source, destination }) => (direction === 'in' ? [destination, source] : [source, destination]))
  const templates = node.kernel.policies().map(({ direction, template }) => {
    assert.ok(template !== null)
    return direction === 'out' ? [template.source, template.destination] : [template.destination, template.source]
  })
  const words = [...states, ...templates].map(([mine, theirs]) => `${mine!.toString()} ${theirs!.toString()}`)
  return [`${local.toString()} ${remote.toString()}`, ...new Set(words)]
}

function isEncapsulated(...nodes: readonly SimulatedNode[]): readonly boolean[] {
  return [...new Set(nodes.flatMap(({ kernel }) => kernel.states().map(({ encapsulation }) => encapsulation !== null)))]
}

/** The notifies of the INFORMATIONALs that a node sent, each told once, by their names. */
function said(node: SimulatedNode): readonly (readonly string[])[] {
  return node
    .eventsOf('message-sent')
    .filter(({ exchangeType, isRetransmission }) => exchangeType === ExchangeType.INFORMATIONAL && !isRetransmission)
    .map(({ payloads }) =>
      payloads.flatMap((payload) => (payload.kind === 'Notify' ? [nameOf(NotifyType, payload.notifyType)] : [])),
    )
}

const UPDATE = ['UPDATE_SA_ADDRESSES', 'COOKIE2', 'NAT_DETECTION_SOURCE_IP', 'NAT_DETECTION_DESTINATION_IP']
const UPDATED = ['NAT_DETECTION_SOURCE_IP', 'NAT_DETECTION_DESTINATION_IP', 'COOKIE2']

/** What a node answers to a request of ours with these payloads, whoever we are to it. */
async function ask(world: World, session: Session, payloads: readonly Payload[]): Promise<readonly NotifyPayload[]> {
  let answer: readonly Payload[] = []
  await world.outcome(
    session.runExchange(async ({ exchanges }) => {
      answer = (await exchanges.request(ExchangeType.INFORMATIONAL, payloads)).payloads
    }),
  )
  return answer.filter((payload) => payload.kind === 'Notify')
}

const types = (payloads: readonly NotifyPayload[]): readonly number[] => payloads.map(({ notifyType }) => notifyType)

/** From now on a node's answers to INFORMATIONALs are these instead. */
function lie({ session: { exchanges } }: SimulatedNode, change: (payloads: readonly Payload[]) => readonly Payload[]): void {
  const honest = exchanges.respond.bind(exchanges)
  exchanges.respond = (request, payloads) =>
    honest(request, request.exchangeType === ExchangeType.INFORMATIONAL ? change(payloads) : payloads)
}

scenario('both say MOBIKE_SUPPORTED in IKE_AUTH, and where else they can be reached', async (world) => {
  const { client, gateway } = await twoWays(world)
  const addresses = (node: SimulatedNode): readonly string[] | undefined => node.session.sa.mobike?.peerAddresses.map(String)
  assert.deepEqual(addresses(gateway), [CLIENT, SECOND_ADDRESS])
  assert.deepEqual(addresses(client), [GATEWAY])
  for (const node of [client, gateway]) assert.equal(node.said('mobike-supported'), 'peer supports MOBIKE')
})

for (const [who, client, gateway] of [
  ['the client', { mobike: false }, {}],
  ['the gateway', {}, { mobike: false }],
] as const) {
  scenario(`mobike = no at ${who}: neither does it`, async (world) => {
    const nodes = [addGateway(world, gateway), addClient(world, client)] as const
    await world.initiate(nodes[1])
    for (const node of nodes) assert.equal(node.session.sa.mobike, null)
    const refusals = nodes[0].eventsOf('mobike-supported').map(({ isRefused }) => isRefused)
    assert.deepEqual(refusals, who === 'the client' ? [] : [true])
    if (who === 'the gateway') assert.equal(nodes[0].said('mobike-supported'), 'peer supports MOBIKE, but disabled in config')
    // Nobody follows an update that was not agreed on.
    const before = places(nodes[0])
    const cookie = notify(NotifyType.COOKIE2, new Uint8Array(16))
    assert.deepEqual(await ask(world, nodes[1].session, [notify(NotifyType.UPDATE_SA_ADDRESSES), cookie]), [])
    assert.deepEqual(places(nodes[0]), before)
  })
}

scenario(
  'edge case 40: an interface goes, another is there: the first answer wins, one update is sent, all CHILD_SAs move',
  async (world) => {
    const { client, gateway } = await twoWays(world)
    assert.ok(await flows(world, client, gateway))
    // For a while nothing comes through: what looks for a way is sent every 2.5 s.
    gateway.link.loss = 1
    const mark = world.mark
    client.interfaces.set('eth0', { isUp: false })
    await world.pass(6 * SECOND)
    const tried = world.network.trace.slice(mark).filter(({ fate, summary }) => fate === 'sent' && summary.includes('request'))
    assert.deepEqual(
      tried.map(({ time }) => time - tried[0]!.time),
      [0, 2500, 5000],
    )
    gateway.link.loss = 0
    await world.pass(5 * SECOND)
    for (const [node, way] of [
      [client, `${SECOND_ADDRESS}[4500] ${GATEWAY}[4500]`],
      [gateway, `${GATEWAY}[4500] ${SECOND_ADDRESS}[4500]`],
    ] as const)
      assert.deepEqual(places(node), [way, way.replaceAll('[4500]', '')])
    const [check, update] = said(client)
    assert.deepEqual([check, update], [[], [...UPDATE.slice(0, 2), 'NO_ADDITIONAL_ADDRESSES', ...UPDATE.slice(2)]])
    assert.deepEqual(
      gateway.eventsOf('endpoints-moved').map(({ cause }) => cause),
      ['mobike'],
    )
    assert.deepEqual(isEncapsulated(client, gateway), [false])
    assert.ok(await flows(world, client, gateway))
    assert.equal(client.eventsOf('child-closed').length, 0)
    assert.match(client.lines.map(({ message }) => message).join('\n'), /requesting address change using MOBIKE/)
  },
)

scenario('edge case 36: COOKIE2 and hashes come back, and every CHILD_SA of the IKE_SA moves', async (world) => {
  const children = ['one', 'two', 'three'].map((name, i) => ({ name, local: [`10.2.${i}.0/24`], remote: [`10.1.${i}.0/24`] }))
  const gateway = addGateway(world, {
    children: children.map(({ name, local, remote }) => ({ name, local: remote, remote: local })),
  })
  const client = addClient(world, { children })
  plug(world, client, SECOND_ADDRESS)
  await world.pass(SECOND)
  const session = await world.initiate(client, 'home', 'one')
  for (const child of session.sa.connection!.children.slice(1)) await world.outcome(addChild(session, child))
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(2 * SECOND)
  assert.deepEqual(said(gateway).at(-1), UPDATED)
  assert.equal(gateway.kernel.states().length, 6)
  for (const node of [client, gateway]) assert.equal(places(node).length, 2)
  for (const i of [0, 1, 2]) assert.ok(await world.ping(client, `10.2.${i}.9`, `10.1.${i}.9`))
})

for (const [title, from, to] of [
  ['edge case 37: out from behind a NAT: UDP encapsulation ends', true, false],
  ['in behind a NAT: UDP encapsulation begins', false, true],
] as const) {
  scenario(title, async (world) => {
    const gateway = addGateway(world)
    const nat = world.addNat('router', '192.0.2.1')
    const client = addClient(world, {}, from ? { behind: nat } : {})
    const [address, realm] = to ? ['192.168.1.8', nat.inside] : [SECOND_ADDRESS, world.internet]
    client.interfaces.add('eth1', [IpAddress.parse(address)], realm, { ...world.network.defaultLink })
    await world.initiate(client)
    assert.deepEqual(isEncapsulated(client, gateway), [from])
    assert.ok(await flows(world, client, gateway))
    client.interfaces.set('eth0', { isUp: false })
    await world.pass(3 * SECOND)
    assert.deepEqual(isEncapsulated(client, gateway), [to])
    assert.deepEqual([client.session.sa.nat.here, gateway.session.sa.nat.there], [to, to])
    assert.ok(await flows(world, client, gateway))
    const mark = world.mark
    await world.pass(MINUTE)
    assert.equal(world.countSent('keepalive', mark) > 0, to)
  })
}

scenario('edge case 38: an update that is not the peer’s to send is refused, and changes nothing', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  const before = places(client)
  const cookie = notify(NotifyType.COOKIE2, new Uint8Array(32).fill(7))
  const answer = await ask(world, gateway.session, [notify(NotifyType.UPDATE_SA_ADDRESSES), cookie])
  assert.deepEqual(types(answer), [NotifyType.UNACCEPTABLE_ADDRESSES, NotifyType.COOKIE2])
  assert.deepEqual(answer[1]!.data, cookie.data)
  assert.deepEqual(places(client), before)
  assert.match(client.said('update-failed'), /original initiator/)
  assert.ok(await flows(world, client, gateway))
})

scenario('an update that was heard moves nobody when it comes again from elsewhere: one packet is not enough', async (world) => {
  const { client, gateway } = await twoWays(world)
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(3 * SECOND)
  const before = places(gateway)
  const update = world.network.trace.findLast(({ fate, summary }) => fate === 'sent' && summary === 'INFORMATIONAL request 3')
  assert.ok(update !== undefined)
  const { packet } = update
  const elsewhere = new Endpoint(IpAddress.parse('192.0.2.66'), 4500)
  world.network.send({ ...packet, source: elsewhere }, world.internet, client.link)
  await world.pass(SECOND)
  // Its answer goes there once more, and that is all.
  assert.deepEqual(places(gateway), before)
  assert.ok(await flows(world, client, gateway))
  // Neither does what is no update, however authentic (RFC 4555 3.8).
  const untap = world.network.tap((one) => (one.esp === null ? [{ ...one, source: elsewhere }] : [one]))
  void client.session.runExchange(probe, 'probe')
  await world.pass(SECOND)
  untap()
  assert.deepEqual(places(gateway), before)
  assert.equal(gateway.eventsOf('endpoints-moved').length, 1)
})

scenario('edge case 39: an answer without our COOKIE2, or with another, ends the IKE_SA', async (world) => {
  for (const [name, change] of [
    ['none', (): readonly Payload[] => []],
    ['other', (): readonly Payload[] => [notify(NotifyType.COOKIE2, new Uint8Array(16))]],
    [
      'twice',
      (payloads: readonly Payload[]): readonly Payload[] => [...payloads, notify(NotifyType.COOKIE2, new Uint8Array(16))],
    ],
  ] as const) {
    const gateway = addGateway(world, {}, { name: `gateway ${name}` })
    const client = addClient(world, {}, { name: `client ${name}` })
    plug(world, client, SECOND_ADDRESS)
    await world.initiate(client)
    lie(gateway, change)
    client.interfaces.set('eth0', { isUp: false })
    await world.pass(3 * SECOND)
    assert.deepEqual(client.sessions(), [])
    assert.equal(client.said('update-failed'), 'COOKIE2 mismatch, closing IKE_SA')
    await world.outcome(gateway.gateway.abandon('shutdown'))
    for (const node of [client, gateway])
      for (const one of ['eth0', 'eth1'].slice(0, node === client ? 2 : 1)) node.interfaces.set(one, { isUp: false })
  }
})

scenario('a COOKIE2 that nobody asked for: echoed in a request, overheard in an answer', async (world) => {
  const { client, gateway } = await twoWays(world)
  for (const length of [8, 64]) {
    const cookie = notify(NotifyType.COOKIE2, new Uint8Array(length).fill(length))
    assert.deepEqual(await ask(world, gateway.session, [cookie]), [cookie])
  }
  lie(gateway, (payloads) => [...payloads, notify(NotifyType.COOKIE2, new Uint8Array(16))])
  await world.outcome(client.session.runExchange(probe, 'probe'))
  assert.equal(client.session.sa.state, 'established')
  assert.ok(await flows(world, client, gateway))
})

for (const length of [0, 7, 65, 1000]) {
  scenario(
    `a COOKIE2 of ${length} octets is malformed, which is the end of the IKE_SA for both (RFC 7296 2.21.3)`,
    async (world) => {
      const { client, gateway } = await twoWays(world)
      const cookie = notify(NotifyType.COOKIE2, new Uint8Array(length))
      const refused = gateway.session.runExchange(({ exchanges }) =>
        assert.rejects(exchanges.request(ExchangeType.INFORMATIONAL, [cookie]), { code: 'SA_CLOSED' }),
      )
      await world.outcome(refused)
      await world.pass(SECOND)
      assert.match(gateway.said('ike-failed'), /INVALID_SYNTAX/)
      assert.match(client.said('ike-failed'), new RegExp(`COOKIE2 has ${length} octets`))
      assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
      assert.deepEqual([client.kernel.states(), gateway.kernel.states()], [[], []])
    },
  )
}

scenario(
  'a peer says more addresses than anybody has, its own, none that a host has: sixteen others are remembered',
  async (world) => {
    const { client, gateway } = await twoWays(world)
    const told = (): readonly string[] => gateway.session.sa.mobike!.peerAddresses.map(String)
    const four = (...bytes: readonly number[]): Payload => notify(NotifyType.ADDITIONAL_IP4_ADDRESS, Uint8Array.from(bytes))
    const useless = [four(127, 0, 0, 1), four(0, 0, 0, 0), four(224, 0, 0, 1), four(255, 255, 255, 255), four(10, 0, 0), four()]
    const useless6 = ['::', '::1', 'fe80::1', 'ff02::1'].map((text) =>
      notify(NotifyType.ADDITIONAL_IP6_ADDRESS, IpAddress.parse(text).bytes),
    )
    assert.deepEqual(await ask(world, client.session, [...useless, ...useless6, four(198, 51, 100, 7)]), [])
    assert.deepEqual(told(), [CLIENT])
    await ask(
      world,
      client.session,
      Array.from({ length: 30 }, (_, i) => four(10, 9, 0, i)),
    )
    assert.equal(told().length, 17)
    // What is told replaces all that was; a probe leaves it.
    await ask(world, client.session, [])
    assert.equal(told().length, 17)
    await ask(world, client.session, [notify(NotifyType.NO_ADDITIONAL_ADDRESSES)])
    assert.deepEqual(told(), [CLIENT])
  },
)

scenario(
  'NO_NATS_ALLOWED: followed if the header is what its sender saw, else UNEXPECTED_NAT_DETECTED and nothing done',
  async (world) => {
    const { client, gateway } = await twoWays(world)
    const update = notify(NotifyType.UPDATE_SA_ADDRESSES)
    const { local, remote } = client.session.sa
    assert.deepEqual(await ask(world, client.session, [update, noNatsAllowed({ local, remote })]), [])
    const before = places(gateway)
    for (const other of [
      { local: remote, remote: local },
      { local: local.withPort(4501), remote },
    ]) {
      const answer = await ask(world, client.session, [update, noNatsAllowed(other)])
      assert.deepEqual(types(answer), [NotifyType.UNEXPECTED_NAT_DETECTED])
    }
    const short = notify(NotifyType.NO_NATS_ALLOWED, new Uint8Array(11))
    assert.deepEqual(types(await ask(world, client.session, [update, short])), [NotifyType.UNEXPECTED_NAT_DETECTED])
    assert.deepEqual(places(gateway), before)
  },
)

scenario('edge case 41: IPv4 is lost, IPv6 is left: the tunnel goes on over that, and back', async (world) => {
  const gateway = addGateway(world)
  plug(world, gateway, GATEWAY6)
  const client = addClient(world)
  plug(world, client, CLIENT6)
  await world.initiate(client)
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(3 * SECOND)
  assert.deepEqual(places(client), [`${CLIENT6}[4500] ${GATEWAY6}[4500]`, `${CLIENT6} ${GATEWAY6}`])
  assert.deepEqual(places(gateway), [`${GATEWAY6}[4500] ${CLIENT6}[4500]`, `${GATEWAY6} ${CLIENT6}`])
  assert.ok(await flows(world, client, gateway))
  client.interfaces.set('eth0', { isUp: true })
  await world.pass(SECOND)
  client.interfaces.set('eth1', { isUp: false })
  await world.pass(3 * SECOND)
  assert.deepEqual(places(gateway), [`${GATEWAY}[4500] ${CLIENT}[4500]`, `${GATEWAY} ${CLIENT}`])
  assert.ok(await flows(world, client, gateway))
})

/** A client behind a NAT that asks for a sign of life each minute, and sends no keepalives that would keep the mapping. */
async function behindForgetfulNat(world: World): Promise<Pair & { readonly flush: () => void }> {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 60 }, { behind: nat, settings: { keepAlive: 0 } })
  await world.initiate(client)
  return { client, gateway, flush: () => nat.flush() }
}

scenario(
  'edge case 42: the peer sees us elsewhere than the last time: an update, although our addresses are what they were',
  async (world) => {
    const { client, gateway, flush } = await behindForgetfulNat(world)
    const before = gateway.session.sa.remote
    // The first sign of life is an update: there is nothing yet that its answer could be compared with.
    await world.pass(4 * MINUTE)
    const isUpdate = (notifies: readonly string[]): boolean => notifies.includes('UPDATE_SA_ADDRESSES')
    assert.deepEqual(said(client).filter(isUpdate), [UPDATE])
    assert.ok(said(client).length >= 3)
    flush()
    await world.pass(2 * MINUTE)
    assert.deepEqual(said(client).filter(isUpdate), [UPDATE, UPDATE])
    assert.notEqual(gateway.session.sa.remote.port, before.port)
    assert.equal(client.said('mapping-changed'), 'detected changes in NAT mappings, initiating MOBIKE update')
    assert.ok(await world.ping(gateway, '10.1.0.9', '10.2.0.9'))
    // And that was that.
    await world.pass(5 * MINUTE)
    assert.equal(said(client).filter(isUpdate).length, 2)
  },
)

scenario(
  'edge case 43: after ten minutes asleep behind a NAT the mapping has moved, and the gateway hears of it',
  async (world) => {
    const nat = world.addNat('router', '192.0.2.1')
    const gateway = addGateway(world)
    const client = addClient(world, {}, { behind: nat, settings: { keepAliveDpdMargin: 10 * SECOND } })
    await world.initiate(client)
    await world.outcome(client.session.runExchange(probe, 'probe'))
    await world.pass(SECOND)
    client.isAsleep = true
    await world.pass(10 * MINUTE)
    client.isAsleep = false
    const before = gateway.session.sa.remote
    await world.pass(2 * SECOND)
    assert.notEqual(gateway.session.sa.remote.port, before.port)
    assert.deepEqual(said(client).at(-1), UPDATE)
    assert.ok(await world.ping(gateway, '10.1.0.9', '10.2.0.9'))
  },
)

scenario('a NAT that vanishes without a change of our address is found by the next sign of life', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30 }, { behind: nat })
  await world.initiate(client)
  assert.deepEqual(isEncapsulated(client, gateway), [true])
  // The router becomes a switch.
  world.internet.owners.set('192.168.1.7', client)
  nat.handleOutward = (packet) => world.network.carry(packet, world.internet, nat.link)
  await world.pass(2 * MINUTE)
  assert.deepEqual(isEncapsulated(client, gateway), [false])
  assert.deepEqual(client.session.sa.nat, { supported: true, here: false, there: false, faked: false })
  assert.ok(await flows(world, client, gateway))
})

scenario('with no way to the peer it waits: no keepalive, no retransmission, nobody given up; then it goes on', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30 }, { behind: nat })
  await world.initiate(client)
  client.interfaces.set('eth0', { hasRoute: false })
  await world.pass(SECOND)
  assert.ok(client.session.sa.isStale)
  assert.match(client.said('roamed'), /no route found to reach 203\.0\.113\.1, MOBIKE update deferred/)
  const mark = world.mark
  await world.pass(20 * MINUTE)
  assert.deepEqual(
    world.sent(mark).filter((line) => line.startsWith('192.168')),
    [],
  )
  client.interfaces.set('eth0', { hasRoute: true })
  await world.pass(5 * SECOND)
  assert.equal(client.session.sa.isStale, false)
  assert.ok(await flows(world, client, gateway))
  const after = world.mark
  await world.pass(MINUTE)
  assert.ok(world.countSent('keepalive', after) > 0)
})

scenario('what has no way to its peer ends at once when it is told to, and when its time is over', async (world) => {
  const gateway = addGateway(world, { connection: 'home' })
  const client = addClient(world, { lifetime: { rekey: 5 * MINUTE, reauth: 0, over: MINUTE, rand: 0 } })
  await world.initiate(client)
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(10 * MINUTE)
  // It had begun to be rekeyed, which nobody heard of.
  assert.deepEqual(client.sessions(), [])
  client.interfaces.set('eth0', { isUp: true })
  await world.initiate(client)
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(SECOND)
  assert.ok(client.session.sa.isStale)
  const filter = { ike: 'home', ikeId: null, child: null, childId: null }
  const termination = client.gateway.control.terminate(filter, { patience: 'for-ever', force: false })
  assert.equal(await world.outcome(termination.carryOut()), 1)
  assert.deepEqual(client.sessions(), [])
  await world.outcome(gateway.gateway.abandon('shutdown'))
})

scenario('a gateway whose address goes says so from another, and the client follows and updates', async (world) => {
  const gateway = addGateway(world)
  plug(world, gateway, GATEWAY_ELSEWHERE)
  await world.pass(SECOND)
  const client = addClient(world)
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  gateway.interfaces.set('eth0', { isUp: false })
  await world.pass(3 * SECOND)
  assert.deepEqual(places(client), [`${CLIENT}[4500] ${GATEWAY_ELSEWHERE}[4500]`, `${CLIENT} ${GATEWAY_ELSEWHERE}`])
  assert.deepEqual(places(gateway), [`${GATEWAY_ELSEWHERE}[4500] ${CLIENT}[4500]`, `${GATEWAY_ELSEWHERE} ${CLIENT}`])
  assert.deepEqual(said(gateway)[1], ['NO_ADDITIONAL_ADDRESSES'])
  assert.deepEqual(said(client).at(-1), UPDATE)
  assert.ok(await flows(world, client, gateway))
})

scenario('an address that comes is told, and no path is left for it', async (world) => {
  const { client, gateway } = await twoWays(world)
  const before = places(client)
  client.interfaces.set('eth1', { addresses: ['198.51.100.78', CLIENT6].map((text) => IpAddress.parse(text)) })
  await world.pass(SECOND)
  assert.deepEqual(gateway.session.sa.mobike!.peerAddresses.map(String), [CLIENT, '198.51.100.78', CLIENT6])
  assert.deepEqual(places(client), before)
  // Routes alone tell nobody anything.
  const mark = world.mark
  client.interfaces.set('eth1', { hasRoute: false })
  await world.pass(SECOND)
  assert.deepEqual(world.sent(mark), [])
})

scenario(
  'with charon.prefer_best_path a better way is taken, and with check_current_path the old one is tried',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, {}, { settings: { preferBestPath: true } })
    plug(world, client, SECOND_ADDRESS)
    client.interfaces.set('eth0', { hasRoute: false })
    await world.initiate(client)
    assert.equal(client.session.sa.local.address.toString(), SECOND_ADDRESS)
    client.interfaces.set('eth0', { hasRoute: true })
    await world.pass(SECOND)
    assert.equal(gateway.session.sa.remote.address.toString(), CLIENT)
    assert.ok(await flows(world, client, gateway))
    const { settings } = client.gateway.configured
    client.gateway.replaceSettings({ ...settings, preferBestPath: false, checkCurrentPath: true })
    const mark = world.mark
    client.interfaces.set('eth1', { hasRoute: false })
    await world.pass(SECOND)
    assert.equal(world.countSent('INFORMATIONAL request', mark), 1)
  },
)

scenario('addresses change while another exchange is under way: that finds the new way', async (world) => {
  const { client, gateway } = await twoWays(world)
  const untap = world.network.tap((packet) => (packet.source.address.equals(gateway.address) ? [] : [packet]))
  void client.session.runExchange(rekeyIkeSa, 'rekey-ike')
  await world.pass(SECOND)
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(SECOND)
  untap()
  await world.pass(10 * SECOND)
  await world.until(() => world.isQuiet(), 'the rekey is over')
  assert.equal(client.eventsOf('ike-rekeyed').length, 1)
  for (const node of [client, gateway]) assert.equal(node.sessions().length, 1)
  assert.deepEqual(places(gateway), [`${GATEWAY}[4500] ${SECOND_ADDRESS}[4500]`, `${GATEWAY} ${SECOND_ADDRESS}`])
  assert.ok(await flows(world, client, gateway))
})

for (const mover of ['client', 'gateway'] as const) {
  for (const rekeyer of ['client', 'gateway'] as const) {
    for (const [how, more, moments] of [
      ['CREATE_CHILD_SA', '', [0, 10, 30]],
      ['IKE_FOLLOWUP_KE', '-ke1_mlkem512', [10, 30, 50, 70]],
    ] as const) {
      for (const moment of moments) {
        // At 10 ms CREATE_CHILD_SA is answered, at 50 ms IKE_FOLLOWUP_KE: that answer is lost with the address.
        const when = `${moment} ms after the ${rekeyer} has begun to rekey the IKE_SA by ${how}`
        scenario(`the ${mover} loses its address ${when}: both are elsewhere at once, and it is rekeyed`, async (world) => {
          const words = { ikeProposals: [`aes128gcm16-prfsha256-curve25519${more}`] }
          const nodes = { gateway: addGateway(world, words), client: addClient(world, words) }
          plug(world, nodes[mover], mover === 'client' ? SECOND_ADDRESS : GATEWAY_ELSEWHERE)
          await world.pass(SECOND)
          await world.initiate(nodes.client)
          const rekeyed = beginIkeRekey(nodes[rekeyer])
          await world.pass(moment)
          nodes[mover].interfaces.set('eth0', { isUp: false })
          await world.pass(5 * SECOND)
          const ends = mover === 'client' ? [GATEWAY, SECOND_ADDRESS] : [GATEWAY_ELSEWHERE, CLIENT]
          assert.equal(places(nodes.gateway).at(-1), ends.join(' '))
          assert.equal(places(nodes.client).at(-1), ends.toReversed().join(' '))
          assert.ok(await flows(world, nodes.client, nodes.gateway))
          // It may have been told TEMPORARY_FAILURE over that, and is tried again.
          await world.outcome(rekeyed)
          await world.pass(MINUTE)
          assert.equal(nodes[rekeyer].eventsOf('ike-rekeyed').length, 1)
          await assertOne(world, nodes)
        })
      }
    }
  }
}

scenario('a rekeyed IKE_SA inherits it all, and moves as the old one did', async (world) => {
  const { client, gateway } = await twoWays(world)
  await world.outcome(client.session.runExchange(rekeyIkeSa, 'rekey-ike'))
  await world.until(() => world.isQuiet(), 'the old one is gone')
  assert.deepEqual(gateway.session.sa.mobike!.peerAddresses.map(String), [CLIENT, SECOND_ADDRESS])
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(3 * SECOND)
  assert.deepEqual(places(gateway), [`${GATEWAY}[4500] ${SECOND_ADDRESS}[4500]`, `${GATEWAY} ${SECOND_ADDRESS}`])
  assert.ok(await flows(world, client, gateway))
})

scenario('addresses change again before an update is answered: the older answer means nothing', async (world) => {
  const { client, gateway } = await twoWays(world)
  client.interfaces.add('eth2', [IpAddress.parse('198.51.100.78')], world.internet, { ...world.network.defaultLink })
  // Answers to the update are lost at first.
  const lost = world.network.tap((packet) =>
    packet.source.address.equals(gateway.address) &&
    packet.destination.address.equals(IpAddress.parse(SECOND_ADDRESS)) &&
    packet.bytes.length > 100
      ? []
      : [packet],
  )
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(2 * SECOND)
  client.interfaces.set('eth1', { isUp: false })
  await world.pass(5 * SECOND)
  lost()
  await world.pass(20 * SECOND)
  assert.deepEqual(places(gateway), [`${GATEWAY}[4500] 198.51.100.78[4500]`, `${GATEWAY} 198.51.100.78`])
  assert.deepEqual(gateway.session.sa.nat, { supported: true, here: false, there: false, faked: false })
  assert.ok(await flows(world, client, gateway))
})

scenario('a peer that will have none of our new addresses is asked for another, and kept', async (world) => {
  const { client, gateway } = await twoWays(world)
  plug(world, gateway, GATEWAY6)
  await world.pass(SECOND)
  lie(gateway, (payloads) =>
    findNotify(payloads, NotifyType.COOKIE2) === null
      ? payloads
      : [
          notify(NotifyType.UNACCEPTABLE_ADDRESSES),
          ...payloads.filter((one) => one.kind === 'Notify' && one.notifyType === NotifyType.COOKIE2),
        ],
  )
  client.interfaces.set('eth1', { addresses: [SECOND_ADDRESS, CLIENT6].map((text) => IpAddress.parse(text)) })
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(5 * SECOND)
  assert.equal(client.eventsOf('update-failed').length, 2)
  assert.match(client.said('update-failed'), /UNACCEPTABLE_ADDRESSES/)
  assert.equal(client.session.sa.state, 'established')
})

scenario(
  'mobike = no: an address that goes makes the initiator begin anew from another, unless it is configured',
  async (world) => {
    const gateway = addGateway(world, { mobike: false, unique: 'replace' })
    const client = addClient(world, { mobike: false })
    plug(world, client, SECOND_ADDRESS)
    await world.initiate(client)
    const before = client.session
    client.interfaces.set('eth0', { isUp: false })
    await world.pass(10 * SECOND)
    await world.until(() => world.isQuiet() && gateway.sessions().length === 1, 'the old one is gone')
    assert.notEqual(client.session, before)
    assert.equal(client.session.sa.local.address.toString(), SECOND_ADDRESS)
    assert.match(client.lines.map(({ message }) => message).join('\n'), /reauthenticating IKE_SA due to address change/)
    assert.ok(await flows(world, client, gateway))
  },
)

scenario('mobike = no with a configured address: it stays, whatever happens', async (world) => {
  const gateway = addGateway(world, { mobike: false })
  const client = addClient(world, { mobike: false, localAddresses: [CLIENT] })
  plug(world, client, SECOND_ADDRESS)
  await world.initiate(client)
  const mark = world.mark
  client.interfaces.set('eth0', { isUp: false })
  await world.pass(10 * SECOND)
  assert.deepEqual(world.sent(mark), [])
  client.interfaces.set('eth0', { isUp: true })
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenarioOverSeeds('a client that wanders between networks, under loss, with a NAT in one of them', 20, async (world) => {
  const gateway = addGateway(world)
  plug(world, gateway, GATEWAY6)
  const nat = world.addNat('router', '192.0.2.1')
  const client = addClient(world, { dpdDelay: 30 }, { behind: nat })
  plug(world, client, SECOND_ADDRESS, CLIENT6)
  await world.initiate(client)
  const dice = world.entropyFor('wanderer')
  for (const node of [client, gateway]) Object.assign(node.link, { loss: 0.05, jitter: 30 })
  for (let i = 0; i < 12; i++) {
    const name = dice.chance(0.5) ? 'eth0' : 'eth1'
    const [isUp, hasRoute] = [dice.chance(0.6), dice.chance(0.8)]
    client.interfaces.set(name, { isUp, hasRoute })
    if (dice.chance(0.2)) nat.flush()
    if (dice.chance(0.2)) void standing(client).runExchange(rekeyIkeSa, 'rekey-ike')
    await world.pass(dice.fraction() * 40 * SECOND)
  }
  for (const node of [client, gateway]) Object.assign(node.link, { loss: 0, jitter: 0 })
  for (const name of ['eth0', 'eth1']) client.interfaces.set(name, { isUp: true, hasRoute: true })
  await world.pass(4 * MINUTE)
  await world.until(() => world.isQuiet(), 'all is said')
  for (const node of [client, gateway]) assert.equal(node.sessions().length, 1, node.name)
  assert.ok(await flows(world, client, gateway))
})

scenario(
  'an address that a peer gave us, which a route into a tunnel would have the kernel choose, is no way to a peer',
  async (world) => {
    const { client, gateway } = await twoWays(world)
    // As with everything led into a tunnel: the kernel says the virtual address, wherever to.
    const { interfaces } = client
    interfaces.sourceFor = () => IpAddress.parse('10.77.0.1')
    interfaces.set('eth0', { isUp: false })
    await world.pass(3 * SECOND)
    assert.deepEqual(places(gateway), [`${GATEWAY}[4500] ${SECOND_ADDRESS}[4500]`, `${GATEWAY} ${SECOND_ADDRESS}`])
    assert.ok(await flows(world, client, gateway))
  },
)

scenario(
  'an interface that is to be ignored: nothing is heard there, nobody is told of it, no way leads by it',
  async (world) => {
    const gateway = addGateway(world)
    plug(world, gateway, GATEWAY_ELSEWHERE)
    gateway.interfaces.ignored.add('eth1')
    const client = addClient(world, { remoteAddresses: [GATEWAY_ELSEWHERE, GATEWAY] })
    const error = await world.failure(client.gateway.initiate('home', 'net'))
    assert.equal(error.code, 'PEER_SILENT')
    assert.deepEqual(gateway.lines, [])
    const other = addClient(world, {}, { name: 'other', address: SECOND_ADDRESS })
    await world.initiate(other)
    assert.deepEqual(other.session.sa.mobike!.peerAddresses.map(String), [GATEWAY])
    other.interfaces.ignored.add('eth0')
    assert.equal((await world.failure(other.gateway.initiate('home', 'net'))).code, 'NO_ROUTE')
    other.interfaces.ignored.clear()
    gateway.interfaces.set('eth0', { isUp: false })
    await world.pass(SECOND)
    assert.ok(gateway.session.sa.isStale)
    gateway.interfaces.set('eth0', { isUp: true })
    await world.pass(SECOND)
  },
)

scenario('routes that keep changing while a way is looked for make it neither more frequent nor longer', async (world) => {
  const { client } = await twoWays(world, { dpdDelay: 0 })
  const untap = world.network.tap((packet) => (packet.source.address.equals(client.address) ? [packet] : []))
  const mark = world.mark
  client.interfaces.set('eth0', { isUp: false })
  for (let i = 0; i < 400; i++) {
    // The same, told again.
    client.gateway.handleRoam()
    await world.pass(100)
  }
  untap()
  assert.equal(world.countSent('INFORMATIONAL request', mark), 11)
  assert.match(client.said('request-given-up'), /giving up after 10 path probings/)
  assert.deepEqual(client.sessions(), [])
  world.expectsAgreement = false
})
