import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { SECOND } from '../../src/base/time.ts'
import type { Certificate } from '../../src/pki/certificate.ts'
import { crlFileName, readCrl } from '../../src/pki/crl.ts'
import {
  checkRevocation,
  DEFAULT_REVOCATION_SETTINGS,
  ocspAnswerFor,
  permits,
  RevocationCache,
  type RevocationPolicy,
  type RevocationSources,
} from '../../src/pki/revocation.ts'
import { makeCa, makeCertificate } from '../support/pki.ts'
import {
  FakeFetcher,
  HOUR,
  makeCrl,
  makeOcspAnswer,
  makeOcspRefusal,
  makeSources,
  nonceOf,
  NOW,
  OCSP_SIGNING,
  type CrlOptions,
  type Offer,
} from '../support/revocation.ts'

const CRL = 'http://pki.example/ca.crl'
const DELTA = 'http://pki.example/delta.crl'
const OCSP = 'http://ocsp.example/'

const ca = makeCa('CN=CA')
const plain = makeCertificate({ subject: 'CN=plain', issuer: ca, serial: 0x1b })
const listed = makeCertificate({ subject: 'CN=moon', issuer: ca, serial: 0x0abc, crlUris: [CRL] })
const asked = makeCertificate({ subject: 'CN=sun', issuer: ca, serial: 0x0b, ocspUris: [OCSP] })
const both = makeCertificate({ subject: 'CN=both', issuer: ca, serial: 0x0c, crlUris: [CRL], ocspUris: [OCSP] })

const pathOf = (...certificates: readonly { readonly certificate: Certificate }[]): Certificate[] =>
  certificates.map(({ certificate }) => certificate)
const fetching = (offers: Readonly<Record<string, Offer>>): Partial<RevocationSources> => ({ fetcher: new FakeFetcher(offers) })
const crlOf = (options: Partial<CrlOptions> = {}): Uint8Array => makeCrl({ issuer: ca, ...options })

/** Status and sentence of the first verdict. */
async function verdictOf(
  certificate: { readonly certificate: Certificate },
  given: Partial<RevocationSources>,
): Promise<readonly [string, string]> {
  const [verdict] = await checkRevocation(pathOf(certificate, ca), makeSources(given))
  return [verdict!.status, verdict!.sentence]
}

/** The policies that let it pass. */
async function permittedBy(certificate: { readonly certificate: Certificate }, given: Partial<RevocationSources>) {
  const verdicts = await checkRevocation(pathOf(certificate, ca), makeSources(given))
  return (['strict', 'ifuri', 'relaxed'] as const satisfies RevocationPolicy[]).filter((policy) => permits(policy, verdicts).ok)
}

test('strict wants to know, ifuri where there is somebody to ask, relaxed only refuses what is revoked', async () => {
  const revoked = crlOf({ revoked: [{ certificate: listed }] })
  assert.deepEqual(await permittedBy(listed, fetching({ [CRL]: crlOf() })), ['strict', 'ifuri', 'relaxed'])
  assert.deepEqual(await permittedBy(plain, {}), ['ifuri', 'relaxed'])
  assert.deepEqual(await permittedBy(listed, {}), ['relaxed'])
  assert.deepEqual(await permittedBy(listed, fetching({ [CRL]: crlOf({ nextUpdate: NOW - 1 }) })), ['relaxed'])
  assert.deepEqual(await permittedBy(listed, fetching({ [CRL]: revoked })), [])
  assert.deepEqual(await permittedBy(asked, {}), ['relaxed'])
  const good = makeOcspAnswer({ certificate: asked, issuer: ca })
  assert.deepEqual(await permittedBy(asked, fetching({ [OCSP]: good })), ['strict', 'ifuri', 'relaxed'])
  assert.deepEqual(await permittedBy(asked, fetching({ [OCSP]: makeOcspRefusal(3) })), ['relaxed'])
})

test('what is refused says which certificate and why', async () => {
  const { sentence } = permits('strict', await checkRevocation(pathOf(listed, ca), makeSources())) as { sentence: string }
  assert.equal(
    sentence,
    "whether certificate 'CN=moon' (serial 0a:bc) is revoked is not known: http://pki.example/ca.crl: connect ECONNREFUSED",
  )
  assert.deepEqual(await verdictOf(plain, {}), [
    'skipped',
    "whether certificate 'CN=plain' (serial 1b) is revoked is not known: there is no CRL and no OCSP responder to ask",
  ])
  const revoked = crlOf({ number: 10, revoked: [{ certificate: listed, at: NOW - HOUR, reason: 1 }] })
  assert.deepEqual(await verdictOf(listed, fetching({ [CRL]: revoked })), [
    'revoked',
    "certificate 'CN=moon' (serial 0a:bc) was revoked on 2026-05-31 23:00:00 UTC (key compromise, CRL 0a of 'CN=CA')",
  ])
  assert.deepEqual(await verdictOf(listed, fetching({ [CRL]: crlOf({ nextUpdate: NOW - HOUR }) })), [
    'stale',
    "whether certificate 'CN=moon' (serial 0a:bc) is revoked is not known, the CRL 01 of 'CN=CA' is stale since 2026-05-31 23:00:00 UTC",
  ])
  assert.deepEqual(await verdictOf(listed, fetching({ [CRL]: crlOf() })), [
    'good',
    "certificate 'CN=moon' (serial 0a:bc) is not revoked (CRL 01 of 'CN=CA', until 2026-06-02 00:00:00 UTC)",
  ])
  const answer = makeOcspAnswer({ certificate: asked, issuer: ca, status: 'revoked', revokedAt: NOW - HOUR, reason: 4 })
  assert.deepEqual(await verdictOf(asked, fetching({ [OCSP]: answer })), [
    'revoked',
    "certificate 'CN=sun' (serial 0b) was revoked on 2026-05-31 23:00:00 UTC (superseded, OCSP answer of 2026-05-31 23:00:00 UTC)",
  ])
  assert.deepEqual(await verdictOf(asked, fetching({ [OCSP]: makeOcspRefusal(6) })), [
    'failed',
    "whether certificate 'CN=sun' (serial 0b) is revoked is not known: http://ocsp.example/: " +
      'the OCSP responder refuses to answer: it is not allowed to answer about this certificate',
  ])
})

test('passwords in URIs are not for the log', async () => {
  const secret = makeCertificate({ subject: 'CN=x', issuer: ca, crlUris: ['http://user:pass@pki.example/ca.crl'] })
  const [, sentence] = await verdictOf(secret, {})
  assert.match(sentence, /: http:\/\/\*\*\*@pki\.example\/ca\.crl: connect/)
})

// -- whole paths ---------------------------------------------------------------------------------------------------

test('every certificate of the path is asked about but the anchor, up to the first that is revoked', async () => {
  const intermediate = makeCa('CN=intermediate', { issuer: ca, crlUris: [CRL] })
  const leaf = makeCertificate({ subject: 'CN=leaf', issuer: intermediate, crlUris: ['http://pki.example/intermediate.crl'] })
  const path = pathOf(leaf, intermediate, ca)
  const below = makeCrl({ issuer: intermediate })
  const good = makeSources(fetching({ [CRL]: crlOf(), 'http://pki.example/intermediate.crl': below }))
  assert.deepEqual(
    (await checkRevocation(path, good)).map(({ status }) => status),
    ['good', 'good'],
  )
  const above = crlOf({ revoked: [{ certificate: intermediate }] })
  const revokedAbove = makeSources(fetching({ [CRL]: above, 'http://pki.example/intermediate.crl': below }))
  assert.deepEqual(
    (await checkRevocation(path, revokedAbove)).map(({ status }) => status),
    ['good', 'revoked'],
  )
  const leafRevoked = makeCrl({ issuer: intermediate, revoked: [{ certificate: leaf }] })
  const fetcher = new FakeFetcher({ [CRL]: above, 'http://pki.example/intermediate.crl': leafRevoked })
  assert.deepEqual(
    (await checkRevocation(path, makeSources({ fetcher }))).map(({ status }) => status),
    ['revoked'],
  )
  assert.deepEqual(fetcher.asked, ['http://pki.example/intermediate.crl'])
})

test('where neither OCSP nor CRLs are asked there are no verdicts, which every policy permits', async () => {
  const settings = { ...DEFAULT_REVOCATION_SETTINGS, ocsp: false, crl: false }
  const revoked = { ...fetching({ [CRL]: crlOf({ revoked: [{ certificate: listed }] }) }), settings }
  assert.deepEqual(await checkRevocation(pathOf(listed, ca), makeSources(revoked)), [])
  assert.deepEqual(await permittedBy(listed, revoked), ['strict', 'ifuri', 'relaxed'])
  assert.deepEqual(await checkRevocation(pathOf(ca), makeSources()), [])
})

test('either can be switched off by itself', async () => {
  const fetcher = new FakeFetcher({ [CRL]: crlOf(), [OCSP]: makeOcspAnswer({ certificate: both, issuer: ca }) })
  const noOcsp = makeSources({ fetcher, settings: { ...DEFAULT_REVOCATION_SETTINGS, ocsp: false } })
  assert.equal((await checkRevocation(pathOf(both, ca), noOcsp))[0]!.status, 'good')
  assert.deepEqual(fetcher.asked.splice(0), [CRL])
  const noCrl = makeSources({ settings: { ...DEFAULT_REVOCATION_SETTINGS, crl: false } })
  assert.equal((await checkRevocation(pathOf(both, ca), noCrl))[0]!.status, 'failed')
})

// -- CRLs ----------------------------------------------------------------------------------------------------------

test('a loaded CRL is enough, and nothing is fetched', async () => {
  const fetcher = new FakeFetcher()
  const [status] = await verdictOf(listed, { fetcher, crls: [readCrl(crlOf())] })
  assert.equal(status, 'good')
  assert.deepEqual(fetcher.asked, [])
  const crls = [readCrl(crlOf({ revoked: [{ certificate: plain }] }))]
  assert.equal((await verdictOf(plain, { crls }))[0], 'revoked')
})

test('of several CRLs the newest tells, by number or by date; but revoked is revoked', async () => {
  const old = (options: Partial<CrlOptions>) => readCrl(crlOf({ number: 1, nextUpdate: NOW - 1, ...options }))
  const current = readCrl(crlOf({ number: 2 }))
  const hold = [{ certificate: plain, reason: 6 }]
  assert.equal((await verdictOf(plain, { crls: [current, old({ revoked: hold })] }))[0], 'good')
  assert.equal((await verdictOf(plain, { crls: [readCrl(crlOf({ number: 2, revoked: hold })), old({})] }))[0], 'revoked')
  assert.equal((await verdictOf(plain, { crls: [current, old({ revoked: [{ certificate: plain }] })] }))[0], 'revoked')
  const dated = (thisUpdate: number, revoked: CrlOptions['revoked'] = []) => readCrl(crlOf({ number: null, thisUpdate, revoked }))
  assert.equal((await verdictOf(plain, { crls: [dated(NOW - HOUR), dated(NOW - 2 * HOUR, hold)] }))[0], 'good')
  assert.equal((await verdictOf(plain, { crls: [dated(NOW - HOUR, hold), dated(NOW - 2 * HOUR)] }))[0], 'revoked')
})

test('a stale CRL is replaced by the fetched one; without it, it says what it still can', async () => {
  const stale = [readCrl(crlOf({ nextUpdate: NOW - 1 }))]
  assert.equal((await verdictOf(listed, { crls: stale, ...fetching({ [CRL]: crlOf({ number: 2 }) }) }))[0], 'good')
  const [status, sentence] = await verdictOf(listed, { crls: stale })
  assert.equal(status, 'stale')
  assert.match(sentence, /stale since .*: http:\/\/pki\.example\/ca\.crl: connect ECONNREFUSED$/)
  const without = [readCrl(crlOf({ nextUpdate: null }))]
  assert.match((await verdictOf(plain, { crls: without }))[1], /is stale since ever$/)
})

test("a CRL that is not the issuer's, is badly signed, of tomorrow or malformed is refused with the reason", async () => {
  const other = makeCa('CN=other CA')
  const reasons: readonly (readonly [Offer, string])[] = [
    [makeCrl({ issuer: other }), "this is the CRL of 'CN=other CA', not of 'CN=CA'"],
    [crlOf({ badSignature: true }), "nobody who may sign the CRL of 'CN=CA' has signed it"],
    [crlOf({ md5: true }), "the CRL of 'CN=CA' is signed with the algorithm 1.2.840.113549.1.1.4, which we don't know"],
    [crlOf({ thisUpdate: NOW + HOUR }), "the CRL of 'CN=CA' holds only from 2026-06-01 01:00:00 UTC"],
    [crlOf({ base: 1, number: 2 }), 'the CRL is not one that is needed here'],
    [crlOf({ unknownCritical: true }), "the CRL has the critical extension 1.3.6.1.4.1.99999.2, which we don't know"],
    [Buffer.from('<html>'), 'the CRL is malformed: there is neither DER nor PEM of one'],
    [crlOf({ scope: { onlyCa: true } }), 'the CRL does not tell'],
  ]
  for (const [offer, reason] of reasons) {
    const [status, sentence] = await verdictOf(listed, fetching({ [CRL]: offer }))
    assert.equal(status, 'failed')
    assert.equal(
      sentence,
      `whether certificate 'CN=moon' (serial 0a:bc) is revoked is not known: http://pki.example/ca.crl: ${reason}`,
    )
  }
})

test('a CA whose key must not sign CRLs has none that count', async () => {
  const mute = makeCa('CN=mute CA', { keyUsage: 1 << 5 })
  const silent = makeCa('CN=silent CA', { keyUsage: null })
  for (const [issuer, expected] of [
    [mute, 'failed'],
    [silent, 'good'],
  ] as const) {
    const certificate = makeCertificate({ subject: 'CN=x', issuer, crlUris: [CRL] })
    const sources = makeSources(fetching({ [CRL]: makeCrl({ issuer }) }))
    assert.equal((await checkRevocation(pathOf(certificate, issuer), sources))[0]!.status, expected)
  }
})

test('the URIs are tried in order, those of the authority first', async () => {
  const second = 'http://pki.example/second.crl'
  const certificate = makeCertificate({ subject: 'CN=x', issuer: ca, crlUris: [CRL, second] })
  const authority = { name: 'ca', cacert: ca.certificate, crlUris: [DELTA], ocspUris: [], certUriBase: null }
  const other = { ...authority, cacert: makeCa('CN=other CA').certificate, crlUris: ['http://other.example/'] }
  const fetcher = new FakeFetcher({ [second]: crlOf() })
  assert.equal((await verdictOf(certificate, { fetcher, authorities: [other, authority] }))[0], 'good')
  assert.deepEqual(fetcher.asked, [DELTA, CRL, second])
})

test('a scope says whom a CRL can declare good, not whom it can declare revoked', async () => {
  const scopes: readonly (readonly [CrlOptions['scope'] & {}, string])[] = [
    [{ uris: [CRL] }, 'good'],
    [{ uris: ['http://pki.example/other.crl'] }, 'failed'],
    [{ onlyUser: true }, 'good'],
    [{ onlyCa: true }, 'failed'],
    [{ onlyAttribute: true }, 'failed'],
    [{ someReasons: true }, 'failed'],
  ]
  for (const [scope, expected] of scopes) {
    assert.equal((await verdictOf(listed, fetching({ [CRL]: crlOf({ scope }) })))[0], expected, JSON.stringify(scope))
    const revoked = crlOf({ scope, revoked: [{ certificate: listed }] })
    assert.equal((await verdictOf(listed, fetching({ [CRL]: revoked })))[0], 'revoked')
  }
})

test('a delta adds to the complete list, and lifts a hold', async () => {
  const base = (options: Partial<CrlOptions> = {}) => crlOf({ number: 5, freshestUris: [DELTA], ...options })
  const delta = (options: Partial<CrlOptions> = {}) => crlOf({ number: 7, base: 5, ...options })
  const statusOf = async (complete: Uint8Array, changes: Offer): Promise<string> =>
    (await verdictOf(listed, fetching({ [CRL]: complete, [DELTA]: changes })))[0]
  const held = base({ revoked: [{ certificate: listed, reason: 6 }] })
  assert.equal(await statusOf(base(), delta()), 'good')
  assert.equal(await statusOf(base(), delta({ revoked: [{ certificate: listed }] })), 'revoked')
  assert.equal(await statusOf(held, delta()), 'revoked')
  assert.equal(await statusOf(held, delta({ revoked: [{ certificate: listed, reason: 8 }] })), 'good')
  // The complete list is stale, the delta is not.
  assert.equal(await statusOf(base({ nextUpdate: NOW - 1 }), delta()), 'good')
  // It is a delta to a later list, or nowhere to be found: the complete list counts.
  assert.equal(await statusOf(base(), delta({ base: 6, revoked: [{ certificate: plain }] })), 'good')
  assert.equal(await statusOf(base(), new EspalierError('system', 'FETCH_FAILED', 'gone')), 'good')
  // The certificate may say where deltas are, too.
  const fresh = makeCertificate({ subject: 'CN=fresh', issuer: ca, crlUris: [CRL], freshestCrlUris: [DELTA] })
  const offers = { [CRL]: crlOf({ number: 5 }), [DELTA]: delta({ revoked: [{ certificate: fresh }] }) }
  assert.equal((await verdictOf(fresh, fetching(offers)))[0], 'revoked')
})

test('another may sign the CRL where the certificate says so and its own path ends at the same anchor', async () => {
  const crlIssuer = makeCertificate({ subject: 'CN=CRL signer', issuer: ca, keyUsage: 1 << 6 })
  const stranger = makeCertificate({ subject: 'CN=CRL signer', issuer: makeCa('CN=elsewhere'), keyUsage: 1 << 6 })
  const mute = makeCertificate({ subject: 'CN=CRL signer', issuer: ca, keyUsage: 1 })
  const certificate = makeCertificate({ subject: 'CN=x', issuer: ca, crlUris: [CRL], crlIssuer: 'CN=CRL signer' })
  const statusOf = async (signer: typeof ca, options: Partial<CrlOptions> = {}): Promise<string> => {
    const crl = makeCrl({ issuer: signer, scope: { indirect: true, uris: [CRL] }, ...options })
    return (await verdictOf(certificate, { certificates: [signer.certificate], ...fetching({ [CRL]: crl }) }))[0]
  }
  assert.equal(await statusOf(crlIssuer), 'good')
  assert.equal(await statusOf(crlIssuer, { revoked: [{ certificate }] }), 'revoked')
  assert.equal(await statusOf(stranger), 'failed')
  assert.equal(await statusOf(mute), 'failed')
  // Entries of an indirect list may be about certificates of others, from one on that says of whose.
  const ofOthers = { certificate, issuer: 'CN=other CA' }
  assert.equal(await statusOf(crlIssuer, { revoked: [{ serial: 99 }, ofOthers] }), 'good')
  assert.equal(await statusOf(crlIssuer, { revoked: [{ serial: 98, issuer: 'CN=other CA' }, { certificate }] }), 'good')
  const back = [{ serial: 98, issuer: 'CN=other CA' }, { serial: 97, issuer: 'CN=CA' }, { certificate }]
  assert.equal(await statusOf(crlIssuer, { revoked: back }), 'revoked')
})

test('a CRL that the peer sent counts as one that is loaded', async () => {
  const revoked = crlOf({ revoked: [{ certificate: plain }] })
  assert.equal((await verdictOf(plain, { crlsSent: [revoked] }))[0], 'revoked')
  assert.equal((await verdictOf(plain, { crlsSent: [crlOf()] }))[0], 'good')
  const [status, sentence] = await verdictOf(plain, { crlsSent: [Buffer.from('CRL')] })
  assert.equal(status, 'failed')
  assert.match(sentence, /: sent by the peer: the CRL is malformed/)
})

// -- OCSP ----------------------------------------------------------------------------------------------------------

const delegate = makeCertificate({ subject: 'CN=OCSP', issuer: ca, extendedKeyUsage: [OCSP_SIGNING] })

test('the CA may answer, its delegate, and a signer that the administrator trusts; nobody else', async () => {
  const strangerCa = makeCa('CN=elsewhere')
  const stranger = makeCertificate({ subject: 'CN=OCSP', issuer: strangerCa, extendedKeyUsage: [OCSP_SIGNING] })
  const noSigner = makeCertificate({ subject: 'CN=OCSP', issuer: ca })
  const expired = makeCertificate({ subject: 'CN=OCSP', issuer: ca, extendedKeyUsage: [OCSP_SIGNING], notAfter: NOW - 1 })
  const rule = async (signer: typeof ca, given: Partial<RevocationSources> = {}, byKey = false): Promise<string> => {
    const answer = makeOcspAnswer({ certificate: asked, issuer: ca, signer, byKey })
    return (await verdictOf(asked, { ...fetching({ [OCSP]: answer }), ...given }))[0]
  }
  for (const byKey of [false, true]) {
    assert.equal(await rule(ca, {}, byKey), 'good')
    assert.equal(await rule(delegate, {}, byKey), 'good')
    assert.equal(await rule(stranger, {}, byKey), 'failed')
    assert.equal(await rule(stranger, { certificates: [stranger.certificate] }, byKey), 'failed')
    assert.equal(await rule(stranger, { ocspSigners: [stranger.certificate] }, byKey), 'good')
    assert.equal(await rule(noSigner, { ocspSigners: [noSigner.certificate] }, byKey), 'failed')
    assert.equal(await rule(expired, {}, byKey), 'failed')
  }
  // The delegate's certificate need not come with the answer.
  const bare = makeOcspAnswer({ certificate: asked, issuer: ca, signer: delegate, certificates: [] })
  assert.equal((await verdictOf(asked, fetching({ [OCSP]: bare })))[0], 'failed')
  assert.equal((await verdictOf(asked, { ...fetching({ [OCSP]: bare }), certificates: [delegate.certificate] }))[0], 'good')
})

test('an answer that is of no use is refused with the reason, and CRLs are asked then', async () => {
  const answer = (options: Partial<Parameters<typeof makeOcspAnswer>[0]>): Uint8Array =>
    makeOcspAnswer({ certificate: both, issuer: ca, ...options })
  const reasons: readonly (readonly [Offer, string])[] = [
    [answer({ badSignature: true }), 'nobody who may answer for the CA signed the OCSP answer'],
    [answer({ md5: true }), "the OCSP answer is signed with the algorithm 1.2.840.113549.1.1.4, which we don't know"],
    [answer({ certificate: plain }), 'the OCSP answer is not about this certificate'],
    [answer({ issuer: makeCa('CN=other CA'), signer: ca }), 'the OCSP answer is not about this certificate'],
    [answer({ status: 'unknown' }), 'the OCSP responder does not know this certificate'],
    [answer({ thisUpdate: NOW + HOUR }), 'the OCSP answer holds only from 2026-06-01 01:00:00 UTC'],
    [answer({ nextUpdate: NOW - HOUR, thisUpdate: NOW - 2 * HOUR }), 'the OCSP answer is stale since 2026-05-31 23:00:00 UTC'],
    [answer({ nextUpdate: null }), 'the OCSP answer is stale since 2026-05-31 23:00:30 UTC'],
    [answer({ nonce: Buffer.alloc(32) }), 'the nonce of the OCSP answer is not that of our request'],
    [answer({ unknownCritical: true }), "the OCSP answer has the critical extension 1.3.6.1.4.1.99999.4, which we don't know"],
    [makeOcspRefusal(5), 'the OCSP responder refuses to answer: it wants requests to be signed'],
    [Buffer.from('<html>'), 'the OCSP answer is malformed: at byte 0: SEQUENCE expected, tag 0x3c found'],
  ]
  for (const [offer, reason] of reasons) {
    const [status, sentence] = await verdictOf(both, fetching({ [OCSP]: offer }))
    assert.notEqual(status, 'good')
    assert.ok(sentence.includes(reason) && sentence.endsWith(`${CRL}: connect ECONNREFUSED`), `${sentence}\n${reason}`)
    assert.equal((await verdictOf(both, fetching({ [OCSP]: offer, [CRL]: crlOf() })))[0], 'good')
  }
})

test('what OCSP says counts before CRLs are asked', async () => {
  const fetcher = new FakeFetcher({ [OCSP]: makeOcspAnswer({ certificate: both, issuer: ca }) })
  assert.equal((await verdictOf(both, { fetcher }))[0], 'good')
  assert.deepEqual(fetcher.asked, [OCSP])
  const revoked = makeOcspAnswer({ certificate: both, issuer: ca, status: 'revoked', nextUpdate: NOW - 1 })
  assert.equal((await verdictOf(both, fetching({ [OCSP]: revoked, [CRL]: crlOf() })))[0], 'revoked')
})

test('a responder that repeats our nonce is believed, and so is one that knows none; longer hashes are known', async () => {
  for (const hash of ['sha1', 'sha256', 'sha384'] as const) {
    const answering = ({ post }: { readonly post?: { readonly body: Uint8Array } }): Uint8Array =>
      makeOcspAnswer({ certificate: asked, issuer: ca, nonce: nonceOf(post!.body), hash })
    assert.equal((await verdictOf(asked, fetching({ [OCSP]: answering })))[0], 'good')
  }
})

test('the responders of the authority are asked first', async () => {
  const other = 'http://ocsp.example/authority'
  const authority = { name: 'ca', cacert: ca.certificate, crlUris: [], ocspUris: [other], certUriBase: null }
  const fetcher = new FakeFetcher({ [OCSP]: makeOcspAnswer({ certificate: asked, issuer: ca }) })
  assert.equal((await verdictOf(asked, { fetcher, authorities: [authority] }))[0], 'good')
  assert.deepEqual(fetcher.asked, [other, OCSP])
})

test('an answer that the peer sent (RFC 4806) is verified as any other, and spares the question', async () => {
  const fetcher = new FakeFetcher()
  const good = makeOcspAnswer({ certificate: asked, issuer: ca })
  const elsewhere = makeOcspAnswer({ certificate: plain, issuer: ca })
  assert.equal((await verdictOf(asked, { fetcher, ocspSent: [elsewhere, good] }))[0], 'good')
  assert.deepEqual(fetcher.asked, [])
  const forged = makeOcspAnswer({ certificate: asked, issuer: ca, badSignature: true })
  const [status, sentence] = await verdictOf(asked, { ocspSent: [forged] })
  assert.equal(status, 'failed')
  assert.match(sentence, /sent by the peer: nobody who may answer for the CA signed the OCSP answer; http/)
})

test('an answer about our own certificate is had for the peer as it came', async () => {
  const answer = makeOcspAnswer({ certificate: asked, issuer: ca })
  const sources = makeSources(fetching({ [OCSP]: answer }))
  assert.deepEqual(await ocspAnswerFor(asked.certificate, ca.certificate, sources), answer)
  assert.equal(await ocspAnswerFor(plain.certificate, ca.certificate, sources), null)
})

// -- what is remembered --------------------------------------------------------------------------------------------

test("a CRL is fetched once, for all of its issuer's certificates, until it is stale", async () => {
  const fetcher = new FakeFetcher({ [CRL]: crlOf({ revoked: [{ certificate: plain }] }) })
  const sources = makeSources({ fetcher })
  const statusOf = async (certificate: typeof plain): Promise<string> =>
    (await checkRevocation(pathOf(certificate, ca), sources))[0]!.status
  assert.equal(await statusOf(listed), 'good')
  assert.equal(await statusOf(listed), 'good')
  assert.equal(await statusOf(plain), 'revoked')
  assert.deepEqual(fetcher.asked, [CRL])
  sources.cache.flush()
  assert.equal(await statusOf(listed), 'good')
  assert.deepEqual(fetcher.asked, [CRL, CRL])
  sources.clock.passed = 25 * HOUR
  assert.equal(await statusOf(listed), 'stale')
  fetcher.offers.set(CRL, crlOf({ number: 2, thisUpdate: NOW + 25 * HOUR, nextUpdate: NOW + 48 * HOUR }))
  sources.clock.passed += 60 * SECOND
  assert.equal(await statusOf(listed), 'good')
})

test('an OCSP answer is remembered for its certificate until it is stale', async () => {
  const fetcher = new FakeFetcher({ [OCSP]: makeOcspAnswer({ certificate: asked, issuer: ca }) })
  const sources = makeSources({ fetcher })
  const statusOf = async (): Promise<string> => (await checkRevocation(pathOf(asked, ca), sources))[0]!.status
  assert.equal(await statusOf(), 'good')
  assert.equal(await statusOf(), 'good')
  assert.deepEqual(fetcher.asked, [OCSP])
  sources.clock.passed = HOUR
  assert.equal(await statusOf(), 'stale')
  assert.deepEqual(fetcher.asked, [OCSP, OCSP])
})

test('what could not be fetched, or was of no use, is not fetched again for a while', async () => {
  for (const offer of [undefined, Buffer.from('<html>'), crlOf({ nextUpdate: NOW - 1 }), crlOf({ badSignature: true })]) {
    const fetcher = new FakeFetcher(offer === undefined ? {} : { [CRL]: offer })
    const sources = makeSources({ fetcher })
    const check = async (): Promise<string> => (await checkRevocation(pathOf(listed, ca), sources))[0]!.sentence
    const first = await check()
    assert.equal(await check(), first)
    sources.clock.passed = 29 * SECOND
    assert.equal(await check(), first)
    assert.deepEqual(fetcher.asked, [CRL])
    sources.clock.passed = 30 * SECOND
    await check()
    assert.deepEqual(fetcher.asked, [CRL, CRL])
  }
})

test('an OCSP responder that is unreachable is not asked about others either; one that refuses to answer is', async () => {
  const another = makeCertificate({ subject: 'CN=another', issuer: ca, ocspUris: [OCSP] })
  for (const [offers, expected] of [
    [{}, 1],
    [{ [OCSP]: makeOcspRefusal(6) }, 2],
  ] as const) {
    const fetcher = new FakeFetcher(offers)
    const sources = makeSources({ fetcher })
    for (const certificate of [asked, another, asked, another]) await checkRevocation(pathOf(certificate, ca), sources)
    assert.equal(fetcher.asked.length, expected)
  }
})

test('a flood of handshakes shares one fetch, and goes on at once when it fails', async () => {
  let give: (bytes: Uint8Array) => void = () => assert.fail('nothing was asked')
  let refuse: (error: Error) => void = () => assert.fail('nothing was asked')
  const slow = (): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      give = resolve
      refuse = reject
    })
  for (const outcome of ['good', 'failed'] as const) {
    const fetcher = new FakeFetcher({ [CRL]: slow })
    const sources = makeSources({ fetcher })
    const flood = Array.from({ length: 500 }, () => checkRevocation(pathOf(listed, ca), sources))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(fetcher.asked, [CRL])
    if (outcome === 'good') give(crlOf())
    else refuse(new EspalierError('system', 'FETCH_FAILED', 'nothing complete came within 10 s'))
    const verdicts = await Promise.all(flood)
    assert.ok(verdicts.every(([verdict]) => verdict!.status === outcome))
    assert.deepEqual(fetcher.asked, [CRL])
  }
})

test('one server is asked a few things at a time, and those who wait learn that it is unreachable', async () => {
  const waiting: ((error: EspalierError) => void)[] = []
  const fetcher = new FakeFetcher({ [OCSP]: () => new Promise((_, reject) => waiting.push(reject)) })
  const sources = makeSources({ fetcher })
  const clients = Array.from({ length: 40 }, (_, i) =>
    makeCertificate({ subject: `CN=client ${i}`, issuer: ca, ocspUris: [OCSP] }),
  )
  const flood = clients.map((client) => checkRevocation(pathOf(client, ca), sources))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(fetcher.asked.length, 16)
  for (const reject of waiting) reject(new EspalierError('system', 'FETCH_FAILED', 'nothing complete came within 10 s'))
  const verdicts = await Promise.all(flood)
  assert.ok(verdicts.every(([verdict]) => verdict!.status === 'failed'))
  assert.equal(fetcher.asked.length, 16)
})

test('the cache forgets what was not used for longest when it is full', async () => {
  const limits = { crlCount: 2, crlBytes: 1e9, ocspCount: 2, ocspBytes: 1e9, failureCount: 2, fetchesPerServer: 16 }
  const authorities = ['CN=A', 'CN=B', 'CN=C'].map((subject) => makeCa(subject))
  const certificates = authorities.map((issuer, i) =>
    makeCertificate({ subject: 'CN=x', issuer, crlUris: [`http://pki.example/${i}`], ocspUris: [`http://ocsp.example/${i}`] }),
  )
  for (const kind of ['crl', 'ocsp'] as const) {
    const fetcher = new FakeFetcher(
      Object.fromEntries(
        authorities.map((issuer, i): [string, Offer] =>
          kind === 'crl'
            ? [`http://pki.example/${i}`, makeCrl({ issuer })]
            : [`http://ocsp.example/${i}`, makeOcspAnswer({ issuer, certificate: certificates[i]! })],
        ),
      ),
    )
    const settings = { ...DEFAULT_REVOCATION_SETTINGS, ocsp: kind === 'ocsp', crl: kind === 'crl' }
    const sources = makeSources({ fetcher, settings, cache: new RevocationCache(limits) })
    const check = (i: number) => checkRevocation(pathOf(certificates[i]!, authorities[i]!), sources)
    for (const i of [0, 1, 2, 2, 1, 0]) await check(i)
    assert.deepEqual(
      fetcher.asked.map((uri) => uri.at(-1)),
      ['0', '1', '2', '0'],
    )
  }
  const heavy = makeSources({
    ...fetching({ [CRL]: crlOf() }),
    cache: new RevocationCache({ ...limits, crlBytes: 10 }),
  })
  await checkRevocation(pathOf(listed, ca), heavy)
  assert.deepEqual([...heavy.cache.crls()], [])
})

test('whoever keeps CRLs learns of those that were fetched, are current and new; if that is wanted', async () => {
  const kept: string[] = []
  const onCrl: RevocationSources['onCrl'] = (crl) => kept.push(crlFileName(crl))
  const name = toHex(ca.certificate.subjectKeyId!)
  const offers = { [CRL]: crlOf({ number: 1, freshestUris: [DELTA] }), [DELTA]: crlOf({ number: 2, base: 1 }) }
  const settings = { ...DEFAULT_REVOCATION_SETTINGS, keepCrls: true }
  const sources = makeSources({ settings, onCrl, ...fetching(offers) })
  for (let i = 0; i < 2; i++) await checkRevocation(pathOf(listed, ca), sources)
  assert.deepEqual(kept.splice(0), [`${name}.crl`, `${name}_delta.crl`])
  const stale = { [CRL]: crlOf({ nextUpdate: NOW - 1 }) }
  await checkRevocation(pathOf(listed, ca), makeSources({ settings, onCrl, ...fetching(stale) }))
  await checkRevocation(pathOf(listed, ca), makeSources({ onCrl, ...fetching(offers) }))
  assert.deepEqual(kept, [])
})

test('without a cache everything is fetched anew, but shared by who asks at once', async () => {
  const fetcher = new FakeFetcher({ [CRL]: crlOf(), [OCSP]: makeOcspAnswer({ certificate: both, issuer: ca }) })
  const sources = makeSources({ fetcher, settings: { ...DEFAULT_REVOCATION_SETTINGS, cache: false } })
  for (let i = 0; i < 2; i++)
    await Promise.all([listed, both, listed, both].map((certificate) => checkRevocation(pathOf(certificate, ca), sources)))
  assert.deepEqual(fetcher.asked.toSorted(), [OCSP, OCSP, CRL, CRL])
})

test('what our own limit on fetches forbids is no failure of the server', async () => {
  const fetcher = new FakeFetcher({ [CRL]: new EspalierError('policy', 'FETCHES_TOO_MANY', 'too many') })
  const sources = makeSources({ fetcher })
  assert.equal((await checkRevocation(pathOf(listed, ca), sources))[0]!.status, 'failed')
  fetcher.offers.set(CRL, crlOf())
  assert.equal((await checkRevocation(pathOf(listed, ca), sources))[0]!.status, 'good')
})
