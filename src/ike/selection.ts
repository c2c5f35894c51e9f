/**
 * Which connection a peer's AUTH fits, among those it may be for (matching.ts): the best that it proves itself for.
 * With another connection we may be somebody else, and have another secret with the peer.
 */
import { identitiesEqual, identityOfAddress, type Identity } from '../auth/identity.ts'
import { sharedSecretsFor, type SharedSecret } from '../auth/secrets.ts'
import { firstRounds, type Connection } from './connection.ts'
import type { Claim } from './matching.ts'

export interface Selection {
  readonly connection: Connection
  /** Who we are in it. */
  readonly localId: Identity
  readonly secret: SharedSecret
}

/** Null when the peer proves itself for none. */
export function selectConnection(
  candidates: readonly Connection[],
  claim: Claim,
  secrets: readonly SharedSecret[],
  isProofOf: (secret: SharedSecret) => boolean,
): Selection | null {
  const tried: Identity[] = []
  for (const connection of candidates) {
    const localId = ownIdentity(connection, claim)
    // Who we are decides about the secrets: there is nothing new to try.
    if (tried.some((other) => identitiesEqual(other, localId))) continue
    tried.push(localId)
    const secret = sharedSecretsFor(secrets, localId, claim.remoteId).find(isProofOf)
    if (secret !== undefined) return { connection, localId, secret }
  }
  return null
}

/** Who we are towards a peer: who we are configured to be, else who it asks for, else our address. */
export function ownIdentity(connection: Connection, { requestedId, way }: Claim): Identity {
  return firstRounds(connection).local.id ?? requestedId ?? identityOfAddress(way.local.address)
}
