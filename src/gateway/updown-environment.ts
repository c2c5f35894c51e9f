/**
 * What the command of a child (`updown`) is told of its CHILD_SA, in variables that strongSwan gives names to, and
 * Debian's own _updown knows (strongSwan: updown_listener.c): one set for each pair of selectors.
 *
 * What a peer says of itself is in the values, which no shell reads, and never in the command.
 */
import { formatIdentity, type Identity } from '../auth/identity.ts'
import { IpRange, type IpAddress } from '../base/ip.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import type { Mark } from '../kernel/vocabulary.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'

export type Variables = Readonly<Record<string, string>>

/** Our limit: a peer chooses how many selectors there are, within what is configured, and a command is run for each pair. */
export const CALLS_MAX = 256

const ICMP = 1
const ICMPV6 = 58

/** What differs from one CHILD_SA to the next, and from one moment to another, is as it is now. `nameServers`: those that are the command's to install. */
export function updownCalls(
  sa: IkeSa,
  child: ChildSa,
  verb: 'up' | 'down',
  nameServers: readonly IpAddress[],
): readonly Variables[] {
  return pairsOf(child)
    .slice(0, CALLS_MAX)
    .map(([mine, other]) => ({
      PLUTO_VERSION: '1.1',
      PLUTO_VERB: verbOf(sa, mine, verb),
      PLUTO_CONNECTION: child.connection.name,
      PLUTO_REQID: String(child.reqid),
      PLUTO_PROTO: 'esp',
      PLUTO_UNIQUEID: String(sa.uniqueId),
      PLUTO_ME: sa.local.address.toString(),
      PLUTO_MY_ID: identityText(sa.localId),
      PLUTO_MY_CLIENT: networkOf(mine),
      PLUTO_MY_PORT: portOf(mine, other, 'mine'),
      PLUTO_MY_PROTOCOL: String(mine.protocol),
      PLUTO_PEER: sa.remote.address.toString(),
      PLUTO_PEER_ID: identityText(sa.remoteId),
      PLUTO_PEER_CLIENT: networkOf(other),
      PLUTO_PEER_PORT: portOf(mine, other, 'other'),
      PLUTO_PEER_PROTOCOL: String(other.protocol),
      ...sourceVariables('MY', sa.virtualAddresses),
      ...sourceVariables(
        'PEER',
        sa.leases.map(({ address }) => address),
      ),
      ...markVariable('PLUTO_MARK_IN', child.separation.markIn),
      ...markVariable('PLUTO_MARK_OUT', child.separation.markOut),
      ...(child.separation.ifIdIn === 0 ? {} : { PLUTO_IF_ID_IN: String(child.separation.ifIdIn) }),
      ...(child.separation.ifIdOut === 0 ? {} : { PLUTO_IF_ID_OUT: String(child.separation.ifIdOut) }),
      ...(sa.nat.here || sa.nat.there || sa.nat.faked ? { PLUTO_UDP_ENC: String(sa.remote.port) } : {}),
      ...numbered('PLUTO_DNS', nameServers),
      ...(child.connection.hostAccess ? { PLUTO_HOST_ACCESS: '1' } : {}),
    }))
}

/** Whether there are more pairs than calls. */
export function exceedsCalls(child: ChildSa): boolean {
  return pairsOf(child).length > CALLS_MAX
}

/** Those that packets can go between. */
function pairsOf({ localSelectors, remoteSelectors }: ChildSa): readonly (readonly [TrafficSelector, TrafficSelector])[] {
  return localSelectors.flatMap((mine) =>
    remoteSelectors.flatMap((other) => {
      const isOneFamily = mine.range.family === other.range.family
      const isOneProtocol = mine.protocol === 0 || other.protocol === 0 || mine.protocol === other.protocol
      return isOneFamily && isOneProtocol ? [[mine, other] as const] : []
    }),
  )
}

/** `host` where our side of the tunnel is this machine itself, `client` where it is a network. */
function verbOf(sa: IkeSa, { range }: TrafficSelector, verb: 'up' | 'down'): string {
  const own = sa.local.address
  const isHost = range.first.equals(own) && range.last.equals(own)
  return `${verb}-${isHost ? 'host' : 'client'}${range.family === 6 ? '-v6' : ''}`
}

function identityText(identity: Identity | null): string {
  return identity === null ? '%any' : formatIdentity(identity)
}

/** A range that is no network is told as the smallest one around it (strongSwan). */
function networkOf({ range }: TrafficSelector): string {
  return IpRange.ofPrefix(range.first, range.coveringPrefixLength).toString()
}

/** A port, or a range of them with a colon between; of ICMP the type on our side, the code on the peer's. */
function portOf(mine: TrafficSelector, other: TrafficSelector, side: 'mine' | 'other'): string {
  const protocol = Math.max(mine.protocol, other.protocol)
  if (protocol === ICMP || protocol === ICMPV6) {
    const both = Math.max(mine.firstPort, other.firstPort)
    return String(side === 'mine' ? both >> 8 : both & 0xff)
  }
  const { firstPort, lastPort } = side === 'mine' ? mine : other
  const isOne = firstPort === lastPort || (firstPort === 0 && lastPort === 65535)
  return isOne ? String(firstPort) : `${firstPort}:${lastPort}`
}

/** The first one also by the name that it had when there was only one. */
function sourceVariables(side: 'MY' | 'PEER', addresses: readonly IpAddress[]): Variables {
  const [first] = addresses
  if (first === undefined) return {}
  return { [`PLUTO_${side}_SOURCEIP`]: first.toString(), ...numbered(`PLUTO_${side}_SOURCEIP`, addresses) }
}

/** `PLUTO_DNS4_1`, `PLUTO_DNS4_2`, `PLUTO_DNS6_1`. */
function numbered(name: string, addresses: readonly IpAddress[]): Variables {
  const counts = { 4: 0, 6: 0 }
  return Object.fromEntries(
    addresses.map((address) => [`${name}${address.family}_${++counts[address.family]}`, address.toString()]),
  )
}

function markVariable(name: string, mark: Mark | null): Variables {
  if (mark === null || mark.value === 0) return {}
  return { [name]: `${mark.value}/0x${mark.mask.toString(16).padStart(8, '0')}` }
}
