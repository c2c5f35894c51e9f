/** VICI messages of any shape, for fast-check, and what can be done to their bytes. */
import fc from 'fast-check'

import { concatBytes } from '../../src/base/bytes.ts'
import type { ViciNode, ViciSection } from '../../src/vici/message.ts'

const printable = fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code))
const name = fc.oneof(
  fc.constantFrom('', '0', '17', 'name', 'success', 'local_ts', 'child-sas', '__proto__', 'x'.repeat(255)),
  fc.string({ unit: printable, maxLength: 12 }),
)
const value = fc.oneof(
  { weight: 20, arbitrary: fc.uint8Array({ maxLength: 20 }) },
  { weight: 1, arbitrary: fc.integer({ min: 250, max: 65_535 }).map((length) => new Uint8Array(length).fill(length)) },
)

export const messages: fc.Arbitrary<ViciSection> = fc.letrec<{ section: ViciSection; node: ViciNode }>((tie) => ({
  section: fc.array(fc.tuple(name, tie('node')), { maxLength: 5 }).map((entries) => new Map(entries)),
  node: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    { weight: 3, arbitrary: value },
    { weight: 1, arbitrary: fc.array(value, { maxLength: 4 }) },
    { weight: 2, arbitrary: tie('section') },
  ),
})).section

export interface Mutation {
  readonly kind: 'flip' | 'cut' | 'double' | 'drop' | 'insert'
  /** Where, as a fraction. */
  readonly at: number
  readonly byte: number
}

export const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('flip', 'cut', 'double', 'drop', 'insert'),
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    byte: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 255 })),
  }),
  { minLength: 1, maxLength: 3 },
)

export function mutate(bytes: Uint8Array, list: readonly Mutation[]): Uint8Array {
  return list.reduce((before, { kind, at, byte }) => {
    const place = Math.floor(at * before.length)
    const [head, tail] = [before.subarray(0, place), before.subarray(place)]
    if (kind === 'flip') return concatBytes(head, Uint8Array.of((tail[0] ?? 0) ^ (byte === 0 ? 1 : byte)), tail.subarray(1))
    if (kind === 'cut') return head
    if (kind === 'double') return concatBytes(before, tail)
    if (kind === 'drop') return concatBytes(head, tail.subarray(1 + (byte % 4)))
    return concatBytes(head, Uint8Array.of(byte), tail)
  }, bytes)
}
