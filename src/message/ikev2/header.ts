/**
 * The IKE header, RFC 7296 3.1. IKEv1 has the same 28 bytes (RFC 2408 3.1), so it tells the versions apart.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                       IKE SA Initiator's SPI                  |
 * |                                                               |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                       IKE SA Responder's SPI                  |
 * |                                                               |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |  Next Payload | MjVer | MnVer | Exchange Type |X|X|R|V|I|X|X|X|
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                          Message ID                           |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                            Length                             |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import { Reader, type Writer } from '../../base/bytes.ts'
import { MalformedMessage } from './malformed.ts'
import { checkFits, putU32, putU8 } from './put.ts'

export interface Header {
  readonly initiatorSpi: bigint
  readonly responderSpi: bigint
  /** Type of the first payload, 0 when there is none. */
  readonly nextPayload: number
  readonly majorVersion: number
  readonly minorVersion: number
  readonly exchangeType: number
  /** Flag I: sent by the original initiator of the IKE SA. */
  readonly fromInitiator: boolean
  /** Flag V: the sender can speak a higher major version. */
  readonly higherVersion: boolean
  /** Flag R: a response. */
  readonly response: boolean
  readonly messageId: number
  /** Bytes of the whole message, header included. */
  readonly length: number
}

export const HEADER_LENGTH = 28

const FLAG_INITIATOR = 0x08
const FLAG_VERSION = 0x10
const FLAG_RESPONSE = 0x20
const MAX_SPI = 0xffff_ffff_ffff_ffffn

/**
 * Reads the header of the message that `bytes`, without non-ESP marker, are. Throws MalformedMessage when they are
 * too few or their number is not the Length field's. Versions, SPIs and exchange types are the caller's business;
 * flags without meaning are ignored, as RFC 7296 3.1 wants.
 */
export function readHeader(bytes: Uint8Array): Header {
  if (bytes.length < HEADER_LENGTH) {
    throw new MalformedMessage(
      'header',
      bytes.length,
      `${bytes.length} bytes are fewer than the ${HEADER_LENGTH} of an IKE header`,
    )
  }
  const reader = new Reader(bytes)
  const initiatorSpi = reader.u64()
  const responderSpi = reader.u64()
  const nextPayload = reader.u8()
  const version = reader.u8()
  const exchangeType = reader.u8()
  const flags = reader.u8()
  const messageId = reader.u32()
  const length = reader.u32()
  if (length !== bytes.length) {
    throw new MalformedMessage('header', HEADER_LENGTH - 4, `the length ${length} is not that of the datagram, ${bytes.length}`)
  }
  return {
    initiatorSpi,
    responderSpi,
    nextPayload,
    majorVersion: version >> 4,
    minorVersion: version & 0x0f,
    exchangeType,
    fromInitiator: (flags & FLAG_INITIATOR) !== 0,
    higherVersion: (flags & FLAG_VERSION) !== 0,
    response: (flags & FLAG_RESPONSE) !== 0,
    messageId,
    length,
  }
}

/** A Header before its message is written; the version is 2.0 and flag V clear unless they say otherwise. */
export type HeaderFields = Omit<Header, 'nextPayload' | 'length' | 'majorVersion' | 'minorVersion' | 'higherVersion'> &
  Partial<Pick<Header, 'majorVersion' | 'minorVersion' | 'higherVersion'>>

/** Writes the 28 bytes of the header, `length` and `nextPayload` as given. */
export function writeHeader(writer: Writer, fields: HeaderFields, nextPayload: number, length: number): void {
  // Written as they are, with no whole Header made of them first: every message has one.
  const { initiatorSpi, responderSpi, majorVersion = 2, minorVersion = 0, exchangeType, messageId } = fields
  checkSpi(initiatorSpi)
  checkSpi(responderSpi)
  checkFits(majorVersion, 0x0f, 'major version')
  checkFits(minorVersion, 0x0f, 'minor version')
  writer.u64(initiatorSpi).u64(responderSpi)
  putU8(writer, nextPayload, 'next payload')
  writer.u8((majorVersion << 4) | minorVersion)
  putU8(writer, exchangeType, 'exchange type')
  writer.u8(
    (fields.fromInitiator ? FLAG_INITIATOR : 0) |
      (fields.higherVersion === true ? FLAG_VERSION : 0) |
      (fields.response ? FLAG_RESPONSE : 0),
  )
  putU32(writer, messageId, 'message ID')
  putU32(writer, length, 'message length')
}

function checkSpi(spi: bigint): void {
  assert(spi >= 0n && spi <= MAX_SPI, 'an IKE SPI has 64 bits')
}
