/**
 * Reqids tie policies to the states that may serve them. SAs with equal selectors share one, so that a rekeyed SA
 * serves the policies of its predecessor (strongSwan: shared by equal selectors, marks and if_id; rekeys keep it).
 */
import { assert } from '../base/assert.ts'

/** The largest reqid we hand out; the kernel's field has 32 bits, what lies above is left to fixed reqids. */
const LARGEST_REQID = 0x3fff_ffff

interface Holder {
  readonly reqid: number
  holders: number
}

export class Reqids {
  readonly #base: number
  readonly #byKey = new Map<string, Holder>()
  readonly #used = new Set<number>()
  /** How many keys beyond one a reqid has: while the holders of one are renamed. */
  readonly #otherKeys = new Map<number, number>()
  #next: number

  /** `base`: the first reqid to hand out (charon.reqid_base); fixed reqids in the configuration belong below it. */
  constructor(base = 1) {
    assert(
      Number.isInteger(base) && base >= 1 && base <= LARGEST_REQID,
      `a reqid base of ${base} is within 1 to ${LARGEST_REQID}`,
    )
    this.#base = base
    this.#next = base
  }

  /** The reqid of `key` (any text equal for SAs that may share one); a new one if nobody holds it. Each call is one holder more. */
  allocate(key: string): number {
    const held = this.#byKey.get(key)
    if (held !== undefined) {
      held.holders++
      return held.reqid
    }
    while (this.#used.has(this.#next)) this.#advance()
    const reqid = this.#next
    this.#advance()
    this.#used.add(reqid)
    this.#byKey.set(key, { reqid, holders: 1 })
    return reqid
  }

  /**
   * The same for one that has a reqid already, from another time. False, and nothing happens, if the key has another
   * reqid, or the reqid is somebody else's.
   */
  adopt(key: string, reqid: number): boolean {
    const held = this.#byKey.get(key)
    if (held !== undefined && held.reqid !== reqid) return false
    if (held === undefined && this.#used.has(reqid)) return false
    if (held !== undefined) held.holders++
    else {
      this.#used.add(reqid)
      this.#byKey.set(key, { reqid, holders: 1 })
    }
    return true
  }

  /** One holder less; the reqid of the last one becomes free, and is handed out again only after all others were. */
  release(key: string): void {
    const held = this.#byKey.get(key)
    assert(held !== undefined, `the reqid of "${key}" is released only by who holds it`)
    if (--held.holders > 0) return
    this.#byKey.delete(key)
    this.#freeUnlessShared(held.reqid)
  }

  /**
   * One holder goes by another key from now on, and keeps the reqid. False, and nothing happens, if that key has another
   * reqid already.
   */
  rename(from: string, to: string): boolean {
    const held = this.#byKey.get(from)
    assert(held !== undefined, `the reqid of "${from}" is renamed only by who holds it`)
    const taken = this.#byKey.get(to)
    if (taken !== undefined && taken.reqid !== held.reqid) return false
    if (taken === held) return true
    if (taken === undefined) {
      this.#byKey.set(to, { reqid: held.reqid, holders: 1 })
      this.#otherKeys.set(held.reqid, (this.#otherKeys.get(held.reqid) ?? 0) + 1)
    } else taken.holders++
    if (--held.holders > 0) return true
    this.#byKey.delete(from)
    this.#freeUnlessShared(held.reqid)
    return true
  }

  /** A key of it is gone. */
  #freeUnlessShared(reqid: number): void {
    const others = this.#otherKeys.get(reqid) ?? 0
    if (others === 0) this.#used.delete(reqid)
    else if (others === 1) this.#otherKeys.delete(reqid)
    else this.#otherKeys.set(reqid, others - 1)
  }

  /** Reqids held by somebody. */
  get size(): number {
    return this.#used.size
  }

  #advance(): void {
    this.#next = this.#next >= LARGEST_REQID ? this.#base : this.#next + 1
  }
}
