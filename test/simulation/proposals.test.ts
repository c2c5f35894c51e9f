/** Proposals of the CHILD_SA in IKE_AUTH (RFC 7296 1.2): a group configured for later rekeyings takes no part. */
import assert from 'node:assert/strict'

import { addClient, addGateway, flows } from './places.ts'
import { scenario } from './world.ts'

scenario('an ESP proposal with a key exchange group is agreed on without it', async (world) => {
  const gateway = addGateway(world, { proposals: ['aes128-sha256-x25519'] })
  const client = addClient(world, { proposals: ['aes128-sha256-x25519'] })
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

scenario('extended sequence numbers are used where both sides offer them', async (world) => {
  const gateway = addGateway(world, { proposals: ['aes256gcm16-esn-noesn'] })
  const client = addClient(world, { proposals: ['aes256gcm16-esn'] })
  await world.initiate(client)
  assert.ok([...client.kernel.states(), ...gateway.kernel.states()].every((state) => state.esn))
  assert.ok(await flows(world, client, gateway))
})
