/** Peers that a NAT moves in mid-life (BEHAVIOUR 2.3): followed, with all their CHILD_SAs, and nobody else is. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import type { Nat, NatOptions } from './nat.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows, HOME_HOST, OFFICE_HOST } from './places.ts'
import { packet, standing } from './standing.ts'
import { scenario, type World } from './world.ts'

interface Scene {
  readonly client: SimulatedNode
  readonly gateway: SimulatedNode
  readonly nat: Nat
}

async function behindNat(world: World, options: NatOptions = {}): Promise<Scene> {
  const nat = world.addNat('router', '192.0.2.1', options)
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  return { client, gateway, nat }
}

/** Where the gateway has its peer: in the IKE_SA, in its states. */
function places(gateway: SimulatedNode): readonly string[] {
  const ports = gateway.kernel.states().map(({ direction, source, destination, encapsulation }) => {
    assert.ok(encapsulation !== null)
    return direction === 'in'
      ? `${source.toString()}[${encapsulation.sourcePort}]`
      : `${destination.toString()}[${encapsulation.destinationPort}]`
  })
  return [...new Set([standing(gateway).sa.remote.toString(), ...ports])]
}

scenario('edge case 27: ESP from a new port while IKE is idle: states and IKE_SA follow, in place', async (world) => {
  const { client, gateway, nat } = await behindNat(world)
  assert.deepEqual(places(gateway), ['192.0.2.1[30001]'])
  const [before] = [gateway.kernel.states()]
  nat.flush()
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  assert.deepEqual(places(gateway), ['192.0.2.1[30002]'])
  assert.deepEqual(
    gateway.kernel.states().map(({ spi }) => spi),
    before.map(({ spi }) => spi),
  )
  assert.ok(await flows(world, client, gateway))
  assert.equal(gateway.said('endpoints-moved'), 'remote endpoint changed from 192.0.2.1[30001] to 192.0.2.1[30002]')
  assert.equal(standing(gateway).sa.path.moveCount, 1)
})
