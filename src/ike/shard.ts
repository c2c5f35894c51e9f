/**
 * A shard: the table of IKE_SAs, and who gets which datagram and which deadline.
 *
 * The way of a datagram: marker -> header -> table by our own SPI (or strangers.ts) -> the IKE_SA's queue -> window and
 * protection (exchange.ts) -> the exchange's step -> answer (answering.ts).
 */
import type { Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import { Reader } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { Endpoint, type IpAddress } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { KernelError, type KernelEvent } from '../kernel/vocabulary.ts'
import type { Header } from '../message/ikev2/header.ts'
import { MalformedMessage } from '../message/ikev2/malformed.ts'
import { parseMessage } from '../message/ikev2/message.ts'
import type { GatewayIdentity } from '../message/ikev2/redirect.ts'
import { initialLocalPort, isMarkedMessage, KEEPALIVE, withMarker, withoutMarker } from '../nat/ports.ts'
import type { Way } from '../nat/path.ts'
import type { Datagram } from '../ports.ts'
import { endAtMistake, followChildDelete, losePeer } from './actions.ts'
import { answerRequest } from './answering.ts'
import { configuredTraffic, isCarriedBy, type AskedTraffic } from './asked-traffic.ts'
import type { ChildConnection, Connection } from './connection.ts'
import { handleChildDeadlines, handleHardExpiry, handleSoftExpiry } from './child-life.ts'
import { addChildLater } from './create-child.ts'
import { Deadlines, type DeadlineName } from './deadlines.ts'
import { deleteIkeSa, endLife } from './delete.ts'
import { tellInElder } from './elder.ts'
import type { Environment } from './environment.ts'
import { Established } from './established.ts'
import type { CloseReason, DropReason, IkeEvent } from './events.ts'
import { droppedEvent, type Arrival } from './exchange.ts'
import { authTooLate, refusedByPeer, told } from './failure.ts'
import { Farewells } from './farewells.ts'
import { forgetHalfMade, handleFollowUpDeadline } from './follow-up.ts'
import { HealthWatch, type Watched } from './health.ts'
import { initiate, wayTo, type InitiationOptions, type OpenSession } from './initiate.ts'
import { handleKeepalives, startKeepalives, type KeepaliveDue } from './keepalive.ts'
import { handleLiveness } from './liveness.ts'
import { isSoftLimitReached } from './lifetimes.ts'
import { runMobike } from './mobike.ts'
import { followMessage, handleMapping, handleMoveDeadline } from './moves.ts'
import { reauthenticate } from './reauthenticate.ts'
import { redirectionsOf } from './redirection.ts'
import { recordOf, resume, resumedChild, type IkeRecord } from './record.ts'
import { rekeyIkeSa } from './rekey-ike.ts'
import { roam, settle } from './roam.ts'
import { IkeSa, isUsable, type ChildSa, type Role } from './sa.ts'
import { SessionIndex } from './session-index.ts'
import { Session, type SessionKeeper } from './session.ts'
import { Strangers, type Host } from './strangers.ts'
import { broughtUpSince, renewed } from './ties.ts'
import { deleteSuperseded, exactRemoteId } from './uniqueness.ts'

/** Datagrams one IKE_SA may have waiting; a peer with a window of one needs a handful. */
const QUEUE_MAX = 32

/**
 * After a moment in which nothing could be done, thousands may be due: what they send must find room in the sockets, and
 * what has arrived meanwhile is heard in between.
 */
const DEADLINES_AT_ONCE = 500

export class Shard implements SessionKeeper, Host {
  readonly #env: Environment
  readonly #deadlines: Deadlines<Session>
  readonly #table = new Map<bigint, Session>()
  /** What is in the table, while that stays as it is. */
  #listed: readonly Session[] | null = null
  /** By inbound SPI, which is unique among all of ours: a flood of kernel events must not search every IKE_SA. */
  readonly #byChildSpi = new Map<number, Watched>()
  readonly #health: HealthWatch
  readonly #established = new Established()
  readonly #strangers: Strangers
  /** By the name of its connection, which a responder's has when the peer has authenticated. */
  readonly #byConnection = new SessionIndex()
  readonly #farewells = new Farewells()
  readonly #upstream: (event: IkeEvent) => void
  #isStopping = false

  /** `armed` hears of every new deadline (absolute), so that whoever has the real timer can move it forward. */
  constructor(env: Environment, armed: (at: Milliseconds) => void) {
    this.#env = {
      ...env,
      report: (event) => this.#report(event),
    }
    this.#upstream = (event) => env.report(event)
    this.#deadlines = new Deadlines(armed)
    this.#health = new HealthWatch(this.#env, this.#byChildSpi, armed)
    this.#strangers = new Strangers(this.#env, this)
  }

  sessions(): readonly Session[] {
    this.#listed ??= [...this.#table.values()]
    return this.#listed
  }

  /** Those of the connections of that name, whatever their state. */
  sessionsOf(connection: string): readonly Session[] {
    return this.#byConnection.get(connection)
  }

  get count(): number {
    return this.#table.size
  }

  /** Part of Host. */
  get isStopping(): boolean {
    return this.#isStopping
  }

  get halfOpenCount(): number {
    return this.#strangers.halfOpenCount
  }

  /** Deadlines set, of all IKE_SAs. */
  get deadlineCount(): number {
    return this.#deadlines.size
  }

  /** See initiate.ts. `opened` hears of every IKE_SA that is begun for it. */
  initiate(
    connection: Connection,
    child: ChildConnection | null,
    opened?: (session: Session) => void,
    options: InitiationOptions = {},
  ): Promise<Session> {
    const open: OpenSession = (local, remote, redirections) => {
      const session = this.#newSession('initiator', connection, local, remote)
      session.redirections = redirections
      session.isRenewal = options.between !== undefined
      this.#enter(session)
      opened?.(session)
      return session
    }
    const standIn = (way: Way): Session | null => this.#standIn(connection, child, way, options.asked)
    // One that is to replace another has that one beside it.
    const more = options.between === undefined ? { standIn } : {}
    const overtaking = (session: Session, since: Milliseconds): Session | null =>
      broughtUpSince(since, session, exactRemoteId(connection), this.sessionsOf(connection.name))
    return initiate(this.#env, open, connection, child, () => this.#isStopping, { overtaking, ...more, ...options })
  }

  /** The IKE_SA with the CHILD_SA that is to be made with a peer there, if that has brought it up itself meanwhile. */
  #standIn(connection: Connection, child: ChildConnection | null, { remote }: Way, asked?: AskedTraffic): Session | null {
    if (child === null) return null
    const has = ({ sa }: Session): boolean =>
      sa.state === 'established' &&
      sa.remote.address.equals(remote.address) &&
      sa.children.some(
        (made) =>
          made.connection === child &&
          isUsable(made) &&
          (asked === undefined || [asked, configuredTraffic(child)].some((traffic) => isCarriedBy(made, traffic, sa))),
      )
    return this.sessionsOf(connection.name).find(has) ?? null
  }

  /** Takes in what arrived on one of our sockets. Never throws: a stranger's bytes are nobody's exception. */
  handleDatagram(datagram: Datagram): void {
    const bytes = withoutMarker(datagram.bytes, datagram.local.port, this.#env.ports)
    // The kernel takes keepalives on the NAT-T socket; a stray one is harmless.
    if (datagram.bytes.length === 1 && datagram.bytes[0] === KEEPALIVE[0]) return this.#drop(datagram, 'keepalive', null)
    if (bytes === null) return this.#drop(datagram, 'not-ike', null)
    if (datagram.local.port === this.#env.ports.port && isMarkedMessage(bytes))
      return this.#drop(datagram, 'marker-on-ike-port', null)
    let arrival: Arrival
    try {
      arrival = { message: parseMessage(bytes), bytes, local: datagram.local, remote: datagram.remote }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      return this.#drop(datagram, 'malformed', null)
    }
    const { header } = arrival.message
    if (header.majorVersion !== 2) return this.#strangers.refuseVersion(arrival)
    if (header.exchangeType === ExchangeType.IKE_SA_INIT && !header.response) return this.#strangers.handleInit(arrival)
    const session = this.#table.get(header.fromInitiator ? header.responderSpi : header.initiatorSpi)
    if (session === undefined) return this.#sayFarewellAgain(arrival)
    if (header.fromInitiator !== (session.sa.role === 'responder')) return this.#drop(datagram, 'unknown-spi', header)
    // strongSwan: whoever asks again while its answer takes its time gets one answer, and costs nothing.
    if (session.isElsewhere && !header.response && header.messageId === session.answering)
      return this.#drop(datagram, 'being-answered', header)
    this.queue(session, arrival, () => this.#handleMessage(session, arrival))
  }

  /** Part of Host: has a datagram wait for its turn. */
  queue(session: Session, arrival: Arrival, work: () => void | Promise<void>): void {
    if (session.turns.waiting >= QUEUE_MAX) return this.#drop(arrival, 'queue-full', arrival.message.header)
    session.enqueue(work)
  }

  /** To a peer that did not hear our last answer; whatever else comes for an IKE_SA that is over is dropped. */
  #sayFarewellAgain(arrival: Arrival): void {
    const { header } = arrival.message
    const ownSpi = header.fromInitiator ? header.responderSpi : header.initiatorSpi
    const answer = header.response ? null : this.#farewells.answerTo(ownSpi, arrival.bytes, this.#env.clock.now())
    if (answer === null) return this.#drop(arrival, 'unknown-spi', header)
    for (const piece of answer)
      this.#env.network.send(withMarker(piece, arrival.local.port, this.#env.ports), arrival.local, arrival.remote)
  }

  /** Takes in news of the kernel. */
  handleKernelEvent(news: KernelEvent): void {
    const found = this.#childOf(news)
    if (news.event === 'expire' && found !== undefined)
      (news.hard ? handleHardExpiry : handleSoftExpiry)(found.session, found.child)
    if (news.event === 'overrun') void this.catchUp()
    // Told before, as what follows from it is.
    const tell = (): void => this.#env.report({ event: 'kernel-event', news, sa: found?.session.sa ?? null })
    if (news.event !== 'mapping') tell()
    else if (found !== undefined) {
      found.child.health.noteStrangeSource(news.to, this.#env.clock.now())
      handleMapping(found.session, news, tell)
    }
  }

  /** Events were lost, expiries perhaps among them. */
  async catchUp(): Promise<void> {
    try {
      for (const { child: installed, usage } of await this.#env.books.survey()) {
        const owner = this.#byChildSpi.get(installed.inbound.spi)
        if (owner === undefined || owner.child.installed !== installed) continue
        if (usage === null) handleHardExpiry(owner.session, owner.child)
        else if (isSoftLimitReached(owner.child, usage, this.#env.clock.now())) handleSoftExpiry(owner.session, owner.child)
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.#env.report({ event: 'kernel-refused', error })
    }
  }

  /** The CHILD_SA the news is about; of an outbound state, by its owner in the books. */
  #childOf(news: KernelEvent): { readonly session: Session; readonly child: ChildSa } | undefined {
    switch (news.event) {
      case 'mapping': {
        const found = this.#byChildSpi.get(news.spi)
        return found?.child.installed.inbound.destination.equals(news.destination) === true ? found : undefined
      }
      case 'expire': {
        const installed = this.#env.books.childOf(news.id)
        return installed === null ? undefined : this.#byChildSpi.get(installed.inbound.spi)
      }
      case 'acquire':
      case 'overrun':
        return undefined
    }
  }

  /** Our addresses, links or routes have changed (roam.ts). */
  handleRoam(addressesChanged: boolean): void {
    for (const session of this.#table.values()) session.enqueue(() => roam(session, addressesChanged))
    for (const local of this.#env.mappings.doubtAll()) this.mappingLearnt(local)
  }

  nextDeadline(): Milliseconds | null {
    const [deadline, look] = [this.#deadlines.next(), this.#health.next()]
    return deadline === null || look === null ? (deadline ?? look) : Math.min(deadline, look)
  }

  /** Sees to the deadlines that are due, so many at once; those that are left are the next (nextDeadline). */
  handleDeadlines(): void {
    this.#health.handleDeadline()
    const now = this.#env.clock.now()
    const keepalives: KeepaliveDue[] = []
    for (let i = 0; i < DEADLINES_AT_ONCE; i++) {
      const due = this.#deadlines.take(now)
      if (due === null) break
      const { owner: session, name, at } = due
      if (name === 'keepalive') keepalives.push({ session, at })
      // What IKE_AUTH waits for elsewhere holds up the queue of its IKE_SA.
      else if (name === 'half-open' && session.interrupt(authTooLate())) continue
      else session.enqueue(() => this.#handleDeadline(session, name))
    }
    if (keepalives.length > 0) handleKeepalives(this.#env.books, keepalives)
  }

  /** Deletes every IKE_SA with its peer; resolves when all are gone, however long their peers take. */
  async stop(reason: CloseReason): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.sessions().map((session) => this.#stopSession(session, reason)))
  }

  /**
   * Leaves every IKE_SA that rests, or comes to rest, to another program, and adds what that has to know of it to
   * `records`. Resolves when none is left that may still come to rest; there is no limit to the time that takes. Those
   * that are left then go as they would otherwise.
   */
  async leave(records: IkeRecord[]): Promise<void> {
    this.#isStopping = true
    await Promise.all(
      this.sessions().map(async (session) => {
        // The peer begins it anew with the other program, which is how it is made to wait for nothing here.
        await session.run(() => forgetHalfMade(session, () => true))
        // After all that is under way or waits.
        await session.runExchange(async (current) => {
          const { sa } = current
          forgetHalfMade(current, () => true)
          for (const child of [...sa.children]) if (child.state === 'deleted') await current.closeChild(child, 'rekeyed')
          const record = recordOf(current)
          if (record === null) return
          records.push(record)
          current.leave()
        })
      }),
    )
  }

  /**
   * Goes on with an IKE_SA that another program has left. `later`: record.ts, resume. False if that cannot be: its
   * connection has changed, or the record makes no sense; nothing of it is done then.
   */
  async resume(record: IkeRecord, connection: Connection, later: Milliseconds): Promise<boolean> {
    const { books, traffic, separations, clock, leases } = this.#env
    const { uniqueId, role, ownSpi, local, remote } = record
    if (this.#table.has(ownSpi)) return false
    const children = record.children.map((child) => ({
      record: child,
      connection: connection.children.find(({ name }) => name === child.connection),
    }))
    if (children.some((child) => child.connection === undefined)) return false
    const sa = new IkeSa(uniqueId, role, ownSpi, null, local, remote, record.created + later)
    const session = new Session(sa, this.#env, this.#deadlines, this)
    if (!resume(session, record, connection, later)) return false
    this.connected(session)
    this.#table.set(ownSpi, session)
    this.#strangers.resumed(session)
    this.#established.add(session)
    sa.leases = record.leases.filter((lease) => leases.resume(lease, remote))
    this.#env.report({ event: 'ike-resumed', sa })
    for (const { record: known, connection: childConnection } of children) {
      const { reqid } = known.installed
      if (childConnection!.reqid === 0 && !books.reqids.adopt(known.claim, reqid)) continue
      const installed = await this.#unlessRefused(books.adopt(known.installed))
      const child = resumedChild(known, childConnection!, installed, clock.now(), later)
      traffic.claim(child.claim, sa)
      await separations.hold(child.separation)
      sa.children.push(child)
      this.childAdopted(session, child)
      this.#env.report({ event: 'child-resumed', sa, child, isLost: installed === null })
      if (installed === null) handleHardExpiry(session, child)
    }
    session.armChildren()
    startKeepalives(session)
    for (const { connection: name, asked, at } of record.wanted) {
      const child = connection.children.find((known) => known.name === name)
      if (child === undefined) continue
      const delay = Math.max(0, at + later - clock.now())
      addChildLater(session, child, asked ?? undefined, delay).catch(told)
    }
    return true
  }

  async #unlessRefused<T>(change: Promise<T>): Promise<T | null> {
    try {
      return await change
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.#env.report({ event: 'kernel-refused', error })
      return null
    }
  }

  /** Closes whatever is left without another word to the peers. */
  async abandon(reason: CloseReason): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.sessions().map((session) => session.run(() => session.close(reason))))
  }

  async #stopSession(session: Session, reason: CloseReason): Promise<void> {
    // What is to replace another goes with that, or takes over and is deleted in its place.
    if (session.isSuccessor) return
    // What is not established yet has no peer to tell.
    session.interrupt(authTooLate())
    if (session.sa.state === 'connecting' || session.sa.isStale) return session.run(() => session.close(reason))
    await session.runExchange((current) => deleteIkeSa(current, reason), 'delete-ike')
  }

  async #handleDeadline(session: Session, name: Exclude<DeadlineName, 'keepalive'>): Promise<void> {
    if (session.sa.state === 'closed') return
    switch (name) {
      case 'retransmit':
        return session.exchanges.retransmit()
      case 'fragments':
        return session.exchanges.forgetFragments()
      case 'half-open':
        return session.close('half-open-timeout')
      case 'liveness':
        tellInElder(session)
        return handleLiveness(session)
      case 'children':
        return handleChildDeadlines(session)
      case 'rekey':
        return void session.runExchange(rekeyIkeSa, 'rekey-ike')
      case 'reauth':
        return reauthenticate(session)
      case 'over':
        return endLife(session)
      case 'superseded':
        return deleteSuperseded(session)
      case 'retry':
        return session.resume()
      case 'follow-up':
        return handleFollowUpDeadline(session)
      case 'move':
        return handleMoveDeadline(session)
    }
  }

  async #handleMessage(session: Session, arrival: Arrival): Promise<void> {
    if (session.sa.state === 'closed') return this.#drop(arrival, 'unknown-spi', arrival.message.header)
    if (arrival.message.header.response) {
      const accepted = session.exchanges.acceptResponse(arrival)
      if (accepted === 'done') return
      return typeof accepted === 'string' ? this.#drop(arrival, accepted, arrival.message.header) : accepted
    }
    // The peer stands already, and its answer to our IKE_AUTH was overtaken or lost: it will ask again (RFC 7296 2.1).
    const { role, state } = session.sa
    if (role === 'initiator' && state === 'connecting' && !session.isSuccessor)
      return this.#drop(arrival, 'unexpected', arrival.message.header)
    if (session.keepForLater(arrival)) return
    const request = session.exchanges.openRequest(arrival)
    if (request === 'done') return
    if (request instanceof Promise) return request
    if (typeof request === 'string') return this.#drop(arrival, request, arrival.message.header)
    // What the answer makes, a CHILD_SA say, is made where the IKE_SA is then.
    const moving = this.heard(session, arrival)
    if (moving !== null) await moving
    await answerRequest(session, request, this.#farewells)
  }

  /** Part of Host. */
  admit(local: Endpoint, remote: Endpoint): Session {
    const session = this.#newSession('responder', null, local, remote)
    this.#enter(session)
    return session
  }

  #newSession(role: Role, connection: Connection | null, local: Endpoint, remote: Endpoint): Session {
    const sa = new IkeSa(this.#env.nextIkeSaNumber(), role, this.#newSpi(), connection, local, remote, this.#env.clock.now())
    const session = new Session(sa, this.#env, this.#deadlines, this)
    if (connection !== null) this.connected(session)
    return session
  }

  #enter(session: Session): void {
    this.#table.set(session.sa.ownSpi, session)
    this.#listed = null
  }

  #newSpi(): bigint {
    for (;;) {
      const spi = new Reader(this.#env.entropy.bytes(8)).u64()
      if (spi !== 0n && !this.#table.has(spi)) return spi
    }
  }

  /** Part of SessionKeeper. */
  successorOf({ sa }: Session, role: Role): Session {
    const successor = this.#newSession(role, sa.connection, sa.local, sa.remote)
    this.#enter(successor)
    return successor
  }

  /** Part of SessionKeeper. */
  initiateAnew(session: Session, child: ChildConnection | null, asked: AskedTraffic | undefined): Promise<Session> {
    const { redirections } = session
    const { connection, local, remote } = session.sa
    assert(connection !== null, 'an IKE_SA that stands has a connection')
    const overtaking = (): Session | null =>
      asked === undefined ? null : renewed(session, asked, this.sessionsOf(connection.name))
    const options = { between: { local, remote }, redirections, overtaking, ...(asked === undefined ? {} : { asked }) }
    return this.initiate(connection, child, undefined, options)
  }

  /** Part of SessionKeeper. */
  async initiateRedirected(
    session: Session,
    gateway: GatewayIdentity,
    child: ChildConnection | null,
    asked: AskedTraffic | undefined,
  ): Promise<Session> {
    const { sa } = session
    const { connection } = sa
    assert(connection !== null, 'an IKE_SA that stands has a connection')
    try {
      const redirections = redirectionsOf(session)
      const between = await wayTo(this.#env, connection, gateway)
      const options = { between, redirections, ...(asked === undefined ? {} : { asked }) }
      return await this.initiate(connection, child, undefined, options)
    } catch (error) {
      if (error instanceof EspalierError) this.#env.report({ event: 'redirect-failed', sa, error })
      throw error
    }
  }

  /** Part of SessionKeeper. */
  initiateElsewhere(
    { sa: { connection, local, remote, remoteId } }: Session,
    child: ChildConnection,
    asked: AskedTraffic,
    standIn: () => Session | null,
  ): Promise<Session> {
    assert(connection !== null, 'an IKE_SA that stood has a connection')
    const overtaking = (session: Session, since: Milliseconds): Session | null =>
      broughtUpSince(since, session, remoteId, this.sessionsOf(connection.name))
    return this.initiate(connection, child, undefined, {
      // As if for the first time: the ports are those that IKE_SA_INIT goes between.
      otherwise: {
        local: new Endpoint(local.address, initialLocalPort(connection.localPort, connection.remotePort, this.#env.ports)),
        remote: new Endpoint(remote.address, connection.remotePort),
      },
      asked,
      standIn,
      overtaking,
    })
  }

  /** Part of SessionKeeper. */
  async childLost(session: Session, child: ChildSa): Promise<void> {
    if (!session.sa.children.includes(child)) return
    this.#env.report({ event: 'delete-received', sa: session.sa, child })
    await followChildDelete(session, child)
  }

  /** Part of SessionKeeper. */
  peerLost(session: Session): Promise<void> {
    return losePeer(session)
  }

  /** Part of SessionKeeper. */
  foundMalformed(session: Session): Promise<void> {
    this.#env.report({ event: 'ike-failed', sa: session.sa, error: refusedByPeer(NotifyType.INVALID_SYNTAX) })
    return endAtMistake(session)
  }

  /** Part of SessionKeeper. */
  twinsOf({ sa }: Session, remoteId: Identity): readonly Session[] {
    return this.#established.twinsOf(sa, remoteId)
  }

  /** Part of SessionKeeper. */
  siblingsOf(session: Session): readonly Session[] {
    const { connection } = session.sa
    return connection === null ? [] : this.sessionsOf(connection.name).filter((other) => other !== session)
  }

  /** Part of SessionKeeper. */
  childAdopted(session: Session, child: ChildSa): void {
    this.#byChildSpi.set(child.inboundSpi, { session, child })
    this.#health.handleChange()
  }

  /** Part of SessionKeeper. */
  childDropped(_session: Session, child: ChildSa): void {
    this.#byChildSpi.delete(child.inboundSpi)
    this.#health.handleChange()
  }

  /** Part of SessionKeeper. */
  runMobike(session: Session): Promise<void> {
    return runMobike(session)
  }

  /** Part of SessionKeeper. */
  wayFound(session: Session, way: Way): Promise<void> {
    return settle(session, way)
  }

  /** Part of SessionKeeper. */
  heard(session: Session, arrival: Arrival): Promise<void> | null {
    return followMessage(session, arrival)
  }

  /** Part of SessionKeeper. */
  arrived(session: Session, arrival: Arrival): void {
    session.enqueue(() => this.#handleMessage(session, arrival))
  }

  /** Part of SessionKeeper. */
  connected(session: Session): void {
    const { connection } = session.sa
    assert(connection !== null, 'an IKE_SA is told of when it has a connection')
    this.#byConnection.add(connection.name, session)
  }

  /** Part of SessionKeeper. */
  disconnected(session: Session): void {
    const { connection } = session.sa
    assert(connection !== null, 'a connection is given up for another one')
    this.#byConnection.remove(connection.name, session)
  }

  /** Part of SessionKeeper. */
  mappingLearnt(local: IpAddress): void {
    for (const session of this.#table.values()) {
      const { sa } = session
      if (sa.connection?.keepAlive === 'adaptive' && sa.local.address.equals(local))
        session.enqueue(() => startKeepalives(session))
    }
  }

  /** Part of SessionKeeper. */
  closed(session: Session): void {
    this.#table.delete(session.sa.ownSpi)
    this.#listed = null
    this.#strangers.closed(session)
    this.#established.remove(session)
    const { connection } = session.sa
    if (connection !== null) this.#byConnection.remove(connection.name, session)
  }

  #report(event: IkeEvent): void {
    // Though keepalives were sent: what is known of the NAT is not so.
    if (event.event === 'mapping-changed' && this.#env.mappings.doubt(event.sa.local.address))
      this.mappingLearnt(event.sa.local.address)
    if (event.event === 'ike-rekeyed') {
      const [old, session] = [this.#table.get(event.old.ownSpi), this.#table.get(event.sa.ownSpi)]
      assert(old !== undefined && session !== undefined, 'both IKE_SAs of a rekey are in the table')
      this.#established.remove(old)
      this.#established.add(session)
      // It was not known where the peer can be reached: the new one has to find out anew.
      if (old.exchanges.ways !== null) session.enqueue(() => roam(session, false))
    }
    if (event.event === 'ike-established') {
      const session = this.#table.get(event.sa.ownSpi)
      assert(session !== undefined, 'an IKE_SA is in the table when it is established')
      this.#strangers.established(session)
      this.#established.add(session)
    }
    this.#upstream(event)
  }

  #drop(way: { readonly local: Endpoint; readonly remote: Endpoint }, reason: DropReason, header: Header | null): void {
    this.#env.report(droppedEvent(way, reason, header))
  }
}
