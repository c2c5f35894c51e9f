/** IKEv2 messages as a whole, RFC 7296 3: bytes to payloads and back, in the clear, protected, and in fragments. */
import { assert } from '../../base/assert.ts'
import { concatBytes, Reader, Writer } from '../../base/bytes.ts'
import { PayloadType } from '../../iana/ikev2.ts'
import { firstTypeOf, GENERIC_HEADER_LENGTH, readChain, writeChain, type PayloadChain } from './chain.ts'
import { HEADER_LENGTH, readHeader, writeHeader, type Header, type HeaderFields } from './header.ts'
import { MAX_FRAGMENTS, MAX_MESSAGE_LENGTH } from './limits.ts'
import type { Payload, SkfPayload, SkPayload } from './payload.ts'

export type { PayloadChain } from './chain.ts'
export type { HeaderFields } from './header.ts'

export interface ParsedMessage extends PayloadChain {
  readonly header: Header
}

/** What protects the content of SK and SKF payloads: cipher and keys of one direction of an IKE SA. */
export interface Sealer {
  /** Bytes of the IV, ciphertext with padding and Pad Length, and ICV that `plaintextLength` bytes become. */
  sealedLength(plaintextLength: number): number
  /** IV | ciphertext | ICV over `plaintext`, to which it adds padding and Pad Length; both arguments are only read. */
  seal(associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
}

/** In the IKE header. */
const NEXT_PAYLOAD_OFFSET = 16
/** A message up to the content of an SK payload that has no IV. */
const INTERMEDIATE_HEAD_LENGTH = HEADER_LENGTH + GENERIC_HEADER_LENGTH
/** Fragment Number and Total Fragments. */
const FRAGMENT_HEADER_LENGTH = 4

/**
 * Reads a datagram without its non-ESP marker. An SK or SKF payload, always the last of `payloads`, stays closed:
 * what is in it is read with `parsePayloads` after decryption. The version is not looked at: `readHeader` comes before
 * this one for whoever answers INVALID_MAJOR_VERSION. Throws MalformedMessage only.
 */
export function parseMessage(bytes: Uint8Array): ParsedMessage {
  const header = readHeader(bytes)
  const reader = new Reader(bytes, 0, HEADER_LENGTH)
  const { payloads, unknownCritical } = readChain(header.nextPayload, reader, true)
  return { header, payloads, unknownCritical }
}

/**
 * Reads the decrypted content of an SK payload, or of fragments put together, padding removed. `firstType` is the SK
 * payload's `innerFirst`; `baseOffset` is what error offsets count from. Throws MalformedMessage only.
 */
export function parsePayloads(firstType: number, bytes: Uint8Array, baseOffset: number): PayloadChain {
  return readChain(firstType, new Reader(bytes, baseOffset), false)
}

/** What the integrity of an SK or SKF payload covers besides its content: all of the message before its IV. */
export function associatedDataOf(bytes: Uint8Array, payload: SkPayload | SkfPayload): Uint8Array {
  return bytes.subarray(0, payload.bodyOffset)
}

/** The payloads with their generic headers and nothing else: the plaintext of an SK payload without its padding. */
export function writePayloads(payloads: readonly Payload[]): Uint8Array {
  const writer = new Writer(512)
  writeChain(writer, payloads)
  return writer.finish()
}

/** A message in the clear. */
export function writeMessage(header: HeaderFields, payloads: readonly Payload[]): Uint8Array {
  const writer = new Writer(512)
  writeHeader(writer, header, firstTypeOf(payloads), 0)
  writeChain(writer, payloads)
  assert(writer.length <= MAX_MESSAGE_LENGTH, 'a message fits a datagram')
  writer.patchU32(HEADER_LENGTH - 4, writer.length)
  return writer.finish()
}

/**
 * A message whose payloads are all inside one SK payload. The associated data is the IKE header and the generic
 * header of the SK payload, lengths final (RFC 7296 3.14, RFC 5282 5.1).
 */
export function writeProtectedMessage(header: HeaderFields, payloads: readonly Payload[], sealer: Sealer): Uint8Array {
  return sealWhole(header, firstTypeOf(payloads), writePayloads(payloads), sealer)
}

/**
 * What the authentication of an IKE_INTERMEDIATE message covers (RFC 9242 3.3.2), of one that is sent: A, the header and
 * the generic header of the SK payload with lengths that count no IV, padding, Pad Length and ICV, and P, the content. In
 * fragments or not makes no difference.
 */
export function intermediateOctets(header: HeaderFields, payloads: readonly Payload[]): Uint8Array {
  const content = writePayloads(payloads)
  const writer = new Writer(INTERMEDIATE_HEAD_LENGTH + content.length)
  writeHeader(writer, header, PayloadType.SK, INTERMEDIATE_HEAD_LENGTH + content.length)
  writer
    .u8(firstTypeOf(payloads))
    .u8(0)
    .u16(GENERIC_HEADER_LENGTH + content.length)
    .bytes(content)
  return writer.finish()
}

/** The same of one that came in one piece: whatever there is before its SK payload is part of A. */
export function receivedIntermediateOctets(bytes: Uint8Array, { bodyOffset }: SkPayload, content: Uint8Array): Uint8Array {
  return withAdjustedLengths(bytes.subarray(0, bodyOffset), content)
}

/** The same of one that came in fragments, of which `first` is the first. Null if there is a payload before its SKF payload. */
export function reassembledIntermediateOctets(first: Uint8Array, content: Uint8Array): Uint8Array | null {
  const head = first.slice(0, INTERMEDIATE_HEAD_LENGTH)
  if (head[NEXT_PAYLOAD_OFFSET] !== PayloadType.SKF) return null
  head[NEXT_PAYLOAD_OFFSET] = PayloadType.SK
  return withAdjustedLengths(head, content)
}

function withAdjustedLengths(head: Uint8Array, content: Uint8Array): Uint8Array {
  const octets = concatBytes(head, content)
  const view = new DataView(octets.buffer, octets.byteOffset)
  view.setUint32(HEADER_LENGTH - 4, octets.length)
  view.setUint16(head.length - 2, GENERIC_HEADER_LENGTH + content.length)
  return octets
}

/**
 * The same content spread over SKF payloads, one per message, none longer than `maxMessageLength` bytes (of IKE: UDP,
 * IP and marker come on top), each as full as that allows but the last. The payload type inside is only in the first.
 * Fragments are made even when one suffices.
 */
export function writeProtectedFragments(
  header: HeaderFields,
  payloads: readonly Payload[],
  sealer: Sealer,
  maxMessageLength: number,
): Uint8Array[] {
  return sealFragments(header, firstTypeOf(payloads), writePayloads(payloads), sealer, maxMessageLength)
}

/** A message in one piece if that has at most `maxMessageLength` bytes, else in fragments; and its bytes in one piece. */
export function writeProtectedPieces(
  header: HeaderFields,
  payloads: readonly Payload[],
  sealer: Sealer,
  maxMessageLength: number,
): { readonly pieces: Uint8Array[]; readonly wholeLength: number } {
  try {
    writeChain(plaintexts, payloads)
    const plaintext = plaintexts.finish()
    const wholeLength = protectedLength(plaintext.length, sealer)
    const firstType = firstTypeOf(payloads)
    const pieces =
      wholeLength <= maxMessageLength
        ? [sealWhole(header, firstType, plaintext, sealer)]
        : sealFragments(header, firstType, plaintext, sealer, maxMessageLength)
    return { pieces, wholeLength }
  } finally {
    plaintexts.clear()
  }
}

/** One after the other is written here and gone when it is sealed: every message has one, and memory costs more than writing. */
const plaintexts = new Writer(2048)

/** Bytes of a message whose payloads, `contentLength` bytes, are all inside one SK payload. */
export function protectedLength(contentLength: number, sealer: Sealer): number {
  return HEADER_LENGTH + GENERIC_HEADER_LENGTH + sealer.sealedLength(contentLength)
}

function sealWhole(header: HeaderFields, firstType: number, plaintext: Uint8Array, sealer: Sealer): Uint8Array {
  const length = protectedLength(plaintext.length, sealer)
  assert(length <= MAX_MESSAGE_LENGTH, 'a message fits a datagram')
  const writer = new Writer(length)
  writeHeader(writer, header, PayloadType.SK, length)
  writer
    .u8(firstType)
    .u8(0)
    .u16(length - HEADER_LENGTH)
  return seal(writer, sealer, plaintext, length)
}

function sealFragments(
  header: HeaderFields,
  firstType: number,
  plaintext: Uint8Array,
  sealer: Sealer,
  maxMessageLength: number,
): Uint8Array[] {
  assert(maxMessageLength <= MAX_MESSAGE_LENGTH, 'a fragment fits a datagram')
  const overhead = HEADER_LENGTH + GENERIC_HEADER_LENGTH + FRAGMENT_HEADER_LENGTH
  const chunkLength = mostSealedInto(maxMessageLength - overhead, sealer)
  const total = Math.max(1, Math.ceil(plaintext.length / chunkLength))
  assert(total <= MAX_FRAGMENTS, 'fragments are counted with 16 bits')
  const fragments: Uint8Array[] = []
  for (let number = 1; number <= total; number++) {
    const chunk = plaintext.subarray((number - 1) * chunkLength, number * chunkLength)
    const sealedLength = sealer.sealedLength(chunk.length)
    const length = overhead + sealedLength
    const writer = new Writer(length)
    writeHeader(writer, header, PayloadType.SKF, length)
    writer.u8(number === 1 ? firstType : PayloadType.NONE).u8(0)
    writer
      .u16(GENERIC_HEADER_LENGTH + FRAGMENT_HEADER_LENGTH + sealedLength)
      .u16(number)
      .u16(total)
    fragments.push(seal(writer, sealer, chunk, length))
  }
  return fragments
}

/** The most bytes of plaintext that become no more than `length` bytes. Block ciphers make steps, so it is searched. */
function mostSealedInto(length: number, sealer: Sealer): number {
  let most = length
  while (most > 0 && sealer.sealedLength(most) > length) most--
  assert(most > 0, 'a fragment has room for content')
  return most
}

/** Finishes a message that `writer`, made for exactly `length` bytes, holds up to the beginning of the sealed body. */
function seal(writer: Writer, sealer: Sealer, plaintext: Uint8Array, length: number): Uint8Array {
  const body = sealer.seal(writer.finish(), plaintext)
  writer.bytes(body)
  assert(writer.length === length, 'a sealed body has the length announced')
  return writer.finish()
}
