/**
 * MOBIKE (RFC 4555), what the peer says of it: in IKE_AUTH that it does it, and in INFORMATIONALs where it is now
 * (3.5) and where else it can be reached (3.6).
 *
 * Only the original initiator says which addresses are used. A responder that lost the one it had sends its list from
 * another, and the initiator follows (strongSwan).
 */
import { NotifyType } from '../iana/ikev2.ts'
import { findNotify, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import type { NatFacts } from '../nat/detection.ts'
import type { UpdateFailure } from './events.ts'
import type { Received } from './exchange.ts'
import { natDetection, observedNat } from './init.ts'
import { addressList, cookie2Echo, meetsForbiddenNat, readAddressList } from './mobike-payloads.ts'
import { NEW_MOBIKE_STATE } from './mobike-state.ts'
import { moveEndpoints } from './moves.ts'
import { forbids } from './nat-policy.ts'
import type { Session } from './session.ts'

/** For our IKE_AUTH message: that we do MOBIKE, and our addresses. An initiator says it first, a responder to one that has. */
export function mobikeSupport(session: Session, isSupported: boolean): Payload[] {
  return isSupported ? [notify(NotifyType.MOBIKE_SUPPORTED), ...ownAddressList(session)] : []
}

/** Where else we can be reached than where the IKE_SA is. */
export function ownAddressList({ sa, env }: Session): Payload[] {
  const own = env.host.addresses().map(({ address }) => address)
  return addressList(own, sa.local.address)
}

/** Takes in the peer's IKE_AUTH message, in which it proved who it is. True if both do MOBIKE. */
export function agreeOnMobike(session: Session, message: Received): boolean {
  const { sa, env } = session
  if (findNotify(message.payloads, NotifyType.MOBIKE_SUPPORTED) === null) return false
  const isWanted = sa.connection?.mobike ?? false
  env.report({ event: 'mobike-supported', sa, isRefused: !isWanted })
  if (!isWanted) return false
  sa.mobike = NEW_MOBIKE_STATE
  takeAddressList(session, message)
  return true
}

/** The responder's side of an INFORMATIONAL, as far as MOBIKE goes: what belongs into the answer. */
export async function respondMobike(session: Session, request: Received): Promise<readonly Payload[]> {
  const { sa } = session
  if (sa.mobike === null) return []
  const { payloads } = request
  const cookie = cookie2Echo(payloads)
  const isUpdate = findNotify(payloads, NotifyType.UPDATE_SA_ADDRESSES) !== null
  const refusal = refusalOf(session, request, isUpdate)
  if (refusal !== null) {
    session.env.report({ event: 'update-failed', sa, why: refusal.why })
    return [notify(refusal.notifyType), ...cookie]
  }
  const isList = takeAddressList(session, request)
  if (isUpdate) await follow(session, request)
  else if (isList && sa.originalRole === 'initiator') await followResponder(session, request)
  return [...natAnswer(session, request), ...cookie]
}

function takeAddressList({ sa, env }: Session, message: Received): boolean {
  const addresses = readAddressList(message.payloads, message.remote.address)
  if (addresses === null || sa.mobike === null) return false
  sa.mobike = { ...sa.mobike, peerAddresses: addresses }
  env.report({ event: 'peer-addresses-told', sa, addresses })
  return true
}

/** Why what would move the IKE_SA, now or later, is not heeded, and what says so. */
function refusalOf(
  session: Session,
  request: Received,
  isUpdate: boolean,
): { readonly why: UpdateFailure; readonly notifyType: number } | null {
  const { sa } = session
  // RFC 4555 3.5: it is the initiator's to say. One packet would move a client that is nowhere near.
  if (isUpdate && sa.originalRole === 'initiator') return { why: 'not-initiator', notifyType: NotifyType.UNACCEPTABLE_ADDRESSES }
  const notifyType = NotifyType.UNEXPECTED_NAT_DETECTED
  if (meetsForbiddenNat(request.payloads, request, sa.connection?.publicAddresses ?? []))
    return { why: 'nat-on-the-way', notifyType }
  if (isUpdate && hasHashes(request) && forbids(session, observedNatOf(session, request)))
    return { why: 'nat-forbidden', notifyType }
  return null
}

/** The IKE_SA and its CHILD_SAs go where the update came from; the hashes in it tell of NATs on the new way. */
async function follow(session: Session, request: Received): Promise<void> {
  // Between a rekey and its delete, the new one is meant.
  const current = session.last
  const { local, remote } = request
  // The initiator has found a way: what we were looking for.
  current.exchanges.tryWays(null)
  current.sa.isStale = false
  const nat = hasHashes(request) ? { nat: observedNatOf(session, request) } : {}
  const move = async (): Promise<void> => {
    const isElsewhere = !remote.equals(current.sa.remote) || !local.equals(current.sa.local)
    await moveEndpoints(current, { local, remote, ...nat }, 'mobike')
    // What we asked where it was before must not be what we give it up for.
    if (isElsewhere) current.exchanges.beginAgain()
  }
  await (current === session ? move() : current.run(move))
}

/** The responder tells of its addresses from another one than before: that is where it is now, and hears where we are. */
async function followResponder(session: Session, { local, remote }: Received): Promise<void> {
  const { sa } = session
  if (local.equals(sa.local) && remote.equals(sa.remote)) return
  // While we look for a way ourselves, that tells.
  if (session.exchanges.ways !== null) return
  await moveEndpoints(session, { local, remote }, 'mobike')
  session.exchanges.beginAgain()
  session.wantMobike({ update: true })
}

/** Hashes are answered with hashes, by the way they came. They change nothing without an update: the way may only be tried. */
function natAnswer(session: Session, request: Received): Payload[] {
  if (!hasHashes(request)) return []
  return natDetection(session, session.sa.connection?.forceEncapsulation, request)
}

function observedNatOf(session: Session, message: Received): NatFacts {
  return observedNat(session, message, session.sa.connection?.forceEncapsulation ?? false)
}

function hasHashes({ payloads }: Received): boolean {
  return (
    findNotify(payloads, NotifyType.NAT_DETECTION_SOURCE_IP) !== null &&
    findNotify(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP) !== null
  )
}
