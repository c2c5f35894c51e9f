/** AUTH_LIFETIME (RFC 4478): a responder that cannot reauthenticate says by when the initiator has to, and it does. */
import assert from 'node:assert/strict'

import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import { NotifyType } from '../../src/iana/ikev2.ts'
import { ask } from '../../src/ike/liveness.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { notify } from '../../src/message/ikev2/find.ts'
import { addClient, addGateway, OFFICE_HOST } from './places.ts'
import { standing, type Both } from './standing.ts'
import { scenario, type World } from './world.ts'

const HOUR = 60 * MINUTE
const POOLS = [{ name: 'clients', base: IpAddress.parse('10.3.0.1'), size: 3, attributes: [] }]
const ADDRESS = '10.3.0.1'
const HALF_AN_HOUR = { rekey: 0, reauth: 30 * MINUTE, over: 5 * MINUTE, rand: 0 }
const never = (over: Milliseconds): typeof HALF_AN_HOUR => ({ rekey: 0, reauth: 0, over, rand: 0 })

/** A gateway that wants to see a client again every half an hour, and has given it an address. */
async function visitor(world: World, over = 5 * MINUTE): Promise<Both> {
  const gateway = addGateway(
    world,
    { remote: ['dynamic'], pools: ['clients'], lifetime: HALF_AN_HOUR, childLifetime: {} },
    { pools: POOLS },
  )
  const client = addClient(world, { local: ['dynamic'], vips: ['0.0.0.0'], lifetime: never(over), childLifetime: {} })
  await world.initiate(client)
  return { client, gateway }
}

/** A gateway that can reauthenticate itself. */
async function neighbour(world: World): Promise<Both> {
  const gateway = addGateway(world, { lifetime: HALF_AN_HOUR, childLifetime: {} })
  const client = addClient(world, { lifetime: never(5 * MINUTE), childLifetime: {} })
  await world.initiate(client)
  return { client, gateway }
}

/** The gateway says so, in so many octets. */
async function says({ gateway }: Both, world: World, ...octets: number[]): Promise<void> {
  const session = standing(gateway)
  await world.outcome(
    session.runExchange((current) => ask(current, [notify(NotifyType.AUTH_LIFETIME, Uint8Array.from(octets))]), 'probe'),
  )
}

scenario(
  'a gateway that gave an address says when, and the client reauthenticates before that, again and again',
  async (world) => {
    const { client, gateway } = await visitor(world)
    assert.equal(client.said('auth-lifetime-received'), 'received AUTH_LIFETIME of 1800s, scheduling reauthentication in 1500s')
    await world.pass(24 * MINUTE)
    assert.equal(client.eventsOf('reauthenticating').length, 0)
    await world.pass(2 * MINUTE)
    assert.equal(client.eventsOf('reauthenticating').length, 1)
    await world.pass(3 * HOUR)
    assert.equal(client.eventsOf('reauthenticating').length, 8)
    for (const node of [client, gateway]) {
      assert.equal(node.eventsOf('ike-established').length, 9)
      assert.equal(node.sessions().length, 1)
      assert.equal(node.eventsOf('ike-expired').length, 0)
    }
    assert.deepEqual(gateway.eventsOf('reauthentication-failed'), [])
    assert.ok(await world.ping(client, ADDRESS, OFFICE_HOST))
  },
)

scenario('a client that does not come in time: the gateway says that it should have, and deletes the IKE_SA', async (world) => {
  const { client, gateway } = await visitor(world)
  // It has forgotten.
  client.session.clearDeadline('reauth')
  client.session.clearDeadline('over')
  await world.pass(31 * MINUTE)
  assert.equal(
    gateway.said('reauthentication-failed'),
    'initiator did not reauthenticate as requested, IKE_SA home[1] will time out',
  )
  assert.equal(gateway.eventsOf('reauthenticating').length, 0)
  assert.equal(gateway.sessions().length, 1)
  await world.pass(5 * MINUTE)
  assert.equal(gateway.eventsOf('ike-expired').length, 1)
  assert.deepEqual([client.sessions(), gateway.sessions()], [[], []])
})

scenario('nor does the gateway reauthenticate when somebody tells it to', async (world) => {
  const { client, gateway } = await visitor(world)
  gateway.session.enqueue(() => reauthenticate(gateway.session))
  await world.pass(SECOND)
  assert.equal(gateway.eventsOf('reauthentication-failed')[0]?.why, 'asymmetric')
  assert.equal(gateway.sessions().length, 1)
  // The client can, whenever it likes.
  client.session.enqueue(() => reauthenticate(client.session))
  await world.pass(SECOND)
  assert.equal(client.eventsOf('ike-established').length, 2)
})

scenario('a gateway that can reauthenticate does so, and says nothing', async (world) => {
  const { client, gateway } = await neighbour(world)
  await world.pass(31 * MINUTE)
  assert.equal(gateway.eventsOf('reauthenticating').length, 1)
  assert.deepEqual(client.eventsOf('auth-lifetime-received'), [])
  assert.equal(client.eventsOf('ike-established').length, 2)
})

scenario('with less time than over_time half of it passes first, not none', async (world) => {
  const { client } = await visitor(world, 2 * HOUR)
  assert.equal(client.said('auth-lifetime-received'), 'received AUTH_LIFETIME of 1800s, scheduling reauthentication in 900s')
  await world.pass(3 * HOUR)
  const times = client.eventsOf('reauthenticating').length
  assert.ok(times >= 11 && times <= 12, `${times} reauthentications in three hours`)
})

scenario('a gateway may say so at any time; what is later than before changes nothing', async (world) => {
  const both = await neighbour(world)
  await says(both, world, 0, 0, 2, 88)
  assert.equal(both.client.said('auth-lifetime-received'), 'received AUTH_LIFETIME of 600s, scheduling reauthentication in 300s')
  await says(both, world, 0, 0, 14, 16)
  assert.match(
    both.client.said('auth-lifetime-received'),
    /^received AUTH_LIFETIME of 3600s, reauthentication already scheduled in (299|300)s$/,
  )
  await world.pass(4 * MINUTE)
  assert.equal(both.client.eventsOf('reauthenticating').length, 0)
  await world.pass(2 * MINUTE)
  assert.equal(both.client.eventsOf('reauthenticating').length, 1)
  assert.equal(both.client.eventsOf('ike-established').length, 2)
})

scenario('no time at all is a second, and what has not four octets says nothing', async (world) => {
  const both = await neighbour(world)
  for (const octets of [[], [0, 0, 60], [0, 0, 0, 0, 60]]) await says(both, world, ...octets)
  assert.deepEqual(both.client.eventsOf('auth-lifetime-received'), [])
  await says(both, world, 0, 0, 0, 0)
  await world.pass(5 * SECOND)
  assert.equal(both.client.eventsOf('reauthenticating').length, 1)
  assert.equal(standing(both.client).sa.reauthAt, null)
  await says(both, world, 255, 255, 255, 255)
  await world.pass(HOUR / 4)
  assert.equal(both.client.eventsOf('reauthenticating').length, 1)
})

scenario('an IKE_SA that is rekeyed is reauthenticated when the first was to be', async (world) => {
  const { client, gateway } = await visitor(world)
  for (const node of [client, gateway]) {
    await world.outcome(standing(node).runExchange(rekeyIkeSa, 'rekey-ike'))
    await world.pass(MINUTE)
  }
  await world.pass(22 * MINUTE)
  assert.equal(client.eventsOf('reauthenticating').length, 0)
  await world.pass(2 * MINUTE)
  assert.equal(client.eventsOf('reauthenticating').length, 1)
})
