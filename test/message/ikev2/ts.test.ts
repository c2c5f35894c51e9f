import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fromHex, toHex } from '../../../src/base/bytes.ts'
import { IpRange } from '../../../src/base/ip.ts'
import { writeMessage } from '../../../src/message/ikev2/message.ts'
import type { WireSelector } from '../../../src/message/ikev2/payload.ts'
import { wireSelector } from '../../../src/message/ikev2/ts.ts'
import { assertBodyMalformed, assertRefusesToWrite, FIELDS, hex, repeated, sameBothWays, single } from './support.ts'

const TSI = 44
const TSR = 45
const NET_4 = '07 00 0010 0000 ffff 0a010000 0a01ffff'
const NET_6 = `08 11 0028 0035 0035 20010db8${'00'.repeat(12)} 20010db8${'ff'.repeat(12)}`

/** What is read of one selector: its meaning, and its bytes. */
const read = (bytes: string, range: string, protocol: number, firstPort: number, lastPort: number): WireSelector => ({
  tsType: fromHex(bytes)[0]!,
  selector: { range: IpRange.parse(range), protocol, firstPort, lastPort },
  body: fromHex(bytes),
})

test('an IPv4 and an IPv6 selector are read and written', () => {
  sameBothWays(TSI, `02 000000 ${NET_4} ${NET_6}`, {
    kind: 'TSi',
    selectors: [read(NET_4, '10.1.0.0/16', 0, 0, 65535), read(NET_6, '2001:db8::/32', 17, 53, 53)],
  })
  sameBothWays(TSR, `01 000000 ${NET_4}`, { kind: 'TSr', selectors: [read(NET_4, '10.1.0.0/16', 0, 0, 65535)] })
})

test('OPAQUE ports and a range that is no prefix are kept as they are', () => {
  const bytes = '07 06 0010 ffff 0000 0a010005 0a010009'
  sameBothWays(TSI, `01 000000 ${bytes}`, { kind: 'TSi', selectors: [read(bytes, '10.1.0.5-10.1.0.9', 6, 65535, 0)] })
})

test('a selector is written from its meaning', () => {
  for (const [bytes, range, protocol, first, last] of [
    [NET_4, '10.1.0.0/16', 0, 0, 65535],
    [NET_6, '2001:db8::/32', 17, 53, 53],
  ] as const) {
    const selector = wireSelector({ range: IpRange.parse(range), protocol, firstPort: first, lastPort: last })
    assert.equal(toHex(writeMessage(FIELDS, [{ kind: 'TSr', selectors: [selector] }])), toHex(single(TSR, `01 000000 ${bytes}`)))
  }
})

test('a selector of a type we do not know keeps its bytes', () => {
  const label = '0a 7f 0009 6c6162656c'
  sameBothWays(TSI, `02 000000 ${label} ${NET_4}`, {
    kind: 'TSi',
    selectors: [{ tsType: 10, selector: null, body: fromHex(label) }, read(NET_4, '10.1.0.0/16', 0, 0, 65535)],
  })
  sameBothWays(TSI, '01 000000 c8 00 0004', {
    kind: 'TSi',
    selectors: [{ tsType: 200, selector: null, body: fromHex('c8000004') }],
  })
})

test('a number of selectors that is not theirs', () => {
  assertBodyMalformed(TSI, '00 000000', 'TSi', 0, /no selectors/)
  assertBodyMalformed(TSI, `00 000000 ${NET_4}`, 'TSi', 0, /no selectors/)
  assertBodyMalformed(TSI, `02 000000 ${NET_4}`, 'TSi', 0, /2 selectors announced, 1 there/)
  assertBodyMalformed(TSR, `01 000000 ${NET_4} ${NET_4}`, 'TSr', 20, /16 bytes after the last of 1/)
  assertBodyMalformed(TSR, `01 000000 ${NET_4} 00`, 'TSr', 20, /1 bytes after the last/)
})

test('a payload or a selector cut short', () => {
  assertBodyMalformed(TSI, '', 'TSi', 0, /1 bytes wanted, 0 left/)
  assertBodyMalformed(TSI, '01 0000', 'TSi', 1, /3 bytes wanted, 2 left/)
  assertBodyMalformed(TSR, '01 000000 07 00 00', 'TSr', 4, /4 bytes wanted, 3 left/)
})

test('a selector length below its header, past the end, or not that of its type', () => {
  for (const length of [0, 3, 17, 0xffff]) {
    assertBodyMalformed(TSI, `01 000000 07 00 ${hex(length, 2)} 0000 ffff 0a010000 0a01ffff`, 'TSi', 6, /is not within 4 to 16/)
  }
  assertBodyMalformed(TSI, '01 000000 07 00 000f 0000 ffff 0a010000 0a01ff', 'TSi', 6, /length 15 is not 16, that of TS type 7/)
  assertBodyMalformed(TSI, '01 000000 08 00 0010 0000 ffff 0a010000 0a01ffff', 'TSi', 6, /length 16 is not 40, that of TS type 8/)
  assertBodyMalformed(TSI, '01 000000 c8 00 0003', 'TSi', 6, /is not within 4 to 4/)
  assertBodyMalformed(TSR, `02 000000 ${NET_4} 07 00 0028 ${'00'.repeat(36)}`, 'TSr', 22, /length 40 is not 16/)
})

test('addresses or ports that run backwards', () => {
  assertBodyMalformed(TSI, '01 000000 07 00 0010 0000 ffff 0a010001 0a010000', 'TSi', 12, /10\.1\.0\.1 to 10\.1\.0\.0/)
  const from = `20010db8${'00'.repeat(11)}02`
  const to = `20010db8${'00'.repeat(11)}01`
  assertBodyMalformed(TSR, `01 000000 08 00 0028 0000 ffff ${from} ${to}`, 'TSr', 12, /run backwards/)
  for (const ports of ['0001 0000', 'ffff 0001', 'fffe 0000']) {
    assertBodyMalformed(TSI, `01 000000 07 06 0010 ${ports} 0a010000 0a01ffff`, 'TSi', 8, /ports .* run backwards/)
  }
})

const refuses = (selector: WireSelector, belief: RegExp): void =>
  assertRefusesToWrite({ kind: 'TSi', selectors: [selector] }, belief)

test('our own mistakes are not written', () => {
  const good = { range: IpRange.parse('10.1.0.0/16'), protocol: 0, firstPort: 0, lastPort: 65535 }
  assertRefusesToWrite({ kind: 'TSi', selectors: [] }, /1 to 255/)
  assertRefusesToWrite({ kind: 'TSr', selectors: repeated(256, wireSelector(good)) }, /1 to 255/)
  refuses({ ...wireSelector(good), tsType: 8 }, /of its type/)
  refuses({ ...wireSelector(good), tsType: 200 }, /of its type/)
  refuses(wireSelector({ ...good, protocol: 256 }), /IP protocol 256/)
  refuses(wireSelector({ ...good, firstPort: 5, lastPort: 4 }), /ascend or are OPAQUE/)
  refuses(wireSelector({ ...good, lastPort: 65536 }), /last port 65536/)
  refuses({ tsType: 7, selector: null, body: fromHex(NET_4) }, /from its meaning/)
  refuses({ tsType: 200, selector: null, body: fromHex('c9000004') }, /begin with its type/)
  refuses({ tsType: 200, selector: null, body: fromHex('c8') }, /begin with its type/)
  refuses({ tsType: 200, selector: null, body: fromHex('c800000500ff') }, /have its length/)
})
