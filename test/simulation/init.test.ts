/** IKE_SA_INIT with nothing in between (RFC 7296 1.2, 2.7): what is agreed on, and in how many attempts. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { NotifyType } from '../../src/iana/ikev2.ts'
import { findNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage, writeMessage } from '../../src/message/ikev2/message.ts'
import { parseProposal } from '../../src/negotiate/proposals.ts'
import { configuration } from './configuration.ts'
import type { Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario } from './world.ts'

scenario('edge case 8: without MOBIKE and without a NAT everything stays on port 500 and ESP goes bare', async (world) => {
  const gateway = addGateway(world, { mobike: false })
  const client = addClient(world, { mobike: false })
  await world.initiate(client)
  // HDR, SAi1, KEi, Ni  -->  <--  HDR, SAr1, KEr, Nr  and  HDR, SK { IDi, AUTH, SAi2, TSi, TSr }  -->  <--  HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
  assert.deepEqual(world.sent(), [
    '198.51.100.7[500] > 203.0.113.1[500] IKE_SA_INIT request 0',
    '203.0.113.1[500] > 198.51.100.7[500] IKE_SA_INIT response 0',
    '198.51.100.7[500] > 203.0.113.1[500] IKE_AUTH request 1',
    '203.0.113.1[500] > 198.51.100.7[500] IKE_AUTH response 1',
  ])
  assert.deepEqual(client.session.sa.nat, { supported: true, here: false, there: false, faked: false })
  assert.deepEqual(gateway.session.sa.nat, client.session.sa.nat)
  assert.ok(client.kernel.states().every((state) => state.encapsulation === null))
  assert.ok(await flows(world, client, gateway))
})

scenario('an IPv6 peer is as good as any', async (world) => {
  const gateway = addGateway(world, {}, { address: '2001:db8::1' })
  const client = addClient(world, { remoteAddresses: ['2001:db8::1'] }, { address: '2001:db8:7::7' })
  await world.initiate(client)
  assert.equal(client.session.sa.remote.toString(), '2001:db8::1[4500]')
  assert.ok(await flows(world, client, gateway))
})

scenario('a peer given by name is looked up', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { remoteAddresses: ['vpn.example.org'] })
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'NO_REMOTE_ADDRESS')
  world.network.names.set('vpn.example.org', [gateway.address])
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

scenario('connections of start_action = start come up by themselves', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { start: true })
  client.gateway.start()
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('two gateways that both start at once have a working tunnel', async (world) => {
  const gateway = addGateway(world, { start: true, remoteAddresses: [CLIENT], remoteId: 'client@example.org' })
  const client = addClient(world, { start: true })
  client.gateway.start()
  gateway.gateway.start()
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('a responder that wants another group says which, and gets it', async (world) => {
  const gateway = addGateway(world, { ikeProposals: ['aes128gcm16-prfsha256-ecp256'] })
  const client = addClient(world, { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ecp256'] })
  await world.initiate(client)
  // HDR, SAi1, KEi(31), Ni  -->  <--  HDR, N(INVALID_KE_PAYLOAD)(19)
  // HDR, SAi1, KEi(19), Ni  -->  <--  HDR, SAr1, KEr(19), Nr
  assert.equal(world.countSent('IKE_SA_INIT'), 4)
  assert.deepEqual(
    client.eventsOf('key-exchange-retry').map(({ group }) => group),
    [19],
  )
  assert.deepEqual([client.session.sa.suite!.ke, gateway.session.sa.suite!.ke], [19, 19])
  assert.equal(gateway.eventsOf('ike-responding').length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('a responder whose demands never end is not followed for ever', async (world) => {
  const client = addClient(world)
  const peer = new Stranger(world, GATEWAY, CLIENT)
  const pending = client.gateway.initiate('home', 'net')
  pending.catch(() => undefined)
  for (let number = 0; number < 6; number++) {
    const request = parseMessage(await peer.answer())
    const returned = findNotify(request.payloads, NotifyType.COOKIE)
    assert.deepEqual(returned === null ? null : [...returned.data], number === 0 ? null : [number])
    peer.send(
      writeMessage({ ...request.header, responderSpi: 0n, fromInitiator: false, response: true }, [
        notify(NotifyType.COOKIE, Uint8Array.of(number + 1)),
      ]),
    )
  }
  assert.equal((await world.failure(pending)).code, 'INIT_ENDLESS')
  assert.equal(client.sessions().length, 0)
})

scenario('a responder that refuses a group and asks for the same one has misbehaved', async (world) => {
  const client = addClient(world)
  const peer = new Stranger(world, GATEWAY, CLIENT)
  const pending = client.gateway.initiate('home', 'net')
  const { header } = parseMessage(await peer.answer())
  peer.send(
    writeMessage({ ...header, responderSpi: 0n, fromInitiator: false, response: true }, [
      notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, 31)),
    ]),
  )
  assert.match((await world.failure(pending)).message, /asks for the same one/)
})

scenario('a responder cannot talk us into a group that we do not propose', async (world) => {
  const client = addClient(world)
  const peer = new Stranger(world, GATEWAY, CLIENT)
  const pending = client.gateway.initiate('home', 'net')
  const { header } = parseMessage(await peer.answer())
  peer.send(
    writeMessage({ ...header, responderSpi: 0n, fromInitiator: false, response: true }, [
      notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, 2)),
    ]),
  )
  assert.equal((await world.failure(pending)).code, 'KE_GROUP_NOT_OFFERED')
})

for (const [title, chosen] of [
  ['another group than it used', 'aes128gcm16-prfsha256-ecp256'],
  ['what was not offered', 'aes256gcm16-prfsha256-curve25519'],
  ['two ciphers at once', 'aes128gcm16-aes256gcm16-prfsha256-curve25519'],
] as const) {
  scenario(`a responder that chooses ${title} has misbehaved`, async (world) => {
    const client = addClient(world, { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ecp256'] })
    const peer = new Stranger(world, GATEWAY, CLIENT)
    const pending = world.failure(client.gateway.initiate('home', 'net'))
    peer.sendInitAnswer(await peer.answer(), [], parseProposal(chosen, 'ike'))
    const failure = await pending
    assert.equal(failure.code, 'PEER_INVALID_SYNTAX')
    assert.match(failure.message, /^the peer chose (another key exchange group than it used|a proposal that we did not offer)$/)
    assert.equal(client.sessions().length, 0)
  })
}

scenario('INVALID_KE_PAYLOAD that arrives twice counts once', async (world) => {
  const gateway = addGateway(world, { ikeProposals: ['aes128gcm16-prfsha256-ecp256'] })
  const client = addClient(world, { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ecp256'] })
  world.network.tap((packet) =>
    world.countSent('IKE_SA_INIT response') === 1 && packet.source.address.toString() === GATEWAY ? [packet, packet] : [packet],
  )
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

scenario('an IKE_SA_INIT request that arrives again after the tunnel stands makes no second IKE_SA', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const packets: Packet[] = []
  const untap = world.network.tap((packet) => {
    packets.push(packet)
    return [packet]
  })
  await world.initiate(client)
  untap()
  const mark = world.mark
  world.network.send(packets[0]!, world.internet, client.link)
  await world.pass(SECOND)
  assert.equal(gateway.sessions().length, 1)
  assert.deepEqual(world.sent(mark), ['198.51.100.7[500] > 203.0.113.1[500] IKE_SA_INIT request 0'])
  assert.ok(await flows(world, client, gateway))
})

scenario('of several connections the one for the peer’s address and identity is taken', async (world) => {
  const gateway = world.addNode(
    'gateway',
    GATEWAY,
    configuration([
      {
        connection: 'others',
        localId: 'gateway.example.org',
        remoteId: 'somebody@example.org',
        local: ['10.9.0.0/16'],
        remote: ['10.2.0.0/16'],
      },
      {
        connection: 'clients',
        localId: 'gateway.example.org',
        remoteId: '*@example.org',
        local: ['10.1.0.0/16'],
        remote: ['10.2.0.0/16'],
      },
      { connection: 'anybody', localId: 'gateway.example.org', local: ['10.8.0.0/16'], remote: ['10.2.0.0/16'] },
    ]),
  )
  const client = addClient(world)
  await world.initiate(client)
  assert.equal(gateway.session.sa.connection!.name, 'clients')
  assert.ok(await flows(world, client, gateway))
})

scenario('an unprotected message in answer to IKE_AUTH is not listened to', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  world.network.tap((packet) => {
    const isAuth =
      packet.destination.address.toString() === GATEWAY && packet.bytes.length > 40 && packet.destination.port === 4500
    if (isAuth && packet.esp === null) {
      const { header } = parseMessage(packet.bytes.subarray(4))
      const refusal = writeMessage({ ...header, fromInitiator: false, response: true }, [
        notify(NotifyType.AUTHENTICATION_FAILED, new Uint8Array()),
      ])
      const bytes = new Uint8Array(4 + refusal.length)
      bytes.set(refusal, 4)
      client.receive({ ...packet, source: packet.destination, destination: packet.source, bytes })
    }
    return [packet]
  })
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  assert.ok(client.eventsOf('datagram-dropped').some(({ reason }) => reason === 'not-authentic'))
})

scenario('a transport mode child between two hosts goes bare and carries their own addresses', async (world) => {
  const gateway = addGateway(world, { mode: 'transport', local: ['dynamic'], remote: ['dynamic'] })
  const client = addClient(world, { mode: 'transport', local: ['dynamic'], remote: ['dynamic'] })
  await world.initiate(client)
  assert.deepEqual(
    client.kernel.states().map((state) => state.mode),
    ['transport', 'transport'],
  )
  assert.ok(await world.ping(client, CLIENT, GATEWAY))
  assert.ok(await world.ping(gateway, GATEWAY, CLIENT))
})
