/**
 * Which pre-shared key is whose.
 */
import type { Secret } from '../crypto/secret.ts'
import { matchIdentity, patternOf, type Identity } from './identity.ts'

/** What a secret is for: only the pre-shared keys of IKE are used yet. XAuth's are EAP's (strongSwan). */
export type SecretKind = 'ike' | 'eap' | 'ntlm' | 'ppk'

/** A secret and whose it is, wildcards allowed; no owners = anyone's. */
export interface SharedSecret {
  /** Its unique identifier; '' where a client gave none. */
  readonly name: string
  readonly kind: SecretKind
  readonly owners: readonly Identity[]
  readonly secret: Secret
}

/**
 * The pre-shared keys that may serve between `local` and `remote`, best first. One matching owner is enough; a key that names the
 * peer beats one that names only us, a closer match beats a wider one, and all beat a key of nobody's (strongSwan). The
 * peer may hold any of them, so a verifier tries all in this order.
 */
export function sharedSecretsFor(secrets: readonly SharedSecret[], local: Identity, remote: Identity): readonly SharedSecret[] {
  const scored: { readonly remote: number; readonly local: number; readonly secret: SharedSecret }[] = []
  for (const secret of secrets) {
    if (secret.kind !== 'ike') continue
    const score = { remote: bestMatch(secret.owners, remote), local: bestMatch(secret.owners, local), secret }
    if (secret.owners.length === 0 || score.remote > 0 || score.local > 0) scored.push(score)
  }
  // The sort is stable: among equals the order of the configuration decides.
  return scored.toSorted((a, b) => b.remote - a.remote || b.local - a.local).map((entry) => entry.secret)
}

function bestMatch(owners: readonly Identity[], identity: Identity): number {
  return owners.reduce((best, owner) => Math.max(best, matchIdentity(patternOf(owner), identity)), 0)
}
