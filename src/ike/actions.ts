/**
 * What becomes of CHILD_SAs that we did not give up: dpd_action when the peer is silent or has forgotten us, close_action
 * when it deletes one of them or the IKE_SA. A trap waits for the next packet, a start makes the CHILD_SA again at once
 * (strongSwan: ike_sa.c, reestablish; child_delete.c), in another IKE_SA if need be: one of the same connection that
 * stands, or a new one. strongSwan begins a new one whatever stands; where `unique` lets only one stay, that takes the
 * others' CHILD_SAs away, which begin a new one. What somebody waits for goes there as well, and has one made for itself
 * alone.
 */
import { ExchangeType, ProtocolId } from '../iana/ikev2.ts'
import { configuredTraffic, isCarriedBy, sameTraffic, sameTrafficElsewhere } from './asked-traffic.ts'
import { NO_ACTION, type Action, type ChildConnection } from './connection.ts'
import { addChild, addChildLater } from './create-child.ts'
import { NotInitiated, told } from './failure.ts'
import { canReauthenticate } from './lifetimes.ts'
import { isStanding, isUsable, type ChildSa } from './sa.ts'
import type { Session, WantedChild } from './session.ts'
import { staying } from './ties.ts'

/** The peer did not answer a request on an IKE_SA that stood: it goes without another word. */
export async function losePeer(session: Session): Promise<void> {
  await endWithActions(session, 'peer-silent', (child) => child.dpdAction)
}

/** There is no way to the peer that the IKE_SA may take: it is told, if it hears us, and what is to become of the rest is as if it were silent. */
export async function leave(session: Session): Promise<void> {
  await endUnheard(session, (child) => child.dpdAction)
}

/**
 * The peer has put another IKE_SA in the place of this one that we cannot have: what the two have is not the same. Both
 * let go of it, and all is made anew (RFC 7296 2.21.3), if we can.
 */
export async function startOver(session: Session): Promise<void> {
  const begins = canReauthenticate(session.sa)
  await endUnheard(session, ({ dpdAction }) => (begins ? { ...dpdAction, start: true } : dpdAction))
}

async function endUnheard(session: Session, kind: (child: ChildConnection) => Action): Promise<void> {
  const { sa, env, exchanges } = session
  env.report({ event: 'delete-sent', sa, child: null })
  exchanges.request(ExchangeType.INFORMATIONAL, [{ kind: 'Delete', protocol: ProtocolId.IKE, spis: [] }]).catch(() => {
    // Closing the IKE_SA abandons the request at once; that is meant.
  })
  await endWithActions(session, 'failed', kind)
}

/** One of the two has found a request of the other malformed, and said so: the IKE_SA is over without another word (RFC 7296 2.21.3). */
export async function endAtMistake(session: Session): Promise<void> {
  await endWithActions(session, 'failed', (child) => child.dpdAction)
}

/** The peer deleted the IKE_SA, and has its answer. */
export async function followDelete(session: Session): Promise<void> {
  await endWithActions(session, 'deleted-by-peer', (child) => child.closeAction)
}

/** The peer deletes a CHILD_SA. */
export async function followChildDelete(session: Session, child: ChildSa): Promise<void> {
  const { sa, env } = session
  const { trap, start } = closeActionOf(session, child)
  if (trap) await env.traps.set(sa, child.connection)
  await session.closeChild(child, 'deleted-by-peer')
  // Our request to replace it is under way, and may have come before the peer thought of that.
  if (start && child.state !== 'rekeying') restart(session, child)
}

/** The peer had deleted it before our request to replace it came: that is its wish (strongSwan). */
export function followEarlierDelete(session: Session, child: ChildSa): void {
  if (closeActionOf(session, child).start) restart(session, child)
}

/** What we are deleting ourselves has its end in our hands (strongSwan). */
function closeActionOf(session: Session, child: ChildSa): Action {
  const isOurs = !isStanding(child) || session.sa.state !== 'established' || !isConfigured(session, child)
  return isOurs ? NO_ACTION : child.connection.closeAction
}

function restart(session: Session, child: ChildSa): void {
  session.env.report({ event: 'child-restarting', sa: session.sa, child })
  addChild(session, child.connection, sameTraffic(child)).catch(told)
}

/**
 * The peer has forgotten it, as it says of all but `other`, which it has just made (INITIAL_CONTACT): that is how it is
 * found to be silent without waiting for it (RFC 7296 2.4). What the peer does not bring along is made in the other one.
 */
export async function followInitialContact(session: Session, other: Session): Promise<void> {
  await endWithActions(session, 'replaced', (child) => child.dpdAction, other)
}

/** `instead` has taken its place, or is what it was to go for. */
async function endWithActions(
  session: Session,
  reason: 'peer-silent' | 'deleted-by-peer' | 'failed' | 'replaced',
  kind: (child: ChildConnection) => Action,
  instead: Session = staying(session),
): Promise<void> {
  const { sa, env } = session
  // One that is being reauthenticated is replaced anyway; one that never stood has its keyingtries; one that is to be
  // deleted is not wanted any more (strongSwan), unless it is only at the end of its time.
  const { running, queued } = session.tasks
  const hasStood = sa.state === 'established' || (sa.state === 'deleting' && running === 'expire-ike')
  const isToBeKept = hasStood && !session.isReauthenticating && !queued.includes('delete-ike')
  const started: ChildSa[] = []
  for (const child of isToBeKept ? sa.children : []) {
    if (child.state === 'rekeyed' || child.state === 'deleted') continue
    const { trap, start } = isConfigured(session, child) ? kind(child.connection) : NO_ACTION
    // Before its own policies go, so that no packet leaves in the clear.
    if (trap) await env.traps.set(sa, child.connection)
    if (start && !started.some(({ traffic }) => traffic === child.traffic)) started.push(child)
  }
  const [awaited] = isToBeKept ? [...session.wanted, ...session.wantedLater].filter((child) => isConfigured(session, child)) : []
  // They find their way to the IKE_SA that takes the place of this one (strongSwan: adopt_child_tasks).
  const heir = Promise.withResolvers<Session | null>()
  if (awaited !== undefined) session.heir = heir.promise
  await session.close(reason)
  // Others may have been lost in the same moment.
  const twin = [instead, ...session.twins].find((other) => takesOn(other, session)) ?? null
  const isHeard = reason === 'deleted-by-peer' || twin === instead || (twin?.sa.lastInbound ?? 0) > sa.lastInbound
  // What it was replaced by, perhaps, and the peer's delete was lost: one that is up elsewhere is not made again.
  const others = session.twins.flatMap((other) => other.sa.children)
  const isElsewhere = (child: ChildSa): boolean =>
    others.some(({ traffic, state }) => state === 'installed' && traffic === child.traffic)
  const restarted = started.filter((child) => !isElsewhere(child))
  for (const child of restarted) env.report({ event: 'child-restarting', sa, child })
  const children = restarted.map((child) => ({ connection: child.connection, asked: sameTrafficElsewhere(child, sa) }))
  if (twin !== null && isHeard) {
    // There the peer is about to make it itself, perhaps, and is given the time for that.
    const make = twin === instead ? addChildLater : addChild
    for (const { connection, asked } of children) make(twin, connection, asked).catch(told)
    return heir.resolve(twin)
  }
  const [first, ...further] = awaited !== undefined && children.length === 0 && twin === null ? [awaited] : children
  if (first === undefined) heir.resolve(twin)
  else void reestablish(session, first, further).then(heir.resolve)
}

/** What was made in the one that is lost may be made in this one, which is there to stay, or was to go for that. */
function takesOn({ sa, isLeaving, yields }: Session, lost: Session): boolean {
  const isThere = sa.state !== 'closed' && (!isLeaving || yields?.to.last === lost)
  return isThere && sa.connection !== null && sa.connection.name === lost.sa.connection?.name
}

/**
 * Another IKE_SA with the same peer, with these CHILD_SAs; null if it does not come about. What comes of it is reported.
 * The peer may do the same, or be reauthenticating the one that is lost to us: one is enough.
 */
async function reestablish(
  session: Session,
  { connection, asked = configuredTraffic(connection) }: WantedChild,
  others: readonly WantedChild[],
): Promise<Session | null> {
  const { sa, env } = session
  const has = ({ sa: twin }: Session): boolean =>
    twin.connection === sa.connection && twin.children.some((child) => isUsable(child) && isCarriedBy(child, asked, twin))
  try {
    const renewed = await session.initiateElsewhere(connection, asked, () => session.twins.find(has) ?? null)
    await Promise.all(others.map((child) => addChild(renewed, child.connection, child.asked).catch(told)))
    return staying(renewed)
  } catch (error) {
    // What became of an IKE_SA was reported when it did.
    if (error instanceof NotInitiated && sa.connection !== null)
      env.report({ event: 'not-initiated', connection: sa.connection.name, error })
    else told(error)
    return null
  }
}

/** What was unloaded meanwhile is not wanted any more. */
function isConfigured({ sa, env }: Session, { connection }: Pick<ChildSa, 'connection'>): boolean {
  const configured = env.connections().find(({ name }) => name === sa.connection?.name)
  return configured?.children.some(({ name }) => name === connection.name) ?? false
}
