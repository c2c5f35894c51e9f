/**
 * Key exchange (transform type 4, RFC 7296 3.4): a private value made from injected entropy, the public one as the KE
 * payload carries it, and the secret shared with a peer's public value. Who answers needs the peer's value first: that of
 * a KEM is the ciphertext made for it.
 *
 *   group                public value                                 shared secret
 *   CURVE25519, 448      32 or 56 octets, little endian               the same length                     RFC 8031
 *   ECP_256, 384, 521    x | y, each as long as the field             x, as long as the field             RFC 5903
 *   MODP_2048 to 8192    as long as the modulus, zeros in front       as long as the modulus              RFC 7296 3.4, 2.14
 *   ML_KEM_512 to 1024   encapsulation key, answered by ciphertext    32 octets                           FIPS 203
 */
import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  type KeyObject,
} from 'node:crypto'

import { assert } from '../base/assert.ts'
import { compareBytes, concatBytes, fromHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { KeId } from '../iana/transforms.ts'
import type { Entropy, KeyExchange, KeyExchangeAnswer } from '../ports.ts'
import { type KeGroup, keGroup } from './algorithms.ts'
import { createModp } from './modp.ts'
import { Secret } from './secret.ts'

/** The peer's public value cannot be used: RFC 7296 answers with INVALID_SYNTAX, and drops it before authentication. */
export class InvalidKeyExchange extends EspalierError {
  override readonly name = 'InvalidKeyExchange'
  constructor(message: string) {
    super('peer-misbehaved', 'KE_INVALID', message)
  }
}

/** The side that begins. Done at once, on the spot; ports.ts has the same behind promises. */
export interface ImmediateKeyExchange {
  readonly group: number
  /** The data of our KE payload. */
  readonly publicValue: Uint8Array
  /**
   * The secret shared with the peer that sent `answer`; the caller owns it. Throws InvalidKeyExchange for a value of the
   * wrong length, a point that is not on the curve, a number outside 2 to p - 2 (RFC 6989 2) and an all-zero result
   * (RFC 8031 3.2). Any ciphertext of a KEM gives a secret, which is the peer's only if it is the peer's (FIPS 203 6.3).
   */
  agree(answer: Uint8Array): Secret
  /** Forgets the private value; `agree` must not be called any more. */
  destroy(): void
}

/** A private value, behind the checks that all kinds of group share. `agree` answers null for a value outside the group. */
interface PrivateValue {
  readonly publicValue: Uint8Array
  agree(answer: Uint8Array): Uint8Array | null
}

/**
 * Groups whose key generation and agreement together block for more than about 1 ms (measured, ms: MODP_3072 1.5,
 * MODP_4096 3, MODP_6144 8, MODP_8192 20, ECP_384 2, ECP_521 4; against MODP_2048 0.7, CURVE448 0.4, ML_KEM_1024 0.3,
 * ECP_256 0.1 and CURVE25519 0.1): a daemon does these off the event loop.
 */
const SLOW_GROUPS: ReadonlySet<number> = new Set([
  KeId.MODP_3072,
  KeId.MODP_4096,
  KeId.MODP_6144,
  KeId.MODP_8192,
  KeId.ECP_384,
  KeId.ECP_521,
])

export function generationIsSlow(group: number): boolean {
  return SLOW_GROUPS.has(group)
}

/** A key exchange as ports.ts has it, done at once all the same: for quick groups, and where time does not count. */
export async function promisedKeyExchange(groupId: number, entropy: Entropy): Promise<KeyExchange> {
  const exchange = createKeyExchange(groupId, entropy)
  return {
    group: exchange.group,
    publicValue: exchange.publicValue,
    agree: async (answer) => exchange.agree(answer),
    destroy: () => exchange.destroy(),
  }
}

/** The same for who answers. */
export async function promisedAnswer(groupId: number, peerPublic: Uint8Array, entropy: Entropy): Promise<KeyExchangeAnswer> {
  return answerKeyExchange(groupId, peerPublic, entropy)
}

/** `groupId` is a group that we do (crypto/algorithms.ts). */
export function createKeyExchange(groupId: number, entropy: Entropy): ImmediateKeyExchange {
  const group = keGroup(groupId)
  assert(group !== null, 'only key exchange groups that we do are negotiated')
  return new GroupKeyExchange(group, generate(group, entropy))
}

/**
 * The side that answers: `peerPublic` is what the other one's `publicValue` was. Throws InvalidKeyExchange as `agree`
 * does, and for an encapsulation key with a number that is not reduced (FIPS 203 7.2). What a KEM needs of chance is the
 * system's, not `entropy`: node:crypto takes none from outside.
 */
export function answerKeyExchange(groupId: number, peerPublic: Uint8Array, entropy: Entropy): KeyExchangeAnswer {
  const group = keGroup(groupId)
  assert(group !== null, 'only key exchange groups that we do are negotiated')
  if (group.kind === 'ml-kem') return encapsulateFor(group, peerPublic)
  const exchange = createKeyExchange(groupId, entropy)
  try {
    return { publicValue: exchange.publicValue, secret: exchange.agree(peerPublic) }
  } finally {
    exchange.destroy()
  }
}

function checkLength(id: number, value: Uint8Array, length: number): void {
  if (value.length === length) return
  throw new InvalidKeyExchange(`the peer's public value for group ${id} has ${value.length} bytes, not ${length}`)
}

function generate(group: KeGroup, entropy: Entropy): PrivateValue {
  switch (group.kind) {
    case 'montgomery':
      return createMontgomery(group.id === KeId.CURVE25519 ? 'x25519' : 'x448', group.publicValueLength, entropy)
    case 'ecp':
      return createEcp(group.id, entropy)
    case 'modp':
      return createModp(group.id, entropy)
    case 'ml-kem':
      return createMlKem(group.id, entropy)
  }
}

class GroupKeyExchange implements ImmediateKeyExchange {
  readonly group: number
  readonly publicValue: Uint8Array
  readonly #group: KeGroup
  #privateValue: PrivateValue | null

  constructor(group: KeGroup, privateValue: PrivateValue) {
    this.group = group.id
    this.publicValue = privateValue.publicValue
    this.#group = group
    this.#privateValue = privateValue
    assert(this.publicValue.length === group.publicValueLength, 'our public value is as long as the peer expects')
  }

  agree(answer: Uint8Array): Secret {
    assert(this.#privateValue !== null, 'a key exchange is used before it is destroyed')
    const { id, answerLength, sharedSecretLength } = this.#group
    checkLength(id, answer, answerLength)
    const shared = this.#privateValue.agree(answer)
    if (shared === null) throw new InvalidKeyExchange(`the peer's public value is none of group ${id}`)
    assert(shared.length === sharedSecretLength, 'a shared secret is as long as its group')
    return new Secret(shared)
  }

  destroy(): void {
    this.#privateValue = null
  }
}

/** X25519 and X448 (RFC 7748 5): any octets are a private value, clamped when they are used. */
function createMontgomery(curve: 'x25519' | 'x448', length: number, entropy: Entropy): PrivateValue {
  const scalar = entropy.bytes(length)
  const privateKey = createPrivateKey({
    key: Buffer.from(scalar.buffer, scalar.byteOffset, length),
    format: 'raw-private',
    asymmetricKeyType: curve,
  })
  scalar.fill(0)
  return {
    publicValue: createPublicKey(privateKey).export({ format: 'raw-public' }),
    agree(peerPublic) {
      const publicKey = createPublicKey({ key: Buffer.from(peerPublic), format: 'raw-public', asymmetricKeyType: curve })
      try {
        return diffieHellman({ privateKey, publicKey })
      } catch {
        // OpenSSL refuses to derive the all-zero secret, which a point of small order gives.
        return null
      }
    },
  }
}

const ML_KEM_NAMES: ReadonlyMap<number, 'ml-kem-512' | 'ml-kem-768' | 'ml-kem-1024'> = new Map([
  [KeId.ML_KEM_512, 'ml-kem-512'],
  [KeId.ML_KEM_768, 'ml-kem-768'],
  [KeId.ML_KEM_1024, 'ml-kem-1024'],
])
/** d | z of FIPS 203 7.1. */
const ML_KEM_SEED_LENGTH = 64

function mlKemName(group: number): 'ml-kem-512' | 'ml-kem-768' | 'ml-kem-1024' {
  const name = ML_KEM_NAMES.get(group)
  assert(name !== undefined, 'an ML-KEM that we do')
  return name
}

function createMlKem(group: number, entropy: Entropy): PrivateValue {
  const seed = entropy.bytes(ML_KEM_SEED_LENGTH)
  const privateKey = createPrivateKey({
    key: Buffer.from(seed.buffer, seed.byteOffset, seed.length),
    format: 'raw-seed',
    asymmetricKeyType: mlKemName(group),
  })
  seed.fill(0)
  return {
    publicValue: createPublicKey(privateKey).export({ format: 'raw-public' }),
    agree: (ciphertext) => decapsulate(privateKey, ciphertext),
  }
}

function encapsulateFor({ id, publicValueLength }: KeGroup, peerPublic: Uint8Array): KeyExchangeAnswer {
  checkLength(id, peerPublic, publicValueLength)
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(peerPublic), format: 'raw-public', asymmetricKeyType: mlKemName(id) })
  } catch {
    // OpenSSL checks that every coefficient is reduced when it reads the key.
    throw new InvalidKeyExchange(`the peer's public value is none of group ${id}`)
  }
  const { ciphertext, sharedKey } = encapsulate(key)
  return { publicValue: ciphertext, secret: new Secret(sharedKey) }
}

/** OpenSSL's name of the curve and the order of its group, RFC 5903 3. */
const ECP_CURVES: ReadonlyMap<number, { readonly name: string; readonly order: Uint8Array }> = new Map([
  [KeId.ECP_256, { name: 'prime256v1', order: fromHex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551') }],
  [
    KeId.ECP_384,
    {
      name: 'secp384r1',
      order: fromHex('ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973'),
    },
  ],
  [
    KeId.ECP_521,
    {
      name: 'secp521r1',
      order: fromHex(
        '01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409',
      ),
    },
  ],
])
const UNCOMPRESSED = Uint8Array.of(0x04)
/** Far more than chance could need: a draw misses with a probability of 2^-32 at most. */
const SCALAR_DRAWS_MAX = 8

function createEcp(group: number, entropy: Entropy): PrivateValue {
  const curve = ECP_CURVES.get(group)
  assert(curve !== undefined, 'an ECP group that we do')
  const ecdh = createECDH(curve.name)
  const scalar = drawScalar(curve.order, entropy)
  ecdh.setPrivateKey(scalar)
  scalar.fill(0)
  return {
    publicValue: ecdh.getPublicKey().subarray(UNCOMPRESSED.length),
    agree(peerPublic) {
      try {
        return ecdh.computeSecret(concatBytes(UNCOMPRESSED, peerPublic))
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ERR_CRYPTO_ECDH_INVALID_PUBLIC_KEY') return null
        throw error
      }
    },
  }
}

/** 1 to n - 1, each equally likely: drawn again until it is one (FIPS 186-5 A.2.2), because a remainder would be biased. */
function drawScalar(order: Uint8Array, entropy: Entropy): Uint8Array {
  const topMask = 0xff >> Math.clz32(order[0]! << 24)
  for (let draw = 0; draw < SCALAR_DRAWS_MAX; draw++) {
    const scalar = entropy.bytes(order.length)
    scalar[0]! &= topMask
    if (scalar.some((byte) => byte !== 0) && compareBytes(scalar, order) < 0) return scalar
  }
  assert(false, 'a source of entropy gives a usable scalar within a few draws')
}
