/** Key exchanges that another core works on: the world goes on meanwhile, and so do the peers' timers. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { NotifyType } from '../../src/iana/ikev2.ts'
import { findNotify } from '../../src/message/ikev2/find.ts'
import { parseMessage } from '../../src/message/ikev2/message.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario } from './world.ts'

scenario('a request repeated while its key exchange is worked on is the same IKE_SA, and gets the same answer', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  // Longer than the 4 s after which the client asks again.
  world.keyExchangeLatency = 3 * SECOND
  await world.initiate(client)
  // HDR, SAi1, KEi, Ni  -->  -->  <--  <--  HDR, SAr1, KEr, Nr
  assert.equal(world.countSent('IKE_SA_INIT request'), 2)
  assert.equal(world.countSent('IKE_SA_INIT response'), 2)
  assert.equal(gateway.eventsOf('ike-responding').length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario('others are served while one key exchange is worked on', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  world.keyExchangeLatency = 20 * SECOND
  const peer = new Stranger(world, '198.51.100.8', GATEWAY)
  peer.send(peer.initRequest())
  await world.pass(SECOND)
  assert.equal(peer.received.length, 0)
  assert.equal(gateway.gateway.halfOpenCount, 1)
  assert.ok(await flows(world, client, gateway))
  await world.outcome(client.gateway.stop('deleted-by-us'))
  assert.equal(gateway.sessions().length, 1)
})

scenario('a gateway that stops while a key exchange is worked on leaves nothing, and answers nobody', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  world.keyExchangeLatency = 5 * SECOND
  peer.send(peer.initRequest())
  await world.pass(SECOND)
  await world.outcome(gateway.gateway.stop('shutdown'))
  assert.equal(gateway.sessions().length, 0)
  assert.equal(gateway.gateway.halfOpenCount, 0)
})

scenario('a value that turns out to be none of the group is refused when that is known, and costs no more', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  world.keyExchangeLatency = SECOND
  const request = peer.initRequest()
  const value = Buffer.from(request).indexOf(Buffer.from(peer.keyExchange.publicValue))
  // A point of small order: X25519 with it is all zeros (RFC 8031 3.2).
  request.fill(0, value, value + peer.keyExchange.publicValue.length)
  peer.send(request)
  const answer = parseMessage(await peer.answer())
  assert.ok(findNotify(answer.payloads, NotifyType.INVALID_SYNTAX) !== null)
  await world.pass(SECOND)
  assert.equal(gateway.sessions().length, 0)
  assert.equal(gateway.gateway.halfOpenCount, 0)
})
