/**
 * Requests of the peer: which exchange answers which, and what a failure comes to: a notify, and before IKE_AUTH is over, or
 * where it says INVALID_SYNTAX, the end of the IKE_SA.
 */
import { EspalierError } from '../base/errors.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { notify } from '../message/ikev2/find.ts'
import type { NotifyPayload } from '../message/ikev2/payload.ts'
import { endAtMistake, followDelete } from './actions.ts'
import { respondAuth } from './auth.ts'
import { childRefusalNotify } from './child.ts'
import { respondCreateChild } from './create-child-answer.ts'
import { respondInformational } from './delete.ts'
import type { Received } from './exchange.ts'
import { AUTH_TOO_LATE, misbehaved, notifyFor } from './failure.ts'
import type { Farewells } from './farewells.ts'
import { respondFollowUp } from './follow-up.ts'
import { respondIntermediate } from './intermediate.ts'
import { startKeepalives } from './keepalive.ts'
import { respondMobike } from './mobike-answer.ts'
import { heedRedirect } from './redirect.ts'
import { confirmByUse, isIkeRekey, respondRekeyIkeSa, yieldToRival } from './rekey-ike.ts'
import type { Session } from './session.ts'

/** Answers a request, which is authentic and next in line. `farewells` keeps the answer of one that is the end of the IKE_SA. */
export async function answerRequest(session: Session, request: Received, farewells: Farewells): Promise<void> {
  const { sa, exchanges } = session
  try {
    if (request.malformed !== null) throw misbehaved(request.malformed.message)
    if (request.exchangeType === ExchangeType.IKE_AUTH && sa.role === 'responder' && session.opening !== null) {
      session.answering = request.messageId
      const answer = await respondAuth(session, request).finally(() => (session.answering = null))
      exchanges.respond(request, answer)
      if (sa.state === 'established') startKeepalives(session)
      return
    }
    if (request.exchangeType === ExchangeType.IKE_INTERMEDIATE && sa.role === 'responder' && session.opening !== null) {
      const { payloads, conclude } = await respondIntermediate(session, request)
      exchanges.respond(request, payloads)
      return conclude()
    }
    if (sa.state === 'connecting') await confirmByUse(session, request)
    if (sa.state === 'connecting' && session.predecessor === null)
      throw misbehaved(`exchange type ${request.exchangeType} before IKE_AUTH`)
    switch (request.exchangeType) {
      case ExchangeType.INFORMATIONAL: {
        const { payloads, closes } = await respondInformational(session, request)
        const mobike = closes === null ? await respondMobike(session, request) : []
        const answer = exchanges.respond(request, [...payloads, ...mobike])
        if (closes === null) return heedRedirect(session, request.payloads)
        farewells.keep(sa.ownSpi, request.bytes, answer, session.env.clock.now())
        if (closes !== 'deleted-by-peer') await session.close(closes)
        else if (yieldToRival(session)) await session.close('rekeyed')
        else await followDelete(session)
        return
      }
      case ExchangeType.CREATE_CHILD_SA:
      case ExchangeType.IKE_FOLLOWUP_KE:
        return await answerCreateChild(session, request, farewells)
      default:
        throw misbehaved(`exchange type ${request.exchangeType} is not known`)
    }
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    // What fails before the peer is authenticated ends the IKE_SA (RFC 7296 2.21.2).
    const isOpening = sa.state === 'connecting'
    const said = notifyFor(error) ?? notify(NotifyType.AUTHENTICATION_FAILED)
    if (isOpening || said.notifyType === NotifyType.INVALID_SYNTAX) session.env.report({ event: 'ike-failed', sa, error })
    if (!isOpening) return refuse(session, request, said, farewells)
    exchanges.respond(request, [said])
    await session.close(error.code === AUTH_TOO_LATE ? 'half-open-timeout' : 'failed')
  }
}

/** CREATE_CHILD_SA, and IKE_FOLLOWUP_KE behind it. What fails leaves the IKE_SA as it was, unless it was malformed (RFC 7296 2.21.3). */
async function answerCreateChild(session: Session, request: Received, farewells: Farewells): Promise<void> {
  const { sa, exchanges } = session
  try {
    const isFollowUp = request.exchangeType === ExchangeType.IKE_FOLLOWUP_KE
    if (!isFollowUp && !isIkeRekey(request)) return void exchanges.respond(request, await respondCreateChild(session, request))
    const { payloads, conclude } = await (isFollowUp ? respondFollowUp : respondRekeyIkeSa)(session, request)
    exchanges.respond(request, payloads)
    conclude()
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    session.env.report({ event: 'create-refused', sa, error })
    // What failed here and is not the peer's doing may work later.
    const otherwise = error.accused === 'system' ? NotifyType.TEMPORARY_FAILURE : NotifyType.INVALID_SYNTAX
    return refuse(session, request, childRefusalNotify(error) ?? notify(otherwise), farewells)
  }
}

/** Answers a request of an IKE_SA that stands with an error, which is the end of it for both if that is INVALID_SYNTAX (RFC 7296 2.21.3). */
async function refuse(session: Session, request: Received, said: NotifyPayload, farewells: Farewells): Promise<void> {
  const answer = session.exchanges.respond(request, [said])
  if (said.notifyType !== NotifyType.INVALID_SYNTAX) return
  farewells.keep(session.sa.ownSpi, request.bytes, answer, session.env.clock.now())
  await endAtMistake(session)
}
