/**
 * The responder's side of CREATE_CHILD_SA for a CHILD_SA (RFC 7296 1.3.1, 1.3.3); create-child.ts has the initiator.
 */
import { assert } from '../base/assert.ts'
import type { Secret } from '../crypto/secret.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { find } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { additionalKeyExchanges, childSuiteOf } from '../negotiate/proposals.ts'
import { configuredTraffic, isCarriedBy } from './asked-traffic.ts'
import {
  chooseChild,
  installChild,
  rejectTaken,
  trafficOf,
  withdrawChild,
  type Agreement,
  type ChildContributions,
} from './child.ts'
import type { Received } from './exchange.ts'
import { ExchangeFailure, misbehaved, notNow } from './failure.ts'
import { forgetHalfMade, keepHalfMade } from './follow-up.ts'
import { secretAsResponder } from './groups.ts'
import type { Making } from './half-made.ts'
import { rejectUnknownCritical } from './init.ts'
import { installAnswered } from './make-before-break.ts'
import { lowestNonce, newNonce } from './nonces.ts'
import { childToRekey, mayBeReplaced, replacedByPeer } from './rekey-child.ts'
import type { ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** Our limit: CHILD_SAs of one IKE_SA, and with those that have been replaced and are not gone. */
const CHILDREN_MAX = 256
const CHILDREN_AND_REPLACED_MAX = 2 * CHILDREN_MAX

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
  if (sa.children.length >= CHILDREN_AND_REPLACED_MAX) throw notNow('the peer has CHILD_SAs to delete that it has replaced')
  const peerNonce = find(request.payloads, 'Nonce')
  if (peerNonce === null) throw misbehaved('a CREATE_CHILD_SA request without Nonce payload')

  const candidates = old === null ? connection.children : [old.connection]
  const choice = await chooseChild(session, candidates, request.payloads, 'with-ke', old?.separation)
  const making = new ChildMaking(session, old, choice.agreed)
  try {
    if (old === null && isOurs(session, choice.agreed)) throw notNow('we are making the same CHILD_SA')
    const group = childSuiteOf(choice.agreed.proposal).ke
    const exchanged = group === null ? null : await secretAsResponder(group, request.payloads, env.keyExchanges)
    making.contributions = {
      nonceInitiator: peerNonce.data.slice(),
      nonceResponder: newNonce(env.entropy),
      sharedSecret: exchanged?.secret ?? null,
    }
    const payloads: readonly Payload[] = [
      ...choice.notifies,
      choice.proposals,
      { kind: 'Nonce', data: making.contributions.nonceResponder },
      ...(exchanged === null ? [] : [exchanged.payload]),
      ...choice.selectors,
    ]
    const methods = additionalKeyExchanges(choice.agreed.proposal)
    if (methods.length > 0) return [...payloads, keepHalfMade(session, making, methods)]
    await making.finish([])
    // The peer has given up what it had begun before.
    if (old !== null) forgetHalfMade(session, (halfMade) => halfMade.making.replaces === old)
    return payloads
  } catch (error) {
    await making.drop()
    throw error
  }
}

/** A CHILD_SA that the peer asks for, before it has all its keys. */
class ChildMaking implements Making {
  readonly replaces: ChildSa | null
  readonly child: Agreement
  contributions: ChildContributions | null = null
  readonly #session: Session

  constructor(session: Session, replaces: ChildSa | null, child: Agreement) {
    this.#session = session
    this.replaces = replaces
    this.child = child
  }

  get lowestNonce(): Uint8Array {
    const { contributions } = this
    assert(contributions !== null, 'the nonces are known when it is half made')
    return lowestNonce(contributions.nonceInitiator, contributions.nonceResponder)
  }

  check(): void {
    const { sa } = this.#session
    if (sa.state !== 'established') throw notNow('the IKE_SA is about to be replaced or deleted')
    const { replaces } = this
    if (replaces !== null && !(sa.children.includes(replaces) && mayBeReplaced(this.#session, replaces)))
      throw notNow('the CHILD_SA that was to be rekeyed has been replaced or deleted')
  }

  async finish(additionalSecrets: readonly Secret[]): Promise<() => void> {
    const { child, replaces: old, contributions } = this
    const session = this.#session
    assert(contributions !== null, 'the nonces are known when it is made')
    rejectTaken(session, child)
    const all = { ...contributions, additionalSecrets }
    if (old === null) {
      await installAnswered(session, child, all)
    } else {
      const made = await installChild(session, child, all, 'later')
      session.adopt(made, old)
      replacedByPeer(old, made, this.lowestNonce)
    }
    contributions.sharedSecret?.destroy()
    return () => {}
  }

  async drop(): Promise<void> {
    this.contributions?.sharedSecret?.destroy()
    await withdrawChild(this.#session, this.child)
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
