/**
 * An IKE_SA is replaced by a new one that takes over its CHILD_SAs (RFC 7296 1.3.2, 2.8, 2.18):
 *
 *   HDR, SK { SA, Ni, KEi }  -->
 *        <--  HDR, SK { SA, Nr, KEr }
 *
 * When both sides do so at once (2.8.2), the new IKE_SA of the exchange with the lowest nonce goes, deleted by who
 * began it, and the old one is deleted by who began the other. Where further key exchanges follow (follow-up.ts), the new
 * one is there after the last of them, and it is decided before them which one goes on.
 */
import { assert } from '../base/assert.ts'
import { Reader, toHex, Writer } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { MINUTE, type Milliseconds } from '../base/time.ts'
import { deriveRekeyedIkeKeys } from '../crypto/keys.ts'
import type { Secret } from '../crypto/secret.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../iana/ikev2.ts'
import { find, findErrorNotify, findNotify } from '../message/ikev2/find.ts'
import type { Payload, WireProposal } from '../message/ikev2/payload.ts'
import {
  additionalKeyExchanges,
  checkChosen,
  chooseProposal,
  suiteOf,
  toWire,
  toWireChosen,
  type ChosenTransforms,
  type SuiteProposal,
} from '../negotiate/proposals.ts'
import { startOver } from './actions.ts'
import { deleteIkeSa } from './delete.ts'
import { isPeerSilent, type Received } from './exchange.ts'
import { ExchangeFailure, misbehaved, notNow, refusedByPeer } from './failure.ts'
import { collisionLost, endIfForgetful, FollowUps, forgetHalfMade, isCollisionLost, keepHalfMade } from './follow-up.ts'
import { groupDemanded, preferredGroup, secretAsInitiator, secretAsResponder } from './groups.ts'
import type { Making } from './half-made.ts'
import { rejectUnknownCritical } from './init.ts'
import { beginLife } from './lifetimes.ts'
import { startKeepalives } from './keepalive.ts'
import { compareNonces, lowestNonce, newNonce } from './nonces.ts'
import { retryDelay } from './retry.ts'
import type { Session } from './session.ts'

type Rival = NonNullable<NonNullable<Session['ikeRekey']>['rival']>

const ATTEMPTS_MAX = 3
const IKE_SPI_LENGTH = 8
/** Our limit: IKE_SAs, replaced one after the other, that the peer has not deleted. One in order deletes each before the next. */
const ELDERS_MAX = 8
/** How long the peer has to delete what it has replaced: longer than it sends one request again (165 s). */
const DELETE_PATIENCE: Milliseconds = 4 * MINUTE

/** Replaces the IKE_SA. What does not come about is reported and tried again. */
export async function rekeyIkeSa(session: Session): Promise<void> {
  const { sa, env } = session
  if (sa.state !== 'established') return
  // strongSwan: what is about to be replaced altogether is not rekeyed; should that fail, it is. So is what the peer replaces.
  if (session.isReauthenticating || session.isBeingReplaced) return void rekeyLater(session)
  session.ikeRekey = { rival: null, isFollowedUp: false }
  const successor = session.openSuccessor('initiator')
  let nonces: readonly [Uint8Array, Uint8Array]
  const heard: Heard = { isMadeByPeer: false }
  try {
    nonces = await request(session, successor, heard)
  } catch (error) {
    const rival = endRekey(session)
    await successor.close('failed')
    if (isPeerSilent(error)) {
      // The peer may have asked for the same before; nobody else would end what we made for that.
      await rival?.session.close('peer-silent')
      await session.losePeer()
    }
    if (!(error instanceof EspalierError)) throw error
    // The peer refused because it was doing the same: its IKE_SA takes over.
    if (rival !== null && isThere(rival)) return takeOver(session, rival.session)
    await endIfForgetful(session)
    if (sa.state !== 'established') return
    if (heard.isMadeByPeer) {
      // It has our CHILD_SAs in an IKE_SA in which nobody can speak.
      env.report({ event: 'ike-rekey-failed', sa, error, retryIn: null })
      return startOver(session)
    }
    const retryIn = rekeyLater(session)
    // It is about to be there.
    if (!session.isBeingReplaced && !isCollisionLost(error)) env.report({ event: 'ike-rekey-failed', sa, error, retryIn })
    return
  }
  const rival = endRekey(session)
  // The peer has decided first, and shown it by using its own (confirmByUse).
  if (sa.state !== 'established') return discard(successor)
  if (rival !== null && loses(nonces, rival)) {
    // If that is gone again, the peer is about to delete the old one as well.
    if (isThere(rival)) takeOver(session, rival.session)
    await discard(successor)
    return
  }
  // The peer does not go on with what it began, or is about to delete what it made.
  forgetHalfMade(session, ({ making }) => making.replaces === 'ike')
  if (rival !== null && isThere(rival)) awaitDelete(rival.session)
  takeOver(session, successor)
  await deleteIkeSa(session, 'rekeyed')
}

/** By the nonces of both exchanges. */
function loses(nonces: readonly [Uint8Array, Uint8Array], rival: Rival): boolean {
  return compareNonces(lowestNonce(...nonces), rival.lowestNonce) < 0
}

/** Our exchange has others to follow: whether it goes on is decided before them (RFC 9370 2.2.4). Throws if it does not. */
function contest(session: Session, nonces: readonly [Uint8Array, Uint8Array]): void {
  const { sa, env, ikeRekey } = session
  assert(ikeRekey !== null, 'our request to rekey the IKE_SA is under way')
  const { rival } = ikeRekey
  const isLost = rival !== null && loses(nonces, rival)
  if (rival !== null) env.report({ event: 'rekey-collision', sa, child: null, isLost })
  if (isLost) throw collisionLost()
  ikeRekey.isFollowedUp = true
  // What the peer has made already it deletes, or uses if it has forgotten ours: ours is made or fails by that.
  forgetHalfMade(session, ({ making }) => making.replaces === 'ike')
}

/** Returns in how long. */
function rekeyLater(session: Session): Milliseconds {
  const { sa, env } = session
  const retryIn = retryDelay(env.entropy)
  sa.rekeyAt = env.clock.now() + retryIn
  session.setDeadline('rekey', sa.rekeyAt)
  return retryIn
}

/** What is known of the peer when the exchange fails here. */
interface Heard {
  /** It has answered all that there is to answer, and has the new IKE_SA. */
  isMadeByPeer: boolean
}

/** The exchange as initiator: when it returns, the successor has keys. Throws an EspalierError. */
async function request(session: Session, successor: Session, heard: Heard): Promise<readonly [Uint8Array, Uint8Array]> {
  const { sa, env, exchanges } = session
  const proposals = proposalsOf(session)
  let group = preferredGroup(proposals, sa.suite?.ke)
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    assert(group !== null, 'an IKE proposal has a key exchange group')
    const keyExchange = await env.keyExchanges.generate(group)
    try {
      const nonce = newNonce(env.entropy)
      const spi = spiBytes(successor.sa.ownSpi)
      const answer = await exchanges.request(ExchangeType.CREATE_CHILD_SA, [
        { kind: 'SA', proposals: proposals.map((proposal, i) => toWire(proposal, i + 1, spi)) },
        { kind: 'Nonce', data: nonce },
        { kind: 'KE', group, data: keyExchange.publicValue },
      ])
      const error = findErrorNotify(answer.payloads)
      heard.isMadeByPeer = error === null && findNotify(answer.payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE) === null
      if (answer.malformed !== null) throw answer.malformed
      rejectUnknownCritical(answer)
      const demanded = groupDemanded(answer.payloads, proposals, group)
      if (demanded !== null) {
        env.report({ event: 'key-exchange-retry', sa, refused: group, group: demanded })
        group = demanded
        continue
      }
      if (error !== null) throw refusedByPeer(error.notifyType)
      const { proposals: answered, nonce: peerNonce } = required(answer)
      const [proposal, surplus] = answered
      if (proposal === undefined || surplus !== undefined)
        throw misbehaved('the peer chose none or several proposals instead of one')
      const chosen = checkChosen(proposal, proposals)
      if (chosen === null) throw misbehaved('the peer chose a proposal that we did not offer')
      successor.sa.peerSpi = ikeSpi(proposal)
      const secret = await secretAsInitiator(suiteOf(chosen).ke, keyExchange, answer.payloads)
      assert(secret !== null, 'an IKE_SA has a key exchange')
      const followUps = new FollowUps(additionalKeyExchanges(chosen))
      try {
        if (followUps.isNeeded) contest(session, [nonce, peerNonce])
        await followUps.run(session, answer)
        adoptKeys(session, successor, chosen, { sharedSecret: secret, additionalSecrets: followUps.secrets }, [nonce, peerNonce])
      } finally {
        heard.isMadeByPeer = followUps.isAnswered
        secret.destroy()
        followUps.destroy()
      }
      return [nonce, peerNonce]
    } finally {
      keyExchange.destroy()
    }
  }
  throw misbehaved(`the peer answered ${ATTEMPTS_MAX} requests to rekey the IKE_SA with another group each`)
}

/**
 * The responder's side. `conclude` is called when the answer has left. Throws ExchangeFailure whose notify is the
 * answer.
 */
export async function respondRekeyIkeSa(
  session: Session,
  request: Received,
): Promise<{ readonly payloads: readonly Payload[]; readonly conclude: () => void }> {
  const { env } = session
  rejectUnknownCritical(request)
  checkReplaceable(session)
  const { ikeRekey } = session
  if (ikeRekey?.isFollowedUp === true || (ikeRekey?.rival && hasKeys(ikeRekey.rival)))
    throw notNow('the IKE_SA is being replaced')
  if (eldersOf(session) >= ELDERS_MAX) throw notNow('the peer has IKE_SAs to delete that it has replaced')
  const { proposals, nonce: peerNonce } = required(request)
  const choice = chooseProposal(proposalsOf(session), proposals)
  if (choice === null) {
    throw new ExchangeFailure(
      'peer-incompatible',
      'NO_PROPOSAL_CHOSEN',
      'no proposal of the peer fits for the IKE_SA that is to replace this one',
      NotifyType.NO_PROPOSAL_CHOSEN,
    )
  }
  const peerSpi = ikeSpi(choice)
  const { secret, payload } = await secretAsResponder(suiteOf(choice.chosen).ke, request.payloads, env.keyExchanges)
  // The peer has given up what it had begun before.
  forgetHalfMade(session, ({ making }) => making.replaces === 'ike')
  const successor = session.openSuccessor('responder')
  successor.sa.peerSpi = peerSpi
  const making = new IkeMaking(session, successor, choice.chosen, secret, [peerNonce, newNonce(env.entropy)])
  if (session.ikeRekey !== null) session.ikeRekey.rival = { session: successor, lowestNonce: making.lowestNonce }
  const payloads: readonly Payload[] = [
    { kind: 'SA', proposals: [toWireChosen(choice.chosen, choice.number, spiBytes(successor.sa.ownSpi))] },
    { kind: 'Nonce', data: making.nonces[1] },
    payload,
  ]
  const methods = additionalKeyExchanges(choice.chosen)
  if (methods.length > 0) return { payloads: [...payloads, keepHalfMade(session, making, methods)], conclude: () => {} }
  return { payloads, conclude: await making.finish([]) }
}

/** How many that it comes after are not over. */
function eldersOf({ elder }: Session): number {
  return elder === null ? 0 : 1 + eldersOf(elder)
}

/** RFC 7296 2.25.2: the CHILD_SAs must not change while they go over. Throws ExchangeFailure. */
function checkReplaceable({ sa, tasks: { running } }: Session): void {
  if (sa.state !== 'established') throw notNow('the IKE_SA has been replaced or is being deleted')
  // Where we are is being told on the one there is (RFC 4555 3.5).
  if (running === 'mobike') throw notNow('an address update is under way')
  if (running === 'initiation' || running === 'create-child' || running === 'rekey-child' || running === 'delete-child')
    throw notNow('a CHILD_SA is being made, replaced or deleted')
}

/** An IKE_SA that the peer puts in the place of this one, before it has all its keys. */
class IkeMaking implements Making {
  readonly replaces = 'ike'
  readonly child = null
  readonly nonces: readonly [Uint8Array, Uint8Array]
  readonly #session: Session
  readonly #successor: Session
  readonly #chosen: ChosenTransforms
  readonly #secret: Secret

  constructor(
    session: Session,
    successor: Session,
    chosen: ChosenTransforms,
    secret: Secret,
    nonces: readonly [Uint8Array, Uint8Array],
  ) {
    this.#session = session
    this.#successor = successor
    this.#chosen = chosen
    this.#secret = secret
    this.nonces = nonces
  }

  get lowestNonce(): Uint8Array {
    return lowestNonce(...this.nonces)
  }

  check(): void {
    checkReplaceable(this.#session)
  }

  async finish(additionalSecrets: readonly Secret[]): Promise<() => void> {
    const session = this.#session
    const successor = this.#successor
    adoptKeys(session, successor, this.#chosen, { sharedSecret: this.#secret, additionalSecrets }, this.nonces)
    this.#secret.destroy()
    return () => {
      // While our own request is under way, its answer decides.
      if (session.ikeRekey === null) takeOver(session, successor)
    }
  }

  drop(): Promise<void> {
    this.#secret.destroy()
    const { ikeRekey } = this.#session
    if (ikeRekey?.rival?.session === this.#successor) ikeRekey.rival = null
    this.#successor.enqueue(() => this.#successor.close('failed'))
    return Promise.resolve()
  }
}

/** The peer deletes the IKE_SA while we rekey it. True if it rekeyed it too: then its own takes over (RFC 7296 2.25.2). */
export function yieldToRival(session: Session): boolean {
  const rival = endRekey(session)
  if (rival === null || !isThere(rival) || session.sa.state !== 'established') return false
  takeOver(session, rival.session)
  return true
}

/**
 * The peer uses the IKE_SA it made in place of another while we have not decided yet: it has decided, and knows more
 * than we do. One that it made in vain it would delete.
 */
export async function confirmByUse(successor: Session, request: Received): Promise<void> {
  const isDelete = request.payloads.some((payload) => payload.kind === 'Delete' && payload.protocol === ProtocolId.IKE)
  const { predecessor } = successor
  if (predecessor === null || isDelete) return
  await predecessor.run(() => void yieldToRival(predecessor))
}

/** Whether a CREATE_CHILD_SA request is about the IKE_SA itself: it has no traffic selectors (RFC 7296 1.3.2). */
export function isIkeRekey(request: Received): boolean {
  return find(request.payloads, 'TSi') === null && find(request.payloads, 'TSr') === null
}

/** Whether it is more than begun. The peer may delete what it made before it deletes what that was to replace. */
function isThere(rival: Rival): boolean {
  return rival.session.sa.state !== 'closed' && hasKeys(rival)
}

function hasKeys({ session }: Rival): boolean {
  return session.sa.keys !== null
}

function endRekey(session: Session): Rival | null {
  const rival = session.ikeRekey?.rival ?? null
  session.ikeRekey = null
  return rival
}

/** The successor is the IKE_SA from now on; the old one waits for its end. */
function takeOver(session: Session, successor: Session): void {
  if (session.sa.state !== 'established') return
  // Whoever hears of the rekeyed IKE_SA hears when it is to be rekeyed again.
  const tellOfLife = beginLife(successor, session.sa.reauthAt)
  session.handOver(successor)
  tellOfLife()
  startKeepalives(successor)
  awaitDelete(session)
  successor.hearEarly()
}

/** The peer is to delete it; if it does not, it goes without a word. */
function awaitDelete(session: Session): void {
  session.sa.state = 'rekeyed'
  session.setDeadline('over', session.env.clock.now() + DELETE_PATIENCE)
}

/** Both sides replaced the IKE_SA, and the peer's stays: ours is deleted like any other. */
async function discard(successor: Session): Promise<void> {
  awaitDelete(successor)
  await successor.runExchange((current) => deleteIkeSa(current, 'rekeyed'), 'delete-ike')
}

function adoptKeys(
  old: Session,
  successor: Session,
  chosen: ChosenTransforms,
  secrets: { readonly sharedSecret: Secret; readonly additionalSecrets: readonly Secret[] },
  [nonceInitiator, nonceResponder]: readonly [Uint8Array, Uint8Array],
): void {
  const { sa } = successor
  assert(old.sa.keys !== null && old.sa.suite !== null, 'an IKE_SA that stands has keys')
  const suite = suiteOf(chosen)
  sa.proposal = chosen
  sa.suite = suite
  sa.keys = deriveRekeyedIkeKeys(
    { suite, nonceInitiator, nonceResponder, ...secrets, ...sa.spis },
    { prf: old.sa.suite.prf, d: old.sa.keys.d },
  )
  successor.exchanges.protect(suite, sa.keys)
}

function proposalsOf(session: Session): readonly SuiteProposal[] {
  assert(session.sa.connection !== null, 'an IKE_SA that stands has a connection')
  return session.sa.connection.proposals
}

function required(received: Received): { readonly proposals: readonly WireProposal[]; readonly nonce: Uint8Array } {
  const sa = find(received.payloads, 'SA')
  const nonce = find(received.payloads, 'Nonce')
  if (sa === null || nonce === null) throw misbehaved('a CREATE_CHILD_SA message without SA or Nonce payload')
  return { proposals: sa.proposals, nonce: nonce.data.slice() }
}

function ikeSpi({ spi }: Pick<WireProposal, 'spi'>): bigint {
  const value = spi.length === IKE_SPI_LENGTH ? new Reader(spi).u64() : 0n
  if (value === 0n) throw misbehaved(`the SPI of the peer's new IKE_SA is '${toHex(spi)}', not 8 octets that are not all zero`)
  return value
}

function spiBytes(spi: bigint): Uint8Array {
  return new Writer(IKE_SPI_LENGTH).u64(spi).finish()
}
