/**
 * NAT keepalives (RFC 3948 4, RFC 7296 2.23): the side behind the NAT keeps its mapping alive, nobody else.
 */
import type { Milliseconds } from '../base/time.ts'
import type { NatFacts } from './detection.ts'

/** A faked NAT has no mapping to keep; a peer's NAT is the peer's to keep. */
export function keepsAlive(facts: NatFacts, interval: Milliseconds): boolean {
  return interval > 0 && facts.here
}

export interface KeepalivePlan {
  /**
   * send: nothing has left for a whole interval. wait: something left since and did the keepalive's work.
   * probe: the deadline fired much too late (the machine slept); the mapping may be gone, so ask for an answer.
   */
  readonly step: 'send' | 'wait' | 'probe'
  /** When to look again. */
  readonly next: Milliseconds
}

export interface KeepaliveSituation {
  readonly now: Milliseconds
  /** When the deadline should have fired. */
  readonly due: Milliseconds
  /** When anything last left by this path, IKE or ESP-in-UDP. */
  readonly lastOutbound: Milliseconds
  readonly interval: Milliseconds
  /** charon.keep_alive_dpd_margin; 0 = never probe. */
  readonly dpdMargin: Milliseconds
  /** Whether `lastOutbound` is exact. If it is only a lower bound from counters, they are looked at twice as often. */
  readonly exact: boolean
}

/** What to do when the keepalive deadline is reached; suppressed while traffic flows (strongSwan). */
export function keepalivePlan(seen: KeepaliveSituation): KeepalivePlan {
  const { now, interval } = seen
  const period = seen.exact ? interval : interval / 2
  if (seen.dpdMargin > 0 && now - seen.due > seen.dpdMargin) return { step: 'probe', next: now + period }
  // One sum for the comparison and for the deadline: rounded in two ways, the deadline could be now, again and again.
  const quietUntil = seen.lastOutbound + interval
  if (now >= quietUntil) return { step: 'send', next: now + period }
  return { step: 'wait', next: Math.min(quietUntil, now + period) }
}
