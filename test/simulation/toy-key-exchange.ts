/**
 * Key exchange groups that cost nothing and are worth nothing, behind the same port, for worlds that rekey a hundred
 * thousand times: public values and secrets have the lengths of the real group, and both sides come to the same secret
 * (in every lane of 32 bits, x·G and x·y·G modulo 2^32). A KEM is no other: node:crypto takes its chance from the system,
 * and a world that is to go the same way again cannot have that.
 */
import { keGroup } from '../../src/crypto/algorithms.ts'
import { InvalidKeyExchange } from '../../src/crypto/key-exchange.ts'
import { Secret } from '../../src/crypto/secret.ts'
import type { Entropy, KeyExchange, KeyExchangeAnswer } from '../../src/ports.ts'

/** Odd, so that no multiple of it is lost. */
const GENERATOR = 0x9e37_79b1

export function toyKeyExchange(group: number, entropy: Entropy): KeyExchange {
  const { publicValueLength, answerLength, sharedSecretLength } = keGroup(group)!
  const privateValue = entropy.bytes(publicValueLength)
  return {
    group,
    publicValue: times(privateValue, null),
    // Rejects, as the port says, rather than throwing.
    agree: async (answer) => agree(privateValue, answer, answerLength, sharedSecretLength),
    destroy: () => void privateValue.fill(0),
  }
}

export async function toyAnswer(group: number, peerPublic: Uint8Array, entropy: Entropy): Promise<KeyExchangeAnswer> {
  const { publicValueLength, answerLength, sharedSecretLength } = keGroup(group)!
  const privateValue = entropy.bytes(answerLength)
  const secret = agree(privateValue, peerPublic, publicValueLength, sharedSecretLength)
  return { publicValue: times(privateValue, null), secret }
}

function agree(privateValue: Uint8Array, peerPublic: Uint8Array, expected: number, secretLength: number): Secret {
  if (peerPublic.length !== expected)
    throw new InvalidKeyExchange(`the peer's public value has ${peerPublic.length} bytes, not ${expected}`)
  // Lane by lane: what the longer one has more does not matter.
  const length = Math.min(privateValue.length, peerPublic.length)
  return new Secret(times(privateValue.subarray(0, length), peerPublic).subarray(0, secretLength))
}

/** Lane by lane; `base` null is the generator. All groups have public values of whole lanes. */
function times(exponent: Uint8Array, base: Uint8Array | null): Uint8Array {
  const product = new Uint8Array(exponent.length)
  for (let at = 0; at < exponent.length; at += 4) {
    const lane = Math.imul(laneOf(exponent, at), base === null ? GENERATOR : laneOf(base, at))
    for (let i = 0; i < 4; i++) product[at + i] = lane >>> (8 * i)
  }
  return product
}

/** The least of its octets first. */
function laneOf(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
