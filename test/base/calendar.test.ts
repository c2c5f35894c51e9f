import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { formatCalendar, fromCalendar, toCalendar } from '../../src/base/calendar.ts'

const midnight = { hour: 0, minute: 0, second: 0 }

test('every second of ten thousand years is the one that Date has', () => {
  const seconds = fc.integer({ min: -62_167_219_200, max: Date.UTC(9999, 11, 31) / 1000 })
  fc.assert(
    fc.property(seconds, (second) => {
      const time = second * 1000
      assert.equal(formatCalendar(time), `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`)
      assert.equal(fromCalendar(toCalendar(time)), time)
    }),
    { numRuns: 5000 },
  )
})

test('days there are not are refused', () => {
  assert.equal(fromCalendar({ year: 2024, month: 2, day: 29, ...midnight }), Date.UTC(2024, 1, 29))
  assert.equal(fromCalendar({ year: 2000, month: 2, day: 29, ...midnight }), Date.UTC(2000, 1, 29))
  for (const [year, month, day] of [
    [2025, 2, 29],
    [1900, 2, 29],
    [2026, 4, 31],
    [2026, 13, 1],
    [2026, 0, 1],
    [2026, 1, 0],
    [2026, 1, 32],
  ] as const)
    // prettier-ignore
    assert.equal(fromCalendar({ year, month, day, ...midnight }), null, `${year}-${month}-${day}`)
  for (const time of [{ hour: 24 }, { minute: 60 }, { second: 60 }])
    assert.equal(fromCalendar({ year: 2026, month: 1, day: 1, ...midnight, ...time }), null)
})
