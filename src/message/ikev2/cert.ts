/**
 * Certificate payload, RFC 7296 3.6.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Cert Encoding |                                               |
 * +-+-+-+-+-+-+-+-+       Certificate Data                        ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import type { Reader, Writer } from '../../base/bytes.ts'
import { putU8 } from './put.ts'

export interface CertPayload {
  readonly kind: 'CERT'
  /** A CertEncoding. */
  readonly encoding: number
  readonly data: Uint8Array
}

export function readCert(body: Reader): CertPayload {
  return { kind: 'CERT', encoding: body.u8(), data: body.rest() }
}

export function writeCert(writer: Writer, payload: CertPayload): void {
  putU8(writer, payload.encoding, 'certificate encoding')
  writer.bytes(payload.data)
}
