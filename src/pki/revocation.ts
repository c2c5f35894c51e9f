/**
 * Whether the certificates of a path that holds are revoked: asked of OCSP first and of CRLs then, of what is loaded, what
 * the peer sent and what is cached before anything is fetched (strongSwan: revocation_validator.c). What the verdicts
 * amount to, `permits` says.
 */
import { formatCalendar } from '../base/calendar.ts'
import { describeCertificate } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { checkCrls } from './revocation-crl.ts'
import { checkOcsp } from './revocation-ocsp.ts'
import type { Finding, RevocationSources, RevocationStatus } from './revocation-sources.ts'

export { RevocationCache } from './revocation-cache.ts'
export { DEFAULT_REVOCATION_SETTINGS } from './revocation-sources.ts'
export type { RevocationSettings, RevocationSources, RevocationStatus } from './revocation-sources.ts'

/** swanctl.conf: connections.<conn>.remote<suffix>.revocation */
export type RevocationPolicy = 'strict' | 'ifuri' | 'relaxed'

export interface RevocationVerdict {
  readonly certificate: Certificate
  readonly status: RevocationStatus
  /** `certificate 'CN=moon' (serial 0a) was revoked on 2026-01-01 00:00:00 UTC: key compromise (CRL of 'CN=CA')` */
  readonly sentence: string
}

/**
 * Of every certificate of the path (leaf … anchor) but the anchor, in that order and up to the first that is revoked; of
 * none where settings have neither OCSP nor CRLs asked, which every policy permits (strongSwan as well). Never rejects.
 */
export async function checkRevocation(
  path: readonly Certificate[],
  sources: RevocationSources,
): Promise<readonly RevocationVerdict[]> {
  const verdicts: RevocationVerdict[] = []
  const anchor = path.at(-1)
  if (anchor === undefined || (!sources.settings.ocsp && !sources.settings.crl)) return verdicts
  for (const [index, issuer] of path.slice(1).entries()) {
    const certificate = path[index]!
    const finding = await check(certificate, { ...sources, issuer, anchor })
    verdicts.push({ certificate, status: finding.status, sentence: sentenceOf(certificate, finding) })
    if (finding.status === 'revoked') break
  }
  return verdicts
}

type Place = Parameters<typeof checkOcsp>[1]

/** strongSwan: a good answer of OCSP suffices; whatever CRLs say counts then, unless nobody knows of any. */
async function check(certificate: Certificate, place: Place): Promise<Finding> {
  const ocsp = place.settings.ocsp ? await checkOcsp(certificate, place) : SKIPPED
  if (ocsp.status === 'good' || ocsp.status === 'revoked' || !place.settings.crl) return ocsp
  const crl = await checkCrls(certificate, place)
  const notes = [...ocsp.notes, ...crl.notes]
  return { ...(crl.status === 'skipped' ? ocsp : crl), notes }
}

const SKIPPED: Finding = { status: 'skipped', revocation: null, source: '', notes: [] }

function sentenceOf(certificate: Certificate, { status, revocation, source, notes }: Finding): string {
  const name = describeCertificate(certificate)
  // A list or answer that was fetched just now and is stale need not be named twice.
  const others = notes.filter((note) => source === '' || !note.endsWith(source))
  const vain = others.length === 0 ? '' : `: ${others.join('; ')}`
  switch (status) {
    case 'good':
      return `${name} is not revoked (${source})`
    case 'revoked':
      return `${name} was revoked${revocation === null ? '' : ` on ${formatCalendar(revocation.at)}`} (${source})`
    case 'stale':
      return `whether ${name} is revoked is not known, ${source}${vain}`
    case 'failed':
      return `whether ${name} is revoked is not known${vain}`
    case 'skipped':
      return `whether ${name} is revoked is not known: there is no CRL and no OCSP responder to ask`
  }
}

/** strongSwan: what the manual says of strict, ifuri and relaxed, of each certificate by itself. */
export function permits(
  policy: RevocationPolicy,
  verdicts: readonly RevocationVerdict[],
): { readonly ok: true } | { readonly ok: false; readonly sentence: string } {
  const against = verdicts.find(({ status }) => !PERMITTED[policy].has(status))
  return against === undefined ? { ok: true } : { ok: false, sentence: against.sentence }
}

const PERMITTED: Readonly<Record<RevocationPolicy, ReadonlySet<RevocationStatus>>> = {
  strict: new Set(['good']),
  ifuri: new Set(['good', 'skipped']),
  relaxed: new Set(['good', 'skipped', 'stale', 'failed']),
}

/** The OCSP answer about a certificate of ours that a peer asked for (RFC 4806), as it came; null where nobody gives one. Never rejects. */
export async function ocspAnswerFor(
  certificate: Certificate,
  issuer: Certificate,
  sources: RevocationSources,
): Promise<Uint8Array | null> {
  if (!sources.settings.ocsp) return null
  const { status, answer } = await checkOcsp(certificate, { ...sources, issuer, anchor: issuer })
  return status === 'good' || status === 'revoked' ? answer : null
}
