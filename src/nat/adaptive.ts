/**
 * Adaptive keepalives (`keep_alive = adaptive`): how long the NAT before us keeps a mapping that nothing uses, and how
 * seldom keepalives may therefore be. Ours alone.
 *
 * It is learnt from a mapping that nothing else depends on: probes leave from a port of their own, with growing gaps of
 * silence between them, and the peer's answer tells by its hash whether it still sees us at the same port
 * (ike/adaptive.ts). A gap after which it does not has cost the mapping, but nobody a packet.
 *
 * A NAT that gives a new mapping the port of the old one looks as if it had kept it. So a gap that was survived counts
 * for nothing until the NAT was seen to give another port, twice: before that, and where it never happens, keepalives
 * are as frequent as without all this.
 */
import type { IpAddress } from '../base/ip.ts'
import { MINUTE, type Milliseconds } from '../base/time.ts'

/** Nothing is gained by keepalives that are still rarer. */
const GAP_MAX: Milliseconds = 15 * MINUTE
/** The first gap, in keepalive intervals. */
const FIRST_GAP = 1.5
const GROWTH = 2
/** Changes of the port, one after the other, that show what the NAT does with a mapping it has forgotten. */
const LOSSES_NEEDED = 2
/** The search ends when what was lost is no longer than this many times what was survived. */
const CLOSE_ENOUGH = 1.15
/** Silences are a little longer than they were meant to be. */
const SAME = 1.05
/** Of the longest gap that was survived. The timers of NATs are coarse. */
const SAFE_SHARE = 0.8
/** What was learnt is tried again so much later. */
const RECHECK: Milliseconds = 6 * 60 * MINUTE
/** Networks that are remembered; the one not used for longest makes room. */
export const NETWORKS_MAX = 64

/** Whoever probes, until he does no more. */
export interface Prober {
  readonly isProbing: boolean
}

/** Of the NAT of one network. */
export class MappingLifetime {
  /** One probes for all. */
  prober: Prober | null = null
  #survived: Milliseconds = 0
  #lost: Milliseconds | null = null
  #losses = 0
  #isHopeless = false
  /** What was learnt is to be shown again, of the shorter gap and the longer: this may be another network, of the same addresses. */
  #doubts: ('survived' | 'lost')[] = []
  #recheckAt: Milliseconds = Number.POSITIVE_INFINITY

  /** The longest silence that the NAT is known to bear; null while that is not known, or in doubt. */
  get known(): Milliseconds | null {
    return this.#losses >= LOSSES_NEEDED && this.#survived > 0 && this.#doubts.length === 0 ? this.#survived : null
  }

  /** How often keepalives are needed, where `fixed` is how often without knowledge. */
  interval(fixed: Milliseconds): Milliseconds {
    const { known } = this
    if (known === null) return fixed
    const safe = Math.floor(known * SAFE_SHARE)
    // What was configured is not made shorter unless it is shown to be too long.
    return known >= fixed ? Math.max(fixed, safe) : safe
  }

  /** The silence to try next; null when there is nothing to be learnt now. */
  nextGap(fixed: Milliseconds, now: Milliseconds): Milliseconds | null {
    if (this.#isHopeless) return null
    const lost = this.#lost
    if (lost === null) return this.#survived === 0 ? fixed * FIRST_GAP : Math.min(GAP_MAX, this.#survived * GROWTH)
    if (this.#losses < LOSSES_NEEDED) return lost
    const [doubt] = this.#doubts
    if (doubt !== undefined) return doubt === 'survived' ? this.#survived : lost
    if (lost > this.#survived * CLOSE_ENOUGH) return (this.#survived + lost) / 2
    if (now < this.#recheckAt) return null
    return this.#survived
  }

  /** The mapping was there after a silence of `gap`, or the peer saw us at another port. */
  note(gap: Milliseconds, outcome: 'survived' | 'lost', fixed: Milliseconds, now: Milliseconds): void {
    this.#recheckAt = now + RECHECK
    if (outcome === 'lost') this.#noteLost(gap, fixed)
    else this.#noteSurvived(gap)
  }

  #noteSurvived(gap: Milliseconds): void {
    const lost = this.#lost
    if (this.#doubts[0] === 'survived') this.#doubts.shift()
    // It lasts longer than what was learnt, or keeps its ports.
    else if (this.#doubts[0] === 'lost') return this.#forget()
    if (lost !== null && gap >= lost) {
      // What looked like a loss was something else: the NAT got another address, say.
      if (this.#losses >= LOSSES_NEEDED) return
      this.#lost = null
      this.#losses = 0
    }
    this.#survived = Math.max(this.#survived, gap)
    if (this.#survived >= GAP_MAX && this.#lost === null) this.#isHopeless = true
  }

  #noteLost(gap: Milliseconds, fixed: Milliseconds): void {
    // A gap that was survived before, to the rounding: whatever was learnt is not so any more.
    if (gap <= this.#survived * SAME) this.#forget()
    if (this.#doubts[0] === 'lost') this.#doubts.shift()
    this.#lost = this.#lost === null ? gap : Math.min(this.#lost, gap)
    this.#losses++
    // Shorter than anything worth a keepalive.
    if (this.#lost <= fixed / 2) this.#isHopeless = true
  }

  /** The network may be another: what is known counts for nothing until it is shown again. */
  doubt(): void {
    if (this.#losses >= LOSSES_NEEDED && this.#survived > 0 && !this.#isHopeless) this.#doubts = ['survived', 'lost']
    else this.#forget()
  }

  #forget(): void {
    this.#survived = 0
    this.#lost = null
    this.#losses = 0
    this.#isHopeless = false
    this.#doubts = []
  }
}

/** A run of probes: what nothing but them keeps at the NAT. */
export interface ProbeFlow {
  readonly lifetime: MappingLifetime
  /** When the next one is due, and when the next keepalive would be. */
  dueAt: Milliseconds
  keepaliveAt: Milliseconds
  /** Where the peer saw us last, hashed; when we had said so, and when it answered. */
  hash: Uint8Array | null
  sentAt: Milliseconds
  heardAt: Milliseconds
  /** The mapping is as old as others are. */
  isWarm: boolean
  useless: number
}

/** What is known of NATs, by network: by the address that we have in it, which is all that can be seen of it from here. */
export class MappingLifetimes {
  readonly #byNetwork = new Map<string, { readonly local: IpAddress; readonly lifetime: MappingLifetime }>()

  of(local: IpAddress): MappingLifetime {
    const key = local.toString()
    const known = this.#byNetwork.get(key) ?? { local, lifetime: new MappingLifetime() }
    this.#byNetwork.delete(key)
    this.#byNetwork.set(key, known)
    if (this.#byNetwork.size > NETWORKS_MAX) this.#byNetwork.delete(this.#byNetwork.keys().next().value!)
    return known.lifetime
  }

  get size(): number {
    return this.#byNetwork.size
  }

  /** What is known of this network may be wrong. False if nothing is. */
  doubt(local: IpAddress): boolean {
    const known = this.#byNetwork.get(local.toString())
    known?.lifetime.doubt()
    return known !== undefined
  }

  /** Addresses, links or routes of this machine changed: any of the networks may be another. Tells which there are. */
  doubtAll(): readonly IpAddress[] {
    return [...this.#byNetwork.values()].map(({ local, lifetime }) => {
      lifetime.doubt()
      return local
    })
  }
}
