/** Several connections that a peer may be meant for: the best match, and another one where it turns out not to fit. */
import assert from 'node:assert/strict'

import { configuration, PSK, type ConnectionWords, type SecretWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, flows, GATEWAY } from './places.ts'
import { scenario, type World } from './world.ts'

const OFFICE = { local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] }

function gatewayWith(world: World, connections: readonly ConnectionWords[], secrets?: readonly SecretWords[]): SimulatedNode {
  return world.addNode(
    'gateway',
    GATEWAY,
    configuration(
      connections.map((words) => ({ ...OFFICE, ...words })),
      {},
      secrets,
    ),
  )
}

/** Whom the gateway took the client for, after the tunnel carried packets. */
async function chosen(world: World, gateway: SimulatedNode, client: SimulatedNode): Promise<string> {
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  return gateway.session.sa.connection!.name
}

scenario('of two connections with the same addresses the identity of the peer decides', async (world) => {
  const gateway = gatewayWith(world, [
    { connection: 'dave', localId: 'gateway.example.org', remoteId: 'dave@example.org' },
    { connection: 'client', localId: 'gateway.example.org', remoteId: 'client@example.org' },
  ])
  assert.equal(await chosen(world, gateway, addClient(world)), 'client')
})

scenario('of two connections for the same peer the one with the identity that the peer asks for', async (world) => {
  const gateway = gatewayWith(world, [
    { connection: 'other', localId: 'other.example.org' },
    { connection: 'gateway', localId: 'gateway.example.org' },
  ])
  assert.equal(await chosen(world, gateway, addClient(world)), 'gateway')
})

scenario('where the best match has another secret with the peer, the next is switched to', async (world) => {
  const gateway = gatewayWith(
    world,
    [
      { connection: 'first', localId: 'first.example.org' },
      { connection: 'second', localId: 'second.example.org' },
    ],
    [
      { text: 'something else altogether', owners: ['first.example.org'] },
      { text: PSK, owners: ['second.example.org'] },
    ],
  )
  // It asks for nobody in particular.
  assert.equal(await chosen(world, gateway, addClient(world, { remoteId: '%any' })), 'second')
  assert.equal(gateway.said('connection-switched'), "switching to peer config 'second'")
  assert.ok(gateway.lines.some(({ message }) => message === "selected peer config 'first' unacceptable: not proven"))
})

scenario('a peer that has the secret of none of them is refused', async (world) => {
  const gateway = gatewayWith(
    world,
    [
      { connection: 'first', localId: 'first.example.org' },
      { connection: 'second', localId: 'second.example.org' },
    ],
    [
      { text: 'something else altogether', owners: ['first.example.org'] },
      { text: 'and something else again', owners: ['second.example.org'] },
    ],
  )
  const error = await world.failure(addClient(world, { remoteId: '%any' }).gateway.initiate('home', 'net'))
  assert.equal(error.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.deepEqual(gateway.eventsOf('connection-switched'), [])
  assert.deepEqual(gateway.sessions(), [])
})

scenario('what IKE_SA_INIT agreed on with one connection counts for another that has it too, and for no other', async (world) => {
  const gateway = gatewayWith(world, [
    {
      connection: 'no ecp',
      localId: 'gateway.example.org',
      remoteId: 'client@example.org',
      ikeProposals: ['aes256gcm16-prfsha384-ecp384'],
    },
    { connection: 'address', localId: 'gateway.example.org', remoteAddresses: ['198.51.100.7'] },
    {
      connection: 'identity',
      localId: 'gateway.example.org',
      remoteAddresses: ['198.51.100.0/24'],
      remoteId: 'client@example.org',
    },
  ])
  // 'address' is the better address, 'identity' the better identity: the order of the configuration decides.
  assert.equal(await chosen(world, gateway, addClient(world)), 'address')
})

scenario('the children of the connection that was chosen count, not those of another one (strongSwan)', async (world) => {
  const gateway = gatewayWith(world, [
    { connection: 'best', localId: 'gateway.example.org', remoteId: 'client@example.org', remote: ['10.9.0.0/16'] },
    { connection: 'any', localId: 'gateway.example.org' },
  ])
  const client = addClient(world)
  await world.initiate(client)
  assert.equal(gateway.session.sa.connection!.name, 'best')
  assert.deepEqual(gateway.session.sa.children, [])
  assert.equal(client.eventsOf('child-failed').length, 1)
})

scenario(
  'of several children the one whose traffic is what the peer wants, not the first that allows it (strongSwan)',
  async (world) => {
    const gateway = gatewayWith(world, [
      {
        localId: 'gateway.example.org',
        children: [
          { name: 'wide', ...OFFICE, proposals: ['aes256gcm16'] },
          { name: 'exact', ...OFFICE, remote: ['10.2.0.0/24'] },
          { name: 'wider', local: ['10.0.0.0/8'], remote: ['10.0.0.0/8'] },
        ],
      },
    ])
    const client = addClient(world, { local: ['10.2.0.0/24'], remote: ['10.1.0.0/16'] })
    await world.initiate(client)
    assert.equal(gateway.session.sa.children[0]!.connection.name, 'exact')
  },
)
