/**
 * Links, addresses and routes as rtnetlink tells of them (linux/rtnetlink.h, if_link.h, if_addr.h): what of the
 * machine's own network changes under us. Fields are in the machine's byte order, addresses in network order.
 */
import { IpAddress } from '../base/ip.ts'
import {
  IFADDRMSG_LENGTH,
  IFA_ADDRESS,
  IFA_FLAGS,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_TEMPORARY,
  IFA_F_TENTATIVE,
  IFA_LOCAL,
  IFF_LOOPBACK,
  IFF_NOARP,
  IFF_RUNNING,
  IFF_UP,
  IFINFOMSG_LENGTH,
  IFLA_IFNAME,
  IFLA_MTU,
  NLM_F_DUMP,
  RTAX_MTU,
  RTA_DST,
  RTA_METRICS,
  RTA_OIF,
  RTA_SRC,
  RTA_TABLE,
  RTM,
  RTMSG_LENGTH,
  RTM_F_CLONED,
  RTM_F_FIB_MATCH,
  RT_SCOPE_LINK,
} from './rtnetlink-constants.ts'
import { readAttributes, RequestMessage, type ReceivedMessage } from './xfrm/attributes.ts'
import { LITTLE_ENDIAN, NLM_F_REQUEST } from './xfrm/constants.ts'
import { familyNumber, structAt } from './xfrm/structs.ts'

export interface LinkFacts {
  readonly index: number
  readonly name: string
  /** Switched on, and what it is plugged into is, too. */
  readonly isUp: boolean
  /** Nothing is sent by it: its addresses are reached by other interfaces (lo, dummies). */
  readonly isAside: boolean
  readonly mtu: number
}

export interface AddressFacts {
  readonly interfaceIndex: number
  readonly address: IpAddress
  /** For more than one link, there to stay, and known to nobody else. */
  readonly isRegular: boolean
  /** An IPv6 address that changes for privacy (RFC 8981). */
  readonly isTemporary: boolean
}

/** Asks for all links, or all addresses of both families. */
export function encodeDump(type: typeof RTM.GETLINK | typeof RTM.GETADDR, sequence: number): Uint8Array {
  // Both structures begin with the family, 0 for any.
  const length = type === RTM.GETLINK ? IFINFOMSG_LENGTH : IFADDRMSG_LENGTH
  return new RequestMessage(type, NLM_F_REQUEST | NLM_F_DUMP, sequence, length).finish()
}

/**
 * Asks for the route from `local` to `remote`; by an interface alone unless that is null. Either for the entry of the
 * table that it comes from, or for what the kernel makes of it, with the MTU that it has learnt since.
 */
export function encodeRouteQuery(
  query: {
    readonly local: IpAddress
    readonly remote: IpAddress
    readonly interfaceIndex: number | null
    readonly asUsed?: true
  },
  sequence: number,
): Uint8Array {
  const { local, remote, interfaceIndex, asUsed } = query
  const message = new RequestMessage(RTM.GETROUTE, NLM_F_REQUEST, sequence, RTMSG_LENGTH)
  const bits = remote.bytes.length * 8
  message.view.setUint8(16, familyNumber(remote.family))
  message.view.setUint8(17, bits)
  message.view.setUint8(18, bits)
  if (asUsed !== true) message.view.setUint32(24, RTM_F_FIB_MATCH, LITTLE_ENDIAN)
  message.put(message.attribute(RTA_DST, remote.bytes.length), remote.bytes)
  message.put(message.attribute(RTA_SRC, local.bytes.length), local.bytes)
  if (interfaceIndex !== null) message.view.setUint32(message.attribute(RTA_OIF, 4), interfaceIndex, LITTLE_ENDIAN)
  return message.finish()
}

export function decodeLink({ payload }: ReceivedMessage): LinkFacts {
  const view = structAt(payload, 0, IFINFOMSG_LENGTH, 'a link')
  const flags = view.getUint32(8, LITTLE_ENDIAN)
  const attributes = readAttributes(payload, IFINFOMSG_LENGTH)
  const name = attributes.get(IFLA_IFNAME) ?? new Uint8Array()
  return {
    index: view.getInt32(4, LITTLE_ENDIAN),
    name: new TextDecoder().decode(name).replace(/\0.*$/s, ''),
    isUp: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
    isAside: (flags & (IFF_LOOPBACK | IFF_NOARP)) !== 0,
    mtu: wordOf(attributes.get(IFLA_MTU)) ?? 0,
  }
}

/** Null for families that we do not know. */
export function decodeAddress({ payload }: ReceivedMessage): AddressFacts | null {
  const view = structAt(payload, 0, IFADDRMSG_LENGTH, 'an address')
  const attributes = readAttributes(payload, IFADDRMSG_LENGTH)
  // Of a point-to-point link IFA_ADDRESS is the other end's.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS)
  if (bytes === undefined || (bytes.length !== 4 && bytes.length !== 16)) return null
  const wide = attributes.get(IFA_FLAGS)
  const flags = wide === undefined ? view.getUint8(2) : structAt(wide, 0, 4, 'flags').getUint32(0, LITTLE_ENDIAN)
  const isFor6 = bytes.length === 16
  const isUnsure = isFor6 && (flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE)) !== 0
  return {
    interfaceIndex: view.getUint32(4, LITTLE_ENDIAN),
    address: new IpAddress(bytes.slice()),
    isRegular: view.getUint8(3) < RT_SCOPE_LINK && !isUnsure && (flags & IFA_F_DEPRECATED) === 0,
    isTemporary: isFor6 && (flags & IFA_F_TEMPORARY) !== 0,
  }
}

/** The table of a route that came or went; null for a remembered lookup, which is no route. */
export function decodeRouteTable({ payload }: ReceivedMessage): number | null {
  const view = structAt(payload, 0, RTMSG_LENGTH, 'a route')
  if ((view.getUint32(8, LITTLE_ENDIAN) & RTM_F_CLONED) !== 0) return null
  const table = readAttributes(payload, RTMSG_LENGTH).get(RTA_TABLE)
  return table === undefined ? view.getUint8(4) : structAt(table, 0, 4, 'a table').getUint32(0, LITTLE_ENDIAN)
}

/** Of a route: the interface it leaves by, and its own MTU where it has one, or the kernel has learnt one. */
export function decodeRouteMtu({ payload }: ReceivedMessage): {
  readonly interfaceIndex: number | null
  readonly mtu: number | null
} {
  const attributes = readAttributes(payload, RTMSG_LENGTH)
  const metrics = attributes.get(RTA_METRICS)
  const mtu = metrics === undefined ? null : wordOf(readAttributes(metrics, 0).get(RTAX_MTU))
  return { interfaceIndex: wordOf(attributes.get(RTA_OIF)), mtu: mtu === 0 ? null : mtu }
}

function wordOf(bytes: Uint8Array | undefined): number | null {
  return bytes === undefined ? null : structAt(bytes, 0, 4, 'an attribute').getUint32(0, LITTLE_ENDIAN)
}
