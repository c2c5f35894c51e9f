import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex } from '../../../src/base/bytes.ts'
import { MAX_PROPOSALS, MAX_TRANSFORM_ATTRIBUTES, MAX_TRANSFORMS } from '../../../src/message/ikev2/limits.ts'
import { parseMessage, writeMessage } from '../../../src/message/ikev2/message.ts'
import type { Payload, WireProposal, WireTransform } from '../../../src/message/ikev2/payload.ts'
import { assertBodyMalformed, assertRefusesToWrite, FIELDS, hex, readOne, repeated, sameBothWays } from './support.ts'

const SA = 33
const NONE = new Uint8Array(0)

const transform = (type: number, id: number, keyLength: number | null = null): WireTransform => ({
  type,
  id,
  keyLength,
  otherAttributes: false,
})

/** A last proposal, number 1, ESP with SPI c0010203, around this many transforms in hex. */
const espProposal = (count: number, transforms: string): string =>
  `00 00 ${hex(12 + fromHex(transforms).length, 2)} 01 03 04 ${hex(count, 1)} c0010203 ${transforms}`

/** A single transform, ENCR AES-CBC, around these attributes in hex. */
const espWith = (attributes: string): string =>
  espProposal(1, `00 00 ${hex(8 + fromHex(attributes).length, 2)} 01 00 000c ${attributes}`)

function saOf(body: string): Extract<Payload, { kind: 'SA' }> {
  const payload = readOne(SA, body)
  assert(payload.kind === 'SA')
  return payload
}

test('an IKE proposal without SPI and an ESP proposal with one are read and written', () => {
  sameBothWays(
    SA,
    `02 00 002c 01 01 00 04
       03 00 000c 01 00 000c 800e 0100
       03 00 0008 02 00 0005
       03 00 0008 03 00 000c
       00 00 0008 04 00 001f
     00 00 0020 02 03 04 02 c0010203
       03 00 000c 01 00 0014 800e 0080
       00 00 0008 05 00 0000`,
    {
      kind: 'SA',
      proposals: [
        {
          number: 1,
          protocol: 1,
          spi: NONE,
          transforms: [transform(1, 12, 256), transform(2, 5), transform(3, 12), transform(4, 31)],
        },
        { number: 2, protocol: 3, spi: fromHex('c0010203'), transforms: [transform(1, 20, 128), transform(5, 0)] },
      ],
    },
  )
})

test('an IKE proposal of a rekeying carries the new 8-byte SPI, an AH proposal 4', () => {
  sameBothWays(SA, '00 00 0018 01 01 08 01 a1a2a3a4a5a6a7a8 00 00 0008 04 00 0013', {
    kind: 'SA',
    proposals: [{ number: 1, protocol: 1, spi: fromHex('a1a2a3a4a5a6a7a8'), transforms: [transform(4, 19)] }],
  })
  sameBothWays(SA, '00 00 0014 01 02 04 01 a1a2a3a4 00 00 0008 03 00 000c', {
    kind: 'SA',
    proposals: [{ number: 1, protocol: 2, spi: fromHex('a1a2a3a4'), transforms: [transform(3, 12)] }],
  })
})

test('numbers without a meaning stay numbers: protocol, transform type, transform ID', () => {
  sameBothWays(SA, '00 00 0013 ff c8 03 01 010203 00 00 0008 fa 00 fffe', {
    kind: 'SA',
    proposals: [{ number: 255, protocol: 200, spi: fromHex('010203'), transforms: [transform(250, 0xfffe)] }],
  })
})

const onlyTransform = (attributes: string): WireTransform => saOf(espWith(attributes)).proposals[0]!.transforms[0]!

test('an attribute other than Key Length is noted, short or long, before or after it', () => {
  assert.deepEqual(onlyTransform('800e 0080'), { type: 1, id: 12, keyLength: 128, otherAttributes: false })
  assert.deepEqual(onlyTransform('800f 0001 800e 0080'), { type: 1, id: 12, keyLength: 128, otherAttributes: true })
  assert.deepEqual(onlyTransform('800e 0080 000f 0003 aabbcc'), { type: 1, id: 12, keyLength: 128, otherAttributes: true })
  assert.deepEqual(onlyTransform('000f 0000'), { type: 1, id: 12, keyLength: null, otherAttributes: true })
})

test('reserved bytes of proposals and transforms are ignored', () => {
  const plain = saOf('00 00 0014 01 03 04 01 c0010203 00 00 0008 01 00 0014')
  assert.deepEqual(saOf('00 ff 0014 01 03 04 01 c0010203 00 ee 0008 01 dd 0014'), plain)
})

test('no proposals, or a proposal cut short', () => {
  assertBodyMalformed(SA, '', 'SA', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(SA, '00', 'SA', 1, /wanted/)
  assertBodyMalformed(SA, '00 00 00', 'SA', 2, /wanted/)
})

test('a proposal length below its header or past the end', () => {
  for (const length of [0, 3, 4, 7, 0x15, 0xffff]) {
    assertBodyMalformed(SA, `00 00 ${hex(length, 2)} 01 03 04 01 c0010203 00 00 0008 01 00 0014`, 'SA', 2, /proposal length/)
  }
})

test('the last-proposal byte must say what the lengths say', () => {
  const rest = '00 0014 01 03 04 01 c0010203 00 00 0008 01 00 0014'
  assertBodyMalformed(SA, `02 ${rest}`, 'SA', 0, /2 is no sign for the last proposal/)
  assertBodyMalformed(SA, `01 ${rest}`, 'SA', 0, /1 is no sign/)
  assertBodyMalformed(SA, `00 ${rest} 00 ${rest}`, 'SA', 0, /0 is no sign for a proposal before another/)
  assertBodyMalformed(SA, `02 ${rest} 02 ${rest}`, 'SA', 20, /2 is no sign for the last/)
})

test('an SPI size past the end, or one that does not suit the protocol', () => {
  const wrong: [number, number][] = [
    [1, 4],
    [1, 7],
    [1, 9],
    [2, 0],
    [2, 8],
    [3, 0],
    [3, 3],
    [3, 5],
  ]
  for (const [protocol, size] of wrong) {
    const spi = '00'.repeat(size)
    const body = `00 00 ${hex(16 + size, 2)} 01 ${hex(protocol, 1)} ${hex(size, 1)} 01 ${spi} 00 00 0008 01 00 0014`
    assertBodyMalformed(SA, body, 'SA', 6, /SPI size/)
  }
  assertBodyMalformed(SA, '00 00 0010 01 c8 09 01 0000000000000000', 'SA', 6, /SPI size 9 .* 8 bytes left/)
})

test('a number of transforms that is not theirs', () => {
  const one = '00 00 0008 01 00 0014'
  const more = '03 00 0008 01 00 0014'
  assertBodyMalformed(SA, espProposal(0, ''), 'SA', 7, /without transforms/)
  assertBodyMalformed(SA, espProposal(0, one), 'SA', 7, /without transforms/)
  assertBodyMalformed(SA, espProposal(2, more), 'SA', 7, /2 transforms announced, 1 there/)
  assertBodyMalformed(SA, espProposal(1, one + one), 'SA', 20, /8 bytes after the last of 1 transforms/)
  assertBodyMalformed(SA, espProposal(1, `${one} 00`), 'SA', 20, /1 bytes after the last/)
})

test('the last-transform byte must say what the number says', () => {
  const one = '00 0008 01 00 0014'
  assertBodyMalformed(SA, espProposal(1, `03 ${one}`), 'SA', 12, /3 is no sign for the last transform/)
  assertBodyMalformed(SA, espProposal(2, `00 ${one} 00 ${one}`), 'SA', 12, /0 is no sign for a transform before another/)
  assertBodyMalformed(SA, espProposal(2, `03 ${one} 02 ${one}`), 'SA', 20, /2 is no sign/)
})

test('a transform length below its header or past the end', () => {
  for (const length of [0, 4, 7, 9, 0xffff]) {
    assertBodyMalformed(SA, espProposal(1, `00 00 ${hex(length, 2)} 01 00 0014`), 'SA', 14, /transform length/)
  }
  assertBodyMalformed(SA, espProposal(1, '00 00'), 'SA', 14, /2 bytes wanted, 0 left/)
})

test('an attribute cut short, past the end, or a Key Length of the wrong form', () => {
  assertBodyMalformed(SA, espWith('80'), 'SA', 20, /2 bytes wanted, 1 left/)
  assertBodyMalformed(SA, espWith('800e'), 'SA', 22, /2 bytes wanted, 0 left/)
  assertBodyMalformed(SA, espWith('000f 0003 aabb'), 'SA', 22, /attribute length 3 is more than the 2/)
  assertBodyMalformed(SA, espWith('000e 0002 0080'), 'SA', 20, /Key Length with a length/)
  assertBodyMalformed(SA, espWith('800e 0080 800e 0100'), 'SA', 24, /second Key Length/)
})

const proposalOf = (last: string, count: number): string =>
  `${last} 00 ${hex(12 + 8 * count, 2)} 01 03 04 ${hex(count, 1)} c0010203 ` +
  `${'03 00 0008 01 00 0014'.repeat(count - 1)} 00 00 0008 01 00 0014`

test('more proposals, transforms or attributes than the limits', () => {
  const proposals = (count: number, transforms: number): string =>
    proposalOf('02', transforms).repeat(count - 1) + proposalOf('00', transforms)
  assert.equal(saOf(proposals(MAX_PROPOSALS, 1)).proposals.length, MAX_PROPOSALS)
  assertBodyMalformed(SA, proposals(MAX_PROPOSALS + 1, 1), 'SA', 20 * MAX_PROPOSALS, /more than 128 proposals/)
  assert.equal(MAX_TRANSFORMS % 128, 0)
  const full = MAX_TRANSFORMS / 128
  assert.equal(saOf(proposals(full, 128)).proposals.length, full)
  assertBodyMalformed(SA, proposals(full + 1, 128), 'SA', full * (12 + 8 * 128), /more than 1024 transforms/)
  assert.equal(saOf(espWith('800f 0000'.repeat(MAX_TRANSFORM_ATTRIBUTES))).proposals.length, 1)
  const offset = 20 + 4 * MAX_TRANSFORM_ATTRIBUTES
  assertBodyMalformed(SA, espWith('800f 0000'.repeat(MAX_TRANSFORM_ATTRIBUTES + 1)), 'SA', offset, /more than 8 attributes/)
})

test('255 transforms are written and read', () => {
  const proposal: WireProposal = {
    number: 1,
    protocol: 1,
    spi: NONE,
    transforms: Array.from({ length: 255 }, (_, id) => transform(4, id)),
  }
  const bytes = writeMessage(FIELDS, [{ kind: 'SA', proposals: [proposal] }])
  assert.deepEqual(parseMessage(bytes).payloads, [{ kind: 'SA', proposals: [proposal] }])
  assert.equal(toHex(bytes.subarray(32, 40)), '00000800010100ff')
})

test('our own mistakes are not written', () => {
  const good: WireProposal = { number: 1, protocol: 3, spi: fromHex('c0010203'), transforms: [transform(1, 20, 256)] }
  const refuses = (change: Partial<WireProposal>, belief: RegExp): void =>
    assertRefusesToWrite({ kind: 'SA', proposals: [{ ...good, ...change }] }, belief)
  assertRefusesToWrite({ kind: 'SA', proposals: [] }, /has proposals/)
  assertRefusesToWrite({ kind: 'SA', proposals: repeated(MAX_PROPOSALS + 1, good) }, /not too many/)
  refuses({ number: 256 }, /proposal number 256/)
  refuses({ protocol: 256 }, /protocol ID 256/)
  refuses({ spi: NONE }, /SPI of a proposal/)
  refuses({ protocol: 200, spi: new Uint8Array(256) }, /SPI size 256/)
  refuses({ transforms: [] }, /1 to 255 transforms/)
  refuses({ transforms: repeated(256, transform(1, 20)) }, /1 to 255 transforms/)
  refuses({ transforms: [transform(256, 1)] }, /transform type 256/)
  refuses({ transforms: [transform(1, 65536)] }, /transform ID 65536/)
  refuses({ transforms: [transform(1, 12, 65536)] }, /key length 65536/)
  refuses({ transforms: [{ ...transform(1, 12), otherAttributes: true }] }, /never sent/)
  const crowd = { ...good, transforms: repeated(255, transform(4, 1)) }
  assertRefusesToWrite({ kind: 'SA', proposals: repeated(5, crowd) }, /no more transforms/)
})
