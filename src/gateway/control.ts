/**
 * What somebody outside may have done to SAs: initiate and terminate them, by name or by number. What the life of an
 * IKE_SA cannot do yet is refused with a sentence that says so.
 *
 * Which connection, which SA, and what counts as success follow strongSwan (its controller and VICI's commands).
 */
import { isDeepStrictEqual } from 'node:util'

import { matchIdentity, type IdentityPattern } from '../auth/identity.ts'
import { EspalierError } from '../base/errors.ts'
import type { IpRange } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import { isShunt, type ChildConnection, type Connection, type IkeSettings } from '../ike/connection.ts'
import { addChild } from '../ike/create-child.ts'
import { deleteChildSa, deleteIkeSa, deleteUnheard } from '../ike/delete.ts'
import { reauthenticate } from '../ike/reauthenticate.ts'
import { redirectPeer } from '../ike/redirect.ts'
import { rekeyChild } from '../ike/rekey-child.ts'
import { rekeyIkeSa } from '../ike/rekey-ike.ts'
import { isStanding, type ChildSa, type IkeSa } from '../ike/sa.ts'
import type { Session } from '../ike/session.ts'
import type { GatewayIdentity } from '../message/ikev2/redirect.ts'
import type { Open } from './initiations.ts'
import { TIMED_OUT, type Timeouts } from './timeouts.ts'
import type { PoliciesInForce, Traps } from './traps.ts'

/** What is configured, by name: the first child of that name, in any connection or in one. */
export interface ConfigurationFilter {
  readonly ike: string | null
  readonly child: string | null
}

/** Which SAs; null = any. With a child's name or number CHILD_SAs are meant, else IKE_SAs. */
export interface SaFilter {
  readonly ike: string | null
  readonly ikeId: number | null
  readonly child: string | null
  readonly childId: number | null
}

/** Whom to send elsewhere: all that is given must fit; null = any. */
export interface RedirectSelector {
  readonly ike: string | null
  readonly ikeId: number | null
  readonly peerAddresses: IpRange | null
  readonly peerId: IdentityPattern | null
}

/** How long to wait: for the end, that long, or not at all. */
export type Patience = Milliseconds | 'for-ever' | 'not-at-all'

/** What the control needs of its gateway. */
export interface Controlled {
  connections(): readonly Connection[]
  settings(): IkeSettings
  sessions(): readonly Session[]
  sessionsOf(connection: string): readonly Session[]
  readonly open: Open
  readonly traps: Traps
  /** Resolves when the virtual addresses and routes of what stands are there. */
  inPlace(): Promise<void>
}

export type ControlCode =
  /** Nothing of that name is configured. */
  'NO_SUCH_CONFIGURATION' | 'INIT_LIMITS' | 'ALREADY_UP' | 'CHILD_FAILED'

export class ControlRefused extends EspalierError {
  override readonly name = 'ControlRefused'
  declare readonly code: ControlCode
  constructor(code: ControlCode, message: string) {
    super('caller', code, message)
  }
}

export interface Termination {
  /** SAs that were asked for. */
  readonly matches: number
  /** The IKE_SAs concerned, by number. */
  readonly ikeSas: ReadonlySet<number>
  /** Goes at it, and resolves to how many SAs are gone; with no patience, to how many were set going. */
  carryOut(): Promise<number>
}

export class Control {
  readonly #controlled: Controlled
  readonly #timeouts: Timeouts

  constructor(controlled: Controlled, timeouts: Timeouts) {
    this.#controlled = controlled
    this.#timeouts = timeouts
  }

  /** The connection and child that a name means; child null when none was asked for. */
  find({ ike, child }: ConfigurationFilter): { readonly connection: Connection; readonly child: ChildConnection | null } | null {
    for (const connection of this.#controlled.connections()) {
      if (ike !== null && ike !== connection.name) continue
      if (child === null) return { connection, child: null }
      const found = connection.children.find(({ name }) => name === child)
      if (found !== undefined) return { connection, child: found }
    }
    return null
  }

  /**
   * Brings up what the filter names. `opened` hears of every IKE_SA that is begun for it. Resolves when it stands and
   * packets find their way into it (strongSwan: virtual addresses and routes are there before the answer), or as soon as
   * it is under way for who has no patience, or to TIMED_OUT; it goes on then. Rejects with an EspalierError.
   */
  async initiate(
    filter: ConfigurationFilter,
    options: { readonly patience: Patience; readonly limits: boolean },
    opened: (ikeSa: number) => void,
  ): Promise<typeof TIMED_OUT | void> {
    const found = this.find(filter)
    if (found === null) throw new ControlRefused('NO_SUCH_CONFIGURATION', 'nothing of that name is configured')
    const { connection, child } = found
    const session = this.#usableSession(connection, child)
    if (options.limits) this.#enforceLimits()
    if (session !== null) {
      opened(session.sa.uniqueId)
      // strongSwan: what stands is what was asked for.
      if (child === null) return
      const added = addChild(session, child).then(() => this.#controlled.inPlace())
      // Nobody may be listening any more when it fails.
      added.catch(() => undefined)
      return options.patience === 'not-at-all' ? undefined : this.#wait(options.patience, added)
    }

    const underWay = Promise.withResolvers<void>()
    const standing = this.#controlled
      .open(connection, child, {
        opened: ({ sa }) => {
          opened(sa.uniqueId)
          underWay.resolve()
        },
        postponed: () => underWay.resolve(),
      })
      .then(({ sa }) => {
        // The IKE_SA may stand all the same; why its CHILD_SA does not was reported.
        if (child !== null && !sa.children.some((candidate) => candidate.connection.name === child.name))
          throw new ControlRefused('CHILD_FAILED', `the IKE_SA is up, but CHILD_SA ${child.name} failed`)
        return this.#controlled.inPlace()
      })
    // Nobody may be listening any more when it fails.
    standing.catch(() => undefined)
    if (options.patience === 'not-at-all') return Promise.race([underWay.promise, standing])
    return this.#wait(options.patience, standing)
  }

  /** Sets the trap or shunt of a child, in the place of the one there is. Rejects with an EspalierError. */
  async install(filter: ConfigurationFilter): Promise<void> {
    const found = this.find(filter)
    if (found === null || found.child === null)
      throw new ControlRefused('NO_SUCH_CONFIGURATION', 'nothing of that name is configured')
    await this.#controlled.traps.install(found.connection, found.child)
  }

  /** Takes away the first shunt, or else trap, of that name; false if there is none (strongSwan). */
  async uninstall({ ike, child }: ConfigurationFilter): Promise<boolean> {
    const named = this.policies().filter((one) => one.child.name === child && (ike === null || ike === one.connection.name))
    const first = named.find((one) => isShunt(one.child)) ?? named[0]
    return first !== undefined && this.#controlled.traps.uninstall(first.connection.name, first.child.name)
  }

  /** Traps and shunts, oldest first. */
  policies(): readonly PoliciesInForce[] {
    return this.#controlled.traps.inForce()
  }

  /** SAs that a filter names: CHILD_SAs with the IKE_SA they are of, or IKE_SAs. */
  matching(filter: SaFilter): readonly { readonly session: Session; readonly child: ChildSa | null }[] {
    const wantsChildren = filter.child !== null || filter.childId !== null
    return this.#controlled.sessions().flatMap((session): { readonly session: Session; readonly child: ChildSa | null }[] => {
      const { sa } = session
      if (!wantsChildren) {
        // strongSwan: name or number, where for CHILD_SAs all that is given must fit.
        const isMeant = (filter.ike !== null && filter.ike === ikeName(sa)) || filter.ikeId === sa.uniqueId
        // One that was replaced is about to go by itself, and would be counted beside its successor.
        return isMeant && sa.state !== 'rekeyed' && !session.isSuccessor ? [{ session, child: null }] : []
      }
      if (!fitsIke(sa, filter)) return []
      return sa.children.filter((child) => isStanding(child) && fitsChild(child, filter)).map((child) => ({ session, child }))
    })
  }

  /**
   * Deletes what the filter names with the peers, all at once. With `force` an IKE_SA goes whether or not its peer
   * answers: at once, or when the patience is over.
   */
  terminate(filter: SaFilter, options: { readonly patience: Patience; readonly force: boolean }): Termination {
    const found = this.matching(filter)
    return {
      matches: found.length,
      ikeSas: new Set(found.map(({ session }) => session.sa.uniqueId)),
      carryOut: async () => {
        const ends = found.map(({ session, child }) =>
          child === null ? this.#terminateIke(session, options) : this.#terminateChild(session, child, options.patience),
        )
        return (await Promise.all(ends)).filter(Boolean).length
      },
    }
  }

  /** Sets going that what the filter names is rekeyed, IKE_SAs reauthenticated if asked for, and tells how many SAs that are (strongSwan). */
  rekey(filter: SaFilter, isReauthentication: boolean): number {
    const found = this.matching(filter)
    for (const { session, child } of found) {
      if (child === null && isReauthentication) session.enqueue(() => reauthenticate(session))
      else if (child === null) void session.runExchange(rekeyIkeSa, 'rekey-ike')
      else void session.runExchange((current) => rekeyChild(current, child), 'rekey-child')
    }
    return found.length
  }

  /** Sets going that clients are sent to another gateway (RFC 5685), and tells how many IKE_SAs that are (strongSwan). */
  redirect(selector: RedirectSelector, gateway: GatewayIdentity): number {
    const { ike, ikeId, peerAddresses, peerId } = selector
    const found = this.#controlled.sessions().filter(({ sa }) => {
      const isThere = peerAddresses === null || peerAddresses.contains(sa.remote.address)
      const isWho = peerId === null || (sa.remoteId !== null && matchIdentity(peerId, sa.remoteId) > 0)
      return fitsIke(sa, { ike, ikeId }) && isThere && isWho
    })
    for (const session of found) void session.runExchange((current) => redirectPeer(current, gateway), 'redirect')
    return found.length
  }

  /** Whether it is gone; with no patience, true. */
  async #terminateIke(
    session: Session,
    { patience, force }: { readonly patience: Patience; readonly force: boolean },
  ): Promise<boolean> {
    const isForced = force && (patience === 'for-ever' || patience === 'not-at-all')
    // One that is deleted to be made anew is not (strongSwan makes it anew).
    session.isReauthenticating = false
    // What is not established, or deleted already, goes without notification (strongSwan).
    const isUnheard = isForced || session.sa.state !== 'established' || session.sa.isStale
    const ended = isUnheard
      ? session.run(() => deleteUnheard(session, 'deleted-by-us'))
      : session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
    if (patience === 'not-at-all') return true
    if ((await this.#wait(patience, ended)) !== TIMED_OUT) return true
    if (!force) return false
    await session.run(() => deleteUnheard(session, 'deleted-by-us'))
    return true
  }

  async #terminateChild(session: Session, child: ChildSa, patience: Patience): Promise<boolean> {
    const ended = session.runExchange((current) => deleteChildSa(current, child), 'delete-child')
    if (patience === 'not-at-all') return true
    return (await this.#wait(patience, ended)) !== TIMED_OUT && !session.sa.children.includes(child)
  }

  async #wait<T>(patience: Milliseconds | 'for-ever', promise: Promise<T>): Promise<T | typeof TIMED_OUT> {
    return patience === 'for-ever' ? promise : this.#timeouts.within(patience, promise)
  }

  /**
   * The IKE_SA of its connection that a child is brought up in, null if there is none (strongSwan: the first that is not
   * to be deleted). Throws when the child is up already, or on its way.
   */
  #usableSession(connection: Connection, child: ChildConnection | null): Session | null {
    const [session, ...others] = this.#controlled.sessionsOf(connection.name).filter(({ sa, isLeaving, isSuccessor }) => {
      const isUsable = sa.state === 'connecting' ? !isSuccessor : sa.state === 'established' && !isLeaving
      return isUsable && isDeepStrictEqual(sa.connection, connection)
    })
    if (session === undefined) return null
    const { twins } = session
    for (const candidate of [session, ...others.filter((other) => twins.includes(other))]) {
      const up = candidate.sa.children.find((made) => isStanding(made) && made.connection.name === child?.name)
      // strongSwan (from 5.9.6): no second CHILD_SA of the same kind is made in one IKE_SA. Here in no two with the same peer.
      if (up !== undefined)
        throw new ControlRefused(
          'ALREADY_UP',
          `it is up already, as ${up.connection.name}{${up.uniqueId}} of ${candidate.toString()}`,
        )
    }
    if (session.sa.state === 'connecting')
      throw new ControlRefused('ALREADY_UP', `IKE_SA ${session.toString()} is being established already`)
    return session
  }

  /** charon.init_limit_half_open and charon.init_limit_job_load, 0 = none. */
  #enforceLimits(): void {
    const { initLimitHalfOpen, initLimitJobLoad } = this.#controlled.settings()
    const sessions = this.#controlled.sessions()
    const halfOpen = sessions.filter(({ sa, isSuccessor }) => sa.state === 'connecting' && !isSuccessor).length
    if (initLimitHalfOpen > 0 && halfOpen >= initLimitHalfOpen)
      throw new ControlRefused(
        'INIT_LIMITS',
        `${halfOpen} IKE_SAs are half open, and charon.init_limit_half_open is ${initLimitHalfOpen}`,
      )
    const waiting = sessions.reduce((sum, { turns }) => sum + turns.waiting, 0)
    if (initLimitJobLoad > 0 && waiting > initLimitJobLoad)
      throw new ControlRefused(
        'INIT_LIMITS',
        `${waiting} pieces of work are waiting, and charon.init_limit_job_load is ${initLimitJobLoad}`,
      )
  }
}

/** The name of its connection; strongSwan's word for an IKE_SA that belongs to none yet. */
export function ikeName(sa: IkeSa): string {
  return sa.connection?.name ?? '(unnamed)'
}

export function fitsIke(sa: IkeSa, { ike, ikeId }: Pick<SaFilter, 'ike' | 'ikeId'>): boolean {
  return (ike === null || ike === ikeName(sa)) && (ikeId === null || ikeId === sa.uniqueId)
}

export function fitsChild(child: ChildSa, filter: Pick<SaFilter, 'child' | 'childId'>): boolean {
  return (
    (filter.child === null || filter.child === child.connection.name) &&
    (filter.childId === null || filter.childId === child.uniqueId)
  )
}
