import { strict as assert } from 'node:assert'
import { createCipheriv, createHmac } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { AssertionError } from '../../src/base/assert.ts'
import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts'
import { encrAlgorithm, encrKeyMaterialLength, integAlgorithm } from '../../src/crypto/algorithms.ts'
import { createCipher } from '../../src/crypto/cipher.ts'
import { createIntegrity } from '../../src/crypto/integrity.ts'
import { createOpener, createSealer, type Opener, type Sealer, type Suite } from '../../src/crypto/protection.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { EncrId, IntegId } from '../../src/iana/transforms.ts'
import { everyProtectionSuite, entropyOf, seededEntropy, suiteTitle } from '../support/crypto-fixtures.ts'

const NO_DATA = new Uint8Array()

function keysOf(suite: Suite, seed = 'keys'): { encr: Secret; integ: Secret | null } {
  const entropy = seededEntropy(seed)
  return {
    encr: new Secret(entropy.bytes(encrKeyMaterialLength(suite.encr))),
    integ: suite.integ === null ? null : new Secret(entropy.bytes(integAlgorithm(suite.integ.id)!.keyLength)),
  }
}

function pairOf(suite: Suite): { sealer: Sealer; opener: Opener } {
  const { encr, integ } = keysOf(suite)
  return { sealer: createSealer(suite, encr, integ, seededEntropy('ivs')), opener: createOpener(suite, encr, integ) }
}

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength })

for (const suite of everyProtectionSuite()) {
  test(`${suiteTitle(suite)}: what is sealed opens, and is as long as announced`, () => {
    const { sealer, opener } = pairOf(suite)
    fc.assert(
      fc.property(bytes(60), bytes(200), (associatedData, plaintext) => {
        const body = sealer.seal(associatedData, plaintext)
        assert.equal(body.length, sealer.sealedLength(plaintext.length))
        const opened = opener.open(associatedData, body)
        assert.ok(opened !== null)
        assert.equal(toHex(opened), toHex(plaintext))
      }),
      { numRuns: 50 },
    )
  })

  test(`${suiteTitle(suite)}: a bit changed anywhere, a byte missing or one too many opens nothing`, () => {
    const { sealer, opener } = pairOf(suite)
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        bytes(60),
        fc.nat(),
        fc.nat(7),
        (associatedData, plaintext, place, bit) => {
          const body = sealer.seal(associatedData, plaintext)
          const all = concatBytes(associatedData, body)
          all[place % all.length]! ^= 1 << bit
          assert.equal(opener.open(all.subarray(0, associatedData.length), all.subarray(associatedData.length)), null)
          assert.equal(opener.open(associatedData, body.subarray(0, body.length - 1)), null)
          assert.equal(opener.open(associatedData, concatBytes(body, Uint8Array.of(0))), null)
        },
      ),
      { numRuns: 50 },
    )
  })

  test(`${suiteTitle(suite)}: whatever a stranger sends opens nothing and throws nothing`, () => {
    const { opener } = pairOf(suite)
    fc.assert(
      fc.property(bytes(20), bytes(120), (associatedData, body) => {
        assert.equal(opener.open(associatedData, body), null)
      }),
      { numRuns: 100 },
    )
    for (let length = 0; length < 80; length++) assert.equal(opener.open(NO_DATA, new Uint8Array(length)), null)
  })

  test(`${suiteTitle(suite)}: no IV comes twice`, () => {
    const { sealer } = pairOf(suite)
    const { ivLength } = encrAlgorithm(suite.encr.id)!
    const ivs = new Set(Array.from({ length: 300 }, () => toHex(sealer.seal(NO_DATA, NO_DATA).subarray(0, ivLength))))
    assert.equal(ivs.size, 300)
  })

  test(`${suiteTitle(suite)}: padding is the least there can be`, () => {
    const { sealer } = pairOf(suite)
    const algorithm = encrAlgorithm(suite.encr.id)!
    const icvLength = suite.integ === null ? algorithm.icvLength : integAlgorithm(suite.integ.id)!.icvLength
    for (let length = 0; length < 40; length++) {
      const padded = sealer.sealedLength(length) - algorithm.ivLength - icvLength
      assert.equal(padded % algorithm.blockSize, 0)
      assert.ok(padded - length >= 1 && padded - length <= algorithm.blockSize)
    }
  })
}

const CBC: Suite = {
  encr: { id: EncrId.ENCR_AES_CBC, keyLength: 128 },
  integ: { id: IntegId.AUTH_HMAC_SHA2_256_128 },
  prf: 5,
  ke: 31,
}
const GCM: Suite = { encr: { id: EncrId.ENCR_AES_GCM_16, keyLength: 256 }, integ: null, prf: 5, ke: 31 }

test('RFC 7634 appendix B: the body of its IKE message opens, the notification of SET_WINDOW_SIZE 10', () => {
  const key = new Secret(fromHex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3'))
  const opener = createOpener({ encr: { id: EncrId.ENCR_CHACHA20_POLY1305, keyLength: null }, integ: null }, key, null)
  const header = fromHex('c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029')
  const opened = opener.open(header, fromHex('1011121314151617 610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2'))
  assert.ok(opened !== null)
  assert.equal(toHex(opened), '0000000c000040010000000a')
})

test('a CBC body is IV, ciphertext of the padded plaintext, and the HMAC over all before it (RFC 7296 3.14)', () => {
  const [iv, associatedData, plaintext] = [seededEntropy('iv').bytes(16), fromHex('00112233'), fromHex('aabbccddee')]
  const { encr, integ } = keysOf(CBC)
  const body = createSealer(CBC, encr, integ, entropyOf(iv)).seal(associatedData, plaintext)
  const cipher = createCipheriv('aes-128-cbc', encr.dangerouslyReveal(), iv).setAutoPadding(false)
  const ciphertext = cipher.update(concatBytes(plaintext, new Uint8Array(10), Uint8Array.of(10)))
  const icv = createHmac('sha256', integ!.dangerouslyReveal())
    .update(associatedData)
    .update(iv)
    .update(ciphertext)
    .digest()
    .subarray(0, 16)
  assert.equal(toHex(body), toHex(concatBytes(iv, ciphertext, icv)))
})

test('a GCM body counts its IVs from 0, with the salt in front of them in the nonce (RFC 5282 4)', () => {
  const { encr } = keysOf(GCM)
  const sealer = createSealer(GCM, encr, null, entropyOf())
  const [associatedData, plaintext] = [fromHex('00112233'), fromHex('aabbccddee')]
  for (const iv of ['0000000000000000', '0000000000000001', '0000000000000002']) {
    const body = sealer.seal(associatedData, plaintext)
    const key = encr.dangerouslyReveal()
    const cipher = createCipheriv('aes-256-gcm', key.subarray(0, 32), concatBytes(key.subarray(32), fromHex(iv))).setAAD(
      associatedData,
    )
    const ciphertext = concatBytes(cipher.update(concatBytes(plaintext, Uint8Array.of(0))), cipher.final())
    assert.equal(toHex(body), iv + toHex(concatBytes(ciphertext, cipher.getAuthTag())))
  }
})

test('padding of any content is taken off, and more padding than there is opens nothing, authentic though it be', () => {
  const { encr, integ } = keysOf(CBC)
  const opener = createOpener(CBC, encr, integ)
  const authentic = (padded: Uint8Array): Uint8Array => {
    const iv = new Uint8Array(16)
    const sealed = concatBytes(iv, new Uint8Array(padded.length))
    createCipher(CBC.encr, encr).encrypt(iv, NO_DATA, padded, sealed, iv.length)
    return concatBytes(sealed, createIntegrity(CBC.integ!.id, integ!).compute(sealed))
  }
  const padded = new Uint8Array(32).fill(0x77)
  for (let padLength = 0; padLength < 32; padLength++) {
    padded[31] = padLength
    assert.equal(opener.open(NO_DATA, authentic(padded))?.length, 31 - padLength)
  }
  for (const padLength of [32, 33, 255]) {
    padded[31] = padLength
    assert.equal(opener.open(NO_DATA, authentic(padded)), null)
  }
})

test('a ciphertext that is no multiple of the block opens nothing, authentic though it be', () => {
  const { encr, integ } = keysOf(CBC)
  const opener = createOpener(CBC, encr, integ)
  for (let length = 0; length < 70; length++) {
    const whole = new Uint8Array(16 + 64)
    createCipher(CBC.encr, encr).encrypt(new Uint8Array(16), NO_DATA, new Uint8Array(64), whole, 16)
    const sealed = new Uint8Array(16 + length)
    sealed.set(whole.subarray(0, sealed.length))
    const opened = opener.open(NO_DATA, concatBytes(sealed, createIntegrity(CBC.integ!.id, integ!).compute(sealed)))
    assert.equal(opened?.length ?? null, length > 0 && length % 16 === 0 && length <= 64 ? length - 1 : null, `${length} bytes`)
  }
})

test('with destroyed keys nothing is sealed and nothing opened', () => {
  for (const suite of [CBC, GCM]) {
    const { encr, integ } = keysOf(suite)
    const [sealer, opener] = [createSealer(suite, encr, integ, seededEntropy('iv')), createOpener(suite, encr, integ)]
    const sealed = sealer.seal(NO_DATA, fromHex('0102'))
    encr.destroy()
    integ?.destroy()
    assert.throws(() => sealer.seal(NO_DATA, fromHex('0102')), AssertionError)
    assert.throws(() => opener.open(NO_DATA, sealed), AssertionError)
  }
})

test('suites that make no sense are our own mistake', () => {
  const { encr, integ } = keysOf(CBC)
  const entropy = seededEntropy('iv')
  assert.throws(() => createSealer({ ...CBC, integ: null }, encr, null, entropy), AssertionError, 'a classic cipher alone')
  assert.throws(() => createSealer(CBC, encr, null, entropy), AssertionError, 'no integrity key')
  assert.throws(
    () => createSealer({ ...GCM, integ: CBC.integ }, keysOf(GCM).encr, integ, entropy),
    AssertionError,
    'an AEAD with integrity',
  )
  assert.throws(() => createSealer(GCM, encr, null, entropy), AssertionError, 'a key too short')
  assert.throws(
    () => createOpener({ encr: { id: EncrId.ENCR_NULL, keyLength: null }, integ: CBC.integ }, new Secret(NO_DATA), integ),
    AssertionError,
  )
  assert.throws(
    () => createOpener({ encr: { id: EncrId.ENCR_AES_CBC, keyLength: null }, integ: CBC.integ }, encr, integ),
    AssertionError,
  )
})
