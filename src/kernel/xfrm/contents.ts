/**
 * What is in a state: read of one that is to go, put into the one that goes on in its place. What the kernel answers to
 * GETSA cannot be fed back as it is (strongswan#2946: flags of the other direction, counters that a newer kernel
 * refuses), so only this is taken of it, and all else is ours to say.
 */
import { assert } from '../../base/assert.ts'
import { Secret } from '../../crypto/secret.ts'
import type { State, StateContents } from '../vocabulary.ts'
import { readAttributes, type ReceivedMessage } from './attributes.ts'
import { LITTLE_ENDIAN, XFRMA } from './constants.ts'
import {
  getLifetimeCur,
  getReplay,
  getReplayEsn,
  LIFETIME_CUR_LENGTH,
  REPLAY_ESN_LENGTH,
  REPLAY_LENGTH,
  structAt,
  USERSA_INFO_LENGTH,
  type LifetimeCur,
  type ReplayState,
} from './structs.ts'

/** Where xfrm_usersa_info has its xfrm_lifetime_cur. */
const CURLFT_OFFSET = 160
/** alg_name[64], key bits u32; then the key, or another u32 before it. */
const ALGORITHM_KEY_BITS_OFFSET = 64

export class XfrmContents implements StateContents {
  readonly #encryptionKey: Secret
  readonly #integrityKey: Secret | null
  readonly #replay: ReplayState
  readonly carried: LifetimeCur

  constructor(encryptionKey: Secret, integrityKey: Secret | null, replay: ReplayState, carried: LifetimeCur) {
    this.#encryptionKey = encryptionKey
    this.#integrityKey = integrityKey
    this.#replay = replay
    this.carried = carried
  }

  /** The state with these keys. */
  keyed(state: State): State {
    const { encryption, integrity } = state
    assert(!isHidden(this.#encryptionKey) && !isHidden(this.#integrityKey), 'no state goes on with zeros for a key')
    assert((integrity === null) === (this.#integrityKey === null), 'a state goes on with the algorithms it had')
    return {
      ...state,
      encryption: { ...encryption, key: this.#encryptionKey },
      integrity: integrity === null || this.#integrityKey === null ? null : { ...integrity, key: this.#integrityKey },
    }
  }

  /** A state sends or receives: what it says of the other is not to be said (a kernel from 6.10 on refuses it). */
  replayOf(direction: State['direction']): ReplayState {
    const { sent, received, bitmap } = this.#replay
    return direction === 'in' ? { sent: 0n, received, bitmap } : { sent, received: 0n, bitmap: [] }
  }

  destroy(): void {
    this.#encryptionKey.destroy()
    this.#integrityKey?.destroy()
  }
}

/**
 * Of XFRM_MSG_NEWSA, what GETSA is answered by. Null when the kernel does not tell the keys: locked down it shows
 * zeros instead of them (LOCKDOWN_XFRM_SECRET), and a state with such keys would be open to everybody. Throws
 * XfrmFormatError.
 */
export function decodeContents(message: ReceivedMessage): XfrmContents | null {
  structAt(message.payload, 0, USERSA_INFO_LENGTH, 'a state')
  const attributes = readAttributes(message.payload, USERSA_INFO_LENGTH)
  const aead = attributes.get(XFRMA.ALG_AEAD)
  const cipher = attributes.get(XFRMA.ALG_CRYPT)
  const integrity = attributes.get(XFRMA.ALG_AUTH_TRUNC)
  const encryptionKey = aead === undefined ? keyOf(cipher, 68) : keyOf(aead, 72)
  const integrityKey = aead === undefined && integrity !== undefined ? keyOf(integrity, 72) : null
  const carried = getLifetimeCur(structAt(message.payload, CURLFT_OFFSET, LIFETIME_CUR_LENGTH, 'a lifetime'), 0)
  const contents = encryptionKey === null ? null : new XfrmContents(encryptionKey, integrityKey, replayIn(attributes), carried)
  if (contents === null || isHidden(encryptionKey) || isHidden(integrityKey)) {
    contents?.destroy()
    return null
  }
  return contents
}

/** A copy; null where there is no such algorithm. */
function keyOf(algorithm: Uint8Array | undefined, offset: number): Secret | null {
  if (algorithm === undefined) return null
  const header = structAt(algorithm, 0, offset, 'an algorithm')
  const length = header.getUint32(ALGORITHM_KEY_BITS_OFFSET, LITTLE_ENDIAN) / 8
  structAt(algorithm, offset, length, 'a key')
  // Not `slice`: of a Buffer that is a view, and what was received is about to be overwritten.
  return new Secret(new Uint8Array(algorithm.subarray(offset, offset + length)))
}

/** ENCR_NULL has a key of no octets, which hides nothing. */
function isHidden(key: Secret | null): boolean {
  return key !== null && key.length > 0 && key.dangerouslyReveal().every((byte) => byte === 0)
}

function replayIn(attributes: ReadonlyMap<number, Uint8Array>): ReplayState {
  const long = attributes.get(XFRMA.REPLAY_ESN_VAL)
  if (long !== undefined) {
    const view = structAt(long, 0, REPLAY_ESN_LENGTH, 'a replay state')
    const words = view.getUint32(0, LITTLE_ENDIAN)
    const bits = structAt(long, REPLAY_ESN_LENGTH, words * 4, 'a replay window')
    const bitmap = Array.from({ length: words }, (_, i) => bits.getUint32(i * 4, LITTLE_ENDIAN))
    return { ...getReplayEsn(view, 0), bitmap }
  }
  const short = attributes.get(XFRMA.REPLAY_VAL)
  if (short === undefined) return { sent: 0n, received: 0n, bitmap: [] }
  return getReplay(structAt(short, 0, REPLAY_LENGTH, 'a replay state'), 0)
}
