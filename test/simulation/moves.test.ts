/** Peers that a NAT moves in mid-life (BEHAVIOUR 2.3): followed, with all their CHILD_SAs, and nobody else is. */
import assert from 'node:assert/strict'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import { probe } from '../../src/ike/liveness.ts'
import { moveEndpoints } from '../../src/ike/moves.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { Operation } from '../../src/kernel/vocabulary.ts'
import { notify } from '../../src/message/ikev2/find.ts'
import { formatSelector } from '../../src/negotiate/selectors.ts'
import type { Nat, NatOptions } from './nat.ts'
import { preservingPort } from './nat.ts'
import { summaryOf, type Packet } from './packet.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { assertOne, current, packet, standing } from './standing.ts'
import { Stranger } from './stranger.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

interface Scene {
  readonly client: SimulatedNode
  readonly gateway: SimulatedNode
  readonly nat: Nat
  /** What the gateway has asked of its kernel. */
  readonly asked: Operation[]
}

const WITHOUT_MOBIKE = { mobike: false }

async function behindNat(
  world: World,
  words: { mobike?: boolean; dpdDelay?: number } = {},
  options: NatOptions = {},
): Promise<Scene> {
  const nat = world.addNat('router', '192.0.2.1', options)
  const gateway = addGateway(world, words)
  const client = addClient(world, words, { behind: nat })
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  const asked: Operation[] = []
  gateway.refuse = (operation) => {
    asked.push(operation)
    return null
  }
  checkSequences(world)
  return { client, gateway, nat, asked }
}

/** Nobody ever sends two packets of one SA with the same number: it makes the IV of AES-GCM. */
function checkSequences(world: World): void {
  const seen = new Set<string>()
  let looked = world.mark
  world.invariants.push(() => {
    for (const {
      fate,
      packet: { esp },
    } of world.network.trace.slice(looked)) {
      if (fate !== 'sent' || esp === null) continue
      const name = `${esp.seal} ${esp.spi} ${esp.sequence}`
      assert.ok(!seen.has(name), `no number is used twice: ${name}`)
      seen.add(name)
    }
    looked = world.mark
  })
}

/** The client's network is moved behind another router: the same inside, another address outside. */
function behindAnother(world: World, { nat, client }: Pick<Scene, 'nat' | 'client'>, address: string): Nat {
  const other = world.addNat(`router ${address}`, address)
  for (const own of client.addresses) other.inside.owners.set(own.toString(), client)
  nat.inside.uplink = other
  return other
}

/** Where a node has its peer: its IKE_SA and its states, each place once. */
function places(node: SimulatedNode): readonly string[] {
  const states = node.kernel.states().map(({ direction, source, destination, encapsulation }) => {
    assert.ok(encapsulation !== null)
    return direction === 'in'
      ? `${source.toString()}[${encapsulation.sourcePort}]`
      : `${destination.toString()}[${encapsulation.destinationPort}]`
  })
  return [...new Set([standing(node).sa.remote.toString(), ...states])]
}

function templates(node: SimulatedNode): readonly string[] {
  return [
    ...new Set(
      node.kernel
        .policies()
        .map(({ direction, template }) => (direction === 'out' ? template!.destination : template!.source).toString()),
    ),
  ]
}

const verbs = (operations: readonly Operation[]): readonly string[] => operations.map(({ op }) => op)

/** Traffic both ways, a packet each every `gap`, for as long as it takes; counts what of it arrives, and sees what leaves. */
class Traffic {
  sent = 0
  readonly fates = new Set<string>()
  readonly #world: World
  readonly #scene: Pick<Scene, 'client' | 'gateway'>
  readonly #before: readonly [number, number]

  constructor(world: World, scene: Pick<Scene, 'client' | 'gateway'>) {
    this.#world = world
    this.#scene = scene
    this.#before = [scene.client.delivered.length, scene.gateway.delivered.length]
  }

  async run(count: number, gap: Milliseconds = 5): Promise<void> {
    const { client, gateway } = this.#scene
    for (let i = 0; i < count; i++) {
      this.fates.add(client.sendPlain(packet(HOME_HOST, OFFICE_HOST)))
      this.fates.add(gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)))
      this.sent++
      await this.#world.pass(gap)
    }
  }

  /** What did not arrive so far: of the client's, of the gateway's. */
  async lost(): Promise<readonly [number, number]> {
    await this.#world.pass(SECOND)
    const { client, gateway } = this.#scene
    const [toClient, toGateway] = this.#before
    return [this.sent - (gateway.delivered.length - toGateway), this.sent - (client.delivered.length - toClient)]
  }
}

for (const words of [{}, WITHOUT_MOBIKE]) {
  const how = words === WITHOUT_MOBIKE ? 'without MOBIKE' : 'with MOBIKE'
  scenario(`edge case 27: ESP from a new port while IKE is idle, ${how}: all follows, in place`, async (world) => {
    const scene = await behindNat(world, words)
    const { client, gateway, nat, asked } = scene
    assert.deepEqual(places(gateway), ['192.0.2.1[30001]'])
    nat.flush()
    client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(SECOND)
    assert.deepEqual(places(gateway), ['192.0.2.1[30002]'])
    assert.deepEqual(verbs(asked), ['update-state', 'update-state'])
    assert.ok(await flows(world, client, gateway))
    assert.equal(gateway.said('endpoints-moved'), 'remote endpoint changed from 192.0.2.1[30001] to 192.0.2.1[30002]')
    assert.match(
      gateway.said('kernel-event'),
      /^NAT mappings of CHILD_SA ESP\/0x.*203\.0\.113\.1 changed to 192\.0\.2\.1\[30002\]/,
    )
    const { path } = standing(gateway).sa
    assert.deepEqual([path.moveCount, path.moves[0]?.cause], [1, 'mapping'])
  })
}

scenario(
  'edge case 28: a hundred packets from a new port before the kernel is told: one update, no number lost',
  async (world) => {
    const scene = await behindNat(world)
    const { client, gateway, nat, asked } = scene
    world.kernelLatency = 50
    const before = await world.outcome(gateway.gateway.books.usage(current(gateway).installed))
    assert.ok(before !== null)
    nat.flush()
    for (let i = 0; i < 100; i++) client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(SECOND)
    assert.deepEqual(
      verbs(asked).filter((op) => op !== 'query-state'),
      ['update-state', 'update-state'],
    )
    assert.equal(gateway.eventsOf('endpoints-moved').length, 1)
    // Each packet was told of by the kernel, and one of them by us.
    assert.equal(gateway.lines.filter(({ message }) => message.startsWith('NAT mappings')).length, 1)
    const after = await world.outcome(gateway.gateway.books.usage(current(gateway).installed))
    assert.deepEqual([after?.in.sequence, after?.out.sequence], [before.in.sequence + 100n, before.out.sequence])
    assert.ok(await flows(world, client, gateway))
  },
)

for (const first of ['ESP', 'IKE'] as const) {
  scenario(
    `a new port under traffic, ${first} first: nothing of the peer is lost, of ours what was on its way`,
    async (world) => {
      const scene = await behindNat(world, WITHOUT_MOBIKE)
      const traffic = new Traffic(world, scene)
      await traffic.run(20)
      // What is on its way to the NAT would be first.
      await world.pass(50)
      scene.nat.flush()
      if (first === 'IKE') void standing(scene.client).runExchange(probe)
      await world.settle()
      await traffic.run(40)
      const [ofClient, ofGateway] = await traffic.lost()
      assert.equal(ofClient, 0)
      // 20 ms there until the first packet tells, and 20 ms back of what was on its way.
      assert.ok(ofGateway <= 10, `${ofGateway} packets lost`)
      assert.deepEqual([...traffic.fates], ['protected'])
      assert.equal(standing(scene.gateway).sa.path.moves[0]?.cause, first === 'IKE' ? 'ike-message' : 'mapping')
      assert.equal(scene.gateway.eventsOf('endpoints-moved').length, 1)
      assert.deepEqual(verbs(scene.asked), ['update-state', 'update-state'])
      await assertOne(world, scene)
    },
  )
}

scenario('edge case 31: ESP from a new address: states move with their numbers, nothing leaves in the clear', async (world) => {
  const scene = await behindNat(world)
  const { gateway, asked } = scene
  const before = new Map(gateway.kernel.states().map(({ spi, reqid, seal }) => [spi, `${reqid} ${seal}`]))
  // Slow enough that packets want to leave in the middle of it.
  world.kernelLatency = 12
  const traffic = new Traffic(world, scene)
  await traffic.run(20)
  behindAnother(world, scene, '192.0.2.99')
  await traffic.run(60)
  assert.deepEqual(places(gateway), ['192.0.2.99[30000]'])
  assert.deepEqual(templates(gateway), ['192.0.2.99'])
  assert.deepEqual(new Map(gateway.kernel.states().map(({ spi, reqid, seal }) => [spi, `${reqid} ${seal}`])), before)
  assert.deepEqual(new Set(verbs(asked)), new Set(['set-policy', 'read-state', 'move-state', 'take-state', 'add-state']))
  assert.deepEqual(traffic.fates, new Set(['protected', 'blocked']))
  assert.equal(gateway.eventsOf('endpoints-moved').length, 1)
  const [ofClient] = await traffic.lost()
  assert.equal(ofClient, 0, 'the kernel has a state for what the peer sends at every moment')
  await assertOne(world, scene)
})

scenario('a packet that was received before a move is not received again after it', async (world) => {
  const scene = await behindNat(world)
  const { client, gateway } = scene
  let captured: Packet | null = null
  const untap = world.network.tap((one) => {
    if (one.esp !== null && one.source.address.equals(client.address)) captured = one
    return [one]
  })
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  untap()
  behindAnother(world, scene, '192.0.2.99')
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  const received = gateway.delivered.length
  const [moved] = [places(gateway)]
  // Edge case 30 once more, from a third place, of a state that has been taken and put.
  world.network.carry({ ...captured!, source: endpoint('198.51.100.66', 4500) }, world.internet, { ...client.link })
  await world.pass(SECOND)
  assert.equal(gateway.delivered.length, received)
  assert.equal(gateway.kernel.counters().get('XfrmInStateSeqError'), 1)
  assert.deepEqual(places(gateway), moved)
})

function endpoint(address: string, port: number): Endpoint {
  return new Endpoint(IpAddress.parse(address), port)
}

scenario(
  'edge case 33: a request from a new port, without MOBIKE: IKE and ESP move together, and the answer goes there',
  async (world) => {
    const scene = await behindNat(world, WITHOUT_MOBIKE)
    const { client, gateway, nat, asked } = scene
    nat.flush()
    const mark = world.mark
    await world.outcome(standing(client).runExchange(probe))
    assert.deepEqual(
      world.sent(mark).filter((line) => line.includes('INFORMATIONAL')),
      [
        '192.168.1.7[4500] > 203.0.113.1[4500] INFORMATIONAL request 2',
        '203.0.113.1[4500] > 192.0.2.1[30002] INFORMATIONAL response 2',
      ],
    )
    assert.deepEqual(places(gateway), ['192.0.2.1[30002]'])
    assert.deepEqual(verbs(asked), ['update-state', 'update-state'])
    assert.equal(standing(gateway).sa.path.moves[0]?.cause, 'ike-message')
    // The gateway reaches the client, who has not sent any ESP.
    assert.ok(await world.ping(gateway, OFFICE_HOST, HOME_HOST))
  },
)

scenario('edge case 33: a response from a new port moves all as well, before the exchange goes on', async (world) => {
  const scene = await behindNat(world, WITHOUT_MOBIKE, { filtering: 'endpoint-independent' })
  const { gateway, nat } = scene
  // What was sent to the old mapping arrives by it, and the answer leaves by a new one.
  const untap = world.network.tap((one) => {
    if (one.source.address.equals(scene.client.address)) nat.flush()
    return [one]
  })
  const child = current(gateway)
  await world.outcome(standing(gateway).runExchange((session) => rekeyChild(session, child), 'rekey-child'))
  untap()
  await world.pass(SECOND)
  const [place, ...others] = places(gateway)
  assert.deepEqual(others, [])
  assert.notEqual(place, '192.0.2.1[30001]')
  await assertOne(world, scene)
})

scenario('with MOBIKE no IKE message moves anything: the peer says where it is (RFC 4555 3.8)', async (world) => {
  const { client, gateway, nat, asked } = await behindNat(world)
  assert.notEqual(standing(gateway).sa.mobike, null)
  nat.flush()
  const before = places(gateway)
  // A probe of ours, without NAT detection.
  await world.outcome(
    standing(client).runExchange((session) => session.exchanges.request(ExchangeType.INFORMATIONAL, []).then(() => undefined)),
  )
  assert.deepEqual([places(gateway), asked], [before, []])
})

scenario('edge case 7: both behind NATs, the gateway follows the client that came first', async (world) => {
  const forwards = [500, 4500].map((port) => ({ port, to: endpoint('192.168.9.1', port) }))
  const forward = world.addNat('port-forward', GATEWAY, { forwards })
  const nat = world.addNat('router', '192.0.2.1', { portFor: preservingPort })
  const gateway = addGateway(world, WITHOUT_MOBIKE, { address: '192.168.9.1', behind: forward })
  const client = addClient(world, WITHOUT_MOBIKE, { behind: nat })
  await world.initiate(client)
  let port = 2000
  const untap = world.network.tap((one) => [one])
  untap()
  nat.flush()
  // Somebody else has the port now.
  world.network.route(
    {
      protocol: 'udp',
      source: endpoint('192.168.1.200', 4500),
      destination: endpoint(GATEWAY, 9),
      bytes: Uint8Array.of(port++),
      esp: null,
    },
    nat.inside,
  )
  await world.pass(SECOND)
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  assert.equal(places(gateway).length, 1)
  assert.notEqual(places(gateway)[0], '192.0.2.1[4500]')
  assert.ok(await flows(world, client, gateway))
})

scenario('edge case 11: a mapping that changes at the outer of two NATs is followed like any', async (world) => {
  const carrier = world.addNat('carrier', '192.0.2.1')
  const home = world.addNat('home router', '100.64.0.5', { portFor: preservingPort }, carrier)
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: home })
  await world.initiate(client)
  for (const nat of [carrier, home, carrier]) {
    const before = places(gateway)
    // The inner one gives the same port again, as such routers do, and the outer one never hears of it.
    nat.flush()
    client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(SECOND)
    assert.equal(places(gateway).length, 1)
    if (nat === carrier) assert.notDeepEqual(places(gateway), before)
    else assert.deepEqual(places(gateway), before)
    assert.ok(await flows(world, client, gateway))
  }
})

/** An established peer on 4500 that is behind a NAT, without MOBIKE. */
async function strangerBehindNat(world: World): Promise<{ peer: Stranger; gateway: SimulatedNode }> {
  const gateway = addGateway(world, WITHOUT_MOBIKE)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init([
    notify(NotifyType.NAT_DETECTION_SOURCE_IP, new Uint8Array(20)),
    notify(NotifyType.NAT_DETECTION_DESTINATION_IP, peer.natDetection().destination),
  ])
  peer.port = peer.remotePort = 4500
  await peer.auth()
  return { peer, gateway }
}

scenario('a request sent again, or replayed, from elsewhere is answered there and moves nothing', async (world) => {
  const { peer, gateway } = await strangerBehindNat(world)
  const request = peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [])
  peer.send(request)
  await peer.answer()
  const before = [places(gateway), gateway.kernel.states()]
  peer.port = 40_000
  peer.send(request)
  await peer.answer()
  assert.equal(peer.received.at(-1)!.destination.toString(), '198.51.100.7[40000]')
  assert.deepEqual([places(gateway), gateway.kernel.states()], before)
  // An older one is not even answered.
  const heard = peer.received.length
  peer.send(peer.protectedRequest(ExchangeType.INFORMATIONAL, 3, []))
  await peer.answer()
  assert.deepEqual(places(gateway), ['198.51.100.7[40000]'])
  peer.port = 50_000
  peer.send(request)
  await world.pass(SECOND)
  assert.equal(peer.received.length, heard + 1)
  assert.deepEqual(places(gateway), ['198.51.100.7[40000]'])
})

scenario('a fragment moves by itself, once it is authentic (strongSwan)', async (world) => {
  const { peer, gateway } = await strangerBehindNat(world)
  const pieces = peer.fragmentedRequest(
    ExchangeType.INFORMATIONAL,
    2,
    [notify(NotifyType.INITIAL_CONTACT, new Uint8Array(600))],
    400,
  )
  assert.ok(pieces.length > 1)
  peer.port = 40_000
  peer.send(pieces[0]!)
  await world.pass(SECOND)
  const isFragmented = standing(gateway).sa.fragmentation
  assert.deepEqual(places(gateway), [isFragmented ? '198.51.100.7[40000]' : '198.51.100.7[4500]'])
})

scenario('what comes to another of our ports says nothing of the mapping that ESP has', async (world) => {
  const { peer, gateway } = await strangerBehindNat(world)
  const before = places(gateway)
  peer.port = 40_500
  peer.remotePort = 500
  peer.send(peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, []))
  await peer.answer()
  assert.equal(peer.received.at(-1)!.source.toString(), '203.0.113.1[500]')
  assert.deepEqual(places(gateway), before)
})

scenario(
  'edge case 58: ESP that flaps between two ports is followed four times at once and then once a second, and the last one wins',
  async (world) => {
    const { client, gateway, asked } = await behindNat(world)
    let port = 40_001
    world.network.tap((one) =>
      one.source.address.equals(client.address) && one.esp !== null ? [{ ...one, source: one.source.withPort(port) }] : [one],
    )
    // Past the NAT, which would not do that; the client is where it is.
    const seconds = 10
    for (let i = 0; i < seconds * 200; i++) {
      port = i % 2 === 0 ? 40_001 : 40_002
      client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
      await world.pass(5)
    }
    const moves = gateway.eventsOf('endpoints-moved').length
    assert.ok(moves >= seconds && moves <= seconds + 4, `${moves} moves in ${seconds} s`)
    assert.deepEqual(new Set(verbs(asked)), new Set(['update-state']))
    port = 40_003
    for (let i = 0; i < 5; i++) client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(2 * SECOND)
    const mapped = gateway.session.sa.remote
    client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(2 * SECOND)
    assert.deepEqual(gateway.session.sa.remote, mapped)
    assert.equal(places(gateway).length, 1)
  },
)

/** A NAT that forgets its mappings at some moment of a rekeying, a different one with every seed. */
async function rebindDuring(world: World, begin: (node: SimulatedNode) => Promise<void>, hasNewAddress: boolean): Promise<void> {
  const scene = await behindNat(world, WITHOUT_MOBIKE)
  const dice = world.entropyFor('when')
  const [side, moment] = [dice.fraction() < 0.5 ? scene.client : scene.gateway, 100 * dice.fraction()]
  world.kernelLatency = 3 * dice.fraction()
  const traffic = new Traffic(world, scene)
  const rekeyed = begin(side)
  const rebind = (): void => {
    if (hasNewAddress) behindAnother(world, scene, '192.0.2.99')
    else scene.nat.flush()
  }
  world.schedule(moment, rebind)
  await traffic.run(60)
  await world.outcome(rekeyed)
  await world.pass(SECOND)
  assert.ok(!traffic.fates.has('clear'), 'nothing leaves in the clear')
  assert.deepEqual(places(scene.gateway), [hasNewAddress ? '192.0.2.99[30000]' : '192.0.2.1[30002]'])
  assert.deepEqual(places(scene.client), ['203.0.113.1[4500]'])
  if (hasNewAddress) assert.deepEqual(templates(scene.gateway), ['192.0.2.99'])
  await assertOne(world, scene)
}

for (const hasNewAddress of [false, true]) {
  const what = hasNewAddress ? 'address' : 'port'
  scenarioOverSeeds(`edge case 50: a new ${what} while the CHILD_SA is rekeyed: old and new go along`, 24, (world) =>
    rebindDuring(
      world,
      (node) => {
        const child = current(node)
        return standing(node).runExchange((session) => rekeyChild(session, child), 'rekey-child')
      },
      hasNewAddress,
    ),
  )
  scenarioOverSeeds(
    `edge case 51: a new ${what} while the IKE_SA is rekeyed: the new one has it, and NAT facts and keepalives`,
    24,
    (world) => rebindDuring(world, (node) => standing(node).runExchange(rekeyIkeSa, 'rekey-ike'), hasNewAddress),
  )
}

scenario(
  'edge case 51: after a rekeying of the IKE_SA behind a NAT keepalives go on, and the next CHILD_SA is in UDP',
  async (world) => {
    const scene = await behindNat(world)
    const { client, gateway } = scene
    const { nat } = standing(client).sa
    await world.outcome(standing(client).runExchange(rekeyIkeSa, 'rekey-ike'))
    await world.pass(SECOND)
    assert.deepEqual(standing(client).sa.nat, nat)
    const mark = world.mark
    await world.pass(60 * SECOND)
    assert.ok(world.countSent('keepalive', mark) >= 2)
    scene.nat.flush()
    client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(SECOND)
    const child = current(gateway)
    await world.outcome(standing(gateway).runExchange((session) => rekeyChild(session, child), 'rekey-child'))
    await world.pass(SECOND)
    assert.equal(places(gateway).length, 1)
    assert.ok(current(gateway).encapsulated)
    await assertOne(world, scene)
  },
)

scenario(
  'whatever the kernel refuses of a move to another address: no exception, nothing in the clear, and it works in the end',
  async (world) => {
    const scene = await behindNat(world)
    const { client, gateway } = scene
    let address = 10
    for (let step = 0; step < 14; step++) {
      let index = 0
      gateway.refuse = (operation) => (operation.op !== 'query-state' && index++ === step ? 12 : null)
      behindAnother(world, scene, `192.0.2.${address++}`)
      const traffic = new Traffic(world, scene)
      await traffic.run(10)
      await world.pass(SECOND)
      gateway.refuse = null
      assert.ok(!traffic.fates.has('clear'), `nothing leaves in the clear at step ${step}`)
      // Packets go on, so the kernel goes on telling of where they come from.
      await traffic.run(20, 100)
      await world.pass(20 * SECOND)
      assert.equal(places(gateway).length, 1, `step ${step}: ${places(gateway).join(' ')}`)
      assert.ok(await flows(world, client, gateway), `step ${step}`)
    }
    assert.ok(gateway.eventsOf('kernel-refused').length >= 9)
    await world.pass(60 * SECOND)
    await assertOne(world, scene)
  },
)

scenario('a state that the kernel lost on the way is replaced', async (world) => {
  const scene = await behindNat(world)
  const { client, gateway } = scene
  const lost = current(gateway)
  gateway.refuse = (operation) => (operation.op === 'add-state' && operation.contents !== undefined ? 12 : null)
  behindAnother(world, scene, '192.0.2.99')
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  gateway.refuse = null
  await world.pass(5 * SECOND)
  assert.notEqual(current(gateway).inboundSpi, lost.inboundSpi)
  await assertOne(world, scene)
})

scenario('in transport mode the selectors go along with the address that they are, and a rekeying finds them', async (world) => {
  const words = { mode: 'transport', local: ['dynamic'], remote: ['dynamic'] } as const
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world, words)
  const client = addClient(world, words, { behind: nat })
  await world.initiate(client)
  const { reqid } = current(gateway)
  const isReached = async (address: string): Promise<boolean> => {
    const there = await world.ping(client, '192.168.1.7', GATEWAY)
    return there && (await world.ping(gateway, GATEWAY, address))
  }
  assert.ok(await isReached('192.0.2.1'))
  behindAnother(world, { client, nat }, '192.0.2.99')
  client.sendPlain(packet('192.168.1.7', GATEWAY))
  await world.pass(SECOND)
  const selectors = (): string => current(gateway).remoteSelectors.map(formatSelector).join(' ')
  assert.equal(selectors(), '192.0.2.99/32')
  assert.ok(await isReached('192.0.2.99'))
  assert.equal(gateway.sendPlain(packet(GATEWAY, '192.0.2.1')), 'clear', 'who has the old address now is nobody of ours')
  for (const node of [gateway, client]) {
    const child = current(node)
    await world.outcome(standing(node).runExchange((session) => rekeyChild(session, child), 'rekey-child'))
    await world.pass(10 * SECOND)
    assert.deepEqual([selectors(), current(gateway).reqid], ['192.0.2.99/32', reqid])
    assert.ok(await isReached('192.0.2.99'))
  }
})

scenario('a soft limit that the kernel tells of once more, since its state was updated, is no second rekeying', async (world) => {
  const childLifetime = { time: { rekey: 60 * SECOND, life: 600 * SECOND, rand: 0 } }
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world, { childLifetime })
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  // The client is told, and cannot answer yet.
  await world.pass(57 * SECOND)
  client.link.latency = 3 * SECOND
  await world.until(() => gateway.eventsOf('kernel-event').some(({ news }) => news.event === 'expire'), 'a soft limit is told of')
  nat.flush()
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(30 * SECOND)
  client.link.latency = 10
  await world.pass(10 * SECOND)
  assert.equal(gateway.eventsOf('endpoints-moved').length, 1)
  const told = gateway.eventsOf('kernel-event').filter(({ news }) => news.event === 'expire').length
  assert.ok(told >= 2, `the kernel told of it ${told} times`)
  assert.equal(gateway.eventsOf('child-rekeyed').length, 1)
  await assertOne(world, { client, gateway })
})

scenario('a request that waits for its answer follows the peer with its next transmission', async (world) => {
  const { client, gateway, nat } = await behindNat(world)
  nat.flush()
  const mark = world.mark
  const answered = standing(gateway).runExchange(probe)
  await world.pass(SECOND)
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.outcome(answered)
  assert.deepEqual(
    world.sent(mark).filter((line) => line.includes('INFORMATIONAL request')),
    [
      '203.0.113.1[4500] > 192.0.2.1[30001] INFORMATIONAL request 0',
      '203.0.113.1[4500] > 192.0.2.1[30002] INFORMATIONAL request 0',
    ],
  )
})

scenario('the delete of an IKE_SA that was replaced follows the peer as well', async (world) => {
  const { client, gateway, nat } = await behindNat(world, WITHOUT_MOBIKE)
  // The gateway replaces it, and its delete goes to a mapping that is no more.
  const untap = world.network.tap((one) => {
    const isDelete = one.source.address.equals(gateway.address) && summaryOf(one).startsWith('INFORMATIONAL request')
    if (isDelete) nat.flush()
    return [one]
  })
  const rekeyed = standing(gateway).runExchange(rekeyIkeSa, 'rekey-ike')
  await world.until(() => gateway.eventsOf('ike-rekeyed').length > 0, 'the gateway has replaced it')
  await world.pass(SECOND)
  untap()
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.outcome(rekeyed)
  await assertOne(world, { client, gateway })
})

scenario('selectors do not follow to traffic that another peer has', async (world) => {
  const words = { mode: 'transport', local: ['dynamic'], remote: ['dynamic'] } as const
  const gateway = addGateway(world, words)
  const other = addClient(world, { ...words, localId: 'other@example.org' }, { name: 'other' })
  await world.initiate(other)
  const nat = world.addNat('router', '192.0.2.1')
  const client = addClient(world, words, { behind: nat })
  await world.initiate(client)
  const [first, second] = gateway.sessions().map(({ sa }) => sa)
  assert.ok(first !== undefined && second !== undefined)
  const session = gateway.sessions()[1]!
  const before = gateway.kernel.policies().filter(({ selector }) => selector.source.contains(other.address))
  // Where the other one is, if it could be believed.
  const place = { local: second.local, remote: new Endpoint(other.address, second.remote.port) }
  await world.outcome(session.run(() => moveEndpoints(session, place, 'mobike')))
  assert.deepEqual(second.children[0]!.remoteSelectors.map(formatSelector), ['192.0.2.1/32'])
  assert.deepEqual(
    gateway.kernel.policies().filter(({ selector }) => selector.source.contains(other.address)),
    before,
  )
  assert.ok(await world.ping(other, CLIENT, GATEWAY))
  world.expectsAgreement = false
})

for (const mobike of [true, false]) {
  const how = `mobike = ${mobike ? 'yes' : 'no'}`
  scenario(
    `edge case 51: the answer to a rekey of the IKE_SA is lost with the NAT’s mapping, and there is no traffic: the next sign of life tells where we are, ${how}`,
    async (world) => {
      const scene = await behindNat(world, { mobike, dpdDelay: 20 })
      const { client, gateway, nat } = scene
      const heal = world.network.tap((sent) => (summaryOf(sent) === 'CREATE_CHILD_SA response 0' ? [] : [sent]))
      const rekeyed = standing(gateway).runExchange(rekeyIkeSa, 'rekey-ike')
      await world.until(() => client.eventsOf('ike-rekeyed').length > 0, 'the client has the new one')
      nat.flush()
      heal()
      await world.outcome(rekeyed)
      await world.pass(MINUTE)
      for (const node of [client, gateway])
        assert.deepEqual([node.eventsOf('ike-rekeyed').length, node.eventsOf('ike-established').length], [1, 1])
      await assertOne(world, scene)
    },
  )
}
