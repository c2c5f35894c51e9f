/**
 * Ports and the non-ESP marker (RFC 7296 2.23, RFC 3948 2.2): which socket, which prefix, when to float.
 */
import { briefBytes } from '../base/bytes.ts'
import type { Endpoint } from '../base/ip.ts'
import type { NatFacts } from './detection.ts'

/** The well-known ports. Ours may be others (charon.port, charon.port_nat_t); the peer's may too (remote_port). */
export const IKE_PORT = 500
export const NAT_T_PORT = 4500

/** The ports our two sockets are bound to. */
export interface OwnPorts {
  readonly port: number
  readonly portNatT: number
}

/** Four zero bytes before an IKE message on the NAT-T socket, where ESP has its SPI (RFC 3948 2.2). */
const NON_ESP_MARKER = new Uint8Array(4)
/** Octets of an IKE header, the last four of which are the length of the message. */
const HEADER_LENGTH = 28
/** The one byte of a NAT keepalive (RFC 3948 2.3): no marker, no header. */
export const KEEPALIVE = Uint8Array.of(0xff)

/** All our sockets but the one of the IKE port, be they few or more, are for NAT traversal. */
function isMarked(localPort: number, own: OwnPorts): boolean {
  return localPort !== own.port
}

/**
 * Puts the marker before a message that leaves from `localPort`. By socket, not by the peer's port: a NAT may map a
 * client's 4500 to an outside 500, and strongSwan's rule (marker iff neither port is 500) breaks there. To be sent, not
 * kept: `network.send` copies it.
 */
export function withMarker(message: Uint8Array, localPort: number, own: OwnPorts): Uint8Array {
  if (!isMarked(localPort, own)) return message
  const datagram = briefBytes(NON_ESP_MARKER.length + message.length)
  datagram.set(NON_ESP_MARKER)
  datagram.set(message, NON_ESP_MARKER.length)
  return datagram
}

/** Octets that the marker adds to a message that leaves from `localPort`. */
export function markerLength(localPort: number, own: OwnPorts): number {
  return isMarked(localPort, own) ? NON_ESP_MARKER.length : 0
}

/** The IKE message in what arrived on `localPort`, or null for anything else: keepalives, strays, ESP that slipped through. */
export function withoutMarker(datagram: Uint8Array, localPort: number, own: OwnPorts): Uint8Array | null {
  if (!isMarked(localPort, own)) return datagram
  if (datagram.length < 4) return null
  const isMarker = datagram[0] === 0 && datagram[1] === 0 && datagram[2] === 0 && datagram[3] === 0
  return isMarker ? datagram.subarray(4) : null
}

/**
 * Whether this is a whole IKE message behind a marker, by the length in its header (RFC 7296 3.1). On the IKE port it
 * shows a peer that was told that port instead of the NAT-T port.
 */
export function isMarkedMessage(datagram: Uint8Array): boolean {
  if (datagram.length < NON_ESP_MARKER.length + HEADER_LENGTH) return false
  const view = new DataView(datagram.buffer, datagram.byteOffset)
  return view.getUint32(0) === 0 && view.getUint32(NON_ESP_MARKER.length + HEADER_LENGTH - 4) === datagram.length - 4
}

/**
 * The local port an initiator begins on. A peer that listens elsewhere than on 500 gets its first message from the
 * NAT-T socket, marker and all, since it cannot tell otherwise (strongSwan since 6.0.1).
 */
export function initialLocalPort(configuredLocal: number, configuredRemote: number, own: OwnPorts): number {
  if (configuredRemote !== IKE_PORT) return own.portNatT
  return configuredLocal === own.portNatT ? own.portNatT : own.port
}

/**
 * Whether the initiator floats after IKE_SA_INIT: with any NAT (RFC 7296 2.23), and with MOBIKE allowed on both sides
 * that do NAT detection, so that a NAT which appears later finds us on the right port (RFC 4555 3.3).
 */
export function floats(facts: NatFacts, mobike: boolean): boolean {
  return facts.supported && (mobike || facts.here || facts.there || facts.faked)
}

/**
 * Endpoints after the float. strongSwan: the remote port moves only if either current port is 500, the local one only
 * if it was our IKE port; custom ports stay as they are.
 */
export function floated(
  local: Endpoint,
  remote: Endpoint,
  own: OwnPorts,
): { readonly local: Endpoint; readonly remote: Endpoint } {
  const moves = remote.port === IKE_PORT || local.port === IKE_PORT
  return {
    local: local.port === own.port ? local.withPort(own.portNatT) : local,
    remote: moves ? remote.withPort(NAT_T_PORT) : remote,
  }
}
