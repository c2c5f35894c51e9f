/** Every client of the PKI that scripts/pki makes is let in or refused as it is meant to be, and the sentence names the certificate. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { readPrivateKey } from '../../src/crypto/private-key.ts'
import { readCertificateFile } from '../../src/pki/certificate.ts'
import { readCrl, readCrlFile } from '../../src/pki/crl.ts'
import { findPath } from '../../src/pki/path.ts'
import { checkRevocation, permits } from '../../src/pki/revocation.ts'
import { makeInfrastructure } from '../support/infrastructure.ts'
import { makeSources, NOW } from '../support/revocation.ts'

for (const key of ['p256', 'ed25519', 'rsa-1024'] as const) {
  test(`every client is let in or refused for its reason, keys of ${key}`, async () => {
    const { root, moon, crl, clients } = makeInfrastructure(NOW, key)
    assert(clients.length > 12)
    const sources = makeSources({ crls: [readCrl(crl)] })
    for (const { name, leaf, chain, refusal } of [{ name: 'moon', leaf: moon, chain: [], refusal: null }, ...clients]) {
      const intermediates = chain.map(({ certificate }) => certificate)
      const found = findPath({ leaf: leaf.certificate, intermediates, anchors: [root.certificate], now: NOW })
      const revocation = found.ok ? permits('relaxed', await checkRevocation(found.path, sources)) : null
      const sentence = found.ok ? (revocation!.ok ? null : revocation!.sentence) : found.reason.sentence
      if (refusal === null) assert.equal(sentence, null, name)
      else assert.match(sentence ?? 'let in', refusal, name)
    }
  })
}

test('scripts/pki writes what swanctl reads', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-pki-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const { status, stderr } = spawnSync(join(import.meta.dirname, '../../scripts/pki'), ['--key', 'p384', directory], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  const hosts = readdirSync(directory)
  assert(hosts.includes('moon') && hosts.includes('carol') && hosts.includes('expired'))
  for (const host of hosts) {
    const [leaf] = readCertificateFile(readFileSync(join(directory, host, 'x509', `${host}.pem`)))
    assert.equal(readCertificateFile(readFileSync(join(directory, host, 'x509ca/root.pem'))).length, 1)
    if (host === 'weak-key') continue
    const key = readPrivateKey(readFileSync(join(directory, host, 'private', `${host}.pem`)), null)
    assert.deepEqual(key.publicKey.fingerprint, leaf!.publicKey.fingerprint)
  }
  assert.equal(readCrlFile(readFileSync(join(directory, 'moon/x509crl/root.pem'))).length, 1)
  assert.equal(spawnSync(join(import.meta.dirname, '../../scripts/pki'), []).status, 2)
})
