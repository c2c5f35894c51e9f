/** States that go on elsewhere: what of the kernel's answer is taken, and what is said of it again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Secret } from '../../../src/crypto/secret.ts'
import { NO_LIMITS, type State } from '../../../src/kernel/vocabulary.ts'
import { readAttributes, readMessages, type ReceivedMessage } from '../../../src/kernel/xfrm/attributes.ts'
import { LITTLE_ENDIAN, XFRM_MSG, XFRMA } from '../../../src/kernel/xfrm/constants.ts'
import { decodeContents } from '../../../src/kernel/xfrm/contents.ts'
import { encodeState } from '../../../src/kernel/xfrm/requests.ts'
import { getLifetimeCur, getReplay, XfrmFormatError } from '../../../src/kernel/xfrm/structs.ts'
import { cbc, gcm, LEFT, RIGHT, state } from '../fixtures.ts'

/** As GETSA is answered: the request that made the state, but for what the kernel counts. */
function told(given: State, change: (payload: Uint8Array, view: DataView) => void = () => undefined): ReceivedMessage {
  const [message] = readMessages(encodeState(given, 'new', 1))
  const payload = message!.payload.slice()
  change(payload, new DataView(payload.buffer))
  return { ...message!, payload }
}

const CARRIED = { bytes: 123_456n, packets: 789n, addTime: 1_700_000_000n, useTime: 1_700_000_100n }

function carries(_: Uint8Array, view: DataView): void {
  for (const [i, value] of Object.values(CARRIED).entries()) view.setBigUint64(160 + i * 8, value, LITTLE_ENDIAN)
}

/** Words 1 to 4 of a replay state with a bitmap, and its bits. */
function counts(payload: Uint8Array): void {
  const attribute = readAttributes(payload, 224).get(XFRMA.REPLAY_ESN_VAL)!
  const view = new DataView(attribute.buffer, attribute.byteOffset, attribute.length)
  for (const [i, word] of [0x11, 0x22, 0x33, 0x44].entries()) view.setUint32(4 + i * 4, word, LITTLE_ENDIAN)
  view.setUint32(24, 0xdead_beef, LITTLE_ENDIAN)
  view.setUint32(28, 0x0000_0007, LITTLE_ENDIAN)
}

function attributesOf(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const [message] = readMessages(bytes)
  return readAttributes(message!.payload, 224)
}

const view = (bytes: Uint8Array | undefined): DataView => new DataView(bytes!.buffer, bytes!.byteOffset, bytes!.length)
const zeroKeys = (given: State): State => ({
  ...given,
  encryption: { ...given.encryption, key: new Secret(new Uint8Array(given.encryption.key.length)) },
  integrity:
    given.integrity === null ? null : { ...given.integrity, key: new Secret(new Uint8Array(given.integrity.key.length)) },
})

for (const [what, keying] of [
  ['an AEAD', gcm(7)],
  ['a cipher with an integrity algorithm', cbc(7)],
] as const) {
  test(`${what}: keys and age are the kernel's, addresses and all else are ours`, () => {
    const old = state({ ...keying, limits: { ...NO_LIMITS, softSeconds: 9 } })
    const contents = decodeContents(told(old, carries))
    assert.ok(contents !== null)
    // The books have no keys.
    const moved = zeroKeys({ ...old, source: LEFT, destination: RIGHT, encapsulation: { sourcePort: 1, destinationPort: 2 } })
    const bytes = encodeState(moved, 'new', 5, contents)
    const [message] = readMessages(bytes)
    assert.equal(message!.type, XFRM_MSG.NEWSA)
    const [before, after] = [attributesOf(encodeState(old, 'new', 5)), attributesOf(bytes)]
    for (const type of [XFRMA.ALG_AEAD, XFRMA.ALG_CRYPT, XFRMA.ALG_AUTH_TRUNC])
      assert.deepEqual(after.get(type), before.get(type))
    assert.ok(after.has(XFRMA.ENCAP))
    assert.deepEqual(getLifetimeCur(view(after.get(XFRMA.LTIME_VAL)), 0), CARRIED)
    assert.deepEqual(message!.payload.subarray(80, 84), LEFT.bytes)
    assert.deepEqual(message!.payload.subarray(96, 160), readMessages(encodeState(old, 'new', 5))[0]!.payload.subarray(96, 160))
  })
}

test('keys are copied out of what was received, which is overwritten afterwards', () => {
  for (const keying of [gcm(9), cbc(9)]) {
    const old = state(keying)
    const message = told(old)
    // As it comes from a socket: parts of a Buffer are views on it.
    const buffer = Buffer.from(message.payload)
    const contents = decodeContents({ ...message, payload: buffer })
    buffer.fill(0)
    const [after, before] = [encodeState(zeroKeys(old), 'new', 1, contents), encodeState(old, 'new', 1)].map(attributesOf)
    for (const type of [XFRMA.ALG_AEAD, XFRMA.ALG_CRYPT, XFRMA.ALG_AUTH_TRUNC])
      assert.deepEqual(after!.get(type), before!.get(type))
  }
})

test('a short replay window goes on in its own form', () => {
  const old = state()
  const base = told(old)
  // length 16, XFRMA_REPLAY_VAL: oseq, seq, bitmap
  const attribute = new Uint8Array(16)
  const words = new DataView(attribute.buffer)
  words.setUint16(0, 16, LITTLE_ENDIAN)
  words.setUint16(2, XFRMA.REPLAY_VAL, LITTLE_ENDIAN)
  for (const [i, word] of [5, 0xffff_fff0, 0x8000_0001].entries()) words.setUint32(4 + i * 4, word, LITTLE_ENDIAN)
  const contents = decodeContents({ ...base, payload: Uint8Array.from([...base.payload, ...attribute]) })
  assert.ok(contents !== null)
  const inward = attributesOf(encodeState(old, 'new', 1, contents)).get(XFRMA.REPLAY_VAL)
  assert.deepEqual(getReplay(view(inward), 0), { sent: 0n, received: 0xffff_fff0n, bitmap: [0x8000_0001] })
  const outward = attributesOf(encodeState({ ...old, direction: 'out' }, 'new', 1, contents)).get(XFRMA.REPLAY_VAL)
  assert.deepEqual(getReplay(view(outward), 0), { sent: 5n, received: 0n, bitmap: [0] })
})

test('a wide window and extended sequence numbers go on, each direction with its own', () => {
  const old = state({ esn: true, replayWindow: 64 })
  const contents = decodeContents(told(old, counts))
  assert.ok(contents !== null)
  const words = (direction: State['direction']): readonly number[] => {
    const at = view(attributesOf(encodeState({ ...old, direction }, 'new', 1, contents)).get(XFRMA.REPLAY_ESN_VAL))
    return Array.from({ length: at.byteLength / 4 }, (_, i) => at.getUint32(i * 4, LITTLE_ENDIAN))
  }
  // bmp_len, oseq, seq, oseq_hi, seq_hi, replay_window, bmp
  assert.deepEqual(words('in'), [2, 0, 0x22, 0, 0x44, 64, 0xdead_beef, 7])
  assert.deepEqual(words('out'), [1, 0x11, 0, 0x33, 0, 1, 0])
})

test('a kernel that is locked down shows zeros for keys: nothing is made of them', () => {
  assert.equal(decodeContents(told(zeroKeys(state()))), null)
  assert.equal(decodeContents(told({ ...state(cbc()), integrity: zeroKeys(state(cbc())).integrity })), null)
})

test('a key that leads outside its attribute is an error', () => {
  const message = told(state(), (payload) => {
    const attribute = readAttributes(payload, 224).get(XFRMA.ALG_AEAD)!
    view(attribute).setUint32(64, 8 * 4096, LITTLE_ENDIAN)
  })
  assert.throws(() => decodeContents(message), XfrmFormatError)
})

test('contents that are destroyed are of no use any more', () => {
  const contents = decodeContents(told(state({ ...gcm(3) })))
  contents!.destroy()
  assert.throws(() => encodeState(state(), 'new', 1, contents))
})
