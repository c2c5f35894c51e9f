/**
 * What a stranger may send, and what a peer with keys may: whatever it is, it is read, or refused with
 * MalformedMessage, in time. HOSTILE_CASES raises the number of tries.
 */
import assert from 'node:assert/strict'
import { createCipheriv } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { concatBytes, equalBytes, fromHex, toHex } from '../../../src/base/bytes.ts'
import { encrKeyMaterialLength, integAlgorithm } from '../../../src/crypto/algorithms.ts'
import { createOpener, createSealer, type Opener } from '../../../src/crypto/protection.ts'
import { Secret } from '../../../src/crypto/secret.ts'
import { EncrId } from '../../../src/iana/transforms.ts'
import {
  associatedDataOf,
  parseMessage,
  parsePayloads,
  writeMessage,
  writePayloads,
  writeProtectedFragments,
  writeProtectedMessage,
} from '../../../src/message/ikev2/message.ts'
import { payloadTypeOf, type SkfPayload, type SkPayload } from '../../../src/message/ikev2/payload.ts'
import { everyProtectionSuite, seededEntropy } from '../../support/crypto-fixtures.ts'
import * as arbitrary from './arbitrary.ts'
import { CASE_MILLISECONDS_MAX, meaning, mutated, mutations, readOrRefused, readQuickly, withLength } from './hostile.ts'
import { recordMessages } from './recorded.ts'
import { datagram, FIELDS, generic, hex } from './support.ts'

const CASES_LEAST = 200_000
const numRuns = Math.max(Number(process.env['HOSTILE_CASES'] ?? 0), 23_000)
const types = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...Array.from({ length: 16 }, (_, i) => 33 + i), 53) },
  fc.nat(255),
)
const recorded = await recordMessages()
let cases = 0

/** Tries `numRuns` cases and counts those that were run. `attempt` is told whether its input was read. */
function tryAll<Drawn extends [unknown, ...unknown[]]>(
  drawn: { [Key in keyof Drawn]: fc.Arbitrary<Drawn[Key]> },
  attempt: (...values: Drawn) => boolean,
): { readonly read: number } {
  let read = 0
  fc.assert(
    fc.property(fc.tuple(...drawn), (values) => {
      cases++
      if (attempt(...(values as Drawn))) read++
    }),
    { numRuns },
  )
  return { read }
}

function assertReachesFar({ read }: { readonly read: number }): void {
  assert(read > numRuns / 50, `only ${read} of ${numRuns} were messages: the others do not reach far`)
}

test('any bytes are read or refused', () => {
  tryAll([fc.uint8Array({ maxLength: 400 }), fc.boolean()], (bytes, lengthIsRight) => {
    const input = lengthIsRight ? withLength(bytes) : bytes
    return readOrRefused(() => parseMessage(input), input) !== null
  })
})

test('any bytes after a good header are read or refused', () => {
  tryAll([types, fc.uint8Array({ maxLength: 400 })], (type, bytes) => {
    const input = datagram(type, toHex(bytes))
    return readOrRefused(() => parseMessage(input), input) !== null
  })
})

test('any bytes as decrypted content are read or refused', () => {
  tryAll([types, fc.uint8Array({ maxLength: 200 }), fc.nat(2000)], (type, bytes, base) => {
    return readOrRefused(() => parsePayloads(type, bytes, base), bytes, base) !== null
  })
})

test('any bodies in good generic headers are read or refused', () => {
  const bodies = fc.array(fc.tuple(types, fc.uint8Array({ maxLength: 60 })), { minLength: 1, maxLength: 4 })
  const tried = tryAll([bodies], (parts) => {
    const chain = parts.map(([, body], i) => generic(parts[i + 1]?.[0] ?? 0, toHex(body))).join('')
    const input = datagram(parts[0]![0], chain)
    return readOrRefused(() => parseMessage(input), input) !== null
  })
  assertReachesFar(tried)
})

test('good messages made bad are read or refused', () => {
  const tried = tryAll(
    [arbitrary.headerFields, arbitrary.payloads, mutations, fc.boolean()],
    (fields, payloads, changes, lengthIsRight) => {
      const changed = mutated(writeMessage(fields, payloads), changes)
      const input = lengthIsRight ? withLength(changed) : changed
      return readOrRefused(() => parseMessage(input), input) !== null
    },
  )
  assertReachesFar(tried)
})

test('the messages of a real handshake made bad are read or refused, and what was sealed opens for nobody', (t) => {
  t.diagnostic(`of ${recorded.map(({ summary, bytes }) => `${summary} (${bytes.length} bytes)`).join(', ')}`)
  const tried = tryAll([fc.constantFrom(...recorded), mutations, fc.boolean()], ({ bytes, sealed }, changes, lengthIsRight) => {
    const changed = mutated(bytes, changes)
    const input = lengthIsRight ? withLength(changed) : changed
    const message = readOrRefused(() => parseMessage(input), input)
    if (message === null) return false
    if (sealed !== null) assertOpensOnlyUnchanged(sealed.opener, input, bytes)
    return true
  })
  assertReachesFar(tried)
})

test('the contents of a real handshake made bad are read or refused', () => {
  const contents = recorded.flatMap(({ sealed }) => (sealed === null ? [] : [sealed]))
  const tried = tryAll(
    [fc.constantFrom(...contents), fc.option(types, { nil: null, freq: 5 }), mutations],
    ({ firstType, content }, otherType, changes) => {
      const input = mutated(content, changes)
      return readOrRefused(() => parsePayloads(otherType ?? firstType, input, 48), input, 48) !== null
    },
  )
  assertReachesFar(tried)
})

test('messages and fragments sealed by any suite and then made bad are read or refused, and open for nobody', () => {
  const sealed = everyProtectionSuite().flatMap((suite, i) => {
    const entropy = seededEntropy(`hostile ${i}`)
    const encr = new Secret(entropy.bytes(encrKeyMaterialLength(suite.encr)))
    const integ = suite.integ === null ? null : new Secret(entropy.bytes(integAlgorithm(suite.integ.id)!.keyLength))
    const [sealer, opener] = [createSealer(suite, encr, integ, entropy), createOpener(suite, encr, integ)]
    const payloads = [{ kind: 'Nonce' as const, data: entropy.bytes(200) }]
    const messages = [writeProtectedMessage(FIELDS, payloads, sealer), ...writeProtectedFragments(FIELDS, payloads, sealer, 160)]
    return messages.map((bytes) => ({ bytes, opener }))
  })
  for (const { bytes, opener } of sealed) assertOpensOnlyUnchanged(opener, bytes, bytes)
  const tried = tryAll([fc.constantFrom(...sealed), mutations, fc.boolean()], ({ bytes, opener }, changes, lengthIsRight) => {
    const changed = mutated(bytes, changes)
    const input = lengthIsRight ? withLength(changed) : changed
    if (readOrRefused(() => parseMessage(input), input) === null) return false
    assertOpensOnlyUnchanged(opener, input, bytes)
    return true
  })
  assertReachesFar(tried)
})

/** What is in `input`, a message that can be read, opens if and only if it is still the `original`. */
function assertOpensOnlyUnchanged(opener: Opener, input: Uint8Array, original: Uint8Array): void {
  const sealed = parseMessage(input).payloads.at(-1)
  if (sealed?.kind !== 'SK' && sealed?.kind !== 'SKF') return
  const plaintext = readQuickly(() => opener.open(associatedDataOf(input, sealed), sealed.body), input)
  assert.equal(plaintext !== null, equalBytes(input, original), toHex(input))
}

// Anybody can have keys: for them it takes an IKE_SA_INIT and nothing else.
test('whatever whoever has the keys seals, with any padding, opens to what is read or refused, or not at all', () => {
  const key = seededEntropy('hostile key').bytes(20)
  const opener = createOpener({ encr: { id: EncrId.ENCR_AES_GCM_16, keyLength: 128 }, integ: null }, new Secret(key), null)
  const iv = new Uint8Array(8)
  const seal = (associatedData: Uint8Array, padded: Uint8Array): Uint8Array => {
    const cipher = createCipheriv('aes-128-gcm', key.subarray(0, 16), concatBytes(key.subarray(16), iv)).setAAD(associatedData)
    return concatBytes(iv, cipher.update(padded), cipher.final(), cipher.getAuthTag())
  }
  const padding = fc.oneof(fc.constant({ claimed: 0, real: 0 }), fc.record({ claimed: fc.nat(255), real: fc.nat(40) }))
  const kinds = fc.constantFrom<(SkPayload | SkfPayload)['kind'][]>('SK', 'SKF')
  const tried = tryAll(
    [arbitrary.innerPayloads, fc.option(mutations, { nil: [] }), padding, kinds],
    (payloads, changes, { claimed, real }, kind) => {
      const content = mutated(writePayloads(payloads), changes)
      const innerFirst = payloads[0] === undefined ? 0 : payloadTypeOf(payloads[0])
      const padded = concatBytes(content, new Uint8Array(real), Uint8Array.of(claimed))
      const body = new Uint8Array(8 + padded.length + 16)
      const shape = { innerFirst, body, bodyOffset: 0 }
      const bytes = writeMessage(FIELDS, [
        kind === 'SK' ? { kind, ...shape } : { kind, ...shape, fragmentNumber: 1, totalFragments: 1 },
      ])
      bytes.set(seal(bytes.subarray(0, bytes.length - body.length), padded), bytes.length - body.length)

      const sealed = parseMessage(bytes).payloads[0] as SkPayload | SkfPayload
      const plaintext = readQuickly(() => opener.open(associatedDataOf(bytes, sealed), sealed.body), bytes)
      // An empty body is padding alone, one octet of it at least.
      assert.equal(plaintext === null, claimed > content.length + real, toHex(bytes))
      if (plaintext === null) return false
      return (
        readOrRefused(() => parsePayloads(sealed.innerFirst, plaintext, sealed.bodyOffset), plaintext, sealed.bodyOffset) !== null
      )
    },
  )
  assertReachesFar(tried)
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
      readOrRefused(() => parseMessage(input), input)
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
    { numRuns: 5000 },
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
    { numRuns: 5000 },
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
      readOrRefused(() => parseMessage(input), input),
      null,
    )
})

test('a reading that takes too long is found out, one that was only interrupted is not', () => {
  const busy = (milliseconds: number): void => {
    const before = process.threadCpuUsage()
    while (process.threadCpuUsage(before).user < milliseconds * 1000);
  }
  assert.throws(
    () => readQuickly(() => busy(2 * CASE_MILLISECONDS_MAX), new Uint8Array(1)),
    /ms on the processor for 1 bytes: 00/,
  )
  let isFirst = true
  const once = (): void => {
    if (isFirst) busy(2 * CASE_MILLISECONDS_MAX)
    isFirst = false
  }
  readQuickly(once, new Uint8Array(1))
})

test('there were enough cases', (t) => {
  t.diagnostic(`${cases} cases, none over ${CASE_MILLISECONDS_MAX} ms`)
  assert(cases >= CASES_LEAST, `${cases} cases, fewer than ${CASES_LEAST}`)
})
