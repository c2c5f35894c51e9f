/**
 * Start actions: what begins when a connection is loaded, and ends when it is unloaded or replaced (strongSwan:
 * vici_config.c; swanctl.conf(5), start_action: "the inverse action is performed").
 *
 * CHILD_SAs of children that were to be started are closed, whoever began them, and an IKE_SA that has no others with
 * them. All other SAs go on, and what is new or changed is made in the IKE_SA that stands.
 */
import { EspalierError } from '../base/errors.ts'
import { isShunt, type ChildConnection, type Connection } from '../ike/connection.ts'
import { addChild } from '../ike/create-child.ts'
import { deleteChildSa, deleteIkeSa } from '../ike/delete.ts'
import type { IkeEvent } from '../ike/events.ts'
import { NotInitiated } from '../ike/failure.ts'
import { isStanding, type ChildSa } from '../ike/sa.ts'
import type { Session } from '../ike/session.ts'
import type { Consequences } from './configured.ts'
import type { Open } from './initiations.ts'
import type { Traps } from './traps.ts'

/** What start actions need of their gateway. */
export interface Initiator {
  sessionsOf(connection: string): readonly Session[]
  readonly open: Open
  readonly traps: Traps
  report(event: IkeEvent): void
}

/** One start on its way, from before there is an IKE_SA until it stands or is given up. */
interface Start {
  readonly child: string
  session: Session | null
  isUndone: boolean
}

export class StartActions implements Consequences {
  readonly #initiator: Initiator
  /** By the name of their connection; one that was undone may still be there when the next begins. */
  readonly #starts = new Map<string, readonly Start[]>()
  /** IKE_SAs and CHILD_SAs that are to be deleted, from when that was decided: what is started does not count on them. */
  readonly #leaving = new WeakSet<Session>()
  readonly #leavingChildren = new WeakSet<ChildSa>()

  constructor(initiator: Initiator) {
    this.#initiator = initiator
  }

  /** Part of Consequences. Returns at once; what comes of it is reported. A child that is up, or on its way, is not started again. */
  start(connection: Connection, children: readonly ChildConnection[]): void {
    for (const child of children) if (this.#isTrapped(connection, child)) void this.#trap(connection, child)
    const [first, ...others] = children.filter(isStarted)
    if (first === undefined) return
    // What is being made in the place of another one gets what that has to do.
    const standing = this.#sessionsOf(connection.name).filter(({ isSuccessor }) => !isSuccessor)
    if (standing.some((session) => !isComplete(session)) || this.#isStarting(connection.name)) return
    if (standing[0] !== undefined) return this.#addFurther(standing[0], [first, ...others])
    const start: Start = { child: first.name, session: null, isUndone: false }
    this.#starts.set(connection.name, [...this.#startsOf(connection.name), start])
    this.#initiator
      .open(connection, first, {
        opened: (session) => {
          start.session = session
          if (start.isUndone) this.#close(session)
        },
        isWanted: () => !start.isUndone,
      })
      .then(
        (session) => this.#addFurther(session, others),
        (error: unknown) => {
          if (!(error instanceof EspalierError)) throw error
          // What became of an IKE_SA was reported when it did.
          if (error instanceof NotInitiated && !start.isUndone)
            this.#initiator.report({ event: 'not-initiated', connection: connection.name, error })
        },
      )
      .finally(() => this.#ended(connection.name, start))
  }

  /** Part of Consequences. */
  undo(connection: Connection, children: readonly ChildConnection[], closesEmptied: boolean): void {
    // Also those that were not set by a start action: there is nothing left for them to ask for.
    for (const child of children) void this.#initiator.traps.uninstall(connection.name, child.name)
    const names = new Set(children.filter(isStarted).map(({ name }) => name))
    for (const start of this.#startsOf(connection.name)) {
      if (!names.has(start.child)) continue
      start.isUndone = true
      if (start.session !== null && isAlive(start.session)) this.#close(start.session)
    }
    for (const session of this.#sessionsOf(connection.name)) {
      // What CHILD_SA comes of it is not known yet: that counts as another one (strongSwan: check_queued_tasks).
      if (!isComplete(session)) continue
      const standing = session.sa.children.filter(isStanding)
      const going = standing.filter((child) => names.has(child.connection.name))
      if (closesEmptied && going.length === standing.length) this.#close(session)
      else for (const child of going) this.#closeChild(session, child)
    }
  }

  /** Part of Consequences. */
  continue(before: Connection, after: Connection): void {
    for (const { sa } of this.#sessionsOf(before.name)) if (sa.connection === before) sa.connection = after
  }

  /** A child that was just taken away, and has come back changed, is trapped again if it was (strongSwan leaves it as it was). */
  #isTrapped({ name }: Connection, child: ChildConnection): boolean {
    const { trap, start } = child.startAction
    return trap || (start && isShunt(child)) || this.#initiator.traps.has(name, child.name)
  }

  async #trap(connection: Connection, child: ChildConnection): Promise<void> {
    try {
      await this.#initiator.traps.install(connection, child)
    } catch (error) {
      // It was reported when it happened.
      if (!(error instanceof EspalierError)) throw error
    }
  }

  /** Those that stand or are being made, and stay. */
  #sessionsOf(connection: string): readonly Session[] {
    return this.#initiator.sessionsOf(connection).filter((session) => !this.#leaving.has(session) && isAlive(session))
  }

  #startsOf(connection: string): readonly Start[] {
    return this.#starts.get(connection) ?? []
  }

  #isStarting(connection: string): boolean {
    return this.#startsOf(connection).some((start) => !start.isUndone)
  }

  #ended(connection: string, start: Start): void {
    const others = this.#startsOf(connection).filter((other) => other !== start)
    if (others.length > 0) this.#starts.set(connection, others)
    else this.#starts.delete(connection)
  }

  #close(session: Session): void {
    this.#leaving.add(session)
    // What is not established yet has no peer to tell.
    if (session.sa.state === 'connecting') void session.run(() => session.close('deleted-by-us'))
    else void session.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
  }

  #closeChild(session: Session, child: ChildSa): void {
    this.#leavingChildren.add(child)
    void session.runExchange((current) => deleteChildSa(current, child), 'delete-child')
  }

  /** Makes those of the children that are not up in the IKE_SA. */
  #addFurther(session: Session, children: readonly ChildConnection[]): void {
    for (const child of children) {
      const isUp = (up: ChildSa): boolean => isStanding(up) && up.connection.name === child.name && !this.#leavingChildren.has(up)
      if (session.sa.children.some(isUp)) continue
      // What comes of it is reported.
      addChild(session, child).catch((error: unknown) => {
        if (!(error instanceof EspalierError)) throw error
      })
    }
  }
}

function isStarted(child: ChildConnection): boolean {
  return child.startAction.start && !isShunt(child)
}

/** Established, with the CHILD_SA of IKE_AUTH in it if there is to be one. */
function isComplete({ sa, opening }: Session): boolean {
  return sa.state === 'established' && opening === null
}

function isAlive({ sa }: Session): boolean {
  return sa.state === 'connecting' || sa.state === 'established'
}
