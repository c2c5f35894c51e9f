/**
 * The CHILD_SA part of an exchange (RFC 7296 1.2, 1.3, 2.9, 2.17): offered, chosen, narrowed, keyed and installed.
 *
 *   [N(USE_TRANSPORT_MODE)], SA, TSi, TSr
 */
import { formatIdentity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import { Reader, toHex, Writer } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { IpAddress } from '../base/ip.ts'
import { deriveChildKeys } from '../crypto/keys.ts'
import { NotifyType, ProtocolId } from '../iana/ikev2.ts'
import type { Secret } from '../crypto/secret.ts'
import type { ChildInstallation, OutboundTime } from '../kernel/books.ts'
import { outboundSelectorCount } from '../kernel/selectors.ts'
import { separationKey, type Separation } from '../kernel/separation.ts'
import { KernelError } from '../kernel/vocabulary.ts'
import { find, findErrorNotify, findNotify, notify } from '../message/ikev2/find.ts'
import type { NotifyPayload, Payload, WireProposal, WireSelector } from '../message/ikev2/payload.ts'
import { wireSelector } from '../message/ikev2/ts.ts'
import { encapsulates } from '../nat/detection.ts'
import { ChildHealth } from '../nat/health.ts'
import { isHostToHost, substituted, type BothSides } from '../nat/transport.ts'
import {
  checkChosen,
  childSuiteOf,
  chooseProposal,
  toWire,
  toWireChosen,
  type ChildSuite,
  type ChosenTransforms,
} from '../negotiate/proposals.ts'
import {
  agreement,
  formatSelector,
  isSubset,
  narrow,
  resolveTemplate,
  type SelectorTemplate,
  type TrafficSelector,
} from '../negotiate/selectors.ts'
import { configuredTraffic, type AskedTraffic, type KeptMarks } from './asked-traffic.ts'
import { isShunt, type ChildConnection } from './connection.ts'
import { dynamicHosts } from './dynamic-hosts.ts'
import { childRefusedByPeer, ExchangeFailure, misbehaved, NoProposalChosen, notifyFor } from './failure.ts'
import { childLimits } from './lifetimes.ts'
import type { ChildSa, IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/**
 * Our limit for what a peer makes of its traffic selectors: pairs of prefixes, each of which is a policy of every direction
 * in the kernel. As many as a child has by its configuration it may have.
 */
const PAIRS_MAX = 1024

/** SPIs below are reserved, 0 means that there is none (RFC 4303 2.1). */
const FIRST_ESP_SPI = 0x100

/**
 * What the exchange that makes a CHILD_SA contributes to its keys: its nonces (those of IKE_SA_INIT for the first one),
 * and the secret of its own key exchange if it had one.
 */
export interface ChildContributions {
  readonly nonceInitiator: Uint8Array
  readonly nonceResponder: Uint8Array
  readonly sharedSecret: Secret | null
  /** Those of its additional key exchanges. */
  readonly additionalSecrets?: readonly Secret[]
}

/** IKE_AUTH has no key exchange of its own, so none is offered or chosen there (RFC 7296 1.2). */
export type KeyExchangeUse = 'with-ke' | 'without-ke'

/** What we offered as initiator, until the answer comes. */
export interface ChildOffer {
  readonly connection: ChildConnection
  /** The number that it will have. */
  readonly uniqueId: number
  readonly inboundSpi: number
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly separation: Separation
  readonly use: KeyExchangeUse
  /** In the order of the message; a nonce and a key exchange come between `proposals` and `selectors`. */
  readonly notifies: readonly Payload[]
  readonly proposals: Payload
  readonly selectors: readonly Payload[]
}

/**
 * The initiator's half before the request: reserves an SPI and writes the payloads. `separation`: that of the CHILD_SA
 * which is to be replaced. Throws KernelError, ExchangeFailure.
 */
export async function offerChild(
  session: Session,
  connection: ChildConnection,
  use: KeyExchangeUse,
  asked: AskedTraffic = configuredTraffic(connection),
  separation: Separation = separationFor(session, connection, asked.marks),
): Promise<ChildOffer> {
  const { sa, env } = session
  const { mode } = connection
  if (mode === 'pass' || mode === 'drop')
    throw new ExchangeFailure('caller', 'SHUNT', `child ${connection.name} is a ${mode} policy: there is nothing to negotiate`)
  const inboundSpi = await env.books.allocateSpi(sa.local.address, sa.remote.address, mode)
  const localSelectors = resolved(asked.local, dynamicHosts(sa, 'local'))
  const remoteSelectors = resolved(asked.remote, dynamicHosts(sa, 'remote'))
  const uniqueId = env.nextChildSaNumber()
  env.report({ event: 'child-establishing', sa, name: connection.name, uniqueId })
  const spi = new Writer(4).u32(inboundSpi).finish()
  return {
    connection,
    uniqueId,
    inboundSpi,
    localSelectors,
    remoteSelectors,
    separation,
    use,
    notifies: mode === 'transport' ? [notify(NotifyType.USE_TRANSPORT_MODE)] : [],
    proposals: {
      kind: 'SA',
      proposals: connection.proposals.map((proposal, i) => toWire(proposal, i + 1, spi, { withoutKe: use === 'without-ke' })),
    },
    selectors: [
      { kind: 'TSi', selectors: localSelectors.map(wireSelector) },
      { kind: 'TSr', selectors: remoteSelectors.map(wireSelector) },
    ],
  }
}

/** The same offer once it is known which virtual addresses `dynamic` means: what was offered before, was any. */
export function withAddresses(session: Session, offer: ChildOffer, asked?: AskedTraffic): ChildOffer {
  const { local } = asked ?? configuredTraffic(offer.connection)
  return { ...offer, localSelectors: resolved(local, dynamicHosts(session.sa, 'local')) }
}

/** What was offered or chosen came to nothing: its SPI goes back. */
export async function withdrawChild(session: Session, { inboundSpi }: Pick<ChildOffer, 'inboundSpi'>): Promise<void> {
  try {
    await session.env.books.releaseSpi(inboundSpi)
  } catch (error) {
    // The reservation runs out by itself; what made us withdraw is the news, not this.
    if (!(error instanceof KernelError)) throw error
    session.env.report({ event: 'kernel-refused', error })
  }
}

/** What both sides agreed on, before it has keys. */
export interface Agreement {
  readonly connection: ChildConnection
  /** Of the CHILD_SA that comes of it. */
  readonly uniqueId: number
  readonly mode: 'tunnel' | 'transport'
  readonly proposal: ChosenTransforms
  readonly inboundSpi: number
  readonly outboundSpi: number
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly separation: Separation
  readonly weInitiate: boolean
}

/** The initiator's half after the answer: checks what the responder made of the offer. Throws ExchangeFailure. */
export function readChildAnswer(session: Session, offer: ChildOffer, answer: readonly Payload[]): Agreement {
  const sa = find(answer, 'SA')
  const tsi = find(answer, 'TSi')
  const tsr = find(answer, 'TSr')
  if (sa === null || tsi === null || tsr === null) throw childRefusal(answer)
  const [proposal, surplus] = sa.proposals
  if (proposal === undefined || surplus !== undefined)
    throw misbehaved('the peer chose none or several CHILD_SA proposals instead of one')
  const chosen = checkChosen(proposal, offer.connection.proposals, { ignoreKe: offer.use === 'without-ke' })
  if (chosen === null) throw misbehaved('the peer chose a CHILD_SA proposal that we did not offer')
  session.env.report({ event: 'proposal-selected', sa: session.sa, proposal: chosen })
  const isTransport = findNotify(answer, NotifyType.USE_TRANSPORT_MODE) !== null
  if (isTransport && offer.connection.mode !== 'transport')
    throw misbehaved('the peer chose transport mode, which we did not offer')
  const traffic = readAnsweredTraffic(
    session.sa,
    offer,
    { local: understood(tsi.selectors), remote: understood(tsr.selectors) },
    isTransport,
  )
  rejectScattered(session, offer.connection, traffic)
  const { localSelectors, remoteSelectors } = traffic
  return {
    connection: offer.connection,
    uniqueId: offer.uniqueId,
    mode: isTransport ? 'transport' : 'tunnel',
    proposal: chosen,
    inboundSpi: offer.inboundSpi,
    outboundSpi: espSpi(proposal),
    localSelectors,
    remoteSelectors,
    separation: offer.separation,
    weInitiate: true,
  }
}

/** What of the answered traffic is within the offer, in the addresses that we know the ends by. Throws ExchangeFailure. */
function readAnsweredTraffic(
  { nat, local, remote }: IkeSa,
  offer: ChildOffer,
  answered: BothSides<readonly TrafficSelector[]>,
  isTransport: boolean,
): Pick<Agreement, 'localSelectors' | 'remoteSelectors'> {
  const addresses = { local: local.address, remote: remote.address }
  const read = isTransport ? (substituted(answered, addresses, nat) ?? answered) : answered
  const localSelectors = withinOffer('local', read.local, offer.localSelectors)
  const remoteSelectors = withinOffer('remote', read.remote, offer.remoteSelectors)
  if (isTransport && !isHostToHost({ local: localSelectors, remote: remoteSelectors }, addresses)) {
    throw misbehaved(
      `the peer chose transport mode for traffic that is not between the two ends: ${trafficOf(localSelectors, remoteSelectors)}`,
    )
  }
  return { localSelectors, remoteSelectors }
}

/** A responder's choice; its answer has a nonce and a key exchange between `proposals` and `selectors`. */
export interface ChildChoice {
  readonly agreed: Agreement
  readonly notifies: readonly Payload[]
  readonly proposals: Payload
  readonly selectors: readonly Payload[]
}

/**
 * The responder's half before there are keys: chooses one of `children`, narrows, reserves an SPI. Throws
 * ExchangeFailure whose notify is the answer, KernelError. The SPI goes back by releaseSpi if nothing is installed.
 * `replaced`: the separation of the CHILD_SA that is to be replaced.
 */
export async function chooseChild(
  session: Session,
  children: readonly ChildConnection[],
  request: readonly Payload[],
  use: KeyExchangeUse,
  replaced: Separation | null = null,
): Promise<ChildChoice> {
  const { sa, env } = session
  const offered = find(request, 'SA')
  const tsi = find(request, 'TSi')
  const tsr = find(request, 'TSr')
  if (offered === null || tsi === null || tsr === null) throw misbehaved('a CHILD_SA request without SA, TSi or TSr payload')
  assert(sa.connection !== null, 'the peer is known before it gets a CHILD_SA')

  const wanted = { local: understood(tsr.selectors), remote: understood(tsi.selectors) }
  // What is declined is answered by a tunnel (RFC 7296 1.3.1).
  const inTransport =
    findNotify(request, NotifyType.USE_TRANSPORT_MODE) === null ? null : fitInTransport(session, children, wanted)
  const mode = inTransport === null ? 'tunnel' : 'transport'
  const fit = inTransport ?? fittingChild(session, children, wanted)
  if (fit === null) {
    throw new ExchangeFailure(
      'policy',
      'TS_UNACCEPTABLE',
      `traffic selectors ${trafficOf(wanted.local, wanted.remote)} unacceptable: no child of ${sa.connection.name} allows them`,
      NotifyType.TS_UNACCEPTABLE,
    )
  }
  rejectScattered(session, fit.connection, fit)
  const choice = chooseProposal(fit.connection.proposals, offered.proposals, { ignoreKe: use === 'without-ke' })
  if (choice === null) {
    throw new NoProposalChosen(
      `no acceptable proposal found: none of the peer's fits child ${fit.connection.name}`,
      offered.proposals,
      fit.connection.proposals,
    )
  }
  env.report({ event: 'proposal-selected', sa, proposal: choice.chosen })
  const outboundSpi = espSpi(choice)
  const inboundSpi = await env.books.allocateSpi(sa.local.address, sa.remote.address, mode)
  // After the wait, not before: another peer may have come in meanwhile.
  const separation = replaced ?? separationFor(session, fit.connection)
  const holder = holderOf(session, { ...fit, separation })
  const apart = holder === null ? separation : anotherSeparation(session, mode, separation)
  if (apart === null) {
    await env.books.releaseSpi(inboundSpi)
    throw taken(fit, holder, 'the kernel could not tell the two apart')
  }
  return {
    agreed: {
      connection: fit.connection,
      uniqueId: env.nextChildSaNumber(),
      mode,
      proposal: choice.chosen,
      inboundSpi,
      outboundSpi,
      localSelectors: fit.localSelectors,
      remoteSelectors: fit.remoteSelectors,
      separation: apart,
      weInitiate: false,
    },
    notifies: mode === 'transport' ? [notify(NotifyType.USE_TRANSPORT_MODE)] : [],
    proposals: { kind: 'SA', proposals: [toWireChosen(choice.chosen, choice.number, new Writer(4).u32(inboundSpi).finish())] },
    selectors: [
      { kind: 'TSi', selectors: fit.remoteSelectors.map(wireSelector) },
      { kind: 'TSr', selectors: fit.localSelectors.map(wireSelector) },
    ],
  }
}

/** Derives the keys and hands everything to the books. The SPI is given back when the kernel refuses, which throws KernelError. */
export async function installChild(
  session: Session,
  agreed: Agreement,
  contributions: ChildContributions,
  time: OutboundTime = 'now',
): Promise<ChildSa> {
  const { sa, env } = session
  const { connection, uniqueId } = agreed
  const suite: ChildSuite = childSuiteOf(agreed.proposal)
  assert(sa.keys !== null && sa.suite !== null, 'a CHILD_SA is keyed from its IKE_SA')
  const keys = deriveChildKeys({
    prf: sa.suite.prf,
    d: sa.keys.d,
    ...contributions,
    encr: suite.encr,
    integ: suite.integ,
  })
  const outbound = agreed.weInitiate ? keys.initiator : keys.responder
  const inbound = agreed.weInitiate ? keys.responder : keys.initiator
  const { separation } = agreed
  const traffic = trafficOf(agreed.localSelectors, agreed.remoteSelectors)
  const claim = claimOf(agreed.localSelectors, agreed.remoteSelectors, separation)
  env.traffic.claim(claim, sa)
  const reqid = connection.reqid === 0 ? env.books.reqids.allocate(claim) : connection.reqid
  const encapsulated = encapsulates(sa.nat)
  const algorithms = (key: typeof inbound): ChildInstallation['inbound'] => ({
    encryption: { ...suite.encr, key: key.encryption },
    integrity: suite.integ === null || key.integrity === null ? null : { id: suite.integ.id, key: key.integrity },
  })
  let ownedByBooks = false
  let isHeld = false
  try {
    await holdApart(session, agreed)
    isHeld = true
    const installation: ChildInstallation = {
      owner: `${connection.name} of ${session.toString()}`,
      reqid,
      mode: agreed.mode,
      local: sa.local.address,
      remote: sa.remote.address,
      inboundSpi: agreed.inboundSpi,
      outboundSpi: agreed.outboundSpi,
      inbound: algorithms(inbound),
      outbound: algorithms(outbound),
      esn: suite.esn,
      replayWindow: connection.replayWindow,
      encapsulation: encapsulated ? { localPort: sa.local.port, remotePort: sa.remote.port } : null,
      localSelectors: agreed.localSelectors,
      remoteSelectors: agreed.remoteSelectors,
      copyDf: connection.copyDf,
      copyEcn: connection.copyEcn,
      copyDscpOut: connection.copyDscp === 'out' || connection.copyDscp === 'yes',
      copyDscpIn: connection.copyDscp === 'in' || connection.copyDscp === 'yes',
      limits: childLimits(connection.lifetime, suite.esn, env.entropy),
      priority: connection.priority,
      acquireSequence: env.traps.questionFor(agreed.localSelectors, agreed.remoteSelectors),
      separation,
    }
    const installed = await env.books.install(installation, time)
    if (time === 'later') ownedByBooks = true
    return {
      uniqueId,
      connection,
      mode: agreed.mode,
      proposal: agreed.proposal,
      reqid,
      traffic,
      separation,
      claim,
      inboundSpi: agreed.inboundSpi,
      outboundSpi: agreed.outboundSpi,
      localSelectors: agreed.localSelectors,
      remoteSelectors: agreed.remoteSelectors,
      encapsulated,
      installedAt: env.clock.now(),
      installed,
      state: 'installed',
      successor: null,
      relieves: null,
      rivalNonce: null,
      deleteSent: false,
      dueAt: null,
      expiry: 'none',
      idleAt: connection.inactivity === 0 ? null : env.clock.now() + connection.inactivity,
      packetsSeen: 0n,
      health: new ChildHealth(env.clock.now()),
    }
  } catch (error) {
    if (isHeld) env.separations.release(separation)
    if (connection.reqid === 0) env.books.reqids.release(claim)
    env.traffic.release(claim, sa)
    throw error
  } finally {
    for (const key of ownedByBooks ? [inbound] : [inbound, outbound]) {
      key.encryption.destroy()
      key.integrity?.destroy()
    }
  }
}

interface Fit {
  readonly connection: ChildConnection
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
}

/** Throws ExchangeFailure if the kernel would have to have too many policies for it. */
function rejectScattered(
  { sa }: Session,
  { name, localSelectors, remoteSelectors }: ChildConnection,
  traffic: Pick<Fit, 'localSelectors' | 'remoteSelectors'>,
): void {
  const count = outboundSelectorCount(traffic.localSelectors, traffic.remoteSelectors)
  if (count <= PAIRS_MAX) return
  const hosts = (side: 'local' | 'remote'): readonly IpAddress[] => dynamicHosts(sa, side)
  const configured = [resolved(localSelectors, hosts('local')), resolved(remoteSelectors, hosts('remote'))] as const
  const most = Math.max(PAIRS_MAX, outboundSelectorCount(...configured))
  if (count <= most) return
  throw new ExchangeFailure(
    'policy',
    'TS_UNACCEPTABLE',
    `traffic selectors of the peer unacceptable: they come to ${count} pairs of networks, and child ${name} may have ${most}`,
    NotifyType.TS_UNACCEPTABLE,
  )
}

/** Two peers with the same selectors cannot be had: the kernel sends the packets of both to whoever came last. */
function taken(fit: Pick<Fit, 'localSelectors' | 'remoteSelectors'>, holder: IkeSa | null, why: string): ExchangeFailure {
  const traffic = trafficOf(fit.localSelectors, fit.remoteSelectors)
  const owner = holder === null || holder.remoteId === null ? 'another peer' : formatIdentity(holder.remoteId)
  return new ExchangeFailure(
    'policy',
    'TRAFFIC_TAKEN',
    `traffic selectors ${traffic} unacceptable: they are what ${owner} has already, and ${why}; give the peers different networks, or a mark each (mark_in and mark_out = %unique)`,
    NotifyType.TS_UNACCEPTABLE,
  )
}

/** The IKE_SA of another peer that has this traffic. */
function holderOf(
  { sa, env }: Session,
  { localSelectors, remoteSelectors, separation }: Pick<Agreement, 'localSelectors' | 'remoteSelectors' | 'separation'>,
): IkeSa | null {
  return env.traffic.holder(claimOf(localSelectors, remoteSelectors, separation), sa)
}

/** Throws ExchangeFailure if another peer has got the traffic since it was agreed on. */
export function rejectTaken(session: Session, agreed: Agreement): void {
  const holder = holderOf(session, agreed)
  if (holder !== null) throw taken(agreed, holder, 'it was there first')
}

/** What is configured for a new CHILD_SA, or what its trap has; with the marks of one whose place it takes. */
function separationFor({ sa, env }: Session, child: ChildConnection, marks?: KeptMarks): Separation {
  assert(sa.connection !== null, 'the peer is known before it gets a CHILD_SA')
  const ofTrap = env.traps.separationOf(sa.connection.name, child.name)
  if (ofTrap !== null) return ofTrap
  sa.interfaceIds ??= env.separations.interfaceIdsOf(sa.connection)
  const configured = env.separations.configured(child, sa.interfaceIds)
  return marks === undefined ? configured : { ...configured, ...marks }
}

/**
 * For one whose traffic another peer has: behind a NAT all transport mode clients of a gateway have the same, through no
 * fault of theirs, so they are told apart without being asked. Null where the other one has to be respected.
 */
function anotherSeparation({ sa, env }: Session, mode: Agreement['mode'], separation: Separation): Separation | null {
  return mode === 'transport' && sa.nat.there && separationKey(separation) === '' ? env.separations.choose() : null
}

/** Throws ExchangeFailure where its packets cannot be kept apart from those of the others. */
async function holdApart({ env }: Session, agreed: Agreement): Promise<void> {
  try {
    await env.separations.hold(agreed.separation)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    throw taken(agreed, null, error.message)
  }
}

/**
 * The child that carries the first wanted selectors of both sides (RFC 7296 2.9: a responder that can must keep them,
 * for they may be those of the packet that asks), or else has something in common with the wanted ones. Of several the
 * one that agrees best with them, of these the first (strongSwan).
 */
function fittingChild(
  session: Session,
  children: readonly ChildConnection[],
  { local: wantedLocal, remote: wantedRemote }: BothSides<readonly TrafficSelector[]>,
): Fit | null {
  const { sa } = session
  const keeps = (own: readonly TrafficSelector[], [first]: readonly TrafficSelector[]): boolean =>
    own.some((selector) => first !== undefined && isSubset(first, selector))
  let best: { readonly fit: Fit; readonly isKept: boolean; readonly score: number } | null = null
  for (const connection of children) {
    if (isShunt(connection)) continue
    const local = resolved(connection.localSelectors, dynamicHosts(sa, 'local'))
    const remote = resolved(connection.remoteSelectors, dynamicHosts(sa, 'remote'))
    const localSelectors = narrow(local, wantedLocal)
    const remoteSelectors = narrow(remote, wantedRemote)
    if (localSelectors.length === 0 || remoteSelectors.length === 0) continue
    const isKept = keeps(localSelectors, wantedLocal) && keeps(remoteSelectors, wantedRemote)
    const score = agreement(local, wantedLocal) + agreement(remote, wantedRemote)
    const isBetter = best === null || (isKept === best.isKept ? score > best.score : isKept)
    if (isBetter) best = { fit: { connection, localSelectors, remoteSelectors }, isKept, score }
  }
  return best?.fit ?? null
}

/**
 * The child for what was asked for in transport mode, with the addresses that the ends have here (RFC 7296 2.23.1); null
 * if there is none that is in transport mode, or the traffic is not between the ends alone.
 */
function fitInTransport(
  session: Session,
  children: readonly ChildConnection[],
  wanted: BothSides<readonly TrafficSelector[]>,
): Fit | null {
  const { nat, local, remote } = session.sa
  const addresses = { local: local.address, remote: remote.address }
  const read = substituted(wanted, addresses, nat)
  const fit = read === null ? null : fittingChild(session, children, read)
  if (fit === null || fit.connection.mode !== 'transport') return null
  return isHostToHost({ local: fit.localSelectors, remote: fit.remoteSelectors }, addresses) ? fit : null
}

/** The notify a responder answers with when it cannot have the CHILD_SA; the IKE_SA stays (RFC 7296 1.2). */
export function childRefusalNotify(error: unknown): NotifyPayload | null {
  const answer = notifyFor(error)
  if (answer !== null) return answer
  // A kernel that refuses has no notify of its own; NO_ADDITIONAL_SAS says that this one cannot be had now.
  if (error instanceof KernelError) return notify(NotifyType.NO_ADDITIONAL_SAS)
  return null
}

function childRefusal(answer: readonly Payload[]): EspalierError {
  const error = findErrorNotify(answer)
  if (error !== null) return childRefusedByPeer(error.notifyType)
  return misbehaved('the peer answered a CHILD_SA request without SA, TSi or TSr payload')
}

/**
 * What of the answer is within our offer. All of it should be (RFC 7296 2.9), but OpenIKED answers with what it is
 * configured with, however much that is. strongSwan: narrows an answer as it does a request.
 */
function withinOffer(
  side: string,
  answered: readonly TrafficSelector[],
  offered: readonly TrafficSelector[],
): readonly TrafficSelector[] {
  const within = narrow(offered, answered)
  if (within.length === 0)
    throw misbehaved(
      `the peer answered with ${side} traffic selectors outside what we offered: ${answered.map(formatSelector).join(' ')}`,
    )
  return within
}

function resolved(templates: readonly SelectorTemplate[], hosts: readonly IpAddress[]): readonly TrafficSelector[] {
  return templates.flatMap((template) => resolveTemplate(template, hosts))
}

/** Selector types we do not know are passed over (RFC 7296 3.13.1). */
function understood(selectors: readonly WireSelector[]): readonly TrafficSelector[] {
  return selectors.flatMap((wire) => (wire.selector === null ? [] : [wire.selector]))
}

function espSpi(proposal: Pick<WireProposal, 'spi'>): number {
  const spi = proposal.spi.length === 4 ? new Reader(proposal.spi).u32() : 0
  if (spi < FIRST_ESP_SPI) throw misbehaved(`the peer's ESP SPI is ${toHex(proposal.spi)}, not 4 octets of 0x100 or more`)
  return spi
}

/** Both sides' selectors as text, and what they are told from the same of others by. */
export function claimOf(local: readonly TrafficSelector[], remote: readonly TrafficSelector[], separation: Separation): string {
  return trafficOf(local, remote) + separationKey(separation)
}

/** Both sides' selectors as text. */
export function trafficOf(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): string {
  return `${local.map(formatSelector).join(' ')} === ${remote.map(formatSelector).join(' ')}`
}

/** The Delete payload for CHILD_SAs: our inbound SPIs (RFC 7296 1.4.1). */
export function childDelete(inboundSpis: readonly number[]): Payload {
  return { kind: 'Delete', protocol: ProtocolId.ESP, spis: inboundSpis.map((spi) => new Writer(4).u32(spi).finish()) }
}
