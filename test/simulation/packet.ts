/** What travels between simulated nodes: UDP datagrams, some of them with ESP inside, and bare ESP. */
import { briefBytes, Writer } from '../../src/base/bytes.ts'
import type { Endpoint } from '../../src/base/ip.ts'
import type { ProtectedPacket } from '../../src/edge/memory-kernel.ts'
import { ExchangeType, nameOf } from '../../src/iana/ikev2.ts'
import { readHeader } from '../../src/message/ikev2/header.ts'
import { MalformedMessage } from '../../src/message/ikev2/malformed.ts'

export interface Packet {
  readonly protocol: 'udp' | 'esp'
  /** Port 0 with bare ESP. */
  readonly source: Endpoint
  readonly destination: Endpoint
  /** Payload of the UDP header; for ESP its SPI and sequence number. */
  readonly bytes: Uint8Array
  readonly esp: ProtectedPacket | null
}

/** SPI and sequence number (RFC 4303 2), which is all that a NAT or an onlooker sees of ESP. */
export function espBytes(esp: ProtectedPacket): Uint8Array {
  return new Writer(12)
    .u32(esp.spi)
    .u32(Number(esp.sequence & 0xffff_ffffn))
    .zeros(4)
    .finish()
}

/** What is on the wire belongs to nobody's program. */
export function copied(bytes: Uint8Array): Uint8Array {
  const copy = briefBytes(bytes.length)
  copy.set(bytes)
  return copy
}

/** The IKE message in a datagram, its non-ESP marker taken off by looking rather than by port; null when there is none. */
export function ikeBytes(packet: Packet): Uint8Array | null {
  const { bytes, esp } = packet
  if (esp !== null || bytes.length <= 8) return null
  const hasMarker = bytes[0] === 0 && bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 0
  return hasMarker ? bytes.subarray(4) : bytes
}

/** `IKE_AUTH request 1`, `keepalive`, `ESP c0ffee00 #7`. */
export function summaryOf(packet: Packet): string {
  if (packet.esp !== null)
    return `ESP ${packet.esp.spi.toString(16)} #${packet.esp.sequence}${packet.protocol === 'udp' ? ' in UDP' : ''}`
  if (packet.bytes.length === 1 && packet.bytes[0] === 0xff) return 'keepalive'
  const bytes = ikeBytes(packet)
  if (bytes === null) return `${packet.bytes.length} bytes`
  try {
    const header = readHeader(bytes)
    return `${nameOf(ExchangeType, header.exchangeType)} ${header.response ? 'response' : 'request'} ${header.messageId}`
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return `${packet.bytes.length} bytes`
  }
}
