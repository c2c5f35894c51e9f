/**
 * One IKE_SA at work: the record, its queue, its wire side, its deadlines, its own exchanges one after another, and
 * how all of it ends.
 */
import { assert } from '../base/assert.ts'
import type { Milliseconds } from '../base/time.ts'
import type { ChildUsage } from '../kernel/books.ts'
import { KernelError } from '../kernel/vocabulary.ts'
import { noDeadlines, type DeadlineName, type DeadlineOwner, type Deadlines } from './deadlines.ts'
import type { Environment } from './environment.ts'
import type { CloseReason } from './events.ts'
import { Exchanges, type RetransmissionTimer } from './exchange.ts'
import type { Opening } from './opening.ts'
import type { ChildSa, IkeSa } from './sa.ts'
import { Turns } from './turns.ts'

/** Whoever keeps tables of sessions hears what changes in them. */
export interface SessionKeeper {
  closed(session: Session): void
  childAdopted(session: Session, child: ChildSa): void
  childDropped(session: Session, child: ChildSa): void
}

/** What an own exchange, or a run of them, is for. */
export type Task = 'initiation' | 'delete-ike' | 'delete-child' | 'probe'

export class Session implements DeadlineOwner, RetransmissionTimer {
  readonly sa: IkeSa
  readonly env: Environment
  readonly turns = new Turns()
  readonly exchanges: Exchanges
  readonly deadlines = noDeadlines()
  /** What IKE_SA_INIT left for IKE_AUTH; null before and after. */
  opening: Opening | null = null
  /**
   * At a responder: hash of the IKE_SA_INIT request. Its retransmission is known by its bytes, whatever port a NAT gave
   * it meanwhile, as long as the IKE_SA lives: one that was overtaken by IKE_AUTH must not begin another IKE_SA.
   */
  initHash: string | null = null
  /** Outbound ESP packets as counted at the last keepalive deadline, and when that was. */
  espSeen: { readonly packets: bigint; readonly at: Milliseconds } = { packets: 0n, at: 0 }
  readonly #deadlines: Deadlines<Session>
  readonly #keeper: SessionKeeper
  #tasks: { readonly task: Task; readonly run: () => Promise<void> }[] = []
  #runningTask: Task | null = null
  #closing: Promise<void> | null = null

  constructor(sa: IkeSa, env: Environment, deadlines: Deadlines<Session>, keeper: SessionKeeper) {
    this.sa = sa
    this.env = env
    this.#deadlines = deadlines
    this.#keeper = keeper
    this.exchanges = new Exchanges(sa, env, this.turns, this)
  }

  arm(at: Milliseconds): void {
    this.#deadlines.set(this, 'retransmit', at)
  }

  disarm(): void {
    this.#deadlines.clear(this, 'retransmit')
  }

  setDeadline(name: DeadlineName, at: Milliseconds): void {
    if (this.sa.state !== 'closed') this.#deadlines.set(this, name, at)
  }

  clearDeadline(name: DeadlineName): void {
    this.#deadlines.clear(this, name)
  }

  /** Adds a piece of work (turns.ts). What it throws is our own mistake: it costs this IKE_SA and no other. */
  enqueue(work: () => void | Promise<void>): void {
    this.turns.enqueue(async () => {
      try {
        await work()
      } catch (error) {
        await this.breakDown(error)
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
   * mistake, and costs this IKE_SA and no other.
   */
  runExchange(exchange: () => Promise<void>, task: Task = 'probe'): Promise<void> {
    return new Promise((resolve) => {
      const run = (): Promise<void> =>
        exchange()
          .catch((error: unknown) => this.breakDown(error))
          .then(resolve)
      this.#tasks.push({ task, run })
      this.#startNextTask()
    })
  }

  /** What own exchanges are under way and waiting, for people. */
  get tasks(): { readonly running: Task | null; readonly queued: readonly Task[] } {
    return { running: this.#runningTask, queued: this.#tasks.map(({ task }) => task) }
  }

  #startNextTask(): void {
    if (this.#runningTask !== null) return
    const next = this.#tasks.shift()
    if (next === undefined) return
    this.#runningTask = next.task
    this.turns.enqueue(() =>
      this.turns.drive(() => {
        void next.run().then(() => {
          this.#runningTask = null
          this.#startNextTask()
          this.turns.park()
        })
      }),
    )
  }

  /** Adds a CHILD_SA that is installed, and tells so. */
  adopt(child: ChildSa): void {
    this.sa.children.push(child)
    this.#keeper.childAdopted(this, child)
    this.env.report({ event: 'child-established', sa: this.sa, child })
  }

  /** Takes a CHILD_SA out of the books and the kernel. */
  async closeChild(child: ChildSa, reason: CloseReason): Promise<void> {
    const at = this.sa.children.indexOf(child)
    if (at < 0) return
    this.sa.children.splice(at, 1)
    this.#keeper.childDropped(this, child)
    // With the states go their counters.
    const usage = await this.usageOf(child)
    try {
      await this.env.books.remove(child.installed)
    } catch (error) {
      // The books try again at shutdown; the CHILD_SA is over all the same.
      if (!(error instanceof KernelError)) throw error
      this.env.report({ event: 'kernel-refused', error })
    }
    if (child.connection.reqid === 0) this.env.books.reqids.release(child.traffic)
    this.env.traffic.release(child.traffic, this.sa)
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
    this.#keeper.closed(this)
    this.dropOpening()
    for (const child of [...this.sa.children]) await this.closeChild(child, reason)
    assert(this.sa.children.length === 0, 'a closed IKE_SA has no CHILD_SA')
    this.sa.keys?.destroy()
    this.sa.keys = null
    this.env.report({ event: 'ike-closed', sa: this.sa, reason })
  }

  /** IKE_AUTH is over, one way or the other. */
  dropOpening(): void {
    this.opening = null
    this.clearDeadline('half-open')
  }

  toString(): string {
    return `${this.sa.connection?.name ?? '(unnamed)'}[${this.sa.uniqueId}]`
  }
}
