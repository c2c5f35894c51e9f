/** IKE_AUTH (RFC 7296 1.2, 2.9, 2.15, 2.21.2): who is there, and what the first CHILD_SA comes to. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { AuthMethod, CpAttribute, CpType, ExchangeType, NotifyType, ProtocolId } from '../../src/iana/ikev2.ts'
import { find, findNotify, notify } from '../../src/message/ikev2/find.ts'
import { formatSelector } from '../../src/negotiate/selectors.ts'
import { configuration, PSK } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

/** The first moment at which an IKE_SA of both is over: nothing may be left then, without waiting for any deadline. */
async function assertClean(world: World, ...nodes: readonly SimulatedNode[]): Promise<void> {
  await world.pass(SECOND)
  for (const node of nodes) {
    assert.equal(node.sessions().length, 0, `${node.name} has no IKE_SA`)
    assert.equal(node.gateway.halfOpenCount, 0)
    assert.deepEqual([node.kernel.states(), node.kernel.policies(), node.kernel.reservations()], [[], [], []])
  }
}

scenario('a wrong pre-shared key at the initiator: the responder refuses, both ends are clean at once', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, {}, { secrets: [{ text: 'something else altogether' }] })
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.match(failure.message, /pre-shared key; compare id and secret on both sides/)
  assert.match(
    gateway.eventsOf('ike-failed')[0]!.error.message,
    /^tried 1 shared key for 'gateway\.example\.org' - 'client@example\.org', but MAC mismatched/,
  )
  await assertClean(world, gateway, client)
})

scenario('a responder that cannot prove itself: the initiator believes nothing and tells it so', async (world) => {
  const gateway = addGateway(world)
  // The same key, but the client holds it for another gateway: it proves itself by the first and cannot verify with it.
  const client = addClient(world, { remoteId: '%any' }, { secrets: [{ text: PSK, owners: ['203.0.113.1'] }] })
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  // HDR, SK { IDi, AUTH, ... }  -->  <--  HDR, SK { IDr, AUTH, ... }  and then  HDR, SK { N(AUTHENTICATION_FAILED) }  -->
  assert.equal(failure.code, 'AUTHENTICATION_FAILED')
  assert.match(failure.message, /^no shared key found for 'client@example\.org' - 'gateway\.example\.org'$/)
  assert.equal(world.countSent('INFORMATIONAL request 2'), 1)
  await assertClean(world, gateway, client)
})

scenario('a responder with several keys proves itself by the one that the initiator proved to have', async (world) => {
  const gateway = addGateway(
    world,
    {},
    { secrets: [{ text: 'a better fit, and wrong', owners: ['gateway.example.org', 'client@example.org'] }, { text: PSK }] },
  )
  const client = addClient(world)
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

scenario('the initiator accepts only the identity it expects, and the responder lets go of the tunnel', async (world) => {
  const gateway = addGateway(world, { localId: 'impostor.example.org' })
  // Without IDr in the request the responder answers with its own identity.
  const client = addClient(world, { remoteId: '*.gateways.example.org' })
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'AUTHENTICATION_FAILED')
  assert.match(failure.message, /says it is impostor\.example\.org, which remote\.id does not allow/)
  // HDR, SK { N(AUTHENTICATION_FAILED) }  -->  <--  HDR, SK { }
  assert.equal(world.countSent('INFORMATIONAL request 2'), 1)
  await assertClean(world, gateway, client)
  assert.equal(gateway.eventsOf('ike-failed')[0]!.error.code, 'PEER_SAID_AUTHENTICATION_FAILED')
})

scenario('an identity that no connection expects is refused', async (world) => {
  const gateway = addGateway(world, { remoteId: 'somebody@example.org' })
  const client = addClient(world)
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.match(
    gateway.eventsOf('ike-failed')[0]!.error.message,
    /no connection for these addresses expects the peer as client@example\.org and us as gateway\.example\.org/,
  )
  await assertClean(world, gateway, client)
})

scenario('a peer that asks for an identity we are not is refused', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { remoteId: 'another.example.org' })
  assert.equal((await world.failure(client.gateway.initiate('home', 'net'))).code, 'PEER_SAID_AUTHENTICATION_FAILED')
  await assertClean(world, gateway, client)
})

scenario(
  'no pre-shared key at the initiator: said before anything is proved, the responder lets go in its time',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world, {}, { secrets: [{ text: PSK, owners: ['somebody.else'] }] })
    assert.equal((await world.failure(client.gateway.initiate('home', 'net'))).code, 'NO_SHARED_SECRET')
    await world.pass(31 * SECOND)
    await assertClean(world, gateway, client)
  },
)

scenario('of several keys the one that fits both is used, and a responder tries all that may be meant', async (world) => {
  const gateway = addGateway(
    world,
    {},
    { secrets: [{ text: 'for nobody in particular' }, { text: PSK, owners: ['client@example.org'] }] },
  )
  const client = addClient(
    world,
    {},
    { secrets: [{ text: 'another for nobody' }, { text: PSK, owners: ['gateway.example.org'] }] },
  )
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

scenario('without configured identities both are their addresses', async (world) => {
  const gateway = world.addNode('gateway', GATEWAY, configuration([{ local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] }]))
  const client = world.addNode(
    'client',
    CLIENT,
    configuration([{ remoteAddresses: [GATEWAY], local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] }]),
  )
  await world.initiate(client)
  assert.deepEqual([...gateway.session.sa.remoteId!.data], [198, 51, 100, 7])
  assert.deepEqual([...client.session.sa.remoteId!.data], [203, 0, 113, 1])
  assert.ok(await flows(world, client, gateway))
})

scenario('no proposal in common: NO_PROPOSAL_CHOSEN in IKE_SA_INIT, nothing kept', async (world) => {
  const gateway = addGateway(world, { ikeProposals: ['aes256-sha384-ecp384'] })
  const client = addClient(world)
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  // HDR, SAi1, KEi, Ni  -->  <--  HDR, N(NO_PROPOSAL_CHOSEN)
  assert.equal(failure.code, 'PEER_SAID_NO_PROPOSAL_CHOSEN')
  assert.match(
    failure.message,
    /^received NO_PROPOSAL_CHOSEN notify error: the peer accepts none of our proposals, or has no connection/,
  )
  assert.match(
    gateway.said('request-refused'),
    /^received proposals unacceptable: none fits a connection for 203\.0\.113\.1\.\.\.198\.51\.100\.7$/,
  )
  await assertClean(world, gateway, client)
})

scenario('no connection for the peer’s address: NO_PROPOSAL_CHOSEN, and our log says why', async (world) => {
  const gateway = addGateway(world, { remoteAddresses: ['192.0.2.0/24'] })
  const client = addClient(world)
  assert.equal((await world.failure(client.gateway.initiate('home', 'net'))).code, 'PEER_SAID_NO_PROPOSAL_CHOSEN')
  assert.match(
    gateway.said('request-refused'),
    /^no IKE config found for 203\.0\.113\.1\.\.\.198\.51\.100\.7, sending NO_PROPOSAL_CHOSEN$/,
  )
  await assertClean(world, gateway, client)
})

/** The IKE_SA stands at both without a CHILD_SA. */
function assertChildless(...nodes: readonly SimulatedNode[]): void {
  for (const node of nodes) {
    assert.equal(node.session.sa.state, 'established')
    assert.deepEqual(node.session.sa.children, [])
    assert.deepEqual([node.kernel.states(), node.kernel.policies(), node.kernel.reservations()], [[], [], []])
  }
}

scenario('no CHILD_SA proposal in common: the IKE_SA stands, its child does not', async (world) => {
  const gateway = addGateway(world, { proposals: ['aes256gcm16'] })
  const client = addClient(world)
  await world.initiate(client)
  // <--  HDR, SK { IDr, AUTH, N(NO_PROPOSAL_CHOSEN) }
  assert.equal(client.eventsOf('child-failed')[0]!.error.code, 'PEER_SAID_NO_PROPOSAL_CHOSEN')
  assertChildless(client, gateway)
})

scenario('no traffic in common: TS_UNACCEPTABLE, the IKE_SA stands', async (world) => {
  const gateway = addGateway(world, { local: ['172.16.0.0/16'] })
  const client = addClient(world)
  await world.initiate(client)
  assert.equal(client.eventsOf('child-failed')[0]!.error.code, 'PEER_SAID_TS_UNACCEPTABLE')
  assert.match(
    gateway.said('child-failed'),
    /^traffic selectors 10\.1\.0\.0\/16 === 10\.2\.0\.0\/16 unacceptable: no child of home allows them$/,
  )
  assertChildless(client, gateway)
})

scenario('wider selectors are narrowed to what both allow', async (world) => {
  const gateway = addGateway(world, { local: ['10.1.0.0/16', '192.168.0.0/16'], remote: ['10.2.0.0/24'] })
  const client = addClient(world, { local: ['10.2.0.0/16'], remote: ['10.0.0.0/8'] })
  await world.initiate(client)
  const [child] = client.session.sa.children
  assert.deepEqual(child!.localSelectors.map(formatSelector), ['10.2.0.0/24'])
  assert.deepEqual(child!.remoteSelectors.map(formatSelector), ['10.1.0.0/16'])
  assert.ok(await flows(world, client, gateway))
  assert.equal(await world.ping(client, '10.2.9.9', '10.1.0.9'), false)
})

scenario('narrowing goes down to a protocol and a port', async (world) => {
  const gateway = addGateway(world, { local: ['10.1.0.0/16[tcp/22]'] })
  const client = addClient(world)
  await world.initiate(client)
  assert.deepEqual(client.session.sa.children[0]!.remoteSelectors.map(formatSelector), ['10.1.0.0/16[tcp/22]'])
  assert.equal(await world.ping(client, '10.2.0.9', '10.1.0.9'), false)
  assert.deepEqual(
    client.kernel.policies().map(({ selector }) => selector.protocol),
    [6, 6, 6],
  )
  assert.equal(gateway.session.sa.children.length, 1)
})

scenario('the child whose selectors fit is chosen among several', async (world) => {
  const gateway = addGateway(world, {
    children: [
      { name: 'dmz', local: ['172.16.0.0/16'], remote: ['10.2.0.0/16'] },
      { name: 'office', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
    ],
  })
  const client = addClient(world)
  await world.initiate(client)
  assert.equal(gateway.session.sa.children[0]!.connection.name, 'office')
  assert.ok(await flows(world, client, gateway))
})

scenario('an unknown critical payload in IKE_SA_INIT is refused by its number, and costs nothing', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const answer = await peer.init([{ kind: 'Unknown', payloadType: 200, critical: true, data: Uint8Array.of(1) }])
  assert.deepEqual([...findNotify(answer.payloads, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD)!.data], [200])
  assert.equal(gateway.sessions().length, 0)
})

scenario('an unknown critical payload in IKE_AUTH ends the IKE_SA with its number', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  const answer = await peer.auth([{ kind: 'Unknown', payloadType: 201, critical: true, data: Uint8Array.of(1) }])
  assert.deepEqual([...findNotify(answer, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD)!.data], [201])
  await assertClean(world, gateway)
})

scenario(
  'an answer to IKE_AUTH with an unknown critical payload is not accepted, and the responder told that nothing stands',
  async (world) => {
    const client = addClient(world)
    const peer = new Stranger(world, GATEWAY, CLIENT)
    const pending = world.failure(client.gateway.initiate('home', 'net'))
    await peer.answerHandshake([
      { kind: 'AUTH', method: AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE, data: new Uint8Array(32) },
      { kind: 'Unknown', payloadType: 203, critical: true, data: Uint8Array.of(1) },
    ])
    assert.equal((await pending).code, 'UNSUPPORTED_CRITICAL_PAYLOAD')
    // HDR, SK { D }  -->
    const told = peer.open(await peer.answer())
    assert.deepEqual(told, [{ kind: 'Delete', protocol: ProtocolId.IKE, spis: [] }])
    await assertClean(world, client)
  },
)

scenario(
  'a responder that answers with more than was offered, as OpenIKED does, gets no more than was offered',
  async (world) => {
    const client = addClient(world)
    const peer = new Stranger(world, GATEWAY, CLIENT)
    const pending = client.gateway.initiate('home', 'net')
    // HDR, SK { IDi, AUTH, SAi2, TSi 10.2.0.0/16, TSr 10.1.0.0/16 }  -->
    //                          <--  HDR, SK { IDr, AUTH, SAr2, TSi 10.0.0.0/8, TSr 0.0.0.0/0 }
    await peer.answerHandshake(() => peer.authAnswer('10.0.0.0/8', '0.0.0.0/0'))
    await world.outcome(pending)
    const { child } = client.eventsOf('child-established')[0]!
    assert.deepEqual(child.localSelectors.map(formatSelector), ['10.2.0.0/16'])
    assert.deepEqual(child.remoteSelectors.map(formatSelector), ['10.1.0.0/16'])
    const outbound = client.kernel.policies().find((policy) => policy.direction === 'out')
    assert.equal(
      `${outbound?.selector.source.toString()} ${outbound?.selector.destination.toString()}`,
      '10.2.0.0/16 10.1.0.0/16',
    )
  },
)

scenario('a responder that answers with nothing of what was offered is told that no CHILD_SA stands', async (world) => {
  const client = addClient(world)
  const peer = new Stranger(world, GATEWAY, CLIENT)
  const pending = client.gateway.initiate('home', 'net')
  await peer.answerHandshake(() => peer.authAnswer('10.2.0.0/16', '10.3.0.0/16'))
  const told = find(peer.open(await peer.answer()), 'Delete')
  assert.equal(told?.protocol, ProtocolId.ESP)
  await world.outcome(pending)
  const { error } = client.eventsOf('child-failed')[0]!
  assert.match(error.message, /answered with remote traffic selectors outside what we offered: 10\.3\.0\.0\/16/)
  assert.deepEqual([client.kernel.states(), client.kernel.policies()], [[], []])
})

scenario('an answer to IKE_AUTH that refuses us with an error is not answered', async (world) => {
  const client = addClient(world)
  const peer = new Stranger(world, GATEWAY, CLIENT)
  const pending = world.failure(client.gateway.initiate('home', 'net'))
  await peer.answerHandshake([notify(NotifyType.AUTHENTICATION_FAILED)])
  assert.equal((await pending).code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.equal(world.countSent('INFORMATIONAL'), 0)
  await assertClean(world, client)
})

scenario('an unknown critical payload in INFORMATIONAL is refused, and the IKE_SA stays', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  await peer.auth()
  peer.send(
    peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [
      { kind: 'Unknown', payloadType: 202, critical: true, data: Uint8Array.of(1) },
    ]),
  )
  assert.deepEqual([...findNotify(peer.open(await peer.answer()), NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD)!.data], [202])
  assert.equal(gateway.session.sa.children.length, 1)
})

scenario('edge case 62: unknown payloads that are not critical, notifies and vendor IDs are passed over', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const hashes = peer.natDetection()
  await peer.init([
    { kind: 'Unknown', payloadType: 203, critical: false, data: Uint8Array.of(1) },
    { kind: 'VendorId', data: new TextEncoder().encode('somebody') },
    notify(40_999, Uint8Array.of(1, 2, 3)),
    notify(NotifyType.NAT_DETECTION_SOURCE_IP, hashes.source),
    notify(NotifyType.NAT_DETECTION_DESTINATION_IP, hashes.destination),
  ])
  const answer = await peer.auth([{ kind: 'Unknown', payloadType: 204, critical: false, data: Uint8Array.of(1) }, notify(40_998)])
  assert.ok(find(answer, 'SA') !== null)
  // HDR, SK { N(unknown), N(NAT_DETECTION_SOURCE_IP) }  -->  <--  HDR, SK { }: what has no meaning here has none.
  peer.send(
    peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [
      notify(40_997),
      notify(NotifyType.NAT_DETECTION_SOURCE_IP, new Uint8Array(20)),
    ]),
  )
  assert.deepEqual(peer.open(await peer.answer()), [])
  assert.deepEqual(gateway.session.sa.nat, { supported: true, here: false, there: false, faked: false })
})

scenario('a peer that asks for a virtual address hears that there is none, and keeps its IKE_SA', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  const answer = await peer.auth([
    { kind: 'CP', cpType: CpType.CFG_REQUEST, attributes: [{ type: CpAttribute.INTERNAL_IP4_ADDRESS, value: new Uint8Array() }] },
  ])
  assert.ok(findNotify(answer, NotifyType.INTERNAL_ADDRESS_FAILURE) !== null)
  assertChildless(gateway)
})

scenario('edge case 62: CREATE_CHILD_SA with NAT detection, CP and an unknown notify in it is answered as any', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  await peer.auth()
  peer.send(
    peer.protectedRequest(ExchangeType.CREATE_CHILD_SA, 2, [
      notify(NotifyType.NAT_DETECTION_SOURCE_IP, new Uint8Array(20)),
      notify(NotifyType.NAT_DETECTION_DESTINATION_IP, new Uint8Array(20)),
      notify(40_996),
      ...peer.childOffer(0xcafe_0002),
      { kind: 'Nonce', data: new Uint8Array(32).fill(7) },
      {
        kind: 'CP',
        cpType: CpType.CFG_REQUEST,
        attributes: [{ type: CpAttribute.INTERNAL_IP4_ADDRESS, value: new Uint8Array() }],
      },
    ]),
  )
  assert.deepEqual(
    peer.open(await peer.answer()).map(({ kind }) => kind),
    ['SA', 'Nonce', 'TSi', 'TSr'],
  )
  assert.deepEqual(gateway.session.sa.nat, { supported: true, here: false, there: false, faked: false })
  assert.equal(gateway.session.sa.children.at(-1)?.outboundSpi, 0xcafe_0002)
})

scenario('INITIAL_CONTACT of a client that rebooted replaces its old IKE_SA, and nobody else’s', async (world) => {
  const gateway = world.addNode(
    'gateway',
    GATEWAY,
    configuration([{ localId: 'gateway.example.org', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16', '10.3.0.0/16'] }]),
  )
  const client = addClient(world)
  const other = addClient(
    world,
    { localId: 'other@example.org', local: ['10.3.0.0/16'] },
    { name: 'other', address: '198.51.100.8' },
  )
  await world.initiate(client)
  await world.initiate(other)
  client.boot()
  // HDR, SK { IDi, N(INITIAL_CONTACT), AUTH, ... }  -->
  await world.initiate(client)
  assert.deepEqual(
    gateway.eventsOf('ike-closed').map(({ sa, reason }) => [sa.uniqueId, reason]),
    [[1, 'replaced']],
  )
  assert.equal(gateway.sessions().length, 2)
  assert.equal(gateway.kernel.states().length, 4)
  assert.ok(await flows(world, client, gateway))
  assert.ok(await world.ping(other, '10.3.0.9', '10.1.0.9'))
})

scenario(
  'edge case 59: a client that reboots behind its NAT and comes back with another address replaces itself, and no neighbour',
  async (world) => {
    const nat = world.addNat('router', '192.0.2.1')
    const gateway = world.addNode(
      'gateway',
      GATEWAY,
      configuration([{ localId: 'gateway.example.org', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16', '10.3.0.0/16'] }]),
    )
    const client = addClient(world, {}, { behind: nat })
    const neighbour = addClient(
      world,
      { localId: 'neighbour@example.org', local: ['10.3.0.0/16'] },
      { name: 'neighbour', address: '192.168.1.8', behind: nat },
    )
    await world.initiate(client)
    await world.initiate(neighbour)
    const [old] = gateway.sessions()
    // What was there before is gone without a word; the same machine has another address now.
    client.boot()
    const rebooted = addClient(world, {}, { name: 'rebooted', address: '192.168.1.9', behind: nat })
    // HDR, SK { IDi, N(INITIAL_CONTACT), AUTH, ... }  -->
    await world.initiate(rebooted)
    assert.deepEqual(
      gateway.eventsOf('ike-closed').map(({ sa, reason }) => [sa, reason]),
      [[old!.sa, 'replaced']],
    )
    assert.equal(gateway.sessions().length, 2)
    assert.ok(await flows(world, rebooted, gateway))
    assert.ok(await world.ping(neighbour, '10.3.0.9', '10.1.0.9'))
    assert.ok(await world.ping(gateway, '10.1.0.9', '10.3.0.9'))
  },
)

scenario('a client that reboots behind its NAT and comes back from another port is one client', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  client.boot()
  nat.flush()
  await world.initiate(client)
  assert.equal(gateway.sessions().length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('a second initiation of the same connection does not claim to be the first contact', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  await world.initiate(client)
  assert.equal(gateway.sessions().length, 2)
  assert.equal(gateway.eventsOf('ike-closed').length, 0)
  assert.ok(await flows(world, client, gateway))
})
