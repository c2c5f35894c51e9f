/**
 * How many IKE_SAs a peer may have with us: `unique` and INITIAL_CONTACT (RFC 7296 2.4), as strongSwan has them
 * (its ike_sa_manager.c). A peer is who has the same identity, talks to the same one of ours, over the same IP version.
 *
 *   never    any number, whatever the peer says
 *   no       any number, but a peer that says INITIAL_CONTACT has no other: those go without a word
 *   replace  likewise, and without INITIAL_CONTACT the older ones are deleted
 *   keep     likewise, and without INITIAL_CONTACT a new one from elsewhere is refused
 *
 * A new one from the very endpoint of an old one is taken for a reauthentication: the peer gets time to delete the old
 * one itself, when it has made the CHILD_SAs anew.
 *
 * All of that is about IKE_SAs that the peer begins; ties.ts has what becomes of two that both sides begin at once.
 */
import type { Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { followInitialContact } from './actions.ts'
import { firstRounds, type Connection } from './connection.ts'
import { deleteIkeSa } from './delete.ts'
import { ExchangeFailure } from './failure.ts'
import { probe } from './liveness.ts'
import { makeMissing } from './reauthenticate.ts'
import { isSamePolicy } from './same-policy.ts'
import type { Session, Yield } from './session.ts'
import { isTie, settleTie, supersede } from './ties.ts'

/** How long a suspected reauthentication may take (strongSwan). */
const REAUTHENTICATION_TIME: Milliseconds = 10 * SECOND

/** Whether an initiator says INITIAL_CONTACT: it knows whom it expects, and has nothing else with them (strongSwan). */
export function isInitialContact(session: Session): boolean {
  const { connection } = session.sa
  assert(connection !== null, 'an initiator knows its connection')
  // One that renews another: the peer may be renewing it too, and would have to forget what it made.
  if (session.isRenewal || connection.unique === 'never') return false
  const id = exactRemoteId(connection)
  // Of one that has as good as begun the peer may have more by now than we do.
  const isBegun = ({ sa }: Session): boolean => sa.role === 'initiator' && sa.state === 'connecting' && sa.keys !== null
  return id !== null && session.twinsWith(id).length === 0 && !session.siblings.some(isBegun)
}

/** Whom a connection is with, if it is with nobody else. */
export function exactRemoteId(connection: Connection): Identity | null {
  const { id } = firstRounds(connection).remote
  return id.kind === 'exact' ? id.identity : null
}

/**
 * At a responder, once both have proved who they are: what of the peer's others goes for the new IKE_SA. Throws
 * ExchangeFailure when the new one may not be.
 */
export function enforceUniqueness(session: Session, saysInitialContact: boolean): void {
  const { sa, twins } = session
  assert(sa.connection !== null, 'the connection of a peer is known when it has proved who it is')
  const { unique } = sa.connection
  const ties = twins.filter((twin) => isTie(twin, session, twin, sa.created))
  for (const twin of ties) settleTie(twin, session)
  if (unique === 'never' || (unique === 'no' && !saysInitialContact)) return
  const others = twins.filter((twin) => !ties.includes(twin))
  if (saysInitialContact) {
    for (const twin of others) if (isForgotten(twin, session)) twin.enqueue(() => followInitialContact(twin, session))
    return
  }
  const rivals = others.filter((twin) => isOfSamePolicy(twin, session))
  if (unique === 'replace') {
    for (const rival of rivals) replace(session, rival)
    return
  }
  const keptAt = rivals.findIndex((rival) => !isFromSameEndpoint(rival, session))
  if (keptAt < 0) return
  // strongSwan: of those there were already, the first is kept.
  for (const rival of rivals.slice(keptAt + 1)) replace(session, rival)
  throw new ExchangeFailure(
    'policy',
    'UNIQUE_KEEP',
    `canceling IKE_SA setup due to uniqueness policy: unique = keep, and ${rivals[keptAt]!.toString()} stands`,
    NotifyType.AUTHENTICATION_FAILED,
  )
}

/**
 * Whether a peer that says INITIAL_CONTACT can mean that one. Not one that we began ourselves and that came to stand
 * since the peer began this one: it has not lost its memory in between, and may have said so before the other stood.
 */
function isForgotten({ sa: old }: Session, { sa }: Session): boolean {
  return old.originalRole === 'responder' || old.established === null || old.established <= sa.created
}

function replace(session: Session, old: Session): void {
  const { env } = session
  const isLater = isFromSameEndpoint(old, session)
  env.report({ event: 'duplicate-found', sa: session.sa, old: old.sa, isLater })
  if (isLater) supersede(old, { to: session, isTie: false }, REAUTHENTICATION_TIME)
  else deleteOld(old)
}

/** Its time is over: it goes, unless it is the one that is left. */
export function deleteSuperseded(session: Session): void {
  const { yields } = session
  // After a change of programs it is not known which one it goes for.
  const to = yields === null ? session.twins[0] : left(session, yields)
  if (to?.sa.state !== 'established') session.yields = null
  else if (yields?.isTie === true) void goFor(session, to)
  else giveWay(session, to)
}

/** Of two that were begun at once, the other may have been reauthenticated, or be gone for a third. */
function left(session: Session, { to: { last }, isTie }: Yield): Session | undefined {
  if (last.sa.state === 'established' || !isTie) return last
  return session.twins.find((twin) => !twin.isLeaving && isOfSamePolicy(twin, session))
}

/** If the peer has the other one; what that does not have is made there before. */
async function goFor(session: Session, other: Session): Promise<void> {
  await other.runExchange(probe)
  const to = other.last
  if (to.sa.state !== 'established') {
    session.last.yields = null
    return
  }
  await makeMissing(session, to)
  giveWay(session.last, to)
}

/**
 * It is deleted, unless the other one is lost before its turn comes. A peer that does not answer has forgotten it: what it
 * has not brought along goes as its dpd_action says, as with INITIAL_CONTACT.
 */
function giveWay(session: Session, other: Session): void {
  void session.runExchange(async (current) => {
    if (other.last.sa.state === 'established') await deleteIkeSa(current, 'deleted-by-us')
    else current.yields = null
  }, 'expire-ike')
}

/** Another IKE_SA has taken its place under `unique`; one that was rekeyed since is another one. */
function deleteOld(session: Session): void {
  if (session.sa.state !== 'established') return
  void session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
}

function isOfSamePolicy({ sa: { connection: a } }: Session, { sa: { connection: b } }: Session): boolean {
  return a !== null && b !== null && isSamePolicy(a, b)
}

function isFromSameEndpoint(a: Session, b: Session): boolean {
  return a.sa.remote.equals(b.sa.remote)
}
