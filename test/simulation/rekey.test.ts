/** Rekeying (RFC 7296 1.3.2, 1.3.3, 2.8, 2.25): by either side, by both at once, in the way of each other and of deletes. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { createChild } from '../../src/ike/create-child.ts'
import { deleteChildSa } from '../../src/ike/delete.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { ChildSa } from '../../src/ike/sa.ts'
import type { Session } from '../../src/ike/session.ts'
import type { SimulatedNode } from './node.ts'
import { summaryOf } from './packet.ts'
import { addClient, addGateway, flows, HOME_HOST, OFFICE_HOST } from './places.ts'
import { races } from './races.ts'
import { assertOne, beginChildRekey, beginIkeRekey, current, packet, standing, type Both } from './standing.ts'
import { scenario, type World } from './world.ts'

async function tunnel(world: World, words: Parameters<typeof addGateway>[1] = {}): Promise<Both> {
  // Patience for wires that lose a third of what they carry.
  const settings = { retransmitTries: 30, retransmitBase: 1.2 }
  const gateway = addGateway(world, words, { settings })
  const client = addClient(world, words, { settings })
  await world.initiate(client)
  return { client, gateway }
}

for (const who of ['client', 'gateway'] as const) {
  for (const proposals of [['aes128gcm16'], ['aes128gcm16-x25519']]) {
    const how = proposals[0]!.endsWith('x25519') ? 'with a key exchange of its own' : 'without one'
    scenario(`the ${who} rekeys the CHILD_SA, ${how}: reqid and policies stay, and no packet is lost`, async (world) => {
      const both = await tunnel(world, { proposals })
      const { client, gateway } = both
      const before = { reqid: current(client).reqid, spi: current(client).inboundSpi, inward: policiesOf(client, 'in') }
      const mark = world.mark
      const rekeyed = beginChildRekey(both[who])
      const traffic = Array.from({ length: 60 }, (_, i) => i)
      for (const _ of traffic) {
        client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
        gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST))
        await world.pass(2)
      }
      await world.outcome(rekeyed)
      await world.pass(SECOND)
      assert.deepEqual([client.delivered.length, gateway.delivered.length], [traffic.length, traffic.length])
      // HDR, SK { N(REKEY_SA), SA, Ni, [KEi], TSi, TSr }  -->  and back, then the delete of the old one.
      assert.deepEqual([world.countSent('CREATE_CHILD_SA', mark), world.countSent('INFORMATIONAL', mark)], [2, 2])
      assert.notEqual(current(client).inboundSpi, before.spi)
      assert.equal(current(client).reqid, before.reqid)
      assert.deepEqual(policiesOf(client, 'in'), before.inward)
      assert.equal(current(client).proposal.transforms.length, how === 'without one' ? 2 : 3)
      await assertOne(world, both)
    })
  }

  scenario(
    `the ${who} rekeys the IKE_SA: its CHILD_SA goes over untouched, keepalives and later exchanges too`,
    async (world) => {
      const both = await tunnel(world)
      const spi = current(both.client).inboundSpi
      await world.outcome(beginIkeRekey(both[who]))
      await world.pass(SECOND)
      assert.equal(current(both.client).inboundSpi, spi)
      assert.equal(standing(both[who]).sa.role, 'initiator')
      assert.deepEqual(
        [standing(both.client).sa.originalRole, standing(both.gateway).sa.originalRole],
        ['initiator', 'responder'],
      )
      // Keys of the new IKE_SA are in use, from either side.
      for (const node of [both.client, both.gateway]) await world.outcome(beginChildRekey(node))
      assert.notEqual(current(both.client).inboundSpi, spi)
      await assertOne(world, both)
      for (const node of [both.client, both.gateway])
        assert.deepEqual(
          node.eventsOf('ike-closed').map(({ reason }) => reason),
          ['rekeyed'],
        )
    },
  )

  scenario(`the peer of the ${who} wants another group: asked again once, in a rekey of either kind`, async (world) => {
    const [own, other] = [
      { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ecp256'], proposals: ['aes128gcm16-curve25519-ecp256'] },
      { ikeProposals: ['aes128gcm16-prfsha256-ecp256'], proposals: ['aes128gcm16-ecp256'] },
    ]
    const gateway = addGateway(world, who === 'client' ? other : own)
    const client = addClient(world, who === 'client' ? own : other)
    await world.initiate(client)
    const both = { client, gateway }
    await world.outcome(beginChildRekey(both[who]))
    await world.pass(10 * SECOND)
    // The group of what is replaced is asked for first.
    await world.outcome(beginChildRekey(both[who]))
    await world.outcome(beginIkeRekey(both[who]))
    assert.deepEqual(
      both[who].eventsOf('key-exchange-retry').map(({ group }) => group),
      // The first one is IKE_SA_INIT's.
      who === 'client' ? [19, 19] : [19],
    )
    await assertOne(world, both)
  })
}

scenario('what waits while the IKE_SA is rekeyed is done on the new one', async (world) => {
  const both = await tunnel(world)
  const old = standing(both.client)
  const done = Promise.all([beginIkeRekey(both.client), beginChildRekey(both.client)])
  await world.outcome(done)
  assert.equal(old.sa.state, 'closed')
  assert.equal(both.client.eventsOf('child-rekeyed').length, 1)
  await assertOne(world, both)
})

scenario('a second CHILD_SA of an IKE_SA, and the end of either', async (world) => {
  const children = [
    { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
    { name: 'lab', local: ['10.3.0.0/16'], remote: ['10.2.0.0/16'] },
  ]
  const gateway = addGateway(world, { children })
  const client = addClient(world, {
    children: children.map(({ name, local, remote }) => ({ name, local: remote, remote: local })),
  })
  await world.initiate(client)
  const session = standing(client)
  let lab: ChildSa | null = null
  await world.outcome(
    session.runExchange(async (current) => {
      lab = await createChild(current, current.sa.connection!.children[1]!)
    }, 'create-child'),
  )
  assert.ok(await world.ping(client, HOME_HOST, '10.3.0.9'))
  assert.ok(await world.ping(gateway, OFFICE_HOST, HOME_HOST))
  await world.outcome(session.runExchange((current) => deleteChildSa(current, lab!), 'delete-child'))
  await world.pass(SECOND)
  for (const node of [client, gateway])
    assert.deepEqual(
      standing(node).sa.children.map(({ connection }) => connection.name),
      ['net'],
    )
})

scenario('a CHILD_SA that the peer has lost is made anew', async (world) => {
  const both = await tunnel(world)
  const lost = current(both.gateway)
  // As after a bug or a restored backup: gone there, without a word.
  await world.outcome(standing(both.gateway).run(() => standing(both.gateway).closeChild(lost, 'failed')))
  await world.outcome(beginChildRekey(both.client))
  assert.deepEqual(
    both.client.eventsOf('child-closed').map(({ reason }) => reason),
    ['deleted-by-peer'],
  )
  await assertOne(world, both)
})

for (const who of ['client', 'gateway'] as const) {
  scenario(
    `the kernel of the ${who} refuses the new CHILD_SA: the old one stays at work, and it is tried again`,
    async (world) => {
      const both = await tunnel(world)
      both[who].refuse = ({ op }) => (op === 'add-state' ? 12 : null)
      await world.outcome(beginChildRekey(both.client))
      both[who].refuse = null
      assert.ok(await flows(world, both.client, both.gateway))
      assert.equal(both.client.eventsOf('child-rekey-failed').length, 1)
      await world.pass(31 * SECOND)
      assert.equal(both.client.eventsOf('child-rekeyed').length, 1)
      await assertOne(world, both)
    },
  )
}

races({
  title: null,
  share: 1,
  pauseMax: 50,
  begin: (world, dice) => tunnel(world, dice.chance(0.5) ? { proposals: ['aes128gcm16-curve25519'] } : {}),
  end: () => {},
})

function policiesOf(node: SimulatedNode, direction: 'in' | 'fwd'): unknown[] {
  return node.kernel.policies().filter((policy) => policy.direction === direction)
}

scenario('a peer that goes on replacing the IKE_SA and deletes none: TEMPORARY_FAILURE, until they are gone', async (world) => {
  const both = await tunnel(world)
  const { client, gateway } = both
  // Its deletes do not come to us, and it does not wait for their answers.
  const heal = world.network.tap((sent) => (summaryOf(sent).startsWith('INFORMATIONAL') ? [] : [sent]))
  const newest = (): Session => client.sessions().findLast(({ sa }) => sa.state === 'established')!
  for (let i = 0; i < 20; i++) {
    void newest().runExchange(rekeyIkeSa, 'rekey-ike')
    await world.pass(2 * SECOND)
  }
  assert.match(gateway.said('create-refused'), /the peer has IKE_SAs to delete that it has replaced$/)
  assert.equal(gateway.sessions().length, 9)
  heal()
  await world.pass(5 * MINUTE)
  await world.outcome(beginIkeRekey(client))
  await assertOne(world, both)
})
