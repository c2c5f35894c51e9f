/** Routes and virtual addresses that follow what happens to IKE_SAs and CHILD_SAs, on a network that notes them. */
import assert from 'node:assert/strict'

import type { Pool } from '../../src/address/pool.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { TunnelRoutes } from '../../src/gateway/tunnel-routes.ts'
import { deleteIkeSa } from '../../src/ike/delete.ts'
import type { IkeSettings } from '../../src/ike/connection.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { TunnelNetwork, TunnelRoute } from '../../src/ports.ts'
import type { ConnectionWords } from '../simulation/configuration.ts'
import type { SimulatedNode } from '../simulation/node.ts'
import { addClient, addGateway, CLIENT } from '../simulation/places.ts'
import { scenario, type World } from '../simulation/world.ts'

const ROUTER = IpAddress.parse('198.51.100.254')

class NotedNetwork implements TunnelNetwork {
  readonly addresses = new Set<string>()
  readonly routes = new Map<string, string>()
  readonly events: IkeEvent[] = []
  /** What everything is refused with. */
  refusal: string | null = null
  changes = 0
  /** Has the routes hear that the machine's network has changed. */
  refresh = (): void => undefined
  /** Where the last address is. */
  interfaceIndex = 0

  wayTo = (): Promise<{ interfaceIndex: number; gateway: IpAddress }> => Promise.resolve({ interfaceIndex: 2, gateway: ROUTER })
  addAddress(address: IpAddress, interfaceIndex: number): Promise<string | null> {
    this.interfaceIndex = interfaceIndex
    return this.#change(() => void this.addresses.add(address.toString()))
  }
  removeAddress(address: IpAddress): Promise<string | null> {
    return this.#change(() => assert.ok(this.addresses.delete(address.toString()), 'what is removed is there'))
  }
  addRoute({ destination, source, way, mtu }: TunnelRoute): Promise<string | null> {
    const text = way === null ? 'throw' : `via ${way.gateway?.toString() ?? '-'} src ${String(source)} mtu ${mtu}`
    return this.#change(() => void this.routes.set(destination.toString(), text))
  }
  removeRoute({ destination }: TunnelRoute): Promise<string | null> {
    return this.#change(() => assert.ok(this.routes.delete(destination.toString()), 'what is removed is there'))
  }
  async #change(change: () => void): Promise<string | null> {
    this.changes++
    if (this.refusal === null) change()
    return this.refusal
  }
}

function follow(node: SimulatedNode, settings: Partial<IkeSettings> = {}): NotedNetwork {
  const network = new NotedNetwork()
  const host = {
    addresses: () => node.addresses.map((address) => ({ address, interface: 'eth0' })),
    isIgnored: () => false,
    reaches: () => Promise.resolve(true),
    mtu: () => Promise.resolve(1500),
    interfaceTo: () => Promise.resolve('eth0'),
    interfaceIndex: (name: string) => (name === 'dummy0' ? 7 : null),
  }
  const all = { ...node.configuration.settings, ...settings }
  const routes = new TunnelRoutes(
    network,
    host,
    () => all,
    () => node.gateway.traps.inForce(),
    (event) => void network.events.push(event),
  )
  node.listeners.push((event) => routes.handle(event))
  network.refresh = () => routes.refresh()
  return network
}

const POOL: Pool = { name: 'clients', base: IpAddress.parse('10.3.0.1'), size: 5, attributes: [] }
const pair = (world: World, words: ConnectionWords = {}): [SimulatedNode, SimulatedNode] => [
  addGateway(world, { remote: ['dynamic'], pools: ['clients'] }, { pools: [POOL] }),
  addClient(world, { local: ['dynamic'], vips: ['0.0.0.0'], ...words }),
]
const ROUTE = ['10.1.0.0/16', 'via 198.51.100.254 src 10.3.0.1 mtu 1446']

scenario('a virtual address and the route from it are there as long as the tunnel is', async (world) => {
  const [, client] = pair(world)
  const network = follow(client)
  await world.initiate(client)
  assert.deepEqual([...network.addresses], ['10.3.0.1'])
  assert.deepEqual([...network.routes], [ROUTE])
  assert.deepEqual(
    network.events.map(({ event }) => event),
    ['virtual-address-installed', 'route-installed'],
  )
  await world.outcome(client.session.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))
  await world.pass(SECOND)
  assert.deepEqual([network.addresses.size, network.routes.size], [0, 0])
})

scenario('what the machine has lost comes back, but nothing of a tunnel that has just gone', async (world) => {
  const [, client] = pair(world)
  const network = follow(client)
  await world.initiate(client)
  network.addresses.clear()
  network.routes.clear()
  network.refresh()
  await world.pass(SECOND)
  assert.deepEqual([...network.addresses], ['10.3.0.1'])
  assert.deepEqual([...network.routes], [ROUTE])
  // The news comes while the removal waits for its turn.
  client.listeners.push(({ event }) => (event === 'ike-closed' ? network.refresh() : undefined))
  await world.outcome(client.session.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))
  await world.pass(SECOND)
  assert.deepEqual([network.addresses.size, network.routes.size], [0, 0])
})

scenario('they stay, untouched, while CHILD_SA and IKE_SA get new keys and the IKE_SA is made anew', async (world) => {
  const [, client] = pair(world)
  const network = follow(client)
  await world.initiate(client)
  const { changes } = network
  await world.outcome(client.session.runExchange((session) => rekeyChild(session, session.sa.children[0]!)))
  await world.pass(MINUTE)
  await world.outcome(client.session.runExchange(rekeyIkeSa))
  await world.pass(MINUTE)
  client.session.enqueue(() => reauthenticate(client.session))
  await world.pass(MINUTE)
  assert.equal(network.changes, changes)
  assert.deepEqual([...network.addresses], ['10.3.0.1'])
  assert.deepEqual([...network.routes], [ROUTE])
})

scenario(
  'without an address on this side of the tunnel there is no route, nor to the peer itself, nor for single ports',
  async (world) => {
    const [gateway, client] = [addGateway(world), addClient(world)]
    const networks = [follow(gateway), follow(client)]
    await world.initiate(client)
    const host = addClient(
      world,
      { connection: 'host', localId: 'host', local: ['dynamic'], remote: ['10.1.0.0/16[tcp/22]'] },
      { name: 'host', address: '198.51.100.9' },
    )
    networks.push(follow(host))
    await world.initiate(host, 'host').catch(() => undefined)
    for (const { routes, addresses } of networks) assert.deepEqual([routes.size, addresses.size], [0, 0])
  },
)

scenario('what goes by an XFRM interface gets no route: it would lead past that', async (world) => {
  const [, client] = pair(world, { interfaceId: 42 })
  const network = follow(client)
  await world.initiate(client)
  assert.deepEqual([network.routes.size, network.addresses.size], [0, 1])
})

scenario('install_routes = no installs none', async (world) => {
  const [, client] = pair(world)
  const network = follow(client, { installRoutes: false })
  await world.initiate(client)
  assert.equal(network.routes.size, 0)
  assert.equal(network.addresses.size, 1)
})

scenario('what the kernel refuses is told, and no reason to give up the tunnel', async (world) => {
  const [, client] = pair(world)
  const network = follow(client)
  network.refusal = 'operation not permitted'
  await world.initiate(client)
  assert.deepEqual(
    network.events.map((event) => (event.event === 'network-refused' ? event.sentence : event.event)),
    [
      'installing virtual IP 10.3.0.1 failed: operation not permitted',
      'installing route 10.1.0.0/16 via 198.51.100.254 src 10.3.0.1 dev 2 mtu 1446 failed: operation not permitted',
    ],
  )
  assert.equal(client.session.sa.children.length, 1)
})

scenario('install_virtual_ip_on names the interface; one that there is not is that which leads to the peer', async (world) => {
  const [, client] = pair(world)
  const networks = ['dummy0', 'eth9'].map((virtualAddressesOn) => follow(client, { virtualAddressesOn }))
  await world.initiate(client)
  assert.deepEqual(
    networks.map(({ interfaceIndex }) => interfaceIndex),
    [7, 2],
  )
})

scenario('a trap has the routes of the tunnel to come, which that makes better, and leaves', async (world) => {
  addGateway(world, { remote: ['dynamic'] })
  const client = addClient(world, { local: ['dynamic'], trap: true })
  const network = follow(client)
  const [connection] = client.configuration.connections
  const [child] = connection!.children
  await world.outcome(client.gateway.traps.install(connection!, child!))
  await world.pass(SECOND)
  assert.deepEqual([...network.routes], [['10.1.0.0/16', `via 198.51.100.254 src ${CLIENT} mtu null`]])
  await world.initiate(client)
  await world.pass(SECOND)
  const withMtu = [['10.1.0.0/16', `via 198.51.100.254 src ${CLIENT} mtu 1446`]]
  assert.deepEqual([...network.routes], withMtu)
  // The trap as it is configured anew comes later, and yet after the CHILD_SA.
  await world.outcome(client.gateway.traps.install(connection!, { ...child!, priority: 7 }))
  await world.pass(SECOND)
  assert.deepEqual([...network.routes], withMtu)
  await world.outcome(client.session.runExchange((session) => deleteIkeSa(session, 'deleted-by-us')))
  await world.pass(SECOND)
  assert.deepEqual([...network.routes], [['10.1.0.0/16', `via 198.51.100.254 src ${CLIENT} mtu null`]])
  await world.outcome(client.gateway.traps.uninstall(connection!.name, child!.name))
  await world.pass(SECOND)
  assert.equal(network.routes.size, 0)
})

scenario('what passes in the clear is led past the routes of tunnels; what is dropped has none', async (world) => {
  const client = addClient(world, {
    children: [
      { name: 'lan', mode: 'pass', local: ['10.2.0.0/24'], remote: ['10.2.0.0/24', '10.9.0.0/16[tcp/22]'] },
      { name: 'no', mode: 'drop', local: ['0.0.0.0/0'], remote: ['10.66.0.0/16'] },
    ],
  })
  const network = follow(client)
  const [connection] = client.configuration.connections
  for (const child of connection!.children) await world.outcome(client.gateway.traps.install(connection!, child))
  await world.pass(SECOND)
  assert.deepEqual([...network.routes], [['10.2.0.0/24', 'throw']])
  await world.outcome(client.gateway.traps.stop())
  await world.pass(SECOND)
  assert.equal(network.routes.size, 0)
})
