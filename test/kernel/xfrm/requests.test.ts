/**
 * Requests against bytes put together by hand from linux/xfrm.h. The bytes are those of little-endian 64-bit machines.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { AssertionError } from '../../../src/base/assert.ts'
import { toHex } from '../../../src/base/bytes.ts'
import { IpAddress } from '../../../src/base/ip.ts'
import { Secret } from '../../../src/crypto/secret.ts'
import { NO_LIMITS, type State } from '../../../src/kernel/vocabulary.ts'
import { readAttributes, readMessages } from '../../../src/kernel/xfrm/attributes.ts'
import { LITTLE_ENDIAN, XFRMA } from '../../../src/kernel/xfrm/constants.ts'
import { encodeOperation, encodeState, UnknownTransform } from '../../../src/kernel/xfrm/requests.ts'
import { cbc, counting, gcm, LEFT, policy, RIGHT, selector, state } from '../fixtures.ts'

const HEX = { skip: LITTLE_ENDIAN ? false : 'the expected bytes are those of little-endian machines' }

const ascii = (text: string, length: number): string => toHex(Buffer.from(text.padEnd(length, '\0'), 'latin1'))
const zeros = (count: number): string => '00'.repeat(count)
const ones = (count: number): string => 'ff'.repeat(count)
const v4 = (hex: string): string => hex + zeros(12)
const hexOf = (...parts: readonly string[]): string => parts.join('').replace(/\s+/g, '')

const LEFT_HEX = v4('c0000201')
const RIGHT_HEX = v4('c6336402')
/** No limits: bytes and packets all ones, times zero. */
const NO_LIMITS_HEX = ones(32) + zeros(32)

/** xfrm_usersa_info of an inbound state from RIGHT to LEFT. */
function usersaHex({
  spi = 'c1020304',
  seq = '00000000',
  reqid = '07000000',
  mode = '01',
  window = '20',
  flags = '20',
} = {}): string {
  return hexOf(
    zeros(56),
    LEFT_HEX,
    spi,
    '32 000000',
    RIGHT_HEX,
    NO_LIMITS_HEX,
    zeros(32),
    zeros(12),
    seq,
    reqid,
    '0200',
    mode,
    window,
    flags,
    zeros(7),
  )
}

function attributesOf(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const [message] = readMessages(bytes)
  return readAttributes(message!.payload, 224)
}

test('an inbound AEAD state is an update of the larval one, byte by byte', HEX, () => {
  const aead = hexOf('6000 1200', ascii('rfc4106(gcm(aes))', 64), 'a0000000', '80000000', toHex(counting(1, 20)))
  const expected = hexOf('50010000 1a00 0500 09000000 00000000', usersaHex(), aead)
  assert.equal(toHex(encodeOperation({ op: 'add-state', state: state() }, 9)), expected)
})

test('an outbound state with cipher, integrity, encapsulation and acquire is new, byte by byte', HEX, () => {
  const outbound = state({
    direction: 'out',
    source: LEFT,
    destination: RIGHT,
    ...cbc(),
    encapsulation: { sourcePort: 4500, destinationPort: 32100 },
    copyDf: false,
    copyEcn: false,
    copyDscpOut: false,
    acquireSequence: 5,
  })
  const info = hexOf(
    zeros(56),
    RIGHT_HEX,
    'c1020304 32 000000',
    LEFT_HEX,
    NO_LIMITS_HEX,
    zeros(44),
    '05000000 07000000 0200 01 00',
    // NOECN 1, NOPMTUDISC 4, AF_UNSPEC 32; no replay window.
    '25',
    zeros(7),
  )
  const flags = hexOf('0800 1800 01000000')
  const crypt = hexOf('6800 0200', ascii('cbc(aes)', 64), '00010000', toHex(counting(1, 32)))
  const auth = hexOf('6c00 1400', ascii('hmac(sha256)', 64), '00010000', '80000000', toHex(counting(101, 32)))
  const encap = hexOf('1c00 0400', '0200 1194 7d64 0000', zeros(16))
  const length = 16 + 224 + 8 + 104 + 108 + 28
  const header = hexOf(Buffer.from([length & 0xff, length >> 8, 0, 0]).toString('hex'), '1000 0500 01000000 00000000')
  assert.equal(toHex(encodeOperation({ op: 'add-state', state: outbound }, 1)), hexOf(header, info, flags, crypt, auth, encap))
})

test('an SPI is asked for within 0xc0000000 to 0xcfffffff', HEX, () => {
  const expected = hexOf(
    'f8000000 1600 0500 02000000 00000000',
    usersaHex({ spi: '00000000', reqid: '00000000', window: '00', flags: '00' }),
    '000000c0 ffffffcf',
  )
  assert.equal(
    toHex(encodeOperation({ op: 'allocate-spi', source: RIGHT, destination: LEFT, reqid: 0, mode: 'tunnel' }, 2)),
    expected,
  )
})

test('a state is deleted and asked about by destination and SPI', HEX, () => {
  const id = { spi: 0xc1020304, source: RIGHT, destination: LEFT }
  const body = hexOf(LEFT_HEX, 'c1020304 0200 32 00')
  assert.equal(toHex(encodeOperation({ op: 'delete-state', id }, 3)), hexOf('28000000 1100 0500 03000000 00000000', body))
  assert.equal(toHex(encodeOperation({ op: 'query-state', id }, 4)), hexOf('28000000 1200 0100 04000000 00000000', body))
})

test('an outbound tunnel policy carries addresses and SPI of its template, byte by byte', HEX, () => {
  const sel = hexOf(v4('0a020300'), v4('0a010000'), '0000 0000 0000 0000 0200 18 10 00 000000', zeros(8))
  const info = hexOf(sel, NO_LIMITS_HEX, zeros(32), '7fbc0500 00000000 01 00 00 00', zeros(4))
  const template = hexOf('4400 0500', RIGHT_HEX, 'cabbccdd 32 000000', '0200 0000', LEFT_HEX, '07000000 01 00 00 00', ones(12))
  const expected = hexOf('fc000000 1900 0500 05000000 00000000', info, template)
  assert.equal(toHex(encodeOperation({ op: 'set-policy', policy: policy() }, 5)), expected)
})

test('an inbound transport policy over IPv6 with ports has a template without addresses and SPI', HEX, () => {
  const source = IpAddress.parse('2001:db8::1')
  const destination = IpAddress.parse('2001:db8::2')
  const transport = policy({
    direction: 'in',
    selector: selector('2001:db8::1', '2001:db8::2', {
      protocol: 17,
      sourcePorts: { first: 1701, last: 1701 },
      destinationPorts: { first: 1024, last: 2047 },
    }),
    priority: 1,
    template: { source, destination, mode: 'transport', reqid: 9, spi: 1 },
  })
  const sel = hexOf(toHex(destination.bytes), toHex(source.bytes), '0400 fc00 06a5 ffff 0a00 80 80 11 000000', zeros(8))
  const info = hexOf(sel, NO_LIMITS_HEX, zeros(32), '01000000 00000000 00 00 00 00', zeros(4))
  const template = hexOf('4400 0500', zeros(16), '00000000 32 000000', '0a00 0000', zeros(16), '09000000 00 00 00 00', ones(12))
  assert.equal(
    toHex(encodeOperation({ op: 'set-policy', policy: transport }, 6)),
    hexOf('fc000000 1900 0500 06000000 00000000', info, template),
  )
})

test('a block policy has no template, and a policy is deleted by selector and direction', HEX, () => {
  const sel = hexOf(v4('0a020300'), v4('0a010000'), '0000 0000 0000 0000 0200 18 10 00 000000', zeros(8))
  const info = hexOf(sel, NO_LIMITS_HEX, zeros(32), '7fbc0500 00000000 02 01 00 00', zeros(4))
  const block = policy({ direction: 'fwd', action: 'block', template: null })
  assert.equal(
    toHex(encodeOperation({ op: 'set-policy', policy: block }, 7)),
    hexOf('b8000000 1900 0500 07000000 00000000', info),
  )
  assert.equal(
    toHex(encodeOperation({ op: 'delete-policy', id: block }, 8)),
    hexOf('50000000 1400 0500 08000000 00000000', sel, '00000000 02 000000'),
  )
})

test('marks and interface IDs are attributes of states and policies, and of what names them', HEX, () => {
  const mark = { value: 7, mask: 0xff }
  // XFRMA_MARK, XFRMA_SET_MARK, XFRMA_SET_MARK_MASK, XFRMA_IF_ID: length, type, words.
  const [marked, set, ifId] = ['0c00 1500 07000000 ff000000', '0800 1d00 09000000 0800 1e00 0f000000', '0800 1f00 2a000000']
  const endOf = (bytes: Uint8Array, hex: string): void => assert.ok(toHex(bytes).endsWith(hexOf(hex)), toHex(bytes).slice(-80))
  endOf(encodeState(state({ mark, setMark: { value: 9, mask: 0xf }, ifId: 42 }), 'update', 1), `${marked} ${set} ${ifId}`)
  endOf(encodeState(state({ setMark: { value: 0, mask: 0xffff_ffff } }), 'new', 1), '0800 1d00 00000000 0800 1e00 ffffffff')
  endOf(encodeOperation({ op: 'delete-state', id: state({ mark }) }, 1), marked)
  endOf(encodeOperation({ op: 'query-state', id: state({ mark }) }, 1), marked)
  endOf(encodeOperation({ op: 'set-policy', policy: policy({ mark, ifId: 42 }) }, 1), `${marked} ${ifId}`)
  endOf(encodeOperation({ op: 'delete-policy', id: policy({ mark, ifId: 42 }) }, 1), `${marked} ${ifId}`)
})

test('ESN and wide windows use the bitmap form, narrow windows the old one, outbound states none', HEX, () => {
  const replay = (change: Partial<State>): [string, number] => {
    const bytes = encodeState(state(change), 'new', 1)
    return [toHex(attributesOf(bytes).get(XFRMA.REPLAY_ESN_VAL) ?? new Uint8Array()), bytes[16 + 215]!]
  }
  const bitmap = (words: number, window: string): string => hexOf(`0${words}000000`, zeros(16), window, zeros(words * 4))
  assert.deepEqual(replay({ replayWindow: 32 }), ['', 32])
  assert.deepEqual(replay({ replayWindow: 128 }), [bitmap(4, '80000000'), 0])
  assert.deepEqual(replay({ replayWindow: 33 }), [bitmap(2, '21000000'), 0])
  assert.deepEqual(replay({ esn: true }), [bitmap(1, '20000000'), 0])
  assert.deepEqual(replay({ replayWindow: 0 }), ['', 0])
  assert.deepEqual(replay({ direction: 'out', replayWindow: 128 }), ['', 0])
  assert.deepEqual(replay({ direction: 'out', esn: true, replayWindow: 128 }), [bitmap(1, '01000000'), 0])
  assert.equal(encodeState(state({ esn: true }), 'new', 1)[16 + 216]! & 128, 128)
  assert.throws(() => replay({ replayWindow: 4097 }), AssertionError)
})

test('limits, DSCP and the selector of a transport mode state are where the kernel looks for them', HEX, () => {
  const limits = {
    ...NO_LIMITS,
    softSeconds: 10,
    hardSeconds: 20,
    softBytes: 1n,
    hardBytes: 2n,
    softPackets: 3n,
    hardPackets: 4n,
  }
  const bytes = encodeState(
    state({ mode: 'transport', selector: selector('198.51.100.2', '192.0.2.1'), limits, copyDscpIn: true }),
    'new',
    1,
  )
  const part = (from: number, to: number): string => toHex(bytes.subarray(16 + from, 16 + to))
  assert.equal(part(0, 56), hexOf(LEFT_HEX, RIGHT_HEX, zeros(8), '0200 20 20 00 000000', zeros(8)))
  assert.equal(
    part(96, 160),
    hexOf('0100000000000000 0200000000000000 0300000000000000 0400000000000000 0a00000000000000 1400000000000000', zeros(16)),
  )
  // Transport mode 0, DECAP_DSCP 2.
  assert.equal(part(214, 217), '002002')
})

test('every transform has its kernel name, ICV and key length', () => {
  const crypt = (id: number, keyLength: number | null, key: number, integ: number | null, integKey = 0): string[] => {
    const integrity = integ === null ? null : { id: integ, key: new Secret(counting(0, integKey)) }
    const attributes = attributesOf(
      encodeState(state({ encryption: { id, keyLength, key: new Secret(counting(0, key)) }, integrity }), 'new', 1),
    )
    const texts: string[] = []
    for (const [type, prefix] of [
      [XFRMA.ALG_AEAD, 72],
      [XFRMA.ALG_CRYPT, 68],
      [XFRMA.ALG_AUTH_TRUNC, 72],
    ] as const) {
      const value = attributes.get(type)
      if (value === undefined) continue
      const view = new DataView(value.buffer, value.byteOffset)
      const name = Buffer.from(value.subarray(0, value.indexOf(0))).toString('latin1')
      assert.equal(view.getUint32(64, LITTLE_ENDIAN), (value.length - prefix) * 8)
      texts.push(prefix === 72 ? `${name} ${view.getUint32(68, LITTLE_ENDIAN)}` : name)
    }
    return texts
  }
  assert.deepEqual(crypt(18, 128, 20, null), ['rfc4106(gcm(aes)) 64'])
  assert.deepEqual(crypt(19, 192, 28, null), ['rfc4106(gcm(aes)) 96'])
  assert.deepEqual(crypt(20, 256, 36, null), ['rfc4106(gcm(aes)) 128'])
  assert.deepEqual(crypt(28, null, 36, null), ['rfc7539esp(chacha20,poly1305) 128'])
  assert.deepEqual(crypt(11, null, 0, 2, 20), ['ecb(cipher_null)', 'hmac(sha1) 96'])
  assert.deepEqual(crypt(12, 128, 16, 5, 16), ['cbc(aes)', 'xcbc(aes) 96'])
  assert.deepEqual(crypt(12, 192, 24, 8, 16), ['cbc(aes)', 'cmac(aes) 96'])
  assert.deepEqual(crypt(12, 256, 32, 12, 32), ['cbc(aes)', 'hmac(sha256) 128'])
  assert.deepEqual(crypt(13, 128, 20, 13, 48), ['rfc3686(ctr(aes))', 'hmac(sha384) 192'])
  assert.deepEqual(crypt(13, 256, 36, 14, 64), ['rfc3686(ctr(aes))', 'hmac(sha512) 256'])
})

test('a transform without kernel name is an error of its own, a key of the wrong length is our mistake', () => {
  const unknown = { encryption: { id: 99, keyLength: 128, key: new Secret(counting(0, 16)) } }
  assert.throws(() => encodeState(state(unknown), 'new', 1), UnknownTransform)
  const { encryption } = cbc()
  assert.throws(
    () => encodeState(state({ encryption, integrity: { id: 99, key: new Secret(counting(0, 16)) } }), 'new', 1),
    UnknownTransform,
  )
  assert.throws(
    () => encodeState(state({ encryption: { id: 20, keyLength: 256, key: new Secret(counting(0, 20)) } }), 'new', 1),
    AssertionError,
  )
  assert.throws(() => encodeState(state({ ...gcm(), integrity: cbc().integrity }), 'new', 1), AssertionError)
  assert.throws(() => encodeState(state({ encryption, integrity: null }), 'new', 1), AssertionError)
})

test('the widest window and the longest keys fit a request', () => {
  const integrity = { id: 14, key: new Secret(counting(0, 64)) }
  const bytes = encodeState(
    state({ ...cbc(), integrity, esn: true, replayWindow: 4096, encapsulation: { sourcePort: 1, destinationPort: 2 } }),
    'new',
    1,
  )
  assert.equal(attributesOf(bytes).get(XFRMA.REPLAY_ESN_VAL)?.length, 24 + 512)
})
