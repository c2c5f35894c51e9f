/**
 * Encrypted and Authenticated Fragment payload, RFC 7383 2.5. Always the last one.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |  Inner First  |C|  RESERVED   |         Payload Length        |  generic header
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |        Fragment Number        |        Total Fragments        |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~     Initialization Vector | encrypted part of the payloads,   ~  body
 * ~     padding, Pad Length | Integrity Checksum Data             ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { MalformedMessage } from './malformed.ts'
import { putU16 } from './put.ts'

export interface SkfPayload {
  readonly kind: 'SKF'
  /** Type of the first payload inside, in fragment 1; the others send 0, which is not checked. */
  readonly innerFirst: number
  /** 1 to `totalFragments`. */
  readonly fragmentNumber: number
  readonly totalFragments: number
  /** IV | ciphertext | ICV; how long each is the cipher knows. */
  readonly body: Uint8Array
  /** Where `body` begins in the message; what is before it is the associated data. */
  readonly bodyOffset: number
}

export function readSkf(innerFirst: number, body: Reader): SkfPayload {
  const numberOffset = body.offset
  const fragmentNumber = body.u16()
  const totalFragments = body.u16()
  // RFC 7383 2.6 has the receiver check this before anything else.
  if (!isFragment(fragmentNumber, totalFragments)) {
    throw new MalformedMessage('SKF', numberOffset, `there is no fragment ${fragmentNumber} of ${totalFragments}`)
  }
  const bodyOffset = body.offset
  return { kind: 'SKF', innerFirst, fragmentNumber, totalFragments, body: body.rest(), bodyOffset }
}

/** Writes a body sealed before; `innerFirst` is in the generic header. */
export function writeSkf(writer: Writer, payload: SkfPayload): void {
  const { fragmentNumber, totalFragments } = payload
  assert(isFragment(fragmentNumber, totalFragments), 'fragments count from 1 to their total')
  putU16(writer, fragmentNumber, 'fragment number')
  putU16(writer, totalFragments, 'total fragments')
  writer.bytes(payload.body)
}

function isFragment(number: number, total: number): boolean {
  return number >= 1 && number <= total
}
