/**
 * A VICI client: commands one after the other, streamed responses, events, over a stream that the edge opened.
 *
 * Commands asked for at the same time wait for each other, for a connection has one command at a time (strongSwan:
 * vici/README.md, "Commands"). A refusal, success=no, is a response like any other here.
 */
import { assert } from '../base/assert.ts'
import { EspalierError } from '../base/errors.ts'
import type { ByteStream, StreamEars } from '../ports.ts'
import { UNREAD_EVENTS_MAX } from './limits.ts'
import { MalformedVici, section, type ViciSection } from './message.ts'
import { Inbox, parsePacket, writePacket, type Packet } from './packet.ts'

/** The daemon does not know what was asked of it: an older one, or none that offers this. */
export class UnknownToDaemon extends EspalierError {
  override readonly name = 'UnknownToDaemon'
  constructor(what: string) {
    super('caller', 'VICI_UNKNOWN', `the daemon knows no ${what}`)
  }
}

/** The connection to the daemon ended before an answer came, or what came is no VICI. */
export class Disconnected extends EspalierError {
  override readonly name = 'Disconnected'
  constructor(reason: string, options?: ErrorOptions) {
    super('system', 'VICI_DISCONNECTED', reason, options)
  }
}

type Answer = Exclude<Packet, { readonly kind: 'event' | 'request' | 'register' | 'unregister' }>

/** Events that came and were not taken yet. */
class EventQueue {
  readonly #events: ViciSection[] = []
  #wake: (() => void) | null = null
  #end: EspalierError | null = null
  #isEnded = false

  get length(): number {
    return this.#events.length
  }

  put(event: ViciSection): void {
    this.#events.push(event)
    this.#rouse()
  }

  /** What is here can still be taken; then comes the end, by this error if there is one. */
  end(error: EspalierError | null): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#end = error
    this.#rouse()
  }

  /** Null at the end. */
  async take(): Promise<ViciSection | null> {
    for (;;) {
      const event = this.#events.shift()
      if (event !== undefined) return event
      if (this.#end !== null) throw this.#end
      if (this.#isEnded) return null
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  #rouse(): void {
    this.#wake?.()
    this.#wake = null
  }
}

export class ViciClient {
  readonly #stream: ByteStream
  readonly #inbox = new Inbox()
  readonly #queues = new Map<string, Set<EventQueue>>()
  /** Settles when the exchange before has ended. */
  #turn: Promise<unknown> = Promise.resolve()
  #awaited: { readonly resolve: (answer: Answer) => void; readonly reject: (error: EspalierError) => void } | null = null
  /** Events that somebody streams: the daemon is not read from while too many of these are unread. */
  #streamed: EventQueue | null = null
  #isPaused = false
  #end: Disconnected | null = null

  /** `open` connects the ears it is given and returns the stream. */
  constructor(open: (ears: StreamEars) => ByteStream) {
    this.#stream = open({
      onBytes: (bytes) => this.#read(bytes),
      onDrained: () => {},
      onClosed: (error) =>
        this.#ended(
          error === null
            ? new Disconnected('the daemon closed the connection')
            : new Disconnected(`the connection to the daemon broke: ${error.message}`, { cause: error }),
        ),
    })
  }

  /** The response to a command. Rejects with UnknownToDaemon, Disconnected or UnwritableVici. */
  call(command: string, request: ViciSection = section()): Promise<ViciSection> {
    return this.#inTurn(() => this.#request(command, request))
  }

  /** The events with which the daemon answers a command, one by one; what the iterator returns at its end is the response. */
  async *stream(command: string, request: ViciSection, event: string): AsyncGenerator<ViciSection, ViciSection, undefined> {
    const queue = new EventQueue()
    const response = this.#inTurn(async () => {
      await this.#listen(event, queue)
      this.#streamed = queue
      try {
        return await this.#request(command, request)
      } finally {
        this.#streamed = null
        this.#resume()
        await this.#unlisten(event, queue)
      }
    })
    // A consumer that has left does not hear of a failure; everybody else does, below.
    response.then(
      () => queue.end(null),
      () => queue.end(null),
    )
    try {
      for (let message = await queue.take(); message !== null; message = await queue.take()) {
        yield message
        if (queue.length < UNREAD_EVENTS_MAX / 2) this.#resume()
      }
    } finally {
      // Whoever leaves early still lets the answer come to its end.
      this.#queues.get(event)?.delete(queue)
      this.#resume()
    }
    return response
  }

  /**
   * Events as they come, from the moment the promise resolves; leaving the loop unregisters. Fails, unlike a stream, when
   * too many are left unread.
   */
  async register(event: string): Promise<AsyncGenerator<ViciSection, void, undefined>> {
    const queue = new EventQueue()
    await this.#inTurn(() => this.#listen(event, queue))
    return this.#events(event, queue)
  }

  /** Ends the connection; whatever is awaited is rejected. */
  close(): void {
    this.#ended(new Disconnected('the connection was closed'))
    this.#stream.end()
  }

  async *#events(event: string, queue: EventQueue): AsyncGenerator<ViciSection, void, undefined> {
    try {
      for (let message = await queue.take(); message !== null; message = await queue.take()) yield message
    } finally {
      await this.#inTurn(() => this.#unlisten(event, queue))
    }
  }

  // -- exchanges --------------------------------------------------------------------------------------------------

  #inTurn<Value>(exchange: () => Promise<Value>): Promise<Value> {
    const result = this.#turn.then(exchange)
    this.#turn = result.catch(() => {})
    return result
  }

  async #request(command: string, request: ViciSection): Promise<ViciSection> {
    const answer = await this.#exchange({ kind: 'request', name: command, message: request })
    if (answer.kind === 'response') return answer.message
    if (answer.kind === 'command-unknown') throw new UnknownToDaemon(`command ${command}`)
    throw this.#ended(new Disconnected(`the daemon answered a command with ${answer.kind}`))
  }

  async #listen(event: string, queue: EventQueue): Promise<void> {
    const queues = this.#queues.get(event) ?? new Set()
    this.#queues.set(event, queues)
    queues.add(queue)
    // From the confirmation on events may come, so the queue is there before it.
    if (queues.size > 1) return
    const { kind } = await this.#exchange({ kind: 'register', name: event })
    if (kind === 'event-confirm') return
    this.#queues.delete(event)
    throw new UnknownToDaemon(`event ${event}`)
  }

  async #unlisten(event: string, queue: EventQueue): Promise<void> {
    const queues = this.#queues.get(event)
    queues?.delete(queue)
    if (queues === undefined || queues.size > 0) return
    this.#queues.delete(event)
    if (this.#end === null) await this.#exchange({ kind: 'unregister', name: event })
  }

  #exchange(packet: Packet): Promise<Answer> {
    if (this.#end !== null) return Promise.reject(this.#end)
    assert(this.#awaited === null, 'one exchange begins when the one before has ended')
    const bytes = writePacket(packet)
    return new Promise<Answer>((resolve, reject) => {
      this.#awaited = { resolve, reject }
      this.#stream.write(bytes)
    })
  }

  // -- what comes -------------------------------------------------------------------------------------------------

  #read(piece: Uint8Array): void {
    if (this.#end !== null) return
    try {
      this.#inbox.put(piece)
      for (let bytes = this.#inbox.next(); bytes !== null; bytes = this.#inbox.next()) this.#take(parsePacket(bytes))
    } catch (error) {
      if (!(error instanceof MalformedVici)) throw error
      this.#ended(new Disconnected(`what the daemon sent is no VICI: ${error.message}`, { cause: error }))
    }
  }

  #take(packet: Packet): void {
    switch (packet.kind) {
      case 'event':
        for (const queue of this.#queues.get(packet.name) ?? []) this.#deliver(queue, packet.message)
        return
      case 'request':
      case 'register':
      case 'unregister':
        this.#ended(new Disconnected(`the daemon sent a packet only a client sends (${packet.kind})`))
        return
      case 'response':
      case 'command-unknown':
      case 'event-confirm':
      case 'event-unknown': {
        const awaited = this.#awaited
        this.#awaited = null
        if (awaited === null) this.#ended(new Disconnected(`the daemon sent ${packet.kind} and nothing was asked`))
        awaited?.resolve(packet)
      }
    }
  }

  #deliver(queue: EventQueue, message: ViciSection): void {
    if (queue.length < UNREAD_EVENTS_MAX) return queue.put(message)
    if (queue !== this.#streamed)
      return queue.end(
        new EspalierError('caller', 'VICI_EVENTS_UNREAD', `more than ${UNREAD_EVENTS_MAX} events were left unread`),
      )
    queue.put(message)
    if (this.#isPaused) return
    this.#isPaused = true
    this.#stream.pause()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#stream.resume()
  }

  #ended(reason: Disconnected): Disconnected {
    if (this.#end !== null) return this.#end
    this.#end = reason
    this.#inbox.clear()
    this.#awaited?.reject(reason)
    this.#awaited = null
    for (const queues of this.#queues.values()) for (const queue of queues) queue.end(reason)
    this.#stream.end()
    return reason
  }
}
