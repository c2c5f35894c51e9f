/**
 * Deletion (RFC 7296 1.4.1) and the empty INFORMATIONAL (1.4, 2.4):
 *
 *   HDR, SK { [D] }  -->
 *               <--  HDR, SK { [D] }
 *
 * Deleting the IKE_SA takes its CHILD_SAs with it and is answered with nothing; deleting CHILD_SAs names the sender's
 * inbound SPIs and is answered with ours of the same pairs.
 */
import { Reader } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { Milliseconds } from '../base/time.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../iana/ikev2.ts'
import { findNotify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { followChildDelete } from './actions.ts'
import { childDelete } from './child.ts'
import type { CloseReason } from './events.ts'
import { isPeerSilent, type Received } from './exchange.ts'
import { refusedByPeer } from './failure.ts'
import { rejectUnknownCritical } from './init.ts'
import { heedAuthLifetime } from './lifetimes.ts'
import { ask } from './liveness.ts'
import type { ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** Our limit: CHILD_SAs that the peer deletes and we do not know, while we wait for one; a peer in order names that one. */
const DELETED_EARLY_MAX = 64

/** The responder's side of any INFORMATIONAL. `closes` tells that the IKE_SA ends once the answer has left. */
export async function respondInformational(
  session: Session,
  request: Received,
): Promise<{ readonly payloads: readonly Payload[]; readonly closes: CloseReason | null }> {
  rejectUnknownCritical(request)
  const { sa, env } = session
  const answer: number[] = []
  for (const payload of request.payloads) {
    if (payload.kind !== 'Delete') continue
    if (payload.protocol === ProtocolId.IKE) {
      env.report({ event: 'delete-received', sa, child: null })
      // Once the peer has our answer it lets in nothing any more.
      for (const child of sa.children) await session.relieve(child)
      return { payloads: [], closes: sa.state === 'rekeyed' ? 'rekeyed' : 'deleted-by-peer' }
    }
    if (payload.protocol !== ProtocolId.ESP) continue
    for (const spi of payload.spis.map(espSpi)) {
      const child = sa.children.find(({ outboundSpi, state }) => outboundSpi === spi && state !== 'deleted')
      if (child === undefined) {
        noteEarlyDelete(session, spi)
        continue
      }
      env.report({ event: 'delete-received', sa, child })
      if (child.state === 'rekeyed' || child.successor !== null) await session.retireChild(child)
      else await followChildDelete(session, child)
      // One that both delete at once is not answered for (RFC 7296 1.4.1).
      if (child.deleteSent) continue
      env.report({ event: 'delete-sent', sa, child })
      answer.push(child.inboundSpi)
    }
  }
  heedAuthLifetime(session, request.payloads)
  // An initiator that could not authenticate us says so here (RFC 7296 2.21.2).
  if (findNotify(request.payloads, NotifyType.AUTHENTICATION_FAILED) !== null) {
    env.report({ event: 'ike-failed', sa, error: refusedByPeer(NotifyType.AUTHENTICATION_FAILED) })
    return { payloads: [], closes: 'failed' }
  }
  return { payloads: answer.length === 0 ? [] : [childDelete(answer)], closes: null }
}

/**
 * The peer deletes a CHILD_SA that we do not know. Perhaps it has just made it, at our request, and its answer has not
 * come to us: requests of the two sides do not wait for each other. Then there is one that is over when it begins.
 */
function noteEarlyDelete({ childRequest }: Session, spi: number | null): void {
  if (childRequest === null || spi === null || childRequest.deletedEarly.size >= DELETED_EARLY_MAX) return
  childRequest.deletedEarly.add(spi)
}

/** Null for what is no SPI of ESP. */
function espSpi(bytes: Uint8Array): number | null {
  return bytes.length === 4 ? new Reader(bytes).u32() : null
}

/**
 * Deletes the IKE_SA with the peer and closes it, whether or not the peer answers; `grace` later, if another one carries
 * its traffic: what the peer sent on it before it answered may be overtaken by the answer, and is still let in.
 */
export async function deleteIkeSa(session: Session, reason: CloseReason, grace: Milliseconds = 0): Promise<void> {
  if (session.sa.state !== 'established' && session.sa.state !== 'rekeyed') return session.close(reason)
  session.sa.state = 'deleting'
  session.env.report({ event: 'delete-sent', sa: session.sa, child: null })
  try {
    await session.exchanges.request(ExchangeType.INFORMATIONAL, [{ kind: 'Delete', protocol: ProtocolId.IKE, spis: [] }])
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    if (isPeerSilent(error) && session.tasks.running === 'expire-ike') return session.losePeer()
    return session.close(reason)
  }
  if (grace === 0) return session.close(reason)
  for (const child of session.sa.children) await session.stopChild(child)
  session.setDeadline('over', session.env.clock.now() + grace)
}

/**
 * Its time is over. One that was replaced should have been deleted by whoever did so; any other is deleted now
 * (strongSwan). If its peer is silent it could not be replaced, and goes as one whose peer is found to be silent.
 */
export async function endLife(session: Session): Promise<void> {
  const { sa, env } = session
  if (sa.state !== 'established') return session.close(sa.state === 'deleting' ? 'deleted-by-us' : 'rekeyed')
  env.report({ event: 'ike-expired', sa })
  // There is no way to the peer, and nobody knows when there will be.
  if (sa.isStale) return session.close('deleted-by-us')
  void session.runExchange(async (current) => {
    // It was rekeyed after all while this waited.
    if (current === session) await deleteIkeSa(current, 'deleted-by-us')
  }, 'expire-ike')
}

/** Closes the IKE_SA at once: a peer that knows it is told, when no request of ours is on the way, and its answer not waited for. */
export async function deleteUnheard(session: Session, reason: CloseReason): Promise<void> {
  const { sa, exchanges } = session
  if (sa.state === 'established' && !exchanges.isWaiting) {
    session.env.report({ event: 'delete-sent', sa, child: null })
    exchanges.request(ExchangeType.INFORMATIONAL, [{ kind: 'Delete', protocol: ProtocolId.IKE, spis: [] }]).catch(() => {
      // Closing the IKE_SA abandons the request at once; that is meant.
    })
  }
  await session.close(reason)
}

/** Deletes one CHILD_SA with the peer: first out of our kernel, since nothing may be sent on it any more. */
export async function deleteChildSa(session: Session, child: ChildSa): Promise<void> {
  if (session.sa.state !== 'established' || !session.sa.children.includes(child) || child.deleteSent) return
  child.state = 'deleting'
  child.dueAt = null
  child.deleteSent = true
  await session.stopChild(child)
  session.env.report({ event: 'delete-sent', sa: session.sa, child })
  await ask(session, [childDelete([child.inboundSpi])])
  await session.closeChild(child, 'deleted-by-us')
}
