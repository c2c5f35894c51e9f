/** Days of simulated time, from a seed each (docs/simulation.md); scripts/simulate plays any number of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SEED } from '../world.ts'
import { playDay } from './seeds.ts'

const HOURS = 24
const DAYS = 60

test(`${DAYS} days of 24 hours: packets, rekeys every few minutes, loss, mishaps, and order whenever there is rest`, async () => {
  const seeds = process.env['SIMULATION_SEED'] === undefined ? Array.from({ length: DAYS }, (_, i) => `${SEED}.${i}`) : [SEED]
  for (const seed of seeds) assert.equal((await playDay(seed, HOURS)).failure, null, `day ${seed}`)
})

test('the same seed is the same day', async () => {
  const steps = async (seed: string): Promise<number> => (await playDay(seed, 4)).steps
  assert.equal(await steps('a day'), await steps('a day'))
  assert.notEqual(await steps('another day'), await steps('a day'))
})
