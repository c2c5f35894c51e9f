import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { toHex } from '../../src/base/bytes.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { encodeOcspRequest, OCSP_BYTES_MAX, readOcspAnswer } from '../../src/pki/ocsp.ts'
import { makeCa, makeCertificate } from '../support/pki.ts'
import { HOUR, makeOcspAnswer, makeOcspRefusal, nonceOf, NOW, OCSP_SIGNING } from '../support/revocation.ts'

const ca = makeCa('CN=CA')
const certificate = makeCertificate({ subject: 'CN=x', issuer: ca, serial: 0x80 })
const delegate = makeCertificate({ subject: 'CN=OCSP', issuer: ca, extendedKeyUsage: [OCSP_SIGNING] })
const about = (bytes: Uint8Array) => readOcspAnswer(bytes).find(certificate.certificate, ca.certificate)

function refusal(act: () => unknown): EspalierError {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof EspalierError, String(error))
    return error
  }
  return assert.fail('it was read')
}

test('an answer says what it says of a certificate by the name and the key of its issuer and its serial number', () => {
  const answer = { certificate, issuer: ca }
  const times = { thisUpdate: NOW - HOUR, nextUpdate: NOW + HOUR }
  const found = about(makeOcspAnswer(answer))!
  assert.deepEqual([found.status, found.revocation, found.thisUpdate, found.nextUpdate], ['good', null, ...Object.values(times)])
  const revoked = about(makeOcspAnswer({ ...answer, status: 'revoked', revokedAt: NOW - HOUR, reason: 6 }))!
  assert.deepEqual(revoked.revocation, { at: NOW - HOUR, reason: 6 })
  assert.equal(about(makeOcspAnswer({ ...answer, status: 'unknown' }))!.status, 'unknown')
  assert.equal(about(makeOcspAnswer({ ...answer, certificate: delegate })), null)
  assert.equal(about(makeOcspAnswer({ ...answer, issuer: makeCa('CN=other'), signer: ca })), null)
  // The same name, another key; and the other way round.
  assert.equal(about(makeOcspAnswer({ ...answer, issuer: makeCa('CN=CA', { key: 'p384' }), signer: ca })), null)
  assert.equal(about(makeOcspAnswer({ ...answer, issuer: makeCa('CN=other', { key: ca.key }), signer: ca })), null)
})

test('an answer that does not say how long it holds holds thirty seconds from when it was made', () => {
  const found = about(makeOcspAnswer({ certificate, issuer: ca, producedAt: NOW, nextUpdate: null }))!
  assert.equal(found.nextUpdate, NOW + 30_000)
})

test('the signer is named by name or key, and its certificate may come along', () => {
  const named = readOcspAnswer(makeOcspAnswer({ certificate, issuer: ca, signer: delegate }))
  assert.equal('name' in named.responder && toHex(named.responder.name), toHex(delegate.name))
  assert.deepEqual(
    named.certificates.map(({ fingerprint }) => fingerprint),
    [delegate.certificate.fingerprint],
  )
  const byKey = readOcspAnswer(makeOcspAnswer({ certificate, issuer: ca, byKey: true }))
  assert.equal('keyHash' in byKey.responder && toHex(byKey.responder.keyHash), toHex(ca.certificate.publicKey.fingerprint))
  assert.deepEqual(byKey.certificates, [])
})

test('the nonce of a request comes back as it was', () => {
  const nonce = Uint8Array.from({ length: 32 }, (_, i) => i)
  const request = encodeOcspRequest(certificate.certificate, ca.certificate, nonce)
  assert.equal(toHex(nonceOf(request)), toHex(nonce))
  assert.equal(toHex(readOcspAnswer(makeOcspAnswer({ certificate, issuer: ca, nonce })).nonce!), toHex(nonce))
  assert.equal(readOcspAnswer(makeOcspAnswer({ certificate, issuer: ca })).nonce, null)
})

test('refusals are told by name', () => {
  for (const [status, name] of [
    [1, 'it calls our request malformed'],
    [2, 'internal error'],
    [3, 'try later'],
    [5, 'it wants requests to be signed'],
    [6, 'it is not allowed to answer about this certificate'],
    [4, 'status 4'],
  ] as const) {
    const error = refusal(() => readOcspAnswer(makeOcspRefusal(status)))
    assert.deepEqual([error.code, error.message], ['OCSP_REFUSED', `the OCSP responder refuses to answer: ${name}`])
  }
})

test('what is malformed or too much is refused', () => {
  const whole = makeOcspAnswer({ certificate, issuer: ca, signer: delegate })
  assert.match(refusal(() => readOcspAnswer(whole.subarray(1))).message, /^the OCSP answer is malformed: at byte \d+: /)
  assert.match(refusal(() => readOcspAnswer(new Uint8Array(OCSP_BYTES_MAX + 1))).message, /more than the 1048576 bytes/)
  const many = makeOcspAnswer({ certificate, issuer: ca, certificates: Array.from({ length: 9 }, () => delegate) })
  assert.match(refusal(() => readOcspAnswer(many)).message, /it brings more than 8 certificates$/)
  assert.equal(
    refusal(() => readOcspAnswer(makeOcspAnswer({ certificate, issuer: ca, unknownCritical: true }))).code,
    'OCSP_UNSUPPORTED',
  )
})

test('hostile: nothing but an EspalierError comes of bytes that were changed, cut or put in', () => {
  const nonce = Buffer.alloc(32, 1)
  const whole = makeOcspAnswer({ certificate, issuer: ca, signer: delegate, status: 'revoked', reason: 1, nonce })
  const change = fc.record({
    at: fc.nat(whole.length - 1),
    with: fc.uint8Array({ maxLength: 4 }),
    instead: fc.nat(4),
    cut: fc.option(fc.nat(whole.length)),
  })
  const read = (bytes: Uint8Array): void => {
    try {
      about(bytes)
    } catch (error) {
      assert.ok(error instanceof EspalierError, String(error))
    }
  }
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      let bytes: Uint8Array = whole
      for (const { at, with: put, instead, cut } of changes)
        bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + instead)]).subarray(0, cut ?? undefined)
      read(bytes)
    }),
    { numRuns: 10_000 },
  )
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 0x30, 0x80, 0xff, whole[at]! ^ 1]) {
      const bytes = Uint8Array.from(whole)
      bytes[at] = value
      read(bytes)
    }
  }
})
