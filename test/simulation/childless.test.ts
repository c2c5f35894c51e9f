/** IKE_SAs without a CHILD_SA: RFC 6023, and those that have lost their last one. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { deleteChildSa } from '../../src/ike/delete.ts'
import type { Connection } from '../../src/ike/connection.ts'
import { findNotify } from '../../src/message/ikev2/find.ts'
import type { Session } from '../../src/ike/session.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

type Childless = Connection['childless']

/** Which exchanges made it, as the client asked for them. */
function requests(world: World): readonly string[] {
  return world.sent().flatMap((line) => (/request/.test(line) && line.startsWith(CLIENT) ? [line.split(' ')[3]!] : []))
}

function pair(world: World, client: Childless, gateway: Childless): [SimulatedNode, SimulatedNode] {
  return [addClient(world, { childless: client }), addGateway(world, { childless: gateway })]
}

for (const [client, gateway, isChildless] of [
  ['allow', 'allow', false],
  ['allow', 'prefer', false],
  ['never', 'allow', false],
  ['prefer', 'never', false],
  ['prefer', 'allow', true],
  ['force', 'allow', true],
  ['force', 'force', true],
  ['prefer', 'force', true],
] as const) {
  scenario(
    `childless = ${client} with a gateway of childless = ${gateway}: the CHILD_SA comes ${isChildless ? 'after' : 'with'} IKE_AUTH`,
    async (world) => {
      const [node, peer] = pair(world, client, gateway)
      await world.initiate(node)
      const exchanges = requests(world)
      assert.deepEqual(exchanges.slice(2), isChildless ? ['CREATE_CHILD_SA'] : [])
      assert.equal(node.session.sa.children.length, 1)
      assert.ok(await flows(world, node, peer))
    },
  )
}

scenario('childless = force does not even authenticate with a gateway that takes no childless IKE_SA', async (world) => {
  const [client, gateway] = pair(world, 'force', 'never')
  const error = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(error.code, 'CHILDLESS_UNSUPPORTED')
  assert.deepEqual([client.sessions(), requests(world)], [[], ['IKE_SA_INIT']])
  await world.pass(MINUTE)
  assert.deepEqual(gateway.sessions(), [])
})

scenario('a gateway of childless = force refuses a CHILD_SA in IKE_AUTH, and the IKE_SA with it', async (world) => {
  const [client, gateway] = pair(world, 'allow', 'force')
  const error = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(error.code, 'PEER_SAID_INVALID_SYNTAX')
  assert.equal(gateway.said('ike-failed'), 'peer did not initiate a childless IKE_SA')
  assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
})

scenario('a gateway of childless = never refuses an IKE_AUTH without a CHILD_SA', async (world) => {
  const gateway = addGateway(world, { childless: 'never' })
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const answer = await peer.init()
  assert.equal(findNotify(answer.payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED), null)
  const childless = peer.authPayloads().filter(({ kind }) => kind === 'IDi' || kind === 'AUTH')
  peer.send(peer.protectedRequest(ExchangeType.IKE_AUTH, 1, childless))
  assert.ok(findNotify(peer.open(await peer.answer()), NotifyType.INVALID_SYNTAX) !== null)
  assert.equal(gateway.said('ike-failed'), 'peer tried to initiate a childless IKE_SA')
  assert.deepEqual(gateway.sessions(), [])
})

/** An IKE_SA alone, and its two ends. */
async function alone(world: World): Promise<{ client: SimulatedNode; gateway: SimulatedNode; session: Session }> {
  const [gateway, client] = [addGateway(world), addClient(world)]
  const session = await world.outcome(client.gateway.initiate('home', null))
  await world.pass(SECOND)
  for (const node of [client, gateway])
    assert.deepEqual([node.session.sa.state, node.session.sa.children, node.kernel.states()], ['established', [], []])
  assert.deepEqual([...client.eventsOf('child-failed'), ...gateway.eventsOf('child-failed')], [])
  return { client, gateway, session }
}

scenario('an IKE_SA is initiated without a child, and either side adds one and deletes it again', async (world) => {
  const { client, gateway, session } = await alone(world)
  for (const [adds, deletes] of [
    [client, gateway],
    [client, client],
  ] as const) {
    await world.outcome(addChild(session, session.sa.connection!.children[0]!))
    await world.pass(SECOND)
    assert.ok(await flows(world, adds, gateway))
    const [child] = deletes.session.sa.children
    await world.outcome(deletes.session.runExchange((current) => deleteChildSa(current, child!), 'delete-child'))
    await world.pass(SECOND)
    // The last CHILD_SA has gone, the IKE_SA stays.
    for (const node of [client, gateway])
      assert.deepEqual([node.session.sa.state, node.session.sa.children, node.kernel.states()], ['established', [], []])
  }
})

scenario('a responder adds the first child to an IKE_SA that was begun without one', async (world) => {
  const gateway = addGateway(world, { remoteAddresses: [CLIENT] })
  const client = addClient(world)
  await world.outcome(client.gateway.initiate('home', null))
  await world.pass(SECOND)
  const { session } = gateway
  await world.outcome(addChild(session, session.sa.connection!.children[0]!))
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('an IKE_SA without CHILD_SAs is rekeyed like any other', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { lifetime: { rekey: 10 * MINUTE, rand: 0 } })
  await world.outcome(client.gateway.initiate('home', null))
  await world.pass(11 * MINUTE)
  assert.equal(client.session.sa.uniqueId, 2)
  await world.outcome(addChild(client.session, client.session.sa.connection!.children[0]!))
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('the peer of an initiation without a child has to take that', async (world) => {
  const [client] = pair(world, 'allow', 'never')
  const error = await world.failure(client.gateway.initiate('home', null))
  assert.equal(error.message, 'peer does not support childless IKE_SA initiation')
  assert.deepEqual(client.sessions(), [])
})

scenario('a CHILD_SA that fails after a childless IKE_AUTH leaves the IKE_SA standing', async (world) => {
  const gateway = addGateway(world, { remote: ['192.0.2.0/24'] }, { settings: { closeIkeOnChildFailure: true } })
  const client = addClient(world, { childless: 'prefer' }, { settings: { closeIkeOnChildFailure: true } })
  await world.initiate(client)
  assert.equal(client.eventsOf('child-failed').length, 1)
  for (const node of [client, gateway]) assert.deepEqual([node.session.sa.state, node.session.sa.children], ['established', []])
})

for (const who of ['client', 'gateway'] as const) {
  scenario(`charon.close_ike_on_child_failure of the ${who}: the IKE_SA goes with the CHILD_SA of IKE_AUTH`, async (world) => {
    const settings = (name: string): { closeIkeOnChildFailure: boolean } => ({ closeIkeOnChildFailure: name === who })
    const gateway = addGateway(world, { remote: ['192.0.2.0/24'] }, { settings: settings('gateway') })
    const client = addClient(world, {}, { settings: settings('client') })
    await world.initiate(client)
    assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
    const closer = who === 'client' ? client : gateway
    assert.deepEqual(
      closer.eventsOf('ike-closed').map(({ reason }) => reason),
      ['deleted-by-us'],
    )
  })
}
