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

/** Writes the 28 bytes of the header, `length` and `nextPayload` as given. */
export function writeHeader(writer: Writer, header: Header): void {
  checkSpi(header.initiatorSpi)
  checkSpi(header.responderSpi)
  checkFits(header.majorVersion, 0x0f, 'major version')
  checkFits(header.minorVersion, 0x0f, 'minor version')
  writer.u64(header.initiatorSpi).u64(header.responderSpi)
  putU8(writer, header.nextPayload, 'next payload')
  writer.u8((header.majorVersion << 4) | header.minorVersion)
  putU8(writer, header.exchangeType, 'exchange type')
  writer.u8(
    (header.fromInitiator ? FLAG_INITIATOR : 0) |
      (header.higherVersion ? FLAG_VERSION : 0) |
      (header.response ? FLAG_RESPONSE : 0),
  )
  putU32(writer, header.messageId, 'message ID')
  putU32(writer, header.length, 'message length')
}

function checkSpi(spi: bigint): void {
  assert(spi >= 0n && spi <= MAX_SPI, 'an IKE SPI has 64 bits')
}
