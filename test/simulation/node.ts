/**
 * A machine in the simulated world: a gateway as the daemon runs it, a kernel in memory, and interfaces, one unless it
 * gets more, whose addresses and routes may come and go. It plays the part of the kernel on the NAT-T port: ESP and keepalives never reach the gateway (RFC 3948).
 */
import { deserialize, serialize } from 'node:v8'

import { assert } from '../../src/base/assert.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { Endpoint, type IpAddress } from '../../src/base/ip.ts'
import { SECOND, type Milliseconds } from '../../src/base/time.ts'
import { keGroup } from '../../src/crypto/algorithms.ts'
import { promisedAnswer, promisedKeyExchange } from '../../src/crypto/key-exchange.ts'
import type { PrivateKey } from '../../src/crypto/private-key.ts'
import type { SignatureScheme } from '../../src/crypto/signature-scheme.ts'
import { MemoryKernel, type PlainPacket, type ProtectedPacket } from '../../src/edge/memory-kernel.ts'
import { Gateway, type GatewayConfiguration, type Handover } from '../../src/gateway/gateway.ts'
import { readBack, writeDown } from '../../src/gateway/written.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import type { Session } from '../../src/ike/session.ts'
import type { KernelEvent, KernelObjects, Operation, Outcome } from '../../src/kernel/vocabulary.ts'
import type { OwnPorts } from '../../src/nat/ports.ts'
import type { Entropy, FetchRequest, Flows, KeptLease, Kernel, KeyExchange, KeyExchangeAnswer } from '../../src/ports.ts'
import { LogHub, loudnesses, Reporter, type Line } from '../../src/report/report.ts'
import type { SimulatedClock } from './clock.ts'
import { Interfaces } from './interfaces.ts'
import type { Attachment, Link, Network, Realm } from './network.ts'
import { copied, espBytes, type Packet } from './packet.ts'
import { toyAnswer, toyKeyExchange } from './toy-key-exchange.ts'

/** What a node needs of the world's driver. */
export interface Driver {
  readonly clock: SimulatedClock
  readonly network: Network
  /** How long the kernel takes for a batch of operations. */
  readonly kernelLatency: Milliseconds
  readonly keyExchangeLatency: Milliseconds
  readonly signatureLatency: Milliseconds
  readonly fetchLatency: Milliseconds
  /** What web servers have, by URI. */
  readonly web: ReadonlyMap<string, Uint8Array>
  /** Key exchanges are toys. */
  readonly isLong: boolean
  /** Those of KEMs are not, and the world never goes the same way again. */
  readonly hasRealKems: boolean
  /** What was said, reported and delivered is kept. */
  readonly remembers: boolean
  /** Something is about to happen at this node. */
  touch(node: SimulatedNode): void
  /** Something is to happen at this node. */
  scheduleAt(node: SimulatedNode, delay: Milliseconds, action: () => void): void
  entropyFor(name: string): Entropy
  /** Bytes that must never be seen outside. */
  noteSecret(bytes: Uint8Array): void
}

const MAXIMUM_KERNEL_JUNK = 8
/** As the system would hand it out. */
const PROBE_PORT = 49_152

export class SimulatedNode implements Attachment {
  readonly name: string
  readonly interfaces: Interfaces
  /** The first interface, and that on which it is first known. */
  readonly address: IpAddress
  readonly realm: Realm
  readonly link: Link
  readonly ports: OwnPorts
  readonly events: IkeEvent[] = []
  readonly lines: Line[] = []
  /** Packets out of tunnels, and packets that came in the clear. */
  readonly delivered: PlainPacket[] = []
  readonly inTheClear: PlainPacket[] = []
  /** Keepalives that the kernel took, and datagrams for ports nobody listens on. */
  keepalivesReceived = 0
  unheard = 0
  /** URIs that were asked for. */
  readonly fetched: string[] = []
  /** A mistake of our own that came up. */
  broken: Extract<IkeEvent, { event: 'broken' }> | null = null
  /** Errno for operations that are to fail. */
  refuse: ((operation: Operation) => number | null) | null = null
  /** Kernel operations that have not been answered yet, and its news that have not been heard. */
  kernelOperationsPending = 0
  /** Kernels below 6.2 do not tell when a state was last used. */
  tellsLastUse = true
  /** Of its way to anybody; null: it does not know. */
  mtu: number | null = 1500
  /** While it sleeps nothing is handled and what arrives is lost. */
  isAsleep = false
  /** When it does something by itself, as it was when anything last happened to it; of use in long worlds. Infinity: never. */
  wakesAt: Milliseconds | null = null
  /** Its kernel's events come when there is no room for them. */
  isDeafToKernel = false
  configuration: GatewayConfiguration
  kernel!: MemoryKernel
  flows!: SimulatedFlows
  /** The firewall of this machine gives answers the mark of what they answer, whoever gave that. */
  restoresMarks = false
  gateway!: Gateway
  /** What it keeps of leases from one boot to the next, and how often that has changed. */
  keptLeases: readonly KeptLease[] = []
  leaseChanges = 0
  hub!: LogHub
  /** They hear of every event. */
  readonly listeners: ((event: IkeEvent) => void)[] = []
  readonly #driver: Driver
  #boots = 0
  /** What it knows to be of its own in the kernel. */
  #journal: () => readonly KernelObjects[] = () => []

  constructor(driver: Driver, name: string, addresses: readonly IpAddress[], realm: Realm, configuration: GatewayConfiguration) {
    this.#driver = driver
    this.name = name
    this.address = addresses[0]!
    this.realm = realm
    this.link = { ...driver.network.defaultLink }
    this.configuration = configuration
    const { port, portNatT } = configuration.settings
    this.ports = { port, portNatT }
    this.interfaces = new Interfaces(this, () => this.#handleRoam())
    this.interfaces.add('eth0', addresses, realm, this.link)
    for (const { secret } of configuration.secrets) driver.noteSecret(secret.dangerouslyReveal())
    this.boot()
  }

  get addresses(): readonly IpAddress[] {
    return this.interfaces.addresses
  }

  /** Starts with nothing in memory and nothing in the kernel; what was there before is gone without a word. */
  boot(): void {
    const driver = this.#driver
    const entropy = driver.entropyFor(`${this.name} ${this.#boots++}`)
    const memory = new MemoryKernel({
      clock: driver.clock,
      entropy,
      onEvent: (event) => this.#handleKernelEvent(memory, event),
      refuse: (operation) => this.refuse?.(operation) ?? null,
    })
    this.#run(memory, entropy)
  }

  /** Another program takes the place of this one, in the orderly way; the kernel goes on. Resolves when it has. */
  async takeOver(): Promise<void> {
    await this.continue(await this.gateway.leave(2 * SECOND), 0)
  }

  /** The program that comes after `left` was left; so many IKE_SAs cannot go on. */
  async continue(left: Handover, lost: number): Promise<void> {
    const written = deserialize(serialize(writeDown(left)))
    this.#run(this.kernel, this.#driver.entropyFor(`${this.name} ${this.#boots++}`))
    assert((await this.gateway.resume(readBack(written) as Handover)) === lost, 'what can go on does')
    this.gateway.start()
  }

  /** The program is killed, and begins anew; the kernel goes on. */
  kill(): void {
    const journal = readBack(deserialize(serialize(writeDown(this.#journal())))) as readonly KernelObjects[]
    this.#run(this.kernel, this.#driver.entropyFor(`${this.name} ${this.#boots++}`))
    this.gateway.inherit(journal)
    this.gateway.start()
  }

  #run(memory: MemoryKernel, entropy: Entropy): void {
    const driver = this.#driver
    const kernel: Kernel = {
      capabilities: memory.capabilities,
      perform: (operations) => this.#perform(memory, operations),
    }
    const hub = new LogHub()
    this.hub = hub
    if (driver.remembers) hub.listen(loudnesses(3), (line) => void this.lines.push(line))
    const reporter = new Reporter(() => driver.clock.now(), hub)
    this.kernel = memory
    this.flows = new SimulatedFlows()
    const gateway = new Gateway(
      {
        network: {
          send: (bytes, from, to) => this.#send(gateway, bytes, from, to),
          sourceFor: (destination) => Promise.resolve(this.interfaces.sourceFor(destination)),
          resolve: (host) => Promise.resolve(driver.network.names.get(host) ?? []),
          probePort: () => PROBE_PORT,
        },
        host: {
          addresses: () => this.interfaces.hostAddresses,
          isIgnored: (address) => this.interfaces.isIgnored(address),
          reaches: (local, remote) => Promise.resolve(this.interfaces.reaches(local, remote)),
          mtu: () => Promise.resolve(this.mtu),
          interfaceTo: (local) => Promise.resolve(this.interfaces.with(local)?.name ?? null),
          interfaceIndex: () => null,
        },
        kernel,
        clock: driver.clock,
        entropy,
        keyExchanges: {
          generate: (group) => this.#keyExchange(group, entropy),
          answer: (group, peerPublic) => this.#keyExchangeAnswer(group, peerPublic, entropy),
        },
        signer: { sign: (...request) => this.#sign(...request) },
        fetcher: { fetch: (uri, request) => this.#fetch(uri, request) },
        flows: this.flows,
        leaseStore: {
          kept: this.keptLeases,
          changed: (leases) => {
            if (gateway !== this.gateway) return
            this.leaseChanges++
            this.keptLeases = leases()
          },
        },
        journal: {
          changed: (inventory) => {
            if (gateway !== this.gateway) return
            // Written down at once, so that what nobody told of is missing; in days, where it changes all the time, when it is read.
            const written = driver.isLong ? null : inventory()
            this.#journal = written === null ? inventory : () => written
          },
        },
        ports: this.ports,
      },
      this.configuration,
      (event) => {
        if (driver.remembers) this.events.push(event)
        for (const listener of this.listeners) listener(event)
        if (event.event === 'broken') this.broken ??= event
        if (driver.remembers) reporter.handle(event)
      },
      // The driver asks every gateway for its next deadline, so nothing has to be armed.
      () => undefined,
    )
    this.gateway = gateway
  }

  sessions(): readonly Session[] {
    return this.gateway.sessions()
  }

  /** The one IKE_SA there is. */
  get session(): Session {
    const sessions = this.sessions()
    assert(sessions.length === 1, `${this.name} has one IKE_SA, not ${sessions.length}`)
    return sessions[0]!
  }

  eventsOf<Name extends IkeEvent['event']>(name: Name): readonly Extract<IkeEvent, { event: Name }>[] {
    return this.events.filter((event): event is Extract<IkeEvent, { event: Name }> => event.event === name)
  }

  /** What the log said last of such an event. */
  said(name: IkeEvent['event']): string {
    const line = this.lines.findLast(({ fields }) => fields['event'] === name)
    assert(line !== undefined, `the log of ${this.name} tells of ${name}`)
    return line.message
  }

  /** Sends bytes past the gateway, as another process on this machine could. */
  sendRaw(bytes: Uint8Array, from: Endpoint, to: Endpoint): void {
    this.#sendBy({ protocol: 'udp', source: from, destination: to, bytes, esp: null })
  }

  /** Takes a plain packet through the outbound policies and, protected, onto the wire. Tells what became of it. */
  sendPlain(packet: PlainPacket): 'protected' | 'clear' | 'blocked' | 'acquire' {
    const protection = this.kernel.protect(packet)
    if (protection.kind === 'protected') this.#sendProtected(protection.packet)
    return protection.kind
  }

  #sendProtected(esp: ProtectedPacket): void {
    const { source, destination, encapsulation } = esp
    this.#sendBy({
      protocol: encapsulation === null ? 'esp' : 'udp',
      source: new Endpoint(source, encapsulation?.sourcePort ?? 0),
      destination: new Endpoint(destination, encapsulation?.destinationPort ?? 0),
      bytes: espBytes(esp),
      esp,
    })
  }

  /** By the interface that has its source address. */
  #sendBy(packet: Packet): void {
    const { network } = this.#driver
    const by = this.interfaces.with(packet.source.address)
    if (by === null) return network.lose(packet, `${this.name} has no such address any more`)
    network.send(packet, by.realm, by.link)
  }

  receive(packet: Packet): void {
    if (this.isAsleep) return this.#driver.network.lose(packet, `${this.name} sleeps`)
    this.#driver.touch(this)
    this.#driver.network.note('arrived', packet)
    const { source, destination, bytes, esp } = packet
    if (packet.protocol === 'esp')
      return this.#receiveEsp({ ...esp!, source: source.address, destination: destination.address, encapsulation: null })
    if (destination.port === this.ports.portNatT) {
      if (bytes.length === 1 && bytes[0] === 0xff) return void this.keepalivesReceived++
      if (esp !== null) {
        const encapsulation = { sourcePort: source.port, destinationPort: destination.port }
        return this.#receiveEsp({ ...esp, source: source.address, destination: destination.address, encapsulation })
      }
      const isMarked = bytes[0] === 0 && bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 0
      // Looks like ESP of an SPI that the kernel does not have (XfrmInNoStates).
      if (bytes.length > MAXIMUM_KERNEL_JUNK && !isMarked) return
    } else if (destination.port !== this.ports.port && destination.port !== PROBE_PORT) {
      return void this.unheard++
    }
    this.gateway.handleDatagram({ bytes: copied(bytes), local: destination, remote: source })
  }

  #receiveEsp(packet: ProtectedPacket): void {
    const reception = this.kernel.receive(packet)
    if (reception.kind === 'delivered') this.#deliver(reception.packet)
  }

  /** A host behind this machine answers every echo request (ICMP type 8 in `sourcePort`) it gets out of the tunnel. */
  #deliver(packet: PlainPacket): void {
    this.delivered.push(packet)
    if (packet.protocol !== ICMP || packet.sourcePort !== ECHO_REQUEST) return
    const mark = packet.mark ?? 0
    this.sendPlain({ ...echoReply(packet), mark: this.restoresMarks || this.flows.marks.has(mark) ? mark : 0 })
  }

  #send(gateway: Gateway, bytes: Uint8Array, from: Endpoint, to: Endpoint): void {
    // What an earlier boot still had to say is lost with it.
    if (gateway !== this.gateway) return
    const isOurs = from.port === this.ports.port || from.port === this.ports.portNatT || from.port === PROBE_PORT
    assert(isOurs, 'datagrams leave from one of our sockets')
    this.sendRaw(copied(bytes), from, to)
  }

  #perform(memory: MemoryKernel, operations: readonly Operation[]): Promise<readonly Outcome[]> {
    if (this.#driver.remembers) this.#noteKeys(operations)
    if (this.#driver.kernelLatency === 0) return this.#outcomes(memory, operations)
    this.kernelOperationsPending++
    return new Promise((resolve) => {
      this.#driver.scheduleAt(this, this.#driver.kernelLatency, () => {
        this.kernelOperationsPending--
        // Done when its time comes, not when it was asked for: the kernel may have changed meanwhile. It never rejects.
        void this.#outcomes(memory, operations).then(resolve)
      })
    })
  }

  #outcomes(memory: MemoryKernel, operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes = memory.perform(operations)
    return this.tellsLastUse ? outcomes : outcomes.then((all) => all.map(withoutLastUse))
  }

  #noteKeys(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.op !== 'add-state') continue
      const { encryption, integrity } = operation.state
      for (const key of [encryption.key, integrity?.key]) if (key !== undefined) this.#driver.noteSecret(key.dangerouslyReveal())
    }
  }

  /** As another core would do it: the answers come later, and the gateway goes on meanwhile. */
  async #keyExchange(group: number, entropy: Entropy): Promise<KeyExchange> {
    const exchange = this.#isToy(group) ? toyKeyExchange(group, entropy) : await promisedKeyExchange(group, entropy)
    if (this.#driver.keyExchangeLatency === 0) return exchange
    await this.#keyExchanged()
    return { ...exchange, agree: (answer) => this.#keyExchanged().then(() => exchange.agree(answer)) }
  }

  async #keyExchangeAnswer(group: number, peerPublic: Uint8Array, entropy: Entropy): Promise<KeyExchangeAnswer> {
    const answer = this.#isToy(group) ? toyAnswer : promisedAnswer
    if (this.#driver.keyExchangeLatency === 0) return answer(group, peerPublic, entropy)
    await this.#keyExchanged()
    await this.#keyExchanged()
    return answer(group, peerPublic, entropy)
  }

  #isToy(group: number): boolean {
    return this.#driver.isLong || (keGroup(group)?.kind === 'ml-kem' && !this.#driver.hasRealKems)
  }

  #keyExchanged(): Promise<void> {
    return new Promise((resolve) => this.#driver.scheduleAt(this, this.#driver.keyExchangeLatency, resolve))
  }

  /** As a thread would do it. */
  async #sign(key: PrivateKey, scheme: SignatureScheme, data: Uint8Array): Promise<Uint8Array> {
    await this.#later(this.#driver.signatureLatency)
    return key.sign(scheme, data)
  }

  /** A server that is not there is not heard of until the time is over. */
  async #fetch(uri: string, { timeout }: FetchRequest): Promise<Uint8Array> {
    this.fetched.push(uri)
    const page = this.#driver.web.get(uri)
    await this.#later(page === undefined ? timeout : this.#driver.fetchLatency)
    if (page === undefined) throw new EspalierError('system', 'FETCH_FAILED', 'nothing complete came in time')
    return page
  }

  #later(latency: Milliseconds): Promise<void> {
    if (latency === 0) return Promise.resolve()
    return new Promise((resolve) => this.#driver.scheduleAt(this, latency, resolve))
  }

  /** News of addresses and routes travel by netlink, too. */
  #handleRoam(): void {
    const { gateway } = this
    if ((gateway as Gateway | undefined) === undefined) return
    this.#driver.scheduleAt(this, this.#driver.kernelLatency, () => {
      if (gateway === this.gateway) gateway.handleRoam()
    })
  }

  #handleKernelEvent(memory: MemoryKernel, event: KernelEvent): void {
    if (this.isDeafToKernel) return
    // News travel by netlink: they are read some time after they happened.
    this.kernelOperationsPending++
    this.#driver.scheduleAt(this, this.#driver.kernelLatency, () => {
      this.kernelOperationsPending--
      if (memory === this.kernel) this.gateway.handleKernelEvent(event)
    })
  }
}

function withoutLastUse(outcome: Outcome): Outcome {
  return outcome.kind === 'usage' ? { kind: 'usage', usage: { ...outcome.usage, lastUsedSeconds: null } } : outcome
}

export const ICMP = 1
export const ECHO_REQUEST = 8
const ECHO_REPLY = 0

/** Connection tracking that remembers marks (ports.ts). */
export class SimulatedFlows implements Flows {
  readonly marks = new Set<number>()
  /** Why marks cannot be kept apart. */
  refusal: EspalierError | null = null

  keepApart(mark: number): Promise<void> {
    if (this.refusal !== null) return Promise.reject(this.refusal)
    this.marks.add(mark)
    return Promise.resolve()
  }

  letGo(mark: number): void {
    this.marks.delete(mark)
  }
}

export function echoRequest(source: IpAddress, destination: IpAddress): PlainPacket {
  return { source, destination, protocol: ICMP, sourcePort: ECHO_REQUEST, destinationPort: 0, length: 84 }
}

function echoReply(request: PlainPacket): PlainPacket {
  return { ...request, source: request.destination, destination: request.source, sourcePort: ECHO_REPLY }
}
