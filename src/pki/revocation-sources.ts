/**
 * Whom a revocation check asks, and what it comes to for one certificate.
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import type { Clock, Entropy, Fetcher } from '../ports.ts'
import type { Authority } from './authority.ts'
import type { Certificate } from './certificate.ts'
import { CRL_REASONS, type Crl, type Revocation } from './crl.ts'
import type { RevocationCache } from './revocation-cache.ts'

/** strongswan.conf: charon.plugins.revocation, charon.ocsp_nonce_len, charon.cert_cache, charon.cache_crls */
export interface RevocationSettings {
  readonly ocsp: boolean
  readonly crl: boolean
  /** For each fetch. */
  readonly timeout: Milliseconds
  /** Octets, from 1 to 32. */
  readonly nonceLength: number
  /** Whether what was fetched is kept for the next handshake. */
  readonly cache: boolean
  /** Whether CRLs that were fetched outlive the daemon, in files. */
  readonly keepCrls: boolean
}

export const DEFAULT_REVOCATION_SETTINGS: RevocationSettings = {
  ocsp: true,
  crl: true,
  timeout: 10 * SECOND,
  nonceLength: 32,
  cache: true,
  keepCrls: false,
}

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
  /** Told of a CRL that was fetched, is current and newer than what there was, where such are to be kept. */
  readonly onCrl?: (crl: Crl) => void
  readonly cache: RevocationCache
  readonly fetcher: Fetcher
  readonly clock: Clock
  readonly entropy: Entropy
}

/** Of one certificate. */
export interface RevocationPlace extends RevocationSources {
  readonly issuer: Certificate
  readonly anchor: Certificate
}

/**
 *  - good     known not to be revoked
 *  - skipped  nobody to ask was known
 *  - stale    what we know is too old to say that it is not
 *  - failed   those to be asked gave no answer that can be used
 *  - revoked  or on hold
 */
export type RevocationStatus = 'good' | 'skipped' | 'stale' | 'failed' | 'revoked'

export interface Finding {
  readonly status: RevocationStatus
  readonly revocation: Revocation | null
  /** Whose word it is, until when it holds. */
  readonly source: string
  /** What was asked in vain, and why. */
  readonly notes: readonly string[]
}

/** Our limits: of the URIs that one certificate has for one thing, and of what a peer sends. */
export const URIS_MAX = 8
export const SENT_MAX = 8

/** What nothing came of is not asked again for so many times a fetch's time-out (strongSwan: CRL_DEGRADATION_TIMES). */
const FAILURE_TIMEOUTS = 3

export interface FetchOnce<Value> {
  readonly uri: string
  /** What is one at a time. */
  readonly what: string
  /** Also of these a failure may be known, with which nothing is fetched. */
  readonly failures: readonly string[]
  readonly place: RevocationPlace
  readonly fetch: () => Promise<Uint8Array>
  readonly read: (bytes: Uint8Array) => Value
}

/**
 * Fetches and reads what is at an URI, one at a time of each kind; a failure is remembered for a while, as the URI's or,
 * where it lies in what came, as that of `what`. Rejects with an EspalierError.
 */
export async function fetchOnce<Value>({ uri, what, failures, place, fetch, read }: FetchOnce<Value>): Promise<Value> {
  const { cache, clock } = place
  const refuseKnown = (): void => {
    for (const name of [uri, what, ...failures]) {
      const known = cache.failureOf(name, clock.now())
      if (known !== null) throw new EspalierError('system', 'FETCH_FAILED', known)
    }
  }
  refuseKnown()
  return cache.shared(what, () =>
    cache.inTurn(serverOf(uri), async () => {
      // Who waited for a turn need not find out once more what others have.
      refuseKnown()
      let failing = uri
      try {
        const bytes = await fetch()
        failing = what
        return read(bytes)
      } catch (error) {
        // What our own limits forbid is no fault of the server's.
        if (!(error instanceof EspalierError && error.code === 'FETCHES_TOO_MANY'))
          rememberFailure(failing, messageOf(error), place)
        throw error
      }
    }),
  )
}

export function rememberFailure(what: string, sentence: string, { cache, clock, settings }: RevocationPlace): void {
  cache.rememberFailure(what, sentence, clock.now() + FAILURE_TIMEOUTS * settings.timeout)
}

/** Scheme and host. */
function serverOf(uri: string): string {
  return /^[^:]*:\/\/[^/?#]*/.exec(uri)?.[0] ?? uri
}

/** For a sentence: without what a password may be in, and not too long. */
export function showUri(uri: string): string {
  const masked = uri.replace(/^([^:]*:\/\/)[^/?#]*@/, '$1***@')
  return masked.length > URI_SHOWN_MAX ? `${masked.slice(0, URI_SHOWN_MAX)}…` : masked
}

export function showReason({ reason }: Revocation): string {
  return CRL_REASONS[reason] ?? `reason ${reason}`
}

const URI_SHOWN_MAX = 200
