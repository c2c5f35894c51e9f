/** Virtual addresses (RFC 7296 2.19): asked for, given away, kept for who comes back, and what `dynamic` is with them. */
import assert from 'node:assert/strict'

import type { Pool } from '../../src/address/pool.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { CpAttribute, NotifyType } from '../../src/iana/ikev2.ts'
import { deleteIkeSa } from '../../src/ike/delete.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { formatSelector } from '../../src/negotiate/selectors.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, OFFICE_HOST, type SideWords } from './places.ts'
import { scenario, type World } from './world.ts'

const pool = (name: string, base: string, size: number): Pool => ({
  name,
  base: IpAddress.parse(base),
  size,
  attributes: [{ type: CpAttribute.INTERNAL_IP4_DNS, value: Uint8Array.of(10, 1, 0, 53) }],
})
const POOLS = [pool('clients', '10.3.0.1', 3), pool('six', 'fd00:3::1', 3)]

const gatewayWith = (world: World, words: ConnectionWords = {}, pools = POOLS): SimulatedNode =>
  addGateway(world, { remote: ['dynamic'], pools: ['clients', 'six'], ...words }, { pools })
const clientWith = (world: World, words: ConnectionWords = {}, side: SideWords = {}): SimulatedNode =>
  addClient(world, { local: ['dynamic'], vips: ['0.0.0.0'], ...words }, side)

/** What the only IKE_SA of a client has of its own. */
const addresses = (node: SimulatedNode): readonly string[] => node.sessions()[0]!.sa.virtualAddresses.map(String)
const traffic = (node: SimulatedNode): readonly string[] =>
  node.sessions().flatMap(({ sa }) => sa.children.flatMap(({ localSelectors }) => localSelectors.map(formatSelector)))
const leases = (gateway: SimulatedNode): readonly string[] =>
  gateway.gateway.leases
    .pools()
    .flatMap(({ pool: { name } }) => gateway.gateway.leases.leasesOf(name))
    .map(({ address, holder, isOnline }) => `${address.toString()} ${holder.name} ${isOnline ? 'online' : 'offline'}`)

scenario('a client gets an address, and its traffic is that of the address', async (world) => {
  const gateway = gatewayWith(world)
  const client = clientWith(world)
  await world.initiate(client)
  assert.deepEqual(addresses(client), ['10.3.0.1'])
  assert.deepEqual(traffic(client), ['10.3.0.1/32'])
  assert.deepEqual(leases(gateway), ['10.3.0.1 client@example.org online'])
  assert.ok(await world.ping(client, '10.3.0.1', OFFICE_HOST))
  assert.ok(await world.ping(gateway, OFFICE_HOST, '10.3.0.1'))
  assert.equal(gateway.said('address-answered'), "assigning virtual IP 10.3.0.1 to peer 'client@example.org'")
})

scenario('one of each family, and a certain one where the connection says which', async (world) => {
  const gateway = gatewayWith(world, { local: ['10.1.0.0/16', 'fd00:1::/32'] })
  const client = clientWith(world, { vips: ['0.0.0.0', '::'], remote: ['10.1.0.0/16', 'fd00:1::/32'] })
  await world.initiate(client)
  assert.deepEqual(addresses(client), ['10.3.0.1', 'fd00:3::1'])
  assert.deepEqual(traffic(client).toSorted(), ['10.3.0.1/32', 'fd00:3::1/128'])
  assert.equal(leases(gateway).length, 2)
})

scenario(
  'edge case 20: two clients of one inner address, behind one NAT in the end, are told apart by their virtual addresses',
  async (world) => {
    const gateway = gatewayWith(world)
    const carrier = world.addNat('carrier', '198.51.100.1')
    const clients = ['alice', 'bob'].map((name, at) => {
      const home = world.addNat(`home of ${name}`, `100.64.0.${7 + at}`, {}, carrier)
      return clientWith(world, { localId: name }, { name, address: '192.168.1.7', behind: home })
    })
    for (const client of clients) await world.initiate(client)
    assert.deepEqual(clients.map(addresses), [['10.3.0.1'], ['10.3.0.2']])
    for (const [at, client] of clients.entries()) {
      assert.ok(await world.ping(client, `10.3.0.${at + 1}`, OFFICE_HOST))
      assert.ok(await world.ping(gateway, OFFICE_HOST, `10.3.0.${at + 1}`))
    }
  },
)

scenario('who comes back has its address again, others have not', async (world) => {
  const gateway = gatewayWith(world)
  const [alice, bob] = ['alice', 'bob'].map((name, at) =>
    clientWith(world, { localId: name }, { name, address: `198.51.100.${7 + at}` }),
  ) as [SimulatedNode, SimulatedNode]
  await world.initiate(alice)
  await world.outcome(alice.session.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))
  assert.deepEqual(leases(gateway), ['10.3.0.1 alice offline'])
  await world.initiate(bob)
  await world.initiate(alice)
  assert.deepEqual(addresses(alice), ['10.3.0.1'])
  assert.deepEqual(addresses(bob), ['10.3.0.2'])
})

scenario('who comes back after the gateway has died without a word has its address again, new ones get others', async (world) => {
  const gateway = gatewayWith(world)
  const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name, at) =>
    clientWith(world, { localId: name }, { name, address: `198.51.100.${7 + at}` }),
  ) as [SimulatedNode, SimulatedNode, SimulatedNode]
  await world.initiate(alice)
  await world.initiate(bob)
  gateway.boot()
  for (const client of [alice, bob]) client.boot()
  assert.deepEqual(leases(gateway), ['10.3.0.1 alice offline', '10.3.0.2 bob offline'])
  for (const client of [carol, bob, alice]) await world.initiate(client)
  assert.deepEqual([alice, bob, carol].map(addresses), [['10.3.0.1'], ['10.3.0.2'], ['10.3.0.3']])
  for (const client of [alice, bob, carol]) assert.ok(await world.ping(client, addresses(client)[0]!, OFFICE_HOST))
})

scenario('what every client is told comes with its address, besides what the pool says', async (world) => {
  const attributes = [{ type: CpAttribute.INTERNAL_IP4_NBNS, value: Uint8Array.of(10, 1, 0, 54) }]
  const gateway = addGateway(world, { remote: ['dynamic'], pools: ['clients'] }, { pools: POOLS, settings: { attributes } })
  await world.initiate(clientWith(world))
  const told = gateway
    .eventsOf('message-sent')
    .flatMap(({ payloads }) => payloads.flatMap((payload) => (payload.kind === 'CP' ? payload.attributes : [])))
  assert.deepEqual(
    told.map(({ type, value }) => [type, value.join('.')]),
    [
      [CpAttribute.INTERNAL_IP4_ADDRESS, '10.3.0.1'],
      [CpAttribute.INTERNAL_IP4_DNS, '10.1.0.53'],
      [CpAttribute.INTERNAL_IP4_NBNS, '10.1.0.54'],
    ],
  )
})

scenario('a rekeyed IKE_SA has the addresses of the one before', async (world) => {
  const gateway = gatewayWith(world)
  const client = clientWith(world)
  await world.initiate(client)
  for (const node of [client, gateway]) {
    const [session] = node.sessions()
    await world.outcome(session!.runExchange(rekeyIkeSa, 'rekey-ike'))
    await world.pass(30 * SECOND)
    assert.deepEqual(addresses(client), ['10.3.0.1'])
    assert.deepEqual(leases(gateway), ['10.3.0.1 client@example.org online'])
    assert.ok(await world.ping(client, '10.3.0.1', OFFICE_HOST))
  }
  await world.outcome(client.session.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))
  assert.deepEqual(leases(gateway), ['10.3.0.1 client@example.org offline'])
})

for (const makeBeforeBreak of [true, false]) {
  scenario(
    `reauthenticated ${makeBeforeBreak ? 'make before break' : 'break before make'}, a client keeps its address`,
    async (world) => {
      const gateway = gatewayWith(world)
      const client = clientWith(world, {}, { settings: { makeBeforeBreak } })
      await world.initiate(client)
      client.session.enqueue(() => reauthenticate(client.session))
      await world.pass(MINUTE)
      assert.deepEqual(addresses(client), ['10.3.0.1'])
      assert.deepEqual(leases(gateway), ['10.3.0.1 client@example.org online'])
      assert.ok(await world.ping(client, '10.3.0.1', OFFICE_HOST))
    },
  )
}

scenario('when all addresses are in use the next client hears INTERNAL_ADDRESS_FAILURE and has no CHILD_SA', async (world) => {
  const gateway = gatewayWith(world, {}, [pool('clients', '10.3.0.1', 1)])
  const [alice, bob] = ['alice', 'bob'].map((name, at) =>
    clientWith(world, { localId: name }, { name, address: `198.51.100.${7 + at}` }),
  ) as [SimulatedNode, SimulatedNode]
  await world.initiate(alice)
  await world.initiate(bob).catch(() => undefined)
  assert.deepEqual(traffic(bob), [])
  assert.match(gateway.said('child-failed'), /^no virtual IP found, sending INTERNAL_ADDRESS_FAILURE/)
  assert.match(bob.said('child-failed'), /INTERNAL_ADDRESS_FAILURE/)
  assert.deepEqual(leases(gateway), ['10.3.0.1 alice online'])
  assert.ok(await world.ping(alice, '10.3.0.1', OFFICE_HOST))
})

scenario('a client that asks for no address where it should hears FAILED_CP_REQUIRED', async (world) => {
  const gateway = gatewayWith(world)
  const client = clientWith(world, { vips: [] })
  await world.initiate(client).catch(() => undefined)
  assert.deepEqual(traffic(client), [])
  assert.match(gateway.said('child-failed'), /^expected a virtual IP request, sending FAILED_CP_REQUIRED/)
  assert.match(client.said('child-failed'), /FAILED_CP_REQUIRED/)
  assert.equal(NotifyType.FAILED_CP_REQUIRED, 37)
})
