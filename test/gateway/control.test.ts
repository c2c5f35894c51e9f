/** What the control does beside VICI, whose test is test/vici/control.test.ts. */
import assert from 'node:assert/strict'

import { Control } from '../../src/gateway/control.ts'
import { Timeouts } from '../../src/gateway/timeouts.ts'
import { addClient, addGateway } from '../simulation/places.ts'
import { scenario } from '../simulation/world.ts'

scenario('who waits for an IKE_SA or a CHILD_SA waits for its virtual addresses and routes, too', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const { gateway } = client
  let inPlace = Promise.withResolvers<void>()
  const control = new Control(
    {
      connections: () => gateway.configured.connections(),
      settings: () => gateway.configured.settings,
      sessions: () => gateway.sessions(),
      sessionsOf: (connection) => gateway.sessionsOf(connection),
      traps: gateway.traps,
      open: (connection, child) => gateway.initiate(connection.name, child?.name ?? null),
      inPlace: () => inPlace.promise,
    },
    new Timeouts(
      () => 0,
      () => undefined,
    ),
  )
  const initiate = async (ike: string | null, child: string | null, stands: () => boolean): Promise<void> => {
    let isTold = false
    const options = { patience: 'for-ever', limits: false } as const
    const told = control.initiate({ ike, child }, options, () => undefined).then(() => (isTold = true))
    await world.until(stands, 'it stands')
    await world.settle()
    assert.equal(isTold, false, 'nobody is told before packets find their way')
    inPlace.resolve()
    await world.outcome(told)
    inPlace = Promise.withResolvers<void>()
  }
  await initiate('home', null, () => gateway.sessions()[0]?.sa.state === 'established')
  await initiate(null, 'net', () => client.session.sa.children.length === 1)
  await control
    .terminate({ ike: 'home', ikeId: null, child: null, childId: null }, { patience: 'not-at-all', force: false })
    .carryOut()
  await world.until(() => gateway.sessions().length === 0, 'it has gone')
  await initiate(null, 'net', () => client.session.sa.children.length === 1)
})
