/**
 * Traffic selectors of transport mode (RFC 7296 2.23.1): one address at either end, which is that of the IKE_SA. Behind
 * a NAT each end has another idea of it, so whoever receives selectors puts in the addresses it knows the ends by.
 */
import { IpRange, type IpAddress } from '../base/ip.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { NatFacts } from './detection.ts'

/** Our side's and the peer's. */
export interface BothSides<Side> {
  readonly local: Side
  readonly remote: Side
}

/**
 * The peer's selectors as they are to be read here: of an end that is behind a NAT they have the address that we know
 * that end by. Null if they are not about one address, for which there is no transport mode behind a NAT.
 */
export function substituted(
  selectors: BothSides<readonly TrafficSelector[]>,
  addresses: BothSides<IpAddress>,
  nat: Pick<NatFacts, 'here' | 'there'>,
): BothSides<readonly TrafficSelector[]> | null {
  const local = nat.here ? readdressed(selectors.local, addresses.local) : selectors.local
  const remote = nat.there ? readdressed(selectors.remote, addresses.remote) : selectors.remote
  return local === null || remote === null ? null : { local, remote }
}

/** Whether transport mode can carry them: all are about the two ends themselves (strongSwan: not host-to-host otherwise). */
export function isHostToHost(selectors: BothSides<readonly TrafficSelector[]>, { local, remote }: BothSides<IpAddress>): boolean {
  return areAbout(selectors.local, local) && areAbout(selectors.remote, remote)
}

function readdressed(selectors: readonly TrafficSelector[], address: IpAddress): readonly TrafficSelector[] | null {
  const original = selectors[0]?.range.first
  if (original === undefined || original.family !== address.family || !areAbout(selectors, original)) return null
  const range = new IpRange(address, address)
  return selectors.map((selector) => ({ ...selector, range }))
}

function areAbout(selectors: readonly TrafficSelector[], address: IpAddress): boolean {
  return selectors.every(({ range }) => range.first.equals(address) && range.last.equals(address))
}
