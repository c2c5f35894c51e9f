/**
 * Notify payload, RFC 7296 3.10.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |  Protocol ID  |   SPI Size    |      Notify Message Type      |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                Security Parameter Index (SPI)                 ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                       Notification Data                       ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { ProtocolId } from '../../iana/ikev2.ts'
import { MalformedMessage } from './malformed.ts'
import { putU16, putU8 } from './put.ts'

export interface NotifyPayload {
  readonly kind: 'Notify'
  /** A ProtocolId; without an SPI it says nothing, and peers fill in what they like. */
  readonly protocol: number
  /** 4 bytes for AH and ESP; none when the notify concerns the IKE SA or no SA. */
  readonly spi: Uint8Array
  readonly notifyType: number
  /** As long as the sender made it: whoever acts on a notify type checks what that type wants. */
  readonly data: Uint8Array
}

export function readNotify(body: Reader): NotifyPayload {
  const protocol = body.u8()
  const spiSizeOffset = body.offset
  const spiSize = body.u8()
  const notifyType = body.u16()
  if (spiSize > body.remaining || !isSpiSize(protocol, spiSize)) {
    throw new MalformedMessage(
      'Notify',
      spiSizeOffset,
      `the SPI size ${spiSize} does not suit protocol ${protocol} with ${body.remaining} bytes left`,
    )
  }
  return { kind: 'Notify', protocol, spi: body.bytes(spiSize), notifyType, data: body.rest() }
}

export function writeNotify(writer: Writer, payload: NotifyPayload): void {
  assert(isSpiSize(payload.protocol, payload.spi.length), 'the SPI of a Notify suits its protocol')
  putU8(writer, payload.protocol, 'protocol ID')
  putU8(writer, payload.spi.length, 'SPI size')
  putU16(writer, payload.notifyType, 'notify type')
  writer.bytes(payload.spi).bytes(payload.data)
}

// RFC 7296 3.10 wants no SPI with IKE; some send the 8 bytes of the IKE SPI all the same, and nothing hangs on them.
function isSpiSize(protocol: number, size: number): boolean {
  if (size === 0) return true
  if (protocol === ProtocolId.IKE) return size === 8
  if (protocol === ProtocolId.AH || protocol === ProtocolId.ESP) return size === 4
  return true
}
