/**
 * Numbers of linux/netlink.h and linux/xfrm.h that we use. Multi-byte fields are in the machine's byte order, except
 * where structs.ts says "network order".
 */

/** Byte order of the machine, as DataView wants it. */
export const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

export const NETLINK_XFRM = 6

export const NLM_F_REQUEST = 0x01
export const NLM_F_ACK = 0x04
/** In an acknowledgement: the request's payload was left out; attributes follow. */
export const NLM_F_CAPPED = 0x100
export const NLM_F_ACK_TLVS = 0x200

export const NLMSG_ERROR = 2
export const NLMSG_HEADER_LENGTH = 16

/** Attribute of an acknowledgement: the kernel's text, zero-terminated. */
export const NLMSGERR_ATTR_MSG = 1

export const NETLINK_CAP_ACK = 10
export const NETLINK_EXT_ACK = 11

export const XFRM_MSG = {
  NEWSA: 0x10,
  DELSA: 0x11,
  GETSA: 0x12,
  NEWPOLICY: 0x13,
  DELPOLICY: 0x14,
  ALLOCSPI: 0x16,
  ACQUIRE: 0x17,
  EXPIRE: 0x18,
  UPDPOLICY: 0x19,
  UPDSA: 0x1a,
  MIGRATE: 0x21,
  MAPPING: 0x26,
} as const

/** Multicast groups. */
export const XFRMNLGRP = { ACQUIRE: 1, EXPIRE: 2, MAPPING: 8 } as const

export const XFRMA = {
  ALG_AUTH: 1,
  ALG_CRYPT: 2,
  ENCAP: 4,
  TMPL: 5,
  LTIME_VAL: 9,
  REPLAY_VAL: 10,
  LASTUSED: 15,
  MIGRATE: 17,
  ALG_AEAD: 18,
  ALG_AUTH_TRUNC: 20,
  MARK: 21,
  REPLAY_ESN_VAL: 23,
  SA_EXTRA_FLAGS: 24,
  SET_MARK: 29,
  SET_MARK_MASK: 30,
  IF_ID: 31,
} as const

export const AF_INET = 2
export const AF_INET6 = 10
export const IPPROTO_ESP = 50

export const XFRM_MODE = { transport: 0, tunnel: 1 } as const

export const XFRM_STATE = { NOECN: 1, DECAP_DSCP: 2, NOPMTUDISC: 4, AF_UNSPEC: 32, ESN: 128 } as const
export const XFRM_SA_XFLAG_DONT_ENCAP_DSCP = 1

export const XFRM_POLICY_DIRECTION = { in: 0, out: 1, fwd: 2 } as const
export const XFRM_POLICY_ACTION = { allow: 0, block: 1 } as const

/** "No limit" of bytes and packets; for times it is 0. */
export const XFRM_INF = 0xffff_ffff_ffff_ffffn

/** UDP_ENCAP_ESPINUDP: the RFC 3948 form. */
export const UDP_ENCAP_ESPINUDP = 2

/** The kernel's largest anti-replay window, in packets (XFRMA_REPLAY_ESN_MAX). */
export const MAX_REPLAY_WINDOW = 4096

/** strongSwan: SPIs are asked for within 0xc0000000 to 0xcfffffff. */
export const FIRST_SPI = 0xc000_0000
export const LAST_SPI = 0xcfff_ffff
