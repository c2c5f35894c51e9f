/**
 * IKE fragmentation (RFC 7383): from what size on a message goes in fragments, and fragments put together again.
 */
import { assert } from '../base/assert.ts'
import { concatBytes } from '../base/bytes.ts'
import type { Endpoint } from '../base/ip.ts'
import { MAX_MESSAGE_LENGTH } from '../message/ikev2/limits.ts'
import type { SkfPayload } from '../message/ikev2/payload.ts'
import { markerLength, type OwnPorts } from '../nat/ports.ts'
import type { IkeSettings } from './connection.ts'
import type { DropReason } from './events.ts'

const IPV4_HEADER_LENGTH = 20
const IPV6_HEADER_LENGTH = 40
const UDP_HEADER_LENGTH = 8
/** Our limit: octets of IKE below which no message is split, so that every cipher has room for some content. */
const FRAGMENT_LENGTH_MIN = 128
/** Our limit, as strongSwan's: fragments of one message that we take in. */
const FRAGMENTS_MAX = 255
/** Our limit: how often a sender may split one message anew, more finely, as one that finds out the path's MTU does. */
const SPLITS_MAX = 8

/**
 * Octets of IKE that fit the configured datagram on this way. strongSwan: IP without options, UDP and the non-ESP marker
 * are taken off.
 */
export function maxMessageLength(
  { fragmentSizeV4, fragmentSizeV6 }: Pick<IkeSettings, 'fragmentSizeV4' | 'fragmentSizeV6'>,
  local: Endpoint,
  remote: Endpoint,
  own: OwnPorts,
): number {
  const room = remote.address.family === 4 ? fragmentSizeV4 - IPV4_HEADER_LENGTH : fragmentSizeV6 - IPV6_HEADER_LENGTH
  const length = room - UDP_HEADER_LENGTH - markerLength(local.port, own)
  return Math.min(Math.max(length, FRAGMENT_LENGTH_MIN), MAX_MESSAGE_LENGTH)
}

/** A message whose fragments are all there. */
export interface Reassembled {
  /** Type of its first payload. */
  readonly innerFirst: number
  readonly plaintext: Uint8Array
  /** Its first fragment as on the wire: by that one its repetition is recognised (RFC 7383 2.6.1). */
  readonly firstFragment: Uint8Array
}

/** The fragments of one message, in whatever order they come; all have the same total, and each is kept once (RFC 7383 2.6). */
export class Reassembly {
  readonly #lengthMax: number
  /** By number, from 1 on; as many as there are to be. */
  #contents: (Uint8Array | null)[] = []
  #missing = 0
  #length = 0
  #innerFirst = 0
  #firstFragment: Uint8Array | null = null
  #splits = 0

  /** `lengthMax` bounds the octets of the message. */
  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax
  }

  /** Why a fragment is of no use, if it is not: to be asked before anything is spent on it, authentic or not. */
  refusal({ fragmentNumber, totalFragments }: SkfPayload): DropReason | null {
    if (totalFragments > FRAGMENTS_MAX) return 'fragment-limit'
    const total = this.#contents.length
    // One of a smaller total is of an earlier, coarser split of the same message.
    if (totalFragments > total) return this.#splits === SPLITS_MAX ? 'fragment-limit' : null
    return totalFragments < total || this.#contents[fragmentNumber - 1] !== null ? 'fragment-known' : null
  }

  /**
   * Keeps what is in a fragment that is authentic and of use; `bytes` is the fragment as on the wire. Null while others
   * are missing. When it becomes too much, all is thrown away.
   */
  add(fragment: SkfPayload, content: Uint8Array, bytes: Uint8Array): Reassembled | 'fragment-limit' | null {
    const { fragmentNumber, totalFragments, innerFirst } = fragment
    assert(this.refusal(fragment) === null, 'only a fragment of use is kept')
    // A larger total: the sender has begun to send smaller ones, and those before are worth nothing.
    if (totalFragments !== this.#contents.length) this.#begin(totalFragments)
    // Of the first all is kept, also what it may have in the clear.
    this.#length += fragmentNumber === 1 ? bytes.length : content.length
    if (this.#length > this.#lengthMax) {
      this.#contents = []
      this.#firstFragment = null
      return 'fragment-limit'
    }
    this.#missing--
    // Copies: what was handed in may be a view on something larger, or on a buffer that is used again.
    this.#contents[fragmentNumber - 1] = new Uint8Array(content)
    if (fragmentNumber === 1) {
      this.#innerFirst = innerFirst
      this.#firstFragment = new Uint8Array(bytes)
    }
    return this.#missing > 0 ? null : this.#complete()
  }

  #begin(total: number): void {
    this.#splits++
    this.#contents = Array.from({ length: total }, () => null)
    this.#missing = total
    this.#length = 0
    this.#firstFragment = null
  }

  #complete(): Reassembled {
    const firstFragment = this.#firstFragment
    assert(firstFragment !== null, 'a message has a first fragment')
    const plaintext = concatBytes(...this.#contents.filter((content) => content !== null))
    return { innerFirst: this.#innerFirst, plaintext, firstFragment }
  }
}
