/**
 * What this machine's own network needs for tunnels, made from what IKE_SAs and CHILD_SAs are told of: the virtual
 * addresses that peers gave us, and a route for each network behind a tunnel from where we have an address on this side
 * of it (strongSwan: charon.install_virtual_ip, charon.install_routes), as large as what fits into the tunnel. A trap has
 * routes as the tunnel to come; what passes in the clear is led past those of the tunnels around it.
 *
 * A thing is there as long as somebody needs it. Of several routes to one network that of a CHILD_SA counts, and the
 * latest. Changes are made one after the other.
 */
import type { IpAddress } from '../base/ip.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import { childMtu } from '../ike/mtu.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import { prefixesOf, type TrafficSelector } from '../negotiate/selectors.ts'
import type { HostNetwork, NextHop, TunnelNetwork, TunnelRoute } from '../ports.ts'
import type { PoliciesInForce } from './traps.ts'

interface VirtualAddress {
  readonly address: IpAddress
  readonly interfaceIndex: number
  readonly owners: Set<IkeSa>
}

/** Who needs routes: a CHILD_SA, or policies without one. */
type Owner = ChildSa | PoliciesInForce

/** The routes to one network that somebody needs, and the one that is there. */
interface Destination {
  readonly wanted: Map<Owner, TunnelRoute>
  installed: TunnelRoute | null
}

export class TunnelRoutes {
  readonly #network: TunnelNetwork
  readonly #host: HostNetwork
  readonly #settings: () => IkeSettings
  readonly #report: (event: IkeEvent) => void
  readonly #policies: () => readonly PoliciesInForce[]
  readonly #addresses = new Map<string, VirtualAddress>()
  readonly #destinations = new Map<string, Destination>()
  /** Which of them somebody needs. */
  readonly #needed = new Map<Owner, Set<string>>()
  /** Of those that need some, by the name of the child. */
  readonly #policiesNamed = new Map<string, PoliciesInForce>()
  #turn: Promise<unknown> = Promise.resolve()

  /** `policies`: traps and shunts that are in force. */
  constructor(
    network: TunnelNetwork,
    host: HostNetwork,
    settings: () => IkeSettings,
    policies: () => readonly PoliciesInForce[],
    report: (event: IkeEvent) => void,
  ) {
    this.#network = network
    this.#host = host
    this.#settings = settings
    this.#policies = policies
    this.#report = report
  }

  /** Resolves when all that was asked for so far is done. */
  settled(): Promise<unknown> {
    return this.#turn
  }

  /** Whether it is one that a peer gave us: no way to reach a peer. */
  isVirtual(address: IpAddress): boolean {
    return this.#addresses.has(address.toString())
  }

  handle(event: IkeEvent): void {
    switch (event.event) {
      case 'ike-established':
      case 'ike-rekeyed':
      case 'ike-resumed':
        return this.#each(event.sa.virtualAddresses, (address) => this.#addAddress(event.sa, address))
      case 'ike-closed':
        return this.#each(event.sa.virtualAddresses, (address) => this.#removeAddress(event.sa, address))
      case 'child-established':
      case 'child-rekeyed':
      case 'child-resumed':
        return this.#each([event.child], (child) => this.#addRoutes(event.sa, child))
      case 'child-closed':
        return this.#each([event.child], (child) => this.#removeRoutes(child))
      case 'endpoints-moved':
        return this.#each(event.sa.children, (child) => this.#addRoutes(event.sa, child))
      case 'policies-changed':
        return this.#each([event], ({ connection, child }) => this.#followPolicies(connection, child.name))
      default:
    }
  }

  /** Links or routes have changed, and may have taken along what is ours. */
  refresh(): void {
    this.#turn = this.#turn.then(() => this.#restore())
  }

  /** What is there when it is its turn: what is removed before must not come back. */
  async #restore(): Promise<void> {
    for (const { address, interfaceIndex } of this.#addresses.values()) await this.#network.addAddress(address, interfaceIndex)
    for (const { installed } of this.#destinations.values()) if (installed !== null) await this.#network.addRoute(installed)
    // The way to their peers may be another one: an IKE_SA is moved for that, but these have none.
    for (const policies of this.#policiesNamed.values()) await this.#addRoutesOfPolicies(policies)
  }

  #each<Thing>(things: readonly Thing[], change: (thing: Thing) => Promise<void>): void {
    for (const thing of [...things]) this.#turn = this.#turn.then(() => change(thing))
  }

  async #addAddress(sa: IkeSa, address: IpAddress): Promise<void> {
    if (!this.#settings().installVirtualAddresses || sa.state === 'closed') return
    const known = this.#addresses.get(address.toString())
    if (known !== undefined) return void known.owners.add(sa)
    const interfaceIndex = await this.#interfaceFor(sa)
    if (interfaceIndex === null)
      return this.#tell(sa, `virtual IP ${address.toString()} not installed`, 'there is no way to the peer')
    this.#addresses.set(address.toString(), { address, interfaceIndex, owners: new Set([sa]) })
    const refused = await this.#network.addAddress(address, interfaceIndex)
    if (refused === null) this.#report({ event: 'virtual-address-installed', sa, address })
    else this.#tell(sa, `installing virtual IP ${address.toString()} failed`, refused)
  }

  /** strongSwan: the configured one, where there is none of that name the one to the peer. */
  async #interfaceFor(sa: IkeSa): Promise<number | null> {
    const name = this.#settings().virtualAddressesOn
    const configured = name === null ? null : this.#host.interfaceIndex(name)
    return configured ?? (await this.#network.wayTo(sa.local.address, sa.remote.address))?.interfaceIndex ?? null
  }

  async #removeAddress(sa: IkeSa, address: IpAddress): Promise<void> {
    const installed = this.#addresses.get(address.toString())
    if (installed === undefined || !installed.owners.delete(sa) || installed.owners.size > 0) return
    this.#addresses.delete(address.toString())
    const refused = await this.#network.removeAddress(address, installed.interfaceIndex)
    if (refused !== null) this.#tell(sa, `removing virtual IP ${address.toString()} failed`, refused)
  }

  async #addRoutes(sa: IkeSa, child: ChildSa): Promise<void> {
    if (!this.#settings().installRoutes || child.mode !== 'tunnel' || !sa.children.includes(child)) return
    // What goes by an XFRM interface is routed to that (strongSwan).
    if (child.separation.ifIdOut !== 0) return
    const [local, remote] = [sa.local.address, sa.remote.address]
    const way = await this.#network.wayTo(local, remote)
    if (way === null) return
    const mtu = childMtu(child, await this.#host.mtu(local, remote))
    for (const destination of destinationsOf(child.remoteSelectors)) {
      const source = this.#sourceFor(child.localSelectors, destination.first.family, sa.virtualAddresses)
      if (source === null || isOwnWay(destination, source, local, remote)) continue
      await this.#want(sa, child, { destination, source, way: wayFor(way, destination.first, remote), mtu })
    }
  }

  /** What is in force of this name now, in the place of what was. */
  async #followPolicies(connection: string, child: string): Promise<void> {
    const name = JSON.stringify([connection, child])
    const before = this.#policiesNamed.get(name)
    const now = this.#policies().find((one) => one.connection.name === connection && one.child.name === child)
    this.#policiesNamed.delete(name)
    if (now !== undefined) {
      this.#policiesNamed.set(name, now)
      await this.#addRoutesOfPolicies(now)
    }
    if (before !== undefined && before !== now) await this.#removeRoutes(before)
  }

  async #addRoutesOfPolicies(policies: PoliciesInForce): Promise<void> {
    const { child, ends, localSelectors, remoteSelectors, separation } = policies
    if (!this.#settings().installRoutes || separation.ifIdOut !== 0) return
    for (const destination of destinationsOf(remoteSelectors)) {
      if (child.mode === 'pass') await this.#want(null, policies, { destination, source: null, way: null, mtu: null })
      const source = this.#sourceFor(localSelectors, destination.first.family, [])
      if (child.mode !== 'tunnel' || ends === null || source === null) continue
      // Of a peer that is not known yet, the way is that to what is behind it (strongSwan).
      const remote = ends.remote.isAny ? destination.first : ends.remote
      const local = ends.local.isAny ? source : ends.local
      const way = await this.#network.wayTo(local, remote)
      if (way === null || isOwnWay(destination, source, local, remote)) continue
      await this.#want(null, policies, { destination, source, way: wayFor(way, destination.first, remote), mtu: null })
    }
  }

  async #want(sa: IkeSa | null, owner: Owner, route: TunnelRoute): Promise<void> {
    const key = route.destination.toString()
    const destination = this.#destinations.get(key) ?? { wanted: new Map<Owner, TunnelRoute>(), installed: null }
    const before = destination.wanted.get(owner)
    destination.wanted.delete(owner)
    destination.wanted.set(owner, route)
    this.#destinations.set(key, destination)
    const keys = this.#needed.get(owner)
    if (keys === undefined) this.#needed.set(owner, new Set([key]))
    else keys.add(key)
    if (await this.#install(sa, destination)) return
    // Another one's is as it was.
    if (before === undefined) await this.#letGo(owner, key)
    else destination.wanted.set(owner, before)
  }

  /** Has the route there that counts; false, and it is told, if it is refused. */
  async #install(sa: IkeSa | null, destination: Destination): Promise<boolean> {
    const [ofChildren, ofPolicies] = [[...destination.wanted].filter(([owner]) => isChildSa(owner)), [...destination.wanted]]
    const [, route] = ofChildren.at(-1) ?? ofPolicies.at(-1)!
    if (destination.installed !== null && isSameRoute(destination.installed, route)) return true
    const refused = await this.#network.addRoute(route)
    if (refused !== null) {
      this.#tell(sa, `installing route ${routeText(route)} failed`, refused)
      return false
    }
    destination.installed = route
    this.#report({ event: 'route-installed', sa, text: routeText(route) })
    return true
  }

  async #removeRoutes(owner: Owner): Promise<void> {
    for (const key of [...(this.#needed.get(owner) ?? [])]) await this.#letGo(owner, key)
  }

  async #letGo(owner: Owner, key: string): Promise<void> {
    const keys = this.#needed.get(owner)
    keys?.delete(key)
    if (keys?.size === 0) this.#needed.delete(owner)
    const destination = this.#destinations.get(key)
    if (destination === undefined || !destination.wanted.delete(owner)) return
    if (destination.wanted.size > 0) return void (await this.#install(null, destination))
    this.#destinations.delete(key)
    if (destination.installed === null) return
    const refused = await this.#network.removeRoute(destination.installed)
    if (refused !== null) this.#tell(null, `removing route ${routeText(destination.installed)} failed`, refused)
  }

  /** An address of ours that is on this side of the tunnel: one that the peer gave us before any other. */
  #sourceFor(
    localSelectors: readonly TrafficSelector[],
    family: number,
    virtualAddresses: readonly IpAddress[],
  ): IpAddress | null {
    const own = [...virtualAddresses, ...this.#host.addresses().map(({ address }) => address)]
    const isInside = (address: IpAddress): boolean =>
      address.family === family && localSelectors.some(({ range }) => range.contains(address))
    return own.find(isInside) ?? null
  }

  #tell(sa: IkeSa | null, what: string, why: string): void {
    this.#report({ event: 'network-refused', sa, sentence: `${what}: ${why}` })
  }
}

function isChildSa(owner: Owner): owner is ChildSa {
  return 'inboundSpi' in owner
}

/** The networks of selectors; where those are for some ports only, other packets must not be led there (strongSwan). */
function destinationsOf(selectors: readonly TrafficSelector[]): readonly TrafficSelector['range'][] {
  return selectors.flatMap(({ range, protocol, firstPort, lastPort }) =>
    protocol === 0 && firstPort === 0 && lastPort === 65535 ? prefixesOf(range) : [],
  )
}

/** Between the two ends themselves there is a way already. */
function isOwnWay({ first, last }: TrafficSelector['range'], source: IpAddress, local: IpAddress, remote: IpAddress): boolean {
  return first.equals(remote) && last.equals(remote) && source.equals(local)
}

/** A route of one IP version cannot lead over a gateway of the other; the interface is enough, since the packet is taken before. */
function wayFor(way: NextHop, destination: IpAddress, peer: IpAddress): NextHop {
  return destination.family === peer.family ? way : { interfaceIndex: way.interfaceIndex, gateway: null }
}

function isSameRoute(a: TunnelRoute, b: TunnelRoute): boolean {
  return routeText(a) === routeText(b)
}

function routeText({ destination, source, way, mtu }: TunnelRoute): string {
  if (way === null || source === null) return `throw ${destination.toString()}`
  const via = way.gateway === null ? '' : ` via ${way.gateway.toString()}`
  return `${destination.toString()}${via} src ${source.toString()} dev ${way.interfaceIndex}${mtu === null ? '' : ` mtu ${mtu}`}`
}
