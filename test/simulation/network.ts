/**
 * Realms of addresses (the Internet, the inside of each NAT), the links into them, and what becomes of packets on the
 * way: delayed, lost, doubled, overtaken. Everything is decided by the seed.
 */
import type { Endpoint, IpAddress } from '../../src/base/ip.ts'
import type { Milliseconds } from '../../src/base/time.ts'
import type { SimulatedClock } from './clock.ts'
import type { Dice } from './entropy.ts'
import { Nat, type NatOptions } from './nat.ts'
import { summaryOf, type Packet } from './packet.ts'

export interface Link {
  latency: Milliseconds
  /** Up to this much more, per packet: larger than the gap between two packets, they overtake each other. */
  jitter: Milliseconds
  /** Probabilities. */
  loss: number
  duplication: number
}

const PERFECT_LINK: Readonly<Link> = { latency: 10, jitter: 0, loss: 0, duplication: 0 }

export interface Attachment {
  readonly link: Link
  receive(packet: Packet): void
}

export interface Realm {
  readonly name: string
  readonly owners: Map<string, Attachment>
  /** Where packets for addresses of nobody here go. */
  uplink: Nat | null
}

export interface TraceEntry {
  readonly time: Milliseconds
  /** sent: by a node; arrived: at a node; lost: with the reason in `summary`. */
  readonly fate: 'sent' | 'arrived' | 'lost'
  readonly from: string
  readonly to: string
  readonly summary: string
  readonly bytes: Uint8Array
  readonly packet: Packet
}

/** Looks at every packet a node sends, and says what goes on the wire instead: itself, nothing, several. */
export type Tap = (packet: Packet) => readonly Packet[]

export class Network {
  readonly clock: SimulatedClock
  readonly internet: Realm = realm('internet')
  readonly names = new Map<string, readonly IpAddress[]>()
  readonly trace: TraceEntry[] = []
  /** Cleared in worlds that go on for long and are played again when somebody wants to look. */
  keepsTrace = true
  /** The link of everything attached from now on. */
  defaultLink: Link = { ...PERFECT_LINK }
  readonly #dice: Dice
  readonly #schedule: (delay: Milliseconds, action: () => void) => void
  readonly #taps: Tap[] = []

  constructor(clock: SimulatedClock, dice: Dice, schedule: (delay: Milliseconds, action: () => void) => void) {
    this.clock = clock
    this.#dice = dice
    this.#schedule = schedule
  }

  /** A NAT with `address` on the outside, and a realm of its own behind it. */
  addNat(name: string, address: IpAddress, options: NatOptions = {}, outside: Realm = this.internet): Nat {
    const inside = realm(`behind ${name}`)
    const nat = new Nat(this, name, address, inside, outside, { ...this.defaultLink }, options)
    inside.uplink = nat
    outside.owners.set(address.toString(), nat)
    return nat
  }

  /** Installs a tap until the returned function is called. */
  tap(tap: Tap): () => void {
    this.#taps.push(tap)
    return () => void this.#taps.splice(this.#taps.indexOf(tap), 1)
  }

  /** A packet leaves a node, or an attacker's hands. */
  send(packet: Packet, from: Realm, link: Link): void {
    this.note('sent', packet)
    let packets: readonly Packet[] = [packet]
    for (const tap of this.#taps) packets = packets.length === 1 ? tap(packets[0]!) : packets.flatMap(tap)
    if (packets.length === 0) this.lose(packet, 'the tap took it')
    for (const one of packets) this.carry(one, from, link)
  }

  /** Over a link into a realm. */
  carry(packet: Packet, into: Realm, link: Link): void {
    this.#cross(packet, link, () => this.route(packet, into))
  }

  /** Inside a realm: to its owner over the owner's link, or up. */
  route(packet: Packet, within: Realm): void {
    const owner = within.owners.get(packet.destination.address.toString())
    if (owner !== undefined) return this.#cross(packet, owner.link, () => owner.receive(packet))
    if (within.uplink !== null) return within.uplink.handleOutward(packet)
    this.lose(packet, `nobody in ${within.name} has its destination`)
  }

  lose(packet: Packet, reason: string): void {
    this.note('lost', packet, `: ${reason}`)
  }

  note(fate: TraceEntry['fate'], packet: Packet, more = ''): void {
    if (!this.keepsTrace) return
    const endpoint = ({ address, port }: Endpoint): string => `${address.toString()}[${port}]`
    this.trace.push({
      time: this.clock.now(),
      fate,
      from: endpoint(packet.source),
      to: endpoint(packet.destination),
      summary: `${summaryOf(packet)}${more}`,
      bytes: packet.bytes,
      packet,
    })
  }

  #cross(packet: Packet, link: Link, then: () => void): void {
    if (this.#dice.chance(link.loss)) return this.lose(packet, 'the link lost it')
    const copies = this.#dice.chance(link.duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const delay = link.latency + (link.jitter > 0 ? this.#dice.fraction() * link.jitter : 0)
      this.#schedule(delay, then)
    }
  }
}

function realm(name: string): Realm {
  return { name, owners: new Map(), uplink: null }
}
