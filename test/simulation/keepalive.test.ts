/** NAT keepalives (RFC 3948 4): who sends them, when, and when they are not needed. */
import assert from 'node:assert/strict'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { SECOND, type Milliseconds } from '../../src/base/time.ts'
import { ExchangeType } from '../../src/iana/ikev2.ts'
import { echoRequest, type SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

function keepaliveTimes(world: World): readonly Milliseconds[] {
  return world.network.trace.filter(({ fate, summary }) => fate === 'sent' && summary === 'keepalive').map(({ time }) => time)
}

/** To the millisecond: the kernel is asked before each one, which takes a while. */
function gaps(times: readonly Milliseconds[]): readonly Milliseconds[] {
  return times.slice(1).map((time, i) => Math.round(time - times[i]!))
}

function behindNat(
  world: World,
  settings: { keepAlive?: Milliseconds; keepAliveDpdMargin?: Milliseconds } = {},
): { client: SimulatedNode; gateway: SimulatedNode; nat: ReturnType<World['addNat']> } {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world, {}, { settings })
  const client = addClient(world, {}, { behind: nat, settings })
  return { client, gateway, nat }
}

scenario('only the side behind the NAT sends keepalives, one every 20 s, to the peer’s port 4500', async (world) => {
  const { client, gateway } = behindNat(world)
  const session = await world.initiate(client)
  const last = session.sa.lastOutbound
  await world.pass(200 * SECOND)
  const times = keepaliveTimes(world)
  assert.deepEqual(
    gaps(times),
    Array.from({ length: times.length - 1 }, () => 20 * SECOND),
  )
  assert.equal(times.length, 10)
  // The first is an interval after IKE_AUTH was sent, or up to 100 ms less, so that those of many IKE_SAs leave together.
  const pause = times[0]! - last
  assert.ok(pause > 20 * SECOND - 100 && pause <= 20 * SECOND + 1, `the first keepalive is ${pause} ms after IKE_AUTH`)
  assert.deepEqual([session.sa.path.keepalivesSent, session.sa.path.keepalivesSuppressed], [10, 0])
  assert.equal(gateway.keepalivesReceived, times.length)
  assert.equal(client.keepalivesReceived, 0)
  assert.ok(
    world
      .sent()
      .filter((line) => line.endsWith('keepalive'))
      .every((line) => line === '192.168.1.7[4500] > 203.0.113.1[4500] keepalive'),
  )
  assert.deepEqual([...world.network.trace.find(({ summary }) => summary === 'keepalive')!.bytes], [0xff])
  assert.equal(client.eventsOf('keepalive-sent').length, times.length)
})

scenario('keepalives keep the mapping alive: after an hour of silence the gateway reaches the client', async (world) => {
  const { client, gateway, nat } = behindNat(world)
  await world.initiate(client)
  await world.pass(3600 * SECOND)
  assert.ok(await world.ping(gateway, OFFICE_HOST, HOME_HOST))
  assert.equal(nat.mappings().length, 2)
})

scenario('with keep_alive = 0 there are none, and the mapping dies', async (world) => {
  const { client, gateway } = behindNat(world, { keepAlive: 0 })
  await world.initiate(client)
  await world.pass(300 * SECOND)
  assert.equal(keepaliveTimes(world).length, 0)
  assert.equal(await world.ping(gateway, OFFICE_HOST, HOME_HOST), false)
})

scenario('another interval is kept to', async (world) => {
  const { client } = behindNat(world, { keepAlive: 7 * SECOND })
  await world.initiate(client)
  await world.pass(100 * SECOND)
  const times = keepaliveTimes(world)
  assert.ok(times.length >= 13)
  assert.deepEqual(new Set(gaps(times)), new Set([7 * SECOND]))
})

for (const tellsLastUse of [true, false]) {
  const kernel = tellsLastUse ? 'a kernel that tells when' : 'an old kernel that only counts'
  scenario(
    `edge case 44: while ESP flows out no keepalive is sent, with ${kernel}; they begin within one interval after it stops`,
    async (world) => {
      const { client } = behindNat(world)
      client.tellsLastUse = tellsLastUse
      await world.initiate(client)
      for (let i = 0; i < 40; i++) {
        assert.equal(client.sendPlain(echoRequest(IpAddress.parse(HOME_HOST), IpAddress.parse(OFFICE_HOST))), 'protected')
        await world.pass(5 * SECOND)
      }
      // A count that moved says nothing about when, so the first look of all may come to a keepalive too many.
      const early = keepaliveTimes(world).length
      assert.ok(early <= (tellsLastUse ? 0 : 1), `${early} keepalives while ESP flowed`)
      const last = world.clock.now() - 5 * SECOND
      await world.pass(100 * SECOND)
      const times = keepaliveTimes(world).slice(early)
      assert.ok(times.length >= 4)
      const pause = times[0]! - last
      assert.ok(pause <= 20 * SECOND + 1, `the first keepalive is ${pause} ms after the last ESP packet`)
      // Newer kernels tell whole seconds; from a count only the half interval is known in which the last packet left.
      assert.ok(pause >= (tellsLastUse ? 19 : 10) * SECOND, `the first keepalive is ${pause} ms after the last ESP packet`)
      for (const gap of gaps(times)) assert.equal(gap, 20 * SECOND)
    },
  )
}

scenario('ESP that only comes in keeps no mapping alive: keepalives go on', async (world) => {
  const { client, gateway } = behindNat(world)
  await world.initiate(client)
  const udp = {
    source: IpAddress.parse(OFFICE_HOST),
    destination: IpAddress.parse(HOME_HOST),
    protocol: 17,
    sourcePort: 53,
    destinationPort: 53,
    length: 100,
  }
  for (let i = 0; i < 20; i++) {
    assert.equal(gateway.sendPlain(udp), 'protected')
    await world.pass(5 * SECOND)
  }
  assert.ok(keepaliveTimes(world).length >= 4)
})

scenario('while IKE flows out no keepalive is sent', async (world) => {
  // Our side behind the NAT answers a peer that asks every ten seconds.
  const inside = IpAddress.parse('192.168.9.1')
  const nat = world.addNat('port-forward', GATEWAY, {
    forwards: [500, 4500].map((port) => ({ port, to: new Endpoint(inside, port) })),
  })
  const gateway = addGateway(world, {}, { address: '192.168.9.1', behind: nat })
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  peer.port = peer.remotePort = 4500
  await peer.auth()
  assert.equal(gateway.session.sa.nat.here, true)
  for (let messageId = 2; messageId < 12; messageId++) {
    peer.send(peer.protectedRequest(ExchangeType.INFORMATIONAL, messageId, []))
    await world.pass(10 * SECOND)
  }
  assert.equal(keepaliveTimes(world).length, 0)
  await world.pass(15 * SECOND)
  assert.equal(keepaliveTimes(world).length, 1)
})

scenario(
  'edge case 43: a client that slept through its deadline asks for an answer instead of sending a keepalive',
  async (world) => {
    const { client } = behindNat(world, { keepAliveDpdMargin: 10 * SECOND })
    await world.initiate(client)
    await world.pass(60 * SECOND)
    const before = keepaliveTimes(world).length
    client.isAsleep = true
    await world.pass(600 * SECOND)
    client.isAsleep = false
    const mark = world.mark
    await world.pass(SECOND)
    // HDR, SK { }  -->  <--  HDR, SK { }
    assert.deepEqual(world.sent(mark), [
      '192.168.1.7[4500] > 203.0.113.1[4500] INFORMATIONAL request 2',
      '203.0.113.1[4500] > 192.0.2.1[30002] INFORMATIONAL response 2',
    ])
    assert.equal(keepaliveTimes(world).length, before)
    // And keepalives go on afterwards.
    await world.pass(60 * SECOND)
    assert.ok(keepaliveTimes(world).length > before)
  },
)

scenario('without keep_alive_dpd_margin the one that slept sends a keepalive and asks nothing', async (world) => {
  const { client } = behindNat(world)
  await world.initiate(client)
  client.isAsleep = true
  await world.pass(600 * SECOND)
  client.isAsleep = false
  const mark = world.mark
  await world.pass(SECOND)
  assert.deepEqual(world.sent(mark), ['192.168.1.7[4500] > 203.0.113.1[4500] keepalive'])
})

scenario('a probe that is never answered ends the IKE_SA', async (world) => {
  const { client, gateway } = behindNat(world, { keepAliveDpdMargin: 10 * SECOND })
  await world.initiate(client)
  client.isAsleep = true
  await world.pass(600 * SECOND)
  client.isAsleep = false
  const untap = world.network.tap((packet) => (packet.source.address.equals(gateway.address) ? [] : [packet]))
  await world.pass(170 * SECOND)
  untap()
  assert.deepEqual(
    client.eventsOf('ike-closed').map(({ reason }) => reason),
    ['peer-silent'],
  )
  assert.deepEqual([client.sessions().length, client.kernel.states().length], [0, 0])
  // The gateway has no liveness check of its own yet, and keeps its half.
  world.expectsAgreement = false
})

scenario('keepalives stop with their IKE_SA', async (world) => {
  const { client, gateway } = behindNat(world)
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  await world.outcome(gateway.gateway.stop('deleted-by-us'))
  const before = keepaliveTimes(world).length
  await world.pass(100 * SECOND)
  assert.equal(keepaliveTimes(world).length, before)
})

scenario('edge case 45: a keepalive on port 500 is not answered, and told of to who wants to know everything', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  peer.sendBytes(Uint8Array.of(0xff), 500, 500)
  await world.pass(SECOND)
  assert.deepEqual(
    gateway.lines.map(({ level, fields }) => [level, fields['reason']]),
    [['debug', 'keepalive']],
  )
  assert.equal(world.sent().length, 1)
  await peer.init()
})
