/**
 * A kernel in memory, for simulation, benchmarks and machines without ESP (`--kernel memory`): the states, policies
 * and rules of Linux XFRM as far as a key daemon can see them, and packets that can be sent through. No I/O: time and
 * dice are handed in, events are handed out from `protect`, `receive` and `handleTimeout`, never from `perform`.
 *
 * It is stricter than Linux where Linux would hide our mistake: adding an inbound state over a live one is refused
 * (Linux updates it and keeps the old keys).
 */
import { hash } from 'node:crypto'

import { assert } from '../base/assert.ts'
import { Reader, Writer } from '../base/bytes.ts'
import { Endpoint, type IpAddress, IpRange } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { ERRNO, refused, unchanged } from '../kernel/refusals.ts'
import { policyKey, portMaskOf } from '../kernel/selectors.ts'
import type {
  Encapsulation,
  KernelCapabilities,
  KernelEvent,
  Mark,
  Operation,
  Outcome,
  Policy,
  PolicyDirection,
  PortRange,
  Selector,
  State,
  StateContents,
  StateId,
  Template,
  Usage,
} from '../kernel/vocabulary.ts'
import type { Clock, Entropy, Kernel } from '../ports.ts'
import { StateTable } from './state-table.ts'

/** An allocated SPI, or the state that waits for an acquire to be answered, lives this long (Linux: net.core.xfrm_acq_expires, as the real edge sets it). */
export const ACQUIRE_EXPIRES: Milliseconds = 165 * SECOND

const FIRST_SPI = 0xc000_0000
const SPI_BITS = 0x0fff_ffff
const LAST_SHORT_SEQUENCE = 0xffff_ffffn
const SPI_ATTEMPTS = 100

/** A packet in the clear. `length` in bytes, IP header included. Ports are 0 where the protocol has none. */
export interface PlainPacket {
  readonly source: IpAddress
  readonly destination: IpAddress
  readonly protocol: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly length: number
  /** Netfilter's, 0 unless told; it does not leave the machine. */
  readonly mark?: number
  /** Of the XFRM interface it comes or goes by, 0 unless told. */
  readonly ifId?: number
}

/** An ESP packet on the wire; a NAT in the simulation rewrites source, destination and the ports of the encapsulation. */
export interface ProtectedPacket {
  readonly source: IpAddress
  readonly destination: IpAddress
  readonly spi: number
  readonly sequence: bigint
  readonly encapsulation: Encapsulation | null
  readonly mode: State['mode']
  /** See MemoryState. */
  readonly seal: string
  readonly inner: PlainPacket
}

/**
 * A state without its keys. `seal` is a digest of algorithms and keys: equal exactly for the two ends of one SA,
 * and fit to be printed.
 */
export interface MemoryState extends Omit<State, 'encryption' | 'integrity'> {
  readonly encryptionId: number
  readonly integrityId: number | null
  readonly seal: string
}

export type Protection =
  /** No policy wants it protected. */
  | { readonly kind: 'clear' }
  | { readonly kind: 'protected'; readonly packet: ProtectedPacket }
  /** A policy forbids it, or its state is used up; named as in /proc/net/xfrm_stat. */
  | { readonly kind: 'blocked'; readonly counter: string }
  /** No state yet; an acquire event was raised, unless one is being waited for already. */
  | { readonly kind: 'acquire' }

export type Reception =
  | { readonly kind: 'delivered'; readonly packet: PlainPacket }
  /** Named as in /proc/net/xfrm_stat: XfrmInNoStates, XfrmInStateMismatch... */
  | { readonly kind: 'dropped'; readonly counter: string }

export interface MemoryKernelOptions {
  readonly clock: Clock
  readonly entropy: Entropy
  readonly onEvent: (event: KernelEvent) => void
  /** Fault injection: the errno (positive) an operation is refused with, or null to let it be done. */
  readonly refuse?: (operation: Operation) => number | null
  /** False: built without CONFIG_XFRM_MIGRATE. */
  readonly movesStates?: boolean
}

interface LiveState {
  readonly id: StateId
  state: MemoryState
  readonly addedAt: Milliseconds
  /** Sent so far, or highest received. */
  sequence: bigint
  /** Received, within the replay window; null before the first packet, since most states never see one here. */
  seen: Set<bigint> | null
  bytes: bigint
  packets: bigint
  lastUsed: Milliseconds | null
  replayed: number
  integrityFailed: number
  /** A soft limit was told of. */
  dying: boolean
}

/** What was in a state that is taken: it goes on with all it had, but for what Linux counts anew. */
class MemoryContents implements StateContents {
  #live: LiveState | null

  constructor(live: LiveState) {
    this.#live = { ...live, seen: live.seen === null ? null : new Set(live.seen) }
  }

  goOnAs(state: State): LiveState {
    assert(this.#live !== null, 'contents are used before they are destroyed')
    const { encryption, integrity, ...rest } = state
    const { encryptionId, integrityId, seal } = this.#live.state
    assert(encryption.id === encryptionId && (integrity?.id ?? null) === integrityId, 'a state goes on with its algorithms')
    const isNew = { replayed: 0, integrityFailed: 0, dying: false }
    const moved = { id: idOf(state), state: { ...rest, encryptionId, integrityId, seal } }
    return { ...this.#live, ...moved, seen: new Set(this.#live.seen), ...isNew }
  }

  destroy(): void {
    this.#live = null
  }
}

interface Reservation {
  readonly id: StateId
  readonly expiresAt: Milliseconds
}

interface LiveAcquire {
  readonly sequence: number
  readonly key: string
  readonly expiresAt: Milliseconds
}

export class MemoryKernel implements Kernel {
  readonly capabilities: KernelCapabilities
  readonly #clock: Clock
  readonly #entropy: Entropy
  readonly #onEvent: (event: KernelEvent) => void
  readonly #refuse: (operation: Operation) => number | null
  /** Oldest first, which is the order Linux searches policies of equal priority in. */
  readonly #policies = new Map<string, Policy>()
  readonly #states = new StateTable<LiveState>()
  readonly #reservations = new StateTable<Reservation>()
  readonly #acquires = new Map<string, LiveAcquire>()
  readonly #counters = new Map<string, number>()
  #acquireSequence = 0
  /** Undefined: a state has come, gone, been changed or told of since it was known. */
  #nextTimeout: Milliseconds | null | undefined

  constructor(options: MemoryKernelOptions) {
    this.#clock = options.clock
    this.#entropy = options.entropy
    this.#onEvent = options.onEvent
    this.#refuse = options.refuse ?? (() => null)
    this.capabilities = { missing: [], families: [4, 6], movesStates: options.movesStates ?? true }
  }

  perform(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    return Promise.resolve(operations.map((operation) => this.#perform(operation)))
  }

  /** Installed states, oldest first, reservations not included. */
  states(): readonly MemoryState[] {
    return Array.from(this.#states.values(), (live) => live.state)
  }

  /** Installed policies, oldest first. */
  policies(): readonly Policy[] {
    return [...this.#policies.values()]
  }

  /** SPIs allocated and not yet installed, given back or expired. */
  reservations(): readonly StateId[] {
    this.#dropExpired()
    return Array.from(this.#reservations.values(), (reservation) => reservation.id)
  }

  /** How many of each there are. */
  get counts(): { readonly states: number; readonly policies: number; readonly reservations: number } {
    this.#dropExpired()
    return { states: this.#states.size, policies: this.#policies.size, reservations: this.#reservations.size }
  }

  /** Dropped packets by reason, named as in /proc/net/xfrm_stat. */
  counters(): ReadonlyMap<string, number> {
    return this.#counters
  }

  #perform(operation: Operation): Outcome {
    this.#dropExpired()
    const errno = this.#refuse(operation)
    if (errno !== null) return refused(operation, errno, 'refused for a test')
    switch (operation.op) {
      case 'allocate-spi': {
        const { source, destination } = operation
        for (let attempt = 0; attempt < SPI_ATTEMPTS; attempt++) {
          const spi = FIRST_SPI + (new Reader(this.#entropy.bytes(4)).u32() & SPI_BITS)
          const id = { spi, source, destination }
          if (this.#states.get(id) !== undefined || this.#reservations.get(id) !== undefined) continue
          this.#reservations.add({ id, expiresAt: this.#clock.now() + ACQUIRE_EXPIRES })
          return { kind: 'spi', spi }
        }
        return refused(operation, ERRNO.ENOENT, 'Failed to find a free SPI')
      }
      case 'add-state':
        return this.#add(operation)
      case 'update-state':
        return this.#update(operation, operation.state)
      case 'delete-state': {
        if (this.#reservations.delete(operation.id)) return { kind: 'done' }
        if (!this.#states.delete(operation.id)) return refused(operation, ERRNO.ESRCH, null)
        this.#nextTimeout = undefined
        return { kind: 'done' }
      }
      case 'query-state': {
        const live = this.#states.get(operation.id)
        return live === undefined ? refused(operation, ERRNO.ESRCH, null) : { kind: 'usage', usage: this.#usageOf(live) }
      }
      case 'query-drops':
        return { kind: 'drops', stateMismatches: this.#counters.get('XfrmInStateMismatch') ?? 0 }
      case 'read-state':
      case 'take-state': {
        const live = this.#states.get(operation.id)
        if (live === undefined) return refused(operation, ERRNO.ESRCH, null)
        if (operation.op === 'take-state') {
          this.#states.delete(operation.id)
          this.#nextTimeout = undefined
        }
        return { kind: 'contents', contents: new MemoryContents(live) }
      }
      case 'move-state':
        return this.#move(operation)
      case 'set-policy': {
        const { policy } = operation
        this.#policies.set(policyKey(policy), policy)
        return { kind: 'done' }
      }
      case 'delete-policy': {
        if (!this.#policies.delete(policyKey(operation.id))) return refused(operation, ERRNO.ENOENT, null)
        return { kind: 'done' }
      }
    }
  }

  #add(operation: Extract<Operation, { op: 'add-state' }>): Outcome {
    const { state, contents } = operation
    if (this.#states.get(state) !== undefined) return refused(operation, ERRNO.EEXIST, null)
    this.#nextTimeout = undefined
    if (contents !== undefined) {
      assert(contents instanceof MemoryContents, 'a state goes on in the kernel that it was taken from')
      this.#states.add(contents.goOnAs(state))
      return { kind: 'done' }
    }
    // A reservation has no mark, and goes for a state that has one as well.
    if (state.direction === 'in') this.#reservations.delete({ spi: state.spi, destination: state.destination })
    // The state that waits for an answer goes for the one it asked for, or the one that serves its template (Linux: xfrm_state_add).
    for (const [acquireKey, acquire] of this.#acquires) {
      const isAnswered =
        acquire.sequence === state.acquireSequence || (state.direction === 'out' && acquireKey === templateKey(state))
      if (isAnswered) this.#acquires.delete(acquireKey)
    }
    this.#states.add({
      id: idOf(state),
      state: withoutKeys(state),
      addedAt: this.#clock.now(),
      sequence: 0n,
      seen: null,
      bytes: 0n,
      packets: 0n,
      lastUsed: null,
      replayed: 0,
      integrityFailed: 0,
      dying: false,
    })
    return { kind: 'done' }
  }

  /** Linux takes the youngest that has this reqid, mode and these addresses; whether it was the right one is read back. */
  #move(operation: Extract<Operation, { op: 'move-state' }>): Outcome {
    if (!this.capabilities.movesStates) return refused(operation, ERRNO.ENOPROTOOPT, null)
    const { from, to } = operation
    if (this.#states.get(from) === undefined) return refused(operation, ERRNO.ESRCH, null)
    const fits = ({ state: { reqid, mode, source, destination } }: LiveState): boolean =>
      reqid === from.reqid && mode === from.mode && source.equals(from.source) && destination.equals(from.destination)
    const live = [...this.#states.values()].findLast(fits)
    if (live === undefined) return unchanged(operation, 'there is none where it is said to be')
    const { source, destination } = to
    const state = { ...live.state, source, destination, encapsulation: to.encapsulation ?? live.state.encapsulation }
    const there = this.#states.get(state)
    if (there !== undefined && there !== live) return refused(operation, ERRNO.ENODATA, null)
    this.#states.delete(live.id)
    this.#states.add({ ...live, id: idOf(state), state })
    this.#nextTimeout = undefined
    return live.state.spi === from.spi ? { kind: 'done' } : unchanged(operation, 'it was another one of its reqid')
  }

  #update(operation: Operation, state: State): Outcome {
    const live = this.#states.get(state)
    if (live === undefined) return refused(operation, ERRNO.ESRCH, null)
    if ((live.state.encapsulation === null) !== (state.encapsulation === null)) return refused(operation, ERRNO.EINVAL, null)
    if (!live.state.source.equals(state.source))
      return unchanged(operation, 'the source address of a state cannot be changed in place')
    const { encapsulation, limits, setMark, ifId } = state
    live.state = { ...live.state, encapsulation, limits, setMark, ifId }
    live.dying = false
    this.#nextTimeout = undefined
    return { kind: 'done' }
  }

  /** Takes a plain packet from the host or a network behind it through the outbound policies. */
  protect(packet: PlainPacket): Protection {
    this.#dropExpired()
    const policy = this.#match('out', packet)
    if (policy === null || (policy.action === 'allow' && policy.template === null)) return { kind: 'clear' }
    if (policy.action === 'block' || policy.template === null) return { kind: 'blocked', counter: this.#count('XfrmOutPolBlock') }
    const live = this.#outboundFor(policy, policy.template, packet)
    if (live === null) return this.#acquire(policy, policy.template, packet)
    if (!this.#chargeable(live)) return { kind: 'blocked', counter: this.#count('XfrmOutStateExpired') }
    const { state } = live
    if (!state.esn && live.sequence >= LAST_SHORT_SEQUENCE)
      return { kind: 'blocked', counter: this.#count('XfrmOutStateSeqError') }
    live.sequence++
    this.#charge(live, packet)
    const { spi, source, destination, encapsulation, mode, seal } = state
    return {
      kind: 'protected',
      packet: { source, destination, spi, sequence: live.sequence, encapsulation, mode, seal, inner: unmarked(packet) },
    }
  }

  /** Takes an ESP packet off the wire, to the inbound state of its destination, SPI and mark and through the inbound policies. */
  receive(packet: ProtectedPacket, mark = 0): Reception {
    this.#dropExpired()
    // An ESP packet has no mark; who reserved its SPI had none, either.
    const place = { spi: packet.spi, destination: packet.destination }
    if (this.#reservations.get(place) !== undefined) return this.#drop('XfrmAcquireError')
    const live = this.#states.get(place) ?? this.#markedState(packet, mark)
    if (live === undefined || live.state.direction !== 'in') return this.#drop('XfrmInNoStates')
    const { state } = live
    if ((state.encapsulation === null) !== (packet.encapsulation === null)) return this.#drop('XfrmInStateMismatch')
    if (this.#isReplay(live, packet.sequence)) {
      live.replayed++
      return this.#drop('XfrmInStateSeqError')
    }
    if (!this.#chargeable(live)) return this.#drop('XfrmInStateExpired')
    if (state.seal !== packet.seal) {
      live.integrityFailed++
      return this.#drop('XfrmInStateProtoError')
    }
    if (state.mode !== packet.mode) return this.#drop('XfrmInStateModeError')
    // A transport mode packet has no addresses of its own: it has those it arrived with, after all NATs.
    const { source, destination } = state.mode === 'transport' ? packet : packet.inner
    const inner = marked({ ...packet.inner, source, destination }, remarked(state, mark), state.ifId)
    this.#tellMapping(state, packet)
    this.#noteSequence(live, packet.sequence)
    this.#charge(live, packet.inner)
    // Linux looks at the selector with the policies, when it has told of the mapping.
    if (state.selector !== null && !matches(state.selector, inner)) return this.#drop('XfrmInStateMismatch')
    const counter = this.#policyObjection(inner, state)
    return counter === null ? { kind: 'delivered', packet: inner } : this.#drop(counter)
  }

  #markedState({ spi, destination }: ProtectedPacket, mark: number): LiveState | undefined {
    for (const live of this.#states.values()) {
      const { state } = live
      const isMeant = state.spi === spi && state.destination.equals(destination) && fitsMark(state.mark, mark)
      if (state.mark !== null && isMeant) return live
    }
    return undefined
  }

  /** Takes a packet that arrived in the clear through the inbound policies. */
  receiveClear(packet: PlainPacket): Reception {
    const counter = this.#policyObjection(packet, null)
    return counter === null ? { kind: 'delivered', packet } : this.#drop(counter)
  }

  /** Makes a state behave as if it had sent or received everything up to `sequence`: nobody simulates that many packets. */
  skipSequence(id: StateId, sequence: bigint): void {
    const live = this.#states.get(id)
    if (live === undefined) return
    live.sequence = sequence
    live.packets = sequence
  }

  /** When `handleTimeout` has something to do next, or null. */
  nextTimeout(): Milliseconds | null {
    if (this.#nextTimeout === undefined) {
      let next = Infinity
      for (const live of this.#states.values()) {
        const { softSeconds, hardSeconds } = live.state.limits
        if (softSeconds > 0 && !live.dying) next = Math.min(next, live.addedAt + softSeconds * SECOND)
        if (hardSeconds > 0) next = Math.min(next, live.addedAt + hardSeconds * SECOND)
      }
      this.#nextTimeout = next === Infinity ? null : next
    }
    return this.#nextTimeout
  }

  /** Raises the expire events whose time has come. */
  handleTimeout(): void {
    const now = this.#clock.now()
    for (const live of this.#states.values()) {
      const { softSeconds, hardSeconds } = live.state.limits
      if (hardSeconds > 0 && now >= live.addedAt + hardSeconds * SECOND) this.#expire(live)
      else if (softSeconds > 0 && !live.dying && now >= live.addedAt + softSeconds * SECOND) this.#tellSoft(live)
    }
  }

  #usageOf(live: LiveState): Usage {
    const { bytes, packets, sequence, replayed, integrityFailed } = live
    const ago = live.lastUsed === null ? null : this.#clock.now() - live.lastUsed
    const lastUsedSeconds = ago === null ? null : Math.floor((this.#clock.wall() - ago) / SECOND)
    return { bytes, packets, lastUsedSeconds, sequence, replayed, integrityFailed }
  }

  /** The policy in force for a packet: lowest priority, the older of equal ones. */
  #match(direction: PolicyDirection, packet: PlainPacket): Policy | null {
    let best: Policy | null = null
    for (const policy of this.#policies.values()) {
      if (policy.direction !== direction || !matches(policy.selector, packet)) continue
      if (!fitsMark(policy.mark, packet.mark ?? 0) || policy.ifId !== (packet.ifId ?? 0)) continue
      if (best === null || policy.priority < best.priority) best = policy
    }
    return best
  }

  /** The newest state that fits the template, as Linux picks it. */
  #outboundFor({ mark, ifId }: Policy, template: Template, packet: PlainPacket): LiveState | null {
    const { source, destination } = template.mode === 'tunnel' ? template : packet
    let newest: LiveState | null = null
    for (const live of this.#states.values()) {
      const { state } = live
      if (state.direction !== 'out' || state.reqid !== template.reqid || state.mode !== template.mode) continue
      if (template.spi !== 0 && state.spi !== template.spi) continue
      if (state.ifId !== ifId || !fitsMark(state.mark, mark === null ? 0 : (mark.value & mark.mask) >>> 0)) continue
      if (!state.source.equals(source) || !state.destination.equals(destination)) continue
      if (state.selector !== null && !matches(state.selector, packet)) continue
      newest = live
    }
    return newest
  }

  #acquire(policy: Policy, template: Template, packet: PlainPacket): Protection {
    const { source, destination } = template.mode === 'tunnel' ? template : packet
    const key = templateKey({ source, destination, mode: template.mode, reqid: template.reqid })
    if (!this.#acquires.has(key)) {
      const sequence = ++this.#acquireSequence
      this.#acquires.set(key, { sequence, key, expiresAt: this.#clock.now() + ACQUIRE_EXPIRES })
      this.#onEvent({
        event: 'acquire',
        sequence,
        reqid: template.reqid,
        source,
        destination,
        packet: selectorOf(packet),
        policy: policy.selector,
      })
    }
    return { kind: 'acquire' }
  }

  /** Why a packet that came through `state` (null: in the clear) may not go on, or null. */
  #policyObjection(packet: PlainPacket, state: MemoryState | null): string | null {
    const local = state === null || packet.destination.equals(state.destination)
    const policy = this.#match(local ? 'in' : 'fwd', packet)
    if (policy === null) return null
    if (policy.action === 'block') return 'XfrmInPolBlock'
    const { template } = policy
    if (template === null) return null
    if (state === null || state.reqid !== template.reqid || state.mode !== template.mode) return 'XfrmInTmplMismatch'
    if (template.mode === 'transport') return null
    // Linux: a template with a source of zeros is for states from anywhere.
    if (template.source.isAny) return null
    return state.source.equals(template.source) && state.destination.equals(template.destination) ? null : 'XfrmInTmplMismatch'
  }

  #tellMapping(state: MemoryState, packet: ProtectedPacket): void {
    if (state.encapsulation === null || packet.encapsulation === null) return
    const from = new Endpoint(state.source, state.encapsulation.sourcePort)
    const to = new Endpoint(packet.source, packet.encapsulation.sourcePort)
    if (from.equals(to)) return
    this.#onEvent({ event: 'mapping', spi: state.spi, reqid: state.reqid, destination: state.destination, from, to })
  }

  #isReplay(live: LiveState, sequence: bigint): boolean {
    const window = BigInt(live.state.replayWindow)
    if (window === 0n || sequence > live.sequence) return false
    return live.sequence - sequence >= window || (live.seen?.has(sequence) ?? false)
  }

  #noteSequence(live: LiveState, sequence: bigint): void {
    if (sequence > live.sequence) live.sequence = sequence
    if (live.state.replayWindow === 0) return
    live.seen ??= new Set()
    live.seen.add(sequence)
    for (const old of live.seen) if (live.sequence - old >= BigInt(live.state.replayWindow)) live.seen.delete(old)
  }

  /** Whether the limits leave room for one packet more; tells of the ones that are reached. */
  #chargeable(live: LiveState): boolean {
    const { hardBytes, hardPackets, softBytes, softPackets } = live.state.limits
    if (reached(live.bytes, hardBytes) || reached(live.packets, hardPackets)) {
      this.#expire(live)
      return false
    }
    if (!live.dying && (reached(live.bytes, softBytes) || reached(live.packets, softPackets))) this.#tellSoft(live)
    return true
  }

  #charge(live: LiveState, packet: PlainPacket): void {
    live.bytes += BigInt(packet.length)
    live.packets++
    live.lastUsed = this.#clock.now()
  }

  #tellSoft(live: LiveState): void {
    live.dying = true
    this.#nextTimeout = undefined
    this.#onEvent({ event: 'expire', id: live.id, reqid: live.state.reqid, hard: false })
  }

  #expire(live: LiveState): void {
    this.#states.delete(live.id)
    this.#nextTimeout = undefined
    this.#onEvent({ event: 'expire', id: live.id, reqid: live.state.reqid, hard: true })
  }

  /** Reservations and acquires are kept in the order they expire in. */
  #dropExpired(): void {
    if (this.#reservations.size === 0 && this.#acquires.size === 0) return
    const now = this.#clock.now()
    for (const { id, expiresAt } of this.#reservations.values()) {
      if (now < expiresAt) break
      this.#reservations.delete(id)
    }
    for (const [key, { expiresAt }] of this.#acquires) {
      if (now < expiresAt) break
      this.#acquires.delete(key)
    }
  }

  #count(counter: string): string {
    this.#counters.set(counter, (this.#counters.get(counter) ?? 0) + 1)
    return counter
  }

  #drop(counter: string): Reception {
    return { kind: 'dropped', counter: this.#count(counter) }
  }
}

/** Whether packets of that mark are meant. */
function fitsMark(mark: Mark | null, actual: number): boolean {
  return mark === null || (actual & mark.mask) >>> 0 === mark.value
}

/** What a state makes of a packet's mark. */
function remarked({ setMark }: MemoryState, mark: number): number {
  return setMark === null ? mark : ((mark & ~setMark.mask) | (setMark.value & setMark.mask)) >>> 0
}

function templateKey({ source, destination, mode, reqid }: Pick<Template, 'source' | 'destination' | 'mode' | 'reqid'>): string {
  return `${source.toString()} ${destination.toString()} ${mode} ${reqid}`
}

function idOf({ spi, source, destination, mark }: StateId): StateId {
  return { spi, source, destination, mark: mark ?? null }
}

/** As the machine knows it, which nobody else sees. */
function marked(packet: PlainPacket, mark: number, ifId: number): PlainPacket {
  return { ...packet, ...(mark === 0 ? {} : { mark }), ...(ifId === 0 ? {} : { ifId }) }
}

/** What others see of it. */
function unmarked(packet: PlainPacket): PlainPacket {
  const { source, destination, protocol, sourcePort, destinationPort, length } = packet
  return { source, destination, protocol, sourcePort, destinationPort, length }
}

function reached(value: bigint, limit: bigint): boolean {
  return limit > 0n && value >= limit
}

const NO_KEY = new Uint8Array()

/** What the kernel keeps of a state; who installed the keys may destroy them afterwards. */
function withoutKeys(state: State): MemoryState {
  const { encryption, integrity, spi, source, destination, mark, direction, mode, reqid, esn, replayWindow } = state
  const { encapsulation, selector, limits, copyDf, copyEcn, copyDscpOut, copyDscpIn, acquireSequence, setMark, ifId } = state
  const [key, integrityKey] = [encryption.key.dangerouslyReveal(), integrity?.key.dangerouslyReveal() ?? NO_KEY]
  const sealed = new Writer(10 + key.length + integrityKey.length)
    .u16(encryption.id)
    .u16(encryption.keyLength ?? 0)
    .u16(integrity?.id ?? 0)
    .u16(Number(esn))
    .u16(key.length)
    .bytes(key)
    .bytes(integrityKey)
    .finish()
  const seal = hash('sha256', sealed, 'hex')
  sealed.fill(0)
  // Field by field: an object that is the rest of another has its fields looked up one after the other each time.
  return {
    spi,
    source,
    destination,
    mark,
    direction,
    mode,
    reqid,
    esn,
    replayWindow,
    encapsulation,
    selector,
    limits,
    copyDf,
    copyEcn,
    copyDscpOut,
    copyDscpIn,
    acquireSequence,
    setMark,
    ifId,
    encryptionId: encryption.id,
    integrityId: integrity?.id ?? null,
    seal,
  }
}

/** Linux compares the parts under a mask, so a range of ports that is no aligned power of two matches more than it says. */
function portMatches(range: PortRange, port: number): boolean {
  const masked = portMaskOf(range)
  return (port & masked.mask) === masked.port
}

function matches(selector: Selector, packet: PlainPacket): boolean {
  return (
    selector.source.contains(packet.source) &&
    selector.destination.contains(packet.destination) &&
    (selector.protocol === 0 || selector.protocol === packet.protocol) &&
    portMatches(selector.sourcePorts, packet.sourcePort) &&
    portMatches(selector.destinationPorts, packet.destinationPort)
  )
}

function selectorOf(packet: PlainPacket): Selector {
  return {
    source: new IpRange(packet.source, packet.source),
    destination: new IpRange(packet.destination, packet.destination),
    protocol: packet.protocol,
    sourcePorts: { first: packet.sourcePort, last: packet.sourcePort },
    destinationPorts: { first: packet.destinationPort, last: packet.destinationPort },
  }
}
