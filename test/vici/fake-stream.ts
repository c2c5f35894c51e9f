/** Streams in memory, with a peer that reads or doesn't. */
import type { ByteStream, StreamEars } from '../../src/ports.ts'
import { Inbox, parsePacket, writePacket, type Packet } from '../../src/vici/packet.ts'

export class FakeStream implements ByteStream {
  backlog = 0
  isPaused = false
  state: 'open' | 'ended' | 'destroyed' = 'open'
  #ears: StreamEars | null = null
  #isReading = true
  #isClosed = false
  readonly #inbox = new Inbox()

  /** What `accept` of a server returned. */
  set ears(ears: StreamEars) {
    this.#ears = ears
  }

  // -- as its owner sees it

  write(bytes: Uint8Array): void {
    if (this.state !== 'open' || this.#isClosed) return
    this.#inbox.put(bytes)
    if (!this.#isReading) this.backlog += bytes.length
  }
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
  end(): void {
    this.state = 'ended'
  }
  destroy(): void {
    this.state = 'destroyed'
  }

  // -- as its peer does

  say(...packets: readonly Packet[]): void {
    for (const packet of packets) this.sayBytes(writePacket(packet))
  }
  sayBytes(bytes: Uint8Array): void {
    this.#ears!.onBytes(bytes)
  }
  stopReading(): void {
    this.#isReading = false
  }
  readOn(): void {
    this.#isReading = true
    this.backlog = 0
    this.#ears!.onDrained()
  }
  leave(error: Error | null = null): void {
    this.#isClosed = true
    this.#ears!.onClosed(error)
  }
  /** The packets that came since this was asked last. */
  heard(): Packet[] {
    const packets: Packet[] = []
    for (let bytes = this.#inbox.next(); bytes !== null; bytes = this.#inbox.next()) packets.push(parsePacket(bytes))
    return packets
  }
}

/** Resolves when everything that can happen by itself has happened. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}
