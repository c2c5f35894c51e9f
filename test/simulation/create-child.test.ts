/**
 * CREATE_CHILD_SA that comes to nothing, with the notify that says why (RFC 7296 2.21, 2.25, 3.10.1), both ways: what the
 * peer answers to us, and what we answer to the peer.
 */
import assert from 'node:assert/strict'

import { Writer } from '../../src/base/bytes.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { SECOND } from '../../src/base/time.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../../src/iana/ikev2.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { ChildSa } from '../../src/ike/sa.ts'
import { find, findErrorNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage } from '../../src/message/ikev2/message.ts'
import type { NotifyPayload, Payload } from '../../src/message/ikev2/payload.ts'
import type { SimulatedNode } from './node.ts'
import { ikeBytes } from './packet.ts'
import { addClient, addGateway, CLIENT, GATEWAY } from './places.ts'
import { assertOne, beginChildRekey, standing } from './standing.ts'
import { selector, Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

const NAMES = Object.fromEntries(Object.entries(NotifyType).map(([name, type]) => [type, name]))
const FIRST_SPI = 0xcafe_0001

/** A peer that has the keys, with a CHILD_SA, and a gateway that has another child to ask it for. */
async function established(world: World): Promise<{ readonly gateway: SimulatedNode; readonly peer: Stranger }> {
  const gateway = addGateway(world, {
    remoteAddresses: [CLIENT],
    children: [
      { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
      { name: 'more', local: ['10.3.0.0/16'], remote: ['10.2.0.0/16'] },
    ],
  })
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  await peer.auth()
  return { gateway, peer }
}

const wantsMore = ({ session }: SimulatedNode): Promise<ChildSa> => addChild(session, session.sa.connection!.children[1]!)

/** The request of the gateway's that came last, and what it is answered with. */
async function answerWith(world: World, peer: Stranger, type: number, data?: Uint8Array): Promise<void> {
  const { header } = parseMessage(ikeBytes(peer.received.at(-1)!)!)
  assert.deepEqual([header.response, header.exchangeType], [false, ExchangeType.CREATE_CHILD_SA])
  peer.send(peer.protectedRequest(ExchangeType.CREATE_CHILD_SA, header.messageId, [notify(type, data)], true))
  await world.pass(SECOND)
}

for (const type of [
  NotifyType.NO_ADDITIONAL_SAS,
  NotifyType.SINGLE_PAIR_REQUIRED,
  NotifyType.TS_UNACCEPTABLE,
  NotifyType.NO_PROPOSAL_CHOSEN,
]) {
  scenario(`the peer answers ${NAMES[type]}: there is no other CHILD_SA, and nothing else changes`, async (world) => {
    const { gateway, peer } = await established(world)
    const before = gateway.kernel.states().length
    const made = world.failure(wantsMore(gateway))
    await world.pass(SECOND)
    await answerWith(world, peer, type)
    assert.equal((await made).code, `PEER_SAID_${NAMES[type]}`)
    assert.deepEqual([gateway.session.sa.state, gateway.session.sa.children.length], ['established', 1])
    assert.equal(gateway.kernel.states().length, before)
    // The window is free: the peer is asked, and asks.
    peer.send(peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, []))
    assert.deepEqual(peer.open(await peer.answer()), [])
  })
}

scenario('the peer answers TEMPORARY_FAILURE: it is asked again, half a minute later', async (world) => {
  const { gateway, peer } = await established(world)
  void wantsMore(gateway).catch(() => undefined)
  const asked = (): number => world.countSent('CREATE_CHILD_SA request')
  await world.pass(SECOND)
  await answerWith(world, peer, NotifyType.TEMPORARY_FAILURE)
  assert.equal(asked(), 1)
  await world.pass(31 * SECOND)
  assert.ok(asked() >= 2)
})

scenario('the peer answers CHILD_SA_NOT_FOUND: what it does not have goes here, too, and another is asked for', async (world) => {
  const { gateway, peer } = await established(world)
  const [child] = gateway.session.sa.children
  void gateway.session.runExchange((session) => rekeyChild(session, child!), 'rekey-child')
  await world.pass(SECOND)
  await answerWith(world, peer, NotifyType.CHILD_SA_NOT_FOUND)
  assert.deepEqual(gateway.session.sa.children, [])
  const request = peer.open(ikeBytes(peer.received.at(-1)!)!)
  assert.ok(find(request, 'SA') !== null)
  assert.ok(!request.some((payload) => payload.kind === 'Notify' && payload.notifyType === NotifyType.REKEY_SA))
})

for (const [what, begin] of [
  ['another CHILD_SA', wantsMore],
  ['a rekey of the IKE_SA', ({ session }: SimulatedNode) => session.runExchange(rekeyIkeSa, 'rekey-ike')],
] as const) {
  scenario(`the peer answers INVALID_SYNTAX to ${what}: the IKE_SA is over for both (RFC 7296 2.21.3)`, async (world) => {
    const { gateway, peer } = await established(world)
    void begin(gateway).catch(() => undefined)
    await world.pass(SECOND)
    const session = standing(gateway)
    await answerWith(world, peer, NotifyType.INVALID_SYNTAX)
    assert.equal(session.sa.state, 'closed')
    assert.ok(gateway.eventsOf('ike-closed').some(({ sa, reason }) => sa === session.sa && reason === 'failed'))
    assert.deepEqual([gateway.kernel.states(), gateway.kernel.policies()], [[], []])
    assert.match(gateway.said('ike-failed'), /INVALID_SYNTAX/)
    // Without another word in it; what somebody waits for is asked for in another one.
    assert.equal(world.countSent('INFORMATIONAL'), 0)
    assert.equal(world.countSent('IKE_SA_INIT request'), begin === wantsMore ? 2 : 1)
  })
}

scenario('what fails here, and is not the peer’s doing: TEMPORARY_FAILURE, and the IKE_SA stays', async (world) => {
  const gateway = addGateway(world, { proposals: ['aes128gcm16-x25519'] })
  const client = addClient(world, { proposals: ['aes128gcm16-x25519'] })
  const both = { client, gateway }
  await world.initiate(client)
  const { keyExchanges } = gateway.session.env
  const lost = new EspalierError('system', 'KEY_EXCHANGE_LOST', 'the thread that does slow key exchanges failed')
  Object.assign(gateway.session.env, { keyExchanges: { ...keyExchanges, answer: () => Promise.reject(lost) } })
  const begin = (): Promise<void> =>
    client.session.runExchange((session) => rekeyChild(session, session.sa.children[0]!), 'rekey-child')
  await world.outcome(begin())
  assert.equal(client.eventsOf('child-rekey-failed')[0]?.error.code, 'PEER_SAID_TEMPORARY_FAILURE')
  assert.equal(client.session.sa.state, 'established')
  Object.assign(gateway.session.env, { keyExchanges })
  await world.outcome(begin())
  assert.equal(client.eventsOf('child-rekeyed').length, 1)
  await assertOne(world, both)
})

/** What the gateway answers to a CREATE_CHILD_SA request with this in it. */
async function refusal(peer: Stranger, messageId: number, payloads: readonly Payload[]): Promise<NotifyPayload | null> {
  peer.send(peer.protectedRequest(ExchangeType.CREATE_CHILD_SA, messageId, payloads))
  return findErrorNotify(peer.open(await peer.answer()))
}

const NONCE: Payload = { kind: 'Nonce', data: new Uint8Array(32).fill(7) }
const spiOf = (spi: number): Uint8Array => new Writer(4).u32(spi).finish()
const rekeyOf = (spi: number): Payload => notify(NotifyType.REKEY_SA, undefined, ProtocolId.ESP, spiOf(spi))

scenario('a rekey of a CHILD_SA that we do not have: CHILD_SA_NOT_FOUND, with its SPI', async (world) => {
  const { gateway, peer } = await established(world)
  const said = await refusal(peer, 2, [rekeyOf(0xdead_beef), ...peer.childOffer(0xcafe_0002), NONCE])
  assert.deepEqual(
    [said?.notifyType, said?.protocol, [...(said?.spi ?? [])]],
    [NotifyType.CHILD_SA_NOT_FOUND, ProtocolId.ESP, [...spiOf(0xdead_beef)]],
  )
  // One that is there is rekeyed.
  assert.equal(await refusal(peer, 3, [rekeyOf(FIRST_SPI), ...peer.childOffer(0xcafe_0002), NONCE]), null)
  assert.equal(gateway.session.sa.children.at(-1)?.outboundSpi, 0xcafe_0002)
})

scenario('a rekey of what is no CHILD_SA of ESP: CHILD_SA_NOT_FOUND, and nothing else changes', async (world) => {
  const { gateway, peer } = await established(world)
  for (const [messageId, protocol, spi] of [
    [2, ProtocolId.IKE, new Uint8Array(8)],
    [3, ProtocolId.AH, spiOf(FIRST_SPI)],
    [4, ProtocolId.NONE, new Uint8Array()],
    [5, ProtocolId.ESP, new Uint8Array()],
    [6, 77, new Uint8Array(3)],
    [7, 77, new Uint8Array(255)],
  ] as const) {
    const rekey: Payload = { kind: 'Notify', protocol, spi, notifyType: NotifyType.REKEY_SA, data: new Uint8Array() }
    const said = await refusal(peer, messageId, [rekey, ...peer.childOffer(0xcafe_0002), NONCE])
    assert.equal(said?.notifyType, NotifyType.CHILD_SA_NOT_FOUND, `protocol ${protocol}`)
  }
  assert.deepEqual([gateway.session.sa.children.length, gateway.session.sa.state], [1, 'established'])
})

scenario('anything about a CHILD_SA while we rekey the IKE_SA: TEMPORARY_FAILURE', async (world) => {
  const { gateway, peer } = await established(world)
  void gateway.session.runExchange(rekeyIkeSa, 'rekey-ike')
  await world.pass(SECOND)
  for (const [messageId, rekeyed] of [
    [2, []],
    [3, [rekeyOf(FIRST_SPI)]],
  ] as const) {
    const said = await refusal(peer, messageId, [...rekeyed, ...peer.childOffer(0xcafe_0002), NONCE])
    assert.equal(said?.notifyType, NotifyType.TEMPORARY_FAILURE)
  }
  assert.equal(standing(gateway).sa.children.length, 1)
})

scenario('more CHILD_SAs in an IKE_SA than we keep: NO_ADDITIONAL_SAS, and the others stay', async (world) => {
  const { gateway, peer } = await established(world)
  let said: NotifyPayload | null = null
  let messageId = 2
  for (; said === null && messageId < 400; messageId++) {
    // Each with traffic of its own.
    const host = `10.2.${messageId >> 8}.${messageId & 255}`
    said = await refusal(peer, messageId, [...peer.childOffer(0xcafe_0000 + messageId, `${host}/32`, '10.3.0.0/16'), NONCE])
  }
  assert.equal(said?.notifyType, NotifyType.NO_ADDITIONAL_SAS)
  assert.equal(gateway.session.sa.children.length, 256)
  assert.equal(gateway.session.sa.state, 'established')
})

scenario('a peer that goes on replacing a CHILD_SA and deletes none: TEMPORARY_FAILURE, until it has', async (world) => {
  const { gateway, peer } = await established(world)
  let said: NotifyPayload | null = null
  let [messageId, spi] = [2, FIRST_SPI]
  const rekey = (): Promise<NotifyPayload | null> =>
    refusal(peer, messageId++, [rekeyOf(spi), ...peer.childOffer(spi + 1), NONCE])
  for (; said === null && spi < FIRST_SPI + 600; spi++) said = await rekey()
  assert.equal(said?.notifyType, NotifyType.TEMPORARY_FAILURE)
  spi--
  assert.deepEqual([gateway.session.sa.children.length, gateway.session.sa.state], [512, 'established'])
  // A first one is gone some seconds after its delete.
  peer.send(
    peer.protectedRequest(ExchangeType.INFORMATIONAL, messageId++, [
      { kind: 'Delete', protocol: ProtocolId.ESP, spis: [spiOf(FIRST_SPI)] },
    ]),
  )
  await peer.answer()
  await world.pass(10 * SECOND)
  assert.equal(await rekey(), null)
})

/** A TS payload of ranges that are fourteen prefixes each. */
const scattered = (kind: 'TSi' | 'TSr', network: string, count: number): Payload => ({
  kind,
  selectors: Array.from({ length: count }, (_, i) => selector(`${network}.${i}.1-${network}.${i}.254`)),
})

scenario('traffic that would be thousands of policies: TS_UNACCEPTABLE', async (world) => {
  const { gateway, peer } = await established(world)
  const [offer] = peer.childOffer(0xcafe_0002)
  const ask = (messageId: number, count: number): Promise<NotifyPayload | null> =>
    refusal(peer, messageId, [offer!, NONCE, scattered('TSi', '10.2', count), scattered('TSr', '10.3', count)])
  const before = gateway.kernel.policies().length
  for (const [messageId, count] of [
    [2, 255],
    [3, 20],
    [4, 3],
  ] as const)
    assert.equal((await ask(messageId, count))?.notifyType, NotifyType.TS_UNACCEPTABLE)
  assert.match(gateway.eventsOf('create-refused').at(-1)!.error.message, /1764 pairs of networks, and child more may have 1024$/)
  assert.deepEqual([gateway.kernel.policies().length, gateway.gateway.books.installed.spis], [before, 0])
  // A part of it can be had.
  assert.equal(await ask(5, 2), null)
  assert.equal(gateway.kernel.policies().length, before + 3 * 28 * 28)
})

scenario('the same in the answer to what we ask for: it is told that there is none', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  const { exchanges } = standing(gateway)
  const respond = exchanges.respond.bind(exchanges)
  const spoil = (payload: Payload): Payload =>
    payload.kind === 'TSi' || payload.kind === 'TSr'
      ? scattered(payload.kind, payload.kind === 'TSi' ? '10.2' : '10.1', 20)
      : payload
  exchanges.respond = (request, payloads) => respond(request, payloads.map(spoil))
  await world.outcome(beginChildRekey(client))
  exchanges.respond = respond
  assert.match(client.eventsOf('child-rekey-failed')[0]!.error.message, /78400 pairs of networks/)
  await world.pass(31 * SECOND)
  await assertOne(world, { client, gateway })
})

scenario('nothing in common: NO_PROPOSAL_CHOSEN, TS_UNACCEPTABLE; the CHILD_SA there is stays', async (world) => {
  const { gateway, peer } = await established(world)
  const unacceptable = await refusal(peer, 2, [...peer.childOffer(0xcafe_0002, '172.16.0.0/16', '172.17.0.0/16'), NONCE])
  assert.equal(unacceptable?.notifyType, NotifyType.TS_UNACCEPTABLE)
  const [, ...selectors] = peer.childOffer(0xcafe_0003)
  const offer: Payload = {
    kind: 'SA',
    proposals: [
      {
        number: 1,
        protocol: ProtocolId.ESP,
        spi: spiOf(0xcafe_0003),
        transforms: [{ type: 1, id: 11, keyLength: null, otherAttributes: false }],
      },
    ],
  }
  const chosen = await refusal(peer, 3, [offer, ...selectors, NONCE])
  assert.equal(chosen?.notifyType, NotifyType.NO_PROPOSAL_CHOSEN)
  assert.equal(gateway.session.sa.children.length, 1)
})

for (const [what, exchangeType, payloads] of [
  ['a CREATE_CHILD_SA without a nonce', ExchangeType.CREATE_CHILD_SA, [notify(NotifyType.USE_TRANSPORT_MODE)]],
  ['an unknown exchange type', 240, []],
] as const) {
  scenario(`${what}: INVALID_SYNTAX, and the IKE_SA is over for both (RFC 7296 2.21.3)`, async (world) => {
    const { gateway, peer } = await established(world)
    const request = peer.protectedRequest(exchangeType, 2, payloads)
    peer.send(request)
    const answer = await peer.answer()
    assert.equal(findErrorNotify(peer.open(answer))?.notifyType, NotifyType.INVALID_SYNTAX)
    await world.pass(SECOND)
    assert.deepEqual([gateway.sessions(), gateway.kernel.states(), gateway.kernel.policies()], [[], [], []])
    assert.equal(world.countSent('INFORMATIONAL'), 0)
    // Whoever has not got that answer gets it again, octet by octet.
    peer.send(request)
    assert.deepEqual(await peer.answer(), answer)
  })
}
