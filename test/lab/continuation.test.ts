/**
 * A daemon that another one takes the place of, on a real kernel with charon as the peer behind a NAT: in the orderly way
 * nothing is lost of 200 packets a second each way; after it was killed the kernel goes on alone, and what the next
 * daemon makes takes its place.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { eventually } from './support/process.ts'
import { assertKernelEmpty, clientConfiguration, gatewayConfiguration, OFFICE, pingBothWays, scene } from './support/scene.ts'
import { startStream } from './support/stream.ts'
import { xfrmStates } from './support/xfrm.ts'

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

test('edge case 55: SIGUSR2: no packet is lost, no SA changes, message IDs go on, rekeying works in both roles', async (t) => {
  const { gateway, inside } = await scene(t)
  const [client] = inside
  const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
  const charon = await Charon.start(client.host, { configuration: clientConfiguration(client) })
  await charon.swanctl('--initiate', '--child', 'net')
  await pingBothWays(client, gateway)
  const before = await xfrmStates(gateway)
  const toClient = await startStream(gateway, OFFICE, client.host, client.home, 7801)
  const toGateway = await startStream(client.host, client.home, gateway, OFFICE, 7802)
  await pause(1000)
  espalier.daemon.signal('SIGUSR2')
  const resumed = await espalier.event('resumed', 60_000)
  assert.deepEqual([resumed['resumed'], resumed['lost']], [1, 0])
  await pause(1000)
  const [ofClient, ofGateway] = [await toGateway.end(), await toClient.end()]
  t.diagnostic(
    `lost of ${ofClient.sent} from the peer: ${ofClient.missing.length}; of ${ofGateway.sent} to it: ${ofGateway.missing.length}`,
  )
  assert.deepEqual([ofClient.missing, ofGateway.missing], [[], []])
  const spis = (states: Awaited<ReturnType<typeof xfrmStates>>): readonly unknown[] =>
    states.map(({ spi }) => spi).toSorted((a, b) => a - b)
  assert.deepEqual(spis(await xfrmStates(gateway)), spis(before))
  // The peer's next message ID, then ours; both kinds of SA.
  await charon.swanctl('--rekey', '--ike', 'gateway')
  await espalier.event('ike-rekeyed')
  await espalier.swanctl('--rekey', '--child', 'net')
  await espalier.event('child-rekeyed')
  await pingBothWays(client, gateway)
  assert.deepEqual(espalier.events('kernel-refused'), [])
  await charon.stop()
  await eventually('the peer has said goodbye', () => espalier.events('ike-closed').find(({ reason }) => reason !== 'rekeyed'))
  await espalier.stop()
  await assertKernelEmpty(gateway)
})

test('edge case 56: kill -9 behind a NAT: outbound ESP goes on, inbound as soon as there is a socket again; what is made then takes its place', async (t) => {
  const { gateway, inside } = await scene(t)
  const [client] = inside
  const charon = await Charon.start(gateway, { configuration: gatewayConfiguration() })
  const options = { configuration: clientConfiguration(client, { start: true }) }
  const first = await Espalier.start(client.host, options)
  await first.event('child-established')
  await pingBothWays(client, gateway)
  const before = await xfrmStates(client.host)
  // The journal is a tenth of a second behind.
  await pause(1000)
  await first.daemon.stop('SIGKILL')
  const alone = await startStream(client.host, client.home, gateway, OFFICE, 7801)
  await pause(2000)
  const whileGone = await alone.end()
  assert.ok(whileGone.sent > 100)
  assert.deepEqual(whileGone.missing, [], 'the kernel needs nobody to send')
  assert.deepEqual((await xfrmStates(client.host)).length, before.length)
  const second = await Espalier.start(client.host, options)
  assert.equal((await second.event('inherited'))['length'], 1)
  await second.event('child-established')
  await pingBothWays(client, gateway)
  await eventually('what was left is gone', async () => {
    const spis = (await xfrmStates(client.host)).map(({ spi }) => spi)
    return before.every(({ spi }) => !spis.includes(spi)) ? true : undefined
  })
  assert.equal((await xfrmStates(client.host)).length, 2)
  await eventually("charon lets go of the old one's, by INITIAL_CONTACT", async () =>
    (await xfrmStates(gateway)).length === 2 ? true : undefined,
  )
  await second.stop()
  await charon.stop()
  for (const host of [client.host, gateway]) await assertKernelEmpty(host)
})
