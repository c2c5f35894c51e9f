/**
 * An IKE_SA whose endpoints move, in mid-life: it goes on where it is, and all its CHILD_SAs follow in the kernel, those
 * that are being replaced, and those that are to go, as well. Whether the peer is followed is nat/moves.ts' to say.
 */
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { KernelEvent } from '../kernel/vocabulary.ts'
import { hostRange, isAt, isHost, type Whereabouts } from '../kernel/relocation.ts'
import { encapsulates, type NatFacts } from '../nat/detection.ts'
import { remoteAfterMapping, type MoveFacts } from '../nat/moves.ts'
import type { MoveCause, Way } from '../nat/path.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import { handleHardExpiry, handleSoftExpiry } from './child-life.ts'
import { claimOf, trafficOf } from './child.ts'
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
  await moveChildren(session, from)
}

/**
 * The kernel has them where the IKE_SA is now, all that there are. One that it cannot have there is replaced by one that
 * is made there; one that it lost on the way, as if its time were over.
 */
async function moveChildren(session: Session, from: Way): Promise<void> {
  const { sa, env } = session
  const encapsulated = encapsulates(sa.nat)
  const to: Whereabouts = {
    local: sa.local.address,
    remote: sa.remote.address,
    encapsulation: encapsulated ? { localPort: sa.local.port, remotePort: sa.remote.port } : null,
  }
  const moving = sa.children.filter(
    ({ installed }) => installed.isUnsettled || !isAt(installed.inbound, to) || !isAt(installed.outbound, to),
  )
  if (moving.length === 0) return
  const relocations = moving.map((child) => {
    const selectors = movedSelectors(child, from, sa)
    const dynamic = {
      local: selectors.local !== child.localSelectors,
      remote: selectors.remote !== child.remoteSelectors,
    }
    return { child, selectors, relocation: { installed: child.installed, to, dynamic } }
  })
  const { errors, stranded, lost } = await env.books.move(relocations.map(({ relocation }) => relocation))
  for (const error of errors) env.report({ event: 'kernel-refused', error })
  for (const { child, selectors } of relocations) {
    if (!sa.children.includes(child)) continue
    if (lost.has(child.installed)) handleHardExpiry(session, child)
    else if (stranded.has(child.installed)) handleSoftExpiry(session, child)
    if (stranded.has(child.installed)) continue
    child.encapsulated = encapsulated
    rename(session, child, selectors)
  }
}

interface Selectors {
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

/** A selector that is the address of an end is so because it is that end's (`dynamic`), and follows it (strongSwan). */
function movedSelectors({ localSelectors, remoteSelectors }: ChildSa, from: Way, to: Way): Selectors {
  const local = followed(localSelectors, from.local.address, to.local.address)
  const remote = followed(remoteSelectors, from.remote.address, to.remote.address)
  const families = new Set([...local, ...remote].map(({ range }) => range.family))
  const before = new Set([...localSelectors, ...remoteSelectors].map(({ range }) => range.family))
  // No packet goes from one family into the other: an inner address of the old one stays what it is.
  return families.size > before.size ? { local: localSelectors, remote: remoteSelectors } : { local, remote }
}

function followed(selectors: readonly TrafficSelector[], from: IpAddress, to: IpAddress): readonly TrafficSelector[] {
  if (from.equals(to) || !selectors.some(({ range }) => isHost(range, from))) return selectors
  return selectors.map((selector) => (isHost(selector.range, from) ? { ...selector, range: hostRange(to) } : selector))
}

/** Its traffic goes by another name, under which its successors find it. */
function rename({ sa, env }: Session, child: ChildSa, { local, remote }: Selectors): void {
  if (local === child.localSelectors && remote === child.remoteSelectors) return
  const claim = claimOf(local, remote, child.separation)
  child.localSelectors = local
  child.remoteSelectors = remote
  if (child.connection.reqid === 0 && !env.books.reqids.rename(child.claim, claim)) return
  env.traffic.claim(claim, sa)
  env.traffic.release(child.claim, sa)
  child.traffic = trafficOf(local, remote)
  child.claim = claim
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
