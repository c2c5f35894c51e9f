/**
 * Messages of one IKE_SA between their payloads and the wire: in the clear (IKE_SA_INIT), protected by SK (RFC 7296
 * 3.14), or in fragments, each protected by itself (RFC 7383).
 */
import { assert } from '../base/assert.ts'
import type { Endpoint } from '../base/ip.ts'
import type { IkeKeys } from '../crypto/keys.ts'
import { createOpener, createSealer, type Opener, type Sealer, type Suite } from '../crypto/protection.ts'
import { ExchangeType } from '../iana/ikev2.ts'
import { MalformedMessage } from '../message/ikev2/malformed.ts'
import {
  associatedDataOf,
  parsePayloads,
  protectedLength,
  reassembledIntermediateOctets,
  receivedIntermediateOctets,
  writeMessage,
  writeProtectedMessage,
  writeProtectedPieces,
  type HeaderFields,
  type ParsedMessage,
} from '../message/ikev2/message.ts'
import type { Payload, SkfPayload } from '../message/ikev2/payload.ts'
import type { Connection } from './connection.ts'
import type { Environment } from './environment.ts'
import type { DropReason } from './events.ts'
import { maxMessageLength, Reassembly } from './fragments.ts'
import type { IkeSa } from './sa.ts'

/** A parsed datagram, not yet looked into. */
export interface Arrival {
  readonly message: ParsedMessage
  readonly bytes: Uint8Array
  readonly local: Endpoint
  readonly remote: Endpoint
}

/** A message with its payloads in the clear, and the way it came: if in fragments, the way of the last of them. */
export interface Received {
  readonly payloads: readonly Payload[]
  readonly unknownCritical: number | null
  /** The content was authentic but no message; no payloads then. */
  readonly malformed: MalformedMessage | null
  readonly exchangeType: number
  readonly messageId: number
  readonly responderSpi: bigint
  /** As on the wire; of a message in fragments the first one, by which its repetition is recognised (RFC 7383 2.6.1). */
  readonly bytes: Uint8Array
  /** Octets of the message in one piece. */
  readonly length: number
  readonly isReassembled: boolean
  /** Of an IKE_INTERMEDIATE, what its authentication covers; null if it came in fragments with payloads in the clear. */
  readonly octets: Uint8Array | null
  readonly local: Endpoint
  readonly remote: Endpoint
}

export interface MessageKind {
  readonly exchangeType: number
  readonly messageId: number
  readonly response: boolean
}

/** A message ready for the wire: whole, or in fragments. */
export interface Sealed {
  readonly pieces: readonly Uint8Array[]
  /** Octets in one piece. */
  readonly wholeLength: number
}

export class Sealing {
  readonly #sa: IkeSa
  readonly #env: Environment
  #sealer: Sealer | null = null
  #opener: Opener | null = null
  /** Of the keys before, as long as a request that was answered under them may come again. */
  #formerOpener: Opener | null = null
  /** At a responder that does not know its connection yet: whether one of those that it may be sends fragments. */
  sendsUnnamed = false

  constructor(sa: IkeSa, env: Environment) {
    this.#sa = sa
    this.#env = env
  }

  begin(suite: Suite, keys: IkeKeys, ivsUsed = 0): void {
    const initiates = this.#sa.role === 'initiator'
    const [encrKey, integKey] = initiates ? [keys.ei, keys.ai] : [keys.er, keys.ar]
    this.#sealer = createSealer(suite, encrKey, integKey, this.#env.entropy, ivsUsed)
    this.#opener = createOpener(suite, initiates ? keys.er : keys.ei, initiates ? keys.ar : keys.ai)
  }

  /** The same when there were keys before; what they protected is opened by `openRepeated` until `dropFormer`. */
  replace(suite: Suite, keys: IkeKeys): void {
    const former = this.#opener
    this.begin(suite, keys)
    this.#formerOpener = former
  }

  dropFormer(): void {
    this.#formerOpener = null
  }

  /** Of the counter that IVs are made of (createSealer). */
  get ivsUsed(): number {
    return this.#sealer?.ivsUsed ?? 0
  }

  end(): void {
    this.#sealer = null
    this.#opener = null
    this.#formerOpener = null
  }

  seal(kind: MessageKind, payloads: readonly Payload[], way: Pick<Received, 'local' | 'remote'>): Sealed {
    const { initiatorSpi, responderSpi } = this.#sa.spis
    const { exchangeType, messageId, response } = kind
    const fromInitiator = this.#sa.role === 'initiator'
    const header: HeaderFields = { initiatorSpi, responderSpi, exchangeType, fromInitiator, response, messageId }
    if (kind.exchangeType === ExchangeType.IKE_SA_INIT) return inOnePiece(writeMessage(header, payloads))
    assert(this.#sealer !== null, 'after IKE_SA_INIT there are keys')
    if (!this.#sendsFragments) return inOnePiece(writeProtectedMessage(header, payloads, this.#sealer))
    const most = maxMessageLength(this.#env.settings(), way.local, way.remote, this.#env.ports)
    return writeProtectedPieces(header, payloads, this.#sealer, most)
  }

  /** Nothing goes in fragments to a peer that did not say it takes them (RFC 7383 2.3). */
  get #sendsFragments(): boolean {
    const { fragmentation, connection } = this.#sa
    if (connection === null) return fragmentation && this.sendsUnnamed
    return fragmentation && sendsFragments(connection)
  }

  /** A message in one piece. Not authentic also when it is not protected where it must be. */
  open(arrival: Arrival): Received | 'not-authentic' {
    const { payloads, unknownCritical, header } = arrival.message
    if (header.exchangeType === ExchangeType.IKE_SA_INIT)
      return { ...factsOf(arrival), payloads, unknownCritical, malformed: null }
    return openWith(this.#opener, arrival)
  }

  /** The same of a request that was answered before. */
  openRepeated(arrival: Arrival): Received | 'not-authentic' {
    return openWith(this.#formerOpener ?? this.#opener, arrival)
  }

  /** One fragment of a message that is not worth putting together again, looked at for being authentic. */
  openLoneFragment(arrival: Arrival, fragment: SkfPayload): Received | DropReason {
    if (!this.#sa.fragmentation) return 'unexpected'
    if (openFragment(this.#formerOpener ?? this.#opener, arrival, fragment) === null) return 'not-authentic'
    return { ...factsOf(arrival), payloads: arrival.message.payloads, unknownCritical: null, malformed: null }
  }

  /** Keeps a fragment in `others` if it is authentic and of use. The message if now it is complete, 'done' if it is not. */
  collect(arrival: Arrival, fragment: SkfPayload, others: Reassembly): Received | 'done' | DropReason {
    if (!this.#sa.fragmentation) return 'unexpected'
    const refusal = others.refusal(fragment)
    if (refusal !== null) return refusal
    const content = openFragment(this.#opener, arrival, fragment)
    if (content === null) return 'not-authentic'
    const added = others.add(fragment, content, arrival.bytes)
    if (added === 'fragment-limit') return added
    assert(this.#sealer !== null, 'who opens can seal')
    const wholeLength = added === null ? null : protectedLength(added.plaintext.length, this.#sealer)
    this.#tellFragment(arrival, fragment, wholeLength)
    if (added === null || wholeLength === null) return 'done'
    const { innerFirst, plaintext, firstFragment } = added
    const isIntermediate = arrival.message.header.exchangeType === ExchangeType.IKE_INTERMEDIATE
    const octets = isIntermediate ? reassembledIntermediateOctets(firstFragment, plaintext) : null
    const facts = { ...factsOf(arrival), bytes: firstFragment, length: wholeLength, isReassembled: true, octets }
    return { ...facts, ...readContent(innerFirst, plaintext, 0) }
  }

  /** Room for the fragments of one message. */
  newReassembly(): Reassembly {
    return new Reassembly(this.#env.settings().maxPacket)
  }

  #tellFragment(arrival: Arrival, fragment: SkfPayload, wholeLength: number | null): void {
    const { message, bytes, local, remote } = arrival
    const { exchangeType, messageId, response: isResponse } = message.header
    const { fragmentNumber, totalFragments } = fragment
    this.#env.report({
      event: 'fragment-received',
      sa: this.#sa,
      exchangeType,
      isResponse,
      messageId,
      payloads: message.payloads,
      length: bytes.length,
      local,
      remote,
      isRetransmission: false,
      fragmentNumber,
      totalFragments,
      wholeLength,
    })
  }
}

function openWith(opener: Opener | null, arrival: Arrival): Received | 'not-authentic' {
  const { payloads, header } = arrival.message
  const sealed = payloads.at(-1)
  if (opener === null || sealed?.kind !== 'SK') return 'not-authentic'
  const plaintext = opener.open(associatedDataOf(arrival.bytes, sealed), sealed.body)
  if (plaintext === null) return 'not-authentic'
  const received = { ...factsOf(arrival), ...readContent(sealed.innerFirst, plaintext, sealed.bodyOffset) }
  if (header.exchangeType !== ExchangeType.IKE_INTERMEDIATE) return received
  return { ...received, octets: receivedIntermediateOctets(arrival.bytes, sealed, plaintext) }
}

function openFragment(opener: Opener | null, { bytes }: Arrival, fragment: SkfPayload): Uint8Array | null {
  return opener?.open(associatedDataOf(bytes, fragment), fragment.body) ?? null
}

/**
 * strongSwan: `accept` announces that fragments are taken in, and sends none; `force`, so its manual, means more in
 * IKEv1 only.
 */
export function sendsFragments({ fragmentation }: Pick<Connection, 'fragmentation'>): boolean {
  return fragmentation === 'yes' || fragmentation === 'force'
}

function inOnePiece(bytes: Uint8Array): Sealed {
  return { pieces: [bytes], wholeLength: bytes.length }
}

function factsOf({ message, bytes, local, remote }: Arrival): Omit<Received, 'payloads' | 'unknownCritical' | 'malformed'> {
  const { exchangeType, messageId, responderSpi } = message.header
  return { exchangeType, messageId, responderSpi, bytes, length: bytes.length, isReassembled: false, octets: null, local, remote }
}

/** What was inside an SK payload, or inside all fragments of a message, is authentic and may all the same be no payloads. */
function readContent(
  firstType: number,
  plaintext: Uint8Array,
  baseOffset: number,
): Pick<Received, 'payloads' | 'unknownCritical' | 'malformed'> {
  try {
    return { ...parsePayloads(firstType, plaintext, baseOffset), malformed: null }
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return { payloads: [], unknownCritical: null, malformed: error }
  }
}
