/**
 * What the tests of crypto/ and of whoever uses it share: entropy that can be foreseen, and the suites there are.
 */
import { createHash } from 'node:crypto'

import { encrAlgorithm, integAlgorithm, prfAlgorithm } from '../../src/crypto/algorithms.ts'
import type { Suite } from '../../src/crypto/protection.ts'
import { EncrId, IntegId, KeId, PrfId } from '../../src/iana/transforms.ts'
import type { Entropy } from '../../src/ports.ts'

/** The same bytes for the same seed, SHA-256 over a counter. */
export function seededEntropy(seed: string): Entropy {
  let draws = 0
  return {
    bytes(count) {
      const all = new Uint8Array(count)
      for (let at = 0; at < count; at += 32) {
        all.set(
          createHash('sha256')
            .update(`${seed} ${draws++}`)
            .digest()
            .subarray(0, count - at),
          at,
        )
      }
      return all
    },
  }
}

/** Gives out `draws`, in this order, and nothing else. */
export function entropyOf(...draws: readonly Uint8Array[]): Entropy {
  let next = 0
  return {
    bytes(count) {
      const draw = draws[next++]
      if (draw === undefined || draw.length !== count) throw new Error(`draw ${next} of ${count} bytes was not foreseen`)
      return draw.slice()
    },
  }
}

/** Every combination of encryption, key length and integrity that an IKE_SA can have, with one PRF and group. */
export function everyProtectionSuite(): Suite[] {
  const suites: Suite[] = []
  for (const id of Object.values(EncrId)) {
    const algorithm = encrAlgorithm(id)
    if (algorithm === null || algorithm.mode === 'null') continue
    for (const keyLength of algorithm.keyLengthsInBits.length === 0 ? [null] : algorithm.keyLengthsInBits) {
      const integs = algorithm.mode === 'aead' ? [null] : Object.values(IntegId).filter((integ) => integAlgorithm(integ) !== null)
      for (const integ of integs) {
        suites.push({
          encr: { id, keyLength },
          integ: integ === null ? null : { id: integ },
          prf: PrfId.PRF_HMAC_SHA2_256,
          ke: KeId.CURVE25519,
        })
      }
    }
  }
  return suites
}

export function everyPrf(): number[] {
  return Object.values(PrfId).filter((id) => prfAlgorithm(id) !== null)
}

export function suiteTitle(suite: Suite): string {
  const nameOf = (table: Record<string, number>, id: number): string =>
    Object.keys(table).find((name) => table[name] === id) ?? String(id)
  const integ = suite.integ === null ? '' : ` with ${nameOf(IntegId, suite.integ.id)}`
  return `${nameOf(EncrId, suite.encr.id)}${suite.encr.keyLength === null ? '' : ` of ${suite.encr.keyLength} bits`}${integ}`
}
