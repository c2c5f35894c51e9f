/**
 * VICI packets and their transport (strongSwan: vici/README.md, "Transport protocol" and "Packet layer"):
 *
 *   length (32 bits)   of what follows, at most 512 KiB
 *   type (8 bits)
 *   name               in types that have one: its length (8 bits) and that many printable ASCII characters
 *   message            in types that have one: all that is left
 */
import { concatBytes, OutOfBytes, Reader, Writer } from '../base/bytes.ts'
import { PACKET_BYTES_MAX, READ_AHEAD_BYTES } from './limits.ts'
import {
  MalformedVici,
  parseViciMessage,
  readName,
  UnwritableVici,
  writeName,
  writeViciMessage,
  type ViciSection,
} from './message.ts'

const TYPES = [
  { kind: 'request', named: true, message: true },
  { kind: 'response', named: false, message: true },
  { kind: 'command-unknown', named: false, message: false },
  { kind: 'register', named: true, message: false },
  { kind: 'unregister', named: true, message: false },
  { kind: 'event-confirm', named: false, message: false },
  { kind: 'event-unknown', named: false, message: false },
  { kind: 'event', named: true, message: true },
] as const

export type Packet =
  | { readonly kind: 'request' | 'event'; readonly name: string; readonly message: ViciSection }
  | { readonly kind: 'register' | 'unregister'; readonly name: string }
  | { readonly kind: 'response'; readonly message: ViciSection }
  | { readonly kind: 'command-unknown' | 'event-confirm' | 'event-unknown' }

/** The packet without its length. Throws MalformedVici. */
export function parsePacket(bytes: Uint8Array): Packet {
  const reader = new Reader(bytes)
  try {
    const number = reader.u8()
    const type = TYPES[number]
    if (type === undefined) throw new MalformedVici(0, `there is no packet of type ${number}`)
    const name = type.named ? readName(reader) : ''
    // What follows in a packet without a message is passed over (strongSwan: does so).
    if (!type.message) return type.named ? { kind: type.kind, name } : { kind: type.kind }
    const message = parseViciMessage(reader.rest())
    return type.named ? { kind: type.kind, name, message } : { kind: type.kind, message }
  } catch (error) {
    if (!(error instanceof OutOfBytes)) throw error
    throw new MalformedVici(error.offset, `${error.wanted} bytes are to follow, ${error.available} do`)
  }
}

/** The packet with its length before it. Throws UnwritableVici for what is too large or cannot be said. */
export function writePacket(packet: Packet): Uint8Array {
  const number = TYPES.findIndex(({ kind }) => kind === packet.kind)
  const head = new Writer(64).u32(0).u8(number)
  if ('name' in packet) writeName(head, packet.name)
  const message = 'message' in packet ? writeViciMessage(packet.message) : new Uint8Array()
  const length = head.length - 4 + message.length
  if (length > PACKET_BYTES_MAX)
    throw new UnwritableVici(`a packet of ${length} bytes is larger than the ${PACKET_BYTES_MAX} that VICI allows`)
  head.patchU32(0, length)
  return concatBytes(head.finish(), message)
}

/** Puts the pieces that a stream brings together to packets. */
export class Inbox {
  #bytes: Uint8Array = new Uint8Array()
  #start = 0
  #end = 0

  /** More than one packet of the largest size is here: no need to read on. */
  get isFull(): boolean {
    return this.#end - this.#start >= READ_AHEAD_BYTES
  }

  put(piece: Uint8Array): void {
    const held = this.#end - this.#start
    if (this.#end + piece.length > this.#bytes.length) {
      const needed = held + piece.length
      // Twice the need, so that a packet that comes byte by byte is not copied with every one of them.
      const room = needed * 2 > this.#bytes.length ? new Uint8Array(needed * 2) : this.#bytes
      room.set(this.#bytes.subarray(this.#start, this.#end))
      if (room !== this.#bytes) this.#bytes.fill(0)
      this.#bytes = room
      this.#start = 0
      this.#end = held
    }
    this.#bytes.set(piece, this.#end)
    this.#end += piece.length
  }

  /** The bytes of the next packet, in memory of their own; null if they are not all here. Throws MalformedVici. */
  next(): Uint8Array | null {
    const held = this.#end - this.#start
    if (held < 4) return null
    const length = new DataView(this.#bytes.buffer).getUint32(this.#start)
    if (length > PACKET_BYTES_MAX)
      throw new MalformedVici(0, `a packet of ${length} bytes is larger than the ${PACKET_BYTES_MAX} that VICI allows`)
    if (held < 4 + length) return null
    const packet = this.#bytes.slice(this.#start + 4, this.#start + 4 + length)
    this.#bytes.fill(0, this.#start, this.#start + 4 + length)
    this.#start += 4 + length
    if (this.#start === this.#end) this.clear()
    return packet
  }

  /** Forgets everything; private keys and passwords come this way. */
  clear(): void {
    this.#bytes.fill(0)
    this.#bytes = new Uint8Array()
    this.#start = 0
    this.#end = 0
  }
}
