/**
 * Who is not known yet: requests for an IKE_SA (IKE_SA_INIT as far as the responder's exchange, init.ts), and of other
 * versions of IKE; what a stranger must show before anything is spent on it, and what it is told in the clear.
 */
import { toHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { Endpoint } from '../base/ip.ts'
import { sha1 } from '../crypto/digest.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { findNotify, notify } from '../message/ikev2/find.ts'
import { writeMessage, type HeaderFields } from '../message/ikev2/message.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { withMarker } from '../nat/ports.ts'
import { Cookies } from './cookies.ts'
import type { Environment } from './environment.ts'
import type { DropReason } from './events.ts'
import { droppedEvent, receivedEvent, type Arrival, type Received } from './exchange.ts'
import { notifyFor } from './failure.ts'
import { HalfOpen } from './half-open.ts'
import { readInitRequest, respondInit } from './init.ts'
import { connectionsBetween } from './matching.ts'
import type { Session } from './session.ts'

/** What the shard is to them. */
export interface Host {
  readonly count: number
  readonly isStopping: boolean
  sessions(): readonly Session[]
  /** A new IKE_SA for a responder, in the table. */
  admit(local: Endpoint, remote: Endpoint): Session
  /** Has a datagram for an IKE_SA wait for its turn. */
  queue(session: Session, arrival: Arrival, work: () => void): void
}

export class Strangers {
  readonly #env: Environment
  readonly #host: Host
  readonly #cookies: Cookies
  readonly #halfOpen = new HalfOpen<Session>()
  /** By Session.initHash. */
  readonly #byInitHash = new Map<string, Session>()

  constructor(env: Environment, host: Host) {
    this.#env = env
    this.#host = host
    this.#cookies = new Cookies(env.entropy)
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size
  }

  /** Takes in an IKE_SA_INIT request. */
  handleInit(arrival: Arrival): void {
    const { header, payloads } = arrival.message
    if (!header.fromInitiator || header.responderSpi !== 0n || header.initiatorSpi === 0n || header.messageId !== 0)
      return this.#drop(arrival, 'unexpected')
    const hash = toHex(sha1(arrival.bytes))
    const known = this.#byInitHash.get(hash)
    if (known !== undefined) return this.#host.queue(known, arrival, () => this.#repeatInit(known, arrival))
    if (this.#host.isStopping) return this.#drop(arrival, 'unexpected')

    const { remote, local } = arrival
    const received = receivedInTheClear(arrival)
    const now = this.#env.clock.now()
    const cookie = findNotify(payloads, NotifyType.COOKIE)?.data ?? null
    const verdict = this.#halfOpen.judge(
      remote.address.toString(),
      this.#cookies.judge(cookie, header.initiatorSpi, remote.address, now),
      this.#env.settings(),
      {
        ikeSas: this.#host.count,
        waiting: () => this.#host.sessions().reduce((sum, { turns }) => sum + turns.waiting, 0),
      },
      now,
    )
    if (verdict === 'cookie') {
      this.#env.report(receivedEvent(null, received, false, false))
      this.#env.report({ event: 'cookie-demanded', remote })
      return this.#answer(arrival, notify(NotifyType.COOKIE, this.#cookies.bake(header.initiatorSpi, remote.address, now)))
    }
    if (verdict !== 'heard') return this.#drop(arrival, verdict)
    try {
      const candidates = connectionsBetween(this.#env.connections(), { local, remote })
      const request = readInitRequest(received, header.initiatorSpi, candidates)
      const session = this.#beginResponding(received, header.initiatorSpi, hash)
      session.enqueue(async () => {
        try {
          await respondInit(session, request)
        } catch (error) {
          this.#refuseInit(arrival, error)
          await session.close('failed')
        }
      })
    } catch (error) {
      this.#env.report(receivedEvent(null, received, false, false))
      this.#refuseInit(arrival, error)
    }
  }

  /** RFC 7296 2.5: a request of another major version hears which one we speak. */
  refuseVersion(arrival: Arrival): void {
    const { header } = arrival.message
    this.#drop(arrival, 'version')
    if (!header.response && header.majorVersion > 2) this.#answer(arrival, notify(NotifyType.INVALID_MAJOR_VERSION))
  }

  /** Whose IKE_SA_INIT was answered in another program. */
  resumed(session: Session): void {
    if (session.initHash !== null) this.#byInitHash.set(session.initHash, session)
  }

  established(session: Session): void {
    this.#halfOpen.remove(session)
  }

  closed(session: Session): void {
    if (session.initHash !== null) this.#byInitHash.delete(session.initHash)
    this.#halfOpen.remove(session)
  }

  /** From here on the stranger costs us something: an entry in every table, and soon a key exchange. */
  #beginResponding(request: Received, initiatorSpi: bigint, hash: string): Session {
    const session = this.#host.admit(request.local, request.remote)
    session.sa.peerSpi = initiatorSpi
    session.initHash = hash
    this.#byInitHash.set(hash, session)
    this.#halfOpen.add(session, request.remote.address.toString())
    session.setDeadline('half-open', this.#env.clock.now() + this.#env.settings().halfOpenTimeout)
    this.#env.report(receivedEvent(session.sa, request, false, false))
    this.#env.report({ event: 'ike-responding', sa: session.sa })
    return session
  }

  #refuseInit(arrival: Arrival, error: unknown): void {
    if (!(error instanceof EspalierError)) throw error
    this.#env.report({ event: 'request-refused', remote: arrival.remote, local: arrival.local, error })
    this.#answer(arrival, notifyFor(error) ?? notify(NotifyType.INVALID_SYNTAX))
  }

  #repeatInit(session: Session, arrival: Arrival): void {
    // Once another request was answered the kept response is another one, and this datagram a straggler or replayed.
    if (session.opening === null || !session.exchanges.hasAnsweredOnlyInit) return this.#drop(arrival, 'out-of-window')
    this.#env.report(receivedEvent(session.sa, receivedInTheClear(arrival), false, true))
    session.exchanges.repeatResponse(arrival)
  }

  /** One notify in the clear, with the SPIs and the message ID that the stranger used. */
  #answer(arrival: Arrival, payload: Payload): void {
    const { local, remote } = arrival
    const { initiatorSpi, responderSpi, exchangeType, fromInitiator, messageId } = arrival.message.header
    const answer: HeaderFields = {
      initiatorSpi,
      responderSpi,
      exchangeType,
      fromInitiator: !fromInitiator,
      response: true,
      messageId,
    }
    const bytes = writeMessage(answer, [payload])
    this.#env.report({
      event: 'message-sent',
      sa: null,
      exchangeType,
      isResponse: true,
      messageId,
      payloads: [payload],
      length: bytes.length,
      fragmentLengths: null,
      local,
      remote,
      isRetransmission: false,
    })
    this.#env.network.send(withMarker(bytes, local.port, this.#env.ports), local, remote)
  }

  #drop(arrival: Arrival, reason: DropReason): void {
    this.#env.report(droppedEvent(arrival, reason, arrival.message.header))
  }
}

/** An IKE_SA_INIT: nothing of it is protected. */
function receivedInTheClear({ message, bytes, local, remote }: Arrival): Received {
  const { header, payloads, unknownCritical } = message
  return { ...header, payloads, unknownCritical, malformed: null, bytes, isReassembled: false, octets: null, local, remote }
}
