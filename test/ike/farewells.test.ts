import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Farewells } from '../../src/ike/farewells.ts'

const REQUEST = Uint8Array.of(1, 2, 3)
const ANSWER = [Uint8Array.of(9)]

test('the very same request gets the same answer for three minutes, another one none', () => {
  const farewells = new Farewells()
  farewells.keep(7n, REQUEST, ANSWER, 1000)
  assert.equal(farewells.answerTo(7n, REQUEST.slice(), 100_000), ANSWER)
  assert.equal(farewells.answerTo(7n, Uint8Array.of(1, 2, 4), 100_000), null)
  assert.equal(farewells.answerTo(8n, REQUEST, 100_000), null)
  assert.equal(farewells.answerTo(7n, REQUEST, 181_000), null)
})

test('no more than 1024 are kept, the youngest of them', () => {
  const farewells = new Farewells()
  for (let spi = 0n; spi < 2000n; spi++) farewells.keep(spi, REQUEST, ANSWER, 0)
  const kept = Array.from({ length: 2000 }, (_, spi) => farewells.answerTo(BigInt(spi), REQUEST, 1) !== null)
  assert.equal(kept.filter(Boolean).length, 1024)
  assert.ok(kept.at(-1) === true && kept[0] === false)
})
