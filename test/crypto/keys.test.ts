import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { hmac } from '@noble/hashes/hmac.js'
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js'

import { AssertionError } from '../../src/base/assert.ts'
import { concatBytes, fromHex, toHex, Writer } from '../../src/base/bytes.ts'
import { encrKeyMaterialLength, integAlgorithm } from '../../src/crypto/algorithms.ts'
import {
  deriveChildKeys,
  deriveIkeKeys,
  deriveNextIkeKeys,
  deriveRekeyedIkeKeys,
  type IkeExchangeValues,
  type IkeKeys,
} from '../../src/crypto/keys.ts'
import { createPrf } from '../../src/crypto/prf.ts'
import type { Suite } from '../../src/crypto/protection.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { EncrId, IntegId, PrfId } from '../../src/iana/transforms.ts'
import { everyPrf, everyProtectionSuite, seededEntropy } from '../support/crypto-fixtures.ts'

const hex = (secret: Secret | null): string => (secret === null ? '' : toHex(secret.dangerouslyReveal()))
const allOf = (keys: IkeKeys): string => [keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr].map(hex).join('')

/** NIST CAVP for SP 800-135, IKEv2: g^ir, Ni, Nr, SPIi, SPIr and the first 132 bytes of keying material. */
const CAVP: readonly (readonly [number, string, string, string, bigint, bigint, string])[] = [
  [
    PrfId.PRF_HMAC_SHA2_256,
    '42968e5d0ccc3cfc5a3e4bc1bba370cea1fae0d54c49ccba34b2bee804beeb2e9e8c57a4e01bd45102cf2433aacc6cfec06792f363e5170e6aa6650274e90664' +
      '8e449d27a8f00b5b44261982c9835c748a751ec5138eaacc5e025661339538a61bf418e454699e19c32db8d9ce5dd86b220f1e89afc5872e68be36cb1a0c8866',
    'ed80dc79912c32a9',
    '35fb6d1a3feac078',
    0x47c1858efc932ea4n,
    0x606fd05609624002n,
    '63d018a08f7a29daa7d1f92cb63f45fa39bbaf5e5f1a78139613bb891e3e6bf9d0448f7c74e05b4c1a25c0b61e62c875e852f287e192d4ae536112db51972164' +
      '00bd5e123470efc15f53161865fe8b19a1416518a157d651ecd2caddab6a9eae6a27a55af088218d5156edaa9789f934d9836ed43edffda553822202ff9f7d48' +
      '60ca72e0',
  ],
  [
    PrfId.PRF_HMAC_SHA2_384,
    '4df040b70978629c49437cff41a0d46cbea68c8d75b370ffc11d7b387144ea83bb5903fbb92e473df50a9b19ea43e9c2f3da9a849c03864276c6f264ecf02a60' +
      'd40ba65c06656b633f02a87427e928eb66a2dabd9dc05744717bcaf7ae78c296872f5c48d1a8120c2155b70c565ce271998e3e44af263d487ea3ba7f56132d7d',
    'd672b0bc852829b9',
    '3509f3b724706364',
    0x0f9a016d7b22223cn,
    0x85f710daf8b982d8n,
    '10b00a654643b3b985764f86e23ef62431122fcc96de16e338a372bee49391db1f83a7358c080380abbf4af47cdb83b9530343168f7dbc9221260e1546c6b383' +
      'e2235d2705a727f0b41aebf6a1b4c61cb460660152a17ba74c20d5191ba6841794945270d829587b7f3294639ea7b77149e1d07230ac16e0cd5ab236fa3212bd' +
      '569ee70f',
  ],
]

for (const [prf, sharedSecret, nonceInitiator, nonceResponder, initiatorSpi, responderSpi, material] of CAVP) {
  test(`the keys of an IKE_SA with PRF ${prf}: NIST CAVP for SP 800-135`, () => {
    const keys = deriveIkeKeys({
      suite: { encr: { id: EncrId.ENCR_AES_GCM_16, keyLength: 128 }, integ: null, prf, ke: 2 },
      nonceInitiator: fromHex(nonceInitiator),
      nonceResponder: fromHex(nonceResponder),
      sharedSecret: new Secret(fromHex(sharedSecret)),
      initiatorSpi,
      responderSpi,
    })
    assert.equal(allOf(keys).slice(0, 264), material)
  })
}

const HASHES = new Map([
  [PrfId.PRF_HMAC_SHA1 as number, sha1],
  [PrfId.PRF_HMAC_SHA2_256, sha256],
  [PrfId.PRF_HMAC_SHA2_384, sha384],
  [PrfId.PRF_HMAC_SHA2_512, sha512],
])

/** prf by another implementation where there is one. */
function oracle(prf: number, key: Uint8Array, data: Uint8Array): Uint8Array {
  const hash = HASHES.get(prf)
  return hash === undefined ? createPrf(prf).compute(key, data) : hmac(hash, key, data)
}

function oraclePlus(prf: number, key: Uint8Array, seed: Uint8Array, length: number): string {
  let [all, previous] = [new Uint8Array(), new Uint8Array()]
  for (let counter = 1; all.length < length; counter++) {
    previous = new Uint8Array(oracle(prf, key, concatBytes(previous, seed, Uint8Array.of(counter))))
    all = new Uint8Array(concatBytes(all, previous))
  }
  return toHex(all.subarray(0, length))
}

function valuesFor(suite: Suite, seed: string): IkeExchangeValues {
  const entropy = seededEntropy(seed)
  return {
    suite,
    nonceInitiator: entropy.bytes(32),
    nonceResponder: entropy.bytes(20),
    sharedSecret: new Secret(entropy.bytes(32)),
    initiatorSpi: 0x0102030405060708n,
    responderSpi: 0xf1f2f3f4f5f6f7f8n,
  }
}

function expandedLengths(suite: Suite): number[] {
  const prfLength = createPrf(suite.prf).keyLength
  const integLength = suite.integ === null ? 0 : integAlgorithm(suite.integ.id)!.keyLength
  const encrLength = encrKeyMaterialLength(suite.encr)
  return [prfLength, integLength, integLength, encrLength, encrLength, prfLength, prfLength]
}

function assertExpanded(keys: IkeKeys, values: IkeExchangeValues, skeyseed: Uint8Array): void {
  const { suite, nonceInitiator, nonceResponder, initiatorSpi, responderSpi } = values
  const seed = new Writer().bytes(nonceInitiator).bytes(nonceResponder).u64(initiatorSpi).u64(responderSpi).finish()
  const lengths = expandedLengths(suite)
  assert.deepEqual(
    [keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr].map((key) => key?.length ?? 0),
    lengths,
  )
  assert.equal(
    allOf(keys),
    oraclePlus(
      suite.prf,
      skeyseed,
      seed,
      lengths.reduce((a, b) => a + b),
    ),
  )
}

test('SKEYSEED and the seven keys of every suite and PRF are those of RFC 7296 2.14', () => {
  for (const prf of everyPrf()) {
    for (const protection of everyProtectionSuite()) {
      const values = valuesFor({ ...protection, prf }, 'ike')
      const { nonceInitiator, nonceResponder } = values
      const isAes = prf === PrfId.PRF_AES128_XCBC || prf === PrfId.PRF_AES128_CMAC
      const key = isAes
        ? concatBytes(nonceInitiator.slice(0, 8), nonceResponder.slice(0, 8))
        : concatBytes(nonceInitiator, nonceResponder)
      const skeyseed = oracle(prf, key, values.sharedSecret.dangerouslyReveal())
      assertExpanded(deriveIkeKeys(values), values, skeyseed)
    }
  }
})

test('an IKE_SA that replaces another starts from the PRF and SK_d of the old one (RFC 7296 2.18)', () => {
  const suite = everyProtectionSuite()[0]!
  for (const oldPrf of everyPrf()) {
    for (const prf of everyPrf()) {
      const values = valuesFor({ ...suite, prf }, 'rekey')
      const d = seededEntropy('old').bytes(createPrf(oldPrf).keyLength)
      const skeyseed = oracle(
        oldPrf,
        d,
        concatBytes(values.sharedSecret.dangerouslyReveal(), values.nonceInitiator, values.nonceResponder),
      )
      assertExpanded(deriveRekeyedIkeKeys(values, { prf: oldPrf, d: new Secret(d) }), values, skeyseed)
    }
  }
})

test('every additional key exchange begins with SK_d of the keys before it (RFC 9370 2.2.2)', () => {
  const suite = everyProtectionSuite()[0]!
  for (const prf of everyPrf()) {
    const values = valuesFor({ ...suite, prf }, 'addke')
    const d = seededEntropy('before').bytes(createPrf(prf).keyLength)
    const { sharedSecret, nonceInitiator, nonceResponder } = values
    const seed = concatBytes(sharedSecret.dangerouslyReveal(), nonceInitiator, nonceResponder)
    assertExpanded(deriveNextIkeKeys(values, new Secret(d)), values, oracle(prf, d, seed))
  }
})

test('secrets of IKE_FOLLOWUP_KE come behind the nonces, in their order (RFC 9370 2.2.4)', () => {
  const suite = everyProtectionSuite()[0]!
  const [prf, d] = [PrfId.PRF_HMAC_SHA2_256, seededEntropy('old').bytes(32)]
  const more = ['one', 'two'].map((seed) => seededEntropy(seed).bytes(32))
  const additionalSecrets = (): Secret[] => more.map((secret) => new Secret(secret.slice()))
  const values = valuesFor({ ...suite, prf }, 'followup')
  const { sharedSecret, nonceInitiator, nonceResponder } = values
  const seed = concatBytes(sharedSecret.dangerouslyReveal(), nonceInitiator, nonceResponder, ...more)
  const rekeyed = deriveRekeyedIkeKeys({ ...values, additionalSecrets: additionalSecrets() }, { prf, d: new Secret(d.slice()) })
  assertExpanded(rekeyed, values, oracle(prf, d, seed))
  const encr = { id: EncrId.ENCR_AES_GCM_16, keyLength: 256 }
  const { initiator, responder } = deriveChildKeys({
    prf,
    d: new Secret(d.slice()),
    sharedSecret,
    additionalSecrets: additionalSecrets(),
    nonceInitiator,
    nonceResponder,
    encr,
    integ: null,
  })
  assert.equal(hex(initiator.encryption) + hex(responder.encryption), oraclePlus(prf, d, seed, 2 * 36))
})

test('the keys of a CHILD_SA are KEYMAT of RFC 7296 2.17 in its order, with and without a key exchange', () => {
  const entropy = seededEntropy('child')
  const [nonceInitiator, nonceResponder, shared, d] = [entropy.bytes(32), entropy.bytes(32), entropy.bytes(32), entropy.bytes(32)]
  const nullCipher = { encr: { id: EncrId.ENCR_NULL, keyLength: null }, integ: { id: IntegId.AUTH_HMAC_SHA2_256_128 } }
  for (const prf of everyPrf()) {
    for (const { encr, integ } of [...everyProtectionSuite(), nullCipher]) {
      for (const secret of [null, shared]) {
        const keys = deriveChildKeys({
          prf,
          d: new Secret(d),
          sharedSecret: secret === null ? null : new Secret(secret),
          nonceInitiator,
          nonceResponder,
          encr,
          integ,
        })
        const integLength = integ === null ? 0 : integAlgorithm(integ.id)!.keyLength
        const length = encrKeyMaterialLength(encr) + integLength
        const expected = oraclePlus(prf, d, concatBytes(secret ?? new Uint8Array(), nonceInitiator, nonceResponder), 2 * length)
        const { initiator, responder } = keys
        assert.equal(initiator.encryption.length, encrKeyMaterialLength(encr))
        assert.equal(initiator.integrity?.length ?? 0, integLength)
        assert.equal(
          [initiator.encryption, initiator.integrity, responder.encryption, responder.integrity].map(hex).join(''),
          expected,
        )
      }
    }
  }
})

test('destroyed keys are zeros, and are not to be had any more', () => {
  for (const suite of [everyProtectionSuite()[0]!, everyProtectionSuite().find(({ integ }) => integ === null)!]) {
    const keys = deriveIkeKeys(valuesFor(suite, 'destroyed'))
    const secrets = [keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr].filter((secret) => secret !== null)
    const bytes = secrets.map((secret) => secret.dangerouslyReveal())
    assert.ok(bytes.every((key) => key.some((byte) => byte !== 0)))
    keys.destroy()
    assert.ok(bytes.every((key) => key.every((byte) => byte === 0)))
    for (const secret of secrets) assert.throws(() => secret.dangerouslyReveal(), AssertionError)
  }
})
