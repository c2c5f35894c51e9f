/**
 * Whose traffic is whose. Two peers may ask for the same selectors, say two laptops of the same private address behind
 * two NATs; the kernel would send both their packets to whoever came last. So what one peer has, another cannot get.
 * The same peer can: it comes back before its old IKE_SA is gone, or renews it.
 */
import { identitiesEqual } from '../auth/identity.ts'
import type { IkeSa } from './sa.ts'

export class TrafficClaims {
  /** By selectors as text; one entry for every CHILD_SA. */
  readonly #claims = new Map<string, IkeSa[]>()

  /** The IKE_SA of another peer that has these selectors, or null. */
  holder(selectors: string, sa: IkeSa): IkeSa | null {
    return this.#claims.get(selectors)?.find((other) => !isSamePeer(other, sa)) ?? null
  }

  /** Enters a CHILD_SA, before the kernel is asked for it, so that two peers cannot get through at once. */
  claim(selectors: string, sa: IkeSa): void {
    const claims = this.#claims.get(selectors)
    if (claims === undefined) this.#claims.set(selectors, [sa])
    else claims.push(sa)
  }

  /** Undoes one claim. */
  release(selectors: string, sa: IkeSa): void {
    const claims = this.#claims.get(selectors) ?? []
    const at = claims.indexOf(sa)
    if (at >= 0) claims.splice(at, 1)
    if (claims.length === 0) this.#claims.delete(selectors)
  }

  /** The CHILD_SA goes over to the IKE_SA that replaces its own. */
  transfer(selectors: string, from: IkeSa, to: IkeSa): void {
    this.claim(selectors, to)
    this.release(selectors, from)
  }

  get size(): number {
    return this.#claims.size
  }
}

function isSamePeer(a: IkeSa, b: IkeSa): boolean {
  return a === b || (a.remoteId !== null && b.remoteId !== null && identitiesEqual(a.remoteId, b.remoteId))
}
