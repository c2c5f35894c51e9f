import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { parseMessage } from '../../../src/message/ikev2/message.ts'
import { assertMalformed, assertRefusesToWrite, BODY, datagram, generic, sameBothWays } from './support.ts'

const SK = 46
const SKF = 53

test('an encrypted payload is handed on closed', () => {
  const body = 'e7'.repeat(40)
  sameBothWays(SK, body, { kind: 'SK', innerFirst: 0, body: fromHex(body), bodyOffset: 32 })
})

test('an encrypted fragment is handed on closed, its place in the message read', () => {
  const body = 'e7'.repeat(40)
  sameBothWays(SKF, `0002 0003 ${body}`, {
    kind: 'SKF',
    innerFirst: 0,
    fragmentNumber: 2,
    totalFragments: 3,
    body: fromHex(body),
    bodyOffset: 36,
  })
})

const refuses = (body: string, offset: number, reason: RegExp): void =>
  assertMalformed(() => parseMessage(datagram(SKF, generic(35, body))), 'SKF', BODY + offset, reason)

test('fragments cut short, of none, before the first or past the last', () => {
  refuses('', 0, /2 bytes wanted, 0 left/)
  refuses('0001 00', 2, /2 bytes wanted, 1 left/)
  refuses('0000 0000 e7', 0, /no fragment 0 of 0/)
  refuses('0000 0003 e7', 0, /no fragment 0 of 3/)
  refuses('0001 0000 e7', 0, /no fragment 1 of 0/)
  refuses('0004 0003 e7', 0, /no fragment 4 of 3/)
})

test('fragments that do not count are not written', () => {
  const skf = { kind: 'SKF', innerFirst: 0, body: new Uint8Array(40), bodyOffset: 36 } as const
  assertRefusesToWrite({ ...skf, fragmentNumber: 0, totalFragments: 1 }, /count from 1/)
  assertRefusesToWrite({ ...skf, fragmentNumber: 2, totalFragments: 1 }, /count from 1/)
  assertRefusesToWrite({ ...skf, fragmentNumber: 1, totalFragments: 65536 }, /total fragments 65536/)
})
