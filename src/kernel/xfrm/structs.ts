/**
 * The structures of linux/xfrm.h, both ways. Layouts are those of 64-bit Linux (x86-64, arm64, riscv64), where 64-bit
 * fields are aligned to 8 bytes; fields are in the machine's byte order unless marked N (network order).
 * Offsets are in the comment of each structure.
 */
import { type Family, IpAddress, IpRange } from '../../base/ip.ts'
import { portMaskOf, portRangeOf } from '../selectors.ts'
import type { Encapsulation, Limits, Selector } from '../vocabulary.ts'
import { AF_INET, AF_INET6, IPPROTO_ESP, LITTLE_ENDIAN, UDP_ENCAP_ESPINUDP, XFRM_INF } from './constants.ts'

export const USERSA_INFO_LENGTH = 224
export const USERSA_ID_LENGTH = 24
export const USERSPI_INFO_LENGTH = 232
export const USERPOLICY_INFO_LENGTH = 168
export const USERPOLICY_ID_LENGTH = 64
export const USER_TMPL_LENGTH = 64
export const ENCAP_TMPL_LENGTH = 24
export const USER_ACQUIRE_LENGTH = 280
export const USER_EXPIRE_LENGTH = 232
export const USER_MAPPING_LENGTH = 64
/** Without its bitmap. */
export const REPLAY_ESN_LENGTH = 24
export const REPLAY_LENGTH = 12
export const LIFETIME_CUR_LENGTH = 32
export const USER_MIGRATE_LENGTH = 76

/** A message the kernel sent that is shorter than its structure, or names an address family that we do not know. */
export class XfrmFormatError extends Error {
  override readonly name = 'XfrmFormatError'
}

export function familyNumber(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6
}

export function familyOf(number: number): Family {
  if (number === AF_INET) return 4
  if (number === AF_INET6) return 6
  throw new XfrmFormatError(`the kernel named the address family ${number}, which is neither IPv4 nor IPv6`)
}

/** A view on `bytes` for reading a structure of `length` bytes at `offset`. */
export function structAt(bytes: Uint8Array, offset: number, length: number, what: string): DataView {
  if (bytes.length - offset < length) throw tooShort(what, Math.max(0, bytes.length - offset), length)
  return new DataView(bytes.buffer, bytes.byteOffset + offset, length)
}

export function tooShort(what: string, found: number, expected: number): XfrmFormatError {
  return new XfrmFormatError(`${what} of the kernel has ${found} bytes, ${expected} were expected`)
}

/** xfrm_address_t, 16 bytes N: an IPv4 address in the first 4, zeros behind it. */
export function putAddress(view: DataView, offset: number, address: IpAddress): void {
  address.bytes.forEach((byte, i) => view.setUint8(offset + i, byte))
}

/** A copy: what is decoded outlives the receive buffer. */
export function getAddress(view: DataView, offset: number, family: Family): IpAddress {
  const length = family === 4 ? 4 : 16
  return new IpAddress(new Uint8Array(view.buffer, view.byteOffset + offset, length).slice())
}

/**
 * xfrm_selector: daddr 0, saddr 16, dport N 32, dport_mask N 34, sport N 36, sport_mask N 38, family u16 40,
 * prefixlen_d u8 42, prefixlen_s u8 43, proto u8 44, ifindex i32 48, user u32 52; 56 bytes.
 */
export function putSelector(view: DataView, offset: number, selector: Selector): void {
  putAddress(view, offset, selector.destination.first)
  putAddress(view, offset + 16, selector.source.first)
  const destination = portMaskOf(selector.destinationPorts)
  const source = portMaskOf(selector.sourcePorts)
  view.setUint16(offset + 32, destination.port)
  view.setUint16(offset + 34, destination.mask)
  view.setUint16(offset + 36, source.port)
  view.setUint16(offset + 38, source.mask)
  view.setUint16(offset + 40, familyNumber(selector.source.family), LITTLE_ENDIAN)
  view.setUint8(offset + 42, selector.destination.coveringPrefixLength)
  view.setUint8(offset + 43, selector.source.coveringPrefixLength)
  view.setUint8(offset + 44, selector.protocol)
}

export function getSelector(view: DataView, offset: number): Selector {
  const family = familyOf(view.getUint16(offset + 40, LITTLE_ENDIAN))
  return {
    destination: prefix(getAddress(view, offset, family), view.getUint8(offset + 42)),
    source: prefix(getAddress(view, offset + 16, family), view.getUint8(offset + 43)),
    protocol: view.getUint8(offset + 44),
    destinationPorts: portRangeOf({ port: view.getUint16(offset + 32), mask: view.getUint16(offset + 34) }),
    sourcePorts: portRangeOf({ port: view.getUint16(offset + 36), mask: view.getUint16(offset + 38) }),
  }
}

function prefix(address: IpAddress, length: number): IpRange {
  if (length > address.bytes.length * 8)
    throw new XfrmFormatError(`the kernel gave ${address.toString()} a prefix of ${length} bits`)
  return IpRange.ofPrefix(address, length)
}

/** xfrm_id: daddr 0, spi N 16, proto u8 20; 24 bytes. */
export function putId(view: DataView, offset: number, destination: IpAddress, spi: number): void {
  putAddress(view, offset, destination)
  view.setUint32(offset + 16, spi)
  view.setUint8(offset + 20, IPPROTO_ESP)
}

/**
 * xfrm_lifetime_cfg, all u64: soft_byte 0, hard_byte 8, soft_packet 16, hard_packet 24, soft_add_expires 32,
 * hard_add_expires 40, soft_use_expires 48, hard_use_expires 56; 64 bytes. Our 0, no limit, is all ones for bytes and packets.
 */
export function putLimits(view: DataView, offset: number, limits: Limits): void {
  const amounts = [limits.softBytes, limits.hardBytes, limits.softPackets, limits.hardPackets]
  amounts.forEach((amount, i) => view.setBigUint64(offset + i * 8, amount === 0n ? XFRM_INF : amount, LITTLE_ENDIAN))
  view.setBigUint64(offset + 32, BigInt(limits.softSeconds), LITTLE_ENDIAN)
  view.setBigUint64(offset + 40, BigInt(limits.hardSeconds), LITTLE_ENDIAN)
}

export function getLimits(view: DataView, offset: number): Limits {
  const amount = (at: number): bigint => {
    const value = view.getBigUint64(offset + at, LITTLE_ENDIAN)
    return value === XFRM_INF ? 0n : value
  }
  return {
    softBytes: amount(0),
    hardBytes: amount(8),
    softPackets: amount(16),
    hardPackets: amount(24),
    softSeconds: Number(view.getBigUint64(offset + 32, LITTLE_ENDIAN)),
    hardSeconds: Number(view.getBigUint64(offset + 40, LITTLE_ENDIAN)),
  }
}

/** What we write into xfrm_usersa_info; its counters are the kernel's to fill. */
export interface UsersaInfo {
  /** Null leaves all zeros: the kernel then takes the state's family and any packet of it. */
  readonly selector: Selector | null
  readonly destination: IpAddress
  readonly source: IpAddress
  readonly spi: number
  readonly limits: Limits
  readonly sequence: number
  readonly reqid: number
  readonly mode: number
  /** u8: for windows above 32 packets this is 0 and XFRMA_REPLAY_ESN_VAL says it. */
  readonly replayWindow: number
  readonly flags: number
}

/**
 * xfrm_usersa_info: sel 0, id 56, saddr 80, lft 96, curlft 160 (bytes 160, packets 168, add_time 176, use_time 184),
 * stats 192 (replay_window 192, replay 196, integrity_failed 200), seq u32 204, reqid u32 208, family u16 212,
 * mode u8 214, replay_window u8 215, flags u8 216; 224 bytes.
 */
export function putUsersaInfo(view: DataView, offset: number, info: UsersaInfo): void {
  if (info.selector !== null) putSelector(view, offset, info.selector)
  putId(view, offset + 56, info.destination, info.spi)
  putAddress(view, offset + 80, info.source)
  putLimits(view, offset + 96, info.limits)
  view.setUint32(offset + 204, info.sequence, LITTLE_ENDIAN)
  view.setUint32(offset + 208, info.reqid, LITTLE_ENDIAN)
  view.setUint16(offset + 212, familyNumber(info.destination.family), LITTLE_ENDIAN)
  view.setUint8(offset + 214, info.mode)
  view.setUint8(offset + 215, info.replayWindow)
  view.setUint8(offset + 216, info.flags)
}

/** What the kernel says in xfrm_usersa_info. */
export interface UsersaReport {
  readonly destination: IpAddress
  readonly source: IpAddress
  readonly spi: number
  readonly protocol: number
  readonly limits: Limits
  readonly sequence: number
  readonly reqid: number
  readonly mode: number
  readonly flags: number
}

export function getUsersaInfo(view: DataView, offset: number): UsersaReport {
  const family = familyOf(view.getUint16(offset + 212, LITTLE_ENDIAN))
  return {
    destination: getAddress(view, offset + 56, family),
    spi: view.getUint32(offset + 72),
    protocol: view.getUint8(offset + 76),
    source: getAddress(view, offset + 80, family),
    limits: getLimits(view, offset + 96),
    sequence: view.getUint32(offset + 204, LITTLE_ENDIAN),
    reqid: view.getUint32(offset + 208, LITTLE_ENDIAN),
    mode: view.getUint8(offset + 214),
    flags: view.getUint8(offset + 216),
  }
}

/** What it counts there. */
export interface UsersaCounts {
  readonly bytes: bigint
  readonly packets: bigint
  readonly replayed: number
  readonly integrityFailed: number
}

export function getUsersaCounts(view: DataView, offset: number): UsersaCounts {
  return {
    bytes: view.getBigUint64(offset + 160, LITTLE_ENDIAN),
    packets: view.getBigUint64(offset + 168, LITTLE_ENDIAN),
    replayed: view.getUint32(offset + 196, LITTLE_ENDIAN),
    integrityFailed: view.getUint32(offset + 200, LITTLE_ENDIAN),
  }
}

/** xfrm_usersa_id: daddr 0, spi N 16, family u16 20, proto u8 22; 24 bytes. */
export function putUsersaId(view: DataView, offset: number, destination: IpAddress, spi: number): void {
  putAddress(view, offset, destination)
  view.setUint32(offset + 16, spi)
  view.setUint16(offset + 20, familyNumber(destination.family), LITTLE_ENDIAN)
  view.setUint8(offset + 22, IPPROTO_ESP)
}

/**
 * xfrm_userpolicy_info: sel 0, lft 56, curlft 120, priority u32 152, index u32 156, dir u8 160, action u8 161,
 * flags u8 162, share u8 163; 168 bytes. Ours never expire, and share with any (0).
 */
export function putUserpolicyInfo(
  view: DataView,
  offset: number,
  selector: Selector,
  limits: Limits,
  priority: number,
  direction: number,
  action: number,
): void {
  putSelector(view, offset, selector)
  putLimits(view, offset + 56, limits)
  view.setUint32(offset + 152, priority, LITTLE_ENDIAN)
  view.setUint8(offset + 160, direction)
  view.setUint8(offset + 161, action)
}

/** xfrm_userpolicy_id: sel 0, index u32 56, dir u8 60; 64 bytes. Index 0: found by the selector. */
export function putUserpolicyId(view: DataView, offset: number, selector: Selector, direction: number): void {
  putSelector(view, offset, selector)
  view.setUint8(offset + 60, direction)
}

/** One xfrm_user_tmpl; addresses null are left zero: a transport mode SA is found by those of the packet. */
export interface UserTmpl {
  readonly family: Family
  readonly addresses: { readonly source: IpAddress; readonly destination: IpAddress } | null
  readonly spi: number
  readonly reqid: number
  readonly mode: number
}

/**
 * xfrm_user_tmpl: id 0 (daddr 0, spi N 16, proto u8 20), family u16 24, saddr 28, reqid u32 44, mode u8 48, share u8 49,
 * optional u8 50, aalgos u32 52, ealgos u32 56, calgos u32 60; 64 bytes. Any algorithm will do: masks all ones.
 */
export function putUserTmpl(view: DataView, offset: number, template: UserTmpl): void {
  if (template.addresses !== null) {
    putAddress(view, offset, template.addresses.destination)
    putAddress(view, offset + 28, template.addresses.source)
  }
  view.setUint32(offset + 16, template.spi)
  view.setUint8(offset + 20, IPPROTO_ESP)
  view.setUint16(offset + 24, familyNumber(template.family), LITTLE_ENDIAN)
  view.setUint32(offset + 44, template.reqid, LITTLE_ENDIAN)
  view.setUint8(offset + 48, template.mode)
  for (const masks of [52, 56, 60]) view.setUint32(offset + masks, 0xffff_ffff, LITTLE_ENDIAN)
}

/** Family and reqid of a template in an acquire; the rest is in the acquire itself. */
export function getUserTmpl(view: DataView, offset: number): { readonly family: Family; readonly reqid: number } {
  return { family: familyOf(view.getUint16(offset + 24, LITTLE_ENDIAN)), reqid: view.getUint32(offset + 44, LITTLE_ENDIAN) }
}

/** One xfrm_user_migrate: a state by what it is found by, and its addresses afterwards. */
export interface UserMigrate {
  readonly from: { readonly source: IpAddress; readonly destination: IpAddress }
  readonly to: { readonly source: IpAddress; readonly destination: IpAddress }
  readonly mode: number
  readonly reqid: number
}

/**
 * xfrm_user_migrate: old_daddr 0, old_saddr 16, new_daddr 32, new_saddr 48, proto u8 64, mode u8 65, reqid u32 68,
 * old_family u16 72, new_family u16 74; 76 bytes.
 */
export function putUserMigrate(view: DataView, offset: number, { from, to, mode, reqid }: UserMigrate): void {
  putAddress(view, offset, from.destination)
  putAddress(view, offset + 16, from.source)
  putAddress(view, offset + 32, to.destination)
  putAddress(view, offset + 48, to.source)
  view.setUint8(offset + 64, IPPROTO_ESP)
  view.setUint8(offset + 65, mode)
  view.setUint32(offset + 68, reqid, LITTLE_ENDIAN)
  view.setUint16(offset + 72, familyNumber(from.destination.family), LITTLE_ENDIAN)
  view.setUint16(offset + 74, familyNumber(to.destination.family), LITTLE_ENDIAN)
}

/** xfrm_encap_tmpl: encap_type u16 0, encap_sport N 2, encap_dport N 4, encap_oa 8; 24 bytes. The original address stays zero. */
export function putEncapTmpl(view: DataView, offset: number, encapsulation: Encapsulation): void {
  view.setUint16(offset, UDP_ENCAP_ESPINUDP, LITTLE_ENDIAN)
  view.setUint16(offset + 2, encapsulation.sourcePort)
  view.setUint16(offset + 4, encapsulation.destinationPort)
}

/** Null for another form than ESP-in-UDP. */
export function getEncapTmpl(view: DataView, offset: number): Encapsulation | null {
  if (view.getUint16(offset, LITTLE_ENDIAN) !== UDP_ENCAP_ESPINUDP) return null
  return { sourcePort: view.getUint16(offset + 2), destinationPort: view.getUint16(offset + 4) }
}

/** Sequence numbers of a state, and which of the latest were received: words of 32 packets, as the kernel has them. */
export interface ReplayState {
  readonly sent: bigint
  readonly received: bigint
  readonly bitmap: readonly number[]
}

/** xfrm_lifetime_cur, all u64: what was carried, and when, in seconds since 1970. */
export interface LifetimeCur {
  readonly bytes: bigint
  readonly packets: bigint
  readonly addTime: bigint
  readonly useTime: bigint
}

/** bytes 0, packets 8, add_time 16, use_time 24; 32 bytes. */
export function putLifetimeCur(view: DataView, offset: number, { bytes, packets, addTime, useTime }: LifetimeCur): void {
  for (const [i, value] of [bytes, packets, addTime, useTime].entries()) view.setBigUint64(offset + i * 8, value, LITTLE_ENDIAN)
}

export function getLifetimeCur(view: DataView, offset: number): LifetimeCur {
  const at = (i: number): bigint => view.getBigUint64(offset + i * 8, LITTLE_ENDIAN)
  return { bytes: at(0), packets: at(1), addTime: at(2), useTime: at(3) }
}

/** xfrm_replay_state: oseq u32 0, seq u32 4, bitmap u32 8; 12 bytes. */
export function putReplay(view: DataView, offset: number, { sent, received, bitmap }: ReplayState): void {
  view.setUint32(offset, Number(sent & 0xffff_ffffn), LITTLE_ENDIAN)
  view.setUint32(offset + 4, Number(received & 0xffff_ffffn), LITTLE_ENDIAN)
  view.setUint32(offset + 8, bitmap[0] ?? 0, LITTLE_ENDIAN)
}

export function getReplay(view: DataView, offset: number): ReplayState {
  const word = (at: number): number => view.getUint32(offset + at, LITTLE_ENDIAN)
  return { sent: BigInt(word(0)), received: BigInt(word(4)), bitmap: [word(8)] }
}

/**
 * xfrm_replay_state_esn: bmp_len u32 0 (words), oseq 4, seq 8, oseq_hi 12, seq_hi 16, replay_window 20 (packets),
 * bmp 24; 24 bytes and the bitmap. Sequence numbers start at 0.
 */
export function putReplayEsn(view: DataView, offset: number, window: number): void {
  view.setUint32(offset, Math.ceil(window / 32), LITTLE_ENDIAN)
  view.setUint32(offset + 20, window, LITTLE_ENDIAN)
}

/** The rest of a state that goes on: as many words of its bitmap as there is room for after putReplayEsn. */
export function putReplayEsnSequences(view: DataView, offset: number, { sent, received, bitmap }: ReplayState): void {
  const put = (at: number, value: number): void => view.setUint32(offset + at, value, LITTLE_ENDIAN)
  put(4, Number(sent & 0xffff_ffffn))
  put(8, Number(received & 0xffff_ffffn))
  put(12, Number(sent >> 32n))
  put(16, Number(received >> 32n))
  const words = view.getUint32(offset, LITTLE_ENDIAN)
  for (const [i, word] of bitmap.slice(0, words).entries()) put(REPLAY_ESN_LENGTH + i * 4, word)
}

export function getReplayEsn(
  view: DataView,
  offset: number,
): { readonly sent: bigint; readonly received: bigint; readonly window: number } {
  const word = (at: number): bigint => BigInt(view.getUint32(offset + at, LITTLE_ENDIAN))
  return {
    sent: (word(12) << 32n) | word(4),
    received: (word(16) << 32n) | word(8),
    window: view.getUint32(offset + 20, LITTLE_ENDIAN),
  }
}
