/**
 * What strongswan.conf says of revocation checks: section `plugins.revocation` of charon's, and keys beside it.
 */
import { EspalierError } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { DEFAULT_REVOCATION_SETTINGS, type RevocationSettings } from '../pki/revocation.ts'
import type { Report } from './check.ts'
import { isLoaded, pluginLayers, readFirst } from './plugins.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import { parseBoolean, parseInteger, parseTime } from './values.ts'

/** RFC 8954 2.1. */
const MAXIMUM_NONCE = 32
/** Our limit: IKE waits no longer for anything. */
const MAXIMUM_SECONDS = 600

export function readRevocation(root: ResolvedSection, report: Report): RevocationSettings {
  const read = readFirst(['charon-systemd', 'charon'].map((name) => Values.of(root, name, report)))
  const layers = pluginLayers(root, 'revocation', report)
  const plugin = readFirst(layers)
  // strongSwan: without the plugin nobody checks.
  const isWanted = isLoaded(layers)
  const { ocsp, crl, timeout, nonceLength, cache, keepCrls } = DEFAULT_REVOCATION_SETTINGS
  const enabled = { ocsp: plugin('enable_ocsp', parseBoolean, ocsp), crl: plugin('enable_crl', parseBoolean, crl) }
  return {
    ocsp: isWanted && enabled.ocsp,
    crl: isWanted && enabled.crl,
    timeout: plugin('timeout', parseFetchTimeout, timeout),
    nonceLength: read('ocsp_nonce_len', (text) => parseInteger(text, 1, MAXIMUM_NONCE), nonceLength),
    cache: read('cert_cache', parseBoolean, cache),
    keepCrls: read('cache_crls', parseBoolean, keepCrls),
  }
}

function parseFetchTimeout(text: string): Milliseconds {
  const timeout = parseTime(text)
  if (timeout >= SECOND && timeout <= MAXIMUM_SECONDS * SECOND) return timeout
  throw new EspalierError('caller', 'VALUE_INVALID', `expected a time from 1s to ${MAXIMUM_SECONDS}s, not '${text}'`)
}
