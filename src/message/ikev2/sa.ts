/**
 * Security Association payload, RFC 7296 3.3: proposals, each of transforms, each of attributes.
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Last (0 or 2) |   RESERVED    |         Proposal Length       |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                        SPI (variable)                         ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Last (0 or 3) |   RESERVED    |        Transform Length       |  per transform
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Transform Type |   RESERVED    |          Transform ID         |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |A|       Attribute Type        |  value (A=1) or length (A=0)  |  per attribute
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~                 value of that length (A=0)                    ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { ProtocolId, TransformAttributeType } from '../../iana/ikev2.ts'
import { MAX_PROPOSALS, MAX_TRANSFORM_ATTRIBUTES, MAX_TRANSFORMS, MAX_TRANSFORMS_PER_PROPOSAL } from './limits.ts'
import { MalformedMessage } from './malformed.ts'
import { checkFits, patchLength, putU16, putU8 } from './put.ts'

export interface SaPayload {
  readonly kind: 'SA'
  readonly proposals: readonly WireProposal[]
}

export interface WireProposal {
  /** As sent. Whether numbers ascend from 1 is for the negotiation to judge, not for the codec. */
  readonly number: number
  /** A ProtocolId. */
  readonly protocol: number
  /** 4 bytes for AH and ESP; 8, or none in IKE_SA_INIT, for IKE. */
  readonly spi: Uint8Array
  readonly transforms: readonly WireTransform[]
}

export interface WireTransform {
  readonly type: number
  readonly id: number
  /** Bits, null without a Key Length attribute. */
  readonly keyLength: number | null
  /** It carried an attribute other than Key Length, so that it must not be chosen: RFC 7296 3.3.6. */
  readonly otherAttributes: boolean
}

const PROPOSAL_HEADER_LENGTH = 8
const TRANSFORM_HEADER_LENGTH = 8
const LAST = 0
const MORE_PROPOSALS = 2
const MORE_TRANSFORMS = 3
/** The A bit of RFC 7296 3.3.5: the value is in the attribute's second half, no length. */
const SHORT_ATTRIBUTE = 0x8000

export function readSa(body: Reader): SaPayload {
  const proposals: WireProposal[] = []
  let transforms = 0
  let more = true
  while (more) {
    const start = body.offset
    if (proposals.length === MAX_PROPOSALS) throw new MalformedMessage('SA', start, `more than ${MAX_PROPOSALS} proposals`)
    const last = body.u8()
    body.skip(1)
    const length = body.u16()
    if (length < PROPOSAL_HEADER_LENGTH || length - 4 > body.remaining) {
      throw new MalformedMessage('SA', start + 2, `the proposal length ${length} is not within 8 to ${body.remaining + 4}`)
    }
    const proposal = readProposal(body.sub(length - 4))
    more = body.remaining > 0
    if (last !== (more ? MORE_PROPOSALS : LAST)) {
      throw new MalformedMessage(
        'SA',
        start,
        `${last} is no sign for ${more ? 'a proposal before another' : 'the last proposal'}`,
      )
    }
    transforms += proposal.transforms.length
    if (transforms > MAX_TRANSFORMS) throw new MalformedMessage('SA', start, `more than ${MAX_TRANSFORMS} transforms`)
    proposals.push(proposal)
  }
  return { kind: 'SA', proposals }
}

/** Reads a proposal from its number on; `reader` ends where the proposal ends. */
function readProposal(reader: Reader): WireProposal {
  const number = reader.u8()
  const protocol = reader.u8()
  const spiSizeOffset = reader.offset
  const spiSize = reader.u8()
  const countOffset = reader.offset
  const count = reader.u8()
  if (spiSize > reader.remaining || !isSpiSize(protocol, spiSize)) {
    throw new MalformedMessage(
      'SA',
      spiSizeOffset,
      `the SPI size ${spiSize} does not suit protocol ${protocol} with ${reader.remaining} bytes left`,
    )
  }
  const spi = reader.bytes(spiSize)
  if (count === 0) throw new MalformedMessage('SA', countOffset, 'a proposal without transforms')
  const transforms: WireTransform[] = []
  for (let left = count; left > 0; left--) {
    const start = reader.offset
    if (reader.remaining === 0) {
      throw new MalformedMessage('SA', countOffset, `${count} transforms announced, ${transforms.length} there`)
    }
    const last = reader.u8()
    if (last !== (left > 1 ? MORE_TRANSFORMS : LAST)) {
      throw new MalformedMessage(
        'SA',
        start,
        `${last} is no sign for ${left > 1 ? 'a transform before another' : 'the last transform'}`,
      )
    }
    reader.skip(1)
    const length = reader.u16()
    if (length < TRANSFORM_HEADER_LENGTH || length - 4 > reader.remaining) {
      throw new MalformedMessage('SA', start + 2, `the transform length ${length} is not within 8 to ${reader.remaining + 4}`)
    }
    transforms.push(readTransform(reader.sub(length - 4)))
  }
  if (reader.remaining > 0) {
    throw new MalformedMessage('SA', reader.offset, `${reader.remaining} bytes after the last of ${count} transforms`)
  }
  return { number, protocol, spi, transforms }
}

/** Reads a transform from its type on; `reader` ends where the transform ends. */
function readTransform(reader: Reader): WireTransform {
  const type = reader.u8()
  reader.skip(1)
  const id = reader.u16()
  let keyLength: number | null = null
  let otherAttributes = false
  for (let count = 0; reader.remaining > 0; count++) {
    const start = reader.offset
    if (count === MAX_TRANSFORM_ATTRIBUTES) {
      throw new MalformedMessage('SA', start, `more than ${MAX_TRANSFORM_ATTRIBUTES} attributes in a transform`)
    }
    const attribute = reader.u16()
    const valueOrLength = reader.u16()
    const isShort = (attribute & SHORT_ATTRIBUTE) !== 0
    if (!isShort) {
      if (valueOrLength > reader.remaining) {
        throw new MalformedMessage(
          'SA',
          start + 2,
          `the attribute length ${valueOrLength} is more than the ${reader.remaining} bytes left`,
        )
      }
      reader.skip(valueOrLength)
    }
    if ((attribute & ~SHORT_ATTRIBUTE) !== TransformAttributeType.KEY_LENGTH) {
      otherAttributes = true
    } else if (!isShort) {
      throw new MalformedMessage('SA', start, 'a Key Length with a length of its own')
    } else if (keyLength !== null) {
      throw new MalformedMessage('SA', start, 'a second Key Length')
    } else {
      keyLength = valueOrLength
    }
  }
  return { type, id, keyLength, otherAttributes }
}

function isSpiSize(protocol: number, size: number): boolean {
  if (protocol === ProtocolId.IKE) return size === 0 || size === 8
  if (protocol === ProtocolId.AH || protocol === ProtocolId.ESP) return size === 4
  return true
}

export function writeSa(writer: Writer, payload: SaPayload): void {
  const { proposals } = payload
  assert(proposals.length > 0 && proposals.length <= MAX_PROPOSALS, 'an SA payload has proposals, not too many')
  let transforms = 0
  proposals.forEach((proposal, i) => {
    transforms += proposal.transforms.length
    writeProposal(writer, proposal, i === proposals.length - 1 ? LAST : MORE_PROPOSALS)
  })
  assert(transforms <= MAX_TRANSFORMS, 'an SA payload has no more transforms than we would read')
}

function writeProposal(writer: Writer, proposal: WireProposal, last: number): void {
  const { spi, transforms } = proposal
  assert(isSpiSize(proposal.protocol, spi.length), 'the SPI of a proposal suits its protocol')
  assert(transforms.length > 0 && transforms.length <= MAX_TRANSFORMS_PER_PROPOSAL, 'a proposal has 1 to 255 transforms')
  const start = writer.length
  writer.u8(last).u8(0).u16(0)
  putU8(writer, proposal.number, 'proposal number')
  putU8(writer, proposal.protocol, 'protocol ID')
  putU8(writer, spi.length, 'SPI size')
  writer.u8(transforms.length).bytes(spi)
  transforms.forEach((transform, i) => writeTransform(writer, transform, i === transforms.length - 1 ? LAST : MORE_TRANSFORMS))
  patchLength(writer, start + 2, start, 'proposal length')
}

function writeTransform(writer: Writer, transform: WireTransform, last: number): void {
  assert(!transform.otherAttributes, 'a transform with attributes we do not know is never sent')
  const { keyLength } = transform
  writer
    .u8(last)
    .u8(0)
    .u16(keyLength === null ? TRANSFORM_HEADER_LENGTH : TRANSFORM_HEADER_LENGTH + 4)
  putU8(writer, transform.type, 'transform type')
  writer.u8(0)
  putU16(writer, transform.id, 'transform ID')
  if (keyLength !== null) {
    checkFits(keyLength, 0xffff, 'key length')
    writer.u16(SHORT_ATTRIBUTE | TransformAttributeType.KEY_LENGTH).u16(keyLength)
  }
}
