/**
 * Certificate Request payload, RFC 7296 3.7.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Cert Encoding |                                               |
 * +-+-+-+-+-+-+-+-+       Certification Authority                 ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import type { Reader, Writer } from '../../base/bytes.ts'
import { putU8 } from './put.ts'

export interface CertreqPayload {
  readonly kind: 'CERTREQ'
  /** A CertEncoding. */
  readonly encoding: number
  /**
   * For X509_SIGNATURE and both HASH_AND_URL encodings SHA-1 hashes of trusted public keys, 20 bytes each. The
   * payload is a hint that may be ignored, so that a stray length is no reason to refuse the message.
   */
  readonly data: Uint8Array
}

export function readCertreq(body: Reader): CertreqPayload {
  return { kind: 'CERTREQ', encoding: body.u8(), data: body.rest() }
}

export function writeCertreq(writer: Writer, payload: CertreqPayload): void {
  putU8(writer, payload.encoding, 'certificate encoding')
  writer.bytes(payload.data)
}
