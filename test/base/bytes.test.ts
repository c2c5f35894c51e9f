import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { AssertionError } from '../../src/base/assert.ts'
import {
  briefBytes,
  compareBytes,
  concatBytes,
  equalBytes,
  fromHex,
  OutOfBytes,
  Reader,
  toHex,
  Writer,
} from '../../src/base/bytes.ts'

test('numbers are in network order', () => {
  const writer = new Writer(1).u8(0x01).u16(0x0203).u32(0x04050607).u64(0x08090a0b0c0d0e0fn)
  assert.equal(toHex(writer.finish()), '0102030405060708090a0b0c0d0e0f')
  const reader = new Reader(writer.finish())
  assert.deepEqual([reader.u8(), reader.u16(), reader.u32(), reader.u64()], [0x01, 0x0203, 0x04050607, 0x08090a0b0c0d0e0fn])
  assert.equal(reader.remaining, 0)
})

test('a reader never runs past its end, and names the place in the outermost input', () => {
  const reader = new Reader(new Uint8Array(10), 100)
  reader.skip(3)
  const inner = reader.sub(4)
  assert.equal(inner.offset, 103)
  inner.skip(2)
  assert.throws(
    () => inner.u32(),
    (error: unknown) => error instanceof OutOfBytes && error.offset === 105 && error.wanted === 4 && error.available === 2,
  )
  // What failed took nothing.
  assert.equal(inner.remaining, 2)
  assert.equal(inner.u16(), 0)
  assert.throws(() => inner.u8(), OutOfBytes)
  for (const read of [() => reader.u64(), () => reader.bytes(4), () => reader.skip(4), () => reader.sub(4)])
    assert.throws(read, OutOfBytes)
  assert.equal(reader.rest().length, 3)
})

test('what a reader hands out are views', () => {
  const bytes = Uint8Array.of(1, 2, 3, 4)
  const reader = new Reader(bytes.subarray(1))
  const view = reader.bytes(2)
  bytes[1] = 9
  assert.deepEqual([...view], [9, 3])
  assert.equal(view.buffer, bytes.buffer)
})

test('a writer grows, fills and patches', () => {
  const writer = new Writer(2)
    .u16(0)
    .bytes(Uint8Array.of(1, 2, 3))
    .zeros(2)
    .u8(0)
  writer.patchU16(0, 0xabcd)
  writer.patchU8(7, 0x77)
  assert.equal(toHex(writer.finish()), 'abcd010203000077')
  assert.equal(writer.length, 8)
  writer.patchU32(2, 0xffffffff)
  assert.equal(toHex(writer.finish()), 'abcdffffffff0077')
})

test('only what was written is patched', () => {
  const writer = new Writer(8).u32(0)
  assert.throws(() => writer.patchU8(4, 1), AssertionError)
  assert.throws(() => writer.patchU16(3, 1), AssertionError)
  assert.throws(() => writer.patchU32(1, 1), AssertionError)
})

test('numbers of every width keep their octets, whatever is above them', () => {
  const writer = new Writer(1).u8(0x1ff).u16(0x1_fe01).u32(0xfedc_ba98).u64(0xfedc_ba98_7654_3210n)
  assert.equal(toHex(writer.finish()), 'fffe01fedcba98fedcba9876543210')
  const reader = new Reader(writer.finish())
  assert.deepEqual([reader.u8(), reader.u16(), reader.u32(), reader.u64()], [0xff, 0xfe01, 0xfedc_ba98, 0xfedc_ba98_7654_3210n])
})

test('zeros are zeros also where something was before', () => {
  const inner = new Writer(4)
  inner.bytes(Uint8Array.of(9, 9, 9, 9))
  assert.equal(toHex(inner.zeros(4).finish()), '0909090900000000')
})

test('whatever is written is read back', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (parts) => {
      const writer = new Writer(1)
      for (const part of parts) writer.u16(part.length).bytes(part)
      const reader = new Reader(writer.finish())
      for (const part of parts) assert.deepEqual(new Uint8Array(reader.bytes(reader.u16())), part)
      assert.equal(reader.remaining, 0)
      assert.deepEqual(concatBytes(...parts), Uint8Array.from(parts.flatMap((part) => [...part])))
    }),
  )
})

test('bytes are compared by value: first octet first, then length', () => {
  assert.ok(compareBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)) < 0)
  assert.ok(compareBytes(Uint8Array.of(2), Uint8Array.of(1, 3)) > 0)
  assert.ok(compareBytes(Uint8Array.of(1), Uint8Array.of(1, 0)) < 0)
  assert.equal(compareBytes(new Uint8Array(), new Uint8Array()), 0)
  assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2)), true)
  assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)), false)
  assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 3)), false)
})

test('what is brief has room of its own for as long as it is kept', () => {
  const rooms = Array.from({ length: 300 }, (_, i) => briefBytes(i).fill(i))
  for (const [i, room] of rooms.entries()) assert.deepEqual([room.length, room.every((octet) => octet === (i & 0xff))], [i, true])
})

test('hexadecimal goes both ways, and anything else is refused', () => {
  assert.deepEqual([...fromHex(' 00 fF\n7a')], [0, 255, 122])
  assert.equal(toHex(Uint8Array.of(0, 255, 122)), '00ff7a')
  assert.equal(toHex(Uint8Array.of(1, 2, 3, 4).subarray(1, 3)), '0203')
  for (const text of ['0', 'xx', '0x00', '0-']) assert.throws(() => fromHex(text), RangeError, text)
})
