/**
 * Traps and shunts: policies of children without a CHILD_SA. A trap has the kernel ask for a CHILD_SA when a packet
 * wants one, and holds the packet's flow back until then; a shunt lets traffic pass in the clear, or drops it
 * (strongSwan: trap_manager.c, shunt_manager.c).
 *
 * For each child there is what is wanted and what is in force, and one piece of work that makes the latter the former.
 * So what is taken away and wanted again at once, as by a new configuration, is replaced without a moment in which
 * packets leave in the clear.
 */
import { isDeepStrictEqual } from 'node:util'

import { EspalierError } from '../base/errors.ts'
import { IpAddress, IpRange } from '../base/ip.ts'
import { answerPacket } from '../ike/answer-packet.ts'
import { carries, packetFirst, trafficOfPacket, type PacketTraffic } from '../ike/asked-traffic.ts'
import { claimOf } from '../ike/child.ts'
import { isShunt, type ChildConnection, type Connection } from '../ike/connection.ts'
import { isLost } from '../ike/create-child.ts'
import type { Environment, SeparationKeeper, TrapKeeper } from '../ike/environment.ts'
import type { IkeEvent } from '../ike/events.ts'
import { NotInitiated } from '../ike/failure.ts'
import { endpointsOf } from '../ike/initiate.ts'
import type { IkeSa } from '../ike/sa.ts'
import type { Session } from '../ike/session.ts'
import type { Books, InstalledPolicies } from '../kernel/books.ts'
import { shuntPolicies, trapPolicies } from '../kernel/policies.ts'
import { UNSEPARATED, type Separation } from '../kernel/separation.ts'
import { KernelError, type KernelEvent } from '../kernel/vocabulary.ts'
import { resolveTemplate, type SelectorTemplate, type TrafficSelector } from '../negotiate/selectors.ts'
import type { Open } from './initiations.ts'

export interface TrapEnvironment extends Pick<Environment, 'network' | 'host' | 'ports'> {
  readonly books: Books
  readonly separations: SeparationKeeper
  readonly open: Open
  sessionsOf(connection: string): readonly Session[]
  report(event: IkeEvent): void
}

/** Of a tunnel that there is none of yet. */
interface Ends {
  readonly local: IpAddress
  readonly remote: IpAddress
}

interface Wanted {
  readonly connection: Connection
  readonly child: ChildConnection
  /** Known where there was an IKE_SA; null = whatever they are, to be found out. */
  readonly ends: Ends | null
}

/** What is in the kernel for a child. */
export interface PoliciesInForce extends Wanted {
  /** 0 for a shunt, which has no ends either. */
  readonly reqid: number
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly separation: Separation
}

interface InForce extends PoliciesInForce {
  readonly installed: InstalledPolicies
  /** Under which the reqid was handed out; null if it was configured, or there is none. */
  readonly reqidKey: string | null
}

interface Entry {
  wanted: Wanted | null
  inForce: InForce | null
  /** Resolves to why what was wanted last cannot be had; null while nothing is to be done. */
  work: Promise<EspalierError | null> | null
}

/** A packet that waits. */
interface Acquire {
  readonly packet: PacketTraffic
  /** The kernel's latest question: an earlier one may have run out. */
  sequence: number
}

/** How often an IKE_SA that turns out to be gone is replaced by another one, for one packet. */
const ATTEMPTS_MAX = 3

const ANY_RANGES = ['0.0.0.0/0', '::/0'].map((text) => IpRange.parse(text))
const UNSPECIFIED_V4 = IpAddress.parse('0.0.0.0')
const UNSPECIFIED_V6 = IpAddress.parse('::')

export class Traps implements TrapKeeper {
  readonly #env: TrapEnvironment
  /** By the names of connection and child, in the order they came. */
  readonly #entries = new Map<string, Entry>()
  /** By the reqid of the trap: one at a time. */
  readonly #acquires = new Map<number, Acquire>()
  /** Rejects when it comes. */
  readonly #stopped = Promise.withResolvers<never>()
  #isStopped = false

  constructor(env: TrapEnvironment) {
    this.#env = env
    this.#stopped.promise.catch(() => undefined)
  }

  /** Traps and shunts that are in the kernel, oldest first. */
  inForce(): readonly PoliciesInForce[] {
    return [...this.#entries.values()].flatMap(({ inForce }) => inForce ?? [])
  }

  has(connection: string, child: string): boolean {
    return this.#entries.has(key(connection, child))
  }

  /** Wants the policies of a child, in the place of those of its name. Rejects with the EspalierError that was reported. */
  async install(connection: Connection, child: ChildConnection, ends: Ends | null = null): Promise<void> {
    if (this.#isStopped) throw shuttingDown()
    const name = key(connection.name, child.name)
    const entry = this.#entries.get(name) ?? { wanted: null, inForce: null, work: null }
    this.#entries.set(name, entry)
    entry.wanted = { connection, child, ends }
    const error = await this.#settle(name, entry)
    if (error !== null) throw error
  }

  /** Part of TrapKeeper. */
  async set(sa: IkeSa, child: ChildConnection): Promise<void> {
    if (sa.connection === null || isShunt(child)) return
    const ends = { local: sa.local.address, remote: sa.remote.address }
    try {
      await this.install(sa.connection, child, ends)
    } catch (error) {
      // It was reported when it happened.
      if (!(error instanceof EspalierError)) throw error
    }
  }

  /** Wants them no more. Resolves to false if there are none. */
  async uninstall(connection: string, child: string): Promise<boolean> {
    const name = key(connection, child)
    const entry = this.#entries.get(name)
    if (entry === undefined || entry.wanted === null) return false
    entry.wanted = null
    await this.#settle(name, entry)
    return true
  }

  /** Takes all of them away, for good. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#stopped.reject(shuttingDown())
    for (const entry of this.#entries.values()) entry.wanted = null
    await Promise.all([...this.#entries].map(([name, entry]) => this.#settle(name, entry)))
  }

  /** Part of TrapKeeper. Whoever asks answers the question; another may follow then. */
  questionFor(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): number {
    for (const [reqid, { packet, sequence }] of this.#acquires) {
      if (!carries(local, remote, packet)) continue
      this.#acquires.delete(reqid)
      return sequence
    }
    return 0
  }

  /** Part of TrapKeeper. */
  separationOf(connection: string, child: string): Separation | null {
    const inForce = this.#entries.get(key(connection, child))?.inForce ?? null
    return inForce === null || inForce.reqid === 0 ? null : inForce.separation
  }

  /** The kernel asks for a CHILD_SA. */
  handleAcquire({ reqid, sequence, packet }: Extract<KernelEvent, { event: 'acquire' }>): void {
    const trap = this.inForce().find((candidate) => candidate.reqid === reqid)
    const pending = this.#acquires.get(reqid)
    if (pending !== undefined) pending.sequence = sequence
    if (trap === undefined || pending !== undefined || this.#isStopped)
      return this.#env.report({ event: 'acquire-ignored', reqid, why: pending === undefined ? 'unknown' : 'pending' })
    const acquire = { packet: trafficOfPacket(packet), sequence }
    this.#acquires.set(reqid, acquire)
    void this.#negotiate(trap, acquire.packet).then(() => {
      if (this.#acquires.get(reqid) === acquire) this.#acquires.delete(reqid)
    })
  }

  /** For the packet, in the IKE_SA that there is or a new one. What comes of it is reported. */
  async #negotiate({ connection, child }: PoliciesInForce, packet: PacketTraffic): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const session = this.#usable(connection)
      try {
        if (session === null) await this.#env.open(connection, child, { asked: packetFirst(child, packet) })
        else await answerPacket(session, child, packet)
        return
      } catch (error) {
        if (!(error instanceof EspalierError)) throw error
        // What became of an IKE_SA was reported when it did.
        if (error instanceof NotInitiated) this.#env.report({ event: 'not-initiated', connection: connection.name, error })
        // It was not there any more, or its peer was not: perhaps that of a new one is.
        if (session === null || !isLost(error)) return
      }
    }
  }

  /** The IKE_SA of the connection that stands, or is being made by us (strongSwan: checkout_by_config). */
  #usable(connection: Connection): Session | null {
    const isUsable = ({ sa, isLeaving, isSuccessor }: Session): boolean =>
      (sa.state === 'connecting' ? sa.role === 'initiator' && !isSuccessor : sa.state === 'established' && !isLeaving) &&
      isDeepStrictEqual(sa.connection, connection)
    return this.#env.sessionsOf(connection.name).find(isUsable) ?? null
  }

  #settle(name: string, entry: Entry): Promise<EspalierError | null> {
    entry.work ??= this.#reconcile(name, entry)
    return entry.work
  }

  async #reconcile(name: string, entry: Entry): Promise<EspalierError | null> {
    // Whoever calls may go on to want something else.
    await Promise.resolve()
    let failure: EspalierError | null = null
    while (!isFulfilled(entry)) {
      const { wanted, inForce } = entry
      failure = null
      try {
        entry.inForce = wanted === null ? null : await this.#putInForce(wanted)
      } catch (error) {
        if (!(error instanceof EspalierError)) throw error
        failure = error
        const { connection, child } = wanted!
        this.#env.report({ event: 'policies-failed', connection: connection.name, child, error })
        // What is in force stays: better the old one than none.
        if (entry.wanted === wanted) entry.wanted = inForce
        continue
      }
      if (inForce !== null) await this.#takeOut(inForce)
      const { connection, child } = (wanted ?? inForce)!
      const change = wanted === null ? 'removed' : inForce === null ? 'installed' : 'replaced'
      this.#env.report({ event: 'policies-changed', connection: connection.name, child, change })
    }
    entry.work = null
    if (entry.wanted === null) this.#entries.delete(name)
    return failure
  }

  /** Throws an EspalierError after everything of it is gone. */
  async #putInForce({ connection, child, ends: known }: Wanted): Promise<InForce> {
    const { books, separations } = this.#env
    const owner = `${connection.name}/${child.name}`
    const { mode, priority } = child
    if (mode === 'pass' || mode === 'drop') {
      const localSelectors = child.localSelectors.flatMap(anywhere)
      const remoteSelectors = child.remoteSelectors.flatMap(anywhere)
      const installed = await books.installPolicies(owner, shuntPolicies({ mode, priority, localSelectors, remoteSelectors }))
      const shunt = { ends: null, reqid: 0, reqidKey: null, separation: UNSEPARATED }
      return { connection, child, localSelectors, remoteSelectors, installed, ...shunt }
    }
    const ends = known ?? (await this.#endsOf(connection, child))
    const localSelectors = child.localSelectors.flatMap((template) => resolveTemplate(template, [ends.local]))
    const remoteSelectors = child.remoteSelectors.flatMap((template) => resolveTemplate(template, [ends.remote]))
    // A CHILD_SA with the same traffic has the same one.
    // Marks that were chosen for a CHILD_SA are its own; a trap has what is configured.
    const separation = separations.configured(child, separations.interfaceIdsOf(connection))
    const reqidKey = child.reqid === 0 ? claimOf(localSelectors, remoteSelectors, separation) : null
    const reqid = reqidKey === null ? child.reqid : books.reqids.allocate(reqidKey)
    try {
      const policies = trapPolicies({ mode, priority, reqid, ...ends, localSelectors, remoteSelectors, separation })
      const installed = await books.installPolicies(owner, policies)
      return { connection, child, ends, reqid, reqidKey, localSelectors, remoteSelectors, separation, installed }
    } catch (error) {
      if (reqidKey !== null) books.reqids.release(reqidKey)
      throw error
    }
  }

  async #takeOut({ installed, reqidKey }: InForce): Promise<void> {
    try {
      await this.#env.books.removePolicies(installed)
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.#env.report({ event: 'kernel-refused', error })
    }
    if (reqidKey !== null) this.#env.books.reqids.release(reqidKey)
  }

  /**
   * The ends of a tunnel to come. A host name that has no address yet does not matter to a trap whose selectors say it
   * all: what it holds back waits as well (strongSwan).
   */
  async #endsOf(connection: Connection, child: ChildConnection): Promise<Ends> {
    try {
      const { local, remote } = await Promise.race([endpointsOf(this.#env, connection, null), this.#stopped.promise])
      return { local: local.address, remote: remote.address }
    } catch (error) {
      const isNameless = connection.remoteAddresses.some(({ kind }) => kind === 'host')
      const needsAddress = [...child.localSelectors, ...child.remoteSelectors].some(({ range }) => range === null)
      if (!(error instanceof NotInitiated) || !isNameless || needsAddress || child.mode !== 'tunnel') throw error
      const unknown = child.remoteSelectors[0]?.range?.family === 6 ? UNSPECIFIED_V6 : UNSPECIFIED_V4
      return { local: unknown, remote: unknown }
    }
  }
}

function shuttingDown(): EspalierError {
  return new EspalierError('caller', 'SHUTTING_DOWN', 'the gateway is shutting down')
}

function key(connection: string, child: string): string {
  return JSON.stringify([connection, child])
}

function isFulfilled({ wanted, inForce }: Entry): boolean {
  if (wanted === null || inForce === null) return wanted === inForce
  const isSameEnd = (end: keyof Ends): boolean => wanted.ends === null || wanted.ends[end].equals(inForce.ends![end])
  return (
    isDeepStrictEqual(wanted.child, inForce.child) &&
    isDeepStrictEqual(wanted.connection, inForce.connection) &&
    (isShunt(wanted.child) || (isSameEnd('local') && isSameEnd('remote')))
  )
}

/** Packets that pass or are dropped do so from and to any address (strongSwan). */
function anywhere(template: SelectorTemplate): readonly TrafficSelector[] {
  return template.range === null ? ANY_RANGES.map((range) => ({ ...template, range })) : [{ ...template, range: template.range }]
}
