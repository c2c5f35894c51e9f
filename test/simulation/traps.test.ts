/**
 * Traps and shunts: traffic that makes its own tunnel (RFC 7296 2.9), and traffic that never gets one. What a trap
 * watches over never leaves in the clear, whatever becomes of the tunnel.
 */
import assert from 'node:assert/strict'

import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import type { PlainPacket } from '../../src/edge/memory-kernel.ts'
import type { Policy } from '../../src/kernel/vocabulary.ts'
import { formatSelector } from '../../src/negotiate/selectors.ts'
import { configuration } from './configuration.ts'
import { echoRequest, type SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const UDP = 17
const OTHER_HOST = '10.2.0.77'

function datagram(source: string, destination: string, port = 7): PlainPacket {
  const [from, to] = [IpAddress.parse(source), IpAddress.parse(destination)]
  return { source: from, destination: to, protocol: UDP, sourcePort: 1234, destinationPort: port, length: 100 }
}

/** Sends a ping a second, as a user would, until one comes back; how many were lost before. */
async function lostUntilAnswered(
  world: World,
  from: SimulatedNode,
  source = HOME_HOST,
  destination = OFFICE_HOST,
): Promise<number> {
  for (let lost = 0; lost < 600; lost++) {
    if (await world.ping(from, source, destination)) return lost
    await world.pass(SECOND)
  }
  throw new Error('no ping comes back within ten minutes')
}

/** After every step: such a packet would not leave in the clear. */
function watch(world: World, node: SimulatedNode, packet: PlainPacket): void {
  const holdsBack = ({ direction, template, selector }: Policy): boolean =>
    direction === 'out' &&
    template !== null &&
    selector.source.contains(packet.source) &&
    selector.destination.contains(packet.destination)
  world.invariants.push(() => assert.ok(node.kernel.policies().some(holdsBack), `${node.name} sends nothing in the clear`))
}

function traffic(node: SimulatedNode): string[] {
  return node
    .sessions()
    .flatMap(({ sa }) =>
      sa.children.map(({ localSelectors, remoteSelectors }) =>
        [localSelectors, remoteSelectors].map((list) => list.map(formatSelector).join(' ')).join(' === '),
      ),
    )
}

scenario('a packet that meets a trap brings the tunnel up, and the flow works', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { trap: true })
  client.gateway.start()
  await world.pass(SECOND)
  assert.equal(client.kernel.policies().length, 3)
  assert.equal(world.sent().length, 0)
  const lost = await lostUntilAnswered(world, client)
  assert.ok(lost >= 1 && lost <= 3)
  assert.deepEqual(traffic(client), ['10.2.0.0/16 === 10.1.0.0/16'])
  assert.ok(await world.ping(gateway, OFFICE_HOST, HOME_HOST))
  const log = client.lines.map(({ message }) => message)
  assert.ok(log.includes("installing 'net'"))
  assert.ok(
    log.some((line) =>
      /^creating acquire job for policy 10\.2\.0\.9\/32\[icmp\/8\] === 10\.1\.0\.9\/32\[icmp\/8\] with reqid \{1\}, seq \{1\}$/.test(
        line,
      ),
    ),
  )
  // The state of the packet that asked is answered by its number: the kernel asks again as soon as there is no CHILD_SA.
  assert.equal(client.kernel.states().find(({ direction }) => direction === 'out')?.acquireSequence, 1)
  assert.equal(client.session.sa.children[0]!.reqid, 1)
})

scenario('a responder that narrows to the packet keeps the packet, and other packets ask again', async (world) => {
  const gateway = addGateway(world, {
    children: [{ remote: ['10.2.0.9'] }, { remote: ['10.2.0.77'], name: 'other' }].map((one) => ({
      local: ['10.1.0.0/16'],
      ...one,
    })),
  })
  const client = addClient(world, { trap: true })
  client.gateway.start()
  await world.pass(SECOND)
  await lostUntilAnswered(world, client)
  await lostUntilAnswered(world, client, OTHER_HOST)
  assert.deepEqual(traffic(client), ['10.2.0.9/32 === 10.1.0.0/16', '10.2.0.77/32 === 10.1.0.0/16'])
  assert.equal(client.sessions().length, 1)
  assert.equal(new Set(client.session.sa.children.map(({ reqid }) => reqid)).size, 2)
  assert.ok(await world.ping(gateway, OFFICE_HOST, OTHER_HOST))
  // A rekey asks for what there is, not for what is configured (RFC 7296 2.9.2).
  client.gateway.control.rekey({ ike: null, ikeId: null, child: 'net', childId: null }, false)
  await world.pass(30 * SECOND)
  assert.deepEqual(traffic(client).toSorted(), ['10.2.0.77/32 === 10.1.0.0/16', '10.2.0.9/32 === 10.1.0.0/16'])
  assert.ok(await world.ping(client, OTHER_HOST, OFFICE_HOST))
})

scenario('while one negotiation is under way, no packet begins another', async (world) => {
  const gateway = addGateway(world)
  gateway.isAsleep = true
  const client = addClient(world, { trap: true })
  client.gateway.start()
  await world.pass(SECOND)
  // Longer than the kernel waits for an answer: it asks again meanwhile.
  for (let second = 0; second < 300; second++) {
    client.sendPlain(datagram(HOME_HOST, OFFICE_HOST, second % 9))
    await world.pass(SECOND)
    assert.ok(client.sessions().length <= 1)
  }
  assert.ok(client.eventsOf('ike-initiating').length <= 2)
  gateway.isAsleep = false
  await lostUntilAnswered(world, client)
  assert.equal(client.sessions().length, 1)
})

scenario('the tunnel gone, the trap is in force at once, and the next packet brings the tunnel back', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { trap: true })
  client.gateway.start()
  await world.until(() => client.kernel.policies().length === 3, 'the trap is set')
  watch(world, client, datagram(HOME_HOST, OFFICE_HOST))
  for (const terminated of [client, gateway, client]) {
    await lostUntilAnswered(world, client)
    const termination = terminated.gateway.control.terminate(
      { ike: 'home', ikeId: null, child: null, childId: null },
      { patience: 'for-ever', force: false },
    )
    assert.equal(await world.outcome(termination.carryOut()), 1)
    await world.pass(SECOND)
    assert.equal(client.sessions().length, 0)
    assert.equal(client.kernel.policies().length, 3)
    assert.equal(client.gateway.books.installed.states, 0)
  }
  world.invariants.length = 0
})

scenario('another child of the IKE_SA is made in it', async (world) => {
  addGateway(world, {
    children: [
      { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
      { name: 'lab', local: ['10.9.0.0/16'], remote: ['10.2.0.0/16'] },
    ],
  })
  const client = addClient(world, {
    children: [
      { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], start: true },
      { name: 'lab', local: ['10.2.0.0/16'], remote: ['10.9.0.0/16'], trap: true },
    ],
  })
  client.gateway.start()
  // The packet comes while the IKE_SA is being made.
  await world.until(() => client.kernel.policies().length === 3 && client.sessions().length === 1, 'the trap is set')
  assert.equal(client.sendPlain(datagram(HOME_HOST, '10.9.0.1')), 'acquire')
  await world.pass(5 * SECOND)
  assert.equal(client.sessions().length, 1)
  assert.deepEqual(client.session.sa.children.map(({ connection }) => connection.name).toSorted(), ['lab', 'net'])
})

scenario('trap|start: one tunnel, whoever asks first', async (world) => {
  addGateway(world)
  const client = addClient(world, { trap: true, start: true })
  client.gateway.start()
  await world.until(() => client.kernel.policies().length === 3, 'the trap is set')
  watch(world, client, datagram(HOME_HOST, OFFICE_HOST))
  client.sendPlain(datagram(HOME_HOST, OFFICE_HOST))
  await world.pass(10 * SECOND)
  assert.equal(client.sessions().length, 1)
  assert.equal(client.session.sa.children.length, 1)
  assert.equal(client.eventsOf('ike-initiating').length, 1)
  // The question was answered though nothing was negotiated for it.
  assert.equal(client.kernel.states().find(({ direction }) => direction === 'out')?.acquireSequence, 1)
  world.invariants.length = 0
})

scenarioOverSeeds('both sides have a trap, over a bad wire', 12, async (world) => {
  const gateway = addGateway(world, { trap: true, remoteAddresses: [CLIENT], dpdDelay: 30 })
  const client = addClient(world, { trap: true, dpdDelay: 30 })
  for (const node of [gateway, client]) {
    node.link.loss = 0.2
    node.gateway.start()
  }
  await world.pass(SECOND)
  watch(world, client, datagram(HOME_HOST, OFFICE_HOST))
  watch(world, gateway, datagram(OFFICE_HOST, HOME_HOST))
  client.sendPlain(datagram(HOME_HOST, OFFICE_HOST))
  gateway.sendPlain(datagram(OFFICE_HOST, HOME_HOST))
  await world.pass(4 * MINUTE)
  for (const node of [gateway, client]) node.link.loss = 0
  // When both begin at once, INITIAL_CONTACT may take away one that the other side believes in: until it asks.
  await world.pass(5 * MINUTE)
  await lostUntilAnswered(world, client)
  await lostUntilAnswered(world, gateway, OFFICE_HOST, HOME_HOST)
  world.invariants.length = 0
})

scenario('a trap that is changed or moved is replaced without a moment in between; what is gone is gone', async (world) => {
  addGateway(world)
  const words = { remoteAddresses: [GATEWAY], localId: 'client@example.org', remoteId: 'gateway.example.org', trap: true }
  const config = (change: object): ReturnType<typeof configuration> =>
    configuration([{ ...words, local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], ...change }])
  const client = addClient(world, { trap: true })
  client.gateway.start()
  await world.pass(SECOND)
  const packet = datagram(HOME_HOST, OFFICE_HOST)
  watch(world, client, packet)
  for (const change of [
    { remote: ['10.0.0.0/8'] },
    { remote: ['10.1.0.0/16'], keyingTries: 3 },
    { remote: ['10.1.0.0/16'], dpdAction: 'trap' },
  ]) {
    client.gateway.reload(config(change))
    await world.pass(SECOND)
    assert.equal(client.kernel.policies().length, 3)
  }
  await lostUntilAnswered(world, client)
  client.gateway.reload(config({ trap: false }))
  await world.pass(SECOND)
  // The CHILD_SA was made by traffic and stays (strongSwan).
  assert.equal(client.session.sa.children.length, 1)
  assert.equal(client.kernel.policies().length, 3)
  world.invariants.length = 0
  client.gateway.reload(configuration([]))
  await world.pass(SECOND)
  assert.deepEqual(client.gateway.control.policies(), [])
})

scenario('shunts need no peer: what passes goes before the tunnel, what is dropped after it', async (world) => {
  addGateway(world)
  const client = addClient(world, {
    children: [
      { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], start: true },
      { name: 'dns', mode: 'pass', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16[udp/53]'], trap: true },
      { name: 'rest', mode: 'drop', remote: ['10.0.0.0/8'], start: true },
    ],
  })
  client.gateway.start()
  await world.pass(5 * SECOND)
  assert.equal(client.session.sa.children.length, 1)
  assert.equal(client.sendPlain(datagram(HOME_HOST, OFFICE_HOST, 53)), 'clear')
  assert.equal(client.sendPlain(datagram(HOME_HOST, OFFICE_HOST)), 'protected')
  assert.equal(client.sendPlain(datagram(HOME_HOST, '10.7.0.1')), 'blocked')
  assert.equal(client.sendPlain(datagram(HOME_HOST, '192.0.2.9')), 'clear')
  // Nobody gets a CHILD_SA of them.
  const failure = await world.failure(client.gateway.initiate('home', 'dns'))
  assert.match(failure.message, /pass policy|IKE_SA is up, but/)
})

scenario('a host name without an address: the trap holds back all the same, and finds it when it is needed', async (world) => {
  addGateway(world)
  const client = addClient(
    world,
    { trap: true, remoteAddresses: ['gate.example'] },
    { settings: { retryInitiateInterval: 10 * SECOND } },
  )
  client.gateway.start()
  await world.pass(SECOND)
  assert.equal(client.sendPlain(echoRequest(IpAddress.parse(HOME_HOST), IpAddress.parse(OFFICE_HOST))), 'acquire')
  await world.pass(25 * SECOND)
  assert.equal(client.eventsOf('initiating-later').length, 3)
  world.network.names.set('gate.example', [IpAddress.parse(GATEWAY)])
  await lostUntilAnswered(world, client)
  assert.equal(client.session.sa.children.length, 1)
})

scenario('dynamic selectors need an address: without one there is no trap, and it is said', async (world) => {
  const client = addClient(world, { trap: true, remoteAddresses: ['gate.example'], remote: ['dynamic'] })
  client.gateway.start()
  await world.pass(SECOND)
  assert.match(client.said('policies-failed'), /^installing trap 'net' failed: .*host name has none/)
  assert.deepEqual(client.kernel.policies(), [])
  addGateway(world, { local: ['dynamic'] })
  world.network.names.set('gate.example', [IpAddress.parse(GATEWAY)])
  await world.outcome(client.gateway.control.install({ ike: null, child: 'net' }))
  await lostUntilAnswered(world, client, HOME_HOST, GATEWAY)
})

scenario('what the kernel refuses is told, and nothing is left of the trap', async (world) => {
  const client = addClient(world, { trap: true })
  client.refuse = (operation) => (operation.op === 'set-policy' && operation.policy.direction === 'out' ? 12 : null)
  client.gateway.start()
  await world.pass(SECOND)
  assert.match(client.said('policies-failed'), /the kernel refused to set the out policy/)
  assert.deepEqual(client.kernel.policies(), [])
  client.refuse = null
  addGateway(world)
  await world.initiate(client)
})
