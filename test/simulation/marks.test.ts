/** Peers of one traffic told apart by marks and interface IDs: those that are configured, and those that we choose. */
import assert from 'node:assert/strict'

import { EspalierError } from '../../src/base/errors.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import type { PlainPacket } from '../../src/edge/memory-kernel.ts'
import { createChild } from '../../src/ike/create-child.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { ConnectionWords } from './configuration.ts'
import { preservingPort, type Nat } from './nat.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { scenario, type World } from './world.ts'

const UDP = 17
const ALL = 0xffff_ffff
const UNIQUE = { value: 'unique', mask: ALL } as const
const SAME = { value: 'same', mask: ALL } as const
const OUTSIDE = '192.0.2.1'
const TRANSPORT: ConnectionWords = { mode: 'transport', local: ['dynamic[udp/1701]'], remote: ['dynamic[udp/1701]'] }

/** A datagram from port 1701 to port 1701. */
function datagram(source: string, destination: string, mark = 0): PlainPacket {
  const [from, to] = [IpAddress.parse(source), IpAddress.parse(destination)]
  return { source: from, destination: to, protocol: UDP, sourcePort: 1701, destinationPort: 1701, length: 100, mark }
}

/** Sends what is to arrive at one of the others and at no other. */
async function arrivesAt(
  world: World,
  packet: PlainPacket,
  from: SimulatedNode,
  others: readonly SimulatedNode[],
): Promise<string> {
  const before = others.map(({ delivered }) => delivered.length)
  const fate = from.sendPlain(packet)
  await world.pass(SECOND)
  const reached = others.filter(({ delivered }, i) => delivered.length > before[i]!).map(({ name }) => name)
  return `${fate}: ${reached.join(', ')}`
}

interface Crowd {
  readonly gateway: SimulatedNode
  readonly nat: Nat
  readonly clients: readonly SimulatedNode[]
}

/** Clients behind one NAT, all in transport mode with the same ports. */
async function crowd(world: World, count: number): Promise<Crowd> {
  const nat = world.addNat('router', OUTSIDE, { portFor: preservingPort })
  const gateway = addGateway(world, TRANSPORT)
  const clients: SimulatedNode[] = []
  for (let i = 0; i < count; i++) {
    const side = { name: `client-${i}`, address: `192.168.1.${7 + i}`, behind: nat }
    const client = addClient(world, { ...TRANSPORT, localId: `client-${i}@example.org` }, side)
    clients.push(client)
    await world.initiate(client)
    // Two of them may well be deaf and mute without anybody noticing at this end.
    assert.deepEqual(client.eventsOf('child-failed'), [])
  }
  return { gateway, nat, clients }
}

/** Every client's datagram arrives with a mark of its own, and what has that mark goes to that client alone. */
async function eachReached(world: World, { gateway, clients }: Crowd): Promise<readonly number[]> {
  const marks: number[] = []
  for (const client of clients) {
    const before = gateway.delivered.length
    assert.equal(client.sendPlain(datagram(client.address.toString(), GATEWAY)), 'protected')
    await world.pass(SECOND)
    const [packet, surplus] = gateway.delivered.slice(before)
    assert.ok(packet !== undefined && surplus === undefined, `what ${client.name} sends arrives`)
    assert.equal(packet.source.toString(), OUTSIDE)
    marks.push(packet.mark ?? 0)
    const answer = datagram(GATEWAY, OUTSIDE, packet.mark ?? 0)
    assert.equal(await arrivesAt(world, answer, gateway, clients), `protected: ${client.name}`)
  }
  assert.equal(new Set(marks).size, clients.length, `marks ${marks.join(', ')}`)
  return marks
}

scenario(
  'edge case 22: several transport mode clients behind one NAT with the same ports are each reached, without configuration',
  async (world) => {
    const all = await crowd(world, 3)
    const marks = await eachReached(world, all)
    assert.deepEqual(marks, [0, 0x4553_0001, 0x4553_0002])
    assert.deepEqual([...all.gateway.flows.marks], marks.slice(1))
  },
)

scenario('a transport mode client with a mark of its own keeps it when anything is rekeyed, by either side', async (world) => {
  const all = await crowd(world, 2)
  const [, second] = all.clients
  const marks = await eachReached(world, all)
  const atGateway = all.gateway.sessions()[1]!
  for (const session of [second!.session, atGateway]) {
    const [child] = session.sa.children
    await world.outcome(session.runExchange((current) => rekeyChild(current, child!), 'rekey-child'))
    assert.deepEqual(await eachReached(world, all), marks)
    await world.pass(MINUTE)
    assert.deepEqual(await eachReached(world, all), marks)
  }
  await world.outcome(second!.session.runExchange(rekeyIkeSa, 'rekey-ike'))
  await world.pass(MINUTE)
  assert.deepEqual(await eachReached(world, all), marks)
})

scenario('transport mode clients whose NAT gives each the port of the other keep what they have', async (world) => {
  const all = await crowd(world, 2)
  const [first, second] = all.clients
  const marks = await eachReached(world, all)
  const ports = (): readonly number[] => all.gateway.sessions().map(({ sa }) => sa.remote.port)
  const before = ports()
  // The NAT keeps the inside port of who comes first.
  all.nat.flush()
  for (const client of [second!, first!]) {
    client.sendPlain(datagram(client.address.toString(), GATEWAY))
    await world.pass(MINUTE)
  }
  assert.equal(ports()[1], before[0])
  assert.notEqual(ports()[0], before[0])
  assert.deepEqual(await eachReached(world, all), marks)
})

scenario(
  'when the first transport mode client goes, nothing is let in or out in the clear, and the next one takes its place',
  async (world) => {
    const all = await crowd(world, 3)
    const { gateway, clients } = all
    const [first, second, third] = clients
    await world.outcome(first!.gateway.stop('deleted-by-us'))
    await world.until(() => gateway.sessions().length === 2, 'the gateway has forgotten it')
    assert.deepEqual(await eachReached(world, { ...all, clients: [second!, third!] }), [0x4553_0001, 0x4553_0002])
    assert.deepEqual(gateway.kernel.receiveClear(datagram(OUTSIDE, GATEWAY)), { kind: 'dropped', counter: 'XfrmInTmplMismatch' })
    assert.notEqual(gateway.kernel.protect(datagram(GATEWAY, OUTSIDE)).kind, 'clear')
    first!.boot()
    await world.initiate(first!)
    assert.deepEqual(await eachReached(world, all), [0, 0x4553_0001, 0x4553_0002])
  },
)

scenario(
  'where marks cannot be kept apart the second transport mode client hears no, with the reason in the log',
  async (world) => {
    const nat = world.addNat('router', OUTSIDE, { portFor: preservingPort })
    const gateway = addGateway(world, TRANSPORT)
    gateway.flows.refusal = new EspalierError('caller', 'NFT_MISSING', 'there is no program nft')
    const first = addClient(world, TRANSPORT, { name: 'first', behind: nat })
    const second = addClient(
      world,
      { ...TRANSPORT, localId: 'other@example.org' },
      { name: 'second', address: '192.168.1.8', behind: nat },
    )
    await world.initiate(first)
    await world.outcome(second.gateway.initiate('home', 'net'))
    assert.equal(second.eventsOf('child-failed')[0]!.error.code, 'PEER_SAID_TS_UNACCEPTABLE')
    assert.match(gateway.said('child-failed'), /another peer has already, and there is no program nft/)
    assert.deepEqual([gateway.gateway.books.installed.spis, gateway.kernel.reservations().length], [0, 0])
    assert.equal(await arrivesAt(world, datagram('192.168.1.7', GATEWAY), first, [gateway]), 'protected: gateway')
    assert.equal(await arrivesAt(world, datagram(GATEWAY, OUTSIDE), gateway, [first, second]), 'protected: first')
  },
)

scenario(
  'edge case 21: two clients that ask for the same traffic are told apart by marks where that is configured',
  async (world) => {
    const nats = [world.addNat('one', OUTSIDE), world.addNat('other', '192.0.2.9')]
    const gateway = addGateway(world, { marks: { markIn: UNIQUE, markOut: UNIQUE, setMarkIn: SAME } })
    const clients: SimulatedNode[] = []
    // Two NATs with the same private network behind each.
    for (const [i, behind] of nats.entries()) {
      const client = addClient(
        world,
        { localId: `client-${i}@example.org` },
        { name: `client-${i}`, address: '192.168.1.7', behind },
      )
      clients.push(client)
      await world.initiate(client)
    }
    // The firewall remembers the mark of what is answered, as one has to tell it to.
    gateway.restoresMarks = true
    for (const [i, client] of clients.entries()) {
      assert.ok(await world.ping(client, HOME_HOST, OFFICE_HOST), `${client.name} is answered`)
      assert.equal(await arrivesAt(world, datagram(OFFICE_HOST, HOME_HOST, i + 1), gateway, clients), `protected: client-${i}`)
    }
    // What has no mark is nobody's.
    assert.equal(await arrivesAt(world, datagram(OFFICE_HOST, HOME_HOST), gateway, clients), 'clear: ')
    const reqids = gateway.sessions().map(({ sa }) => sa.children[0]!.reqid)
    assert.notEqual(reqids[0], reqids[1])
    // What was handed out stays with the CHILD_SA, however often its keys change.
    await world.outcome(clients[1]!.session.runExchange((current) => rekeyChild(current, current.sa.children[0]!), 'rekey-child'))
    assert.equal(await arrivesAt(world, datagram(OFFICE_HOST, HOME_HOST, 2), gateway, clients), 'protected: client-1')
    await world.pass(MINUTE)
    assert.equal(await arrivesAt(world, datagram(OFFICE_HOST, HOME_HOST, 2), gateway, clients), 'protected: client-1')
    assert.equal(gateway.sessions()[1]!.sa.children[0]!.reqid, reqids[1])
  },
)

scenario('edge case 21: two clients with the same fixed mark are still one too many', async (world) => {
  const mark = { value: 7, mask: ALL }
  const gateway = addGateway(world, { marks: { markIn: mark, markOut: mark } })
  const first = addClient(world, {}, { name: 'first' })
  const second = addClient(world, { localId: 'other@example.org' }, { name: 'second', address: '198.51.100.8' })
  await world.initiate(first)
  await world.outcome(second.gateway.initiate('home', 'net'))
  assert.match(gateway.said('child-failed'), /client@example\.org has already.*%unique/)
  assert.equal(await arrivesAt(world, datagram(OFFICE_HOST, HOME_HOST, 7), gateway, [first, second]), 'protected: first')
})

scenario(
  'mark_in_sa: the inbound state takes packets of its mark alone, and is deleted, updated and asked about by it',
  async (world) => {
    const mark = { value: 7, mask: 0xff }
    const nat = world.addNat('router', OUTSIDE)
    const gateway = addGateway(world, { marks: { markIn: mark, markInOnState: true } })
    const client = addClient(world, {}, { behind: nat })
    await world.initiate(client)
    const [inbound] = gateway.kernel.states()
    assert.deepEqual(inbound!.mark, mark)
    const protection = client.kernel.protect({ ...datagram(HOME_HOST, OFFICE_HOST), mark: 0 })
    assert.ok(protection.kind === 'protected')
    const { packet } = protection
    const seen = { ...packet, source: IpAddress.parse(OUTSIDE), encapsulation: inbound!.encapsulation }
    assert.deepEqual(gateway.kernel.receive(seen), { kind: 'dropped', counter: 'XfrmInNoStates' })
    assert.equal(gateway.kernel.receive(seen, 0x107).kind, 'delivered')
    const usage = await world.outcome(gateway.gateway.books.usage(gateway.session.sa.children[0]!.installed))
    assert.equal(usage?.in.packets, 1n)
    const [limit] = gateway.kernel.states()
    gateway.gateway.handleKernelEvent({ event: 'expire', id: limit!, reqid: limit!.reqid, hard: false })
    await world.pass(MINUTE)
    assert.equal(gateway.eventsOf('child-rekeyed').length, 1)
  },
)

scenario('interface IDs: of the child, or of the IKE_SA for all its children and its successors', async (world) => {
  const children: ConnectionWords[] = [
    { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
    { name: 'other', local: ['10.3.0.0/16'], remote: ['10.2.0.0/16'] },
    { name: 'own', local: ['10.4.0.0/16'], remote: ['10.2.0.0/16'], interfaceId: 77 },
  ]
  const gateway = addGateway(world, { defaultInterfaceId: 'unique-dir', children })
  const client = addClient(world, {
    children: children.map((words) => ({ name: words.name!, local: words.remote!, remote: words.local! })),
  })
  await world.initiate(client)
  for (const name of ['other', 'own']) {
    const wanted = client.configuration.connections[0]!.children.find((child) => child.name === name)!
    await world.outcome(client.session.runExchange(async (current) => void (await createChild(current, wanted)), 'create-child'))
  }
  const ids = (): unknown => gateway.session.sa.children.map(({ separation: { ifIdIn, ifIdOut } }) => [ifIdIn, ifIdOut])
  assert.deepEqual(ids(), [
    [1, 2],
    [1, 2],
    [77, 77],
  ])
  assert.deepEqual(gateway.session.sa.interfaceIds, { in: 1, out: 2 })
  await world.outcome(client.session.runExchange(rekeyIkeSa, 'rekey-ike'))
  await world.pass(MINUTE)
  const [child] = client.session.sa.children
  await world.outcome(client.session.runExchange((current) => rekeyChild(current, child!), 'rekey-child'))
  await world.pass(MINUTE)
  assert.deepEqual(gateway.session.sa.interfaceIds, { in: 1, out: 2 })
  assert.ok(
    (ids() as number[][]).some(([inward]) => inward === 77) &&
      (ids() as number[][]).filter(([inward]) => inward === 1).length === 2,
  )
  // What comes and goes by another interface, or none, is none of theirs.
  assert.equal(gateway.kernel.protect(datagram(OFFICE_HOST, HOME_HOST)).kind, 'clear')
  assert.equal(gateway.kernel.protect({ ...datagram(OFFICE_HOST, HOME_HOST), ifId: 2 }).kind, 'protected')
})

scenario('what is made anew in another IKE_SA goes on with the marks that were handed out', async (world) => {
  addGateway(world)
  const client = addClient(world, { marks: { markIn: UNIQUE, markOut: UNIQUE, setMarkIn: SAME }, interfaceId: 'unique' })
  await world.initiate(client)
  const of = (): unknown =>
    client.session.sa.children.map(({ separation: { markIn, markOut, ifIdIn } }) => [markIn?.value, markOut?.value, ifIdIn])
  assert.deepEqual(of(), [[1, 1, 1]])
  reauthenticate(client.session)
  await world.pass(MINUTE)
  // strongSwan: not with the interface IDs, whose interfaces come and go with CHILD_SAs.
  assert.deepEqual(of(), [[1, 1, 2]])
  assert.equal(client.eventsOf('reauthenticating').length, 1)
})

scenario('a trap with a unique mark: the CHILD_SA that a packet asks for has the mark of the trap', async (world) => {
  addGateway(world)
  const client = addClient(world, { trap: true, marks: { markIn: UNIQUE, markOut: UNIQUE } })
  client.gateway.start()
  await world.until(() => client.kernel.policies().length > 0, 'the trap is there')
  assert.equal(client.sendPlain(datagram(HOME_HOST, OFFICE_HOST)), 'clear')
  assert.equal(client.sendPlain(datagram(HOME_HOST, OFFICE_HOST, 1)), 'acquire')
  await world.until(() => client.eventsOf('child-established').length > 0, 'there is a CHILD_SA')
  assert.equal(client.sendPlain(datagram(HOME_HOST, OFFICE_HOST, 1)), 'protected')
  const [child] = client.session.sa.children
  assert.deepEqual(child!.separation.markOut, { value: 1, mask: ALL })
  assert.equal(client.gateway.traps.inForce()[0]!.reqid, child!.reqid)
})

scenario(
  'marks without a firewall that restores them: the client is heard, and answered by whoever has no mark',
  async (world) => {
    const gateway = addGateway(world, { marks: { markIn: UNIQUE, markOut: UNIQUE, setMarkIn: SAME } })
    const client = addClient(world)
    await world.initiate(client)
    assert.ok(!(await flows(world, client, gateway)))
    assert.equal(gateway.delivered.length, 1)
  },
)
