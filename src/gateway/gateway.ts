/**
 * A whole gateway as one value: what is configured, the shard that keys, the books of the kernel. The daemon drives it
 * with real edges, the simulator with a seeded world; both through the same few verbs:
 *
 *   start, reload, stop, abandon             what we are told
 *   handleDatagram, handleKernelEvent, handleDeadlines   what happens
 *   nextDeadline                             when to call handleDeadlines next
 */
import type { SharedSecret } from '../auth/secrets.ts'
import { EspalierError } from '../base/errors.ts'
import type { Endpoint } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { ChildConnection, Connection, IkeSettings } from '../ike/connection.ts'
import type { CloseReason, IkeEvent } from '../ike/events.ts'
import { NotInitiated } from '../ike/failure.ts'
import type { Session } from '../ike/session.ts'
import { Shard } from '../ike/shard.ts'
import { TrafficClaims } from '../ike/traffic-claims.ts'
import { Books } from '../kernel/books.ts'
import type { KernelError, KernelEvent } from '../kernel/vocabulary.ts'
import { fakeSource } from '../nat/detection.ts'
import type { OwnPorts } from '../nat/ports.ts'
import type { Clock, Datagram, Entropy, Kernel, KeyExchanges, Network } from '../ports.ts'

export interface GatewayConfiguration {
  readonly connections: readonly Connection[]
  readonly secrets: readonly SharedSecret[]
  readonly settings: IkeSettings
}

export interface GatewayPorts {
  readonly network: Network
  readonly kernel: Kernel
  readonly clock: Clock
  readonly entropy: Entropy
  readonly keyExchanges: KeyExchanges
  /** The ports our sockets are really bound to. */
  readonly ports: OwnPorts
}

export class Gateway {
  readonly books: Books
  readonly traffic = new TrafficClaims()
  readonly #shard: Shard
  readonly #report: (event: IkeEvent) => void
  #configuration: GatewayConfiguration
  #ikeSas = 0
  #childSas = 0

  /** `armed` hears of every new deadline (absolute milliseconds of the clock). */
  constructor(
    ports: GatewayPorts,
    configuration: GatewayConfiguration,
    report: (event: IkeEvent) => void,
    armed: (at: Milliseconds) => void,
  ) {
    this.#configuration = configuration
    this.#report = report
    this.books = new Books(ports.kernel)
    const fake: Endpoint = fakeSource(ports.entropy.bytes(4))
    this.#shard = new Shard(
      {
        network: ports.network,
        clock: ports.clock,
        entropy: ports.entropy,
        keyExchanges: ports.keyExchanges,
        ports: ports.ports,
        books: this.books,
        traffic: this.traffic,
        fakeSource: fake,
        settings: () => this.#configuration.settings,
        connections: () => this.#configuration.connections,
        secrets: () => this.#configuration.secrets,
        nextIkeSaNumber: () => ++this.#ikeSas,
        nextChildSaNumber: () => ++this.#childSas,
        report,
      },
      armed,
    )
  }

  sessions(): readonly Session[] {
    return this.#shard.sessions()
  }

  /** IKE_SAs that strangers began and have not authenticated yet. */
  get halfOpenCount(): number {
    return this.#shard.halfOpenCount
  }

  /** Begins every connection with a child of `start_action = start`. Returns at once; what comes of it is reported. */
  start(): void {
    for (const connection of this.#configuration.connections) this.#startConnection(connection)
  }

  /**
   * Takes over a new configuration. IKE_SAs that stand keep the connection they were made from; connections that are
   * new, or changed and not up, begin if they are to be started.
   */
  reload(configuration: GatewayConfiguration): void {
    const before = new Set(this.#configuration.connections.map(({ name }) => name))
    const up = new Set(this.sessions().map(({ sa }) => sa.connection?.name))
    this.#configuration = configuration
    for (const connection of configuration.connections) {
      if (!up.has(connection.name) || !before.has(connection.name)) this.#startConnection(connection)
    }
  }

  /** Brings up one child. Rejects with an EspalierError that says why it could not be. */
  async initiate(connectionName: string, childName: string): Promise<Session> {
    const connection = this.#configuration.connections.find((candidate) => candidate.name === connectionName)
    const child = connection?.children.find((candidate) => candidate.name === childName)
    if (connection === undefined || child === undefined) {
      throw new EspalierError('caller', 'NO_SUCH_CHILD', `there is no child ${childName} in a connection ${connectionName}`)
    }
    return this.#shard.initiate(connection, child)
  }

  handleDatagram(datagram: Datagram): void {
    this.#shard.handleDatagram(datagram)
  }

  handleKernelEvent(news: KernelEvent): void {
    this.#shard.handleKernelEvent(news)
  }

  nextDeadline(): Milliseconds | null {
    return this.#shard.nextDeadline()
  }

  handleDeadlines(): void {
    this.#shard.handleDeadlines()
  }

  /** Deletes every IKE_SA with its peer. Resolves when all have answered or were given up; whoever has less time abandons. */
  async stop(reason: CloseReason): Promise<void> {
    await this.#shard.stop(reason)
  }

  /** Closes what is left without a word and takes everything of ours out of the kernel; resolves to what the kernel kept. */
  async abandon(reason: CloseReason): Promise<readonly KernelError[]> {
    await this.#shard.abandon(reason)
    return this.books.removeAll()
  }

  #startConnection(connection: Connection): void {
    const [first, ...others] = connection.children.filter((child) => child.startAction.start)
    if (first === undefined) return
    this.#shard.initiate(connection, first).then(
      (session) => this.#refuseFurther(session, others),
      (error: unknown) => {
        if (!(error instanceof EspalierError)) throw error
        // What became of an IKE_SA was reported when it did.
        if (error instanceof NotInitiated) this.#report({ event: 'not-initiated', connection: connection.name, error })
      },
    )
  }

  #refuseFurther(session: Session, others: readonly ChildConnection[]): void {
    for (const child of others) {
      const error = new EspalierError('caller', 'ONE_CHILD_ONLY', 'a second CHILD_SA of one IKE_SA is not supported yet')
      this.#report({ event: 'child-failed', sa: session.sa, name: child.name, error })
    }
  }
}
