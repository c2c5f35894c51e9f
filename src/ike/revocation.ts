/**
 * What is asked about revocations, out of what an IKE_SA has in its hands (pki/revocation.ts), with a limit on what
 * handshakes may have fetched at a time.
 */
import { EspalierError } from '../base/errors.ts'
import { crlFileName } from '../pki/crl.ts'
import type { RevocationSources } from '../pki/revocation.ts'
import type { Fetcher } from '../ports.ts'
import type { SentCertificates } from './certificate-payloads.ts'
import type { Environment } from './environment.ts'

/** Our limit: fetches that are waited for at a time. Who comes beyond it hears nothing of its certificate, and its policy decides. */
const FETCHES_MAX = 64

export function revocationSources(env: Environment, sent: SentCertificates | null): RevocationSources {
  const { revocations, crlStore, fetcher, clock, entropy } = env
  const credentials = env.credentials()
  return {
    settings: env.settings().revocation,
    authorities: credentials.authorityInfos(),
    crls: credentials.crls(),
    certificates: [...credentials.authorities(), ...credentials.intermediates(), ...(sent?.issuers() ?? [])],
    ocspSigners: credentials.ocspSigners(),
    ocspSent: sent?.ocspAnswers ?? [],
    crlsSent: sent?.crls ?? [],
    onCrl: (crl) => crlStore?.keep(crlFileName(crl), crl.der),
    cache: revocations,
    fetcher,
    clock,
    entropy,
  }
}

/** Refuses what would be one fetch too many. */
export function limited(fetcher: Fetcher): Fetcher {
  let running = 0
  return {
    async fetch(uri, request) {
      if (running >= FETCHES_MAX)
        throw new EspalierError('policy', 'FETCHES_TOO_MANY', `${FETCHES_MAX} others are being fetched already`)
      running++
      try {
        return await fetcher.fetch(uri, request)
      } finally {
        running--
      }
    },
  }
}
