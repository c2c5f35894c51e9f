/**
 * An IKE_SA whose endpoints move, in mid-life: it goes on where it is, and all its CHILD_SAs follow in the kernel, those
 * that are being replaced, and those that are to go, as well. Whether the peer is followed is nat/moves.ts' to say.
 */
import type { Endpoint } from '../base/ip.ts'
import { KernelError, type KernelEvent } from '../kernel/vocabulary.ts'
import { encapsulates, type NatFacts } from '../nat/detection.ts'
import { remoteAfterMapping, type MoveFacts } from '../nat/moves.ts'
import type { MoveCause, Way } from '../nat/path.ts'
import { startKeepalives } from './keepalive.ts'
import type { ChildSa, IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/**
 * For a piece of work of that session (turns.ts): from now on the IKE_SA has these endpoints. An outstanding request
 * follows with its next transmission. Where nothing changes, nothing happens. What the kernel refuses is told, and tried
 * again with the next move.
 */
export async function moveEndpoints(session: Session, to: Way & { readonly nat?: NatFacts }, cause: MoveCause): Promise<void> {
  const { sa, env } = session
  if (sa.state === 'closed') return
  const from: Way = { local: sa.local, remote: sa.remote }
  const isElsewhere = !to.local.equals(from.local) || !to.remote.equals(from.remote)
  if (isElsewhere) {
    sa.path.noteMove({ at: env.clock.now(), from, to: { local: to.local, remote: to.remote }, cause })
    // strongSwan: told while the IKE_SA still has the old ones.
    env.report({ event: 'endpoints-moved', sa, from, to: { local: to.local, remote: to.remote }, cause })
    sa.local = to.local
    sa.remote = to.remote
  }
  if (to.nat !== undefined) sa.nat = to.nat
  if (to.nat !== undefined || !to.local.equals(from.local)) startKeepalives(session)
  const strays = sa.children.filter((child) => isAstray(sa, child))
  for (const child of strays) await moveChild(session, child)
}

/** Whether the kernel has it elsewhere than its IKE_SA is. */
function isAstray(sa: IkeSa, { installed: { inbound } }: ChildSa): boolean {
  if (!inbound.source.equals(sa.remote.address) || !inbound.destination.equals(sa.local.address)) return true
  const { encapsulation } = inbound
  if ((encapsulation !== null) !== encapsulates(sa.nat)) return true
  return (
    encapsulation !== null && (encapsulation.sourcePort !== sa.remote.port || encapsulation.destinationPort !== sa.local.port)
  )
}

async function moveChild({ sa, env }: Session, { installed }: ChildSa): Promise<void> {
  try {
    await env.books.update(installed, { localPort: sa.local.port, remotePort: sa.remote.port })
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    env.report({ event: 'kernel-refused', error })
  }
}

/**
 * The kernel saw authentic ESP of a CHILD_SA from elsewhere. One such event comes for every packet until its state is
 * updated, so of many only the last is acted upon. `tell` is called if something new follows from it.
 */
export function handleMapping(
  session: Session,
  { from, to }: Extract<KernelEvent, { event: 'mapping' }>,
  tell: () => void,
): void {
  if (remoteAfterMapping(moveFacts(session.sa), from, to) === null) return
  const isQueued = session.mappedTo !== null
  session.mappedTo = to
  if (isQueued) return
  tell()
  session.enqueue(() => followMapping(session, from))
}

async function followMapping(session: Session, from: Endpoint): Promise<void> {
  const { sa, mappedTo } = session
  session.mappedTo = null
  if (mappedTo === null || sa.state === 'closed') return
  const remote = remoteAfterMapping(moveFacts(sa), from, mappedTo)
  if (remote !== null) await moveEndpoints(session, { local: sa.local, remote }, 'mapping')
}

function moveFacts(sa: IkeSa): MoveFacts {
  return {
    nat: sa.nat,
    mobike: 'mobike' in sa && sa.mobike !== null,
    isOriginalInitiator: sa.originalRole === 'initiator',
    current: { local: sa.local, remote: sa.remote },
  }
}
