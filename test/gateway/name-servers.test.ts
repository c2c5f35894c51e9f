/** DNS servers of peers, in a resolver that notes them. */
import assert from 'node:assert/strict'

import type { Pool } from '../../src/address/pool.ts'
import { IpAddress, IpRange } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { NameServers } from '../../src/gateway/name-servers.ts'
import { deleteIkeSa } from '../../src/ike/delete.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { NameServer, Resolver } from '../../src/ports.ts'
import type { SimulatedNode } from '../simulation/node.ts'
import { addClient, addGateway } from '../simulation/places.ts'
import { scenario, type World } from '../simulation/world.ts'

class NotedResolver implements Resolver {
  readonly place = 'to the notes'
  readonly said: string[] = []
  readonly events: IkeEvent[] = []
  refusal: string | null = null

  use(servers: readonly NameServer[]): Promise<string | null> {
    this.said.push(servers.map(({ address, interface: name }) => `${address.toString()}@${name ?? '-'}`).join(' '))
    return Promise.resolve(this.refusal)
  }
}

function follow(node: SimulatedNode, updownHandlesNameServers = false): NotedResolver {
  const resolver = new NotedResolver()
  const nameServers = new NameServers(
    resolver,
    { interfaceTo: (local) => Promise.resolve(node.interfaces.with(local)?.name ?? null) },
    () => ({ updownHandlesNameServers }),
    (event) => void resolver.events.push(event),
  )
  node.listeners.push((event) => nameServers.handle(event))
  return resolver
}

const server = (type: number, text: string): Pool['attributes'][number] => ({ type, value: IpAddress.parse(text).bytes })
const SERVERS = [
  server(3, '10.1.0.53'),
  server(3, '0.0.0.0'),
  server(3, '10.1.0.53'),
  server(10, 'fd00:1::53'),
  { type: 3, value: Uint8Array.of(1, 2) },
]
const gatewayWith = (world: World, attributes = SERVERS): SimulatedNode =>
  addGateway(
    world,
    { remote: ['dynamic'], pools: ['clients'] },
    { pools: [{ name: 'clients', base: IpAddress.parse('10.3.0.1'), size: 5, attributes }] },
  )
const clientWith = (world: World, words = {}): SimulatedNode =>
  addClient(world, { local: ['dynamic'], vips: ['0.0.0.0'], ...words })
const close = (world: World, node: SimulatedNode): Promise<unknown> =>
  world.outcome(node.session.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))

scenario(
  'the servers of both families are used, each once, as long as the IKE_SA is there, whatever new keys it gets',
  async (world) => {
    gatewayWith(world)
    const client = clientWith(world)
    const resolver = follow(client)
    await world.initiate(client)
    assert.deepEqual(resolver.said, ['10.1.0.53@eth0 fd00:1::53@eth0'])
    await world.outcome(client.session.runExchange(rekeyIkeSa))
    await world.pass(MINUTE)
    client.session.enqueue(() => reauthenticate(client.session))
    await world.pass(MINUTE)
    assert.equal(resolver.said.length, 1)
    await close(world, client)
    await world.pass(SECOND)
    assert.deepEqual(resolver.said.slice(1), [''])
    assert.deepEqual(
      resolver.events.map((event) =>
        event.event === 'name-server-changed' ? `${event.change} ${event.address.toString()}` : event.event,
      ),
      ['installing 10.1.0.53', 'installing fd00:1::53', 'removing 10.1.0.53', 'removing fd00:1::53'],
    )
  },
)

scenario('what two IKE_SAs are told of is there until the last of them ends', async (world) => {
  gatewayWith(world, [server(3, '10.1.0.53')])
  addGateway(
    world,
    { remote: ['dynamic'], pools: ['clients'], local: ['10.9.0.0/16'] },
    {
      name: 'other',
      address: '203.0.113.9',
      pools: [
        {
          name: 'clients',
          base: IpAddress.parse('10.4.0.1'),
          size: 5,
          attributes: [server(3, '10.1.0.53'), server(3, '10.9.0.53')],
        },
      ],
    },
  )
  const client = clientWith(world)
  const resolver = follow(client)
  const first = await world.initiate(client)
  const [home] = client.configuration.connections
  client.gateway.configured.loadConnection({
    ...home!,
    name: 'other',
    remoteAddresses: [{ kind: 'range', range: IpRange.parse('203.0.113.9') }],
  })
  await world.initiate(client, 'other')
  await world.outcome(first.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))
  await world.pass(SECOND)
  assert.deepEqual(resolver.said.slice(0, 2), ['10.1.0.53@eth0', '10.1.0.53@eth0 10.9.0.53@eth0'])
  assert.equal(resolver.said.length, 2)
  await close(world, client)
  await world.pass(SECOND)
  assert.deepEqual(resolver.said.slice(2), [''])
})

scenario('what the resolver refuses is told, and no reason to give up the tunnel', async (world) => {
  gatewayWith(world)
  const client = clientWith(world)
  const resolver = follow(client)
  resolver.refusal = 'exit status 1'
  await world.initiate(client)
  assert.equal(client.session.sa.children.length, 1)
  assert.ok(resolver.events.every((event) => event.event === 'name-server-changed' && event.refused === 'exit status 1'))
})

scenario(
  'servers that are for the commands of children are not touched; who asked for no address is told of none',
  async (world) => {
    gatewayWith(world)
    const client = clientWith(world)
    const resolver = follow(client, true)
    await world.initiate(client)
    assert.deepEqual(resolver.said, [])
    assert.deepEqual(client.session.sa.nameServers.map(String), ['10.1.0.53', 'fd00:1::53'])
  },
)
