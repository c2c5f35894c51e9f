/**
 * A peer in good standing that says right things in any order: CHILD_SAs and rekeys of both kinds, with key exchanges to
 * follow or without, follow-ups of what is over, deletes; and answers what it is asked as it likes, or not at all. That no
 * mistake of ours comes up is checked at every step; in the end nothing is left.
 */
import assert from 'node:assert/strict'
import { after } from 'node:test'

import { Writer } from '../../src/base/bytes.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { createKeyExchange } from '../../src/crypto/key-exchange.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../../src/iana/ikev2.ts'
import { KeId } from '../../src/iana/transforms.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { deleteChildSa } from '../../src/ike/delete.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { Session } from '../../src/ike/session.ts'
import { find, findErrorNotify, findNotify, notify } from '../../src/message/ikev2/find.ts'
import { parseMessage } from '../../src/message/ikev2/message.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { formatProposalText, parseProposal, toWire, type SuiteProposal } from '../../src/negotiate/proposals.ts'
import type { Dice } from './entropy.ts'
import type { SimulatedNode } from './node.ts'
import { ikeBytes } from './packet.ts'
import { addGateway, CLIENT, GATEWAY } from './places.ts'
import { Stranger } from './stranger.ts'
import { scenarioOverSeeds, type World } from './world.ts'

const { CREATE_CHILD_SA, INFORMATIONAL, IKE_FOLLOWUP_KE } = ExchangeType
const [ESP, PLAIN_ESP] = ['aes128gcm16-curve25519-ke1_ecp256-ke2_x448', 'aes128gcm16'].map((text) => parseProposal(text, 'esp'))
const [IKE, PLAIN_IKE] = ['aes128gcm16-prfsha256-curve25519-ke1_ecp256', 'aes128gcm16-prfsha256-curve25519'].map((text) =>
  parseProposal(text, 'ike'),
)
const REFUSALS = [
  NotifyType.TEMPORARY_FAILURE,
  NotifyType.NO_ADDITIONAL_SAS,
  NotifyType.STATE_NOT_FOUND,
  NotifyType.CHILD_SA_NOT_FOUND,
  NotifyType.NO_PROPOSAL_CHOSEN,
]

const spiOf = (spi: number): Uint8Array => new Writer(4).u32(spi).finish()

class Talker {
  readonly peer: Stranger
  readonly #dice: Dice
  /** With the method of the key exchange that each leads to. */
  readonly #links = [{ link: new Uint8Array(16), group: KeId.ECP_256 as number }]
  readonly #spis = [0xcafe_0001]
  #messageId = 2
  #heard = 0
  /** Requests of it that were fulfilled, with key exchanges to come or not. */
  fulfilled = 0

  constructor(peer: Stranger, dice: Dice) {
    this.peer = peer
    this.#dice = dice
    this.#heard = peer.received.length
  }

  ask(): void {
    const [exchangeType, payloads] = this.#request()
    this.peer.send(this.peer.protectedRequest(exchangeType, this.#messageId, payloads))
  }

  /** Takes in what has come, and answers most of what is asked. */
  hear(): void {
    for (const packet of this.peer.received.slice(this.#heard)) {
      this.#heard++
      const bytes = ikeBytes(packet)
      assert.ok(bytes !== null)
      const { initiatorSpi, response, messageId, exchangeType } = parseMessage(bytes).header
      // Of an IKE_SA that it has begun to put in the place of this one it has no keys.
      if (initiatorSpi !== this.peer.initiatorSpi) continue
      const payloads = this.peer.open(bytes)
      if (response && messageId === this.#messageId) this.#note(exchangeType, payloads)
      if (!response && this.#dice.chance(0.8))
        this.peer.send(this.peer.protectedRequest(exchangeType, messageId, this.#answer(exchangeType, payloads), true))
    }
  }

  #note(exchangeType: number, answer: readonly Payload[]): void {
    this.#messageId++
    const link = findNotify(answer, NotifyType.ADDITIONAL_KEY_EXCHANGE)
    const group = exchangeType === CREATE_CHILD_SA ? KeId.ECP_256 : KeId.CURVE448
    if (link !== null) this.#links.push({ link: link.data.slice(), group })
    if (findErrorNotify(answer) === null && answer.length > 0) this.fulfilled++
  }

  #request(): readonly [number, readonly Payload[]] {
    switch (this.#dice.below(9)) {
      case 0:
        return [CREATE_CHILD_SA, this.#child()]
      case 1:
      case 2: {
        const spi = spiOf(this.#lastOr(this.#spis))
        return [CREATE_CHILD_SA, [notify(NotifyType.REKEY_SA, undefined, ProtocolId.ESP, spi), ...this.#child()]]
      }
      case 3:
        // As a rule the last thing it does.
        return [CREATE_CHILD_SA, this.#dice.chance(0.15) ? this.#ike(this.#dice.chance(0.9) ? IKE! : PLAIN_IKE!) : this.#child()]
      case 4:
        return [INFORMATIONAL, [{ kind: 'Delete', protocol: ProtocolId.ESP, spis: [spiOf(this.#pick(this.#spis))] }]]
      default: {
        const { link, group } = this.#lastOr(this.#links)
        const ke = this.#ke(this.#dice.chance(0.02) ? KeId.CURVE25519 : group)
        return [IKE_FOLLOWUP_KE, [ke, notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)]]
      }
    }
  }

  #answer(exchangeType: number, request: readonly Payload[]): readonly Payload[] {
    if (exchangeType === INFORMATIONAL) return []
    if (this.#dice.chance(0.4)) return [notify(this.#pick(REFUSALS))]
    const link = this.#dice.chance(0.7) ? [notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, this.#dice.bytes(8))] : []
    if (exchangeType === IKE_FOLLOWUP_KE) return [this.#ke(this.#pick([KeId.ECP_256, KeId.CURVE448])), ...link]
    const isIke = find(request, 'SA')?.proposals[0]?.protocol === ProtocolId.IKE
    if (isIke) return [...this.#ike(this.#pick([IKE!, PLAIN_IKE!])), ...link]
    const own = this.#child().filter(({ kind }) => kind !== 'TSi' && kind !== 'TSr')
    return [...own, ...request.filter(({ kind }) => kind === 'TSi' || kind === 'TSr'), ...link]
  }

  #child(): readonly Payload[] {
    const spi = 0xcafe_0001 + this.#spis.length
    this.#spis.push(spi)
    const [, ...selectors] = this.peer.childOffer(spi, this.#pick(['10.2.0.0/16', '10.2.1.0/24']))
    const proposal = this.#dice.chance(0.7) ? ESP! : PLAIN_ESP!
    const keyExchange = proposal === ESP ? [this.#ke(KeId.CURVE25519)] : []
    return [{ kind: 'SA', proposals: [toWire(proposal, 1, spiOf(spi))] }, this.#nonce(), ...keyExchange, ...selectors]
  }

  #ike(proposal: SuiteProposal): readonly Payload[] {
    const offer = toWire(proposal, 1, this.#dice.bytes(8))
    return [{ kind: 'SA', proposals: [offer] }, this.#nonce(), this.#ke(KeId.CURVE25519)]
  }

  #ke(group: number): Payload {
    return { kind: 'KE', group, data: createKeyExchange(group, this.peer.entropy).publicValue }
  }

  #nonce(): Payload {
    return { kind: 'Nonce', data: this.#dice.bytes(32) }
  }

  #pick<T>(all: readonly T[]): T {
    return all[this.#dice.below(all.length)]!
  }

  #lastOr<T>(all: readonly T[]): T {
    return this.#dice.chance(0.7) ? all.at(-1)! : this.#pick(all)
  }
}

/** Something of the gateway's own. */
function act(session: Session, dice: Dice): void {
  const { children } = session.sa
  const child = children[dice.below(children.length)]
  const what = dice.below(9)
  if (what === 0) void session.runExchange(rekeyIkeSa, 'rekey-ike')
  else if (what < 3) addChild(session, session.sa.connection!.children[0]!).catch(() => undefined)
  else if (child === undefined) return
  else if (what < 7) void session.runExchange((current) => rekeyChild(current, child), 'rekey-child')
  else void session.runExchange((current) => deleteChildSa(current, child), 'delete-child')
}

async function end(world: World, gateway: SimulatedNode): Promise<void> {
  for (const session of gateway.sessions()) await world.outcome(session.run(() => session.close('deleted-by-us')))
  await world.pass(SECOND)
}

/** Of all seeds. */
let [seeds, fulfilled] = [0, 0]
after(() => assert.ok(fulfilled >= 5 * seeds, `${fulfilled} requests came to anything in ${seeds} conversations`))

scenarioOverSeeds(
  'a peer that says right things in any order: nothing of ours breaks, and nothing is left',
  40,
  async (world) => {
    const dice = world.entropyFor('talker')
    if (dice.chance(0.5)) world.keyExchangeLatency = dice.below(200)
    if (dice.chance(0.3)) world.kernelLatency = dice.below(40)
    const gateway = addGateway(world, {
      proposals: [ESP!, PLAIN_ESP!].map(formatProposalText),
      ikeProposals: [IKE!, PLAIN_IKE!].map(formatProposalText),
      remoteAddresses: [CLIENT],
    })
    const peer = new Stranger(world, CLIENT, GATEWAY)
    await peer.init()
    await peer.auth()
    const talker = new Talker(peer, dice)
    for (let i = 0; i < 100; i++) {
      talker.hear()
      const session = gateway.sessions().find(({ sa }) => sa.state === 'established')
      // It has done all it came for: the next one has keys that it does not make.
      if (session?.sa.peerSpi !== peer.initiatorSpi) break
      if (dice.chance(0.8)) talker.ask()
      if (dice.chance(0.25)) act(session, dice)
      await world.pass(dice.chance(0.1) ? dice.below(1.5 * MINUTE) : dice.below(400))
    }
    seeds++
    fulfilled += talker.fulfilled
    await end(world, gateway)
    // What is to be made anew is given up.
    await world.pass(6 * MINUTE)
    await end(world, gateway)
    const { spis, states, policies } = gateway.gateway.books.installed
    assert.deepEqual([spis, states, policies, gateway.sessions().length], [0, 0, 0, 0])
    assert.deepEqual(gateway.kernel.reservations(), [])
  },
)
