/**
 * Traffic that goes from a CHILD_SA of one IKE_SA over to one of another, when the peer makes a new IKE_SA before it
 * deletes the old one (reauthentication, RFC 7296 2.8.3). As responder we could send on the new one at once, but the
 * peer has it only when our answer has come to it: what we sent before would be lost. So, as in a rekey (2.8), we
 * receive on the new one and go on sending on the old one until the peer deletes that, or shows by a packet that it has
 * the new one. charon does not wait, and loses what it sends meanwhile.
 *
 * A peer that has lost the old one looks like that as well, if it comes from the same place and does not say
 * INITIAL_CONTACT. So the wait is short, and ends with the first packet of the peer.
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import { installChild, trafficOf, type Agreement, type ChildContributions } from './child.ts'
import { isStanding, type ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** Longer than it takes until a peer that did not hear our answer asks again, by the default settings (4 s). */
const WAITING_TIME: Milliseconds = 6 * SECOND
/** How often the kernel is asked whether the peer sends on the new one. */
const LOOK_INTERVAL: Milliseconds = SECOND / 10

/**
 * The responder's CHILD_SA that replaces none of its own IKE_SA, installed and adopted. `isAlone`: the peer says that it
 * has no other IKE_SA with us. Throws KernelError.
 */
export async function installAnswered(
  session: Session,
  agreed: Agreement,
  contributions: ChildContributions,
  isAlone = false,
): Promise<ChildSa> {
  const { env } = session
  const old = isAlone ? null : carrierOf(session, trafficOf(agreed.localSelectors, agreed.remoteSelectors))
  const child = await installChild(session, agreed, contributions, old === null ? 'now' : 'later')
  if (old !== null) {
    child.relieves = old.child
    child.dueAt = env.clock.now() + LOOK_INTERVAL
  }
  session.adopt(child)
  // It may have gone while the new one was installed: nobody else would notice.
  if (old !== null && !old.session.sa.children.includes(old.child)) await session.activate(child)
  return child
}

/** The CHILD_SA that carries this traffic already, in another IKE_SA of the peer that ends at the same place. */
function carrierOf(session: Session, traffic: string): { readonly session: Session; readonly child: ChildSa } | null {
  for (const twin of session.twins) {
    if (!twin.sa.remote.equals(session.sa.remote)) continue
    const child = twin.sa.children.find(
      (old) => isStanding(old) && old.expiry !== 'hard' && old.traffic === traffic && old.installed.outboundHalf === 'installed',
    )
    if (child !== undefined) return { session: twin, child }
  }
  return null
}

/** It waits for the end of another one: whether it has waited enough. */
export async function lookAtRelief(session: Session, child: ChildSa): Promise<void> {
  const now = session.env.clock.now()
  if (child.installed.outboundHalf === 'pending') {
    const usage = await session.usageOf(child)
    const isUsed = usage !== null && usage.in.packets > 0n
    if (isUsed || now >= child.installedAt + WAITING_TIME) await session.activate(child)
  }
  if (child.installed.outboundHalf === 'pending') {
    child.dueAt = now + LOOK_INTERVAL
    return
  }
  child.relieves = null
  // A rekey was put off meanwhile.
  if (child.expiry !== 'none') child.dueAt = now
}
