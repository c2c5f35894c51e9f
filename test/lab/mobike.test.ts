/**
 * MOBIKE on a real kernel, with charon in both roles: a client with two interfaces loses the one behind a NAT under
 * traffic, then IPv4, then comes back behind the NAT; a gateway loses its address; a NAT forgets; and mobike = no. What
 * is lost under traffic of 200 packets a second each way is counted and printed.
 *
 *   client-a ── lan 10.1.0.2 ── router (NAT) ── 192.0.2.2 gateway
 *           └── direct 198.51.100.50, 2001:db8::50 ──── 198.51.100.2, 2001:db8::2 ┘
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import type { Host } from './support/network.ts'
import { eventually } from './support/process.ts'
import { becomesEmpty, clientConfiguration, GATEWAY, gatewayConfiguration, OFFICE, pingBothWays, scene } from './support/scene.ts'
import { startStream } from './support/stream.ts'
import { xfrmPolicies, xfrmStates, type XfrmState } from './support/xfrm.ts'

const ELSEWHERE = '198.51.100.2'
const DIRECT = '198.51.100.50'
/** Of the machine's time: long before and long after anything that happens. */
const WHILE = 1500
/** Far more than any of it takes. */
const PATIENCE_MS = 120_000

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Where a host has its end of its states, and whether they are in UDP: each answer once. */
const ends = (states: readonly XfrmState[], own: (address: string) => boolean): readonly string[] => [
  ...new Set(
    states.map(({ source, destination, encapsulation }) => {
      const [mine, theirs] = own(source) ? [source, destination] : [destination, source]
      return `${mine} ${theirs} ${encapsulation === null ? 'bare' : 'UDP'}`
    }),
  ),
]

for (const [clientKind, gatewayKind] of [
  ['espalier', 'charon'],
  ['charon', 'espalier'],
  ['charon', 'charon'],
] as const) {
  /** Charon alone is counted to compare with. */
  const isControl = clientKind === gatewayKind
  const title = isControl
    ? 'what charon loses in the place of espalier, with the same configuration'
    : `edge cases 36, 37, 40 and 41: ${clientKind} the client of ${gatewayKind}`
  test(title, async (t) => {
    const { lab, router, gateway, inside } = await scene(t)
    const [client] = inside
    await lab.network('direct', [
      [gateway, [`${ELSEWHERE}/24`, '2001:db8::2/64']],
      [client.host, [`${DIRECT}/24`, '2001:db8::50/64']],
    ])
    /** The gateway's first address is reached both ways; through the NAT is better. */
    const routes = async (): Promise<void> => {
      await client.host.tryRun('ip', ['route', 'replace', 'default', 'via', '10.1.0.1'])
      await client.host.tryRun('ip', ['route', 'replace', GATEWAY, 'via', '10.1.0.1', 'metric', '100'])
      await client.host.tryRun('ip', ['route', 'replace', GATEWAY, 'via', ELSEWHERE, 'metric', '200'])
    }
    await routes()
    const kinds = { charon: Charon, espalier: Espalier }
    const there = await kinds[gatewayKind].start(gateway, {
      configuration: gatewayConfiguration().replace(/^.*local_addrs.*$/m, ''),
    })
    const here = await kinds[clientKind].start(client.host, {
      configuration: clientConfiguration(client, { ike: 'dpd_delay = 4s' }),
    })

    /** Waits until both kernels have the tunnel between ends that pass, the same at both; returns them as the client has them. */
    const moved = (what: string, isMeant: (ends: string) => boolean): Promise<string> =>
      eventually(
        what,
        async () => {
          const isOfGateway = (address: string): boolean =>
            address === GATEWAY || address === ELSEWHERE || address === '2001:db8::2'
          const atClient = ends(await xfrmStates(client.host), (address) => !isOfGateway(address))
          const atGateway = ends(await xfrmStates(gateway), isOfGateway)
          if (atClient.length !== 1 || atGateway.length !== 1 || !isMeant(atClient[0]!)) return undefined
          const [mine, theirs, form] = atClient[0]!.split(' ')
          const isBehindNat = mine === client.address
          return atGateway[0] === `${theirs} ${isBehindNat ? '192.0.2.1' : mine} ${form}` ? atClient[0] : undefined
        },
        PATIENCE_MS,
      )
    /** The policies say the same as the states. */
    const agrees = async (host: Host): Promise<void> => {
      const [{ source, destination }] = (await xfrmStates(host)) as [XfrmState]
      for (const { templates } of await xfrmPolicies(host))
        for (const template of templates)
          assert.deepEqual([template.source, template.destination].toSorted(), [source, destination].toSorted())
    }
    /** Does something under traffic, and tells what that cost. */
    const underTraffic = async (what: string, act: () => Promise<unknown>, isMeant: (ends: string) => boolean): Promise<void> => {
      const spis = new Set((await xfrmStates(gateway)).map(({ spi }) => spi))
      const toClient = await startStream(gateway, OFFICE, client.host, client.home, 7811)
      const toGateway = await startStream(client.host, client.home, gateway, OFFICE, 7812)
      await pause(WHILE)
      await act()
      const way = await moved(what, isMeant)
      await pause(WHILE)
      const [up, down] = [await toGateway.end(), await toClient.end()]
      t.diagnostic(
        `${isControl ? 'charon: ' : ''}${what}: now ${way}; lost ${up.missing.length} of ${up.sent} up, ${down.missing.length} of ${down.sent} down`,
      )
      for (const { sent, missing } of [up, down])
        assert.deepEqual(isControl ? [] : missing.filter((number) => number >= sent - 100), [], 'the last ones all arrive')
      assert.deepEqual(new Set((await xfrmStates(gateway)).map(({ spi }) => spi)), spis, 'the same states, moved')
      for (const host of [gateway, client.host]) await agrees(host)
      await pingBothWays(client, gateway)
    }

    await here.swanctl('--initiate', '--child', 'net')
    await moved('up, behind the NAT', (way) => way === `${client.address} ${GATEWAY} UDP`)
    await pingBothWays(client, gateway)

    const forgetting = async (): Promise<void> => {
      const port = async (): Promise<number | undefined> =>
        (await xfrmStates(gateway)).find(({ destination }) => destination === '192.0.2.1')?.encapsulation?.destinationPort
      // Two signs of life, so that there is something to compare with.
      await pause(9000)
      const before = await port()
      await router.forget()
      const after = await eventually('another port', async () => ((await port()) === before ? undefined : port()), PATIENCE_MS)
      t.diagnostic(`the port was ${before}, and is ${after}`)
      await pingBothWays(client, gateway)
    }
    if (!isControl)
      await t.test('edge case 42: a NAT forgets while nothing flows, the next sign of life finds it out', forgetting)

    await t.test('out from behind the NAT, by the other interface', () =>
      underTraffic(
        'the interface behind the NAT goes down',
        () => client.host.run('ip', ['link', 'set', 'lan', 'down']),
        (way) => !way.startsWith(client.address) && way.endsWith(' bare'),
      ),
    )

    await t.test('from IPv4 to IPv6', () =>
      underTraffic(
        'the IPv4 address goes',
        () => client.host.run('ip', ['address', 'delete', `${DIRECT}/24`, 'dev', 'direct']),
        (way) => way === '2001:db8::50 2001:db8::2 bare',
      ),
    )

    await t.test('and back behind the NAT', () =>
      underTraffic(
        'the interface behind the NAT comes up, the other goes down',
        async () => {
          await client.host.run('ip', ['link', 'set', 'lan', 'up'])
          await routes()
          await pause(500)
          await client.host.run('ip', ['link', 'set', 'direct', 'down'])
        },
        (way) => way === `${client.address} ${GATEWAY} UDP`,
      ),
    )

    if (!isControl) {
      await t.test('no way at all is waited for', async () => {
        await client.host.run('ip', ['link', 'set', 'lan', 'down'])
        await pause(8000)
        await client.host.run('ip', ['link', 'set', 'lan', 'up'])
        await routes()
        await pause(1000)
        await moved('the same way as before', (way) => way === `${client.address} ${GATEWAY} UDP`)
        await pingBothWays(client, gateway)
      })

      await t.test('a gateway loses its address and says so from another', async () => {
        await client.host.run('ip', ['link', 'set', 'direct', 'up'])
        await client.host.run('ip', ['address', 'add', `${DIRECT}/24`, 'dev', 'direct'])
        await pause(2000)
        await gateway.run('ip', ['address', 'delete', `${GATEWAY}/24`, 'dev', 'wan'])
        await moved(
          'to another address of the gateway',
          (way) => way === `${DIRECT} ${ELSEWHERE} bare` || way === '2001:db8::50 2001:db8::2 bare',
        )
      })
    }

    await here.swanctl('--terminate', '--ike', 'gateway')
    for (const host of [gateway, client.host]) await becomesEmpty(host, PATIENCE_MS)
    assert.ok(there.host === gateway)
  })
}

test('mobike = no: espalier begins anew from the address it has left, and charon takes it', async (t) => {
  const { lab, gateway, inside } = await scene(t)
  const [client] = inside
  await lab.network('direct', [
    [gateway, `${ELSEWHERE}/24`],
    [client.host, `${DIRECT}/24`],
  ])
  await client.host.route(GATEWAY, '10.1.0.1', 'metric', '100')
  await client.host.route(GATEWAY, ELSEWHERE, 'metric', '200')
  const ike = 'mobike = no'
  await Charon.start(gateway, { configuration: gatewayConfiguration({ ike }) })
  const espalier = await Espalier.start(client.host, { configuration: clientConfiguration(client, { ike }) })
  await espalier.swanctl('--initiate', '--child', 'net')
  await pingBothWays(client, gateway)
  const before = await xfrmStates(client.host)
  await client.host.run('ip', ['link', 'set', 'lan', 'down'])
  const after = await eventually(
    'states between the other addresses',
    async () => {
      const states = await xfrmStates(client.host)
      const isNew = states.length >= 2 && states.some(({ source, encapsulation }) => source === DIRECT && encapsulation === null)
      return isNew ? states : undefined
    },
    PATIENCE_MS,
  )
  assert.ok(after.some(({ spi }) => before.every((old) => old.spi !== spi)))
  await pingBothWays(client, gateway)
  assert.match(espalier.daemon.lines.join('\n'), /reauthenticating IKE_SA due to address change/)
})
