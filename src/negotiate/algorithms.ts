/**
 * Which ESP algorithms a set of proposals can end in: what the kernel must know.
 */
import { encrAlgorithm } from '../crypto/algorithms.ts'
import { TransformType } from '../iana/transforms.ts'
import type { SuiteProposal } from './proposals.ts'

/** Encryption transform with its key length in bits; integrity transform, null with an AEAD. */
export interface EspAlgorithms {
  readonly encryption: { readonly id: number; readonly keyLength: number | null }
  readonly integrity: number | null
}

/** Every pair of encryption and integrity that negotiation may choose from the proposals, each once. */
export function espAlgorithms(proposals: readonly SuiteProposal[]): readonly EspAlgorithms[] {
  const found = new Map<string, EspAlgorithms>()
  for (const { transforms } of proposals) {
    const integrities = transforms.filter((transform) => transform.type === TransformType.INTEG).map((transform) => transform.id)
    for (const { type, id, keyLength } of transforms) {
      if (type !== TransformType.ENCR) continue
      const isAead = encrAlgorithm(id)?.icvLength !== 0
      for (const integrity of isAead ? [null] : integrities) {
        found.set(`${id}/${keyLength}/${integrity}`, { encryption: { id, keyLength }, integrity })
      }
    }
  }
  return [...found.values()]
}
