/** IKE_SA_INIT and IKE_AUTH between two gateways with nothing in between (RFC 7296 1.2). */
import assert from 'node:assert/strict'

import { addClient, addGateway, flows } from './places.ts'
import { scenario } from './world.ts'

scenario('without MOBIKE and without a NAT everything stays on port 500 and ESP goes bare', async (world) => {
  const gateway = addGateway(world, { mobike: false })
  const client = addClient(world, { mobike: false })
  await world.initiate(client)
  // HDR, SAi1, KEi, Ni  -->  <--  HDR, SAr1, KEr, Nr  and  HDR, SK { IDi, AUTH, SAi2, TSi, TSr }  -->  <--  HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
  assert.deepEqual(world.sent(), [
    '198.51.100.7[500] > 203.0.113.1[500] IKE_SA_INIT request 0',
    '203.0.113.1[500] > 198.51.100.7[500] IKE_SA_INIT response 0',
    '198.51.100.7[500] > 203.0.113.1[500] IKE_AUTH request 1',
    '203.0.113.1[500] > 198.51.100.7[500] IKE_AUTH response 1',
  ])
  assert.deepEqual(client.session.sa.nat, { supported: true, here: false, there: false, faked: false })
  assert.deepEqual(gateway.session.sa.nat, client.session.sa.nat)
  assert.ok(client.kernel.states().every((state) => state.encapsulation === null))
  assert.ok(await flows(world, client, gateway))
})
