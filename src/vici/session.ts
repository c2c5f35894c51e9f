/**
 * One client of the server: its requests one after the other, what it registered for, and how much of it is unread.
 *
 * Requests are answered in the order they came in, the next begins when the last is answered (strongSwan: "only one
 * command can be active at a time on a single connection"). Two things protect everybody else: a client that asks faster
 * than it reads answers is not read from, and one that doesn't read the events it registered for is cut off.
 */
import { assert } from '../base/assert.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import type { ByteStream, StreamEars } from '../ports.ts'
import { ClientGone, failed, type CommandContext, type Handlers } from './command.ts'
import { isEventName, type EventName } from './event-names.ts'
import { BACKLOG_BYTES_FULL, BACKLOG_BYTES_MAX, PACKETS_PER_TURN } from './limits.ts'
import { MalformedVici, UnwritableVici, type ViciSection } from './message.ts'
import type { Operations } from './operations.ts'
import { Inbox, parsePacket, writePacket, type Packet } from './packet.ts'

/** What a session needs of its server. */
export interface SessionHost {
  readonly commands: Handlers
  readonly operations: Operations
  /** Resolves when everybody else who has something to do has had a turn. */
  readonly nextTurn: () => Promise<void>
  /** Something to be told in the log. `isDefect`: of ours. */
  readonly onTrouble: (sentence: string, isDefect: boolean) => void
  /** The client registered for the event or, `wanted` false, does not want it any more. */
  readonly onInterest: (event: EventName, wanted: boolean) => void
  /** Called once. */
  readonly onGone: (session: Session) => void
}

export class Session implements StreamEars {
  /** What we call the client in the log. */
  readonly number: number
  readonly #host: SessionHost
  readonly #stream: ByteStream
  readonly #inbox = new Inbox()
  readonly #registered = new Set<EventName>()
  readonly #gone = new AbortController()
  #isPaused = false
  #isWorking = false
  #packets = 0
  /** Those who wait for the client to read. */
  #waiting: (() => void)[] = []

  constructor(number: number, stream: ByteStream, host: SessionHost) {
    this.number = number
    this.#stream = stream
    this.#host = host
  }

  isRegistered(event: EventName): boolean {
    return this.#registered.has(event)
  }

  /** Sends a packet that others get too; a client that does not read is cut off. */
  raise(packet: Uint8Array): void {
    const backlog = this.#stream.backlog + packet.length
    if (backlog <= BACKLOG_BYTES_MAX) return this.#stream.write(packet)
    this.#cutOff(`does not read the events it registered for and was cut off with ${backlog} bytes unread`)
  }

  /** Ends in good order: what is on its way is still sent. */
  end(): void {
    this.#stream.end()
    this.#leave()
  }

  // -- what the stream tells --------------------------------------------------------------------------------------

  onBytes(bytes: Uint8Array): void {
    if (this.#gone.signal.aborted) return
    this.#inbox.put(bytes)
    this.#pauseOrResume()
    void this.#work()
  }

  onDrained(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const go of waiting) go()
  }

  onClosed(_error: Error | null): void {
    // How it ended does not matter: the client has gone, and nothing of ours was lost.
    this.#leave()
  }

  // -- requests ---------------------------------------------------------------------------------------------------

  async #work(): Promise<void> {
    if (this.#isWorking) return
    this.#isWorking = true
    try {
      for (let bytes = this.#next(); bytes !== null; bytes = this.#next()) {
        await this.#handle(bytes)
        await this.#afterPacket()
        this.#pauseOrResume()
      }
    } catch (error) {
      if (!(error instanceof ClientGone)) throw error
    } finally {
      this.#isWorking = false
    }
  }

  #next(): Uint8Array | null {
    if (this.#gone.signal.aborted) return null
    try {
      return this.#inbox.next()
    } catch (error) {
      this.#noPacket(error)
      return null
    }
  }

  async #handle(bytes: Uint8Array): Promise<void> {
    try {
      await this.#do(parsePacket(bytes))
    } catch (error) {
      this.#noPacket(error)
    } finally {
      // strongSwan: chunk_clear. Private keys and passwords come this way.
      bytes.fill(0)
    }
  }

  #noPacket(error: unknown): void {
    if (!(error instanceof MalformedVici)) throw error
    this.#cutOff(`sent what is no packet and was cut off: ${error.message}`)
  }

  async #do(packet: Packet): Promise<void> {
    switch (packet.kind) {
      case 'request':
        return this.#answer(packet.name, packet.message)
      case 'register':
        return this.#send({ kind: this.#register(packet.name) ? 'event-confirm' : 'event-unknown' })
      case 'unregister':
        return this.#send({ kind: this.#unregister(packet.name) ? 'event-confirm' : 'event-unknown' })
      case 'response':
      case 'command-unknown':
      case 'event-confirm':
      case 'event-unknown':
      case 'event':
        return this.#cutOff(`sent a packet only a daemon sends (${packet.kind}) and was cut off`)
    }
  }

  #register(name: string): boolean {
    if (!isEventName(name)) return false
    if (!this.#registered.has(name)) {
      this.#registered.add(name)
      this.#host.onInterest(name, true)
    }
    return true
  }

  /** strongSwan: unknown is also an event that the client had not registered for. */
  #unregister(name: string): boolean {
    if (!isEventName(name) || !this.#registered.delete(name)) return false
    this.#host.onInterest(name, false)
    return true
  }

  async #answer(command: string, request: ViciSection): Promise<void> {
    const handler = Object.hasOwn(this.#host.commands, command) ? this.#host.commands[command] : undefined
    if (handler === undefined) return this.#send({ kind: 'command-unknown' })
    const context: CommandContext = {
      operations: this.#host.operations,
      signal: this.#gone.signal,
      stream: (event, message) => this.#streamed(event, message),
    }
    let message: ViciSection
    try {
      message = await handler(request, context)
    } catch (error) {
      if (error instanceof ClientGone && this.#gone.signal.aborted) return
      message = this.#failure(command, error)
    }
    try {
      this.#send({ kind: 'response', message })
    } catch (error) {
      // strongSwan: sends nothing, and the client waits for ever.
      if (!(error instanceof UnwritableVici)) throw error
      this.#send({ kind: 'response', message: failed(`the response cannot be sent: ${error.message}`) })
    }
  }

  #failure(command: string, error: unknown): ViciSection {
    if (error instanceof EspalierError) return failed(error.message.slice(0, 1000))
    const trace = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#host.onTrouble(`VICI command ${command} failed by a defect of ours: ${trace}`, true)
    return failed('internal error')
  }

  async #streamed(event: string, message: ViciSection): Promise<void> {
    assert(isEventName(event), `${event} is an event clients can register for`)
    if (this.#gone.signal.aborted) throw new ClientGone()
    if (!this.#registered.has(event)) return
    try {
      this.#send({ kind: 'event', name: event, message })
    } catch (error) {
      if (!(error instanceof UnwritableVici)) throw error
      this.#host.onTrouble(`a VICI event ${event} cannot be sent and was left out: ${messageOf(error)}`, true)
    }
    await this.#afterPacket()
  }

  #send(packet: Packet): void {
    const bytes = writePacket(packet)
    if (!this.#gone.signal.aborted) this.#stream.write(bytes)
  }

  // -- everybody else ---------------------------------------------------------------------------------------------

  /** After each packet of an answer, and after each answer: waits while the client does not read, and lets others have a turn. */
  async #afterPacket(): Promise<void> {
    if (++this.#packets % PACKETS_PER_TURN === 0) await this.#host.nextTurn()
    while (!this.#gone.signal.aborted && this.#stream.backlog > BACKLOG_BYTES_FULL)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    if (this.#gone.signal.aborted) throw new ClientGone()
  }

  #pauseOrResume(): void {
    if (this.#gone.signal.aborted || this.#isPaused === this.#inbox.isFull) return
    this.#isPaused = this.#inbox.isFull
    if (this.#isPaused) this.#stream.pause()
    else this.#stream.resume()
  }

  #cutOff(what: string): void {
    this.#host.onTrouble(`VICI client ${this.number} ${what}`, false)
    this.#stream.destroy()
    this.#leave()
  }

  #leave(): void {
    if (this.#gone.signal.aborted) return
    for (const event of this.#registered) this.#host.onInterest(event, false)
    this.#registered.clear()
    this.#inbox.clear()
    this.#gone.abort(new ClientGone())
    this.onDrained()
    this.#host.onGone(this)
  }
}
