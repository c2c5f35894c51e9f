/**
 * Where the pure half and the edges meet. The core is handed these and nothing else that is impure; the daemon
 * implements them over sockets, netlink and clocks (edge/), the simulator over a seeded world (test/simulation/).
 */
import type { Milliseconds } from './base/time.ts'
import type { Endpoint, Family, IpAddress, IpRange } from './base/ip.ts'
import type { PrivateKey } from './crypto/private-key.ts'
import type { Secret } from './crypto/secret.ts'
import type { SignatureScheme } from './crypto/signature-scheme.ts'
import type { KernelCapabilities, KernelObjects, Operation, Outcome } from './kernel/vocabulary.ts'

/** What arrived on one of our UDP sockets, marker and all: `local` is the address and port it was sent to. */
export interface Datagram {
  readonly bytes: Uint8Array
  readonly local: Endpoint
  readonly remote: Endpoint
}

export interface Network {
  /**
   * Sends a copy of `bytes` from the socket bound to `from.port`, with source address `from.address`. Never throws and never
   * waits: a datagram that cannot be sent is lost, as datagrams are; the edge counts and reports it.
   */
  send(bytes: Uint8Array, from: Endpoint, to: Endpoint): void
  /** Our address on the route to `destination`, or null when there is no route. */
  sourceFor(destination: IpAddress): Promise<IpAddress | null>
  /** Addresses of a host name in the resolver's order; empty when it has none. */
  resolve(host: string): Promise<readonly IpAddress[]>
  /**
   * A third port to send from, opened when it is first asked for: what a NAT remembers of it may come to its end, and be
   * looked at (nat/adaptive.ts). Null if none can be had.
   */
  probePort(family: Family): number | null
}

/** An address of ours, and the interface that has it. */
export interface HostAddress {
  readonly address: IpAddress
  readonly interface: string
}

/** What of this machine's addresses and routes may change under us; whoever implements it tells when they do. */
export interface HostNetwork {
  /** Those that peers may know us by: of interfaces that are up and not to be ignored, for more than their link, to stay. */
  addresses(): readonly HostAddress[]
  /** Whether it is one of an interface that is to be ignored: nothing is heard there, and no way leads by it. */
  isIgnored(address: IpAddress): boolean
  /** Whether what is sent from our address `local` to `remote` leaves by the interface that has that address. */
  reaches(local: IpAddress, remote: IpAddress): Promise<boolean>
  /** Octets, IP header included, that a packet from our address `local` to `remote` may have; null where that is not known. */
  mtu(local: IpAddress, remote: IpAddress): Promise<number | null>
  /** Name of the interface that packets from our address `local` to `remote` leave by; null where there is none. */
  interfaceTo(local: IpAddress, remote: IpAddress): Promise<string | null>
  /** The number of the interface of this name; null if there is none. */
  interfaceIndex(name: string): number | null
}

/** Which network interface, and over which neighbour; null where the destination is a neighbour itself. */
export interface NextHop {
  readonly interfaceIndex: number
  readonly gateway: IpAddress | null
}

/**
 * How packets come into a tunnel: `source` is their address, unless they have one. `mtu` null: that of the interface.
 * Without source and way, packets are led as if there were none of these routes.
 */
export interface TunnelRoute {
  readonly destination: IpRange
  readonly source: IpAddress | null
  readonly way: NextHop | null
  readonly mtu: number | null
}

/** What of this machine's network is of our making, for tunnels. Nothing rejects; what is refused is a sentence, and null when it is done. */
export interface TunnelNetwork {
  /** How packets from our address `local` get to `remote`; null where there is no way. */
  wayTo(local: IpAddress, remote: IpAddress): Promise<NextHop | null>
  addAddress(address: IpAddress, interfaceIndex: number): Promise<string | null>
  removeAddress(address: IpAddress, interfaceIndex: number): Promise<string | null>
  /** In the place of one with the same destination. */
  addRoute(route: TunnelRoute): Promise<string | null>
  removeRoute(route: TunnelRoute): Promise<string | null>
}

/** A command for the shell, and what it is told. */
export interface Script {
  readonly command: string
  /** Its environment, besides a PATH. */
  readonly variables: Readonly<Record<string, string>>
  /** What it reads; nothing, unless given. */
  readonly input?: string
}

export interface Scripts {
  /** Runs it to its end, whatever that is; `onLine` hears what it says. Resolves to why that was no good end, else null; never rejects. */
  run(script: Script, onLine: (line: string) => void): Promise<string | null>
}

/** A DNS server of a peer, and the interface that leads there; null where that is not known. */
export interface NameServer {
  readonly address: IpAddress
  readonly interface: string | null
}

/** What this machine resolves names by. */
export interface Resolver {
  /** Where that is, for the log: `to /etc/resolv.conf`. */
  readonly place: string
  /** These, before those of others; in the place of what was said before. Resolves to why not, or null; never rejects. */
  use(servers: readonly NameServer[]): Promise<string | null>
}

/** Who has or had an address: what tells the identity from every other, and its text for people. */
export interface LeaseHolder {
  readonly key: string
  readonly name: string
}

/** That an identity has, or had last, this address of a pool. */
export interface KeptLease {
  readonly pool: string
  readonly address: IpAddress
  readonly holder: LeaseHolder
}

/** What outlives us of who has which virtual address. */
export interface LeaseStore {
  /** As it was when we started, in the order in which it was told. */
  readonly kept: readonly KeptLease[]
  /** It is different now: `leases` tells how, when it is time to write, which is not at each change. */
  changed(leases: () => readonly KeptLease[]): void
}

/** What outlives us of CRLs that were fetched. */
export interface CrlStore {
  /** In the place of the one with this name. Never throws; what goes wrong is told by the edge. */
  keep(name: string, der: Uint8Array): void
}

export interface Kernel {
  readonly capabilities: KernelCapabilities
  /** Performs the operations in order; each has its own outcome, a refused one does not stop the rest. Never rejects. */
  perform(operations: readonly Operation[]): Promise<readonly Outcome[]>
}

/**
 * Flows of packets (connection tracking): where packets of two peers have the same addresses and ports, only a mark
 * tells them apart, and what answers them has none of its own.
 */
export interface Flows {
  /** Flows whose packets arrive with this mark are flows of their own, and what answers them has it too. Rejects with an EspalierError. */
  keepApart(mark: number): Promise<void>
  /** No more. What goes wrong is told by the edge. */
  letGo(mark: number): void
}

/** Something that others offer for fetching: revocation lists, answers about certificates. */
export interface FetchRequest {
  /** POSTed; without it the URI is got. */
  readonly post?: { readonly body: Uint8Array; readonly contentType: string }
  /** Octets: a larger answer is refused. */
  readonly limit: number
  /** For all of it, from the name's resolution to the last octet. */
  readonly timeout: Milliseconds
}

export interface Fetcher {
  /**
   * What is at a URI of http or file, as it is there. What is fetched so is signed, so that nothing secret or secured is
   * asked of the way. Rejects with an EspalierError whose sentence says why, but not of which URI.
   */
  fetch(uri: string, request: FetchRequest): Promise<Uint8Array>
}

export interface Clock {
  /** Monotonic. */
  now(): Milliseconds
  /** Wall clock, milliseconds since 1970: for display and certificates only. */
  wall(): Milliseconds
}

export interface Entropy {
  /** `count` bytes fit for keys, nonces and SPIs. */
  bytes(count: number): Uint8Array
}

/**
 * Key exchanges, asked for rather than done: the large groups take milliseconds, which the edge spends on another core.
 * Who awaits an answer re-reads afterwards what may have changed.
 */
export interface KeyExchanges {
  /** For who begins: a fresh private value of a group that we do (crypto/algorithms.ts). */
  generate(group: number): Promise<KeyExchange>
  /**
   * For who answers, at once: what we send may hang on what the peer has sent, as the ciphertext of a KEM does. Rejects
   * with InvalidKeyExchange for a value that is none of the group.
   */
  answer(group: number, peerPublic: Uint8Array): Promise<KeyExchangeAnswer>
}

/** The data of our KE payload, and the secret shared with the peer, which the caller owns. */
export interface KeyExchangeAnswer {
  readonly publicValue: Uint8Array
  readonly secret: Secret
}

/** Signatures, asked for rather than made: RSA takes milliseconds, which the edge spends in a thread. */
export interface Signer {
  /** Rejects with an EspalierError when the key does not sign so. */
  sign(key: PrivateKey, scheme: SignatureScheme, data: Uint8Array): Promise<Uint8Array>
}

export interface KeyExchange {
  readonly group: number
  /** The data of our KE payload. */
  readonly publicValue: Uint8Array
  /** The secret shared with the peer, which the caller owns; rejects with InvalidKeyExchange for an answer that is none of the group. */
  agree(answer: Uint8Array): Promise<Secret>
  /** Forgets the private value; owed to every one generated. `agree` must not be called any more. */
  destroy(): void
}

/** Whoever keeps, beyond the end of this program, what of ours is in the kernel. */
export interface KernelJournal {
  /** There is something else in it than there was; `inventory` tells what, also later. */
  changed(inventory: () => readonly KernelObjects[]): void
}

/** A reliable, ordered stream of bytes with whoever is at its other end. None of the functions throws. */
export interface ByteStream {
  /** What is written to a closed stream is lost. Nobody changes the bytes any more. */
  write(bytes: Uint8Array): void
  /** How many bytes were written that the system has not taken yet. */
  readonly backlog: number
  /** Until `resume`, no more bytes are read; those underway may still arrive. */
  pause(): void
  resume(): void
  /** Closes when the backlog is sent. */
  end(): void
  /** Closes at once and forgets the backlog. */
  destroy(): void
}

/** What a stream tells its owner. */
export interface StreamEars {
  onBytes(bytes: Uint8Array): void
  /** There was a backlog of some size and now there is none. */
  onDrained(): void
  /** Nothing follows. The error is null where the other side or we ourselves closed it. */
  onClosed(error: Error | null): void
}
