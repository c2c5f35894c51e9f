/**
 * Numbers of rtnetlink (linux/rtnetlink.h, if_link.h, if_addr.h, fib_rules.h), as far as we ask or tell with them.
 */
export const NETLINK_ROUTE = 0
export const NLMSG_DONE = 3

/** Of requests to get, and of those to make: their bits have two meanings. */
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400

export const RTM = {
  NEWLINK: 16,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
} as const

/** Multicast groups: links, addresses, routes and rules of both families. */
export const RTNLGRP = {
  LINK: 1,
  IPV4_IFADDR: 5,
  IPV4_ROUTE: 7,
  IPV4_RULE: 8,
  IPV6_IFADDR: 9,
  IPV6_ROUTE: 11,
  IPV6_RULE: 19,
} as const

/** struct ifinfomsg: family u8, pad u8, type u16, index s32, flags u32, change u32. */
export const IFINFOMSG_LENGTH = 16
export const IFLA_IFNAME = 3
export const IFLA_MTU = 4
export const IFF_UP = 0x1
export const IFF_LOOPBACK = 0x8
export const IFF_RUNNING = 0x40
export const IFF_NOARP = 0x80

/** struct ifaddrmsg: family u8, prefix length u8, flags u8, scope u8, index u32. */
export const IFADDRMSG_LENGTH = 8
export const IFA_ADDRESS = 1
export const IFA_LOCAL = 2
export const IFA_CACHEINFO = 6
export const IFA_FLAGS = 8
export const IFA_F_TEMPORARY = 0x01
export const IFA_F_NODAD = 0x02
export const IFA_F_DADFAILED = 0x08
export const IFA_F_DEPRECATED = 0x20
export const IFA_F_TENTATIVE = 0x40

/** struct rtmsg: family, destination length, source length, TOS, table, protocol, scope, type, 1 byte each; flags u32. */
export const RTMSG_LENGTH = 12
export const RTM_F_CLONED = 0x200
/** The answer is the entry of the routing table, and there is none where the kernel would only guess (since Linux 4.13). */
export const RTM_F_FIB_MATCH = 0x2000
export const RTA_DST = 1
export const RTA_SRC = 2
export const RTA_OIF = 4
export const RTA_GATEWAY = 5
export const RTA_PREFSRC = 7
export const RTA_METRICS = 8
export const RTA_TABLE = 15
/** Within RTA_METRICS. */
export const RTAX_MTU = 2
export const RTPROT_STATIC = 4
export const RT_SCOPE_UNIVERSE = 0
/** Scopes from here on are for one link or this machine. */
export const RT_SCOPE_LINK = 253
export const RTN_UNICAST = 1
/** The lookup goes on with the next table. */
export const RTN_THROW = 9

/** struct fib_rule_hdr: family, destination length, source length, TOS, table, 2 reserved, action, 1 byte each; flags u32. */
export const FIB_RULE_HDR_LENGTH = 12
export const FRA_PRIORITY = 6
export const FRA_TABLE = 15
export const FR_ACT_TO_TBL = 1
