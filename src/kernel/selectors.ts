/**
 * From the traffic selectors of a CHILD_SA to the selectors of kernel policies. The kernel knows prefixes, not
 * ranges, and port masks, not port ranges: what it cannot express is widened here, in one place, so that the books
 * compare policies exactly as the kernel does.
 */
import type { IpRange } from '../base/ip.ts'
import { prefixesOf, type TrafficSelector } from '../negotiate/selectors.ts'
import { ANY_PORT, type Mark, type PolicyId, type PortRange, type Selector } from './vocabulary.ts'

/** IP protocols whose type and code ride in the port fields: ICMP, ICMPv6. */
const ICMP = 1
const ICMP6 = 58

/** A port and the mask under which the kernel compares it; `mask` 0 matches any port. */
export interface PortMask {
  readonly port: number
  readonly mask: number
}

/** The narrowest mask that covers `range`; exact only where the range is an aligned power of two. */
export function portMaskOf(range: PortRange): PortMask {
  let mask = 0xffff
  while ((range.first & mask) !== (range.last & mask)) mask = (mask << 1) & 0xffff
  return { port: range.first & mask, mask }
}

/** The ports a port and mask stand for. A mask with holes, which nobody should set, is read as its leading ones. */
export function portRangeOf(masked: PortMask): PortRange {
  const mask = (0xffff << (16 - portMaskBits(masked.mask))) & 0xffff
  const first = masked.port & mask
  return { first, last: first | (~mask & 0xffff) }
}

/** Leading one bits of a port mask, 0 to 16. */
export function portMaskBits(mask: number): number {
  let bits = 0
  while (bits < 16 && (mask & (0x8000 >> bits)) !== 0) bits++
  return bits
}

/** Text that is equal for two policies exactly when the kernel takes them for the same one. */
export function policyKey({ direction, selector, mark, ifId }: PolicyId): string {
  const apart = mark === null && ifId === 0 ? '' : `${markKey(mark)} if ${ifId}`
  return `${direction} ${selectorKey(selector)}${apart}`
}

/** Text that tells marks apart; empty for none. */
export function markKey(mark: Mark | null): string {
  return mark === null ? '' : ` mark ${mark.value}/${mark.mask}`
}

function selectorKey(selector: Selector): string {
  const source = portMaskOf(selector.sourcePorts)
  const destination = portMaskOf(selector.destinationPorts)
  return (
    `${selector.source.toString()} ${selector.destination.toString()} ${selector.protocol}` +
    ` ${source.port}/${source.mask} ${destination.port}/${destination.mask}`
  )
}

/** The selector of the same traffic in the other direction. ICMP type and code keep their places: they have no direction. */
export function reversed(selector: Selector): Selector {
  const icmp = isIcmp(selector.protocol)
  return {
    source: selector.destination,
    destination: selector.source,
    protocol: selector.protocol,
    sourcePorts: icmp ? selector.sourcePorts : selector.destinationPorts,
    destinationPorts: icmp ? selector.destinationPorts : selector.sourcePorts,
  }
}

/**
 * Outbound selectors (source local, destination remote) of every pair of a local and a remote traffic selector that
 * can meet: same family, same protocol or one of them any. Ranges that are no prefix become several selectors.
 * Equal selectors are given once.
 */
export function outboundSelectors(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): readonly Selector[] {
  const selectors = new Map<string, Selector>()
  for (const ours of local) {
    for (const theirs of remote) {
      if (ours.range.family !== theirs.range.family) continue
      if (ours.protocol !== theirs.protocol && ours.protocol !== 0 && theirs.protocol !== 0) continue
      const protocol = Math.max(ours.protocol, theirs.protocol)
      const [sourcePorts, destinationPorts] = isIcmp(protocol) ? icmpFields(ours, theirs) : [portsOf(ours), portsOf(theirs)]
      for (const source of prefixesOf(ours.range)) {
        for (const destination of prefixesOf(theirs.range)) {
          const selector = { source, destination, protocol, sourcePorts, destinationPorts }
          selectors.set(selectorKey(selector), selector)
        }
      }
    }
  }
  return [...selectors.values()]
}

/** How many those are at most, without making them: ranges that are no prefix multiply. */
export function outboundSelectorCount(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): number {
  const counts = remote.map(({ range }) => ({ family: range.family, prefixes: prefixesOf(range).length }))
  let count = 0
  for (const { range } of local) {
    const prefixes = prefixesOf(range).length
    for (const theirs of counts) if (theirs.family === range.family) count += prefixes * theirs.prefixes
  }
  return count
}

/** The selector of a transport mode state: addresses only, as strongSwan installs it; protocol and ports are the policy's business. */
export function addressSelector(source: IpRange, destination: IpRange): Selector {
  return { source, destination, protocol: 0, sourcePorts: ANY_PORT, destinationPorts: ANY_PORT }
}

function isIcmp(protocol: number): boolean {
  return protocol === ICMP || protocol === ICMP6
}

/** OPAQUE (first > last, RFC 7296 3.13.1) means packets whose ports cannot be seen; the kernel reads port 0 from those. */
function portsOf(selector: TrafficSelector): PortRange {
  if (selector.firstPort > selector.lastPort) return { first: 0, last: 0 }
  return { first: selector.firstPort, last: selector.lastPort }
}

/** RFC 4301 4.4.1.1: type in the upper, code in the lower byte of the port fields. The kernel wants the type in sport, the code in dport. */
function icmpFields(ours: TrafficSelector, theirs: TrafficSelector): [PortRange, PortRange] {
  const ports = isAnyPort(ours) ? portsOf(theirs) : portsOf(ours)
  const firstType = ports.first >> 8
  if (firstType !== ports.last >> 8) return [ANY_PORT, ANY_PORT]
  const firstCode = ports.first & 0xff
  const code = firstCode === (ports.last & 0xff) ? { first: firstCode, last: firstCode } : ANY_PORT
  return [{ first: firstType, last: firstType }, code]
}

function isAnyPort(selector: TrafficSelector): boolean {
  return selector.firstPort === 0 && selector.lastPort === 65535
}
