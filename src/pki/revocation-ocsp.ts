/**
 * What OCSP says of one certificate: answers that are cached or that the peer sent, else those of the responders that the
 * authority and then the certificate names.
 */
import { equalBytes } from '../base/bytes.ts'
import { formatCalendar } from '../base/calendar.ts'
import { EspalierError } from '../base/errors.ts'
import type { Milliseconds } from '../base/time.ts'
import type { Certificate } from './certificate.ts'
import { CLOCK_SKEW } from './crl-judgement.ts'
import { encodeOcspRequest, OCSP_BYTES_MAX, OCSP_REQUEST_TYPE, readOcspAnswer, type OcspAnswer, type OcspStatus } from './ocsp.ts'
import { ocspSigner } from './revocation-signers.ts'
import {
  fetchOnce,
  rememberFailure,
  SENT_MAX,
  showReason,
  showUri,
  URIS_MAX,
  type Finding,
  type RevocationPlace,
} from './revocation-sources.ts'

export interface OcspFinding extends Finding {
  /** The answer that says so, as it came. */
  readonly answer: Uint8Array | null
}

export async function checkOcsp(certificate: Certificate, place: RevocationPlace): Promise<OcspFinding> {
  const { issuer, cache, settings } = place
  const notes: string[] = []
  let best: { readonly answer: OcspAnswer; readonly finding: OcspFinding } | null = null

  /** Whether it decides. Keeps the newest of those that are what they should be. */
  const consider = (
    answer: OcspAnswer,
    isKnownSigned: boolean,
  ): { readonly isDecided: boolean; readonly against: string | null } => {
    const now = place.clock.wall()
    const signer = isKnownSigned ? issuer : ocspSigner(answer, { ...place, now })
    if (signer === null) return { isDecided: false, against: whyUnsigned(answer) }
    const status = answer.find(certificate, issuer)
    const against = whyUnusable(status, now)
    if (status === null || against !== null) return { isDecided: false, against }
    if (best !== null && best.answer.producedAt > answer.producedAt) return { isDecided: false, against: 'an older OCSP answer' }
    best = { answer, finding: findingOf(status, answer, now) }
    const isDecided = best.finding.status !== 'stale'
    if (isDecided && settings.cache) cache.addOcsp(certificate, issuer, answer)
    return { isDecided, against: isDecided ? null : best.finding.source }
  }
  const finding = (): OcspFinding =>
    best === null
      ? {
          status: uris.length === 0 && notes.length === 0 ? 'skipped' : 'failed',
          revocation: null,
          source: '',
          answer: null,
          notes,
        }
      : { ...best.finding, notes }

  const authorities = place.authorities.filter(({ cacert }) => equalBytes(cacert.publicKey.spki, issuer.publicKey.spki))
  const uris = [...new Set([...authorities.flatMap(({ ocspUris }) => ocspUris), ...certificate.ocspUris])].slice(0, URIS_MAX)

  const cached = cache.ocsp(certificate, issuer)
  if (cached !== null && consider(cached, true).isDecided) return finding()
  for (const sent of place.ocspSent.slice(0, SENT_MAX)) {
    const result = tryReading(sent)
    const { isDecided, against } = typeof result === 'string' ? { isDecided: false, against: result } : consider(result, false)
    if (isDecided) return finding()
    // One about another certificate of the path is no failure.
    if (against !== null && against !== NOT_ABOUT_IT) notes.push(`sent by the peer: ${against}`)
  }
  for (const uri of uris) {
    try {
      const answer = await ask(uri, certificate, place)
      const { isDecided, against } = consider(answer, false)
      if (isDecided) return finding()
      if (against !== null) {
        rememberFailure(questionOf(uri, certificate, issuer), against, place)
        notes.push(`${showUri(uri)}: ${against}`)
      }
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      notes.push(`${showUri(uri)}: ${error.message}`)
    }
  }
  return finding()
}

/** The answer of one responder, of whoever it is. Rejects with an EspalierError. */
function ask(uri: string, certificate: Certificate, place: RevocationPlace): Promise<OcspAnswer> {
  const { issuer, settings, entropy, fetcher } = place
  const nonce = entropy.bytes(settings.nonceLength)
  const post = { body: encodeOcspRequest(certificate, issuer, nonce), contentType: OCSP_REQUEST_TYPE }
  return fetchOnce({
    uri,
    what: questionOf(uri, certificate, issuer),
    failures: [],
    place,
    fetch: () => fetcher.fetch(uri, { post, limit: OCSP_BYTES_MAX, timeout: settings.timeout }),
    read: (bytes) => {
      const answer = readOcspAnswer(bytes)
      // strongSwan: an answer without a nonce was made in advance, and holds.
      if (answer.nonce !== null && !equalBytes(answer.nonce, nonce))
        throw new EspalierError('peer-misbehaved', 'OCSP_NONCE', 'the nonce of the OCSP answer is not that of our request')
      return answer
    },
  })
}

function questionOf(uri: string, certificate: Certificate, issuer: Certificate): string {
  return `${uri} ${certificate.fingerprint} ${issuer.fingerprint}`
}

function tryReading(bytes: Uint8Array): OcspAnswer | string {
  try {
    return readOcspAnswer(bytes)
  } catch (error) {
    if (error instanceof EspalierError) return error.message
    throw error
  }
}

const NOT_ABOUT_IT = 'the OCSP answer is not about this certificate'

function whyUnsigned({ signatureScheme, signatureAlgorithm }: OcspAnswer): string {
  return signatureScheme === null
    ? `the OCSP answer is signed with the algorithm ${signatureAlgorithm}, which we don't know`
    : 'nobody who may answer for the CA signed the OCSP answer'
}

function whyUnusable(status: OcspStatus | null, now: Milliseconds): string | null {
  if (status === null) return NOT_ABOUT_IT
  if (status.status === 'unknown') return 'the OCSP responder does not know this certificate'
  if (status.thisUpdate > now + CLOCK_SKEW) return `the OCSP answer holds only from ${formatCalendar(status.thisUpdate)}`
  return null
}

/** strongSwan: revoked is revoked, however old the answer is that says so. */
function findingOf(status: OcspStatus, answer: OcspAnswer, now: Milliseconds): OcspFinding {
  const by = `OCSP answer of ${formatCalendar(answer.producedAt)}`
  const { revocation, nextUpdate } = status
  const rest = { answer: answer.der, notes: [] }
  if (revocation !== null) return { ...rest, status: 'revoked', revocation, source: `${showReason(revocation)}, ${by}` }
  return now < nextUpdate
    ? { ...rest, status: 'good', revocation, source: `${by}, until ${formatCalendar(nextUpdate)}` }
    : { ...rest, status: 'stale', revocation, source: `the OCSP answer is stale since ${formatCalendar(nextUpdate)}` }
}
