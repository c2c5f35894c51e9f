/**
 * CRLs and OCSP answers that OpenSSL makes are read, and say what they say to OpenSSL; ours are read by OpenSSL.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { verify } from '../../src/crypto/public-key.ts'
import { CRL_REASONS, readCrlFile } from '../../src/pki/crl.ts'
import { encodeOcspRequest, readOcspAnswer } from '../../src/pki/ocsp.ts'
import { checkRevocation, type RevocationSources } from '../../src/pki/revocation.ts'
import { makeCa, makeCertificate, pem, type TestCertificate, type TestKeyType } from '../support/pki.ts'
import { FakeFetcher, makeCrl, makeOcspAnswer, makeSources, OCSP_SIGNING } from '../support/revocation.ts'

const HOUR = 3_600_000
const CRL = 'http://pki.example/ca.crl'
const OCSP = 'http://ocsp.example/'
const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'there is no openssl'

/** A directory with a CA's files as `openssl ca` and `openssl ocsp` want them. */
class Workshop {
  readonly directory: string
  readonly ca: TestCertificate
  readonly #revoked: string[] = []
  constructor(t: TestContext, ca: TestCertificate) {
    this.directory = mkdtempSync(join(tmpdir(), 'espalier-openssl-'))
    t.after(() => rmSync(this.directory, { recursive: true }))
    this.ca = ca
    this.write('ca.pem', ca.pem)
    this.write('ca.key', ca.key.pem)
    this.write('crlnumber', '1000\n')
    const defaults = ['database = index.txt', 'crlnumber = crlnumber', 'default_md = sha256', 'crl_extensions = crl']
    this.write(
      'ca.cnf',
      ['[ca]', 'default_ca = it', '[it]', ...defaults, '[crl]', 'authorityKeyIdentifier = keyid', ''].join('\n'),
    )
    this.write('index.txt', '')
  }
  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }
  path(name: string): string {
    return join(this.directory, name)
  }
  /** An issued certificate; `revoked` as in index.txt: `YYMMDDHHMMSSZ,reason`. */
  issue(certificate: TestCertificate, revoked?: string): void {
    const serial = toHex(certificate.certificate.serial).toUpperCase()
    this.#revoked.push([revoked === undefined ? 'V' : 'R', '491231000000Z', revoked ?? '', serial, 'unknown', '/CN=x'].join('\t'))
    this.write('index.txt', this.#revoked.map((line) => `${line}\n`).join(''))
  }
  run(...parameters: readonly string[]): string {
    return execFileSync('openssl', parameters, { cwd: this.directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }
  crl(...parameters: readonly string[]): Uint8Array {
    this.run('ca', '-gencrl', '-config', 'ca.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-out', 'crl.pem', ...parameters)
    return readFileSync(this.path('crl.pem'))
  }
  /** What OpenSSL's responder answers to a request. */
  answer(request: Uint8Array, ...parameters: readonly string[]): Uint8Array {
    this.write('request.der', request)
    const signer = parameters.includes('-rsigner') ? [] : ['-rsigner', 'ca.pem', '-rkey', 'ca.key']
    const index = ['-index', 'index.txt', '-CA', 'ca.pem']
    this.run('ocsp', ...index, ...signer, '-reqin', 'request.der', '-respout', 'answer.der', '-nmin', '60', ...parameters)
    return readFileSync(this.path('answer.der'))
  }
}

const realTime = (given: Partial<RevocationSources>): RevocationSources => ({
  ...makeSources(given),
  clock: { now: () => performance.now(), wall: () => Date.now() },
})

async function statusOf(certificate: TestCertificate, ca: TestCertificate, given: Partial<RevocationSources>): Promise<string> {
  const [verdict] = await checkRevocation([certificate.certificate, ca.certificate], realTime(given))
  return verdict!.status
}

test("OpenSSL's CRLs are read, with every reason and date, signed by keys of every type", { skip }, (t) => {
  for (const type of ['rsa-2048', 'p256', 'p384', 'p521', 'ed25519', 'ed448'] satisfies TestKeyType[]) {
    const workshop = new Workshop(t, makeCa('CN=CA', { key: type }))
    const certificateOf = (subject: string): TestCertificate => makeCertificate({ subject, issuer: workshop.ca })
    const reasons = ['unspecified', 'keyCompromise', 'CACompromise', 'affiliationChanged', 'superseded', 'cessationOfOperation']
    const revoked = [...reasons, 'removeFromCRL'].map((reason) => ({ reason, certificate: certificateOf(`CN=${reason}`) }))
    for (const { reason, certificate } of revoked) workshop.issue(certificate, `260101081500Z,${reason}`)
    const held = certificateOf('CN=held')
    workshop.issue(held, '260101081500Z,holdInstruction,holdInstructionCallIssuer')
    const good = certificateOf('CN=good')
    workshop.issue(good)

    const file = workshop.crl('-crldays', '1', ...(type.startsWith('ed') ? ['-md', 'null'] : []))
    const [crl] = readCrlFile(file)
    assert.equal(crl!.entryCount, revoked.length + 1)
    assert.equal(toHex(crl!.number!), '1000')
    assert.equal(toHex(crl!.authorityKeyId!), toHex(workshop.ca.certificate.subjectKeyId!))
    assert.equal(crl!.nextUpdate! - crl!.thisUpdate, 24 * HOUR)
    assert.ok(verify(workshop.ca.certificate.publicKey, crl!.signatureScheme!, crl!.tbs, crl!.signature), type)
    const names = revoked.map(({ certificate }) => CRL_REASONS[crl!.find(certificate.certificate)!.reason]!)
    assert.deepEqual(names.slice(0, 6), [
      'unspecified',
      'key compromise',
      'CA compromise',
      'affiliation changed',
      'superseded',
      'cessation of operation',
    ])
    for (const { certificate } of revoked) assert.equal(crl!.find(certificate.certificate)!.at, Date.UTC(2026, 0, 1, 8, 15))
    assert.equal(crl!.find(held.certificate)!.reason, 6)
    assert.equal(crl!.find(good.certificate), null)
  }
})

test('our verdict on a CRL is that of openssl verify -crl_check', { skip }, async (t) => {
  const ca = makeCa('CN=CA')
  const workshop = new Workshop(t, ca)
  const other = makeCa('CN=other CA')
  const certificate = makeCertificate({ subject: 'CN=moon', issuer: ca, crlUris: [CRL] })
  workshop.write('moon.pem', certificate.pem)
  const now = Date.now()
  const times = { thisUpdate: now - HOUR, nextUpdate: now + HOUR }
  const cases = {
    'good, nothing revoked': makeCrl({ issuer: ca, ...times }),
    'good, others revoked': makeCrl({ issuer: ca, ...times, revoked: [{ serial: 7 }, { serial: 8, reason: 1 }] }),
    'good, of its distribution point': makeCrl({ issuer: ca, ...times, scope: { uris: [CRL] } }),
    'revoked': makeCrl({ issuer: ca, ...times, revoked: [{ serial: 7 }, { certificate, reason: 1 }] }),
    'revoked, on hold': makeCrl({ issuer: ca, ...times, revoked: [{ certificate, reason: 6 }] }),
    'stale': makeCrl({ issuer: ca, ...times, nextUpdate: now - 1000 }),
    'failed, of tomorrow': makeCrl({ issuer: ca, thisUpdate: now + HOUR, nextUpdate: now + 2 * HOUR }),
    'failed, badly signed': makeCrl({ issuer: ca, ...times, badSignature: true }),
    "failed, somebody else's": makeCrl({ issuer: other, ...times }),
    'failed, of another distribution point': makeCrl({ issuer: ca, ...times, scope: { uris: ['http://pki.example/2'] } }),
    'failed, for CAs': makeCrl({ issuer: ca, ...times, scope: { onlyCa: true } }),
    'failed, an unknown critical extension': makeCrl({ issuer: ca, ...times, unknownCritical: true }),
    'failed, an unknown critical extension of an entry': makeCrl({
      issuer: ca,
      ...times,
      revoked: [{ serial: 7, unknownCritical: true }],
    }),
  }
  for (const [title, der] of Object.entries(cases)) {
    const expected = title.split(',')[0]!
    assert.equal(await statusOf(certificate, ca, { fetcher: new FakeFetcher({ [CRL]: der }) }), expected, title)
    workshop.write('crl.pem', pem('X509 CRL', der))
    const parameters = ['-crl_check', '-CRLfile', 'crl.pem', '-CAfile', 'ca.pem', 'moon.pem']
    const openssl = spawnSync('openssl', ['verify', ...parameters], { cwd: workshop.directory, encoding: 'utf8' })
    assert.equal(openssl.status === 0, expected === 'good', `${title}: ${openssl.stdout}${openssl.stderr}`)
    if (expected === 'revoked') assert.match(openssl.stderr, /certificate revoked/)
    if (expected === 'stale') assert.match(openssl.stderr, /CRL has expired/)
  }
})

test("our request is what OpenSSL's responder reads, and its answers are read", { skip }, async (t) => {
  const ca = makeCa('CN=CA', { key: 'rsa-2048' })
  const workshop = new Workshop(t, ca)
  const certificateOf = (subject: string): TestCertificate => makeCertificate({ subject, issuer: ca, ocspUris: [OCSP] })
  const [good, revoked, unknown] = ['CN=good', 'CN=revoked', 'CN=unknown'].map(certificateOf) as [
    TestCertificate,
    TestCertificate,
    TestCertificate,
  ]
  workshop.issue(good)
  workshop.issue(revoked, '260101081500Z,keyCompromise')
  const nonce = Uint8Array.from({ length: 32 }, (_, i) => i)
  const request = encodeOcspRequest(good.certificate, ca.certificate, nonce)
  workshop.write('request.der', request)
  const text = workshop.run('ocsp', '-reqin', 'request.der', '-req_text', '-noverify')
  assert.match(text, /Hash Algorithm: sha1/)
  assert.match(text, new RegExp(`Serial Number: ${toHex(good.certificate.serial)}`, 'i'))
  assert.match(text, new RegExp(`OCSP Nonce: *\n *0420${toHex(nonce)}`, 'i'))
  assert.match(text, /Acceptable OCSP Responses: *\n *Basic OCSP Response/)
  // It is, byte for byte, the request that OpenSSL makes, but for what a nonce is.
  workshop.write('good.pem', good.pem)
  workshop.run('ocsp', '-issuer', 'ca.pem', '-cert', 'good.pem', '-no_nonce', '-reqout', 'openssl.der')
  const certId = readFileSync(workshop.path('openssl.der')).subarray(8)
  assert.ok(Buffer.from(request).includes(certId))

  const delegate = makeCertificate({ subject: 'CN=OCSP', issuer: ca, extendedKeyUsage: [OCSP_SIGNING] })
  const noDelegate = makeCertificate({ subject: 'CN=nobody', issuer: ca })
  for (const [name, signer] of Object.entries({ delegate, noDelegate })) {
    workshop.write(`${name}.pem`, signer.pem)
    workshop.write(`${name}.key`, signer.key.pem)
  }
  const asDelegate = ['-rsigner', 'delegate.pem', '-rkey', 'delegate.key']
  const manners = [[], ['-resp_key_id'], ['-rmd', 'sha512'], asDelegate, [...asDelegate, '-resp_key_id']]
  for (const manner of manners) {
    const responder = new FakeFetcher({ [OCSP]: ({ post }) => workshop.answer(post!.body, ...manner) })
    const about = (certificate: TestCertificate): Promise<string> => statusOf(certificate, ca, { fetcher: responder })
    assert.deepEqual([await about(good), await about(revoked), await about(unknown)], ['good', 'revoked', 'failed'])
  }
  const asNobody = ['-rsigner', 'noDelegate.pem', '-rkey', 'noDelegate.key']
  const responder = new FakeFetcher({ [OCSP]: ({ post }) => workshop.answer(post!.body, ...asNobody) })
  assert.equal(await statusOf(good, ca, { fetcher: responder }), 'failed')

  const answer = readOcspAnswer(workshop.answer(encodeOcspRequest(revoked.certificate, ca.certificate, nonce)))
  assert.deepEqual(answer.nonce, Buffer.from(nonce))
  const status = answer.find(revoked.certificate, ca.certificate)!
  assert.deepEqual(status.revocation, { at: Date.UTC(2026, 0, 1, 8, 15), reason: 1 })
  assert.equal(status.nextUpdate - status.thisUpdate, HOUR)
})

test('the answers that our tests make are those of a responder, to OpenSSL', { skip }, (t) => {
  const ca = makeCa('CN=CA')
  const workshop = new Workshop(t, ca)
  const certificate = makeCertificate({ subject: 'CN=moon', issuer: ca })
  workshop.write('moon.pem', certificate.pem)
  const delegate = makeCertificate({ subject: 'CN=OCSP', issuer: ca, extendedKeyUsage: [OCSP_SIGNING] })
  const now = Date.now()
  for (const signer of [ca, delegate]) {
    for (const status of ['good', 'revoked', 'unknown'] as const) {
      const times = { thisUpdate: now - HOUR, nextUpdate: now + HOUR }
      const der = makeOcspAnswer({ certificate, issuer: ca, signer, status, ...times })
      workshop.write('answer.der', der)
      const parameters = ['-respin', 'answer.der', '-issuer', 'ca.pem', '-cert', 'moon.pem', '-CAfile', 'ca.pem', '-no_nonce']
      assert.match(workshop.run('ocsp', ...parameters), new RegExp(`moon.pem: ${status}`))
    }
  }
})
