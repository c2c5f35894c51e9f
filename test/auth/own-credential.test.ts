import assert from 'node:assert/strict'
import { test } from 'node:test'

import { NO_CREDENTIALS, type Credentials } from '../../src/auth/credentials.ts'
import { parseIdentity } from '../../src/auth/identity.ts'
import { ownCredential } from '../../src/auth/own-credential.ts'
import { toHex } from '../../src/base/bytes.ts'
import { readPublicKey } from '../../src/crypto/public-key.ts'
import { subjectOf } from '../../src/pki/certificate.ts'
import { keyPair, makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'

const ROOT = makeCa('CN=Root')
const OTHER = makeCa('CN=Other')
const SUB = makeCa('CN=Sub', { issuer: ROOT })
const MOON = makeCertificate({ subject: 'CN=moon', issuer: SUB, san: ['dns:moon.example'] })
const MOON_TOO = makeCertificate({ subject: 'CN=moon, O=other', issuer: OTHER, san: ['dns:moon.example'] })
const KEYLESS = makeCertificate({ subject: 'CN=keyless', issuer: ROOT, san: ['dns:moon.example'] })

const credentials = (own: readonly TestCertificate[], loaded: readonly TestCertificate[] = own): Credentials => ({
  ...NO_CREDENTIALS,
  privateKeyFor: (wanted) => own.find(({ key }) => Buffer.compare(key.spki, wanted.spki) === 0)?.key.privateKey ?? null,
  certificates: () => loaded.map(({ certificate }) => certificate),
  authorities: () => [ROOT, OTHER].map(({ certificate }) => certificate),
  intermediates: () => [SUB.certificate],
})
const wanted = (...cas: readonly TestCertificate[]) =>
  new Set(cas.map(({ certificate }) => toHex(certificate.publicKey.spkiFingerprint)))
const ID = parseIdentity('moon.example')
const NOTHING = { certificates: [], publicKeys: [] }

test('the certificate that has our identity, with the chain above it but the root', () => {
  const found = ownCredential(ID, NOTHING, wanted(), credentials([MOON]))!
  assert.equal(subjectOf(found.certificate!), 'CN=moon')
  assert.deepEqual(found.intermediates.map(subjectOf), ['CN=Sub'])
  assert.equal(subjectOf(found.root!), 'CN=Root')
  assert.equal(ownCredential(parseIdentity('sun.example'), NOTHING, wanted(), credentials([MOON])), null)
})

test('of several the one whose CA the peer asks for; one it asks for that nobody knows decides nothing', () => {
  const both = credentials([MOON, MOON_TOO])
  const chosen = (cas: ReadonlySet<string>) => subjectOf(ownCredential(ID, NOTHING, cas, both)!.certificate!)
  assert.equal(chosen(wanted(OTHER)), 'CN=moon, O=other')
  assert.equal(chosen(wanted(ROOT)), 'CN=moon')
  assert.equal(chosen(wanted(makeCa('CN=Nobody'))), 'CN=moon')
  assert.deepEqual(ownCredential(ID, NOTHING, wanted(SUB), both)!.intermediates, [], 'the peer has what it asks for')
})

test('configured certificates come before those that are found, and those without a key are none', () => {
  const round = { certificates: [KEYLESS.certificate, MOON_TOO.certificate], publicKeys: [] }
  assert.equal(subjectOf(ownCredential(ID, round, wanted(), credentials([MOON, MOON_TOO]))!.certificate!), 'CN=moon, O=other')
  assert.equal(
    subjectOf(ownCredential(ID, { ...round, certificates: [KEYLESS.certificate] }, wanted(), credentials([MOON]))!.certificate!),
    'CN=moon',
  )
  assert.equal(ownCredential(ID, NOTHING, wanted(), credentials([], [MOON])), null)
})

test('a raw public key goes without a certificate', () => {
  const key = keyPair('p256', 'raw')
  const own = { ...NO_CREDENTIALS, privateKeyFor: () => key.privateKey }
  const found = ownCredential(ID, { certificates: [], publicKeys: [readPublicKey(key.spki)] }, wanted(ROOT), own)!
  assert.equal(found.certificate, null)
  assert.deepEqual(found.key.publicKey.spki, key.spki)
})
