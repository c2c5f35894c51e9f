/**
 * A CHILD_SA at other endpoints: how its states and policies look there. Reqids, keys, selectors of networks and all
 * else stay; plain data, the books do it in the kernel.
 */
import { type IpAddress, IpRange } from '../base/ip.ts'
import { policyPriority, type PolicyKind } from './priority.ts'
import type { Encapsulation, Policy, Selector, State } from './vocabulary.ts'

/** UDP ports of ESP-in-UDP as the IKE_SA sees them: ours and the peer's. */
export interface UdpPorts {
  readonly localPort: number
  readonly remotePort: number
}

export interface Whereabouts {
  readonly local: IpAddress
  readonly remote: IpAddress
  readonly encapsulation: UdpPorts | null
}

/** Selectors that are an end's address because it is that end's, and so become its new one. */
export interface DynamicHosts {
  readonly local: boolean
  readonly remote: boolean
}

export function encapsulationOf(direction: State['direction'], { localPort, remotePort }: UdpPorts): Encapsulation {
  return direction === 'in'
    ? { sourcePort: remotePort, destinationPort: localPort }
    : { sourcePort: localPort, destinationPort: remotePort }
}

/** Where a state is. */
export function whereaboutsOf({ direction, source, destination, encapsulation }: State): Whereabouts {
  const [local, remote] = direction === 'in' ? [destination, source] : [source, destination]
  if (encapsulation === null) return { local, remote, encapsulation }
  const [localPort, remotePort] =
    direction === 'in'
      ? [encapsulation.destinationPort, encapsulation.sourcePort]
      : [encapsulation.sourcePort, encapsulation.destinationPort]
  return { local, remote, encapsulation: { localPort, remotePort } }
}

export function isAt(state: State, { local, remote, encapsulation }: Whereabouts): boolean {
  const at = whereaboutsOf(state)
  return (
    at.local.equals(local) &&
    at.remote.equals(remote) &&
    at.encapsulation?.localPort === encapsulation?.localPort &&
    at.encapsulation?.remotePort === encapsulation?.remotePort
  )
}

/** Whether the kernel can be told in place: it takes other ports, and nothing else (measured on 6.1 and 6.12). */
export function isPortsOnly(state: State, to: Whereabouts): boolean {
  const at = whereaboutsOf(state)
  return at.encapsulation !== null && to.encapsulation !== null && at.local.equals(to.local) && at.remote.equals(to.remote)
}

/** A state at its new place. */
export function movedState(state: State, to: Whereabouts, dynamic: DynamicHosts): State {
  const [source, destination] = state.direction === 'in' ? [to.remote, to.local] : [to.local, to.remote]
  return {
    ...state,
    source,
    destination,
    encapsulation: to.encapsulation === null ? null : encapsulationOf(state.direction, to.encapsulation),
    selector: state.selector === null ? null : movedSelector(state.selector, whereaboutsOf(state), to, dynamic),
  }
}

/** Of the policies of CHILD_SAs (policies.ts). */
const KINDS: readonly PolicyKind[] = ['normal', 'apart', 'trap']

/** A policy of a CHILD_SA whose states of its direction go to another place. A priority that was calculated is calculated again. */
export function movedPolicy(policy: Policy, to: Whereabouts, dynamic: DynamicHosts): Policy {
  const { template, direction } = policy
  if (template === null) return policy
  const isOutward = direction === 'out'
  const [local, remote] = isOutward ? [template.source, template.destination] : [template.destination, template.source]
  const selector = movedSelector(policy.selector, { local, remote }, to, dynamic)
  const kind = KINDS.find((one) => policy.priority === policyPriority(policy.selector, one))
  const [source, destination] = isOutward ? [to.local, to.remote] : [to.remote, to.local]
  return {
    ...policy,
    selector,
    priority: kind === undefined ? policy.priority : policyPriority(selector, kind),
    template: { ...template, source, destination },
  }
}

type Ends = Pick<Whereabouts, 'local' | 'remote'>

function movedSelector(selector: Selector, from: Ends, to: Ends, dynamic: DynamicHosts): Selector {
  const moved = (range: IpRange): IpRange => {
    if (dynamic.local && isHost(range, from.local)) return hostRange(to.local)
    if (dynamic.remote && isHost(range, from.remote)) return hostRange(to.remote)
    return range
  }
  const [source, destination] = [moved(selector.source), moved(selector.destination)]
  return source === selector.source && destination === selector.destination ? selector : { ...selector, source, destination }
}

export function isHost(range: IpRange, address: IpAddress): boolean {
  return range.first.equals(address) && range.last.equals(address)
}

export function hostRange(address: IpAddress): IpRange {
  return new IpRange(address, address)
}
