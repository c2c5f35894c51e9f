/**
 * Both sides do something to the same SA at once (RFC 7296 2.8.1, 2.8.2, 2.25): which of two replacements stays, who
 * deletes what, and that a rekey and a delete that meet leave both sides of one mind.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { SECOND } from '../../src/base/time.ts'
import { deleteChildSa } from '../../src/ike/delete.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { ChildSa } from '../../src/ike/sa.ts'
import type { Session } from '../../src/ike/session.ts'
import type { Dice } from './entropy.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway } from './places.ts'
import { assertOne, current, standing, type Both } from './standing.ts'
import { scenarioOverSeeds, type World } from './world.ts'

/** Nothing but a nonce has so many octets here: keys of ecp384 have more, and CHILD_SAs no keys of their own. */
const NONCE_LENGTH = 32
const WORDS = { ikeProposals: ['aes128gcm16-prfsha256-ecp384'], proposals: ['aes128gcm16'] }

/** A tunnel, and the nonces that each side throws from now on, in order. */
async function watched(world: World): Promise<{ readonly both: Both; readonly nonces: Record<keyof Both, string[]> }> {
  const nonces: Record<keyof Both, string[]> = { client: [], gateway: [] }
  const entropyFor = world.entropyFor.bind(world)
  world.entropyFor = (name: string): Dice => {
    const dice = entropyFor(name)
    const who = (['client', 'gateway'] as const).find((side) => name.startsWith(side))
    if (who === undefined) return dice
    const bytes = dice.bytes.bind(dice)
    dice.bytes = (count) => {
      const drawn = bytes(count)
      if (count === NONCE_LENGTH) nonces[who].push(toHex(drawn))
      return drawn
    }
    return dice
  }
  const gateway = addGateway(world, WORDS)
  const client = addClient(world, WORDS)
  await world.initiate(client)
  nonces.client.length = 0
  nonces.gateway.length = 0
  return { both: { client, gateway }, nonces }
}

/** Whose exchange has the lowest of the four nonces: each has thrown that of its own request first. */
function loserBy({ client, gateway }: Record<keyof Both, readonly string[]>): keyof Both {
  assert.deepEqual([client.length, gateway.length], [2, 2], 'the requests crossed, and both were answered')
  const [ofClients, answerOfClient] = client as [string, string]
  const [ofGateways, answerOfGateway] = gateway as [string, string]
  const [lowest] = [...client, ...gateway].toSorted((a, b) => (a < b ? -1 : 1))
  return lowest === ofClients || lowest === answerOfGateway ? 'client' : assertOf([ofGateways, answerOfClient], lowest!)
}

function assertOf(nonces: readonly string[], lowest: string): 'gateway' {
  assert.ok(nonces.includes(lowest))
  return 'gateway'
}

const losers: Record<'CHILD_SA' | 'IKE_SA', Set<keyof Both>> = { CHILD_SA: new Set(), IKE_SA: new Set() }

scenarioOverSeeds(
  'both rekey the CHILD_SA: that of the lowest nonce goes, by who made it, the old one by the other',
  24,
  async (world) => {
    const { both, nonces } = await watched(world)
    const old = { client: current(both.client), gateway: current(both.gateway) }
    const rekeyed = (['client', 'gateway'] as const).map((who) =>
      standing(both[who]).runExchange((session) => rekeyChild(session, old[who]), 'rekey-child'),
    )
    await world.outcome(Promise.all(rekeyed))
    await world.pass(SECOND)
    const loser = loserBy(nonces)
    losers.CHILD_SA.add(loser)
    const winner = loser === 'client' ? 'gateway' : 'client'
    const deleted = (node: SimulatedNode): readonly (number | undefined)[] =>
      node.eventsOf('delete-received').map(({ child }) => child?.uniqueId)
    assert.deepEqual(deleted(both[loser]), [old[loser].uniqueId], 'the winner deletes the old one')
    assert.equal(deleted(both[winner]).length, 1, 'the loser deletes one')
    assert.notEqual(deleted(both[winner])[0], old[winner].uniqueId, 'which is its own new one')
    await assertOne(world, both)
  },
)

scenarioOverSeeds(
  'both rekey the IKE_SA: that of the lowest nonce goes, by who made it, the old one by the other',
  24,
  async (world) => {
    const { both, nonces } = await watched(world)
    const old = { client: standing(both.client), gateway: standing(both.gateway) }
    const rekeyed = (['client', 'gateway'] as const).map((who) => old[who].runExchange(rekeyIkeSa, 'rekey-ike'))
    await world.outcome(Promise.all(rekeyed))
    await world.pass(SECOND)
    const loser = loserBy(nonces)
    losers.IKE_SA.add(loser)
    const winner = loser === 'client' ? 'gateway' : 'client'
    assert.equal(standing(both[winner]).sa.role, 'initiator', 'what the winner made stays')
    assert.equal(standing(both[loser]).sa.role, 'responder')
    const deleted = (node: SimulatedNode): readonly unknown[] => node.eventsOf('delete-received').map(({ sa }) => sa)
    assert.deepEqual(deleted(both[loser]), [old[loser].sa], 'the winner deletes the old one')
    assert.equal(deleted(both[winner]).length, 1, 'the loser deletes one')
    assert.ok(!deleted(both[winner]).includes(old[winner].sa), 'which is its own new one')
    await assertOne(world, both)
  },
)

test('either side has lost, of CHILD_SAs and of IKE_SAs', () => {
  for (const [kind, who] of Object.entries(losers)) assert.deepEqual([...who].toSorted(), ['client', 'gateway'], kind)
})

/** Both have the same CHILD_SAs, if any, in the one IKE_SA, and nothing else in their kernels. */
async function assertAgreed(world: World, { client, gateway }: Both): Promise<number> {
  await world.pass(60 * SECOND)
  const [ofClient, ofGateway] = [client, gateway].map((node) => standing(node).sa.children)
  assert.deepEqual(
    ofClient!.map(({ inboundSpi, outboundSpi }) => `${inboundSpi} ${outboundSpi}`).toSorted(),
    ofGateway!.map(({ inboundSpi, outboundSpi }) => `${outboundSpi} ${inboundSpi}`).toSorted(),
  )
  assert.ok(ofClient!.length <= 1)
  for (const node of [client, gateway]) assert.equal(node.kernel.states().length, 2 * ofClient!.length)
  return ofClient!.length
}

for (const [title, begin] of [
  [
    'one rekeys a CHILD_SA that the other deletes',
    (session: Session, child: ChildSa) => session.runExchange((one) => rekeyChild(one, child), 'rekey-child'),
  ],
  [
    'one rekeys the IKE_SA of a CHILD_SA that the other deletes',
    (session: Session) => session.runExchange(rekeyIkeSa, 'rekey-ike'),
  ],
  [
    'both delete the same CHILD_SA',
    (session: Session, child: ChildSa) => session.runExchange((one) => deleteChildSa(one, child), 'delete-child'),
  ],
] as const) {
  for (const quality of ['a good wire', 'a bad wire'] as const) {
    scenarioOverSeeds(`${title}, over ${quality}: both are of one mind`, 80, async (world) => {
      const { both } = await watched(world)
      const dice = world.entropyFor('race')
      if (quality === 'a bad wire') {
        for (const node of [both.client, both.gateway])
          Object.assign(node.link, { jitter: dice.below(60), loss: dice.fraction() * 0.1, duplication: dice.fraction() * 0.3 })
      }
      const [session, ours] = [standing(both.client), current(both.client)]
      const child = current(both.gateway)
      const begins = (): Promise<void> => begin(session, ours)
      const deletes = (): Promise<void> =>
        standing(both.gateway).runExchange((session) => deleteChildSa(session, child), 'delete-child')
      const acts = dice.chance(0.5) ? [begins, deletes] : [deletes, begins]
      const results: Promise<unknown>[] = []
      for (const act of acts) {
        results.push(act())
        await world.pass(dice.below(50))
      }
      await world.outcome(Promise.all(results))
      for (const node of [both.client, both.gateway]) Object.assign(node.link, { jitter: 0, loss: 0, duplication: 0 })
      await world.pass(300 * SECOND)
      const left = await assertAgreed(world, both)
      // What is there to stay is what a rekey made before the delete of the old one came.
      if (!title.startsWith('one rekeys a CHILD_SA')) assert.equal(left, 0)
    })
  }
}
