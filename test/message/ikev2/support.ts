/** Messages made by hand for this room's tests; none of it goes through the writers under test. */
import assert from 'node:assert/strict'

import { concatBytes, fromHex, toHex } from '../../../src/base/bytes.ts'
import { MalformedMessage } from '../../../src/message/ikev2/malformed.ts'
import { parseMessage, writeMessage, type HeaderFields } from '../../../src/message/ikev2/message.ts'
import type { Payload } from '../../../src/message/ikev2/payload.ts'

/** Where the body of the first payload begins: after the IKE header and a generic header. */
export const BODY = 32

export const FIELDS: HeaderFields = {
  initiatorSpi: 0x0102030405060708n,
  responderSpi: 0x1112131415161718n,
  exchangeType: 37,
  fromInitiator: true,
  response: false,
  messageId: 7,
}

/** A datagram with the header of FIELDS, the payloads (generic headers included) as hex. */
export function datagram(firstType: number, payloads: string): Uint8Array {
  const rest = fromHex(payloads)
  return concatBytes(
    fromHex('0102030405060708 1112131415161718'),
    fromHex(`${hex(firstType, 1)} 20 25 08 00000007 ${hex(28 + rest.length, 4)}`),
    rest,
  )
}

/** A payload with its generic header as hex: next payload, no flags, the length of `body`. */
export function generic(next: number, body: string): string {
  return `${hex(next, 1)} 00 ${hex(4 + fromHex(body).length, 2)} ${body}`
}

/** `value` in `bytes` bytes. */
export function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(bytes * 2, '0')
}

/** `count` times the same value. */
export function repeated<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value)
}

/** A datagram with a single payload of `type`. */
export function single(type: number, body: string): Uint8Array {
  return datagram(type, generic(0, body))
}

/** Asserts that `body` is read as `payload` and `payload` written as `body`. */
export function sameBothWays(type: number, body: string, payload: Payload): void {
  const bytes = single(type, body)
  assert.deepEqual(parseMessage(bytes).payloads, [payload])
  assert.equal(toHex(writeMessage(FIELDS, [payload])), toHex(bytes))
}

/** The payload that `body` is read as. */
export function readOne(type: number, body: string): Payload {
  const { payloads } = parseMessage(single(type, body))
  assert.equal(payloads.length, 1)
  return payloads[0]!
}

/** Asserts that reading fails with this payload's name at this offset, for a reason that matches. */
export function assertMalformed(read: () => unknown, payload: string, offset: number, reason: RegExp): void {
  assert.throws(read, (error) => {
    assert(error instanceof MalformedMessage, `MalformedMessage, not ${String(error)}`)
    assert.deepEqual(
      { payload: error.payload, offset: error.offset, accused: error.accused, code: error.code },
      { payload, offset, accused: 'malformed', code: 'MESSAGE_MALFORMED' },
    )
    assert.match(error.reason, reason)
    assert.equal(error.message, `${payload} at offset ${offset}: ${error.reason}`)
    return true
  })
}

/** The same for a datagram of one payload, `offset` counted from the beginning of its body. */
export function assertBodyMalformed(type: number, body: string, payload: string, offset: number, reason: RegExp): void {
  assertMalformed(() => parseMessage(single(type, body)), payload, BODY + offset, reason)
}

/** Asserts that our own mistake is not written. */
export function assertRefusesToWrite(payload: Payload, belief: RegExp): void {
  assert.throws(() => writeMessage(FIELDS, [payload]), { name: 'AssertionError', message: belief })
}
