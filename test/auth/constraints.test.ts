import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  inOrderOf,
  isAllowed,
  isPublicKeyMethod,
  NO_CONSTRAINTS,
  parseConstraints,
  rulesForAuth,
  strengthRefusal,
} from '../../src/auth/constraints.ts'

const PLAIN = { rsaPss: false, signatureAuthenticationConstraints: true }
const PSS = { ...PLAIN, rsaPss: true }
const rsa = (hash: string, pss = false) => ({ key: 'rsa', hash, pss }) as const
const ecdsa = (hash: string) => ({ key: 'ecdsa', hash, pss: false }) as const
const ED25519 = { key: 'ed25519', hash: 'identity', pss: false } as const

test('what auth can say of public keys, and what is another method', () => {
  for (const text of ['pubkey', 'rsa', 'ecdsa-256', 'rsa/pss-sha256', 'ike:pubkey-sha512', 'ed25519', 'ed448'])
    assert.ok(isPublicKeyMethod(text), text)
  for (const text of ['psk', 'eap-tls', 'xauth', '', 'PUBKEY', 'constructor']) assert.ok(!isPublicKeyMethod(text), text)
})

test('pubkey alone asks for nothing', () => {
  for (const text of ['pubkey', 'rsa', 'ecdsa']) assert.deepEqual(parseConstraints(text), NO_CONSTRAINTS)
  assert.equal(isAllowed([], rsa('sha1'), PLAIN), true)
  assert.equal(strengthRefusal(NO_CONSTRAINTS, [{ type: 'rsa', bits: 512 }]), null)
})

test('a hash counts for the keys it follows', () => {
  const { chain } = parseConstraints('rsa-2048-sha256-ecdsa-256-sha384')
  assert.equal(isAllowed(chain, rsa('sha256'), PLAIN), true)
  assert.equal(isAllowed(chain, rsa('sha384'), PLAIN), false)
  assert.equal(isAllowed(chain, ecdsa('sha384'), PLAIN), true)
  assert.equal(isAllowed(chain, ecdsa('sha256'), PLAIN), false)
  const any = parseConstraints('pubkey-sha256-identity').chain
  assert.equal(isAllowed(any, rsa('sha256'), PLAIN), true)
  assert.equal(isAllowed(any, ecdsa('sha256'), PLAIN), true)
  assert.equal(isAllowed(any, ED25519, PLAIN), true)
  assert.equal(isAllowed(any, ecdsa('sha512'), PLAIN), false)
})

test('PSS is asked for by rsa/pss, and meant by every hash with charon.rsa_pss', () => {
  const pss = parseConstraints('rsa/pss-sha256').chain
  assert.equal(isAllowed(pss, rsa('sha256', true), PLAIN), true)
  assert.equal(isAllowed(pss, rsa('sha256'), PLAIN), false)
  assert.deepEqual(parseConstraints('rsa-pss-sha256'), parseConstraints('rsa/pss-sha256'))
  assert.deepEqual(parseConstraints('pubkey-sha256-rsa-pss'), parseConstraints('pubkey-sha256'))
  const plain = parseConstraints('pubkey-sha256').chain
  assert.equal(isAllowed(plain, rsa('sha256', true), PLAIN), false)
  assert.equal(isAllowed(plain, rsa('sha256', true), PSS), true)
})

test('keys that are too weak, or of a type without a figure, are refused in strongSwan’s words', () => {
  const constraints = parseConstraints('rsa-3072-ecdsa-384')
  assert.equal(strengthRefusal(constraints, [{ type: 'rsa', bits: 3072 }]), null)
  assert.equal(strengthRefusal(constraints, [{ type: 'rsa', bits: 2048 }]), 'RSA-2048 signatures not acceptable')
  assert.equal(
    strengthRefusal(constraints, [
      { type: 'ecdsa', bits: 384 },
      { type: 'ecdsa', bits: 256 },
    ]),
    'ECDSA-256 signatures not acceptable',
  )
  assert.equal(
    strengthRefusal(parseConstraints('rsa-2048'), [{ type: 'ecdsa', bits: 521 }]),
    'ECDSA-521 signatures not acceptable',
  )
  assert.equal(strengthRefusal(parseConstraints('rsa-2048'), [{ type: 'ed25519', bits: 256 }]), null)
  assert.equal(parseConstraints('rsa-4096-rsa-2048').rsaBits, 2048)
})

test('AUTH keeps the rules of the certificates unless it has its own, or strongswan.conf says otherwise', () => {
  const shared = parseConstraints('pubkey-sha384')
  assert.deepEqual(rulesForAuth(shared, PLAIN), shared.chain)
  assert.deepEqual(rulesForAuth(shared, { ...PLAIN, signatureAuthenticationConstraints: false }), [])
  const own = parseConstraints('pubkey-sha384-ike:ecdsa-sha256')
  assert.deepEqual(own.chain, [{ key: null, hash: 'sha384', pss: false }])
  assert.deepEqual(rulesForAuth(own, PLAIN), [{ key: 'ecdsa', hash: 'sha256', pss: false }])
})

test('we sign with the first that is wanted', () => {
  const possible = [rsa('sha256'), rsa('sha384'), rsa('sha512'), rsa('sha256', true)]
  const wanted = (text: string, settings = PLAIN): readonly object[] =>
    inOrderOf(rulesForAuth(parseConstraints(text), settings), possible, settings)
  assert.deepEqual(wanted('ike:rsa-sha512-sha256'), [possible[2], possible[0]])
  assert.deepEqual(wanted('ike:rsa/pss-sha256-ike:rsa-sha256'), [possible[3], possible[0]])
  assert.deepEqual(wanted('pubkey'), possible)
  assert.deepEqual(wanted('ecdsa-sha256'), [])
})

test('a word that is none is named, not ignored', () => {
  assert.throws(() => parseConstraints('pubkey-sha256-pss'), { code: 'VALUE_INVALID', message: /'pss'/ })
  assert.throws(() => parseConstraints('pubkey-2048'), { code: 'VALUE_INVALID', message: /'2048'/ })
  assert.throws(() => parseConstraints('sha256'), { code: 'VALUE_INVALID', message: /'sha256' is no type of key/ })
  assert.throws(() => parseConstraints('rsa/pss-identity'), { code: 'VALUE_INVALID' })
  assert.throws(
    () => parseConstraints(`rsa-${'x'.repeat(5000)}`),
    (error: Error) => error.message.length < 200,
  )
})
