/**
 * NAT detection (RFC 7296 2.23): each side sends hashes of the addresses it believes in, each side compares them with
 * what it sees. The one digest of IKEv2 that is always SHA-1, whatever was negotiated.
 */
import { equalBytes, Writer } from '../base/bytes.ts'
import { Endpoint, IpAddress } from '../base/ip.ts'
import { sha1 } from '../crypto/digest.ts'

/**
 * Three facts kept apart, because different things follow from them: `here` and `there` say who sits behind a NAT
 * (`here` alone starts keepalives), `faked` says that only our `encap = yes` claimed one. `supported` is whether the
 * peer sent both kinds of hashes at all; without it there is no NAT traversal on this IKE_SA.
 */
export interface NatFacts {
  readonly supported: boolean
  readonly here: boolean
  readonly there: boolean
  readonly faked: boolean
  /** The form of ESP that the peer was found to send, where it is another than these facts ask for (ike/health.ts). */
  readonly esp?: 'udp' | 'bare'
  /** The one of our public addresses (`public_addrs`) that the peer reaches us at, through a NAT that is none to it. */
  readonly outside?: IpAddress
}

export const NO_NAT_TRAVERSAL: NatFacts = { supported: false, here: false, there: false, faked: false }

/** The SPIs as in the header of the message that carries the hashes: the responder's is 0 in the first request. */
export interface SpiPair {
  readonly initiatorSpi: bigint
  readonly responderSpi: bigint
}

/** SHA-1(SPIi | SPIr | address | port), 20 bytes; all in network order (RFC 7296 2.23). */
export function natDetectionHash(spis: SpiPair, endpoint: Endpoint): Uint8Array {
  const writer = new Writer(34)
  writer.u64(spis.initiatorSpi).u64(spis.responderSpi).bytes(endpoint.address.bytes).u16(endpoint.port)
  return sha1(writer.finish())
}

/**
 * An endpoint nobody has, hashed as our source when `encap = yes` so that the peer believes in a NAT.
 * strongSwan: a random IPv4 address with port 0, the same for the life of the process.
 */
export function fakeSource(random: Uint8Array): Endpoint {
  return new Endpoint(new IpAddress(random.slice(0, 4)), 0)
}

/** What we say of ourselves: the truth as seen from outside, or what has the peer believe in a NAT. */
export interface Claim {
  /**
   * `public_addrs`: a 1:1 NAT translates between them and ours, and leaves ports alone. Both sides then believe in a NAT
   * exactly where the peer sees us at none of them, so that both still agree on how ESP travels.
   */
  readonly publicAddresses: readonly IpAddress[]
  /** `encap = yes`: where nobody is. */
  readonly fake: Endpoint | null
}

/** Our end as the peer is to see it: at our public addresses, if we have any of that IP version. */
export function claimed(local: Endpoint, publicAddresses: readonly IpAddress[]): readonly Endpoint[] {
  const outside = publicAddresses.filter(
    (address, i) => address.family === local.address.family && publicAddresses.findIndex((other) => other.equals(address)) === i,
  )
  return outside.length === 0 ? [local] : outside.map((address) => new Endpoint(address, local.port))
}

/** The data of the notifies we send: the message's source as we claim it, its destination as we see it. */
export function natDetectionHashes(
  spis: SpiPair,
  local: Endpoint,
  remote: Endpoint,
  { publicAddresses, fake }: Claim,
): { readonly sources: readonly Uint8Array[]; readonly destination: Uint8Array } {
  const sources = fake === null ? claimed(local, publicAddresses) : [fake]
  return {
    sources: sources.map((source) => natDetectionHash(spis, source)),
    destination: natDetectionHash(spis, remote),
  }
}

export interface Observation {
  readonly spis: SpiPair
  /** Data of every NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP the peer sent. */
  readonly sources: readonly Uint8Array[]
  readonly destinations: readonly Uint8Array[]
  /** Where the message came in, and from where: what was seen, not what was configured. */
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Our own `encap = yes`. */
  readonly forced: boolean
  readonly publicAddresses: readonly IpAddress[]
}

/**
 * What the peer's hashes say. Any source hash that matches the observed source means that the peer is not translated;
 * a destination that is not our own address, nor one of our public ones, means that we are. A hash of another length than 20 is a mismatch, never
 * an error. Either kind missing: the peer does no NAT traversal (strongSwan, libreswan).
 */
export function natFacts(seen: Observation): NatFacts {
  if (seen.sources.length === 0 || seen.destinations.length === 0) return NO_NAT_TRAVERSAL
  const ofRemote = natDetectionHash(seen.spis, seen.remote)
  const own = claimed(seen.local, seen.publicAddresses).find((end) => {
    const ofEnd = natDetectionHash(seen.spis, end)
    return seen.destinations.some((hash) => equalBytes(hash, ofEnd))
  })
  const there = !seen.sources.some((hash) => equalBytes(hash, ofRemote))
  const here = own === undefined
  const facts = { supported: true, here, there, faked: seen.forced && !here && !there }
  return own === undefined || own.address.equals(seen.local.address) ? facts : { ...facts, outside: own.address }
}

/** Whether ESP goes into UDP. Both sides reach the same answer from the same IKE_SA_INIT. */
export function encapsulates(facts: NatFacts): boolean {
  return facts.esp === undefined ? facts.here || facts.there || facts.faked : facts.esp === 'udp'
}
