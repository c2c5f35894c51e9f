/**
 * What a peer may have with us, against charon in either role: `unique = replace` on a client that reboots without a
 * goodbye, IKE_SAs without a CHILD_SA, CHILD_SAs added to them and deleted by either side.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo } from './support/listed.ts'
import type { Host } from './support/network.ts'
import { eventually } from './support/process.ts'
import { becomesEmpty, clientConfiguration, gatewayConfiguration, pingBothWays, scene } from './support/scene.ts'
import { xfrmStates } from './support/xfrm.ts'

/** What a machine that loses its power has in its kernel when it is back. */
async function emptyKernel(host: Host): Promise<void> {
  await host.run('ip', ['xfrm', 'state', 'flush'])
  await host.run('ip', ['xfrm', 'policy', 'flush'])
}

for (const [role, names] of [
  ['gateway', 'espalier of charon'],
  ['client', 'charon of espalier'],
] as const) {
  test(`as ${role}: unique = replace, ${names}, of a client that reboots without a goodbye; then a childless IKE_SA`, async (t) => {
    const { gateway, inside } = await scene(t)
    const [client] = inside
    const [Gateway, Client] = role === 'gateway' ? [Espalier, Charon] : [Charon, Espalier]
    // Whoever has `never` does not say INITIAL_CONTACT, which would settle it.
    const configuration = clientConfiguration(client, { ike: 'unique = never' })
    const there = await Gateway.start(gateway, {
      configuration: gatewayConfiguration({ ike: 'unique = replace' }),
      // The client that is gone is given up soon.
      settings: 'retransmit_tries = 1',
    })
    const before = await Client.start(client.host, { configuration })
    await before.swanctl('--initiate', '--child', 'net')
    await pingBothWays(client, gateway)
    const [old] = await xfrmStates(gateway)

    await (before instanceof Charon ? before.kill() : before.daemon.stop('SIGKILL'))
    await emptyKernel(client.host)
    const here = await Client.start(client.host, { configuration })
    await here.swanctl('--initiate', '--child', 'net')
    await comesTo(there, 1, 1)
    await pingBothWays(client, gateway)
    if (there instanceof Espalier)
      assert.match((await there.event('duplicate-found')).msg, /duplicate IKE_SA for peer 'client-a\.example'/)
    await eventually(
      'the states of the old IKE_SA are gone from the kernel',
      async () => ((await xfrmStates(gateway)).every(({ spi }) => spi !== old!.spi) ? true : undefined),
      240_000,
    )
    await pingBothWays(client, gateway)

    // The last CHILD_SA goes, the IKE_SA stays at both: once by the client's delete, once by the gateway's.
    await here.swanctl('--terminate', '--child', 'net')
    for (const daemon of [here, there]) await comesTo(daemon, 1, 0)
    await here.swanctl('--initiate', '--child', 'net')
    await pingBothWays(client, gateway)
    await there.swanctl('--terminate', '--child', 'net')
    for (const daemon of [here, there]) await comesTo(daemon, 1, 0)
    // What is being deleted is not listed as installed any more.
    for (const host of [gateway, client.host]) await becomesEmpty(host)

    // An IKE_SA alone, and a child in it afterwards.
    await here.swanctl('--terminate', '--ike', 'gateway')
    await here.swanctl('--initiate', '--ike', 'gateway')
    for (const daemon of [here, there]) await comesTo(daemon, 1, 0)
    await here.swanctl('--initiate', '--child', 'net')
    for (const daemon of [here, there]) await comesTo(daemon, 1, 1)
    await pingBothWays(client, gateway)

    // And made so by both sides' configuration.
    await here.swanctl('--terminate', '--ike', 'gateway')
    await here.configure(clientConfiguration(client, { ike: 'unique = never\nchildless = force' }))
    await there.configure(gatewayConfiguration({ ike: 'unique = replace\nchildless = force' }))
    for (const daemon of [here, there]) await daemon.swanctl('--load-all', '--noprompt')
    await here.swanctl('--initiate', '--child', 'net')
    for (const daemon of [here, there]) await comesTo(daemon, 1, 1)
    await pingBothWays(client, gateway)
  })
}
