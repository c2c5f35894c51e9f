/**
 * What a responder keeps of a CREATE_CHILD_SA exchange while the additional key exchanges that were chosen in it are still
 * to come (RFC 9370 2.2.4; follow-up.ts). Only an authenticated peer can have us keep it, a few of them and not for long.
 */
import type { Milliseconds } from '../base/time.ts'
import type { Secret } from '../crypto/secret.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { ChildConnection } from './connection.ts'
import type { ChildSa } from './sa.ts'

/** What comes of it when the last secret is there. */
export interface Making {
  /** What it is to take the place of: a CHILD_SA, the IKE_SA itself, or of nothing. */
  readonly replaces: ChildSa | 'ike' | null
  /** The CHILD_SA that it will be; null for an IKE_SA. */
  readonly child: {
    readonly connection: ChildConnection
    readonly localSelectors: readonly TrafficSelector[]
    readonly remoteSelectors: readonly TrafficSelector[]
  } | null
  /** The lower nonce of its exchange (RFC 7296 2.8.1). */
  readonly lowestNonce: Uint8Array
  /** Throws ExchangeFailure if it cannot go on any more. */
  check(): void
  /**
   * Makes it, with SK(1) to SK(n), which stay the caller's. Resolves to what is to be done when the answer has left.
   * Throws ExchangeFailure whose notify is the answer, KernelError; `drop` is called then as well.
   */
  finish(additionalSecrets: readonly Secret[]): Promise<() => void>
  /** It does not come about: gives back what was reserved. Never rejects. */
  drop(): Promise<void>
}

export class HalfMade {
  readonly making: Making
  /** What the peer has to name it by in its next request. */
  link: Uint8Array
  until: Milliseconds
  readonly #methods: readonly number[]
  readonly #secrets: Secret[] = []

  /** `methods`: of the additional key exchanges, in their order. */
  constructor(making: Making, methods: readonly number[], link: Uint8Array, until: Milliseconds) {
    this.making = making
    this.#methods = methods
    this.link = link
    this.until = until
  }

  /** The method of the key exchange that comes next, null after the last one. */
  get next(): number | null {
    return this.#methods[this.#secrets.length] ?? null
  }

  get secrets(): readonly Secret[] {
    return this.#secrets
  }

  /** The secret of the key exchange that came next; its owner is this from now on. */
  add(secret: Secret): void {
    this.#secrets.push(secret)
  }

  /** It has come about, or is not to: no secret is left. */
  end(): void {
    for (const secret of this.#secrets) secret.destroy()
    this.#secrets.length = 0
  }

  /** It is not to come about. */
  abandon(): Promise<void> {
    this.end()
    return this.making.drop()
  }
}
