/** What the tests of hostile input share: what holds for any input, how long it may take, and how good messages are made bad. */
import assert from 'node:assert/strict'

import fc from 'fast-check'

import { concatBytes, toHex } from '../../../src/base/bytes.ts'
import { MalformedMessage } from '../../../src/message/ikev2/malformed.ts'
import { parseMessage, writeMessage, type PayloadChain } from '../../../src/message/ikev2/message.ts'
import type { Payload } from '../../../src/message/ikev2/payload.ts'
import { FIELDS } from './support.ts'

/** No input, whatever it is, may keep us longer. */
export const CASE_MILLISECONDS_MAX = 50
/** A machine that is busy with something else makes any reading slow now and then; it does not do so every time. */
const TRIES = 5

/**
 * Reads. When that took longer than it may by the clock on the wall, it is read again and again, and the time on the
 * processor decides, the least of it.
 */
export function readQuickly<T>(read: () => T, input: Uint8Array): T {
  const begun = performance.now()
  try {
    return read()
  } finally {
    if (performance.now() - begun > CASE_MILLISECONDS_MAX) assertQuick(read, input)
  }
}

function assertQuick(read: () => unknown, input: Uint8Array): void {
  let least = Infinity
  for (let i = 0; i < TRIES && least > CASE_MILLISECONDS_MAX; i++) {
    const before = process.threadCpuUsage()
    try {
      read()
    } catch {
      // What it ends with is looked at elsewhere; here only how long it takes counts.
    }
    const { user, system } = process.threadCpuUsage(before)
    least = Math.min(least, (user + system) / 1000)
  }
  assert(least <= CASE_MILLISECONDS_MAX, `${least} ms on the processor for ${input.length} bytes: ${toHex(input)}`)
}

/**
 * Reads, and asserts what holds for any input: in time it fails with MalformedMessage, at a place within the input, or
 * what was read can be written, and is then read as the same again. Null when it was refused.
 */
export function readOrRefused<Chain extends PayloadChain>(read: () => Chain, input: Uint8Array, base = 0): Chain | null {
  const end = base + input.length
  let chain: Chain
  try {
    chain = readQuickly(read, input)
  } catch (error) {
    assert(error instanceof MalformedMessage, `${String(error instanceof Error ? error.stack : error)}\nafter ${toHex(input)}`)
    assert(Number.isInteger(error.offset) && error.offset >= 0 && error.offset <= end, `${error.message}, of ${end} bytes`)
    assert(error.payload !== '' && error.reason !== '')
    return null
  }
  const { payloads } = chain
  if (!payloads.some(hasOtherAttributes)) {
    assert.deepEqual(parseMessage(writeMessage(FIELDS, payloads)).payloads.map(meaning), payloads.map(meaning))
  }
  return chain
}

// Such transforms are only read: what the attributes were is not kept.
function hasOtherAttributes(payload: Payload): boolean {
  return (
    payload.kind === 'SA' && payload.proposals.some(({ transforms }) => transforms.some((transform) => transform.otherAttributes))
  )
}

/** A payload without what depends on where it was read. */
export function meaning(payload: Payload): unknown {
  if (payload.kind === 'SK' || payload.kind === 'SKF') return { ...payload, bodyOffset: null }
  if (payload.kind !== 'TSi' && payload.kind !== 'TSr') return payload
  return { ...payload, selectors: payload.selectors.map((wire) => (wire.selector === null ? wire : { ...wire, body: null })) }
}

/** Corrects the header's Length, so that the rest is looked at. */
export function withLength(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  if (copy.length >= 28) new DataView(copy.buffer).setUint32(24, copy.length)
  return copy
}

interface Mutation {
  readonly what: 'flip' | 'bit' | 'truncate' | 'extend' | 'cut' | 'repeat' | 'length'
  readonly at: number
  readonly by: number
}

const mutation = fc.oneof(
  fc.record({ what: fc.constant('flip' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ what: fc.constant('bit' as const), at: fc.nat(), by: fc.nat(7) }),
  fc.record({ what: fc.constant('truncate' as const), at: fc.nat(), by: fc.constant(0) }),
  fc.record({ what: fc.constant('extend' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ what: fc.constant('cut' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ what: fc.constant('repeat' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 80 }) }),
  fc.record({ what: fc.constant('length' as const), at: fc.nat(), by: fc.oneof(fc.nat(64), fc.nat(65535)) }),
)
export const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(mutation, { minLength: 1, maxLength: 3 })

/** What the mutations, one after the other, make of `bytes`. */
export function mutated(bytes: Uint8Array, changes: readonly Mutation[]): Uint8Array {
  return changes.reduce(mutatedOnce, bytes)
}

function mutatedOnce(bytes: Uint8Array, { what, at, by }: Mutation): Uint8Array {
  if (bytes.length === 0) return bytes
  const place = at % bytes.length
  const copy = bytes.slice()
  switch (what) {
    case 'flip':
      copy[place]! ^= by
      return copy
    case 'bit':
      copy[place]! ^= 1 << by
      return copy
    case 'truncate':
      return copy.subarray(0, place)
    case 'extend':
      return concatBytes(copy.subarray(0, place), new Uint8Array(by).fill(at), copy.subarray(place))
    case 'cut':
      return concatBytes(copy.subarray(0, place), copy.subarray(place + by))
    case 'repeat':
      return concatBytes(copy.subarray(0, place + by), copy.subarray(place))
    case 'length':
      copy[place] = by >> 8
      if (place + 1 < copy.length) copy[place + 1] = by
      return copy
  }
}
