/**
 * What we change in the machine's own network, as rtnetlink wants it (linux/rtnetlink.h, if_addr.h, fib_rules.h): virtual
 * addresses, routes of tunnels in a table of their own, the rule that has it looked at. And the way to a peer, as the
 * kernel tells of it. Fields are in the machine's byte order, addresses in network order.
 */
import { assert } from '../base/assert.ts'
import { IpAddress, type Family } from '../base/ip.ts'
import type { NextHop, TunnelRoute } from '../ports.ts'
import {
  FIB_RULE_HDR_LENGTH,
  FRA_PRIORITY,
  FRA_TABLE,
  FR_ACT_TO_TBL,
  IFADDRMSG_LENGTH,
  IFA_ADDRESS,
  IFA_CACHEINFO,
  IFA_F_NODAD,
  IFA_LOCAL,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  RTAX_MTU,
  RTA_DST,
  RTA_GATEWAY,
  RTA_METRICS,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_TABLE,
  RTM,
  RTMSG_LENGTH,
  RTN_THROW,
  RTN_UNICAST,
  RTPROT_STATIC,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
} from './rtnetlink-constants.ts'
import { readAttributes, RequestMessage, type ReceivedMessage } from './xfrm/attributes.ts'
import { LITTLE_ENDIAN, NLM_F_ACK, NLM_F_REQUEST } from './xfrm/constants.ts'
import { familyNumber, structAt } from './xfrm/structs.ts'

const FOREVER = 0xffff_ffff

/** Adds or removes an address, alone in its network, on an interface. */
export function encodeAddressChange(
  change: { readonly op: 'add' | 'remove'; readonly address: IpAddress; readonly interfaceIndex: number },
  sequence: number,
): Uint8Array {
  const { op, address, interfaceIndex } = change
  // Not NLM_F_REPLACE: the kernel tells everybody of an address that is put in the place of itself, us as well.
  const flags = NLM_F_REQUEST | NLM_F_ACK | (op === 'add' ? NLM_F_CREATE | NLM_F_EXCL : 0)
  const message = new RequestMessage(op === 'add' ? RTM.NEWADDR : RTM.DELADDR, flags, sequence, IFADDRMSG_LENGTH)
  message.view.setUint8(16, familyNumber(address.family))
  message.view.setUint8(17, address.bytes.length * 8)
  // It is ours alone: nobody else is to be asked for it.
  if (address.family === 6) message.view.setUint8(18, IFA_F_NODAD)
  message.view.setUint32(20, interfaceIndex, LITTLE_ENDIAN)
  message.put(message.attribute(address.family === 4 ? IFA_LOCAL : IFA_ADDRESS, address.bytes.length), address.bytes)
  if (address.family === 6 && op === 'add') {
    // struct ifa_cacheinfo: preferred, valid, created, updated, u32 each. Preferred for no time: only our routes use it.
    const at = message.attribute(IFA_CACHEINFO, 16)
    message.view.setUint32(at + 4, FOREVER, LITTLE_ENDIAN)
  }
  return message.finish()
}

/** Adds a route to a table, in the place of one with the same destination, or removes it. */
export function encodeRouteChange(
  change: { readonly op: 'add' | 'remove'; readonly route: TunnelRoute; readonly table: number },
  sequence: number,
): Uint8Array {
  const { op, route, table } = change
  const { destination, source, way, mtu } = route
  assert(destination.prefixLength !== null, 'a route leads to a prefix')
  const flags = NLM_F_REQUEST | NLM_F_ACK | (op === 'add' ? NLM_F_CREATE | NLM_F_REPLACE : 0)
  const message = new RequestMessage(op === 'add' ? RTM.NEWROUTE : RTM.DELROUTE, flags, sequence, RTMSG_LENGTH)
  const { view } = message
  view.setUint8(16, familyNumber(destination.family))
  view.setUint8(17, destination.prefixLength)
  view.setUint8(20, table < 256 ? table : 0)
  view.setUint8(21, RTPROT_STATIC)
  view.setUint8(22, way === null || way.gateway !== null ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK)
  view.setUint8(23, way === null ? RTN_THROW : RTN_UNICAST)
  const address = (type: number, { bytes }: IpAddress): void => message.put(message.attribute(type, bytes.length), bytes)
  const word = (type: number, value: number): void => view.setUint32(message.attribute(type, 4), value, LITTLE_ENDIAN)
  address(RTA_DST, destination.first)
  if (source !== null) address(RTA_PREFSRC, source)
  if (way !== null) {
    if (way.gateway !== null) address(RTA_GATEWAY, way.gateway)
    word(RTA_OIF, way.interfaceIndex)
  }
  word(RTA_TABLE, table)
  if (mtu !== null) {
    const at = message.attribute(RTA_METRICS, 8)
    view.setUint16(at, 8, LITTLE_ENDIAN)
    view.setUint16(at + 2, RTAX_MTU, LITTLE_ENDIAN)
    view.setUint32(at + 4, mtu, LITTLE_ENDIAN)
  }
  return message.finish()
}

/** Has a table looked at for every packet of a family, before those of a higher priority number. */
export function encodeRuleChange(
  change: { readonly op: 'add' | 'remove'; readonly family: Family; readonly table: number; readonly priority: number },
  sequence: number,
): Uint8Array {
  const { op, family, table, priority } = change
  const flags = NLM_F_REQUEST | NLM_F_ACK | (op === 'add' ? NLM_F_CREATE | NLM_F_EXCL : 0)
  const message = new RequestMessage(op === 'add' ? RTM.NEWRULE : RTM.DELRULE, flags, sequence, FIB_RULE_HDR_LENGTH)
  message.view.setUint8(16, familyNumber(family))
  message.view.setUint8(20, table < 256 ? table : 0)
  message.view.setUint8(23, FR_ACT_TO_TBL)
  message.view.setUint32(message.attribute(FRA_PRIORITY, 4), priority, LITTLE_ENDIAN)
  message.view.setUint32(message.attribute(FRA_TABLE, 4), table, LITTLE_ENDIAN)
  return message.finish()
}

/** The answer to a route query (rtnetlink.ts); null for one that leads nowhere. */
export function decodeWay({ type, payload }: ReceivedMessage): NextHop | null {
  if (type !== RTM.NEWROUTE) return null
  const attributes = readAttributes(payload, RTMSG_LENGTH)
  const index = attributes.get(RTA_OIF)
  const gateway = attributes.get(RTA_GATEWAY)
  if (index === undefined) return null
  return {
    interfaceIndex: structAt(index, 0, 4, 'an interface').getUint32(0, LITTLE_ENDIAN),
    gateway: gateway === undefined ? null : new IpAddress(gateway.slice()),
  }
}
