/**
 * The other side of the bench: brings up one tunnel after another with the responder, a few at a time, each as another
 * peer with another address behind it, and has further exchanges on them. It is told what and how many over its channel
 * and answers how it went; and it counts what the responder begins.
 *
 * A shard and no gateway: thousands of connections that are configured would slow down the search for the next.
 */
import { assert } from '../../src/base/assert.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { Alarm, systemClock } from '../../src/edge/clock.ts'
import { systemEntropy } from '../../src/edge/entropy.ts'
import { systemFetcher } from '../../src/edge/fetch.ts'
import { SystemKeyExchanges } from '../../src/edge/key-exchanges.ts'
import { systemSigner } from '../../src/edge/signer.ts'
import { RevocationCache } from '../../src/pki/revocation.ts'
import { MemoryKernel } from '../../src/edge/memory-kernel.ts'
import { UdpNetwork } from '../../src/edge/udp.ts'
import { ExchangeType } from '../../src/iana/ikev2.ts'
import { Separations } from '../../src/gateway/separations.ts'
import { DEFAULT_IKE_SETTINGS } from '../../src/ike/connection.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import { probe } from '../../src/ike/liveness.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { OwnExchange } from '../../src/ike/session.ts'
import { Shard } from '../../src/ike/shard.ts'
import { Leases } from '../../src/address/leases.ts'
import { TrafficClaims } from '../../src/ike/traffic-claims.ts'
import { Books } from '../../src/kernel/books.ts'
import { MappingLifetimes } from '../../src/nat/adaptive.ts'
import { fakeSource } from '../../src/nat/detection.ts'
import type { Network } from '../../src/ports.ts'
import { initiatorSide, isAuth } from './credentials.ts'
import { connection, sharedSecret } from '../simulation/configuration.ts'

export interface Order {
  readonly handshakes: number
  readonly concurrency: number
  /** What the peers are called besides their number: `peer` unless told. */
  readonly peers?: string
}

/** What either side can do on an IKE_SA that stands. */
export type Affair = 'probe' | 'rekey-child' | 'rekey-ike'

/** An exchange of ours on each IKE_SA, so many times; with what has to follow it, as the deletion of what was replaced. */
export interface ExchangeOrder {
  readonly exchange: Affair
  readonly times: number
  readonly concurrency: number
}

export interface AskOrder {
  readonly ask: 'tally'
}

/** What has happened on IKE_SAs that stand, whoever began it, since the process began. */
export interface Tally {
  /** Over with everything that has to follow. A probe is known by its empty answer, which the deletion of an IKE_SA has as well. */
  readonly done: Readonly<Record<Affair, number>>
  /** Probes of the responder's that were answered. */
  readonly probesAnswered: number
  readonly ikeSas: number
  readonly retransmissions: number
  /** NAT keepalives that have come; none with UDP_ENCAP, where the kernel takes them. */
  readonly keepalives: number
}

export interface Outcome {
  readonly succeeded: number
  readonly failed: number
  readonly retransmissions: number
  readonly seconds: number
  /** How long each took. */
  readonly milliseconds: readonly number[]
}

/** With an outside address, peers see the responder behind a 1:1 NAT, which is here, where it costs the responder nothing. */
const [inside, ike, esp, psk, behind = '', auth = 'psk'] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string?,
  string?,
]
const outside = behind === '' ? undefined : behind
assert(isAuth(auth), 'whoever starts this knows how all prove who they are')
const side = initiatorSide(auth)
const responder = outside ?? inside
const [insideAddress, outsideAddress] = [IpAddress.parse(inside), IpAddress.parse(responder)]

let keepalives = 0
const udp = new UdpNetwork(
  {
    port: 500,
    portNatT: 4500,
    families: [4],
    encapsulation: outside === undefined,
    bypassPolicy: false,
    mark: 0,
    receiveBufferBytes: 1 << 20,
    reusePort: false,
    dscp: 0,
  },
  ({ bytes, local, remote }) => {
    if (bytes.length === 1) keepalives++
    else shard.handleDatagram({ bytes, local, remote: translated(remote, insideAddress, outsideAddress) })
  },
  (error) => process.stderr.write(`initiator: ${error.message}\n`),
)
const network: Network = {
  send: (bytes, from, to) => udp.send(bytes, from, translated(to, outsideAddress, insideAddress)),
  sourceFor: (destination) => udp.sourceFor(destination.equals(outsideAddress) ? insideAddress : destination),
  resolve: (host) => udp.resolve(host),
  probePort: () => null,
}
function translated(endpoint: Endpoint, from: IpAddress, to: IpAddress): Endpoint {
  return endpoint.address.equals(from) ? new Endpoint(to, endpoint.port) : endpoint
}
const alarm = new Alarm(() => {
  shard.handleDeadlines()
  return shard.nextDeadline()
})
let retransmissions = 0
let sas = 0
let probesAnswered = 0
const done: Record<Affair, number> = { 'probe': 0, 'rekey-child': 0, 'rekey-ike': 0 }
const secrets = [sharedSecret({ text: psk })]
const settings = { ...DEFAULT_IKE_SETTINGS, retransmitTimeout: 1000, deleteRekeyedDelay: 0 }
const shard = new Shard(
  {
    network,
    host: {
      addresses: () => [],
      isIgnored: () => false,
      reaches: () => Promise.resolve(true),
      mtu: () => Promise.resolve(null),
      interfaceTo: () => Promise.resolve(null),
      interfaceIndex: () => null,
    },
    clock: systemClock,
    entropy: systemEntropy,
    keyExchanges: new SystemKeyExchanges(),
    signer: systemSigner,
    fetcher: systemFetcher,
    credentials: () => side.credentials,
    revocations: new RevocationCache(),
    crlStore: null,
    ports: { port: udp.port, portNatT: udp.portNatT },
    books: new Books(new MemoryKernel({ clock: systemClock, entropy: systemEntropy, onEvent: () => {} })),
    leases: new Leases(),
    traffic: new TrafficClaims(),
    mappings: new MappingLifetimes(),
    traps: { set: () => Promise.resolve(), questionFor: () => 0, separationOf: () => null },
    separations: new Separations(null),
    fakeSource: fakeSource(systemEntropy.bytes(4)),
    settings: () => settings,
    connections: () => [],
    secrets: () => secrets,
    nextIkeSaNumber: () => ++sas,
    nextChildSaNumber: () => ++sas,
    report: count,
  },
  (at) => alarm.arm(at),
)

function count(event: IkeEvent): void {
  if (event.event === 'retransmitting') retransmissions++
  // What was replaced is gone.
  if (event.event === 'child-closed') done['rekey-child']++
  if (event.event === 'ike-closed') done['rekey-ike']++
  if (event.event !== 'message-received' || event.exchangeType !== ExchangeType.INFORMATIONAL) return
  if (event.payloads.length > 0 || event.isRetransmission) return
  if (event.isResponse) done.probe++
  else probesAnswered++
}

let peers = 0

/** One handshake; false when it came to no CHILD_SA. */
async function handshake(called: string): Promise<boolean> {
  const number = ++peers
  const name = `${called}-${number}`
  const begun = connection({
    connection: name,
    remoteAddresses: [responder],
    localId: `${name}.${called}.example`,
    remoteId: 'gateway.example',
    ...side.roundsOf(`${name}.${called}.example`),
    ikeProposals: [ike],
    proposals: [esp],
    mobike: false,
    // They all know the same peer, and looking through them each time is not what is measured.
    unique: 'never',
    local: [`10.${number >> 16}.${(number >> 8) & 0xff}.${number & 0xff}/32`],
    remote: ['192.168.0.0/16'],
  })
  try {
    const session = await shard.initiate(begun, begun.children[0]!)
    return session.sa.children.length === 1
  } catch {
    return false
  }
}

async function shakeHands({ handshakes, concurrency, peers: called = 'peer' }: Order): Promise<void> {
  let begun = 0
  let succeeded = 0
  let failed = 0
  const before = retransmissions
  const milliseconds: number[] = []
  const start = performance.now()
  const worker = async (): Promise<void> => {
    while (begun < handshakes) {
      begun++
      const from = performance.now()
      if (await handshake(called)) succeeded++
      else failed++
      milliseconds.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  const seconds = (performance.now() - start) / 1000
  process.send!({ succeeded, failed, retransmissions: retransmissions - before, seconds, milliseconds } satisfies Outcome)
}

const EXCHANGES: Readonly<Record<Affair, OwnExchange>> = {
  'probe': probe,
  'rekey-child': (session) => rekeyChild(session, session.sa.children[0]!),
  'rekey-ike': rekeyIkeSa,
}

async function haveExchanges({ exchange, times, concurrency }: ExchangeOrder): Promise<void> {
  for (let i = 0; i < times; i++) {
    const waiting = shard.sessions().filter(({ sa }) => sa.state === 'established')
    const worker = async (): Promise<void> => {
      for (let session = waiting.pop(); session !== undefined; session = waiting.pop())
        await session.runExchange(EXCHANGES[exchange], exchange)
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
  }
  tellTally()
}

function tellTally(): void {
  const ikeSas = shard.sessions().filter(({ sa }) => sa.state === 'established').length
  process.send!({ done, probesAnswered, ikeSas, retransmissions, keepalives } satisfies Tally)
}

process.on('message', (order: Order | ExchangeOrder | AskOrder) => {
  if ('handshakes' in order) void shakeHands(order)
  else if ('exchange' in order) void haveExchanges(order)
  else tellTally()
})
process.send!('ready')
