import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import { pskAuthentication, verifyPsk, type SignedOctets } from '../../src/auth/psk.ts'
import { concatBytes } from '../../src/base/bytes.ts'
import { createPrf } from '../../src/crypto/prf.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { PrfId } from '../../src/iana/transforms.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const PRF = createPrf(PrfId.PRF_HMAC_SHA2_256)
const KEY = new Secret(bytes('shared'))
const OCTETS: SignedOctets = {
  message: bytes('the first message'),
  nonce: new Uint8Array(32).fill(7),
  // ID_FQDN, three reserved octets, the name.
  idPayload: concatBytes(Uint8Array.of(2, 0, 0, 0), bytes('moon')),
  macKey: new Secret(new Uint8Array(32).fill(9)),
  intAuth: new Uint8Array(),
}

test('AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), message | nonce | prf(SK_p, ID) )', () => {
  const hmac = (key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array =>
    createHmac('sha256', key)
      .update(concatBytes(...data))
      .digest()
  const identity = hmac(new Uint8Array(32).fill(9), Uint8Array.of(2, 0, 0, 0), bytes('moon'))
  const expected = hmac(hmac(bytes('shared'), bytes('Key Pad for IKEv2')), OCTETS.message, OCTETS.nonce, identity)
  assert.deepEqual(Buffer.from(pskAuthentication(PRF, KEY, OCTETS)), Buffer.from(expected))
  // RFC 9242 3.3.2
  const intAuth = bytes('IntAuth')
  const padded = hmac(bytes('shared'), bytes('Key Pad for IKEv2'))
  assert.deepEqual(
    Buffer.from(pskAuthentication(PRF, KEY, { ...OCTETS, intAuth })),
    Buffer.from(hmac(padded, OCTETS.message, OCTETS.nonce, identity, intAuth)),
  )
})

test('only the same key over the same octets verifies', () => {
  const auth = pskAuthentication(PRF, KEY, OCTETS)
  assert.equal(verifyPsk(PRF, KEY, OCTETS, auth), true)
  assert.equal(verifyPsk(PRF, new Secret(bytes('shared ')), OCTETS, auth), false)
  const others: readonly SignedOctets[] = [
    { ...OCTETS, message: bytes('another message') },
    { ...OCTETS, nonce: new Uint8Array(32) },
    { ...OCTETS, intAuth: new Uint8Array(1) },
    { ...OCTETS, macKey: new Secret(new Uint8Array(32)) },
    { ...OCTETS, idPayload: concatBytes(Uint8Array.of(3, 0, 0, 0), bytes('moon')) },
    // Reserved octets are covered as the peer sent them.
    { ...OCTETS, idPayload: concatBytes(Uint8Array.of(2, 0, 0, 1), bytes('moon')) },
  ]
  for (const octets of others) assert.equal(verifyPsk(PRF, KEY, octets, auth), false)
  assert.equal(verifyPsk(PRF, KEY, OCTETS, auth.subarray(1)), false)
  assert.equal(verifyPsk(PRF, KEY, OCTETS, new Uint8Array()), false)
})
