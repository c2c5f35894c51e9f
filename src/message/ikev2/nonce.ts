/** Nonce payload, Ni or Nr, RFC 7296 3.9: nothing but 16 to 256 bytes of nonce. */
import { assert } from '../../base/assert.ts'
import type { Reader, Writer } from '../../base/bytes.ts'
import { MAX_NONCE_LENGTH, MIN_NONCE_LENGTH } from './limits.ts'
import { MalformedMessage } from './malformed.ts'

export interface NoncePayload {
  readonly kind: 'Nonce'
  readonly data: Uint8Array
}

export function readNonce(body: Reader): NoncePayload {
  const start = body.offset
  const data = body.rest()
  if (!isNonceLength(data.length)) {
    throw new MalformedMessage('Nonce', start, `${data.length} bytes are not ${MIN_NONCE_LENGTH} to ${MAX_NONCE_LENGTH}`)
  }
  return { kind: 'Nonce', data }
}

export function writeNonce(writer: Writer, payload: NoncePayload): void {
  assert(isNonceLength(payload.data.length), 'a nonce has 16 to 256 bytes')
  writer.bytes(payload.data)
}

function isNonceLength(length: number): boolean {
  return length >= MIN_NONCE_LENGTH && length <= MAX_NONCE_LENGTH
}
