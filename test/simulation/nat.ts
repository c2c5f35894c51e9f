/**
 * NAT routers in the words of RFC 4787: what a mapping depends on, whom it lets in, how long it lives. Like most of
 * them they know UDP and no ESP, unless they translate one address to one.
 */
import { assert } from '../../src/base/assert.ts'
import { Endpoint, type IpAddress } from '../../src/base/ip.ts'
import { MINUTE, type Milliseconds } from '../../src/base/time.ts'
import type { Attachment, Link, Network, Realm } from './network.ts'
import type { Packet } from './packet.ts'

export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

export interface NatOptions {
  /** RFC 4787 4.1. */
  readonly mapping?: Dependence
  /** RFC 4787 5. */
  readonly filtering?: Dependence
  /** Of a mapping nothing went out by (RFC 4787 4.3: outbound refreshes, inbound need not). */
  readonly timeout?: Milliseconds
  /** The outside port for an inside endpoint; ports in use are passed over for the next fresh one. */
  readonly portFor?: (inside: Endpoint, fresh: () => number) => number
  /** One inside address has the outside one for itself: every port stays as it is, and ESP passes, both ways and for ever. */
  readonly oneToOne?: IpAddress
  /** Port forwarding: outside port to inside endpoint, in both directions and for ever. */
  readonly forwards?: readonly { readonly port: number; readonly to: Endpoint }[]
}

interface Mapping {
  readonly inside: Endpoint
  readonly port: number
  expires: Milliseconds
  /** Who was written to, and may therefore answer. */
  readonly permitted: Set<string>
}

const FIRST_PORT = 30_000
const LAST_PORT = 60_000

export class Nat implements Attachment {
  readonly name: string
  readonly address: IpAddress
  readonly inside: Realm
  readonly link: Link
  /** Packets that could not be translated: bare ESP. */
  untranslatable = 0
  readonly #network: Network
  readonly #outside: Realm
  readonly #options: Required<Omit<NatOptions, 'oneToOne'>>
  readonly #oneToOne: IpAddress | null
  readonly #byKey = new Map<string, Mapping>()
  readonly #byPort = new Map<number, Mapping>()
  #nextPort = FIRST_PORT

  constructor(
    network: Network,
    name: string,
    address: IpAddress,
    inside: Realm,
    outside: Realm,
    link: Link,
    options: NatOptions,
  ) {
    this.#network = network
    this.name = name
    this.address = address
    this.inside = inside
    this.#outside = outside
    this.link = link
    this.#oneToOne = options.oneToOne ?? null
    this.#options = {
      mapping: 'endpoint-independent',
      filtering: 'address-and-port-dependent',
      timeout: 2 * MINUTE,
      portFor: (_, fresh) => fresh(),
      forwards: [],
      ...options,
    }
  }

  /** Forgets every mapping, as a router that was restarted: the next packet out gets another port. */
  flush(): void {
    this.#byKey.clear()
    this.#byPort.clear()
  }

  /** The outside ports that are mapped now, by inside endpoint. */
  mappings(): readonly { readonly inside: string; readonly port: number }[] {
    return [...this.#byPort.values()].map(({ inside, port }) => ({ inside: inside.toString(), port }))
  }

  /** Whether packets still get in by the mapping of this inside endpoint. */
  isAlive(inside: string): boolean {
    return [...this.#byPort.values()].some(
      (mapping) => mapping.inside.toString() === inside && mapping.expires > this.#network.clock.now(),
    )
  }

  /** From the inside to the outside. */
  handleOutward(packet: Packet): void {
    if (this.#oneToOne?.equals(packet.source.address) === true)
      return this.#network.carry({ ...packet, source: new Endpoint(this.address, packet.source.port) }, this.#outside, this.link)
    if (packet.protocol === 'esp') {
      this.untranslatable++
      return this.#network.lose(packet, `${this.name} cannot translate ESP`)
    }
    const forward = this.#options.forwards.find(({ to }) => to.equals(packet.source))
    const port = forward === undefined ? this.#mappingFor(packet).port : forward.port
    this.#network.carry({ ...packet, source: new Endpoint(this.address, port) }, this.#outside, this.link)
  }

  /** From the outside to the inside. */
  receive(packet: Packet): void {
    if (this.#oneToOne !== null)
      return this.#network.route({ ...packet, destination: new Endpoint(this.#oneToOne, packet.destination.port) }, this.inside)
    const forward = this.#options.forwards.find(({ port }) => port === packet.destination.port && packet.protocol === 'udp')
    if (forward !== undefined) return this.#network.route({ ...packet, destination: forward.to }, this.inside)
    const mapping = packet.protocol === 'udp' ? this.#byPort.get(packet.destination.port) : undefined
    if (mapping === undefined || mapping.expires <= this.#network.clock.now())
      return this.#network.lose(packet, `${this.name} has no mapping`)
    if (!mapping.permitted.has(dependent(this.#options.filtering, packet.source)))
      return this.#network.lose(packet, `${this.name} filters it`)
    this.#network.route({ ...packet, destination: mapping.inside }, this.inside)
  }

  #mappingFor(packet: Packet): Mapping {
    const now = this.#network.clock.now()
    const key = `${packet.source.toString()} ${dependent(this.#options.mapping, packet.destination)}`
    let mapping = this.#byKey.get(key)
    if (mapping !== undefined && mapping.expires <= now) {
      this.#byKey.delete(key)
      this.#byPort.delete(mapping.port)
      mapping = undefined
    }
    if (mapping === undefined) {
      mapping = { inside: packet.source, port: this.#freePort(packet.source), expires: 0, permitted: new Set() }
      this.#byKey.set(key, mapping)
      this.#byPort.set(mapping.port, mapping)
    }
    mapping.expires = now + this.#options.timeout
    mapping.permitted.add(dependent(this.#options.filtering, packet.destination))
    return mapping
  }

  #freePort(inside: Endpoint): number {
    const fresh = (): number => this.#nextPort++
    let port = this.#options.portFor(inside, fresh)
    while (this.#byPort.has(port) || this.#options.forwards.some((forward) => forward.port === port)) port = fresh()
    assert(this.#nextPort < LAST_PORT, 'a simulated NAT has ports left')
    return port
  }
}

/** What a mapping or a filter remembers of the other end. */
function dependent(dependence: Dependence, remote: Endpoint): string {
  switch (dependence) {
    case 'endpoint-independent':
      return '*'
    case 'address-dependent':
      return remote.address.toString()
    case 'address-and-port-dependent':
      return remote.toString()
  }
}

/** For `portFor`: as a home router does, the inside port while nobody else has it. */
export function preservingPort(inside: Endpoint): number {
  return inside.port
}
