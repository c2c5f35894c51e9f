/**
 * Whether the NAT before us still shows us where it did, as the peer's hash of where it sees us tells (RFC 4555 3.8).
 */
import { equalBytes } from '../base/bytes.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { findNotify } from '../message/ikev2/find.ts'
import { natDetectionHash } from '../nat/detection.ts'
import type { Received } from './exchange.ts'
import type { Session } from './session.ts'

/** Only the original initiator asks, who can do something about it; and only behind a NAT (strongSwan). */
export function watchesMapping({ sa }: Session): boolean {
  return sa.mobike !== null && sa.originalRole === 'initiator' && sa.nat.here
}

/**
 * Takes in the answer to our hashes. 'changed': it is not as it was the last time, or there is no NAT any more. The first
 * answer has nothing to be compared with: IKE_SA_INIT went from another port, or by other SPIs before a rekey.
 */
export function noteMapping({ sa }: Session, answer: Received): 'changed' | 'same' | 'untold' {
  const seen = findNotify(answer.payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)?.data
  if (seen === undefined || sa.mobike === null) return 'untold'
  const before = sa.mobike.destinationHash
  sa.mobike = { ...sa.mobike, destinationHash: seen.slice() }
  const isUntranslated = equalBytes(seen, natDetectionHash(sa.spis, answer.local))
  if (isUntranslated) return sa.nat.here ? 'changed' : 'same'
  return before === null || equalBytes(before, seen) ? 'same' : 'changed'
}
