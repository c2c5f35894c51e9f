/**
 * Delete payload, RFC 7296 3.11.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Protocol ID   |   SPI Size    |          Num of SPIs          |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~               Security Parameter Index(es) (SPI)              ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { ProtocolId } from '../../iana/ikev2.ts'
import { MAX_DELETE_SPIS } from './limits.ts'
import { MalformedMessage } from './malformed.ts'
import { putU8 } from './put.ts'

export interface DeletePayload {
  readonly kind: 'Delete'
  /** A ProtocolId. IKE means the IKE SA of the message itself, and has no SPIs. */
  readonly protocol: number
  /** All of one size, for AH and ESP 4 bytes: the SPIs the sender would receive on. */
  readonly spis: readonly Uint8Array[]
}

export function readDelete(body: Reader): DeletePayload {
  const protocol = body.u8()
  const spiSizeOffset = body.offset
  const spiSize = body.u8()
  const countOffset = body.offset
  const count = body.u16()
  if (!isSpiSize(protocol, spiSize)) {
    throw new MalformedMessage('Delete', spiSizeOffset, `the SPI size ${spiSize} does not suit protocol ${protocol}`)
  }
  if (count * spiSize !== body.remaining) {
    throw new MalformedMessage(
      'Delete',
      countOffset,
      `${count} SPIs of ${spiSize} bytes are not the ${body.remaining} bytes left`,
    )
  }
  const spis: Uint8Array[] = []
  // Without an SPI size the number means nothing: some announce the IKE SA itself as one SPI of no bytes.
  if (spiSize > 0) {
    if (count > MAX_DELETE_SPIS)
      throw new MalformedMessage('Delete', countOffset, `${count} SPIs are more than ${MAX_DELETE_SPIS}`)
    for (let i = 0; i < count; i++) spis.push(body.bytes(spiSize))
  }
  return { kind: 'Delete', protocol, spis }
}

export function writeDelete(writer: Writer, payload: DeletePayload): void {
  const { protocol, spis } = payload
  const spiSize = spis[0]?.length ?? (protocol === ProtocolId.AH || protocol === ProtocolId.ESP ? 4 : 0)
  assert(isSpiSize(protocol, spiSize), 'the SPIs of a Delete suit its protocol')
  assert(spis.length <= MAX_DELETE_SPIS, 'a Delete has no more SPIs than we would read')
  putU8(writer, protocol, 'protocol ID')
  putU8(writer, spiSize, 'SPI size')
  writer.u16(spis.length)
  for (const spi of spis) {
    assert(spi.length === spiSize && spiSize > 0, 'the SPIs of a Delete have one size')
    writer.bytes(spi)
  }
}

function isSpiSize(protocol: number, size: number): boolean {
  if (protocol === ProtocolId.IKE) return size === 0
  if (protocol === ProtocolId.AH || protocol === ProtocolId.ESP) return size === 4
  return true
}
