/**
 * Looks after the CHILD_SAs of a shard: whether packets get through them, which no IKE message tells (nat/health.ts),
 * and makes those anew that do not work.
 *
 * It costs little however many there are. One deadline for all of them: each is looked at once in a minute, every other
 * minute if nothing goes through it, a few at a time, in the order they came in; that is two questions to the kernel for
 * each. Whether ESP comes in the wrong form the kernel counts for all SAs of a network namespace together, in one file,
 * which is read a few times a minute, once where nothing goes through anybody; only when that moves is anybody searched
 * for.
 */
import { Endpoint } from '../base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'
import type { ChildUsage } from '../kernel/books.ts'
import { KernelError } from '../kernel/vocabulary.ts'
import type { Counted, Repair } from '../nat/health.ts'
import { floated } from '../nat/ports.ts'
import type { Environment } from './environment.ts'
import { rekeyChild } from './rekey-child.ts'
import { isStanding, type ChildSa, type IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/** In this time each CHILD_SA is looked at. */
const PERIOD: Milliseconds = MINUTE
/** Those looked at together, when there are many. */
const AT_ONCE = 64
const INTERVAL_MOST: Milliseconds = 20 * SECOND
/** When nothing has gone through any of them for as long as it takes to look at all. */
const QUIET_INTERVAL = PERIOD
const INTERVAL_LEAST: Milliseconds = 100
/** While ESP comes in the wrong form. */
const ALERT_INTERVAL: Milliseconds = 5 * SECOND

/** Packets in the wrong form that are no strays, of a rekey or of a peer that moves. */
const MISMATCHES_LEAST = 3
/** So long after the last of them it is over. */
const MISMATCH_MEMORY: Milliseconds = 2 * MINUTE
/** Whoever was heard in this time before the first of them fell silent by it. */
const ONSET: Milliseconds = 2 * MINUTE
/** IKE_SAs that are named as suspects together. More of them would be no suspicion but a guess. */
const SUSPECTS_MOST = 4
/** How long the other encapsulation has to show that it is the right one. */
const SWITCH_PATIENCE: Milliseconds = MINUTE

export interface Watched {
  readonly session: Session
  readonly child: ChildSa
}

/** ESP in the wrong form, since a count that was taken at `since`. */
interface Mismatch {
  readonly since: Milliseconds
  lastAt: Milliseconds
  count: number
  readings: number
  isTold: boolean
}

export class HealthWatch {
  readonly #env: Environment
  /** Whoever has it adds and removes. */
  readonly #watched: ReadonlyMap<number, Watched>
  readonly #armed: (at: Milliseconds) => void
  #at: Milliseconds | null = null
  /** When something was last found to have gone through one of them, or the first of them came; null where there is none. */
  #movedAt: Milliseconds | null = null
  #isLooking = false
  /** Where the round is; an iterator of a Map goes on over what comes and goes. */
  #round: Iterator<Watched> | null = null
  #mismatches: number | null = null
  #mismatchesAt: Milliseconds = 0
  /** The kernel does not count. */
  #isUncounted = false
  #mismatch: Mismatch | null = null

  constructor(env: Environment, watched: ReadonlyMap<number, Watched>, armed: (at: Milliseconds) => void) {
    this.#env = env
    this.#watched = watched
    this.#armed = armed
  }

  /** When there is something to do, or null. */
  next(): Milliseconds | null {
    return this.#at
  }

  /** The first of them has come, or the last one has gone. */
  handleChange(): void {
    if (this.#watched.size === 0) {
      this.#at = null
      this.#movedAt = null
    } else if (this.#at === null && !this.#isLooking) this.#arm()
  }

  handleDeadline(): void {
    const now = this.#env.clock.now()
    if (this.#at === null || this.#at > now || this.#isLooking) return
    this.#at = null
    const count = this.#mismatch === null ? Math.ceil((this.#watched.size * this.#interval) / PERIOD) : AT_ONCE
    const asked = this.#take(Math.min(count, AT_ONCE), now)
    const counts = !this.#isUncounted && (this.#mismatches === null || now - this.#mismatchesAt >= this.#interval)
    if (asked.length === 0 && !counts) return this.handleChange()
    this.#isLooking = true
    void this.#look(asked, counts)
  }

  #isAskedAbout(watched: Watched, now: Milliseconds): boolean {
    return isLookedAt(watched) && (this.#mismatch !== null || !watched.child.health.rests(now))
  }

  #arm(): void {
    this.#movedAt ??= this.#env.clock.now()
    const usual = (PERIOD * AT_ONCE) / this.#watched.size
    this.#at = this.#env.clock.now() + Math.min(this.#interval, Math.max(INTERVAL_LEAST, usual))
    this.#armed(this.#at)
  }

  /** Between two looks if there are few. */
  get #interval(): Milliseconds {
    if (this.#mismatch !== null) return ALERT_INTERVAL
    const isQuiet = this.#movedAt !== null && this.#env.clock.now() - this.#movedAt >= PERIOD
    return isQuiet ? QUIET_INTERVAL : INTERVAL_MOST
  }

  async #look(asked: readonly Watched[], counts: boolean): Promise<void> {
    try {
      const installed = asked.map(({ child }) => child.installed)
      const { usages, stateMismatches } = await this.#env.books.look(installed, counts)
      if (counts) this.#noteMismatches(stateMismatches)
      asked.forEach((watched, i) => this.#lookAt(watched, usages[i] ?? null))
      if (counts && this.#mismatch !== null) this.#search(this.#mismatch)
    } finally {
      this.#isLooking = false
      this.handleChange()
    }
  }

  /** The next so many, without those that are not to be asked about. */
  #take(count: number, now: Milliseconds): readonly Watched[] {
    const asked: Watched[] = []
    for (let left = Math.min(count, this.#watched.size); left > 0;) {
      this.#round ??= this.#watched.values()
      const { value, done } = this.#round.next()
      if (done === true) {
        this.#round = null
        continue
      }
      left--
      if (this.#isAskedAbout(value, now)) asked.push(value)
    }
    return asked
  }

  /** At what it has carried. Who needs to know why the kernel will not tell asks again, and tells. */
  #lookAt(watched: Watched, usage: ChildUsage | KernelError | null): void {
    if (usage === null || usage instanceof KernelError || !isLookedAt(watched)) return
    try {
      this.#judge(watched, usage)
    } catch (error) {
      // Our own mistake costs this IKE_SA and no other.
      const { session } = watched
      void session.run(() => session.breakDown(error))
    }
  }

  #judge(watched: Watched, usage: ChildUsage): void {
    const { session, child } = watched
    const now = this.#env.clock.now()
    const { health } = child
    health.note(countedOf(usage), now)
    if (health.movedAt === now) this.#movedAt = now
    const { destination, encapsulation } = child.installed.outbound
    const sendsTo = encapsulation === null ? null : new Endpoint(destination, encapsulation.destinationPort)
    const [state, reason] = health.judge(now, sendsTo, canTell(session, child))
    const was = { state: health.state, reason: health.reason }
    // Nobody needs to hear that nothing is wrong, unless something was.
    if (health.become(state, reason, now) && !(state === 'good' && was.state === 'untested'))
      this.#env.report({ event: 'health-changed', sa: session.sa, child, was })
    this.#treat(watched, now)
  }

  // -- what is done about it -----------------------------------------------------------------------------------------

  #treat({ session, child }: Watched, now: Milliseconds): void {
    const { sa } = session
    const { health } = child
    if (health.repair === 'switched') return this.#verify(session, child, now)
    switch (health.reason) {
      case 'not-authentic':
      case 'replayed':
        // Other keys, and sequence numbers from the beginning.
        return this.#makeAnew(session, child, now)
      case 'no-return':
        // What never came back may not be meant to. Where the peer has lost it, it says so when asked to replace it.
        if (health.heardAt !== null && hasAnswered(sa, child)) this.#makeAnew(session, child, now)
        return
      case 'mapping-ignored':
        // The IKE_SA has followed and this one could not.
        if (health.strangeSource?.to.equals(sa.remote) === true) this.#makeAnew(session, child, now)
        return
      case 'encap-mismatch':
      case null:
    }
  }

  #makeAnew(session: Session, child: ChildSa, now: Milliseconds): void {
    if (!child.health.mayBeRepaired(now) || child.state !== 'installed') return
    this.#rekey(session, child, 'rekeyed', now)
  }

  #rekey(session: Session, child: ChildSa, repair: Repair, now: Milliseconds): void {
    child.health.noteRepair(repair, now)
    this.#env.report({ event: 'child-repairing', sa: session.sa, child, repair })
    void session.runExchange((current) => rekeyChild(current, child), 'rekey-child')
  }

  /** The other encapsulation was tried: if that is no better, it is taken back. */
  #verify(session: Session, child: ChildSa, now: Milliseconds): void {
    const { sa } = session
    const { health } = child
    if (health.repairedAt === null || now - health.repairedAt < SWITCH_PATIENCE) return
    const isStillWrong = this.#mismatch !== null && this.#mismatch.lastAt > health.repairedAt + ALERT_INTERVAL
    if (!isStillWrong && health.sentInVain === 0 && health.refused === 0) return
    const { esp: _, ...facts } = sa.nat
    sa.nat = facts
    const was = { state: health.state, reason: health.reason }
    health.become('suspect', 'no-return', now)
    this.#env.report({ event: 'health-changed', sa, child, was })
    this.#rekey(session, child, 'reverted', now)
  }

  // -- ESP in the wrong form -----------------------------------------------------------------------------------------

  /** What the kernel counted, since it began. */
  #noteMismatches(counted: number | null): void {
    if (counted === null) {
      this.#isUncounted = true
      return
    }
    const now = this.#env.clock.now()
    const since = this.#mismatchesAt
    const more = counted - (this.#mismatches ?? counted)
    this.#mismatches = counted
    this.#mismatchesAt = now
    if (more > 0) {
      this.#mismatch ??= { since, lastAt: now, count: 0, readings: 0, isTold: false }
      this.#mismatch.lastAt = now
      this.#mismatch.count += more
      this.#mismatch.readings++
    } else if (this.#mismatch !== null && now - this.#mismatch.lastAt >= MISMATCH_MEMORY) {
      this.#mismatch = null
    }
  }

  /**
   * Whose they are the kernel does not say, so somebody is looked for who is silent while they come: best of all one that
   * fell silent as they began, and that sends. One IKE_SA is helped; among a few the suspicion is told.
   */
  #search(mismatch: Mismatch): void {
    if (mismatch.readings < 2 || mismatch.count < MISMATCHES_LEAST) return
    const now = this.#env.clock.now()
    const ranks: Watched[][] = [[], [], [], []]
    let ikeSas = 0
    let last: IkeSa | null = null
    for (const watched of this.#watched.values()) {
      if (!isLookedAt(watched)) continue
      const { session, child } = watched
      const { health } = child
      // One is being helped, or the round is not over yet.
      if (health.repair === 'switched' && now - (health.repairedAt ?? now) < 2 * SWITCH_PATIENCE) return
      if (health.lookedAt === null || health.lookedAt <= mismatch.since) return
      if (session.sa !== last) ikeSas++
      last = session.sa
      const isSilent = health.heardAt !== health.lookedAt && (health.heardAt === null || health.heardAt < mismatch.lastAt)
      if (!isSilent || health.reason === 'encap-mismatch' || !health.mayBeRepaired(now)) continue
      const fellSilent = health.heardAt !== null && health.heardAt >= mismatch.since - ONSET
      const sends = health.sentInVain > 0
      ranks[fellSilent ? (sends ? 3 : 2) : sends ? 1 : 0]!.push(watched)
    }
    // Who neither hears nor says anything is suspected only where there is nobody else.
    if (ikeSas > 1) ranks[0] = []
    const suspects = ranks.findLast((rank) => rank.length > 0) ?? []
    const sessions = new Set(suspects.map(({ session }) => session))
    if (sessions.size === 0 || sessions.size > SUSPECTS_MOST) {
      if (mismatch.isTold) return
      mismatch.isTold = true
      return this.#env.report({ event: 'encapsulation-mismatch', count: mismatch.count, suspects: sessions.size })
    }
    for (const { session, child } of suspects) {
      const was = { state: child.health.state, reason: child.health.reason }
      child.health.become('suspect', 'encap-mismatch', now)
      this.#env.report({ event: 'health-changed', sa: session.sa, child, was })
    }
    const [session] = sessions
    if (sessions.size === 1 && session !== undefined) session.enqueue(() => this.#switch(session, suspects))
  }

  /**
   * What the peer shows is the other form, so that is what it gets. Behind a NAT there is no choice (RFC 7296 2.23). UDP
   * goes between the NAT-T ports, and IKE with it.
   */
  #switch(session: Session, suspects: readonly Watched[]): void {
    const { sa, env } = session
    const children = suspects.map(({ child }) => child).filter((child) => sa.children.includes(child))
    const [first] = children
    if (first === undefined || sa.state !== 'established') return
    const esp = first.installed.inbound.encapsulation === null ? 'udp' : 'bare'
    if (esp === 'bare' && (sa.nat.here || sa.nat.there)) return
    sa.nat = { ...sa.nat, esp }
    if (esp === 'udp') {
      const from = { local: sa.local, remote: sa.remote }
      const to = floated(sa.local, sa.remote, env.ports)
      if (!to.local.equals(from.local) || !to.remote.equals(from.remote)) {
        sa.path.noteMove({ at: env.clock.now(), from, to, cause: 'rekey' })
        sa.local = to.local
        sa.remote = to.remote
        env.report({ event: 'floated', sa, from })
      }
    }
    for (const child of children) this.#rekey(session, child, 'switched', env.clock.now())
  }
}

/** What is being replaced, or deleted, or not sent on yet has nothing to prove. */
function isLookedAt({ session: { sa }, child }: Watched): boolean {
  return sa.state === 'established' && isStanding(child) && child.installed.outboundHalf === 'installed'
}

function countedOf({ in: inbound, out: outbound }: ChildUsage): Counted {
  return {
    inbound: Number(inbound.packets),
    outbound: Number(outbound.packets),
    notAuthentic: inbound.integrityFailed,
    replayed: inbound.replayed,
  }
}

/** The peer was heard by IKE since nothing comes back. */
export function hasAnswered({ lastInbound }: IkeSa, { health }: ChildSa): boolean {
  return health.inVainSince !== null && lastInbound >= health.inVainSince
}

/** A peer that is asked and does not answer is lost altogether, which is not for us to tell. */
function canTell({ sa, exchanges }: Session, child: ChildSa): boolean {
  return hasAnswered(sa, child) || ((sa.connection?.dpdDelay ?? 0) === 0 && !exchanges.isWaiting)
}
