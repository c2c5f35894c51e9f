/** A kernel that refuses: whatever it refuses and whenever, both ends come to the same and nothing is left behind. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { ERRNO } from '../../src/kernel/refusals.ts'
import type { Operation } from '../../src/kernel/vocabulary.ts'
import { addClient, addGateway, flows } from './places.ts'
import { scenario, scenarioOverSeeds } from './world.ts'

/** Refuses the `n`-th operation (0 = first) that `is` says. */
function refusing(is: (operation: Operation) => boolean, n = 0): (operation: Operation) => number | null {
  let seen = 0
  return (operation) => (is(operation) && seen++ === n ? ERRNO.ENOMEM : null)
}

const REFUSALS: readonly { readonly title: string; readonly refuse: () => (operation: Operation) => number | null }[] = [
  {
    title: 'the inbound state',
    refuse: () => refusing((operation) => operation.op === 'add-state' && operation.state.direction === 'in'),
  },
  {
    title: 'the outbound state',
    refuse: () => refusing((operation) => operation.op === 'add-state' && operation.state.direction === 'out'),
  },
  { title: 'the first policy', refuse: () => refusing((operation) => operation.op === 'set-policy') },
  { title: 'the last policy', refuse: () => refusing((operation) => operation.op === 'set-policy', 2) },
]

for (const { title, refuse } of REFUSALS) {
  scenario(`the responder’s kernel refuses ${title}: no CHILD_SA at either, the IKE_SA stands`, async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    gateway.refuse = refuse()
    await world.initiate(client)
    // <--  HDR, SK { IDr, AUTH, N(NO_ADDITIONAL_SAS) }
    assert.equal(client.eventsOf('child-failed')[0]!.error.code, 'PEER_SAID_NO_ADDITIONAL_SAS')
    assert.match(gateway.said('child-failed'), /the kernel refused to .*ENOMEM/)
    for (const node of [client, gateway]) {
      assert.equal(node.session.sa.state, 'established')
      assert.deepEqual([node.kernel.states().length, node.kernel.policies().length, node.kernel.reservations().length], [0, 0, 0])
    }
  })

  scenario(`the initiator’s kernel refuses ${title}: the responder is told to let go, the IKE_SA stands`, async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    client.refuse = refuse()
    await world.initiate(client)
    // HDR, SK { D(ESP, SPI) }  -->  <--  HDR, SK { D(ESP, SPI) }
    assert.equal(world.countSent('INFORMATIONAL request 2'), 1)
    assert.equal(client.eventsOf('child-failed')[0]!.error.accused, 'kernel')
    for (const node of [client, gateway]) {
      assert.equal(node.session.sa.state, 'established')
      assert.deepEqual(
        [
          node.session.sa.children.length,
          node.kernel.states().length,
          node.kernel.policies().length,
          node.kernel.reservations().length,
        ],
        [0, 0, 0, 0],
      )
    }
  })
}

scenario(
  'the initiator’s kernel has no SPI: the initiation fails and says so, the responder lets go in its time',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    client.refuse = refusing(({ op }) => op === 'allocate-spi')
    const failure = await world.failure(client.gateway.initiate('home', 'net'))
    assert.match(failure.message, /the kernel refused to allocate an SPI for ESP from 203\.0\.113\.1 to 198\.51\.100\.7: ENOMEM/)
    assert.equal(client.sessions().length, 0)
    await world.pass(31 * SECOND)
    assert.equal(gateway.sessions().length, 0)
  },
)

scenario('the responder’s kernel has no SPI: no CHILD_SA, the IKE_SA stands', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  gateway.refuse = refusing(({ op }) => op === 'allocate-spi')
  await world.initiate(client)
  assert.equal(client.eventsOf('child-failed')[0]!.error.code, 'PEER_SAID_NO_ADDITIONAL_SAS')
  assert.equal(gateway.session.sa.state, 'established')
})

for (const op of ['delete-state', 'delete-policy'] as const) {
  scenario(`a kernel that refuses ${op} at the end is reported, and asked again at shutdown`, async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    await world.initiate(client)
    gateway.refuse = refusing((operation) => operation.op === op)
    await world.outcome(client.gateway.stop('shutdown'))
    await world.pass(SECOND)
    assert.equal(gateway.eventsOf('kernel-refused').length, 1)
    assert.equal(gateway.sessions().length, 0)
    assert.equal(gateway.gateway.books.installed.leftovers, 1)
    // world.end finds it gone. Until then one kernel has what the other has not.
    world.expectsAgreement = false
  })
}

scenario('a kernel that does not take a reserved SPI back costs nothing but the SPI', async (world) => {
  const gateway = addGateway(world, { local: ['172.16.0.0/16'] })
  const client = addClient(world)
  client.refuse = refusing(({ op }) => op === 'delete-state')
  // <--  HDR, SK { IDr, AUTH, N(TS_UNACCEPTABLE) }
  await world.initiate(client)
  assert.equal(client.eventsOf('child-failed')[0]!.error.code, 'PEER_SAID_TS_UNACCEPTABLE')
  assert.equal(client.eventsOf('kernel-refused').length, 1)
  for (const node of [client, gateway]) assert.equal(node.session.sa.state, 'established')
})

scenario('a kernel that cannot tell about its states does not stop keepalives', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  client.refuse = ({ op }) => (op === 'query-state' ? ERRNO.ENOBUFS : null)
  await world.pass(100 * SECOND)
  assert.ok(gateway.keepalivesReceived >= 4)
  assert.equal(client.session.sa.state, 'established')
  assert.ok(await flows(world, client, gateway))
})

scenario('states that vanished from the kernel are no mistake when they are deleted', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  for (const { spi, source, destination } of gateway.kernel.states()) {
    const [outcome] = await gateway.kernel.perform([{ op: 'delete-state', id: { spi, source, destination } }])
    assert.equal(outcome!.kind, 'done')
  }
  // The books do not know it yet, which is what this is about.
  world.checksBooks = false
  await world.outcome(client.gateway.stop('shutdown'))
  await world.pass(SECOND)
  assert.equal(gateway.eventsOf('kernel-refused').length, 0)
  world.checksBooks = true
})

for (const refused of ['add-state', 'set-policy'] as const) {
  scenario(
    `the kernel refuses ${refused} for what a replaced CHILD_SA leaves to its successor: that is tried again`,
    async (world) => {
      const gateway = addGateway(world)
      const client = addClient(world)
      await world.initiate(client)
      const [old] = client.session.sa.children
      gateway.refuse = (operation) => {
        const isOutward = operation.op === 'add-state' && operation.state.direction === 'out'
        // With nothing in force already.
        const isLast = refused === 'set-policy' && operation.op === 'set-policy' && operation.policy.direction === 'out'
        return isOutward || isLast ? ERRNO.ENOBUFS : null
      }
      await world.outcome(client.session.runExchange((session) => rekeyChild(session, old!), 'rekey-child'))
      await world.pass(10 * SECOND)
      assert.equal(gateway.session.sa.children.length, 1)
      if (refused === 'set-policy') {
        const refuse = gateway.refuse
        gateway.refuse = (operation) => (operation.op === 'set-policy' ? refuse(operation) : null)
        await world.pass(MINUTE)
        assert.ok(gateway.eventsOf('kernel-refused').length > 1)
      }
      assert.ok(!(await flows(world, client, gateway)))
      gateway.refuse = null
      await world.pass(MINUTE)
      assert.ok(await flows(world, client, gateway))
    },
  )
}

scenarioOverSeeds('a kernel that refuses now and then, with a slow hand, leaves both ends consistent', 60, async (world) => {
  const dice = world.entropyFor('refusals')
  world.kernelLatency = 30
  const gateway = addGateway(world)
  const client = addClient(world)
  const node = dice.chance(0.5) ? gateway : client
  node.refuse = ({ op }) => (op !== 'delete-state' && op !== 'delete-policy' && dice.chance(0.25) ? ERRNO.ENOBUFS : null)
  for (let i = 0; i < 3; i++) {
    const pending = client.gateway.initiate('home', 'net')
    await world.outcome(
      pending.then(
        () => undefined,
        () => undefined,
      ),
    )
    await world.pass(dice.below(3) * SECOND)
  }
  node.refuse = null
  await world.pass(60 * SECOND)
})
