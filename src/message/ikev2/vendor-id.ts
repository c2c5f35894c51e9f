/** Vendor ID payload, RFC 7296 3.12: nothing but bytes that mean something to whoever knows them. */
import type { Reader, Writer } from '../../base/bytes.ts'

export interface VendorIdPayload {
  readonly kind: 'VendorId'
  readonly data: Uint8Array
}

export function readVendorId(body: Reader): VendorIdPayload {
  return { kind: 'VendorId', data: body.rest() }
}

export function writeVendorId(writer: Writer, payload: VendorIdPayload): void {
  writer.bytes(payload.data)
}
