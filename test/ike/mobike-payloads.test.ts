import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { toHex } from '../../src/base/bytes.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { NotifyType } from '../../src/iana/ikev2.ts'
import {
  addressList,
  cookie2Echo,
  echoes,
  meetsForbiddenNat,
  noNatsAllowed,
  readAddressList,
} from '../../src/ike/mobike-payloads.ts'
import { inherited, merged, NEW_MOBIKE_STATE } from '../../src/ike/mobike-state.ts'
import { notify } from '../../src/message/ikev2/find.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'

const address = (text: string): IpAddress => IpAddress.parse(text)
const CURRENT = address('192.0.2.1')

const shown = (payloads: readonly Payload[]): readonly string[] =>
  payloads.map((payload) => (payload.kind === 'Notify' ? `${payload.notifyType} ${toHex(payload.data)}` : payload.kind))

test('the list has what is not in use, of both families, eight at most (RFC 4555 4.2.2)', () => {
  const own = [CURRENT, address('198.51.100.2'), address('2001:db8::5')]
  assert.deepEqual(shown(addressList(own, CURRENT)), ['16397 c6336402', '16398 20010db8000000000000000000000005'])
  const many = Array.from({ length: 40 }, (_, i) => address(`10.0.0.${i + 1}`))
  assert.equal(addressList(many, CURRENT).length, 8)
  for (const none of [[], [CURRENT]]) assert.deepEqual(shown(addressList(none, CURRENT)), ['16399 '])
})

test('what one side lists the other reads, its source first; no list is no list', () => {
  const own = [address('198.51.100.2'), address('2001:db8::5')]
  assert.deepEqual(readAddressList(addressList(own, CURRENT), CURRENT)?.map(String), [CURRENT, ...own].map(String))
  assert.deepEqual(readAddressList(addressList([], CURRENT), CURRENT), [CURRENT])
  for (const other of [[], [notify(NotifyType.COOKIE2, new Uint8Array(16))], [notify(NotifyType.MOBIKE_SUPPORTED)]])
    assert.equal(readAddressList(other, CURRENT), null)
})

test('a list of any bytes leaves at most seventeen addresses, each once, none that only its owner could use', () => {
  const notifies = fc.array(
    fc.record({
      type: fc.constantFrom(
        NotifyType.ADDITIONAL_IP4_ADDRESS,
        NotifyType.ADDITIONAL_IP6_ADDRESS,
        NotifyType.NO_ADDITIONAL_ADDRESSES,
      ),
      data: fc.oneof(
        fc.uint8Array({ maxLength: 20 }),
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
      ),
    }),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(notifies, (given) => {
      const read = readAddressList(
        given.map(({ type, data }) => notify(type, data)),
        CURRENT,
      )
      if (read === null) return given.length === 0
      const texts = read.map(String)
      assert.equal(new Set(texts).size, texts.length)
      assert.ok(texts.length <= 17)
      assert.ok(!texts.some((text) => /^(0|127|22[4-9]|2[3-5]\d)\.|^(::1?|ff.*|fe[89ab].*)$/.test(text)), texts.join(' '))
      return texts[0] === CURRENT.toString()
    }),
  )
})

test('COOKIE2 goes back as it came, with 8 to 64 octets (RFC 4555 4.2.5)', () => {
  for (const length of [8, 16, 64]) {
    const cookie = new Uint8Array(length).fill(length)
    const answer = cookie2Echo([notify(NotifyType.COOKIE2, cookie)])
    assert.ok(echoes(answer, cookie))
    assert.ok(!echoes(answer, new Uint8Array(length)))
  }
  assert.deepEqual(cookie2Echo([]), [])
  for (const length of [0, 7, 65])
    assert.throws(() => cookie2Echo([notify(NotifyType.COOKIE2, new Uint8Array(length))]), /octets, not 8 to 64/)
  assert.ok(!echoes([], new Uint8Array(16)))
})

test('NO_NATS_ALLOWED has 12 octets or 36, source before destination, and tells whether the header was changed (RFC 4555 3.9)', () => {
  const four = { local: new Endpoint(CURRENT, 4500), remote: new Endpoint(address('203.0.113.9'), 4501) }
  assert.deepEqual(shown([noNatsAllowed(four)]), ['16402 c0000201cb00710911941195'])
  const six = { local: new Endpoint(address('2001:db8::1'), 500), remote: new Endpoint(address('2001:db8::2'), 500) }
  const [payload] = [noNatsAllowed(six)]
  assert.equal(payload.kind === 'Notify' && payload.data.length, 36)
  for (const { local, remote } of [four, six]) {
    const sent = [noNatsAllowed({ local, remote })]
    // As the receiver sees it.
    assert.equal(meetsForbiddenNat(sent, { local: remote, remote: local }, []), false)
    assert.equal(meetsForbiddenNat(sent, { local: remote, remote: local.withPort(1) }, []), true)
    assert.equal(meetsForbiddenNat(sent, { local: remote.withPort(1), remote: local }, []), true)
    assert.equal(meetsForbiddenNat(sent, { local, remote }, []), true)
  }
  assert.equal(meetsForbiddenNat([], four, []), false)
})

test('work is added up, and hashes are not inherited: they are made of SPIs', () => {
  const work = merged(merged(null, { update: true }), { check: true, refused: [] })
  assert.deepEqual(work, { check: true, update: true, addresses: false, refused: [], natsMet: 0 })
  // Whoever met one on this way has said so last.
  assert.equal(merged(merged(null, { natsMet: 2 }), { check: true }).natsMet, 2)
  assert.equal(inherited(null), null)
  const state = { ...NEW_MOBIKE_STATE, peerAddresses: [CURRENT], destinationHash: new Uint8Array(20) }
  assert.deepEqual(inherited(state), { peerAddresses: [CURRENT], destinationHash: null })
})
