/**
 * Shared secrets: out of the sections of swanctl.conf, and out of what a VICI client says of one.
 */
import type { Identity } from '../auth/identity.ts'
import type { SecretKind, SharedSecret } from '../auth/secrets.ts'
import type { Secret } from '../crypto/secret.ts'
import type { Report } from './check.ts'
import { readOwner } from './authentication.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import { parseSecret } from './values.ts'

/** By the beginning of a section's name, or VICI's `type` (strongSwan: an XAuth secret is an EAP secret). */
const KINDS: Readonly<Record<string, SecretKind>> = { ike: 'ike', eap: 'eap', xauth: 'eap', ntlm: 'ntlm', ppk: 'ppk' }

/** What is lost as long as a kind is only kept, null where nothing is. known-keys.ts warns of the sections with the same words. */
export const UNUSED_SECRETS: Readonly<Record<SecretKind, string | null>> = {
  ike: null,
  eap: 'EAP is not supported yet',
  ntlm: 'EAP is not supported yet',
  ppk: 'post-quantum pre-shared keys are not supported yet',
}

/** All shared secrets among the sections of `secrets`; private keys and tokens are none. */
export function readSecrets(all: ResolvedSection, report: Report): SharedSecret[] {
  return new Values(all, 'secrets', false, report)
    .sections((name) => kindOfName(name) !== null)
    .flatMap((values) => {
      const secret = values.read('secret', parseSecret, null)
      if (secret === null && !values.has('secret')) values.error(null, 'there is no secret in it')
      const owners = values.keys((key) => key.startsWith('id')).flatMap((key) => values.read(key, readOwner, null) ?? [])
      const kind = kindOfName(values.name)
      return secret === null || kind === null ? [] : [sharedSecret(values.name, kind, secret, owners)]
    })
}

/** VICI's `type`, in any case; null if it is none. */
export function secretKind(word: string): SecretKind | null {
  const folded = word.toLowerCase()
  return Object.hasOwn(KINDS, folded) ? KINDS[folded]! : null
}

/** strongSwan: whoever has no owner belongs to %any. */
export function sharedSecret(name: string, kind: SecretKind, secret: Secret, owners: readonly Identity[]): SharedSecret {
  const everyone = owners.every((owner) => owner.type === 0)
  return { name, kind, owners: everyone ? [] : owners, secret }
}

function kindOfName(name: string): SecretKind | null {
  const prefix = Object.keys(KINDS).find((prefix) => name.startsWith(prefix))
  return prefix === undefined ? null : KINDS[prefix]!
}
