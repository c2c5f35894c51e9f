/**
 * Watches what nodes send for the rule that security rests on: under one pair of SPIs, in one direction, a message ID
 * belongs to one message for ever (RFC 7296 2.2, 2.3); sent again it has the same octets, fragment by fragment.
 * IKE_SA_INIT is left out: all its attempts have message ID 0, and nothing protects them.
 */
import assert from 'node:assert/strict'

import { PayloadType } from '../../../src/iana/ikev2.ts'
import { ikeBytes, summaryOf, type Packet } from '../packet.ts'

const HEADER = 28

export class WireWatch {
  /** SPIs, flags, message ID and number of the fragment, to the first message sent under them. */
  readonly #sent = new Map<string, Uint8Array>()
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
    const key = `${head.toString('latin1', 0, 16)}${head.toString('latin1', 19, 24)}${fragment}`
    const before = this.#sent.get(key)
    if (before === undefined) this.#sent.set(key, bytes)
    else if (head.compare(before) !== 0) assert.fail(`a message ID is used once: ${summaryOf(packet)}`)
  }
}
