/**
 * A peer that is no gateway: it says exactly what a scenario wants it to say, right or wrong, and answers nothing by
 * itself. Its messages are made by hand with the codec and the ciphers, as an attacker or another implementation would.
 */
import { createHmac } from 'node:crypto'

import { parseIdentity } from '../../src/auth/identity.ts'
import { pskAuthentication } from '../../src/auth/psk.ts'
import { assert } from '../../src/base/assert.ts'
import { concatBytes, Reader, Writer } from '../../src/base/bytes.ts'
import { Endpoint, IpAddress, IpRange } from '../../src/base/ip.ts'
import { createKeyExchange, type ImmediateKeyExchange } from '../../src/crypto/key-exchange.ts'
import { deriveIkeKeys, deriveNextIkeKeys, type IkeKeys } from '../../src/crypto/keys.ts'
import { createPrf } from '../../src/crypto/prf.ts'
import { createOpener, createSealer, type Opener, type Sealer } from '../../src/crypto/protection.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { AuthMethod, ExchangeType, NotifyType, TsType } from '../../src/iana/ikev2.ts'
import { find, notify } from '../../src/message/ikev2/find.ts'
import {
  associatedDataOf,
  parseMessage,
  parsePayloads,
  writeMessage,
  writePayloads,
  writeProtectedFragments,
  writeProtectedMessage,
  type ParsedMessage,
} from '../../src/message/ikev2/message.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { natDetectionHash, type SpiPair } from '../../src/nat/detection.ts'
import { parseProposal, suiteOf, toWire, type SuiteProposal } from '../../src/negotiate/proposals.ts'
import type { Entropy } from '../../src/ports.ts'
import { PSK } from './configuration.ts'
import type { Attachment, Link, Realm } from './network.ts'
import { ikeBytes, type Packet } from './packet.ts'
import type { World } from './world.ts'

const IKE_PROPOSAL = parseProposal('aes128gcm16-prfsha256-curve25519', 'ike')
const ESP_PROPOSAL = parseProposal('aes128gcm16', 'esp')
const SUITE = suiteOf(IKE_PROPOSAL)
const NAT_T_PORT = 4500

/** Payloads, or what makes them once there are keys. */
type Answer = readonly Payload[] | (() => readonly Payload[])

export class Stranger implements Attachment {
  readonly link: Link
  readonly received: Packet[] = []
  readonly address: IpAddress
  readonly remote: IpAddress
  readonly initiatorSpi: bigint
  responderSpi = 0n
  /** Port its messages leave from and go to. */
  port = 500
  remotePort = 500
  keys: IkeKeys | null = null
  /** What it offers for the IKE_SA, in IKE_SA_INIT. */
  proposal = IKE_PROPOSAL
  /** What AUTH is to cover of IKE_INTERMEDIATE. */
  intAuth: Uint8Array = new Uint8Array()
  readonly #intAuths = [new Uint8Array(), new Uint8Array()]
  #intermediates = 0
  readonly nonce: Uint8Array
  readonly keyExchange: ImmediateKeyExchange
  readonly entropy: Entropy
  #sealer: Sealer | null = null
  #opener: Opener | null = null
  #initMessage: Uint8Array = new Uint8Array()
  #peerNonce: Uint8Array = new Uint8Array()
  readonly #world: World
  readonly #realm: Realm

  constructor(world: World, address: string, remote: string, realm: Realm = world.internet) {
    this.#world = world
    this.#realm = realm
    this.address = IpAddress.parse(address)
    this.remote = IpAddress.parse(remote)
    this.link = { ...world.network.defaultLink }
    this.entropy = world.entropyFor(`stranger ${address}`)
    this.initiatorSpi = new Reader(this.entropy.bytes(8)).u64()
    this.nonce = this.entropy.bytes(32)
    this.keyExchange = createKeyExchange(SUITE.ke, this.entropy)
    realm.owners.set(address, this)
    // Its peer's kernel has states that no other kernel has.
    world.expectsAgreement = false
  }

  receive(packet: Packet): void {
    this.#world.network.note('arrived', packet)
    this.received.push(packet)
  }

  /** Bytes as they are, no marker added. */
  sendBytes(bytes: Uint8Array, port = this.port, remotePort = this.remotePort): void {
    const packet: Packet = {
      protocol: 'udp',
      source: new Endpoint(this.address, port),
      destination: new Endpoint(this.remote, remotePort),
      bytes,
      esp: null,
    }
    this.#world.network.send(packet, this.#realm, this.link)
  }

  /** An IKE message, with the marker where it goes to the NAT-T port. */
  send(message: Uint8Array): void {
    this.sendBytes(this.remotePort === NAT_T_PORT ? concatBytes(new Uint8Array(4), message) : message)
  }

  get spis(): SpiPair {
    return { initiatorSpi: this.initiatorSpi, responderSpi: this.responderSpi }
  }

  /** Honest NAT detection payloads for a message with these SPIs. */
  natDetection(spis: SpiPair = { initiatorSpi: this.initiatorSpi, responderSpi: 0n }): {
    readonly source: Uint8Array
    readonly destination: Uint8Array
  } {
    return {
      source: natDetectionHash(spis, new Endpoint(this.address, this.port)),
      destination: natDetectionHash(spis, new Endpoint(this.remote, this.remotePort)),
    }
  }

  /** HDR, SAi1, KEi, Ni and `more`; with honest NAT detection unless `more` is given. */
  initRequest(more?: readonly Payload[]): Uint8Array {
    const hashes = this.natDetection()
    const detection = [
      notify(NotifyType.NAT_DETECTION_SOURCE_IP, hashes.source),
      notify(NotifyType.NAT_DETECTION_DESTINATION_IP, hashes.destination),
    ]
    return writeMessage(this.header(ExchangeType.IKE_SA_INIT, 0), [
      { kind: 'SA', proposals: [toWire(this.proposal, 1, new Uint8Array())] },
      { kind: 'KE', group: this.keyExchange.group, data: this.keyExchange.publicValue },
      { kind: 'Nonce', data: this.nonce },
      ...(more ?? detection),
    ])
  }

  /**
   * HDR, SK { KE } with `more` after it, and the answer: from then on there are the keys that come of it. What AUTH covers
   * of it (RFC 9242 3.3.2) is written down here octet by octet, as another implementation would.
   */
  async intermediate(group: number, more: readonly Payload[] = []): Promise<void> {
    assert(this.keys !== null, 'IKE_SA_INIT comes before IKE_INTERMEDIATE')
    const exchange = createKeyExchange(group, this.entropy)
    const messageId = ++this.#intermediates
    const payloads: readonly Payload[] = [{ kind: 'KE', group, data: exchange.publicValue }, ...more]
    this.send(this.protectedRequest(ExchangeType.IKE_INTERMEDIATE, messageId, payloads))
    const ke = find(this.open(await this.answer()), 'KE')
    assert(ke !== null, 'an IKE_INTERMEDIATE is answered with a KE payload')
    this.#noteIntermediate(0, messageId, writePayloads(payloads), this.keys.pi)
    this.#noteIntermediate(1, messageId, writePayloads([ke]), this.keys.pr)
    const id = new Writer(4).u32(messageId + 1).finish()
    this.intAuth = concatBytes(this.#intAuths[0]!, this.#intAuths[1]!, id)
    const [nonceInitiator, nonceResponder, sharedSecret] = [this.nonce, this.#peerNonce, exchange.agree(ke.data)]
    this.keys = deriveNextIkeKeys({ suite: SUITE, nonceInitiator, nonceResponder, sharedSecret, ...this.spis }, this.keys.d)
    this.#sealer = createSealer(SUITE, this.keys.ei, this.keys.ai, this.entropy)
    this.#opener = createOpener(SUITE, this.keys.er, this.keys.ar)
  }

  /** IntAuth_i (0) or IntAuth_r (1) after another message whose payloads are `content`, a KE payload first. */
  #noteIntermediate(side: 0 | 1, messageId: number, content: Uint8Array, key: Secret): void {
    const [SK, KE, VERSION, INTERMEDIATE, INITIATOR, RESPONSE] = [46, 34, 0x20, 43, 0x08, 0x20]
    const octets = new Writer()
      .u64(this.initiatorSpi)
      .u64(this.responderSpi)
      .u8(SK)
      .u8(VERSION)
      .u8(INTERMEDIATE)
      .u8(side === 0 ? INITIATOR : RESPONSE)
      .u32(messageId)
      .u32(32 + content.length)
      .u8(KE)
      .u8(0)
      .u16(4 + content.length)
      .bytes(content)
      .finish()
    const mac = createHmac('sha256', key.dangerouslyReveal())
    this.#intAuths[side] = mac.update(this.#intAuths[side]!).update(octets).digest()
  }

  /** Sends an IKE_SA_INIT request and derives the keys from the answer. */
  async init(more?: readonly Payload[]): Promise<ParsedMessage> {
    this.#initMessage = this.initRequest(more)
    this.send(this.#initMessage)
    const answer = await this.answer()
    const message = parseMessage(answer)
    const [ke, nonce] = [find(message.payloads, 'KE'), find(message.payloads, 'Nonce')]
    if (ke === null || nonce === null) return message
    this.responderSpi = message.header.responderSpi
    this.#peerNonce = nonce.data
    const sharedSecret = this.keyExchange.agree(ke.data)
    this.keys = deriveIkeKeys({
      suite: SUITE,
      nonceInitiator: this.nonce,
      nonceResponder: nonce.data,
      sharedSecret,
      ...this.spis,
    })
    this.#sealer = createSealer(SUITE, this.keys.ei, this.keys.ai, this.entropy)
    this.#opener = createOpener(SUITE, this.keys.er, this.keys.ar)
    return message
  }

  /** As responder: HDR, SAr1, KEr, Nr and `more` for a request that was received, without NAT detection. */
  sendInitAnswer(request: Uint8Array, more: readonly Payload[] = [], proposal = IKE_PROPOSAL): void {
    const { header } = parseMessage(request)
    const answer = { ...header, responderSpi: this.initiatorSpi, fromInitiator: false, response: true }
    this.#initMessage = writeMessage(answer, [
      { kind: 'SA', proposals: [toWire(proposal, 1, new Uint8Array())] },
      { kind: 'KE', group: this.keyExchange.group, data: this.keyExchange.publicValue },
      { kind: 'Nonce', data: this.nonce },
      ...more,
    ])
    this.send(this.#initMessage)
  }

  /**
   * As responder: answers an IKE_SA_INIT request, with `init` in it, and an IKE_AUTH request with these payloads as they
   * stand, and after it as many as are answered in `further`. Of another exchange type and with another choice if told.
   */
  async answerHandshake(
    first: Answer,
    further: readonly Answer[] = [],
    init: readonly Payload[] = [],
    { exchangeType, proposal }: { readonly exchangeType: number; readonly proposal: SuiteProposal } = {
      exchangeType: ExchangeType.IKE_AUTH,
      proposal: IKE_PROPOSAL,
    },
  ): Promise<void> {
    const request = await this.answer()
    const { header, payloads } = parseMessage(request)
    const [ke, nonce] = [find(payloads, 'KE'), find(payloads, 'Nonce')]
    assert(ke !== null && nonce !== null, 'a request has a key exchange and a nonce')
    this.sendInitAnswer(request, init, proposal)
    const spis = { initiatorSpi: header.initiatorSpi, responderSpi: this.initiatorSpi }
    const sharedSecret = this.keyExchange.agree(ke.data)
    this.keys = deriveIkeKeys({ suite: SUITE, nonceInitiator: nonce.data, nonceResponder: this.nonce, sharedSecret, ...spis })
    this.#opener = createOpener(SUITE, this.keys.ei, this.keys.ai)
    this.#peerNonce = nonce.data
    const sealer = createSealer(SUITE, this.keys.er, this.keys.ar, this.entropy)
    for (const [index, answer] of [first, ...further].entries()) {
      await this.answer()
      const answered = { exchangeType, messageId: index + 1, fromInitiator: false, response: true }
      this.send(writeProtectedMessage({ ...spis, ...answered }, typeof answer === 'function' ? answer() : answer, sealer))
    }
  }

  /** IDr, AUTH, SAr2, TSi, TSr of an honest gateway, but for the selectors, which are the scenario's. */
  authAnswer(tsi: string, tsr: string): readonly Payload[] {
    return this.#proof('IDr', 'gateway.example.org', PSK, tsi, tsr)
  }

  /** HDR, SK { IDi, AUTH, SAi2, TSi, TSr } and `more`. */
  authRequest(more: readonly Payload[] = [], identity = 'client@example.org', psk = PSK): Uint8Array {
    return this.protectedRequest(ExchangeType.IKE_AUTH, this.#intermediates + 1, [...this.authPayloads(identity, psk), ...more])
  }

  /** IDi, AUTH, SAi2, TSi, TSr, good for one IKE_AUTH request. */
  authPayloads(identity = 'client@example.org', psk = PSK): readonly Payload[] {
    return this.#proof('IDi', identity, psk, '10.2.0.0/16', '10.1.0.0/16')
  }

  #proof(kind: 'IDi' | 'IDr', identity: string, psk: string, tsi: string, tsr: string): readonly Payload[] {
    assert(this.keys !== null, 'IKE_SA_INIT comes before IKE_AUTH')
    const id = parseIdentity(identity)
    const key = new Secret(new TextEncoder().encode(psk))
    const octets = {
      message: this.#initMessage,
      nonce: this.#peerNonce,
      idPayload: concatBytes(Uint8Array.of(id.type, 0, 0, 0), id.data),
      macKey: kind === 'IDi' ? this.keys.pi : this.keys.pr,
      intAuth: this.intAuth,
    }
    return [
      { kind, idType: id.type, data: id.data },
      {
        kind: 'AUTH',
        method: AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE,
        data: pskAuthentication(createPrf(SUITE.prf), key, octets),
      },
      ...this.childOffer(0xcafe_0001, tsi, tsr),
    ]
  }

  /** What offers a CHILD_SA, without a nonce. */
  childOffer(spi: number, tsi = '10.2.0.0/16', tsr = '10.1.0.0/16'): readonly Payload[] {
    return [
      { kind: 'SA', proposals: [toWire(ESP_PROPOSAL, 1, new Writer(4).u32(spi).finish())] },
      { kind: 'TSi', selectors: [selector(tsi)] },
      { kind: 'TSr', selectors: [selector(tsr)] },
    ]
  }

  /** Sends an IKE_AUTH request and opens the answer. */
  async auth(more: readonly Payload[] = []): Promise<readonly Payload[]> {
    this.send(this.authRequest(more))
    return this.open(await this.answer())
  }

  /** A request of the initiator, or with `response` its answer to one of the responder's. */
  protectedRequest(exchangeType: number, messageId: number, payloads: readonly Payload[], response = false): Uint8Array {
    assert(this.#sealer !== null, 'there are keys after IKE_SA_INIT')
    return writeProtectedMessage({ ...this.header(exchangeType, messageId), response }, payloads, this.#sealer)
  }

  /** A request in fragments of at most `most` octets (RFC 7383), even if it needs but one. */
  fragmentedRequest(exchangeType: number, messageId: number, payloads: readonly Payload[], most: number): readonly Uint8Array[] {
    assert(this.#sealer !== null, 'there are keys after IKE_SA_INIT')
    return writeProtectedFragments(this.header(exchangeType, messageId), payloads, this.#sealer, most)
  }

  /** One fragment of a request with any numbers that can be written, and any content. */
  fragment(exchangeType: number, messageId: number, number: number, total: number, content: Uint8Array): Uint8Array {
    assert(this.#sealer !== null, 'there are keys after IKE_SA_INIT')
    const body = new Uint8Array(this.#sealer.sealedLength(content.length))
    const place = { fragmentNumber: number, totalFragments: total }
    const bytes = writeMessage(this.header(exchangeType, messageId), [
      { kind: 'SKF', innerFirst: 0, ...place, body, bodyOffset: 0 },
    ])
    const bodyAt = bytes.length - body.length
    bytes.set(this.#sealer.seal(bytes.subarray(0, bodyAt), content), bodyAt)
    return bytes
  }

  /** A request whose decrypted content is these bytes, whatever they are. */
  sealedRequest(exchangeType: number, messageId: number, firstType: number, content: Uint8Array): Uint8Array {
    assert(this.#sealer !== null, 'there are keys after IKE_SA_INIT')
    const body = new Uint8Array(this.#sealer.sealedLength(content.length))
    const bytes = writeMessage(this.header(exchangeType, messageId), [{ kind: 'SK', innerFirst: firstType, body, bodyOffset: 0 }])
    const bodyAt = bytes.length - body.length
    bytes.set(this.#sealer.seal(bytes.subarray(0, bodyAt), content), bodyAt)
    return bytes
  }

  header(
    exchangeType: number,
    messageId: number,
  ): {
    initiatorSpi: bigint
    responderSpi: bigint
    exchangeType: number
    messageId: number
    fromInitiator: true
    response: boolean
  } {
    return { ...this.spis, exchangeType, messageId, fromInitiator: true, response: false }
  }

  open(bytes: Uint8Array): readonly Payload[] {
    return this.openAll([bytes])
  }

  /** A message in one piece, or all fragments of one in their order. */
  openAll(pieces: readonly Uint8Array[]): readonly Payload[] {
    const opened = pieces.map((bytes) => {
      const sealed = parseMessage(bytes).payloads.at(-1)
      assert((sealed?.kind === 'SK' || sealed?.kind === 'SKF') && this.#opener !== null, 'the answer is protected')
      const plaintext = this.#opener.open(associatedDataOf(bytes, sealed), sealed.body)
      assert(plaintext !== null, 'the answer is authentic')
      return { innerFirst: sealed.innerFirst, plaintext }
    })
    return parsePayloads(opened[0]!.innerFirst, concatBytes(...opened.map(({ plaintext }) => plaintext)), 0).payloads
  }

  /** The next IKE message that arrives. */
  async answer(): Promise<Uint8Array> {
    const before = this.received.length
    await this.#world.until(() => this.received.length > before, 'the stranger is answered')
    const bytes = ikeBytes(this.received.at(-1)!)
    assert(bytes !== null, 'the stranger is answered by an IKE message')
    return bytes
  }
}

export function selector(range: string): {
  tsType: number
  selector: { range: IpRange; protocol: number; firstPort: number; lastPort: number }
  body: Uint8Array
} {
  return {
    tsType: TsType.TS_IPV4_ADDR_RANGE,
    selector: { range: IpRange.parse(range), protocol: 0, firstPort: 0, lastPort: 65535 },
    body: new Uint8Array(),
  }
}
