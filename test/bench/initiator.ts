/**
 * The other side of the bench: brings up one tunnel after another with the responder, a few at a time, each as another
 * peer with another address behind it. It is told how many over its channel and answers how it went.
 *
 * A shard and no gateway: thousands of connections that are configured would slow down the search for the next.
 */
import { Alarm, systemClock } from '../../src/edge/clock.ts'
import { systemEntropy } from '../../src/edge/entropy.ts'
import { SystemKeyExchanges } from '../../src/edge/key-exchanges.ts'
import { MemoryKernel } from '../../src/edge/memory-kernel.ts'
import { UdpNetwork } from '../../src/edge/udp.ts'
import { DEFAULT_IKE_SETTINGS } from '../../src/ike/connection.ts'
import { Shard } from '../../src/ike/shard.ts'
import { TrafficClaims } from '../../src/ike/traffic-claims.ts'
import { Books } from '../../src/kernel/books.ts'
import { fakeSource } from '../../src/nat/detection.ts'
import { connection, sharedSecret } from '../simulation/configuration.ts'

export interface Order {
  readonly handshakes: number
  readonly concurrency: number
}

export interface Outcome {
  readonly succeeded: number
  readonly failed: number
  readonly retransmissions: number
  readonly seconds: number
  /** How long each took. */
  readonly milliseconds: readonly number[]
}

const [responder, ike, esp, psk] = process.argv.slice(2) as [string, string, string, string]

const network = new UdpNetwork(
  {
    port: 500,
    portNatT: 4500,
    families: [4],
    encapsulation: true,
    bypassPolicy: false,
    mark: 0,
    receiveBufferBytes: 1 << 20,
    reusePort: false,
    dscp: 0,
  },
  (datagram) => shard.handleDatagram(datagram),
  (error) => process.stderr.write(`initiator: ${error.message}\n`),
)
const alarm = new Alarm(() => {
  shard.handleDeadlines()
  return shard.nextDeadline()
})
let retransmissions = 0
let sas = 0
const secrets = [sharedSecret({ text: psk })]
const settings = { ...DEFAULT_IKE_SETTINGS, retransmitTimeout: 1000 }
const shard = new Shard(
  {
    network,
    clock: systemClock,
    entropy: systemEntropy,
    keyExchanges: new SystemKeyExchanges(),
    ports: { port: network.port, portNatT: network.portNatT },
    books: new Books(new MemoryKernel({ clock: systemClock, entropy: systemEntropy, onEvent: () => {} })),
    traffic: new TrafficClaims(),
    traps: { set: () => Promise.resolve(), questionFor: () => 0 },
    fakeSource: fakeSource(systemEntropy.bytes(4)),
    settings: () => settings,
    connections: () => [],
    secrets: () => secrets,
    nextIkeSaNumber: () => ++sas,
    nextChildSaNumber: () => ++sas,
    report: (event) => {
      if (event.event === 'retransmitting') retransmissions++
    },
  },
  (at) => alarm.arm(at),
)

let peers = 0

/** One handshake; false when it came to no CHILD_SA. */
async function handshake(): Promise<boolean> {
  const number = ++peers
  const name = `peer-${number}`
  const begun = connection({
    connection: name,
    remoteAddresses: [responder],
    localId: `${name}.example`,
    remoteId: 'gateway.example',
    ikeProposals: [ike],
    proposals: [esp],
    mobike: false,
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

async function run({ handshakes, concurrency }: Order): Promise<void> {
  let begun = 0
  let succeeded = 0
  let failed = 0
  retransmissions = 0
  const milliseconds: number[] = []
  const start = performance.now()
  const worker = async (): Promise<void> => {
    while (begun < handshakes) {
      begun++
      const from = performance.now()
      if (await handshake()) succeeded++
      else failed++
      milliseconds.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  const seconds = (performance.now() - start) / 1000
  process.send!({ succeeded, failed, retransmissions, seconds, milliseconds } satisfies Outcome)
}

process.on('message', (order: Order) => void run(order))
process.send!('ready')
