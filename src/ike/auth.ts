/**
 * IKE_AUTH (RFC 7296 1.2, 2.15), with one CHILD_SA:
 *
 *   HDR, SK { IDi, [CERT,] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr }  -->
 *                    <--  HDR, SK { IDr, [CERT,] AUTH, SAr2, TSi, TSr }
 *
 * and, where a side has more than one round of authentication (RFC 4739), with as many exchanges as it takes:
 *
 *   HDR, SK { IDi, AUTH, SAi2, TSi, TSr, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS) }  -->
 *                    <--  HDR, SK { IDr, AUTH }
 *   HDR, SK { IDi, AUTH }  -->
 *                    <--  HDR, SK { SAr2, TSi, TSr }
 *
 * Who is there is decided first; a CHILD_SA that comes to nothing leaves the IKE_SA standing. What we prove is in
 * own-proof.ts, what the peer does in peer-rounds.ts.
 */
import { formatIdentity, identityOfAddress, matchIdentity, type Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import { EspalierError } from '../base/errors.ts'
import { ExchangeType, NotifyType, ProtocolId } from '../iana/ikev2.ts'
import { find, findErrorNotify, findNotify, notify } from '../message/ikev2/find.ts'
import type { IdPayload } from '../message/ikev2/id.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { both, certificateRequests, readCertificates, readRequest } from './certificate-payloads.ts'
import {
  childDelete,
  childRefusalNotify,
  chooseChild,
  installChild,
  offerChild,
  readChildAnswer,
  withAddresses,
  withdrawChild,
  type Agreement,
  type ChildContributions,
} from './child.ts'
import type { AskedTraffic } from './asked-traffic.ts'
import { goesChildless, isChildless } from './childless.ts'
import type { ChildConnection, Connection } from './connection.ts'
import type { Received } from './exchange.ts'
import { deleteIkeSa } from './delete.ts'
import { ExchangeFailure, misbehaved, refusedByPeer } from './failure.ts'
import { rejectUnknownCritical } from './init.ts'
import { requireAllIntermediate } from './intermediate.ts'
import { authLifetimeNotify, beginLife, heedAuthLifetime } from './lifetimes.ts'
import { ask } from './liveness.ts'
import { installAnswered } from './make-before-break.ts'
import { connectionsFor, type Claim } from './matching.ts'
import { agreeOnMobike, mobikeSupport } from './mobike-answer.ts'
import { checkNatPolicy, forbidNats, heedRefusal } from './nat-policy.ts'
import type { Opening } from './opening.ts'
import { ownIdentity, proveOurselves } from './own-proof.ts'
import { failed, PeerRounds, type PeerRound, type Responding } from './peer-rounds.ts'
import { throwIfRedirected } from './redirection.ts'
import type { Session } from './session.ts'
import { settleTies } from './ties.ts'
import { enforceUniqueness, isInitialContact } from './uniqueness.ts'
import { acceptAddresses, answerConfiguration, requestAddresses } from './virtual-addresses.ts'

/**
 * The initiator's side. Throws when the IKE_SA is not to be; a failed CHILD_SA is reported, not thrown. False if the
 * child is still to come, or there is none.
 */
export async function initiateAuth(
  session: Session,
  childConnection: ChildConnection | null,
  asked?: AskedTraffic,
): Promise<boolean> {
  const { sa, env, opening } = session
  const { connection } = sa
  assert(connection !== null && opening !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const begun = env.clock.now()
  const peer = new PeerRounds(session, [connection])
  const firstProof = await ownRound(session, connection, peer)
  const request = requestAddresses(session)
  const isWithout = goesChildless(session, childConnection)
  const offer = isWithout || childConnection === null ? null : await offerChild(session, childConnection, 'without-ke', asked)
  const firstRequest = [
    ...(request === null ? [] : [request]),
    ...(offer === null ? [] : [...offer.notifies, offer.proposals, ...offer.selectors]),
    ...mobikeSupport(session, connection.mobike),
    ...forbidNats(session),
    ...(hasRounds(connection) && opening.takesRounds ? [notify(NotifyType.MULTIPLE_AUTH_SUPPORTED)] : []),
  ]

  let answer: Received | null = null
  try {
    answer = await exchangeRounds(session, connection, peer, [...firstProof, ...firstRequest], (received) => (answer = received))
    throwIfRedirected(answer.payloads, null)
    agreeOnMobike(session, answer)
  } catch (error) {
    if (offer !== null) await withdrawChild(session, offer)
    if (answer !== null) tellOurVerdict(session, answer, error)
    throw error
  }
  acceptAddresses(session, answer.payloads)
  establish(session)
  settleTies(session, begun)
  heedAuthLifetime(session, answer.payloads)
  if (offer === null) {
    session.dropOpening()
    return false
  }

  try {
    const settled = request === null ? offer : withAddresses(session, offer, asked)
    session.adopt(await installChild(session, readChildAnswer(session, settled, answer.payloads), contributionsOf(opening)))
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    await withdrawChild(session, offer)
    env.report({ event: 'child-failed', sa, name: offer.connection.name, error })
    // The responder believes in a CHILD_SA that we could not take: it is told, so that its kernel lets go (RFC 7296 1.4.1).
    if (find(answer.payloads, 'SA') !== null) {
      await ask(session, [childDelete([offer.inboundSpi])])
    }
    closeAfterFailure(session)
  } finally {
    session.dropOpening()
  }
  return true
}

/** Exchanges until both sides have proved all they have to. Resolves to the last answer; `heard` is told of each as it comes. */
async function exchangeRounds(
  session: Session,
  connection: Connection,
  peer: PeerRounds,
  firstRequest: readonly Payload[],
  heard: (answer: Received) => void,
): Promise<Received> {
  let payloads = firstRequest
  let peerIsDone = false
  for (;;) {
    const answer = await session.exchanges.request(ExchangeType.IKE_AUTH, payloads)
    heard(answer)
    if (answer.malformed !== null) throw answer.malformed
    rejectUnknownCritical(answer)
    throwOnFatalNotify(answer, peerIsDone)
    if (!peerIsDone) {
      await admitRound(session, peer, answer, 'IDr')
      peerIsDone = findNotify(answer.payloads, NotifyType.ANOTHER_AUTH_FOLLOWS) === null
      if (peerIsDone) await peer.requireAll()
    }
    if (peerIsDone && !hasMoreRounds(session, connection, peer)) return answer
    payloads = await ownRound(session, connection, peer)
  }
}

/** Our next round, if there is one, with IDr and CERTREQ where they belong. */
async function ownRound(session: Session, connection: Connection, peer: PeerRounds): Promise<readonly Payload[]> {
  const { sa, opening } = session
  assert(opening !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const index = peer.own.length
  const expected = connection.remote[index]?.id
  const idr: readonly Payload[] =
    expected?.kind === 'exact' ? [{ kind: 'IDr', idType: expected.identity.type, data: expected.identity.data }] : []
  const round = connection.local[index]
  // The responder is not done yet; it does not need us for that.
  if (round === undefined || !isOurTurn(index, opening.takesRounds)) return idr
  const id = ownIdentity(round, null, session)
  sa.localId = id
  const proof = await proveOurselves(session, round, {
    kind: 'IDi',
    connection,
    id,
    peer: expected?.kind === 'exact' ? expected.identity : (sa.remoteId ?? identityOfAddress(sa.remote.address)),
    secret: null,
    asked: opening.certificateRequest,
  })
  peer.own.push({ method: round.method, id })
  const auth = proof.at(-1)!
  return [
    ...proof.slice(0, -1),
    ...(index === 0 && isInitialContact(session) ? [notify(NotifyType.INITIAL_CONTACT)] : []),
    ...(index === 0 ? certificateRequests(session, [connection]) : []),
    ...idr,
    auth,
    ...(hasMoreRounds(session, connection, peer) ? [notify(NotifyType.ANOTHER_AUTH_FOLLOWS)] : []),
  ]
}

function hasRounds({ local, remote }: Connection): boolean {
  return local.length > 1 || remote.length > 1
}

function hasMoreRounds({ opening }: Session, connection: Connection, { own }: PeerRounds): boolean {
  return opening !== null && own.length < connection.local.length && isOurTurn(own.length, opening.takesRounds)
}

/** A peer that knows nothing of rounds gets one (strongSwan); whether that is enough is for the peer to say. */
function isOurTurn(index: number, takesRounds: boolean): boolean {
  return index === 0 || takesRounds
}

/** Takes in a round of the peer's. Throws ExchangeFailure when it proves nothing that we want. */
async function admitRound(session: Session, peer: PeerRounds, { payloads }: Received, kind: 'IDi' | 'IDr'): Promise<void> {
  const { sa, opening } = session
  assert(opening !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const idPayload = find(payloads, kind)
  const auth = find(payloads, 'AUTH')
  if (idPayload === null || auth === null)
    throw misbehaved(`an IKE_AUTH ${kind === 'IDi' ? 'request' : 'response'} without ${kind} or AUTH payload`)
  const round: PeerRound = {
    id: identityIn(idPayload),
    idPayload,
    requestedId: kind === 'IDi' ? requestedIn(payloads) : null,
    auth,
    sent: readCertificates(session, payloads, opening.asksOcsp),
  }
  await peer.admit(round)
  sa.remoteId = round.id
}

function identityIn({ idType, data }: IdPayload): Identity {
  return { type: idType, data: data.slice() }
}

function requestedIn(payloads: readonly Payload[]): Identity | null {
  const idr = find(payloads, 'IDr')
  return idr === null ? null : identityIn(idr)
}

/** An error notify of an answer; once the peer has proved who it is, only those that are not about the CHILD_SA (RFC 7296 1.2, 2.21.2). */
function throwOnFatalNotify(answer: Received, peerIsDone: boolean): void {
  const error = findErrorNotify(answer.payloads)
  if (error === null) return
  const hasProved = peerIsDone || find(answer.payloads, 'AUTH') !== null
  const isAboutChild = hasProved && CHILD_ERRORS.has(error.notifyType)
  if (!isAboutChild) throw refusedByPeer(error.notifyType)
}

/** strongSwan's list. */
const CHILD_ERRORS: ReadonlySet<number> = new Set([
  NotifyType.NO_PROPOSAL_CHOSEN,
  NotifyType.SINGLE_PAIR_REQUIRED,
  NotifyType.NO_ADDITIONAL_SAS,
  NotifyType.INTERNAL_ADDRESS_FAILURE,
  NotifyType.FAILED_CP_REQUIRED,
  NotifyType.TS_UNACCEPTABLE,
  NotifyType.INVALID_SELECTORS,
])

/** The first CHILD_SA came to nothing: the IKE_SA goes too if charon.close_ike_on_child_failure says so. */
function closeAfterFailure(session: Session): void {
  if (!session.env.settings().closeIkeOnChildFailure) return
  void session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
}

/**
 * A responder that answered with AUTH believes that the IKE_SA stands. When we do not, it is told, once and without
 * waiting for an answer (RFC 7296 2.21.2); the IKE_SA is closed right after.
 */
function tellOurVerdict(session: Session, answer: Received, error: unknown): void {
  const believesInUs = answer.malformed !== null || find(answer.payloads, 'AUTH') !== null
  if (!believesInUs || session.sa.state === 'closed') return
  const isStranger = error instanceof ExchangeFailure && error.notify === NotifyType.AUTHENTICATION_FAILED
  const verdict: Payload = isStranger
    ? notify(NotifyType.AUTHENTICATION_FAILED)
    : { kind: 'Delete', protocol: ProtocolId.IKE, spis: [] }
  session.exchanges.request(ExchangeType.INFORMATIONAL, [verdict]).catch(() => {
    // Closing the IKE_SA abandons the request at once; that is meant.
  })
}

/**
 * The responder's side: the payloads of the answer. The IKE_SA stands afterwards, unless a side has another round to come.
 * Throws ExchangeFailure whose notify ends the IKE_SA.
 */
export async function respondAuth(session: Session, request: Received): Promise<readonly Payload[]> {
  const { sa, opening } = session
  assert(opening !== null && sa.suite !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  rejectUnknownCritical(request)
  heedRefusal(request)
  requireAllIntermediate(opening)
  const isFirst = session.responding === null
  const state = (session.responding ??= beginResponding(session, request))
  const { peer, first } = state
  state.asked = both(state.asked, readRequest(session, request.payloads))
  if (!state.peerIsDone) {
    await admitRound(session, peer, request, 'IDi')
    state.peerIsDone = !state.takesRounds || findNotify(request.payloads, NotifyType.ANOTHER_AUTH_FOLLOWS) === null
    if (state.peerIsDone) await peer.requireAll()
  }
  const { connection } = peer
  session.useConnection(connection)
  if (isFirst) {
    // The first protected request shows the endpoints that both sides will use from now on (strongSwan).
    sa.local = request.local
    sa.remote = request.remote
    checkNatPolicy(session, request)
  }
  const wantsNoChild = isChildless(connection, first.payloads)
  const proof = await answeringRound(session, state, request)
  const hasMore = state.takesRounds && peer.own.length < connection.local.length
  if (hasMore || !state.peerIsDone) return hasMore ? [...proof, notify(NotifyType.ANOTHER_AUTH_FOLLOWS)] : proof
  return [...proof, ...(await concludeAuth(session, connection, first, wantsNoChild))]
}

/** The connections that it may be for. Throws AUTHENTICATION_FAILED if there is none. */
function beginResponding(session: Session, first: Received): Responding {
  const { sa, env } = session
  const { local, remote, payloads } = first
  const idi = find(payloads, 'IDi')
  if (idi === null) throw misbehaved('an IKE_AUTH request without IDi payload')
  assert(sa.proposal !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const remoteId = identityIn(idi)
  const requestedId = requestedIn(payloads)
  const claim: Claim = { way: { local, remote }, remoteId, requestedId, proposal: sa.proposal }
  const candidates = connectionsFor(env.connections(), claim)
  const [best] = candidates
  env.report({ event: 'peer-identified', sa, local, remote, remoteId, requestedId, connection: best ?? null })
  if (best === undefined) {
    const asked = requestedId === null ? '' : ` and us as ${formatIdentity(requestedId)}`
    throw failed(
      `no matching peer config found: no connection for these addresses expects the peer as ${formatIdentity(remoteId)}${asked}`,
    )
  }
  if (find(payloads, 'AUTH') === null)
    throw failed(`peer requested EAP, config unacceptable: it is not configured for ${formatIdentity(remoteId)}`)
  const knowsRounds = findNotify(payloads, NotifyType.MULTIPLE_AUTH_SUPPORTED) !== null
  const takesRounds = knowsRounds && env.settings().multipleAuthentication
  return { first, peer: new PeerRounds(session, candidates), takesRounds, peerIsDone: false, asked: null }
}

/** Our round that goes with the answer, if there is one left. Throws AUTHENTICATION_FAILED if we are not who is asked for. */
async function answeringRound(session: Session, state: Responding, request: Received): Promise<readonly Payload[]> {
  const { sa } = session
  const { peer } = state
  const { connection } = peer
  const index = peer.own.length
  const round = connection.local[index]
  if (round === undefined || !isOurTurn(index, state.takesRounds)) return []
  const requestedId = requestedIn(request.payloads)
  if (round.id !== null && requestedId !== null && matchIdentity({ kind: 'exact', identity: round.id }, requestedId) === 0)
    throw failed(`received IDr ${formatIdentity(requestedId)}, but require ${formatIdentity(round.id)}`)
  const id = ownIdentity(round, requestedId, session)
  assert(sa.remoteId !== null, 'the peer has proved who it is')
  const proof = await proveOurselves(session, round, {
    kind: 'IDr',
    connection,
    id,
    peer: sa.remoteId,
    secret: round.method === 'psk' ? peer.secret : null,
    asked: state.asked,
  })
  sa.localId = id
  peer.own.push({ method: round.method, id })
  return proof
}

/** Both have proved who they are: the IKE_SA stands, and what else the first request asks for is answered. */
async function concludeAuth(
  session: Session,
  connection: Connection,
  first: Received,
  wantsNoChild: boolean,
): Promise<readonly Payload[]> {
  const { sa, env, opening } = session
  assert(opening !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const isMobike = agreeOnMobike(session, first)
  const saysInitialContact = findNotify(first.payloads, NotifyType.INITIAL_CONTACT) !== null
  enforceUniqueness(session, saysInitialContact)
  establish(session)
  const answer: Payload[] = []
  let chosen: Agreement | null = null
  try {
    const configuration = answerConfiguration(session, first.payloads)
    if (configuration !== null) answer.push(configuration)
    answer.push(...authLifetimeNotify(session))
    if (!wantsNoChild) {
      const choice = await chooseChild(session, connection.children, first.payloads, 'without-ke')
      chosen = choice.agreed
      await installAnswered(session, chosen, contributionsOf(opening), saysInitialContact)
      answer.push(...choice.notifies, choice.proposals, ...choice.selectors)
    }
  } catch (error) {
    if (chosen !== null) await withdrawChild(session, chosen)
    const refusal = childRefusalNotify(error)
    if (refusal === null || !(error instanceof EspalierError)) throw error
    answer.push(refusal)
    env.report({ event: 'child-failed', sa, name: connection.name, error })
    closeAfterFailure(session)
  } finally {
    session.dropOpening()
  }
  return [...answer, ...mobikeSupport(session, isMobike)]
}

function establish(session: Session): void {
  const { sa, env } = session
  sa.state = 'established'
  sa.established = env.clock.now()
  sa.begun = sa.established
  sa.firstSpi = sa.spis.initiatorSpi
  // Whoever hears of the IKE_SA hears when it is to be rekeyed.
  const tellOfLife = beginLife(session, null)
  env.report({ event: 'ike-established', sa })
  tellOfLife()
}

function contributionsOf(opening: Opening): ChildContributions {
  return { nonceInitiator: opening.initiatorNonce, nonceResponder: opening.responderNonce, sharedSecret: null }
}
