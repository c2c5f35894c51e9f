/**
 * Netlink messages and their attributes. A message: length u32, type u16, flags u16, sequence u32, port u32, then a
 * structure, then attributes: length u16 (header included), type u16, value, padded to 4 bytes. Machine byte order.
 */
import { LITTLE_ENDIAN, NLMSG_HEADER_LENGTH } from './constants.ts'
import { tooShort, XfrmFormatError } from './structs.ts'

/** Large enough for every request: the largest is a state with a replay bitmap of 512 bytes, an AEAD and an encapsulation. */
export const REQUEST_CAPACITY = 2048

const ATTRIBUTE_HEADER_LENGTH = 4
/** Nested and byte-order flags of an attribute's type. */
const ATTRIBUTE_TYPE_MASK = 0x3fff

function aligned(length: number): number {
  return (length + 3) & ~3
}

/**
 * One request under construction, in one buffer that never moves: keys that are written into it are nowhere else
 * and are gone after `wipe`.
 */
export class RequestMessage {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #length: number

  /**
   * `structure` is the length of what follows the header, to be filled in through `view` at offset 16;
   * `room` is where it is made, all zeros, for messages that are small and many.
   */
  constructor(type: number, flags: number, sequence: number, structure: number, room = new Uint8Array(REQUEST_CAPACITY)) {
    this.#bytes = room
    this.#view = new DataView(this.#bytes.buffer)
    this.#length = NLMSG_HEADER_LENGTH + structure
    this.#view.setUint16(4, type, LITTLE_ENDIAN)
    this.#view.setUint16(6, flags, LITTLE_ENDIAN)
    this.#view.setUint32(8, sequence, LITTLE_ENDIAN)
  }

  get view(): DataView {
    return this.#view
  }

  /** Adds an attribute of `length` zero bytes; returns the offset of its value in `view`. */
  attribute(type: number, length: number): number {
    const at = aligned(this.#length)
    const whole = ATTRIBUTE_HEADER_LENGTH + length
    if (at + whole > this.#bytes.length) throw new RangeError(`a netlink request of more than ${this.#bytes.length} bytes`)
    this.#view.setUint16(at, whole, LITTLE_ENDIAN)
    this.#view.setUint16(at + 2, type, LITTLE_ENDIAN)
    this.#length = at + whole
    return at + ATTRIBUTE_HEADER_LENGTH
  }

  /** Copies `bytes` to `offset`. */
  put(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset)
  }

  /** A view on the message, padded so that another may follow it in one send. */
  finish(): Uint8Array {
    const length = aligned(this.#length)
    this.#view.setUint32(0, length, LITTLE_ENDIAN)
    return this.#bytes.subarray(0, length)
  }
}

/** One received message: header fields and a view on what follows the header. */
export interface ReceivedMessage {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  readonly payload: Uint8Array
}

/** The messages of one datagram. Throws XfrmFormatError when lengths lead outside. */
export function readMessages(datagram: Uint8Array): readonly ReceivedMessage[] {
  const messages: ReceivedMessage[] = []
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length)
  for (let at = 0; at < datagram.length;) {
    if (datagram.length - at < NLMSG_HEADER_LENGTH) throw tooShort('a message', datagram.length - at, NLMSG_HEADER_LENGTH)
    const length = view.getUint32(at, LITTLE_ENDIAN)
    if (length < NLMSG_HEADER_LENGTH || length > datagram.length - at) {
      throw new XfrmFormatError(`a message of the kernel claims ${length} bytes, ${datagram.length - at} are there`)
    }
    messages.push({
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
      payload: datagram.subarray(at + NLMSG_HEADER_LENGTH, at + length),
    })
    at += aligned(length)
  }
  return messages
}

/** Tells of each attribute behind a structure of `skip` bytes where its value is. Throws XfrmFormatError when lengths lead outside. */
export function visitAttributes(
  payload: Uint8Array,
  skip: number,
  visit: (type: number, at: number, length: number, view: DataView) => void,
): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  for (let at = aligned(skip); at + ATTRIBUTE_HEADER_LENGTH <= payload.length;) {
    const length = view.getUint16(at, LITTLE_ENDIAN)
    if (length < ATTRIBUTE_HEADER_LENGTH || length > payload.length - at) {
      throw new XfrmFormatError(`an attribute of the kernel claims ${length} bytes, ${payload.length - at} are there`)
    }
    const type = view.getUint16(at + 2, LITTLE_ENDIAN) & ATTRIBUTE_TYPE_MASK
    visit(type, at + ATTRIBUTE_HEADER_LENGTH, length - ATTRIBUTE_HEADER_LENGTH, view)
    at += aligned(length)
  }
}

/** The attributes behind a structure of `skip` bytes, by type; of a repeated one the last. Throws XfrmFormatError when lengths lead outside. */
export function readAttributes(payload: Uint8Array, skip: number): ReadonlyMap<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>()
  visitAttributes(payload, skip, (type, at, length) => attributes.set(type, payload.subarray(at, at + length)))
  return attributes
}
