/**
 * MOBIKE (RFC 4555), what we say: which way leads to the peer (3.7, path probing), where we are now (3.5) and where
 * else we can be reached (3.6).
 *
 *   HDR, SK { N(UPDATE_SA_ADDRESSES), N(COOKIE2), [N(ADDITIONAL_*_ADDRESS)], N(NAT_DETECTION_*) }  -->
 *                <--  HDR, SK { N(NAT_DETECTION_*), N(COOKIE2) }
 *
 * What the peer says is mobike-answer.ts', what sets all of it going roam.ts'.
 */
import { EspalierError } from '../base/errors.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { findErrorNotify, findNotify, notify } from '../message/ikev2/find.ts'
import type { Way } from '../nat/path.ts'
import { leave } from './actions.ts'
import { isPeerSilent } from './exchange.ts'
import { type ExchangeFailure, refusedByPeer } from './failure.ts'
import { natDetection, observedNat } from './init.ts'
import { ownAddressList } from './mobike-answer.ts'
import { COOKIE2_LENGTH, echoes } from './mobike-payloads.ts'
import { moveEndpoints } from './moves.ts'
import { forbidNats, forbids, unwantedNat } from './nat-policy.ts'
import { noteMapping } from './nat-mapping.ts'
import type { MobikeWork } from './mobike-state.ts'
import { waysToPeer } from './roam.ts'
import type { Session } from './session.ts'

/** Our own exchange: finds out and tells what is wanted, and what comes to be wanted meanwhile. */
export async function runMobike(session: Session): Promise<void> {
  const { sa } = session
  try {
    for (let work = take(session); work !== null && sa.mobike !== null; work = take(session)) {
      if (sa.state !== 'established') return
      // The answer tells which way it is (roam.ts), and what is to be said then is wanted by the time it is here. Any
      // other exchange's answer may have told before.
      if (work.check) {
        session.mobikeWork = { ...work, check: false }
        if (session.exchanges.ways !== null) await session.exchanges.request(ExchangeType.INFORMATIONAL, [])
      } else if (work.update && sa.originalRole === 'initiator') await update(session, work)
      else if (work.addresses)
        await session.exchanges.request(ExchangeType.INFORMATIONAL, [...ownAddressList(session), ...forbidNats(session)])
    }
  } catch (error) {
    if (isPeerSilent(error)) await session.losePeer()
    else if (!(error instanceof EspalierError)) throw error
  }
}

function take(session: Session): MobikeWork | null {
  const work = session.mobikeWork
  session.mobikeWork = null
  return work
}

/** Tells where we are. The CHILD_SAs have moved already; what the answer says of NATs they follow. */
async function update(session: Session, work: MobikeWork): Promise<void> {
  const { sa, env, exchanges } = session
  const cookie = env.entropy.bytes(COOKIE2_LENGTH)
  const answer = await exchanges.request(ExchangeType.INFORMATIONAL, [
    notify(NotifyType.UPDATE_SA_ADDRESSES),
    notify(NotifyType.COOKIE2, cookie),
    ...(work.addresses ? ownAddressList(session) : []),
    ...natDetection(session),
    ...forbidNats(session),
  ])
  // What has changed since makes the answer meaningless (strongSwan).
  if (session.mobikeWork?.check === true || session.mobikeWork?.update === true) return
  if (!echoes(answer.payloads, cookie)) {
    env.report({ event: 'update-failed', sa, why: 'cookie-mismatch' })
    return session.close('failed')
  }
  const refused = findErrorNotify(answer.payloads)
  if (refused?.notifyType === NotifyType.UNEXPECTED_NAT_DETECTED)
    return meetNat(session, work, refusedByPeer(NotifyType.UNEXPECTED_NAT_DETECTED))
  if (refused !== null) {
    env.report({ event: 'update-failed', sa, why: 'unacceptable' })
    await tryElsewhere(session, work)
    return
  }
  noteMapping(session, answer)
  if (findNotify(answer.payloads, NotifyType.NAT_DETECTION_SOURCE_IP) === null) return
  const nat = observedNat(session, answer, sa.connection?.forceEncapsulation ?? false)
  if (forbids(session, nat)) return meetNat(session, work, unwantedNat(session, nat))
  if (nat.supported) await moveEndpoints(session, { local: sa.local, remote: sa.remote, nat }, 'mobike')
}

/**
 * There is a NAT on this way, and one of us wants none. One changed packet would look the same, so the peer is asked as
 * often as for an answer (RFC 4555 3.9), then along its other ways. If there is none without a NAT, the peer stays where
 * no packet of ours reaches it, and sends where we are not: the IKE_SA goes.
 */
async function meetNat(session: Session, work: MobikeWork, why: ExchangeFailure): Promise<void> {
  const { sa, env } = session
  const natsMet = work.natsMet + 1
  if (natsMet <= env.settings().retransmitTries)
    return session.wantMobike({ update: true, addresses: work.addresses, refused: work.refused, natsMet })
  env.report({ event: 'update-failed', sa, why: 'unexpected-nat' })
  if (await tryElsewhere(session, work)) return
  env.report({ event: 'ike-failed', sa, error: why })
  await leave(session)
}

/** RFC 4555 3.5: the initiator may use other addresses, or those it has until the peer is silent. False if there are none. */
async function tryElsewhere(session: Session, work: MobikeWork): Promise<boolean> {
  const { sa } = session
  const refused: readonly Way[] = [...work.refused, { local: sa.local, remote: sa.remote }]
  const isRefused = (way: Way): boolean =>
    refused.some(({ local, remote }) => local.equals(way.local) && remote.equals(way.remote))
  const others = (await waysToPeer(session)).filter((way) => !isRefused(way))
  if (others.length === 0) return false
  session.exchanges.tryWays(others)
  session.wantMobike({ check: true, refused })
  return true
}
