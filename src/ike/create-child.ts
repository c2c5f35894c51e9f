/**
 * CREATE_CHILD_SA for a CHILD_SA (RFC 7296 1.3.1, 1.3.3), another one or in the place of an old one, as initiator
 * (create-child-answer.ts has the responder):
 *
 *   HDR, SK { [N(REKEY_SA)], [N(USE_TRANSPORT_MODE)], SA, Ni, [KEi], TSi, TSr }  -->
 *                               <--  HDR, SK { [N(USE_TRANSPORT_MODE)], SA, Nr, [KEr], TSi, TSr }
 *
 * KE is there where the proposals have a group: perfect forward secrecy is the proposals' choice. Further key exchanges
 * may follow (follow-up.ts).
 */
import { isDeepStrictEqual } from 'node:util'

import { Writer } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { Milliseconds } from '../base/time.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../iana/ikev2.ts'
import { find, findNotify, notify } from '../message/ikev2/find.ts'
import { additionalKeyExchanges, childSuiteOf } from '../negotiate/proposals.ts'
import type { KeyExchange } from '../ports.ts'
import {
  childDelete,
  installChild,
  offerChild,
  readChildAnswer,
  trafficOf,
  withdrawChild,
  type Agreement,
  type ChildContributions,
  type ChildOffer,
} from './child.ts'
import { configuredTraffic, isCarriedBy, sameTraffic, type AskedTraffic } from './asked-traffic.ts'
import type { ChildConnection } from './connection.ts'
import { isPeerSilent, SA_CLOSED, type Received } from './exchange.ts'
import { ExchangeFailure, isTemporary, misbehaved, notNow } from './failure.ts'
import { endIfForgetful, FollowUps } from './follow-up.ts'
import { groupDemanded, preferredGroup, secretAsInitiator } from './groups.ts'
import { rejectUnknownCritical } from './init.ts'
import { ask } from './liveness.ts'
import { newNonce } from './nonces.ts'
import { retryDelay } from './retry.ts'
import { isUsable, type ChildSa, type IkeSa } from './sa.ts'
import type { Session, WantedChild } from './session.ts'

/** The peer may want another group than we guess, once; one that goes on asking is given up. */
const ATTEMPTS_MAX = 3
/** How often a CHILD_SA is asked for again that the peer had no time for: for some minutes. */
const PUT_OFF_MAX = 10
/** RFC 7296 3.3.2: the group NONE. */
const NO_GROUP = 0

/** What an exchange made, before it is installed. */
export interface MadeChild {
  readonly offer: ChildOffer
  readonly agreed: Agreement
  readonly contributions: ChildContributions
  /** The peer has deleted it already: that came before its answer, which was lost. */
  readonly isOver: boolean
}

/** The initiator's side: another CHILD_SA, or what the peer has made meanwhile. Throws an EspalierError after everything of it is gone, with the peer too. */
export async function createChild(session: Session, connection: ChildConnection, asked?: AskedTraffic): Promise<ChildSa> {
  const { sa, env } = session
  if (sa.state !== 'established')
    throw new ExchangeFailure('caller', 'NOT_ESTABLISHED', `there is no IKE_SA any more to make child ${connection.name} in`)
  if (isHalfMade(session, connection, asked)) throw notNow(`the peer is making child ${connection.name}`)
  const made = await requestChild(session, connection, null, asked)
  const { localSelectors, remoteSelectors } = made.agreed
  const traffic = trafficOf(localSelectors, remoteSelectors)
  const twin = sa.children.find((child) => child.connection === connection && child.traffic === traffic && isUsable(child))
  // Both have asked for it at the same time. What the IKE_SA's first initiator made stays.
  if (twin === undefined || sa.originalRole === 'initiator') return adoptMade(session, made, null)
  await disown(session, made)
  env.report({ event: 'child-duplicate', sa, child: twin })
  return twin
}

/**
 * Makes another CHILD_SA when the exchanges before it are over. What it comes to is reported; resolves to it, or to one
 * that is there already, rejects with the EspalierError. If the IKE_SA is lost or replaced before that, it is made in
 * the one that comes after it, unless it is to come in the place of one of `old`, which still has that.
 */
export async function addChild(
  session: Session,
  connection: ChildConnection,
  asked?: AskedTraffic,
  old: Session | null = null,
): Promise<ChildSa> {
  const make = (current: Session): Promise<ChildSa | EspalierError> => tryCreateChild(current, connection, asked)
  const outcome = await inLasting(session, make, { connection, asked }, old)
  if (outcome === null) throw new EspalierError('caller', 'NOT_ESTABLISHED', `the IKE_SA of child ${connection.name} is gone`)
  if (outcome instanceof EspalierError) throw outcome
  return outcome
}

/** The same a little later, unless the peer has made it by then. */
export async function addChildLater(
  session: Session,
  connection: ChildConnection,
  asked: AskedTraffic | undefined,
  delay: Milliseconds = retryDelay(session.env.entropy),
): Promise<ChildSa> {
  await session.putOff(delay, { connection, asked })
  return addChild((await session.heir) ?? session.last, connection, asked)
}

/**
 * Runs an exchange that makes a CHILD_SA on the IKE_SA, or on the one that is being made in its place, also when it is
 * found to be lost by this very exchange (strongSwan: adopt_child_tasks). A peer that has no time for it now is asked
 * again, for minutes (RFC 7296 2.25).
 */
export async function inLasting<Outcome>(
  session: Session,
  make: (current: Session) => Promise<Outcome | EspalierError>,
  wanted?: WantedChild,
  old: Session | null = null,
  patience = PUT_OFF_MAX,
): Promise<Outcome | EspalierError | null> {
  let at = holderOf(session, wanted)
  let outcome: Outcome | EspalierError | null = null
  await at.runExchange(
    async (current) => {
      at = current
      if (current.heir === null) outcome = await make(current)
    },
    'create-child',
    wanted,
  )
  const isPutOff = patience > 0 && isTemporary(outcome)
  if (isPutOff) await at.putOff(retryDelay(at.env.entropy), wanted)
  const isUndone = outcome === null || isLost(outcome)
  if (!isPutOff && (at.heir === null || !isUndone)) return outcome
  if (old !== null && old.last.sa.state !== 'closed' && at.last.sa.state === 'closed') return outcome
  // When no other one came about, this one may stand all the same.
  const next = (await at.heir) ?? at.last
  return holderOf(next, wanted).sa.state === 'closed'
    ? outcome
    : inLasting(next, make, wanted, old, isPutOff ? patience - 1 : patience)
}

/** Another IKE_SA with the same peer that has it, and is there to stay: one is enough, unless there may be any number. */
function holderOf(session: Session, wanted: WantedChild | undefined): Session {
  if (wanted === undefined || session.sa.connection?.unique === 'never') return session
  const { connection, asked } = wanted
  const has = ({ sa }: Session): boolean => sa.children.some((child) => isDuplicate(sa, child, connection, asked))
  const staying = session.twins.filter(({ isLeaving, isReauthenticating }) => !isLeaving && !isReauthenticating)
  return [session, ...staying].find(has) ?? session
}

/** Whether the IKE_SA was lost, rather than a CHILD_SA refused in it. */
export function isLost(outcome: unknown): boolean {
  return (
    outcome instanceof EspalierError &&
    (isPeerSilent(outcome) || outcome.code === SA_CLOSED || outcome.code === 'NOT_ESTABLISHED')
  )
}

/** The same within an own exchange that is under way. */
export async function tryCreateChild(
  session: Session,
  connection: ChildConnection,
  asked?: AskedTraffic,
): Promise<ChildSa | EspalierError> {
  const { sa, env } = session
  const before = duplicateIn(session, connection, asked)
  if (before !== null) return before
  try {
    return await createChild(session, connection, asked)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    // It was refused because the peer is making it.
    const meanwhile = duplicateIn(session, connection, asked)
    if (meanwhile !== null) return meanwhile
    // One that is made in another IKE_SA then has not failed yet.
    if (session.heir === null || !isLost(error)) env.report({ event: 'child-failed', sa, name: connection.name, error })
    return error
  }
}

/**
 * strongSwan: there is no second CHILD_SA of a kind in an IKE_SA, which somebody may have made since this one was asked
 * for. Who asks for nothing in particular gets what there is.
 */
function duplicateIn({ sa, env }: Session, connection: ChildConnection, asked: AskedTraffic | undefined): ChildSa | null {
  const child = sa.children.find((candidate) => isDuplicate(sa, candidate, connection, asked))
  if (child === undefined) return null
  env.report({ event: 'child-duplicate', sa, child })
  return child
}

/** The peer has begun one of a kind, or to replace it, and has key exchanges to do before it has it (follow-up.ts). */
function isHalfMade({ sa, halfMade }: Session, connection: ChildConnection, asked = configuredTraffic(connection)): boolean {
  return halfMade.some(
    ({ making: { child } }) => child !== null && child.connection === connection && isCarriedBy(child, asked, sa),
  )
}

function isDuplicate(sa: IkeSa, child: ChildSa, connection: ChildConnection, asked: AskedTraffic | undefined): boolean {
  return (
    isUsable(child) &&
    (child.connection === connection || isDeepStrictEqual(child.connection, connection)) &&
    (asked === undefined || isCarriedBy(child, asked, sa))
  )
}

/** Hears of both nonces when additional key exchanges are to follow, and throws if the peer's exchange goes on instead (RFC 9370 2.2.4). */
type Contest = (nonceInitiator: Uint8Array, nonceResponder: Uint8Array) => void

/** The exchange as initiator, up to keys. Throws an EspalierError after everything of it is gone, with the peer too. */
export async function requestChild(
  session: Session,
  connection: ChildConnection,
  old: ChildSa | null,
  asked?: AskedTraffic,
  contest: Contest = () => {},
): Promise<MadeChild> {
  const offer = await offerChild(session, connection, 'with-ke', old === null ? asked : sameTraffic(old), old?.separation)
  const { localSelectors, remoteSelectors } = offer
  const request = { connection, old, localSelectors, remoteSelectors, deletedEarly: new Set<number>(), isFollowedUp: false }
  session.childRequest = request
  const heard: Heard = { answer: null, keyExchange: null }
  let followUps: FollowUps | null = null
  try {
    const { answer, nonce, keyExchange } = await negotiate(session, offer, old, heard)
    const agreed = readChildAnswer(session, offer, answer.payloads)
    const peerNonce = find(answer.payloads, 'Nonce')
    if (peerNonce === null) throw misbehaved('a CREATE_CHILD_SA response without Nonce payload')
    const nonces = { nonceInitiator: nonce, nonceResponder: peerNonce.data.slice() }
    followUps = new FollowUps(additionalKeyExchanges(agreed.proposal))
    const sharedSecret = await secretAsInitiator(childSuiteOf(agreed.proposal).ke, keyExchange, answer.payloads)
    try {
      if (followUps.isNeeded) {
        contest(nonces.nonceInitiator, nonces.nonceResponder)
        request.isFollowedUp = true
        await followUps.run(session, answer)
      }
    } catch (error) {
      sharedSecret?.destroy()
      throw error
    }
    const contributions = { ...nonces, sharedSecret, additionalSecrets: followUps.secrets }
    return { offer, agreed, contributions, isOver: request.deletedEarly.has(agreed.outboundSpi) }
  } catch (error) {
    followUps?.destroy()
    await withdrawChild(session, offer)
    if (isPeerSilent(error)) await session.losePeer()
    // The responder believes in a CHILD_SA that we could not take (RFC 7296 1.4.1).
    else if (heard.answer !== null && isMadeByPeer(heard.answer, followUps)) await ask(session, [childDelete([offer.inboundSpi])])
    else await endIfForgetful(session)
    throw error
  } finally {
    heard.keyExchange?.destroy()
    session.childRequest = null
  }
}

/** The last CREATE_CHILD_SA response, and our half of the key exchange in it. */
interface Heard {
  answer: Received | null
  keyExchange: KeyExchange | null
}

function isMadeByPeer({ payloads, malformed }: Received, followUps: FollowUps | null): boolean {
  // Nobody knows.
  if (malformed !== null) return true
  if (find(payloads, 'SA') === null) return false
  return followUps === null ? findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE) === null : followUps.isAnswered
}

/** The CREATE_CHILD_SA exchange, once more if the peer wants another group. What comes is put into `heard` as well. */
async function negotiate(
  session: Session,
  offer: ChildOffer,
  old: ChildSa | null,
  heard: Heard,
): Promise<{ readonly answer: Received; readonly nonce: Uint8Array; readonly keyExchange: KeyExchange | null }> {
  const { env, exchanges } = session
  const { proposals } = offer.connection
  let group = preferredGroup(proposals, old === null ? null : childSuiteOf(old.proposal).ke)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    heard.keyExchange?.destroy()
    const keyExchange = group === null ? null : await env.keyExchanges.generate(group)
    heard.keyExchange = keyExchange
    const nonce = newNonce(env.entropy)
    const answer = await exchanges.request(ExchangeType.CREATE_CHILD_SA, [
      ...(old === null ? [] : [notify(NotifyType.REKEY_SA, undefined, ProtocolId.ESP, spiBytes(old.inboundSpi))]),
      ...offer.notifies,
      offer.proposals,
      { kind: 'Nonce', data: nonce },
      ...(keyExchange === null ? [] : [{ kind: 'KE', group: keyExchange.group, data: keyExchange.publicValue } as const]),
      ...offer.selectors,
    ])
    heard.answer = answer
    if (answer.malformed !== null) throw answer.malformed
    rejectUnknownCritical(answer)
    const demanded = groupDemanded(answer.payloads, proposals, group)
    if (demanded === null) return { answer, nonce, keyExchange }
    env.report({ event: 'key-exchange-retry', sa: session.sa, refused: group ?? NO_GROUP, group: demanded })
    group = demanded
  }
  throw misbehaved(`the peer answered ${ATTEMPTS_MAX} CREATE_CHILD_SA requests with another group each`)
}

/** Installs what the exchange made, another CHILD_SA or one in the place of `old`. Throws KernelError after the peer was told to forget it. */
export async function adoptMade(session: Session, made: MadeChild, old: ChildSa | null): Promise<ChildSa> {
  const child = await installMade(session, made)
  session.adopt(child, old)
  if (made.isOver) session.loseChild(child)
  return child
}

/** Both directions. */
async function installMade(session: Session, made: MadeChild): Promise<ChildSa> {
  try {
    return await installChild(session, made.agreed, made.contributions)
  } catch (error) {
    await disown(session, made)
    throw error
  } finally {
    forgetSecrets(made)
  }
}

function forgetSecrets({ contributions: { sharedSecret, additionalSecrets = [] } }: MadeChild): void {
  sharedSecret?.destroy()
  for (const secret of additionalSecrets) secret.destroy()
}

/** The CHILD_SA is not wanted after all: the peer, who has it, is told. */
export async function disown(session: Session, made: MadeChild): Promise<void> {
  forgetSecrets(made)
  await withdrawChild(session, made.offer)
  await ask(session, [childDelete([made.offer.inboundSpi])])
}

function spiBytes(spi: number): Uint8Array {
  return new Writer(4).u32(spi).finish()
}
