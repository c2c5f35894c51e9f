/**
 * Two IKE_SAs with a peer that are begun at once, mostly by both sides, because both have lost the one there was, or from different
 * causes. strongSwan keeps both, or, where each side lets go of the one that the other keeps, none. Here it is one:
 *
 *   Who has begun one looks before it sends IKE_AUTH whether the peer's stands by then, gives its own up and has made
 *   in the peer's what it wants. So only those are left of which each was asked for before the other stood, and that is
 *   what both sides see: the initiator, to which the other came before its answer; and the responder, for whom its own
 *   came to stand since the peer began.
 *
 *   Of those the one whose initiator has the lower SPI goes, which is the same one at both ends.
 *
 * Two that one side begins at once, for CHILD_SAs that it has lost in different ways, are none of the other's business:
 * it gives up the second.
 *
 * A connection with `unique = never` may have both, unless it is one that both sides renew.
 */
import { identitiesEqual, type Identity } from '../auth/identity.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'
import { isCarriedBy, type AskedTraffic } from './asked-traffic.ts'
import { isUsable, type IkeSa } from './sa.ts'
import { isSamePolicy } from './same-policy.ts'
import type { Session, Yield } from './session.ts'

/**
 * How long the one that goes of two that were begun at once stays, so that what is on its way finds it, and so that a
 * peer that deletes one by a rule of its own has done so; and how long if its end is the peer's business.
 */
const OWN_TIE_TIME: Milliseconds = 20 * SECOND
const PEERS_TIE_TIME: Milliseconds = MINUTE

/** At an initiator, when its IKE_SA stands: whether another has been brought up since `asked`, when we asked for it. */
export function settleTies(session: Session, asked: Milliseconds): void {
  for (const twin of session.twins) {
    if (isTie(session, twin, twin, asked)) settleTie(session, twin)
    else if (isSecond(session, twin, asked)) goesFor(session, twin, OWN_TIE_TIME)
  }
}

/** Whether we have brought up the other one ourselves since `asked`, from another cause; of that the peer can know nothing. */
function isSecond({ sa, isLeaving }: Session, { sa: other }: Session, asked: Milliseconds): boolean {
  return (
    !isLeaving &&
    other.originalRole === 'initiator' &&
    other.begun !== null &&
    other.begun >= asked &&
    other.connection?.name === sa.connection?.name &&
    other.connection?.unique !== 'never'
  )
}

/** Whether one of the two was begun by us, the other one by the peer, and `earlier` stands only since `asked`. */
export function isTie(ours: Session, theirs: Session, earlier: Session, asked: Milliseconds): boolean {
  if (ours.sa.originalRole !== 'initiator' || theirs.sa.originalRole !== 'responder') return false
  if (earlier.sa.begun === null || earlier.sa.begun < asked) return false
  const [mine, other] = [ours.sa.connection, theirs.sa.connection]
  if (mine === null || other === null || !isSamePolicy(mine, other)) return false
  // Any number of them does not mean two where there was one.
  return mine.unique !== 'never' || ours.isRenewal
}

/**
 * Both sides see the same two, and neither knows which of them the other saw first, or since when one of them is rekeyed:
 * that of the lower first SPI of its initiator goes, deleted by who began it. The other side sees to that when it does not come about.
 */
export function settleTie(ours: Session, theirs: Session): void {
  const isOurs = firstSpiOf(ours) < firstSpiOf(theirs)
  const [going, to] = isOurs ? [ours, theirs] : [theirs, ours]
  if (!going.isLeaving) goesFor(going, to, isOurs ? OWN_TIE_TIME : PEERS_TIE_TIME)
}

function goesFor(going: Session, to: Session, patience: Milliseconds): void {
  going.env.report({ event: 'both-initiated', sa: to.sa, old: going.sa })
  supersede(going, { to, isTie: true }, patience)
}

/** At a responder the new one does not stand yet. */
function firstSpiOf({ sa }: Session): bigint {
  return sa.begun === null ? sa.spis.initiatorSpi : sa.firstSpi
}

/** Of an IKE_SA that has been made, and another one made as well, the one that stays. */
export function staying(made: Session): Session {
  const to = made.yields?.isTie === true ? made.yields.to.last : made
  return to.sa.state === 'established' ? to : made
}

/**
 * What has been brought up with the peer since `session` was begun, or one before it in vain, by whom ever, of `candidates`: one is enough. If it
 * is not known whom the peer will prove to be, who is at the very same place is taken for it.
 */
export function broughtUpSince(
  since: Milliseconds,
  { sa }: Session,
  remoteId: Identity | null,
  candidates: readonly Session[],
): Session | null {
  if (sa.connection?.unique === 'never') return null
  const isBroughtUp = (other: Session): boolean =>
    isThere(other) &&
    other.sa.established! >= since &&
    (remoteId === null ? other.sa.remote.equals(sa.remote) : isWith(other, remoteId, sa))
  return candidates.find(isBroughtUp) ?? null
}

/** What has come in the place of `old`, of `candidates`: with a CHILD_SA for `asked`, unless `old` is gone and one is enough. */
export function renewed(old: Session, asked: AskedTraffic, candidates: readonly Session[]): Session | null {
  const { sa } = old
  const isAnyOne = sa.state === 'closed' && sa.connection?.unique !== 'never'
  const isRenewal = (other: Session): boolean =>
    other !== old.last &&
    // Where there may be any number it is the peer that has renewed it.
    (sa.connection?.unique !== 'never' || other.sa.originalRole === 'responder') &&
    // One that stands only since then may have been begun before.
    (other.sa.created > sa.created || (other.sa.begun ?? 0) > (sa.begun ?? Infinity)) &&
    isThere(other) &&
    sa.remoteId !== null &&
    isWith(other, sa.remoteId, sa) &&
    (isAnyOne || other.sa.children.some((child) => isUsable(child) && isCarriedBy(child, asked, other.sa)))
  return candidates.find(isRenewal) ?? null
}

/** It stands and is to stay. */
function isThere({ sa, isLeaving }: Session): boolean {
  return sa.state === 'established' && !isLeaving
}

function isWith({ sa: other }: Session, remoteId: Identity, { remote }: IkeSa): boolean {
  const isPeer = other.remoteId !== null && identitiesEqual(other.remoteId, remoteId)
  return isPeer && other.remote.address.family === remote.address.family
}

/** It goes for another one when that time is over (uniqueness.ts). */
export function supersede(old: Session, yields: Yield, patience: Milliseconds): void {
  old.yields = yields
  old.setDeadline('superseded', old.env.clock.now() + patience)
}
