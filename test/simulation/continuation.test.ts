/**
 * A program that takes the place of another: in the orderly way, when everything goes on; and after the other was killed,
 * when its tunnels carry packets until others take their place.
 */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { probe } from '../../src/ike/liveness.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { SimulatedNode } from './node.ts'
import { summaryOf } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, HOME_HOST, OFFICE_HOST } from './places.ts'
import { scenario, type World } from './world.ts'

const TWO_CHILDREN = [
  { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] },
  { name: 'lab', local: ['10.2.0.0/16'], remote: ['10.3.0.0/16'] },
]

/** Whether a packet of each side arrives while nobody is there to key anything. */
async function carries(world: World, client: SimulatedNode, gateway: SimulatedNode): Promise<boolean> {
  return (await world.ping(client, HOME_HOST, OFFICE_HOST)) && (await world.ping(gateway, OFFICE_HOST, HOME_HOST))
}

const spisOf = (node: SimulatedNode): readonly number[] =>
  node.kernel
    .states()
    .map(({ spi }) => spi)
    .toSorted((a, b) => a - b)

scenario(
  'edge case 55: a daemon that another one takes over from: no SA changes, message IDs go on, rekeying works after it',
  async (world) => {
    const gateway = addGateway(world)
    const nat = world.addNat('router', '192.0.2.1')
    const client = addClient(world, { dpdDelay: 30 }, { behind: nat })
    await world.initiate(client)
    for (const node of [gateway, client]) {
      const [before, mark, sequence] = [spisOf(node), world.mark, node.kernel.states().map(({ spi }) => spi)]
      assert.ok(sequence.length > 0)
      await world.outcome(node.takeOver())
      assert.deepEqual(world.sent(mark), [], 'nothing is said about it')
      assert.deepEqual(spisOf(node), before)
      assert.ok(await carries(world, client, gateway))
      assert.equal(node.session.sa.state, 'established')
      assert.equal(node.session.sa.remoteId === null, false)
    }
    // Liveness checks, rekeys of both kinds from either side: all with the next message IDs.
    await world.pass(2 * MINUTE)
    for (const node of [gateway, client]) {
      node.gateway.control.rekey({ ike: 'home', ikeId: null, child: null, childId: null }, false)
      await world.pass(10 * SECOND)
      node.gateway.control.rekey({ ike: null, ikeId: null, child: 'net', childId: null }, false)
      await world.pass(10 * SECOND)
    }
    assert.deepEqual([client.eventsOf('ike-rekeyed').length, client.eventsOf('child-rekeyed').length], [2, 2])
    assert.deepEqual([client.sessions().length, gateway.sessions().length], [1, 1])
    assert.ok(await flows(world, client, gateway))
    assert.equal(world.countSent('retransmi'), 0)
  },
)

scenario(
  'a request that was answered before is answered again by the program that took over, in the same words',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    await world.initiate(client)
    const answers: Uint8Array[] = []
    world.network.tap((packet) => {
      if (!packet.source.address.equals(gateway.address) || packet.esp !== null) return [packet]
      answers.push(packet.bytes)
      return answers.length === 1 ? [] : [packet]
    })
    void client.session.runExchange(probe)
    await world.pass(SECOND)
    await world.outcome(gateway.takeOver())
    await world.pass(10 * SECOND)
    assert.equal(answers.length, 2)
    assert.deepEqual(answers[1], answers[0])
    assert.equal(client.session.sa.state, 'established')
    assert.ok(await flows(world, client, gateway))
  },
)

scenario('a CHILD_SA that the peer has no time for is asked for again by the program that took over', async (world) => {
  const gateway = addGateway(world, {
    children: TWO_CHILDREN.map(({ name, local, remote }) => ({ name, local: remote, remote: local })),
  })
  const client = addClient(world, { children: TWO_CHILDREN })
  await world.initiate(client)
  const heal = world.network.tap((packet) =>
    packet.source.address.equals(gateway.address) && summaryOf(packet) === 'CREATE_CHILD_SA request 0' ? [] : [packet],
  )
  const rekeyed = gateway.session.runExchange(rekeyIkeSa, 'rekey-ike')
  const filter = { ike: 'home', child: 'lab' }
  void client.gateway.control.initiate(filter, { patience: 'not-at-all', limits: false }, () => undefined)
  await world.until(() => client.eventsOf('child-failed').length > 0, 'the gateway has no time')
  await world.outcome(client.takeOver())
  heal()
  await world.outcome(rekeyed)
  await world.pass(MINUTE)
  for (const node of [client, gateway])
    assert.deepEqual(
      node.session.sa.children.map(({ connection }) => connection.name),
      ['net', 'lab'],
    )
})

scenario('what does not rest in time is deleted with the peer, and leaves nothing behind', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  gateway.isAsleep = true
  world.expectsAgreement = false
  client.gateway.control.rekey({ ike: null, ikeId: null, child: 'net', childId: null }, false)
  await world.pass(SECOND)
  await world.outcome(client.takeOver())
  assert.deepEqual([client.sessions(), client.kernel.states(), client.kernel.policies()], [[], [], []])
  gateway.isAsleep = false
})

scenario(
  'edge case 56: a daemon that is killed: packets go on both ways, and what comes in its place is made without a gap',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, { start: true })
    client.gateway.start()
    await world.pass(SECOND)
    const before = spisOf(client)
    world.checksBooks = false
    client.isAsleep = true
    await world.pass(30 * SECOND)
    client.isAsleep = false
    client.kill()
    assert.ok(await carries(world, client, gateway), 'with what the kernel has')
    await world.pass(SECOND)
    world.checksBooks = true
    assert.deepEqual([client.sessions().length, gateway.sessions().length], [1, 1], 'INITIAL_CONTACT')
    assert.ok(await flows(world, client, gateway))
    assert.equal(client.kernel.states().length, 2)
    assert.ok(spisOf(client).every((spi) => !before.includes(spi)))
  },
)

scenario(
  'after the daemon was killed that is called by others, what it had goes on for three minutes, and is gone then',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    await world.initiate(client)
    world.checksBooks = false
    gateway.kill()
    assert.ok(await carries(world, client, gateway))
    await world.pass(2 * MINUTE)
    assert.ok(await carries(world, client, gateway))
    await world.pass(2 * MINUTE)
    assert.deepEqual([gateway.kernel.states(), gateway.kernel.policies()], [[], []])
    // The client finds out by its own means.
    client.boot()
    await world.initiate(client)
    world.checksBooks = true
    assert.ok(await flows(world, client, gateway))
    assert.equal(client.address.toString(), CLIENT)
  },
)

scenario('a connection that is not configured any more does not go on; the kernel is rid of it', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  world.expectsAgreement = false
  const left = await world.outcome(client.gateway.leave(SECOND))
  client.configuration = { ...client.configuration, connections: [] }
  assert.equal(left.sessions.length, 1)
  world.checksBooks = false
  await world.outcome(client.continue(left, 1))
  await world.pass(MINUTE)
  world.checksBooks = true
  assert.deepEqual([client.sessions(), client.kernel.states(), client.kernel.policies()], [[], [], []])
  assert.equal(gateway.sessions().length, 1)
})
