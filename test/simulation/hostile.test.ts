/**
 * Peers who mean harm, as far as they get: whatever they say in IKE_SA_INIT, and once they have keys inside of
 * protected messages, costs them their own IKE_SA at most. That no mistake of ours comes up is checked at every step.
 */
import assert from 'node:assert/strict'

import fc from 'fast-check'

import { concatBytes } from '../../src/base/bytes.ts'
import { SECOND } from '../../src/base/time.ts'
import { createKeyExchange } from '../../src/crypto/key-exchange.ts'
import { AuthMethod, ExchangeType, NotifyType, ProtocolId } from '../../src/iana/ikev2.ts'
import { KeId } from '../../src/iana/transforms.ts'
import { findNotify, notify } from '../../src/message/ikev2/find.ts'
import type { Header } from '../../src/message/ikev2/header.ts'
import { parseMessage, writeMessage, writePayloads } from '../../src/message/ikev2/message.ts'
import { payloadTypeOf, type Payload } from '../../src/message/ikev2/payload.ts'
import { parseProposal, toWire } from '../../src/negotiate/proposals.ts'
import * as arbitrary from '../message/ikev2/arbitrary.ts'
import { mutated, mutations, withLength } from '../message/ikev2/hostile.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, GATEWAY, OFFICE_HOST } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenario, SEED, type World } from './world.ts'

const { IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, IKE_INTERMEDIATE, IKE_FOLLOWUP_KE } = ExchangeType

/** The same for the same title and SIMULATION_SEED. */
function drawn<T>(title: string, what: fc.Arbitrary<T>, count: number): readonly T[] {
  const seed = Buffer.from(`${SEED} ${title}`).reduce((hash, byte) => (hash * 31 + byte) | 0, 7)
  return fc.sample(what, { numRuns: count, seed })
}

interface Said {
  readonly firstType: number
  readonly content: Uint8Array
}

/** Some left out, some said twice, and in another order. */
function reordered(payloads: readonly Payload[]): fc.Arbitrary<readonly Payload[]> {
  return fc.shuffledSubarray([...payloads, ...payloads], { minLength: payloads.length - 1 })
}

/** Payloads left out, said twice, in another order and among others of all kinds; or the bytes of them spoiled. */
function spoiled(title: string, payloads: readonly Payload[]): Said {
  const [drawing] = drawn(title, fc.tuple(fc.boolean(), reordered(payloads), arbitrary.innerPayloads, fc.nat(20), mutations), 1)
  const [isOfPayloads, own, others, at, changes] = drawing!
  const said = isOfPayloads ? own.toSpliced(at, 0, ...others) : payloads
  const bytes = writePayloads(said)
  return {
    firstType: said[0] === undefined ? 0 : payloadTypeOf(said[0]),
    content: isOfPayloads ? bytes : mutated(bytes, changes),
  }
}

/** A message in the clear whose content is these bytes, whatever they are. */
function plainMessage(header: Header, firstType: number, content: Uint8Array): Uint8Array {
  const bytes = concatBytes(writeMessage(header, []), content)
  bytes[16] = firstType
  return withLength(bytes)
}

const ANOTHER_FOLLOWS = notify(NotifyType.ANOTHER_AUTH_FOLLOWS)
/** RFC 4739. */
const THREE_ROUNDS = [{ method: 'psk' }, { method: 'psk' }, { method: 'psk' }] as const

const address = (number: number): string => `198.18.${number >> 8}.${number & 255}`

/** A gateway with a client, whose tunnel none of the attackers can reach. */
async function undisturbed(
  world: World,
  attack: (gateway: SimulatedNode) => Promise<void>,
  { gateway: ours, client: theirs }: { readonly gateway?: ConnectionWords; readonly client?: ConnectionWords } = {},
): Promise<void> {
  const settings = { cookieThreshold: 0, cookieThresholdIp: 0 }
  const gateway = addGateway(world, { remote: ['10.2.0.0/16', '172.16.0.0/16'], ...ours }, { settings })
  const client = addClient(world, { local: ['172.16.0.0/16'], ...theirs })
  await world.initiate(client)
  await attack(gateway)
  await world.pass(31 * SECOND)
  assert.equal(gateway.gateway.halfOpenCount, 0)
  assert.ok(await world.ping(client, '172.16.0.9', OFFICE_HOST))
  assert.ok(await world.ping(gateway, OFFICE_HOST, '172.16.0.9'))
}

scenario('an IKE_SA_INIT of any content is answered or not, and harms nobody', async (world) => {
  await undisturbed(world, async () => {
    for (let number = 0; number < 1000; number++) {
      const peer = new Stranger(world, address(number), GATEWAY)
      const { header, payloads } = parseMessage(peer.initRequest())
      const { firstType, content } = spoiled(`init ${number}`, payloads)
      peer.send(plainMessage(header, firstType, content))
      if (number % 50 === 0) await world.pass(SECOND)
    }
  })
})

for (const [exchange, exchangeType] of Object.entries({ IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, IKE_FOLLOWUP_KE })) {
  scenario(`whatever a peer with keys says first of all, in ${exchange}, it harms nobody`, async (world) => {
    await undisturbed(world, async () => {
      for (let number = 0; number < 300; number++) {
        const peer = new Stranger(world, address(number), GATEWAY)
        await peer.init()
        const { firstType, content } = spoiled(`${exchange} ${number}`, peer.authPayloads('stranger@example.org'))
        peer.send(peer.sealedRequest(exchangeType, 1, firstType, content))
        await world.pass(SECOND)
      }
    })
  })
}

scenario('whatever a peer says in IKE_INTERMEDIATE, the first or a later one, it harms nobody', async (world) => {
  const suite = 'aes128gcm16-prfsha256-curve25519'
  const proposal = `${suite}-ke1_ecp256-ke2_x448`
  const attack = async (gateway: SimulatedNode): Promise<void> => {
    for (let number = 0; number < 300; number++) {
      const peer = new Stranger(world, address(number), GATEWAY)
      peer.proposal = parseProposal(proposal, 'ike')
      const supported = notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)
      await peer.init([supported])
      const before = number % 3
      for (const group of [KeId.ECP_256, KeId.CURVE448].slice(0, before)) await peer.intermediate(group)
      const group = before === 0 ? KeId.ECP_256 : KeId.CURVE448
      const { publicValue } = createKeyExchange(group, peer.entropy)
      const { firstType, content } = spoiled(`intermediate ${number}`, [{ kind: 'KE', group, data: publicValue }, supported])
      peer.send(peer.sealedRequest(IKE_INTERMEDIATE, 1 + before, firstType, content))
      await world.pass(SECOND)
    }
    // One that is too many is always refused, of the others many.
    assert.ok(gateway.eventsOf('ike-failed').length >= 100)
  }
  await undisturbed(world, attack, { gateway: { ikeProposals: [proposal, suite] } })
})

scenario(
  'whatever a peer says in IKE_FOLLOWUP_KE, after a CREATE_CHILD_SA that asks for it, it harms nobody else',
  async (world) => {
    const proposal = 'aes128gcm16-curve25519-ke1_ecp256-ke2_x448'
    const attack = async (gateway: SimulatedNode): Promise<void> => {
      let madeAll = 0
      for (let number = 0; number < 150; number++) {
        const peer = new Stranger(world, address(number), GATEWAY)
        await peer.init()
        const auth = peer.authPayloads('stranger@example.org')
        peer.send(peer.protectedRequest(IKE_AUTH, 1, [...auth, notify(NotifyType.INITIAL_CONTACT)]))
        await peer.answer()
        const ke = (group: number): Payload => ({ kind: 'KE', group, data: createKeyExchange(group, peer.entropy).publicValue })
        const [, tsi, tsr] = peer.childOffer(0xcafe_0002)
        const offer: Payload = {
          kind: 'SA',
          proposals: [toWire(parseProposal(proposal, 'esp'), 1, Uint8Array.of(0xca, 0xfe, 0, 2))],
        }
        const nonce: Payload = { kind: 'Nonce', data: peer.entropy.bytes(32) }
        peer.send(peer.protectedRequest(CREATE_CHILD_SA, 2, [offer, nonce, ke(KeId.CURVE25519), tsi!, tsr!]))
        const linkTo = (payloads: readonly Payload[]): Payload => {
          const link = findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
          assert.ok(link !== null)
          return notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link.data.slice())
        }
        let link = linkTo(peer.open(await peer.answer()))
        const before = number % 2
        if (before === 1) {
          peer.send(peer.protectedRequest(IKE_FOLLOWUP_KE, 3, [ke(KeId.ECP_256), link]))
          link = linkTo(peer.open(await peer.answer()))
        }
        const next = [ke(before === 0 ? KeId.ECP_256 : KeId.CURVE448), link]
        const { firstType, content } = spoiled(`follow-up ${number}`, next)
        peer.send(peer.sealedRequest(IKE_FOLLOWUP_KE, 3 + before, firstType, content))
        await world.pass(SECOND)
        madeAll += gateway.sessions().some(({ sa }) => sa.children.length === 2) ? 1 : 0
      }
      // Most of it makes no sense.
      assert.ok(gateway.eventsOf('create-refused').length + gateway.eventsOf('ike-failed').length >= 50)
      assert.ok(madeAll < 75)
      await world.pass(61 * SECOND)
      assert.equal(gateway.gateway.books.installed.spis, 0)
    }
    await undisturbed(world, attack, { gateway: { proposals: [proposal, 'aes128gcm16'] } })
  },
)

scenario('whatever a peer says in a later round of IKE_AUTH, after rounds that held, it harms nobody', async (world) => {
  const attack = async (gateway: SimulatedNode): Promise<void> => {
    const proven = (): number => gateway.eventsOf('peer-authenticated').length
    for (let number = 0; number < 200; number++) {
      const peer = new Stranger(world, address(number), GATEWAY)
      await peer.init()
      const before = proven()
      const [id, auth, ...child] = peer.authPayloads('stranger@example.org')
      const round = [id!, auth!, ANOTHER_FOLLOWS]
      // HDR, SK { IDi, AUTH, SAi2, TSi, TSr, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS) }  -->
      const held = [[...round, ...child, notify(NotifyType.MULTIPLE_AUTH_SUPPORTED)], round].slice(0, 1 + (number % 2))
      for (const [index, payloads] of held.entries()) {
        peer.send(peer.protectedRequest(IKE_AUTH, 1 + index, payloads))
        await peer.answer()
      }
      assert.equal(proven() - before, held.length)
      const { firstType, content } = spoiled(`later round ${number}`, [...round, ...child])
      const exchangeType = number % 8 < 6 ? IKE_AUTH : [CREATE_CHILD_SA, INFORMATIONAL][number % 2]!
      peer.send(peer.sealedRequest(exchangeType, 1 + held.length, firstType, content))
      await world.pass(SECOND)
    }
  }
  const words = { gateway: { remoteRounds: THREE_ROUNDS }, client: { localRounds: THREE_ROUNDS } }
  await undisturbed(world, attack, words)
})

scenario('whatever a peer says that has authenticated itself, it harms nobody else', async (world) => {
  await undisturbed(world, async () => {
    for (let number = 0; number < 100; number++) {
      const peer = new Stranger(world, address(number), GATEWAY)
      await peer.init()
      const auth = peer.authPayloads('stranger@example.org')
      peer.send(peer.protectedRequest(IKE_AUTH, 1, [...auth, notify(NotifyType.INITIAL_CONTACT)]))
      await peer.answer()
      const spi = Uint8Array.of(0xca, 0xfe, 0, 1)
      const payloads: readonly Payload[] = [
        ...auth.filter(({ kind }) => kind === 'SA' || kind === 'TSi' || kind === 'TSr'),
        { kind: 'Nonce', data: peer.nonce },
        { kind: 'KE', group: peer.keyExchange.group, data: peer.keyExchange.publicValue },
        { kind: 'Notify', protocol: ProtocolId.ESP, spi, notifyType: NotifyType.REKEY_SA, data: new Uint8Array() },
        { kind: 'Delete', protocol: ProtocolId.ESP, spis: [spi] },
        { kind: 'Delete', protocol: ProtocolId.IKE, spis: [] },
      ]
      for (let messageId = 2; messageId < 8; messageId++) {
        const { firstType, content } = spoiled(`established ${number} ${messageId}`, payloads)
        peer.send(peer.sealedRequest([CREATE_CHILD_SA, INFORMATIONAL][messageId % 2]!, messageId, firstType, content))
        await world.pass(SECOND)
      }
    }
  })
})

/** One initiation after the other to a responder that answers badly: each ends, and nothing is left of it. */
async function initiations(
  world: World,
  count: number,
  answer: (peer: Stranger, number: number) => Promise<void>,
  words: ConnectionWords = {},
): Promise<void> {
  const client = addClient(world, words)
  for (let number = 0; number < count; number++) {
    const peer = new Stranger(world, GATEWAY, CLIENT)
    const failed = client.gateway.initiate('home', 'net').then(
      () => false,
      () => true,
    )
    await answer(peer, number)
    assert.ok(await world.outcome(failed))
    await world.until(() => client.sessions().length === 0, 'the IKE_SA is given up')
    // What it said last does not reach the next one.
    await world.pass(SECOND)
    assert.deepEqual([client.kernel.states(), client.kernel.policies(), client.kernel.reservations()], [[], [], []])
  }
}

scenario('an answer to IKE_SA_INIT of any content ends in an error, and leaves nothing', async (world) => {
  await initiations(world, 300, async (peer, number) => {
    const request = await peer.answer()
    const untap = world.network.tap((packet) => {
      const { header, payloads } = parseMessage(packet.bytes)
      const { firstType, content } = spoiled(`init answer ${number}`, payloads)
      return [{ ...packet, bytes: plainMessage(header, firstType, content) }]
    })
    peer.sendInitAnswer(request)
    untap()
  })
})

scenario('an answer to IKE_AUTH of any payloads ends in an error, and leaves nothing', async (world) => {
  await initiations(world, 300, async (peer, number) => {
    const genuine: readonly Payload[] = [
      { kind: 'IDr', idType: 2, data: new TextEncoder().encode('gateway.example.org') },
      { kind: 'AUTH', method: AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE, data: new Uint8Array(32) },
      notify(NotifyType.TS_UNACCEPTABLE),
    ]
    const [[own, others] = [[], []]] = drawn(`auth answer ${number}`, fc.tuple(reordered(genuine), arbitrary.innerPayloads), 1)
    await peer.answerHandshake([...own, ...others])
  })
})

scenario('an answer of any payloads to a later round of IKE_AUTH ends in an error, and leaves nothing', async (world) => {
  const answer = async (peer: Stranger, number: number): Promise<void> => {
    const round = (): readonly Payload[] => [...peer.authAnswer('10.2.0.0/16', '10.1.0.0/16').slice(0, 2), ANOTHER_FOLLOWS]
    const bad = (): readonly Payload[] => {
      const [idr, auth, ...child] = peer.authAnswer('10.2.0.0/16', '10.1.0.0/16')
      const isLast = number % 2 === 1
      // With the last of three that held there would be no error.
      const genuine = [
        idr!,
        isLast && auth!.kind === 'AUTH' ? { ...auth, data: new Uint8Array(32) } : auth!,
        ANOTHER_FOLLOWS,
        ...child,
      ]
      const [[own, others] = [[], []]] = drawn(`later ${number}`, fc.tuple(reordered(genuine), arbitrary.innerPayloads), 1)
      return [...own, ...others]
    }
    const further = number % 2 === 1 ? [round, bad] : [bad]
    await peer.answerHandshake(round, further, [notify(NotifyType.MULTIPLE_AUTH_SUPPORTED)])
  }
  await initiations(world, 200, answer, { localRounds: THREE_ROUNDS, remoteRounds: THREE_ROUNDS })
  // As many rounds held as were to.
  assert.ok(world.countSent('IKE_AUTH request 3') >= 100)
})
