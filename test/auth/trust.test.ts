import assert from 'node:assert/strict'
import { test } from 'node:test'

import { NO_CONSTRAINTS, parseConstraints } from '../../src/auth/constraints.ts'
import { NO_CREDENTIALS, type Credentials } from '../../src/auth/credentials.ts'
import { parseIdentity, parseIdentityPattern } from '../../src/auth/identity.ts'
import { keysOf, trustOf, type Requirements, type Shown } from '../../src/auth/trust.ts'
import { subjectOf } from '../../src/pki/certificate.ts'
import { makeCa, makeCertificate, schemeOf, type TestCertificate } from '../support/pki.ts'

const NOW = Date.UTC(2026, 0, 1)
const ROOT = makeCa('CN=Root', { key: 'rsa-2048' })
const OTHER = makeCa('CN=Other')
const SUB = makeCa('CN=Sub', { issuer: ROOT, policies: ['1.2.3'] })
const MOON = makeCertificate({ subject: 'CN=moon', issuer: SUB, san: ['dns:moon.example'], policies: ['1.2.3'] })
const ALONE = makeCertificate({ subject: 'CN=alone', san: ['dns:moon.example'], key: 'p384' })

const SETTINGS = { rsaPss: false, signatureAuthenticationConstraints: true }
const ANY: Requirements = {
  certificates: [],
  publicKeys: [],
  caCertificates: [],
  caId: null,
  constraints: NO_CONSTRAINTS,
  groups: [],
  certificatePolicies: [],
  revocation: 'relaxed',
}
const credentials = (cas: readonly TestCertificate[], more: Partial<Credentials> = {}): Credentials => ({
  ...NO_CREDENTIALS,
  authorities: () => cas.map(({ certificate }) => certificate),
  ...more,
})
const shown = (...certificates: readonly TestCertificate[]): Shown => ({
  id: parseIdentity('moon.example'),
  certificates: certificates.map(({ certificate }) => certificate),
  attributeCertificates: [],
})

/** The path by names, or why there is none. */
function judged(who: Shown, round: Partial<Requirements>, known: Credentials): readonly string[] | string {
  const wanted = { ...ANY, ...round }
  const [key] = [...keysOf('ecdsa', who, [wanted], known)]
  assert.ok(key !== undefined, 'there is a key')
  const bits = key.key.bits === 384 ? 'p384' : 'p256'
  const trust = trustOf(key, schemeOf(bits), who, wanted, { credentials: known, settings: SETTINGS, now: NOW })
  return typeof trust === 'string' ? trust : trust.path.map(subjectOf)
}

test('a path by what was sent and what is loaded', () => {
  assert.deepEqual(judged(shown(MOON, SUB), {}, credentials([ROOT])), ['CN=moon', 'CN=Sub', 'CN=Root'])
  assert.deepEqual(judged(shown(MOON), {}, credentials([ROOT], { intermediates: () => [SUB.certificate] })), [
    'CN=moon',
    'CN=Sub',
    'CN=Root',
  ])
  assert.match(
    judged(shown(MOON, SUB), {}, credentials([OTHER])) as string,
    /^no trusted ECDSA public key found for 'moon\.example': certificate 'CN=/,
  )
})

test('keys are those that confirm the identity, the sent one first, each once, no more than eight', () => {
  const stranger = makeCertificate({ subject: 'CN=stranger', issuer: ROOT, san: ['dns:stranger.example'] })
  assert.deepEqual([...keysOf('ecdsa', shown(stranger), [ANY], credentials([ROOT]))], [])
  assert.deepEqual([...keysOf('rsa', shown(MOON), [ANY], credentials([ROOT]))], [])
  const many = Array.from({ length: 20 }, (_, i) =>
    makeCertificate({ subject: `CN=m${i}`, issuer: ROOT, san: ['dns:moon.example'] }),
  )
  const loaded = credentials([ROOT], { certificates: () => [MOON, ...many].map(({ certificate }) => certificate) })
  const found = [...keysOf('ecdsa', shown(MOON), [ANY], loaded)]
  assert.equal(found.length, 8)
  assert.equal(found[0]!.certificate, MOON.certificate)
})

test('a wildcard that a peer claims is no name of a certificate', () => {
  const wild = { ...shown(MOON), id: parseIdentity('*.example') }
  assert.deepEqual([...keysOf('ecdsa', wild, [ANY], credentials([ROOT]))], [])
})

test('a certificate that is loaded or pinned is trusted itself, while it is valid', () => {
  const pinned = { certificates: [ALONE.certificate] }
  assert.deepEqual(judged(shown(ALONE), pinned, credentials([])), ['CN=alone'])
  assert.deepEqual(judged(shown(ALONE), {}, credentials([], { certificates: () => [ALONE.certificate] })), ['CN=alone'])
  assert.match(judged(shown(ALONE), {}, credentials([])) as string, /self-signed and not trusted/)
  const old = makeCertificate({ subject: 'CN=old', san: ['dns:moon.example'], notAfter: NOW - 1 })
  assert.match(judged(shown(old), { certificates: [old.certificate] }, credentials([])) as string, /expired/)
  // It has no CA that would vouch for it.
  assert.match(
    judged(shown(ALONE), { ...pinned, caId: parseIdentityPattern('CN=*') }, credentials([])) as string,
    /not authenticated by CA/,
  )
})

test('what a connection wants more than trust, in strongSwan’s words', () => {
  const known = credentials([ROOT, OTHER])
  const refused = (round: Partial<Requirements>, why: RegExp): void =>
    assert.match(judged(shown(MOON, SUB), round, known) as string, why)
  const passes = (round: Partial<Requirements>): void => assert.equal(typeof judged(shown(MOON, SUB), round, known), 'object')
  passes({ caCertificates: [ROOT.certificate], caId: parseIdentityPattern('CN=Sub'), certificatePolicies: ['1.2.3'] })
  passes({ caCertificates: [SUB.certificate] })
  passes({ constraints: parseConstraints('rsa-2048-ecdsa-256-sha256-rsa-sha256') })
  refused({ caCertificates: [OTHER.certificate] }, /^constraint check failed: peer not authenticated by CA 'CN=Other'$/)
  refused({ certificates: [ALONE.certificate] }, /^constraint check failed: peer not authenticated with peer cert 'CN=alone'$/)
  refused({ certificatePolicies: ['1.2.4'] }, /^constraint check failed: constraint requires cert policy 1\.2\.4$/)
  refused({ groups: [parseIdentity('staff')] }, /^constraint check failed: group membership to 'staff' required$/)
  refused(
    { constraints: parseConstraints('rsa-3072-ecdsa-256') },
    /^constraint check failed: RSA-2048 signatures not acceptable$/,
  )
  refused(
    { constraints: parseConstraints('ike:pubkey-sha256-pubkey-sha512') },
    /^constraint check failed: X\.509 signature scheme ECDSA_WITH_SHA256_DER not acceptable$/,
  )
  refused({ constraints: parseConstraints('pubkey-sha512') }, /^IKE signature scheme ECDSA_WITH_SHA256_DER not acceptable$/)
})

test('a policy that a CA maps counts by its new name, and no longer by the old one (RFC 5280 6.1)', () => {
  const mapping = { policies: ['1.2.3'], policyMappings: [['1.2.3', '1.9.9']] } as const
  const top = makeCa('CN=Top', { issuer: ROOT, policies: ['1.2.3'] })
  const path = ['CN=moon', 'CN=Mapper', 'CN=Top', 'CN=Root']
  const by = (mapper: TestCertificate, above: TestCertificate, policy: string): readonly string[] | string => {
    const leaf = makeCertificate({ subject: 'CN=moon', issuer: mapper, san: ['dns:moon.example'], policies: ['1.2.3', '1.9.9'] })
    return judged(shown(leaf, mapper, above), { certificatePolicies: [policy] }, credentials([ROOT]))
  }
  const mapper = makeCa('CN=Mapper', { issuer: top, ...mapping })
  assert.deepEqual(by(mapper, top, '1.9.9'), path)
  assert.equal(by(mapper, top, '1.2.3'), 'constraint check failed: constraint requires cert policy 1.2.3')
  const strict = makeCa('CN=Top', { issuer: ROOT, policies: ['1.2.3'], inhibitPolicyMapping: 0 })
  const inhibited = makeCa('CN=Mapper', { issuer: strict, ...mapping })
  assert.equal(by(inhibited, strict, '1.9.9'), 'constraint check failed: constraint requires cert policy 1.9.9')
})
