/**
 * AUTH by signature: RFC 7427 (method 14), whose data is
 *
 *   length of the AlgorithmIdentifier (1) | AlgorithmIdentifier, DER | signature
 *
 * and the methods before it, whose data is the signature: RSA with SHA-1 (1), ECDSA of RFC 4754 (9 to 11). All of them
 * sign what a pre-shared key's AUTH covers (psk.ts): message | nonce | prf(SK_p, ID) [| IntAuth].
 */
import { concatBytes } from '../base/bytes.ts'
import type { Prf } from '../crypto/prf.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import {
  algorithmOf,
  authMethodOf,
  hashNumberOf,
  schemeOfAlgorithm,
  schemeOfAuthMethod,
  schemesFor,
  type SignatureHash,
  type SignatureScheme,
} from '../crypto/signature-scheme.ts'
import { AuthMethod, HashAlgorithm, nameOf } from '../iana/ikev2.ts'
import { inOrderOf, rulesForAuth, type Constraints, type ConstraintSettings } from './constraints.ts'
import type { SignedOctets } from './psk.ts'

/** What an AUTH payload says of a signature. */
export interface AuthSignature {
  readonly method: number
  readonly scheme: SignatureScheme
  readonly signature: Uint8Array
}

/** What the peer may sign with, as we say in SIGNATURE_HASH_ALGORITHMS: SHA-1 is not among it (strongSwan, RFC 8247 3.2). */
export const SUPPORTED_HASHES: readonly number[] = [
  HashAlgorithm.SHA2_256,
  HashAlgorithm.SHA2_384,
  HashAlgorithm.SHA2_512,
  HashAlgorithm.IDENTITY,
]

/** Hashes one after another; more than we know of say nothing. */
export function readHashAlgorithms(data: Uint8Array): ReadonlySet<number> {
  const hashes = new Set<number>()
  for (let i = 0; i + 1 < data.length; i += 2) {
    const hash = (data[i]! << 8) | data[i + 1]!
    if (SUPPORTED_HASHES.includes(hash)) hashes.add(hash)
  }
  return hashes
}

export function writeHashAlgorithms(hashes: readonly number[]): Uint8Array {
  return Uint8Array.from(hashes.flatMap((hash) => [hash >> 8, hash & 0xff]))
}

/** Hashes that one of these rounds allows in AUTH; all there are if one of them does not say. */
export function hashesAllowed(
  rounds: readonly { readonly constraints: Constraints }[],
  settings: ConstraintSettings,
): readonly number[] {
  const rules = rounds.map(({ constraints }) => rulesForAuth(constraints, settings))
  if (rules.some(({ length }) => length === 0)) return SUPPORTED_HASHES
  const named = rules.flat().map(({ hash }) => hashNumberOf(hash as SignatureHash))
  const allowed = SUPPORTED_HASHES.filter((hash) => named.includes(hash))
  return allowed.length === 0 ? SUPPORTED_HASHES : allowed
}

/** The signature in an AUTH payload, or the sentence that says why it is none that we take. */
export function readAuthSignature(method: number, data: Uint8Array): AuthSignature | string {
  const classic = schemeOfAuthMethod(method)
  if (classic !== null) return { method, scheme: classic, signature: data }
  if (method !== AuthMethod.DIGITAL_SIGNATURE) return `${nameOf(AuthMethod, method)} authentication unsupported`
  const length = data[0] ?? 0
  const algorithm = data.subarray(1, 1 + length)
  const scheme = length > 0 && algorithm.length === length ? schemeOfAlgorithm(algorithm) : null
  if (scheme === null) return `${nameOf(AuthMethod, method)} authentication payload invalid: no signature algorithm that we know`
  if (!SUPPORTED_HASHES.includes(hashNumberOf(scheme.hash)))
    return `${nameOf(AuthMethod, method)} authentication with a hash that we did not offer (${scheme.hash})`
  return { method, scheme, signature: data.subarray(1 + length) }
}

export function isSignatureMethod(method: number): boolean {
  return method === AuthMethod.DIGITAL_SIGNATURE || schemeOfAuthMethod(method) !== null
}

/** Data of an AUTH payload with a signature. */
export function writeAuthSignature({ method, scheme, signature }: AuthSignature): Uint8Array {
  if (method !== AuthMethod.DIGITAL_SIGNATURE) return signature
  const algorithm = algorithmOf(scheme)
  return concatBytes(Uint8Array.of(algorithm.length), algorithm, signature)
}

/** What is signed. */
export function signedOctets(prf: Prf, { message, nonce, idPayload, macKey, intAuth }: SignedOctets): Uint8Array {
  return concatBytes(message, nonce, prf.compute(macKey.dangerouslyReveal(), idPayload), intAuth)
}

export interface OwnScheme {
  readonly method: number
  readonly scheme: SignatureScheme
}

/** What one side proves who it is by. */
export type Means = 'pre-shared key' | OwnScheme

/**
 * Ways to sign with a key of ours, best first (strongSwan: pubkey_authenticator.c). `hashes`: what the peer said in
 * SIGNATURE_HASH_ALGORITHMS, null if it did not: then there are the methods before RFC 7427 alone, whatever the rules say.
 */
export function ownSchemes(
  key: PublicKey,
  hashes: ReadonlySet<number> | null,
  constraints: Constraints,
  settings: ConstraintSettings,
): readonly OwnScheme[] {
  if (hashes === null) {
    const method = authMethodOf(key)
    const scheme = method === null ? null : schemeOfAuthMethod(method)
    return method === null || scheme === null ? [] : [{ method, scheme }]
  }
  const rules = rulesForAuth(constraints, settings)
  const schemes =
    rules.length === 0 ? schemesFor(key, hashes, { rsaPss: settings.rsaPss }) : inOrderOf(rules, schemesOf(key, hashes), settings)
  return schemes.map((scheme) => ({ method: AuthMethod.DIGITAL_SIGNATURE, scheme }))
}

/** Whatever a key can sign with, PSS first: so a rule that allows both means PSS before PKCS#1 (strongSwan). */
function schemesOf(key: PublicKey, hashes: ReadonlySet<number>): readonly SignatureScheme[] {
  const names: readonly SignatureHash[] =
    key.type === 'rsa' || key.type === 'ecdsa' ? ['sha256', 'sha384', 'sha512'] : ['identity']
  return names
    .filter((hash) => hashes.has(hashNumberOf(hash)))
    .flatMap((hash) =>
      (key.type === 'rsa' ? [true, false] : [false]).map((pss): SignatureScheme => ({ key: key.type, hash, pss })),
    )
}
