/**
 * How large a packet may be that goes into a tunnel, so that what comes of it is no larger than the way allows.
 *
 * Tunnel mode, RFC 4303 2 and 3.1, RFC 3948 2.1; lengths in octets:
 *
 *   outer IP 20 or 40 | UDP 8 | SPI 4, sequence 4 | IV | inner packet, padding, pad length 1, next header 1 | ICV
 *
 * What is between IV and ICV is a multiple of the cipher's block, and of 4 at least (RFC 4303 2.4). In transport mode the
 * inner packet leaves its own IP header outside, where the outer one is here. Extended sequence numbers are not sent.
 */
import type { Family } from '../base/ip.ts'
import { encrAlgorithm, integAlgorithm } from '../crypto/algorithms.ts'

/** What the overhead depends on. */
export interface TunnelShape {
  readonly mode: 'tunnel' | 'transport'
  /** Of the outer header. */
  readonly family: Family
  /** ESP in UDP. */
  readonly encapsulated: boolean
  /** IANA ENCR and INTEG transform IDs; null with an AEAD. */
  readonly encryption: number
  readonly integrity: number | null
}

const IP_HEADER: Readonly<Record<Family, number>> = { 4: 20, 6: 40 }
const UDP_HEADER = 8
const ESP_HEADER = 8
const ESP_TRAILER = 2
/** RFC 8200 5: no link has less, and no kernel lets a tunnel have less. */
const IPV6_MTU_LEAST = 1280

/**
 * The largest packet, its own IP header included, that fits once protected into `outerMtu` octets. Linux comes to the
 * same (xfrm_state_mtu). Null for transforms that we do not do, and where nothing fits.
 */
export function innerMtu(outerMtu: number, shape: TunnelShape): number | null {
  const cipher = encrAlgorithm(shape.encryption)
  const integrity = shape.integrity === null ? null : integAlgorithm(shape.integrity)
  if (cipher === null || (shape.integrity !== null && integrity === null)) return null
  const ip = IP_HEADER[shape.family]
  const around = ip + (shape.encapsulated ? UDP_HEADER : 0) + ESP_HEADER + cipher.ivLength + cipher.icvLength
  const block = Math.max(4, cipher.blockSize)
  const room = outerMtu - around - (integrity?.icvLength ?? 0)
  const payload = Math.floor(room / block) * block - ESP_TRAILER
  const inner = shape.mode === 'transport' ? payload + ip : payload
  if (inner <= 0) return null
  return shape.family === 6 ? Math.max(inner, IPV6_MTU_LEAST) : inner
}
