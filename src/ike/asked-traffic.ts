/**
 * What traffic is asked for when we propose a CHILD_SA (RFC 7296 2.9): what is configured, with the packet that asks for
 * it before that, or what another CHILD_SA has carried.
 */
import type { IpAddress, IpRange } from '../base/ip.ts'
import type { Separation } from '../kernel/separation.ts'
import { ANY_PORT, type PortRange, type Selector } from '../kernel/vocabulary.ts'
import { formatSelector, isSubset, resolveTemplate, type SelectorTemplate, type TrafficSelector } from '../negotiate/selectors.ts'
import type { ChildConnection } from './connection.ts'
import { dynamicHosts } from './dynamic-hosts.ts'
import type { ChildSa, IkeSa } from './sa.ts'

/** Best first; `dynamic` is our own address, or the peer's. */
export interface AskedTraffic {
  readonly local: readonly SelectorTemplate[]
  readonly remote: readonly SelectorTemplate[]
  /** Those of the CHILD_SA that it is to take the place of; absent: new ones where they are to be unique. */
  readonly marks?: KeptMarks
}

/** What another CHILD_SA in another IKE_SA goes on with; interface IDs are its own (strongSwan). */
export type KeptMarks = Pick<Separation, 'markIn' | 'markOut' | 'setMarkIn' | 'setMarkOut'>

/** A packet as selectors of its own. */
export interface PacketTraffic {
  readonly local: TrafficSelector
  readonly remote: TrafficSelector
}

const ICMP = 1
const ICMP6 = 58
/** TCP, UDP, DCCP, SCTP, UDP-Lite and the mobility header; the kernel reads port 0 from any other packet. */
const WITH_PORTS: readonly number[] = [6, 17, 33, 132, 136, 135]

export function configuredTraffic({ localSelectors, remoteSelectors }: ChildConnection): AskedTraffic {
  return { local: localSelectors, remote: remoteSelectors }
}

/** RFC 7296 2.9: the packet comes first, so that a responder that narrows knows what to keep. */
export function packetFirst(child: ChildConnection, packet: PacketTraffic): AskedTraffic {
  return { local: [packet.local, ...child.localSelectors], remote: [packet.remote, ...child.remoteSelectors] }
}

/** RFC 7296 2.9.2: a rekeyed CHILD_SA carries no less than the old one; it asks for the same (strongSwan). */
export function sameTraffic({ localSelectors, remoteSelectors }: ChildSa): AskedTraffic {
  return { local: localSelectors, remote: remoteSelectors }
}

/** The same in another IKE_SA, whose ends may have other addresses: what was the address of an end is `dynamic` again (strongSwan). */
export function sameTrafficElsewhere(child: ChildSa, sa: IkeSa): AskedTraffic {
  return {
    local: child.localSelectors.map((selector) => dynamicAgain(selector, dynamicHosts(sa, 'local'))),
    remote: child.remoteSelectors.map((selector) => dynamicAgain(selector, dynamicHosts(sa, 'remote'))),
    ...keptMarks(child.separation),
  }
}

function keptMarks({ markIn, markOut, setMarkIn, setMarkOut, isChosen }: Separation): Pick<AskedTraffic, 'marks'> {
  // One that was chosen depends on who else is there.
  const hasMarks = !isChosen && (markIn !== null || markOut !== null)
  return hasMarks ? { marks: { markIn, markOut, setMarkIn, setMarkOut } } : {}
}

function dynamicAgain(selector: TrafficSelector, hosts: readonly IpAddress[]): SelectorTemplate {
  const { first, last } = selector.range
  return hosts.some((host) => first.equals(host) && last.equals(host)) ? { ...selector, range: null } : selector
}

/** Whether that is what this CHILD_SA carries, no more and no less. */
export function isCarriedBy(child: Pick<ChildSa, 'localSelectors' | 'remoteSelectors'>, asked: AskedTraffic, sa: IkeSa): boolean {
  const text = (templates: readonly SelectorTemplate[], side: 'local' | 'remote'): string =>
    templates
      .flatMap((template) => resolveTemplate(template, dynamicHosts(sa, side)))
      .map(formatSelector)
      .join(' ')
  return (
    text(asked.local, 'local') === text(child.localSelectors, 'local') &&
    text(asked.remote, 'remote') === text(child.remoteSelectors, 'remote')
  )
}

/** The kernel tells an ICMP type as the source port and the code as the destination port; RFC 7296 3.13.1 has both in either. */
export function trafficOfPacket({ source, destination, protocol, sourcePorts, destinationPorts }: Selector): PacketTraffic {
  const of = (range: IpRange, { first, last }: PortRange): TrafficSelector => ({
    range,
    protocol,
    firstPort: first,
    lastPort: last,
  })
  if (protocol === ICMP || protocol === ICMP6) {
    const both = (sourcePorts.first << 8) | destinationPorts.first
    return { local: of(source, { first: both, last: both }), remote: of(destination, { first: both, last: both }) }
  }
  const hasPorts = WITH_PORTS.includes(protocol)
  return { local: of(source, hasPorts ? sourcePorts : ANY_PORT), remote: of(destination, hasPorts ? destinationPorts : ANY_PORT) }
}

/** Whether a CHILD_SA with these selectors carries the packet. */
export function carries(local: readonly TrafficSelector[], remote: readonly TrafficSelector[], packet: PacketTraffic): boolean {
  return (
    local.some((selector) => isSubset(packet.local, selector)) && remote.some((selector) => isSubset(packet.remote, selector))
  )
}
