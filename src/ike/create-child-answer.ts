/**
 * The responder's side of CREATE_CHILD_SA for a CHILD_SA (RFC 7296 1.3.1, 1.3.3); create-child.ts has the initiator.
 */
import { assert } from '../base/assert.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { find } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { childSuiteOf } from '../negotiate/proposals.ts'
import { configuredTraffic, isCarriedBy } from './asked-traffic.ts'
import { chooseChild, installChild, trafficOf, type Agreement, type ChildContributions } from './child.ts'
import type { Received } from './exchange.ts'
import { ExchangeFailure, misbehaved, notNow } from './failure.ts'
import { secretAsResponder } from './groups.ts'
import { rejectUnknownCritical } from './init.ts'
import { installAnswered } from './make-before-break.ts'
import { lowestNonce, newNonce } from './nonces.ts'
import { childToRekey, replacedByPeer } from './rekey-child.ts'
import type { Session } from './session.ts'

/** Our limit: CHILD_SAs of one IKE_SA. */
const CHILDREN_MAX = 256

/** The responder's side: the payloads of the answer. Throws ExchangeFailure whose notify is the answer, KernelError. */
export async function respondCreateChild(session: Session, request: Received): Promise<readonly Payload[]> {
  const { sa, env } = session
  const { connection } = sa
  assert(connection !== null, 'the peer is known before it gets a CHILD_SA')
  rejectUnknownCritical(request)
  if (sa.state !== 'established' || session.ikeRekey !== null) throw notNow('the IKE_SA is about to be replaced or deleted')
  const old = childToRekey(session, request.payloads)
  if (old === null && sa.children.length >= CHILDREN_MAX) {
    throw new ExchangeFailure(
      'policy',
      'TOO_MANY_CHILDREN',
      `the peer has ${CHILDREN_MAX} CHILD_SAs in this IKE_SA, which is as many as we keep`,
      NotifyType.NO_ADDITIONAL_SAS,
    )
  }
  const peerNonce = find(request.payloads, 'Nonce')
  if (peerNonce === null) throw misbehaved('a CREATE_CHILD_SA request without Nonce payload')

  const candidates = old === null ? connection.children : [old.connection]
  const choice = await chooseChild(session, candidates, request.payloads, 'with-ke', old?.separation)
  try {
    if (old === null && isOurs(session, choice.agreed)) throw notNow('we are making the same CHILD_SA')
    const group = childSuiteOf(choice.agreed.proposal).ke
    const exchanged = group === null ? null : await secretAsResponder(group, request.payloads, env.keyExchanges)
    const contributions: ChildContributions = {
      nonceInitiator: peerNonce.data.slice(),
      nonceResponder: newNonce(env.entropy),
      sharedSecret: exchanged?.secret ?? null,
    }
    try {
      if (old === null) {
        await installAnswered(session, choice.agreed, contributions)
      } else {
        const child = await installChild(session, choice.agreed, contributions, 'later')
        session.adopt(child, old)
        replacedByPeer(old, child, lowestNonce(contributions.nonceInitiator, contributions.nonceResponder))
      }
    } finally {
      exchanged?.secret.destroy()
    }
    return [
      ...choice.notifies,
      choice.proposals,
      { kind: 'Nonce', data: contributions.nonceResponder },
      ...(exchanged === null ? [] : [exchanged.payload]),
      ...choice.selectors,
    ]
  } catch (error) {
    await env.books.releaseSpi(choice.agreed.inboundSpi)
    throw error
  }
}

/**
 * Both ask for the same CHILD_SA at the same time. What the IKE_SA's first initiator makes stays: its peer, when our
 * answer is the later one, gives up what it made (create-child.ts).
 */
function isOurs({ sa, childRequest: ours }: Session, agreed: Agreement): boolean {
  if (sa.originalRole === 'responder' || ours === null || ours.old !== null || ours.connection !== agreed.connection) return false
  const isAsked =
    trafficOf(agreed.localSelectors, agreed.remoteSelectors) === trafficOf(ours.localSelectors, ours.remoteSelectors)
  return isAsked || isCarriedBy(agreed, configuredTraffic(ours.connection), sa)
}
