/** Hostile datagrams: what a stranger or somebody on the path can send, and that nothing comes of it. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import { findNotify } from '../../src/message/ikev2/find.ts'
import { parseMessage, writeMessage } from '../../src/message/ikev2/message.ts'
import type { SimulatedNode } from './node.ts'
import { ikeBytes, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, type World } from './world.ts'

/** A tunnel behind a NAT, with every packet of its making. */
async function overheard(world: World): Promise<{ client: SimulatedNode; gateway: SimulatedNode; packets: readonly Packet[] }> {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  const packets = world.network.trace.filter(({ fate }) => fate === 'arrived').map(({ packet }) => packet)
  return { client, gateway, packets }
}

/** What of a node must not change because of strangers. */
function stateOf(node: SimulatedNode): unknown {
  return {
    sessions: node.sessions().map(({ sa }) => ({
      state: sa.state,
      local: sa.local.toString(),
      remote: sa.remote.toString(),
      nat: sa.nat,
      children: sa.children.length,
    })),
    states: node.kernel.states().length,
    policies: node.kernel.policies().length,
    halfOpen: node.gateway.halfOpenCount,
  }
}

/** Hands a packet to whoever has its destination, as somebody on the path can; tells how many datagrams were sent in answer. */
async function inject(world: World, packet: Packet, nodes: readonly SimulatedNode[]): Promise<number> {
  const mark = world.mark
  nodes.find((node) => node.addresses.some((own) => own.equals(packet.destination.address)))!.receive(packet)
  await world.settle()
  return world.sent(mark).length
}

scenario('replayed messages change nothing, and only the last request is answered again', async (world) => {
  const { client, gateway, packets } = await overheard(world)
  const nodes = [client, gateway]
  const before = nodes.map(stateOf)
  const summaries: string[] = []
  for (const packet of packets) if ((await inject(world, packet, nodes)) > 0) summaries.push(world.network.trace.at(-1)!.summary)
  assert.equal(packets.length, 4)
  assert.deepEqual(summaries, ['IKE_AUTH response 1'])
  assert.deepEqual(nodes.map(stateOf), before)
  await world.pass(SECOND)
  assert.ok(await flows(world, client, gateway))
})

scenario('a replay of the last request from elsewhere is answered there and moves nothing', async (world) => {
  const { client, gateway, packets } = await overheard(world)
  const request = packets.find(
    ({ destination, bytes }) => destination.port === 4500 && destination.address.equals(gateway.address) && bytes.length > 40,
  )!
  const thief = new Stranger(world, '198.51.100.66', GATEWAY)
  const before = stateOf(gateway)
  thief.sendBytes(request.bytes, 4500, 4500)
  await world.pass(SECOND)
  assert.equal(thief.received.length, 1)
  assert.deepEqual(stateOf(gateway), before)
  assert.ok(await flows(world, client, gateway))
})

scenario('every single flipped bit of a protected message makes it nobody’s', async (world) => {
  const { client, gateway, packets } = await overheard(world)
  const nodes = [client, gateway]
  const before = nodes.map(stateOf)
  const isProtected = (packet: Packet): boolean => ikeBytes(packet)![16] === 46
  let tried = 0
  for (const packet of packets.filter(isProtected)) {
    for (let bit = 32; bit < packet.bytes.length * 8; bit++) {
      const bytes = packet.bytes.slice()
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      const answers = await inject(world, { ...packet, bytes }, nodes)
      tried++
      // A higher major version must be told which one we speak (RFC 7296 2.5); anything else hears nothing.
      const isVersion = bit >> 3 === 4 + 17 && bytes[4 + 17]! >> 4 > 2 && (bytes[4 + 19]! & 0x20) === 0
      assert.equal(answers, isVersion ? 1 : 0, `bit ${bit} of ${bytes.length} octets`)
    }
  }
  assert.ok(tried > 2000)
  assert.deepEqual(nodes.map(stateOf), before)
  assert.ok(await flows(world, client, gateway))
})

scenario('flipped bits on the way do not stop a handshake: the real message is still taken', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const dice = world.entropyFor('flips')
  world.network.tap((packet) => {
    const message = ikeBytes(packet)
    if (message === null || message[16] !== 46) return [packet]
    const bytes = packet.bytes.slice()
    bytes[bytes.length - 1 - dice.below(40)]! ^= 1 << dice.below(8)
    return [{ ...packet, bytes }, packet]
  })
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  for (const node of [client, gateway])
    assert.deepEqual(
      node.eventsOf('datagram-dropped').map(({ reason }) => reason),
      ['not-authentic'],
    )
})

scenario('truncated messages, of any length, are nobody’s', async (world) => {
  const { client, gateway, packets } = await overheard(world)
  const nodes = [client, gateway]
  const before = nodes.map(stateOf)
  for (const packet of packets) {
    for (let length = 0; length < packet.bytes.length; length++) {
      assert.equal(
        await inject(world, { ...packet, bytes: packet.bytes.subarray(0, length) }, nodes),
        0,
        `${length} of ${packet.bytes.length} octets`,
      )
    }
  }
  assert.deepEqual(nodes.map(stateOf), before)
  assert.ok(await flows(world, client, gateway))
})

scenario('a truncated message whose length field agrees is nobody’s either', async (world) => {
  const { client, gateway, packets } = await overheard(world)
  const nodes = [client, gateway]
  const before = nodes.map(stateOf)
  for (const packet of packets) {
    const marker = packet.destination.port === 4500 || packet.source.port === 4500 ? 4 : 0
    for (let length = marker + 28; length < packet.bytes.length; length++) {
      const bytes = packet.bytes.slice(0, length)
      new DataView(bytes.buffer).setUint32(marker + 24, length - marker)
      // An SK payload whose length field agrees too.
      if (length > marker + 32 && bytes[marker + 16] === 46)
        new DataView(bytes.buffer).setUint16(marker + 30, length - marker - 28)
      assert.equal(await inject(world, { ...packet, bytes }, nodes), 0, `${length} of ${packet.bytes.length} octets`)
    }
  }
  assert.deepEqual(nodes.map(stateOf), before)
  assert.ok(await flows(world, client, gateway))
})

scenario('random bytes on both ports are nobody’s, and write a line a reason in ten seconds', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  const before = stateOf(gateway)
  const lines = gateway.lines.length
  const dice = world.entropyFor('junk')
  const mark = world.mark
  for (let i = 0; i < 3000; i++) {
    const bytes = dice.bytes(dice.below(200))
    // Half of them look like IKEv2 as far as the header goes.
    if (bytes.length >= 28 && dice.chance(0.5)) {
      bytes[17] = 0x20
      new DataView(bytes.buffer).setUint32(24, bytes.length)
    }
    const remotePort = dice.chance(0.5) ? 500 : 4500
    // The version of the other half is 3 or more in most cases, which is answered; here only silence is of interest.
    if (bytes.length >= 28 && bytes[17]! >> 4 > 2) bytes[17] = 0x10
    peer.sendBytes(bytes, 1024 + dice.below(60_000), remotePort)
  }
  await world.pass(SECOND)
  assert.equal(world.sent(mark).filter((line) => line.startsWith(GATEWAY)).length, 0)
  assert.deepEqual(stateOf(gateway), before)
  const reasons = gateway.lines.slice(lines).map((line) => line.fields['reason'])
  assert.equal(new Set(reasons).size, reasons.length)
  assert.ok(reasons.length >= 2)
})

scenario(
  'edge case 46: short datagrams on 4500 that the kernel leaves to us are dropped, and counted in one line',
  async (world) => {
    const gateway = addGateway(world)
    const peer = new Stranger(world, CLIENT, GATEWAY)
    for (const bytes of [[0x00], [0xff, 0xff], [1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0], []])
      peer.sendBytes(Uint8Array.from(bytes), 4500, 4500)
    // A marker and nothing behind it.
    peer.sendBytes(new Uint8Array(4), 4500, 4500)
    await world.pass(11 * SECOND)
    assert.deepEqual(
      gateway.eventsOf('datagram-dropped').map(({ reason }) => reason),
      ['not-ike', 'not-ike', 'not-ike', 'not-ike', 'not-ike', 'malformed'],
    )
    assert.deepEqual(
      gateway.lines.map((line) => line.fields['reason']),
      ['not-ike', 'malformed'],
    )
    peer.sendBytes(Uint8Array.of(1, 2, 3), 4500, 4500)
    await world.pass(SECOND)
    // The next line tells how many there were since the first.
    assert.deepEqual(
      gateway.lines.map((line) => line.fields['count']),
      [1, 1, 5],
    )
    assert.equal(peer.received.length, 0)
    await peer.init()
  },
)

for (const [version, answered] of [
  [3, true],
  [15, true],
  [1, false],
  [0, false],
] as const) {
  scenario(
    `a request of major version ${version} ${answered ? 'is told which one we speak' : 'is not ours to answer'}`,
    async (world) => {
      const gateway = addGateway(world)
      const peer = new Stranger(world, CLIENT, GATEWAY)
      const request = peer.initRequest()
      request[17] = version << 4
      peer.send(request)
      await world.pass(SECOND)
      assert.equal(peer.received.length, answered ? 1 : 0)
      if (answered) {
        const { header, payloads } = parseMessage(peer.received[0]!.bytes)
        // HDR(version 2, the SPIs and message ID of the request), N(INVALID_MAJOR_VERSION)
        assert.deepEqual(
          [header.majorVersion, header.response, header.initiatorSpi, header.messageId],
          [2, true, peer.initiatorSpi, 0],
        )
        assert.ok(findNotify(payloads, NotifyType.INVALID_MAJOR_VERSION) !== null)
        assert.equal(payloads.length, 1)
      }
      assert.equal(gateway.sessions().length, 0)
      await peer.init()
    },
  )
}

scenario('a response of another version is never answered, so that two of them cannot talk for ever', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const answer = writeMessage({ ...peer.header(ExchangeType.IKE_SA_INIT, 0), response: true, majorVersion: 3 }, [])
  peer.send(answer)
  await world.pass(SECOND)
  assert.equal(peer.received.length, 0)
  assert.equal(gateway.eventsOf('datagram-dropped').length, 1)
  await peer.init()
})

scenario('a key exchange value that is no point of the group is refused', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  for (const data of [new Uint8Array(32), new Uint8Array(31), new Uint8Array(33), new Uint8Array()]) {
    const { header, payloads } = parseMessage(peer.initRequest())
    peer.send(
      writeMessage(
        { ...header, initiatorSpi: header.initiatorSpi + BigInt(data.length) + 1n },
        payloads.map((payload) => (payload.kind === 'KE' ? { ...payload, data } : payload)),
      ),
    )
    const answer = parseMessage(await peer.answer())
    assert.ok(findNotify(answer.payloads, NotifyType.INVALID_SYNTAX) !== null)
    assert.equal(gateway.sessions().length, 0)
    assert.equal(gateway.gateway.halfOpenCount, 0)
  }
  await peer.init()
})

scenario('IKE_SA_INIT requests that make no sense are not answered', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const { header, payloads } = parseMessage(peer.initRequest())
  for (const odd of [{ messageId: 1 }, { responderSpi: 5n }, { initiatorSpi: 0n }, { fromInitiator: false }])
    peer.send(writeMessage({ ...header, ...odd }, payloads))
  await world.pass(SECOND)
  assert.equal(peer.received.length, 0)
  assert.equal(gateway.sessions().length, 0)
  assert.equal(gateway.eventsOf('datagram-dropped').length, 4)
  await peer.init()
})

scenario('while the kernel takes its time one IKE_SA keeps a bounded queue, and goes on afterwards', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  world.kernelLatency = 2 * SECOND
  const request = peer.authRequest()
  for (let i = 0; i < 100; i++) peer.send(request)
  await world.pass(SECOND)
  assert.equal(gateway.session.turns.waiting, 32)
  assert.equal(gateway.eventsOf('datagram-dropped').filter(({ reason }) => reason === 'queue-full').length, 100 - 33)
  await world.pass(20 * SECOND)
  world.kernelLatency = 0.05
  // One CHILD_SA, one answer for it, and the same answer to every retransmission that was kept.
  assert.equal(gateway.session.sa.children.length, 1)
  assert.equal(peer.received.length, 1 + 33)
})

scenario('nor do repetitions of its IKE_SA_INIT wait for it without end, whoever sends them', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  const first = peer.initRequest()
  await peer.init()
  world.kernelLatency = 2 * SECOND
  peer.send(peer.authRequest())
  for (let i = 0; i < 100; i++) peer.send(first)
  await world.pass(SECOND)
  assert.equal(gateway.session.turns.waiting, 32)
  await world.pass(10 * SECOND)
  assert.deepEqual([gateway.session.sa.state, gateway.session.turns.waiting], ['established', 0])
})

scenario('content that is no message ends the IKE_SA that it came in, of IKE_AUTH and later, and no other', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  await peer.auth()
  // A Delete of ESP whose SPIs are cut short, authentic all the same.
  peer.send(
    peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [
      { kind: 'Unknown', payloadType: 42, critical: false, data: Uint8Array.of(3, 4, 0, 9, 1) },
    ]),
  )
  assert.ok(findNotify(peer.open(await peer.answer()), NotifyType.INVALID_SYNTAX) !== null)
  await world.pass(SECOND)
  assert.deepEqual(gateway.sessions(), [])
  assert.equal(gateway.said('ike-failed').length > 0, true)

  const bystander = new Stranger(world, '198.51.100.9', GATEWAY)
  await bystander.init()
  await bystander.auth()
  const other = new Stranger(world, '198.51.100.8', GATEWAY)
  await other.init()
  other.send(
    other.protectedRequest(ExchangeType.IKE_AUTH, 1, [
      { kind: 'Unknown', payloadType: 42, critical: false, data: Uint8Array.of(3, 4, 0, 9, 1) },
    ]),
  )
  assert.ok(findNotify(other.open(await other.answer()), NotifyType.INVALID_SYNTAX) !== null)
  assert.equal(gateway.sessions().length, 1)
  assert.equal(gateway.gateway.halfOpenCount, 0)
})

scenario('a thousand strangers who begin and say no more are asked for cookies, and forgotten', async (world) => {
  const gateway = addGateway(world)
  for (let i = 0; i < 1000; i++) {
    const stranger = new Stranger(world, `198.18.${i >> 8}.${i & 255}`, GATEWAY)
    stranger.send(stranger.initRequest())
  }
  await world.pass(SECOND)
  assert.equal(gateway.gateway.halfOpenCount, 30)
  assert.equal(gateway.eventsOf('cookie-demanded').length, 970)
  // An honest client gets in while they stay.
  const client = addClient(world)
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  await world.pass(31 * SECOND)
  assert.equal(gateway.gateway.halfOpenCount, 0)
  assert.equal(gateway.sessions().length, 1)
})

scenario(
  'what is due all at once after a moment of deafness is seen to in turns, so that datagrams are heard in between',
  async (world) => {
    const gateway = addGateway(world, {}, { settings: { cookieThreshold: 0, cookieThresholdIp: 0, blockThreshold: 0 } })
    for (let i = 0; i < 600; i++) {
      const stranger = new Stranger(world, `198.18.${i >> 8}.${i & 255}`, GATEWAY)
      stranger.send(stranger.initRequest())
    }
    await world.pass(SECOND)
    assert.equal(gateway.gateway.halfOpenCount, 600)
    // Half a minute goes by in which it does nothing.
    world.clock.moveTo(world.clock.now() + 30 * SECOND)
    gateway.gateway.handleDeadlines()
    await world.settle()
    assert.equal(gateway.gateway.halfOpenCount, 100)
    assert.ok(gateway.gateway.nextDeadline()! < world.clock.now())
    await world.pass(0)
    assert.equal(gateway.gateway.halfOpenCount, 0)
    world.expectsAgreement = false
  },
)
