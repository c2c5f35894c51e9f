import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { concatBytes } from '../../src/base/bytes.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { DEFAULT_IKE_SETTINGS } from '../../src/ike/connection.ts'
import { maxMessageLength, Reassembly, type Reassembled } from '../../src/ike/fragments.ts'
import type { SkfPayload } from '../../src/message/ikev2/payload.ts'

const OWN = { port: 500, portNatT: 4500 }

test('what fits the datagram is what is left of it by IP, UDP and, on the NAT-T socket, the marker', () => {
  const most = (address: string, port: number, settings = {}): number => {
    const end = new Endpoint(IpAddress.parse(address), port)
    return maxMessageLength({ ...DEFAULT_IKE_SETTINGS, ...settings }, end, end, OWN)
  }
  assert.equal(most('192.0.2.1', 500), 1280 - 20 - 8)
  assert.equal(most('192.0.2.1', 4500), 1280 - 20 - 8 - 4)
  assert.equal(most('2001:db8::1', 500), 1280 - 40 - 8)
  assert.equal(most('2001:db8::1', 4500), 1280 - 40 - 8 - 4)
  assert.equal(most('192.0.2.1', 4500, { fragmentSizeV4: 576 }), 544)
  assert.equal(most('2001:db8::1', 4500, { fragmentSizeV4: 576 }), 1228)
  // Room for some content, whatever the cipher; and no more than a datagram holds.
  assert.equal(most('192.0.2.1', 4500, { fragmentSizeV4: 1 }), 128)
  assert.equal(most('192.0.2.1', 500, { fragmentSizeV4: 65_535 }), 65_507)
})

/** A fragment of which only the content matters; `tag` tells fragments of one number apart. */
interface Piece {
  readonly number: number
  readonly total: number
  readonly content: Uint8Array
}

function payloadOf({ number, total }: Piece): SkfPayload {
  const innerFirst = number === 1 ? 35 : 0
  return { kind: 'SKF', innerFirst, fragmentNumber: number, totalFragments: total, body: new Uint8Array(), bodyOffset: 36 }
}

/** As on the wire, with 61 octets of everything else. */
function wireOf({ content }: Piece): Uint8Array {
  return concatBytes(new Uint8Array(61), content)
}

function offer(reassembly: Reassembly, piece: Piece): Reassembled | string | null {
  return reassembly.refusal(payloadOf(piece)) ?? reassembly.add(payloadOf(piece), piece.content, wireOf(piece))
}

function split(content: Uint8Array, total: number): readonly Piece[] {
  const size = Math.ceil(content.length / total)
  return Array.from({ length: total }, (_, i) => ({
    number: i + 1,
    total,
    content: content.subarray(i * size, (i + 1) * size),
  }))
}

const contents = fc.uint8Array({ minLength: 1, maxLength: 3000 })
const totals = fc.integer({ min: 1, max: 60 })

test('fragments in any order, some of them doubled, make the message, and nothing before the last of them does', () => {
  const shuffled = fc.tuple(contents, totals).chain(([content, total]) => {
    const pieces = split(content, total)
    const doubled = fc.array(fc.constantFrom(...pieces), { maxLength: 20 })
    const order = doubled.chain((more) => fc.shuffledSubarray([...pieces, ...more], { minLength: pieces.length + more.length }))
    return fc.record({ content: fc.constant(content), pieces: fc.constant(pieces), order })
  })
  fc.assert(
    fc.property(shuffled, ({ content, pieces, order }) => {
      const reassembly = new Reassembly(10_000)
      const seen = new Set<number>()
      for (const piece of order) {
        const isKnown = seen.has(piece.number)
        seen.add(piece.number)
        const outcome = offer(reassembly, piece)
        if (isKnown) {
          assert.equal(outcome, 'fragment-known')
        } else if (seen.size < pieces.length) {
          assert.equal(outcome, null)
        } else {
          const expected = { innerFirst: 35, plaintext: content, firstFragment: wireOf(pieces[0]!) }
          assert.deepEqual(outcome, expected)
          return
        }
      }
      assert.fail('all fragments were there')
    }),
  )
})

/** RFC 7383 2.6 and our limits, without any thought of memory: what has come of the finest split so far. */
class Model {
  readonly #max: number
  total = 0
  #splits = 0
  kept = new Map<number, Piece>()

  constructor(max: number) {
    this.#max = max
  }

  offer(piece: Piece): Reassembled | string | null {
    const { number, total } = piece
    if (total > 255) return 'fragment-limit'
    if (total < this.total || (total === this.total && this.kept.has(number))) return 'fragment-known'
    if (total > this.total) {
      if (this.#splits === 8) return 'fragment-limit'
      this.#splits++
      this.total = total
      this.kept.clear()
    }
    this.kept.set(number, piece)
    const lengths = [...this.kept.values()].map((one) => one.content.length + (one.number === 1 ? 61 : 0))
    if (lengths.reduce((sum, length) => sum + length, 0) > this.#max) {
      this.total = 0
      this.kept.clear()
      return 'fragment-limit'
    }
    if (this.kept.size < total) return null
    const inOrder = [...this.kept.values()].toSorted((a, b) => a.number - b.number)
    const plaintext = concatBytes(...inOrder.map((one) => one.content))
    return { innerFirst: 35, plaintext, firstFragment: wireOf(inOrder[0]!) }
  }
}

test('hostile fragments, of totals that contradict each other and of any length, never come to more than the limits', () => {
  const hostile = fc
    .record({
      total: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 250, max: 260 }), fc.constant(65_535)),
      at: fc.nat(65_534),
      content: fc.uint8Array({ maxLength: 200 }),
    })
    .map(({ total, at, content }) => ({ number: (at % total) + 1, total, content }))
  let complete = 0
  let limited = 0
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 60, size: 'max' }), (pieces) => {
      const [reassembly, model] = [new Reassembly(500), new Model(500)]
      for (const piece of pieces) {
        const outcome = offer(reassembly, piece)
        assert.deepEqual(outcome, model.offer(piece))
        assert.ok([...model.kept.values()].reduce((sum, { content }) => sum + content.length, 0) <= 500)
        if (outcome === 'fragment-limit') limited++
        if (outcome === null || typeof outcome === 'string') continue
        // Whoever asked for it has it, and begins the next one with another.
        complete++
        return
      }
    }),
    { numRuns: 500 },
  )
  assert.ok(complete > 20 && limited > 20, `messages became complete (${complete}) and limits were reached (${limited})`)
})

test('a finer split takes the place of a coarser one, whose fragments are worth nothing from then on', () => {
  const content = Uint8Array.from({ length: 300 }, (_, i) => i)
  const [coarse, fine] = [split(content, 2), split(content, 3)]
  const reassembly = new Reassembly(10_000)
  assert.equal(offer(reassembly, coarse[0]!), null)
  assert.equal(offer(reassembly, fine[2]!), null)
  assert.equal(offer(reassembly, coarse[1]!), 'fragment-known')
  assert.equal(offer(reassembly, fine[0]!), null)
  const whole = offer(reassembly, fine[1]!)
  assert.ok(whole !== null && typeof whole === 'object')
  assert.deepEqual(whole.plaintext, content)
})

test('what it keeps is its own: the datagram may be used again', () => {
  const [first, second] = split(Uint8Array.of(1, 2, 3, 4), 2)
  const reassembly = new Reassembly(10_000)
  const [content, bytes] = [first!.content.slice(), wireOf(first!)]
  reassembly.add(payloadOf(first!), content, bytes)
  content.fill(0)
  bytes.fill(0)
  const whole = offer(reassembly, second!)
  assert.ok(whole !== null && typeof whole === 'object')
  assert.deepEqual(whole.plaintext, Uint8Array.of(1, 2, 3, 4))
  assert.deepEqual(whole.firstFragment, wireOf(first!))
})

test('a message of one fragment is complete by it, of nothing too', () => {
  const whole = offer(new Reassembly(100), { number: 1, total: 1, content: new Uint8Array() })
  assert.ok(whole !== null && typeof whole === 'object')
  assert.equal(whole.plaintext.length, 0)
})
