/** Additional key exchanges (RFC 9370) by IKE_INTERMEDIATE (RFC 9242), in both roles: agreed on, carried out, authenticated. */
import assert from 'node:assert/strict'

import { fromHex } from '../../src/base/bytes.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { keGroup } from '../../src/crypto/algorithms.ts'
import { createKeyExchange } from '../../src/crypto/key-exchange.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import { KeId } from '../../src/iana/transforms.ts'
import { find, findNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage } from '../../src/message/ikev2/message.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { formatProposal, parseProposal } from '../../src/negotiate/proposals.ts'
import type { SimulatedNode } from './node.ts'
import { ikeBytes, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, type SideWords } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const { IKE_AUTH, IKE_INTERMEDIATE } = ExchangeType
const SUITE = 'aes128gcm16-prfsha256-curve25519'
const MLKEM = `${SUITE}-ke1_mlkem768`
/** Of all kinds, each once, in the order of their types. */
const SEVEN = ['mlkem768', 'ecp256', 'mlkem1024', 'x448', 'ecp384', 'mlkem512', 'modp2048']
const SUPPORTED = notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)
const FRAGMENTS = notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)

function addBoth(
  world: World,
  proposals: readonly string[],
  side: SideWords = {},
): { readonly gateway: SimulatedNode; readonly client: SimulatedNode } {
  const words = { ikeProposals: proposals }
  return { gateway: addGateway(world, words, side), client: addClient(world, words, side) }
}

/** A stranger that offers additional key exchanges by ECP_256 and then CURVE_448, and has done IKE_SA_INIT. */
async function strangerAfterInit(world: World, address = CLIENT, more: readonly Payload[] = []): Promise<Stranger> {
  const peer = new Stranger(world, address, GATEWAY)
  peer.proposal = parseProposal(`${SUITE}-ke1_ecp256-ke2_x448`, 'ike')
  await peer.init([SUPPORTED, ...more])
  return peer
}

function addOther(world: World, settings: SideWords['settings'] = {}): SimulatedNode {
  return addGateway(world, { ikeProposals: [`${SUITE}-ke1_ecp256-ke2_x448`] }, { settings })
}

/** Nothing is left of the stranger. */
async function isGone(world: World, gateway: SimulatedNode): Promise<void> {
  await world.pass(SECOND)
  assert.equal(gateway.sessions().length, 0)
  assert.equal(gateway.gateway.halfOpenCount, 0)
}

scenario('two gateways with ML-KEM: one exchange more, in strongSwan’s words', async (world) => {
  const { gateway, client } = addBoth(world, [MLKEM])
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  assert.deepEqual(
    world.sent().filter((line) => line.includes('IKE_')),
    [
      '198.51.100.7[500] > 203.0.113.1[500] IKE_SA_INIT request 0',
      '203.0.113.1[500] > 198.51.100.7[500] IKE_SA_INIT response 0',
      // 1184 octets of the request do not fit into 1280, the 1088 of the response do.
      '198.51.100.7[4500] > 203.0.113.1[4500] IKE_INTERMEDIATE request 1',
      '198.51.100.7[4500] > 203.0.113.1[4500] IKE_INTERMEDIATE request 1',
      '203.0.113.1[4500] > 198.51.100.7[4500] IKE_INTERMEDIATE response 1',
      '198.51.100.7[4500] > 203.0.113.1[4500] IKE_AUTH request 2',
      '203.0.113.1[4500] > 198.51.100.7[4500] IKE_AUTH response 2',
    ],
  )
  const proposal = 'IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768'
  for (const node of [gateway, client]) {
    assert.equal(formatProposal(node.session.sa.proposal!), proposal)
    assert.ok(node.lines.some(({ message }) => message === `selected proposal: ${proposal}`))
  }
  for (const line of ['parsed IKE_INTERMEDIATE request 1 [ KE ]', 'generating IKE_INTERMEDIATE response 1 [ KE ]'])
    assert.ok(
      gateway.lines.some(({ message }) => message === line),
      line,
    )
})

for (let count = 0; count <= SEVEN.length; count++) {
  scenario(`${count} additional key exchanges are as many IKE_INTERMEDIATE, and IKE_AUTH comes next`, async (world) => {
    // From the last types on, so that there are gaps before them.
    const additional = SEVEN.slice(0, count).map((method, i) => `-ke${i + 1 + SEVEN.length - count}_${method}`)
    const { gateway, client } = addBoth(world, [`${SUITE}${additional.join('')}`])
    await world.initiate(client)
    assert.ok(await flows(world, client, gateway))
    for (const node of [gateway, client]) {
      const exchanges = node
        .eventsOf('message-received')
        .filter(({ exchangeType }) => exchangeType === IKE_INTERMEDIATE || exchangeType === IKE_AUTH)
      assert.deepEqual(
        exchanges.map(({ exchangeType, messageId }) => [exchangeType, messageId]),
        Array.from({ length: count + 1 }, (_, i) => [i < count ? IKE_INTERMEDIATE : IKE_AUTH, i + 1]),
      )
    }
    const announced = world.network.trace
      .filter(({ fate, summary }) => fate === 'sent' && summary.startsWith('IKE_SA_INIT'))
      .map(({ packet }) => parseMessage(ikeBytes(packet)!).payloads)
      .map((payloads) => findNotify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) !== null)
    assert.deepEqual(announced, [count > 0, count > 0])
  })
}

scenario('ML-KEM as it is, as the first key exchange and as additional ones', async (world) => {
  world.hasRealKems = true
  const { gateway, client } = addBoth(world, [`aes256-sha256-mlkem768-ke1_x25519-ke2_mlkem512-ke7_mlkem1024`])
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  assert.equal(
    formatProposal(client.session.sa.proposal!),
    'IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ML_KEM_768/KE1_CURVE_25519/KE2_ML_KEM_512/KE7_ML_KEM_1024',
  )
})

scenario('where NONE is offered the others are left out, and where it is not nothing comes about', async (world) => {
  const optional = { ikeProposals: [`${MLKEM}-ke1_none-ke2_mlkem1024-ke2_none`] }
  const gateway = addGateway(world, optional)
  const plain = addClient(world, { ikeProposals: [SUITE] }, { name: 'plain' })
  const one = addClient(world, { ikeProposals: [`${SUITE}-ke2_mlkem1024`] }, { name: 'one', address: '198.51.100.8' })
  await world.initiate(plain)
  assert.equal(world.countSent('IKE_INTERMEDIATE'), 0)
  await world.outcome(plain.gateway.stop('shutdown'))
  await world.initiate(one)
  assert.ok(formatProposal(one.session.sa.proposal!).endsWith('/CURVE_25519/KE2_ML_KEM_1024'))
  const strict = addClient(world, { ikeProposals: [`${SUITE}-ke3_mlkem768`] }, { name: 'strict', address: '198.51.100.9' })
  const failure = await world.failure(strict.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SAID_NO_PROPOSAL_CHOSEN')
  assert.equal(gateway.eventsOf('ike-established').length, 2)
})

for (const rounds of [1, 3]) {
  scenario(`what was said in IKE_INTERMEDIATE is part of every proof: ${rounds} of RFC 4739`, async (world) => {
    const psk = Array.from({ length: rounds }, () => ({ method: 'psk' }) as const)
    const words = { ikeProposals: [`${MLKEM}-ke2_ecp256`], localRounds: psk, remoteRounds: psk }
    const gateway = addGateway(world, words)
    const client = addClient(world, words)
    await world.initiate(client)
    assert.ok(await flows(world, client, gateway))
    for (const node of [gateway, client]) assert.equal(node.eventsOf('peer-authenticated').length, rounds)
    assert.equal(world.countSent(`IKE_AUTH request ${2 + rounds}`), 1)
  })
}

scenario('another implementation, that counts IntAuth octet by octet, gets in', async (world) => {
  const gateway = addOther(world)
  const peer = await strangerAfterInit(world)
  await peer.intermediate(KeId.ECP_256)
  // What we do not know is covered as well.
  await peer.intermediate(KeId.CURVE448, [notify(40_000, fromHex('c0ffee'))])
  assert.ok(find(await peer.auth(), 'AUTH') !== null)
  assert.equal(gateway.session.sa.state, 'established')
})

for (const [what, at] of [
  ['of the initiator', 0],
  ['of the responder', 32],
  ['the message ID', 67],
] as const) {
  scenario(`an AUTH that covers anything else of IKE_INTERMEDIATE is refused: ${what}`, async (world) => {
    const gateway = addOther(world)
    const peer = await strangerAfterInit(world)
    await peer.intermediate(KeId.ECP_256)
    await peer.intermediate(KeId.CURVE448)
    assert.equal(peer.intAuth.length, 68)
    peer.intAuth[at]! ^= 1
    assert.ok(findNotify(await peer.auth(), NotifyType.AUTHENTICATION_FAILED) !== null)
    await isGone(world, gateway)
  })
}

scenario('edge case 52: behind a NAT the ports change at IKE_INTERMEDIATE, which has message ID 1', async (world) => {
  const nat = world.addNat('router', '192.0.2.1', {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
  })
  const gateway = addGateway(world, { ikeProposals: [MLKEM] })
  const client = addClient(world, { ikeProposals: [MLKEM] }, { behind: nat })
  let during = ''
  const untap = world.network.tap((packet) => {
    // The responder knows by now where the initiator has gone.
    if (summaryIs(packet, IKE_AUTH) && during === '') during = gateway.session.sa.remote.toString()
    return [packet]
  })
  await world.initiate(client)
  untap()
  assert.deepEqual(
    world.network.trace
      .filter(({ fate, to, packet }) => fate === 'arrived' && to.startsWith(GATEWAY) && packet.esp === null)
      .map(({ from, to, summary }) => `${from} > ${to} ${summary}`)
      .filter((line, i, all) => line !== all[i - 1]),
    [
      '192.0.2.1[30000] > 203.0.113.1[500] IKE_SA_INIT request 0',
      '192.0.2.1[30001] > 203.0.113.1[4500] IKE_INTERMEDIATE request 1',
      '192.0.2.1[30001] > 203.0.113.1[4500] IKE_AUTH request 2',
    ],
  )
  assert.equal(during, '192.0.2.1[30001]')
  assert.ok(await flows(world, client, gateway))
  await world.pass(60 * SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('both messages go in fragments where they are long, whoever the responder may take the peer for', async (world) => {
  const { gateway, client } = addBoth(world, [`${SUITE}-ke1_mlkem1024`])
  await world.initiate(client)
  for (const node of [gateway, client]) {
    const [received] = node.eventsOf('message-received').filter(({ exchangeType }) => exchangeType === IKE_INTERMEDIATE)
    assert.ok(received?.isReassembled === true, node.name)
  }
  const sizes = world.network.trace
    .filter(({ summary }) => summary.startsWith('IKE_INTERMEDIATE'))
    .map(({ bytes }) => bytes.length)
  assert.ok(Math.max(...sizes) <= 1280 - 28, String(sizes))
  assert.ok(await flows(world, client, gateway))
})

scenario('a responder all of whose connections send no fragments answers in one piece', async (world) => {
  const gateway = addGateway(world, { ikeProposals: [`${SUITE}-ke1_mlkem1024`], fragmentation: 'accept' })
  const client = addClient(world, { ikeProposals: [`${SUITE}-ke1_mlkem1024`] })
  await world.initiate(client)
  const received = (node: SimulatedNode): boolean | undefined =>
    node.eventsOf('message-received').find(({ exchangeType }) => exchangeType === IKE_INTERMEDIATE)?.isReassembled
  assert.deepEqual([received(gateway), received(client)], [true, false])
})

scenarioOverSeeds('tiny fragments over wires that lose, double and reorder: everything comes about, once', 20, async (world) => {
  const settings = { fragmentSizeV4: 400, retransmitTries: 40, retransmitBase: 1.1, halfOpenTimeout: 10 * MINUTE }
  const { gateway, client } = addBoth(world, [`${SUITE}-ke1_mlkem768-ke2_ecp256-ke3_mlkem1024`], { settings })
  for (const { link } of [client, gateway]) Object.assign(link, { latency: 10, jitter: 300, loss: 0.15, duplication: 0.2 })
  await world.initiate(client)
  for (const { link } of [client, gateway]) Object.assign(link, { jitter: 0, loss: 0, duplication: 0 })
  assert.ok(await flows(world, client, gateway))
  assert.equal(gateway.sessions().length, 1)
})

scenario('a request that comes again after the keys have changed gets its answer again, as it was', async (world) => {
  const gateway = addOther(world)
  const client = addClient(world, { ikeProposals: [`${SUITE}-ke1_ecp256-ke2_x448`] })
  const answers: Uint8Array[] = []
  // Of the answer to each IKE_INTERMEDIATE the first two are lost.
  const lost = new Map<number, number>()
  world.network.tap((packet) => {
    const bytes = ikeBytes(packet)
    if (bytes === null || !summaryIs(packet, IKE_INTERMEDIATE)) return [packet]
    const { header } = parseMessage(bytes)
    if (!header.response) return [packet]
    answers.push(bytes.slice())
    const before = lost.get(header.messageId) ?? 0
    lost.set(header.messageId, before + 1)
    return before < 2 ? [] : [packet]
  })
  await world.initiate(client)
  assert.equal(answers.length, 6)
  assert.deepEqual(answers[1], answers[0])
  assert.deepEqual(answers[2], answers[0])
  assert.deepEqual(answers[5], answers[3])
  assert.notDeepEqual(answers[3], answers[0])
  assert.ok(await flows(world, client, gateway))
})

scenario(
  'what comes late of the exchange before is dropped, and IKE_SA_INIT is not answered with IKE_INTERMEDIATE',
  async (world) => {
    const gateway = addOther(world)
    const peer = await strangerAfterInit(world)
    const [init] = world.network.trace.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'))
    await peer.intermediate(KeId.ECP_256)
    const first = world.network.trace.filter(
      ({ fate, summary }) => fate === 'sent' && summary.startsWith('IKE_INTERMEDIATE request'),
    )
    await peer.intermediate(KeId.CURVE448)
    const before = peer.received.length
    for (const { packet } of [init!, ...first]) peer.sendBytes(packet.bytes)
    await world.pass(SECOND)
    assert.equal(peer.received.length, before)
    assert.ok(find(await peer.auth(), 'AUTH') !== null)
    assert.equal(gateway.session.sa.state, 'established')
  },
)

scenario('a stranger that repeats the request under other keys is not answered', async (world) => {
  const gateway = addOther(world)
  const peer = await strangerAfterInit(world)
  await peer.intermediate(KeId.ECP_256)
  const before = peer.received.length
  // Authentic, but under the keys that came of what it repeats.
  peer.send(peer.protectedRequest(IKE_INTERMEDIATE, 1, [{ kind: 'KE', group: KeId.ECP_256, data: new Uint8Array(64) }]))
  await world.pass(SECOND)
  assert.equal(peer.received.length, before)
  assert.equal(gateway.gateway.halfOpenCount, 1)
})

scenario('a cookie, another first method, and then the additional ones: AUTH covers what was said last', async (world) => {
  const wanted = `${SUITE.replace('curve25519', 'mlkem512')}-ke1_x448`
  const gateway = addGateway(world, { ikeProposals: [wanted, SUITE] }, { settings: { cookieThreshold: 1 } })
  // Somebody is half-open, so that cookies are asked for.
  await new Stranger(world, '198.51.100.66', GATEWAY).init()
  const client = addClient(world, { ikeProposals: [`${SUITE}-mlkem512-ke1_x448`] })
  await world.initiate(client)
  assert.ok(formatProposal(client.session.sa.proposal!).endsWith('/ML_KEM_512/KE1_CURVE_448'))
  assert.equal(client.eventsOf('key-exchange-retry').length, 1)
  assert.ok(client.eventsOf('cookie-returned').length > 0)
  assert.ok(await flows(world, client, gateway))
})

const KE = (group: number, data: Uint8Array): Payload => ({ kind: 'KE', group, data })

for (const [what, exchangeType, payloads] of [
  ['no KE payload', IKE_INTERMEDIATE, []],
  ['the method of the next one', IKE_INTERMEDIATE, [KE(KeId.CURVE448, new Uint8Array(56).fill(5))]],
  ['a method that nobody offered', IKE_INTERMEDIATE, [KE(KeId.ML_KEM_768, new Uint8Array(1184))]],
  ['a value that is too short', IKE_INTERMEDIATE, [KE(KeId.ECP_256, new Uint8Array(63))]],
  ['a value that is none of the group', IKE_INTERMEDIATE, [KE(KeId.ECP_256, new Uint8Array(64).fill(7))]],
  ['IKE_AUTH at once', IKE_AUTH, null],
] as const) {
  scenario(`instead of the first IKE_INTERMEDIATE, ${what}: INVALID_SYNTAX, and the end`, async (world) => {
    const gateway = addOther(world)
    const peer = await strangerAfterInit(world)
    peer.send(peer.protectedRequest(exchangeType, 1, payloads ?? peer.authPayloads()))
    assert.ok(findNotify(peer.open(await peer.answer()), NotifyType.INVALID_SYNTAX) !== null)
    assert.equal(gateway.eventsOf('ike-failed').length, 1)
    await isGone(world, gateway)
  })
}

scenario('a third where two were agreed on, and any where none was: INVALID_SYNTAX, and the end', async (world) => {
  const gateway = addOther(world)
  const peer = await strangerAfterInit(world)
  await peer.intermediate(KeId.ECP_256)
  await peer.intermediate(KeId.CURVE448)
  const exchange = createKeyExchange(KeId.ECP_384, peer.entropy)
  peer.send(peer.protectedRequest(IKE_INTERMEDIATE, 3, [KE(KeId.ECP_384, exchange.publicValue)]))
  assert.ok(findNotify(peer.open(await peer.answer()), NotifyType.INVALID_SYNTAX) !== null)
  await isGone(world, gateway)

  const plain = addGateway(world, {}, { name: 'plain', address: '203.0.113.2' })
  const other = new Stranger(world, '198.51.100.8', '203.0.113.2')
  await other.init([SUPPORTED])
  other.send(other.protectedRequest(IKE_INTERMEDIATE, 1, [KE(KeId.ECP_384, exchange.publicValue)]))
  assert.ok(findNotify(other.open(await other.answer()), NotifyType.INVALID_SYNTAX) !== null)
  await isGone(world, plain)
})

scenario('who offers additional key exchanges and does not say that it knows IKE_INTERMEDIATE gets none', async (world) => {
  const gateway = addGateway(world, { ikeProposals: [`${SUITE}-ke1_ecp256-ke2_x448`, SUITE] })
  const peer = new Stranger(world, CLIENT, GATEWAY)
  peer.proposal = parseProposal(`${SUITE}-ke1_ecp256-ke2_x448`, 'ike')
  const { payloads } = await peer.init([])
  assert.ok(findNotify(payloads, NotifyType.NO_PROPOSAL_CHOSEN) !== null)
  await isGone(world, gateway)
})

scenario('a responder that chooses them and does not say so is not believed', async (world) => {
  const peer = new Stranger(world, GATEWAY, CLIENT)
  const proposal = parseProposal(`${SUITE}-ke1_ecp256`, 'ike')
  const client = addClient(world, { ikeProposals: [`${SUITE}-ke1_ecp256`] })
  const failing = world.failure(client.gateway.initiate('home', 'net'))
  peer.sendInitAnswer(await peer.answer(), [], proposal)
  const { code, message } = await failing
  assert.equal(code, 'PEER_INVALID_SYNTAX')
  assert.match(message, /does not support IKE_INTERMEDIATE/)
})

for (const [what, payloads, code] of [
  ['nothing', [], 'PEER_INVALID_SYNTAX'],
  ['another method', [KE(KeId.CURVE448, new Uint8Array(56).fill(5))], 'PEER_INVALID_SYNTAX'],
  ['a ciphertext that is too short', [KE(KeId.ML_KEM_768, new Uint8Array(1087))], 'KE_INVALID'],
  ['an encapsulation key instead of a ciphertext', [KE(KeId.ML_KEM_768, new Uint8Array(1184))], 'KE_INVALID'],
  ['an error', [notify(NotifyType.NO_PROPOSAL_CHOSEN)], 'PEER_SAID_NO_PROPOSAL_CHOSEN'],
  // It gives keys that nobody else has: no answer to what comes after it is authentic.
  ['a ciphertext of nobody', [KE(KeId.ML_KEM_768, new Uint8Array(1088))], 'PEER_SILENT'],
] as const) {
  scenario(`an initiator whose IKE_INTERMEDIATE is answered with ${what} gives up, and nothing is left`, async (world) => {
    const peer = new Stranger(world, GATEWAY, CLIENT)
    const client = addClient(world, { ikeProposals: [MLKEM] })
    const failing = world.failure(client.gateway.initiate('home', 'net'))
    const choice = { exchangeType: IKE_INTERMEDIATE, proposal: parseProposal(MLKEM, 'ike') }
    const answering = peer.answerHandshake(payloads, [], [SUPPORTED], choice)
    assert.equal((await failing).code, code)
    await answering
    await world.pass(SECOND)
    assert.equal(client.sessions().length, 0)
  })
}

scenario('half-open IKE_SAs with IKE_INTERMEDIATE go in time, in whatever state they are', async (world) => {
  const gateway = addOther(world)
  for (let count = 0; count < 3; count++) {
    const peer = await strangerAfterInit(world, `198.51.100.${10 + count}`, [FRAGMENTS])
    for (const group of [KeId.ECP_256, KeId.CURVE448].slice(0, count)) await peer.intermediate(group)
    const content = new Uint8Array(100)
    peer.send(peer.fragment(IKE_INTERMEDIATE, 1 + count, 2, 3, content))
  }
  await world.pass(SECOND)
  assert.equal(gateway.gateway.halfOpenCount, 3)
  await world.pass(31 * SECOND)
  await isGone(world, gateway)
})

scenario('messages of IKE_INTERMEDIATE that were changed on the way are not heard, and come again', async (world) => {
  const client = addClient(world, { ikeProposals: [MLKEM] })
  const gateway = addGateway(world, { ikeProposals: [MLKEM] })
  // A datagram that is not authentic does not end it.
  let spoilt = 0
  world.network.tap((packet) => {
    const bytes = ikeBytes(packet)
    if (bytes === null || !summaryIs(packet, IKE_INTERMEDIATE) || spoilt >= 4) return [packet]
    spoilt++
    const changed = packet.bytes.slice()
    changed[changed.length - 1 - 40 * spoilt]! ^= 0x80
    return [{ ...packet, bytes: changed }]
  })
  await world.initiate(client)
  assert.equal(spoilt, 4)
  assert.ok(await flows(world, client, gateway))
})

scenario('an IKE_SA with additional key exchanges goes over to another program, and is rekeyed with as many', async (world) => {
  const { gateway, client } = addBoth(world, [`${MLKEM}-ke2_ecp256`])
  await world.initiate(client)
  for (const node of [gateway, client]) {
    await world.outcome(node.takeOver())
    const proposal = formatProposal(node.session.sa.proposal!)
    assert.ok(proposal.endsWith('/CURVE_25519/KE1_ML_KEM_768/KE2_ECP_256'))
    node.gateway.control.rekey({ ike: 'home', ikeId: null, child: null, childId: null }, false)
    await world.pass(10 * SECOND)
    assert.equal(formatProposal(node.session.sa.proposal!), proposal)
    assert.ok(await flows(world, client, gateway))
  }
  assert.equal(client.eventsOf('ike-rekeyed').length, 2)
})

function summaryIs(packet: Packet, exchangeType: number): boolean {
  const bytes = ikeBytes(packet)
  return bytes !== null && parseMessage(bytes).header.exchangeType === exchangeType
}

scenario('every method that can be offered can be an additional key exchange', async (world) => {
  assert.deepEqual(
    SEVEN.map((method) => keGroup(parseProposal(`${SUITE}-ke1_${method}`, 'ike').transforms.at(-1)!.id) !== null),
    SEVEN.map(() => true),
  )
  const { gateway, client } = addBoth(world, [`${SUITE}-ke1_modp3072-ke2_ecp521`])
  world.keyExchangeLatency = 100
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})
