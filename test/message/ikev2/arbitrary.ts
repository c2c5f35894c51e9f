/** Well-formed messages for fast-check: every kind of payload, every value its fields can have. */
import fc from 'fast-check'

import { IpAddress, IpRange } from '../../../src/base/ip.ts'
import { eapPayload } from '../../../src/message/ikev2/eap.ts'
import type { HeaderFields } from '../../../src/message/ikev2/message.ts'
import type { Payload, WireSelector } from '../../../src/message/ikev2/payload.ts'
import { wireSelector } from '../../../src/message/ikev2/ts.ts'

const u8 = fc.nat(0xff)
const u16 = fc.nat(0xffff)
const u64 = fc.bigInt(0n, 0xffff_ffff_ffff_ffffn)
const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength, maxLength })
// deepEqual tells an object without prototype from one with.
const record = <T>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })
const exactly = (length: number): fc.Arbitrary<Uint8Array> => bytes(length, length)

const transform = record({
  type: u8,
  id: u16,
  keyLength: fc.option(u16, { nil: null }),
  otherAttributes: fc.constant(false),
})

const protocolAndSpi = fc.oneof(
  record({ protocol: fc.constant(1), spi: fc.oneof(exactly(0), exactly(8)) }),
  record({ protocol: fc.constantFrom(2, 3), spi: exactly(4) }),
  record({ protocol: fc.integer({ min: 4, max: 255 }), spi: bytes(0, 255) }),
)

const proposal = fc
  .tuple(u8, protocolAndSpi, fc.array(transform, { minLength: 1, maxLength: 8 }))
  .map(([number, { protocol, spi }, transforms]) => ({ number, protocol, spi, transforms }))

const ports = fc.oneof(
  fc.tuple(u16, u16).map(([a, b]) => ({ firstPort: Math.min(a, b), lastPort: Math.max(a, b) })),
  fc.constant({ firstPort: 0xffff, lastPort: 0 }),
)

const range = fc
  .oneof(fc.tuple(exactly(4), exactly(4)), fc.tuple(exactly(16), exactly(16)))
  .map(([a, b]) => [new IpAddress(a), new IpAddress(b)] as const)
  .map(([a, b]) => (a.compare(b) <= 0 ? new IpRange(a, b) : new IpRange(b, a)))

const selector: fc.Arbitrary<WireSelector> = fc.oneof(
  fc.tuple(range, u8, ports).map(([addresses, protocol, both]) => wireSelector({ range: addresses, protocol, ...both })),
  fc.tuple(fc.integer({ min: 9, max: 255 }), u8, bytes(0, 40)).map(([tsType, second, rest]) => ({
    tsType,
    selector: null,
    body: Uint8Array.of(tsType, second, 0, 4 + rest.length, ...rest),
  })),
)
const selectors = fc.array(selector, { minLength: 1, maxLength: 6 })

const identification = fc.oneof(
  record({ idType: fc.constant(1), data: exactly(4) }),
  record({ idType: fc.constant(5), data: exactly(16) }),
  record({ idType: fc.constantFrom(2, 3, 9, 10, 11, 200), data: bytes(0, 60) }),
)

const eap = fc.tuple(u8, u8, bytes(1, 60)).map(([code, identifier, rest]) => {
  const data = code === 3 || code === 4 ? new Uint8Array(0) : rest
  return eapPayload(Uint8Array.of(code, identifier, 0, 4 + data.length, ...data))
})

/** The protocols a Delete or Notify can name, with the size their SPIs have. */
const spiSize = fc.oneof(
  record({ protocol: fc.constantFrom(2, 3), size: fc.constant(4) }),
  record({ protocol: fc.integer({ min: 4, max: 255 }), size: fc.integer({ min: 1, max: 16 }) }),
)
const spis = fc.oneof(
  fc.constant({ protocol: 1, spis: [] }),
  spiSize.chain(({ protocol, size }) =>
    record({ protocol: fc.constant(protocol), spis: fc.array(exactly(size), { minLength: 1, maxLength: 6 }) }),
  ),
)
const notified = fc.oneof(
  record({ protocol: u8, spi: exactly(0) }),
  spiSize.chain(({ protocol, size }) => record({ protocol: fc.constant(protocol), spi: exactly(size) })),
)

const known: fc.Arbitrary<Payload> = fc.oneof(
  fc.array(proposal, { minLength: 1, maxLength: 5 }).map((proposals) => ({ kind: 'SA' as const, proposals })),
  record({ kind: fc.constant('KE' as const), group: u16, data: bytes(0, 80) }),
  identification.map((fields) => ({ kind: 'IDi' as const, ...fields })),
  identification.map((fields) => ({ kind: 'IDr' as const, ...fields })),
  record({ kind: fc.constant('CERT' as const), encoding: u8, data: bytes(0, 80) }),
  record({ kind: fc.constant('CERTREQ' as const), encoding: u8, data: bytes(0, 80) }),
  record({ kind: fc.constant('AUTH' as const), method: u8, data: bytes(0, 80) }),
  record({ kind: fc.constant('Nonce' as const), data: bytes(16, 256) }),
  fc
    .tuple(notified, u16, bytes(0, 40))
    .map(([{ protocol, spi }, notifyType, data]) => ({ kind: 'Notify' as const, protocol, spi, notifyType, data })),
  spis.map((fields) => ({ kind: 'Delete' as const, ...fields })),
  record({ kind: fc.constant('VendorId' as const), data: bytes(0, 40) }),
  selectors.map((several) => ({ kind: 'TSi' as const, selectors: several })),
  selectors.map((several) => ({ kind: 'TSr' as const, selectors: several })),
  record({
    kind: fc.constant('CP' as const),
    cpType: u8,
    attributes: fc.array(record({ type: fc.nat(0x7fff), value: bytes(0, 20) }), { maxLength: 6 }),
  }),
  eap,
)

const critical: fc.Arbitrary<Payload> = record({
  kind: fc.constant('Unknown' as const),
  payloadType: fc.constantFrom(1, 32, 49, 52, 54, 128, 255),
  critical: fc.constant(true),
  data: bytes(0, 40),
})

const encrypted: fc.Arbitrary<Payload> = fc.oneof(
  record({ kind: fc.constant('SK' as const), innerFirst: u8, body: bytes(0, 80), bodyOffset: fc.constant(0) }),
  fc.tuple(u8, u16, u16, bytes(0, 80)).map(([innerFirst, a, b, body]) => ({
    kind: 'SKF' as const,
    innerFirst,
    fragmentNumber: Math.max(1, Math.min(a, b)),
    totalFragments: Math.max(1, a, b),
    body,
    bodyOffset: 0,
  })),
)

export const headerFields: fc.Arbitrary<HeaderFields> = record({
  initiatorSpi: u64,
  responderSpi: u64,
  majorVersion: fc.nat(15),
  minorVersion: fc.nat(15),
  exchangeType: u8,
  fromInitiator: fc.boolean(),
  higherVersion: fc.boolean(),
  response: fc.boolean(),
  messageId: fc.nat(0xffff_ffff),
})

/** Payloads that can be in the clear or inside SK. */
export const innerPayloads: fc.Arbitrary<Payload[]> = fc.array(fc.oneof({ weight: 9, arbitrary: known }, critical), {
  maxLength: 8,
})

/** Payloads of a whole message, an encrypted one last if any. */
export const payloads: fc.Arbitrary<Payload[]> = fc
  .tuple(innerPayloads, fc.option(encrypted, { nil: null, freq: 3 }))
  .map(([before, last]) => (last === null ? before : [...before, last]))
