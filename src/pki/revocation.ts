/**
 * Whether the certificates of a path that holds are revoked: asked of OCSP first and of CRLs then, of what is loaded, what
 * the peer sent and what is cached before anything is fetched (strongSwan: revocation_validator.c). What the answers
 * amount to is for the policy to say.
 */
import type { Clock, Entropy, Fetcher } from '../ports.ts'
import type { Milliseconds } from '../base/time.ts'
import type { Authority } from './authority.ts'
import type { Certificate } from './certificate.ts'
import type { Crl, Revocation } from './crl.ts'

/** swanctl.conf: connections.<conn>.remote<suffix>.revocation */
export type RevocationPolicy = 'strict' | 'ifuri' | 'relaxed'

/** strongswan.conf: charon.plugins.revocation, charon.ocsp_nonce_len */
export interface RevocationSettings {
  readonly ocsp: boolean
  readonly crl: boolean
  /** For each fetch. */
  readonly timeout: Milliseconds
  /** Octets. */
  readonly nonceLength: number
}

export const DEFAULT_REVOCATION_SETTINGS: RevocationSettings = { ocsp: true, crl: true, timeout: 10_000, nonceLength: 32 }

export interface RevocationSources {
  readonly settings: RevocationSettings
  readonly authorities: readonly Authority[]
  /** CRLs that are loaded. */
  readonly crls: readonly Crl[]
  /** Loaded and sent: who may have signed a CRL or an OCSP answer in place of the CA, if the CA lets them. */
  readonly certificates: readonly Certificate[]
  /** Loaded as OCSP signers (x509ocsp): believed about every CA. */
  readonly ocspSigners: readonly Certificate[]
  /** Contents of CERT payloads that the peer sent: OCSP answers (14, RFC 4806) and CRLs (7). */
  readonly ocspSent: readonly Uint8Array[]
  readonly crlsSent: readonly Uint8Array[]
  readonly cache: RevocationCache
  readonly fetcher: Fetcher
  readonly clock: Clock
  readonly entropy: Entropy
}

/** What was fetched and is still good for something, and what is being fetched. One for all IKE_SAs. */
export class RevocationCache {
  /** VICI's flush-certs. What is under way still comes to its end. */
  flush(): void {}
}

/**
 *  - good     known not to be revoked
 *  - skipped  nobody to ask was known
 *  - stale    what we know is too old to say that it is not
 *  - failed   those to be asked gave no answer that can be used
 *  - revoked  or on hold
 */
export type RevocationStatus = 'good' | 'skipped' | 'stale' | 'failed' | 'revoked'

export interface RevocationVerdict {
  readonly certificate: Certificate
  readonly status: RevocationStatus
  /** `certificate 'CN=moon' (serial 0a) was revoked on 2026-01-01 00:00:00 UTC: key compromise (CRL of 'CN=CA')` */
  readonly sentence: string
  readonly revocation: Revocation | null
}

/**
 * Of every certificate of the path (leaf … anchor) but the anchor, in that order and up to the first that is revoked; of
 * none where settings have neither OCSP nor CRLs asked, which every policy permits (strongSwan as well). Never rejects.
 */
export async function checkRevocation(
  path: readonly Certificate[],
  sources: RevocationSources,
): Promise<readonly RevocationVerdict[]> {
  throw new Error(`not yet: ${path.length} ${sources.settings.ocsp}`)
}

/** strongSwan: the manual's strict, ifuri and relaxed, of each certificate by itself. The sentence is that of the verdict that forbids. */
export function permits(
  policy: RevocationPolicy,
  verdicts: readonly RevocationVerdict[],
): { readonly ok: true } | { readonly ok: false; readonly sentence: string } {
  const allowed: readonly RevocationStatus[] = {
    strict: ['good'] as const,
    ifuri: ['good', 'skipped'] as const,
    relaxed: ['good', 'skipped', 'stale', 'failed'] as const,
  }[policy]
  const against = verdicts.find(({ status }) => !allowed.includes(status))
  return against === undefined ? { ok: true } : { ok: false, sentence: against.sentence }
}

/** The OCSP answer about a certificate of ours that a peer asked for (RFC 4806), as it came; null where nobody gives one. Never rejects. */
export async function ocspAnswerFor(
  certificate: Certificate,
  issuer: Certificate,
  sources: RevocationSources,
): Promise<Uint8Array | null> {
  throw new Error(`not yet: ${certificate.fingerprint} ${issuer.fingerprint} ${sources.settings.ocsp}`)
}
