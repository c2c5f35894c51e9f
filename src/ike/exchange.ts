/**
 * The wire side of one IKE_SA: message IDs and the window of one (RFC 7296 2.2, 2.3), retransmission of our requests
 * (2.1), the kept response to the peer's last request, protection by SK (3.14).
 *
 *   request()         sends and resolves with the peer's answer; rejects with PEER_SILENT or SA_CLOSED
 *   acceptResponse()  takes in a response and lets the waiting exchange go on
 *   openRequest()     takes in a request: authentic and in the window, or a reason to drop it
 *   respond()         answers the request that was opened last and keeps the answer
 */
import { assert } from '../base/assert.ts'
import { equalBytes } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { Endpoint } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { IkeKeys } from '../crypto/keys.ts'
import { createOpener, createSealer, type Opener, type Sealer, type Suite } from '../crypto/protection.ts'
import { ExchangeType } from '../iana/ikev2.ts'
import { MalformedMessage } from '../message/ikev2/malformed.ts'
import {
  associatedDataOf,
  parsePayloads,
  writeMessage,
  writeProtectedMessage,
  type HeaderFields,
  type ParsedMessage,
} from '../message/ikev2/message.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { withMarker } from '../nat/ports.ts'
import type { Environment } from './environment.ts'
import type { DropReason, IkeEvent } from './events.ts'
import { waitAfter } from './retransmission.ts'
import type { IkeSa } from './sa.ts'
import type { Turns } from './turns.ts'

/** A message with its payloads in the clear, and the way it came. `bytes` is the IKE message as on the wire. */
export interface Received {
  readonly payloads: readonly Payload[]
  readonly unknownCritical: number | null
  /** The content was authentic but no message; null payloads then. */
  readonly malformed: MalformedMessage | null
  readonly exchangeType: number
  readonly messageId: number
  readonly responderSpi: bigint
  readonly bytes: Uint8Array
  readonly local: Endpoint
  readonly remote: Endpoint
}

/** A parsed datagram, not yet looked into. */
export interface Arrival {
  readonly message: ParsedMessage
  readonly bytes: Uint8Array
  readonly local: Endpoint
  readonly remote: Endpoint
}

export interface RetransmissionTimer {
  arm(at: Milliseconds): void
  disarm(): void
}

interface MessageKind {
  readonly exchangeType: number
  readonly messageId: number
  readonly response: boolean
}

interface Outstanding {
  readonly messageId: number
  readonly exchangeType: number
  readonly bytes: Uint8Array
  /** Transmissions so far, less one. */
  attempt: number
  readonly resolve: (answer: Received) => void
  readonly reject: (error: EspalierError) => void
}

const PEER_SILENT = 'PEER_SILENT'
export const SA_CLOSED = 'SA_CLOSED'

export function isPeerSilent(error: unknown): boolean {
  return error instanceof EspalierError && error.code === PEER_SILENT
}

export class Exchanges {
  readonly #sa: IkeSa
  readonly #env: Environment
  readonly #turns: Turns
  readonly #timer: RetransmissionTimer
  #sealer: Sealer | null = null
  #opener: Opener | null = null
  #nextRequestId = 0
  #expectedRequestId = 0
  #outstanding: Outstanding | null = null
  #keptResponse: Uint8Array | null = null
  /** IKE_SA_INIT responses that were acted upon; at most as many as initiateInit makes attempts. */
  readonly #initResponses: Uint8Array[] = []

  constructor(sa: IkeSa, env: Environment, turns: Turns, timer: RetransmissionTimer) {
    this.#sa = sa
    this.#env = env
    this.#turns = turns
    this.#timer = timer
  }

  /** Both sides have keys: everything after IKE_SA_INIT is protected. */
  protect(suite: Suite, keys: IkeKeys): void {
    const initiates = this.#sa.role === 'initiator'
    this.#sealer = createSealer(suite, initiates ? keys.ei : keys.er, initiates ? keys.ai : keys.ar, this.#env.entropy)
    this.#opener = createOpener(suite, initiates ? keys.er : keys.ei, initiates ? keys.ar : keys.ai)
    this.#initResponses.length = 0
  }

  get isWaiting(): boolean {
    return this.#outstanding !== null
  }

  /** The message our outstanding request went out as; an initiator's AUTH covers it. */
  get outstandingBytes(): Uint8Array {
    assert(this.#outstanding !== null, 'a request is outstanding when its bytes are asked for')
    return this.#outstanding.bytes
  }

  /**
   * Sends a request and waits for its answer. An IKE_SA_INIT always has message ID 0, also when it is repeated with a
   * cookie or another group (RFC 7296 2.2).
   */
  request(exchangeType: number, payloads: readonly Payload[]): Promise<Received> {
    if (this.#sa.state === 'closed') return Promise.reject(closedError())
    assert(this.#outstanding === null, 'one own exchange at a time: the window is one')
    const messageId = exchangeType === ExchangeType.IKE_SA_INIT ? 0 : this.#nextRequestId
    this.#nextRequestId = messageId + 1
    const bytes = this.#encode({ exchangeType, messageId, response: false }, payloads)
    return new Promise((resolve, reject) => {
      this.#outstanding = { messageId, exchangeType, bytes, attempt: 0, resolve, reject }
      this.#transmit(this.#outstanding, payloads)
      this.#turns.park()
    })
  }

  /** For a piece of work (turns.ts): hands a response to the exchange that waits for it, and waits until that parks. */
  acceptResponse(arrival: Arrival): Promise<void> | DropReason {
    const { header } = arrival.message
    const waiting = this.#outstanding
    if (waiting === null || header.messageId !== waiting.messageId || header.exchangeType !== waiting.exchangeType)
      return 'out-of-window'
    if (header.exchangeType === ExchangeType.IKE_SA_INIT) {
      // All attempts have message ID 0, so that only its bytes tell a doubled demand (cookie, group) from a new one.
      if (this.#initResponses.some((before) => equalBytes(before, arrival.bytes))) return 'out-of-window'
      this.#initResponses.push(arrival.bytes.slice())
    }
    const received = this.#open(arrival)
    if (received === null) return 'not-authentic'
    this.#outstanding = null
    this.#timer.disarm()
    this.#sa.lastInbound = this.#env.clock.now()
    this.#tellReceived(received, true, false)
    return this.#turns.drive(() => waiting.resolve(received))
  }

  /**
   * A request that is authentic and next in line; 'repeated' when it is the one answered last, which has then been
   * answered again, to where it came from; a reason to drop it otherwise.
   */
  openRequest(arrival: Arrival): Received | 'repeated' | DropReason {
    const { messageId } = arrival.message.header
    const isRepeated = messageId === this.#expectedRequestId - 1 && this.#keptResponse !== null
    if (!isRepeated && messageId !== this.#expectedRequestId) return 'out-of-window'
    const received = this.#open(arrival)
    if (received === null) return 'not-authentic'
    this.#sa.lastInbound = this.#env.clock.now()
    this.#tellReceived(received, false, isRepeated)
    if (!isRepeated) return received
    this.repeatResponse(arrival)
    return 'repeated'
  }

  /** The kept answer once more, along the way the repeated request came. */
  repeatResponse({ message, local, remote }: Arrival): void {
    assert(this.#keptResponse !== null, 'a repeated request has been answered before')
    const { exchangeType, messageId } = message.header
    this.#tellSent({ exchangeType, messageId, response: true }, [], this.#keptResponse, local, remote, true)
    this.#send(this.#keptResponse, local, remote)
  }

  /** Answers along the way the request came (RFC 7296 2.11), not to where the IKE_SA believes the peer to be. */
  respond(request: Pick<Received, 'exchangeType' | 'messageId' | 'local' | 'remote'>, payloads: readonly Payload[]): Uint8Array {
    const { exchangeType, messageId, local, remote } = request
    const kind = { exchangeType, messageId, response: true }
    const bytes = this.#encode(kind, payloads)
    this.#keptResponse = bytes
    this.#expectedRequestId = messageId + 1
    this.#tellSent(kind, payloads, bytes, local, remote, false)
    this.#send(bytes, local, remote)
    return bytes
  }

  /** For a piece of work: the retransmission deadline was reached. */
  retransmit(): Promise<void> | void {
    const waiting = this.#outstanding
    if (waiting === null) return
    waiting.attempt++
    const settings = this.#env.settings()
    if (waiting.attempt > settings.retransmitTries) {
      this.#outstanding = null
      const retransmissions = waiting.attempt - 1
      this.#env.report({ event: 'request-given-up', sa: this.#sa, messageId: waiting.messageId, retransmissions })
      const error = new EspalierError(
        'peer-incompatible',
        PEER_SILENT,
        `peer not responding to ${waiting.attempt} transmissions of one request; is it reachable, and are UDP ports 500 and 4500 open on the way?`,
      )
      return this.#turns.drive(() => waiting.reject(error))
    }
    this.#env.report({ event: 'retransmitting', sa: this.#sa, messageId: waiting.messageId, attempt: waiting.attempt })
    this.#transmit(waiting, [])
  }

  /** The IKE_SA is gone: whoever waits for an answer learns it. */
  abandon(): void {
    const waiting = this.#outstanding
    this.#outstanding = null
    this.#timer.disarm()
    this.#keptResponse = null
    this.#sealer = null
    this.#opener = null
    waiting?.reject(closedError())
  }

  #transmit(request: Outstanding, payloads: readonly Payload[]): void {
    const settings = this.#env.settings()
    const random = settings.retransmitJitter > 0 ? this.#env.entropy.bytes(1)[0]! : 0
    const wait = waitAfter(request.attempt, settings, random)
    assert(wait !== null, 'a request is transmitted only while tries are left')
    // The endpoints are read at each transmission: a request follows the IKE_SA to where it moved.
    const { local, remote } = this.#sa
    const { exchangeType, messageId, bytes } = request
    this.#tellSent({ exchangeType, messageId, response: false }, payloads, bytes, local, remote, request.attempt > 0)
    this.#send(bytes, local, remote)
    this.#timer.arm(this.#env.clock.now() + wait)
  }

  #send(bytes: Uint8Array, local: Endpoint, remote: Endpoint): void {
    this.#sa.lastOutbound = this.#env.clock.now()
    this.#env.network.send(withMarker(bytes, local.port, this.#env.ports), local, remote)
  }

  /** Told before it leaves, so that whatever the network has to say about it comes after. */
  #tellSent(
    kind: MessageKind,
    payloads: readonly Payload[],
    bytes: Uint8Array,
    local: Endpoint,
    remote: Endpoint,
    isRetransmission: boolean,
  ): void {
    const { exchangeType, messageId, response: isResponse } = kind
    const length = bytes.length
    const facts = { sa: this.#sa, exchangeType, isResponse, messageId, payloads, length, local, remote, isRetransmission }
    this.#env.report({ event: 'message-sent', ...facts })
  }

  #tellReceived(received: Received, isResponse: boolean, isRetransmission: boolean): void {
    this.#env.report(receivedEvent(this.#sa, received, isResponse, isRetransmission))
  }

  #encode(kind: MessageKind, payloads: readonly Payload[]): Uint8Array {
    const header: HeaderFields = {
      ...this.#sa.spis,
      ...kind,
      majorVersion: 2,
      minorVersion: 0,
      fromInitiator: this.#sa.role === 'initiator',
      higherVersion: false,
    }
    if (kind.exchangeType === ExchangeType.IKE_SA_INIT) return writeMessage(header, payloads)
    assert(this.#sealer !== null, 'after IKE_SA_INIT there are keys')
    return writeProtectedMessage(header, payloads, this.#sealer)
  }

  /** Null when the message is not authentic, or not protected where it must be. */
  #open(arrival: Arrival): Received | null {
    const { message, bytes, local, remote } = arrival
    const { exchangeType, messageId, responderSpi } = message.header
    const received = { exchangeType, messageId, responderSpi, bytes, local, remote }
    if (exchangeType === ExchangeType.IKE_SA_INIT) {
      return { ...received, payloads: message.payloads, unknownCritical: message.unknownCritical, malformed: null }
    }
    const sealed = message.payloads.at(-1)
    if (this.#opener === null || sealed?.kind !== 'SK') return null
    const plaintext = this.#opener.open(associatedDataOf(bytes, sealed), sealed.body)
    if (plaintext === null) return null
    try {
      const { payloads, unknownCritical } = parsePayloads(sealed.innerFirst, plaintext, sealed.bodyOffset)
      return { ...received, payloads, unknownCritical, malformed: null }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      return { ...received, payloads: [], unknownCritical: null, malformed: error }
    }
  }
}

/** Tells of a message that came in; `sa` null where there is no IKE_SA for it. */
export function receivedEvent(sa: IkeSa | null, received: Received, isResponse: boolean, isRetransmission: boolean): IkeEvent {
  const { exchangeType, messageId, payloads, bytes, local, remote } = received
  const length = bytes.length
  return { event: 'message-received', sa, exchangeType, isResponse, messageId, payloads, length, local, remote, isRetransmission }
}

function closedError(): EspalierError {
  return new EspalierError('caller', SA_CLOSED, 'the IKE_SA was closed while its exchange was under way')
}
