/** Which CAs a peer's certificate has to lead to: those of the round and those that are loaded, as strongSwan has it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { NO_CONSTRAINTS } from '../../src/auth/constraints.ts'
import { NO_CREDENTIALS, type Credentials } from '../../src/auth/credentials.ts'
import { parseIdentity } from '../../src/auth/identity.ts'
import { trustOf, type Trust } from '../../src/auth/trust.ts'
import { subjectOf } from '../../src/pki/certificate.ts'
import { makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'

const root = makeCa('CN=Root')
const sub = makeCa('CN=Sub', { issuer: root })
const other = makeCa('CN=Other', { issuer: root })
const moon = makeCertificate({ subject: 'CN=moon', issuer: sub })

function trust(cacerts: readonly TestCertificate[], x509ca: readonly TestCertificate[], sent = [moon]): Trust | string {
  const certificates = (all: readonly TestCertificate[]) => all.map(({ certificate }) => certificate)
  const credentials: Credentials = { ...NO_CREDENTIALS, authorities: () => certificates(x509ca) }
  const { publicKey: key } = moon.certificate
  return trustOf(
    { key, certificate: moon.certificate },
    { key: 'ecdsa', hash: 'sha256', pss: false },
    { id: parseIdentity('CN=moon'), certificates: certificates(sent), attributeCertificates: [] },
    {
      certificates: [],
      publicKeys: [],
      caCertificates: certificates(cacerts),
      caId: null,
      constraints: NO_CONSTRAINTS,
      groups: [],
      certificatePolicies: [],
      revocation: 'relaxed',
    },
    { credentials, settings: { rsaPss: false, signatureAuthenticationConstraints: true }, now: Date.UTC(2026, 5, 1) },
  )
}
const path = (found: Trust | string): string => (typeof found === 'string' ? found : found.path.map(subjectOf).join(' < '))

test('a CA of the round may be in the middle of a path, whose root is loaded', () => {
  assert.equal(path(trust([sub], [root])), 'CN=moon < CN=Sub < CN=Root')
  assert.equal(path(trust([root], [], [moon, sub])), 'CN=moon < CN=Sub < CN=Root')
  assert.equal(path(trust([], [sub, root])), 'CN=moon < CN=Sub < CN=Root')
})

test('without the root there is no path, whatever is trusted in the middle', () => {
  for (const found of [trust([sub], []), trust([], [sub])])
    assert.match(path(found), /certificate 'CN=Sub' .* 'CN=Root' is neither loaded nor sent/)
})

test('a path that does not pass the CA of the round is not what it wants', () => {
  assert.match(path(trust([other], [sub, root])), /constraint check failed: peer not authenticated by CA 'CN=Other'/)
})
