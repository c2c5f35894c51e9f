/**
 * Writing fields whose value came from our own code: a number that does not fit its field is our mistake, and must
 * not reach the wire cut down to something else.
 */
import { assert } from '../../base/assert.ts'
import type { Writer } from '../../base/bytes.ts'

export function putU8(writer: Writer, value: number, field: string): void {
  checkFits(value, 0xff, field)
  writer.u8(value)
}

export function putU16(writer: Writer, value: number, field: string): void {
  checkFits(value, 0xffff, field)
  writer.u16(value)
}

export function putU32(writer: Writer, value: number, field: string): void {
  checkFits(value, 0xffff_ffff, field)
  writer.u32(value)
}

/** Fills in the 16-bit length at `at`: what was written since `start`, bytes. */
export function patchLength(writer: Writer, at: number, start: number, field: string): void {
  const length = writer.length - start
  checkFits(length, 0xffff, field)
  writer.patchU16(at, length)
}

// The sentence is only made when it is needed: these checks run for every field of every message.
export function checkFits(value: number, most: number, field: string): void {
  if (!Number.isInteger(value) || value < 0 || value > most) assert(false, `${field} ${value} is within 0 to ${most}`)
}
