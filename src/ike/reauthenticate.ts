/**
 * Reauthentication (RFC 7296 2.8.3): a new IKE_SA is made from IKE_SA_INIT on, with all CHILD_SAs anew, and the old one
 * deleted with its own. With charon.make_before_break the new one comes first, and the old one carries traffic until it
 * stands: between two of us no packet is lost (make-before-break.ts). Without, the old one goes first. Either side may do
 * so that can: with pre-shared keys both, unless the responder gave the initiator an address; then it tells it by when it
 * has to (RFC 4478, lifetimes.ts).
 *
 * When both do so at once, one of the two new IKE_SAs goes again (uniqueness.ts).
 */
import type { Milliseconds } from '../base/time.ts'
import { sameTrafficElsewhere, type AskedTraffic } from './asked-traffic.ts'
import type { ChildConnection } from './connection.ts'
import { addChild } from './create-child.ts'
import { deleteIkeSa } from './delete.ts'
import type { IkeEvent } from './events.ts'
import { told } from './failure.ts'
import { canReauthenticate } from './lifetimes.ts'
import { retryDelay } from './retry.ts'
import { isStanding, type ChildSa } from './sa.ts'
import type { Session } from './session.ts'
import { staying } from './ties.ts'

/** Begins at once, or when what is under way is over; what comes of it is reported. */
export function reauthenticate(session: Session): void {
  const { sa, env } = session
  if (session.isReauthenticating) return
  if (!canReauthenticate(sa)) return fail(session, 'asymmetric', null)
  // What is to be made in this IKE_SA is made anew with the others.
  if (session.wanted.length > 0)
    return void session.runExchange((current) => Promise.resolve(reauthenticate(current)), 'reauth-ike')
  const children = sa.children.filter(isStanding)
  // strongSwan: while something changes it is not clear what there is to make anew; nor whether there is anything, in one that is about to go.
  const isChanging = session.opening !== null || session.isLeaving || children.some(({ state }) => state !== 'installed')
  if (sa.state !== 'established' || isChanging) return postpone(session, 'busy', retryDelay(env.entropy))
  if (children.length === 0) return fail(session, 'childless', null)
  session.isReauthenticating = true
  env.report({ event: 'reauthenticating', sa })
  session.heir = (env.settings().makeBeforeBreak ? makeBeforeBreak : breakBeforeMake)(session, children)
}

/** Resolves to the IKE_SA that is left in the place of the old one; null if that stays, or none is left. */
async function makeBeforeBreak(session: Session, children: readonly ChildSa[]): Promise<Session | null> {
  const { env } = session
  const renewed = await makeAnew(session, children, (child, asked) => session.initiateAnew(child, asked))
  // It may have been rekeyed meanwhile.
  const old = session.last
  if (renewed === null) {
    old.isReauthenticating = false
    old.heir = null
    if (old.sa.state === 'established') postpone(old, 'failed', retryDelay(env.entropy))
    return null
  }
  const grace = env.settings().deleteRekeyedDelay
  void old.runExchange((current) => deleteIkeSa(current, 'deleted-by-us', grace), 'delete-ike')
  return renewed
}

/** The same; none is left if no other one came about. */
async function breakBeforeMake(session: Session, children: readonly ChildSa[]): Promise<Session | null> {
  // Whether or not the peer answers: what follows shows whether it is there.
  await session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'reauth-ike')
  // Somebody has terminated it meanwhile.
  if (!session.last.isReauthenticating) return null
  const renewed = await makeAnew(session, children, (child, asked) => session.initiateAnew(child, asked))
  if (renewed === null) fail(session, 'failed', null)
  return renewed
}

/** Begins an IKE_SA, with a CHILD_SA if there was any. */
type Begin = (child: ChildConnection | null, asked: AskedTraffic | undefined) => Promise<Session>

/**
 * An IKE_SA from the beginning, with these CHILD_SAs, which carry what they carried (strongSwan: recreate_sa). Resolves to
 * the one that is left of that, null if there is none. As long as the old one has its CHILD_SAs they are made nowhere else:
 * they would be looked for in that one, which waits for them.
 */
export async function makeAnew(session: Session, children: readonly ChildSa[], begin: Begin): Promise<Session | null> {
  const { sa } = session
  const isFirst = (child: ChildSa, at: number): boolean =>
    children.findIndex(({ connection, traffic }) => connection === child.connection && traffic === child.traffic) === at
  const [first, ...others] = children.filter(isFirst)
  try {
    const asked = first === undefined ? undefined : sameTrafficElsewhere(first, sa)
    const renewed = await begin(first?.connection ?? null, asked)
    await Promise.all(
      others.map((child) => addChild(renewed, child.connection, sameTrafficElsewhere(child, sa), session).catch(told)),
    )
    const left = staying(renewed).last
    // The peer may have made others in the old one meanwhile.
    await makeMissing(session.last, left)
    return left.last.sa.state === 'established' ? left.last : null
  } catch (error) {
    return told(error)
  }
}

/** What an IKE_SA that is to go has, and the other one has not, is made there. */
export async function makeMissing(session: Session, other: Session): Promise<void> {
  const { sa } = session
  const isMissing = (child: ChildSa): boolean =>
    isStanding(child) && !other.sa.children.some(({ traffic }) => traffic === child.traffic)
  const children = sa.children.filter(isMissing)
  await Promise.all(
    children.map((child) => addChild(other, child.connection, sameTrafficElsewhere(child, sa), session).catch(told)),
  )
}

function postpone(session: Session, why: Reason, retryIn: Milliseconds): void {
  const at = session.env.clock.now() + retryIn
  if (session.sa.reauthAt !== null) session.sa.reauthAt = at
  session.setDeadline('reauth', at)
  fail(session, why, retryIn)
}

type Reason = Extract<IkeEvent, { event: 'reauthentication-failed' }>['why']

function fail({ sa, env }: Session, why: Reason, retryIn: Milliseconds | null): void {
  env.report({ event: 'reauthentication-failed', sa, why, retryIn })
}
