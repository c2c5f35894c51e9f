/**
 * Whether packets get through a CHILD_SA, as far as its counters can tell: an IKE_SA that answers says nothing of that.
 *
 * What the kernel counts for this very SA is proof: packets that came for it and were not authentic. That nothing comes
 * back is suspicion and no more: a log host never answers. The sentences (report/health.ts) keep the two apart.
 */
import type { Endpoint } from '../base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../base/time.ts'

/**
 * untested: nothing has come yet, and too little was sent to wonder. good: what was heard last was authentic. suspect:
 * something speaks against it. failing: it is known not to work.
 */
export type HealthState = 'untested' | 'good' | 'suspect' | 'failing'

export type HealthReason =
  /** Packets leave, none comes. */
  | 'no-return'
  /**
   * The kernel drops ESP since it comes in UDP and its SA is bare, or the other way round. It takes one form only, where
   * RFC 7296 2.23 demands both, and does not say for which SA: this one has been silent since, and no other's peer's.
   */
  | 'encap-mismatch'
  /** All that comes fails its integrity check. */
  | 'not-authentic'
  /** All that comes is old: repeated, or behind the replay window. */
  | 'replayed'
  /** The peer's packets come from elsewhere, and ours go where it was. */
  | 'mapping-ignored'

/** What was done about it, once for each time that it fell ill. */
export type Repair =
  /** Another one was made in its place. */
  | 'rekeyed'
  /** The same, with the other encapsulation. */
  | 'switched'
  /** That was no better, and was taken back. */
  | 'reverted'

/** What the kernel has counted for it so far. */
export interface Counted {
  readonly inbound: number
  readonly outbound: number
  readonly notAuthentic: number
  readonly replayed: number
}

/** Packets that must have been sent in vain, and for how long, before anybody wonders. */
export const VAIN_PACKETS = 10
export const VAIN_TIME: Milliseconds = MINUTE
/** Packets for an SA that nobody can take in: one or two are strays. */
const REFUSED_PACKETS = 3
/** A mapping that the kernel has told of for so long was not followed. */
const MAPPING_PATIENCE: Milliseconds = 10 * SECOND
/** Of what is not told of any more nothing is known. */
const MAPPING_MEMORY: Milliseconds = 2 * MINUTE
/** One that nothing has gone through for so long is left alone for a while: what speaks against it moves its counters. */
const IDLE_AFTER: Milliseconds = MINUTE
const REST: Milliseconds = 2 * MINUTE
/** What was repaired falls ill again for another reason, or for one that no repair helps. */
const REPAIR_INTERVAL: Milliseconds = 60 * MINUTE

/** Where the kernel has seen authentic ESP come from that its state does not have. */
export interface StrangeSource {
  readonly to: Endpoint
  readonly firstAt: Milliseconds
  readonly lastAt: Milliseconds
}

/** Of one CHILD_SA; what replaces it goes on from there. */
export class ChildHealth {
  state: HealthState = 'untested'
  reason: HealthReason | null = null
  /** Since when it is so. */
  since: Milliseconds
  /** When the inbound counter was last found to have moved; null: never, of this one or those it replaced. */
  heardAt: Milliseconds | null = null
  /** Sent since then, and since when; null: nothing. */
  sentInVain = 0
  inVainSince: Milliseconds | null = null
  /** Came in since then, to be thrown away. */
  refused = 0
  lookedAt: Milliseconds | null = null
  strangeSource: StrangeSource | null = null
  repair: Repair | null = null
  repairedAt: Milliseconds | null = null
  #last: Counted = { inbound: 0, outbound: 0, notAuthentic: 0, replayed: 0 }
  /** When a counter was last found to have moved, or it was first looked at; of this one or those it replaced. */
  #movedAt: Milliseconds | null = null

  constructor(now: Milliseconds) {
    this.since = now
  }

  /** It replaces another one, whose counters are not its own. */
  inherit(old: ChildHealth): void {
    this.state = old.state
    this.reason = old.reason
    this.since = old.since
    this.heardAt = old.heardAt
    this.sentInVain = old.sentInVain
    this.inVainSince = old.inVainSince
    this.repair = old.repair
    this.repairedAt = old.repairedAt
    this.#movedAt = old.#movedAt
  }

  /** Takes in what was counted. */
  note(counted: Counted, now: Milliseconds): void {
    const last = this.#last
    this.#last = counted
    this.lookedAt = now
    if (this.#movedAt === null || !isSame(counted, last)) this.#movedAt = now
    if (counted.inbound > last.inbound) {
      this.heardAt = now
      this.sentInVain = 0
      this.inVainSince = null
      this.refused = 0
      return
    }
    this.sentInVain += counted.outbound - last.outbound
    this.refused += counted.notAuthentic - last.notAuthentic + (counted.replayed - last.replayed)
    if (this.sentInVain > 0) this.inVainSince ??= now
  }

  /** When a counter was last found to have moved; null before the first look. */
  get movedAt(): Milliseconds | null {
    return this.#movedAt
  }

  /** Nothing goes through it, nothing is wrong with it, and it was looked at not long ago. */
  rests(now: Milliseconds): boolean {
    if (this.#movedAt === null || this.lookedAt === null) return false
    if (this.lookedAt - this.#movedAt < IDLE_AFTER || now - this.lookedAt >= REST) return false
    return this.reason === null && this.repair !== 'switched' && this.strangeSource === null && this.sentInVain < VAIN_PACKETS
  }

  /** The kernel tells of authentic ESP from elsewhere: once for each packet, so this is cheap. */
  noteStrangeSource(to: Endpoint, now: Milliseconds): void {
    const { strangeSource } = this
    const firstAt = strangeSource !== null && strangeSource.to.equals(to) ? strangeSource.firstAt : now
    this.strangeSource = { to, firstAt, lastAt: now }
  }

  /** `sendsTo`: where the kernel sends ESP to. `canTell`: the peer answers IKE, or nobody ever asks it. */
  judge(now: Milliseconds, sendsTo: Endpoint | null, canTell: boolean): readonly [HealthState, HealthReason | null] {
    if (this.#isMappingIgnored(now, sendsTo)) return ['failing', 'mapping-ignored']
    if (this.heardAt !== null && this.heardAt === this.lookedAt) return ['good', null]
    if (this.refused >= REFUSED_PACKETS) {
      const { notAuthentic, replayed } = this.#last
      return ['failing', notAuthentic >= replayed ? 'not-authentic' : 'replayed']
    }
    // The other's evidence lies outside of these counters, and only what comes in speaks against it.
    if (this.reason === 'encap-mismatch') return [this.state, this.reason]
    const isInVain = this.inVainSince !== null && now - this.inVainSince >= VAIN_TIME && this.sentInVain >= VAIN_PACKETS
    if (isInVain && canTell) return ['suspect', 'no-return']
    if (this.reason === 'mapping-ignored') return this.heardAt === null ? ['untested', null] : ['good', null]
    return [this.state, this.reason]
  }

  #isMappingIgnored(now: Milliseconds, sendsTo: Endpoint | null): boolean {
    const { strangeSource } = this
    if (strangeSource === null || sendsTo === null) return false
    const { to, firstAt, lastAt } = strangeSource
    if (to.equals(sendsTo) || now - lastAt >= MAPPING_MEMORY) this.strangeSource = null
    return this.strangeSource !== null && lastAt - firstAt >= MAPPING_PATIENCE
  }

  /** Enters a judgement; whether it is another one than before. */
  become(state: HealthState, reason: HealthReason | null, now: Milliseconds): boolean {
    if (this.state === state && this.reason === reason) return false
    this.state = state
    this.reason = reason
    this.since = now
    if (state === 'good') this.repair = null
    return true
  }

  /** Once for each time it falls ill, and not again soon after. */
  mayBeRepaired(now: Milliseconds): boolean {
    return this.repair === null && (this.repairedAt === null || now - this.repairedAt >= REPAIR_INTERVAL)
  }

  noteRepair(repair: Repair, now: Milliseconds): void {
    this.repair = repair
    this.repairedAt = now
  }
}

function isSame(some: Counted, others: Counted): boolean {
  return (
    some.inbound === others.inbound &&
    some.outbound === others.outbound &&
    some.notAuthentic === others.notAuthentic &&
    some.replayed === others.replayed
  )
}
