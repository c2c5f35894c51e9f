/** The property everything else in here rests on: a seed is a run. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { preservingPort } from './nat.ts'
import { addClient, addGateway, flows } from './places.ts'
import { play, SEED, type World } from './world.ts'

async function lossyDay(world: World): Promise<void> {
  world.network.defaultLink = { latency: 15, jitter: 40, loss: 0.15, duplication: 0.1 }
  const nat = world.addNat('router', '192.0.2.1', { portFor: preservingPort })
  const gateway = addGateway(world)
  const client = addClient(world, { keyingTries: 0 }, { behind: nat })
  await world.initiate(client)
  await flows(world, client, gateway)
  await world.pass(60_000)
}

test('the same seed gives the same bytes at the same times, another seed gives others', async () => {
  const first = await play(SEED, lossyDay)
  const again = await play(SEED, lossyDay)
  const other = await play(`${SEED} and another`, lossyDay)
  assert.ok(first.network.trace.length > 10)
  assert.equal(again.traceHash(), first.traceHash())
  assert.notEqual(other.traceHash(), first.traceHash())
  assert.deepEqual(
    again.nodes.map((node) => node.lines.map((line) => line.message)),
    first.nodes.map((node) => node.lines.map((line) => line.message)),
  )
})

test('a failing scenario tells the seed to play it again with', async () => {
  const failure = play('the seed of a failure', () => Promise.reject(new Error('it broke')))
  await assert.rejects(failure, /it broke\nplay again with SIMULATION_SEED=the seed of a failure\n/)
})
