/**
 * The policies that come of traffic selectors: those of a CHILD_SA, those of a trap, which ask for the CHILD_SA they
 * have no state of yet, and those of a shunt, which let traffic pass in the clear or drop it. Plain data; the books
 * install them.
 */
import type { IpAddress } from '../base/ip.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import { policyPriority, type PolicyKind } from './priority.ts'
import { outboundSelectors, reversed } from './selectors.ts'
import { ofPolicy, UNSEPARATED, type Separation } from './separation.ts'
import type { Mode, Policy, PolicyDirection, Selector, Template } from './vocabulary.ts'

/** What a CHILD_SA and its trap have in common. */
export interface ProtectedTraffic {
  readonly mode: Mode
  readonly reqid: number
  /** The tunnel's ends; unspecified addresses where they are not known yet. */
  readonly local: IpAddress
  readonly remote: IpAddress
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  /** 0 = calculated from each selector. */
  readonly priority: number
  readonly separation: Separation
}

export interface ShuntTraffic {
  readonly mode: 'pass' | 'drop'
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly priority: number
}

const LOWEST_PRIORITY = 0xffff_ffff

/** Of a CHILD_SA: every pair of selectors in every direction. */
export function childPolicies(child: ProtectedTraffic & { readonly outboundSpi: number }): readonly Policy[] {
  if (!child.separation.isChosen) return protecting(child, child.outboundSpi, (selector) => priorityOf(child, 'normal', selector))
  // Before those without a mark, which a packet with one fits as well; and behind them, in case they go.
  return [
    ...protecting(child, child.outboundSpi, (selector) => priorityOf(child, 'apart', selector)),
    ...protecting({ ...child, separation: UNSEPARATED }, child.outboundSpi, (selector) => priorityOf(child, 'trap', selector)),
  ]
}

/** Of a trap: a packet that leaves has the kernel ask for a state, one that comes in the clear is dropped. */
export function trapPolicies(trap: ProtectedTraffic): readonly Policy[] {
  return protecting(trap, 0, (selector) => priorityOf(trap, 'trap', selector))
}

function priorityOf({ priority }: ProtectedTraffic, kind: PolicyKind, selector: Selector): number {
  if (priority === 0) return policyPriority(selector, kind)
  // A configured one puts traps behind CHILD_SAs as a calculated one does: among equals the kernel takes the older.
  if (kind === 'trap') return Math.min(priority + 1, LOWEST_PRIORITY)
  return kind === 'apart' ? priority - 1 : priority
}

/** strongSwan: shunts reach forwarded packets, too. What passes goes before CHILD_SAs, what is dropped only if nothing else wants it. */
export function shuntPolicies(shunt: ShuntTraffic): readonly Policy[] {
  const kind = shunt.mode === 'pass' ? 'pass' : 'fallback'
  const policy = (direction: PolicyDirection, selector: Selector): Policy => ({
    direction,
    selector,
    mark: null,
    ifId: 0,
    priority: shunt.priority === 0 ? policyPriority(selector, kind) : shunt.priority,
    action: shunt.mode === 'pass' ? 'allow' : 'block',
    template: null,
  })
  return outboundSelectors(shunt.localSelectors, shunt.remoteSelectors).flatMap((outbound) => {
    const inbound = reversed(outbound)
    return [policy('in', inbound), policy('fwd', inbound), policy('out', outbound)]
  })
}

/** Tunnel: in, fwd, out; transport: in, out. */
function protecting(
  traffic: ProtectedTraffic,
  outboundSpi: number,
  priorityOf: (selector: Selector) => number,
): readonly Policy[] {
  const { mode, reqid, local, remote, separation } = traffic
  const inward: readonly PolicyDirection[] = mode === 'tunnel' ? ['in', 'fwd'] : ['in']
  const policies: Policy[] = []
  const add = (direction: PolicyDirection, selector: Selector, template: Template): void => {
    const { mark, ifId } = ofPolicy(separation, direction)
    policies.push({ direction, selector, mark, ifId, priority: priorityOf(selector), action: 'allow', template })
  }
  for (const outbound of outboundSelectors(traffic.localSelectors, traffic.remoteSelectors)) {
    const inbound = reversed(outbound)
    for (const direction of inward) add(direction, inbound, { mode, reqid, source: remote, destination: local, spi: 0 })
    add('out', outbound, { mode, reqid, source: local, destination: remote, spi: outboundSpi })
  }
  // A copy has no room to grow into, which what is kept as long as a CHILD_SA does not need.
  return [...policies]
}

/** Of two policies with the same direction, selector, mark and interface ID: whether the kernel would do the same by both. */
export function isSamePolicy(a: Policy, b: Policy): boolean {
  if (a.priority !== b.priority || a.action !== b.action) return false
  if (a.template === null || b.template === null) return a.template === b.template
  return (
    a.template.source.equals(b.template.source) &&
    a.template.destination.equals(b.template.destination) &&
    a.template.mode === b.template.mode &&
    a.template.reqid === b.template.reqid &&
    a.template.spi === b.template.spi
  )
}
