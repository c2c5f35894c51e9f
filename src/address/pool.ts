/**
 * A pool of virtual addresses as configured (swanctl.conf `pools`): which addresses, and what else a client is told.
 * Who has which of them: leases.ts.
 */
import { IpAddress, IpRange } from '../base/ip.ts'

export interface Pool {
  readonly name: string
  /** The first address that can be assigned, and how many there are. */
  readonly base: IpAddress
  readonly size: number
  readonly attributes: readonly PoolAttribute[]
}

/** A configuration attribute (RFC 7296 3.15.1) of every client. */
export interface PoolAttribute {
  readonly type: number
  readonly value: Uint8Array
}

/** strongSwan: POOL_LIMIT, the most host bits of a pool's subnet. */
const MAXIMUM_HOST_BITS = 31

/**
 * The addresses of `10.1.0.0/24`: neither the network's own nor the last one (strongSwan: mem_pool_create). `address`
 * may be one within the network; then the pool begins there. Null if that leaves none.
 */
export function poolOfSubnet(address: IpAddress, length: number): Pick<Pool, 'base' | 'size'> | null {
  const hostBits = Math.min(address.bytes.length * 8 - length, MAXIMUM_HOST_BITS)
  const network = IpRange.ofPrefix(address, address.bytes.length * 8 - hostBits).first
  const offset = Number(toNumber(address) - toNumber(network))
  const all = 2 ** hostBits
  const skipped = all > 2 ? Math.max(offset, 1) : offset
  const size = all - skipped - (all > 2 ? 1 : 0)
  return size > 0 ? { base: toAddress(toNumber(network) + BigInt(skipped), address.bytes.length), size } : null
}

/** Every address of a range; null if they are more than 32 bits can count. */
export function poolOfRange(range: IpRange): Pick<Pool, 'base' | 'size'> | null {
  const size = toNumber(range.last) - toNumber(range.first) + 1n
  return size < 1n << 32n ? { base: range.first, size: Number(size) } : null
}

/** The address that is `offset` behind the first. */
export function addressAt({ base }: Pool, offset: number): IpAddress {
  return toAddress(toNumber(base) + BigInt(offset), base.bytes.length)
}

/** How far behind the first address this one is; null if it is none of the pool's. */
export function offsetOf({ base, size }: Pool, address: IpAddress): number | null {
  if (address.family !== base.family) return null
  const offset = toNumber(address) - toNumber(base)
  return offset >= 0n && offset < BigInt(size) ? Number(offset) : null
}

function toNumber(address: IpAddress): bigint {
  return address.bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n)
}
function toAddress(number: bigint, length: number): IpAddress {
  return new IpAddress(Uint8Array.from({ length }, (_, i) => Number((number >> BigInt(8 * (length - 1 - i))) & 0xffn)))
}
