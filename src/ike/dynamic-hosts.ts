/**
 * Whom `dynamic` means in traffic selectors: an end of the IKE_SA, or the virtual addresses it has (RFC 7296 2.19).
 */
import type { IpAddress } from '../base/ip.ts'
import type { IkeSa } from './sa.ts'

export function dynamicHosts(sa: IkeSa, side: 'local' | 'remote'): readonly IpAddress[] {
  const virtual = side === 'local' ? sa.virtualAddresses : sa.leases.map(({ address }) => address)
  return virtual.length > 0 ? virtual : [sa[side].address]
}
