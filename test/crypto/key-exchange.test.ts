import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { AssertionError } from '../../src/base/assert.ts'
import { fromHex, toHex } from '../../src/base/bytes.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { keGroup } from '../../src/crypto/algorithms.ts'
import {
  answerKeyExchange,
  createKeyExchange,
  generationIsSlow,
  InvalidKeyExchange,
  type ImmediateKeyExchange,
} from '../../src/crypto/key-exchange.ts'
import { KeId } from '../../src/iana/transforms.ts'
import { entropyOf, seededEntropy } from '../support/crypto-fixtures.ts'
import { ML_KEM_VECTORS } from '../vectors/ml-kem.ts'

const EVERY_GROUP = Object.values(KeId).filter((id) => keGroup(id) !== null)
const EVERY_KEM = EVERY_GROUP.filter((id) => keGroup(id)?.kind === 'ml-kem')
const EVERY_DH = EVERY_GROUP.filter((id) => !EVERY_KEM.includes(id))

/** Title, group, initiator's private and public values, the responder's, and the shared secret. */
const VECTORS: readonly (readonly [string, number, string, string, string, string, string])[] = [
  [
    'RFC 7748 6.1',
    KeId.CURVE25519,
    '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a',
    '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
    '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb',
    'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f',
    '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
  ],
  [
    'RFC 8031 appendix A',
    KeId.CURVE25519,
    '751fb4308655b476b6789b7325f9ea8cddd16a58533ff6d9e60009464a5f9d94',
    '48d5ddd4061257ba166fa3f9bbdb74f1a4e81c089384fa77f790709f0dfbc766',
    '0a54645253290d60ddadd0e030bacd9e5501efdc220755a1e978f1b839a05688',
    '0be7c1f5aad87d7e448662673298a443478b859745179eaf564c79c0ef6eee25',
    'c74950607a12327f3204d94b6825bfb068b7f8319a9e3708ed3d43ce8130c950',
  ],
  [
    'RFC 7748 6.2',
    KeId.CURVE448,
    '9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b',
    '9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0',
    '1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d',
    '3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609',
    '07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d',
  ],
  [
    'RFC 5903 8.1',
    KeId.ECP_256,
    'c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433',
    'dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3',
    'c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53',
    'd12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab',
    'd6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de',
  ],
  [
    'RFC 5903 8.2',
    KeId.ECP_384,
    '099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194',
    '667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa' +
      '9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c',
    '41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd55a7448fc',
    'e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0774a3571' +
      'dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c',
    '11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746',
  ],
  [
    'RFC 5903 8.3',
    KeId.ECP_521,
    '0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52',
    '0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e' +
      '017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582',
    '0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9',
    '00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f' +
      '015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a',
    '01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea',
  ],
]

for (const [title, group, initiatorPrivate, initiatorPublic, responderPrivate, responderPublic, shared] of VECTORS) {
  test(`group ${group}: ${title}`, () => {
    const initiator = createKeyExchange(group, entropyOf(fromHex(initiatorPrivate)))
    const responder = createKeyExchange(group, entropyOf(fromHex(responderPrivate)))
    assert.equal(toHex(initiator.publicValue), initiatorPublic)
    assert.equal(toHex(responder.publicValue), responderPublic)
    assert.equal(sharedHex(initiator, responder.publicValue), shared)
    assert.equal(sharedHex(responder, initiator.publicValue), shared)
  })
}

/** Group, bits n of the prime and c in 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c), RFC 3526 3 to 7; length of our exponents. */
const MODP: readonly (readonly [number, number, bigint, number])[] = [
  [KeId.MODP_2048, 2048, 124476n, 32],
  [KeId.MODP_3072, 3072, 1690314n, 40],
  [KeId.MODP_4096, 4096, 240904n, 48],
  [KeId.MODP_6144, 6144, 929484n, 56],
  [KeId.MODP_8192, 8192, 4743158n, 64],
]

for (const [group, bits, addend, exponentLength] of MODP) {
  const prime = rfc3526Prime(BigInt(bits), addend)
  const length = bits / 8

  test(`group ${group}: RFC 3526's prime and generator 2, by arithmetic of our own`, () => {
    const [a, b] = [withTopBit(seededEntropy('a').bytes(exponentLength)), withTopBit(seededEntropy('b').bytes(exponentLength))]
    const [first, second] = [createKeyExchange(group, entropyOf(a)), createKeyExchange(group, entropyOf(b))]
    assert.equal(numberOf(first.publicValue), power(2n, numberOf(a), prime))
    const expected = toHex(bytesOf(power(numberOf(second.publicValue), numberOf(a), prime), length))
    assert.equal(sharedHex(first, second.publicValue), expected)
    assert.equal(sharedHex(second, first.publicValue), expected)
  })

  test(`group ${group}: 2 and p - 2 are public values, 0, 1, p - 1, p and more are none (RFC 6989 2)`, () => {
    const exchange = createKeyExchange(group, seededEntropy('range'))
    for (const value of [0n, 1n, prime - 1n, prime, prime + 1n, 2n ** BigInt(bits) - 1n]) {
      assert.throws(() => exchange.agree(bytesOf(value, length)), isInvalid)
    }
    assert.equal(sharedHex(exchange, bytesOf(2n, length)), toHex(exchange.publicValue), '2^x is what we publish')
    assert.equal(exchange.agree(bytesOf(prime - 2n, length)).length, length)
  })
}

test('MODP values that begin with zeros keep them (RFC 7296 3.4, 2.14)', () => {
  const prime = rfc3526Prime(2048n, 124476n)
  const small = prime >> 8n
  // 2^x for x = 2^255, 2^255 + 1 ... is doubled each time, so one with a zero octet in front is found soon.
  let exponent = 1n << 255n
  let value = power(2n, exponent, prime)
  for (; value >= small; exponent++) value = (value * 2n) % prime
  const exchange = createKeyExchange(KeId.MODP_2048, entropyOf(bytesOf(exponent, 32)))
  assert.equal(exchange.publicValue.length, 256)
  assert.equal(exchange.publicValue[0], 0)
  assert.equal(numberOf(exchange.publicValue), value)

  // And a peer whose secret with us begins with one: (2^x)^2, (2^x)^3 ... over its exponents.
  let peer = 4n
  let shared = (value * value) % prime
  for (; shared >= small; peer = (peer * 2n) % prime) shared = (shared * value) % prime
  assert.equal(sharedHex(exchange, bytesOf(peer, 256)), toHex(bytesOf(shared, 256)))
})

for (const { tcId, group, seed, publicValue, answer, secret } of ML_KEM_VECTORS) {
  test(`group ${group}: Wycheproof, test ${tcId}: key pair from its seed, and the secret in a ciphertext`, () => {
    const exchange = createKeyExchange(group, entropyOf(fromHex(seed)))
    assert.equal(toHex(exchange.publicValue), publicValue)
    assert.equal(sharedHex(exchange, fromHex(answer)), secret)
  })

  test(`group ${group}: a ciphertext that was changed gives another secret, always the same one (FIPS 203 6.3)`, () => {
    const exchange = createKeyExchange(group, entropyOf(fromHex(seed)))
    const changed = fromHex(answer)
    changed[0]! ^= 1
    assert.notEqual(sharedHex(exchange, changed), secret)
    assert.equal(sharedHex(exchange, changed), sharedHex(exchange, changed))
  })

  test(`group ${group}: an encapsulation key with a number that is not reduced is refused (FIPS 203 7.2)`, () => {
    const changed = fromHex(publicValue)
    // The first coefficient becomes 4095, which is more than 3328.
    changed[0] = 0xff
    changed[1]! |= 0x0f
    assert.throws(() => answerKeyExchange(group, changed, seededEntropy('r')), isInvalid)
  })
}

test('every ML-KEM has its vectors', () => {
  assert.deepEqual(
    ML_KEM_VECTORS.map(({ group }) => group),
    EVERY_KEM,
  )
})

for (const group of EVERY_GROUP) {
  test(`group ${group}: who answers comes to the same secret as who began`, () => {
    const { publicValueLength, answerLength, sharedSecretLength } = keGroup(group)!
    const exchange = createKeyExchange(group, seededEntropy('i'))
    assert.equal(exchange.group, group)
    assert.equal(exchange.publicValue.length, publicValueLength)
    const { publicValue, secret } = answerKeyExchange(group, exchange.publicValue, seededEntropy('r'))
    assert.equal(publicValue.length, answerLength)
    assert.equal(secret.length, sharedSecretLength)
    assert.ok(exchange.agree(publicValue).equals(secret))
  })

  test(`group ${group}: who answers takes no public value of another length`, () => {
    const { publicValueLength } = keGroup(group)!
    for (const length of [0, 1, publicValueLength - 1, publicValueLength + 1])
      assert.throws(() => answerKeyExchange(group, new Uint8Array(length).fill(2), seededEntropy('r')), isInvalid)
  })

  test(`group ${group}: an answer of another length is refused, and a destroyed exchange agrees on nothing`, () => {
    const exchange = createKeyExchange(group, seededEntropy('length'))
    const { answerLength } = keGroup(group)!
    for (const length of [0, 1, answerLength - 1, answerLength + 1])
      assert.throws(() => exchange.agree(new Uint8Array(length).fill(2)), isInvalid)
    exchange.destroy()
    assert.throws(() => exchange.agree(new Uint8Array(answerLength)), AssertionError)
  })

  test(`group ${group}: the same entropy gives the same public value, another one another`, () => {
    const values = ['i', 'i', 'r'].map((seed) => toHex(createKeyExchange(group, seededEntropy(seed)).publicValue))
    assert.equal(values[0], values[1])
    assert.notEqual(values[0], values[2])
  })
}

for (const group of EVERY_DH) {
  test(`group ${group}: it does not matter who began`, () => {
    const [initiator, responder] = [createKeyExchange(group, seededEntropy('i')), createKeyExchange(group, seededEntropy('r'))]
    assert.equal(sharedHex(initiator, responder.publicValue), sharedHex(responder, initiator.publicValue))
  })
}

test('points of small order give no secret (RFC 8031 3.2)', () => {
  for (const [group, points] of [
    [
      KeId.CURVE25519,
      [
        '00'.repeat(32),
        `01${'00'.repeat(31)}`,
        `ec${'ff'.repeat(30)}7f`,
        'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      ],
    ],
    [KeId.CURVE448, ['00'.repeat(56), `01${'00'.repeat(55)}`]],
  ] as const) {
    const exchange = createKeyExchange(group, seededEntropy('small order'))
    for (const point of points) assert.throws(() => exchange.agree(fromHex(point)), isInvalid)
  }
})

test('points that are not on the curve are refused (RFC 6989 2.3)', () => {
  for (const group of [KeId.ECP_256, KeId.ECP_384, KeId.ECP_521]) {
    const exchange = createKeyExchange(group, seededEntropy('curve'))
    const off = createKeyExchange(group, seededEntropy('peer')).publicValue.slice()
    off[off.length - 1]! ^= 1
    assert.throws(() => exchange.agree(off), isInvalid)
    assert.throws(() => exchange.agree(new Uint8Array(off.length)), isInvalid)
    assert.throws(() => exchange.agree(new Uint8Array(off.length).fill(0xff)), isInvalid)
  }
})

test('an ECP scalar of 0, of the order or above is drawn again', () => {
  const order = fromHex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')
  const good = seededEntropy('good').bytes(32)
  const exchange = createKeyExchange(KeId.ECP_256, entropyOf(new Uint8Array(32), order, new Uint8Array(32).fill(0xff), good))
  assert.equal(toHex(exchange.publicValue), toHex(createKeyExchange(KeId.ECP_256, entropyOf(good)).publicValue))
  assert.throws(
    () => createKeyExchange(KeId.ECP_256, { bytes: (count) => new Uint8Array(count) }),
    AssertionError,
    'dead entropy',
  )
})

test('groups we do not do are our own mistake', () => {
  assert.throws(() => createKeyExchange(KeId.MODP_1024, seededEntropy('weak')), AssertionError)
})

test('the groups most used are not among the slow ones', () => {
  assert.equal(generationIsSlow(KeId.CURVE25519), false)
  assert.equal(generationIsSlow(KeId.ECP_256), false)
  assert.equal(generationIsSlow(KeId.MODP_8192), true)
})

function isInvalid(error: unknown): boolean {
  return (
    error instanceof InvalidKeyExchange &&
    error instanceof EspalierError &&
    error.accused === 'peer-misbehaved' &&
    error.code === 'KE_INVALID'
  )
}

function sharedHex(exchange: ImmediateKeyExchange, peer: Uint8Array): string {
  return toHex(exchange.agree(peer).dangerouslyReveal())
}

function withTopBit(bytes: Uint8Array): Uint8Array {
  bytes[0]! |= 0x80
  return bytes
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes)}`)
}

function bytesOf(value: bigint, length: number): Uint8Array {
  return fromHex(value.toString(16).padStart(2 * length, '0'))
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  for (let square = base % modulus; exponent > 0n; exponent >>= 1n) {
    if ((exponent & 1n) === 1n) result = (result * square) % modulus
    square = (square * square) % modulus
  }
  return result
}

function rfc3526Prime(bits: bigint, addend: bigint): bigint {
  return 2n ** bits - 2n ** (bits - 64n) - 1n + 2n ** 64n * (scaledPi(bits - 130n) + addend)
}

/** [2^bits * pi], by Machin's formula with 64 bits to spare: pi = 16 arctan(1/5) - 4 arctan(1/239). */
function scaledPi(bits: bigint): bigint {
  const one = 1n << (bits + 64n)
  const inverseTangent = (x: bigint): bigint => {
    let sum = 0n
    let sign = 1n
    for (let [term, k] = [one / x, 1n]; term > 0n; term /= x * x, k += 2n) {
      sum += (sign * term) / k
      sign = -sign
    }
    return sum
  }
  return (16n * inverseTangent(5n) - 4n * inverseTangent(239n)) >> 64n
}
