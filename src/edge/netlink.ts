/**
 * The real kernel: XFRM over netlink. Two sockets, one for requests and their answers, one for events, so that a flood
 * of the latter cannot lose the former. Requests go and are answered by one call of our own addon for many of them: by
 * the package of the sockets it would be two of the system's calls for each answer.
 *
 * Of events that were lost an overrun is told; a request whose answer was lost times out.
 */
import { readFile, writeFile } from 'node:fs/promises'

import { assert } from '../base/assert.ts'
import { messageOf } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { lackOfPermission, lackOfXfrm, probeKernel } from '../kernel/check.ts'
import { ERRNO, refused, unchanged } from '../kernel/refusals.ts'
import type { KernelCapabilities, KernelEvent, Operation, Outcome, State, StateId, Usage } from '../kernel/vocabulary.ts'
import type { EspAlgorithms } from '../negotiate/algorithms.ts'
import { type ReceivedMessage, readMessages, REQUEST_CAPACITY } from '../kernel/xfrm/attributes.ts'
import { NETLINK_XFRM, NLMSG_ERROR, XFRM_MSG, XFRMNLGRP } from '../kernel/xfrm/constants.ts'
import { decodeContents, XfrmContents } from '../kernel/xfrm/contents.ts'
import { encodeMigration, migrationPolicy } from '../kernel/xfrm/migration.ts'
import { decodeAcknowledgement, decodeEvent, decodeState, decodeUsage, type ReportedState } from '../kernel/xfrm/replies.ts'
import { encodeOperation, encodeState, encodeStateId, UnknownTransform } from '../kernel/xfrm/requests.ts'
import { XfrmFormatError } from '../kernel/xfrm/structs.ts'
import type { Kernel } from '../ports.ts'
import { native, type NativeError } from './native.ts'
import { openNetlinkSocket, type NetlinkSocket } from './netlink-socket.ts'

/** Messages in one send. Their answers must fit the receive buffer: a state, the largest, takes about 2 KiB there. */
const MESSAGES_PER_SEND = 64
/** Of answer to one message: a state with a replay bitmap and its acknowledgement, and twice that. */
const ANSWER_BYTES = 4096

/** strongSwan: 8 MiB. Doubled by the kernel, which counts its overhead. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024

/** The kernel answers before the send returns; what takes longer than this will not come. */
const REPLY_TIMEOUT: Milliseconds = 10 * SECOND

/** strongSwan: reserved SPIs and unanswered acquires live as long as an IKE exchange may take with all retransmissions. */
const ACQUIRE_EXPIRES_SECONDS = 165
const ACQUIRE_EXPIRES_PATH = '/proc/sys/net/core/xfrm_acq_expires'

/** What was dropped in our network namespace, by reason: a line each. */
const DROPS_PATH = '/proc/net/xfrm_stat'

const EBADMSG = 74

export interface NetlinkKernelOptions {
  /** Called once per event, never from within `perform`. */
  readonly onEvent: (event: KernelEvent) => void
  /** What befell the sockets, a sentence each: for the log. */
  readonly onTrouble?: (sentence: string) => void
  /** ESP algorithms that are configured: the kernel is tried for each. */
  readonly algorithms?: readonly EspAlgorithms[]
  readonly replyTimeout?: Milliseconds
  readonly receiveBufferBytes?: number
}

export interface NetlinkKernel extends Kernel {
  /** Closes the sockets; what waits for an answer is refused. Kernel objects stay: the books remove them before. */
  close(): Promise<void>
}

/**
 * Opens the kernel and tries what it can. Never rejects: what is missing, down to XFRM itself, is in `capabilities`,
 * and operations are then refused.
 */
export async function openNetlinkKernel(options: NetlinkKernelOptions): Promise<NetlinkKernel> {
  const kernel = new XfrmKernel(options)
  await kernel.open(options.algorithms ?? [])
  return kernel
}

/** What a request came to. `errno` positive, 0 for done. */
interface Answer {
  readonly errno: number
  readonly text: string | null
  /** What the state has carried, if nothing else of it was asked for. */
  readonly usage: Usage | null
  /** The state that came with it. */
  readonly state: ReportedState | null
  /** What is in it, if that was asked for, and is told. */
  readonly contents: XfrmContents | null
}

/** A request on its way. */
interface Exchange {
  readonly sequence: number
  readonly bytes: Uint8Array
  readonly settle: (answer: Answer) => void
  /** What is in a state is wanted, too: its keys are nowhere kept that nobody asks for. */
  readonly wantsContents: boolean
  /** What comes last if all is well: what a state has carried, and nothing more is looked at, or an acknowledgement. */
  readonly end: 'usage' | 'acknowledgement'
  usage: Usage | null
  state: ReportedState | null
  contents: XfrmContents | null
}

class XfrmKernel implements NetlinkKernel {
  readonly #onEvent: (event: KernelEvent) => void
  readonly #onTrouble: (sentence: string) => void
  readonly #replyTimeout: Milliseconds
  readonly #receiveBufferBytes: number
  #capabilities: KernelCapabilities = { missing: [], families: [], movesStates: false }
  #requests: NetlinkSocket | null = null
  /** What is sent and answered goes through these, and is wiped at once: there are keys in it. */
  readonly #outgoing = new Uint8Array(MESSAGES_PER_SEND * REQUEST_CAPACITY)
  readonly #answers = new Uint8Array(MESSAGES_PER_SEND * ANSWER_BYTES)
  #events: NetlinkSocket | null = null
  #eventsLost = 0
  #closed = false
  #sequence = 0
  #waiting: Exchange[] = []
  readonly #inFlight = new Map<number, Exchange>()
  #timer: NodeJS.Timeout | null = null
  #pumpIsDue = false

  constructor(options: NetlinkKernelOptions) {
    this.#onEvent = options.onEvent
    this.#onTrouble = options.onTrouble ?? (() => undefined)
    this.#replyTimeout = options.replyTimeout ?? REPLY_TIMEOUT
    this.#receiveBufferBytes = options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES
  }

  get capabilities(): KernelCapabilities {
    return this.#capabilities
  }

  async open(algorithms: readonly EspAlgorithms[]): Promise<void> {
    try {
      this.#openRequests()
      this.#openEvents()
    } catch (error) {
      const sentence = isPermission(error) ? lackOfPermission() : lackOfXfrm(messageOf(error))
      this.#capabilities = { missing: [sentence], families: [], movesStates: false }
      void this.#dropSockets()
      return
    }
    // Where this fails, reservations die after the kernel's 30 s; the states are then added anew, which works as well.
    await writeFile(ACQUIRE_EXPIRES_PATH, String(ACQUIRE_EXPIRES_SECONDS)).catch(() => undefined)
    this.#capabilities = await probeKernel(this, algorithms)
  }

  /** Sends what can be sent together in one datagram. An inbound state is waited for, as it may take a second attempt. */
  async perform(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes: Promise<Outcome>[] = []
    for (const operation of operations) {
      const outcome = operation.op === 'query-state' ? this.#query(operation) : this.#outcomeOf(operation)
      outcomes.push(outcome)
      if (operation.op === 'add-state' && operation.state.direction === 'in' && operation.contents === undefined) await outcome
    }
    return Promise.all(outcomes)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#failAll(ERRNO.ENOTCONN, 'the netlink socket was closed')
    await this.#dropSockets()
  }

  async #outcomeOf(operation: Operation): Promise<Outcome> {
    try {
      switch (operation.op) {
        case 'add-state':
          return await this.#addState(operation)
        case 'update-state':
          return await this.#updateState(operation, operation.state)
        case 'read-state':
          return contentsOutcome(operation, await this.#readState(operation.id))
        case 'take-state':
          return await this.#takeState(operation)
        case 'move-state':
          return await this.#moveState(operation)
        case 'query-drops':
          return await queryDrops(operation)
        default: {
          const answer = await this.#exchange((sequence) => encodeOperation(operation, sequence))
          if (answer.errno !== 0) return refused(operation, answer.errno, answer.text)
          if (operation.op !== 'allocate-spi') return { kind: 'done' }
          return answer.state === null ? unanswered(operation) : { kind: 'spi', spi: answer.state.spi }
        }
      }
    } catch (error) {
      if (error instanceof UnknownTransform) return refused(operation, ERRNO.ENOSYS, error.message)
      throw error
    }
  }

  /** Asked of thousands at once, for keepalives: one promise for each, and of the answer the counts alone. */
  #query(operation: Extract<Operation, { op: 'query-state' }>): Promise<Outcome> {
    return new Promise((resolve) => {
      const settle = ({ errno, text, usage }: Answer): void => {
        if (errno !== 0) resolve(refused(operation, errno, text))
        else resolve(usage === null ? unanswered(operation) : { kind: 'usage', usage })
      }
      this.#enqueue((sequence) => encodeOperation(operation, sequence), settle, false, 'usage')
    })
  }

  /** One behind the other in one datagram, which the kernel works off without a pause: hardly a packet comes in between. */
  async #takeState(operation: Extract<Operation, { op: 'take-state' }>): Promise<Outcome> {
    const [reading, deletion] = await Promise.all([
      this.#readState(operation.id),
      this.#exchange((sequence) => encodeStateId(XFRM_MSG.DELSA, operation.id, sequence)),
    ])
    if (deletion.errno === 0) return contentsOutcome(operation, reading)
    reading.contents?.destroy()
    return refused(operation, deletion.errno, deletion.text)
  }

  /** The kernel may agree and have found nothing, or another one, so the state is read back with it. */
  async #moveState(operation: Extract<Operation, { op: 'move-state' }>): Promise<Outcome> {
    const { from, to } = operation
    const policy = migrationPolicy(from)
    const [, migration, , reading] = await Promise.all([
      this.#exchange((sequence) => encodeOperation({ op: 'set-policy', policy }, sequence)),
      this.#exchange((sequence) => encodeMigration(from, to, policy, sequence)),
      this.#exchange((sequence) => encodeOperation({ op: 'delete-policy', id: policy }, sequence)),
      this.#exchange((sequence) => encodeStateId(XFRM_MSG.GETSA, to, sequence)),
    ])
    if (migration.errno !== 0) return refused(operation, migration.errno, migration.text)
    if (reading.errno !== 0) return refused(operation, reading.errno, reading.text)
    const difference = reading.state === null ? 'it could not be read back' : differenceOf(to, reading.state)
    return difference === null ? { kind: 'done' } : unchanged(operation, difference)
  }

  #readState(id: StateId): Promise<Answer> {
    return this.#exchange((sequence) => encodeStateId(XFRM_MSG.GETSA, id, sequence), { wantsContents: true })
  }

  async #addState(operation: Extract<Operation, { op: 'add-state' }>): Promise<Outcome> {
    const { state, contents } = operation
    if (contents !== undefined) {
      assert(contents instanceof XfrmContents, 'a state goes on in the kernel that it was taken from')
      const answer = await this.#exchange((sequence) => encodeState(state, 'new', sequence, contents))
      return answer.errno === 0 ? { kind: 'done' } : refused(operation, answer.errno, answer.text)
    }
    let answer = await this.#exchange((sequence) => encodeOperation(operation, sequence))
    // The reservation of its SPI has expired, or there was none.
    if (answer.errno === ERRNO.ESRCH && state.direction === 'in')
      answer = await this.#exchange((sequence) => encodeState(state, 'new', sequence))
    return answer.errno === 0 ? { kind: 'done' } : refused(operation, answer.errno, answer.text)
  }

  /** The kernel may agree to an update and change nothing, so the state is read back with it. */
  async #updateState(operation: Operation, state: State): Promise<Outcome> {
    const [update, reading] = await Promise.all([
      this.#exchange((sequence) => encodeState(state, 'update', sequence)),
      this.#exchange((sequence) => encodeStateId(XFRM_MSG.GETSA, state, sequence)),
    ])
    if (update.errno !== 0) return refused(operation, update.errno, update.text)
    if (reading.errno !== 0) return refused(operation, reading.errno, reading.text)
    const difference = reading.state === null ? 'it could not be read back' : differenceOf(state, reading.state)
    return difference === null ? { kind: 'done' } : unchanged(operation, difference)
  }

  /** Queues a request; it leaves with the others of this turn of the loop. */
  #exchange(encode: (sequence: number) => Uint8Array, { wantsContents = false } = {}): Promise<Answer> {
    return new Promise((settle) => this.#enqueue(encode, settle, wantsContents, 'acknowledgement'))
  }

  #enqueue(
    encode: (sequence: number) => Uint8Array,
    settle: Exchange['settle'],
    wantsContents: boolean,
    end: Exchange['end'],
  ): void {
    if (this.#closed || this.#requests === null) return settle(failed(ERRNO.ENOTCONN, 'there is no open XFRM netlink socket'))
    this.#sequence = this.#sequence === 0xffff_ffff ? 1 : this.#sequence + 1
    const sequence = this.#sequence
    const bytes = encode(sequence)
    this.#waiting.push({ sequence, bytes, settle, wantsContents, end, usage: null, state: null, contents: null })
    this.#pumpSoon()
  }

  #pumpSoon(): void {
    if (this.#pumpIsDue) return
    this.#pumpIsDue = true
    queueMicrotask(() => this.#pump())
  }

  /**
   * Sends what waits in one datagram. The kernel works it off before the send returns, and what it answers is read with
   * the same call; the rest of what waits has its turn when others have had theirs.
   */
  #pump(): void {
    this.#pumpIsDue = false
    if (this.#inFlight.size > 0 || this.#waiting.length === 0 || this.#requests === null) return
    const batch = this.#waiting.slice(0, MESSAGES_PER_SEND)
    this.#waiting = this.#waiting.slice(MESSAGES_PER_SEND)
    let length = 0
    for (const exchange of batch) {
      this.#inFlight.set(exchange.sequence, exchange)
      this.#outgoing.set(exchange.bytes, length)
      length += exchange.bytes.length
      exchange.bytes.fill(0)
    }
    let answered = 0
    try {
      answered = native.netlinkExchange(this.#requests.descriptor, this.#outgoing.subarray(0, length), this.#answers)
      for (const message of readMessages(this.#answers.subarray(0, answered))) this.#handleReply(message)
    } catch (error) {
      this.#handleTrouble(batch, error)
    } finally {
      this.#outgoing.fill(0, 0, length)
      // A state is told with its keys; nothing decoded is a view on them.
      this.#answers.fill(0, 0, answered)
    }
    if (this.#inFlight.size > 0) this.#timer = setTimeout(() => this.#timeOut(), this.#replyTimeout)
  }

  #handleTrouble(batch: readonly Exchange[], error: unknown): void {
    // An answer that cannot be read is none; whoever waits for it hears so when the time is up.
    if (error instanceof XfrmFormatError) return this.#onTrouble(error.message)
    this.#onTrouble(`a netlink request could not be sent: ${messageOf(error)}`)
    const errno = Math.abs((error as NativeError).errno ?? ERRNO.ENOTCONN)
    for (const { sequence } of batch) this.#settle(sequence, errno, 'the request could not be sent')
  }

  /**
   * A send in which the kernel loads modules or tests algorithms can block the loop for longer than the timer runs:
   * the answers are then there but not yet read, so the loop has a turn to read them before we give up.
   */
  #timeOut(): void {
    const given = [...this.#inFlight.keys()]
    setImmediate(() => {
      for (const sequence of given) this.#settle(sequence, ERRNO.ETIMEDOUT, null)
    })
  }

  #settle(sequence: number, errno: number, text: string | null): void {
    const exchange = this.#inFlight.get(sequence)
    if (exchange === undefined) return
    this.#inFlight.delete(sequence)
    exchange.settle({ errno, text, usage: exchange.usage, state: exchange.state, contents: exchange.contents })
    if (this.#inFlight.size > 0) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#waiting.length === 0 || this.#pumpIsDue) return
    this.#pumpIsDue = true
    setImmediate(() => this.#pump())
  }

  #failAll(errno: number, text: string): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const { bytes, settle } of waiting) {
      bytes.fill(0)
      settle(failed(errno, text))
    }
    for (const { sequence, bytes } of [...this.#inFlight.values()]) {
      bytes.fill(0)
      this.#settle(sequence, errno, text)
    }
  }

  #openRequests(): void {
    // What is late.
    this.#requests = this.#openSocket((messages) => {
      for (const message of messages) this.#handleReply(message)
    })
  }

  #openEvents(): void {
    const events = this.#openSocket((messages) => {
      for (const message of messages) {
        const event = decodeEvent(message)
        if (event !== null) this.#onEvent(event)
      }
      this.#handleLosses(events.descriptor)
    })
    this.#events = events
    for (const group of Object.values(XFRMNLGRP)) events.socket.addMembership(group)
  }

  /** A buffer that overflows is full of messages, so there is always one more to be received after a loss. */
  #handleLosses(descriptor: number): void {
    // Whoever was told of an event may have closed us.
    if (this.#closed) return
    const lost = native.netlinkDrops(descriptor)
    if (lost === this.#eventsLost) return
    this.#eventsLost = lost
    this.#onEvent({ event: 'overrun' })
  }

  #openSocket(onMessages: (messages: readonly ReceivedMessage[]) => void): NetlinkSocket {
    return openNetlinkSocket({
      protocol: NETLINK_XFRM,
      receiveBufferBytes: this.#receiveBufferBytes,
      onMessages,
      onTrouble: this.#onTrouble,
      // A state is told with its keys; nothing decoded is a view on them.
      wipes: true,
    })
  }

  async #dropSockets(): Promise<void> {
    const sockets = [this.#requests, this.#events]
    this.#requests = null
    this.#events = null
    for (const socket of sockets) await socket?.close()
  }

  #handleReply(message: ReceivedMessage): void {
    const exchange = this.#inFlight.get(message.sequence)
    if (exchange === undefined) return
    if (message.type === XFRM_MSG.NEWSA && exchange.end === 'usage') {
      exchange.usage = decodeUsage(message)
      this.#settle(message.sequence, 0, null)
    } else if (message.type === XFRM_MSG.NEWSA) {
      exchange.state = decodeState(message)
      if (exchange.wantsContents) exchange.contents = decodeContents(message)
    } else if (message.type === NLMSG_ERROR) {
      const { errno, text } = decodeAcknowledgement(message)
      this.#settle(message.sequence, errno, text)
    }
  }
}

function failed(errno: number, text: string): Answer {
  return { errno, text, usage: null, state: null, contents: null }
}

function unanswered(operation: Operation): Outcome {
  return refused(operation, EBADMSG, 'the kernel agreed, but did not answer')
}

function contentsOutcome(operation: Operation, { errno, text, contents }: Answer): Outcome {
  if (errno !== 0) return refused(operation, errno, text)
  if (contents === null) return refused(operation, ERRNO.EACCES, 'it does not tell the keys of a state')
  return { kind: 'contents', contents }
}

/** A kernel may be built without these counters. */
async function queryDrops(operation: Operation): Promise<Outcome> {
  const text = await readFile(DROPS_PATH, 'latin1').catch(() => '')
  const mismatches = /^XfrmInStateMismatch\s+(\d+)$/m.exec(text)
  return mismatches === null
    ? refused(operation, ERRNO.ENOENT, `${DROPS_PATH} does not tell`)
    : { kind: 'drops', stateMismatches: Number(mismatches[1]) }
}

function isPermission(error: unknown): boolean {
  const errno = error instanceof Error && 'errno' in error && typeof error.errno === 'number' ? Math.abs(error.errno) : 0
  return errno === ERRNO.EPERM || errno === ERRNO.EACCES
}

/** What of an update is not in the state that was read back, or null. */
function differenceOf(wanted: State, found: ReportedState): string | null {
  if (!found.source.equals(wanted.source)) return `its source address is still ${found.source.toString()}`
  const ports = (state: Pick<State, 'encapsulation'>): string =>
    state.encapsulation === null ? 'none' : `${state.encapsulation.sourcePort} to ${state.encapsulation.destinationPort}`
  return ports(found) === ports(wanted) ? null : `its UDP ports are still ${ports(found)}`
}
