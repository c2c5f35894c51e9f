/**
 * What somebody wants to have made in an IKE_SA that is lost, deleted or made anew before it comes to that: it is made
 * in the one that takes its place (strongSwan: ike_sa.c, reestablish, adopt_child_tasks).
 */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { deleteIkeSa } from '../../src/ike/delete.ts'
import { probe } from '../../src/ike/liveness.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { ChildSa } from '../../src/ike/sa.ts'
import { summaryOf } from './packet.ts'
import { addClient, addGateway, CLIENT, type SideWords } from './places.ts'
import { standing, type Both } from './standing.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const NAMES = ['net', 'lab', 'dmz'] as const
const NETWORKS = { net: '10.1.0.0/16', lab: '10.9.0.0/16', dmz: '10.8.0.0/16' } as const

/** A client with three children, of which the first is up. */
async function threeChildren(world: World, dpdAction = 'none', side: SideWords = {}, keyingTries = 0): Promise<Both> {
  const gateway = addGateway(world, {
    remoteAddresses: [CLIENT],
    children: NAMES.map((name) => ({ name, local: [NETWORKS[name]], remote: ['10.2.0.0/16'] })),
  })
  const children = NAMES.map((name) => ({ name, local: ['10.2.0.0/16'], remote: [NETWORKS[name]], dpdAction }))
  const client = addClient(world, { keyingTries, children }, side)
  await world.initiate(client)
  return { client, gateway }
}

function wanted(
  { client }: Both,
  names: readonly (typeof NAMES)[number][],
  session = standing(client),
): Promise<readonly ChildSa[]> {
  return Promise.all(
    names.map((name) =>
      addChild(
        session,
        session.sa.connection!.children.find((child) => child.name === name)!,
      ),
    ),
  )
}

function assertUp({ client, gateway }: Both, names: readonly string[]): void {
  for (const node of [client, gateway]) {
    const up = standing(node).sa.children.map(({ connection }) => connection.name)
    assert.deepEqual(up.toSorted(), names.toSorted(), node.name)
  }
}

for (const dpdAction of ['none', 'restart']) {
  for (const isUnderWay of [true, false]) {
    const state = isUnderWay ? 'being made' : 'waiting'
    scenario(
      `the peer is silent, dpd_action = ${dpdAction}, two CHILD_SAs are ${state}: they come up when it is back`,
      async (world) => {
        const both = await threeChildren(world, dpdAction)
        both.gateway.isAsleep = true
        if (!isUnderWay) void standing(both.client).runExchange(probe)
        const made = wanted(both, ['lab', 'dmz'])
        await world.pass(4 * MINUTE)
        assert.equal(both.client.eventsOf('ike-closed')[0]?.reason, 'peer-silent')
        // It forgot everything.
        both.gateway.isAsleep = false
        both.gateway.boot()
        assert.deepEqual(
          (await world.outcome(made)).map(({ connection }) => connection.name),
          ['lab', 'dmz'],
        )
        await world.pass(SECOND)
        assertUp(both, dpdAction === 'none' ? ['lab', 'dmz'] : NAMES)
        assert.equal(both.client.eventsOf('child-failed').length, 0)
        assert.equal(both.client.sessions().length, 1)
      },
    )
  }
}

scenario('nobody waits for anything: a silent peer is given up', async (world) => {
  const both = await threeChildren(world)
  both.gateway.isAsleep = true
  void standing(both.client).runExchange(probe)
  await world.pass(4 * MINUTE)
  assert.deepEqual(both.client.sessions(), [])
  assert.equal(both.client.eventsOf('ike-initiating').length, 1)
  both.gateway.isAsleep = false
  both.gateway.boot()
})

scenario('the IKE_SA is to be deleted, and its peer is silent: what waits goes with it', async (world) => {
  const both = await threeChildren(world)
  both.gateway.isAsleep = true
  const session = standing(both.client)
  void session.runExchange(probe)
  const made = wanted(both, ['lab'])
  void session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
  assert.equal((await world.failure(made)).code, 'NOT_ESTABLISHED')
  assert.deepEqual(both.client.sessions(), [])
  both.gateway.isAsleep = false
  both.gateway.boot()
})

scenario('no other IKE_SA comes about: who waits hears why', async (world) => {
  const both = await threeChildren(world)
  // It does not know the client any more.
  both.gateway.isAsleep = true
  const made = wanted(both, ['lab', 'dmz'])
  const failed = Promise.allSettled([made])
  await world.pass(4 * MINUTE)
  both.gateway.isAsleep = false
  both.gateway.configuration = { ...both.gateway.configuration, connections: [] }
  both.gateway.boot()
  const [outcome] = await world.outcome(failed)
  assert.equal(outcome?.status, 'rejected')
  await world.pass(MINUTE)
  assert.deepEqual(both.client.sessions(), [])
})

scenarioOverSeeds('the peer deletes the IKE_SA while something waits: it is made in another one', 10, async (world) => {
  const both = await threeChildren(world)
  for (const link of [both.client.link, both.gateway.link]) link.jitter = 20
  const made = wanted(both, ['lab', 'dmz'])
  const session = standing(both.gateway)
  void session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
  await world.outcome(made)
  await world.pass(MINUTE)
  // What was there already has a close_action of none.
  assertUp(both, ['lab', 'dmz'])
})

for (const makeBeforeBreak of [true, false]) {
  for (const isFirst of [true, false]) {
    const order = isFirst ? 'before' : 'after'
    scenarioOverSeeds(
      `make_before_break = ${makeBeforeBreak ? 'yes' : 'no'}: what is wanted right ${order} a reauthentication begins is in the new IKE_SA`,
      5,
      async (world) => {
        const both = await threeChildren(world, 'none', { settings: { makeBeforeBreak } })
        for (const link of [both.client.link, both.gateway.link]) link.jitter = 20
        const old = standing(both.client)
        let made: Promise<unknown> = Promise.resolve()
        if (isFirst) made = wanted(both, ['lab', 'dmz'])
        old.enqueue(() => reauthenticate(old))
        if (!isFirst) {
          // The first request of the new IKE_SA, or the delete of the old one, is on its way.
          await world.pass(5)
          made = wanted(both, ['lab', 'dmz'], old)
        }
        await world.outcome(made)
        await world.pass(MINUTE)
        assertUp(both, NAMES)
        assert.notEqual(standing(both.client), old)
        assert.equal(both.client.sessions().length, 1)
      },
    )
  }
}

scenario('the reauthentication comes to nothing: what was wanted meanwhile is made in the old IKE_SA', async (world) => {
  const both = await threeChildren(world, 'none', {}, 1)
  const old = standing(both.client)
  const heal = world.network.tap((packet) => (summaryOf(packet).startsWith('IKE_SA_INIT') ? [] : [packet]))
  old.enqueue(() => reauthenticate(old))
  await world.pass(SECOND)
  await world.outcome(wanted(both, ['lab']))
  heal()
  assert.equal(standing(both.client), old)
  assert.equal(both.client.eventsOf('reauthentication-failed').length, 1)
  assertUp(both, ['net', 'lab'])
  // It is tried again, with both.
  await world.pass(MINUTE)
  assertUp(both, ['net', 'lab'])
  assert.notEqual(standing(both.client), old)
})

scenario(
  'the peer rekeys the IKE_SA while it is being reauthenticated: what is wanted meanwhile is in the new one',
  async (world) => {
    const both = await threeChildren(world)
    const old = standing(both.client)
    old.enqueue(() => reauthenticate(old))
    void standing(both.gateway).runExchange(rekeyIkeSa, 'rekey-ike')
    await world.pass(25)
    await world.outcome(wanted(both, ['lab', 'dmz']))
    await world.pass(MINUTE)
    assertUp(both, NAMES)
  },
)
