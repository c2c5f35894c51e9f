/** What an IKE_SA knows of its path, for people (nat/path.ts): found at first, and kept by every rekey. */
import assert from 'node:assert/strict'

import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { addClient, addGateway } from './places.ts'
import { standing } from './standing.ts'
import { scenario } from './world.ts'

scenario('which hash differed is remembered on both sides, and by the IKE_SA that replaces the first', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  const paths = [client, gateway].map((node) => standing(node).sa.path)
  const found = paths.map(({ detection }) => {
    assert.ok(detection !== null)
    const { sourceMatched, destinationMatched, local, remote } = detection
    return { sourceMatched, destinationMatched, local: local.toString(), remote: remote.toString() }
  })
  assert.deepEqual(found, [
    { sourceMatched: true, destinationMatched: false, local: '192.168.1.7[500]', remote: '203.0.113.1[500]' },
    { sourceMatched: false, destinationMatched: true, local: '203.0.113.1[500]', remote: '192.0.2.1[30000]' },
  ])
  const old = standing(client).sa
  await world.outcome(standing(client).runExchange(rekeyIkeSa, 'rekey-ike'))
  assert.notEqual(standing(client).sa, old)
  for (const [at, node] of [client, gateway].entries()) assert.equal(standing(node).sa.path, paths[at])
})
