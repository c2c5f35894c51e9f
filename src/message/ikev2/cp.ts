/**
 * Configuration payload, RFC 7296 3.15.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |   CFG Type    |                    RESERVED                   |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |R|         Attribute Type      |            Length             |  per attribute
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                             Value                             ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { MAX_CP_ATTRIBUTES } from './limits.ts'
import { MalformedMessage } from './malformed.ts'
import { checkFits, putU16, putU8 } from './put.ts'

export interface CpPayload {
  readonly kind: 'CP'
  /** A CpType. */
  readonly cpType: number
  readonly attributes: readonly WireAttribute[]
}

export interface WireAttribute {
  /** A CpAttribute, 15 bits. */
  readonly type: number
  /** Of any length: what a type wants is checked where its meaning is known, in address/. */
  readonly value: Uint8Array
}

const ATTRIBUTE_TYPE_MASK = 0x7fff

export function readCp(body: Reader): CpPayload {
  const cpType = body.u8()
  body.skip(3)
  const attributes: WireAttribute[] = []
  while (body.remaining > 0) {
    const start = body.offset
    if (attributes.length === MAX_CP_ATTRIBUTES)
      throw new MalformedMessage('CP', start, `more than ${MAX_CP_ATTRIBUTES} attributes`)
    const type = body.u16() & ATTRIBUTE_TYPE_MASK
    const length = body.u16()
    if (length > body.remaining) {
      throw new MalformedMessage('CP', start + 2, `the attribute length ${length} is more than the ${body.remaining} bytes left`)
    }
    attributes.push({ type, value: body.bytes(length) })
  }
  return { kind: 'CP', cpType, attributes }
}

export function writeCp(writer: Writer, payload: CpPayload): void {
  assert(payload.attributes.length <= MAX_CP_ATTRIBUTES, 'a CP payload has no more attributes than we would read')
  putU8(writer, payload.cpType, 'CFG type')
  writer.zeros(3)
  for (const { type, value } of payload.attributes) {
    checkFits(type, ATTRIBUTE_TYPE_MASK, 'attribute type')
    writer.u16(type)
    putU16(writer, value.length, 'attribute length')
    writer.bytes(value)
  }
}
