/**
 * XFRM_MSG_MIGRATE, which has a live state elsewhere: the kernel puts a copy of it at the new place, sequence numbers and
 * replay window included, and then lets the old one go. (CONFIG_XFRM_MIGRATE; made for Mobile IPv6, RFC 4555 by others.)
 *
 * It finds the state by reqid, mode and addresses, the first that fits, and has to be given a policy with a template for
 * it, which it changes as well. What the policy is about does not matter, so that one is made for the moment, which no
 * packet can meet; those that the traffic goes by are left to their owner.
 *
 * Not for outbound states: both of them send for a moment, under the same numbers. (It would not be the same IV with the
 * software of Linux, whose seqiv adds a salt of its own in each state; the peer would drop them as replayed all the same.)
 */
import { IpAddress, IpRange } from '../../base/ip.ts'
import { ANY_PORT, type Policy, type State } from '../vocabulary.ts'
import { RequestMessage } from './attributes.ts'
import { NLM_F_ACK, NLM_F_REQUEST, NLMSG_HEADER_LENGTH, XFRM_MODE, XFRM_MSG, XFRM_POLICY_DIRECTION, XFRMA } from './constants.ts'
import {
  ENCAP_TMPL_LENGTH,
  putEncapTmpl,
  putUserMigrate,
  putUserpolicyId,
  USER_MIGRATE_LENGTH,
  USERPOLICY_ID_LENGTH,
} from './structs.ts'

/** A policy for the migration of a state. Nobody sends from nowhere to nowhere; none comes before it. */
export function migrationPolicy({ source, destination, mode, reqid }: State): Policy {
  const nowhere = new IpRange(IpAddress.any(source.family), IpAddress.any(source.family))
  return {
    direction: 'in',
    selector: { source: nowhere, destination: nowhere, protocol: 0, sourcePorts: ANY_PORT, destinationPorts: ANY_PORT },
    mark: null,
    ifId: 0,
    priority: 0,
    action: 'allow',
    template: { source, destination, mode, reqid, spi: 0 },
  }
}

/**
 * xfrm_userpolicy_id, XFRMA_MIGRATE, XFRMA_ENCAP. Without the latter the copy has the encapsulation of the state. The
 * kernel agrees as well when it has found no state.
 */
export function encodeMigration(from: State, to: State, { selector, direction }: Policy, sequence: number): Uint8Array {
  const message = new RequestMessage(XFRM_MSG.MIGRATE, NLM_F_REQUEST | NLM_F_ACK, sequence, USERPOLICY_ID_LENGTH)
  putUserpolicyId(message.view, NLMSG_HEADER_LENGTH, selector, XFRM_POLICY_DIRECTION[direction])
  const at = message.attribute(XFRMA.MIGRATE, USER_MIGRATE_LENGTH)
  putUserMigrate(message.view, at, { from, to, mode: XFRM_MODE[from.mode], reqid: from.reqid })
  if (to.encapsulation !== null) putEncapTmpl(message.view, message.attribute(XFRMA.ENCAP, ENCAP_TMPL_LENGTH), to.encapsulation)
  return message.finish()
}
