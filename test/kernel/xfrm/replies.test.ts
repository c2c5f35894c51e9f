/**
 * What the kernel sends, as bytes put together by hand from linux/xfrm.h (little-endian, 64 bits), and requests read
 * back by the decoder.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { fromHex, toHex } from '../../../src/base/bytes.ts'
import { type ReceivedMessage, readAttributes, readMessages, RequestMessage } from '../../../src/kernel/xfrm/attributes.ts'
import { LITTLE_ENDIAN, XFRM_MSG } from '../../../src/kernel/xfrm/constants.ts'
import { decodeAcknowledgement, decodeEvent, decodeState, decodeUsage } from '../../../src/kernel/xfrm/replies.ts'
import { encodeState } from '../../../src/kernel/xfrm/requests.ts'
import {
  getLimits,
  getReplayEsn,
  getSelector,
  getUsersaInfo,
  putLimits,
  putReplayEsn,
  putSelector,
  XfrmFormatError,
} from '../../../src/kernel/xfrm/structs.ts'
import { LEFT, RIGHT, selector, state } from '../fixtures.ts'

const HEX = { skip: LITTLE_ENDIAN ? false : 'the bytes are those of little-endian machines' }
const zeros = (count: number): string => '00'.repeat(count)
const v4 = (hex: string): string => hex + zeros(12)
const LEFT_HEX = v4('c0000201')
const RIGHT_HEX = v4('c6336402')

function message(type: number, hex: string, flags = 0): ReceivedMessage {
  return { type, flags, sequence: 1, payload: fromHex(hex) }
}

/** xfrm_usersa_info of a state from RIGHT to LEFT that carried 0x1000 bytes in 16 packets, dropped 3 replays and 2 forgeries. */
const USERSA = `${zeros(56)} ${LEFT_HEX} c1020304 32 000000 ${RIGHT_HEX} ${'ff'.repeat(32)} ${zeros(32)}
  0010000000000000 1000000000000000 ${zeros(16)} 20000000 03000000 02000000 00000000 07000000 0200 01 20 20 ${zeros(7)}`

test('an acknowledgement is errno and text, with the request echoed or not', HEX, () => {
  const header = '28000000 1000 0500 09000000 00000000'
  assert.deepEqual(decodeAcknowledgement(message(2, `00000000 ${header}`, 0x100)), { errno: 0, text: null })
  assert.deepEqual(decodeAcknowledgement(message(2, `fdffffff ${header}`, 0x100)), { errno: 3, text: null })
  const text = `0d00 0100 ${toHex(Buffer.from('no type\0'))} 00 000000`
  assert.deepEqual(decodeAcknowledgement(message(2, `a3ffffff ${header} ${text}`, 0x300)), { errno: 93, text: 'no type' })
  // Without NLM_F_CAPPED the request of 0x28 bytes is there in full.
  assert.deepEqual(decodeAcknowledgement(message(2, `a3ffffff ${header} ${zeros(24)} ${text}`, 0x200)), {
    errno: 93,
    text: 'no type',
  })
  assert.throws(() => decodeAcknowledgement(message(2, '00000000')), XfrmFormatError)
})

test('a state tells its usage, its ports and its sequence number', HEX, () => {
  const replay = '1000 0a00 00000000 2a000000 ffffffff'
  const lastUsed = '0c00 0f00 00f1536500000000'
  const encap = `1c00 0400 0200 7d64 1194 0000 ${zeros(16)}`
  assert.deepEqual(decodeState(message(XFRM_MSG.NEWSA, `${USERSA} ${replay} ${lastUsed} ${encap}`)), {
    spi: 0xc1020304,
    source: RIGHT,
    destination: LEFT,
    reqid: 7,
    limits: { softBytes: 0n, hardBytes: 0n, softPackets: 0n, hardPackets: 0n, softSeconds: 0, hardSeconds: 0 },
    encapsulation: { sourcePort: 32100, destinationPort: 4500 },
    usage: { bytes: 4096n, packets: 16n, lastUsedSeconds: 0x6553f100, sequence: 42n, replayed: 3, integrityFailed: 2 },
  })
})

test('extended sequence numbers have 64 bits, a state never used has none, another encapsulation is none of ours', HEX, () => {
  const esn = `2000 1700 01000000 05000000 00000000 02000000 00000000 20000000 00000000`
  const long = decodeState(message(XFRM_MSG.NEWSA, `${USERSA} ${esn}`))
  assert.equal(long.usage.sequence, 0x2_0000_0005n)
  assert.equal(long.usage.lastUsedSeconds, null)
  assert.equal(long.encapsulation, null)
  const tcp = decodeState(message(XFRM_MSG.NEWSA, `${USERSA} 1c00 0400 0700 7d64 1194 0000 ${zeros(16)}`))
  assert.equal(tcp.encapsulation, null)
  assert.equal(tcp.usage.sequence, 0n)
})

const SELECTOR = `${v4('0a020001')} ${v4('0a010001')} 0050 ffff 0000 0000 0200 20 20 06 000000 ${zeros(8)}`
const POLICY_SELECTOR = `${v4('0a020000')} ${v4('0a010000')} 0000 0000 0000 0000 0200 10 10 00 000000 ${zeros(8)}`
const POLICY = `${POLICY_SELECTOR} ${zeros(64)} ${zeros(32)} ${zeros(8)} 01 00 00 00 00000000`
const TEMPLATE = `4400 0500 ${RIGHT_HEX} 00000000 32 000000 0200 0000 ${LEFT_HEX} 07000000 01 00 00 00 ${'ff'.repeat(12)}`
const ACQUIRE = `${RIGHT_HEX} 00000000 32 000000 ${LEFT_HEX} ${SELECTOR} ${POLICY} ${'ff'.repeat(12)} 15000000`

test('an acquire tells packet, policy, reqid and the sequence number that answers it', HEX, () => {
  assert.deepEqual(decodeEvent(message(XFRM_MSG.ACQUIRE, `${ACQUIRE} ${TEMPLATE}`)), {
    event: 'acquire',
    sequence: 21,
    reqid: 7,
    source: LEFT,
    destination: RIGHT,
    packet: selector('10.1.0.1', '10.2.0.1', { protocol: 6, destinationPorts: { first: 80, last: 80 } }),
    policy: selector('10.1.0.0/16', '10.2.0.0/16'),
  })
  // Without a template there is nobody to ask; AH is not ours.
  assert.equal(decodeEvent(message(XFRM_MSG.ACQUIRE, ACQUIRE)), null)
  assert.equal(decodeEvent(message(XFRM_MSG.ACQUIRE, `${ACQUIRE} ${TEMPLATE}`.replace('32 000000', '33 000000'))), null)
})

test('an expiry tells the state and whether it is gone', HEX, () => {
  const id = { spi: 0xc1020304, source: RIGHT, destination: LEFT, mark: null }
  assert.deepEqual(decodeEvent(message(XFRM_MSG.EXPIRE, `${USERSA} 01 ${zeros(7)}`)), {
    event: 'expire',
    id,
    reqid: 7,
    hard: true,
  })
  assert.deepEqual(decodeEvent(message(XFRM_MSG.EXPIRE, `${USERSA} 00 ${zeros(7)}`)), {
    event: 'expire',
    id,
    reqid: 7,
    hard: false,
  })
  // XFRMA_MARK: length 12, type 21, value, mask.
  assert.deepEqual(decodeEvent(message(XFRM_MSG.EXPIRE, `${USERSA} 00 ${zeros(7)} 0c00 1500 07000000 ff000000`)), {
    event: 'expire',
    id: { ...id, mark: { value: 7, mask: 0xff } },
    reqid: 7,
    hard: false,
  })
  // An acquire nobody answered has no SPI.
  assert.equal(decodeEvent(message(XFRM_MSG.EXPIRE, `${USERSA} 01 ${zeros(7)}`.replace('c1020304', '00000000'))), null)
})

test('a mapping change tells where the packets come from now', HEX, () => {
  const mapping = `${LEFT_HEX} c1020304 0200 32 00 07000000 ${RIGHT_HEX} ${v4('c6336403')} 1194 7d64`
  const event = decodeEvent(message(XFRM_MSG.MAPPING, mapping))
  assert.ok(event?.event === 'mapping')
  assert.deepEqual(
    [event.spi, event.reqid, event.destination.toString(), event.from.toString(), event.to.toString()],
    [0xc1020304, 7, '192.0.2.1', '198.51.100.2[4500]', '198.51.100.3[32100]'],
  )
  // Per-CPU states have no old port.
  assert.equal(decodeEvent(message(XFRM_MSG.MAPPING, mapping.replace('1194 7d64', '0000 7d64'))), null)
})

test('other messages of the groups are none of ours, short ones are an error, an unknown family is one', HEX, () => {
  assert.equal(decodeEvent(message(0x1b, zeros(176))), null)
  for (const type of [XFRM_MSG.ACQUIRE, XFRM_MSG.EXPIRE, XFRM_MSG.MAPPING])
    assert.throws(() => decodeEvent(message(type, zeros(8))), XfrmFormatError)
  assert.throws(() => decodeState(message(XFRM_MSG.NEWSA, zeros(223))), XfrmFormatError)
  assert.throws(() => decodeState(message(XFRM_MSG.NEWSA, zeros(224))), /address family 0/)
  assert.throws(() => decodeUsage(message(XFRM_MSG.NEWSA, zeros(223))), XfrmFormatError)
  for (const short of ['0c00 0a00 00000000 00000000', '0800 0f00 00000000', `1800 1700 ${zeros(20)}`])
    assert.throws(() => decodeUsage(message(XFRM_MSG.NEWSA, `${USERSA} ${short}`)), /bytes, \d+ were expected/)
})

test('several messages in one datagram are read apart, lengths that lead outside are an error', HEX, () => {
  const one = '18000000 1000 0000 05000000 00000000 0102030405060708'
  const odd = '11000000 1100 0001 06000000 00000000 09 000000'
  assert.deepEqual(
    readMessages(fromHex(one + odd)).map(({ type, flags, sequence, payload }) => [type, flags, sequence, toHex(payload)]),
    [
      [16, 0, 5, '0102030405060708'],
      [17, 0x100, 6, '09'],
    ],
  )
  assert.throws(() => readMessages(fromHex('18000000 1000 0000 05000000 00000000 01')), XfrmFormatError)
  assert.throws(() => readMessages(fromHex('0f000000 1000 0000 05000000 00000000')), XfrmFormatError)
  assert.throws(() => readMessages(fromHex('1000')), XfrmFormatError)
  assert.throws(() => readAttributes(fromHex('0300 0100'), 0), XfrmFormatError)
  assert.throws(() => readAttributes(fromHex('0900 0100 00000000'), 0), XfrmFormatError)
})

test('nothing the kernel could send makes the decoder do anything but answer or accuse', () => {
  const readable = (read: () => unknown): void => {
    try {
      read()
    } catch (error) {
      assert.ok(error instanceof XfrmFormatError, String(error))
    }
  }
  const types = fc.constantFrom(XFRM_MSG.NEWSA, XFRM_MSG.ACQUIRE, XFRM_MSG.EXPIRE, XFRM_MSG.MAPPING, 2)
  fc.assert(
    fc.property(types, fc.integer({ min: 0, max: 0xffff }), fc.uint8Array({ maxLength: 400 }), (type, flags, payload) => {
      const received = { type, flags, sequence: 1, payload }
      readable(() => decodeEvent(received))
      readable(() => decodeState(received))
      readable(() => decodeUsage(received))
      readable(() => decodeAcknowledgement(received))
      readable(() => readMessages(payload))
    }),
  )
})

test('structures read back as they were written', () => {
  const view = new DataView(new ArrayBuffer(64))
  for (const one of [
    selector('10.1.0.0/16', '10.2.3.4', {
      protocol: 17,
      sourcePorts: { first: 1024, last: 2047 },
      destinationPorts: { first: 53, last: 53 },
    }),
    selector('2001:db8::/32', '::/0', { protocol: 58 }),
  ]) {
    putSelector(view, 0, one)
    assert.deepEqual(getSelector(view, 0), one)
  }
  const limits = {
    softSeconds: 3000,
    hardSeconds: 3600,
    softBytes: 1n << 40n,
    hardBytes: 0n,
    softPackets: 0n,
    hardPackets: 0xffffffffn,
  }
  putLimits(view, 0, limits)
  assert.deepEqual(getLimits(view, 0), limits)
  const esn = new DataView(new ArrayBuffer(24))
  putReplayEsn(esn, 0, 100)
  assert.deepEqual([getReplayEsn(esn, 0), esn.getUint32(0, LITTLE_ENDIAN)], [{ sent: 0n, received: 0n, window: 100 }, 4])
})

test('a state request reads back as the state it is about', () => {
  const original = state({ encapsulation: { sourcePort: 32100, destinationPort: 4500 }, acquireSequence: 3 })
  const [request] = readMessages(encodeState(original, 'update', 77))
  assert.equal(request?.sequence, 77)
  const { spi, source, destination, reqid, limits, encapsulation } = decodeState(request)
  assert.deepEqual(
    { spi, source, destination, reqid, limits, encapsulation },
    {
      spi: original.spi,
      source: original.source,
      destination: original.destination,
      reqid: original.reqid,
      limits: original.limits,
      encapsulation: original.encapsulation,
    },
  )
  const info = getUsersaInfo(new DataView(request.payload.buffer, request.payload.byteOffset), 0)
  assert.deepEqual([info.mode, info.protocol, info.sequence], [1, 50, 3])
})

test('a request that is too long is refused, not cut', () => {
  const request = new RequestMessage(16, 0, 1, 224)
  assert.throws(() => request.attribute(1, 2048), RangeError)
})
