/**
 * Which connections a stranger may be meant for: by addresses when it first speaks, by identities as well when it says
 * who it is. The figures and the order are strongSwan's (its backend_manager.c, ike_cfg.c).
 */
import { MATCH_ANY, matchIdentity, type Identity } from '../auth/identity.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { Way } from '../nat/path.ts'
import { chooseProposal, toWireChosen, type ChosenTransforms } from '../negotiate/proposals.ts'
import { firstRounds, type AddressPattern, type Connection } from './connection.ts'

/** How well one side's address fits: not at all, like any other, exactly. A subnet is worth the length of its prefix. */
const NO_MATCH = 0
const ANY_MATCH = 1
const EXACT_MATCH = 129
/** What a connection gains whose port is the very port, and by saying which version it is for. */
const PORT_BONUS = 1
const VERSION_BONUS = 4
/** The remote address tells more than our own, which most connections share. */
const LOCAL_WEIGHT = 8
const REMOTE_WEIGHT = 16

/** The connections whose addresses fit, best first; among equals the order of the configuration. */
export function connectionsBetween(connections: readonly Connection[], { local, remote }: Way): readonly Connection[] {
  const scored: { readonly connection: Connection; readonly score: number }[] = []
  for (const connection of connections) {
    const score = addressScore(connection, { local, remote })
    if (score !== NO_MATCH) scored.push({ connection, score })
  }
  return scored.toSorted((a, b) => b.score - a.score).map((entry) => entry.connection)
}

function addressScore(connection: Connection, { local, remote }: Way): number {
  const here = sideScore(connection.localAddresses, connection.localPort, local)
  const there = sideScore(connection.remoteAddresses, connection.remotePort, remote)
  if (here === NO_MATCH || there === NO_MATCH) return NO_MATCH
  return here * LOCAL_WEIGHT + there * REMOTE_WEIGHT + (connection.version === 0 ? 0 : VERSION_BONUS)
}

function sideScore(patterns: readonly AddressPattern[], port: number, endpoint: Endpoint): number {
  let best = patterns.length === 0 ? ANY_MATCH : NO_MATCH
  for (const pattern of patterns) best = Math.max(best, patternScore(pattern, endpoint.address))
  return best === NO_MATCH || port !== endpoint.port ? best : best + PORT_BONUS
}

/** A host name cannot be looked up for every stranger, so it fits any address loosely: the identity decides. */
function patternScore(pattern: AddressPattern, address: IpAddress): number {
  switch (pattern.kind) {
    case 'any':
      return pattern.family === null || pattern.family === address.family ? ANY_MATCH : NO_MATCH
    case 'host':
      return ANY_MATCH
    case 'range':
      if (!pattern.range.contains(address)) return NO_MATCH
      if (pattern.range.first.equals(pattern.range.last)) return EXACT_MATCH
      return (pattern.range.prefixLength ?? 0) + ANY_MATCH
  }
}

interface Candidate {
  readonly connection: Connection
  readonly identityScore: number
  readonly addressScore: number
}

/** What IKE_AUTH shows of a peer, before it has proved anything. */
export interface Claim {
  readonly way: Way
  readonly remoteId: Identity
  /** The peer's IDr: whom it wants to talk to; null if it does not say. */
  readonly requestedId: Identity | null
  /** What IKE_SA_INIT chose. */
  readonly proposal: ChosenTransforms
}

/**
 * The connections that a claim may be for, best first. One that fits better in one respect and worse in the other is no
 * better: between those two the order of the configuration decides.
 */
export function connectionsFor(connections: readonly Connection[], claim: Claim): readonly Connection[] {
  const { way, remoteId, requestedId, proposal } = claim
  const chosen = toWireChosen(proposal, 1, new Uint8Array())
  const candidates: Candidate[] = []
  for (const connection of connections) {
    // strongSwan: the first round alone decides.
    const first = firstRounds(connection)
    const there = matchIdentity(first.remote.id, remoteId)
    if (there === NO_MATCH) continue
    const here = ownScore(first.local.id, requestedId)
    if (here === NO_MATCH) continue
    const score = addressScore(connection, way)
    if (score === NO_MATCH || chooseProposal(connection.proposals, [chosen]) === null) continue
    candidates.push({ connection, identityScore: here + there, addressScore: score })
  }
  return ordered(candidates)
}

/** Without an identity of our own we take the one the peer asks for; a peer that asks for none takes any. */
function ownScore(own: Identity | null, requestedId: Identity | null): number {
  if (own === null || requestedId === null) return MATCH_ANY
  return matchIdentity({ kind: 'exact', identity: own }, requestedId)
}

/** Each goes before the first that it beats. */
function ordered(candidates: readonly Candidate[]): readonly Connection[] {
  const list: Candidate[] = []
  /** One of each pair of figures there is: most candidates are alike, and beat nobody. */
  const kinds = new Map<string, Candidate>()
  for (const candidate of candidates) {
    const beatsSomebody = [...kinds.values()].some((kind) => beats(candidate, kind))
    const at = beatsSomebody ? list.findIndex((other) => beats(candidate, other)) : list.length
    list.splice(at, 0, candidate)
    kinds.set(`${candidate.identityScore} ${candidate.addressScore}`, candidate)
  }
  return list.map(({ connection }) => connection)
}

function beats(a: Candidate, b: Candidate): boolean {
  return (
    (a.addressScore > b.addressScore && a.identityScore >= b.identityScore) ||
    (a.addressScore >= b.addressScore && a.identityScore > b.identityScore)
  )
}
