/** The data of REDIRECT and REDIRECTED_FROM (RFC 5685 9.2): a round trip, and whatever a peer may write. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { formatGateway, parseGateway, readRedirect, writeRedirect } from '../../src/message/ikev2/redirect.ts'

const NONCE = Uint8Array.of(1, 2, 3)

for (const [text, type] of [
  ['192.0.2.1', 1],
  ['2001:db8::1', 2],
  ['vpn2.example.org', 3],
] as const) {
  test(`a gateway given as ${text} is written as type ${type}, and read again, with the nonce behind it`, () => {
    const gateway = parseGateway(text)
    assert.ok(gateway !== null)
    const data = writeRedirect(gateway)
    assert.equal(data[0], type)
    assert.equal(data[1], data.length - 2)
    assert.deepEqual(readRedirect(data), { gateway, nonce: new Uint8Array() })
    assert.deepEqual(readRedirect(Uint8Array.of(...data, ...NONCE))?.nonce, NONCE)
    assert.equal(formatGateway(gateway), text)
  })
}

test('what names no gateway is none: cut short, an unknown type, an address of another length, no name of a host', () => {
  const host = (name: string): Uint8Array => Uint8Array.of(3, name.length, ...new TextEncoder().encode(name))
  const nothing = [
    Uint8Array.of(),
    Uint8Array.of(1),
    Uint8Array.of(1, 4, 192, 0, 2),
    Uint8Array.of(1, 5, 192, 0, 2, 1, 1),
    Uint8Array.of(2, 4, 192, 0, 2, 1),
    Uint8Array.of(4, 4, 192, 0, 2, 1),
    host(''),
    host('a b'),
    host('../etc/hosts'),
    host('line\nbreak'),
    host('-option'),
    host('a..b'),
  ]
  for (const data of nothing) assert.equal(readRedirect(data), null, String(data))
  for (const text of ['', 'a b', '-x', '%any']) assert.equal(parseGateway(text), null, text)
})

test('no bytes make the reader throw, and what it reads can be written', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
      const told = readRedirect(data)
      if (told !== null) assert.deepEqual(readRedirect(writeRedirect(told.gateway))?.gateway, told.gateway)
    }),
    { numRuns: 2000 },
  )
})
