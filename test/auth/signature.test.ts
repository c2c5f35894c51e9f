import assert from 'node:assert/strict'
import { test } from 'node:test'

import { NO_CONSTRAINTS, parseConstraints } from '../../src/auth/constraints.ts'
import {
  hashesAllowed,
  isSignatureMethod,
  ownSchemes,
  readAuthSignature,
  readHashAlgorithms,
  signedOctets,
  SUPPORTED_HASHES,
  writeAuthSignature,
  writeHashAlgorithms,
} from '../../src/auth/signature.ts'
import { concatBytes } from '../../src/base/bytes.ts'
import { createPrf } from '../../src/crypto/prf.ts'
import { readPublicKey, verify } from '../../src/crypto/public-key.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { schemeName } from '../../src/crypto/signature-scheme.ts'
import { AuthMethod } from '../../src/iana/ikev2.ts'
import { PrfId } from '../../src/iana/transforms.ts'
import { keyPair, type TestKeyType } from '../support/pki.ts'

const SETTINGS = { rsaPss: false, signatureAuthenticationConstraints: true }
const ALL = new Set(SUPPORTED_HASHES)
const publicKey = (type: TestKeyType) => readPublicKey(keyPair(type).spki)
const names = (type: TestKeyType, hashes: ReadonlySet<number> | null = ALL, auth = 'pubkey', settings = SETTINGS): string[] =>
  ownSchemes(publicKey(type), hashes, parseConstraints(auth), settings).map(({ scheme }) => schemeName(scheme))

test('SIGNATURE_HASH_ALGORITHMS: two octets each, what is not known and half a number is passed over', () => {
  assert.deepEqual([...readHashAlgorithms(Uint8Array.of(0, 1, 0, 2, 0, 4, 0, 99, 0))], [2, 4])
  assert.deepEqual([...readHashAlgorithms(writeHashAlgorithms([2, 3, 5]))], [2, 3, 5])
  assert.equal(readHashAlgorithms(new Uint8Array()).size, 0)
})

test('what a peer may sign with is what the rounds allow, all if one does not say', () => {
  const round = (auth: string) => ({ constraints: parseConstraints(auth) })
  assert.deepEqual(hashesAllowed([round('pubkey-sha384'), round('ike:rsa/pss-sha256')], SETTINGS), [2, 3])
  assert.deepEqual(hashesAllowed([round('pubkey-sha384'), round('pubkey')], SETTINGS), SUPPORTED_HASHES)
  assert.deepEqual(hashesAllowed([round('pubkey-sha1')], SETTINGS), SUPPORTED_HASHES)
})

test('AUTH of RFC 7427 is read as it is written, for every kind of key', () => {
  for (const type of ['rsa-2048', 'p256', 'p384', 'p521', 'ed25519', 'ed448'] as const) {
    const key = keyPair(type)
    const data = new TextEncoder().encode('what is signed')
    for (const { method, scheme } of ownSchemes(
      publicKey(type),
      ALL,
      parseConstraints('ike:pubkey-sha256-sha512-identity-rsa/pss-sha384'),
      SETTINGS,
    )) {
      const written = writeAuthSignature({ method, scheme, signature: key.privateKey.sign(scheme, data) })
      const read = readAuthSignature(method, written)
      assert.ok(typeof read !== 'string', `${method} ${scheme.key}`)
      assert.deepEqual(read.scheme, scheme)
      assert.ok(verify(publicKey(type), read.scheme, data, read.signature))
    }
  }
})

test('what is no signature that we take is a sentence', () => {
  const refused = (method: number, ...bytes: number[]) => {
    const read = readAuthSignature(method, Uint8Array.from(bytes))
    assert.equal(typeof read, 'string')
    return read as string
  }
  assert.match(refused(AuthMethod.DIGITAL_SIGNATURE), /payload invalid/)
  assert.match(refused(AuthMethod.DIGITAL_SIGNATURE, 200, 1, 2), /payload invalid/)
  assert.match(refused(AuthMethod.DIGITAL_SIGNATURE, 2, 5, 0, 1), /payload invalid/)
  assert.match(refused(AuthMethod.NULL_AUTHENTICATION, 1), /unsupported/)
  // SHA-1 with RSA, which nobody was offered.
  const sha1 = { key: 'rsa', hash: 'sha1', pss: false } as const
  const written = writeAuthSignature({ method: AuthMethod.DIGITAL_SIGNATURE, scheme: sha1, signature: Uint8Array.of(1) })
  assert.match(readAuthSignature(AuthMethod.DIGITAL_SIGNATURE, written) as string, /hash that we did not offer \(sha1\)/)
  assert.equal(isSignatureMethod(AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE), false)
})

test('what we sign with: strongSwan’s order, the rules’ order, what the peer takes, the methods of old', () => {
  assert.deepEqual(names('rsa-2048').slice(0, 1), ['RSA_EMSA_PKCS1_SHA2_256'])
  assert.deepEqual(names('rsa-2048', ALL, 'pubkey', { ...SETTINGS, rsaPss: true }).slice(0, 1), ['RSA_EMSA_PSS_SHA2_256_SALT_32'])
  assert.deepEqual(names('p384'), ['ECDSA_WITH_SHA384_DER', 'ECDSA_WITH_SHA512_DER'])
  assert.deepEqual(names('p256', ALL, 'pubkey-sha512-sha256'), ['ECDSA_WITH_SHA512_DER', 'ECDSA_WITH_SHA256_DER'])
  assert.deepEqual(names('rsa-2048', new Set([3]), 'ike:rsa/pss-sha384'), ['RSA_EMSA_PSS_SHA2_384_SALT_48'])
  assert.deepEqual(names('p256', new Set([5])), [])
  assert.deepEqual(names('ed25519', null), [])
  assert.deepEqual(
    ownSchemes(publicKey('p521'), null, NO_CONSTRAINTS, SETTINGS).map(({ method }) => method),
    [AuthMethod.ECDSA_SHA512_P521],
  )
})

test('signed is message | nonce | prf(SK_p, ID) | IntAuth', () => {
  const prf = createPrf(PrfId.PRF_HMAC_SHA2_256)
  const bytes = (text: string) => new TextEncoder().encode(text)
  const octets = {
    message: bytes('message'),
    nonce: bytes('nonce'),
    idPayload: bytes('id'),
    macKey: new Secret(bytes('key')),
    intAuth: bytes('IntAuth'),
  }
  assert.deepEqual(
    signedOctets(prf, octets),
    concatBytes(bytes('message'), bytes('nonce'), prf.compute(bytes('key'), bytes('id')), bytes('IntAuth')),
  )
})
