/**
 * Signs of life on the path: NAT keepalives, and the empty INFORMATIONAL that asks for an answer (RFC 7296 2.4).
 */
import { EspalierError } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { ExchangeType } from '../iana/ikev2.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { keepalivePlan, keepsAlive } from '../nat/keepalives.ts'
import { KEEPALIVE } from '../nat/ports.ts'
import { isPeerSilent } from './exchange.ts'
import type { Session } from './session.ts'

/** Begins keepalives if this side is behind a NAT; called when the NAT facts are known and when they change. */
export function startKeepalives(session: Session): void {
  const { sa, env } = session
  const interval = env.settings().keepAlive
  if (!keepsAlive(sa.nat, interval)) return session.clearDeadline('keepalive')
  session.setDeadline('keepalive', env.clock.now() + interval)
}

/** The keepalive deadline `due` was reached. */
export async function handleKeepalive(session: Session, due: Milliseconds): Promise<void> {
  const { sa, env } = session
  const { keepAlive, keepAliveDpdMargin } = env.settings()
  if (!keepsAlive(sa.nat, keepAlive) || sa.state === 'closed') return
  const esp = await lastOutboundEsp(session)
  const now = env.clock.now()
  const plan = keepalivePlan({
    now,
    due,
    lastOutbound: Math.max(sa.lastOutbound, esp.last),
    interval: keepAlive,
    dpdMargin: keepAliveDpdMargin,
    exact: esp.exact,
  })
  session.setDeadline('keepalive', plan.next)
  switch (plan.step) {
    case 'wait':
      return
    case 'send':
      // Counts as outbound itself, so that the next one is a whole interval away.
      sa.lastOutbound = now
      env.network.send(KEEPALIVE, sa.local, sa.remote)
      env.report({ event: 'keepalive-sent', sa })
      return
    case 'probe':
      if (sa.state === 'established') void session.runExchange(probe, 'probe')
  }
}

/** The liveness deadline was reached: asks the peer whether it is there, if it has been quiet for dpd_delay. */
export async function handleLiveness(session: Session): Promise<void> {
  const { sa, env } = session
  const delay = sa.connection?.dpdDelay ?? 0
  if (delay === 0 || sa.state !== 'established') return
  const now = env.clock.now()
  // An exchange that is under way tells as much (strongSwan).
  if (session.tasks.running !== null) return session.setDeadline('liveness', now + delay)
  // One sum for the comparison and for the deadline: rounded in two ways, the deadline could be now, again and again.
  let quietUntil = sa.lastInbound + delay
  if (now >= quietUntil) quietUntil = Math.max(quietUntil, (await lastInboundEsp(session)) + delay)
  if (now < quietUntil) return session.setDeadline('liveness', quietUntil)
  session.setDeadline('liveness', now + delay)
  void session.runExchange(probe, 'probe')
}

/** Asks the peer whether it is there. */
export async function probe(session: Session): Promise<void> {
  const { sa, env } = session
  if (sa.state !== 'established') return
  env.report({ event: 'liveness-checked', sa })
  await ask(session, [])
}

/** An INFORMATIONAL whose answer says no more than that the peer lives; one that stays silent is gone, and its IKE_SA with it. */
export async function ask(session: Session, payloads: readonly Payload[]): Promise<void> {
  try {
    await session.exchanges.request(ExchangeType.INFORMATIONAL, payloads)
  } catch (error) {
    if (isPeerSilent(error)) await session.losePeer()
    else if (!(error instanceof EspalierError)) throw error
  }
}

/**
 * When the peer was last heard by ESP, as far as that takes the way of IKE: in UDP (strongSwan). Where the kernel does
 * not tell (below 6.2), a count that moved since the last look means now: some time since then.
 */
async function lastInboundEsp(session: Session): Promise<Milliseconds> {
  const { sa, env } = session
  const now = env.clock.now()
  let last: Milliseconds = Number.NEGATIVE_INFINITY
  let packets = 0n
  for (const child of sa.children) {
    if (!child.encapsulated) continue
    const usage = await session.usageOf(child)
    if (usage === null) continue
    const { lastUsedSeconds } = usage.in
    if (lastUsedSeconds === null) packets += usage.in.packets
    else last = Math.max(last, now - (env.clock.wall() - lastUsedSeconds * SECOND))
  }
  if (packets > session.espHeard) last = now
  session.espHeard = packets
  return last
}

/**
 * When ESP-in-UDP last left on this path. A kernel from 6.2 on tells (`exact`); on an older one a count that moved
 * since the last look means some time after that look, and the earliest such time is taken.
 */
async function lastOutboundEsp(session: Session): Promise<{ readonly last: Milliseconds; readonly exact: boolean }> {
  const { sa, env } = session
  const now = env.clock.now()
  let last: Milliseconds = Number.NEGATIVE_INFINITY
  let packets = 0n
  let exact = true
  for (const child of sa.children) {
    if (!child.encapsulated) continue
    const usage = await session.usageOf(child)
    if (usage === null) continue
    packets += usage.out.packets
    if (usage.out.lastUsedSeconds !== null) last = Math.max(last, now - (env.clock.wall() - usage.out.lastUsedSeconds * SECOND))
    else if (usage.out.packets > 0n) exact = false
  }
  if (!exact && packets > session.espSeen.packets) last = Math.max(last, session.espSeen.at)
  session.espSeen = { packets, at: now }
  return { last, exact }
}
