/**
 * The books: every kernel object we made has one owner here. Whole CHILD_SAs go in and out, and policies without states
 * (traps, shunts); what two of them share (a policy during a rekey, or with a trap) is counted, and changes hands in the
 * kernel without a moment in which it is not there; what the kernel refuses half-way is undone; what is left at shutdown
 * is removed.
 *
 * Changes are made one after the other, so that the order in the register is the order in the kernel. SPIs are unique
 * over all our addresses: the kernel alone does not see to that (it keys inbound states by destination too).
 */
import { assert } from '../base/assert.ts'
import { IpAddress } from '../base/ip.ts'
import { Secret } from '../crypto/secret.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { Kernel } from '../ports.ts'
import { InstalledChild, InstalledPolicies, type PolicyOwner } from './installed.ts'
import { childPolicies, isSamePolicy } from './policies.ts'
import { ERRNO, refusal } from './refusals.ts'
import { relocate, type Ledger, type MoveOutcome, type Relocation } from './relocate.ts'
import {
  encapsulationOf,
  isAt,
  isPortsOnly,
  movedPolicy,
  movedState,
  whereaboutsOf,
  type DynamicHosts,
  type UdpPorts,
} from './relocation.ts'
import { Reqids } from './reqids.ts'
import { addressSelector, markKey, policyKey, reversed } from './selectors.ts'
import { ofState, type Separation } from './separation.ts'
import {
  type KernelError,
  type KernelObjects,
  type Limits,
  type Mode,
  type Operation,
  type Outcome,
  type Policy,
  type PolicyId,
  type Selector,
  type State,
  type StateId,
  type Usage,
} from './vocabulary.ts'

export { InstalledChild, InstalledPolicies } from './installed.ts'

/** How often the kernel is asked again when it hands out an SPI we use on another address. 28 random bits: once is rare. */
const SPI_ATTEMPTS = 8

/** Algorithms and keys of one direction, as in State. */
export type Keying = Pick<State, 'encryption' | 'integrity'>

/** A CHILD_SA pair as the kernel is to have it. */
export interface ChildInstallation {
  /** For messages and lists: `home{3}`. */
  readonly owner: string
  readonly reqid: number
  readonly mode: Mode
  readonly local: IpAddress
  readonly remote: IpAddress
  /** From allocateSpi, host order. */
  readonly inboundSpi: number
  readonly outboundSpi: number
  /** The keys are read while `install` runs and not after: the kernel ignores those of an update. Destroy them when it is done. */
  readonly inbound: Keying
  readonly outbound: Keying
  readonly esn: boolean
  /** Packets, inbound. */
  readonly replayWindow: number
  readonly encapsulation: UdpPorts | null
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly copyDf: boolean
  readonly copyEcn: boolean
  readonly copyDscpOut: boolean
  readonly copyDscpIn: boolean
  /** Of each direction. Both may tell of a soft one. */
  readonly limits: Readonly<Record<State['direction'], Limits>>
  /** Priority of its policies; 0 = calculated from each selector. */
  readonly priority: number
  /** Sequence number of the ACQUIRE this answers, 0 if none. */
  readonly acquireSequence: number
  readonly separation: Separation
}

/** A CHILD_SA as the kernel has it, keys left out. */
export interface InstalledRecord {
  readonly owner: string
  readonly reqid: number
  readonly inbound: State
  readonly outbound: State
  readonly policies: readonly Policy[]
}

/**
 * When the outbound half of a CHILD_SA goes in. A responder that replaces another CHILD_SA receives on the new one at
 * once and goes on sending on the old one until the peer deletes that (RFC 7296 2.8).
 */
export type OutboundTime = 'now' | 'later'

/** What both directions carried. */
export interface ChildUsage {
  readonly in: Usage
  readonly out: Usage
}

/** What a look at several CHILD_SAs tells. */
export interface Look {
  /** Of each, in the order they were asked about; the KernelError where the kernel will not tell, null as in `usage`. */
  readonly usages: readonly (ChildUsage | KernelError | null)[]
  /** ESP that was dropped for its form, UDP or bare, whosever it was; null where the kernel was not asked, or does not count. */
  readonly stateMismatches: number | null
}

/** What the books know to be in the kernel. `leftovers`: deletions the kernel refused, tried again with the next. */
export interface InstalledCounts {
  readonly children: number
  readonly states: number
  readonly policies: number
  /** Allocated and not yet installed. */
  readonly spis: number
  readonly leftovers: number
}

interface Larval {
  readonly local: IpAddress
  readonly remote: IpAddress
}

/** A policy that somebody wants; among equal priorities those of CHILD_SAs win, then the newest by `order`. */
interface Claim {
  readonly owner: PolicyOwner
  policy: Policy
  readonly order: number
}

export class Books {
  readonly reqids: Reqids
  readonly #kernel: Kernel
  readonly #larval = new Map<number, Larval>()
  readonly #byInboundSpi = new Map<number, InstalledChild>()
  /** With those whose outbound half is still to come: their SPIs are taken. */
  readonly #byOutbound = new Map<string, InstalledChild>()
  #pendingHalves = 0
  /** How many CHILD_SAs have a reqid. */
  readonly #reqidHolders = new Map<number, number>()
  /** Claims on one kernel policy, the one in force first. */
  readonly #claims = new Map<string, Claim[]>()
  readonly #stateless = new Set<InstalledPolicies>()
  #leftovers: Operation[] = []
  #order = 0
  /** Settles when the change in progress is done; never rejects. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(kernel: Kernel, options: { readonly reqidBase?: number } = {}) {
    this.#kernel = kernel
    this.reqids = new Reqids(options.reqidBase)
  }

  get installed(): InstalledCounts {
    return {
      children: this.#byInboundSpi.size,
      states: this.#byInboundSpi.size + this.#byOutbound.size - this.#pendingHalves,
      policies: this.#claims.size,
      spis: this.#larval.size,
      leftovers: this.#leftovers.length,
    }
  }

  /** The child that owns a state named in a kernel event, or null: an event may arrive after its child is gone. */
  childOf(id: Pick<StateId, 'spi' | 'destination' | 'mark'>): InstalledChild | null {
    const inbound = this.#byInboundSpi.get(id.spi)
    if (inbound !== undefined && inbound.inbound.destination.equals(id.destination)) return inbound
    return this.#byOutbound.get(outboundKey(id)) ?? null
  }

  /** Every child installed, oldest first. */
  children(): readonly InstalledChild[] {
    return [...this.#byInboundSpi.values()]
  }

  /** Reserves an inbound SPI (host order) for ESP from `remote` to `local`. Rejects with the KernelError. */
  async allocateSpi(local: IpAddress, remote: IpAddress, mode: Mode): Promise<number> {
    return this.#inTurn(async () => {
      const clashes: Operation[] = []
      try {
        for (let attempt = 1; ; attempt++) {
          const operation: Operation = { op: 'allocate-spi', source: remote, destination: local, reqid: 0, mode }
          const outcome = await this.#one(operation)
          if (outcome.kind === 'refused') throw outcome.error
          assert(outcome.kind === 'spi', 'an allocation is answered by an SPI')
          const { spi } = outcome
          if (!this.#larval.has(spi) && !this.#byInboundSpi.has(spi)) {
            this.#larval.set(spi, { local, remote })
            return spi
          }
          clashes.push(deletion(spi, remote, local))
          if (attempt === SPI_ATTEMPTS)
            throw refusal(operation, ERRNO.EEXIST, 'it hands out SPIs that are in use by CHILD_SAs of ours')
        }
      } finally {
        await this.#delete(clashes)
      }
    })
  }

  /** Gives back an SPI that was allocated and will not be installed. Unknown ones (expired, installed, released) are no mistake. */
  async releaseSpi(spi: number): Promise<void> {
    return this.#inTurn(async () => {
      const larval = this.#larval.get(spi)
      if (larval === undefined) return
      this.#larval.delete(spi)
      throwFirst(await this.#delete([deletion(spi, larval.remote, larval.local)]))
    })
  }

  /**
   * Installs a CHILD_SA: inbound state, outbound state, policies. Rejects with the KernelError of the first refusal,
   * and then nothing of it is left in the kernel, its inbound SPI included. With its outbound half to come later the
   * outbound keys are the books' to destroy, unless this rejects.
   */
  async install(child: ChildInstallation, time: OutboundTime = 'now'): Promise<InstalledChild> {
    return this.#inTurn(async () => {
      const larval = this.#larval.get(child.inboundSpi)
      assert(larval !== undefined, `${child.owner} installs an inbound SPI that was allocated`)
      const installed = new InstalledChild(
        child.owner,
        child.reqid,
        inboundState(child),
        outboundState(child),
        childPolicies(child),
      )
      this.#larval.delete(child.inboundSpi)
      const objection = this.#objectionTo(installed.outbound)
      if (objection !== null) {
        await this.#delete([deletion(child.inboundSpi, larval.remote, larval.local)])
        throw objection
      }
      this.#enter(installed)
      this.#byOutbound.set(outboundKey(installed.outbound), installed)
      if (time === 'later') {
        installed.outboundHalf = 'pending'
        this.#pendingHalves++
      }
      // Our address changed since the allocation: the reservation is on the old one.
      if (!larval.local.equals(child.local)) await this.#delete([deletion(child.inboundSpi, larval.remote, larval.local)])

      const halves = time === 'now' ? [installed.inbound, installed.outbound] : [installed.inbound]
      const states = await this.#kernel.perform(halves.map((state): Operation => ({ op: 'add-state', state })))
      let error = firstRefusal(states)
      if (error === null) {
        const wanted = installed.policies.filter(({ direction }) => time === 'now' || direction !== 'out')
        error = firstRefusal(await this.#kernel.perform(this.#claim(installed, wanted)))
      }
      if (error !== null) {
        // An outbound state that exists without being in our books is somebody else's.
        const outbound = states[1]
        const foreign = outbound?.kind === 'refused' && outbound.error.code === 'KERNEL_EXISTS'
        await this.#takeOut(installed, foreign ? [installed.inbound] : undefined)
        throw error
      }
      installed.noteUpdated(withoutKeys(installed.inbound))
      if (time === 'now') installed.noteUpdated(withoutKeys(installed.outbound))
      return installed
    })
  }

  /**
   * Enters a CHILD_SA that the kernel has from another time, with both its halves; its policies are set once more, should
   * anything have happened to them. Resolves to null if the kernel lacks a half, or another one has its SPI: what is
   * left of it is taken out. Rejects with any KernelError.
   */
  async adopt({ owner, reqid, inbound, outbound, policies }: InstalledRecord): Promise<InstalledChild | null> {
    return this.#inTurn(async () => {
      const installed = new InstalledChild(owner, reqid, inbound, outbound, policies)
      if (this.#byInboundSpi.has(inbound.spi) || this.#byOutbound.has(outboundKey(outbound))) return null
      this.#enter(installed)
      this.#byOutbound.set(outboundKey(outbound), installed)
      const states = await this.#kernel.perform(
        [inbound, outbound].map((state): Operation => ({ op: 'query-state', id: idOf(state) })),
      )
      let error = firstRefusal(states)
      error ??= firstRefusal(await this.#kernel.perform(this.#claim(installed, policies)))
      if (error === null) return installed
      await this.#takeOut(installed)
      if (isAbsent(error)) return null
      throw error
    })
  }

  /** All that is of ours in the kernel, without a key: what somebody has to know to take it out. */
  inventory(): readonly KernelObjects[] {
    const named = ({ direction, selector, mark, ifId }: Policy): PolicyId => ({ direction, selector, mark, ifId })
    const found: KernelObjects[] = []
    for (const child of this.#byInboundSpi.values()) {
      const halves = child.outboundHalf === 'installed' ? [child.inbound, child.outbound] : [child.inbound]
      found.push({ states: halves.map(idOf), policies: child.policies.map(named) })
    }
    for (const { policies } of this.#stateless) found.push({ states: [], policies: policies.map(named) })
    return found
  }

  /** Whether all these policies are somebody's now. */
  isReplaced({ policies }: KernelObjects): boolean {
    return policies.every((id) => this.#claims.has(policyKey(id)))
  }

  /** Takes out of the kernel what was there in another time, and is nobody's now. What is refused is tried again. */
  async sweep(objects: readonly KernelObjects[]): Promise<void> {
    return this.#inTurn(async () => {
      const operations = objects.flatMap(({ states, policies }) => [
        ...policies.map((id): Operation => ({ op: 'delete-policy', id })),
        ...states.map((id): Operation => ({ op: 'delete-state', id })),
      ])
      throwFirst(await this.#delete(operations.filter((operation) => !this.#isClaimedAgain(operation))))
    })
  }

  /**
   * Adds the outbound half of a CHILD_SA that was installed without it: from now on it is what is sent on. Resolves to
   * false, and nothing happens, if it is in already or all of it was removed. Rejects with the KernelError; then the
   * half is still to come.
   */
  async activate(installed: InstalledChild): Promise<boolean> {
    return this.#inTurn(async () => {
      if (installed.outboundHalf !== 'pending') return false
      const added = await this.#one({ op: 'add-state', state: installed.outbound })
      if (added.kind === 'refused') throw added.error
      const outward = installed.policies.filter(({ direction }) => direction === 'out')
      const error = firstRefusal(await this.#kernel.perform(this.#claim(installed, outward)))
      // What it replaces has policies that serve as well. Without any nothing is sent on it: it is taken back.
      if (error !== null && outward.some((policy) => this.#claims.get(policyKey(policy))?.length === 1)) {
        const taken = await this.#one({ op: 'delete-state', id: idOf(installed.outbound) })
        await this.#delete(this.#disclaim(installed, outward))
        if (!isRefused(taken)) throw error
      }
      this.#forgetPending(installed)
      installed.outboundHalf = 'installed'
      if (error !== null) throw error
      return true
    })
  }

  /**
   * Takes away what a replaced CHILD_SA sends by: its policies go to its successor, its outbound half goes. What the
   * peer sent on it and is still on its way is let in until `remove`. Rejects with the first KernelError.
   */
  async retire(installed: InstalledChild): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#byInboundSpi.get(installed.inbound.spi) !== installed || installed.outboundHalf === 'gone') return
      const operations = [...this.#disclaim(installed)]
      if (installed.outboundHalf === 'installed') operations.push({ op: 'delete-state', id: idOf(installed.outbound) })
      this.#forgetPending(installed)
      this.#byOutbound.delete(outboundKey(installed.outbound))
      installed.outboundHalf = 'gone'
      throwFirst(await this.#delete(operations))
    })
  }

  /** The outbound half comes no more, or has come: its keys are of no more use to us. */
  #forgetPending(installed: InstalledChild): void {
    if (installed.outboundHalf !== 'pending') return
    this.#pendingHalves--
    const { encryption, integrity } = installed.outbound
    installed.noteUpdated(withoutKeys(installed.outbound))
    encryption.key.destroy()
    integrity?.key.destroy()
  }

  /**
   * Takes a CHILD_SA out of the kernel: policies first, so that no packet asks for an SA that is going, then the
   * states. States that are gone already (hard limit) are no mistake. Rejects with the first KernelError after
   * everything was tried; what was refused is tried again with the next deletion.
   */
  async remove(installed: InstalledChild): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#byInboundSpi.get(installed.inbound.spi) !== installed) return
      throwFirst(await this.#takeOut(installed))
    })
  }

  /**
   * Installs policies that have no states (policies.ts). Those of CHILD_SAs with the same selectors stay in force, and
   * give way to these when they go. Rejects with the KernelError of the first refusal, and then none of them is left.
   */
  async installPolicies(owner: string, policies: readonly Policy[]): Promise<InstalledPolicies> {
    return this.#inTurn(async () => {
      const installed = new InstalledPolicies(owner, policies)
      const error = firstRefusal(await this.#kernel.perform(this.#claim(installed, policies)))
      if (error !== null) {
        await this.#delete(this.#disclaim(installed))
        throw error
      }
      this.#stateless.add(installed)
      return installed
    })
  }

  /** Takes them out again; whoever else claims one of them gets it. Rejects with the first KernelError; what was refused is tried again. */
  async removePolicies(installed: InstalledPolicies): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#stateless.delete(installed)) return
      throwFirst(await this.#delete(this.#disclaim(installed)))
    })
  }

  /**
   * Has CHILD_SAs, usually all of an IKE_SA, elsewhere from now on, in the kernel as in their handles. New ports alone
   * are told in place: nothing is lost, and nothing else changes. Else see relocate.ts. Reqids stay. Never rejects with
   * what the kernel refuses: each CHILD_SA is then where its handle says, and goes the rest of the way with the next move.
   */
  async move(relocations: readonly Relocation[]): Promise<MoveOutcome> {
    return this.#inTurn(async () => {
      const outcome: MoveOutcome = { errors: [], stranded: new Set(), lost: new Set() }
      const away: Relocation[] = []
      for (const relocation of relocations) {
        const { installed, to } = relocation
        if (this.#byInboundSpi.get(installed.inbound.spi) !== installed) continue
        const objection = this.#objectionToMove(relocation)
        if (objection !== null) {
          outcome.errors.push(objection)
          outcome.stranded.add(installed)
        } else if (isAt(installed.inbound, to) && isAt(installed.outbound, to) && !installed.isUnsettled) continue
        else if (isPortsOnly(installed.inbound, to) && isPortsOnly(installed.outbound, to) && !installed.isUnsettled)
          await this.#tellPorts(relocation, outcome)
        else away.push(relocation)
      }
      if (away.length === 0) return outcome
      const ledger: Ledger = {
        perform: (operations) => this.#performMove(operations),
        stops: (children) => this.#stops(children),
        canMove: (all) => this.#kernel.capabilities.movesStates && this.#reqidHolders.get(all[0]!.reqid) === all.length,
        loosened: (installed) => this.#loosened(installed),
        reclaim: (installed, dynamic) => this.#reclaim(installed, dynamic),
        noteMoved: (installed, state) => this.#noteMoved(installed, state),
      }
      const disturbed = away.filter(({ installed }) => installed.isUnsettled)
      await relocate(ledger, away, outcome)
      for (const { installed } of disturbed) if (!installed.isUnsettled) await this.#delete(this.#tracesOf(installed))
      for (const { installed } of away) if (!installed.isUnsettled) installed.traces = null
      return outcome
    })
  }

  /** A policy that the kernel will not let go is tried again with the next deletion. */
  async #performMove(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes = await this.#kernel.perform(operations)
    for (const [i, operation] of operations.entries()) {
      const outcome = outcomes[i]
      if (operation.op === 'delete-policy' && outcome?.kind === 'refused' && !isAbsent(outcome.error))
        this.#leftovers.push(operation)
    }
    return outcomes
  }

  /** The outbound direction first: what the peer is waiting for. */
  async #tellPorts({ installed, to }: Relocation, outcome: MoveOutcome): Promise<void> {
    for (const state of [installed.outbound, installed.inbound]) {
      if (isAt(state, to)) continue
      const moved = movedState(state, to, NO_HOSTS)
      if (state.direction === 'in' || installed.outboundHalf === 'installed') {
        const told = await this.#one({ op: 'update-state', state: moved })
        // One that is gone, at a hard limit, is nobody's to move: its owner is told by the kernel.
        if (told.kind === 'refused' && !isAbsent(told.error)) {
          outcome.errors.push(told.error)
          outcome.stranded.add(installed)
          continue
        }
      }
      this.#noteMoved(installed, moved)
    }
  }

  /** Another CHILD_SA of ours has the peer's SPI at the address that this one is to move to. */
  #objectionToMove({ installed, to }: Relocation): KernelError | null {
    if (installed.outboundHalf === 'gone') return null
    const moved = movedState(installed.outbound, to, NO_HOSTS)
    const holder = this.#byOutbound.get(outboundKey(moved))
    if (holder === undefined || holder === installed) return null
    return refusal({ op: 'add-state', state: moved }, ERRNO.EEXIST, 'the SPI is in use by another CHILD_SA of ours')
  }

  #noteMoved(installed: InstalledChild, state: State): void {
    if (state.direction === 'out' && installed.outboundHalf !== 'gone') {
      this.#byOutbound.delete(outboundKey(installed.outbound))
      this.#byOutbound.set(outboundKey(state), installed)
    }
    installed.noteUpdated(state)
  }

  /** Part of Ledger. */
  #stops(children: readonly InstalledChild[]): readonly Operation[] {
    const operations: Operation[] = []
    for (const owner of children) {
      for (const policy of owner.policies) {
        const inForce = this.#claims.get(policyKey(policy))?.[0]
        if (policy.direction !== 'out' || inForce?.owner !== owner) continue
        operations.push({ op: 'set-policy', policy: { ...policy, action: 'block', template: null } })
      }
    }
    return operations
  }

  /** Part of Ledger. */
  #loosened(owner: InstalledChild): readonly Operation[] {
    const operations: Operation[] = []
    for (const policy of owner.policies) {
      const { direction, template } = policy
      if (direction === 'out' || template === null || this.#claims.get(policyKey(policy))?.[0]?.owner !== owner) continue
      const source = IpAddress.any(template.source.family)
      operations.push({ op: 'set-policy', policy: { ...policy, template: { ...template, source } } })
    }
    return operations
  }

  /** Part of Ledger. */
  #reclaim(installed: InstalledChild, dynamic: DynamicHosts): readonly Operation[] {
    const operations: Operation[] = []
    const policies = installed.policies.map((policy) => {
      const state = policy.direction === 'out' ? installed.outbound : installed.inbound
      const moved = movedPolicy(policy, whereaboutsOf(state), dynamic)
      const key = policyKey(policy)
      const claims = this.#claims.get(key) ?? []
      const claim = claims.find(({ owner }) => owner === installed)
      if (claim === undefined) return moved
      if (policyKey(moved) === key) {
        claim.policy = moved
        // In any case: outward ones are stopped, and any may have been refused the last time.
        if (claims[0] === claim) operations.push({ op: 'set-policy', policy: moved })
      } else {
        operations.push(...this.#claim(installed, [moved]), ...this.#disclaim(installed, [policy]))
      }
      return moved
    })
    installed.notePolicies(policies)
    return operations
  }

  /** Deletes a state of it wherever it may have been left on the way. */
  #tracesOf(installed: InstalledChild): readonly Operation[] {
    const places = new Map((installed.traces ?? []).map((id) => [outboundKey(id), id]))
    return [...places.values()]
      .map((id): Operation => ({ op: 'delete-state', id }))
      .filter((operation) => !this.#isClaimedAgain(operation))
  }

  /**
   * What both directions carried so far, or null when the kernel has one of them no more that it should have. A half
   * that it is not to have carried nothing. Rejects with any other KernelError.
   */
  async usage(installed: InstalledChild): Promise<ChildUsage | null> {
    const usage = usageIn(await this.#kernel.perform(usageQueries(installed)))
    if (usage !== null && 'code' in usage) throw usage
    return usage
  }

  /** The same of several, and, if `countsDrops`, what was dropped for its form: the kernel is asked about all of it together. */
  async look(all: readonly InstalledChild[], countsDrops: boolean): Promise<Look> {
    const operations: Operation[] = countsDrops ? [QUERY_DROPS] : []
    const ends = all.map((installed) => operations.push(...usageQueries(installed)))
    const outcomes = await this.#kernel.perform(operations)
    const [drops] = outcomes
    let next = countsDrops ? 1 : 0
    return {
      usages: ends.map((end) => usageIn(outcomes.slice(next, (next = end)))),
      stateMismatches: countsDrops && drops?.kind === 'drops' ? drops.stateMismatches : null,
    }
  }

  /**
   * What the outbound halves carried, all asked about together, in their order: null where the kernel has none that it
   * should have, or is to have none; the KernelError where it will not tell.
   */
  async outboundUsages(all: readonly InstalledChild[]): Promise<readonly (Usage | KernelError | null)[]> {
    const sending = all.filter(({ outboundHalf }) => outboundHalf === 'installed')
    const outcomes = await this.#kernel.perform(sending.map(({ outbound }) => usageQuery(outbound)))
    let next = 0
    return all.map((installed) => {
      if (installed !== sending[next]) return null
      const outcome = outcomes[next++]
      if (outcome?.kind === 'usage') return outcome.usage
      return outcome?.kind === 'refused' && !isAbsent(outcome.error) ? outcome.error : null
    })
  }

  /**
   * What each child has carried, null where the kernel lacks a state of it: to be asked after an overrun, when expire
   * events may have been lost.
   */
  async survey(): Promise<readonly { readonly child: InstalledChild; readonly usage: ChildUsage | null }[]> {
    const found: { readonly child: InstalledChild; readonly usage: ChildUsage | null }[] = []
    for (const child of this.children()) {
      const usage = await this.usage(child)
      if (this.#byInboundSpi.get(child.inbound.spi) === child) found.push({ child, usage })
    }
    return found
  }

  /** Takes everything out of the kernel that we put there. Resolves to what the kernel refused to let go: empty when all is gone. */
  async removeAll(): Promise<readonly KernelError[]> {
    return this.#inTurn(async () => {
      for (const child of this.children()) await this.#takeOut(child)
      for (const installed of this.#stateless) await this.#delete(this.#disclaim(installed))
      this.#stateless.clear()
      const reservations = [...this.#larval].map(([spi, { local, remote }]) => deletion(spi, remote, local))
      this.#larval.clear()
      const again = this.#leftovers
      this.#leftovers = []
      return this.#delete([...reservations, ...again])
    })
  }

  /** What Linux would do wrong with an outbound state; its SPI was chosen by the peer, who may choose as he likes. */
  #objectionTo(outbound: State): KernelError | null {
    const operation: Operation = { op: 'add-state', state: outbound }
    // Linux takes such a state, and then finds it neither to use nor to delete it.
    if (outbound.spi === 0) return refusal(operation, ERRNO.EINVAL, '0 is no SPI')
    // Linux refuses it as well, but taking our half back would then take away the other CHILD_SA's.
    return this.#byOutbound.has(outboundKey(outbound))
      ? refusal(operation, ERRNO.EEXIST, 'the SPI is in use by another CHILD_SA of ours')
      : null
  }

  /** One change at a time, in the order they were asked for. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change)
    this.#turn = result.catch(() => undefined)
    return result
  }

  async #one(operation: Operation): Promise<Outcome> {
    const [outcome] = await this.#kernel.perform([operation])
    assert(outcome !== undefined, 'an operation has an outcome')
    return outcome
  }

  /** Enters the owner's claims on these of its policies; the operations put those that win into force. */
  #claim(owner: PolicyOwner, policies: readonly Policy[]): readonly Operation[] {
    const operations: Operation[] = []
    for (const policy of policies) {
      const key = policyKey(policy)
      const claims = this.#claims.get(key)
      const inForce = claims?.[0]?.policy
      const claim = { owner, policy, order: this.#order++ }
      if (claims === undefined) {
        // The only one, as nearly always: no room is made for others.
        this.#claims.set(key, [claim])
      } else {
        const behind = claims.findIndex((other) => byRank(claim, other) < 0)
        claims.splice(behind < 0 ? claims.length : behind, 0, claim)
      }
      const wins = claims === undefined || claims[0] === claim
      // A successor's inbound policies say what its predecessor's say: they stay untouched.
      if (wins && (inForce === undefined || !isSamePolicy(inForce, policy))) operations.push({ op: 'set-policy', policy })
    }
    return operations
  }

  /** Strikes the owner's claims; the operations bring the next claim into force, or delete the policy. */
  #disclaim(owner: PolicyOwner, policies: readonly Policy[] = owner.policies): readonly Operation[] {
    const operations: Operation[] = []
    for (const policy of policies.toReversed()) {
      const key = policyKey(policy)
      const claims = this.#claims.get(key)
      const index = claims?.findIndex((claim) => claim.owner === owner) ?? -1
      if (claims === undefined || index < 0) continue
      claims.splice(index, 1)
      const [next] = claims
      if (next === undefined) {
        this.#claims.delete(key)
        const { direction, selector, mark, ifId } = policy
        operations.push({ op: 'delete-policy', id: { direction, selector, mark, ifId } })
      } else if (index === 0 && !isSamePolicy(next.policy, policy)) {
        operations.push({ op: 'set-policy', policy: next.policy })
      }
    }
    return operations
  }

  /** Out of the kernel and out of the books, whatever of it is there. */
  async #takeOut(
    child: InstalledChild,
    states: readonly State[] = child.outboundHalf === 'installed' ? [child.outbound, child.inbound] : [child.inbound],
  ): Promise<readonly KernelError[]> {
    const operations = [...this.#disclaim(child), ...states.map((state): Operation => ({ op: 'delete-state', id: idOf(state) }))]
    this.#strike(child)
    if (child.outboundHalf !== 'gone') this.#byOutbound.delete(outboundKey(child.outbound))
    this.#forgetPending(child)
    child.outboundHalf = 'gone'
    return this.#delete([...operations, ...this.#tracesOf(child)])
  }

  #enter(child: InstalledChild): void {
    this.#byInboundSpi.set(child.inbound.spi, child)
    this.#reqidHolders.set(child.reqid, (this.#reqidHolders.get(child.reqid) ?? 0) + 1)
  }

  #strike(child: InstalledChild): void {
    if (!this.#byInboundSpi.delete(child.inbound.spi)) return
    const others = this.#reqidHolders.get(child.reqid)! - 1
    if (others === 0) this.#reqidHolders.delete(child.reqid)
    else this.#reqidHolders.set(child.reqid, others)
  }

  /** Somebody has it now who is to keep it: a policy with the same selectors, or a state that got the same SPI. */
  #isClaimedAgain(operation: Operation): boolean {
    if (operation.op === 'delete-policy') return this.#claims.has(policyKey(operation.id))
    if (operation.op !== 'delete-state') return false
    const { id } = operation
    return this.childOf(id) !== null || this.#larval.get(id.spi)?.local.equals(id.destination) === true
  }

  /** Performs operations that take away. What is absent already was the aim; what is refused is kept for removeAll. */
  async #delete(operations: readonly Operation[]): Promise<readonly KernelError[]> {
    // What was refused before may be let go now; that it is refused again is no news.
    const again = this.#leftovers.filter((operation) => !this.#isClaimedAgain(operation))
    this.#leftovers = []
    const all = [...operations, ...again]
    if (all.length === 0) return []
    const errors: KernelError[] = []
    const outcomes = await this.#kernel.perform(all)
    outcomes.forEach((outcome, i) => {
      if (outcome.kind !== 'refused' || isAbsent(outcome.error)) return
      if (i < operations.length) errors.push(outcome.error)
      const operation = all[i]!
      // A policy that could not be restored belongs to another child, which will delete it in its turn.
      if (operation.op !== 'set-policy') this.#leftovers.push(operation)
    })
    return errors
  }
}

const QUERY_DROPS: Operation = { op: 'query-drops' }

const NO_HOSTS: DynamicHosts = { local: false, remote: false }

/** Of a half that the kernel does not have. */
const UNUSED: Usage = { bytes: 0n, packets: 0n, lastUsedSeconds: null, sequence: 0n, replayed: 0, integrityFailed: 0 }

/** What is to be asked about a CHILD_SA: of one half or of both, the inbound one first. */
function usageQueries({ inbound, outbound, outboundHalf }: InstalledChild): readonly Operation[] {
  return outboundHalf === 'installed' ? [usageQuery(inbound), usageQuery(outbound)] : [usageQuery(inbound)]
}

function usageQuery(state: State): Operation {
  return { op: 'query-state', id: idOf(state) }
}

/** See Books.usage. */
function usageIn(outcomes: readonly Outcome[]): ChildUsage | KernelError | null {
  for (const outcome of outcomes) if (outcome.kind === 'refused') return isAbsent(outcome.error) ? null : outcome.error
  const [inbound, outbound = { kind: 'usage', usage: UNUSED }] = outcomes
  assert(inbound?.kind === 'usage' && outbound?.kind === 'usage', 'a state asked about is answered by its usage')
  return { in: inbound.usage, out: outbound.usage }
}

function byRank(a: Claim, b: Claim): number {
  const isStateless = (claim: Claim): number => Number(claim.owner instanceof InstalledPolicies)
  return a.policy.priority - b.policy.priority || isStateless(a) - isStateless(b) || b.order - a.order
}

function isAbsent(error: KernelError): boolean {
  return error.code === 'KERNEL_NO_SUCH_STATE' || error.code === 'KERNEL_NO_SUCH_POLICY'
}

/** Whether what was to go stays. */
function isRefused(outcome: Outcome): boolean {
  return outcome.kind === 'refused' && !isAbsent(outcome.error)
}

function firstRefusal(outcomes: readonly Outcome[]): KernelError | null {
  for (const outcome of outcomes) if (outcome.kind === 'refused') return outcome.error
  return null
}

function throwFirst(errors: readonly KernelError[]): void {
  if (errors[0] !== undefined) throw errors[0]
}

function idOf({ spi, source, destination, mark }: StateId): StateId {
  return { spi, source, destination, mark: mark ?? null }
}

function deletion(spi: number, source: IpAddress, destination: IpAddress): Operation {
  return { op: 'delete-state', id: { spi, source, destination } }
}

/** Outbound SPIs are the peers' choice and unique per peer address, and per mark, only. */
function outboundKey({ spi, destination, mark }: Pick<StateId, 'spi' | 'destination' | 'mark'>): string {
  return `${destination.toString()} ${spi}${markKey(mark ?? null)}`
}

function inboundState(child: ChildInstallation): State {
  const selector = stateSelector(child)
  const spis = { spi: child.inboundSpi, source: child.remote, destination: child.local }
  // The packet that asked is waiting for the outbound state, so the inbound one answers no ACQUIRE.
  return stateOf(child, 'in', spis, child.inbound, selector === null ? null : reversed(selector), 0)
}

function outboundState(child: ChildInstallation): State {
  const spis = { spi: child.outboundSpi, source: child.local, destination: child.remote }
  return stateOf(child, 'out', spis, child.outbound, stateSelector(child), child.acquireSequence)
}

function stateOf(
  child: ChildInstallation,
  direction: 'in' | 'out',
  { spi, source, destination }: StateId,
  { encryption, integrity }: Keying,
  selector: Selector | null,
  acquireSequence: number,
): State {
  const { mode, reqid, esn, replayWindow, copyDf, copyEcn, copyDscpOut, copyDscpIn } = child
  const encapsulation = child.encapsulation === null ? null : encapsulationOf(direction, child.encapsulation)
  const { mark, setMark, ifId } = ofState(child.separation, direction)
  // Property by property: objects put together from others take half as much room again.
  return {
    spi,
    source,
    destination,
    direction,
    mode,
    reqid,
    encryption,
    integrity,
    esn,
    replayWindow,
    encapsulation,
    selector,
    copyDf,
    copyEcn,
    copyDscpOut,
    copyDscpIn,
    limits: child.limits[direction],
    acquireSequence,
    mark,
    setMark,
    ifId,
  }
}

/** Zeros for keys that the kernel ignores, shared by all: nobody can put a key into them. */
const FORGOTTEN = new Map<number, Secret>()

function forgotten(key: Secret): Secret {
  const known = FORGOTTEN.get(key.length)
  if (known !== undefined) return known
  const zeros = new Secret(new Uint8Array(key.length))
  FORGOTTEN.set(key.length, zeros)
  return zeros
}

/** What the books keep of a state: an update has keys of the right length, but the kernel does not look at them. */
function withoutKeys(state: State): State {
  const { encryption, integrity } = state
  return {
    ...state,
    encryption: { id: encryption.id, keyLength: encryption.keyLength, key: forgotten(encryption.key) },
    integrity: integrity === null ? null : { id: integrity.id, key: forgotten(integrity.key) },
  }
}

/**
 * Transport mode states check addresses themselves, which tells apart SAs that share a reqid. With several selectors
 * none of them fits all the traffic, and the policies have to do.
 */
function stateSelector(child: ChildInstallation): Selector | null {
  const [local, anotherLocal] = child.localSelectors
  const [remote, anotherRemote] = child.remoteSelectors
  if (child.mode !== 'transport' || local === undefined || remote === undefined) return null
  if (anotherLocal !== undefined || anotherRemote !== undefined) return null
  if (local.range.prefixLength === null || remote.range.prefixLength === null) return null
  return addressSelector(local.range, remote.range)
}
