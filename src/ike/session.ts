/**
 * One IKE_SA at work: the record, its queue, its wire side, its deadlines, its own exchanges one after another, and
 * how all of it ends.
 */
import type { Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import type { EspalierError } from '../base/errors.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { ChildUsage } from '../kernel/books.ts'
import { KernelError } from '../kernel/vocabulary.ts'
import type { GatewayIdentity } from '../message/ikev2/redirect.ts'
import type { ProbeFlow } from '../nat/adaptive.ts'
import type { Way } from '../nat/path.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { AskedTraffic } from './asked-traffic.ts'
import type { ChildConnection, Connection } from './connection.ts'
import { noDeadlines, type DeadlineName, type DeadlineOwner, type Deadlines } from './deadlines.ts'
import { Early } from './early.ts'
import type { Environment } from './environment.ts'
import type { CloseReason } from './events.ts'
import { Exchanges, type Arrival, type WireDeadlines } from './exchange.ts'
import type { HalfMade } from './half-made.ts'
import { inherited, merged, type MobikeWork } from './mobike-state.ts'
import type { Opening } from './opening.ts'
import type { Responding } from './peer-rounds.ts'
import { NOT_REDIRECTED, type Redirections } from './redirection.ts'
import { retryDelay } from './retry.ts'
import type { ChildSa, IkeSa, Role } from './sa.ts'
import { Turns } from './turns.ts'

/** Whoever keeps tables of sessions hears what changes in them. */
export interface SessionKeeper {
  /** A new IKE_SA that is to replace the one of `session`, in the tables so that messages reach it. */
  successorOf(session: Session, role: Role): Session
  /** The peer deleted this CHILD_SA before we had it: as if it did now. */
  childLost(session: Session, child: ChildSa): Promise<void>
  /** Begins another IKE_SA with a CHILD_SA (initiate.ts), between the endpoints of `session`, whatever its connection says. */
  initiateAnew(session: Session, child: ChildConnection | null, asked: AskedTraffic | undefined): Promise<Session>
  /** The same with the gateway that the one of `session` sent us to. */
  initiateRedirected(
    session: Session,
    gateway: GatewayIdentity,
    child: ChildConnection | null,
    asked: AskedTraffic | undefined,
  ): Promise<Session>
  /**
   * The same as its connection says, or between those endpoints if it names nobody. It is not tried again when `standIn`
   * finds another IKE_SA, which is what it resolves to then.
   */
  initiateElsewhere(
    session: Session,
    child: ChildConnection,
    asked: AskedTraffic,
    standIn: () => Session | null,
  ): Promise<Session>
  /** Its peer is silent: closes it, and does what the dpd_action of its CHILD_SAs says (actions.ts). */
  peerLost(session: Session): Promise<void>
  /** Other IKE_SAs that stand, between our identity in this one and that of a peer, over the same IP version. */
  twinsOf(session: Session, remoteId: Identity): readonly Session[]
  /** Others of its connection, whatever their state. */
  siblingsOf(session: Session): readonly Session[]
  /** Does what is wanted of MOBIKE (mobike.ts): an own exchange. */
  runMobike(session: Session): Promise<void>
  /** Its peer says that a request of ours was malformed: closes it (actions.ts). */
  foundMalformed(session: Session): Promise<void>
  /** The peer has answered along one of the ways that were tried (roam.ts). */
  wayFound(session: Session, way: Way): Promise<void>
  /** Something authentic came: if the IKE_SA moves by that, when it has (moves.ts). */
  heard(session: Session, arrival: Arrival): Promise<void> | null
  /** What came for it before it stood is heard now. */
  arrived(session: Session, arrival: Arrival): void
  /** It has a connection now; it is about to have another one. */
  connected(session: Session): void
  disconnected(session: Session): void
  /** Something new is known of the NAT before all IKE_SAs that have this address here (adaptive.ts). */
  mappingLearnt(local: IpAddress): void
  closed(session: Session): void
  childAdopted(session: Session, child: ChildSa): void
  childDropped(session: Session, child: ChildSa): void
}

/** What an own exchange, or a run of them, is for. */
export type Task =
  | 'initiation'
  | 'create-child'
  | 'rekey-child'
  | 'delete-child'
  | 'rekey-ike'
  | 'reauth-ike'
  | 'redirect'
  | 'delete-ike'
  /** The same at the end of its time, which nobody has asked for. */
  | 'expire-ike'
  | 'mobike'
  | 'probe'

/** An own exchange. It is told the session it runs on: what waited when the IKE_SA was rekeyed runs on the new one. */
export type OwnExchange = (session: Session) => Promise<void>

/** A CHILD_SA that somebody waits for. */
export interface WantedChild {
  readonly connection: ChildConnection
  /** Undefined = what it is configured with. */
  readonly asked: AskedTraffic | undefined
}

/** One IKE_SA of a peer goes for another. */
export interface Yield {
  readonly to: Session
  /** Both were begun at once, and it is settled which goes; what it becomes by rekeys goes as well. */
  readonly isTie: boolean
}

export interface PutOff {
  readonly at: Milliseconds
  readonly wanted: WantedChild | undefined
  readonly resume: () => void
}

/** One for all that have none. */
const NONE_PUT_OFF: readonly PutOff[] = []
const NONE_HALF_MADE: readonly HalfMade[] = []

/** What the peer would have no time for while it replaces the IKE_SA (RFC 7296 2.25.2). */
const OF_CHILDREN: ReadonlySet<Task> = new Set<Task>(['initiation', 'create-child', 'rekey-child', 'delete-child'])

interface PlannedExchange {
  readonly task: Task
  readonly run: OwnExchange
  readonly wanted?: WantedChild | undefined
}

/** Our request to rekey the IKE_SA while it is under way. */
export interface IkeRekey {
  /** What the peer asked for in the same moment, and the lowest nonce of that (RFC 7296 2.8.2). */
  rival: { readonly session: Session; readonly lowestNonce: Uint8Array } | null
  /** Its IKE_FOLLOWUP_KE exchanges have begun: whoever comes now comes too late (RFC 9370 2.2.4). */
  isFollowedUp: boolean
}

/** Our request for another CHILD_SA, or for one in the place of `old`. */
export interface ChildRequest {
  readonly connection: ChildConnection
  readonly old: ChildSa | null
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  /** SPIs of CHILD_SAs that the peer has deleted meanwhile, and that we do not know. */
  readonly deletedEarly: Set<number>
  /** Its IKE_FOLLOWUP_KE exchanges have begun. */
  isFollowedUp: boolean
}

interface EspSeen {
  readonly packets: bigint
  readonly at: Milliseconds
  readonly exact: boolean
}

const NO_ESP_SEEN: EspSeen = { packets: 0n, at: 0, exact: true }

export class Session implements DeadlineOwner, WireDeadlines {
  readonly sa: IkeSa
  readonly env: Environment
  readonly turns = new Turns()
  readonly exchanges: Exchanges
  readonly deadlines = noDeadlines()
  /** What IKE_SA_INIT left for IKE_AUTH; null before and after. */
  opening: Opening | null = null
  /** At a responder: how far IKE_AUTH has come. */
  responding: Responding | null = null
  /** Message ID of the request that is being answered, while that waits for something elsewhere. */
  answering: number | null = null
  /**
   * At a responder: hash of the IKE_SA_INIT request. Its retransmission is known by its bytes, whatever port a NAT gave
   * it meanwhile, as long as the IKE_SA lives: one that was overtaken by IKE_AUTH must not begin another IKE_SA.
   */
  initHash: string | null = null
  /** Outbound ESP packets as counted at a keepalive deadline, when that was, and whether the kernel told more than a count. */
  espSeen: EspSeen = NO_ESP_SEEN
  /** Inbound ESP-in-UDP packets as counted at the last liveness deadline. */
  espHeard = 0n
  /** If this is the IKE_SA that probes the NAT for all of its network (adaptive.ts). */
  probes: ProbeFlow | null = null
  /** Probes of this one come to nothing. */
  isProbedInVain = false
  /** Where the kernel last saw ESP of the peer from, until that is acted upon (moves.ts). */
  mappedTo: Endpoint | null = null
  /** How long the moves by such news would last, had each taken its time (nat/moves.ts). */
  mappingsUntil: Milliseconds = 0
  /** What MOBIKE has to find out or to tell (mobike.ts), null if nothing. */
  mobikeWork: MobikeWork | null = null
  ikeRekey: IkeRekey | null = null
  /** Our request for a CHILD_SA, while it is under way. */
  childRequest: ChildRequest | null = null
  /** What the peer has begun and not finished (follow-up.ts). */
  halfMade: readonly HalfMade[] = NONE_HALF_MADE
  /** How often in a row the peer has forgotten what we had begun and not finished. */
  statesLost = 0
  /** The IKE_SA that this one is to replace, until it has. */
  predecessor: Session | null = null
  /** What came for it before it had keys. */
  #early: Early | null = null
  /** The IKE_SA that has replaced this one by a rekey. */
  successor: Session | null = null
  /** The IKE_SA that this one has replaced by a rekey, while that is not over. */
  elder: Session | null = null
  /** How it came to be where it is (redirection.ts). */
  redirections: Redirections = NOT_REDIRECTED
  /** Another IKE_SA with the peer, for which this one goes when it is 'superseded', unless that is lost by then (uniqueness.ts). */
  yields: Yield | null = null
  /** It is made from the beginning to replace another, which may not be gone. */
  isRenewal = false
  /** Another IKE_SA is being made from the beginning, to replace this one, or is to be when this one is gone. */
  isReauthenticating = false
  /**
   * The IKE_SA that is being made from the beginning in the place of this one, which stands or is lost; resolves to null
   * if that does not come about. What somebody wants to have made in this one is made there (strongSwan:
   * adopt_child_tasks).
   */
  heir: Promise<Session | null> | null = null
  /** What the peer had no time for, and when it is asked for again. */
  #putOff: readonly PutOff[] = NONE_PUT_OFF
  readonly #deadlines: Deadlines<Session>
  readonly #keeper: SessionKeeper
  #tasks: PlannedExchange[] = []
  #runningTask: Task | null = null
  /** The running task while it waits for its turn. */
  #unbegun: PlannedExchange | null = null
  /** The CHILD_SA that the running task is to make for somebody. */
  #making: WantedChild | undefined
  #closing: Promise<void> | null = null
  #interrupt: ((why: EspalierError) => void) | null = null

  constructor(sa: IkeSa, env: Environment, deadlines: Deadlines<Session>, keeper: SessionKeeper) {
    this.sa = sa
    this.env = env
    this.#deadlines = deadlines
    this.#keeper = keeper
    this.exchanges = new Exchanges(sa, env, this.turns, this)
  }

  setDeadline(name: DeadlineName, at: Milliseconds): void {
    if (this.sa.state !== 'closed') this.#deadlines.set(this, name, at)
  }

  clearDeadline(name: DeadlineName): void {
    this.#deadlines.clear(this, name)
  }

  /** Adds a piece of work (turns.ts). What it throws is our own mistake: it costs this IKE_SA and no other. */
  enqueue(work: () => void | Promise<void>): void {
    this.turns.enqueue(() => {
      try {
        return work()?.catch((error: unknown) => this.breakDown(error))
      } catch (error) {
        return this.breakDown(error)
      }
    })
  }

  /** Like enqueue, and resolves when the piece is over, however it ends. */
  run(work: () => void | Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      this.enqueue(async () => {
        try {
          await work()
        } finally {
          resolve()
        }
      })
    })
  }

  async breakDown(error: unknown): Promise<void> {
    this.env.report({ event: 'broken', sa: this.sa, error })
    await this.close('failed')
  }

  /**
   * Runs an own exchange when those before it are over (the window is one). Resolves when it has ended, also when the
   * IKE_SA was closed before it could begin. An exchange handles its own failures; what it throws all the same is our
   * mistake, and costs this IKE_SA and no other. `wanted`: what CHILD_SA it is to make for somebody who waits for it.
   */
  runExchange(exchange: OwnExchange, task: Task = 'probe', wanted?: WantedChild): Promise<void> {
    return new Promise((resolve) => {
      const run = (session: Session): Promise<void> =>
        exchange(session)
          .catch((error: unknown) => session.breakDown(error))
          .then(resolve)
      this.#tasks.push({ task, run, wanted })
      this.#startNextTask()
    })
  }

  /** Has MOBIKE find out or tell something, before all else that waits (strongSwan). */
  wantMobike(work: Partial<MobikeWork>): void {
    this.mobikeWork = merged(this.mobikeWork, work)
    if (this.#runningTask === 'mobike' || this.#tasks[0]?.task === 'mobike') return
    const run = (session: Session): Promise<void> =>
      this.#keeper.runMobike(session).catch((error: unknown) => session.breakDown(error))
    this.#tasks.unshift({ task: 'mobike', run })
    this.#startNextTask()
  }

  /** Part of WireDeadlines. */
  wayFound(way: Way): Promise<void> {
    return this.#keeper.wayFound(this, way)
  }

  /** Part of WireDeadlines. */
  heard(arrival: Arrival): Promise<void> | null {
    return this.#keeper.heard(this, arrival)
  }

  /** Part of WireDeadlines. */
  foundMalformed(): Promise<void> {
    return this.#keeper.foundMalformed(this)
  }

  /** Part of Prober (nat/adaptive.ts). */
  get isProbing(): boolean {
    return this.probes !== null && this.sa.state === 'established'
  }

  /** How often keepalives are needed is known better, or has become doubtful. */
  tellOfMapping(): void {
    this.#keeper.mappingLearnt(this.sa.local.address)
  }

  /** What own exchanges are under way and waiting, for people. */
  get tasks(): { readonly running: Task | null; readonly queued: readonly Task[] } {
    return { running: this.#runningTask, queued: this.#tasks.map(({ task }) => task) }
  }

  /** Resolves when `delay` is over, or the IKE_SA. */
  putOff(delay: Milliseconds, wanted: WantedChild | undefined): Promise<void> {
    if (this.sa.state === 'closed') return Promise.resolve()
    return new Promise((resume) => {
      this.#putOff = [...this.#putOff, { at: this.env.clock.now() + delay, wanted, resume }]
      this.#armRetry()
    })
  }

  /** The deadline for that was reached. */
  resume(): void {
    const now = this.env.clock.now()
    const due = this.#putOff.filter(({ at }) => at <= now)
    this.#putOff = this.#putOff.filter(({ at }) => at > now)
    this.#armRetry()
    for (const { resume } of due) resume()
  }

  #armRetry(): void {
    if (this.#putOff.length > 0) this.setDeadline('retry', Math.min(...this.#putOff.map(({ at }) => at)))
  }

  get putOffs(): readonly PutOff[] {
    return this.#putOff
  }

  /** The CHILD_SAs that somebody waits for and the peer had no time for. */
  get wantedLater(): readonly WantedChild[] {
    return this.#putOff.map(({ wanted }) => wanted).filter((wanted) => wanted !== undefined)
  }

  /** The IKE_SA that it has become by rekeys, which may be itself. */
  get last(): Session {
    return this.successor?.last ?? this
  }

  /** It stands and is about to go: it is to be deleted when what is under way is over, or goes for another one. */
  get isLeaving(): boolean {
    const isToGo = this.#runningTask === 'delete-ike' || this.#tasks.some(({ task }) => task === 'delete-ike')
    return isToGo || this.yields !== null
  }

  /** The CHILD_SAs that somebody waits for: the one that is being made, and those that come after it. */
  get wanted(): readonly WantedChild[] {
    return [this.#making, ...this.#tasks.map(({ wanted }) => wanted)].filter((wanted) => wanted !== undefined)
  }

  /** Also sees to what they hold up, and to the time that they have. */
  setHalfMade(halfMade: readonly HalfMade[]): void {
    this.halfMade = halfMade.length === 0 ? NONE_HALF_MADE : halfMade
    if (halfMade.length === 0) this.clearDeadline('follow-up')
    else this.setDeadline('follow-up', Math.min(...halfMade.map(({ until }) => until)))
    // Its turn came while the peer's request was being answered.
    if (this.isBeingReplaced && this.#unbegun !== null && OF_CHILDREN.has(this.#unbegun.task)) this.#takeBack()
    this.#startNextTask()
  }

  /** The peer is about to replace the IKE_SA, and has key exchanges to do before it has. */
  get isBeingReplaced(): boolean {
    return this.halfMade.some(({ making }) => making.replaces === 'ike')
  }

  /** The task whose turn has come waits again, as the first. */
  #takeBack(): void {
    if (this.#unbegun === null) return
    this.#tasks.unshift(this.#unbegun)
    this.#unbegun = null
    this.#runningTask = null
    this.#making = undefined
  }

  #startNextTask(): void {
    if (this.#runningTask !== null) return
    const at = this.#tasks.findIndex(({ task }) => !this.isBeingReplaced || !OF_CHILDREN.has(task))
    const [next] = at < 0 ? [] : this.#tasks.splice(at, 1)
    if (next === undefined) return
    this.#runningTask = next.task
    this.#making = next.wanted
    this.#unbegun = next
    this.turns.enqueue(() => {
      // It has gone over to the IKE_SA that replaced this one.
      if (this.#unbegun !== next) return
      this.#unbegun = null
      return this.turns.drive(() => {
        void next.run(this).then(() => {
          this.#runningTask = null
          this.#making = undefined
          this.#startNextTask()
          this.turns.park()
        })
      })
    })
  }

  /** It is to replace another IKE_SA, and does not stand yet: nobody outside knows of it. */
  get isSuccessor(): boolean {
    return this.predecessor !== null && this.sa.state === 'connecting'
  }

  /** A responder knows now who the peer is, and by that which connection it is; another round may show that it is another one. */
  useConnection(connection: Connection): void {
    if (connection === this.sa.connection) return
    if (this.sa.connection !== null) this.#keeper.disconnected(this)
    this.sa.connection = connection
    this.#keeper.connected(this)
  }

  /** A new IKE_SA that is to replace this one, for whoever began the exchange. */
  openSuccessor(role: Role): Session {
    const successor = this.#keeper.successorOf(this, role)
    successor.predecessor = this
    successor.sa.originalRole = this.sa.originalRole
    successor.sa.localId = this.sa.localId
    successor.sa.remoteId = this.sa.remoteId
    successor.sa.nat = this.sa.nat
    successor.sa.interfaceIds = this.sa.interfaceIds
    successor.sa.path = this.sa.path
    // It is negotiated once, in IKE_SA_INIT (strongSwan).
    successor.sa.fragmentation = this.sa.fragmentation
    return successor
  }

  /** Another IKE_SA with the same peer, from the beginning, with one CHILD_SA if any. Rejects with an EspalierError. */
  initiateAnew(child: ChildConnection | null, asked: AskedTraffic | undefined): Promise<Session> {
    return this.#keeper.initiateAnew(this, child, asked)
  }

  /** The same with the gateway that this one sent us to. */
  initiateRedirected(gateway: GatewayIdentity, child: ChildConnection | null, asked: AskedTraffic | undefined): Promise<Session> {
    return this.#keeper.initiateRedirected(this, gateway, child, asked)
  }

  /** The same with the peer wherever its connection finds it. */
  initiateElsewhere(child: ChildConnection, asked: AskedTraffic, standIn: () => Session | null): Promise<Session> {
    return this.#keeper.initiateElsewhere(this, child, asked, standIn)
  }

  /** The peer does not answer: the end. */
  losePeer(): Promise<void> {
    return this.#keeper.peerLost(this)
  }

  /** Other IKE_SAs with the same peer that stand. */
  get twins(): readonly Session[] {
    return this.sa.remoteId === null ? [] : this.twinsWith(this.sa.remoteId)
  }

  /** The same, before the peer has said who it is. */
  twinsWith(remoteId: Identity): readonly Session[] {
    return this.#keeper.twinsOf(this, remoteId)
  }

  /** Others of its connection, whatever their state. */
  get siblings(): readonly Session[] {
    return this.#keeper.siblingsOf(this)
  }

  /** From now on `successor` is the IKE_SA: it gets the CHILD_SAs and what waits to be done (RFC 7296 2.8). */
  handOver(successor: Session): void {
    const { sa, env } = this
    assert(sa.state === 'established', 'only an IKE_SA that stands is replaced')
    sa.state = 'rekeyed'
    successor.predecessor = null
    // It may have moved since the exchange began.
    successor.sa.local = sa.local
    successor.sa.remote = sa.remote
    successor.sa.nat = sa.nat
    successor.sa.mobike = inherited(sa.mobike)
    successor.sa.takesRedirect = sa.takesRedirect
    successor.redirections = this.redirections
    successor.sa.isStale = sa.isStale
    successor.mobikeWork = this.mobikeWork
    this.mobikeWork = null
    successor.sa.state = 'established'
    successor.sa.established = env.clock.now()
    successor.sa.begun = sa.begun
    successor.sa.firstSpi = sa.firstSpi
    // The rekey went out a moment ago.
    successor.sa.lastOutbound = sa.lastOutbound
    successor.sa.lastInbound = Math.max(successor.sa.lastInbound, sa.lastInbound)
    successor.isReauthenticating = this.isReauthenticating
    successor.heir = this.heir
    successor.espSeen = this.espSeen
    successor.sa.virtualAddresses = sa.virtualAddresses
    successor.sa.nameServers = sa.nameServers
    successor.sa.leases = sa.leases
    sa.leases = []
    for (const child of sa.children) {
      successor.sa.children.push(child)
      this.#keeper.childAdopted(successor, child)
      env.traffic.transfer(child.claim, sa, successor.sa)
    }
    sa.children.length = 0
    for (const name of ['keepalive', 'liveness', 'children', 'rekey', 'reauth'] as const) this.clearDeadline(name)
    successor.armChildren()
    // Its turn came while the peer's request to rekey the IKE_SA was being answered; another rekey is nobody's wish.
    if (this.#unbegun?.task !== 'rekey-ike') this.#takeBack()
    const waiting = this.#tasks
    this.#tasks = []
    // What was to be made with keys of the old one.
    const halfMade = this.halfMade
    this.setHalfMade([])
    for (const half of halfMade) void half.abandon()
    if (this.yields?.isTie === true) {
      successor.yields = this.yields
      const superseded = this.deadlines.superseded?.at
      if (superseded !== undefined) successor.setDeadline('superseded', superseded)
    }
    env.report({ event: 'ike-rekeyed', old: sa, sa: successor.sa })
    this.successor = successor
    successor.elder = this
    successor.#tasks.push(...waiting)
    successor.#startNextTask()
  }

  /**
   * Of an IKE_SA that we make in the place of another: its peer may be there before us, and what it says is for later.
   * False if that cannot be, or there is no room for it.
   */
  keepForLater(arrival: Arrival): boolean {
    const { header } = arrival.message
    if (!this.isSuccessor || this.sa.role !== 'initiator' || this.sa.keys !== null) return false
    if (header.response || header.messageId !== 0) return false
    this.#early ??= new Early()
    return this.#early.keep(arrival)
  }

  /** It stands. */
  hearEarly(): void {
    const arrivals = this.#early?.arrivals ?? []
    this.#early = null
    for (const arrival of arrivals) this.#keeper.arrived(this, arrival)
  }

  /** Adds a CHILD_SA that is installed, and tells so. */
  adopt(child: ChildSa, replaced: ChildSa | null = null): void {
    const { sa, env } = this
    sa.children.push(child)
    if (replaced !== null) child.health.inherit(replaced.health)
    if (child.idleAt !== null || child.dueAt !== null) this.armChildren()
    // When it was due it had no CHILD_SA to make anew (reauthenticate.ts).
    const isDue = sa.state === 'established' && sa.reauthAt !== null && this.deadlines.reauth === null
    if (isDue && !this.isReauthenticating) this.setDeadline('reauth', env.clock.now())
    this.#keeper.childAdopted(this, child)
    if (replaced === null) env.report({ event: 'child-established', sa, child })
    else env.report({ event: 'child-rekeyed', sa, old: replaced, child })
  }

  /** The peer deleted it before we had it, which is followed when what is under way waits for the wire. */
  loseChild(child: ChildSa): void {
    this.enqueue(() => this.#keeper.childLost(this, child))
  }

  /** Sets the deadline for the next of the CHILD_SAs that something is due of. */
  armChildren(): void {
    let next: Milliseconds | null = null
    for (const { dueAt, idleAt } of this.sa.children)
      for (const at of [dueAt, idleAt]) if (at !== null && (next === null || at < next)) next = at
    if (next === null) this.clearDeadline('children')
    else this.setDeadline('children', next)
  }

  /** Nothing is sent any more on this one: those in other IKE_SAs that waited for that take over (make-before-break.ts). */
  async relieve(old: ChildSa): Promise<void> {
    for (const twin of this.twins) for (const child of twin.sa.children) if (child.relieves === old) await twin.activate(child)
  }

  /** From now on its successor is what we send on. */
  async activate(successor: ChildSa): Promise<void> {
    const isDone = await this.#unlessRefused(
      this.env.books.activate(successor.installed).then((isNew) => {
        if (isNew) this.env.report({ event: 'child-activated', sa: this.sa, child: successor })
      }),
    )
    // One that waits for the end of another is looked at anyway.
    if (isDone || successor.relieves !== null) return
    successor.dueAt = this.env.clock.now() + retryDelay(this.env.entropy)
    this.armChildren()
  }

  /**
   * The peer has let go of a CHILD_SA that was replaced: nothing is sent on it any more, and what the peer sent before
   * is let in for a while (RFC 7296 2.8).
   */
  async retireChild(child: ChildSa): Promise<void> {
    await this.stopChild(child)
    child.state = 'deleted'
    child.dueAt = this.env.clock.now() + this.env.settings().deleteRekeyedDelay
    this.armChildren()
  }

  /** Nothing is sent on it any more; on its successor from now on, if the peer made one. */
  async stopChild(child: ChildSa): Promise<void> {
    await this.relieve(child)
    if (child.successor !== null) await this.activate(child.successor)
    child.successor = null
    await this.#unlessRefused(this.env.books.retire(child.installed))
  }

  /** What the kernel refuses on the way is told and no reason to stop: the books try again what is to go. */
  async #unlessRefused(change: Promise<unknown>): Promise<boolean> {
    try {
      await change
      return true
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.env.report({ event: 'kernel-refused', error })
      return false
    }
  }

  /** Takes a CHILD_SA out of the books and the kernel. */
  async closeChild(child: ChildSa, reason: CloseReason): Promise<void> {
    const at = this.sa.children.indexOf(child)
    if (at < 0) return
    this.sa.children.splice(at, 1)
    this.#keeper.childDropped(this, child)
    // The peer takes back what it had made in place of another: that one stays.
    for (const other of this.sa.children) {
      if (other.successor !== child) continue
      other.successor = null
      other.rivalNonce = null
      if (other.state !== 'rekeyed') continue
      other.state = 'installed'
      // The kernel may have asked for another one meanwhile, and does not ask again.
      if (other.expiry === 'none' && other.relieves === null) continue
      other.dueAt = this.env.clock.now()
      this.armChildren()
    }
    await this.relieve(child)
    // The kernel threw it away before the peer, who replaced it, deleted it.
    if (child.successor !== null && this.sa.state !== 'closed') await this.activate(child.successor)
    // With the states go their counters.
    const usage = await this.usageOf(child)
    await this.#unlessRefused(this.env.books.remove(child.installed))
    if (child.connection.reqid === 0) this.env.books.reqids.release(child.claim)
    this.env.traffic.release(child.claim, this.sa)
    this.env.separations.release(child.separation)
    this.env.report({ event: 'child-closed', sa: this.sa, child, reason, usage })
  }

  /** What a CHILD_SA has carried; null when the kernel has it no more, or will not tell: no IKE_SA is worth losing over that. */
  async usageOf(child: ChildSa): Promise<ChildUsage | null> {
    try {
      return await this.env.books.usage(child.installed)
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.env.report({ event: 'kernel-refused', error })
      return null
    }
  }

  /**
   * The end: no deadline, no waiting exchange, nothing in the kernel, no key left. The first reason counts; whoever
   * closes it again waits for the same end.
   */
  close(reason: CloseReason): Promise<void> {
    this.#closing ??= this.#close(reason)
    return this.#closing
  }

  async #close(reason: CloseReason): Promise<void> {
    this.sa.state = 'closed'
    this.#deadlines.clearAll(this)
    this.exchanges.abandon()
    this.#early = null
    const putOff = this.#putOff
    this.#putOff = NONE_PUT_OFF
    for (const { resume } of putOff) resume()
    this.#keeper.closed(this)
    this.dropOpening()
    const { halfMade } = this
    this.setHalfMade([])
    const rival = this.ikeRekey?.rival?.session
    this.ikeRekey = null
    this.predecessor = null
    if (this.successor?.elder === this) this.successor.elder = this.elder
    // What the peer made to replace an IKE_SA that is over has nothing to take over.
    rival?.enqueue(() => rival.close(reason))
    for (const half of halfMade) await half.abandon()
    for (const child of [...this.sa.children]) await this.closeChild(child, reason)
    assert(this.sa.children.length === 0, 'a closed IKE_SA has no CHILD_SA')
    for (const lease of this.sa.leases) this.env.leases.release(lease)
    this.sa.leases = []
    this.sa.keys?.destroy()
    this.sa.keys = null
    this.env.report({ event: 'ike-closed', sa: this.sa, reason })
  }

  /**
   * Goes without a word and leaves everything as it is, in the kernel and with the peer: another program goes on with it
   * (record.ts). What comes for it from now on comes for nobody.
   */
  leave(): void {
    this.env.report({ event: 'ike-left', sa: this.sa })
    this.sa.state = 'closed'
    this.#deadlines.clearAll(this)
    this.exchanges.abandon()
    this.#keeper.closed(this)
    this.sa.keys?.destroy()
    this.sa.keys = null
  }

  /**
   * For IKE_AUTH: waits for what is done in another thread or by another host, for as long as a half-open IKE_SA has;
   * rejects then (interrupt). The piece of work goes on meanwhile, so that nothing else happens to this IKE_SA; what
   * others do is not held up.
   */
  elsewhere<Answer>(work: Promise<Answer>): Promise<Answer> {
    const { env, deadlines } = this
    const isOurTime = deadlines['half-open'] === null
    if (isOurTime) this.setDeadline('half-open', env.clock.now() + env.settings().halfOpenTimeout)
    const waiting = new Promise<Answer>((resolve, reject) => {
      this.#interrupt = reject
      work.then(resolve, reject)
    })
    return waiting.finally(() => {
      this.#interrupt = null
      if (isOurTime) this.clearDeadline('half-open')
    })
  }

  get isElsewhere(): boolean {
    return this.#interrupt !== null
  }

  /** The time for what is waited for elsewhere is over. False if nothing is. */
  interrupt(why: EspalierError): boolean {
    const interrupt = this.#interrupt
    this.#interrupt = null
    interrupt?.(why)
    return interrupt !== null
  }

  /** IKE_AUTH is over, one way or the other. */
  dropOpening(): void {
    this.opening = null
    this.responding = null
    this.clearDeadline('half-open')
  }

  toString(): string {
    return `${this.sa.connection?.name ?? '(unnamed)'}[${this.sa.uniqueId}]`
  }
}
