/**
 * Revocation over real sockets: CRLs of a web server on the loopback interface, and OpenSSL's OCSP responder.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/edge/clock.ts'
import { systemEntropy } from '../../src/edge/entropy.ts'
import { systemFetcher } from '../../src/edge/fetch.ts'
import { checkRevocation, DEFAULT_REVOCATION_SETTINGS, type RevocationSources } from '../../src/pki/revocation.ts'
import { makeCa, makeCertificate, pem, type TestCertificate } from '../support/pki.ts'
import { HOUR, makeCrl, makeSources } from '../support/revocation.ts'

const ca = makeCa('CN=CA')
const sources = (given: Partial<RevocationSources> = {}): RevocationSources => ({
  ...makeSources(given),
  fetcher: systemFetcher,
  clock: systemClock,
  entropy: systemEntropy,
})
const current = { issuer: ca, thisUpdate: Date.now() - HOUR, nextUpdate: Date.now() + HOUR }

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function verdictOf(certificate: TestCertificate, from: RevocationSources) {
  const [verdict] = await checkRevocation([certificate.certificate, ca.certificate], from)
  return verdict!
}

test('a CRL of a web server, as DER and as PEM, and one of a file', async (t) => {
  const revoked = makeCertificate({ subject: 'CN=revoked', issuer: ca, serial: 5 })
  const der = makeCrl({ ...current, revoked: [{ certificate: revoked, reason: 1 }] })
  let asked = 0
  const uri = await serve(t, (request, response) => {
    asked++
    response.end(request.url === '/ca.pem' ? pem('X509 CRL', der) : der)
  })
  const directory = mkdtempSync(join(tmpdir(), 'espalier-crl-'))
  t.after(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'ca.crl'), der)
  for (const crlUri of [`${uri}/ca.crl`, `${uri}/ca.pem`, `file://${directory}/ca.crl`]) {
    const from = sources()
    const statuses = [4, 5, 6].map(async (serial) => {
      const certificate = makeCertificate({ subject: 'CN=x', issuer: ca, serial, crlUris: [crlUri] })
      return (await verdictOf(certificate, from)).status
    })
    assert.deepEqual(await Promise.all(statuses), ['good', 'revoked', 'good'])
  }
  assert.equal(asked, 2)
})

test('a server that is not there, one that is silent and one that has something else, each by its sentence', async (t) => {
  const settings = { ...DEFAULT_REVOCATION_SETTINGS, timeout: 1000 }
  const uri = await serve(t, (request, response) => {
    if (request.url === '/html') response.end('<html>')
    else if (request.url === '/large') response.writeHead(200, { 'content-length': 2 ** 30 }).write('x')
    else if (request.url !== '/silent') response.writeHead(503).end()
  })
  const gone = await new Promise<string>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(`http://127.0.0.1:${port}/`))
    })
  })
  const sentences = [
    [gone, /ECONNREFUSED/],
    [`${uri}/silent`, /nothing complete came within 1 s/],
    [`${uri}/html`, /the CRL is malformed: there is neither DER nor PEM of one/],
    [`${uri}/large`, /it is larger than the 10485760 bytes that we take/],
    [`${uri}/gone`, /the server answers with status 503 Service Unavailable/],
    ['https://127.0.0.1/', /only http and file URIs can be fetched, not https:/],
  ] as const
  for (const [crlUri, sentence] of sentences) {
    const certificate = makeCertificate({ subject: 'CN=x', issuer: ca, crlUris: [crlUri] })
    const verdict = await verdictOf(certificate, sources({ settings }))
    assert.equal(verdict.status, 'failed')
    assert.ok(verdict.sentence.includes(crlUri))
    assert.match(verdict.sentence, sentence)
  }
})

const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'there is no openssl'

test("OpenSSL's responder is asked over http", { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-ocsp-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const [good, revoked, unknown] = ['good', 'revoked', 'unknown'].map((name) =>
    makeCertificate({ subject: `CN=${name}`, issuer: ca }),
  ) as [TestCertificate, TestCertificate, TestCertificate]
  const line = (state: string, { certificate }: TestCertificate): string =>
    `${state[0]}\t491231000000Z\t${state.slice(1)}\t${toHex(certificate.serial).toUpperCase()}\tunknown\t/CN=x\n`
  writeFileSync(join(directory, 'index.txt'), line('V', good) + line('R260101081500Z,superseded', revoked))
  writeFileSync(join(directory, 'ca.pem'), ca.pem)
  writeFileSync(join(directory, 'ca.key'), ca.key.pem)
  const signer = ['-CA', 'ca.pem', '-rsigner', 'ca.pem', '-rkey', 'ca.key']
  const responder = spawn('openssl', ['ocsp', '-index', 'index.txt', ...signer, '-nmin', '60', '-port', '0'], { cwd: directory })
  t.after(() => responder.kill())
  let told = ''
  for await (const chunk of responder.stdout as AsyncIterable<Buffer>) {
    told += chunk.toString()
    if (told.includes(' PID=')) break
  }
  const port = /:(\d+) PID=/.exec(told)![1]
  const uri = `http://127.0.0.1:${port}/`
  const authority = { name: 'ca', cacert: ca.certificate, crlUris: [], ocspUris: [uri], certUriBase: null }
  const from = sources({ authorities: [authority] })
  assert.equal((await verdictOf(good, from)).status, 'good')
  const verdict = await verdictOf(revoked, from)
  assert.equal(verdict.status, 'revoked')
  assert.match(verdict.sentence, /was revoked on 2026-01-01 08:15:00 UTC \(superseded, OCSP answer of /)
  assert.match((await verdictOf(unknown, from)).sentence, /the OCSP responder does not know this certificate/)
})
