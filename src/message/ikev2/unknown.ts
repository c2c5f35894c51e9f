/** A payload of a type we do not know. With its critical bit it refuses the message: RFC 7296 2.5. */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'

export interface UnknownPayload {
  readonly kind: 'Unknown'
  readonly payloadType: number
  readonly critical: boolean
  readonly data: Uint8Array
}

export function readUnknown(payloadType: number, critical: boolean, body: Reader): UnknownPayload {
  return { kind: 'Unknown', payloadType, critical, data: body.rest() }
}

export function writeUnknown(writer: Writer, payload: UnknownPayload): void {
  assert(payload.payloadType > 0 && payload.payloadType <= 0xff, 'a payload type has 8 bits and is not that of none')
  writer.bytes(payload.data)
}
