/**
 * NAT keepalives (RFC 3948 4, RFC 7296 2.23): the side behind the NAT keeps its mapping alive, nobody else.
 */
import type { Milliseconds } from '../base/time.ts'
import type { NatFacts } from './detection.ts'

/** A faked NAT has no mapping to keep; a peer's NAT is the peer's to keep. */
export function keepsAlive(facts: NatFacts, interval: Milliseconds): boolean {
  return interval > 0 && facts.here
}

/** Deadlines of keepalives fall on these marks, so that those of many IKE_SAs leave together, in few batches. */
const MARK: Milliseconds = 100

/** The mark before the end of a quiet `interval` that began at `from`: by a fraction of it too early, never too late. */
export function keepaliveDue(from: Milliseconds, interval: Milliseconds): Milliseconds {
  const mark = Math.min(MARK, interval / 10)
  return Math.floor((from + interval) / mark) * mark
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
  const next = keepaliveDue(now, seen.exact ? interval : interval / 2)
  if (seen.dpdMargin > 0 && now - seen.due > seen.dpdMargin) return { step: 'probe', next }
  // One sum for the comparison and for the deadline: rounded in two ways, the deadline could be now, again and again.
  const quietUntil = keepaliveDue(seen.lastOutbound, interval)
  if (now >= quietUntil) return { step: 'send', next }
  return { step: 'wait', next: Math.min(quietUntil, next) }
}
