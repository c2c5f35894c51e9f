/**
 * RFC 5685: a gateway sends its clients elsewhere, before the IKE_SA, instead of it, and in the middle of its life.
 */
import assert from 'node:assert/strict'

import { toHex } from '../../src/base/bytes.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import { find, findNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage, writeMessage } from '../../src/message/ikev2/message.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { readRedirect, writeRedirect, type GatewayIdentity } from '../../src/message/ikev2/redirect.ts'
import type { SimulatedNode } from './node.ts'
import { Operator } from '../vici/operator.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario } from './world.ts'

const OTHER = '203.0.113.99'
const gatewayAt = (address: string): GatewayIdentity => ({ kind: 'address', address: IpAddress.parse(address) })

/** Of a gateway that answers an IKE_SA_INIT by sending its client away, by default with the client's nonce. */
async function sendAway(stranger: Stranger, to: GatewayIdentity, nonce?: Uint8Array): Promise<void> {
  const { header, payloads } = parseMessage(await stranger.answer())
  stranger.remotePort = stranger.received.at(-1)!.source.port
  const redirect = Uint8Array.of(...writeRedirect(to), ...(nonce ?? find(payloads, 'Nonce')!.data))
  const answer = { ...header, fromInitiator: false, response: true }
  stranger.send(writeMessage(answer, [notify(NotifyType.REDIRECT, redirect)]))
}

const named = <Name extends IkeEvent['event']>(node: SimulatedNode, name: Name): Extract<IkeEvent, { event: Name }>[] =>
  node.events.filter((event): event is Extract<IkeEvent, { event: Name }> => event.event === name)

/** The IKE_SA_INIT requests of a node, each once: the stranger lets the first of each go by. */
const requests = (node: SimulatedNode): Extract<IkeEvent, { event: 'message-sent' }>[] =>
  named(node, 'message-sent').filter(
    ({ exchangeType, isResponse, isRetransmission }) =>
      exchangeType === ExchangeType.IKE_SA_INIT && !isResponse && !isRetransmission,
  )

scenario(
  'edge case 54: REDIRECT in IKE_SA_INIT begins anew with the other gateway: port 500, fresh SPI, NAT detection anew',
  async (world) => {
    const nat = world.addNat('router', '192.0.2.1')
    const stranger = new Stranger(world, GATEWAY, nat.address.toString())
    const other = addGateway(world, {}, { name: 'other', address: OTHER })
    const client = addClient(world, {}, { behind: nat })
    await Promise.all([sendAway(stranger, gatewayAt(OTHER)), world.initiate(client)])
    const { sa } = client.session
    assert.equal(sa.remote.toString(), `${OTHER}[4500]`)
    assert.ok(sa.nat.here, 'found by hashes of its own')
    assert.ok(await flows(world, client, other))
    const [first, second, ...more] = requests(client)
    assert.deepEqual([first?.remote.toString(), second?.remote.toString(), more], [`${GATEWAY}[500]`, `${OTHER}[500]`, []])
    assert.notEqual(first!.sa!.ownSpi, second!.sa!.ownSpi)
    const hash = ({ payloads }: Extract<IkeEvent, { event: 'message-sent' }>): string =>
      toHex(findNotify(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)!.data)
    assert.notEqual(hash(first!), hash(second!))
    assert.notEqual(findNotify(first!.payloads, NotifyType.REDIRECT_SUPPORTED), null)
    assert.equal(findNotify(second!.payloads, NotifyType.REDIRECT_SUPPORTED), null)
    const from = findNotify(second!.payloads, NotifyType.REDIRECTED_FROM)
    assert.deepEqual(readRedirect(from!.data)?.gateway, gatewayAt(GATEWAY))
    assert.equal(named(other, 'came-redirected').length, 1)
  },
)

scenario('REDIRECT to a name is looked up; what is not found ends the attempt with the reason', async (world) => {
  const stranger = new Stranger(world, GATEWAY, CLIENT)
  const other = addGateway(world, {}, { name: 'other', address: OTHER })
  const client = addClient(world)
  const gateway: GatewayIdentity = { kind: 'host', name: 'vpn2.example.org' }
  const [, failure] = await Promise.all([sendAway(stranger, gateway), world.failure(client.gateway.initiate('home', 'net'))])
  assert.match(failure.message, /unable to resolve gateway ID 'vpn2\.example\.org'/)
  assert.deepEqual(client.sessions(), [])
  world.network.names.set('vpn2.example.org', [other.address])
  await Promise.all([sendAway(stranger, gateway), world.initiate(client)])
  assert.ok(await flows(world, client, other))
})

scenario('REDIRECT without the nonce of the request, or of no sense, leads nowhere', async (world) => {
  const stranger = new Stranger(world, GATEWAY, CLIENT)
  const client = addClient(world)
  for (const to of [gatewayAt(OTHER), { kind: 'host', name: 'not a name!' } as const]) {
    const nonce = to.kind === 'host' ? undefined : new Uint8Array(32)
    const [, failure] = await Promise.all([sendAway(stranger, to, nonce), world.failure(client.gateway.initiate('home', 'net'))])
    assert.match(failure.message, /received invalid REDIRECT notify/)
  }
  assert.ok(requests(client).every(({ remote }) => remote.address.toString() === GATEWAY))
})

scenario('two gateways that send a client to each other are left after five times', async (world) => {
  const strangers = [GATEWAY, OTHER].map((address) => new Stranger(world, address, CLIENT))
  const client = addClient(world)
  const turns = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) await sendAway(strangers[i % 2]!, gatewayAt(i % 2 === 0 ? OTHER : GATEWAY))
  }
  const [failure] = await Promise.all([world.failure(client.gateway.initiate('home', 'net')), turns()])
  assert.equal(failure.message, 'only 5 redirects are allowed within 300 seconds')
  assert.equal(requests(client).length, 6)
})

scenario('follow_redirects = no: nobody is told that we can be sent elsewhere, and nobody may send us', async (world) => {
  const stranger = new Stranger(world, GATEWAY, CLIENT)
  const client = addClient(world, {}, { settings: { followRedirects: false } })
  const [, failure] = await Promise.all([
    sendAway(stranger, gatewayAt(OTHER)),
    world.failure(client.gateway.initiate('home', 'net')),
  ])
  assert.equal(failure.message, 'server sent REDIRECT even though we disabled it')
  assert.equal(findNotify(requests(client)[0]!.payloads, NotifyType.REDIRECT_SUPPORTED), null)
})

scenario('a gateway that authenticates and sends its client away in IKE_AUTH is told that the IKE_SA is over', async (world) => {
  const stranger = new Stranger(world, GATEWAY, CLIENT)
  const other = addGateway(world, {}, { name: 'other', address: OTHER })
  const client = addClient(world)
  const redirect = notify(NotifyType.REDIRECT, writeRedirect(gatewayAt(OTHER)))
  const proof = (): readonly Payload[] =>
    stranger.authAnswer('10.2.0.0/16', '10.1.0.0/16').filter(({ kind }) => kind === 'IDr' || kind === 'AUTH')
  await Promise.all([stranger.answerHandshake(() => [...proof(), redirect]), world.initiate(client)])
  assert.ok(await flows(world, client, other))
  assert.equal(client.sessions().length, 1)
  assert.equal(world.countSent(`${GATEWAY}[500] INFORMATIONAL request 2`), 1)
})

scenario(
  'a client that is sent elsewhere in mid-life takes its CHILD_SAs along, and deletes the old IKE_SA then',
  async (world) => {
    const gateway = addGateway(world)
    const other = addGateway(world, {}, { name: 'other', address: OTHER })
    const client = addClient(world)
    await world.initiate(client)
    const operator = new Operator(world, gateway)
    assert.deepEqual(await operator.command('redirect', { 'gateway': OTHER, 'peer-id': 'client@example.org' }), {
      success: 'yes',
      matches: '1',
    })
    await world.pass(10 * SECOND)
    assert.deepEqual([gateway.sessions(), other.sessions().length, client.sessions().length], [[], 1, 1])
    assert.ok(await flows(world, client, other))
    assert.equal(client.session.sa.remote.address.toString(), OTHER)
  },
)

scenario('a client that does not go when it is sent elsewhere is deleted after charon.half_open_timeout', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  const operator = new Operator(world, gateway)
  await operator.command('redirect', { gateway: 'nowhere.example.org', ike: 'home' })
  await world.pass(20 * SECOND)
  assert.equal(named(client, 'redirect-failed').length, 1)
  assert.ok(await flows(world, client, gateway))
  await world.pass(20 * SECOND)
  assert.deepEqual([gateway.sessions(), client.sessions()], [[], []])
})

scenario('who cannot be sent elsewhere stays: a peer that has not said so, and one that we called', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, {}, { settings: { followRedirects: false } })
  await world.initiate(client)
  for (const [node, why] of [
    [gateway, 'unsupported'],
    [client, 'initiator'],
  ] as const) {
    await new Operator(world, node).command('redirect', { 'gateway': OTHER, 'ike-id': '1' })
    await world.pass(SECOND)
    assert.deepEqual(
      named(node, 'redirect-impossible').map((event) => event.why),
      [why],
    )
  }
  await world.pass(60 * SECOND)
  assert.ok(await flows(world, client, gateway))
})
