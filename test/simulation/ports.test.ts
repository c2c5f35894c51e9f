/** Ports other than 500 and 4500, at either end, and whether they last: `charon.port`, `charon.port_nat_t`, `remote_port`. */
import assert from 'node:assert/strict'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

const CUSTOM = { port: 2500, portNatT: 24_500 }

/** Drops what goes to or comes from the well-known ports of the gateway, as a firewall that knows only one other. */
function blockWellKnown(world: World): void {
  world.network.tap((packet) =>
    [packet.source, packet.destination].some(
      ({ address, port }) => address.toString() === GATEWAY && (port === 500 || port === 4500 || port === CUSTOM.port),
    )
      ? []
      : [packet],
  )
}

/** Ports of the gateway that any datagram went to or came from. */
function gatewayPorts(world: World): readonly number[] {
  const ports = world.network.trace
    .filter(({ fate, packet }) => fate === 'sent' && packet.protocol === 'udp')
    .flatMap(({ packet }) => [packet.source, packet.destination])
    .filter(({ address }) => address.toString() === GATEWAY)
    .map(({ port }) => port)
  return [...new Set(ports)].toSorted((a, b) => a - b)
}

function rekey(side: SimulatedNode, what: { readonly ike?: string; readonly child?: string }, reauthenticate = false): void {
  const filter = { ike: what.ike ?? null, ikeId: null, child: what.child ?? null, childId: null }
  assert.equal(side.gateway.control.rekey(filter, reauthenticate), 1)
}

/** Does it, and waits until the event that is to follow did, and what is over is gone. */
async function happens(world: World, side: SimulatedNode, event: IkeEvent['event'], act: () => void): Promise<void> {
  const before = side.eventsOf(event).length
  act()
  await world.until(() => side.eventsOf(event).length > before, `${event} at the ${side.name}`)
  await world.pass(10 * SECOND)
}

async function assertFlows(world: World, client: SimulatedNode, gateway: SimulatedNode, when: string): Promise<void> {
  assert.ok(await flows(world, client, gateway), when)
}

for (const isBehindNat of [true, false]) {
  scenario(
    `a gateway that is reached on one custom port only, ${isBehindNat ? 'from behind a NAT' : 'without a NAT, ESP bare'}: rekeys, DPD, reauthentication, and anew after a loss`,
    async (world) => {
      blockWellKnown(world)
      const gateway = addGateway(world, { dpdDelay: 30 }, { settings: CUSTOM })
      const nat = isBehindNat ? world.addNat('router', '192.0.2.1') : null
      const client = addClient(
        world,
        { remotePort: CUSTOM.portNatT, dpdDelay: 30, dpdAction: 'start', keyingTries: 0 },
        { behind: nat },
      )
      await world.initiate(client)
      await assertFlows(world, client, gateway, 'at first')
      assert.equal(gateway.kernel.states()[0]!.encapsulation !== null, isBehindNat)

      // Rekeys of both kinds by both sides, each on the endpoints there are.
      for (const side of [client, gateway]) {
        await happens(world, side, 'ike-rekeyed', () => rekey(side, { ike: 'home' }))
        await happens(world, side, 'child-rekeyed', () => rekey(side, { child: 'net' }))
        await assertFlows(world, client, gateway, `after rekeys by the ${side.name}`)
      }

      const before = world.countSent(/INFORMATIONAL request/)
      await world.pass(70 * SECOND)
      assert.ok(world.countSent(/INFORMATIONAL request/) > before, 'somebody has asked whether the other is there')

      for (const side of [client, gateway]) {
        await happens(world, side, 'ike-established', () => rekey(side, { ike: 'home' }, true))
        await assertFlows(world, client, gateway, `after reauthentication by the ${side.name}`)
      }

      // The gateway restarts without a word; whoever comes back comes to the same port.
      gateway.boot()
      await world.until(
        () => gateway.sessions().some(({ sa }) => sa.state === 'established'),
        'the client comes back',
        600 * SECOND,
      )
      await world.pass(SECOND)
      await assertFlows(world, client, gateway, 'after the gateway was lost')
      assert.deepEqual(gatewayPorts(world), [CUSTOM.portNatT])
    },
  )
}

scenario('ports of their own at both ends, each told the other’s: it works, with a NAT before either too', async (world) => {
  const theirs = { port: 3500, portNatT: 34_500 }
  const inside = IpAddress.parse('192.168.9.1')
  const forward = world.addNat('port-forward', GATEWAY, {
    forwards: [{ port: CUSTOM.portNatT, to: new Endpoint(inside, CUSTOM.portNatT) }],
  })
  const gateway = addGateway(world, {}, { address: '192.168.9.1', behind: forward, settings: CUSTOM })
  const nat = world.addNat('router', '192.0.2.1')
  const client = addClient(world, { localPort: theirs.port, remotePort: CUSTOM.portNatT }, { behind: nat, settings: theirs })
  await world.initiate(client)
  assert.equal(client.session.sa.local.port, theirs.portNatT)
  assert.deepEqual(
    [client, gateway].map(({ session: { sa } }) => [sa.nat.here, sa.nat.there]),
    [
      [true, true],
      [true, true],
    ],
  )
  await assertFlows(world, client, gateway, 'both ways')
})

scenario(
  'our own ports may be any while the peer has the well-known ones: 500 is left for 4500, and ours for ours',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, { localPort: 41_000 }, { settings: { port: 41_000, portNatT: 42_000 } })
    await world.initiate(client)
    assert.deepEqual(world.sent(), [
      '198.51.100.7[41000] > 203.0.113.1[500] IKE_SA_INIT request 0',
      '203.0.113.1[500] > 198.51.100.7[41000] IKE_SA_INIT response 0',
      '198.51.100.7[42000] > 203.0.113.1[4500] IKE_AUTH request 1',
      '203.0.113.1[4500] > 198.51.100.7[42000] IKE_AUTH response 1',
    ])
    await assertFlows(world, client, gateway, 'both ways')
  },
)

scenario('a keepalive that comes to another port than that of NAT-T changes nothing, and the log has it', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  const [source, destination] = [new Endpoint(client.address, 500), new Endpoint(gateway.address, 500)]
  gateway.receive({ protocol: 'udp', source, destination, bytes: Uint8Array.of(0xff), esp: null })
  await world.pass(SECOND)
  assert.match(gateway.said('datagram-dropped'), /^received keep alive from 198\.51\.100\.7 - ignored/)
  await assertFlows(world, client, gateway, 'both ways')
})

scenario('a peer that was told the wrong one of our ports: the log says which is the right one', async (world) => {
  const gateway = addGateway(world, {}, { settings: CUSTOM })
  const client = addClient(world, { remotePort: CUSTOM.port })
  client.gateway.initiate('home', 'net').catch(() => undefined)
  await world.pass(SECOND)
  assert.deepEqual(
    gateway.eventsOf('datagram-dropped').map(({ reason }) => reason),
    ['marker-on-ike-port'],
  )
  assert.match(
    gateway.said('datagram-dropped'),
    /^received IKE message with non-ESP marker from 198\.51\.100\.7 on our IKE port - ignored: the peer's remote_port has to be our charon\.port_nat_t, not charon\.port$/,
  )
})

scenario('edge case 16: IKE of an IKE_SA is taken in on either socket at any time, also in turns', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  peer.port = peer.remotePort = 4500
  await peer.auth()
  for (const [i, port] of [500, 4500, 500, 500, 4500].entries()) {
    peer.port = peer.remotePort = port
    peer.send(peer.protectedRequest(37, 2 + i, []))
    assert.deepEqual(peer.open(await peer.answer()), [])
    assert.equal(peer.received.at(-1)!.source.toString(), `${GATEWAY}[${port}]`)
  }
  assert.equal(gateway.session.sa.remote.toString(), `${CLIENT}[4500]`)
})

scenario('edge case 15: a new IKE_SA may begin on either socket while another stands', async (world) => {
  const gateway = addGateway(world)
  for (const [i, port] of [500, 4500, 500].entries()) {
    const peer = new Stranger(world, `198.51.100.${20 + i}`, GATEWAY)
    peer.port = port === 500 ? 500 : 14_500
    peer.remotePort = port
    await peer.init()
    await peer.auth()
  }
  assert.equal(gateway.sessions().filter(({ sa }) => sa.state === 'established').length, 3)
})
