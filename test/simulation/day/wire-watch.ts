/**
 * Watches what nodes send for the rule that security rests on: under one pair of SPIs, in one direction, a message ID
 * belongs to one message for ever (RFC 7296 2.2, 2.3); sent again it has the same octets, fragment by fragment.
 * IKE_SA_INIT is left out: all its attempts have message ID 0, and nothing protects them.
 */
import assert from 'node:assert/strict'

import { PayloadType } from '../../../src/iana/ikev2.ts'
import { ikeBytes, summaryOf, type Packet } from '../packet.ts'

/** Octets of a header; where it has the flags and the message ID (RFC 7296 3.1). */
const HEADER = 28
const FLAGS = 19
const MESSAGE_ID = 20

export class WireWatch {
  /** By SPIs (spisOf); then flags, message ID and number of the fragment, to the first message sent under them. */
  readonly #sent = new Map<number, Map<number, Uint8Array>>()
  count = 0

  /** A tap. */
  readonly watch = (packet: Packet): readonly Packet[] => {
    const bytes = ikeBytes(packet)
    if (bytes !== null && bytes.length > HEADER) this.#note(packet, bytes)
    return [packet]
  }

  #note(packet: Packet, bytes: Uint8Array): void {
    const first = bytes[16]
    if (first !== PayloadType.SK && first !== PayloadType.SKF) return
    this.count++
    const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    const fragment = first === PayloadType.SKF ? head.readUInt16BE(HEADER + 4) : 0
    const spis = spisOf(head)
    let sent = this.#sent.get(spis)
    if (sent === undefined) this.#sent.set(spis, (sent = new Map()))
    // 16 bits, the three of the flags that have a meaning, and 32: a number holds 53.
    const key = (fragment * 8 + ((bytes[FLAGS]! >> 3) & 7)) * 2 ** 32 + head.readUInt32BE(MESSAGE_ID)
    const before = sent.get(key)
    if (before === undefined) sent.set(key, bytes)
    else if (head.compare(before) !== 0) assert.fail(`a message ID is used once: ${summaryOf(packet)}`)
  }
}

/**
 * Of either SPI, which are random, as many bits as a number holds of both. Two pairs that it takes for one would be found to
 * have sent different messages under one message ID: an alarm too many, and none too few.
 */
function spisOf(head: Buffer): number {
  return head.readUInt32BE(4) * 2 ** 21 + (head.readUInt32BE(12) >>> 11)
}
