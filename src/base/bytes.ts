/**
 * Bytes in network order. A Reader is a view and an offset and cannot run past its end; a Writer grows.
 * What a Reader hands out are views on the input, never copies: whoever keeps them longer than the
 * datagram lives copies them.
 */
import { assert } from './assert.ts'

/** Raised by a Reader asked for more than is there. `offset` counts from the start of the outermost input. */
export class OutOfBytes extends Error {
  override readonly name = 'OutOfBytes'
  readonly offset: number
  readonly wanted: number
  readonly available: number
  constructor(offset: number, wanted: number, available: number) {
    super(`at offset ${offset}: ${wanted} bytes wanted, ${available} left`)
    this.offset = offset
    this.wanted = wanted
    this.available = available
  }
}

/** For numbers of 64 bits, which would each need a DataView of their own. */
const EIGHT_OCTETS = new Uint8Array(8)
const EIGHT = new DataView(EIGHT_OCTETS.buffer)

export class Reader {
  readonly #bytes: Uint8Array
  /** What is added to a place in `#bytes` to name a place in the outermost input. */
  readonly #base: number
  readonly #end: number
  #at: number

  /** `base` is the offset of `bytes` in the outermost input, so that errors name a place in the datagram. */
  constructor(bytes: Uint8Array, base = 0, start = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#base = base
    this.#at = start
    this.#end = end
  }

  /** Offset of the next byte, counted from the start of the outermost input. */
  get offset(): number {
    return this.#base + this.#at
  }

  get remaining(): number {
    return this.#end - this.#at
  }

  #advance(count: number): number {
    const at = this.#at
    if (count > this.#end - at) throw new OutOfBytes(this.offset, count, this.remaining)
    this.#at = at + count
    return at
  }

  // Octet by octet: a message has two dozen readers, each of which would need a DataView.

  u8(): number {
    return this.#bytes[this.#advance(1)]!
  }
  u16(): number {
    const at = this.#advance(2)
    return (this.#bytes[at]! << 8) | this.#bytes[at + 1]!
  }
  u32(): number {
    const at = this.#advance(4)
    const bytes = this.#bytes
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  }
  u64(): bigint {
    const at = this.#advance(8)
    for (let i = 0; i < 8; i++) EIGHT_OCTETS[i] = this.#bytes[at + i]!
    return EIGHT.getBigUint64(0)
  }
  /** A view on the next `count` bytes. */
  bytes(count: number): Uint8Array {
    const at = this.#advance(count)
    return this.#bytes.subarray(at, at + count)
  }
  /** A view on all that is left. */
  rest(): Uint8Array {
    return this.bytes(this.remaining)
  }
  /** A Reader over the next `count` bytes, whose errors still count from the outermost input. */
  sub(count: number): Reader {
    const at = this.#advance(count)
    return new Reader(this.#bytes, this.#base, at, at + count)
  }
  skip(count: number): void {
    this.#advance(count)
  }
}

/** Bytes put one after the other. `patchU16`/`patchU32` fill in lengths known only later. */
export class Writer {
  #bytes: Uint8Array
  #length = 0

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity)
  }

  get length(): number {
    return this.#length
  }

  #grow(count: number): number {
    const at = this.#length
    const needed = at + count
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    this.#length = needed
    return at
  }

  u8(value: number): this {
    const at = this.#grow(1)
    this.#bytes[at] = value
    return this
  }
  u16(value: number): this {
    const at = this.#grow(2)
    this.#bytes[at] = value >>> 8
    this.#bytes[at + 1] = value
    return this
  }
  u32(value: number): this {
    this.u16(value >>> 16).u16(value)
    return this
  }
  u64(value: bigint): this {
    const at = this.#grow(8)
    EIGHT.setBigUint64(0, value)
    this.#bytes.set(EIGHT_OCTETS, at)
    return this
  }
  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length)
    this.#bytes.set(value, at)
    return this
  }
  zeros(count: number): this {
    const at = this.#grow(count)
    this.#bytes.fill(0, at, at + count)
    return this
  }
  patchU8(at: number, value: number): void {
    assert(at < this.#length, 'what is patched was written')
    this.#bytes[at] = value
  }
  patchU16(at: number, value: number): void {
    this.patchU8(at, value >>> 8)
    this.patchU8(at + 1, value)
  }
  patchU32(at: number, value: number): void {
    this.patchU16(at, value >>> 16)
    this.patchU16(at + 2, value)
  }
  /** Begins again in the same place: what was written, and every view on it, is zeros. */
  clear(): void {
    this.#bytes.fill(0, 0, this.#length)
    this.#length = 0
  }
  /** A view on what was written; writing on may detach it, so take it last. */
  finish(): Uint8Array {
    return this.#length === this.#bytes.length ? this.#bytes : this.#bytes.subarray(0, this.#length)
  }
}

/**
 * Room for what is gone soon, whose memory is not made for it alone: it is a part of a larger piece, all of which stays while
 * any of it is kept. For public bytes, and to be written from end to end: what was there before is still there.
 */
export function briefBytes(length: number): Uint8Array {
  const room = Buffer.allocUnsafe(length)
  return new Uint8Array(room.buffer, room.byteOffset, length)
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** Equality of public bytes. For secrets and authentication tags use crypto's constant-time comparison. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Lexicographic order, shorter first on a common prefix: negative, 0 or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Bytes of a hex string, white space ignored; throws RangeError on anything else. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-fA-F]/.test(digits)) throw new RangeError(`not hexadecimal: ${text.slice(0, 40)}`)
  return new Uint8Array(Buffer.from(digits, 'hex'))
}
