import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeElement, encodeOid, encodeSequence } from '../../src/base/der.ts'
import { KeyUsage, subjectOf } from '../../src/pki/certificate.ts'
import {
  findPath,
  isIssuedBy,
  isSelfSigned,
  paths,
  type PathFailureCode,
  type PathRequest,
  type PathResult,
} from '../../src/pki/path.ts'
import {
  keyPair,
  makeCa,
  makeCertificate,
  type CertificateOptions,
  type TestCertificate,
  type TestKeyType,
} from '../support/pki.ts'

const NOW = Date.UTC(2026, 5, 1)
const root = makeCa('C=CH, O=strongSwan, CN=Root')
const research = makeCa('C=CH, O=strongSwan, OU=Research, CN=Research CA', { issuer: root })

interface World {
  readonly leaf: TestCertificate
  readonly sent?: readonly TestCertificate[]
  readonly anchors?: readonly TestCertificate[]
  readonly now?: number
  readonly leafSigns?: boolean
}
const requestFor = ({ leaf, sent = [research], anchors = [root], now = NOW, leafSigns = true }: World): PathRequest => ({
  leaf: leaf.certificate,
  intermediates: sent.map(({ certificate }) => certificate),
  anchors: anchors.map(({ certificate }) => certificate),
  now,
  leafSigns,
})
const find = (world: World): PathResult => findPath(requestFor(world))
const moon = (options: Partial<CertificateOptions> = {}): TestCertificate =>
  makeCertificate({ subject: 'C=CH, O=strongSwan, CN=moon', issuer: research, serial: 0x1a, ...options })

function assertHolds(world: World, ...expected: readonly TestCertificate[]): void {
  const result = find(world)
  assert(result.ok, result.ok ? '' : result.reason.sentence)
  assert.deepEqual(
    result.path.map(subjectOf),
    expected.map(({ certificate }) => subjectOf(certificate)),
  )
  assert.deepEqual(
    result.path.map(({ fingerprint }) => fingerprint),
    expected.map(({ certificate }) => certificate.fingerprint),
  )
}
function assertFails(world: World, code: PathFailureCode, sentence: string | RegExp): void {
  const result = find(world)
  assert(!result.ok, 'the path holds')
  assert.equal(result.reason.code, code, result.reason.sentence)
  if (typeof sentence === 'string') assert.equal(result.reason.sentence, sentence)
  else assert.match(result.reason.sentence, sentence)
}

const MOON = "certificate 'C=CH, O=strongSwan, CN=moon' (serial 1a)"

test('a chain of each kind of key holds, from the leaf to the anchor', () => {
  const types: TestKeyType[] = ['rsa-1024', 'rsa-2048', 'p256', 'p384', 'p521', 'ed25519', 'ed448']
  for (const key of types) {
    const anchor = makeCa(`CN=Root ${key}`, { key })
    const between = makeCa(`CN=Sub ${key}`, { key, issuer: anchor })
    const leaf = makeCertificate({ subject: `CN=leaf ${key}`, key, issuer: between })
    assertHolds({ leaf, sent: [between], anchors: [anchor] }, leaf, between, anchor)
  }
  const pss = makeCa('CN=PSS', { key: 'rsa-2048', scheme: { key: 'rsa', hash: 'sha384', pss: true, saltLength: 100 } })
  const leaf = moon({ issuer: pss, scheme: { key: 'rsa', hash: 'sha256', pss: true } })
  assertHolds({ leaf, anchors: [pss] }, leaf, pss)
})

test('every refusal is one sentence that names the certificate and says why', () => {
  assertFails({ leaf: moon({ notAfter: Date.UTC(2025, 11, 31, 23, 59, 59) }) }, 'EXPIRED', `${MOON} expired on 2025-12-31 23:59:59 UTC`)
  assertFails({ leaf: moon({ notBefore: Date.UTC(2027, 0, 1) }) }, 'NOT_YET_VALID', `${MOON} is not valid before 2027-01-01 00:00:00 UTC`)
  assertFails({ leaf: moon(), sent: [] }, 'NO_ISSUER', `${MOON} has no issuer that is known: 'C=CH, O=strongSwan, OU=Research, CN=Research CA' is neither loaded nor sent`)
  assertFails({ leaf: makeCertificate({ subject: 'CN=alone', serial: 1 }) }, 'SELF_SIGNED', "certificate 'CN=alone' (serial 01) is self-signed and not trusted")
  assertFails({ leaf: moon({ signer: keyPair('p256', 'a forger') }) }, 'BAD_SIGNATURE', `${MOON} was not signed by the key of its issuer 'C=CH, O=strongSwan, OU=Research, CN=Research CA'`)
  assertFails({ leaf: moon({ unknownCritical: true }) }, 'UNKNOWN_CRITICAL', `${MOON} has the critical extension 1.3.6.1.4.1.99999.1, which is unknown`)
  assertFails({ leaf: moon({ key: 'rsa-768' }) }, 'WEAK_KEY', `${MOON} has a weak key: RSA of 768 bits, less than 1024`)
  assertFails({ leaf: moon({ keyUsage: KeyUsage.KEY_ENCIPHERMENT }) }, 'KEY_USAGE', `${MOON} may not sign: its keyUsage has neither digitalSignature nor nonRepudiation`)
  const noCa = makeCertificate({ subject: 'CN=no CA', issuer: root, serial: 2 })
  assertFails({ leaf: moon({ issuer: noCa }), sent: [noCa] }, 'NOT_A_CA', `certificate 'CN=no CA' (serial 02) is no CA and issued ${MOON}`)
  const crlOnly = makeCa('CN=CRL only', { issuer: root, serial: 3, keyUsage: KeyUsage.CRL_SIGN })
  assertFails({ leaf: moon({ issuer: crlOnly }), sent: [crlOnly] }, 'KEY_USAGE', "certificate 'CN=CRL only' (serial 03) may not sign certificates: its keyUsage lacks keyCertSign")
  const last = makeCa('CN=last', { issuer: root, serial: 4, pathLength: 0 })
  const further = makeCa('CN=further', { issuer: last })
  assertFails({ leaf: moon({ issuer: further }), sent: [last, further] }, 'PATH_TOO_LONG', "certificate 'CN=last' (serial 04) allows 0 CAs between it and the end of a path, and there are 1")
  const md5 = makeCa('CN=MD5', { key: 'rsa-1024' })
  assertFails({ leaf: moon({ issuer: md5, scheme: 'md5' }), anchors: [md5] }, 'WEAK_HASH', `${MOON} is signed with MD5, which can be forged`)
}) // prettier-ignore

test('a certificate of an algorithm nobody knows is refused by its number', () => {
  const der = Buffer.from(moon().der)
  for (let at = der.indexOf(Buffer.from('2a8648ce3d040302', 'hex')); at >= 0; at = der.indexOf(Buffer.from('2a8648ce3d040302', 'hex'), at + 1)) der[at + 7] = 9 // prettier-ignore
  const leaf = Object.assign(moon(), { der })
  assertFails({ leaf }, 'UNKNOWN_ALGORITHM', `${MOON} is signed with the algorithm 1.2.840.10045.4.3.9, which is unknown`)
})

test('CAs and anchors are held to the rules, too', () => {
  const past = { notBefore: Date.UTC(2010, 0, 1), notAfter: Date.UTC(2020, 0, 1) }
  for (const [options, code] of [
    [past, 'EXPIRED'],
    [{ unknownCritical: true }, 'UNKNOWN_CRITICAL'],
    [{ ca: false }, 'NOT_A_CA'],
    [{ key: 'rsa-512' }, 'WEAK_KEY'],
    [{ keyUsage: KeyUsage.CRL_SIGN }, 'KEY_USAGE'],
  ] as const) {
    // prettier-ignore
    const between = makeCa('CN=between', { issuer: root, ...options })
    const leaf = moon({ issuer: between })
    assertFails({ leaf, sent: [between] }, code, /'CN=between'/)
    const anchor = makeCa('CN=anchor', options)
    assertFails({ leaf: moon({ issuer: anchor }), sent: [], anchors: [anchor] }, code, /'CN=anchor'/)
  }
  const short = makeCa('CN=short', { pathLength: 0 })
  const between = makeCa('CN=between', { issuer: short })
  assertFails({ leaf: moon({ issuer: between }), sent: [between], anchors: [short] }, 'PATH_TOO_LONG', /'CN=short'/)
  assert(find({ leaf: moon({ issuer: short }), anchors: [short] }).ok)
})

test('the last second of a certificate is its own', () => {
  const leaf = moon({ notBefore: NOW, notAfter: NOW + 5000 })
  for (const now of [NOW, NOW + 5000, NOW + 5999]) assert(find({ leaf, now }).ok, String(now - NOW))
  assertFails({ leaf, now: NOW - 1 }, 'NOT_YET_VALID', /is not valid before 2026-06-01 00:00:00 UTC/)
  assertFails({ leaf, now: NOW + 6000 }, 'EXPIRED', /expired on 2026-06-01 00:00:05 UTC/)
})

test('signing is asked of the leaf of an IKE peer only, and nonRepudiation is as good', () => {
  const leaf = moon({ keyUsage: KeyUsage.KEY_ENCIPHERMENT })
  assert(find({ leaf, leafSigns: false }).ok)
  for (const keyUsage of [KeyUsage.DIGITAL_SIGNATURE, KeyUsage.NON_REPUDIATION]) assert(find({ leaf: moon({ keyUsage }) }).ok)
})

test('SHA-1 in a chain passes, as it does for strongSwan: constraints of the connection refuse it', () => {
  const leaf = moon({ scheme: { key: 'ecdsa', hash: 'sha1', pss: false } })
  assertHolds({ leaf }, leaf, research, root)
})

test('only a self-signed anchor ends a path; a trusted CA below it is a link', () => {
  assertFails({ leaf: moon(), sent: [], anchors: [research] }, 'NO_ISSUER', /'C=CH, O=strongSwan, OU=Research, CN=Research CA' .* 'C=CH, O=strongSwan, CN=Root' is neither/)
  const leaf = moon()
  assertHolds({ leaf, sent: [], anchors: [research, root] }, leaf, research, root)
}) // prettier-ignore

test('a leaf that is an anchor is its own path', () => {
  const alone = makeCertificate({ subject: 'CN=alone' })
  assertHolds({ leaf: alone, anchors: [alone] }, alone)
  const weak = makeCertificate({ subject: 'CN=weak', key: 'rsa-512', serial: 1 })
  assertFails({ leaf: weak, anchors: [weak] }, 'WEAK_KEY', /'CN=weak'/)
})

test('another CA of the same name is not the issuer', () => {
  const impostor = makeCa('C=CH, O=strongSwan, CN=Root', { key: 'p384' })
  // Told apart by key identifiers, or where there are none by the signature.
  assertFails({ leaf: moon(), anchors: [impostor] }, 'NO_ISSUER', /CN=Research CA' .* has no issuer that is known/)
  const bare = makeCa('C=CH, O=strongSwan, CN=Root', { key: 'p384', keyIds: false })
  assertFails({ leaf: moon(), anchors: [bare] }, 'BAD_SIGNATURE', /CN=Research CA' .* was not signed by the key of its issuer/)
  // Both at hand: the right one is found, in either order.
  const leaf = moon()
  for (const anchors of [[bare, root, impostor], [root, bare]]) assertHolds({ leaf, anchors }, leaf, research, root) // prettier-ignore
})

test('where a path fails another one is tried: renewed CAs and cross certificates', () => {
  const expired = makeCa('C=CH, O=strongSwan, OU=Research, CN=Research CA', { issuer: root, notAfter: NOW - 1000, serial: 7 })
  const leaf = moon()
  assertHolds({ leaf, sent: [expired, research] }, leaf, research, root)
  // The root's key, certified by another root that is trusted.
  const other = makeCa('CN=Other Root')
  const cross = makeCa('C=CH, O=strongSwan, CN=Root', { key: root.key, issuer: other })
  assertHolds({ leaf, sent: [research, root, cross], anchors: [other] }, leaf, research, cross, other)
  assertHolds({ leaf, sent: [cross, research], anchors: [other, root] }, leaf, research, root)
  const all = [...paths(requestFor({ leaf, sent: [cross, research], anchors: [other, root] }))]
  assert.deepEqual(
    all.map((result) => (result.ok ? result.path.length : 0)),
    [3, 4],
  )
})

test('the failure that is told is that of the path that came furthest', () => {
  const expired = makeCa('C=CH, O=strongSwan, OU=Research, CN=Research CA', { issuer: root, notAfter: NOW - 1000, serial: 7 })
  const lost = makeCa('C=CH, O=strongSwan, OU=Research, CN=Research CA', {
    issuer: makeCa('CN=unknown'),
    serial: 8,
    key: research.key,
  })
  for (const sent of [[lost, expired], [expired, lost]]) assertFails({ leaf: moon(), sent }, 'EXPIRED', /\(serial 07\) expired/) // prettier-ignore
})

test('CAs that certify each other lead nowhere, and not for ever', () => {
  const a = makeCa('CN=A')
  const b = makeCa('CN=B')
  const aByB = makeCa('CN=A', { issuer: b, key: a.key })
  const bByA = makeCa('CN=B', { issuer: a, key: b.key })
  assertFails({ leaf: moon({ issuer: a }), sent: [aByB, bByA], anchors: [root] }, 'NO_ISSUER', /is neither loaded nor sent/)
})

test('a search among many CAs of one name ends', () => {
  const above = makeCa('CN=one of many')
  const many = Array.from({ length: 60 }, (_, i) =>
    makeCa('CN=one of many', { issuer: above, serial: i + 1, keyIds: false, key: keyPair('p256', `one of many ${i}`) }),
  )
  const leaf = moon({ issuer: many[0]!, keyIds: false })
  const found = [...paths({ ...requestFor({ leaf, sent: many }), verifySignature: () => assert.fail('no path has an anchor') })]
  assert(found.length < 200, `${found.length} results`)
  const sentences = found.map((result) => (result.ok ? '' : result.reason.sentence))
  assert.equal(sentences.at(-1), `${MOON} has more possible issuers than we try (128)`)
})

test('strangers cost no more verifications than there are steps of a search', () => {
  // Sixty CAs that say they are of the root, none of which is: each is one verification with the root's key, and none with theirs.
  const forged = Array.from({ length: 60 }, (_, i) => makeCa('CN=forged', { issuer: root, serial: i + 1, signer: keyPair('p256', 'a forger') }))
  const tried: string[] = []
  const request = requestFor({ leaf: moon({ issuer: forged[0]!, keyIds: false }), sent: forged })
  const result = findPath({ ...request, verifySignature: (subject) => (tried.push(subjectOf(subject)), false) })
  assert(!result.ok && result.reason.code === 'BAD_SIGNATURE')
  assert.deepEqual([tried.length, new Set(tried)], [60, new Set(['CN=forged'])])
}) // prettier-ignore

test('a path has at most seven CAs between leaf and anchor, as in strongSwan', () => {
  const chain = [root]
  for (let i = 1; i <= 8; i++) chain.push(makeCa(`CN=CA ${i}`, { issuer: chain.at(-1)! }))
  const seven = moon({ issuer: chain[7]! })
  assert(find({ leaf: seven, sent: chain.slice(1) }).ok)
  assertFails({ leaf: moon({ issuer: chain[8]! }), sent: chain.slice(1) }, 'PATH_TOO_LONG', `${MOON} is more than 8 certificates away from a trusted CA`)
}) // prettier-ignore

test('a CA that renews its own key does not count against path lengths (RFC 5280 4.2.1.9)', () => {
  const top = makeCa('CN=top', { issuer: root, pathLength: 1 })
  const renewed = makeCa('CN=top', { issuer: top, key: keyPair('p256', 'renewed') })
  const below = makeCa('CN=below', { issuer: renewed })
  const leaf = moon({ issuer: below })
  assertHolds({ leaf, sent: [top, renewed, below] }, leaf, below, renewed, top, root)
})

test('names are compared without regard to case, spaces and string types', () => {
  const utf8 = (text: string): Uint8Array => encodeSequence(encodeElement(0x31, encodeSequence(encodeOid('2.5.4.3'), encodeElement(0x0c, Buffer.from(text))))) // prettier-ignore
  const anchor = makeCa('CN=My Root')
  const leaf = makeCertificate({ subject: 'CN=x', issuer: Object.assign(makeCa('CN=My Root'), { name: utf8('  my   ROOT') }), keyIds: false })
  assert(isIssuedBy(leaf.certificate, anchor.certificate))
  const other = makeCertificate({ subject: 'CN=x', issuer: Object.assign(makeCa('CN=My Root'), { name: utf8('my roots') }), keyIds: false })
  assert(!isIssuedBy(other.certificate, anchor.certificate))
}) // prettier-ignore

test('self-signed is what its own key signed', () => {
  assert(isSelfSigned(root.certificate))
  assert(!isSelfSigned(research.certificate))
  assert(!isSelfSigned(makeCa('CN=forged', { signer: keyPair('p256', 'a forger') }).certificate))
})

// -- name constraints ----------------------------------------------------------------------------------------------

/** Whether a leaf with `san` holds below a CA with these constraints. */
function namesHold(san: string, constraints: { permitted?: string[]; excluded?: string[] }): boolean {
  const ca = makeCa('CN=constrained', { issuer: root, nameConstraints: constraints })
  return find({ leaf: makeCertificate({ subject: new Uint8Array([0x30, 0]), issuer: ca, san: [san] }), sent: [ca] }).ok
}

test('names are within a constraint or not', () => {
  const within: [name: string, constraint: string, isWithin: boolean][] = [
    ['dns:example.org', 'dns:example.org', true],
    ['dns:moon.example.org', 'dns:example.org', true],
    ['dns:MOON.Example.ORG', 'dns:eXample.org', true],
    ['dns:badexample.org', 'dns:example.org', false],
    ['dns:example.org', 'dns:.example.org', false],
    ['dns:moon.example.org', 'dns:.example.org', true],
    ['dns:anything', 'dns:', true],
    ['email:carol@example.org', 'email:example.org', true],
    ['email:carol@moon.example.org', 'email:example.org', false],
    ['email:carol@moon.example.org', 'email:.example.org', true],
    ['email:carol@example.org', 'email:.example.org', false],
    ['email:Carol@Example.org', 'email:carol@example.org', true],
    ['email:dave@example.org', 'email:carol@example.org', false],
    ['email:carol@example.org', 'email:@example.org', true],
    ['email:"a@b"@evil.org', 'email:example.org', false],
    ['ip:10.1.2.3', 'ip:10.0.0.0/8', true],
    ['ip:11.1.2.3', 'ip:10.0.0.0/8', false],
    ['ip:10.1.2.3', 'ip:10.1.2.3/32', true],
    ['ip:2001:db8::1', 'ip:2001:db8::/32', true],
    ['ip:2001:db9::1', 'ip:2001:db8::/32', false],
    ['ip:2001:db8::1', 'ip:0.0.0.0/0', false],
    ['uri:https://moon.example.org/a', 'uri:moon.example.org', true],
    ['uri:https://user:pass@moon.example.org:8443/?q#f', 'uri:moon.example.org', true],
    ['uri:https://evil.org/@moon.example.org', 'uri:moon.example.org', false],
    ['uri:https://moon.example.org/a', 'uri:example.org', false],
    ['uri:https://moon.example.org/a', 'uri:.example.org', true],
    ['dn:C=CH, O=strongSwan, CN=x', 'dn:C=CH, O=strongSwan', true],
    ['dn:C=ch, O=STRONGSWAN', 'dn:C=CH, O=strongSwan', true],
    ['dn:C=CH', 'dn:C=CH, O=strongSwan', false],
    ['dn:O=strongSwan, C=CH', 'dn:C=CH', false],
  ]
  for (const [name, constraint, isWithin] of within) {
    assert.equal(namesHold(name, { permitted: [constraint] }), isWithin, `${name} permitted ${constraint}`)
    assert.equal(namesHold(name, { excluded: [constraint] }), !isWithin, `${name} excluded ${constraint}`)
    // A constraint of one form says nothing of the others.
    const others = ['dns:a', 'email:a@b', 'ip:10.9.9.9', 'dn:C=XX'].filter((other) => other.split(':')[0] !== name.split(':')[0])
    for (const other of others) assert(namesHold(other, { permitted: [constraint] }), `${other} beside ${constraint}`)
  }
})

test('a name that a constraint cannot be applied to is refused', () => {
  for (const [name, constraint] of [
    ['uri:https://192.0.2.1/', 'uri:example.org'],
    ['uri:https://[2001:db8::1]/', 'uri:example.org'],
    ['uri:urn:a:b', 'uri:example.org'],
    ['email:carol', 'email:example.org'],
    ['dns:evil.org\0.example.org', 'dns:example.org'],
    ['upn:carol@x', 'upn:carol@x'],
    ['rid:1.2.3', 'rid:1.2'],
  ]) {
    // prettier-ignore
    assert(!namesHold(name!, { permitted: [constraint!] }), `${name} permitted ${constraint}`)
    assert(!namesHold(name!, { excluded: [constraint!] }), `${name} excluded ${constraint}`)
  }
})

test('the subject and its e-mail address are names, too, and every CA above has its say', () => {
  const swiss = makeCa('C=CH, CN=Swiss', { issuer: root, nameConstraints: { permitted: ['dn:C=CH', 'email:example.org'] } })
  const inner = makeCa('C=CH, CN=Inner', { issuer: swiss, nameConstraints: { excluded: ['dn:C=CH, O=Evil'] } })
  const below = (subject: string): World => ({ leaf: makeCertificate({ subject, issuer: inner, serial: 1 }), sent: [swiss, inner] })
  assert(find(below('C=CH, CN=x')).ok)
  assertFails(below('C=DE, CN=x'), 'NAME_CONSTRAINT', "certificate 'C=DE, CN=x' (serial 01) has the name of its subject or a directoryName, which is not permitted below 'C=CH, CN=Swiss'")
  assertFails(below('C=CH, O=evil, CN=x'), 'NAME_CONSTRAINT', /which is excluded below 'C=CH, CN=Inner'/)
  assert(find(below('C=CH, CN=x, E=carol@example.org')).ok)
  assertFails(below('C=CH, CN=x, E=carol@evil.org'), 'NAME_CONSTRAINT', /has the name 'carol@evil\.org', which is not permitted/)
  const foreign = makeCa('C=DE, CN=Foreign', { issuer: swiss })
  assertFails({ leaf: moon({ issuer: foreign }), sent: [swiss, foreign] }, 'NAME_CONSTRAINT', /'C=DE, CN=Foreign'/)
}) // prettier-ignore

test('the work of comparing names is bounded', () => {
  const many = (kind: string): string[] => Array.from({ length: 1000 }, (_, i) => `dns:${kind}${i}`)
  const ca = makeCa('CN=many', { issuer: root, nameConstraints: { excluded: many('a') } })
  assertFails({ leaf: moon({ issuer: ca, san: many('b') }), sent: [ca] }, 'NAME_CONSTRAINT', `${MOON} has more names and constraints than we compare`)
}) // prettier-ignore

// -- policies ------------------------------------------------------------------------------------------------------

test('a policy that is required has to come down the whole path', () => {
  const strict = makeCa('CN=strict', { issuer: root, requireExplicitPolicy: 0, policies: ['1.2.3', '1.2.4'] })
  assertFails({ leaf: moon({ issuer: strict }), sent: [strict] }, 'POLICY', `${MOON} has no policy that its issuer 'CN=strict' holds, and one is required`)
  assertFails({ leaf: moon({ issuer: strict, policies: ['1.2.5'] }), sent: [strict] }, 'POLICY', /has no policy/)
  const result = find({ leaf: moon({ issuer: strict, policies: ['1.2.3', '1.2.5'] }), sent: [strict] })
  assert(result.ok)
  assert.deepEqual(result.policies, ['1.2.3'])
}) // prettier-ignore

test('policies are mapped, unless that is inhibited; anyPolicy holds any, unless that is', () => {
  const policiesOf = (caOptions: Partial<CertificateOptions>, leafPolicies: string[], above: Partial<CertificateOptions> = {}): readonly string[] | string => {
    const top = makeCa('CN=top', { issuer: root, policies: ['1.2.3', '2.5.29.32.0'], ...above })
    const ca = makeCa('CN=sub', { issuer: top, ...caOptions })
    const result = find({ leaf: moon({ issuer: ca, policies: leafPolicies }), sent: [top, ca] })
    return result.ok ? result.policies : result.reason.code
  }
  const mapping = { policies: ['1.2.3'], policyMappings: [['1.2.3', '1.9.9']] } as const
  assert.deepEqual(policiesOf(mapping, ['1.9.9', '1.2.3']), ['1.9.9'])
  assert.deepEqual(policiesOf(mapping, ['1.9.9', '1.2.3'], { inhibitPolicyMapping: 0 }), [])
  assert.equal(policiesOf(mapping, ['1.9.9'], { inhibitPolicyMapping: 0, requireExplicitPolicy: 0 }), 'POLICY')
  assert.deepEqual(policiesOf({ policies: ['2.5.29.32.0'] }, ['1.7.7']), ['1.7.7'])
  assert.deepEqual(policiesOf({ policies: ['2.5.29.32.0'] }, ['1.7.7'], { inhibitAnyPolicy: 0 }), [])
  assert.equal(policiesOf({ policies: ['1.2.3'], policyMappings: [['2.5.29.32.0', '1.2.3']] }, ['1.2.3']), 'POLICY')
  // Without policies a CA hands none on; that matters only where one is required.
  assert.deepEqual(policiesOf({}, ['1.2.3']), [])
}) // prettier-ignore

test("the anchor's policies bound those of the leaf, and its constraints count, as in strongSwan", () => {
  const strict = makeCa('CN=strict', { requireExplicitPolicy: 0 })
  assertFails({ leaf: moon({ issuer: strict }), anchors: [strict] }, 'POLICY', /one is required/)
  const bounded = makeCa('CN=bounded', { policies: ['1.2.3'] })
  const result = find({ leaf: moon({ issuer: bounded, policies: ['1.2.3', '1.2.4'] }), anchors: [bounded] })
  assert(result.ok)
  assert.deepEqual(result.policies, ['1.2.3'])
})
