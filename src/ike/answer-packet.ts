/**
 * A packet met a trap: a CHILD_SA for it is made in an IKE_SA that stands, or is about to.
 */
import { EspalierError } from '../base/errors.ts'
import { carries, packetFirst, type PacketTraffic } from './asked-traffic.ts'
import type { ChildConnection } from './connection.ts'
import { createChild } from './create-child.ts'
import { isPeerSilent, SA_CLOSED } from './exchange.ts'
import type { Session } from './session.ts'

/** Makes it when the exchanges before are over, unless there is one by then. What it comes to is reported; rejects with the EspalierError. */
export async function answerPacket(session: Session, child: ChildConnection, packet: PacketTraffic): Promise<void> {
  let failure: EspalierError | null = new EspalierError('caller', 'NOT_ESTABLISHED', `the IKE_SA of child ${child.name} is gone`)
  await session.runExchange(async (current) => {
    const { sa, env } = current
    failure = null
    // The same IKE_SA may have made it already, as its first one or for another packet (strongSwan: check_for_duplicate).
    const isCarried = sa.children.some(
      (up) =>
        up.state === 'installed' && up.connection.name === child.name && carries(up.localSelectors, up.remoteSelectors, packet),
    )
    if (isCarried) return
    try {
      await createChild(current, child, packetFirst(child, packet))
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      failure = error
      env.report({ event: 'child-failed', sa, name: child.name, error })
    }
  }, 'create-child')
  if (failure !== null) throw failure
}

/** Whether the IKE_SA was lost, rather than a CHILD_SA refused in it. */
export function isLost(error: EspalierError): boolean {
  return isPeerSilent(error) || error.code === SA_CLOSED || error.code === 'NOT_ESTABLISHED'
}
