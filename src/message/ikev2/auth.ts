/**
 * Authentication payload, RFC 7296 3.8.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Auth Method   |                RESERVED                       |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                      Authentication Data                      ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import type { Reader, Writer } from '../../base/bytes.ts'
import { putU8 } from './put.ts'

export interface AuthPayload {
  readonly kind: 'AUTH'
  /** An AuthMethod. */
  readonly method: number
  readonly data: Uint8Array
}

export function readAuth(body: Reader): AuthPayload {
  const method = body.u8()
  body.skip(3)
  return { kind: 'AUTH', method, data: body.rest() }
}

export function writeAuth(writer: Writer, payload: AuthPayload): void {
  putU8(writer, payload.method, 'authentication method')
  writer.zeros(3).bytes(payload.data)
}
