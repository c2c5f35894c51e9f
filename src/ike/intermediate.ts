/**
 * IKE_INTERMEDIATE (RFC 9242) with one additional key exchange (RFC 9370 2.2.2), as many times as IKE_SA_INIT has agreed
 * on, before IKE_AUTH:
 *
 *   HDR, SK { KEi(n) }  -->
 *        <--  HDR, SK { KEr(n) }
 *
 * The keys before it protect both messages, those that come of it all that follows. What was said here is part of what
 * AUTH covers (auth/intermediate.ts).
 */
import { nextIntermediate, type IntermediateOctets } from '../auth/intermediate.ts'
import { assert } from '../base/assert.ts'
import { InvalidKeyExchange } from '../crypto/key-exchange.ts'
import { deriveNextIkeKeys } from '../crypto/keys.ts'
import { createPrf } from '../crypto/prf.ts'
import type { Secret } from '../crypto/secret.ts'
import { ExchangeType } from '../iana/ikev2.ts'
import { find } from '../message/ikev2/find.ts'
import { intermediateOctets } from '../message/ikev2/message.ts'
import type { KePayload, Payload } from '../message/ikev2/payload.ts'
import { groupName } from '../negotiate/proposals.ts'
import type { Received } from './exchange.ts'
import { misbehaved } from './failure.ts'
import { rejectUnknownCritical, throwOnErrorNotify } from './init.ts'
import type { Opening } from './opening.ts'
import type { Session } from './session.ts'

/** The method of the next additional key exchange; null when all are over. */
function nextMethod({ additional, intermediate }: Opening): number | null {
  return additional[intermediate.count] ?? null
}

/** The initiator's side, all of them. Throws EspalierError. */
export async function initiateIntermediate(session: Session): Promise<void> {
  for (;;) {
    assert(session.opening !== null, 'IKE_SA_INIT comes before IKE_INTERMEDIATE')
    const method = nextMethod(session.opening)
    if (method === null) return
    await exchange(session, session.opening, method)
  }
}

async function exchange(session: Session, opening: Opening, method: number): Promise<void> {
  const keyExchange = await session.env.keyExchanges.generate(method)
  try {
    const payloads: readonly Payload[] = [{ kind: 'KE', group: method, data: keyExchange.publicValue }]
    const answer = await session.exchanges.request(ExchangeType.IKE_INTERMEDIATE, payloads)
    if (answer.malformed !== null) throw answer.malformed
    rejectUnknownCritical(answer)
    throwOnErrorNotify(answer)
    const octets = { initiator: sentOctets(session, answer, payloads, false), responder: receivedOctets(answer) }
    adoptNextKeys(session, opening, await keyExchange.agree(keIn(answer, method).data), octets)
  } finally {
    keyExchange.destroy()
  }
}

/**
 * The responder's side: the payloads of the answer. `conclude` is called when that has left, protected by the keys before
 * it. Throws ExchangeFailure whose notify ends the IKE_SA.
 */
export async function respondIntermediate(
  session: Session,
  request: Received,
): Promise<{ readonly payloads: readonly Payload[]; readonly conclude: () => void }> {
  const { sa, opening, env } = session
  assert(opening !== null, 'IKE_SA_INIT comes before IKE_INTERMEDIATE')
  rejectUnknownCritical(request)
  const method = nextMethod(opening)
  if (method === null || session.responding !== null) throw misbehaved('an IKE_INTERMEDIATE that was not agreed on')
  const ke = keIn(request, method)
  const requestOctets = receivedOctets(request)
  const { publicValue, secret } = await env.keyExchanges.answer(method, ke.data).catch((error: unknown) => {
    throw error instanceof InvalidKeyExchange ? misbehaved(error.message) : error
  })
  // The first protected request shows the endpoints that both sides will use from now on (strongSwan, see auth.ts).
  sa.local = request.local
  sa.remote = request.remote
  const payloads: readonly Payload[] = [{ kind: 'KE', group: method, data: publicValue }]
  const conclude = (): void => {
    const octets = { initiator: requestOctets, responder: sentOctets(session, request, payloads, true) }
    adoptNextKeys(session, opening, secret, octets)
  }
  return { payloads, conclude }
}

/** RFC 9370 2.2.2: IKE_AUTH comes after all of them. */
export function requireAllIntermediate(opening: Opening): void {
  const method = nextMethod(opening)
  if (method === null) return
  throw misbehaved(`IKE_AUTH before the key exchange by ${groupName(method)} that was agreed on`)
}

function keIn({ payloads }: Received, method: number): KePayload {
  const ke = find(payloads, 'KE')
  if (ke === null) throw misbehaved('KE payload missing in message')
  if (ke.group === method) return ke
  throw misbehaved(`key exchange method in received payload ${groupName(ke.group)} doesn't match negotiated ${groupName(method)}`)
}

function receivedOctets({ octets }: Received): Uint8Array {
  // RFC 9242 allows payloads in the clear, and RFC 7383 says where they stand; nobody has a use for them.
  if (octets === null) throw misbehaved('an IKE_INTERMEDIATE in fragments with payloads in the clear')
  return octets
}

/** Of our own message of an exchange whose other one is `other`. */
function sentOctets(
  { sa }: Session,
  { exchangeType, messageId }: Received,
  payloads: readonly Payload[],
  response: boolean,
): Uint8Array {
  const fromInitiator = sa.role === 'initiator'
  return intermediateOctets({ ...sa.spis, exchangeType, messageId, fromInitiator, response }, payloads)
}

function adoptNextKeys(session: Session, opening: Opening, sharedSecret: Secret, octets: IntermediateOctets): void {
  const { sa } = session
  const { keys, suite } = sa
  assert(keys !== null && suite !== null, 'IKE_SA_INIT left keys')
  const intermediate = nextIntermediate(createPrf(suite.prf), keys, opening.intermediate, octets)
  session.opening = { ...opening, intermediate }
  const { initiatorNonce: nonceInitiator, responderNonce: nonceResponder } = opening
  sa.keys = deriveNextIkeKeys({ suite, nonceInitiator, nonceResponder, sharedSecret, ...sa.spis }, keys.d)
  sharedSecret.destroy()
  session.exchanges.replaceKeys(suite, sa.keys, keys)
}
