/**
 * The VICI server: all its clients, and the events that go to those who registered for them. Where the clients come from
 * is the edge's business; each is a stream of bytes here.
 */
import { assert } from '../base/assert.ts'
import { messageOf } from '../base/errors.ts'
import type { ByteStream, StreamEars } from '../ports.ts'
import type { Handlers } from './command.ts'
import type { EventName } from './event-names.ts'
import { CLIENTS_MAX } from './limits.ts'
import { UnwritableVici, type ViciSection } from './message.ts'
import type { Operations } from './operations.ts'
import { writePacket } from './packet.ts'
import { Session, type SessionHost } from './session.ts'

export interface ServerOptions extends Pick<SessionHost, 'nextTurn' | 'onTrouble'> {
  readonly commands: Handlers
  readonly operations: Operations
}

/** Ears of a stream that is closed already. */
const DEAF: StreamEars = { onBytes: () => {}, onDrained: () => {}, onClosed: () => {} }

export class ViciServer {
  readonly #options: ServerOptions
  readonly #sessions = new Set<Session>()
  readonly #interest = new Map<EventName, number>()
  readonly #watchers = new Map<EventName, ((wanted: boolean) => void)[]>()
  #number = 0
  #isFull = false

  constructor(options: ServerOptions) {
    this.#options = options
  }

  get clients(): number {
    return this.#sessions.size
  }

  /** Takes a new client; its stream tells the ears that come back. */
  accept(stream: ByteStream): StreamEars {
    if (this.#sessions.size >= CLIENTS_MAX) {
      // One line for as long as it lasts.
      if (!this.#isFull) this.#options.onTrouble(`${CLIENTS_MAX} VICI clients are connected: further ones are turned away`, false)
      this.#isFull = true
      stream.destroy()
      return DEAF
    }
    const session = new Session(++this.#number, stream, {
      ...this.#options,
      onInterest: (event, wanted) => this.#count(event, wanted ? 1 : -1),
      onGone: (gone) => {
        this.#sessions.delete(gone)
        this.#isFull = false
      },
    })
    this.#sessions.add(session)
    return session
  }

  /** Sends the event to every client that registered for it; without any, `message` is not asked for. */
  raise(event: EventName, message: () => ViciSection): void {
    if (!this.isWanted(event)) return
    let packet: Uint8Array
    try {
      packet = writePacket({ kind: 'event', name: event, message: message() })
    } catch (error) {
      if (!(error instanceof UnwritableVici)) throw error
      return this.#options.onTrouble(`a VICI event ${event} cannot be sent and was left out: ${messageOf(error)}`, true)
    }
    for (const session of this.#sessions) if (session.isRegistered(event)) session.raise(packet)
  }

  /** Whether some client registered for the event. */
  isWanted(event: EventName): boolean {
    return (this.#interest.get(event) ?? 0) > 0
  }

  /** `watcher` hears when the first client registers for the event, and when the last of them does not want it any more. */
  watch(event: EventName, watcher: (wanted: boolean) => void): void {
    const watchers = this.#watchers.get(event) ?? []
    watchers.push(watcher)
    this.#watchers.set(event, watchers)
  }

  /** Parts with all clients; what is on its way to them is still sent. */
  close(): void {
    for (const session of this.#sessions) session.end()
  }

  #count(event: EventName, by: 1 | -1): void {
    const before = this.#interest.get(event) ?? 0
    const after = before + by
    assert(after >= 0, 'nobody unregisters from an event who did not register for it')
    this.#interest.set(event, after)
    if (before === 0 || after === 0) for (const watcher of this.#watchers.get(event) ?? []) watcher(after > 0)
  }
}
