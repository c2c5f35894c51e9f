/** What a stranger may send: whatever it is, it is read, or refused with MalformedMessage. HOSTILE_CASES raises the number of tries. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { concatBytes, fromHex, toHex } from '../../../src/base/bytes.ts'
import { MalformedMessage } from '../../../src/message/ikev2/malformed.ts'
import {
  parseMessage,
  parsePayloads,
  writeMessage,
  writePayloads,
  type PayloadChain,
} from '../../../src/message/ikev2/message.ts'
import { payloadTypeOf, type Payload } from '../../../src/message/ikev2/payload.ts'
import * as arbitrary from './arbitrary.ts'
import { datagram, FIELDS, generic, hex } from './support.ts'

const numRuns = Number(process.env['HOSTILE_CASES'] ?? 5000)
const types = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...Array.from({ length: 16 }, (_, i) => 33 + i), 53) },
  fc.nat(255),
)

/**
 * Reads, and asserts what holds for any input: it fails with MalformedMessage, at a place within the input, or what
 * was read can be written, and is then read as the same again. True when it was read.
 */
function isReadOrRefused<Chain extends PayloadChain>(read: () => Chain, end: number): boolean {
  let chain: Chain
  try {
    chain = read()
  } catch (error) {
    assert(error instanceof MalformedMessage, String(error instanceof Error ? error.stack : error))
    assert(Number.isInteger(error.offset) && error.offset >= 0 && error.offset <= end, `${error.message}, of ${end} bytes`)
    assert(error.payload !== '' && error.reason !== '')
    return false
  }
  const { payloads } = chain
  if (!payloads.some(hasOtherAttributes)) {
    assert.deepEqual(parseMessage(writeMessage(FIELDS, payloads)).payloads.map(meaning), payloads.map(meaning))
  }
  return true
}

// Such transforms are only read: what the attributes were is not kept.
function hasOtherAttributes(payload: Payload): boolean {
  return (
    payload.kind === 'SA' && payload.proposals.some(({ transforms }) => transforms.some((transform) => transform.otherAttributes))
  )
}

/** A payload without what depends on where it was read. */
function meaning(payload: Payload): unknown {
  if (payload.kind === 'SK' || payload.kind === 'SKF') return { ...payload, bodyOffset: null }
  if (payload.kind !== 'TSi' && payload.kind !== 'TSr') return payload
  return { ...payload, selectors: payload.selectors.map((wire) => (wire.selector === null ? wire : { ...wire, body: null })) }
}

function withLength(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  if (copy.length >= 28) new DataView(copy.buffer).setUint32(24, copy.length)
  return copy
}

test('any bytes are read or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, lengthIsRight) => {
      const input = lengthIsRight ? withLength(bytes) : bytes
      isReadOrRefused(() => parseMessage(input), input.length)
    }),
    { numRuns },
  )
})

test('any bytes after a good header are read or refused', () => {
  fc.assert(
    fc.property(types, fc.uint8Array({ maxLength: 400 }), (type, bytes) => {
      const input = datagram(type, toHex(bytes))
      isReadOrRefused(() => parseMessage(input), input.length)
    }),
    { numRuns },
  )
})

test('any bytes as decrypted content are read or refused', () => {
  fc.assert(
    fc.property(types, fc.uint8Array({ maxLength: 200 }), fc.nat(2000), (type, bytes, base) => {
      isReadOrRefused(() => parsePayloads(type, bytes, base), base + bytes.length)
    }),
    { numRuns },
  )
})

test('any bodies in good generic headers are read or refused', () => {
  let read = 0
  fc.assert(
    fc.property(fc.array(fc.tuple(types, fc.uint8Array({ maxLength: 60 })), { minLength: 1, maxLength: 4 }), (parts) => {
      const chain = parts.map(([, body], i) => generic(parts[i + 1]?.[0] ?? 0, toHex(body))).join('')
      const input = datagram(parts[0]![0], chain)
      if (isReadOrRefused(() => parseMessage(input), input.length)) read++
    }),
    { numRuns },
  )
  assert(read > numRuns / 50, `only ${read} of ${numRuns} were messages: the others do not reach far`)
})

const mutation = fc.oneof(
  fc.record({ what: fc.constant('flip' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ what: fc.constant('bit' as const), at: fc.nat(), by: fc.nat(7) }),
  fc.record({ what: fc.constant('truncate' as const), at: fc.nat(), by: fc.constant(0) }),
  fc.record({ what: fc.constant('extend' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ what: fc.constant('cut' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ what: fc.constant('length' as const), at: fc.nat(), by: fc.oneof(fc.nat(64), fc.nat(65535)) }),
)

function mutated(bytes: Uint8Array, { what, at, by }: { what: string; at: number; by: number }): Uint8Array {
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
    default:
      copy[place] = by >> 8
      if (place + 1 < copy.length) copy[place + 1] = by
      return copy
  }
}

test('good messages made bad are read or refused', () => {
  let read = 0
  fc.assert(
    fc.property(
      arbitrary.headerFields,
      arbitrary.payloads,
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      (fields, payloads, mutations, lengthIsRight) => {
        let input = writeMessage(fields, payloads)
        for (const change of mutations) input = mutated(input, change)
        if (lengthIsRight) input = withLength(input)
        if (isReadOrRefused(() => parseMessage(input), input.length)) read++
      },
    ),
    { numRuns },
  )
  assert(read > numRuns / 50, `only ${read} of ${numRuns} were messages: the others do not reach far`)
})

test('every length byte of a message, changed to anything, is survived', () => {
  const bytes = writeMessage(FIELDS, [
    {
      kind: 'SA',
      proposals: [
        {
          number: 1,
          protocol: 3,
          spi: fromHex('c0010203'),
          transforms: [{ type: 1, id: 12, keyLength: 256, otherAttributes: false }],
        },
      ],
    },
    { kind: 'Notify', protocol: 3, spi: fromHex('c0010203'), notifyType: 16393, data: fromHex('aabb') },
    { kind: 'Delete', protocol: 3, spis: [fromHex('c0010203'), fromHex('c0010204')] },
    { kind: 'CP', cpType: 1, attributes: [{ type: 1, value: fromHex('0a000001') }] },
  ])
  for (let at = 0; at < bytes.length; at++) {
    for (let value = 0; value < 256; value++) {
      const input = bytes.slice()
      input[at] = value
      isReadOrRefused(() => parseMessage(input), input.length)
    }
  }
})

test('a good message is read as what was written, and written as what was read', () => {
  fc.assert(
    fc.property(arbitrary.headerFields, arbitrary.payloads, (fields, payloads) => {
      const bytes = writeMessage(fields, payloads)
      const message = parseMessage(bytes)
      assert.deepEqual(message.payloads.map(meaning), payloads.map(meaning))
      const { nextPayload, length, ...read } = message.header
      assert.deepEqual(read, fields)
      assert.equal(length, bytes.length)
      const [first] = payloads
      assert.equal(nextPayload, first === undefined ? 0 : payloadTypeOf(first))
      assert.equal(toHex(writeMessage(message.header, message.payloads)), toHex(bytes))
    }),
    { numRuns },
  )
})

test('good content is read as what was written, and written as what was read', () => {
  fc.assert(
    fc.property(arbitrary.innerPayloads, (payloads) => {
      const bytes = writePayloads(payloads)
      const [first] = payloads
      const chain = parsePayloads(first === undefined ? 0 : payloadTypeOf(first), bytes, 48)
      assert.deepEqual(chain.payloads.map(meaning), payloads.map(meaning))
      assert.equal(chain.unknownCritical, payloads.find((payload) => payload.kind === 'Unknown')?.payloadType ?? null)
      assert.equal(toHex(writePayloads(chain.payloads)), toHex(bytes))
    }),
    { numRuns },
  )
})

const full = (type: number, head: string, unit: string): Uint8Array => {
  const room = 65535 - 28 - 4 - fromHex(head).length
  return datagram(type, generic(0, head + unit.repeat(Math.floor(room / fromHex(unit).length))))
}

test('the largest datagrams of the smallest things are read or refused', () => {
  const inputs = [
    datagram(200, generic(200, '').repeat(16000)),
    full(33, '', '02 00 0014 01 03 04 01 c0010203 00 00 0008 01 00 0014'),
    full(33, `00 00 ${hex(65535 - 32, 2)} 01 01 00 ff`, '03 00 0008 01 00 0014'),
    full(33, `00 00 ${hex(65535 - 32, 2)} 01 01 00 01 00 00 ${hex(65535 - 40, 2)} 01 00 000c`, '000f 0000'),
    full(42, '03 04 3ff5', 'c0010203'),
    full(44, 'ff 000000', '07 00 0010 0000 ffff 0a010000 0a01ffff'),
    full(44, 'ff 000000', 'c8 00 0004'),
    full(47, '01 000000', '0001 0000'),
  ]
  for (const input of inputs)
    assert.equal(
      isReadOrRefused(() => parseMessage(input), input.length),
      false,
    )
})
