/**
 * Identification payloads, IDi and IDr, RFC 7296 3.5.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |   ID Type     |                 RESERVED                      |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                   Identification Data                         ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * AUTH covers these bytes as they were sent, RESERVED included, although its value is to be ignored: RFC 7296 2.15.
 */
import { assert } from '../../base/assert.ts'
import { Writer, type Reader } from '../../base/bytes.ts'
import { IdType } from '../../iana/ikev2.ts'
import { MAX_ID_LENGTH } from './limits.ts'
import { MalformedMessage } from './malformed.ts'
import { checkFits, putU8 } from './put.ts'

export type IdKind = 'IDi' | 'IDr'

export interface IdPayload<Kind extends IdKind = IdKind> {
  readonly kind: Kind
  readonly idType: number
  /** 4 bytes for ID_IPV4_ADDR, 16 for ID_IPV6_ADDR, otherwise any number up to our limit, none included. */
  readonly data: Uint8Array
  /** The 24 bits of RESERVED, only there when a peer sent something else than zero. */
  readonly reserved?: number
}

export function readId<Kind extends IdKind>(kind: Kind, body: Reader): IdPayload<Kind> {
  const idType = body.u8()
  const reserved = (body.u8() << 16) | body.u16()
  const start = body.offset
  const data = body.rest()
  const problem = problemWithId(idType, data)
  if (problem !== null) throw new MalformedMessage(kind, start, problem)
  return reserved === 0 ? { kind, idType, data } : { kind, idType, data, reserved }
}

/** RestOfInitIDPayload or RestOfRespIDPayload, the bytes AUTH covers: RFC 7296 2.15. */
export function restOfIdPayload(payload: IdPayload): Uint8Array {
  const writer = new Writer(4 + payload.data.length)
  writeId(writer, payload)
  return writer.finish()
}

export function writeId(writer: Writer, payload: IdPayload): void {
  assert(problemWithId(payload.idType, payload.data) === null, 'an identification has the length of its type')
  putU8(writer, payload.idType, 'ID type')
  const reserved = payload.reserved ?? 0
  checkFits(reserved, 0xff_ffff, 'reserved bits')
  writer
    .u8(reserved >> 16)
    .u16(reserved & 0xffff)
    .bytes(payload.data)
}

function problemWithId(idType: number, data: Uint8Array): string | null {
  if (idType === IdType.ID_IPV4_ADDR && data.length !== 4) return `an IPv4 address of ${data.length} bytes`
  if (idType === IdType.ID_IPV6_ADDR && data.length !== 16) return `an IPv6 address of ${data.length} bytes`
  if (data.length > MAX_ID_LENGTH) return `an identity of ${data.length} bytes, more than ${MAX_ID_LENGTH}`
  return null
}
