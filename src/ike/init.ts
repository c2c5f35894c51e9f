/**
 * IKE_SA_INIT (RFC 7296 1.2, 2.6, 2.7, 2.23):
 *
 *   HDR(SPIi, 0), [N(COOKIE)], SAi1, KEi, Ni, N(NAT_DETECTION_*)  -->
 *                <--  HDR(SPIi, SPIr), SAr1, KEr, Nr, N(NAT_DETECTION_*)
 *
 * Agrees on a suite and keys, finds out about NATs, floats to the NAT-T port.
 */
import { NO_INTERMEDIATE } from '../auth/intermediate.ts'
import { hashesAllowed, readHashAlgorithms, writeHashAlgorithms } from '../auth/signature.ts'
import { assert } from '../base/assert.ts'
import { deriveIkeKeys } from '../crypto/keys.ts'
import type { Suite } from '../crypto/protection.ts'
import type { Secret } from '../crypto/secret.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { find, findErrorNotify, findNotify, notifies, notify } from '../message/ikev2/find.ts'
import type { Payload, WireProposal } from '../message/ikev2/payload.ts'
import { natDetectionHashes, natFacts, type NatFacts } from '../nat/detection.ts'
import { detectionOf, type Way } from '../nat/path.ts'
import { floated, floats } from '../nat/ports.ts'
import { Choices } from '../negotiate/choices.ts'
import {
  additionalKeyExchanges,
  checkChosen,
  proposesAdditional,
  suiteOf,
  toWire,
  toWireChosen,
  type ChosenTransforms,
  type SuiteProposal,
} from '../negotiate/proposals.ts'
import type { KeyExchange } from '../ports.ts'
import { certificateRequests, readRequest, requestsOcsp } from './certificate-payloads.ts'
import { childlessSupport } from './childless.ts'
import type { Connection } from './connection.ts'
import type { Received } from './exchange.ts'
import { ExchangeFailure, misbehaved, NoProposalChosen, refusedByPeer } from './failure.ts'
import { groupDemanded, otherGroupWanted, preferredGroup } from './groups.ts'
import { refuseFoundNat } from './nat-policy.ts'
import { newNonce } from './nonces.ts'
import { redirectSupport, takesRedirect, throwIfRedirected } from './redirection.ts'
import { sendsFragments } from './sealing.ts'
import type { Session } from './session.ts'

/** An honest peer asks for a cookie and another group once each, and may repeat the cookie when its secret changes. */
const INIT_ATTEMPTS_MAX = 6
/** RFC 7296 2.6. */
const COOKIE_LENGTH_MAX = 64

/** The initiator's side. Throws ExchangeFailure; when it returns, the IKE_SA has keys, NAT facts and its final ports. */
export async function initiateInit(session: Session): Promise<void> {
  const { sa, env, exchanges } = session
  const connection = sa.connection
  assert(connection !== null, 'an initiator knows its connection')
  const nonce = newNonce(env.entropy)
  let cookie: Uint8Array | null = null
  let keyExchange = await env.keyExchanges.generate(firstGroup(connection))
  try {
    for (let attempt = 0; attempt < INIT_ATTEMPTS_MAX; attempt++) {
      const waiting = exchanges.request(ExchangeType.IKE_SA_INIT, [
        ...(cookie === null ? [] : [notify(NotifyType.COOKIE, cookie)]),
        { kind: 'SA', proposals: connection.proposals.map((proposal, i) => toWire(proposal, i + 1, new Uint8Array())) },
        { kind: 'KE', group: keyExchange.group, data: keyExchange.publicValue },
        { kind: 'Nonce', data: nonce },
        ...natDetection(session),
        ...fragmentationSupport(connection.fragmentation !== 'no'),
        ...redirectSupport(session),
        ...signatureSupport(session, [connection]),
        ...intermediateSupport(connection.proposals),
      ])
      const initiatorMessage = exchanges.outstandingBytes
      const answer = await waiting
      throwIfRedirected(answer.payloads, nonce)
      const demand = demandOf(answer, connection, keyExchange.group)
      if (demand === null) return await acceptAnswer(session, connection, { initiatorMessage, nonce, keyExchange }, answer)
      if ('cookie' in demand) {
        cookie = demand.cookie
        env.report({ event: 'cookie-returned', sa })
      } else {
        keyExchange.destroy()
        const refused = keyExchange.group
        keyExchange = await env.keyExchanges.generate(demand.group)
        env.report({ event: 'key-exchange-retry', sa, refused, group: demand.group })
      }
    }
  } finally {
    keyExchange.destroy()
  }
  throw new ExchangeFailure(
    'peer-misbehaved',
    'INIT_ENDLESS',
    `the peer answered ${INIT_ATTEMPTS_MAX} IKE_SA_INIT requests with a new demand each`,
  )
}

/** What the responder wants before it answers: its cookie back (RFC 7296 2.6), or another group (1.2). Null when this is the answer. */
function demandOf(
  answer: Received,
  connection: Connection,
  usedGroup: number,
): { readonly cookie: Uint8Array } | { readonly group: number } | null {
  rejectUnknownCritical(answer)
  const cookie = findNotify(answer.payloads, NotifyType.COOKIE)
  if (cookie !== null && find(answer.payloads, 'SA') === null) {
    if (cookie.data.length === 0 || cookie.data.length > COOKIE_LENGTH_MAX)
      throw misbehaved(`the peer's cookie has ${cookie.data.length} octets, not 1 to 64`)
    return { cookie: cookie.data }
  }
  const group = groupDemanded(answer.payloads, connection.proposals, usedGroup)
  if (group !== null) return { group }
  throwOnErrorNotify(answer)
  return null
}

/** What the initiator put into the request that was answered. */
interface InitOffer {
  readonly initiatorMessage: Uint8Array
  readonly nonce: Uint8Array
  readonly keyExchange: KeyExchange
}

/** The initiator's last step: checks the choice, derives the keys, learns about NATs and floats. */
async function acceptAnswer(session: Session, connection: Connection, offer: InitOffer, answer: Received): Promise<void> {
  const { sa, env } = session
  const { proposals, keyData, group, peerNonce } = required(answer)
  if (answer.responderSpi === 0n) throw misbehaved("the peer's IKE_SA_INIT response has no SPI")
  const [proposal, surplus] = proposals
  if (proposal === undefined || surplus !== undefined) throw misbehaved('the peer chose none or several proposals instead of one')
  const chosen = checkChosen(proposal, connection.proposals)
  if (chosen === null) throw misbehaved('the peer chose a proposal that we did not offer')
  const suite = suiteOf(chosen)
  if (suite.ke !== offer.keyExchange.group || group !== offer.keyExchange.group)
    throw misbehaved('the peer chose another key exchange group than it used')
  const additional = additionalKeyExchanges(chosen)
  if (additional.length > 0 && !supportsIntermediate(answer))
    throw misbehaved('the peer chose additional key exchanges and does not support IKE_INTERMEDIATE')
  env.report({ event: 'proposal-selected', sa, proposal: chosen })
  const secret = await offer.keyExchange.agree(keyData)

  sa.peerSpi = answer.responderSpi
  // The address we are reached at is news, the address we reach the peer at is not: nothing is authentic yet.
  sa.local = answer.local
  sa.proposal = chosen
  adoptKeys(session, suite, secret, offer.nonce, peerNonce)
  session.opening = {
    initiatorMessage: offer.initiatorMessage,
    responderMessage: answer.bytes.slice(),
    initiatorNonce: offer.nonce,
    responderNonce: peerNonce.slice(),
    additional,
    intermediate: NO_INTERMEDIATE,
    takesChildless: findNotify(answer.payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED) !== null,
    peerHashes: hashesOf(session, answer),
    takesRounds:
      env.settings().multipleAuthentication && findNotify(answer.payloads, NotifyType.MULTIPLE_AUTH_SUPPORTED) !== null,
    certificateRequest: readRequest(session, answer.payloads),
    asksOcsp: requestsOcsp([connection]),
  }
  sa.nat = observedNat(session, answer, connection.forceEncapsulation)
  env.report({ event: 'nat-detected', sa })
  refuseFoundNat(session)
  sa.fragmentation = connection.fragmentation !== 'no' && supportsFragmentation(answer)
  float(session, connection.mobike)
}

/** What an IKE_SA_INIT request asks for, checked as far as it can be without spending anything on it. */
export interface InitRequest {
  readonly received: Received
  readonly initiatorSpi: bigint
  readonly candidates: readonly Connection[]
  readonly suite: Suite
  readonly chosen: ChosenTransforms
  readonly answerProposal: WireProposal
  readonly keyData: Uint8Array
  readonly peerNonce: Uint8Array
}

/** The responder's first half: which connections it may be for, which suite. Throws ExchangeFailure with the notify to answer. */
export function readInitRequest(received: Received, initiatorSpi: bigint, candidates: readonly Connection[]): InitRequest {
  rejectUnknownCritical(received)
  const { proposals, keyData, group, peerNonce } = required(received)
  const choices = new Choices(proposals)
  for (const connection of candidates) {
    const choice = choices.of(connection.proposals)
    if (choice === null) continue
    // strongSwan: it has to say so, if it proposes them (RFC 9370 2.2.1).
    if (additionalKeyExchanges(choice.chosen).length > 0 && !supportsIntermediate(received)) continue
    const suite = suiteOf(choice.chosen)
    if (suite.ke !== group) throw otherGroupWanted(group, suite.ke)
    const answerProposal = toWireChosen(choice.chosen, choice.number, new Uint8Array())
    // Another connection that would have agreed to the same suite may turn out to be the right one.
    const answered = new Choices([answerProposal])
    const fitting = candidates.filter((other) => other === connection || answered.of(other.proposals) !== null)
    return { received, initiatorSpi, candidates: fitting, suite, chosen: choice.chosen, answerProposal, keyData, peerNonce }
  }
  const { local, remote } = received
  const between = `${local.address.toString()}...${remote.address.toString()}`
  if (candidates.length === 0) {
    throw new ExchangeFailure(
      'peer-incompatible',
      'NO_CONNECTION',
      `no IKE config found for ${between}, sending NO_PROPOSAL_CHOSEN`,
      NotifyType.NO_PROPOSAL_CHOSEN,
    )
  }
  throw new NoProposalChosen(
    `received proposals unacceptable: none fits a connection for ${between}`,
    proposals,
    candidates.flatMap((connection) => connection.proposals),
  )
}

/** The responder's second half: spends the key exchange and answers. Throws InvalidKeyExchange on a bad KE. */
export async function respondInit(session: Session, request: InitRequest): Promise<void> {
  const { publicValue, secret } = await session.env.keyExchanges.answer(request.suite.ke, request.keyData)
  answerInit(session, request, publicValue, secret)
}

function answerInit(session: Session, request: InitRequest, publicValue: Uint8Array, secret: Secret): void {
  const { sa, env, exchanges } = session
  const nonce = newNonce(env.entropy)
  const forced = request.candidates.some((connection) => connection.forceEncapsulation)
  // Which connection it is turns out in IKE_AUTH, and which address is ours from outside is true of all of them.
  const publicAddresses = request.candidates.flatMap((connection) => connection.publicAddresses)
  sa.proposal = request.chosen
  env.report({ event: 'proposal-selected', sa, proposal: request.chosen })
  adoptKeys(session, request.suite, secret, request.peerNonce, nonce)
  sa.nat = observedNat(session, request.received, forced, publicAddresses)
  env.report({ event: 'nat-detected', sa })
  sa.takesRedirect = takesRedirect(session, request.received.payloads)
  // Which connection it is turns out in IKE_AUTH; one that sends no fragments may take some in.
  sa.fragmentation =
    supportsFragmentation(request.received) && request.candidates.some(({ fragmentation }) => fragmentation !== 'no')
  if (request.candidates.some(sendsFragments)) exchanges.sendFragmentsUnnamed()
  const peerHashes = hashesOf(session, request.received)
  const additional = additionalKeyExchanges(request.chosen)
  const [responderMessage] = exchanges.respond(request.received, [
    { kind: 'SA', proposals: [request.answerProposal] },
    { kind: 'KE', group: request.suite.ke, data: publicValue },
    { kind: 'Nonce', data: nonce },
    // The responder answers hashes with hashes and never offers them by itself (strongSwan).
    ...(sa.nat.supported ? natDetection(session, forced, sa, publicAddresses) : []),
    ...childlessSupport(request.candidates),
    ...fragmentationSupport(sa.fragmentation),
    // As an answer to the initiator's (RFC 7427 4).
    ...(peerHashes === null ? [] : signatureSupport(session, request.candidates)),
    ...roundsSupport(session, request.candidates),
    ...certificateRequests(session, request.candidates),
    ...intermediateSupport([request.chosen]),
  ])
  assert(responderMessage !== undefined, 'an IKE_SA_INIT goes in one piece')
  session.opening = {
    initiatorMessage: request.received.bytes.slice(),
    responderMessage,
    initiatorNonce: request.peerNonce.slice(),
    responderNonce: nonce,
    additional,
    intermediate: NO_INTERMEDIATE,
    takesChildless: false,
    peerHashes,
    takesRounds: false,
    certificateRequest: null,
    asksOcsp: requestsOcsp(request.candidates),
  }
}

/** RFC 7427 4: hashes that the peer may sign with, where a signature of it could be of use. */
function signatureSupport({ env }: Session, connections: readonly Connection[]): Payload[] {
  const rounds = connections.flatMap(({ remote }) => remote.filter(({ method }) => method !== 'psk'))
  const settings = env.settings()
  if (rounds.length === 0 || !settings.signatureAuthentication) return []
  return [notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, writeHashAlgorithms(hashesAllowed(rounds, settings)))]
}

/** Null: the peer does not know RFC 7427, or none of the hashes that we do, or we are not to use it. */
function hashesOf({ env }: Session, { payloads }: Received): ReadonlySet<number> | null {
  const found = findNotify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
  if (found === null || !env.settings().signatureAuthentication) return null
  const hashes = readHashAlgorithms(found.data)
  return hashes.size === 0 ? null : hashes
}

/** RFC 4739 3.1, where it could be of use. */
function roundsSupport({ env }: Session, connections: readonly Connection[]): Payload[] {
  const isWanted = connections.some(({ local, remote }) => local.length > 1 || remote.length > 1)
  return isWanted && env.settings().multipleAuthentication ? [notify(NotifyType.MULTIPLE_AUTH_SUPPORTED)] : []
}

/** The NAT facts of a message with the peer's hashes, seen where it came in. Its header's SPIs count, not ours. */
export function observedNat(
  session: Session,
  received: Received,
  forced: boolean,
  publicAddresses = session.sa.connection?.publicAddresses ?? [],
): NatFacts {
  const { sa, env } = session
  const { initiatorSpi } = sa.spis
  const observation = {
    spis: { initiatorSpi, responderSpi: received.responderSpi },
    sources: notifies(received.payloads, NotifyType.NAT_DETECTION_SOURCE_IP).map((found) => found.data),
    destinations: notifies(received.payloads, NotifyType.NAT_DETECTION_DESTINATION_IP).map((found) => found.data),
    local: received.local,
    remote: received.remote,
    forced,
    publicAddresses,
  }
  const facts = natFacts(observation)
  sa.path.noteDetection(detectionOf(env.clock.now(), observation, facts))
  return facts
}

/** Our own notifies for a message about to leave, by the IKE_SA's way or another; recomputed for every attempt, since addresses may have changed. */
export function natDetection(
  session: Session,
  forced = session.sa.connection?.forceEncapsulation ?? false,
  { local, remote }: Way = session.sa,
  publicAddresses = session.sa.connection?.publicAddresses ?? [],
): Payload[] {
  const { sa, env } = session
  const hashes = natDetectionHashes(sa.spis, local, remote, { publicAddresses, fake: forced ? env.fakeSource : null })
  return [
    ...hashes.sources.map((source) => notify(NotifyType.NAT_DETECTION_SOURCE_IP, source)),
    notify(NotifyType.NAT_DETECTION_DESTINATION_IP, hashes.destination),
  ]
}

/** RFC 7383 2.3: the initiator says it, and the responder only to one that has. */
function fragmentationSupport(isSupported: boolean): Payload[] {
  return isSupported ? [notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)] : []
}

function supportsFragmentation(received: Received): boolean {
  return findNotify(received.payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) !== null
}

/** RFC 9242 3.1: said where it may be of use (strongSwan). */
function intermediateSupport(proposals: readonly SuiteProposal[]): Payload[] {
  return proposesAdditional(proposals) ? [notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)] : []
}

function supportsIntermediate(received: Received): boolean {
  return findNotify(received.payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) !== null
}

function float(session: Session, mobike: boolean): void {
  const { sa, env } = session
  if (!floats(sa.nat, mobike)) return
  const from = { local: sa.local, remote: sa.remote }
  const to = floated(sa.local, sa.remote, env.ports)
  if (to.local.equals(from.local) && to.remote.equals(from.remote)) return
  sa.local = to.local
  sa.remote = to.remote
  env.report({ event: 'floated', sa, from })
}

function adoptKeys(
  session: Session,
  suite: Suite,
  sharedSecret: Secret,
  initiatorNonce: Uint8Array,
  responderNonce: Uint8Array,
): void {
  const { sa } = session
  sa.suite = suite
  sa.keys = deriveIkeKeys({ suite, nonceInitiator: initiatorNonce, nonceResponder: responderNonce, sharedSecret, ...sa.spis })
  sharedSecret.destroy()
  session.exchanges.protect(suite, sa.keys)
}

function firstGroup(connection: Connection): number {
  const group = preferredGroup(connection.proposals)
  if (group === null)
    throw new ExchangeFailure('caller', 'NO_KE_GROUP', `connection ${connection.name} proposes no key exchange group`)
  return group
}

function required(received: Received): {
  readonly proposals: readonly WireProposal[]
  readonly group: number
  readonly keyData: Uint8Array
  readonly peerNonce: Uint8Array
} {
  const sa = find(received.payloads, 'SA')
  const ke = find(received.payloads, 'KE')
  const nonce = find(received.payloads, 'Nonce')
  if (sa === null || ke === null || nonce === null) throw misbehaved('an IKE_SA_INIT without SA, KE or Nonce payload')
  return { proposals: sa.proposals, group: ke.group, keyData: ke.data, peerNonce: nonce.data }
}

/** RFC 7296 2.5: an unknown critical payload refuses the whole message and names its type. */
export function rejectUnknownCritical(received: Received): void {
  if (received.unknownCritical === null) return
  throw new ExchangeFailure(
    'peer-incompatible',
    'UNSUPPORTED_CRITICAL_PAYLOAD',
    `the peer sent payload type ${received.unknownCritical}, marked critical, which we do not know`,
    NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
    Uint8Array.of(received.unknownCritical),
  )
}

/** An error notify in an answer ends the exchange. */
export function throwOnErrorNotify(received: Received): void {
  const error = findErrorNotify(received.payloads)
  if (error !== null) throw refusedByPeer(error.notifyType)
}
