/**
 * What leaves a host through an interface, counted by the kernel in the form in which it leaves: after IPsec, and before
 * any router. Unlike a capture it costs next to nothing when a megabyte passes, and misses no packet.
 */
import { MARK_TYPE } from './capture.ts'
import type { Host } from './network.ts'

export interface Counted {
  readonly packets: number
  readonly bytes: number
}

/** Since the last look. */
export interface Wire {
  /** ESP without UDP. */
  readonly bareEsp: Counted
  /** ESP in UDP from or to port 4500. */
  readonly udpEsp: Counted
  /** IKE without the non-ESP marker, from or to port 500, and with it (RFC 3948 2.2). */
  readonly ike500: Counted
  readonly ike4500: Counted
  readonly keepalives: Counted
  /** Whatever else there is but the neighbours' business. */
  readonly clear: Counted
}

const KINDS: readonly (keyof Wire)[] = ['bareEsp', 'udpEsp', 'ike500', 'ike4500', 'keepalives', 'clear']

/** Begins to count. */
export async function countWire(host: Host, interfaceName: string): Promise<void> {
  // The first octets behind the UDP header tell a keepalive (0xff alone) and the marker (four zeros) from ESP.
  const rules = `
    table netdev wire {
      ${KINDS.map((kind) => `counter ${kind} { }`).join('\n')}
      chain leaving {
        type filter hook egress device "${interfaceName}" priority 0; policy accept;
        ether type { arp, ${MARK_TYPE} } accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept
        meta l4proto esp counter name "bareEsp" accept
        udp sport 500 counter name "ike500" accept
        udp dport 500 counter name "ike500" accept
        udp length 9 @th,64,8 0xff counter name "keepalives" accept
        meta l4proto udp @th,64,32 0 counter name "ike4500" accept
        udp sport 4500 counter name "udpEsp" accept
        udp dport 4500 counter name "udpEsp" accept
        counter name "clear"
      }
    }`
  await host.run('nft', ['-f', '-'], { input: rules })
}

/** What has left since this was last asked. */
export async function takeWire(host: Host): Promise<Wire> {
  const listing = JSON.parse(await host.run('nft', ['-j', 'reset', 'counters'])) as {
    readonly nftables: readonly { readonly counter?: Counted & { readonly name: string } }[]
  }
  const find = (kind: string): Counted => {
    const counter = listing.nftables.find((entry) => entry.counter?.name === kind)?.counter
    if (counter === undefined) throw new Error(`no counter "${kind}" on ${host.name}`)
    return { packets: counter.packets, bytes: counter.bytes }
  }
  return Object.fromEntries(KINDS.map((kind) => [kind, find(kind)])) as Record<keyof Wire, Counted>
}
