/**
 * IKE_AUTH (RFC 7296 1.2, 2.15), with pre-shared keys and one CHILD_SA:
 *
 *   HDR, SK { IDi, [N(INITIAL_CONTACT)], [IDr], AUTH, SAi2, TSi, TSr }  -->
 *                    <--  HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
 *
 * Who is there is decided first; a CHILD_SA that comes to nothing leaves the IKE_SA standing.
 */
import { formatIdentity, identityOfAddress, matchIdentity, type Identity } from '../auth/identity.ts'
import { pskAuthentication, verifyPsk, type SignedOctets } from '../auth/psk.ts'
import { sharedSecretsFor, type SharedSecret } from '../auth/secrets.ts'
import { assert } from '../base/assert.ts'
import { EspalierError } from '../base/errors.ts'
import { createPrf, type Prf } from '../crypto/prf.ts'
import { AuthMethod, ExchangeType, NotifyType, ProtocolId, nameOf } from '../iana/ikev2.ts'
import { find, findErrorNotify, findNotify, notify } from '../message/ikev2/find.ts'
import { restOfIdPayload, type IdPayload } from '../message/ikev2/id.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import {
  childDelete,
  childRefusalNotify,
  chooseChild,
  installChild,
  offerChild,
  readChildAnswer,
  withAddresses,
  withdrawChild,
  type ChildContributions,
} from './child.ts'
import type { AskedTraffic } from './asked-traffic.ts'
import { goesChildless, isChildless } from './childless.ts'
import { firstRounds, type ChildConnection } from './connection.ts'
import type { Received } from './exchange.ts'
import { deleteIkeSa } from './delete.ts'
import { ExchangeFailure, misbehaved, refusedByPeer } from './failure.ts'
import { rejectUnknownCritical } from './init.ts'
import { authLifetimeNotify, beginLife, heedAuthLifetime } from './lifetimes.ts'
import { ask } from './liveness.ts'
import { installAnswered } from './make-before-break.ts'
import { connectionsFor, type Claim } from './matching.ts'
import { agreeOnMobike, mobikeSupport } from './mobike-answer.ts'
import { checkNatPolicy, forbidNats, heedRefusal } from './nat-policy.ts'
import type { Opening } from './opening.ts'
import { throwIfRedirected } from './redirection.ts'
import { ownIdentity, selectConnection } from './selection.ts'
import type { Session } from './session.ts'
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
  const { sa, env, exchanges, opening } = session
  const { connection, suite, keys } = sa
  assert(connection !== null && opening !== null && suite !== null && keys !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const prf = createPrf(suite.prf)
  const localId = firstRounds(connection).local.id ?? identityOfAddress(sa.local.address)
  sa.localId = localId
  const expected = firstRounds(connection).remote.id
  const secret = secretToProve(
    session,
    localId,
    expected.kind === 'exact' ? expected.identity : identityOfAddress(sa.remote.address),
  )
  env.report({ event: 'authenticating', sa, id: localId })
  const idPayload: IdPayload = { kind: 'IDi', idType: localId.type, data: localId.data }
  const request = requestAddresses(session)
  const isWithout = goesChildless(session, childConnection)
  const offer = isWithout || childConnection === null ? null : await offerChild(session, childConnection, 'without-ke', asked)

  let answer: Received | null = null
  try {
    answer = await exchanges.request(ExchangeType.IKE_AUTH, [
      idPayload,
      ...(isInitialContact(session) ? [notify(NotifyType.INITIAL_CONTACT)] : []),
      ...(expected.kind === 'exact'
        ? [{ kind: 'IDr', idType: expected.identity.type, data: expected.identity.data } as const]
        : []),
      authPayload(pskAuthentication(prf, secret.secret, initiatorOctets(session, opening, idPayload))),
      ...(request === null ? [] : [request]),
      ...(offer === null ? [] : [...offer.notifies, offer.proposals, ...offer.selectors]),
      ...mobikeSupport(session, connection.mobike),
      ...forbidNats(session),
    ])
    if (answer.malformed !== null) throw answer.malformed
    rejectUnknownCritical(answer)
    throwOnFatalNotify(answer)
    sa.remoteId = authenticatedResponder(session, prf, opening, localId, answer)
    throwIfRedirected(answer.payloads, null)
    agreeOnMobike(session, answer)
  } catch (error) {
    if (offer !== null) await withdrawChild(session, offer)
    if (answer !== null) tellOurVerdict(session, answer, error)
    throw error
  }
  acceptAddresses(session, answer.payloads)
  establish(session)
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

/** An error notify of an answer; beside AUTH only those that are not about the CHILD_SA (RFC 7296 1.2, 2.21.2). */
function throwOnFatalNotify(answer: Received): void {
  const error = findErrorNotify(answer.payloads)
  if (error === null) return
  const isAboutChild = find(answer.payloads, 'AUTH') !== null && CHILD_ERRORS.has(error.notifyType)
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

/** The responder's side: the payloads of the answer. Throws ExchangeFailure whose notify ends the IKE_SA. */
export async function respondAuth(session: Session, request: Received): Promise<readonly Payload[]> {
  const { sa, env, opening } = session
  assert(opening !== null && sa.suite !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  rejectUnknownCritical(request)
  heedRefusal(request)
  const prf = createPrf(sa.suite.prf)
  const idi = find(request.payloads, 'IDi')
  const idr = find(request.payloads, 'IDr')
  const auth = find(request.payloads, 'AUTH')
  if (idi === null) throw misbehaved('an IKE_AUTH request without IDi payload')
  const remoteId: Identity = { type: idi.idType, data: idi.data.slice() }
  const requestedId: Identity | null = idr === null ? null : { type: idr.idType, data: idr.data.slice() }
  const { local, remote } = request
  assert(sa.proposal !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const claim: Claim = { way: { local, remote }, remoteId, requestedId, proposal: sa.proposal }
  const candidates = connectionsFor(env.connections(), claim)
  const [best] = candidates
  env.report({ event: 'peer-identified', sa, local, remote, remoteId, requestedId, connection: best ?? null })
  if (best === undefined) {
    const asked = requestedId === null ? '' : ` and us as ${formatIdentity(requestedId)}`
    throw authenticationFailed(
      `no matching peer config found: no connection for these addresses expects the peer as ${formatIdentity(remoteId)}${asked}`,
    )
  }
  if (auth === null)
    throw authenticationFailed(`peer requested EAP, config unacceptable: it is not configured for ${formatIdentity(remoteId)}`)
  if (auth.method !== AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE) {
    throw authenticationFailed(
      `${formatIdentity(remoteId)} authenticates by ${nameOf(AuthMethod, auth.method)}, but only a pre-shared key is supported`,
    )
  }
  const peerOctets = initiatorOctets(session, opening, idi)
  const selection = selectConnection(candidates, claim, env.secrets(), ({ secret }) =>
    verifyPsk(prf, secret, peerOctets, auth.data),
  )
  if (selection === null) throw notProven(session, ownIdentity(best, claim), remoteId)
  const { connection, localId, secret } = selection
  env.report({ event: 'peer-authenticated', sa, id: remoteId })
  if (connection !== best) env.report({ event: 'connection-switched', sa, from: best, to: connection })
  env.report({ event: 'authenticating', sa, id: localId })

  session.useConnection(connection)
  sa.localId = localId
  sa.remoteId = remoteId
  // The first protected request shows the endpoints that both sides will use from now on (strongSwan).
  sa.local = request.local
  sa.remote = request.remote
  checkNatPolicy(session, request)
  const isMobike = agreeOnMobike(session, request)
  const wantsNoChild = isChildless(connection, request.payloads)
  const saysInitialContact = findNotify(request.payloads, NotifyType.INITIAL_CONTACT) !== null
  enforceUniqueness(session, saysInitialContact)
  establish(session)

  const idPayload: IdPayload = { kind: 'IDr', idType: localId.type, data: localId.data }
  const answer: Payload[] = [
    idPayload,
    authPayload(pskAuthentication(prf, secret.secret, responderOctets(session, opening, idPayload))),
  ]
  try {
    const configuration = answerConfiguration(session, request.payloads)
    if (configuration !== null) answer.push(configuration)
    answer.push(...authLifetimeNotify(session))
    if (!wantsNoChild) {
      const choice = await chooseChild(session, connection.children, request.payloads, 'without-ke')
      await installAnswered(session, choice.agreed, contributionsOf(opening), saysInitialContact)
      answer.push(...choice.notifies, choice.proposals, ...choice.selectors)
    }
  } catch (error) {
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
  // Whoever hears of the IKE_SA hears when it is to be rekeyed.
  const tellOfLife = beginLife(session, null)
  env.report({ event: 'ike-established', sa })
  tellOfLife()
}

/** The peer's identity, after its AUTH was found right. Throws AUTHENTICATION_FAILED. */
function authenticatedResponder(session: Session, prf: Prf, opening: Opening, localId: Identity, answer: Received): Identity {
  const { sa, env } = session
  const idr = find(answer.payloads, 'IDr')
  const auth = find(answer.payloads, 'AUTH')
  if (idr === null || auth === null) throw misbehaved('an IKE_AUTH response without IDr or AUTH payload')
  const remoteId: Identity = { type: idr.idType, data: idr.data.slice() }
  assert(sa.connection !== null, 'an initiator knows its connection')
  if (matchIdentity(firstRounds(sa.connection).remote.id, remoteId) === 0)
    throw authenticationFailed(
      `constraint check failed: the peer says it is ${formatIdentity(remoteId)}, which remote.id does not allow`,
    )
  if (auth.method !== AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE) {
    throw authenticationFailed(
      `the peer authenticates by ${nameOf(AuthMethod, auth.method)}, but only a pre-shared key is supported`,
    )
  }
  const octets = responderOctets(session, opening, idr)
  const isProven = sharedSecretsFor(env.secrets(), localId, remoteId).some((candidate) =>
    verifyPsk(prf, candidate.secret, octets, auth.data),
  )
  if (!isProven) throw notProven(session, localId, remoteId)
  env.report({ event: 'peer-authenticated', sa, id: remoteId })
  return remoteId
}

/** None of our secrets for these two makes the peer's AUTH. */
function notProven(session: Session, localId: Identity, remoteId: Identity): ExchangeFailure {
  const tried = sharedSecretsFor(session.env.secrets(), localId, remoteId).length
  if (tried === 0) return authenticationFailed(noSharedKey(localId, remoteId))
  const between = `'${formatIdentity(localId)}' - '${formatIdentity(remoteId)}'`
  return authenticationFailed(
    `tried ${tried} shared key${tried === 1 ? '' : 's'} for ${between}, but MAC mismatched: the pre-shared key of the peer is not ours`,
  )
}

function noSharedKey(localId: Identity, remoteId: Identity): string {
  return `no shared key found for '${formatIdentity(localId)}' - '${formatIdentity(remoteId)}'`
}

function secretToProve(session: Session, localId: Identity, remoteId: Identity): SharedSecret {
  const [secret] = sharedSecretsFor(session.env.secrets(), localId, remoteId)
  if (secret !== undefined) return secret
  throw new ExchangeFailure('caller', 'NO_SHARED_SECRET', noSharedKey(localId, remoteId))
}

function initiatorOctets(session: Session, opening: Opening, id: IdPayload): SignedOctets {
  assert(session.sa.keys !== null, 'IKE_SA_INIT left keys')
  return {
    message: opening.initiatorMessage,
    nonce: opening.responderNonce,
    idPayload: restOfIdPayload(id),
    macKey: session.sa.keys.pi,
  }
}

function responderOctets(session: Session, opening: Opening, id: IdPayload): SignedOctets {
  assert(session.sa.keys !== null, 'IKE_SA_INIT left keys')
  return {
    message: opening.responderMessage,
    nonce: opening.initiatorNonce,
    idPayload: restOfIdPayload(id),
    macKey: session.sa.keys.pr,
  }
}

function authPayload(data: Uint8Array): Payload {
  return { kind: 'AUTH', method: AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE, data }
}

function contributionsOf(opening: Opening): ChildContributions {
  return { nonceInitiator: opening.initiatorNonce, nonceResponder: opening.responderNonce, sharedSecret: null }
}

function authenticationFailed(message: string): ExchangeFailure {
  return new ExchangeFailure('peer-misbehaved', 'AUTHENTICATION_FAILED', message, NotifyType.AUTHENTICATION_FAILED)
}
