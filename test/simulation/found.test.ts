/**
 * What the days of day/ and harsher plans found (docs/simulation.md), each as the few messages that it takes. The seeds
 * themselves say something else as soon as the dice of a day fall in another order.
 */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { deleteChildSa, deleteIkeSa, endLife } from '../../src/ike/delete.ts'
import { probe } from '../../src/ike/liveness.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { Session } from '../../src/ike/session.ts'
import type { ChildWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { summaryOf, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, HOME_HOST, OFFICE_HOST } from './places.ts'
import { assertOne, current, packet, standing, type Both } from './standing.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

async function tunnel(world: World, words: Parameters<typeof addClient>[1] = {}): Promise<Both> {
  const gateway = addGateway(world)
  const client = addClient(world, words)
  await world.initiate(client)
  return { client, gateway }
}

/** Loses what `isLost` says of what one side sends, until the returned function is called. */
function losing(world: World, from: Both[keyof Both], isLost: (summary: string) => boolean): () => void {
  const isFrom = (packet: Packet): boolean => packet.source.address.equals(from.address)
  return world.network.tap((packet) => (isFrom(packet) && isLost(summaryOf(packet)) ? [] : [packet]))
}

scenario('what is asked for twice in one IKE_SA is made once', async (world) => {
  const both = await tunnel(world)
  const session = standing(both.client)
  const { connection } = current(both.client)
  const made = await world.outcome(Promise.all([addChild(session, connection), addChild(session, connection)]))
  assert.deepEqual(made, [current(both.client), current(both.client)])
  assert.match(both.client.said('child-duplicate'), /^not establishing CHILD_SA net due to existing duplicate \{1\} with SPIs /)
  await assertOne(world, both)
})

for (const how of ['terminated', 'stopped'] as const) {
  scenario(`an IKE_SA is ${how} while it is being rekeyed: its peer hears of it, and nothing breaks`, async (world) => {
    const { client, gateway } = await tunnel(world)
    const rekeyed = standing(client).runExchange(rekeyIkeSa, 'rekey-ike')
    await world.until(() => client.sessions().length === 2, 'the new IKE_SA is in the making')
    const filter = { ike: 'home', ikeId: null, child: null, childId: null }
    const ended =
      how === 'stopped'
        ? client.gateway.stop('shutdown')
        : client.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut()
    await world.outcome(Promise.all([rekeyed, ended]))
    await world.pass(SECOND)
    assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
  })
}

scenario('both rekey the IKE_SA, and one is given up: what it made for the other goes with it', async (world) => {
  const { client, gateway } = await tunnel(world)
  const heals = [
    losing(world, gateway, (summary) => summary.startsWith('CREATE_CHILD_SA')),
    losing(world, client, (summary) => summary === 'CREATE_CHILD_SA response 0'),
  ]
  const rekeyed = Promise.all([client, gateway].map((node) => standing(node).runExchange(rekeyIkeSa, 'rekey-ike')))
  await world.outcome(rekeyed)
  for (const heal of heals) heal()
  await world.pass(5 * MINUTE)
  assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
})

scenario('both reauthenticate, the second before it hears that the first has done so: one tunnel stays', async (world) => {
  const both = await tunnel(world)
  reauthenticate(standing(both.client))
  const old = standing(both.gateway)
  await world.until(() => both.client.eventsOf('ike-established').length === 2, 'the new IKE_SA stands')
  assert.equal(old.sa.state, 'established')
  reauthenticate(old)
  await world.pass(MINUTE)
  await assertOne(world, both)
})

scenario(
  'a reauthentication whose delete is lost leaves the old IKE_SA to DPD: its CHILD_SA is up, and not made again',
  async (world) => {
    const both = await tunnel(world, { dpdDelay: 30, dpdAction: 'start' })
    const heal = losing(world, both.gateway, (summary) => summary.startsWith('INFORMATIONAL request'))
    reauthenticate(standing(both.gateway))
    await world.pass(3 * MINUTE)
    heal()
    await world.pass(10 * MINUTE)
    await assertOne(world, both)
    assert.equal(both.client.eventsOf('child-restarting').length, 0)
  },
)

scenario(
  'a CHILD_SA that the peer made anew before it deleted the old one is not made a third time by close_action',
  async (world) => {
    const both = await tunnel(world, { closeAction: 'start' })
    const { spi, source, destination, reqid } = both.gateway.kernel.states()[0]!
    both.gateway.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
    await world.pass(MINUTE)
    await assertOne(world, both)
    assert.ok(await flows(world, both.client, both.gateway))
  },
)

scenario(
  'one side makes a CHILD_SA anew that its kernel threw away, while the other rekeys it: one of the two stays',
  async (world) => {
    const both = await tunnel(world)
    const { spi, source, destination, reqid } = both.client.kernel.states()[0]!
    const heal = losing(world, both.gateway, (summary) => summary === 'CREATE_CHILD_SA response 2')
    both.client.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
    await world.pass(SECOND)
    const old = standing(both.gateway).sa.children[0]!
    await world.outcome(standing(both.gateway).runExchange((session) => rekeyChild(session, old), 'rekey-child'))
    heal()
    await world.pass(MINUTE)
    await assertOne(world, both)
  },
)

scenario('a CHILD_SA that is to be made anew while the peer rekeys the IKE_SA is made afterwards', async (world) => {
  const both = await tunnel(world)
  const { spi, source, destination, reqid } = both.gateway.kernel.states()[0]!
  const heal = losing(world, both.client, (summary) => summary.startsWith('CREATE_CHILD_SA request'))
  const rekeyed = standing(both.client).runExchange(rekeyIkeSa, 'rekey-ike')
  both.gateway.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
  await world.until(() => both.gateway.eventsOf('child-failed').length > 0, 'the client has no time for it')
  heal()
  await world.outcome(rekeyed)
  await world.pass(MINUTE)
  await assertOne(world, both)
})

scenario('one side rekeys a CHILD_SA that the other has just made anew and deleted: there is one', async (world) => {
  const both = await tunnel(world)
  const { spi, source, destination, reqid } = both.gateway.kernel.states()[0]!
  const heal = losing(world, both.client, (summary) => summary === 'CREATE_CHILD_SA request 2')
  const rekeyed = standing(both.client).runExchange((session) => rekeyChild(session, current(both.client)), 'rekey-child')
  both.gateway.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
  await world.pass(SECOND)
  heal()
  await world.outcome(rekeyed)
  await world.pass(MINUTE)
  await assertOne(world, both)
})

for (const closeAction of ['none', 'start', 'trap']) {
  scenario(
    `a CHILD_SA is deleted by the peer before our request to rekey it comes there: it goes as close_action = ${closeAction} says`,
    async (world) => {
      const { client, gateway } = await tunnel(world, { closeAction })
      const heal = losing(world, client, (summary) => summary === 'CREATE_CHILD_SA request 2')
      const rekeyed = standing(client).runExchange((session) => rekeyChild(session, current(client)), 'rekey-child')
      const filter = { ike: null, ikeId: null, child: 'net', childId: null }
      await world.outcome(gateway.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut())
      heal()
      await world.outcome(rekeyed)
      await world.pass(MINUTE)
      if (closeAction === 'start') return assertOne(world, { client, gateway })
      for (const node of [client, gateway]) assert.deepEqual([standing(node).sa.children, node.kernel.states()], [[], []])
      assert.equal(client.kernel.policies().length, closeAction === 'trap' ? 3 : 0)
    },
  )
}

scenario('both rekey the IKE_SA, and one deletes its new one before the old one: nothing breaks', async (world) => {
  const { client, gateway } = await tunnel(world)
  const heals = [
    // The gateway's own request stays on the way, and so does the client's delete of the old one.
    losing(world, gateway, (summary) => summary === 'CREATE_CHILD_SA request 0'),
    losing(world, client, (summary) => summary === 'INFORMATIONAL request 3'),
  ]
  const rekeyed = Promise.all([gateway, client].map((node) => standing(node).runExchange(rekeyIkeSa, 'rekey-ike')))
  await world.until(() => client.eventsOf('ike-rekeyed').length > 0, 'the client has replaced it')
  const filter = { ike: null, ikeId: standing(client).sa.uniqueId, child: null, childId: null }
  await world.outcome(client.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut())
  for (const heal of heals) heal()
  await world.outcome(rekeyed)
  await world.pass(5 * MINUTE)
  assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
})

scenario('one reauthenticates an IKE_SA that the other rekeys meanwhile: one tunnel stays', async (world) => {
  const lifetime = { reauth: 30 * MINUTE, over: 4 * MINUTE }
  const gateway = addGateway(world)
  const client = addClient(world, { lifetime }, { settings: { makeBeforeBreak: true } })
  await world.initiate(client)
  const heal = losing(world, client, (summary) => summary.startsWith('IKE_AUTH request'))
  await world.until(() => client.eventsOf('reauthenticating').length > 0, 'it reauthenticates', 31 * MINUTE)
  await world.outcome(standing(gateway).runExchange(rekeyIkeSa, 'rekey-ike'))
  await world.pass(SECOND)
  heal()
  await world.pass(MINUTE)
  await assertOne(world, { client, gateway })
  assert.equal(client.eventsOf('reauthenticating').length, 1)
})

const CHILDREN = [
  { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] },
  { name: 'lab', local: ['10.2.0.0/16'], remote: ['10.3.0.0/16'] },
]

function mirrored({ name, local, remote }: (typeof CHILDREN)[number]): ChildWords {
  return { name, local: remote, remote: local }
}

scenario('a CHILD_SA that is being made when the peer falls silent is made in another IKE_SA', async (world) => {
  const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
  const client = addClient(world, { children: CHILDREN, keyingTries: 0 })
  await world.initiate(client)
  gateway.isAsleep = true
  const lab = standing(client).sa.connection!.children[1]!
  const added = addChild(standing(client), lab)
  await world.pass(4 * MINUTE)
  gateway.isAsleep = false
  await world.outcome(added)
  assert.deepEqual(
    standing(client).sa.children.map(({ connection }) => connection.name),
    ['lab'],
  )
})

scenario('what somebody has told us to delete is not made again when its peer turns out to be silent', async (world) => {
  const { client, gateway } = await tunnel(world, { dpdAction: 'start', keyingTries: 0 })
  gateway.link.loss = 1
  void standing(client).runExchange(rekeyIkeSa, 'rekey-ike')
  const filter = { ike: 'home', ikeId: null, child: null, childId: null }
  await world.outcome(client.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut())
  assert.deepEqual(client.sessions(), [])
  // The gateway has not heard of it.
  world.expectsAgreement = false
})

for (const makeBeforeBreak of [true, false]) {
  scenario(
    `an IKE_SA without CHILD_SA when it is due for reauthentication is reauthenticated when it gets one, ${makeBeforeBreak ? 'make before break' : 'break before make'}`,
    async (world) => {
      const lifetime = { reauth: 10 * MINUTE, over: 4 * MINUTE, rand: 0 }
      const gateway = addGateway(world, { lifetime }, { settings: { makeBeforeBreak } })
      const client = addClient(world, { lifetime }, { settings: { makeBeforeBreak } })
      await world.initiate(client)
      const { connection } = current(client)
      await world.outcome(standing(client).runExchange((session) => deleteChildSa(session, session.sa.children[0]!)))
      await world.pass(12 * MINUTE)
      assert.equal(client.eventsOf('reauthentication-failed').length, 1)
      await world.outcome(addChild(standing(client), connection))
      await world.pass(5 * MINUTE)
      await assertOne(world, { client, gateway })
      assert.equal(client.eventsOf('ike-expired').length, 0)
    },
  )
}

scenario('an IKE_SA is over when its peer has forgotten it: what is wanted comes up again', async (world) => {
  const { client, gateway } = await tunnel(world, { dpdAction: 'start' })
  gateway.boot()
  await endLife(standing(client))
  await world.pass(4 * MINUTE)
  await assertOne(world, { client, gateway })
})

scenario('a machine sleeps until its IKE_SA is over, which its peer has forgotten: its tunnel comes up again', async (world) => {
  const gateway = addGateway(world)
  const lifetime = { rekey: MINUTE, over: MINUTE, rand: 0 }
  const client = addClient(world, { lifetime, dpdAction: 'start' })
  await world.initiate(client)
  gateway.boot()
  client.isAsleep = true
  await world.pass(3 * MINUTE)
  client.isAsleep = false
  await world.pass(5 * MINUTE)
  await assertOne(world, { client, gateway })
})

scenario('a CHILD_SA asked for while the peer rekeys the IKE_SA is made in the new one', async (world) => {
  world.keyExchangeLatency = 100
  const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
  const client = addClient(world, { children: CHILDREN })
  await world.initiate(client)
  const lab = standing(client).sa.connection!.children[1]!
  const rekeyed = standing(gateway).runExchange(rekeyIkeSa, 'rekey-ike')
  // The request has come, and is being answered.
  await world.pass(150)
  const added = addChild(standing(client), lab)
  await world.outcome(Promise.all([added, rekeyed]))
  assert.deepEqual(
    standing(client).sa.children.map(({ connection }) => connection.name),
    ['net', 'lab'],
  )
})

scenarioOverSeeds(
  'both rekey the IKE_SA, and the peer uses its own before its answer to ours comes: ours goes',
  6,
  async (world) => {
    const both = await tunnel(world)
    const heal = losing(world, both.client, (summary) => summary === 'CREATE_CHILD_SA response 0')
    // Its delete of the old one would tell as much.
    const healLater = losing(world, both.client, (summary) => summary === 'INFORMATIONAL request 3')
    const nodes = [both.gateway, both.client]
    const rekeyed = Promise.all(nodes.map((node) => standing(node).runExchange(rekeyIkeSa, 'rekey-ike')))
    const child = current(both.client)
    // In the new IKE_SA; the nonces decide whose that is.
    const used = standing(both.client).runExchange((session) => rekeyChild(session, child), 'rekey-child')
    await world.pass(SECOND)
    heal()
    await world.pass(6 * SECOND)
    healLater()
    await world.outcome(Promise.all([rekeyed, used]))
    await world.pass(5 * MINUTE)
    await assertOne(world, both)
  },
)

scenario('a CHILD_SA is gone again when the answer that made it comes at last: nothing is left of it', async (world) => {
  const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
  const client = addClient(world, { children: CHILDREN })
  await world.initiate(client)
  const heal = losing(world, gateway, (summary) => summary === 'CREATE_CHILD_SA response 2')
  const added = addChild(standing(client), standing(client).sa.connection!.children[1]!)
  await world.until(() => standing(gateway).sa.children.length === 2, 'the gateway has made it')
  const filter = { ike: null, ikeId: null, child: 'lab', childId: null }
  await world.outcome(gateway.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut())
  heal()
  await world.outcome(added)
  await world.pass(SECOND)
  for (const node of [client, gateway]) assert.equal(current(node).connection.name, 'net')
  assert.match(client.said('delete-received'), /^received DELETE for ESP CHILD_SA with SPI /)
})

scenario(
  'what one side has rekeyed is thrown away by the kernel of the other before its answer comes: there is one',
  async (world) => {
    const both = await tunnel(world)
    const heal = losing(world, both.client, (summary) => summary === 'CREATE_CHILD_SA response 0')
    const old = current(both.gateway)
    const rekeyed = standing(both.gateway).runExchange((session) => rekeyChild(session, old), 'rekey-child')
    await world.until(() => standing(both.client).sa.children.length === 2, 'the client has the new one')
    const { inboundSpi, reqid } = standing(both.client).sa.children[1]!
    const { spi, source, destination } = both.client.kernel.states().find((state) => state.spi === inboundSpi)!
    both.client.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
    await world.pass(SECOND)
    heal()
    await world.outcome(rekeyed)
    await world.pass(10 * SECOND)
    await assertOne(world, both)
  },
)

scenario(
  'what one side threw away while it waited for the end of what that had replaced is not left over, either',
  async (world) => {
    const both = await tunnel(world)
    const heal = losing(world, both.client, (summary) => summary === 'CREATE_CHILD_SA response 0')
    const old = current(both.gateway)
    const rekeyed = standing(both.gateway).runExchange((session) => rekeyChild(session, old), 'rekey-child')
    await world.until(() => standing(both.client).sa.children.length === 2, 'the client has the new one')
    for (const [child, hard] of [...standing(both.client).sa.children.entries()].map(([i, sa]) => [sa, i === 1] as const)) {
      const { spi, source, destination, reqid } = both.client.kernel.states().find((state) => state.spi === child.inboundSpi)!
      both.client.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard })
    }
    await world.pass(SECOND)
    heal()
    await world.outcome(rekeyed)
    await world.pass(MINUTE)
    await assertOne(world, both)
  },
)

scenario(
  'a CHILD_SA is to be rekeyed by the side that made it before its answer has come to the other: that waits',
  async (world) => {
    const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN })
    await world.initiate(client)
    const heal = losing(world, gateway, (summary) => summary === 'CREATE_CHILD_SA response 2')
    const added = addChild(standing(client), standing(client).sa.connection!.children[1]!)
    await world.until(() => standing(gateway).sa.children.length === 2, 'the gateway has made it')
    const lab = standing(gateway).sa.children[1]!
    await world.outcome(standing(gateway).runExchange((session) => rekeyChild(session, lab), 'rekey-child'))
    heal()
    await world.outcome(added)
    await world.pass(MINUTE)
    for (const node of [client, gateway])
      assert.deepEqual(
        standing(node).sa.children.map(({ connection }) => connection.name),
        ['net', 'lab'],
      )
  },
)

for (const late of ['neither', 'client', 'gateway']) {
  scenario(`both ask for the same CHILD_SA, and ${late} a little later than it thinks: there is one`, async (world) => {
    const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN })
    await world.initiate(client)
    const nodes = { client, gateway }
    const heals = Object.entries(nodes).map(([name, node]) =>
      losing(world, node, (summary) => name === late && summary.startsWith('CREATE_CHILD_SA request')),
    )
    const [made, madeToo] = [client, gateway].map((node) => addChild(standing(node), standing(node).sa.connection!.children[1]!))
    const settled = Promise.allSettled([made, madeToo])
    await world.pass(SECOND)
    for (const heal of heals) heal()
    await world.outcome(settled)
    // The other may be told that this is not the time.
    await made
    await world.pass(MINUTE)
    for (const node of [client, gateway])
      assert.deepEqual(
        standing(node).sa.children.map(({ connection }) => connection.name),
        ['net', 'lab'],
      )
    assert.equal(standing(client).sa.children[1]!.inboundSpi, standing(gateway).sa.children[1]!.outboundSpi)
  })
}

for (const late of ['client', 'gateway'] as const) {
  for (const isHopeless of [true, false]) {
    scenario(
      `both lose the other, and make an IKE_SA each in its place, the ${late} ${isHopeless ? 'in vain at first' : 'a little later'}: one stays`,
      async (world) => {
        const words = { dpdAction: 'start', keyingTries: 0 }
        const both = { gateway: addGateway(world, words), client: addClient(world, words) }
        await world.initiate(both.client)
        const heal = losing(world, both[late], (summary) => summary === 'IKE_SA_INIT request 0')
        await world.outcome(Promise.all([both.client, both.gateway].map((node) => standing(node).losePeer())))
        await world.pass(isHopeless ? 5 * MINUTE : SECOND)
        heal()
        await world.pass(10 * MINUTE)
        await assertOne(world, both)
        assert.equal(both[late].eventsOf('initiating-again').length, 0)
        assert.equal(both[late].eventsOf('ike-established').length, 2)
      },
    )
  }
}

scenario(
  'both lose the other, and one says INITIAL_CONTACT before the other has come back, but is heard later: one stays',
  async (world) => {
    const words = { dpdAction: 'start', keyingTries: 0 }
    const both = { gateway: addGateway(world, { ...words, remoteId: 'client@example.org' }), client: addClient(world, words) }
    await world.initiate(both.client)
    const heal = losing(world, both.gateway, (summary) => summary === 'IKE_AUTH request 1')
    await world.outcome(Promise.all([both.client, both.gateway].map((node) => standing(node).losePeer())))
    await world.pass(SECOND)
    assert.equal(standing(both.client).sa.role, 'initiator')
    heal()
    await world.pass(10 * MINUTE)
    await assertOne(world, both)
  },
)

scenario(
  'what a packet asks for comes up from the other side while it is asked for in vain: it is not asked for again',
  async (world) => {
    const both = { gateway: addGateway(world, { dpdAction: 'start' }), client: addClient(world, { trap: true, keyingTries: 0 }) }
    both.client.gateway.start()
    await world.initiate(both.client)
    await world.outcome(standing(both.client).close('peer-silent'))
    const heal = losing(world, both.client, (summary) => summary === 'IKE_SA_INIT request 0')
    assert.equal(both.client.sendPlain(packet(HOME_HOST, OFFICE_HOST)), 'acquire')
    await world.pass(SECOND)
    await world.outcome(standing(both.gateway).losePeer())
    await world.pass(5 * MINUTE)
    heal()
    await world.pass(5 * MINUTE)
    await assertOne(world, both)
    assert.equal(both.client.eventsOf('initiating-again').length, 0)
  },
)

scenario('what is to be made before the old one is broken, is tried again while the old one stands', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { keyingTries: 0 }, { settings: { makeBeforeBreak: true } })
  await world.initiate(client)
  const [old] = client.sessions()
  const heal = losing(world, client, (summary) => summary === 'IKE_SA_INIT request 0')
  reauthenticate(old!)
  await world.pass(3 * MINUTE)
  assert.equal(client.eventsOf('initiating-again').length, 1)
  heal()
  await world.pass(3 * MINUTE)
  await assertOne(world, { client, gateway })
  assert.notEqual(standing(client), old)
})

for (const isLost of [false, true]) {
  scenario(
    `a CHILD_SA for which the peer has no time, since it rekeys the IKE_SA, is asked for again${isLost ? ', in the next one if that is lost' : ''}`,
    async (world) => {
      const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
      const client = addClient(world, { children: CHILDREN })
      await world.initiate(client)
      const heal = losing(world, gateway, (summary) => summary === 'CREATE_CHILD_SA request 0')
      const rekeyed = standing(gateway).runExchange(rekeyIkeSa, 'rekey-ike')
      const added = addChild(standing(client), standing(client).sa.connection!.children[1]!)
      await world.until(() => client.eventsOf('child-failed').length > 0, 'the gateway has no time')
      if (isLost) await world.outcome(standing(client).losePeer())
      heal()
      await world.outcome(Promise.all([rekeyed, added]))
      await world.pass(5 * MINUTE)
      for (const node of [client, gateway])
        assert.deepEqual(
          standing(node).sa.children.map(({ connection }) => connection.name),
          isLost ? ['lab'] : ['net', 'lab'],
        )
    },
  )
}

scenario('an IKE_SA of the peer that has no CHILD_SA takes the place of none that is lost', async (world) => {
  const gateway = addGateway(world, { dpdAction: 'start' })
  const client = addClient(world, { remoteId: '%any' })
  const lost = await world.initiate(client)
  const other = await world.initiate(client)
  await world.outcome(other.runExchange((session) => deleteChildSa(session, session.sa.children[0]!)))
  // The last that is heard.
  await world.outcome(lost.runExchange(probe))
  const [atGateway] = gateway.sessions()
  await world.outcome(Promise.all([lost.close('peer-silent'), atGateway!.losePeer()]))
  await world.pass(MINUTE)
  assert.deepEqual(
    gateway.sessions().map(({ sa }) => [sa.role, sa.children.length]),
    [
      ['responder', 0],
      ['initiator', 1],
    ],
  )
  assert.ok(await flows(world, client, gateway))
})

/** What each IKE_SA carries, at both ends. */
function carried({ client, gateway }: Both): readonly (readonly string[])[] {
  const names = (node: SimulatedNode): readonly string[] =>
    node.sessions().map(({ sa }) => sa.children.map(({ connection }) => connection.name).join(' and '))
  return [names(client), names(gateway)]
}

for (const unique of ['no', 'keep', 'replace'] as const) {
  scenario(
    `an IKE_SA is deleted by the peer, and another one stands: what close_action starts is made in that, with unique = ${unique}`,
    async (world) => {
      const gateway = addGateway(world, { unique, children: CHILDREN.map(mirrored) })
      const client = addClient(world, { unique, children: CHILDREN.map((words) => ({ ...words, closeAction: 'start' })) })
      const old = await world.initiate(client)
      await world.outcome(addChild(old, old.sa.connection!.children[1]!))
      await world.initiate(client)
      const [atGateway] = gateway.sessions()
      await world.outcome(atGateway!.runExchange((session) => deleteIkeSa(session, 'deleted-by-us'), 'delete-ike'))
      // Longer than a peer with unique = replace waits before it deletes the older one of two.
      await world.pass(MINUTE)
      assert.deepEqual(carried({ client, gateway }), [['net and lab'], ['net and lab']])
      assert.equal(client.eventsOf('ike-established').length, 2)
    },
  )
}

for (const isHeard of [true, false]) {
  scenario(
    `the peer is silent in one IKE_SA, and was ${isHeard ? '' : 'not '}heard since in another: what dpd_action starts is made in ${isHeard ? 'that' : 'a new one'}`,
    async (world) => {
      const children = CHILDREN.map((words) => ({ ...words, dpdAction: 'start' }))
      const gateway = addGateway(world, { children: children.map((words) => ({ ...words, ...mirrored(words) })) })
      const client = addClient(world, { children })
      const [first, second] = [await world.initiate(client), await world.initiate(client)]
      const [lost, other] = isHeard ? [first, second] : [second, first]
      await world.outcome(addChild(lost, lost.sa.connection!.children[1]!))
      if (isHeard) await world.outcome(other.runExchange(probe))
      const atGateway = gateway.sessions().find(({ sa }) => sa.ownSpi === lost.sa.peerSpi)!
      await world.outcome(atGateway.close('peer-silent'))
      await world.outcome(lost.losePeer())
      await world.pass(MINUTE)
      const expected = isHeard ? ['net and lab'] : ['net', 'lab']
      assert.deepEqual(carried({ client, gateway }), [expected, expected])
    },
  )
}

scenarioOverSeeds(
  'both begin an IKE_SA at once, and one is reauthenticated by the other side before that has its own: one stays',
  // Their SPIs decide which.
  6,
  async (world) => {
    const words = { dpdAction: 'start' }
    const settings = { makeBeforeBreak: true }
    const gateway = addGateway(world, words, { settings })
    const client = addClient(world, words, { settings })
    await world.initiate(client)
    const heals = [client, gateway].map((node) => losing(world, node, (summary) => summary === 'IKE_AUTH response 1'))
    await world.outcome(Promise.all([client, gateway].map((node) => standing(node).losePeer())))
    await world.pass(SECOND)
    const clients = standing(gateway)
    heals[1]!()
    await world.until(() => client.eventsOf('both-initiated').length > 0, 'the client knows that there are two')
    heals[0]!()
    reauthenticate(clients)
    await world.pass(10 * MINUTE)
    await assertOne(world, { client, gateway })
  },
)

scenarioOverSeeds(
  'of two that were begun at once one end loses the one that stays, and the other reauthenticates the one that goes: one stays',
  6,
  async (world) => {
    const settings = { makeBeforeBreak: true }
    const gateway = addGateway(world, { remoteAddresses: [CLIENT] }, { settings })
    const client = addClient(world, {}, { settings })
    await world.outcome(Promise.all([client, gateway].map((node) => node.gateway.initiate('home', 'net'))))
    const going = gateway.sessions().find(({ yields }) => yields !== null)!
    const lost = client.sessions().find(({ sa }) => sa.ownSpi === going.yields!.to.sa.peerSpi)!
    await world.outcome(lost.close('peer-silent'))
    reauthenticate(going)
    await world.pass(10 * MINUTE)
    await assertOne(world, { client, gateway })
  },
)

scenarioOverSeeds(
  'of two that were begun at once the one that stays is lost before the other is deleted: that stays',
  4,
  async (world) => {
    const both = { gateway: addGateway(world, { remoteAddresses: [CLIENT] }), client: addClient(world) }
    const nodes = [both.client, both.gateway]
    await world.outcome(Promise.all(nodes.map((node) => node.gateway.initiate('home', 'net'))))
    const isGoing = ({ sa, yields }: Session): boolean => yields !== null && sa.role === 'initiator'
    const owner = nodes.find((node) => node.sessions().some(isGoing))!
    const going = owner.sessions().find(isGoing)!
    // What is under way holds up the delete.
    const heal = losing(world, owner, (summary) => summary === 'INFORMATIONAL request 2')
    const probed = going.runExchange(probe)
    await world.pass(30 * SECOND)
    const isOther = ({ sa }: Session): boolean => ![sa.ownSpi, sa.peerSpi].includes(going.sa.ownSpi)
    const lost = nodes.flatMap((node) => node.sessions().filter(isOther))
    await world.outcome(Promise.all(lost.map((session) => session.close('failed'))))
    heal()
    await world.outcome(probed)
    await world.pass(5 * MINUTE)
    await assertOne(world, both)
    assert.equal(standing(owner), going)
  },
)

scenario('one side asks for a tunnel twice at once, from two causes: one stays', async (world) => {
  const { client, gateway } = await tunnel(world, { dpdAction: 'start' })
  const asked = client.gateway.initiate('home', 'net')
  await world.outcome(standing(client).losePeer())
  await world.outcome(asked)
  await world.pass(5 * MINUTE)
  await assertOne(world, { client, gateway })
})

scenario(
  'what is broken before it is made anew comes back in what was brought up meanwhile, with what that has',
  async (world) => {
    const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN }, { settings: { makeBeforeBreak: false } })
    await world.initiate(client)
    const heal = losing(world, gateway, (summary) => summary === 'INFORMATIONAL response 2')
    reauthenticate(standing(client))
    await world.outcome(client.gateway.initiate('home', 'lab'))
    heal()
    await world.pass(MINUTE)
    assert.deepEqual(carried({ client, gateway }), [['lab and net'], ['lab and net']])
  },
)

scenario('the peer is found to be silent in two IKE_SAs at once: all that is wanted comes back, in one', async (world) => {
  const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
  const client = addClient(world, { children: CHILDREN.map((words) => ({ ...words, dpdAction: 'start' })) })
  const [first, second] = [await world.initiate(client), await world.initiate(client)]
  await world.outcome(addChild(first, first.sa.connection!.children[1]!))
  await world.outcome(second.runExchange(probe))
  await world.outcome(Promise.all(gateway.sessions().map((session) => session.close('peer-silent'))))
  await world.outcome(Promise.all([first, second].map((session) => session.losePeer())))
  await world.pass(5 * MINUTE)
  for (const node of [client, gateway]) assert.deepEqual(namesOf(node).toSorted(), ['lab', 'net'])
})

scenarioOverSeeds(
  'of two that were begun at once the one that goes is lost, with what the other has not: that is made there',
  4,
  async (world) => {
    const children = CHILDREN.map((words) => ({ ...words, dpdAction: 'start' }))
    const gatewayChildren = children.map((words) => ({ ...words, ...mirrored(words) }))
    const gateway = addGateway(world, { remoteAddresses: [CLIENT], children: gatewayChildren })
    const client = addClient(world, { children })
    const nodes = [client, gateway]
    await world.outcome(Promise.all([client.gateway.initiate('home', 'net'), gateway.gateway.initiate('home', 'lab')]))
    const lost = nodes.flatMap((node) => node.sessions().filter(({ yields }) => yields !== null))
    assert.equal(lost.length, 2)
    await world.outcome(Promise.all(lost.map((session) => session.losePeer())))
    await world.pass(MINUTE)
    for (const node of nodes) {
      assert.deepEqual(namesOf(node).toSorted(), ['lab', 'net'])
      assert.equal(node.eventsOf('ike-established').length, 2)
    }
  },
)

scenario(
  'the peer deletes the old IKE_SA before all of it is made anew, and the new one is lost over the rest: that is made all the same',
  async (world) => {
    const gateway = addGateway(world, { unique: 'replace', children: CHILDREN.map(mirrored) })
    const children = CHILDREN.map((words) => ({ ...words, dpdAction: 'start' }))
    const client = addClient(world, { children }, { settings: { makeBeforeBreak: true } })
    const old = await world.initiate(client)
    await world.outcome(addChild(old, old.sa.connection!.children[1]!))
    const heal = losing(world, gateway, (summary) => summary.startsWith('CREATE_CHILD_SA'))
    reauthenticate(old)
    await world.until(() => old.sa.state === 'closed', 'the gateway takes away the old one')
    await world.outcome(Promise.all([client, gateway].map((node) => standing(node).losePeer())))
    heal()
    await world.pass(5 * MINUTE)
    for (const node of [client, gateway]) assert.deepEqual(namesOf(node), ['net', 'lab'])
  },
)

scenario('an IKE_SA is rekeyed when its time is over: it is not about to go, and nothing is begun beside it', async (world) => {
  const { client, gateway } = await tunnel(world)
  const heal = losing(world, gateway, (summary) => summary.startsWith('CREATE_CHILD_SA'))
  const rekeyed = standing(client).runExchange(rekeyIkeSa, 'rekey-ike')
  await endLife(standing(client))
  const asked = client.gateway.control.initiate({ ike: 'home', child: 'net' }, { patience: 'for-ever', limits: false }, () => {})
  assert.match((await world.failure(asked)).message, /^it is up already/)
  heal()
  await world.outcome(rekeyed)
  await world.pass(MINUTE)
  await assertOne(world, { client, gateway })
})

scenario(
  'the peer makes another CHILD_SA in an IKE_SA that is being made anew: it is made in the new one, too',
  async (world) => {
    const gateway = addGateway(world, { children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN }, { settings: { makeBeforeBreak: true } })
    const old = await world.initiate(client)
    const heal = losing(world, client, (summary) => summary === 'IKE_SA_INIT request 0')
    reauthenticate(old)
    await world.outcome(addChild(standing(gateway), standing(gateway).sa.connection!.children[1]!))
    heal()
    await world.pass(MINUTE)
    assert.notEqual(standing(client), old)
    for (const node of [client, gateway]) assert.deepEqual(namesOf(node), ['net', 'lab'])
  },
)

scenario(
  'one side asks for a tunnel twice at once: the second does not say INITIAL_CONTACT, by which the first would be lost',
  async (world) => {
    const both = { gateway: addGateway(world), client: addClient(world) }
    await world.outcome(Promise.all(['net', 'net'].map((child) => both.client.gateway.initiate('home', child))))
    await world.pass(5 * MINUTE)
    await assertOne(world, both)
    assert.equal(both.gateway.eventsOf('ike-closed').filter(({ reason }) => reason === 'replaced').length, 0)
  },
)

for (const [dpdAction, makesIt] of [
  ['start', true],
  ['none', false],
] as const) {
  for (const unique of ['no', 'replace'] as const) {
    const isKnown = unique === 'no'
    scenario(
      `a peer that ${isKnown ? 'says INITIAL_CONTACT' : 'comes back, with unique = replace,'} brings one of two CHILD_SAs: the other one is ${makesIt ? '' : 'not '}made again with dpd_action = ${dpdAction}`,
      async (world) => {
        const children = CHILDREN.map((words) => ({ ...mirrored(words), dpdAction }))
        const gateway = addGateway(world, { unique, children })
        const client = addClient(world, { children: CHILDREN, ...(isKnown ? {} : { remoteId: '%any' }) })
        await world.initiate(client)
        await world.outcome(addChild(standing(client), standing(client).sa.connection!.children[1]!))
        client.boot()
        await world.initiate(client)
        // Until it is clear that nobody answers in the old one.
        await world.pass(5 * MINUTE)
        for (const node of [client, gateway]) assert.deepEqual(namesOf(node), makesIt ? ['net', 'lab'] : ['net'])
      },
    )
  }
}

for (const who of ['client', 'gateway'] as const) {
  scenario(
    `the ${who} terminates what is to replace an IKE_SA, before all of it has come about: the old one stays, and is replaced later`,
    async (world) => {
      const settings = { makeBeforeBreak: true }
      const gateway = addGateway(world, { children: CHILDREN.map(mirrored) }, { settings })
      const client = addClient(world, { children: CHILDREN }, { settings })
      const old = await world.initiate(client)
      await world.outcome(addChild(old, old.sa.connection!.children[1]!))
      const heal = losing(world, gateway, (summary) => summary.startsWith('CREATE_CHILD_SA'))
      reauthenticate(old)
      await world.until(() => client.eventsOf('ike-established').length === 2, 'the new IKE_SA stands')
      const node = { client, gateway }[who]
      const renewed = node.sessions()[1]!
      const filter = { ike: null, ikeId: renewed.sa.uniqueId, child: null, childId: null }
      await world.outcome(node.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut())
      assert.deepEqual(client.sessions(), [old])
      heal()
      await world.until(() => client.eventsOf('reauthenticating').length === 2, 'it is tried again')
      await world.pass(MINUTE)
      assert.notEqual(standing(client), old)
      for (const side of [client, gateway]) assert.deepEqual(namesOf(side), ['net', 'lab'])
    },
  )
}

scenario(
  'what waits in an IKE_SA that is lost, and the peer has made in another one meanwhile, is not made again',
  async (world) => {
    const gateway = addGateway(world, { remoteAddresses: [CLIENT], children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN.map((words) => ({ ...words, dpdAction: 'start' })) })
    await world.initiate(client)
    gateway.boot()
    const added = addChild(standing(client), standing(client).sa.connection!.children[1]!)
    await world.initiate(gateway, 'home', 'lab')
    await world.outcome(added)
    await world.pass(MINUTE)
    for (const node of [client, gateway]) assert.deepEqual(allNamesOf(node), ['lab', 'net'])
  },
)

scenario('an IKE_SA is terminated while it is being deleted in order to be made anew: it is not', async (world) => {
  const { client, gateway } = await tunnel(world)
  const heal = losing(world, gateway, (summary) => summary === 'INFORMATIONAL response 2')
  reauthenticate(standing(client))
  await world.pass(SECOND)
  const filter = { ike: 'home', ikeId: null, child: null, childId: null }
  await world.outcome(client.gateway.control.terminate(filter, { patience: 'for-ever', force: false }).carryOut())
  heal()
  await world.pass(MINUTE)
  assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
})

scenarioOverSeeds(
  'of two that were begun at once the one that stays is reauthenticated while it is asked whether it does: the other one goes all the same',
  8,
  async (world) => {
    const settings = { makeBeforeBreak: true }
    const gateway = addGateway(world, { remoteAddresses: [CLIENT] }, { settings })
    const client = addClient(world, {}, { settings })
    const nodes = [client, gateway]
    await world.outcome(Promise.all(nodes.map((node) => node.gateway.initiate('home', 'net'))))
    const owner = nodes.find((node) => node.sessions().some(({ sa, yields }) => yields !== null && sa.role === 'initiator'))!
    const stays = owner.sessions().find(({ yields }) => yields === null)!
    const heal = losing(world, owner, (summary) => summary.startsWith('INFORMATIONAL request'))
    await world.until(() => stays.tasks.running === 'probe', 'the other one is about to go')
    reauthenticate(stays)
    await world.pass(SECOND)
    heal()
    await world.pass(2 * MINUTE)
    await assertOne(world, { client, gateway })
  },
)

scenario(
  'what is reauthenticated has come up meanwhile, in two IKE_SAs that the peer began: none of it is made again',
  async (world) => {
    const gateway = addGateway(world, { remoteAddresses: [CLIENT], children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN })
    const old = await world.initiate(client)
    await world.outcome(addChild(old, old.sa.connection!.children[1]!))
    gateway.boot()
    for (const child of ['lab', 'net']) await world.initiate(gateway, 'home', child)
    reauthenticate(old)
    await world.pass(5 * MINUTE)
    for (const node of [client, gateway]) assert.deepEqual(allNamesOf(node), ['lab', 'net'])
  },
)

scenario(
  'of two that were begun at once the one that stays is lost when it is to have what the other one has: that stays',
  async (world) => {
    const gateway = addGateway(world, { remoteAddresses: [CLIENT], children: CHILDREN.map(mirrored) })
    const client = addClient(world, { children: CHILDREN })
    const nodes = [client, gateway]
    await world.outcome(Promise.all(nodes.map((node) => node.gateway.initiate('home', 'net'))))
    const owner = nodes.find((node) => node.sessions().some(({ sa, yields }) => yields !== null && sa.role === 'initiator'))!
    const going = owner.sessions().find(({ yields }) => yields !== null)!
    const stays = going.yields!.to
    await world.outcome(addChild(going, going.sa.connection!.children[1]!))
    const heal = losing(world, owner, (summary) => summary.startsWith('CREATE_CHILD_SA request'))
    await world.until(() => stays.tasks.running === 'create-child', 'the other one is about to go')
    const others = nodes.find((node) => node !== owner)!.sessions()
    const there = others.find(({ sa }) => sa.ownSpi === stays.sa.peerSpi)!
    await world.outcome(others.find((session) => session !== there)!.runExchange(probe))
    await world.outcome(there.close('peer-silent'))
    await world.until(() => stays.sa.state === 'closed', 'its peer is found to be silent', 5 * MINUTE)
    heal()
    await world.pass(2 * MINUTE)
    assert.deepEqual(owner.sessions(), [going])
    for (const node of nodes) assert.deepEqual(allNamesOf(node), ['lab', 'net'])
  },
)

scenario('what is initiated while the IKE_SA waits to be deleted is made in another one', async (world) => {
  const { client, gateway } = await tunnel(world)
  const heal = losing(world, client, (summary) => summary.startsWith('CREATE_CHILD_SA request'))
  const rekeyed = standing(client).runExchange(rekeyIkeSa, 'rekey-ike')
  const filter = { ike: 'home', ikeId: null, child: null, childId: null }
  await client.gateway.control.terminate(filter, { patience: 'not-at-all', force: false }).carryOut()
  await world.outcome(initiated(client, 'net'))
  heal()
  await world.outcome(rekeyed)
  await world.pass(MINUTE)
  await assertOne(world, { client, gateway })
})

scenario('what is initiated, and is up in the second of two IKE_SAs, is not made in the first', async (world) => {
  addGateway(world, { children: CHILDREN.map(mirrored) })
  const client = addClient(world, { children: CHILDREN })
  await world.initiate(client, 'home', 'net')
  await world.initiate(client, 'home', 'lab')
  const { code, message } = await world.failure(initiated(client, 'lab'))
  assert.equal(code, 'ALREADY_UP')
  assert.match(message, /lab\{2\} of home\[2\]$/)
})

function initiated({ gateway: { control } }: Both[keyof Both], child: string): Promise<unknown> {
  return control.initiate({ ike: 'home', child }, { patience: 'for-ever', limits: false }, () => undefined)
}

/** Those of all its CHILD_SAs that stand, in whatever IKE_SA. */
function allNamesOf(node: Both[keyof Both]): readonly string[] {
  const children = node.sessions().flatMap(({ sa }) => sa.children.filter(({ state }) => state === 'installed'))
  return children.map(({ connection }) => connection.name).toSorted()
}

function namesOf(node: Both[keyof Both]): readonly string[] {
  return standing(node).sa.children.map(({ connection }) => connection.name)
}
