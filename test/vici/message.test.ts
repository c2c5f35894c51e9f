import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import {
  booleanOf,
  bytesOf,
  integerOf,
  InvalidArgument,
  listOf,
  MalformedVici,
  parseViciMessage,
  section,
  sectionOf,
  textOf,
  UnwritableVici,
  writeViciMessage,
  type ViciNode,
} from '../../src/vici/message.ts'

const ascii = (text: string): string => toHex(Buffer.from(text))

/** The message that strongSwan's README takes for an example. */
const README = [
  `03 04${ascii('key1')} 0006${ascii('value1')}`,
  `01 08${ascii('section1')}`,
  `01 0b${ascii('sub-section')}`,
  `03 04${ascii('key2')} 0006${ascii('value2')}`,
  '02',
  `04 05${ascii('list1')} 05 0005${ascii('item1')} 05 0005${ascii('item2')} 06`,
  '02',
].join('')

describe('messages', () => {
  test("strongSwan's example is written and read as its README has it", () => {
    const built = section(
      ['key1', 'value1'],
      ['section1', section(['sub-section', section(['key2', 'value2'])], ['list1', ['item1', Buffer.from('item2')]])],
    )
    assert.equal(toHex(writeViciMessage(built)), toHex(fromHex(README)))
    const read = parseViciMessage(fromHex(README))
    assert.equal(textOf(read, 'key1'), 'value1')
    const inner = sectionOf(read, 'section1')!
    assert.deepEqual([...inner.keys()], ['sub-section', 'list1'])
    assert.equal(textOf(sectionOf(inner, 'sub-section')!, 'key2'), 'value2')
    assert.deepEqual(listOf(inner, 'list1'), ['item1', 'item2'])
  })

  test('the order of keys is kept, of those too that look like numbers', () => {
    const keys = ['2', 'b', '1', 'a', '__proto__']
    const bytes = writeViciMessage(section(...keys.map((key): [string, ViciNode] => [key, ''])))
    assert.deepEqual([...parseViciMessage(bytes).keys()], keys)
  })

  test('no bytes are an empty message', () => {
    assert.equal(parseViciMessage(new Uint8Array()).size, 0)
    assert.equal(writeViciMessage(section()).length, 0)
  })

  test('of a key that comes twice the first counts (strongSwan: find_value)', () => {
    const read = parseViciMessage(fromHex(`0301${ascii('a')}0001${ascii('1')} 0301${ascii('a')}0001${ascii('2')}`))
    assert.equal(textOf(read, 'a'), '1')
  })

  const malformed: readonly [string, string, number, RegExp][] = [
    ['a type that does not exist', '00', 0, /type 0/],
    ['the end of a section that did not begin', '02', 0, /type 2/],
    ['a list item outside a list', '05 0000', 0, /type 5/],
    ['a section without its end', `01 01${ascii('a')}`, 3, /no end/],
    ['a list without its end', `04 01${ascii('a')}`, 3, /1 bytes are to follow, 0 do/],
    ['a key within a list', `04 01${ascii('a')} 03`, 3, /type 3 has no place in a list/],
    ['a list within a list', `04 01${ascii('a')} 04`, 3, /type 4 has no place in a list/],
    ['a name that is cut off', '03 05 61', 2, /5 bytes are to follow, 1 do/],
    ['a name with a zero byte', '03 02 6100 0000', 1, /printable/],
    ['a name outside ASCII', '03 02 c3a4 0000', 1, /printable/],
    ['a value that is cut off', `03 01${ascii('a')} 0002 61`, 5, /2 bytes are to follow, 1 do/],
    ['sections 33 deep', '0100'.repeat(33), 64, /32 deep/],
  ]
  for (const [what, hex, offset, reason] of malformed) {
    test(`${what} is malformed, with its offset`, () => {
      assert.throws(
        () => parseViciMessage(fromHex(hex)),
        (error) => error instanceof MalformedVici && error.offset === offset && reason.test(error.message),
      )
    })
  }

  test('half a megabyte of nested sections is refused, not recursed into', () => {
    assert.throws(() => parseViciMessage(Buffer.from('0100'.repeat(250_000), 'hex')), MalformedVici)
  })

  test('what the format has no room for is not written', () => {
    assert.throws(() => writeViciMessage(section(['x'.repeat(256), ''])), UnwritableVici)
    assert.throws(() => writeViciMessage(section(['bücher', ''])), UnwritableVici)
    assert.throws(() => writeViciMessage(section(['a', 'x'.repeat(65_536)])), UnwritableVici)
    assert.throws(() => writeViciMessage(section(['a', [new Uint8Array(65_536)]])), UnwritableVici)
    const longest = section(['x'.repeat(255), 'x'.repeat(65_535)])
    assert.equal(textOf(parseViciMessage(writeViciMessage(longest)), 'x'.repeat(255))?.length, 65_535)
  })
})

describe('questions to a message', () => {
  const asked = section(
    ['text', Buffer.from('Zürich')],
    ['bytes', Uint8Array.of(0xff, 0)],
    ['list', ['a', Buffer.from('b')]],
    ['section', section()],
    ['left out', undefined],
    ['left out too', null],
  )

  test('entries without a node are left out', () => {
    assert.deepEqual([...asked.keys()], ['text', 'bytes', 'list', 'section'])
  })

  test('what is not there is null', () => {
    for (const question of [textOf, bytesOf, listOf, sectionOf, integerOf]) assert.equal(question(asked, 'absent'), null)
  })

  test('text is UTF-8, bytes are anything', () => {
    assert.equal(textOf(asked, 'text'), 'Zürich')
    assert.deepEqual(bytesOf(asked, 'bytes'), Uint8Array.of(0xff, 0))
    assert.throws(() => textOf(asked, 'bytes'), InvalidArgument)
  })

  test('a node of another kind is an argument that names its key', () => {
    const named =
      (key: string) =>
      (error: unknown): boolean =>
        error instanceof InvalidArgument && error.key === key && error.message.startsWith(`${key}: `)
    assert.throws(() => textOf(asked, 'list'), named('list'))
    assert.throws(() => bytesOf(asked, 'section'), named('section'))
    assert.throws(() => listOf(asked, 'text'), named('text'))
    assert.throws(() => sectionOf(asked, 'list'), named('list'))
  })

  test('booleans are the words of strongSwan in any case, and nothing else', () => {
    for (const word of ['yes', 'TRUE', 'Enabled', '1']) assert.equal(booleanOf(section(['x', word]), 'x', false), true)
    for (const word of ['no', 'False', 'disabled', '0']) assert.equal(booleanOf(section(['x', word]), 'x', true), false)
    for (const fallback of [true, false]) {
      for (const word of ['', 'maybe', '2']) assert.equal(booleanOf(section(['x', word]), 'x', fallback), fallback)
      assert.equal(booleanOf(section(), 'x', fallback), fallback)
    }
  })

  test('integers are decimal or hexadecimal; anything else is an argument that names its key', () => {
    const read = (text: string): number | null => integerOf(section(['timeout', text]), 'timeout')
    assert.deepEqual(['0', '-1', '+5', '0x1F', '4294967295', ''].map(read), [0, -1, 5, 31, 4294967295, null])
    for (const text of ['x', '1.5', '1e3', ' 1', '99999999999999999999'])
      assert.throws(() => read(text), /^InvalidArgument: timeout: ".*" is not a whole number$/)
  })
})
