import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { hmac } from '@noble/hashes/hmac.js'
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js'

import { AssertionError } from '../../src/base/assert.ts'
import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts'
import { createPrf } from '../../src/crypto/prf.ts'
import { PrfId } from '../../src/iana/transforms.ts'
import { everyPrf, seededEntropy } from '../support/crypto-fixtures.ts'

const { PRF_HMAC_SHA1, PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512, PRF_AES128_XCBC, PRF_AES128_CMAC } = PrfId
const text = (words: string): string => toHex(new TextEncoder().encode(words))
const HI_THERE = text('Hi There')
const NOTHING = text('what do ya want for nothing?')
const LARGE_KEY = text('Test Using Larger Than Block-Size Key - Hash Key First')
const LARGE_BOTH = text(
  'This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.',
)
const TWENTY = '000102030405060708090a0b0c0d0e0f10111213'

/** Title, PRF, key, data, output. */
const VECTORS: readonly (readonly [string, number, string, string, string])[] = [
  ['RFC 2202 3 case 1', PRF_HMAC_SHA1, '0b'.repeat(20), HI_THERE, 'b617318655057264e28bc0b6fb378c8ef146be00'],
  ['RFC 2202 3 case 2', PRF_HMAC_SHA1, text('Jefe'), NOTHING, 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79'],
  ['RFC 2202 3 case 3', PRF_HMAC_SHA1, 'aa'.repeat(20), 'dd'.repeat(50), '125d7342b9ac11cd91a39af48aa17b4f63f175d3'],
  [
    'RFC 2202 3 case 4',
    PRF_HMAC_SHA1,
    '0102030405060708090a0b0c0d0e0f10111213141516171819',
    'cd'.repeat(50),
    '4c9007f4026250c6bc8414f9bf50c86c2d7235da',
  ],
  ['RFC 2202 3 case 6', PRF_HMAC_SHA1, 'aa'.repeat(80), LARGE_KEY, 'aa4ae5e15272d00e95705637ce8a3b55ed402112'],
  [
    'RFC 4231 4.2',
    PRF_HMAC_SHA2_256,
    '0b'.repeat(20),
    HI_THERE,
    'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
  ],
  ['RFC 4231 4.3', PRF_HMAC_SHA2_256, text('Jefe'), NOTHING, '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
  [
    'RFC 4231 4.4',
    PRF_HMAC_SHA2_256,
    'aa'.repeat(20),
    'dd'.repeat(50),
    '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
  ],
  [
    'RFC 4231 4.7',
    PRF_HMAC_SHA2_256,
    'aa'.repeat(131),
    LARGE_KEY,
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  ],
  [
    'RFC 4231 4.8',
    PRF_HMAC_SHA2_256,
    'aa'.repeat(131),
    LARGE_BOTH,
    '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
  ],
  [
    'RFC 4231 4.2',
    PRF_HMAC_SHA2_384,
    '0b'.repeat(20),
    HI_THERE,
    'afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6',
  ],
  [
    'RFC 4231 4.3',
    PRF_HMAC_SHA2_384,
    text('Jefe'),
    NOTHING,
    'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649',
  ],
  [
    'RFC 4231 4.7',
    PRF_HMAC_SHA2_384,
    'aa'.repeat(131),
    LARGE_KEY,
    '4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952',
  ],
  [
    'RFC 4231 4.2',
    PRF_HMAC_SHA2_512,
    '0b'.repeat(20),
    HI_THERE,
    '87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854',
  ],
  [
    'RFC 4231 4.3',
    PRF_HMAC_SHA2_512,
    text('Jefe'),
    NOTHING,
    '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
  ],
  ['RFC 4434 2.1 key of 16', PRF_AES128_XCBC, '000102030405060708090a0b0c0d0e0f', TWENTY, '47f51b4564966215b8985c63055ed308'],
  ['RFC 4434 2.1 key of 10', PRF_AES128_XCBC, '00010203040506070809', TWENTY, '0fa087af7d866e7653434e602fdde835'],
  ['RFC 4434 2.1 key of 18', PRF_AES128_XCBC, '000102030405060708090a0b0c0d0e0fedcb', TWENTY, '8cd3c93ae598a9803006ffb67c40e9e4'],
  ['RFC 4615 4 key of 18', PRF_AES128_CMAC, '000102030405060708090a0b0c0d0e0fedcb', TWENTY, '84a348a4a45d235babfffc0d2b4da09a'],
  ['RFC 4615 4 key of 16', PRF_AES128_CMAC, '000102030405060708090a0b0c0d0e0f', TWENTY, '980ae87b5f4c9c5214f5b6a8455e4c2d'],
  ['RFC 4615 4 key of 10', PRF_AES128_CMAC, '00010203040506070809', TWENTY, '290d9e112edb09ee141fcf64c0b72f3d'],
]

for (const [title, id, key, data, expected] of VECTORS) {
  test(`PRF ${id}: ${title}`, () => {
    const prf = createPrf(id)
    const bytes = fromHex(data)
    assert.equal(toHex(prf.compute(fromHex(key), bytes)), expected)
    assert.equal(toHex(prf.compute(fromHex(key), bytes.subarray(0, 3), bytes.subarray(3))), expected, 'in two parts')
    assert.equal(prf.outputLength, expected.length / 2)
  })
}

/** NIST CAVP for SP 800-135, IKEv2: SKEYSEED, Ni | Nr | SPIi | SPIr, and the first 132 bytes of keying material. */
const CAVP: readonly (readonly [number, string, string, string])[] = [
  [
    PRF_HMAC_SHA2_256,
    '37fde90b81d63692620f67367b62092e3efdc6a03509137d731004767ff35010',
    'ed80dc79912c32a935fb6d1a3feac07847c1858efc932ea4606fd05609624002',
    '63d018a08f7a29daa7d1f92cb63f45fa39bbaf5e5f1a78139613bb891e3e6bf9d0448f7c74e05b4c1a25c0b61e62c875e852f287e192d4ae536112db51972164' +
      '00bd5e123470efc15f53161865fe8b19a1416518a157d651ecd2caddab6a9eae6a27a55af088218d5156edaa9789f934d9836ed43edffda553822202ff9f7d48' +
      '60ca72e0',
  ],
  [
    PRF_HMAC_SHA2_384,
    '54436a9ea95d6ff79b967f4b07f6de976a376e8ea26aa9574709afc60243c9c141da4ca0e158e627a75ea87f6feb07ef',
    'd672b0bc852829b93509f3b7247063640f9a016d7b22223c85f710daf8b982d8',
    '10b00a654643b3b985764f86e23ef62431122fcc96de16e338a372bee49391db1f83a7358c080380abbf4af47cdb83b9530343168f7dbc9221260e1546c6b383' +
      'e2235d2705a727f0b41aebf6a1b4c61cb460660152a17ba74c20d5191ba6841794945270d829587b7f3294639ea7b77149e1d07230ac16e0cd5ab236fa3212bd' +
      '569ee70f',
  ],
  [
    PRF_HMAC_SHA2_512,
    'daf9bd6f2f912da553867966af386e67909a8df0ca7e84b83b355cb7d7f1026f17d8ea34b5d57fd0d1ba389528fca1e81d1c8ce511b28a2458241143fee30ccc',
    'df7931db9b429e10b8aa8e4d460423939ba40af9157f47925383c7cd3d1046e6',
    '919a75deaeccbd393bebc89615f8a215edb7073b2319d86740221eee7a2deb92509044d7e61fcb1bf9676b3881c7ced49e6bba1549da3113601677a2445d91ac' +
      '13a597335782dd3a9cf496d9e19b932f27dd35e36f8070d232d0a3b3f4c4a0b4ba4470778dc090f31f52ab1b6d81e4c7dfb35063ad96c327adcdbde714cc9a6b' +
      '5ef049b8',
  ],
]

for (const [id, key, seed, expected] of CAVP) {
  test(`prf+ of PRF ${id}: NIST CAVP for SP 800-135`, () => {
    assert.equal(toHex(createPrf(id).plus(fromHex(key), fromHex(seed), 132)), expected)
  })
}

test('prf+ is T1 | T2 | ... of RFC 7296 2.13, by another implementation of the HMACs', () => {
  const entropy = seededEntropy('prf+')
  for (const [id, hash] of [
    [PRF_HMAC_SHA1, sha1],
    [PRF_HMAC_SHA2_256, sha256],
    [PRF_HMAC_SHA2_384, sha384],
    [PRF_HMAC_SHA2_512, sha512],
  ] as const) {
    const [key, seed] = [entropy.bytes(33), entropy.bytes(50)]
    let [all, previous] = [new Uint8Array(), new Uint8Array()]
    for (let counter = 1; counter <= 255; counter++) {
      previous = new Uint8Array(hmac(hash, key, concatBytes(previous, seed, Uint8Array.of(counter))))
      all = new Uint8Array(concatBytes(all, previous))
    }
    assert.equal(toHex(createPrf(id).plus(key, seed, all.length)), toHex(all))
  }
})

test('prf+ of the AES PRFs chains the PRF itself', () => {
  const entropy = seededEntropy('aes prf+')
  for (const id of [PRF_AES128_XCBC, PRF_AES128_CMAC]) {
    const prf = createPrf(id)
    const [key, seed] = [entropy.bytes(16), entropy.bytes(40)]
    const first = prf.compute(key, seed, Uint8Array.of(1))
    const second = prf.compute(key, first, seed, Uint8Array.of(2))
    assert.equal(toHex(prf.plus(key, seed, 24)), toHex(concatBytes(first, second)).slice(0, 48))
  }
})

test('prf+ of any length is a prefix of a longer one, and ends at 255 outputs', () => {
  for (const id of everyPrf()) {
    const prf = createPrf(id)
    const most = 255 * prf.outputLength
    const all = toHex(prf.plus(Uint8Array.of(1), Uint8Array.of(2), most))
    for (const length of [0, 1, prf.outputLength - 1, prf.outputLength, prf.outputLength + 1]) {
      assert.equal(toHex(prf.plus(Uint8Array.of(1), Uint8Array.of(2), length)), all.slice(0, 2 * length))
    }
    assert.throws(() => prf.plus(Uint8Array.of(1), Uint8Array.of(2), most + 1), AssertionError)
  }
})
