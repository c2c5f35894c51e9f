import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import fc from 'fast-check'

import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts'
import { MalformedVici, section, UnwritableVici, type ViciNode, type ViciSection } from '../../src/vici/message.ts'
import { Inbox, parsePacket, writePacket, type Packet } from '../../src/vici/packet.ts'
import { messages, mutate, mutations } from './arbitrary.ts'

const name = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 255 })
const packets: fc.Arbitrary<Packet> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('request', 'event'), name, message: messages }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('response'), message: messages }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('register', 'unregister'), name }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('command-unknown', 'event-confirm', 'event-unknown') }) },
)

/** As a tree of texts, so that it compares whatever kind of bytes it has. */
function plain(node: ViciNode): unknown {
  if (node instanceof Map) return { section: [...(node as ViciSection)].map(([key, inner]) => [key, plain(inner)]) }
  if (Array.isArray(node)) return { list: node.map(plain) }
  return toHex(Buffer.from(node as Uint8Array))
}
const plainPacket = (packet: Packet): unknown =>
  'message' in packet ? { ...packet, message: plain(packet.message) } : { ...packet }

const EXAMPLES: readonly [string, string, Packet][] = [
  ['a request', `0000000d 00 07${toHex(Buffer.from('version'))} 03000000`, request('version', section(['', '']))],
  ['a response', '00000001 01', { kind: 'response', message: section() }],
  ['an unknown command', '00000001 02', { kind: 'command-unknown' }],
  ['a registration', `00000005 03 03${toHex(Buffer.from('log'))}`, { kind: 'register', name: 'log' }],
  ['its end', `00000005 04 03${toHex(Buffer.from('log'))}`, { kind: 'unregister', name: 'log' }],
  ['its confirmation', '00000001 05', { kind: 'event-confirm' }],
  ['an unknown event', '00000001 06', { kind: 'event-unknown' }],
  ['an event', `00000005 07 03${toHex(Buffer.from('log'))}`, { kind: 'event', name: 'log', message: section() }],
]

function request(command: string, message: ViciSection): Packet {
  return { kind: 'request', name: command, message }
}

describe('packets', () => {
  for (const [what, hex, packet] of EXAMPLES) {
    test(`${what} is written and read as strongSwan's README has it`, () => {
      const bytes = writePacket(packet)
      assert.equal(toHex(bytes), toHex(fromHex(hex)))
      assert.deepEqual(plainPacket(parsePacket(bytes.subarray(4))), plainPacket(packet))
    })
  }

  test('what follows the name of a registration is passed over', () => {
    assert.deepEqual(parsePacket(fromHex('03 01 61 ffff')), { kind: 'register', name: 'a' })
  })

  for (const hex of ['', '08', 'ff', '00', '03 05 6c6f67', '03 01 00', '00 01 61 02', '01 63']) {
    test(`${hex === '' ? 'no bytes' : hex} is no packet`, () => assert.throws(() => parsePacket(fromHex(hex)), MalformedVici))
  }

  test('a packet larger than 512 KiB is not written', () => {
    const values = (count: number): ViciSection =>
      section(...Array.from({ length: count }, (_, i): [string, string] => [String(i), 'x'.repeat(65_000)]))
    assert.ok(writePacket({ kind: 'response', message: values(8) }).length < 512 * 1024)
    assert.throws(() => writePacket({ kind: 'response', message: values(9) }), UnwritableVici)
  })

  // 100,000 cases a run, in three properties.

  test('any packet is read as it was written', () => {
    fc.assert(
      fc.property(packets, (packet) => {
        const bytes = writePacket(packet)
        assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0), bytes.length - 4)
        assert.deepEqual(plainPacket(parsePacket(bytes.subarray(4))), plainPacket(packet))
      }),
      { numRuns: 20_000 },
    )
  })

  const readOrRefused = (bytes: Uint8Array): void => {
    let packet: Packet
    try {
      packet = parsePacket(bytes)
    } catch (error) {
      assert.ok(error instanceof MalformedVici, `${String(error)} after ${toHex(bytes)}`)
      assert.ok(error.offset >= 0 && error.offset <= bytes.length, `${error.message} after ${toHex(bytes)}`)
      return
    }
    // What was read can be said, and says the same.
    assert.deepEqual(plainPacket(parsePacket(writePacket(packet).subarray(4))), plainPacket(packet))
  }

  test('any bytes are a packet or malformed', () => {
    const small = fc.integer({ min: 0, max: 7 })
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.array(small, { maxLength: 64 }).map((list) => Uint8Array.from(list)),
    )
    fc.assert(fc.property(bytes, readOrRefused), { numRuns: 40_000 })
  })

  test('any packet with a few bytes changed, cut off, doubled, left out or put in is a packet or malformed', () => {
    fc.assert(
      fc.property(packets, mutations, (packet, list) => {
        readOrRefused(mutate(writePacket(packet).subarray(4), list))
      }),
      { numRuns: 40_000 },
    )
  })
})

describe('the inbox', () => {
  test('packets come out as they went in, however the stream cuts them', () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 10 })
    fc.assert(
      fc.property(lengths, fc.infiniteStream(fc.integer({ min: 1, max: 400 })), (sizes, cuts) => {
        const sent = sizes.map((size, i) => new Uint8Array(size).fill(i + 1))
        const stream = concatBytes(...sent.flatMap((bytes) => [Uint8Array.of(0, 0, bytes.length >> 8, bytes.length), bytes]))
        const inbox = new Inbox()
        const received: Uint8Array[] = []
        for (let at = 0; at < stream.length;) {
          const cut = cuts.next().value
          inbox.put(stream.subarray(at, at + cut))
          at += cut
          for (let bytes = inbox.next(); bytes !== null; bytes = inbox.next()) received.push(bytes)
        }
        assert.deepEqual(received.map(toHex), sent.map(toHex))
      }),
      { numRuns: 500 },
    )
  })

  test('one that is larger than 512 KiB is malformed as soon as its length is known', () => {
    const inbox = new Inbox()
    inbox.put(fromHex('000800'))
    assert.equal(inbox.next(), null)
    inbox.put(fromHex('01'))
    assert.throws(() => inbox.next(), MalformedVici)
  })

  test('the largest packet fits, and then it is full', () => {
    const inbox = new Inbox()
    inbox.put(fromHex('00080000'))
    inbox.put(new Uint8Array(512 * 1024 - 1))
    assert.equal(inbox.isFull, false)
    assert.equal(inbox.next(), null)
    inbox.put(new Uint8Array(1))
    assert.equal(inbox.isFull, true)
    assert.equal(inbox.next()?.length, 512 * 1024)
    assert.equal(inbox.isFull, false)
  })
})
