/**
 * Key Exchange payload, RFC 7296 3.4 (RFC 9370 2.2.1 for key exchange methods other than Diffie-Hellman).
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |   Key Exchange Method Num     |           RESERVED            |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                       Key Exchange Data                       ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import type { Reader, Writer } from '../../base/bytes.ts'
import { putU16 } from './put.ts'

export interface KePayload {
  readonly kind: 'KE'
  /** The ID of a transform of type 4 (Key Exchange Method). */
  readonly group: number
  /** The public value. Its length depends on the group and is checked where the group is known: crypto/. */
  readonly data: Uint8Array
}

export function readKe(body: Reader): KePayload {
  const group = body.u16()
  body.skip(2)
  return { kind: 'KE', group, data: body.rest() }
}

export function writeKe(writer: Writer, payload: KePayload): void {
  putU16(writer, payload.group, 'key exchange method')
  writer.u16(0).bytes(payload.data)
}
