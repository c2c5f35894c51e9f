/**
 * When the peer is followed to where it was seen: the rules of RFC 7296 2.23 and RFC 4555 3.8, as strongSwan has them,
 * and stricter in one thing: what comes by another of our own endpoints than the IKE_SA's has another mapping, and says
 * nothing of ours.
 *
 * Before there is anything to move, IKE_SA_INIT tells an initiator its own address and never the peer's (init.ts), and
 * the first request of IKE_AUTH tells a responder both (auth.ts).
 */
import type { Endpoint } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { NatFacts } from './detection.ts'
import type { Way } from './path.ts'

export interface MoveFacts {
  readonly nat: NatFacts
  /** Both sides do MOBIKE: then the initiator says where it is (RFC 4555 3.5), and no message's source does. */
  readonly mobike: boolean
  /** We began the first IKE_SA of the line. */
  readonly isOriginalInitiator: boolean
  readonly current: Way
}

/**
 * strongSwan: only a peer behind a NAT is followed. If we are behind one as well and came first, the peer is reached by
 * a port forwarding, which does not move: its answers from elsewhere are accidents.
 */
function isFollowed({ nat, isOriginalInitiator }: MoveFacts): boolean {
  return nat.there && !(nat.here && isOriginalInitiator)
}

/**
 * Where the peer is after an IKE message that is authentic, no retransmission of an old one, and neither IKE_SA_INIT nor
 * the first of IKE_AUTH. Null: where it was.
 */
export function remoteAfterMessage(facts: MoveFacts, seen: Way): Endpoint | null {
  const { current } = facts
  if (facts.mobike || !isFollowed(facts)) return null
  if (!seen.local.equals(current.local) || seen.remote.equals(current.remote)) return null
  return seen.remote
}

/**
 * The same after authentic ESP-in-UDP from elsewhere than its inbound state has, which the kernel tells of. With MOBIKE,
 * too: RFC 4555 3.8 forbids it for IKE only. An old port of 0 is a state's of one CPU, which has no mapping (strongSwan).
 */
export function remoteAfterMapping(facts: MoveFacts, from: Endpoint, to: Endpoint): Endpoint | null {
  if (from.port === 0 || to.port === 0 || !isFollowed(facts)) return null
  return to.equals(facts.current.remote) ? null : to
}

/** Followed at once by the kernel's word, however close to each other: a NAT that was restarted, packets that overtake. */
const MAPPINGS_AT_ONCE = 4
/** How often a peer is followed that goes on like that: one of its packets goes by one mapping, one by another. */
const MAPPING_INTERVAL: Milliseconds = SECOND

/**
 * When a mapping may be followed: now, or later. `until` is the session's account: each move that was made puts an
 * interval behind it.
 */
export function mappingTime(until: Milliseconds, now: Milliseconds): Milliseconds {
  return Math.max(now, until - (MAPPINGS_AT_ONCE - 1) * MAPPING_INTERVAL)
}

/** The account after a move at `now`. */
export function afterMove(until: Milliseconds, now: Milliseconds): Milliseconds {
  return Math.max(until, now) + MAPPING_INTERVAL
}
