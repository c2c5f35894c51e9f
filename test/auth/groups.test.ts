/** The groups of a peer: by attribute certificates about its certificate that are to be believed, loaded or sent. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { NO_CREDENTIALS, type Credentials } from '../../src/auth/credentials.ts'
import { membershipOf } from '../../src/auth/groups.ts'
import { formatIdentity } from '../../src/auth/identity.ts'
import { encodeOid } from '../../src/base/der.ts'
import { readAttributeCertificate } from '../../src/pki/attribute-certificate.ts'
import { entityName, makeAttributeCertificate, type AttributeCertificateOptions } from '../support/attribute-certificates.ts'
import { keyPair, makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'

const NOW = Date.UTC(2026, 0, 1)
const DAY = 86_400_000
const ROOT = makeCa('CN=Root')
const OTHER = makeCa('CN=Other')
const AUTHORITY = makeCertificate({ subject: 'CN=AA', issuer: ROOT })
const ALICE = makeCertificate({ subject: 'CN=alice', issuer: ROOT })
const BOB = makeCertificate({ subject: 'CN=bob', issuer: ROOT })

const attribute = (options: Partial<AttributeCertificateOptions> = {}) =>
  readAttributeCertificate(makeAttributeCertificate({ holder: ALICE, issuer: AUTHORITY, groups: ['staff'], ...options }))
const credentials = (authorities: readonly TestCertificate[], more: Partial<Credentials> = {}): Credentials => ({
  ...NO_CREDENTIALS,
  authorities: () => [ROOT.certificate],
  attributeAuthorities: () => authorities.map(({ certificate }) => certificate),
  ...more,
})

/** The groups by names, or why there are none. */
function judged(options: Partial<AttributeCertificateOptions>, known = credentials([AUTHORITY]), who = ALICE): unknown {
  const { groups, refusals } = membershipOf(who.certificate, [attribute(options)], { credentials: known, now: NOW })
  return refusals.length > 0 ? refusals.join() : groups.map(formatIdentity)
}

test('of all attribute certificates about one certificate, loaded and sent, each group as an identity', () => {
  const loaded = [
    attribute(),
    attribute({ groups: ['sales@example.org', 'C=CH, CN=heads'] }),
    attribute({ holder: BOB, groups: ['b'] }),
  ]
  const known = credentials([AUTHORITY], { attributeCertificates: () => loaded })
  const { groups, refusals } = membershipOf(ALICE.certificate, [attribute({ groups: ['guests'] })], {
    credentials: known,
    now: NOW,
  })
  assert.deepEqual(groups.map(formatIdentity), ['staff', 'sales@example.org', 'C=CH, CN=heads', 'guests'])
  assert.deepEqual(refusals, [])
})

test('those about somebody else count for nothing: another number, another issuer, a name alone', () => {
  assert.deepEqual(judged({ holder: BOB }), [])
  assert.deepEqual(judged({ holderFields: [entityName(ALICE)] }), [])
  const twin = makeCertificate({ subject: 'CN=alice', issuer: OTHER, serial: ALICE.certificate.serial })
  assert.deepEqual(judged({}, credentials([AUTHORITY]), twin), [])
})

test('groups that no configuration can name are passed over: OIDs, what is no printable text, no identity', () => {
  assert.deepEqual(judged({ groups: [encodeOid('1.2.3'), 'a\nb', '', '@#zz', 'staff'] }), ['staff'])
})

test('who made it has to be an attribute authority that is loaded and trusted, now', () => {
  const refused = (options: Partial<AttributeCertificateOptions>, why: RegExp, known?: Credentials): void =>
    assert.match(String(judged(options, known)), why)
  refused({ notAfter: NOW - DAY }, /^attribute certificate by 'CN=AA' \(serial 07\) expired on 2025-12-31/)
  refused({ notBefore: NOW + DAY }, /^attribute certificate by 'CN=AA' \(serial 07\) is not valid before 2026-01-02/)
  refused({ issuer: BOB }, /has no issuer that is known: 'CN=bob' is no attribute authority that is loaded$/)
  refused({ authorityKeyId: new Uint8Array(20) }, /has no issuer that is known: 'CN=AA' /)
  refused({ signer: keyPair('p256', 'thief') }, /was not signed by the key of certificate 'CN=AA' \(serial /)
  refused({}, /has no issuer that is known/, credentials([], { certificates: () => [AUTHORITY.certificate] }))
  refused(
    {},
    /is by an authority that is not trusted: .* has no issuer that is known/,
    credentials([AUTHORITY], { authorities: () => [] }),
  )
  const old = makeCertificate({ subject: 'CN=old AA', issuer: ROOT, notAfter: NOW - DAY })
  refused({ issuer: old }, /is by an authority that is not trusted: certificate 'CN=old AA' .* expired/, credentials([old]))
  // Of two certificates of a name the right one is found; who has no key identifier is known by name.
  const renewed = makeCertificate({ subject: 'CN=AA', issuer: ROOT, key: keyPair('p256', 'a new key'), serial: 3 })
  assert.deepEqual(judged({ issuer: renewed }, credentials([AUTHORITY, renewed])), ['staff'])
  assert.deepEqual(judged({ issuer: renewed, authorityKeyId: null }, credentials([AUTHORITY, renewed])), ['staff'])
})

test('sixteen about one holder are verified; those out of date are not counted', () => {
  const old = Array.from({ length: 20 }, (_, serial) => attribute({ serial, notAfter: NOW - DAY }))
  const many = Array.from({ length: 20 }, (_, i) => attribute({ groups: [`group${i}`] }))
  const known = credentials([AUTHORITY], { attributeCertificates: () => [...old, ...many] })
  const { groups, refusals } = membershipOf(ALICE.certificate, [], { credentials: known, now: NOW })
  assert.deepEqual([groups.length, refusals.length, formatIdentity(groups.at(-1)!)], [16, 20, 'group15'])
})

test('a self-signed authority is trusted as it is loaded (strongSwan)', () => {
  const alone = makeCertificate({ subject: 'CN=alone' })
  assert.deepEqual(judged({ issuer: alone }, credentials([alone], { authorities: () => [] })), ['staff'])
})
