/**
 * Signs of life (RFC 7296 2.4), and what becomes of tunnels whose peer gives none: dpd_delay, dpd_action, close_action,
 * keyingtries, retry_initiate_interval.
 */
import assert from 'node:assert/strict'

import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { configuration } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

/** From when a request is sent until it is given up, and a little more. */
const GIVEN_UP = 166 * SECOND

function checks(node: SimulatedNode): number {
  return node.eventsOf('liveness-checked').length
}

/** The machine loses power: nothing is said, and nothing is kept. */
function kill(node: SimulatedNode): void {
  node.boot()
  node.isAsleep = true
}

async function upAgain(world: World, node: SimulatedNode): Promise<void> {
  await world.until(
    () => node.sessions().some(({ sa }) => sa.state === 'established' && sa.children.length > 0),
    `${node.name} is up again`,
  )
}

scenario('a quiet peer is asked every dpd_delay, and no other', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30 })
  await world.initiate(client)
  await world.pass(10 * MINUTE)
  assert.ok(checks(client) >= 19 && checks(client) <= 20, `${checks(client)} checks`)
  assert.equal(checks(gateway), 0)
  assert.equal(client.said('liveness-checked'), 'sending DPD request')
  assert.equal(world.countSent(/INFORMATIONAL request/), checks(client))
})

scenario('whatever the peer says is a sign of life, its own questions too', async (world) => {
  const gateway = addGateway(world, { dpdDelay: 20 })
  const client = addClient(world, { dpdDelay: 30 })
  await world.initiate(client)
  await world.pass(10 * MINUTE)
  assert.ok(checks(gateway) >= 28)
  assert.equal(checks(client), 0)
})

for (const tellsLastUse of [true, false]) {
  const kernel = tellsLastUse ? 'a kernel that tells the last use' : 'one that only counts'
  scenario(`ESP in UDP is a sign of life, with ${kernel}`, async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, { dpdDelay: 30, encap: true })
    client.tellsLastUse = tellsLastUse
    await world.initiate(client)
    for (let i = 0; i < 40; i++) {
      assert.ok(await world.ping(gateway, OFFICE_HOST, HOME_HOST))
      await world.pass(14 * SECOND)
    }
    assert.equal(checks(client), 0)
    await world.pass(5 * MINUTE)
    assert.ok(checks(client) >= 8)
    // What we send ourselves says nothing about the peer.
    kill(gateway)
    const before = client.events.length
    for (let i = 0; i < 30 && client.sessions().length > 0; i++) {
      await world.ping(client, HOME_HOST, OFFICE_HOST)
      await world.pass(14 * SECOND)
    }
    assert.equal(client.sessions().length, 0)
    assert.ok(client.events.slice(before).some(({ event }) => event === 'request-given-up'))
    world.expectsAgreement = false
  })
}

scenario('ESP without UDP takes another way, and is none', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30 })
  await world.initiate(client)
  for (let i = 0; i < 20; i++) {
    assert.ok(await world.ping(gateway, OFFICE_HOST, HOME_HOST))
    await world.pass(14 * SECOND)
  }
  assert.ok(checks(client) >= 8)
})

scenario(
  'a peer that stays silent is given up after all retransmissions, and nothing follows without an action',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, { dpdDelay: 30 })
    await world.initiate(client)
    kill(gateway)
    await world.pass(30 * SECOND + GIVEN_UP)
    assert.equal(client.sessions().length, 0)
    assert.deepEqual(client.kernel.policies(), [])
    assert.equal(client.eventsOf('ike-initiating').length, 1)
    assert.equal(client.eventsOf('ike-closed')[0]?.reason, 'peer-silent')
    world.expectsAgreement = false
  },
)

scenario('a peer that comes back in time loses nothing', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30, dpdAction: 'restart' })
  await world.initiate(client)
  gateway.isAsleep = true
  await world.pass(90 * SECOND)
  gateway.isAsleep = false
  await world.pass(2 * MINUTE)
  assert.equal(client.eventsOf('ike-initiating').length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('dpd_action = restart: everything is made again, however long the peer is away', async (world) => {
  const two = (mine: string, theirs: string): object[] => [
    { name: 'net', local: [`${mine}.0.0/16`], remote: [`${theirs}.0.0/16`], dpdAction: 'restart' },
    { name: 'lab', local: [`${mine}.0.0/17`], remote: ['10.9.0.0/16'], dpdAction: 'restart' },
    { name: 'idle', local: [`${mine}.0.0/18`], remote: ['10.8.0.0/16'] },
  ]
  const gateway = addGateway(world, {
    children: [
      { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
      { name: 'lab', local: ['10.9.0.0/16'], remote: ['10.2.0.0/17'] },
      { name: 'idle', local: ['10.8.0.0/16'], remote: ['10.2.0.0/18'] },
    ],
  })
  const client = addClient(world, { dpdDelay: 30, keyingTries: 0, children: two('10.2', '10.1') })
  await world.initiate(client)
  for (const child of ['lab', 'idle'])
    await world.outcome(
      client.gateway.control.initiate({ ike: 'home', child }, { patience: 'for-ever', limits: false }, () => undefined),
    )
  assert.equal(client.session.sa.children.length, 3)
  kill(gateway)
  await world.pass(20 * MINUTE)
  assert.equal(client.sessions().length, 1)
  assert.equal(client.session.sa.state, 'connecting')
  assert.equal(client.said('child-restarting'), 'restarting CHILD_SA lab')
  gateway.isAsleep = false
  await upAgain(world, client)
  await world.pass(MINUTE)
  assert.deepEqual(client.session.sa.children.map(({ connection }) => connection.name).toSorted(), ['lab', 'net'])
  assert.ok(await flows(world, client, gateway))
})

scenario('dpd_action = trap: the next packet makes it again', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30, dpdAction: 'trap' })
  await world.initiate(client)
  kill(gateway)
  await world.until(() => client.sessions().length === 0, 'the peer is given up')
  await world.pass(SECOND)
  assert.deepEqual(
    client.kernel.policies().map(({ direction, template }) => [direction, template?.spi]),
    [
      ['in', 0],
      ['fwd', 0],
      ['out', 0],
    ],
  )
  gateway.isAsleep = false
  await world.pass(MINUTE)
  assert.equal(client.sessions().length, 0)
  assert.equal(await world.ping(client, HOME_HOST, OFFICE_HOST), false)
  await upAgain(world, client)
  assert.ok(await flows(world, client, gateway))
})

scenario('the packets of a trap find out that the peer is gone, and then that it is back', async (world) => {
  const gateway = addGateway(world, {
    children: [
      { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
      { name: 'lab', local: ['10.9.0.0/16'], remote: ['10.2.0.0/16'] },
    ],
  })
  const client = addClient(world, {
    children: [
      { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], start: true },
      { name: 'lab', local: ['10.2.0.0/16'], remote: ['10.9.0.0/16'], trap: true },
    ],
  })
  client.gateway.start()
  await world.pass(5 * SECOND)
  // No liveness checks here: the peer comes back without its IKE_SAs, and answers nothing of the old one.
  kill(gateway)
  await world.pass(MINUTE)
  gateway.isAsleep = false
  await world.ping(client, HOME_HOST, '10.9.0.1')
  await world.until(
    () => client.sessions().some(({ sa }) => sa.children.some(({ connection }) => connection.name === 'lab')),
    'the packet gets its tunnel',
  )
  assert.equal(client.sessions().length, 1)
})

scenario('close_action = trap: what the peer closes waits for the next packet', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { closeAction: 'trap' })
  await world.initiate(client)
  const close = async (): Promise<void> => {
    const termination = gateway.gateway.control.terminate(
      { ike: null, ikeId: null, child: 'net', childId: null },
      { patience: 'for-ever', force: false },
    )
    assert.equal(await world.outcome(termination.carryOut()), 1)
    await world.pass(5 * SECOND)
  }
  await close()
  assert.equal(client.session.sa.children.length, 0)
  assert.equal(client.kernel.policies().length, 3)
  assert.equal(await world.ping(client, HOME_HOST, OFFICE_HOST), false)
  await world.pass(5 * SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario(
  'close_action = start: made again in the same IKE_SA, and in another when the peer deletes the IKE_SA',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, { closeAction: 'trap|start' })
    await world.initiate(client)
    const terminate = async (filter: { ike: string | null; child: string | null }): Promise<void> => {
      const termination = gateway.gateway.control.terminate(
        { ...filter, ikeId: null, childId: null },
        { patience: 'for-ever', force: false },
      )
      assert.equal(await world.outcome(termination.carryOut()), 1)
      await world.pass(5 * SECOND)
    }
    await terminate({ ike: null, child: 'net' })
    assert.equal(client.session.sa.uniqueId, 1)
    assert.deepEqual(
      client.session.sa.children.map(({ uniqueId }) => uniqueId),
      [2],
    )
    await terminate({ ike: 'home', child: null })
    assert.equal(client.session.sa.uniqueId, 2)
    assert.ok(await flows(world, client, gateway))
    // What we close ourselves stays closed, but for its trap.
    const termination = client.gateway.control.terminate(
      { ike: 'home', ikeId: null, child: null, childId: null },
      { patience: 'for-ever', force: false },
    )
    await world.outcome(termination.carryOut())
    await world.pass(MINUTE)
    assert.equal(client.sessions().length, 0)
    assert.equal(client.kernel.policies().length, 3)
  },
)

scenario('what was unloaded meanwhile is not made again', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30, dpdAction: 'trap|start' })
  await world.initiate(client)
  client.gateway.reload(configuration([]))
  kill(gateway)
  await world.pass(30 * SECOND + GIVEN_UP)
  assert.equal(client.sessions().length, 0)
  assert.deepEqual(client.kernel.policies(), [])
  world.expectsAgreement = false
})

scenario('both sides restart: they end with one tunnel that carries', async (world) => {
  const gateway = addGateway(world, { dpdDelay: 30, dpdAction: 'restart', remoteAddresses: ['198.51.100.7'], keyingTries: 0 })
  const client = addClient(world, { dpdDelay: 30, dpdAction: 'restart', keyingTries: 0 })
  await world.initiate(client)
  client.link.loss = 1
  await world.pass(10 * MINUTE)
  client.link.loss = 0
  await upAgain(world, client)
  await world.pass(10 * MINUTE)
  assert.ok(await flows(world, client, gateway))
})

scenarioOverSeeds('over a bad wire with reboots a restarted tunnel always comes back', 6, async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { dpdDelay: 30, dpdAction: 'restart', closeAction: 'start', keyingTries: 0, start: true })
  client.link.loss = 0.1
  client.gateway.start()
  await upAgain(world, client)
  for (let i = 0; i < 3; i++) {
    gateway.boot()
    await world.pass(8 * MINUTE)
    await upAgain(world, client)
  }
  client.link.loss = 0
  await world.pass(2 * MINUTE)
  assert.equal(client.sessions().length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('a name without an address is asked for again, and a start that is undone is not', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(
    world,
    { start: true, remoteAddresses: ['gate.example'] },
    { settings: { retryInitiateInterval: 30 * SECOND } },
  )
  client.gateway.start()
  await world.pass(5 * MINUTE)
  assert.equal(client.eventsOf('initiating-later').length, 11)
  assert.match(client.said('initiating-later'), /host name has none, retrying in 30s$/)
  client.gateway.reload(configuration([], { retryInitiateInterval: 30 * SECOND }))
  await world.pass(5 * MINUTE)
  assert.equal(client.eventsOf('initiating-later').length, 11)
  client.gateway.reload(
    configuration([{ ...CLIENT_WORDS, remoteAddresses: ['gate.example'], start: true }], { retryInitiateInterval: 30 * SECOND }),
  )
  await world.pass(10 * SECOND)
  world.network.names.set('gate.example', [IpAddress.parse(GATEWAY)])
  await world.pass(40 * SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('a name that is forgotten between two tries leads where it led before', async (world) => {
  const gateway = addGateway(world)
  world.network.names.set('gate.example', [IpAddress.parse(GATEWAY)])
  const client = addClient(world, { remoteAddresses: ['gate.example'], keyingTries: 0 })
  gateway.isAsleep = true
  const initiation = client.gateway.initiate('home', 'net')
  await world.pass(MINUTE)
  world.network.names.delete('gate.example')
  await world.pass(4 * MINUTE)
  gateway.isAsleep = false
  await world.outcome(initiation)
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

const CLIENT_WORDS = {
  remoteAddresses: [GATEWAY],
  localId: 'client@example.org',
  remoteId: 'gateway.example.org',
  local: ['10.2.0.0/16'],
  remote: ['10.1.0.0/16'],
}
