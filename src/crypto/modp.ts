/**
 * Key exchange in the MODP groups of RFC 3526. OpenSSL takes such keys in DER only, because node's class for them would
 * test the prime again each time, for seconds:
 *
 *   PrivateKeyInfo       = SEQUENCE { INTEGER 0, algorithm, OCTET STRING { INTEGER x } }     RFC 5208 5
 *   SubjectPublicKeyInfo = SEQUENCE { algorithm, BIT STRING { INTEGER g^x } }                RFC 5280 4.1
 *   algorithm            = SEQUENCE { dhKeyAgreement, SEQUENCE { INTEGER p, INTEGER g } }    PKCS #3
 */
import { createPrivateKey, createPublicKey, diffieHellman, getDiffieHellman, type KeyObject } from 'node:crypto'

import { assert } from '../base/assert.ts'
import { compareBytes, concatBytes, Reader } from '../base/bytes.ts'
import { KeId } from '../iana/transforms.ts'
import type { Entropy } from '../ports.ts'

export interface ModpPrivate {
  /** As long as the modulus, zeros in front. */
  readonly publicValue: Uint8Array
  /** The shared value, as long as the modulus, or null for a peer's value outside 2 to p - 2. `peer` is as long as the modulus. */
  agree(peer: Uint8Array): Uint8Array | null
}

/**
 * OpenSSL's name of the group, and bits of the secret exponent. An exponent of twice the group's strength leaves the
 * attacker nothing cheaper than the group itself, and full-length ones would cost eight to sixteen times as much. RFC
 * 3526 8 puts the strengths at 110 to 310 bits, its higher estimates need 320 to 620; RFC 7919 asks for at least 225,
 * 275, 325, 375 and 400 bits. All of these are safe primes, where a short exponent leaks nothing to small subgroups.
 */
const GROUPS: ReadonlyMap<number, { readonly name: string; readonly exponentBits: number }> = new Map([
  [KeId.MODP_2048, { name: 'modp14', exponentBits: 256 }],
  [KeId.MODP_3072, { name: 'modp15', exponentBits: 320 }],
  [KeId.MODP_4096, { name: 'modp16', exponentBits: 384 }],
  [KeId.MODP_6144, { name: 'modp17', exponentBits: 448 }],
  [KeId.MODP_8192, { name: 'modp18', exponentBits: 512 }],
])

/** What all keys of a group have in common. */
interface Parameters {
  readonly prime: Uint8Array
  /** p - 2, the largest public value there is. */
  readonly largest: Uint8Array
  readonly exponentLength: number
  /** The AlgorithmIdentifier. */
  readonly algorithm: Uint8Array
  /** A PrivateKeyInfo up to the octets of x. */
  readonly privatePrefix: Uint8Array
}

const TWO = Uint8Array.of(2)
const DH_KEY_AGREEMENT = Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01)
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const OBJECT_IDENTIFIER = 0x06
const SEQUENCE = 0x30

const parametersOf = new Map<number, Parameters>()

export function createModp(group: number, entropy: Entropy): ModpPrivate {
  let parameters = parametersOf.get(group)
  if (parameters === undefined) {
    parameters = makeParameters(group)
    parametersOf.set(group, parameters)
  }
  return generate(parameters, entropy)
}

function generate(parameters: Parameters, entropy: Entropy): ModpPrivate {
  const { prime, largest, algorithm, privatePrefix, exponentLength } = parameters
  const exponent = entropy.bytes(exponentLength)
  const info = concatBytes(privatePrefix, exponent)
  exponent.fill(0)
  // The top bit makes every exponent equally long: none is small, and the DER around it is the same.
  info[privatePrefix.length]! |= 0x80
  const key = createPrivateKey({ key: Buffer.from(info.buffer), format: 'der', type: 'pkcs8' })
  info.fill(0)
  return {
    publicValue: leftPadded(publicInteger(createPublicKey(key)), prime.length),
    agree(peer) {
      if (compareBytes(peer, leftPadded(TWO, prime.length)) < 0 || compareBytes(peer, largest) > 0) return null
      const info = tlv(SEQUENCE, algorithm, tlv(BIT_STRING, Uint8Array.of(0), integer(peer)))
      const publicKey = createPublicKey({ key: Buffer.from(info.buffer), format: 'der', type: 'spki' })
      return leftPadded(diffieHellman({ privateKey: key, publicKey }), prime.length)
    },
  }
}

function makeParameters(group: number): Parameters {
  const known = GROUPS.get(group)
  assert(known !== undefined, 'a MODP group that we do')
  const prime = new Uint8Array(getDiffieHellman(known.name).getPrime())
  const largest = prime.slice()
  // The primes of RFC 3526 end in 64 one bits, so nothing is borrowed.
  largest[largest.length - 1]! -= 2
  const algorithm = tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, DH_KEY_AGREEMENT), tlv(SEQUENCE, integer(prime), integer(TWO)))
  const exponentLength = known.exponentBits / 8
  const shape = tlv(
    SEQUENCE,
    integer(Uint8Array.of(0)),
    algorithm,
    tlv(OCTET_STRING, integer(new Uint8Array(exponentLength).fill(0x80))),
  )
  return { prime, largest, algorithm, exponentLength, privatePrefix: shape.slice(0, shape.length - exponentLength) }
}

/** g^x out of a SubjectPublicKeyInfo. */
function publicInteger(key: KeyObject): Uint8Array {
  const info = contents(new Reader(key.export({ format: 'der', type: 'spki' })), SEQUENCE)
  contents(info, SEQUENCE)
  const bits = contents(info, BIT_STRING)
  bits.skip(1)
  return contents(bits, INTEGER).rest()
}

/** Reads one element of OpenSSL's own DER and returns its contents. */
function contents(reader: Reader, tag: number): Reader {
  assert(reader.u8() === tag, 'OpenSSL writes keys as their standard says')
  const short = reader.u8()
  if (short < 0x80) return reader.sub(short)
  return reader.sub(short === 0x81 ? reader.u8() : reader.u16())
}

function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = concatBytes(...parts)
  const { length } = value
  const header = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff]
  return concatBytes(Uint8Array.from(header), value)
}

/** A non-negative INTEGER: no zeros in front but the one that keeps it from being negative. */
function integer(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const digits = bytes.subarray(start)
  return digits[0]! < 0x80 ? tlv(INTEGER, digits) : tlv(INTEGER, Uint8Array.of(0), digits)
}

/** `bytes` as a number of `length` octets: zeros put in front, or DER's one zero taken off. */
function leftPadded(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) return bytes
  if (bytes.length > length) return bytes.subarray(bytes.length - length)
  const padded = new Uint8Array(length)
  padded.set(bytes, length - bytes.length)
  return padded
}
