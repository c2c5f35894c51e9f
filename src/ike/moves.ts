/**
 * An IKE_SA whose endpoints move, in mid-life: it goes on where it is, and all its CHILD_SAs follow in the kernel, those
 * that are being replaced, and those that are to go, as well. Whether the peer is followed is nat/moves.ts' to say.
 */
import type { IpAddress } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { ExchangeType } from '../iana/ikev2.ts'
import type { KernelEvent } from '../kernel/vocabulary.ts'
import { hostRange, isAt, isHost, whereaboutsOf, type Whereabouts } from '../kernel/relocation.ts'
import { encapsulates, type NatFacts } from '../nat/detection.ts'
import { afterMove, mappingTime, remoteAfterMapping, remoteAfterMessage, type MoveFacts } from '../nat/moves.ts'
import type { MoveCause, Way } from '../nat/path.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import { handleHardExpiry, handleSoftExpiry } from './child-life.ts'
import { claimOf, trafficOf } from './child.ts'
import type { Arrival } from './exchange.ts'
import { startKeepalives } from './keepalive.ts'
import type { ChildSa, IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/** What the kernel refused is asked for again after this time. */
const RETRY_INTERVAL: Milliseconds = 10 * SECOND

/**
 * For a piece of work of that session (turns.ts): from now on the IKE_SA has these endpoints. An outstanding request
 * follows with its next transmission. Where nothing changes, nothing happens. What the kernel refuses is told, and tried
 * again.
 */
export async function moveEndpoints(session: Session, to: Way & { readonly nat?: NatFacts }, cause: MoveCause): Promise<void> {
  const { sa, env } = session
  if (sa.state === 'closed') return
  const from: Way = { local: sa.local, remote: sa.remote }
  const isElsewhere = !to.local.equals(from.local) || !to.remote.equals(from.remote)
  if (isElsewhere) {
    // Older news than this.
    session.mappedTo = null
    session.clearDeadline('move')
    sa.path.noteMove({ at: env.clock.now(), from, to: { local: to.local, remote: to.remote }, cause })
    // strongSwan: told while the IKE_SA still has the old ones.
    env.report({ event: 'endpoints-moved', sa, from, to: { local: to.local, remote: to.remote }, cause })
    sa.local = to.local
    sa.remote = to.remote
    // The old one may still be asking the peer to delete it.
    for (let { elder } = session; elder !== null; elder = elder.elder) {
      elder.sa.local = to.local
      elder.sa.remote = to.remote
    }
  }
  const nat = to.nat ?? sa.nat
  const keepsOther = nat.here !== sa.nat.here || !to.local.equals(from.local)
  sa.nat = nat
  if (keepsOther) startKeepalives(session)
  await moveChildren(session)
}

/**
 * The kernel has them where the IKE_SA is now, all that there are. One that it cannot have there is replaced by one that
 * is made there; one that it lost on the way, as if its time were over.
 */
async function moveChildren(session: Session): Promise<void> {
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
    const selectors = movedSelectors(session, child)
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
  const isUnfinished = moving.some(({ installed }) => stranded.has(installed) || installed.isUnsettled)
  if (isUnfinished) session.setDeadline('move', env.clock.now() + RETRY_INTERVAL)
}

interface Selectors {
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

/**
 * A selector that is the address of an end is so because it is that end's (`dynamic`), and follows it (strongSwan); but
 * not to traffic that another peer has.
 */
function movedSelectors({ sa, env }: Session, child: ChildSa): Selectors {
  const { localSelectors, remoteSelectors, separation } = child
  const from = whereaboutsOf(child.installed.inbound)
  const local = followed(localSelectors, from.local, sa.local.address)
  const remote = followed(remoteSelectors, from.remote, sa.remote.address)
  const families = new Set([...local, ...remote].map(({ range }) => range.family))
  const before = new Set([...localSelectors, ...remoteSelectors].map(({ range }) => range.family))
  // No packet goes from one family into the other: an inner address of the old one stays what it is.
  const isMixed = families.size > before.size
  const isKept = isMixed || env.traffic.holder(claimOf(local, remote, separation), sa) !== null
  return isKept ? { local: localSelectors, remote: remoteSelectors } : { local, remote }
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
 * Something authentic came, of a message that is none of before. The IKE_SA moves by it if the rules say so; if it is
 * this one, the promise tells when it has. Of a line of IKE_SAs that one moves that has the CHILD_SAs.
 */
export function followMessage(session: Session, { local, remote, message: { header } }: Arrival): Promise<void> | null {
  const { sa, opening } = session
  // Their sources are for init.ts and auth.ts to look at.
  if (header.exchangeType === ExchangeType.IKE_SA_INIT || (sa.role === 'responder' && opening !== null)) return null
  const holder = holderOf(session)
  const move = (): Promise<void> | null => {
    const moved = remoteAfterMessage(moveFacts(holder.sa), { local, remote })
    return moved === null ? null : moveEndpoints(holder, { local: holder.sa.local, remote: moved }, 'ike-message')
  }
  if (holder === session) return move()
  // Not waited for: it may be waiting for us.
  holder.enqueue(() => move() ?? undefined)
  return null
}

/** Before it has taken over the old one has them, afterwards the new one. */
function holderOf(session: Session): Session {
  let holder = session
  while (holder.successor !== null) holder = holder.successor
  return holder.isSuccessor && holder.predecessor !== null ? holder.predecessor : holder
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
  const isExpected = session.mappedTo !== null
  session.mappedTo = to
  if (isExpected) return
  tell()
  session.enqueue(() => followMapping(session))
}

/** For a piece of work: what could not be done at its time is done now. */
export async function handleMoveDeadline(session: Session): Promise<void> {
  await followMapping(session)
  await moveChildren(session)
}

/** For a piece of work: the peer is followed to where its ESP last came from, if it was not too often of late. */
async function followMapping(session: Session): Promise<void> {
  const { sa, env, mappedTo } = session
  if (mappedTo === null || sa.state === 'closed') return
  const now = env.clock.now()
  const at = mappingTime(session.mappingsUntil, now)
  if (at > now) return session.setDeadline('move', at)
  session.mappedTo = null
  if (mappedTo.equals(sa.remote)) return
  session.mappingsUntil = afterMove(session.mappingsUntil, now)
  await moveEndpoints(session, { local: sa.local, remote: mappedTo }, 'mapping')
}

function moveFacts(sa: IkeSa): MoveFacts {
  return {
    nat: sa.nat,
    mobike: sa.mobike !== null,
    isOriginalInitiator: sa.originalRole === 'initiator',
    current: { local: sa.local, remote: sa.remote },
  }
}
