/**
 * Pseudorandom functions (transform type 2) and prf+ (RFC 7296 2.13). HMACs per RFC 2104 and RFC 4868,
 * AES-XCBC-PRF-128 per RFC 4434, AES-CMAC-PRF-128 per RFC 4615; all take keys of any length.
 */
import { assert } from '../base/assert.ts'
import { PrfId } from '../iana/transforms.ts'
import { AesMac, type AesMacKind } from './aes-mac.ts'
import { prfAlgorithm } from './algorithms.ts'
import { hmac, type HmacHash } from './hmac.ts'

export interface Prf {
  readonly id: number
  readonly outputLength: number
  /** The preferred key length: that of SK_d, SK_pi and SK_pr. */
  readonly keyLength: number
  /** prf(key, data), `outputLength` bytes, over the parts of `data` put one after the other. */
  compute(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array
  /**
   * The first `length` bytes of prf+(key, seed), RFC 7296 2.13:
   *   T1 | T2 | ... where T1 = prf(key, seed | 0x01) and Tn = prf(key, Tn-1 | seed | n).
   * The counter is one octet, so `length` is at most 255 outputs.
   */
  plus(key: Uint8Array, seed: Uint8Array, length: number): Uint8Array
}

const HASHES: ReadonlyMap<number, HmacHash> = new Map([
  [PrfId.PRF_HMAC_SHA1, 'sha1'],
  [PrfId.PRF_HMAC_SHA2_256, 'sha256'],
  [PrfId.PRF_HMAC_SHA2_384, 'sha384'],
  [PrfId.PRF_HMAC_SHA2_512, 'sha512'],
])
const AES_MACS: ReadonlyMap<number, AesMacKind> = new Map([
  [PrfId.PRF_AES128_XCBC, 'xcbc'],
  [PrfId.PRF_AES128_CMAC, 'cmac'],
])
const AES_KEY_LENGTH = 16
const COUNTER_MAX = 255

/** There is one of each: they keep nothing. */
const PRFS = new Map<number, Prf>()

/** `id` is a PRF that we do (crypto/algorithms.ts). */
export function createPrf(id: number): Prf {
  const known = PRFS.get(id)
  if (known !== undefined) return known
  const prf = prfOf(id)
  PRFS.set(id, prf)
  return prf
}

function prfOf(id: number): Prf {
  const algorithm = prfAlgorithm(id)
  assert(algorithm !== null, 'only PRFs that we do are negotiated')
  const { outputLength, keyLength } = algorithm
  const keyed = keyedBy(id)
  return {
    id,
    outputLength,
    keyLength,
    compute: (key, ...data) => keyed(key)(...data),
    plus(key, seed, length) {
      assert(length <= COUNTER_MAX * outputLength, 'prf+ counts its outputs in one octet')
      const compute = keyed(key)
      const all = new Uint8Array(length)
      const counter = new Uint8Array(1)
      let previous: Uint8Array = new Uint8Array()
      for (let at = 0; at < length; at += outputLength) {
        counter[0]!++
        const output = compute(previous, seed, counter)
        all.set(output.subarray(0, length - at), at)
        previous.fill(0)
        previous = output
      }
      previous.fill(0)
      return all
    },
  }
}

type Keyed = (...data: readonly Uint8Array[]) => Uint8Array

/** The function that takes a key and remembers it in the form that computes fastest. */
function keyedBy(id: number): (key: Uint8Array) => Keyed {
  const hash = HASHES.get(id)
  if (hash !== undefined) {
    return (key) =>
      (...data) =>
        hmac(hash, key, data)
  }
  const kind = AES_MACS.get(id)
  assert(kind !== undefined, 'a PRF is an HMAC or an AES MAC')
  return (key) => {
    const mac = new AesMac(kind, aesKey(kind, key))
    return (...data) => mac.compute(...data)
  }
}

/**
 * A key of any length made one of 16 bytes. RFC 4434 2 pads a short one with zeros and takes the MAC of a long one
 * under the key zero; RFC 4615 3 takes the MAC of either.
 */
function aesKey(kind: AesMacKind, key: Uint8Array): Uint8Array {
  if (key.length === AES_KEY_LENGTH) return key
  if (kind === 'xcbc' && key.length < AES_KEY_LENGTH) {
    const padded = new Uint8Array(AES_KEY_LENGTH)
    padded.set(key)
    return padded
  }
  return new AesMac(kind, new Uint8Array(AES_KEY_LENGTH)).compute(key)
}
