/** What a connection wants of NATs, ours alone: none at all (`nat = refuse`), or one that is none (`public_addrs`). */
import assert from 'node:assert/strict'

import { IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import type { NatFacts } from '../../src/nat/detection.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
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
