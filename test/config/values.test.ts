import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { NO_ACTION } from '../../src/ike/connection.ts'
import {
  parseAction,
  parseAddressPattern,
  parseBoolean,
  parseCount,
  parseDecimal,
  parseDscp,
  parseInteger,
  parseInterfaceId,
  parseList,
  parseMark,
  parseSecret,
  parseSize,
  parseTime,
  parseVirtualAddress,
  parseWord,
} from '../../src/config/values.ts'

function refuses(parse: (text: string) => unknown, texts: readonly string[], message: RegExp): void {
  for (const text of texts) {
    assert.throws(
      () => parse(text),
      (error: unknown) => error instanceof EspalierError && error.code === 'VALUE_INVALID' && message.test(error.message),
      `'${text}'`,
    )
  }
}

describe('values', () => {
  test("booleans in strongSwan's four pairs and any case", () => {
    for (const text of ['yes', 'true', 'enabled', '1', 'YES', 'True']) assert.equal(parseBoolean(text), true)
    for (const text of ['no', 'false', 'disabled', '0', 'No']) assert.equal(parseBoolean(text), false)
    refuses(parseBoolean, ['', 'on', 'off', '2', 'y'], /^expected yes or no, not '/)
  })

  test('whole numbers, decimal and hexadecimal, within their limits', () => {
    const parse = (text: string): number => parseInteger(text, 1, 300)
    assert.deepEqual(['1', '300', '0x1f', '0X1F'].map(parse), [1, 300, 31, 31])
    refuses(
      parse,
      ['0', '301', '', '-1', '1.5', '017', '0x', '1e2', ' 1', '1 2', '99999999999999999999'],
      /^expected a whole number from 1 to 300, not '/,
    )
  })

  test('numbers with decimals', () => {
    const parse = (text: string): number => parseDecimal(text, 0.5, 10)
    assert.deepEqual(['4.0', '1.8', '.5', '10', '2.', '1e1'].map(parse), [4, 1.8, 0.5, 10, 2, 10])
    refuses(parse, ['', '0.4', '11', '1,5', 'NaN', 'Infinity', '-1', '4s'], /^expected a number from 0\.5 to 10, not '/)
  })

  test('times in seconds, minutes, hours and days become milliseconds', () => {
    assert.deepEqual(
      ['0', '90', '90s', '5m', '4h', '1d', '2 H', '0x10'].map(parseTime),
      [0, 90_000, 90_000, 300_000, 14_400_000, 86_400_000, 7_200_000, 16_000],
    )
    refuses(parseTime, ['', 's', '-5', '1w', '1.5h', '010', '5 minutes', '9007199254740991'], /^expected a time such as/)
  })

  test('sizes in powers of 1024', () => {
    assert.deepEqual(['0', '500000000', '1k', '2M', '3 g'].map(parseSize), [0n, 500_000_000n, 1024n, 2_097_152n, 3_221_225_472n])
    refuses(parseSize, ['', 'k', '1t', '1kb', '-1'], /^expected a size such as/)
  })

  test('lists with commas, spaces around the items ignored', () => {
    assert.deepEqual(parseList(' a, b c ,,d,'), ['a', 'b c', 'd'])
    assert.deepEqual(parseList(''), [])
  })

  test('words, with the choice in the message', () => {
    assert.equal(parseWord('Tunnel', ['tunnel', 'transport']), 'tunnel')
    assert.throws(() => parseWord('tunel', ['tunnel', 'transport', 'drop']), {
      message: "expected tunnel, transport or drop, not 'tunel'",
    })
  })

  test('a long value is shortened in the message', () => {
    assert.throws(() => parseBoolean('x'.repeat(1000)), { message: `expected yes or no, not '${'x'.repeat(57)}...'` })
  })
})

describe('addresses', () => {
  test('any address, of any or one family', () => {
    const family = (text: string): unknown => {
      const pattern = parseAddressPattern(text)
      return pattern.kind === 'any' ? pattern.family : 'not any'
    }
    assert.deepEqual(['%any', '%any4', '0.0.0.0', '%any6', '::', '0::0'].map(family), [null, 4, 4, 6, 6, 6])
  })

  test('addresses, subnets and ranges', () => {
    const range = (text: string): string => {
      const pattern = parseAddressPattern(text)
      assert.equal(pattern.kind, 'range')
      return pattern.kind === 'range' ? pattern.range.toString() : ''
    }
    assert.deepEqual(
      [
        '192.0.2.1',
        '10.1.0.0/16',
        '10.0.0.1-10.0.0.9',
        '10.0.0.1 - 10.0.0.9',
        '0.0.0.0/0',
        'fec0::1',
        'fec0::/16',
        '2001:db8::1-2001:db8::5',
      ].map(range),
      [
        '192.0.2.1/32',
        '10.1.0.0/16',
        '10.0.0.1-10.0.0.9',
        '10.0.0.1-10.0.0.9',
        '0.0.0.0/0',
        'fec0::1/128',
        'fec0::/16',
        '2001:db8::1-2001:db8::5',
      ],
    )
  })

  test('host names', () => {
    for (const name of ['moon', 'moon.strongswan.org', 'a-b.example', '10gw.example', '_gw.example.', 'x-10.0.0.1.example']) {
      assert.deepEqual(parseAddressPattern(name), { kind: 'host', name })
    }
  })

  test('what looks like an address and is none is not taken for a name', () => {
    refuses(
      parseAddressPattern,
      [
        '300.1.1.1',
        '10.1',
        '1',
        '010.0.0.1',
        '10.0.0.0/33',
        '10.0.0.9-10.0.0.1',
        '10.0.0.1-',
        '10.0.0.1-fec0::1',
        'fe80::1%eth0',
        'fec0::g',
        '%defaultroute',
        'a b',
        'a..b',
        '-a',
        '',
        'moön',
        `${'a'.repeat(64)}.org`,
      ],
      /^expected an address/,
    )
  })
})

describe('secrets', () => {
  const bytes = (text: string): string => Buffer.from(parseSecret(text).dangerouslyReveal()).toString('latin1')

  test('text is taken as UTF-8', () => {
    assert.equal(bytes('This is a strong password'), 'This is a strong password')
    assert.deepEqual([...parseSecret('ö').dangerouslyReveal()], [0xc3, 0xb6])
  })

  test('hexadecimal behind 0x, with colons and without the leading zero as strongSwan takes it', () => {
    assert.deepEqual(['0x6162', '0X61:62', '0x961'].map(bytes), ['ab', 'ab', '\ta'])
  })

  test('base64 behind 0s', () => {
    assert.deepEqual(['0sYWI=', '0SYWJj'].map(bytes), ['ab', 'abc'])
    assert.equal(parseSecret('0sv+NkxY9LLZvwj4qCC2o/gGrWDF2d21jL').length, 24)
  })

  test('what does not decode is refused without being shown', () => {
    for (const text of ['0xgeheim', '0x', '0s', '0sgehei', '0sge eim==', '0s=abc', '']) {
      assert.throws(
        () => parseSecret(text),
        (error: unknown) => error instanceof EspalierError && !/gehei|eim/.test(error.message),
        text,
      )
    }
  })
})

describe('marks and interface IDs', () => {
  test('a mark has a value within its mask, or is handed out', () => {
    const mark = (text: string): unknown => Object.values(parseMark(text, ['unique', 'unique-dir']))
    assert.deepEqual(mark('10'), [10, 0xffff_ffff])
    assert.deepEqual(mark('0x1ff/0xff'), [0xff, 0xff])
    assert.deepEqual(mark('0xffffffff/0xffffffff'), [0xffff_ffff, 0xffff_ffff])
    assert.deepEqual(mark('0/0x00000000'), [0, 0])
    assert.deepEqual(mark('%unique'), ['unique', 0xffff_ffff])
    assert.deepEqual(mark('%Unique-Dir/0xf0'), ['unique-dir', 0xf0])
    assert.deepEqual(parseMark('%same/0xff', ['same']), { value: 'same', mask: 0xff })
    for (const text of ['', 'x', '10/', '/10', '1/2/3', '%same', '%uniq', '-1', '0x100000000'])
      assert.throws(
        () => parseMark(text, ['unique', 'unique-dir']),
        /expected a mark such as 10, 0x0a\/0xff or %unique or %unique-dir/,
      )
  })

  test('an interface ID is a number, or handed out', () => {
    assert.deepEqual(['0', '0xff', '4294967295', '%unique', '%UNIQUE-DIR'].map(parseInterfaceId), [
      0,
      255,
      4_294_967_295,
      'unique',
      'unique-dir',
    ])
    for (const text of ['', '4294967296', '%uniques', 'eth0'])
      assert.throws(() => parseInterfaceId(text), /expected an interface ID/)
  })
})

test("actions are a set, in strongSwan's words of all ages", () => {
  const [none, trap, start] = [NO_ACTION, { trap: true, start: false }, { trap: false, start: true }]
  assert.deepEqual(['none', 'clear', 'trap', 'route', 'start', 'RESTART'].map(parseAction), [
    none,
    none,
    trap,
    trap,
    start,
    start,
  ])
  assert.deepEqual(parseAction('trap|start'), { trap: true, start: true })
  assert.throws(() => parseAction('trap|stop'), /expected none, .* not 'stop'/)
})

test('a codepoint is binary, counts go up to 64 bits, virtual addresses may be any', () => {
  assert.deepEqual(['0', '101110', '11101110'].map(parseDscp), [0, 46, 46])
  assert.throws(() => parseDscp('46'), /expected six binary digits/)
  assert.deepEqual(['0', '18446744073709551615', '0xff'].map(parseCount), [0n, 0xffff_ffff_ffff_ffffn, 255n])
  for (const text of ['18446744073709551616', '-1', '01', '']) assert.throws(() => parseCount(text), /expected a whole number/)
  assert.deepEqual(
    ['%any', '%any6', '10.0.0.1'].map((text) => parseVirtualAddress(text).toString()),
    ['0.0.0.0', '::', '10.0.0.1'],
  )
  assert.throws(() => parseVirtualAddress('10.0.0.0/8'), /expected an IP address/)
})
