/**
 * What IKE_INTERMEDIATE exchanges add to what AUTH covers (RFC 9242 3.3.2):
 *
 *   IntAuth = IntAuth_iN | IntAuth_rN | message ID of the first IKE_AUTH
 *   IntAuth_in = prf(SK_pi, IntAuth_i(n-1) | A | P) of the initiator's nth message, IntAuth_rn of the responder's with SK_pr
 *
 * SK_pi and SK_pr are those of the keys that protect the exchange, before new ones come of it (as strongSwan and libreswan
 * have it). A is the message up to its content, P the content (message/ikev2/message.ts).
 */
import { concatBytes, Writer } from '../base/bytes.ts'
import type { IkeKeys } from '../crypto/keys.ts'
import type { Prf } from '../crypto/prf.ts'

export interface Intermediate {
  /** Exchanges that are over. */
  readonly count: number
  /** IntAuth_iN and IntAuth_rN; empty before the first. */
  readonly initiator: Uint8Array
  readonly responder: Uint8Array
}

const NOTHING = new Uint8Array()

export const NO_INTERMEDIATE: Intermediate = { count: 0, initiator: NOTHING, responder: NOTHING }

/** Of both messages of an exchange A and P. */
export interface IntermediateOctets {
  readonly initiator: Uint8Array
  readonly responder: Uint8Array
}

/** After another exchange, which `keys` protected. */
export function nextIntermediate(
  prf: Prf,
  { pi, pr }: Pick<IkeKeys, 'pi' | 'pr'>,
  before: Intermediate,
  octets: IntermediateOctets,
): Intermediate {
  return {
    count: before.count + 1,
    initiator: prf.compute(pi.dangerouslyReveal(), before.initiator, octets.initiator),
    responder: prf.compute(pr.dangerouslyReveal(), before.responder, octets.responder),
  }
}

/** IntAuth, empty if there was no such exchange. */
export function intAuth({ count, initiator, responder }: Intermediate): Uint8Array {
  if (count === 0) return NOTHING
  // IKE_SA_INIT has message ID 0, and each of these its own.
  const messageId = new Writer(4).u32(1 + count).finish()
  return concatBytes(initiator, responder, messageId)
}
