/** Fragmentation (RFC 7383): when messages are split, how they are put together, and what becomes of pieces that do not fit. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../../src/iana/ikev2.ts'
import { ask } from '../../src/ike/liveness.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { findNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage } from '../../src/message/ikev2/message.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { ikeBytes, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { assertOne, current, standing } from './standing.ts'
import { Stranger } from './stranger.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

/** As small as they get: 128 octets of IKE, 67 of them content. */
const TINY = { fragmentSizeV4: 1, fragmentSizeV6: 1 }
const FRAGMENT_MAX = 128
/** What a client may have that offers a lot: its IKE_AUTH takes twenty fragments or so. */
const MANY_PROPOSALS = Array.from({ length: 36 }, (_, i) => `aes${i % 2 === 0 ? 256 : 192}gcm16-modp${i % 3 === 0 ? 3072 : 4096}`)

interface Piece {
  readonly number: number
  readonly total: number
}

/** What an IKE message is a fragment of; null if it is whole. */
function pieceOf(bytes: Uint8Array): Piece | null {
  const last = parseMessage(bytes).payloads.at(-1)
  return last?.kind === 'SKF' ? { number: last.fragmentNumber, total: last.totalFragments } : null
}

function pieceIn(packet: Packet): Piece | null {
  const bytes = ikeBytes(packet)
  return bytes === null ? null : pieceOf(bytes)
}

/** IKE messages that `address` has sent, by kind. */
function sentBy(world: World, address: string, summary: string): readonly Uint8Array[] {
  return world.network.trace
    .filter((entry) => entry.fate === 'sent' && entry.summary === summary && entry.packet.source.address.toString() === address)
    .map(({ packet }) => ikeBytes(packet)!)
}

for (const { client, gateway, announced, splits } of [
  { client: 'yes', gateway: 'yes', announced: [true, true], splits: [true, true] },
  // strongSwan: accept takes them in and sends none.
  { client: 'accept', gateway: 'yes', announced: [true, true], splits: [false, true] },
  { client: 'yes', gateway: 'accept', announced: [true, true], splits: [true, false] },
  { client: 'force', gateway: 'force', announced: [true, true], splits: [true, true] },
  // RFC 7383 2.3: nothing in fragments to a peer that did not say it takes them, whatever we want.
  { client: 'force', gateway: 'no', announced: [true, false], splits: [false, false] },
  { client: 'no', gateway: 'force', announced: [false, false], splits: [false, false] },
] as const) {
  scenario(`fragmentation = ${client} meets ${gateway}`, async (world) => {
    const nodes = {
      gateway: addGateway(world, { fragmentation: gateway }, { settings: TINY }),
      client: addClient(world, { fragmentation: client }, { settings: TINY }),
    }
    await world.initiate(nodes.client)
    assert.ok(await flows(world, nodes.client, nodes.gateway))
    const inits = [sentBy(world, CLIENT, 'IKE_SA_INIT request 0'), sentBy(world, GATEWAY, 'IKE_SA_INIT response 0')]
    assert.deepEqual(
      inits.map(([bytes]) => findNotify(parseMessage(bytes!).payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) !== null),
      announced,
    )
    const auths = [sentBy(world, CLIENT, 'IKE_AUTH request 1'), sentBy(world, GATEWAY, 'IKE_AUTH response 1')]
    assert.deepEqual(
      auths.map((messages) => messages.length > 1),
      splits,
    )
    for (const messages of auths) {
      const pieces = messages.map(pieceOf)
      if (messages.length === 1) assert.deepEqual(pieces, [null])
      else
        assert.deepEqual(
          pieces,
          messages.map((_, i) => ({ number: i + 1, total: messages.length })),
        )
      if (messages.length > 1) for (const bytes of messages) assert.ok(bytes.length <= FRAGMENT_MAX)
    }
  })
}

scenario(
  'no datagram after IKE_SA_INIT is larger than fragment_size, over either family, and those that fit stay whole',
  async (world) => {
    const settings = { fragmentSizeV4: 576, fragmentSizeV6: 600 }
    for (const { name, gatewayAddress, clientAddress, ip, most } of [
      { name: 'four', gatewayAddress: GATEWAY, clientAddress: CLIENT, ip: 20, most: 576 },
      { name: 'six', gatewayAddress: '2001:db8::1', clientAddress: '2001:db8::7', ip: 40, most: 600 },
    ]) {
      const gateway = addGateway(world, {}, { name: `gateway ${name}`, address: gatewayAddress, settings })
      const words = { remoteAddresses: [gatewayAddress], proposals: ['aes128gcm16', ...MANY_PROPOSALS] }
      const client = addClient(world, words, { name: `client ${name}`, address: clientAddress, settings })
      await world.initiate(client)
      assert.ok(await flows(world, client, gateway))
      const sizes = world.network.trace
        .filter(({ fate, packet, summary }) => fate === 'sent' && packet.esp === null && !summary.startsWith('IKE_SA_INIT'))
        .filter(({ packet }) => packet.source.address.toString() === clientAddress)
        .map(({ bytes }) => ip + 8 + bytes.length)
      // GCM has no blocks to fill up: all but the last are as large as they may be.
      assert.ok(sizes.length > 2)
      for (const size of sizes.slice(0, -1)) assert.ok(size <= most && size > most - 4, `${size} of ${most}`)
      assert.deepEqual(sentBy(world, gatewayAddress, 'IKE_AUTH response 1').map(pieceOf), [null])
      await world.outcome(client.gateway.stop('shutdown'))
    }
  },
)

scenario('the log tells of splitting and of putting together in strongSwan’s words', async (world) => {
  const gateway = addGateway(world, {}, { settings: TINY })
  const client = addClient(world, {}, { settings: TINY })
  await world.initiate(client)
  const total = sentBy(world, CLIENT, 'IKE_AUTH request 1').length
  const said = (node: typeof client): readonly string[] => node.lines.map(({ message }) => message)
  const splitting = said(client).find((line) => line.startsWith('splitting'))
  const [, length] = /^splitting IKE message \((\d+) bytes\) into \d+ fragments$/.exec(splitting ?? '') ?? []
  assert.equal(splitting, `splitting IKE message (${length} bytes) into ${total} fragments`)
  assert.ok(said(gateway).includes(`received fragment #1 of ${total}, waiting for complete IKE message`))
  // The length is told alike at both ends.
  assert.ok(
    said(gateway).includes(`received fragment #${total} of ${total}, reassembled fragmented IKE message (${length} bytes)`),
  )
  const [received] = gateway.eventsOf('message-received').filter(({ exchangeType }) => exchangeType === ExchangeType.IKE_AUTH)
  assert.deepEqual([received?.isReassembled, received?.length], [true, Number(length)])
})

scenarioOverSeeds('tiny fragments over wires that lose, double and reorder: everything comes about, once', 40, async (world) => {
  const settings = { ...TINY, retransmitTries: 40, retransmitBase: 1.1, halfOpenTimeout: 10 * MINUTE }
  const gateway = addGateway(world, { proposals: ['aes128gcm16', 'aes128gcm16-x25519'] }, { settings })
  const client = addClient(world, { proposals: ['aes128gcm16-x25519', 'aes128gcm16'] }, { settings })
  const wires = [client.link, gateway.link]
  for (const wire of wires) Object.assign(wire, { latency: 10, jitter: 300, loss: 0.2, duplication: 0.2 })
  await world.initiate(client)
  for (const node of [gateway, client]) {
    const [session, child] = [standing(node), current(node)]
    await world.outcome(session.runExchange((one) => rekeyChild(one, child), 'rekey-child'))
    await world.pass(5 * MINUTE)
    await world.outcome(standing(node).runExchange(rekeyIkeSa, 'rekey-ike'))
    await world.pass(10 * MINUTE)
  }
  for (const wire of wires) Object.assign(wire, { jitter: 0, loss: 0, duplication: 0 })
  await world.pass(10 * MINUTE)
  await assertOne(world, { client, gateway })
  for (const node of [client, gateway]) {
    const reassembled = node.eventsOf('message-received').filter(({ isReassembled }) => isReassembled)
    // IKE_AUTH and the four rekeys that follow, each with a key exchange.
    assert.equal(reassembled.length, 5)
    assert.equal(node.eventsOf('child-rekeyed').length, 2)
    assert.equal(node.eventsOf('ike-rekeyed').length, 2)
  }
})

scenario(
  'edge case 53: an IKE_AUTH of twenty fragments, reordered, one lost, behind a NAT that takes another port on the way',
  async (world) => {
    const nat = world.addNat('router', '192.0.2.1')
    const gateway = addGateway(world, {}, { settings: TINY })
    const words = { proposals: ['aes128gcm16', ...MANY_PROPOSALS] }
    const client = addClient(world, words, { behind: nat, settings: TINY })
    const first: Packet[] = []
    const untap = world.network.tap((packet) => {
      const piece = pieceIn(packet)
      if (piece === null || packet.source.address.toString() !== client.address.toString()) return [packet]
      first.push(packet)
      if (piece.number < piece.total) return []
      // The last one first, and the third one not at all.
      untap()
      return first.toReversed().filter((one) => pieceIn(one)!.number !== 3)
    })
    const initiated = client.gateway.initiate('home', 'net')
    initiated.catch(() => undefined)
    await world.pass(SECOND)
    assert.ok(first.length >= 20, `${first.length} fragments`)
    assert.equal(gateway.eventsOf('fragment-received').length, first.length - 1)
    assert.equal(gateway.gateway.halfOpenCount, 1)
    const [before] = nat.mappings().filter(({ inside }) => inside.endsWith('[4500]'))
    nat.flush()
    await world.outcome(initiated)
    await world.pass(SECOND)

    // The one that was missing came from another port: that is where the peer is now, and where its answer went.
    const [after] = nat.mappings().filter(({ inside }) => inside.endsWith('[4500]'))
    assert.ok(before !== undefined && after !== undefined && after.port !== before.port)
    assert.equal(gateway.session.sa.remote.port, after.port)
    assert.equal(client.eventsOf('retransmitting').length, 1)
    assert.ok(await flows(world, client, gateway))
  },
)

/** A stranger with an IKE_SA that takes fragments, and every IKE message it got since. */
async function peer(
  world: World,
  announces = true,
): Promise<{ readonly peer: Stranger; readonly answers: () => readonly Uint8Array[] }> {
  const stranger = new Stranger(world, CLIENT, GATEWAY)
  const hashes = stranger.natDetection()
  await stranger.init([
    notify(NotifyType.NAT_DETECTION_SOURCE_IP, hashes.source),
    notify(NotifyType.NAT_DETECTION_DESTINATION_IP, hashes.destination),
    ...(announces ? [notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)] : []),
  ])
  const before = stranger.received.length
  return { peer: stranger, answers: () => stranger.received.slice(before).map((packet) => ikeBytes(packet)!) }
}

async function deliver(world: World, stranger: Stranger, messages: readonly Uint8Array[]): Promise<void> {
  for (const message of messages) {
    stranger.send(message)
    await world.pass(100)
  }
}

scenario('a repeated request in fragments is answered to its first one only, with the very same fragments', async (world) => {
  addGateway(world, {}, { settings: TINY })
  const { peer: stranger, answers } = await peer(world)
  const request = stranger.fragmentedRequest(ExchangeType.IKE_AUTH, 1, stranger.authPayloads(), 130)
  assert.ok(request.length > 2)
  await deliver(world, stranger, request)
  const answer = answers()
  assert.ok(answer.length > 1)
  assert.ok(stranger.openAll(answer).some(({ kind }) => kind === 'AUTH'))

  // RFC 7383 2.6.1.
  await deliver(world, stranger, request.slice(1))
  assert.equal(answers().length, answer.length)
  await deliver(world, stranger, request.slice(0, 1))
  assert.deepEqual(answers(), [...answer, ...answer])
  // Smaller ones of the same request: it was answered, too.
  const [finer] = stranger.fragmentedRequest(ExchangeType.IKE_AUTH, 1, stranger.authPayloads(), 120)
  await deliver(world, stranger, [finer!])
  assert.equal(answers().length, 3 * answer.length)
  // Not authentic: as if it never came.
  await deliver(world, stranger, [request[0]!.map((byte, i) => (i === 60 ? byte ^ 1 : byte))])
  assert.equal(answers().length, 3 * answer.length)
})

scenario('the last answer is repeated to the first fragment of a delete, when the IKE_SA is long gone', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth()
  const before = answers().length
  const payloads: Payload[] = [
    { kind: 'VendorId', data: new Uint8Array(100) },
    { kind: 'Delete', protocol: ProtocolId.IKE, spis: [] },
  ]
  const request = stranger.fragmentedRequest(ExchangeType.INFORMATIONAL, 2, payloads, 150)
  assert.equal(request.length, 2)
  await deliver(world, stranger, request.toReversed())
  assert.equal(gateway.sessions().length, 0)
  const [answer] = answers().slice(before)
  await deliver(world, stranger, request)
  assert.deepEqual(answers().slice(before), [answer, answer])
})

scenario('a request that comes whole while some of its fragments are here is answered, and they are forgotten', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth()
  const before = answers().length
  const payloads = [{ kind: 'VendorId', data: new Uint8Array(200) } as const]
  const fragments = stranger.fragmentedRequest(ExchangeType.INFORMATIONAL, 2, payloads, 150)
  await deliver(world, stranger, fragments.slice(0, 2))
  assert.notEqual(gateway.session.deadlines.fragments, null)
  await deliver(world, stranger, [stranger.protectedRequest(ExchangeType.INFORMATIONAL, 2, payloads)])
  assert.equal(answers().length, before + 1)
  assert.equal(gateway.session.deadlines.fragments, null)
  await deliver(world, stranger, fragments.slice(2))
  assert.equal(answers().length, before + 1)
  // And the next one comes in fragments again.
  await deliver(world, stranger, stranger.fragmentedRequest(ExchangeType.INFORMATIONAL, 3, payloads, 150))
  assert.equal(answers().length, before + 2)
})

scenario('fragments of a finer split take the place of those before (RFC 7383 2.6)', async (world) => {
  addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  const payloads = stranger.authPayloads()
  const [coarse, fine] = [200, 120].map((most) => stranger.fragmentedRequest(ExchangeType.IKE_AUTH, 1, payloads, most))
  await deliver(world, stranger, coarse!.slice(1))
  await deliver(world, stranger, fine!.slice(0, 1))
  await deliver(world, stranger, coarse!.slice(0, 1))
  assert.equal(answers().length, 0)
  await deliver(world, stranger, fine!.slice(1))
  assert.ok(stranger.openAll(answers()).some(({ kind }) => kind === 'AUTH'))
})

scenario('half a message is kept for three minutes, and not a fragment of it for longer', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth()
  const before = answers().length
  const payloads = [{ kind: 'VendorId', data: new Uint8Array(200) } as const]
  const fragments = stranger.fragmentedRequest(ExchangeType.INFORMATIONAL, 2, payloads, 150)
  await deliver(world, stranger, fragments.slice(1))
  await world.pass(2 * MINUTE)
  assert.notEqual(gateway.session.deadlines.fragments, null)
  await world.pass(2 * MINUTE)
  assert.equal(gateway.session.deadlines.fragments, null)
  await deliver(world, stranger, fragments.slice(0, 1))
  assert.equal(answers().length, before)
  await deliver(world, stranger, fragments.slice(1))
  assert.equal(answers().length, before + 1)
})

scenario('fragments that nobody agreed on are nothing: neither kept nor answered', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world, false)
  await deliver(world, stranger, stranger.fragmentedRequest(ExchangeType.IKE_AUTH, 1, stranger.authPayloads(), 150))
  assert.equal(answers().length, 0)
  assert.deepEqual([...new Set(gateway.eventsOf('datagram-dropped').map(({ reason }) => reason))], ['unexpected'])
  // In one piece it is heard.
  assert.ok((await stranger.auth()).some(({ kind }) => kind === 'AUTH'))
  await deliver(world, stranger, stranger.fragmentedRequest(ExchangeType.IKE_AUTH, 1, stranger.authPayloads(), 150))
  assert.equal(answers().length, 1)
})

scenario('fragments that were tampered with, or that cannot be, leave no trace and spoil nothing', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  const fragments = stranger.fragmentedRequest(ExchangeType.IKE_AUTH, 1, stranger.authPayloads(), 150)
  const total = fragments.length
  /** Of an SKF payload right behind the header. */
  const renumbered = (bytes: Uint8Array, number: number, of: number): Uint8Array => {
    const changed = bytes.slice()
    new DataView(changed.buffer).setUint16(32, number)
    new DataView(changed.buffer).setUint16(34, of)
    return changed
  }
  const someone = fragments[1]!
  const spoilt = someone.slice()
  spoilt[spoilt.length - 1]! ^= 1
  for (const hostile of [
    spoilt,
    renumbered(someone, 1, total),
    renumbered(someone, 2, total + 1),
    renumbered(someone, 2, 65_535),
    renumbered(someone, 0, total),
    renumbered(someone, 0, 0),
    renumbered(someone, total + 1, total),
  ])
    await deliver(world, stranger, [hostile])
  assert.equal(gateway.eventsOf('fragment-received').length, 0)
  const reasons = gateway.eventsOf('datagram-dropped').map(({ reason }) => reason)
  assert.deepEqual(reasons, [
    ...['not-authentic', 'not-authentic', 'not-authentic'],
    'fragment-limit',
    ...['malformed', 'malformed', 'malformed'],
  ])
  // Half before and half after the same again: none of it takes the place of a good one.
  await deliver(world, stranger, fragments.slice(0, 1))
  await deliver(world, stranger, [spoilt, renumbered(someone, 2, total + 1), renumbered(someone, 2, 65_535)])
  await deliver(world, stranger, fragments.slice(1))
  assert.equal(answers().length, 1)
  assert.ok(stranger.openAll(answers()).some(({ kind }) => kind === 'AUTH'))
})

scenario('a flood of halves of messages from a peer that has the keys comes to one half, within the limits', async (world) => {
  const gateway = addGateway(world, {}, { settings: { maxPacket: 4000 } })
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth()
  const before = answers().length
  const mark = gateway.events.length
  const outcomes = (): Record<string, number> => {
    const counts: Record<string, number> = {}
    for (const event of gateway.events.slice(mark)) {
      const what = event.event === 'datagram-dropped' ? event.reason : event.event
      counts[what] = (counts[what] ?? 0) + 1
    }
    return counts
  }
  // Of other messages than the next one nothing is kept, however many there are.
  for (let messageId = 3; messageId < 1003; messageId++)
    stranger.send(stranger.fragment(ExchangeType.INFORMATIONAL, messageId, 1, 2, new Uint8Array(500)))
  await world.pass(SECOND)
  assert.deepEqual(outcomes(), { 'out-of-window': 1000 })
  // Of the next one no more than 4000 octets, and no more fragments than 255.
  for (let number = 1; number <= 9; number++)
    stranger.send(stranger.fragment(ExchangeType.INFORMATIONAL, 2, number, 10, new Uint8Array(500)))
  stranger.send(stranger.fragment(ExchangeType.INFORMATIONAL, 2, 1, 256, new Uint8Array()))
  await world.pass(SECOND)
  // Seven and what the first one has besides its content are within the limit; all go at the eighth, and the ninth is one of a new lot.
  assert.deepEqual(outcomes(), { 'out-of-window': 1000, 'fragment-received': 7 + 1, 'fragment-limit': 1 + 1 })
  // One that splits its message again and again is heard for a while.
  for (let total = 11; total <= 200; total++)
    stranger.send(stranger.fragment(ExchangeType.INFORMATIONAL, 2, 2, total, new Uint8Array(10)))
  await world.pass(SECOND)
  assert.deepEqual(outcomes()['fragment-received'], 7 + 1 + 6)
  assert.notEqual(gateway.session.deadlines.fragments, null)
  assert.equal(answers().length, before)
  // None of it harms the IKE_SA, nor lasts.
  await deliver(world, stranger, [stranger.protectedRequest(ExchangeType.INFORMATIONAL, 2, [])])
  assert.equal(answers().length, before + 1)
  assert.equal(gateway.session.deadlines.fragments, null)
})

scenario('a message put together that is none is refused like any other', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth()
  const before = answers().length
  // The payload says that it goes on where nothing is.
  const junk = [new Uint8Array([0, 0, 255, 255]), new Uint8Array(40)]
  const messages = junk.map((content, i) => stranger.fragment(ExchangeType.INFORMATIONAL, 2, i + 1, 2, content))
  // Type NONE inside and content all the same.
  await deliver(world, stranger, messages)
  assert.deepEqual(
    answers()
      .slice(before)
      .flatMap((bytes) => stranger.open(bytes))
      .map((payload) => payload.kind === 'Notify' && payload.notifyType),
    [NotifyType.INVALID_SYNTAX],
  )
  // Which is the end of it for both (RFC 7296 2.21.3).
  assert.equal(gateway.sessions().length, 0)
})

scenario('a peer that takes more requests at once still gets one after the other (RFC 7296 2.3)', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth([notify(NotifyType.SET_WINDOW_SIZE, Uint8Array.of(0, 0, 0, 8))])
  const { session } = gateway
  const ended: number[] = []
  for (const number of [0, 1, 2]) void session.runExchange((one) => ask(one, [])).then(() => ended.push(number))
  const requests = (): readonly number[] =>
    answers()
      .map((bytes) => parseMessage(bytes).header)
      .filter(({ response }) => !response)
      .map(({ messageId }) => messageId)
  await world.pass(SECOND)
  assert.deepEqual(requests(), [0])
  // An answer to what was not asked yet, and then to what was.
  for (const messageId of [1, 0]) {
    stranger.send(stranger.protectedRequest(ExchangeType.INFORMATIONAL, messageId, [], true))
    await world.pass(SECOND)
  }
  assert.deepEqual([requests(), ended], [[0, 1], [0]])
  for (const messageId of [1, 2]) {
    stranger.send(stranger.protectedRequest(ExchangeType.INFORMATIONAL, messageId, [], true))
    await world.pass(SECOND)
  }
  assert.deepEqual(
    [requests(), ended],
    [
      [0, 1, 2],
      [0, 1, 2],
    ],
  )
})

scenario('INVALID_MESSAGE_ID and SET_WINDOW_SIZE in a request are taken note of, and answered by nothing more', async (world) => {
  const gateway = addGateway(world)
  const { peer: stranger, answers } = await peer(world)
  await stranger.auth()
  const before = answers().length
  // HDR, SK { N(INVALID_MESSAGE_ID) }  -->  <--  HDR, SK { }
  const told = [
    notify(NotifyType.INVALID_MESSAGE_ID, Uint8Array.of(0, 0, 0, 9)),
    notify(NotifyType.SET_WINDOW_SIZE, Uint8Array.of(0, 0, 0, 4)),
    // Of a length that neither may have.
    notify(NotifyType.INVALID_MESSAGE_ID),
    notify(NotifyType.SET_WINDOW_SIZE, Uint8Array.of(1)),
  ]
  await deliver(
    world,
    stranger,
    told.map((payload, i) => stranger.protectedRequest(ExchangeType.INFORMATIONAL, 2 + i, [payload])),
  )
  assert.deepEqual(
    answers()
      .slice(before)
      .map((bytes) => stranger.open(bytes)),
    [[], [], [], []],
  )
  assert.equal(gateway.session.sa.state, 'established')
})
