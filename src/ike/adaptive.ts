/**
 * Adaptive keepalives of an IKE_SA: which interval it keeps to, and, if it is the one of its network that probes, the
 * probes. What they teach is nat/adaptive.ts' affair.
 *
 *   HDR, SK { N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP) }  -->     from the probe port
 *                 <--  HDR, SK { N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP) }
 *
 * To the peer it is the test of a path (RFC 4555 3.10), which moves nothing; that takes MOBIKE. A probe that stays without
 * an answer goes on along the way of the IKE_SA, as any other request of it, and has taught nothing.
 */
import { equalBytes } from '../base/bytes.ts'
import { Endpoint } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { findNotify } from '../message/ikev2/find.ts'
import type { MappingLifetime, ProbeFlow } from '../nat/adaptive.ts'
import type { Way } from '../nat/path.ts'
import { natDetection } from './init.ts'
import { answerTo } from './liveness.ts'
import { watchesMapping } from './nat-mapping.ts'
import type { Session } from './session.ts'

/** Many NATs keep a flow for longer once it has gone on for some seconds (Linux: two). */
const WARM_UP: Milliseconds = 3 * SECOND
/** So many probes in a row without use, and this IKE_SA probes no more: the port is blocked, or the peer sends no hashes. */
const USELESS_MAX = 3

/** How long nothing may leave; 0 = there are no keepalives. */
export function keepaliveInterval(session: Session): Milliseconds {
  const { sa, env } = session
  const fixed = env.settings().keepAlive
  const wanted = sa.connection?.keepAlive ?? null
  if (wanted === null) return fixed
  if (wanted !== 'adaptive') return wanted
  const lifetime = lifetimeFor(session)
  return lifetime === null || fixed === 0 ? fixed : lifetime.interval(fixed)
}

/** To be called whenever keepalives are looked at: lets this IKE_SA probe if somebody has to and nobody does, when it is time. */
export function tendProbes(session: Session): void {
  const { sa, env } = session
  if (sa.connection?.keepAlive !== 'adaptive') return
  const fixed = env.settings().keepAlive
  const lifetime = fixed === 0 || sa.state !== 'established' ? null : lifetimeFor(session)
  sa.path.learntLifetime = lifetime?.known ?? null
  if (session.probes !== null && session.probes.lifetime !== lifetime) endProbes(session)
  if (lifetime === null) return
  const now = env.clock.now()
  const flow = (session.probes ??= beginProbes(session, lifetime, fixed, now))
  if (flow === null || now < flow.dueAt) return
  // Set again when the exchange is over, however it ends.
  flow.dueAt = Number.POSITIVE_INFINITY
  void session.runExchange((current) => (current === session ? probeMapping(session, flow) : Promise.resolve()), 'probe')
}

/** What is learnt of the NAT before this IKE_SA; null where nothing can be. */
function lifetimeFor(session: Session): MappingLifetime | null {
  const { sa, env } = session
  return watchesMapping(session) && !sa.isStale && !session.isProbedInVain ? env.mappings.of(sa.local.address) : null
}

function beginProbes(session: Session, lifetime: MappingLifetime, fixed: Milliseconds, now: Milliseconds): ProbeFlow | null {
  const isTaken = lifetime.prober !== null && lifetime.prober !== session && lifetime.prober.isProbing
  if (isTaken || lifetime.nextGap(fixed, now) === null) return null
  lifetime.prober = session
  return { lifetime, dueAt: now, keepaliveAt: now, hash: null, sentAt: 0, heardAt: 0, isWarm: false, useless: 0 }
}

function endProbes(session: Session): void {
  if (session.probes?.lifetime.prober === session) session.probes.lifetime.prober = null
  session.probes = null
}

async function probeMapping(session: Session, flow: ProbeFlow): Promise<void> {
  const { sa, env } = session
  const port = env.network.probePort(sa.local.address.family)
  // It came to another way meanwhile, or is looking for one.
  if (session.probes !== flow || sa.state !== 'established' || sa.isStale || session.exchanges.ways !== null) {
    endProbes(session)
    return session.tellOfMapping()
  }
  if (port === null) return giveUp(session)
  const way: Way = { local: new Endpoint(sa.local.address, port), remote: sa.remote }
  const sentBefore = flow.sentAt
  const sentAt = env.clock.now()
  const answer = await answerTo(session, natDetection(session, false, way), way)
  if (answer === null) return
  const now = env.clock.now()
  const hash = answer.local.port === port ? findNotify(answer.payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)?.data : undefined
  const before = flow.hash
  if (hash === undefined) {
    flow.hash = null
    if (++flow.useless === USELESS_MAX) return giveUp(session)
  } else {
    flow.useless = 0
    flow.hash = hash.slice()
  }
  const isSame = hash !== undefined && before !== null && equalBytes(before, hash)
  const fixed = env.settings().keepAlive
  if (flow.isWarm && before !== null && hash !== undefined) {
    // On the safe side in either case: an answer may have done the mapping good as well.
    const gap = isSame ? sentAt - flow.heardAt : sentAt - sentBefore
    flow.lifetime.note(gap, isSame ? 'survived' : 'lost', fixed, now)
    env.report({ event: 'mapping-probed', sa, gap, survived: isSame, lifetime: flow.lifetime.known })
  }
  flow.isWarm = isSame
  flow.sentAt = sentAt
  flow.heardAt = now
  const gap = flow.lifetime.nextGap(fixed, now)
  if (gap === null) endProbes(session)
  else flow.dueAt = now + (isSame ? gap : WARM_UP)
  // All of this network keep to what is known now.
  session.tellOfMapping()
}

/** It can teach nothing; another one may. */
function giveUp(session: Session): void {
  session.isProbedInVain = true
  endProbes(session)
  session.tellOfMapping()
}
