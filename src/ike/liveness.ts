/**
 * Whether the peer is there: what it sends says so, and the empty INFORMATIONAL asks for an answer (RFC 7296 2.4).
 */
import { EspalierError } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { ExchangeType } from '../iana/ikev2.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import type { Way } from '../nat/path.ts'
import { isPeerSilent, type Received } from './exchange.ts'
import { natDetection } from './init.ts'
import { noteMapping, watchesMapping } from './nat-mapping.ts'
import type { Session } from './session.ts'

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
  if (!watchesMapping(session)) return ask(session, [])
  // Where we were seen is not known yet: an update asks, and says it to the peer, too, whatever has moved meanwhile.
  if (sa.mobike?.destinationHash === null) return session.wantMobike({ update: true })
  const answer = await answerTo(session, natDetection(session))
  if (answer === null || noteMapping(session, answer) !== 'changed') return
  env.report({ event: 'mapping-changed', sa })
  session.wantMobike({ update: true })
}

/** An INFORMATIONAL whose answer says no more than that the peer lives; one that stays silent is gone, and its IKE_SA with it. */
export async function ask(session: Session, payloads: readonly Payload[]): Promise<void> {
  await answerTo(session, payloads)
}

/** Null if there is none. A question that tests another way goes along that, the first time. */
export async function answerTo(session: Session, payloads: readonly Payload[], way: Way | null = null): Promise<Received | null> {
  try {
    return await session.exchanges.request(ExchangeType.INFORMATIONAL, payloads, way)
  } catch (error) {
    if (isPeerSilent(error)) await session.losePeer()
    else if (!(error instanceof EspalierError)) throw error
    return null
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
