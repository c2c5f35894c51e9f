/**
 * What CRLs say of one certificate: those that are loaded, cached or sent by the peer, else those at the URIs of the
 * authority and then of the certificate; then their deltas.
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import { formatCalendar } from '../base/calendar.ts'
import { EspalierError } from '../base/errors.ts'
import { nameText, subjectOf, type Certificate } from './certificate.ts'
import { isCurrent, isDeltaTo, isFuture, judgeCrls, type CrlJudgement } from './crl-judgement.ts'
import { CRL_BYTES_MAX, readCrl, readCrlFile, type Crl } from './crl.ts'
import { crlSigner, isAbout } from './revocation-signers.ts'
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

export async function checkCrls(certificate: Certificate, place: RevocationPlace): Promise<Finding> {
  const { issuer, cache, clock, settings } = place
  const notes: string[] = []
  const crls: Crl[] = []
  const judge = (): CrlJudgement => judgeCrls(certificate, crls, clock.wall())
  const sent = readSent(place.crlsSent, notes)
  for (const crl of [...place.crls, ...cache.crls(), ...sent]) {
    if (isAbout(crl, certificate, issuer) && whyUnusable(crl, place) === null) crls.push(crl)
  }
  let judgement = judge()

  /** Until one of them tells. */
  const fetchFrom = async (uris: readonly string[], isWanted: (crl: Crl) => boolean): Promise<void> => {
    for (const uri of uris) {
      try {
        const crl = await fetchCrl(uri, certificate, place)
        const isOther = !isAbout(crl, certificate, issuer)
        refuse(isOther ? `this is the CRL of ${nameOf(crl)}, not of '${subjectOf(issuer)}'` : null, listOf(uri, certificate))
        refuse(isWanted(crl) ? whyUnusable(crl, place) : 'the CRL is not one that is needed here', listOf(uri, issuer))
        crls.push(crl)
        judgement = judge()
        const isNew = !settings.cache || cache.addCrl(crl)
        if (isNew && settings.keepCrls && isCurrent(crl, clock.wall())) place.onCrl?.(crl)
        if (judgement.status === 'revoked') return
        refuse(isCurrent(crl, clock.wall()) ? null : stale(crl), listOf(uri, issuer))
        if (judgement.status === 'good') return
        refuse('the CRL does not tell', listOf(uri, certificate))
      } catch (error) {
        if (!(error instanceof EspalierError)) throw error
        notes.push(`${showUri(uri)}: ${error.message}`)
      }
    }
  }
  /** A list that is of no use is not fetched again for a while. */
  const refuse = (why: string | null, what: string): void => {
    if (why === null) return
    rememberFailure(what, why, place)
    throw new EspalierError('peer-incompatible', 'CRL_UNUSABLE', why)
  }

  const uris = urisOf(certificate, place)
  if (!isDecided(judgement)) await fetchFrom(uris, ({ baseNumber }) => baseNumber === null)
  const { base } = judgement
  if (base === null || judgement.status === 'revoked') return findingOf(judgement, uris.length > 0, notes)
  if (!crls.some((crl) => isDeltaTo(crl, base) && isCurrent(crl, clock.wall()))) {
    const places = [...base.freshest.flatMap(({ uris }) => uris), ...certificate.freshestCrlUris]
    await fetchFrom([...new Set(places)].slice(0, URIS_MAX), (crl) => isDeltaTo(crl, base))
  }
  return findingOf(judgement, uris.length > 0, notes)
}

/** strongSwan: hold is what a newer list may lift. */
function isDecided({ status }: CrlJudgement): boolean {
  return status === 'good' || status === 'revoked'
}

/** The authority's first, then the certificate's own (strongSwan as well). */
function urisOf(certificate: Certificate, { authorities, issuer }: RevocationPlace): readonly string[] {
  const configured = authorities
    .filter(({ cacert }) => equalBytes(cacert.publicKey.spki, issuer.publicKey.spki))
    .flatMap(({ crlUris }) => crlUris)
  const named = certificate.crlDistributionPoints.flatMap(({ uris }) => uris)
  return [...new Set([...configured, ...named])].slice(0, URIS_MAX)
}

function fetchCrl(uri: string, certificate: Certificate, place: RevocationPlace): Promise<Crl> {
  const { fetcher, settings, issuer } = place
  return fetchOnce({
    uri,
    what: uri,
    failures: [listOf(uri, issuer), listOf(uri, certificate)],
    place,
    fetch: () => fetcher.fetch(uri, { limit: CRL_BYTES_MAX, timeout: settings.timeout }),
    read: (bytes) => readCrlFile(bytes)[0]!,
  })
}

/** By what it is remembered that the list at an URI is of no use to an issuer's certificates, or to one certificate. */
function listOf(uri: string, { fingerprint }: Certificate): string {
  return `${uri} ${fingerprint}`
}

function readSent(sent: readonly Uint8Array[], notes: string[]): Crl[] {
  const crls: Crl[] = []
  for (const bytes of sent.slice(0, SENT_MAX)) {
    try {
      crls.push(readCrl(bytes))
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      notes.push(`sent by the peer: ${error.message}`)
    }
  }
  return crls
}

/** Why a list must not be listened to, as a sentence. */
function whyUnusable(crl: Crl, place: RevocationPlace): string | null {
  const { cache, clock } = place
  const now = clock.wall()
  if (crl.signatureScheme === null)
    return `the CRL of ${nameOf(crl)} is signed with the algorithm ${crl.signatureAlgorithm}, which we don't know`
  const isSignedBy = (crl: Crl, signer: Certificate): boolean => cache.isSignedBy(crl, signer)
  if (crlSigner(crl, { ...place, now, isSignedBy }) === null) return `nobody who may sign the CRL of ${nameOf(crl)} has signed it`
  return isFuture(crl, now) ? `the CRL of ${nameOf(crl)} holds only from ${formatCalendar(crl.thisUpdate)}` : null
}

function findingOf(judgement: CrlJudgement, hasUris: boolean, notes: readonly string[]): Finding {
  const { status, crl, revocation } = judgement
  switch (status) {
    case 'none':
      return { status: hasUris || notes.length > 0 ? 'failed' : 'skipped', revocation, source: '', notes }
    case 'good':
      return { status, revocation, source: `${show(crl!)}, until ${until(crl!)}`, notes }
    case 'stale':
      return { status, revocation, source: stale(crl!), notes }
    case 'hold':
    case 'revoked':
      return { status: 'revoked', revocation, source: `${showReason(revocation!)}, ${show(crl!)}`, notes }
  }
}

function stale(crl: Crl): string {
  return `the ${show(crl)} is stale since ${until(crl)}`
}

function until({ nextUpdate }: Crl): string {
  return nextUpdate === null ? 'ever' : formatCalendar(nextUpdate)
}

/** `CRL 0a of 'CN=CA'` */
function show(crl: Crl): string {
  return `${crl.baseNumber === null ? '' : 'delta '}CRL ${crl.number === null ? '' : `${toHex(crl.number)} `}of ${nameOf(crl)}`
}

function nameOf({ issuer }: Crl): string {
  return `'${nameText(issuer)}'`
}
