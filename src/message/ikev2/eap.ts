/**
 * EAP payload, RFC 7296 3.16: one EAP packet, RFC 3748 4.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |     Code      | Identifier    |           Length              |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |     Type      | Type_Data ...                  Request, Response only
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { EapCode } from '../../iana/ikev2.ts'
import { MalformedMessage } from './malformed.ts'

export interface EapPayload {
  readonly kind: 'EAP'
  /** The whole EAP packet, from Code on; the fields beside it are read from it, and only it is written. */
  readonly data: Uint8Array
  /** An EapCode. */
  readonly code: number
  readonly identifier: number
  /** Null for codes other than Request and Response. */
  readonly eapType: number | null
}

const HEADER_LENGTH = 4

export function readEap(body: Reader): EapPayload {
  const start = body.offset
  const data = body.rest()
  const problem = problemWithEap(data)
  if (problem !== null) throw new MalformedMessage('EAP', start + problem.at, problem.reason)
  return eapPayload(data)
}

/** The payload around a whole EAP packet of ours. Asserts that its Length is that of the packet and suits its Code. */
export function eapPayload(data: Uint8Array): EapPayload {
  assert(problemWithEap(data) === null, 'an EAP packet has its own length')
  const code = data[0]!
  return { kind: 'EAP', data, code, identifier: data[1]!, eapType: hasType(code) ? data[4]! : null }
}

export function writeEap(writer: Writer, payload: EapPayload): void {
  assert(problemWithEap(payload.data) === null, 'an EAP packet has its own length')
  writer.bytes(payload.data)
}

function problemWithEap(data: Uint8Array): { at: number; reason: string } | null {
  if (data.length < HEADER_LENGTH)
    return { at: data.length, reason: `${data.length} bytes are fewer than the 4 of an EAP header` }
  const code = data[0]!
  const length = (data[2]! << 8) | data[3]!
  if (length !== data.length) return { at: 2, reason: `the EAP length ${length} is not that of the packet, ${data.length}` }
  if (hasType(code) && length === HEADER_LENGTH) return { at: 2, reason: 'an EAP Request or Response without a Type' }
  if ((code === EapCode.SUCCESS || code === EapCode.FAILURE) && length !== HEADER_LENGTH) {
    return { at: 2, reason: `an EAP Success or Failure of ${length} bytes` }
  }
  return null
}

function hasType(code: number): boolean {
  return code === EapCode.REQUEST || code === EapCode.RESPONSE
}
