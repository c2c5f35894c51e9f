/**
 * A packet met a trap: a CHILD_SA for it is made in an IKE_SA that stands, or is about to.
 */
import { EspalierError } from '../base/errors.ts'
import { carries, packetFirst, type PacketTraffic } from './asked-traffic.ts'
import type { ChildConnection } from './connection.ts'
import { createChild, inLasting } from './create-child.ts'
import type { Session } from './session.ts'

/** Makes it when the exchanges before are over, unless there is one by then. What it comes to is reported; rejects with the EspalierError. */
export async function answerPacket(session: Session, child: ChildConnection, packet: PacketTraffic): Promise<void> {
  const outcome = await inLasting(session, async (current) => {
    const { sa, env } = current
    // The same IKE_SA may have made it already, as its first one or for another packet (strongSwan: check_for_duplicate).
    const isCarried = sa.children.some(
      (up) =>
        up.state === 'installed' && up.connection.name === child.name && carries(up.localSelectors, up.remoteSelectors, packet),
    )
    if (isCarried) return 'carried'
    try {
      await createChild(current, child, packetFirst(child, packet))
      return 'carried'
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      env.report({ event: 'child-failed', sa, name: child.name, error })
      return error
    }
  })
  if (outcome === null) throw new EspalierError('caller', 'NOT_ESTABLISHED', `the IKE_SA of child ${child.name} is gone`)
  if (outcome instanceof EspalierError) throw outcome
}
