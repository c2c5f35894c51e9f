/**
 * A new IKE_SA in which the peer speaks before its answer, of which the new one is made here, has arrived: that was
 * overtaken on the way, or the peer was quicker to use the new one than to send it (RFC 7296 2.8).
 */
import assert from 'node:assert/strict'

import { Writer } from '../../src/base/bytes.ts'
import { SECOND } from '../../src/base/time.ts'
import type { Session } from '../../src/ike/session.ts'
import { HEADER_LENGTH, readHeader } from '../../src/message/ikev2/header.ts'
import { ikeBytes, type Packet } from './packet.ts'
import { addClient, addGateway } from './places.ts'
import { assertOne, beginChildRekey, beginIkeRekey, standing, type Both } from './standing.ts'
import { scenario, type World } from './world.ts'

const IKE = 'aes128gcm16-prfsha256-curve25519'
const ESP = 'aes128gcm16-curve25519'
/** Its requests go in two fragments. */
const ESP_LARGE = 'aes128gcm16-mlkem768'

async function tunnel(world: World, ike: string, esp: string): Promise<Both> {
  const words = { proposals: [esp], ikeProposals: [ike] }
  const gateway = addGateway(world, words)
  const client = addClient(world, words)
  await world.initiate(client)
  return { client, gateway }
}

interface HeldUp {
  readonly rekeyed: Promise<void>
  /** The client's new IKE_SA, that has no keys yet. */
  readonly young: Session
  /** The answer goes on. */
  readonly release: () => void
}

/** The client rekeys the IKE_SA; the gateway has the new one, and its answer that says so is held up. */
async function heldUp(world: World, { client, gateway }: Both): Promise<HeldUp> {
  const old = standing(gateway)
  const { initiatorSpi } = old.sa.spis
  const isMade = (): boolean =>
    old.successor !== null || gateway.sessions().some(({ isSuccessor, sa }) => isSuccessor && sa.keys !== null)
  const held: Packet[] = []
  const stop = world.network.tap((sent) => {
    const bytes = ikeBytes(sent)
    if (bytes === null || !sent.source.address.equals(gateway.address) || !isMade()) return [sent]
    const header = readHeader(bytes)
    if (!header.response || header.initiatorSpi !== initiatorSpi) return [sent]
    held.push(sent)
    return []
  })
  const rekeyed = beginIkeRekey(client)
  await world.until(() => old.successor !== null, 'the gateway has the new one')
  const young = client.sessions().find(({ isSuccessor }) => isSuccessor)
  assert.ok(young !== undefined && young.sa.keys === null)
  const release = (): void => {
    stop()
    for (const packet of held) world.network.carry(packet, world.internet, gateway.link)
  }
  return { rekeyed, young, release }
}

for (const [how, ike] of [
  ['CREATE_CHILD_SA', IKE],
  ['the last of one IKE_FOLLOWUP_KE', `${IKE}-ke1_mlkem512`],
  ['the last of two IKE_FOLLOWUP_KE', `${IKE}-ke1_mlkem512-ke3_ecp256`],
] as const) {
  for (const [what, esp] of [
    ['a request', ESP],
    ['a request in fragments', ESP_LARGE],
  ] as const) {
    scenario(`${what} in the new IKE_SA overtakes the answer to ${how}: it is not sent again`, async (world) => {
      const both = await tunnel(world, ike, esp)
      const { client, gateway } = both
      const { rekeyed, young, release } = await heldUp(world, both)
      const childRekeyed = beginChildRekey(gateway)
      await world.pass(SECOND)
      // Nobody answers what cannot be known to be the peer's.
      assert.deepEqual([young.sa.keys, client.eventsOf('child-rekeyed')], [null, []])
      release()
      await world.outcome(Promise.all([rekeyed, childRekeyed]))
      const events = [gateway.eventsOf('retransmitting'), client.eventsOf('datagram-dropped'), client.eventsOf('child-rekeyed')]
      assert.deepEqual(
        events.map(({ length }) => length),
        [0, 0, 1],
      )
      await assertOne(world, both)
    })
  }
}

scenario('what came twice before the answer is heard once', async (world) => {
  const both = await tunnel(world, IKE, ESP)
  const { client, gateway } = both
  const { rekeyed, young, release } = await heldUp(world, both)
  const childRekeyed = beginChildRekey(gateway)
  await world.until(() => gateway.eventsOf('retransmitting').length > 0, 'it is sent again')
  await world.pass(SECOND)
  const { mark } = world
  release()
  await world.outcome(Promise.all([rekeyed, childRekeyed]))
  const answers = client
    .eventsOf('message-sent')
    .filter(({ sa, isResponse, messageId }) => sa === young.sa && isResponse && messageId === 0)
  assert.deepEqual([answers.length, world.countSent('CREATE_CHILD_SA request', mark)], [1, 0])
  await assertOne(world, both)
})

for (const [length, count, kept] of [
  [200, 100, 4],
  [3_000, 100, 2],
  [60_000, 3, 0],
] as const) {
  scenario(`of ${count} datagrams of ${length} octets that come before the peer's, ${kept} are kept`, async (world) => {
    const both = await tunnel(world, IKE, ESP)
    const { client, gateway } = both
    const { rekeyed, young, release } = await heldUp(world, both)
    // Somebody on the way learns the SPI from the first request, and is quicker.
    let forged: readonly Packet[] = []
    const stop = world.network.tap((sent) => {
      const bytes = ikeBytes(sent)
      if (forged.length > 0 || bytes === null || readHeader(bytes).initiatorSpi !== young.sa.ownSpi) return [sent]
      forged = Array.from({ length: count }, (_, number) => ({
        ...sent,
        bytes: forgedRequest(sent.bytes, bytes, number, length),
      }))
      return [...forged, sent]
    })
    const childRekeyed = beginChildRekey(gateway)
    await world.pass(SECOND)
    stop()
    // The peer's own request is small enough to find room where the others were too large.
    const own = kept === 4 ? 1 : 0
    assert.equal(client.eventsOf('datagram-dropped').length, count - kept + own)
    release()
    await world.outcome(Promise.all([rekeyed, childRekeyed]))
    assert.equal(client.eventsOf('child-rekeyed').length, 1)
    await assertOne(world, both)
  })
}

scenario('what came for an IKE_SA that does not come to stand is nothing', async (world) => {
  const both = await tunnel(world, IKE, ESP)
  const { client, gateway } = both
  const { rekeyed, young } = await heldUp(world, both)
  void beginChildRekey(gateway)
  await world.outcome(rekeyed)
  assert.deepEqual([young.sa.state, client.sessions()], ['closed', []])
  assert.ok(client.eventsOf('message-received').every(({ sa }) => sa !== young.sa))
  world.expectsAgreement = false
})

/** A request of that many octets with the header of `real`, which is in `datagram`, and an SK payload that nobody has sealed. */
function forgedRequest(datagram: Uint8Array, real: Uint8Array, number: number, length: number): Uint8Array {
  const prefix = datagram.subarray(0, datagram.length - real.length)
  const writer = new Writer(prefix.length + length)
    .bytes(prefix)
    .bytes(real.subarray(0, HEADER_LENGTH - 4))
    .u32(length)
  const sealed = length - HEADER_LENGTH
  return writer
    .u8(0)
    .u8(0)
    .u16(sealed)
    .zeros(sealed - 8)
    .u32(number)
    .finish()
}
