/**
 * Tables: what fits, what is wrapped, that nothing is lost.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { formatTable, wrap } from '../../src/cli/table.ts'

const plain = (_: string, text: string): string => text

test('columns are as wide as what is in them, and lines end where their text does', () => {
  const rows = [
    ['one', 'x', 'y'],
    ['three', ['several', 'lines'], 'z'],
    ['last', '', ''],
  ]
  assert.deepEqual(formatTable(['A', 'BB', 'C'], rows, { width: null, paint: plain }), [
    'A      BB       C',
    'one    x        y',
    'three  several  z',
    '       lines',
    'last',
  ])
})

test('what is too wide is wrapped at the joints of names and addresses, the row names last', () => {
  const rows = [['  office{12345}', '198.51.100.77:29009', 'a.gateway.with.a.long.name.example.org']]
  const lines = formatTable(['SA', 'PEER', 'ID'], rows, { width: 46, paint: plain })
  assert.ok(
    lines.every((line) => line.length <= 46),
    lines.join('\n'),
  )
  assert.match(lines[1]!, /^ {2}office\{12345\} {2}198\.51\.100\. +a\.gateway\./)
})

test('a continued line is indented as its beginning', () => {
  assert.deepEqual(wrap('  gateway.example.org', 12), ['  gateway.', '  example.', '  org'])
})

test('only the text is painted, so that colours take no room', () => {
  const lines = formatTable(['A', 'B'], [[{ text: 'x', style: 'green' }, 'y']], {
    width: 20,
    paint: (style, text) => `<${style}>${text}</>`,
  })
  assert.deepEqual(lines, ['<dim>A</>  <dim>B</>', '<green>x</>  y'])
})

test('characters of several code units and points count as one column', () => {
  const lines = formatTable(['A', 'B'], [['e\u0301\u{1f600}', 'y']], { width: null, paint: plain })
  assert.deepEqual(lines, ['A   B', 'e\u0301\u{1f600}  y'])
})

test('wrapping loses nothing but blanks, and keeps to the width', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', 'b', '.', ':', '/', ' ', ',', '{'), maxLength: 60 }),
      fc.integer({ min: 1, max: 30 }),
      (text, width) => {
        const lines = wrap(text, width)
        assert.equal(lines.join('').replaceAll(' ', ''), text.replaceAll(' ', ''))
        const indent = /^ */.exec(text)![0].length
        for (const line of lines) assert.ok(line.length <= Math.max(width, indent + 1), JSON.stringify([text, width, lines]))
      },
    ),
  )
})
