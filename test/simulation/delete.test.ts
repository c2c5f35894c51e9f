/** Deletion (RFC 7296 1.4.1): either side, either kind, both at once. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { ExchangeType, ProtocolId } from '../../src/iana/ikev2.ts'
import { deleteChildSa, deleteIkeSa } from '../../src/ike/delete.ts'
import type { StateId } from '../../src/kernel/vocabulary.ts'
import { find } from '../../src/message/ikev2/find.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

function assertNothing(...nodes: readonly SimulatedNode[]): void {
  for (const node of nodes)
    assert.deepEqual(
      [node.sessions().length, node.kernel.states().length, node.kernel.policies().length],
      [0, 0, 0],
      `${node.name} has nothing left`,
    )
}

async function tunnel(world: World): Promise<{ client: SimulatedNode; gateway: SimulatedNode }> {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  return { client, gateway }
}

function beginDelete(node: SimulatedNode): void {
  const [child] = node.session.sa.children
  void node.session.runExchange((session) => deleteChildSa(session, child!), 'delete-child')
}

function inboundOf(node: SimulatedNode): StateId {
  const { spi, source, destination } = node.kernel.states().find(({ direction }) => direction === 'in')!
  return { spi, source, destination }
}

for (const who of ['client', 'gateway'] as const) {
  scenario(`the ${who} deletes the IKE_SA: one exchange, and nothing is left at either`, async (world) => {
    const both = await tunnel(world)
    const mark = world.mark
    await world.outcome(both[who].gateway.stop('deleted-by-us'))
    // HDR, SK { D(IKE) }  -->  <--  HDR, SK { }
    assert.equal(world.sent(mark).length, 2)
    assert.ok(world.sent(mark)[0]!.includes('INFORMATIONAL request'))
    assertNothing(both.client, both.gateway)
    const peer = who === 'client' ? both.gateway : both.client
    assert.deepEqual(
      both[who].eventsOf('ike-closed').map(({ reason }) => reason),
      ['deleted-by-us'],
    )
    assert.deepEqual(
      peer.eventsOf('ike-closed').map(({ reason }) => reason),
      ['deleted-by-peer'],
    )
    assert.deepEqual(
      peer.eventsOf('child-closed').map(({ reason }) => reason),
      ['deleted-by-peer'],
    )
  })

  scenario(`the ${who} deletes a CHILD_SA: one exchange, and the IKE_SA stays`, async (world) => {
    const both = await tunnel(world)
    const mark = world.mark
    beginDelete(both[who])
    await world.pass(SECOND)
    // HDR, SK { D(ESP, SPI) }  -->  <--  HDR, SK { D(ESP, SPI) }
    assert.equal(world.sent(mark).length, 2)
    for (const node of [both.client, both.gateway]) {
      assert.equal(node.session.sa.state, 'established')
      assert.deepEqual([node.session.sa.children, node.kernel.states(), node.kernel.policies()], [[], [], []])
    }
  })
}

scenario('edge case 57: events of the kernel were lost: what it no longer has is made anew, what it has stays', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const other = addClient(
    world,
    { local: ['10.2.7.0/24'], localId: 'other@example.org' },
    { name: 'other', address: '198.51.100.9' },
  )
  await world.initiate(client)
  await world.initiate(other)
  const id = inboundOf(client)
  // Until we know, our books and the kernel differ: that is what the event is about.
  world.checksBooks = false
  await world.outcome(client.kernel.perform([{ op: 'delete-state', id }]))
  client.gateway.handleKernelEvent({ event: 'overrun' })
  other.gateway.handleKernelEvent({ event: 'overrun' })
  await world.pass(SECOND)
  world.checksBooks = true
  // CREATE_CHILD_SA, then HDR, SK { D(ESP, SPI) }  -->  <--  HDR, SK { D(ESP, SPI) }
  assert.deepEqual([client.session.sa.children.length, client.kernel.states().length], [1, 2])
  assert.ok(!client.kernel.states().some(({ spi }) => spi === id.spi))
  assert.equal(client.eventsOf('child-closed').length, 1)
  assert.deepEqual([other.session.sa.children.length, other.eventsOf('child-closed').length], [1, 0])
  assert.equal(gateway.kernel.states().length, 4)
})

scenario('edge case 57: among the lost events was that of a soft limit: what has reached it is rekeyed, once', async (world) => {
  addGateway(world)
  const time = { rekey: 0, life: 0, rand: 0 }
  const client = addClient(world, { childLifetime: { packets: { rekey: 10n, life: 100n, rand: 0n } } })
  const other = addClient(
    world,
    {
      local: ['10.2.7.0/24'],
      localId: 'other@example.org',
      childLifetime: { time: { ...time, rekey: MINUTE, life: 60 * MINUTE } },
    },
    { name: 'other', address: '198.51.100.9' },
  )
  for (const node of [client, other]) {
    await world.initiate(node)
    node.isDeafToKernel = true
  }
  for (let i = 0; i < 10; i++) await world.ping(client, HOME_HOST, OFFICE_HOST)
  await world.pass(MINUTE)
  for (const node of [client, other]) {
    assert.equal(node.eventsOf('child-rekeyed').length, 0)
    node.isDeafToKernel = false
    node.gateway.handleKernelEvent({ event: 'overrun' })
  }
  await world.pass(SECOND)
  for (const node of [client, other]) assert.equal(node.eventsOf('child-rekeyed').length, 1)
})

scenario('both delete the IKE_SA at the same time: both answer, nobody waits', async (world) => {
  const { client, gateway } = await tunnel(world)
  const start = world.clock.now()
  await world.outcome(Promise.all([client.gateway.stop('deleted-by-us'), gateway.gateway.stop('deleted-by-us')]))
  assert.ok(world.clock.now() - start < SECOND)
  assertNothing(client, gateway)
})

scenario('both delete the same CHILD_SA at the same time: nothing is answered for it, the IKE_SA stays', async (world) => {
  const { client, gateway } = await tunnel(world)
  beginDelete(client)
  beginDelete(gateway)
  await world.pass(SECOND)
  for (const node of [client, gateway]) {
    assert.equal(node.session.sa.state, 'established')
    assert.deepEqual([node.session.sa.children, node.kernel.states()], [[], []])
    assert.equal(node.eventsOf('child-closed').length, 1)
  }
})

scenario('one deletes the CHILD_SA while the other deletes the IKE_SA', async (world) => {
  const { client, gateway } = await tunnel(world)
  beginDelete(client)
  await world.outcome(gateway.gateway.stop('deleted-by-us'))
  await world.pass(SECOND)
  assertNothing(client, gateway)
})

scenario('a delete to a peer that is gone is given up after 165 s, and nothing is left', async (world) => {
  const { client, gateway } = await tunnel(world)
  gateway.isAsleep = true
  const start = world.clock.now()
  await world.outcome(client.gateway.stop('shutdown'))
  assert.equal(Math.round((world.clock.now() - start) / SECOND), 165)
  assertNothing(client)
  gateway.isAsleep = false
  world.expectsAgreement = false
})

scenario('whoever cannot wait for the peer abandons it, and takes everything out of the kernel', async (world) => {
  const { client, gateway } = await tunnel(world)
  gateway.isAsleep = true
  const stopping = client.gateway.stop('shutdown')
  await world.pass(2 * SECOND)
  assert.deepEqual(await world.outcome(client.gateway.abandon('shutdown')), [])
  await world.outcome(stopping)
  assertNothing(client)
  gateway.isAsleep = false
  world.expectsAgreement = false
})

scenario('an initiation that still looks for its peer when the gateway stops does not begin', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const pending = world.failure(client.gateway.initiate('home', 'net'))
  await world.outcome(client.gateway.stop('shutdown'))
  assert.equal((await pending).code, 'SHUTTING_DOWN')
  await world.pass(SECOND)
  assert.deepEqual(world.sent(), [])
  assertNothing(client)
})

scenario('stopping in the middle of IKE_SA_INIT leaves nothing, and the initiation says that it was closed', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const pending = world.failure(client.gateway.initiate('home', 'net'))
  await world.until(() => world.countSent('IKE_SA_INIT request') === 1, 'IKE_SA_INIT is sent')
  await world.outcome(client.gateway.stop('shutdown'))
  assert.equal((await pending).code, 'SA_CLOSED')
  assertNothing(client)
  await world.pass(31 * SECOND)
})

scenario('stopping in the middle of IKE_AUTH gives the reserved SPI back', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const pending = world.failure(client.gateway.initiate('home', 'net'))
  await world.until(() => world.countSent('IKE_AUTH request') === 1, 'IKE_AUTH is sent')
  assert.equal(client.kernel.reservations().length, 1)
  await world.outcome(client.gateway.stop('shutdown'))
  assert.equal((await pending).code, 'SA_CLOSED')
  await world.pass(SECOND)
  assertNothing(client)
  assert.deepEqual(client.kernel.reservations(), [])
  // The gateway believes in an IKE_SA of which nobody told it the end.
  world.expectsAgreement = false
  assert.equal(gateway.sessions().length, 1)
})

scenario('a gateway that stops takes no new peers', async (world) => {
  const { client, gateway } = await tunnel(world)
  await world.outcome(gateway.gateway.stop('shutdown'))
  const peer = new Stranger(world, '198.51.100.8', GATEWAY)
  peer.send(peer.initRequest())
  await world.pass(SECOND)
  assert.equal(peer.received.length, 0)
  assertNothing(client, gateway)
})

scenario('SPIs that nobody knows, of ESP or anything else, are answered with nothing', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  await peer.auth()
  peer.send(
    peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [
      { kind: 'Delete', protocol: ProtocolId.ESP, spis: [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(5, 6, 7, 8)] },
      { kind: 'Delete', protocol: ProtocolId.AH, spis: [Uint8Array.of(0xca, 0xfe, 0, 1)] },
    ]),
  )
  assert.deepEqual(peer.open(await peer.answer()), [])
  assert.equal(gateway.session.sa.children.length, 1)
})

scenario('a delete of the CHILD_SA is answered with our SPI of the same pair', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  const ours = find(await peer.auth(), 'SA')!.proposals[0]!.spi
  peer.send(
    peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [
      { kind: 'Delete', protocol: ProtocolId.ESP, spis: [Uint8Array.of(0xca, 0xfe, 0, 1)] },
    ]),
  )
  assert.deepEqual(
    find(peer.open(await peer.answer()), 'Delete')!.spis.map((spi) => [...spi]),
    [[...ours]],
  )
  assert.deepEqual(gateway.session.sa.children, [])
  assert.deepEqual(gateway.kernel.states(), [])
})

scenario('after a delete the same connection comes up again', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  for (let i = 0; i < 3; i++) {
    await world.initiate(client)
    assert.ok(await flows(world, client, gateway))
    const { session } = client
    await world.outcome(session.runExchange(() => deleteIkeSa(session, 'deleted-by-us')))
    assertNothing(client, gateway)
  }
})
