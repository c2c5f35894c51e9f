/** What a connection wants of NATs, ours alone: none at all (`nat = refuse`), or one that is none (`public_addrs`). */
import assert from 'node:assert/strict'

import { toHex, Writer } from '../../src/base/bytes.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import { findErrorNotify, findNotify, notify } from '../../src/message/ikev2/find.ts'
import { DEFAULT_IKE_SETTINGS } from '../../src/ike/connection.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import type { NatFacts } from '../../src/nat/detection.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

const NO_NAT: NatFacts = { supported: true, here: false, there: false, faked: false }
const HERE = { ...NO_NAT, here: true }
const THERE = { ...NO_NAT, there: true }
/** Of the gateway in its cloud. */
const INSIDE = '172.31.0.5'
const CLOUD: ConnectionWords = { publicAddresses: [GATEWAY] }

/** The gateway has an address of its cloud's, for which the cloud puts the one that everybody knows, and back. */
function addCloudGateway(world: World, words: ConnectionWords = CLOUD): SimulatedNode {
  const nat = world.addNat('cloud', GATEWAY, { oneToOne: IpAddress.parse(INSIDE) })
  return addGateway(world, words, { address: INSIDE, behind: nat })
}

function factsOf(...nodes: readonly SimulatedNode[]): readonly NatFacts[] {
  return nodes.map(({ session }) => session.sa.nat)
}

/** Whether ESP goes in UDP, by state. */
function inUdp(...nodes: readonly SimulatedNode[]): readonly boolean[] {
  return nodes.flatMap(({ kernel }) => kernel.states().map((state) => state.encapsulation !== null))
}

const BARE = [false, false, false, false]
const UDP = [true, true, true, true]

scenario(
  'edge case 60: a gateway behind a 1:1 NAT that knows its public address: no NAT to either side, bare ESP, no keepalives',
  async (world) => {
    const gateway = addCloudGateway(world)
    const client = addClient(world)
    await world.initiate(client)
    assert.deepEqual(factsOf(client, gateway), [NO_NAT, { ...NO_NAT, outside: IpAddress.parse(GATEWAY) }])
    assert.deepEqual(inUdp(client, gateway), BARE)
    // The kernel knows the addresses that its packets have.
    const ends = (node: SimulatedNode): readonly string[] =>
      node.kernel.states().map(({ source, destination }) => `${source.toString()} > ${destination.toString()}`)
    assert.deepEqual(ends(gateway).toSorted(), [`${INSIDE} > ${CLIENT}`, `${CLIENT} > ${INSIDE}`].toSorted())
    assert.deepEqual(ends(client).toSorted(), [`${CLIENT} > ${GATEWAY}`, `${GATEWAY} > ${CLIENT}`].toSorted())
    assert.ok(await flows(world, client, gateway))
    await world.pass(100 * SECOND)
    assert.equal(world.countSent('keepalive'), 0)
  },
)

scenario('edge case 60: the same with the initiator behind the 1:1 NAT', async (world) => {
  const gateway = addGateway(world)
  const nat = world.addNat('cloud', CLIENT, { oneToOne: IpAddress.parse(INSIDE) })
  const client = addClient(world, { publicAddresses: ['2001:db8::7', CLIENT] }, { address: INSIDE, behind: nat })
  await world.initiate(client)
  assert.deepEqual(factsOf(client, gateway), [{ ...NO_NAT, outside: IpAddress.parse(CLIENT) }, NO_NAT])
  assert.deepEqual(inUdp(client, gateway), BARE)
  assert.ok(await flows(world, client, gateway))
})

scenario('edge case 60: without being told, a 1:1 NAT is a NAT as any other', async (world) => {
  const gateway = addCloudGateway(world, {})
  const client = addClient(world)
  await world.initiate(client)
  assert.deepEqual(factsOf(client, gateway), [THERE, HERE])
  assert.deepEqual(inUdp(client, gateway), UDP)
  assert.ok(await flows(world, client, gateway))
})

scenario('a public address that is not the right one is a NAT to both sides, and the tunnel works', async (world) => {
  const gateway = addCloudGateway(world, { publicAddresses: ['203.0.113.200'] })
  const client = addClient(world)
  await world.initiate(client)
  assert.deepEqual(factsOf(client, gateway), [THERE, HERE])
  assert.deepEqual(inUdp(client, gateway), UDP)
  assert.ok(await flows(world, client, gateway))
})

for (const initiator of ['gateway', 'neighbour'] as const) {
  scenario(`a peer on our side of the 1:1 NAT is told of one, and both see it (the ${initiator} initiates)`, async (world) => {
    const nat = world.addNat('cloud', GATEWAY, { oneToOne: IpAddress.parse(INSIDE) })
    const side = { address: INSIDE, behind: nat }
    const away = { address: '172.31.0.9', behind: nat }
    const gateway =
      initiator === 'gateway'
        ? addClient(world, { ...CLOUD, remoteAddresses: ['172.31.0.9'] }, { ...side, name: 'gateway' })
        : addGateway(world, CLOUD, side)
    const neighbour =
      initiator === 'gateway'
        ? addGateway(world, {}, { ...away, name: 'neighbour' })
        : addClient(world, { remoteAddresses: [INSIDE] }, { ...away, name: 'neighbour' })
    await world.initiate(initiator === 'gateway' ? gateway : neighbour)
    assert.deepEqual(factsOf(gateway, neighbour), [HERE, THERE])
    assert.deepEqual(inUdp(gateway, neighbour), UDP)
  })
}

scenario('encap = yes with a public address: ESP in UDP, and no keepalives', async (world) => {
  const gateway = addCloudGateway(world, { ...CLOUD, encap: true })
  const client = addClient(world)
  await world.initiate(client)
  assert.deepEqual(factsOf(client, gateway), [THERE, { ...NO_NAT, faked: true, outside: IpAddress.parse(GATEWAY) }])
  assert.deepEqual(inUdp(client, gateway), UDP)
  assert.ok(await flows(world, client, gateway))
  await world.pass(100 * SECOND)
  assert.equal(world.countSent('keepalive'), 0)
})

const REFUSED = /unexpected NAT detected, which connection home refuses \(nat = refuse\): /
const TOLD = /received UNEXPECTED_NAT_DETECTED notify error: a NAT is between us, and one of us wants none/

/** No IKE_SA and nothing in a kernel at either side. */
function assertNothing(...nodes: readonly SimulatedNode[]): void {
  for (const node of nodes) {
    assert.deepEqual(node.sessions(), [], node.name)
    assert.deepEqual(node.kernel.states(), [], node.name)
  }
}

function whyFailed(node: SimulatedNode): string {
  return node.eventsOf('ike-failed').at(-1)!.error.message
}

scenario(
  'edge case 60: nat = refuse at an initiator that finds a NAT: nothing comes of it, and both logs say why',
  async (world) => {
    const gateway = addCloudGateway(world, {})
    const client = addClient(world, { nat: 'refuse' })
    await assert.rejects(world.outcome(client.gateway.initiate('home', 'net')), REFUSED)
    await world.pass(SECOND)
    assert.match(whyFailed(client), /remote host is behind NAT, or pretends to be \(encap = yes\)$/)
    assert.match(whyFailed(gateway), TOLD)
    assertNothing(client, gateway)
    // Not a word of who it is went through the NAT.
    assert.equal(gateway.eventsOf('peer-identified').length, 0)
  },
)

scenario('nat = refuse at an initiator that has agreed on additional key exchanges: they do not take place', async (world) => {
  const ikeProposals = ['aes128gcm16-prfsha256-curve25519-ke1_mlkem512']
  const gateway = addCloudGateway(world, { ikeProposals })
  const client = addClient(world, { ikeProposals, nat: 'refuse' })
  await assert.rejects(world.outcome(client.gateway.initiate('home', 'net')), REFUSED)
  await world.pass(SECOND)
  assert.match(whyFailed(gateway), TOLD)
  assert.equal(world.countSent('IKE_INTERMEDIATE'), 0)
  assertNothing(client, gateway)
})

scenario(
  'edge case 60: nat = refuse at a responder: the same, and where it is behind the NAT the remedy is told',
  async (world) => {
    const gateway = addCloudGateway(world, { nat: 'refuse' })
    const client = addClient(world)
    await assert.rejects(world.outcome(client.gateway.initiate('home', 'net')), TOLD)
    await world.pass(SECOND)
    assert.match(whyFailed(gateway), REFUSED)
    assert.match(whyFailed(gateway), /: local host is behind NAT, the peer does not know us as 172\.31\.0\.5 \(.*public_addrs\)$/)
    assertNothing(client, gateway)
  },
)

scenario('edge case 60: with the public address told, nat = refuse of both sides is satisfied', async (world) => {
  const gateway = addCloudGateway(world, { ...CLOUD, nat: 'refuse' })
  const client = addClient(world, { nat: 'refuse' })
  await world.initiate(client)
  assert.deepEqual(inUdp(client, gateway), BARE)
  assert.ok(await flows(world, client, gateway))
})

scenario(
  'edge case 60: and so it is with the initiator in the cloud, whose NO_NATS_ALLOWED has its public address',
  async (world) => {
    const gateway = addGateway(world, { nat: 'refuse' })
    const nat = world.addNat('cloud', CLIENT, { oneToOne: IpAddress.parse(INSIDE) })
    const client = addClient(
      world,
      { nat: 'refuse', publicAddresses: ['198.51.100.8', CLIENT] },
      { address: INSIDE, behind: nat },
    )
    await world.initiate(client)
    assert.deepEqual(inUdp(client, gateway), BARE)
    assert.ok(await flows(world, client, gateway))
  },
)

scenario('nat = refuse where there is no NAT changes nothing', async (world) => {
  const gateway = addGateway(world, { nat: 'refuse' })
  const client = addClient(world, { nat: 'refuse' })
  await world.initiate(client)
  assert.deepEqual(inUdp(client, gateway), BARE)
  assert.ok(await flows(world, client, gateway))
})

for (const [who, family, addresses] of [
  ['a peer without NAT detection', 4, [CLIENT, GATEWAY]],
  ['the same over IPv6', 6, ['2001:db8::7', '2001:db8::1']],
] as const) {
  scenario(`${who} forbids NATs, by ${family === 4 ? 12 : 36} octets that are not what is seen: it hears so`, async (world) => {
    const [from, to] = addresses
    const gateway = addGateway(world, {}, { address: to })
    const end = (address: string): IpAddress => IpAddress.parse(address)
    const forbidding = (source: string, destination: string, port: number): Payload => {
      const writer = new Writer(36)
      writer.bytes(end(source).bytes).bytes(end(destination).bytes).u16(500).u16(port)
      return notify(NotifyType.NO_NATS_ALLOWED, writer.finish())
    }
    const honest = forbidding(from, to, 500)
    assert.equal(honest.kind === 'Notify' && honest.data.length, family === 4 ? 12 : 36)
    const peer = new Stranger(world, from, to)
    await peer.init([])
    const answer = await peer.auth([forbidding(from, to, 4500)])
    assert.equal(findErrorNotify(answer)?.notifyType, NotifyType.UNEXPECTED_NAT_DETECTED)
    assert.match(whyFailed(gateway), /^the peer allows no NAT between us, and sent from or to another address than is seen/)
    assertNothing(gateway)

    const another = new Stranger(world, from, to)
    await another.init([])
    assert.equal(findErrorNotify(await another.auth([honest])), null)
  })
}

scenario(
  'an initiator with nat = refuse says so in its IKE_AUTH request, in case the peer looks for NATs in no other way',
  async (world) => {
    addGateway(world, {})
    const client = addClient(world, { nat: 'refuse' })
    await world.initiate(client)
    const said = client.eventsOf('message-sent').filter(({ exchangeType }) => exchangeType === ExchangeType.IKE_AUTH)
    const allowed = said.map(({ payloads }) => findNotify(payloads, NotifyType.NO_NATS_ALLOWED))
    assert.deepEqual(
      allowed.map((found) => toHex(found!.data)),
      ['c6336407cb00710111941194'],
    )
  },
)

scenario(
  'nat = refuse at a responder: an update that comes through a NAT is refused, one that comes through none is not',
  async (world) => {
    const gateway = addGateway(world, { nat: 'refuse' })
    const peer = new Stranger(world, CLIENT, GATEWAY)
    await peer.init()
    peer.port = peer.remotePort = 4500
    await peer.auth([notify(NotifyType.MOBIKE_SUPPORTED)])
    const { sa } = gateway.session
    const update = async (id: number, ...more: readonly Payload[]): Promise<readonly Payload[]> => {
      const { source, destination } = peer.natDetection(peer.spis)
      const [wanted, seen] = [NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP]
      const hashes = [notify(wanted, id === 2 ? new Uint8Array(20) : source), notify(seen, destination)]
      peer.send(
        peer.protectedRequest(ExchangeType.INFORMATIONAL, id, [notify(NotifyType.UPDATE_SA_ADDRESSES), ...hashes, ...more]),
      )
      return peer.open(await peer.answer())
    }
    peer.port = 40_000
    assert.equal(findErrorNotify(await update(2))?.notifyType, NotifyType.UNEXPECTED_NAT_DETECTED)
    assert.deepEqual([sa.remote.toString(), inUdp(gateway)], [`${CLIENT}[4500]`, [false, false]])
    assert.deepEqual(
      gateway.eventsOf('update-failed').map(({ why }) => why),
      ['nat-forbidden'],
    )
    assert.equal(findErrorNotify(await update(3)), null)
    assert.deepEqual([sa.remote.toString(), inUdp(gateway)], [`${CLIENT}[40000]`, [false, false]])
  },
)

/** A second interface of the client's, behind a NAT, and the first one goes down. */
async function roamBehindNat(world: World, client: SimulatedNode): Promise<void> {
  const nat = world.addNat('router', '192.0.2.1')
  client.interfaces.add('eth1', [IpAddress.parse('192.168.1.7')], nat.inside, { ...world.network.defaultLink })
  await world.initiate(client)
  client.interfaces.set('eth0', { isUp: false })
}

/** So often is it asked again whether there is a NAT. */
const AGAIN = DEFAULT_IKE_SETTINGS.retransmitTries

function updatesOf(client: SimulatedNode): number {
  const said = client.eventsOf('message-sent').filter(({ isResponse }) => !isResponse)
  return said.filter(({ payloads }) => findNotify(payloads, NotifyType.UPDATE_SA_ADDRESSES) !== null).length
}

scenario(
  'nat = refuse at an initiator that roams to where a NAT is in the way: it asks again, then ends the IKE_SA and says why',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, { nat: 'refuse' })
    await roamBehindNat(world, client)
    await world.pass(60 * SECOND)
    assert.equal(updatesOf(client), 1 + AGAIN)
    assert.deepEqual(
      client.eventsOf('update-failed').map(({ why }) => why),
      ['unexpected-nat'],
    )
    // The peer knows NO_NATS_ALLOWED, and saw it first.
    assert.match(whyFailed(client), TOLD)
    assert.deepEqual(
      client.eventsOf('ike-closed').map(({ reason }) => reason),
      ['failed'],
    )
    // The peer is told, by the way that it hears us on.
    assertNothing(client, gateway)
  },
)

scenario(
  'nat = refuse at a responder whose peer roams behind a NAT: the update is refused, asked again, and the initiator gives up',
  async (world) => {
    const gateway = addGateway(world, { nat: 'refuse' })
    const client = addClient(world)
    await roamBehindNat(world, client)
    await world.pass(60 * SECOND)
    assert.deepEqual(
      gateway.eventsOf('update-failed').map(({ why }) => why),
      Array.from({ length: 1 + AGAIN }, () => 'nat-forbidden'),
    )
    assert.equal(gateway.eventsOf('endpoints-moved').length, 0)
    assert.match(whyFailed(client), TOLD)
    assertNothing(client, gateway)
  },
)

scenario('the same with a peer that does not know NO_NATS_ALLOWED: the hashes of its answer show the NAT', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, {}, { settings: { retransmitTries: 0 } })
  await roamBehindNat(world, client)
  while (updatesOf(client) === 0) await world.pass(1)
  // Told only now, so that the peer did not hear of it.
  const { sa } = client.session
  sa.connection = { ...sa.connection!, natPolicy: 'refuse' }
  await world.pass(10 * SECOND)
  assert.match(whyFailed(client), REFUSED)
  assert.match(whyFailed(client), /: local host is behind NAT, the peer does not know us as 192\.168\.1\.7 /)
  assertNothing(client, gateway)
})

scenario('a NAT that is met once is asked for again, and one that is gone by then is none', async (world) => {
  const gateway = addGateway(world, { nat: 'refuse' })
  const client = addClient(world)
  await world.initiate(client)
  // As if a packet had been changed on its way: what we are told once, by whoever it is, is not what we go by.
  const { session } = client
  const own = session.sa.local
  session.sa.local = new Endpoint(IpAddress.parse('198.51.100.99'), own.port)
  session.wantMobike({ update: true })
  session.sa.local = own
  await world.pass(10 * SECOND)
  assert.equal(gateway.eventsOf('update-failed').length, 1)
  assert.equal(updatesOf(client), 2)
  assert.equal(client.eventsOf('update-failed').length, 0)
  assert.ok(await flows(world, client, gateway))
})

scenario('a responder with nat = refuse is asked a few times, and not for ever', async (world) => {
  addGateway(world, { nat: 'refuse' })
  const nat = world.addNat('router', '192.0.2.1')
  const client = addClient(world, {}, { address: '192.168.1.7', behind: nat })
  await assert.rejects(world.outcome(client.gateway.initiate('home', 'net')), TOLD)
  assert.equal(client.eventsOf('ike-initiating').length, 1 + AGAIN)
})
