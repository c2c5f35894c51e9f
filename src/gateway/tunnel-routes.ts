/**
 * What this machine's own network needs for tunnels, made from what IKE_SAs and CHILD_SAs are told of: the virtual
 * addresses that peers gave us, and a route for each network behind a tunnel from where we have an address on this side
 * of it (strongSwan: charon.install_virtual_ip, charon.install_routes), as large as what fits into the tunnel.
 *
 * A thing is there as long as somebody needs it. Changes are made one after the other.
 */
import type { IpAddress } from '../base/ip.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import { childMtu } from '../ike/mtu.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import { prefixesOf, type TrafficSelector } from '../negotiate/selectors.ts'
import type { HostNetwork, NextHop, TunnelNetwork, TunnelRoute } from '../ports.ts'

interface Installed<Thing> {
  readonly thing: Thing
  readonly owners: Set<unknown>
}

interface VirtualAddress {
  readonly address: IpAddress
  readonly interfaceIndex: number
}

export class TunnelRoutes {
  readonly #network: TunnelNetwork
  readonly #host: HostNetwork
  readonly #settings: () => IkeSettings
  readonly #report: (event: IkeEvent) => void
  readonly #addresses = new Map<string, Installed<VirtualAddress>>()
  readonly #routes = new Map<string, Installed<TunnelRoute>>()
  /** Which of them a CHILD_SA needs. */
  readonly #needed = new Map<ChildSa, Set<string>>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(network: TunnelNetwork, host: HostNetwork, settings: () => IkeSettings, report: (event: IkeEvent) => void) {
    this.#network = network
    this.#host = host
    this.#settings = settings
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
        return this.#each(event.sa.virtualAddresses, (address) => this.#addAddress(event.sa, address))
      case 'ike-closed':
        return this.#each(event.sa.virtualAddresses, (address) => this.#removeAddress(event.sa, address))
      case 'child-established':
      case 'child-rekeyed':
        return this.#each([event.child], (child) => this.#addRoutes(event.sa, child))
      case 'child-closed':
        return this.#each([event.child], (child) => this.#removeRoutes(child))
      case 'endpoints-moved':
        return this.#each(event.sa.children, (child) => this.#addRoutes(event.sa, child))
      default:
    }
  }

  /** Links or routes have changed, and may have taken along what is ours. */
  refresh(): void {
    this.#each([...this.#addresses.values()], async ({ thing }) => {
      await this.#network.addAddress(thing.address, thing.interfaceIndex)
    })
    this.#each([...this.#routes.values()], async ({ thing }) => {
      await this.#network.addRoute(thing)
    })
  }

  #each<Thing>(things: readonly Thing[], change: (thing: Thing) => Promise<void>): void {
    for (const thing of [...things]) this.#turn = this.#turn.then(() => change(thing))
  }

  async #addAddress(sa: IkeSa, address: IpAddress): Promise<void> {
    if (!this.#settings().installVirtualAddresses || sa.state === 'closed') return
    const known = this.#addresses.get(address.toString())
    if (known !== undefined) return void known.owners.add(sa)
    const way = await this.#network.wayTo(sa.local.address, sa.remote.address)
    if (way === null) return this.#tell(sa, `virtual IP ${address.toString()} not installed`, 'there is no way to the peer')
    const { interfaceIndex } = way
    this.#addresses.set(address.toString(), { thing: { address, interfaceIndex }, owners: new Set([sa]) })
    const refused = await this.#network.addAddress(address, interfaceIndex)
    if (refused === null) this.#report({ event: 'virtual-address-installed', sa, address })
    else this.#tell(sa, `installing virtual IP ${address.toString()} failed`, refused)
  }

  async #removeAddress(sa: IkeSa, address: IpAddress): Promise<void> {
    const installed = this.#addresses.get(address.toString())
    if (installed === undefined || !installed.owners.delete(sa) || installed.owners.size > 0) return
    const { thing } = installed
    this.#addresses.delete(thing.address.toString())
    const refused = await this.#network.removeAddress(thing.address, thing.interfaceIndex)
    if (refused !== null) this.#tell(sa, `removing virtual IP ${thing.address.toString()} failed`, refused)
  }

  async #addRoutes(sa: IkeSa, child: ChildSa): Promise<void> {
    if (!this.#settings().installRoutes || child.mode !== 'tunnel' || !sa.children.includes(child)) return
    // What goes by an XFRM interface is routed to that (strongSwan).
    if (child.separation.ifIdOut !== 0) return
    const { local, remote } = sa
    const way = await this.#network.wayTo(local.address, remote.address)
    if (way === null) return
    const mtu = childMtu(child, await this.#host.mtu(local.address, remote.address))
    for (const destination of destinationsOf(child)) {
      const source = this.#sourceFor(sa, child, destination.first.family)
      // Between the two ends themselves there is a way already.
      const isPeer =
        destination.prefixLength !== null && destination.first.equals(remote.address) && destination.last.equals(remote.address)
      if (source === null || (isPeer && source.equals(local.address))) continue
      await this.#addRoute(sa, child, { destination, source, way: wayFor(way, destination.first, remote.address), mtu })
    }
  }

  async #addRoute(sa: IkeSa, child: ChildSa, route: TunnelRoute): Promise<void> {
    const key = route.destination.toString()
    const known = this.#routes.get(key)
    const owners = known?.owners ?? new Set()
    owners.add(child)
    if (known !== undefined && isSameRoute(known.thing, route)) return this.#need(child, key)
    const refused = await this.#network.addRoute(route)
    if (refused !== null) {
      // Another one's is as it was.
      if (this.#needed.get(child)?.has(key) !== true) owners.delete(child)
      return this.#tell(sa, `installing route ${routeText(route)} failed`, refused)
    }
    this.#routes.set(key, { thing: route, owners })
    this.#need(child, key)
    this.#report({ event: 'route-installed', sa, text: routeText(route) })
  }

  #need(child: ChildSa, key: string): void {
    const keys = this.#needed.get(child)
    if (keys === undefined) this.#needed.set(child, new Set([key]))
    else keys.add(key)
  }

  async #removeRoutes(child: ChildSa): Promise<void> {
    const keys = this.#needed.get(child) ?? []
    this.#needed.delete(child)
    for (const key of keys) {
      const { thing, owners } = this.#routes.get(key)!
      owners.delete(child)
      if (owners.size > 0) continue
      this.#routes.delete(key)
      const refused = await this.#network.removeRoute(thing)
      if (refused !== null) this.#tell(null, `removing route ${routeText(thing)} failed`, refused)
    }
  }

  /** An address of ours that is on this side of the tunnel: one that the peer gave us before any other. */
  #sourceFor(sa: IkeSa, child: ChildSa, family: number): IpAddress | null {
    const own = [...sa.virtualAddresses, ...this.#host.addresses().map(({ address }) => address)]
    const isInside = (address: IpAddress): boolean =>
      address.family === family && child.localSelectors.some(({ range }) => range.contains(address))
    return own.find(isInside) ?? null
  }

  #tell(sa: IkeSa | null, what: string, why: string): void {
    this.#report({ event: 'network-refused', sa, sentence: `${what}: ${why}` })
  }
}

/** The networks of a CHILD_SA; where it is for some ports only, other packets must not be led there (strongSwan). */
function destinationsOf({ remoteSelectors }: ChildSa): readonly TrafficSelector['range'][] {
  return remoteSelectors.flatMap(({ range, protocol, firstPort, lastPort }) =>
    protocol === 0 && firstPort === 0 && lastPort === 65535 ? prefixesOf(range) : [],
  )
}

/** A route of one IP version cannot lead over a gateway of the other; the interface is enough, since the packet is taken before. */
function wayFor(way: NextHop, destination: IpAddress, peer: IpAddress): NextHop {
  return destination.family === peer.family ? way : { interfaceIndex: way.interfaceIndex, gateway: null }
}

function isSameRoute(a: TunnelRoute, b: TunnelRoute): boolean {
  return routeText(a) === routeText(b)
}

function routeText({ destination, source, way, mtu }: TunnelRoute): string {
  const via = way.gateway === null ? '' : ` via ${way.gateway.toString()}`
  return `${destination.toString()}${via} src ${source.toString()} dev ${way.interfaceIndex}${mtu === null ? '' : ` mtu ${mtu}`}`
}
