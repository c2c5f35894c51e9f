/**
 * A CHILD_SA is replaced by a new one with the same traffic (RFC 7296 1.3.3, 2.8), by us or by the peer, or by both at
 * once (2.8.1): then the pair of SAs of the exchange with the lowest nonce goes, deleted by who began it, and the old
 * CHILD_SA is deleted by who made the other. Where further key exchanges follow (follow-up.ts) it is decided before them.
 */
import { Reader, toHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { Milliseconds } from '../base/time.ts'
import { NotifyType, ProtocolId } from '../iana/ikev2.ts'
import { findNotify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { followEarlierDelete } from './actions.ts'
import { sameTraffic } from './asked-traffic.ts'
import { childDelete } from './child.ts'
import { adoptMade, createChild, disown, requestChild, type MadeChild } from './create-child.ts'
import { ExchangeFailure, notNow } from './failure.ts'
import { collisionLost, forgetHalfMade } from './follow-up.ts'
import type { HalfMade } from './half-made.ts'
import { ask } from './liveness.ts'
import { compareNonces, lowestNonce } from './nonces.ts'
import { retryDelay } from './retry.ts'
import type { ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** Replaces a CHILD_SA. What does not come about is reported and tried again; nothing happens if it is being replaced or deleted. */
export async function rekeyChild(session: Session, child: ChildSa): Promise<void> {
  const { sa } = session
  if (sa.state !== 'established' || child.state !== 'installed' || !sa.children.includes(child)) return
  // The peer that made it may not know yet that it has it, and would have to say CHILD_SA_NOT_FOUND.
  if (child.installed.outboundHalf === 'pending') {
    if (child.relieves === null) return retryLater(session, child, retryDelay(session.env.entropy))
    // Somebody looks at it soon, and comes back to this.
    child.expiry = 'soft'
    return
  }
  // The peer is about to, and may not come to it.
  if (halfMadeFor(session, child) !== null) return retryLater(session, child, retryDelay(session.env.entropy))
  child.state = 'rekeying'
  child.dueAt = null
  try {
    const made = await requestChild(session, child.connection, child, undefined, (...nonces) => contest(session, child, nonces))
    const { nonceInitiator, nonceResponder } = made.contributions
    const isLost = loses(session, child, [nonceInitiator, nonceResponder])
    await (isLost ? yieldToPeer(session, child, made) : replace(session, child, made))
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    await afterFailure(session, child, error)
  }
}

/** What the peer has begun to put in the place of a CHILD_SA (follow-up.ts). */
function halfMadeFor({ halfMade }: Session, child: ChildSa): HalfMade | null {
  return halfMade.find(({ making }) => making.replaces === child) ?? null
}

/** Whether the peer replaces it as well, and by the nonces of both exchanges its replacement is the one that stays. */
function loses(session: Session, child: ChildSa, [nonceInitiator, nonceResponder]: readonly [Uint8Array, Uint8Array]): boolean {
  const rival = child.rivalNonce ?? halfMadeFor(session, child)?.making.lowestNonce ?? null
  return rival !== null && compareNonces(lowestNonce(nonceInitiator, nonceResponder), rival) < 0
}

/** Our exchange has others to follow: whether it goes on is decided before them. Throws if it does not. */
function contest(session: Session, child: ChildSa, nonces: readonly [Uint8Array, Uint8Array]): void {
  const { sa, env } = session
  const isLost = loses(session, child, nonces)
  const isContested = child.rivalNonce !== null || halfMadeFor(session, child) !== null
  if (isContested) env.report({ event: 'rekey-collision', sa, child, isLost })
  if (isLost) throw collisionLost()
  // What the peer has made already it deletes, or uses if it has forgotten ours: ours is made or fails by that.
  forgetHalfMade(session, ({ making }) => making.replaces === child)
}

/** Both sides replaced it, and the peer's replacement stays: it deletes the old one. */
async function yieldToPeer(session: Session, child: ChildSa, made: MadeChild): Promise<void> {
  if (child.state === 'rekeying') awaitReplacement(session, child)
  await disown(session, made)
}

/** The peer has replaced it, or is about to: if that takes too long, we try again. */
function awaitReplacement(session: Session, child: ChildSa): void {
  if (child.successor !== null) {
    child.state = 'rekeyed'
    return
  }
  child.state = 'installed'
  retryLater(session, child, retryDelay(session.env.entropy))
}

async function replace(session: Session, child: ChildSa, made: MadeChild): Promise<void> {
  await adoptMade(session, made, child)
  forgetHalfMade(session, ({ making }) => making.replaces === child)
  // If the peer made one as well, it is about to delete that.
  const redundant = child.successor
  child.successor = null
  if (redundant !== null) redundant.state = 'rekeyed'
  // The peer may have deleted it on its own account meanwhile.
  if (child.state !== 'rekeying' || !session.sa.children.includes(child)) return
  child.state = 'rekeyed'
  child.deleteSent = true
  await ask(session, [childDelete([child.inboundSpi])])
  if (session.sa.children.includes(child)) await session.retireChild(child)
}

async function afterFailure(session: Session, child: ChildSa, error: EspalierError): Promise<void> {
  const { sa, env } = session
  // It went with its IKE_SA, or the peer deletes it because it has replaced it.
  if (sa.state === 'closed' || child.state !== 'rekeying') return
  if (!sa.children.includes(child)) return followEarlierDelete(session, child)
  // The peer refused because it was replacing it itself.
  if (child.successor !== null || halfMadeFor(session, child) !== null) return awaitReplacement(session, child)
  child.state = 'installed'
  if (error instanceof ExchangeFailure && error.notify === NotifyType.CHILD_SA_NOT_FOUND) return startAnew(session, child)
  const retryIn = retryDelay(env.entropy)
  retryLater(session, child, retryIn)
  env.report({ event: 'child-rekey-failed', sa, child, error, retryIn })
}

export function retryLater(session: Session, child: ChildSa, delay: Milliseconds): void {
  child.dueAt = session.env.clock.now() + delay
  session.armChildren()
}

/** The peer has lost it: so do we, and ask for a new one (RFC 7296 2.25) with the same traffic (strongSwan). */
async function startAnew(session: Session, child: ChildSa): Promise<void> {
  await session.closeChild(child, 'deleted-by-peer')
  try {
    await createChild(session, child.connection, sameTraffic(child))
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    session.env.report({ event: 'child-failed', sa: session.sa, name: child.connection.name, error })
  }
}

/** The CHILD_SA that a request is to replace, null if it is to make another one. Throws ExchangeFailure with the notify (RFC 7296 2.25.1). */
export function childToRekey(session: Session, request: readonly Payload[]): ChildSa | null {
  const rekey = findNotify(request, NotifyType.REKEY_SA)
  if (rekey === null) return null
  const isEsp = rekey.protocol === ProtocolId.ESP && rekey.spi.length === 4
  const child = isEsp && session.sa.children.find(({ outboundSpi }) => outboundSpi === new Reader(rekey.spi).u32())
  if (child === false || child === undefined || child.state === 'deleted') {
    // Perhaps it is the one that we have asked for, and the answer has not come to us.
    if (session.childRequest !== null) throw notNow('a CHILD_SA is being made, which it may be')
    throw new ExchangeFailure(
      'peer-incompatible',
      'CHILD_SA_NOT_FOUND',
      `the peer wants to rekey a CHILD_SA that we do not have: SPI ${toHex(rekey.spi)}`,
      NotifyType.CHILD_SA_NOT_FOUND,
      undefined,
      // One of anything else has no place in our answer, which is about ESP.
      isEsp ? rekey.spi.slice() : undefined,
    )
  }
  if (!mayBeReplaced(session, child))
    throw notNow(`CHILD_SA ${child.connection.name}{${child.uniqueId}} has been replaced or is being deleted`)
  return child
}

/** Whether the peer may replace it: also while we ask for that, unless our exchange has already won (RFC 9370 2.2.4). */
export function mayBeReplaced({ childRequest }: Session, child: ChildSa): boolean {
  if (child.state === 'installed') return true
  const hasWon = childRequest?.old === child && childRequest.isFollowedUp
  return child.state === 'rekeying' && child.successor === null && !hasWon
}

/** The peer's request was answered: `child` takes the place of `old` as soon as the peer deletes that. */
export function replacedByPeer(old: ChildSa, child: ChildSa, lowest: Uint8Array): void {
  old.successor = child
  old.dueAt = null
  if (old.state === 'rekeying') old.rivalNonce = lowest
  else old.state = 'rekeyed'
}
