/**
 * IKE_FOLLOWUP_KE (RFC 9370 2.2.4): the additional key exchanges that were chosen in a CREATE_CHILD_SA exchange, one
 * after the other behind it. Before the last one there are no keys, and nothing that anybody could use or delete:
 *
 *   HDR, SK { ..., SA, Ni, KEi, ... }  -->
 *                     <--  HDR, SK { SA, Nr, KEr, ..., N(ADDITIONAL_KEY_EXCHANGE)(link 1) }
 *   HDR, SK { KEi(1), N(ADDITIONAL_KEY_EXCHANGE)(link 1) }  -->
 *                     <--  HDR, SK { KEr(1), N(ADDITIONAL_KEY_EXCHANGE)(link 2) }
 *   HDR, SK { KEi(2), N(ADDITIONAL_KEY_EXCHANGE)(link 2) }  -->
 *                     <--  HDR, SK { KEr(2) }
 *
 * Of two such exchanges that do the same, the one with the lowest nonce stops after its CREATE_CHILD_SA response; who has
 * begun the next one answers TEMPORARY_FAILURE to a peer that wants the same.
 */
import { assert } from '../base/assert.ts'
import { equalBytes } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { MINUTE, type Milliseconds } from '../base/time.ts'
import type { Secret } from '../crypto/secret.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../iana/ikev2.ts'
import { find, findErrorNotify, findNotify, notify } from '../message/ikev2/find.ts'
import type { NotifyPayload, Payload } from '../message/ikev2/payload.ts'
import type { Received } from './exchange.ts'
import { ExchangeFailure, misbehaved, refusedByPeer } from './failure.ts'
import { HalfMade, type Making } from './half-made.ts'
import { rejectUnknownCritical } from './init.ts'
import { ask } from './liveness.ts'
import type { Session } from './session.ts'

/** Our limit for one IKE_SA: a peer in order has one at a time, or has given up those before it. The oldest goes. */
const HALF_MADE_MAX = 4
/**
 * How long the peer may take from one exchange to the next. RFC 9370 2.2.4 finds 5 to 20 s appropriate in most cases; this
 * is five transmissions of a request by the default settings, for whoever is asked again has lost all that was done.
 */
const PATIENCE: Milliseconds = MINUTE
const LINK_LENGTH = 16
/** Our limit for a peer's, which goes back to it beside a public value: no message of ours may be longer than a datagram. */
const LINK_LENGTH_MAX = 4096
/** RFC 9370 2.2.4: a peer that has forgotten several in a row has something wrong with it. */
const STATES_LOST_MAX = 5

const COLLISION_LOST = 'COLLISION_LOST'

/** Ours stops: the peer's exchange, which does the same, is the one that goes on. */
export function collisionLost(): EspalierError {
  return new EspalierError('peer-incompatible', COLLISION_LOST, 'the peer is doing the same, and its exchange goes on')
}

export function isCollisionLost(error: unknown): boolean {
  return error instanceof EspalierError && error.code === COLLISION_LOST
}

/** The initiator's side of all that come after one CREATE_CHILD_SA exchange. */
export class FollowUps {
  /** The peer has answered the last one, and has what comes of it, though what it said may be of no use to us. */
  isAnswered: boolean
  readonly #methods: readonly number[]
  readonly #secrets: Secret[] = []

  constructor(methods: readonly number[]) {
    this.#methods = methods
    this.isAnswered = methods.length === 0
  }

  /** Whether there are any. */
  get isNeeded(): boolean {
    return this.#methods.length > 0
  }

  /** SK(1) to SK(n). */
  get secrets(): readonly Secret[] {
    return this.#secrets
  }

  /** One exchange after the other; `first` is the CREATE_CHILD_SA response. Throws an EspalierError. */
  async run(session: Session, first: Received): Promise<void> {
    let answer = first
    for (const method of this.#methods) answer = await this.#exchange(session, method, linkIn(answer))
    if (this.isNeeded) session.statesLost = 0
  }

  async #exchange(session: Session, method: number, link: Uint8Array): Promise<Received> {
    const keyExchange = await session.env.keyExchanges.generate(method)
    try {
      const answer = await session.exchanges.request(ExchangeType.IKE_FOLLOWUP_KE, [
        { kind: 'KE', group: method, data: keyExchange.publicValue },
        notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link),
      ])
      const error = findErrorNotify(answer.payloads)
      this.isAnswered = error === null && this.#secrets.length === this.#methods.length - 1
      if (answer.malformed !== null) throw answer.malformed
      rejectUnknownCritical(answer)
      if (error?.notifyType === NotifyType.STATE_NOT_FOUND) session.statesLost++
      if (error !== null) throw refusedByPeer(error.notifyType)
      const ke = find(answer.payloads, 'KE')
      if (ke === null || ke.group !== method) throw misbehaved('an IKE_FOLLOWUP_KE response without the KE payload of its method')
      this.#secrets.push(await keyExchange.agree(ke.data))
      return answer
    } finally {
      keyExchange.destroy()
    }
  }

  destroy(): void {
    for (const secret of this.#secrets) secret.destroy()
    this.#secrets.length = 0
  }
}

function linkIn({ payloads }: Received): Uint8Array {
  const link = findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
  if (link === null)
    throw misbehaved('ADDITIONAL_KEY_EXCHANGE notify missing: the peer chose key exchanges that it does not lead to')
  if (link.data.length > LINK_LENGTH_MAX)
    throw misbehaved(`data in ADDITIONAL_KEY_EXCHANGE notify is ${link.data.length} octets long, more than ${LINK_LENGTH_MAX}`)
  return link.data.slice()
}

/** A peer that goes on forgetting is told that the IKE_SA ends (RFC 9370 2.2.4). For an own exchange that has failed. */
export async function endIfForgetful(session: Session): Promise<void> {
  if (session.statesLost < STATES_LOST_MAX || session.sa.state !== 'established') return
  session.env.report({ event: 'delete-sent', sa: session.sa, child: null })
  await ask(session, [{ kind: 'Delete', protocol: ProtocolId.IKE, spis: [] }])
  await session.losePeer()
}

/**
 * The responder's side of CREATE_CHILD_SA has answered all but the key exchanges of `methods`: keeps what there is, and
 * returns the notify that ends its answer. What was there to do the same is forgotten: the peer has given it up.
 */
export function keepHalfMade(session: Session, making: Making, methods: readonly number[]): NotifyPayload {
  const { replaces } = making
  if (replaces !== null) forgetHalfMade(session, (other) => other.making.replaces === replaces)
  const [oldest] = session.halfMade
  if (oldest !== undefined && session.halfMade.length >= HALF_MADE_MAX) forgetHalfMade(session, (other) => other === oldest)
  const halfMade = new HalfMade(making, methods, newLink(session), session.env.clock.now() + PATIENCE)
  session.setHalfMade([...session.halfMade, halfMade])
  return linkTo(halfMade)
}

/** The responder's side. `conclude` is called when the answer has left. Throws ExchangeFailure whose notify is the answer, KernelError. */
export async function respondFollowUp(
  session: Session,
  request: Received,
): Promise<{ readonly payloads: readonly Payload[]; readonly conclude: () => void }> {
  rejectUnknownCritical(request)
  const link = findNotify(request.payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
  if (link === null) throw misbehaved('ADDITIONAL_KEY_EXCHANGE notify missing in an IKE_FOLLOWUP_KE request')
  const halfMade = session.halfMade.find((candidate) => equalBytes(candidate.link, link.data))
  if (halfMade === undefined) throw stateNotFound()
  try {
    halfMade.making.check()
    const payload = await answerNext(session, request, halfMade)
    if (halfMade.next !== null) {
      halfMade.link = newLink(session)
      halfMade.until = session.env.clock.now() + PATIENCE
      session.setHalfMade(session.halfMade)
      return { payloads: [payload, linkTo(halfMade)], conclude: () => {} }
    }
    // What may have changed meanwhile. From here on it holds up nothing any more.
    halfMade.making.check()
    takeOut(session, halfMade)
    const conclude = await halfMade.making.finish(halfMade.secrets)
    halfMade.end()
    return { payloads: [payload], conclude }
  } catch (error) {
    // Whatever it was: the peer, that is told so, will not go on with it.
    takeOut(session, halfMade)
    await halfMade.abandon()
    throw error
  }
}

async function answerNext(session: Session, { payloads }: Received, halfMade: HalfMade): Promise<Payload> {
  const method = halfMade.next
  assert(method !== null, 'what has all its secrets is not half made')
  const ke = find(payloads, 'KE')
  if (ke === null || ke.group !== method)
    throw misbehaved('an IKE_FOLLOWUP_KE request without the KE payload of the key exchange that is next')
  const { publicValue, secret } = await session.env.keyExchanges.answer(method, ke.data)
  halfMade.add(secret)
  if (!session.halfMade.includes(halfMade)) throw stateNotFound()
  return { kind: 'KE', group: method, data: publicValue }
}

/** The peer's exchange is not to come about. */
export function forgetHalfMade(session: Session, isMeant: (halfMade: HalfMade) => boolean): void {
  for (const halfMade of session.halfMade.filter(isMeant)) {
    takeOut(session, halfMade)
    void halfMade.abandon()
  }
}

function takeOut(session: Session, halfMade: HalfMade): void {
  session.setHalfMade(session.halfMade.filter((other) => other !== halfMade))
}

/** The deadline for the peer's next request was reached. */
export function handleFollowUpDeadline(session: Session): void {
  const { sa, env } = session
  const now = env.clock.now()
  if (session.halfMade.some(({ until }) => until <= now)) env.report({ event: 'follow-up-missing', sa, patience: PATIENCE })
  forgetHalfMade(session, ({ until }) => until <= now)
  session.setHalfMade(session.halfMade)
}

function linkTo({ link }: HalfMade): NotifyPayload {
  return notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)
}

function newLink({ env }: Session): Uint8Array {
  return env.entropy.bytes(LINK_LENGTH)
}

function stateNotFound(): ExchangeFailure {
  return new ExchangeFailure(
    'peer-incompatible',
    'STATE_NOT_FOUND',
    "data in ADDITIONAL_KEY_EXCHANGE notify doesn't match: what it was to go on with is over, or never was",
    NotifyType.STATE_NOT_FOUND,
  )
}
