/**
 * Which pre-shared key is whose.
 */
import type { Secret } from '../crypto/secret.ts'
import { identitiesEqual, type Identity } from './identity.ts'

/** A pre-shared key and whose it is; no owners = anyone's. */
export interface SharedSecret {
  readonly name: string
  readonly owners: readonly Identity[]
  readonly secret: Secret
}

/**
 * The keys that may serve between `local` and `remote`, best first. One matching owner is enough; a key that names the
 * peer beats one that names only us, and both beat a key of nobody's (strongSwan). The peer may hold any of them, so a
 * verifier tries all in this order.
 */
export function sharedSecretsFor(secrets: readonly SharedSecret[], local: Identity, remote: Identity): readonly SharedSecret[] {
  const scored: { readonly score: number; readonly secret: SharedSecret }[] = []
  for (const secret of secrets) {
    const ownsRemote = secret.owners.some((owner) => identitiesEqual(owner, remote))
    const ownsLocal = secret.owners.some((owner) => identitiesEqual(owner, local))
    if (secret.owners.length > 0 && !ownsRemote && !ownsLocal) continue
    scored.push({ score: (ownsRemote ? 2 : 0) + (ownsLocal ? 1 : 0), secret })
  }
  // The sort is stable: among equals the order of the configuration decides.
  return scored.toSorted((a, b) => b.score - a.score).map((entry) => entry.secret)
}
