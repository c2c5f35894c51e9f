/**
 * Which connections a stranger may be meant for: by addresses when it first speaks, by identities when it says who it is.
 */
import { matchIdentity, type Identity } from '../auth/identity.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { AddressPattern, Connection } from './connection.ts'

/** Scores of one side's address: none, anyone, a range or name, exactly this one (strongSwan's order). */
const NO_MATCH = 0
const ANY_MATCH = 1
const WIDE_MATCH = 2
const EXACT_MATCH = 3

/**
 * The connections whose addresses fit, best first; among equals the order of the configuration. A host name cannot be
 * looked up for every stranger, so it fits any address loosely: the identity decides.
 */
export function connectionsBetween(connections: readonly Connection[], local: Endpoint, remote: Endpoint): readonly Connection[] {
  const scored: { readonly connection: Connection; readonly score: number }[] = []
  for (const connection of connections) {
    const here = scoreOf(connection.localAddresses, local.address)
    const there = scoreOf(connection.remoteAddresses, remote.address)
    if (here === NO_MATCH || there === NO_MATCH) continue
    // The remote address tells more than our own, which most connections share.
    scored.push({ connection, score: there * (EXACT_MATCH + 1) + here })
  }
  return scored.toSorted((a, b) => b.score - a.score).map((entry) => entry.connection)
}

function scoreOf(patterns: readonly AddressPattern[], address: IpAddress): number {
  if (patterns.length === 0) return ANY_MATCH
  let best = NO_MATCH
  for (const pattern of patterns) best = Math.max(best, scoreOfPattern(pattern, address))
  return best
}

function scoreOfPattern(pattern: AddressPattern, address: IpAddress): number {
  switch (pattern.kind) {
    case 'any':
      return pattern.family === null || pattern.family === address.family ? ANY_MATCH : NO_MATCH
    case 'host':
      return ANY_MATCH
    case 'range':
      if (!pattern.range.contains(address)) return NO_MATCH
      return pattern.range.first.equals(pattern.range.last) ? EXACT_MATCH : WIDE_MATCH
  }
}

/**
 * Of the candidates that IKE_SA_INIT left, those that accept the peer as `remoteId` (and answer to `requestedId`, the
 * peer's IDr, if it named one), best identity match first.
 */
export function connectionsFor(
  candidates: readonly Connection[],
  remoteId: Identity,
  requestedId: Identity | null,
): readonly Connection[] {
  const scored: { readonly connection: Connection; readonly score: number }[] = []
  for (const connection of candidates) {
    const there = matchIdentity(connection.remote.id, remoteId)
    if (there === 0) continue
    const own = connection.local.id
    // Without an identity of our own we take the one the peer asks for.
    if (requestedId !== null && own !== null && matchIdentity({ kind: 'exact', identity: own }, requestedId) === 0) continue
    scored.push({ connection, score: there })
  }
  return scored.toSorted((a, b) => b.score - a.score).map((entry) => entry.connection)
}
