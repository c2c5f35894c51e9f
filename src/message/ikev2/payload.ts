/** All payloads as one union, told apart by `kind`, and the way from a payload type to its reader and writer. */
import { unreachable } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { PayloadType } from '../../iana/ikev2.ts'
import { readAuth, writeAuth, type AuthPayload } from './auth.ts'
import { readCert, writeCert, type CertPayload } from './cert.ts'
import { readCertreq, writeCertreq, type CertreqPayload } from './certreq.ts'
import { readCp, writeCp, type CpPayload } from './cp.ts'
import { readDelete, writeDelete, type DeletePayload } from './delete.ts'
import { readEap, writeEap, type EapPayload } from './eap.ts'
import { readId, writeId, type IdPayload } from './id.ts'
import { readKe, writeKe, type KePayload } from './ke.ts'
import { readNonce, writeNonce, type NoncePayload } from './nonce.ts'
import { readNotify, writeNotify, type NotifyPayload } from './notify.ts'
import { readSa, writeSa, type SaPayload } from './sa.ts'
import { readSk, writeSk, type SkPayload } from './sk.ts'
import { readSkf, writeSkf, type SkfPayload } from './skf.ts'
import { readTs, writeTs, type TsPayload } from './ts.ts'
import { readUnknown, writeUnknown, type UnknownPayload } from './unknown.ts'
import { readVendorId, writeVendorId, type VendorIdPayload } from './vendor-id.ts'

export type { AuthPayload } from './auth.ts'
export type { CertPayload } from './cert.ts'
export type { CertreqPayload } from './certreq.ts'
export type { CpPayload, WireAttribute } from './cp.ts'
export type { DeletePayload } from './delete.ts'
export type { EapPayload } from './eap.ts'
export type { IdPayload } from './id.ts'
export type { KePayload } from './ke.ts'
export type { NoncePayload } from './nonce.ts'
export type { NotifyPayload } from './notify.ts'
export type { SaPayload, WireProposal, WireTransform } from './sa.ts'
export type { SkPayload } from './sk.ts'
export type { SkfPayload } from './skf.ts'
export type { TsPayload, WireSelector } from './ts.ts'
export type { UnknownPayload } from './unknown.ts'
export type { VendorIdPayload } from './vendor-id.ts'

export type Payload =
  | SaPayload
  | KePayload
  | IdPayload<'IDi'>
  | IdPayload<'IDr'>
  | CertPayload
  | CertreqPayload
  | AuthPayload
  | NoncePayload
  | NotifyPayload
  | DeletePayload
  | VendorIdPayload
  | TsPayload<'TSi'>
  | TsPayload<'TSr'>
  | CpPayload
  | EapPayload
  | SkPayload
  | SkfPayload
  | UnknownPayload

/** The payload type that stands in the Next Payload field before this payload. */
export function payloadTypeOf(payload: Payload): number {
  return payload.kind === 'Unknown' ? payload.payloadType : PayloadType[payload.kind]
}

/**
 * Reads what follows the generic header of a payload of `type`; `body` ends where the payload ends. `nextPayload` and
 * `critical` are the generic header's: the first belongs to SK and SKF, the second only says something about payloads
 * we do not know (RFC 7296 3.2). Throws MalformedMessage, or OutOfBytes where a field is cut short.
 */
export function readPayload(type: number, nextPayload: number, critical: boolean, body: Reader): Payload {
  switch (type) {
    case PayloadType.SA:
      return readSa(body)
    case PayloadType.KE:
      return readKe(body)
    case PayloadType.IDi:
      return readId('IDi', body)
    case PayloadType.IDr:
      return readId('IDr', body)
    case PayloadType.CERT:
      return readCert(body)
    case PayloadType.CERTREQ:
      return readCertreq(body)
    case PayloadType.AUTH:
      return readAuth(body)
    case PayloadType.Nonce:
      return readNonce(body)
    case PayloadType.Notify:
      return readNotify(body)
    case PayloadType.Delete:
      return readDelete(body)
    case PayloadType.VendorId:
      return readVendorId(body)
    case PayloadType.TSi:
      return readTs('TSi', body)
    case PayloadType.TSr:
      return readTs('TSr', body)
    case PayloadType.CP:
      return readCp(body)
    case PayloadType.EAP:
      return readEap(body)
    case PayloadType.SK:
      return readSk(nextPayload, body)
    case PayloadType.SKF:
      return readSkf(nextPayload, body)
    default:
      return readUnknown(type, critical, body)
  }
}

/** Writes what follows the generic header. Asserts that every value fits its field. */
export function writePayload(writer: Writer, payload: Payload): void {
  switch (payload.kind) {
    case 'SA':
      return writeSa(writer, payload)
    case 'KE':
      return writeKe(writer, payload)
    case 'IDi':
    case 'IDr':
      return writeId(writer, payload)
    case 'CERT':
      return writeCert(writer, payload)
    case 'CERTREQ':
      return writeCertreq(writer, payload)
    case 'AUTH':
      return writeAuth(writer, payload)
    case 'Nonce':
      return writeNonce(writer, payload)
    case 'Notify':
      return writeNotify(writer, payload)
    case 'Delete':
      return writeDelete(writer, payload)
    case 'VendorId':
      return writeVendorId(writer, payload)
    case 'TSi':
    case 'TSr':
      return writeTs(writer, payload)
    case 'CP':
      return writeCp(writer, payload)
    case 'EAP':
      return writeEap(writer, payload)
    case 'SK':
      return writeSk(writer, payload)
    case 'SKF':
      return writeSkf(writer, payload)
    case 'Unknown':
      return writeUnknown(writer, payload)
    default:
      unreachable(payload, 'every kind of payload has a writer')
  }
}
