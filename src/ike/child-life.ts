/**
 * What is due of CHILD_SAs: limits that the kernel has seen reached (RFC 4301 4.4.2.1), rekeys that are to be tried
 * again, those that are over, and those that nobody uses.
 */
import { EspalierError } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { sameTraffic } from './asked-traffic.ts'
import { createChild } from './create-child.ts'
import { deleteChildSa, deleteIkeSa } from './delete.ts'
import { isTemporary } from './failure.ts'
import { lookAtRelief } from './make-before-break.ts'
import { rekeyChild, retryLater } from './rekey-child.ts'
import { retryDelay } from './retry.ts'
import { hasTwin, isStanding, type ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** A soft limit was reached: it is to be replaced. Each direction tells, and an updated state tells again. */
export function handleSoftExpiry(session: Session, child: ChildSa): void {
  if (child.expiry !== 'none') return
  child.expiry = 'soft'
  void session.runExchange((current) => rekeyChild(current, child), 'rekey-child')
}

/** A hard limit was reached, and the kernel has thrown one direction away. */
export function handleHardExpiry(session: Session, child: ChildSa): void {
  if (child.expiry === 'hard') return
  child.expiry = 'hard'
  void session.runExchange((current) => replaceExpired(current, child), 'create-child')
}

/**
 * It is over for the peer as well, and there is to be another one, whatever its close_action (strongSwan). That comes
 * first, so that its traffic never finds itself without a policy and leaves in the clear. It asks for what the expired
 * one carried, as every CHILD_SA does that is made in the place of another (strongSwan: child_create.c, recreate_sa).
 */
async function replaceExpired(session: Session, child: ChildSa): Promise<void> {
  const { sa, env } = session
  if (sa.state !== 'established' || !sa.children.includes(child) || child.deleteSent) return
  // The peer's delete was to come, or has come: there is another one already.
  if (isReplaced(child)) return session.closeChild(child, 'rekeyed')
  if (hasTwin(sa, child)) return deleteChildSa(session, child)
  env.report({ event: 'child-recreating', sa, child })
  try {
    const recreated = await createChild(session, child.connection, sameTraffic(child))
    // The peer, for whom it was not over, has replaced it meanwhile, and deletes it.
    if (isReplaced(child)) return hasTwin(sa, recreated) ? await deleteChildSa(session, recreated) : undefined
    // What it had replaced, which the peer has not deleted yet, is as little wanted.
    const olds = sa.children.filter(({ successor }) => successor === child)
    for (const old of [child, ...olds]) await deleteChildSa(session, old)
    // A peer that does not mind may have done the same meanwhile, and what the IKE_SA's first initiator made stays.
    if (sa.originalRole === 'responder' && hasTwin(sa, recreated)) await deleteChildSa(session, recreated)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    env.report({ event: 'child-failed', sa, name: child.connection.name, error })
    // RFC 7296 2.25: the peer is replacing the IKE_SA, or this CHILD_SA.
    if (isTemporary(error) && sa.state === 'established') retryLater(session, child, retryDelay(env.entropy))
    else await deleteChildSa(session, child)
  }
}

function isReplaced({ state, successor }: ChildSa): boolean {
  return state === 'rekeyed' || state === 'deleted' || successor !== null
}

/** The deadline of its CHILD_SAs was reached. */
export async function handleChildDeadlines(session: Session): Promise<void> {
  const now = session.env.clock.now()
  for (const child of [...session.sa.children]) {
    if (child.dueAt !== null && child.dueAt <= now) {
      child.dueAt = null
      if (child.state === 'deleted') await session.closeChild(child, 'rekeyed')
      else if (child.relieves !== null) await lookAtRelief(session, child)
      else if (child.expiry === 'hard') void session.runExchange((current) => replaceExpired(current, child), 'create-child')
      else if (isUnsent(session, child)) await sendAtLast(session, child)
      else void session.runExchange((current) => rekeyChild(current, child), 'rekey-child')
    }
    if (child.idleAt !== null && child.idleAt <= now) await checkUse(session, child)
  }
  session.armChildren()
}

/** The kernel has refused what is sent on, when what it replaced went. */
function isUnsent({ sa }: Session, child: ChildSa): boolean {
  return (
    isStanding(child) && child.installed.outboundHalf === 'pending' && !sa.children.some(({ successor }) => successor === child)
  )
}

async function sendAtLast(session: Session, child: ChildSa): Promise<void> {
  await session.activate(child)
  // A rekey was put off meanwhile.
  if (child.dueAt === null && child.expiry !== 'none') child.dueAt = session.env.clock.now()
}

/** strongSwan: idle is what carried nothing in either direction since it was installed, or for as long as its child says. */
async function checkUse(session: Session, child: ChildSa): Promise<void> {
  const { sa, env } = session
  const { inactivity } = child.connection
  const now = env.clock.now()
  child.idleAt = child.state === 'deleting' || child.state === 'deleted' ? null : now + inactivity
  const last = await lastUse(session, child)
  if (child.idleAt === null || last === null) return
  // One sum for the comparison and for the deadline, or rounding could make the deadline now, again and again.
  const idleAt = last + inactivity
  if (now < idleAt) {
    child.idleAt = idleAt
    return
  }
  // One that is being replaced goes anyway.
  if (child.state !== 'installed' || sa.state !== 'established') return
  const closesIkeSa = sa.children.length === 1 && env.settings().inactivityCloseIke
  env.report({ event: 'child-idle', sa, child, closesIkeSa })
  if (closesIkeSa) void session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
  else void session.runExchange((current) => deleteChildSa(current, child), 'delete-child')
}

/** When a CHILD_SA last carried a packet, or was installed; null when the kernel does not know it any more. */
async function lastUse(session: Session, child: ChildSa): Promise<Milliseconds | null> {
  const { clock } = session.env
  const usage = await session.usageOf(child)
  if (usage === null) return null
  let last = child.installedAt
  for (const { lastUsedSeconds } of [usage.in, usage.out]) {
    // The kernel counts whole seconds: some time in this one.
    if (lastUsedSeconds !== null) last = Math.max(last, clock.now() - (clock.wall() - (lastUsedSeconds + 1) * SECOND))
  }
  const packets = usage.in.packets + usage.out.packets
  const isCounted = packets > 0n && usage.in.lastUsedSeconds === null && usage.out.lastUsedSeconds === null
  // A kernel below 6.2 does not tell: a count that moved since the last look means some time after that.
  if (isCounted && packets !== child.packetsSeen) last = clock.now()
  child.packetsSeen = packets
  return last
}
