/**
 * NAT keepalives of an IKE_SA (RFC 3948 4, RFC 7296 2.23): its one deadline for them, and what has left meanwhile, by
 * IKE, which is known, or by ESP-in-UDP, which the kernel is asked about.
 */
import type { Milliseconds } from '../base/time.ts'
import { SECOND } from '../base/time.ts'
import type { InstalledChild } from '../kernel/installed.ts'
import { KernelError, type Usage } from '../kernel/vocabulary.ts'
import { keepaliveDue, keepalivePlan, keepsAlive } from '../nat/keepalives.ts'
import { KEEPALIVE } from '../nat/ports.ts'
import { keepaliveInterval, tendProbes } from './adaptive.ts'
import type { Environment } from './environment.ts'
import { probe } from './liveness.ts'
import type { ChildSa, IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/** Begins keepalives if this side is behind a NAT; called when the NAT facts are known, and when they or the endpoints change. */
export function startKeepalives(session: Session): void {
  const { sa, env } = session
  const interval = keepaliveInterval(session)
  // Without a way there is no mapping to keep, either.
  if (sa.isStale || !keepsAlive(sa.nat, interval)) return session.clearDeadline('keepalive')
  setDeadline(session, Math.max(env.clock.now(), keepaliveDue(sa.lastOutbound, interval)))
}

/** One deadline for keepalives and for what finds out how often they are needed. */
function setDeadline(session: Session, at: Milliseconds): void {
  const { probes } = session
  if (probes !== null) probes.keepaliveAt = at
  session.setDeadline('keepalive', probes === null ? at : Math.min(at, probes.dueAt))
}

/** A keepalive deadline that was reached, and when it should have been. */
export interface KeepaliveDue {
  readonly session: Session
  readonly at: Milliseconds
}

/** One whose CHILD_SAs the kernel is asked about: `children` of those asked about, from `first` on. */
interface Asked extends KeepaliveDue {
  readonly interval: Milliseconds
  readonly first: number
  readonly children: number
}

/**
 * Keepalive deadlines were reached, of many IKE_SAs at once. Only where ESP goes into UDP, and IKE has been silent, does
 * it take the kernel, which is asked about all of them together. They wait for no turn (turns.ts): nothing else is in the
 * way of a keepalive, and what has become of an IKE_SA while the kernel was asked is looked at again.
 */
export function handleKeepalives(books: Environment['books'], all: readonly KeepaliveDue[]): void {
  const asked: Asked[] = []
  const installed: InstalledChild[] = []
  for (const { session, at } of all) {
    guarded(session, () => {
      const { sa, env } = session
      const interval = keepaliveInterval(session)
      if (!isKept(sa, interval)) return
      tendProbes(session)
      // Where the kernel only counts, the count is taken in the middle of the interval as well.
      const isFresh = session.espSeen.exact && env.clock.now() < keepaliveDue(sa.lastOutbound, interval)
      const first = installed.length
      if (!isFresh) for (const child of sa.children) if (sendsInUdp(child)) installed.push(child.installed)
      const children = installed.length - first
      if (children === 0) keepAliveOr(session, at, interval, NO_ESP)
      else asked.push({ session, at, interval, first, children })
    })
  }
  if (asked.length === 0) return
  lookAndKeepAlive(books, asked, installed).catch((error: unknown) => {
    for (const { session } of asked) session.enqueue(() => session.breakDown(error))
  })
}

async function lookAndKeepAlive(
  books: Environment['books'],
  asked: readonly Asked[],
  installed: readonly InstalledChild[],
): Promise<void> {
  const usages = await books.outboundUsages(installed)
  for (const { session, at, interval, first, children } of asked) {
    guarded(session, () => {
      // Whatever happened meanwhile may have set another.
      if (!isKept(session.sa, interval) || session.deadlines.keepalive !== null) return
      keepAliveOr(session, at, interval, lastOutboundEsp(session, usages.slice(first, first + children)))
    })
  }
}

function isKept(sa: IkeSa, interval: Milliseconds): boolean {
  return sa.state !== 'closed' && !sa.isStale && keepsAlive(sa.nat, interval)
}

/** Our own mistake costs this IKE_SA and no other. */
function guarded(session: Session, work: () => void): void {
  try {
    work()
  } catch (error) {
    session.enqueue(() => session.breakDown(error))
  }
}

/** What is known of ESP-in-UDP: when it last left, and whether that is exact or only the earliest that it may have been. */
interface OutboundEsp {
  readonly last: Milliseconds
  readonly exact: boolean
}

const NO_ESP: OutboundEsp = { last: Number.NEGATIVE_INFINITY, exact: true }

/** Sends a keepalive, or does what is to be done instead. */
function keepAliveOr(session: Session, due: Milliseconds, interval: Milliseconds, esp: OutboundEsp): void {
  const { sa, env, probes } = session
  const { keepAliveDpdMargin: dpdMargin } = env.settings()
  const now = env.clock.now()
  const lastOutbound = Math.max(sa.lastOutbound, esp.last)
  const plan = keepalivePlan({ now, due, lastOutbound, interval, dpdMargin, exact: esp.exact })
  // A deadline that was a probe's says nothing about keepalives.
  const isOurs = probes === null || now >= probes.keepaliveAt
  setDeadline(session, plan.next)
  switch (plan.step) {
    case 'wait':
      if (!isOurs) return
      sa.path.keepalivesSuppressed++
      env.report({ event: 'keepalive-suppressed', sa })
      return
    case 'send':
      // Counts as outbound itself, so that the next one is a whole interval away.
      sa.lastOutbound = now
      sa.path.keepalivesSent++
      env.network.send(KEEPALIVE, sa.local, sa.remote)
      env.report({ event: 'keepalive-sent', sa })
      return
    case 'probe':
      // What is under way asks for an answer as well (strongSwan).
      if (sa.state !== 'established' || session.tasks.running !== null) return
      env.report({ event: 'keepalive-late', sa, silence: now - lastOutbound })
      void session.runExchange(probe, 'probe')
  }
}

function sendsInUdp({ encapsulated, installed }: ChildSa): boolean {
  return encapsulated && installed.outboundHalf === 'installed'
}

/**
 * When ESP-in-UDP last left on this path. A kernel from 6.2 on tells; on an older one a count that moved since the last
 * look means some time after that look, and the earliest such time is taken. Where the kernel has no state any more, or
 * will not tell, a keepalive is sent.
 */
function lastOutboundEsp(session: Session, usages: readonly (Usage | KernelError | null)[]): OutboundEsp {
  const { env } = session
  const now = env.clock.now()
  let last: Milliseconds = Number.NEGATIVE_INFINITY
  let packets = 0n
  let exact = true
  for (const usage of usages) {
    if (usage instanceof KernelError) env.report({ event: 'kernel-refused', error: usage })
    if (usage === null || usage instanceof KernelError) continue
    packets += usage.packets
    if (usage.lastUsedSeconds !== null) last = Math.max(last, now - (env.clock.wall() - usage.lastUsedSeconds * SECOND))
    else if (usage.packets > 0n) exact = false
  }
  if (!exact && packets > session.espSeen.packets) last = Math.max(last, session.espSeen.at)
  session.espSeen = { packets, at: now, exact }
  return { last, exact }
}
