/** Cookies (RFC 7296 2.6): what strangers must show when too many of them are half-way in. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { deleteIkeSa } from '../../src/ike/delete.ts'
import { NotifyType } from '../../src/iana/ikev2.ts'
import { find, findNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage, type ParsedMessage } from '../../src/message/ikev2/message.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { configuration } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, OFFICE_HOST } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

/** A gateway that has one half-open IKE_SA already, and therefore asks everybody else for a cookie. */
async function waryGateway(world: World): Promise<SimulatedNode> {
  const gateway = addGateway(world, {}, { settings: { cookieThreshold: 1 } })
  await new Stranger(world, '198.51.100.99', GATEWAY).init()
  return gateway
}

scenario('beyond the threshold a stranger gets a cookie and nothing is kept; with the cookie it gets in', async (world) => {
  const gateway = await waryGateway(world)
  const client = addClient(world)
  const mark = world.mark
  await world.initiate(client)
  // HDR, SAi1, KEi, Ni  -->  <--  HDR, N(COOKIE)   HDR, N(COOKIE), SAi1, KEi, Ni  -->  <--  HDR, SAr1, KEr, Nr
  const messages = world.network.trace
    .slice(mark)
    .filter(({ fate, summary }) => fate === 'sent' && summary.startsWith('IKE_SA_INIT'))
    .map(({ bytes }) => parseMessage(bytes))
  assert.equal(messages.length, 4)
  const [first, demand, second] = messages as [ParsedMessage, ParsedMessage, ParsedMessage]
  assert.equal(demand.header.responderSpi, 0n)
  assert.equal(demand.payloads.length, 1)
  const cookie = findNotify(demand.payloads, NotifyType.COOKIE)!
  // The cookie comes first, everything else is as it was.
  assert.deepEqual(second.payloads[0], cookie)
  assert.deepEqual(find(second.payloads, 'Nonce'), find(first.payloads, 'Nonce'))
  assert.deepEqual(find(second.payloads, 'KE'), find(first.payloads, 'KE'))
  assert.equal(second.header.initiatorSpi, first.header.initiatorSpi)
  assert.equal(gateway.eventsOf('cookie-demanded').length, 1)
  assert.ok(await flows(world, client, gateway))
})

scenario(
  'edge case 18: a NAT that changes the port during the cookie round trip changes nothing about the cookie',
  async (world) => {
    const gateway = await waryGateway(world)
    const nat = world.addNat('router', '192.0.2.1')
    const client = addClient(world, {}, { behind: nat })
    let demands = 0
    world.network.tap((packet) => {
      if (packet.source.address.toString() === '192.168.1.7' && gateway.eventsOf('cookie-demanded').length > 0 && demands++ === 0)
        nat.flush()
      return [packet]
    })
    await world.initiate(client)
    const arrivals = world.network.trace
      .filter(
        ({ fate, from, summary }) => fate === 'arrived' && from.startsWith('192.0.2.1') && summary.startsWith('IKE_SA_INIT'),
      )
      .map(({ from }) => from)
    assert.deepEqual(arrivals, ['192.0.2.1[30000]', '192.0.2.1[30001]'])
    assert.equal(gateway.eventsOf('cookie-demanded').length, 1)
    assert.ok(await flows(world, client, gateway))
  },
)

async function demandedCookie(peer: Stranger): Promise<Payload> {
  return findNotify((await peer.init()).payloads, NotifyType.COOKIE)!
}

scenario('a cookie older than ten seconds is answered with a new one', async (world) => {
  await waryGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const cookie = await demandedCookie(peer)
  await world.pass(12 * SECOND)
  const again = findNotify((await peer.init([cookie])).payloads, NotifyType.COOKIE)
  assert.ok(again !== null)
  assert.notDeepEqual(again, cookie)
  const answer = await peer.init([again])
  assert.ok(find(answer.payloads, 'SA') !== null)
})

scenario('a cookie is good for its own address and SPI only', async (world) => {
  await waryGateway(world)
  const owner = new Stranger(world, CLIENT, GATEWAY)
  const cookie = await demandedCookie(owner)
  const thief = new Stranger(world, '198.51.100.8', GATEWAY)
  assert.ok(findNotify((await thief.init([cookie])).payloads, NotifyType.COOKIE) !== null)
  const neighbour = new Stranger(world, CLIENT, GATEWAY)
  assert.ok(neighbour.initiatorSpi === owner.initiatorSpi)
  for (const forged of [new Uint8Array(1), new Uint8Array(37), new Uint8Array(64)]) {
    assert.ok(findNotify((await neighbour.init([notify(NotifyType.COOKIE, forged)])).payloads, NotifyType.COOKIE) !== null)
  }
  assert.ok(find((await neighbour.init([cookie])).payloads, 'SA') !== null)
})

scenario('a cookie survives a change of the secret', async (world) => {
  await waryGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await demandedCookie(peer)
  // The first secret is as old as the first cookie; the half-open IKE_SA that makes the gateway wary is renewed.
  await world.pass(115 * SECOND)
  await new Stranger(world, '198.51.100.98', GATEWAY).init()
  const cookie = await demandedCookie(peer)
  await world.pass(4 * SECOND)
  await world.pass(3 * SECOND)
  // Another stranger's demand brings the new secret.
  assert.ok((await demandedCookie(new Stranger(world, '198.51.100.97', GATEWAY))) !== null)
  assert.ok(find((await peer.init([cookie])).payloads, 'SA') !== null)
})

scenario('the threshold per address asks the crowd behind it and nobody else', async (world) => {
  const gateway = addGateway(world, {}, { settings: { cookieThresholdIp: 1 } })
  await new Stranger(world, '198.51.100.99', GATEWAY).init()
  const crowd = new Stranger(world, '198.51.100.99', GATEWAY)
  crowd.port = 600
  crowd.nonce.fill(7)
  assert.ok(findNotify((await crowd.init()).payloads, NotifyType.COOKIE) !== null)
  const other = new Stranger(world, CLIENT, GATEWAY)
  assert.ok(find((await other.init()).payloads, 'SA') !== null)
  assert.equal(gateway.gateway.halfOpenCount, 2)
})

scenario(
  'a source of many half-open IKE_SAs that makes up its cookies is not answered, and its neighbours are',
  async (world) => {
    const gateway = addGateway(world)
    /** Behind one address, each with a port and an IKE_SA_INIT of its own. */
    const crowd = Array.from({ length: 7 }, (_, i) => {
      const one = new Stranger(world, CLIENT, GATEWAY)
      one.port = 600 + i
      one.nonce.fill(i)
      return one
    })
    for (const [i, one] of crowd.slice(0, 5).entries()) {
      world.internet.owners.set(CLIENT, one)
      const first = await one.init()
      assert.equal(findNotify(first.payloads, NotifyType.COOKIE) !== null, i >= 3)
      if (i >= 3) await one.init([findNotify(first.payloads, NotifyType.COOKIE)!])
    }
    assert.equal(gateway.gateway.halfOpenCount, 5)
    const [forger, honest] = [crowd[5]!, crowd[6]!]
    world.internet.owners.set(CLIENT, forger)
    forger.send(forger.initRequest([notify(NotifyType.COOKIE, new Uint8Array(37))]))
    await world.pass(SECOND)
    assert.equal(forger.received.length, 0)
    assert.equal(gateway.eventsOf('datagram-dropped').at(-1)!.reason, 'blocked')
    world.internet.owners.set(CLIENT, honest)
    assert.ok(find((await honest.init([await demandedCookie(honest)])).payloads, 'SA') !== null)
  },
)

scenario('with as many IKE_SAs as ikesa_limit allows, strangers are ignored until one of them goes', async (world) => {
  const gateway = addGateway(world, {}, { settings: { ikeSaLimit: 1 } })
  const client = addClient(world)
  const session = await world.initiate(client)
  const stranger = new Stranger(world, '198.51.100.99', GATEWAY)
  stranger.send(stranger.initRequest())
  await world.pass(SECOND)
  assert.equal(stranger.received.length, 0)
  assert.equal(gateway.said('datagram-dropped'), 'ignoring IKE_SA_INIT from 198.51.100.99, hitting IKE_SA limit')
  await world.outcome(session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us')))
  await world.pass(SECOND)
  assert.ok(find((await stranger.init()).payloads, 'SA') !== null)
})

scenario('edge case 19: 40 clients behind one address start at once, and all get in', async (world) => {
  const nat = world.addNat('carrier', '192.0.2.1')
  const gateway = addGateway(world, { remote: ['10.2.0.0/16'] })
  const clients = Array.from({ length: 40 }, (_, i) =>
    world.addNode(
      `client ${i}`,
      `192.168.1.${i + 10}`,
      configuration([
        {
          remoteAddresses: [GATEWAY],
          localId: `client-${i}@example.org`,
          remoteId: 'gateway.example.org',
          local: [`10.2.${i}.0/24`],
          remote: ['10.1.0.0/16'],
        },
      ]),
      nat,
    ),
  )
  await world.outcome(Promise.all(clients.map((client) => client.gateway.initiate('home', 'net'))))
  await world.pass(SECOND)
  assert.equal(gateway.sessions().length, 40)
  assert.equal(gateway.kernel.states().length, 80)
  assert.ok(gateway.eventsOf('cookie-demanded').length > 0)
  assert.equal(gateway.gateway.halfOpenCount, 0)
  for (const [i, client] of clients.entries())
    assert.ok(await world.ping(client, `10.2.${i}.9`, OFFICE_HOST), `client ${i} gets through`)
  // A flood writes one line in ten seconds about cookies, not one each.
  assert.equal(gateway.lines.filter((line) => line.fields['event'] === 'cookie-demanded').length, 1)
})
