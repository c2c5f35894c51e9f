/**
 * DNS servers that peers tell us with our virtual addresses, in this machine's resolver as long as an IKE_SA has them
 * (strongSwan: resolve_handler.c). One that several IKE_SAs have is there once, until the last of them ends.
 */
import type { IpAddress } from '../base/ip.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import type { IkeSa } from '../ike/sa.ts'
import type { HostNetwork, NameServer, Resolver } from '../ports.ts'

interface Known {
  readonly server: NameServer
  readonly owners: Set<IkeSa>
}

export class NameServers {
  readonly #resolver: Resolver
  readonly #host: Pick<HostNetwork, 'interfaceTo'>
  readonly #settings: () => Pick<IkeSettings, 'updownHandlesNameServers'>
  readonly #report: (event: IkeEvent) => void
  /** By the text of their address, in the order they came. */
  readonly #known = new Map<string, Known>()
  #turn: Promise<void> = Promise.resolve()

  constructor(
    resolver: Resolver,
    host: Pick<HostNetwork, 'interfaceTo'>,
    settings: () => Pick<IkeSettings, 'updownHandlesNameServers'>,
    report: (event: IkeEvent) => void,
  ) {
    this.#resolver = resolver
    this.#host = host
    this.#settings = settings
    this.#report = report
  }

  handle(event: IkeEvent): void {
    switch (event.event) {
      case 'ike-established':
      case 'ike-resumed':
      case 'ike-rekeyed':
        if (event.sa.nameServers.length > 0) this.#turn = this.#turn.then(() => this.#add(event.sa))
        return
      case 'ike-closed':
        if (event.sa.nameServers.length > 0) this.#turn = this.#turn.then(() => this.#remove(event.sa))
        return
      default:
    }
  }

  /** Resolves when all that was asked for so far is done. */
  settled(): Promise<void> {
    return this.#turn
  }

  async #add(sa: IkeSa): Promise<void> {
    if (sa.state === 'closed' || this.#settings().updownHandlesNameServers) return
    const added: IpAddress[] = []
    for (const address of sa.nameServers) {
      const known = this.#known.get(address.toString())
      if (known !== undefined) {
        known.owners.add(sa)
        continue
      }
      const by = await this.#host.interfaceTo(sa.local.address, sa.remote.address)
      this.#known.set(address.toString(), { server: { address, interface: by }, owners: new Set([sa]) })
      added.push(address)
    }
    if (added.length > 0) await this.#use(sa, added, 'installing')
  }

  async #remove(sa: IkeSa): Promise<void> {
    const removed: IpAddress[] = []
    for (const [text, { server, owners }] of this.#known) {
      if (!owners.delete(sa) || owners.size > 0) continue
      this.#known.delete(text)
      removed.push(server.address)
    }
    if (removed.length > 0) await this.#use(sa, removed, 'removing')
  }

  async #use(sa: IkeSa, changed: readonly IpAddress[], change: 'installing' | 'removing'): Promise<void> {
    const refused = await this.#resolver.use(Array.from(this.#known.values(), ({ server }) => server))
    const { place } = this.#resolver
    for (const address of changed) this.#report({ event: 'name-server-changed', sa, address, change, place, refused })
  }
}
