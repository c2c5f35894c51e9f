/**
 * IKE_SAs that strangers have begun and not authenticated, and what the next stranger must show before it may begin
 * one: a cookie when there are many, in all or from its address (RFC 7296 2.6), and that it does not make its cookies up.
 *
 * A crowd behind one NAT is not an attack. So an address is never shut out as a whole (strongSwan's block_threshold
 * does that): whoever returns a cookie gets in, and only who shows a wrong one is not answered any more.
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { IkeSettings } from './connection.ts'
import type { CookieVerdict } from './cookies.ts'
import type { DropReason } from './events.ts'

/** Our limits: half-open IKE_SAs in all, and from one address, cookie or not. */
const HALF_OPEN_MAX = 10_000
const HALF_OPEN_PER_ADDRESS_MAX = 1_000
/**
 * Cookies are asked for this long after the last time there was reason to (strongSwan). An initiator whose IKE_SA_INIT
 * is answered once with and once without a demand could not tell which of its messages AUTH has to cover.
 */
const CALM_DOWN: Milliseconds = 10 * SECOND
/** Our limit: addresses that are remembered for that time. */
const WARY_OF_MAX = 4_096

type Limits = Pick<
  IkeSettings,
  'cookieThreshold' | 'cookieThresholdIp' | 'blockThreshold' | 'initLimitHalfOpen' | 'initLimitJobLoad' | 'ikeSaLimit'
>

/** What else there is, while a stranger waits at the door. */
export interface Load {
  /** IKE_SAs in any state. */
  readonly ikeSas: number
  /** Pieces of work that wait; asked for only where they are limited. */
  waiting(): number
}

export class HalfOpen<Owner> {
  /** With the address each came from. */
  readonly #addresses = new Map<Owner, string>()
  readonly #byAddress = new Map<string, number>()
  #waryOfAllUntil: Milliseconds = Number.NEGATIVE_INFINITY
  /** Until when, in the order it was last put off. */
  readonly #waryOf = new Map<string, Milliseconds>()

  get size(): number {
    return this.#addresses.size
  }

  add(owner: Owner, address: string): void {
    this.#addresses.set(owner, address)
    this.#byAddress.set(address, this.#from(address) + 1)
  }

  /** Nothing happens for one that was never added. */
  remove(owner: Owner): void {
    const address = this.#addresses.get(owner)
    if (address === undefined) return
    this.#addresses.delete(owner)
    const left = this.#from(address) - 1
    if (left > 0) this.#byAddress.set(address, left)
    else this.#byAddress.delete(address)
  }

  /** Whether an IKE_SA_INIT from there is heard, has to come again with a cookie, or is dropped. */
  judge(
    address: string,
    cookie: CookieVerdict,
    settings: Limits,
    load: Load,
    now: Milliseconds,
  ): 'heard' | 'cookie' | DropReason {
    if (this.size >= HALF_OPEN_MAX) return 'half-open-limit'
    const isBlocking = settings.blockThreshold > 0 && this.#from(address) >= settings.blockThreshold
    // Both are asked: each remembers.
    const isDue = [this.#isWaryOfAll(settings, now), this.#isWaryOf(address, settings, now)].includes(true)
    if (isBlocking && cookie === 'wrong') return 'blocked'
    if ((isDue || isBlocking) && cookie !== 'good') return 'cookie'
    if (this.#from(address) >= HALF_OPEN_PER_ADDRESS_MAX) return 'half-open-limit'
    if (settings.initLimitHalfOpen > 0 && this.size >= settings.initLimitHalfOpen) return 'half-open-limit'
    if (settings.initLimitJobLoad > 0 && load.waiting() > settings.initLimitJobLoad) return 'job-load'
    if (settings.ikeSaLimit > 0 && load.ikeSas >= settings.ikeSaLimit) return 'ike-sa-limit'
    return 'heard'
  }

  #isWaryOfAll({ cookieThreshold }: Limits, now: Milliseconds): boolean {
    if (cookieThreshold === 0) return false
    if (this.size >= cookieThreshold) this.#waryOfAllUntil = now + CALM_DOWN
    return now < this.#waryOfAllUntil
  }

  #isWaryOf(address: string, { cookieThresholdIp }: Limits, now: Milliseconds): boolean {
    if (cookieThresholdIp === 0) return false
    if (this.#from(address) >= cookieThresholdIp) this.#rememberWariness(address, now)
    return now < (this.#waryOf.get(address) ?? Number.NEGATIVE_INFINITY)
  }

  #rememberWariness(address: string, now: Milliseconds): void {
    this.#waryOf.delete(address)
    this.#waryOf.set(address, now + CALM_DOWN)
    for (const [other, until] of this.#waryOf) {
      if (now < until && this.#waryOf.size <= WARY_OF_MAX) return
      this.#waryOf.delete(other)
    }
  }

  #from(address: string): number {
    return this.#byAddress.get(address) ?? 0
  }
}
