/** Days of simulated time, from a seed each (docs/simulation.md); scripts/simulate plays any number of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SEED } from '../world.ts'
import { playDay, playHarsh } from './seeds.ts'

const HOURS = 24
const DAYS = 60
/** They are quick: what they are about takes a few minutes of a day. */
const HARSH = 250

const seeds = (count: number): readonly string[] =>
  process.env['SIMULATION_SEED'] === undefined ? Array.from({ length: count }, (_, i) => `${SEED}.${i}`) : [SEED]

test(`${DAYS} days of 24 hours: packets, rekeys every few minutes, loss, mishaps, and order whenever there is rest`, async () => {
  for (const seed of seeds(DAYS)) assert.equal((await playDay(seed, HOURS)).failure, null, `day ${seed}`)
})

test(`${HARSH} harsh quarters of an hour: IKE_SAs begun, lost, renewed and deleted at once, and one tunnel of each kind is left`, async () => {
  for (const seed of seeds(HARSH)) assert.equal((await playHarsh(seed)).failure, null, `seed ${seed}`)
})

test('the same seed is the same day', async () => {
  const steps = async (seed: string): Promise<number> => (await playDay(seed, 4)).steps
  assert.equal(await steps('a day'), await steps('a day'))
  assert.notEqual(await steps('another day'), await steps('a day'))
})
