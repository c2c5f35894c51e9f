/**
 * Payloads one after the other, each naming the type of the next: the generic payload header, RFC 7296 3.2.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Next Payload  |C|  RESERVED   |         Payload Length        |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import { OutOfBytes, type Reader, type Writer } from '../../base/bytes.ts'
import { nameOf, PayloadType } from '../../iana/ikev2.ts'
import { MAX_PAYLOADS } from './limits.ts'
import { MalformedMessage } from './malformed.ts'
import { payloadTypeOf, readPayload, writePayload, type Payload } from './payload.ts'
import { patchLength, putU8 } from './put.ts'

export const GENERIC_HEADER_LENGTH = 4
const FLAG_CRITICAL = 0x80

export interface PayloadChain {
  readonly payloads: readonly Payload[]
  /**
   * The first payload type we do not know that came with the critical bit, or null. The caller answers a request with
   * UNSUPPORTED_CRITICAL_PAYLOAD, its data that type as one byte, and does nothing else: RFC 7296 2.5.
   */
  readonly unknownCritical: number | null
}

/**
 * Reads all that `reader` holds as payloads, the first of type `firstType`. Payloads of unknown type without the
 * critical bit are left out (RFC 7296 2.5). `outermost` says that SK and SKF may come, as the last payload.
 * Throws MalformedMessage only.
 */
export function readChain(firstType: number, reader: Reader, outermost: boolean): PayloadChain {
  const payloads: Payload[] = []
  let unknownCritical: number | null = null
  let type = firstType
  try {
    for (let count = 0; type !== PayloadType.NONE; count++) {
      const start = reader.offset
      if (count === MAX_PAYLOADS)
        throw new MalformedMessage(nameOf(PayloadType, type), start, `more than ${MAX_PAYLOADS} payloads`)
      const next = reader.u8()
      const critical = (reader.u8() & FLAG_CRITICAL) !== 0
      const length = reader.u16()
      if (length < GENERIC_HEADER_LENGTH || length - GENERIC_HEADER_LENGTH > reader.remaining) {
        const most = reader.remaining + GENERIC_HEADER_LENGTH
        throw new MalformedMessage(
          nameOf(PayloadType, type),
          start + 2,
          `the payload length ${length} is not within 4 to ${most}`,
        )
      }
      const encrypted = type === PayloadType.SK || type === PayloadType.SKF
      if (encrypted && !outermost) {
        throw new MalformedMessage(nameOf(PayloadType, type), start, 'an encrypted payload inside an encrypted payload')
      }
      const payload = readPayload(type, next, critical, reader.sub(length - GENERIC_HEADER_LENGTH))
      if (payload.kind !== 'Unknown') {
        payloads.push(payload)
      } else if (critical) {
        payloads.push(payload)
        unknownCritical ??= type
      }
      if (encrypted) {
        if (reader.remaining > 0) {
          throw new MalformedMessage(
            nameOf(PayloadType, type),
            reader.offset,
            `${reader.remaining} bytes after a payload that must be the last`,
          )
        }
        break
      }
      type = next
    }
  } catch (error) {
    if (!(error instanceof OutOfBytes)) throw error
    const reason = `${error.wanted} bytes wanted, ${error.available} left`
    throw new MalformedMessage(nameOf(PayloadType, type), error.offset, reason)
  }
  if (reader.remaining > 0)
    throw new MalformedMessage('message', reader.offset, `${reader.remaining} bytes after the last payload`)
  return { payloads, unknownCritical }
}

/** The type of the first of these payloads, 0 when there is none. */
export function firstTypeOf(payloads: readonly Payload[]): number {
  return payloads.length === 0 ? PayloadType.NONE : payloadTypeOf(payloads[0]!)
}

/**
 * Writes the payloads, generic headers included. Only a payload we do not know can have the critical bit: RFC 7296
 * 3.2 wants it clear on all that the RFC defines.
 */
export function writeChain(writer: Writer, payloads: readonly Payload[]): void {
  assert(payloads.length <= MAX_PAYLOADS, 'a message has no more payloads than we would read')
  payloads.forEach((payload, i) => {
    const start = writer.length
    if (payload.kind === 'SK' || payload.kind === 'SKF') {
      assert(i === payloads.length - 1, 'an encrypted payload is the last')
      putU8(writer, payload.innerFirst, 'next payload')
    } else {
      putU8(writer, i === payloads.length - 1 ? PayloadType.NONE : payloadTypeOf(payloads[i + 1]!), 'next payload')
    }
    writer.u8(payload.kind === 'Unknown' && payload.critical ? FLAG_CRITICAL : 0).u16(0)
    writePayload(writer, payload)
    patchLength(writer, start + 2, start, 'payload length')
  })
}
