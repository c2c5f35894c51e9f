/** Retransmission (RFC 7296 2.1, 2.4): when a request is sent again, when it is given up, and what loss does to exchanges. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { ExchangeType } from '../../src/iana/ikev2.ts'
import { probe } from '../../src/ike/liveness.ts'
import { ikeBytes, summaryOf, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { play, scenario, scenarioOverSeeds, SEED, type World } from './world.ts'

/** Seconds since `start` at which such packets were sent. */
function timesSent(world: World, start: number, pattern: RegExp): readonly number[] {
  return world.network.trace
    .filter(({ fate, summary, time }) => fate === 'sent' && time >= start && pattern.test(summary))
    .map(({ time }) => (time - start) / SECOND)
}

/** Drops everything from now on. */
function blackHole(world: World): void {
  world.network.tap(() => [])
}

const SCHEDULE = [0, 4, 11.2, 24.16, 47.488, 89.478]
const GIVEN_UP_AFTER = 165.061

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.deepEqual(
    actual.map((time) => time.toFixed(3)),
    expected.map((time) => time.toFixed(3)),
  )
}

scenario('an unanswered request is sent after 4, 7.2, 12.96, 23.3 and 42 s more, and given up after 165 s', async (world) => {
  const client = addClient(world)
  addGateway(world)
  blackHole(world)
  const start = world.clock.now()
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assertClose(timesSent(world, start, /IKE_SA_INIT/), SCHEDULE)
  assertClose([(world.clock.now() - start) / SECOND], [GIVEN_UP_AFTER])
  assert.equal(failure.code, 'PEER_SILENT')
  assert.match(failure.message, /^peer not responding to 6 transmissions/)
  assert.deepEqual(
    client.eventsOf('ike-closed').map(({ reason }) => reason),
    ['peer-silent'],
  )
})

scenario('IKE_AUTH is retransmitted by the same schedule, byte for byte', async (world) => {
  addGateway(world)
  const client = addClient(world)
  world.network.tap((packet) => (packet.source.port === 4500 ? [] : [packet]))
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SILENT')
  const sent = world.network.trace.filter(({ fate, summary }) => fate === 'sent' && summary === 'IKE_AUTH request 1')
  assertClose(
    sent.map(({ time }) => (time - sent[0]!.time) / SECOND),
    SCHEDULE,
  )
  for (const { bytes } of sent) assert.deepEqual(bytes, sent[0]!.bytes)
})

for (const tries of [2, 3]) {
  scenario(`keying_tries = ${tries} begins again that often, each time with a new SPI`, async (world) => {
    const client = addClient(world, { keyingTries: tries })
    blackHole(world)
    const start = world.clock.now()
    await world.failure(client.gateway.initiate('home', 'net'))
    assertClose(
      timesSent(world, start, /IKE_SA_INIT/),
      Array.from({ length: tries }, (_, i) => SCHEDULE.map((time) => time + i * GIVEN_UP_AFTER)).flat(),
    )
    const spis = new Set(
      world.network.trace
        .filter(({ fate }) => fate === 'sent')
        .map(({ bytes }) => Buffer.from(bytes.subarray(0, 8)).toString('hex')),
    )
    assert.equal(spis.size, tries)
  })
}

scenario('keying_tries = 0 goes on until the peer is there', async (world) => {
  const client = addClient(world, { keyingTries: 0 })
  const pending = client.gateway.initiate('home', 'net')
  pending.catch(() => undefined)
  await world.pass(2000 * SECOND)
  assert.ok(world.countSent('IKE_SA_INIT') > 60)
  const gateway = addGateway(world)
  await world.outcome(pending)
  assert.ok(await flows(world, client, gateway))
})

scenario('keying_tries = 0 ends when the gateway stops', async (world) => {
  const client = addClient(world, { keyingTries: 0 })
  const pending = world.failure(client.gateway.initiate('home', 'net'))
  await world.pass(500 * SECOND)
  await world.outcome(client.gateway.stop('shutdown'))
  await pending
  const mark = world.mark
  await world.pass(500 * SECOND)
  assert.equal(world.mark, mark)
})

scenario('a retransmission limit caps the wait, and jitter shortens it', async (world) => {
  const client = addClient(world, {}, { settings: { retransmitLimit: 10 * SECOND } })
  blackHole(world)
  const start = world.clock.now()
  await world.failure(client.gateway.initiate('home', 'net'))
  assertClose(timesSent(world, start, /IKE_SA_INIT/), [0, 4, 11.2, 21.2, 31.2, 41.2])

  const jittery = addClient(world, {}, { name: 'jittery', address: '198.51.100.8', settings: { retransmitJitter: 20 } })
  const jitterStart = world.clock.now()
  await world.failure(jittery.gateway.initiate('home', 'net'))
  const times = timesSent(world, jitterStart, /IKE_SA_INIT/)
  const waits = times.slice(1).map((time, i) => time - times[i]!)
  waits.forEach((wait, i) => {
    const planned = 4 * 1.8 ** i
    assert.ok(wait >= planned * 0.8 - 0.001 && wait <= planned + 0.001, `${wait} is within 80 and 100 % of ${planned}`)
  })
  assert.notEqual(waits[0], 4)
})

scenario('a responder gives a half-open IKE_SA 30 s', async (world) => {
  const gateway = addGateway(world)
  const peer = new Stranger(world, CLIENT, GATEWAY)
  await peer.init()
  await world.pass(29 * SECOND)
  assert.equal(gateway.gateway.halfOpenCount, 1)
  await world.pass(SECOND)
  assert.equal(gateway.gateway.halfOpenCount, 0)
  assert.deepEqual(
    gateway.eventsOf('ike-closed').map(({ reason }) => reason),
    ['half-open-timeout'],
  )
  // HDR, SK { IDi, AUTH, ... }  -->  too late
  const mark = world.mark
  peer.send(peer.authRequest())
  await world.pass(SECOND)
  assert.equal(world.sent(mark).length, 1)
})

/** Handshake, packets both ways, and the end, during which the `lost`-th IKE message never arrives. */
async function withOneLost(world: World, lost: number): Promise<number> {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  let count = 0
  world.network.tap((packet: Packet) => (ikeBytes(packet) !== null && count++ === lost ? [] : [packet]))
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  await world.outcome(client.gateway.stop('shutdown'))
  assert.deepEqual([client.kernel.states(), client.sessions()], [[], []])
  await world.pass(SECOND)
  assert.deepEqual([gateway.kernel.states(), gateway.sessions()], [[], []])
  return count
}

scenario('whichever single message is lost, it is sent again and everything completes', async (world) => {
  // HDR, SAi1, KEi, Ni  -->  <--  HDR, SAr1, KEr, Nr   HDR, SK { IDi ... }  -->  <--  HDR, SK { IDr ... }   HDR, SK { D }  -->  <--  HDR, SK { }
  const messages = await withOneLost(world, -1)
  assert.equal(messages, 6)
  for (let lost = 0; lost < messages; lost++) {
    const played = await play(`${SEED} without message ${lost}`, async (other) => void (await withOneLost(other, lost)))
    assert.ok(played.network.trace.some(({ fate, summary }) => fate === 'lost' && summary.endsWith('the tap took it')))
  }
})

scenarioOverSeeds('with 30 % of all packets lost every tunnel comes up in the end', 60, async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world, { keyingTries: 0 })
  client.link.loss = 0.3
  await world.outcome(client.gateway.initiate('home', 'net'))
  client.link.loss = 0
  // What the responder kept of given-up attempts is gone by INITIAL_CONTACT or its own deadline.
  await world.pass(60 * SECOND)
  assert.ok(await flows(world, client, gateway))
  assert.equal(gateway.sessions().length, 1)
  client.link.loss = 0.3
})

scenarioOverSeeds('doubled and overtaking packets change nothing', 60, async (world) => {
  world.network.defaultLink = { latency: 5, jitter: 120, loss: 0, duplication: 0.5 }
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world, { ikeProposals: ['aes128gcm16-prfsha256-ecp256'] }, { settings: { cookieThreshold: 1 } })
  const client = addClient(world, { ikeProposals: ['aes128gcm16-prfsha256-curve25519-ecp256'] }, { behind: nat })
  await world.initiate(client)
  await world.pass(40 * SECOND)
  assert.equal(client.sessions().length, 1)
  assert.equal(gateway.sessions().length, 1)
  assert.equal(gateway.eventsOf('child-established').length, 1)
  for (const way of [world.internet.owners.get(GATEWAY)!.link, client.link, nat.link])
    Object.assign(way, { jitter: 0, duplication: 0 })
  assert.ok(await flows(world, client, gateway))
})

scenarioOverSeeds(
  'everything at once: loss, doubling, reordering, a NAT that forgets, both ends stopping whenever',
  60,
  async (world) => {
    world.network.defaultLink = { latency: 20, jitter: 200, loss: 0.1, duplication: 0.2 }
    const dice = world.entropyFor('events')
    const nat = world.addNat('router', '192.0.2.1', { timeout: 25 * SECOND })
    const gateway = addGateway(world)
    const client = addClient(world, { keyingTries: 0 }, { behind: nat })
    const pending = client.gateway.initiate('home', 'net')
    pending.catch(() => undefined)
    for (let i = 0; i < 5; i++) {
      await world.pass(dice.below(20_000))
      if (dice.chance(0.4)) nat.flush()
      await flows(world, client, gateway)
    }
    // Whoever is told to stop first; the other one hears of it or not. Then nobody is left to agree with.
    world.expectsAgreement = false
    const [first, second] = dice.chance(0.5) ? [client, gateway] : [gateway, client]
    const stopping = first.gateway.stop('shutdown')
    await world.pass(dice.below(5_000))
    await world.outcome(Promise.all([stopping, second.gateway.stop('shutdown')]))
    assert.equal(client.kernel.states().length + gateway.kernel.states().length, 0)
  },
)

scenario('an answer to a request that was answered before is dropped', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  world.network.tap((packet) => (packet.source.address.toString() === GATEWAY ? [packet, packet] : [packet]))
  await world.initiate(client)
  assert.deepEqual(
    client.eventsOf('datagram-dropped').map(({ reason }) => reason),
    ['out-of-window', 'out-of-window'],
  )
  assert.ok(await flows(world, client, gateway))
})

scenario(
  'a request out of the window is dropped: neither the one after next nor the one before last is answered',
  async (world) => {
    const gateway = addGateway(world)
    const peer = new Stranger(world, CLIENT, GATEWAY)
    await peer.init()
    await peer.auth()
    const second = peer.protectedRequest(ExchangeType.INFORMATIONAL, 2, [])
    const third = peer.protectedRequest(ExchangeType.INFORMATIONAL, 3, [])
    const fourth = peer.protectedRequest(ExchangeType.INFORMATIONAL, 4, [])
    const answered = async (message: Uint8Array): Promise<boolean> => {
      const before = peer.received.length
      peer.send(message)
      await world.pass(SECOND)
      return peer.received.length > before
    }
    assert.equal(await answered(third), false)
    assert.equal(await answered(second), true)
    assert.equal(await answered(third), true)
    const kept = peer.received.at(-1)!.bytes
    assert.equal(await answered(second), false)
    // The last one is answered again with the very same bytes.
    assert.equal(await answered(third), true)
    assert.deepEqual(peer.received.at(-1)!.bytes, kept)
    assert.equal(await answered(fourth), true)
    assert.equal(gateway.sessions().length, 1)
  },
)

scenario(
  'a responder whose IKE_AUTH response was lost asks something itself: it is answered when the IKE_SA stands',
  async (world) => {
    const gateway = addGateway(world)
    const client = addClient(world)
    let isLossy = true
    world.network.tap((packet) => (isLossy && summaryOf(packet) === 'IKE_AUTH response 1' ? [] : [packet]))
    const initiated = client.gateway.initiate('home', 'net')
    await world.until(() => gateway.eventsOf('ike-established').length > 0, 'the responder stands')
    const probed = gateway.session.runExchange(probe)
    await world.pass(2 * SECOND)
    isLossy = false
    await world.outcome(initiated)
    await world.outcome(probed)
    assert.equal(client.eventsOf('ike-failed').length, 0)
    assert.ok(await flows(world, client, gateway))
  },
)
