/**
 * A whole gateway as one value: what is configured, the shard that keys, the books of the kernel. The daemon drives it
 * with real edges, the simulator with a seeded world; both through the same few verbs:
 *
 *   start, reload, stop, abandon             what we are told
 *   handleDatagram, handleKernelEvent, handleRoam, handleDeadlines   what happens
 *   nextDeadline                             when to call handleDeadlines next
 */
import { Leases } from '../address/leases.ts'
import { EspalierError } from '../base/errors.ts'
import type { Endpoint } from '../base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { CloseReason, IkeEvent } from '../ike/events.ts'
import type { IkeRecord } from '../ike/record.ts'
import { limited } from '../ike/revocation.ts'
import type { Session } from '../ike/session.ts'
import { Shard } from '../ike/shard.ts'
import { TrafficClaims } from '../ike/traffic-claims.ts'
import { Books } from '../kernel/books.ts'
import type { KernelError, KernelEvent, KernelObjects } from '../kernel/vocabulary.ts'
import { MappingLifetimes } from '../nat/adaptive.ts'
import { fakeSource } from '../nat/detection.ts'
import type { OwnPorts } from '../nat/ports.ts'
import { RevocationCache } from '../pki/revocation.ts'
import type {
  Clock,
  CrlStore,
  Datagram,
  Entropy,
  Fetcher,
  Flows,
  HostNetwork,
  Kernel,
  KernelJournal,
  KeyExchanges,
  LeaseStore,
  Network,
  Resolver,
  Scripts,
  Signer,
  TunnelNetwork,
} from '../ports.ts'
import { Configured, type GatewayConfiguration } from './configured.ts'
import { Control } from './control.ts'
import { Inheritance } from './inheritance.ts'
import { Initiations } from './initiations.ts'
import { NameServers } from './name-servers.ts'
import { Roaming } from './roaming.ts'
import { Separations } from './separations.ts'
import { StartActions } from './start-actions.ts'
import { Timeouts } from './timeouts.ts'
import { Traps } from './traps.ts'
import { TunnelRoutes } from './tunnel-routes.ts'
import { Updown } from './updown.ts'

export type { GatewayConfiguration } from './configured.ts'

/** Of a wall clock that was set meanwhile nothing is believed beyond this. */
const BETWEEN_MAX: Milliseconds = 60 * MINUTE
/** Until all policies of the configuration are in place again. */
const SETTLING_TIME: Milliseconds = 10 * SECOND
/** Until a peer has found out that we know nothing of it any more, with the retransmissions of strongSwan's defaults. */
const INHERITANCE_TIME: Milliseconds = 3 * MINUTE

/** What a gateway leaves to the program that takes over. */
export interface Handover {
  /** When it was written down, by both clocks. */
  readonly now: Milliseconds
  readonly wall: Milliseconds
  /** The last numbers that were handed out. */
  readonly ikeSas: number
  readonly childSas: number
  readonly sessions: readonly IkeRecord[]
  readonly objects: readonly KernelObjects[]
}

export interface GatewayPorts {
  readonly network: Network
  readonly host: HostNetwork
  readonly kernel: Kernel
  readonly clock: Clock
  readonly entropy: Entropy
  readonly keyExchanges: KeyExchanges
  readonly signer: Signer
  readonly fetcher: Fetcher
  /** Absent where there is no connection tracking: peers of the same traffic are then refused. */
  readonly flows?: Flows
  /** None: tunnels get neither routes nor virtual addresses (a kernel in memory). */
  readonly tunnels?: TunnelNetwork
  /** None: no commands of children are run. */
  readonly scripts?: Scripts
  /** None: name servers of peers are nobody's business. */
  readonly resolver?: Resolver
  /** None: who has which virtual address is forgotten with us. */
  readonly leaseStore?: LeaseStore
  /** None: CRLs that were fetched are forgotten with us. */
  readonly crlStore?: CrlStore
  /** None: what of ours is in the kernel when this program is killed stays there. */
  readonly journal?: KernelJournal
  /** The ports our sockets are really bound to. */
  readonly ports: OwnPorts
}

export class Gateway {
  readonly books: Books
  readonly traffic = new TrafficClaims()
  readonly leases: Leases
  readonly configured: Configured
  readonly control: Control
  /** What was heard of certificates that are revoked. */
  readonly revocationCache = new RevocationCache()
  readonly traps: Traps
  readonly #shard: Shard
  readonly #initiations: Initiations
  readonly #timeouts: Timeouts
  readonly #roaming: Roaming
  readonly #host: HostNetwork
  readonly #tunnelRoutes: TunnelRoutes | null
  readonly #updown: Updown | null
  readonly #nameServers: NameServers | null
  readonly #inheritance: Inheritance
  readonly #clock: Clock
  /** Nothing is waited for any more. */
  readonly #stopped = Promise.withResolvers<void>()
  #ikeSas = 0
  #childSas = 0

  /** `armed` hears of every new deadline (absolute milliseconds of the clock). */
  constructor(
    ports: GatewayPorts,
    configuration: GatewayConfiguration,
    upstream: (event: IkeEvent) => void,
    armed: (at: Milliseconds) => void,
  ) {
    const { leaseStore } = ports
    this.leases = new Leases(leaseStore?.kept, () => leaseStore?.changed(() => this.leases.kept()))
    const report = (event: IkeEvent): void => {
      upstream(event)
      this.#tunnelRoutes?.handle(event)
      this.#updown?.handle(event)
      this.#nameServers?.handle(event)
      this.#inheritance.handle(event)
    }
    this.#tunnelRoutes =
      ports.tunnels === undefined
        ? null
        : new TunnelRoutes(
            ports.tunnels,
            ports.host,
            () => this.configured.settings,
            () => this.traps.inForce(),
            upstream,
          )
    this.#updown =
      ports.scripts === undefined ? null : new Updown(ports.scripts, ports.host, () => this.configured.settings, upstream)
    this.#nameServers =
      ports.resolver === undefined ? null : new NameServers(ports.resolver, ports.host, () => this.configured.settings, upstream)
    const host = this.#withoutVirtual(ports.host)
    this.#host = host
    this.#clock = ports.clock
    this.books = new Books(ports.kernel)
    this.#inheritance = new Inheritance(this.books, ports.journal ?? null, upstream)
    const fake: Endpoint = fakeSource(ports.entropy.bytes(4))
    const separations = new Separations(ports.flows ?? null)
    this.traps = new Traps({
      network: ports.network,
      host,
      ports: ports.ports,
      books: this.books,
      separations,
      open: (...initiation) => this.#initiations.open(...initiation),
      sessionsOf: (connection) => this.sessionsOf(connection),
      report,
    })
    this.#shard = new Shard(
      {
        network: ports.network,
        host,
        clock: ports.clock,
        entropy: ports.entropy,
        keyExchanges: ports.keyExchanges,
        signer: ports.signer,
        fetcher: limited(ports.fetcher),
        credentials: () => this.configured.credentials,
        revocations: this.revocationCache,
        crlStore: ports.crlStore ?? null,
        ports: ports.ports,
        books: this.books,
        traffic: this.traffic,
        leases: this.leases,
        traps: this.traps,
        separations,
        fakeSource: fake,
        mappings: new MappingLifetimes(),
        settings: () => this.configured.settings,
        connections: () => this.configured.connections(),
        secrets: () => this.configured.secrets(),
        nextIkeSaNumber: () => ++this.#ikeSas,
        nextChildSaNumber: () => ++this.#childSas,
        report,
      },
      armed,
    )
    this.#timeouts = new Timeouts(() => ports.clock.now(), armed)
    this.#roaming = new Roaming(
      host,
      this.#timeouts,
      () => this.#shard.count,
      (addressesChanged) => {
        this.#tunnelRoutes?.refresh()
        this.#shard.handleRoam(addressesChanged)
      },
    )
    this.#initiations = new Initiations(this.#shard, this.#timeouts, () => this.configured.settings, report)
    const { open } = this.#initiations
    const startActions = new StartActions({
      sessionsOf: (connection) => this.sessionsOf(connection),
      open,
      traps: this.traps,
      report,
    })
    this.configured = new Configured(configuration, startActions, this.leases, report)
    this.control = new Control(
      {
        connections: () => this.configured.connections(),
        settings: () => this.configured.settings,
        sessions: () => this.sessions(),
        sessionsOf: (connection) => this.sessionsOf(connection),
        traps: this.traps,
        open,
        inPlace: async () => void (await this.#tunnelRoutes?.settled()),
      },
      this.#timeouts,
    )
  }

  /** What a peer gave us leads to no other peer, and none is to hear of it. */
  #withoutVirtual(host: HostNetwork): HostNetwork {
    return {
      addresses: () => host.addresses().filter(({ address }) => this.#tunnelRoutes?.isVirtual(address) !== true),
      isIgnored: (address) => host.isIgnored(address),
      reaches: (local, remote) => host.reaches(local, remote),
      mtu: (local, remote) => host.mtu(local, remote),
      interfaceTo: (local, remote) => host.interfaceTo(local, remote),
      interfaceIndex: (name) => host.interfaceIndex(name),
    }
  }

  sessions(): readonly Session[] {
    return this.#shard.sessions()
  }

  /** Those of the connections of that name. */
  sessionsOf(connection: string): readonly Session[] {
    return this.#shard.sessionsOf(connection)
  }

  /** IKE_SAs that strangers began and have not authenticated yet. */
  get halfOpenCount(): number {
    return this.#shard.halfOpenCount
  }

  /** Deadlines that are set. */
  get scheduledCount(): number {
    return this.#shard.deadlineCount + this.#timeouts.size
  }

  /** Begins every connection with a child of `start_action = start`. Returns at once; what comes of it is reported. */
  start(): void {
    this.configured.start()
  }

  /**
   * Leaves what rests, in the kernel and with the peers, to the program that takes this one's place, and ends the rest as
   * `stop` does, within `patience` each. What is returned has keys in it.
   */
  async leave(patience: Milliseconds): Promise<Handover> {
    this.#initiations.stop()
    const sessions: IkeRecord[] = []
    await this.#timeouts.within(patience, this.#shard.leave(sessions))
    await this.#timeouts.within(patience, this.#shard.stop('shutdown'))
    await this.#shard.abandon('shutdown')
    return {
      now: this.#clock.now(),
      wall: this.#clock.wall(),
      ikeSas: this.#ikeSas,
      childSas: this.#childSas,
      sessions,
      objects: this.books.inventory(),
    }
  }

  /** Goes on where another program has left, before `start`. Resolves to how many IKE_SAs cannot go on. Destroys the keys in it. */
  async resume({ now, wall, ikeSas, childSas, sessions, objects }: Handover): Promise<number> {
    this.#ikeSas = Math.max(this.#ikeSas, ikeSas)
    this.#childSas = Math.max(this.#childSas, childSas)
    const between = Math.min(Math.max(this.#clock.wall() - wall, 0), BETWEEN_MAX)
    const later = this.#clock.now() - (now + between)
    let lost = 0
    for (const record of sessions) {
      const connection = this.configured.connections().find(({ name }) => name === record.connection)
      if (connection === undefined || !(await this.#shard.resume(record, connection, later))) lost++
      record.keys.destroy()
    }
    await this.#shard.catchUp()
    this.inherit(objects, SETTLING_TIME)
    return lost
  }

  /**
   * The kernel has these from another time; what is nobody's goes after `time`, or when a CHILD_SA takes its place.
   * Until then it does what it did.
   */
  inherit(objects: readonly KernelObjects[], time: Milliseconds = INHERITANCE_TIME): void {
    this.#inheritance.take(objects)
    void this.#timeouts.within(time, this.#stopped.promise).then(() => this.#inheritance.end())
  }

  /** Takes over the files' new configuration (configured.ts). */
  reload(configuration: GatewayConfiguration): void {
    this.configured.replaceAll(configuration)
  }

  /** Takes over new settings; what runs already keeps the times it was started with. */
  replaceSettings(settings: IkeSettings): void {
    this.configured.replaceSettings(settings)
  }

  /** Brings up one child, or with null the IKE_SA alone. Rejects with an EspalierError that says why it could not be. */
  async initiate(connectionName: string, childName: string | null): Promise<Session> {
    const connection = this.configured.connections().find((candidate) => candidate.name === connectionName)
    const child = childName === null ? null : connection?.children.find((candidate) => candidate.name === childName)
    if (connection === undefined || child === undefined) {
      throw new EspalierError('caller', 'NO_SUCH_CHILD', `there is no child ${childName} in a connection ${connectionName}`)
    }
    return this.#initiations.open(connection, child, {})
  }

  handleDatagram(datagram: Datagram): void {
    // strongSwan: as if there were no such interface.
    if (this.#host.isIgnored(datagram.local.address)) return
    this.#shard.handleDatagram(datagram)
  }

  handleKernelEvent(news: KernelEvent): void {
    this.#shard.handleKernelEvent(news)
    if (news.event === 'acquire') this.traps.handleAcquire(news)
  }

  /** Addresses, links or routes of ours have changed. */
  handleRoam(): void {
    this.#roaming.handleChange()
  }

  nextDeadline(): Milliseconds | null {
    const [deadline, timeout] = [this.#shard.nextDeadline(), this.#timeouts.next()]
    return deadline === null || timeout === null ? (deadline ?? timeout) : Math.min(deadline, timeout)
  }

  handleDeadlines(): void {
    this.#shard.handleDeadlines()
    this.#timeouts.handleDue()
  }

  /** Deletes every IKE_SA with its peer. Resolves when all have answered or were given up; whoever has less time abandons. */
  async stop(reason: CloseReason): Promise<void> {
    this.#stopped.resolve()
    this.#initiations.stop()
    // Nothing is to ask for a CHILD_SA any more.
    await this.traps.stop()
    await this.#shard.stop(reason)
  }

  /** Closes what is left without a word and takes everything of ours out of the kernel; resolves to what the kernel kept. */
  async abandon(reason: CloseReason): Promise<readonly KernelError[]> {
    this.#stopped.resolve()
    this.#initiations.stop()
    await this.#shard.abandon(reason)
    await this.traps.stop()
    await this.#tunnelRoutes?.settled()
    await this.#updown?.settled()
    await this.#nameServers?.settled()
    await this.#inheritance.end()
    return this.books.removeAll()
  }
}
