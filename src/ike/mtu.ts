/**
 * How large packets through a CHILD_SA may be: from what the kernel knows of the way to the peer, and what ESP takes.
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import { innerMtu } from '../nat/mtu.ts'
import { childSuiteOf } from '../negotiate/proposals.ts'
import type { ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** The way's MTU changes as the kernel learns of narrow places on it, and forgets them after ten minutes. */
const FRESH: Milliseconds = 30 * SECOND

/** Octets that a packet to the peer may have, as the kernel knows now; null where it does not. Not asked each time. */
export async function outerMtu({ sa, env }: Session): Promise<number | null> {
  const { path } = sa
  const now = env.clock.now()
  if (path.mtu !== null && now - path.mtu.at < FRESH) return path.mtu.octets
  const octets = await env.host.mtu(sa.local.address, sa.remote.address)
  path.mtu = { at: now, octets }
  return octets
}

/** The largest packet, its IP header included, that goes through it where `outer` is the most that goes outside; null: not known. */
export function childMtu(child: ChildSa, outer: number | null): number | null {
  if (outer === null) return null
  const { encr, integ } = childSuiteOf(child.proposal)
  const { destination, encapsulation } = child.installed.outbound
  return innerMtu(outer, {
    mode: child.mode,
    family: destination.family,
    encapsulated: encapsulation !== null,
    encryption: encr.id,
    integrity: integ?.id ?? null,
  })
}
