/**
 * The wire side of one IKE_SA: message IDs and the window of one (RFC 7296 2.2, 2.3), retransmission of our requests
 * (2.1), the kept response to the peer's last request, protection by SK (3.14), and by SKF where a message goes in
 * fragments (RFC 7383).
 *
 *   request()         sends and resolves with the peer's answer; rejects with PEER_SILENT or SA_CLOSED
 *   acceptResponse()  takes in a response and lets the waiting exchange go on
 *   openRequest()     takes in a request: authentic and in the window, or a reason to drop it
 *   respond()         answers the request that was opened last and keeps the answer
 *   tryWays()         has requests tried on several ways while it is not known which one works (roam.ts)
 */
import { assert } from '../base/assert.ts'
import { equalBytes } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { Endpoint } from '../base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'
import type { IkeKeys } from '../crypto/keys.ts'
import type { Suite } from '../crypto/protection.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { findNotify } from '../message/ikev2/find.ts'
import type { Header } from '../message/ikev2/header.ts'
import type { Payload, SkfPayload } from '../message/ikev2/payload.ts'
import type { Way } from '../nat/path.ts'
import { withMarker } from '../nat/ports.ts'
import type { Environment } from './environment.ts'
import type { DropReason, IkeEvent } from './events.ts'
import type { Reassembly } from './fragments.ts'
import { waitAfter } from './retransmission.ts'
import type { IkeSa } from './sa.ts'
import { Sealing, type Arrival, type MessageKind, type Received, type Sealed } from './sealing.ts'
import type { Turns } from './turns.ts'

export type { Arrival, Received } from './sealing.ts'

/** The deadlines of the wire (deadlines.ts), and who hears on which of several ways the peer was reached. */
export interface WireDeadlines {
  wayFound(way: Way): Promise<void>
  /** Something authentic came, of a message that is none of before: if the IKE_SA moves by that, when it has. */
  heard(arrival: Arrival): Promise<void> | null
  /** The peer says that a request of ours was malformed: the IKE_SA is over for both (RFC 7296 2.21.3). */
  foundMalformed(): Promise<void>
  setDeadline(name: 'retransmit' | 'fragments', at: Milliseconds): void
  clearDeadline(name: 'retransmit' | 'fragments'): void
}

/** Message IDs of both directions, the answer that the peer may ask for once more, and how far the IVs are. */
export interface Window {
  readonly nextRequestId: number
  readonly expectedRequestId: number
  /** None: it has asked for nothing. */
  readonly keptResponse: readonly Uint8Array[]
  readonly keptLength: number
  readonly ivsUsed: number
}

interface Outstanding {
  readonly messageId: number
  readonly exchangeType: number
  readonly sealed: Sealed
  /** Where it goes the first time, if not along the way of the IKE_SA. */
  readonly way: Way | null
  /** Transmissions so far, less one. */
  attempt: number
  readonly resolve: (answer: Received) => void
  readonly reject: (error: EspalierError) => void
}

/**
 * How long what there is of a request in fragments is kept: longer than the peer sends them again by default (165 s), so
 * that each time may bring some of those that are missing.
 */
const FRAGMENTS_KEPT_FOR: Milliseconds = 3 * MINUTE

/** strongSwan: how often, and how many times, a request is sent again while it is not known which way leads to the peer. */
const PROBE_INTERVAL: Milliseconds = 2.5 * SECOND
const PROBE_TRIES = 10

const PEER_SILENT = 'PEER_SILENT'
export const SA_CLOSED = 'SA_CLOSED'

export function isPeerSilent(error: unknown): boolean {
  return error instanceof EspalierError && error.code === PEER_SILENT
}

export class Exchanges {
  readonly #sa: IkeSa
  readonly #env: Environment
  readonly #turns: Turns
  readonly #deadlines: WireDeadlines
  readonly #sealing: Sealing
  #nextRequestId = 0
  #expectedRequestId = 0
  #outstanding: Outstanding | null = null
  #ways: readonly Way[] | null = null
  #keptResponse: Sealed | null = null
  #formerKeys: IkeKeys | null = null
  /** What has come of the next request, and of the response that is waited for. */
  #requestFragments: Reassembly | null = null
  #responseFragments: Reassembly | null = null
  /** IKE_SA_INIT responses that were acted upon; at most as many as initiateInit makes attempts. */
  readonly #initResponses: Uint8Array[] = []

  constructor(sa: IkeSa, env: Environment, turns: Turns, deadlines: WireDeadlines) {
    this.#sa = sa
    this.#env = env
    this.#turns = turns
    this.#sealing = new Sealing(sa, env)
    this.#deadlines = deadlines
  }

  /** Both sides have keys: everything after IKE_SA_INIT is protected. */
  protect(suite: Suite, keys: IkeKeys): void {
    this.#sealing.begin(suite, keys)
    this.#initResponses.length = 0
  }

  /**
   * IKE_INTERMEDIATE: other keys from the next message on, in the place of `former`, which are ours to destroy. What was
   * answered last may be asked for once more until the next answer, under the keys that it was asked for first.
   */
  replaceKeys(suite: Suite, keys: IkeKeys, former: IkeKeys): void {
    this.#sealing.replace(suite, keys)
    this.#formerKeys = former
    if (this.#keptResponse === null) this.#dropFormerKeys()
  }

  #dropFormerKeys(): void {
    this.#sealing.dropFormer()
    this.#formerKeys?.destroy()
    this.#formerKeys = null
  }

  /** Whether the kept response is that to IKE_SA_INIT. */
  get hasAnsweredOnlyInit(): boolean {
    return this.#expectedRequestId === 1
  }

  /** For a responder that does not know its connection yet: answers go in fragments where the peer takes them. */
  sendFragmentsUnnamed(): void {
    this.#sealing.sendsUnnamed = true
  }

  /** Where the window is between exchanges, for who writes the IKE_SA down. */
  get window(): Window {
    const { pieces, wholeLength } = this.#keptResponse ?? { pieces: [], wholeLength: 0 }
    return {
      nextRequestId: this.#nextRequestId,
      expectedRequestId: this.#expectedRequestId,
      keptResponse: pieces,
      keptLength: wholeLength,
      ivsUsed: this.#sealing.ivsUsed,
    }
  }

  /** Goes on where the IKE_SA was when it was written down. */
  resume(suite: Suite, keys: IkeKeys, window: Window): void {
    this.#sealing.begin(suite, keys, window.ivsUsed)
    this.#nextRequestId = window.nextRequestId
    this.#expectedRequestId = window.expectedRequestId
    const { keptResponse: pieces, keptLength: wholeLength } = window
    this.#keptResponse = pieces.length === 0 ? null : { pieces, wholeLength }
  }

  get isWaiting(): boolean {
    return this.#outstanding !== null
  }

  /** The ways that requests are tried on, see tryWays. */
  get ways(): readonly Way[] | null {
    return this.#ways
  }

  /**
   * From now on requests go along all these ways at once, since nobody knows which one leads to the peer; the first
   * answer tells. Along none: they wait for the next call. Null: along that of the IKE_SA again. An outstanding request
   * goes at once.
   */
  tryWays(ways: readonly Way[] | null): void {
    // However often routes change: what is being tried is not tried sooner, or for longer, for that.
    if (isSame(ways, this.#ways)) return
    this.#ways = ways
    this.beginAgain()
  }

  /** An outstanding request goes at once, as if for the first time: the peer is elsewhere now, or we are. */
  beginAgain(): void {
    const waiting = this.#outstanding
    if (waiting === null) return
    waiting.attempt = 0
    this.#transmit(waiting, [], true)
  }

  /** The message our outstanding request went out as; an initiator's AUTH covers it. */
  get outstandingBytes(): Uint8Array {
    const bytes = this.#outstanding?.sealed.pieces[0]
    assert(bytes !== undefined, 'a request is outstanding when its bytes are asked for')
    return bytes
  }

  /**
   * Sends a request and waits for its answer. An IKE_SA_INIT always has message ID 0, also when it is repeated with a
   * cookie or another group (RFC 7296 2.2). One that is to test another way goes along that the first time, and keeps
   * no mapping of the IKE_SA's; retransmissions are as those of any other.
   */
  request(exchangeType: number, payloads: readonly Payload[], way: Way | null = null): Promise<Received> {
    if (this.#sa.state === 'closed') return Promise.reject(closedError())
    assert(this.#outstanding === null, 'one own exchange at a time: the window is one')
    const messageId = exchangeType === ExchangeType.IKE_SA_INIT ? 0 : this.#nextRequestId
    this.#nextRequestId = messageId + 1
    const sealed = this.#sealing.seal({ exchangeType, messageId, response: false }, payloads, way ?? this.#sa)
    return new Promise((resolve, reject) => {
      this.#outstanding = { messageId, exchangeType, sealed, way, attempt: 0, resolve, reject }
      this.#transmit(this.#outstanding, payloads, false)
      this.#turns.park()
    })
  }

  /**
   * For a piece of work (turns.ts): hands a response to the exchange that waits for it, and waits until that parks. 'done'
   * when it was a fragment, and others are missing.
   */
  acceptResponse(arrival: Arrival): Promise<void> | 'done' | DropReason {
    const { header } = arrival.message
    const waiting = this.#outstanding
    if (waiting === null || header.messageId !== waiting.messageId || header.exchangeType !== waiting.exchangeType)
      return 'out-of-window'
    if (header.exchangeType === ExchangeType.IKE_SA_INIT) {
      // All attempts have message ID 0, so that only its bytes tell a doubled demand (cookie, group) from a new one.
      if (this.#initResponses.some((before) => equalBytes(before, arrival.bytes))) return 'out-of-window'
      this.#initResponses.push(arrival.bytes.slice())
    }
    const fragment = fragmentIn(arrival)
    const received =
      fragment === null
        ? this.#sealing.open(arrival)
        : this.#sealing.collect(arrival, fragment, (this.#responseFragments ??= this.#sealing.newReassembly()))
    if (received === 'done') return this.#deadlines.heard(arrival) ?? 'done'
    if (typeof received === 'string') return received
    this.#tellReceived(received, true, false)
    // Whoever waits for the answer hears that there is no IKE_SA any more.
    if (this.#sa.state !== 'connecting' && findNotify(received.payloads, NotifyType.INVALID_SYNTAX) !== null)
      return this.#deadlines.foundMalformed()
    this.#stopWaiting()
    this.#sa.lastInbound = this.#env.clock.now()
    const way = this.#ways?.find((candidate) => leads(candidate, arrival)) ?? null
    if (way !== null) this.#ways = null
    // The exchange goes on where the IKE_SA is then.
    const moving = way === null ? this.#deadlines.heard(arrival) : this.#deadlines.wayFound(way)
    const goOn = (): Promise<void> => this.#turns.drive(() => waiting.resolve(received))
    return moving === null ? goOn() : moving.then(goOn)
  }

  /**
   * A request that is authentic and next in line. 'done' when it is the one answered last, which has then been answered
   * again, to where it came from, or when it is a fragment of the next one and others are missing; a promise of that if
   * the IKE_SA moves by it. A reason to drop it otherwise.
   */
  openRequest(arrival: Arrival): Received | Promise<void> | 'done' | DropReason {
    const { messageId } = arrival.message.header
    if (messageId === this.#expectedRequestId - 1 && this.#keptResponse !== null) return this.#repeat(arrival)
    if (messageId !== this.#expectedRequestId) return 'out-of-window'
    const received = this.#openNextRequest(arrival)
    if (received === 'done') return this.#deadlines.heard(arrival) ?? 'done'
    if (typeof received === 'string') return received
    this.forgetFragments()
    this.#sa.lastInbound = this.#env.clock.now()
    this.#tellReceived(received, false, false)
    return received
  }

  #openNextRequest(arrival: Arrival): Received | 'done' | DropReason {
    const fragment = fragmentIn(arrival)
    if (fragment === null) return this.#sealing.open(arrival)
    const isFirst = this.#requestFragments === null
    const others = (this.#requestFragments ??= this.#sealing.newReassembly())
    const received = this.#sealing.collect(arrival, fragment, others)
    if (isFirst) {
      if (received === 'done') this.#deadlines.setDeadline('fragments', this.#env.clock.now() + FRAGMENTS_KEPT_FOR)
      else this.#requestFragments = null
    }
    return received
  }

  /** The request that was answered last: its answer once more. One in fragments asks for that by its first (RFC 7383 2.6.1). */
  #repeat(arrival: Arrival): 'done' | DropReason {
    const fragment = fragmentIn(arrival)
    if (fragment !== null && fragment.fragmentNumber !== 1) return 'out-of-window'
    const received = fragment === null ? this.#sealing.openRepeated(arrival) : this.#sealing.openLoneFragment(arrival, fragment)
    if (typeof received === 'string') return received
    this.#sa.lastInbound = this.#env.clock.now()
    this.#tellReceived(received, false, true)
    this.repeatResponse(arrival)
    return 'done'
  }

  /** The kept answer once more, along the way the repeated request came. */
  repeatResponse({ message, local, remote }: Arrival): void {
    assert(this.#keptResponse !== null, 'a repeated request has been answered before')
    const { exchangeType, messageId } = message.header
    this.#tellSent({ exchangeType, messageId, response: true }, [], this.#keptResponse, local, remote, true)
    this.#send(this.#keptResponse, local, remote)
  }

  /**
   * Answers along the way the request came (RFC 7296 2.11), not to where the IKE_SA believes the peer to be. Returns the
   * answer as on the wire, several pieces if it goes in fragments.
   */
  respond(
    request: Pick<Received, 'exchangeType' | 'messageId' | 'local' | 'remote'>,
    payloads: readonly Payload[],
  ): readonly Uint8Array[] {
    const { exchangeType, messageId, local, remote } = request
    const kind = { exchangeType, messageId, response: true }
    const sealed = this.#sealing.seal(kind, payloads, request)
    this.#keptResponse = sealed
    this.#dropFormerKeys()
    this.#expectedRequestId = messageId + 1
    this.#tellSent(kind, payloads, sealed, local, remote, false)
    this.#send(sealed, local, remote)
    return sealed.pieces
  }

  /** Throws away what has come of a request in fragments: it is complete, or was not in time. */
  forgetFragments(): void {
    if (this.#requestFragments === null) return
    this.#requestFragments = null
    this.#deadlines.clearDeadline('fragments')
  }

  /** For a piece of work: the retransmission deadline was reached. */
  retransmit(): Promise<void> | void {
    const waiting = this.#outstanding
    if (waiting === null) return
    waiting.attempt++
    const isProbing = this.#ways !== null
    if (waiting.attempt > (isProbing ? PROBE_TRIES : this.#env.settings().retransmitTries)) {
      this.#stopWaiting()
      const retransmissions = waiting.attempt - 1
      const { messageId } = waiting
      this.#env.report({ event: 'request-given-up', sa: this.#sa, messageId, retransmissions, isProbing })
      const error = new EspalierError(
        'peer-incompatible',
        PEER_SILENT,
        `peer not responding to ${waiting.attempt} transmissions of one request; is it reachable, and are UDP ports 500 and 4500 open on the way?`,
      )
      return this.#turns.drive(() => waiting.reject(error))
    }
    const { messageId, attempt } = waiting
    this.#env.report({ event: 'retransmitting', sa: this.#sa, messageId, attempt, isProbing })
    this.#transmit(waiting, [], true)
  }

  /** The IKE_SA is gone: whoever waits for an answer learns it. */
  abandon(): void {
    const waiting = this.#outstanding
    this.#stopWaiting()
    this.forgetFragments()
    this.#keptResponse = null
    this.#dropFormerKeys()
    this.#sealing.end()
    waiting?.reject(closedError())
  }

  #stopWaiting(): void {
    this.#outstanding = null
    this.#responseFragments = null
    this.#deadlines.clearDeadline('retransmit')
  }

  #transmit(request: Outstanding, payloads: readonly Payload[], isAgain: boolean): void {
    const wait = this.#ways === null ? this.#waitAfter(request.attempt) : PROBE_INTERVAL
    // The endpoints are read at each transmission: a request follows the IKE_SA to where it moved.
    const ways = this.#ways ?? [isAgain ? this.#sa : (request.way ?? this.#sa)]
    if (ways.length === 0) return this.#deadlines.clearDeadline('retransmit')
    const { exchangeType, messageId, sealed } = request
    const kind = { exchangeType, messageId, response: false }
    for (const [i, { local, remote }] of ways.entries()) {
      if (this.#ways !== null) this.#env.report({ event: 'path-checked', sa: this.#sa, local, remote })
      this.#tellSent(kind, payloads, sealed, local, remote, isAgain || i > 0)
      this.#send(sealed, local, remote)
    }
    this.#deadlines.setDeadline('retransmit', this.#env.clock.now() + wait)
  }

  #waitAfter(attempt: number): Milliseconds {
    const settings = this.#env.settings()
    const random = settings.retransmitJitter > 0 ? this.#env.entropy.bytes(1)[0]! : 0
    const wait = waitAfter(attempt, settings, random)
    assert(wait !== null, 'a request is transmitted only while tries are left')
    return wait
  }

  #send({ pieces }: Sealed, local: Endpoint, remote: Endpoint): void {
    // An answer along another way, as to port 500, keeps no mapping of the IKE_SA's own.
    if (local.equals(this.#sa.local) && remote.equals(this.#sa.remote)) this.#sa.lastOutbound = this.#env.clock.now()
    for (const piece of pieces) this.#env.network.send(withMarker(piece, local.port, this.#env.ports), local, remote)
  }

  /** Told before it leaves, so that whatever the network has to say about it comes after. */
  #tellSent(
    kind: MessageKind,
    payloads: readonly Payload[],
    { pieces, wholeLength: length }: Sealed,
    local: Endpoint,
    remote: Endpoint,
    isRetransmission: boolean,
  ): void {
    const { exchangeType, messageId, response: isResponse } = kind
    this.#env.report({
      event: 'message-sent',
      sa: this.#sa,
      exchangeType,
      isResponse,
      messageId,
      payloads,
      length,
      local,
      remote,
      isRetransmission,
      fragmentLengths: pieces.length === 1 ? null : pieces.map((piece) => piece.length),
    })
  }

  #tellReceived(received: Received, isResponse: boolean, isRetransmission: boolean): void {
    this.#env.report(receivedEvent(this.#sa, received, isResponse, isRetransmission))
  }
}

/** Tells of a message that came in; `sa` null where there is no IKE_SA for it. */
export function receivedEvent(sa: IkeSa | null, received: Received, isResponse: boolean, isRetransmission: boolean): IkeEvent {
  const { exchangeType, messageId, payloads, length, isReassembled, local, remote } = received
  return {
    event: 'message-received',
    sa,
    exchangeType,
    isResponse,
    messageId,
    payloads,
    length,
    local,
    remote,
    isRetransmission,
    isReassembled,
  }
}

/** Tells of a datagram that is not heard; `header` null where it has none. */
export function droppedEvent({ local, remote }: Way, reason: DropReason, header: Header | null): IkeEvent {
  return { event: 'datagram-dropped', remote, local, reason, header }
}

function isSame(some: readonly Way[] | null, others: readonly Way[] | null): boolean {
  if (some === null || others === null) return some === others
  return (
    some.length === others.length &&
    some.every((way, i) => way.local.equals(others[i]!.local) && way.remote.equals(others[i]!.remote))
  )
}

/** Whether an answer came along this way; a NAT may have given the peer's end another port. */
function leads(way: Way, { local, remote }: Arrival): boolean {
  return way.local.equals(local) && way.remote.address.equals(remote.address)
}

/** Null when the message came in one piece, as an IKE_SA_INIT always does. */
function fragmentIn({ message }: Arrival): SkfPayload | null {
  const last = message.payloads.at(-1)
  return last?.kind === 'SKF' && message.header.exchangeType !== ExchangeType.IKE_SA_INIT ? last : null
}

function closedError(): EspalierError {
  return new EspalierError('caller', SA_CLOSED, 'the IKE_SA was closed while its exchange was under way')
}
