/**
 * What the configuration adds to a CA certificate (swanctl.conf: authorities): where its CRLs are, who answers for it.
 */
import type { Certificate } from './certificate.ts'

export interface Authority {
  readonly name: string
  readonly cacert: Certificate
  readonly crlUris: readonly string[]
  readonly ocspUris: readonly string[]
  /** RFC 7296 3.6: what the hash of a certificate is appended to; null where certificates are sent whole. */
  readonly certUriBase: string | null
}
