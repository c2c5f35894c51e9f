/**
 * Encrypted and Authenticated payload, RFC 7296 3.14 (RFC 5282 3 for combined-mode ciphers). Always the last one.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |  Inner First  |C|  RESERVED   |         Payload Length        |  generic header
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~     Initialization Vector | encrypted IKE payloads, padding,  ~  body
 * ~     Pad Length | Integrity Checksum Data                      ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import type { Reader, Writer } from '../../base/bytes.ts'

export interface SkPayload {
  readonly kind: 'SK'
  /** Type of the first payload inside, 0 for an empty message. */
  readonly innerFirst: number
  /** IV | ciphertext | ICV; how long each is the cipher knows. */
  readonly body: Uint8Array
  /** Where `body` begins in the message; what is before it is the associated data. */
  readonly bodyOffset: number
}

export function readSk(innerFirst: number, body: Reader): SkPayload {
  const bodyOffset = body.offset
  return { kind: 'SK', innerFirst, body: body.rest(), bodyOffset }
}

/** Writes a body sealed before; `innerFirst` is in the generic header. */
export function writeSk(writer: Writer, payload: SkPayload): void {
  writer.bytes(payload.body)
}
