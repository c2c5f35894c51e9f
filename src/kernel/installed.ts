/**
 * Handles of what the books have put into the kernel.
 */
import type { Policy, State, StateId } from './vocabulary.ts'

/** Whoever has policies in the kernel. */
export interface PolicyOwner {
  readonly owner: string
  readonly policies: readonly Policy[]
}

/** Policies without states of their own that are in the kernel: the handle to remove them. */
export class InstalledPolicies implements PolicyOwner {
  readonly owner: string
  readonly policies: readonly Policy[]

  constructor(owner: string, policies: readonly Policy[]) {
    this.owner = owner
    this.policies = policies
  }
}

/** A CHILD_SA that is in the kernel: the handle to update, ask about and remove it. */
export class InstalledChild implements PolicyOwner {
  readonly owner: string
  readonly reqid: number
  /** Whether the kernel has the outbound half: not yet, yes, or no longer. */
  outboundHalf: 'pending' | 'installed' | 'gone' = 'installed'
  /** It was to move, and did not get all of the way. Only for the books. */
  isUnsettled = false
  /** Where a state of it may be besides, after a move that the kernel disturbed. Only for the books. */
  traces: StateId[] | null = null
  #inbound: State
  #outbound: State
  #policies: readonly Policy[]

  constructor(owner: string, reqid: number, inbound: State, outbound: State, policies: readonly Policy[]) {
    this.owner = owner
    this.reqid = reqid
    this.#inbound = inbound
    this.#outbound = outbound
    this.#policies = policies
  }

  get policies(): readonly Policy[] {
    return this.#policies
  }

  /** As the kernel has them now, endpoint updates included. */
  get inbound(): State {
    return this.#inbound
  }
  get outbound(): State {
    return this.#outbound
  }

  /** Only for the books, after the kernel took the change. */
  noteUpdated(state: State): void {
    if (state.direction === 'in') this.#inbound = state
    else this.#outbound = state
  }

  /** The same, for policies whose addresses have changed. */
  notePolicies(policies: readonly Policy[]): void {
    this.#policies = policies
  }
}
