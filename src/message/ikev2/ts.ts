/**
 * Traffic Selector payloads, TSi and TSr, RFC 7296 3.13.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Number of TSs |                 RESERVED                      |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |   TS Type     |IP Protocol ID*|       Selector Length         |  per selector
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |           Start Port*         |           End Port*           |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                 Starting Address*, then Ending Address*       ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * What is marked with * belongs to TS_IPV4_ADDR_RANGE (16 bytes in all) and TS_IPV6_ADDR_RANGE (40 bytes); other types
 * share only the first byte and the length.
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { IpAddress, IpRange } from '../../base/ip.ts'
import { TsType } from '../../iana/ikev2.ts'
import type { TrafficSelector } from '../../negotiate/selectors.ts'
import { MAX_SELECTORS } from './limits.ts'
import { MalformedMessage } from './malformed.ts'
import { putU16, putU8 } from './put.ts'

export type TsKind = 'TSi' | 'TSr'

export interface TsPayload<Kind extends TsKind = TsKind> {
  readonly kind: Kind
  readonly selectors: readonly WireSelector[]
}

export interface WireSelector {
  /** A TsType. */
  readonly tsType: number
  /** Null when `tsType` is neither TS_IPV4_ADDR_RANGE nor TS_IPV6_ADDR_RANGE. */
  readonly selector: TrafficSelector | null
  /** The selector's bytes from its TS Type on, as received. Only written when `selector` is null. */
  readonly body: Uint8Array
}

const SELECTOR_HEADER_LENGTH = 4
const NO_BYTES = new Uint8Array(0)
const OPAQUE_FIRST = 0xffff
const OPAQUE_LAST = 0

/** The selector as it goes into a TS payload. */
export function wireSelector(selector: TrafficSelector): WireSelector {
  const tsType = selector.range.family === 4 ? TsType.TS_IPV4_ADDR_RANGE : TsType.TS_IPV6_ADDR_RANGE
  return { tsType, selector, body: NO_BYTES }
}

export function readTs<Kind extends TsKind>(kind: Kind, body: Reader): TsPayload<Kind> {
  const countOffset = body.offset
  const count = body.u8()
  body.skip(3)
  if (count === 0) throw new MalformedMessage(kind, countOffset, 'no selectors')
  const selectors: WireSelector[] = []
  for (let i = 0; i < count; i++) {
    if (body.remaining === 0) throw new MalformedMessage(kind, countOffset, `${count} selectors announced, ${i} there`)
    selectors.push(readSelector(kind, body))
  }
  if (body.remaining > 0)
    throw new MalformedMessage(kind, body.offset, `${body.remaining} bytes after the last of ${count} selectors`)
  return { kind, selectors }
}

function readSelector(kind: TsKind, reader: Reader): WireSelector {
  const start = reader.offset
  const whole = reader.bytes(SELECTOR_HEADER_LENGTH)
  const tsType = whole[0]!
  const protocol = whole[1]!
  const length = (whole[2]! << 8) | whole[3]!
  const available = reader.remaining + SELECTOR_HEADER_LENGTH
  if (length < SELECTOR_HEADER_LENGTH || length > available) {
    throw new MalformedMessage(kind, start + 2, `the selector length ${length} is not within 4 to ${available}`)
  }
  const addressLength = addressLengthOf(tsType)
  if (addressLength === null) {
    const rest = reader.bytes(length - SELECTOR_HEADER_LENGTH)
    return { tsType, selector: null, body: spanning(whole, rest) }
  }
  if (length !== selectorLength(addressLength)) {
    throw new MalformedMessage(
      kind,
      start + 2,
      `the selector length ${length} is not ${selectorLength(addressLength)}, that of TS type ${tsType}`,
    )
  }
  const portsOffset = reader.offset
  const firstPort = reader.u16()
  const lastPort = reader.u16()
  if (!isPortRange(firstPort, lastPort)) {
    throw new MalformedMessage(kind, portsOffset, `the ports ${firstPort} to ${lastPort} run backwards`)
  }
  const addressOffset = reader.offset
  const first = new IpAddress(reader.bytes(addressLength))
  const lastBytes = reader.bytes(addressLength)
  const last = new IpAddress(lastBytes)
  if (first.compare(last) > 0) {
    throw new MalformedMessage(kind, addressOffset, `the addresses ${first.toString()} to ${last.toString()} run backwards`)
  }
  const selector = { range: new IpRange(first, last), protocol, firstPort, lastPort }
  return { tsType, selector, body: spanning(whole, lastBytes) }
}

export function writeTs(writer: Writer, payload: TsPayload): void {
  const { selectors } = payload
  assert(selectors.length > 0 && selectors.length <= MAX_SELECTORS, 'a TS payload has 1 to 255 selectors')
  writer.u8(selectors.length).zeros(3)
  for (const { tsType, selector, body } of selectors) {
    const addressLength = addressLengthOf(tsType)
    if (selector === null) {
      assert(addressLength === null, 'a selector of a type we know is written from its meaning')
      assert(body[0] === tsType && body.length >= SELECTOR_HEADER_LENGTH, 'the bytes of a selector begin with its type')
      assert(((body[2]! << 8) | body[3]!) === body.length, 'the bytes of a selector have its length')
      writer.bytes(body)
    } else {
      const { range, protocol, firstPort, lastPort } = selector
      assert(range.first.bytes.length === addressLength, 'the addresses of a selector are of its type')
      assert(isPortRange(firstPort, lastPort), 'the ports of a selector ascend or are OPAQUE')
      writer.u8(tsType)
      putU8(writer, protocol, 'IP protocol')
      writer.u16(selectorLength(addressLength))
      putU16(writer, firstPort, 'first port')
      putU16(writer, lastPort, 'last port')
      writer.bytes(range.first.bytes).bytes(range.last.bytes)
    }
  }
}

function addressLengthOf(tsType: number): number | null {
  if (tsType === TsType.TS_IPV4_ADDR_RANGE) return 4
  if (tsType === TsType.TS_IPV6_ADDR_RANGE) return 16
  return null
}

function selectorLength(addressLength: number): number {
  return SELECTOR_HEADER_LENGTH + 4 + 2 * addressLength
}

// RFC 7296 3.13.1: OPAQUE, "the ports are not known", is the one range that runs backwards.
function isPortRange(first: number, last: number): boolean {
  return first <= last || (first === OPAQUE_FIRST && last === OPAQUE_LAST)
}

/** The view from the first byte of `first` to the last byte of `last`, two views on one buffer in this order. */
function spanning(first: Uint8Array, last: Uint8Array): Uint8Array {
  return new Uint8Array(first.buffer, first.byteOffset, last.byteOffset + last.length - first.byteOffset)
}
