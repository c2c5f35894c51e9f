/**
 * What becomes of IKE_SAs and CHILD_SAs when the configuration they were made from is loaded again, changed, or gone:
 * strongSwan's rules (its vici_config.c), the same for a client's load-conn and for the daemon's SIGHUP.
 */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { configuration, connection, sharedSecret, type ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { summaryOf } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { beginIkeRekey, standing } from './standing.ts'
import { scenario, type World } from './world.ts'

const STARTED: ConnectionWords = {
  remoteAddresses: [GATEWAY],
  localId: 'client@example.org',
  remoteId: 'gateway.example.org',
  local: ['10.2.0.0/16'],
  remote: ['10.1.0.0/16'],
  start: true,
}

/** A client that starts its connection by itself, once it is up, and its gateway. */
async function started(world: World, words: ConnectionWords = {}): Promise<readonly [SimulatedNode, SimulatedNode]> {
  const gateway = addGateway(world)
  const client = addClient(world, { ...STARTED, ...words })
  client.gateway.start()
  await world.pass(SECOND)
  assert.equal(client.session.sa.children.length, 1)
  return [client, gateway]
}

const numbers = (node: SimulatedNode): readonly number[] => node.sessions().map(({ sa }) => sa.uniqueId)

scenario('the same configuration again changes nothing: nobody hears of it, nothing is sent', async (world) => {
  const [client] = await started(world)
  const [mark, events] = [world.mark, client.events.length]
  client.gateway.reload(configuration([STARTED]))
  client.gateway.reload(configuration([STARTED]))
  assert.equal(client.gateway.configured.loadConnection(connection(STARTED)), 'unchanged')
  await world.pass(MINUTE)
  assert.deepEqual([world.countSent('request', mark), client.events.length - events], [0, 0])
  assert.deepEqual(numbers(client), [1])
})

scenario('a connection that goes takes what it had started with it, and starts once when it comes back', async (world) => {
  const [client, gateway] = await started(world)
  client.gateway.reload(configuration([]))
  await world.pass(SECOND)
  assert.deepEqual([numbers(client), numbers(gateway)], [[], []])
  client.gateway.reload(configuration([STARTED]))
  await world.pass(SECOND)
  assert.deepEqual(numbers(client), [2])
  assert.ok(await flows(world, client, gateway))
})

scenario('a connection that comes back before its IKE_SA has gone leaves one IKE_SA in the end', async (world) => {
  const [client, gateway] = await started(world)
  client.gateway.reload(configuration([]))
  client.gateway.reload(configuration([STARTED]))
  await world.pass(SECOND)
  assert.deepEqual(numbers(client), [2])
  assert.equal(gateway.sessions().length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('an IKE_SA that was not started here outlives its connection, and is not started a second time', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  client.gateway.reload(configuration([]))
  await world.pass(MINUTE)
  assert.deepEqual(numbers(client), [1])
  assert.ok(await flows(world, client, gateway))
  // Once the flaw: the connection was new to the reload, so it began although it was up.
  client.gateway.reload(configuration([STARTED]))
  await world.pass(MINUTE)
  assert.deepEqual(numbers(client), [1])
  assert.equal(gateway.sessions().length, 1)
})

scenario('SAs that the peer began go on when their connection is replaced, new ones follow the new one', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  const changed = { localId: 'gateway.example.org', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'], remoteId: 'nobody.example' }
  assert.equal(gateway.gateway.configured.loadConnection(connection(changed)), 'replaced')
  await world.pass(MINUTE)
  assert.ok(await flows(world, client, gateway))
  assert.equal((await world.failure(client.gateway.initiate('home', 'net'))).code, 'PEER_SAID_AUTHENTICATION_FAILED')
})

scenario('what was started is made anew when its connection or its child is changed', async (world) => {
  const [client, gateway] = await started(world)
  const { configured } = client.gateway
  assert.equal(configured.loadConnection(connection({ ...STARTED, mobike: false })), 'replaced')
  await world.pass(SECOND)
  assert.deepEqual(numbers(client), [2])
  assert.equal(configured.loadConnection(connection({ ...STARTED, mobike: false, local: ['10.2.0.0/24'] })), 'updated')
  await world.pass(SECOND)
  assert.deepEqual(numbers(client), [2], 'in the same IKE_SA')
  assert.equal(client.session.sa.children.length, 1)
  assert.equal(client.session.sa.children[0]!.traffic, '10.2.0.0/24 === 10.1.0.0/16')
  assert.equal(gateway.sessions().length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('a child beside the one that is up is asked for in its IKE_SA, whose peer may not want it', async (world) => {
  const [client, gateway] = await started(world)
  const { configured } = client.gateway
  const child = { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], start: true }
  const other = { name: 'other', local: ['10.3.0.0/16'], remote: ['10.1.0.0/16'] }
  assert.equal(configured.loadConnection(connection({ ...STARTED, children: [child, other] })), 'updated')
  await world.pass(SECOND)
  assert.deepEqual(numbers(client), [1])
  // The IKE_SA has it now, so that the peer could be asked for it.
  assert.deepEqual(
    client.session.sa.connection!.children.map(({ name }) => name),
    ['net', 'other'],
  )
  configured.loadConnection(connection({ ...STARTED, children: [child, { ...other, start: true }] }))
  await world.pass(SECOND)
  const failed = client.events.find((event) => event.event === 'child-failed')
  assert.deepEqual([failed?.name, failed?.error.code], ['other', 'PEER_SAID_TS_UNACCEPTABLE'])
  assert.deepEqual(numbers(client), [1])
  assert.ok(await flows(world, client, gateway))
})

scenario('a start that is still on its way is given up with its connection, however often it was to be tried', async (world) => {
  const client = addClient(world, { ...STARTED, keyingTries: 0 })
  client.gateway.start()
  await world.pass(MINUTE)
  assert.equal(client.session.sa.state, 'connecting')
  assert.equal(client.gateway.configured.unloadConnection('home'), true)
  const mark = world.mark
  await world.pass(10 * MINUTE)
  assert.deepEqual([numbers(client), world.countSent('request', mark)], [[], 0])
})

scenario('a start whose peer is still looked up is given up with its connection', async (world) => {
  world.network.names.set('gateway.example.org', [])
  const client = addClient(world, { ...STARTED, remoteAddresses: ['gateway.example.org'] })
  client.gateway.start()
  client.gateway.configured.unloadConnection('home')
  await world.pass(MINUTE)
  assert.deepEqual(
    client.events.map(({ event }) => event),
    ['configuration-changed'],
  )
})

scenario('a changed connection that is still on its way begins anew, once', async (world) => {
  const client = addClient(world, { ...STARTED, remoteAddresses: ['203.0.113.99'] })
  client.gateway.start()
  await world.pass(SECOND)
  addGateway(world)
  assert.equal(client.gateway.configured.loadConnection(connection(STARTED)), 'replaced')
  await world.pass(SECOND)
  assert.deepEqual(numbers(client), [2])
  assert.equal(client.session.sa.state, 'established')
})

scenario('another pre-shared key counts from the next IKE_SA on', async (world) => {
  const [client, gateway] = await started(world)
  const [before] = gateway.gateway.configured.secrets()
  gateway.gateway.reload({ ...gateway.configuration, secrets: [sharedSecret({ text: 'another one' })] })
  assert.throws(() => before!.secret.dangerouslyReveal(), /destroyed/)
  await world.pass(MINUTE)
  assert.ok(await flows(world, client, gateway))
  assert.equal((await world.failure(client.gateway.initiate('home', 'net'))).code, 'PEER_SAID_AUTHENTICATION_FAILED')
})

scenario('what a client loaded stays when the files are read again, what the files had goes with them', async (world) => {
  const node = world.addNode('gateway', GATEWAY, configuration([{ connection: 'file' }, { connection: 'both' }]))
  const { configured } = node.gateway
  const names = (): readonly string[] => configured.connections().map(({ name }) => name)
  assert.equal(configured.loadConnection(connection({ connection: 'client', remoteAddresses: [CLIENT] })), 'added')
  assert.equal(configured.loadConnection(connection({ connection: 'both' })), 'unchanged')
  assert.deepEqual(names(), ['file', 'both', 'client'])
  node.gateway.reload(configuration([{ connection: 'both' }, { connection: 'new' }]))
  assert.deepEqual(names(), ['both', 'client', 'new'])
  node.gateway.reload(configuration([{ connection: 'client', remoteAddresses: [CLIENT] }]))
  assert.deepEqual(names(), ['client'])
  // It is the files' now.
  node.gateway.reload(configuration([]))
  assert.deepEqual(names(), [])
  assert.equal(configured.unloadConnection('client'), false)
})

scenario('a child that is new while the IKE_SA is rekeyed is started in the one that comes of it', async (world) => {
  const words = { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ke1_mlkem512'] }
  const child = { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], start: true }
  const other = { name: 'other', local: ['10.3.0.0/16'], remote: ['10.1.0.0/16'], start: true }
  const gateway = addGateway(world, { ...words, remote: ['10.2.0.0/16', '10.3.0.0/16'] })
  const client = addClient(world, { ...STARTED, ...words })
  client.gateway.start()
  await world.pass(SECOND)
  const heal = world.network.tap((sent) => (summaryOf(sent).startsWith('IKE_FOLLOWUP_KE') ? [] : [sent]))
  const rekeyed = beginIkeRekey(client)
  await world.until(() => client.sessions().length === 2, 'another one is in the making')
  client.gateway.configured.loadConnection(connection({ ...STARTED, ...words, children: [child, other] }))
  heal()
  await world.outcome(rekeyed)
  await world.pass(SECOND)
  for (const node of [client, gateway]) assert.deepEqual([numbers(node).length, standing(node).sa.children.length], [1, 2])
})
