/**
 * The notifies of MOBIKE (RFC 4555 4): addresses, COOKIE2, and the words for "no NAT between us".
 */
import { equalBytes, Writer } from '../base/bytes.ts'
import { IpAddress } from '../base/ip.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { findNotify, notifies, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { claimed } from '../nat/detection.ts'
import type { Way } from '../nat/path.ts'
import { misbehaved } from './failure.ts'

/** strongSwan: some do not like too many notifies. */
const ADDRESSES_SENT_MAX = 8
/** Ours: of a longer list the rest is forgotten, for each costs a packet when the peer is looked for. */
const ADDRESSES_KEPT_MAX = 16
/** RFC 4555 4.2.5. */
const COOKIE2_LENGTH_MIN = 8
const COOKIE2_LENGTH_MAX = 64
/** strongSwan's. */
export const COOKIE2_LENGTH = 16

/** Where else we can be reached than at `current` (RFC 4555 3.6). */
export function addressList(own: readonly IpAddress[], current: IpAddress): Payload[] {
  const others = own.filter((address) => !address.equals(current)).slice(0, ADDRESSES_SENT_MAX)
  if (others.length === 0) return [notify(NotifyType.NO_ADDITIONAL_ADDRESSES)]
  return others.map((address) =>
    notify(address.family === 4 ? NotifyType.ADDITIONAL_IP4_ADDRESS : NotifyType.ADDITIONAL_IP6_ADDRESS, address.bytes.slice()),
  )
}

/**
 * All addresses of a peer that sends its list from `source`, which comes first (strongSwan); null when there is no list
 * in the message, which leaves the one there was. What is no address of a host is passed over.
 */
export function readAddressList(payloads: readonly Payload[], source: IpAddress): readonly IpAddress[] | null {
  const found: IpAddress[] = [source]
  let isList = false
  for (const payload of payloads) {
    if (payload.kind !== 'Notify') continue
    if (payload.notifyType === NotifyType.NO_ADDITIONAL_ADDRESSES) isList = true
    const length = ADDRESS_LENGTHS.get(payload.notifyType)
    if (length === undefined) continue
    isList = true
    if (payload.data.length !== length || found.length > ADDRESSES_KEPT_MAX) continue
    const address = new IpAddress(payload.data.slice())
    if (isHost(address) && !found.some((other) => other.equals(address))) found.push(address)
  }
  return isList ? found : null
}

const ADDRESS_LENGTHS: ReadonlyMap<number, number> = new Map([
  [NotifyType.ADDITIONAL_IP4_ADDRESS, 4],
  [NotifyType.ADDITIONAL_IP6_ADDRESS, 16],
])

/** Whether a peer elsewhere may have it: not unspecified, loopback, multicast, broadcast, or for one link only. */
function isHost({ family, bytes, isAny }: IpAddress): boolean {
  if (isAny) return false
  if (family === 4) return bytes[0] !== 0 && bytes[0] !== 127 && bytes[0]! < 224
  const isLoopback = bytes.subarray(0, 15).every((byte) => byte === 0) && bytes[15] === 1
  const isLinkLocal = bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80
  return !isLoopback && !isLinkLocal && bytes[0] !== 0xff
}

/** What goes back as it came (RFC 4555 3.7). Throws ExchangeFailure when it is shorter or longer than one may be. */
export function cookie2Echo(payloads: readonly Payload[]): Payload[] {
  const cookie = findNotify(payloads, NotifyType.COOKIE2)
  if (cookie === null) return []
  const { length } = cookie.data
  if (length < COOKIE2_LENGTH_MIN || length > COOKIE2_LENGTH_MAX)
    throw misbehaved(`the peer's COOKIE2 has ${length} octets, not 8 to 64`)
  return [notify(NotifyType.COOKIE2, cookie.data.slice())]
}

/** Whether an answer has the COOKIE2 that was sent. */
export function echoes(payloads: readonly Payload[], cookie: Uint8Array): boolean {
  const found = notifies(payloads, NotifyType.COOKIE2)
  return found.length === 1 && equalBytes(found[0]!.data, cookie)
}

/** NO_NATS_ALLOWED (RFC 4555 4.2.6): the addresses and ports of a message as its sender sees them, 12 or 36 octets. */
export function noNatsAllowed({ local, remote }: Way): Payload {
  return notify(NotifyType.NO_NATS_ALLOWED, headerOf({ source: local, destination: remote }))
}

/**
 * Whether a message that allows no NATs met one: its header is not what the sender put there. One between our public
 * addresses and ours is none.
 */
export function meetsForbiddenNat(
  payloads: readonly Payload[],
  { local, remote }: Way,
  publicAddresses: readonly IpAddress[],
): boolean {
  const allowed = findNotify(payloads, NotifyType.NO_NATS_ALLOWED)
  if (allowed === null) return false
  const ends = [local, ...claimed(local, publicAddresses)]
  return !ends.some((destination) => equalBytes(allowed.data, headerOf({ source: remote, destination })))
}

function headerOf({ source, destination }: Readonly<Record<'source' | 'destination', Way['local']>>): Uint8Array {
  const writer = new Writer(36)
  writer.bytes(source.address.bytes).bytes(destination.address.bytes).u16(source.port).u16(destination.port)
  return writer.finish()
}
