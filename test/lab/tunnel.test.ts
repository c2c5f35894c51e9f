/**
 * Tunnels between espalier and Debian's charon, with real packets through the real kernel.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { Capture } from './support/capture.ts'
import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { eventually } from './support/process.ts'
import { assertKernelEmpty, clientConfiguration, gatewayConfiguration, GATEWAY, carryBothWays, scene } from './support/scene.ts'
import { xfrmStates } from './support/xfrm.ts'

/** UDP from any port to any, with an ESP packet behind it, as tcpdump words it. */
const ESP_IN_UDP = /UDP-encap: ESP/
const KEEPALIVE = /isakmp-nat-keep-alive/

describe('a tunnel through a NAT', () => {
  test('two clients behind one NAT at once, charon and espalier, espalier as the gateway', async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [a, b] = inside
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
    const charon = await Charon.start(a.host, { configuration: clientConfiguration(a) })
    const other = await Espalier.start(b.host, { configuration: clientConfiguration(b, { start: true }) })
    await Promise.all([charon.initiate('net'), other.event('child-established')])
    await eventually('both tunnels stand', () => (espalier.events('child-established').length === 2 ? true : undefined))

    await Promise.all([carryBothWays(a, gateway), carryBothWays(b, gateway)])
    // The gateway's kernel sends to the very ports that the router gave to the clients' flows to 4500.
    const ports = (await router.mappings()).filter((entry) => entry.remote.port === 4500).map((entry) => entry.outside.port)
    const states = (await xfrmStates(gateway)).filter((state) => state.destination === '192.0.2.1')
    assert.equal(states.length, 2)
    assert.deepEqual(
      states.map((state) => state.encapsulation!.destinationPort).toSorted((x, y) => x - y),
      ports.toSorted((x, y) => x - y),
    )
    assert.ok(states.every(({ encapsulation }) => encapsulation!.type === 'espinudp' && encapsulation!.sourcePort === 4500))
    const remotes = espalier.events('ike-established').map((established) => String(established['remote']))
    assert.deepEqual(new Set(remotes), new Set(ports.map((port) => `192.0.2.1[${port}]`)))

    // One of them leaves, the other's tunnel is none the worse.
    await charon.stop()
    await espalier.event('ike-closed')
    await carryBothWays(b, gateway)
    await espalier.stop()
    await assertKernelEmpty(gateway)
    await other.event('ike-closed')
    await assertKernelEmpty(b.host)
  })

  test('edge case 44: espalier behind a NAT keeps its mapping alive, and only while nothing else does', async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [client] = inside
    const charon = await Charon.start(gateway, { configuration: gatewayConfiguration(), settings: 'keep_alive = 1s' })
    const wire = await Capture.start(router, 'wan', 'udp port 4500')
    const espalier = await Espalier.start(client.host, {
      configuration: clientConfiguration(client, { start: true }),
      settings: 'keep_alive = 2s',
    })
    await espalier.event('child-established')

    await wire.waitFor(KEEPALIVE)
    const idle = await eventually('three keepalives', () => {
      const seen = wire.packets.filter((line) => KEEPALIVE.test(line))
      return seen.length >= 3 ? seen : undefined
    })
    // The side with the public address sends none, though it was told to every second.
    assert.ok(
      idle.every((line) => line.includes(`> ${GATEWAY}.4500`)),
      idle.join('\n'),
    )
    const times = idle.map((line) => Number(line.split(' ')[0]))
    // On the average, so that one line of the capture that comes late proves nothing.
    const interval = (times.at(-1)! - times[0]!) / (times.length - 1)
    assert.ok(interval > 1.5, `not more often than told, which was every 2 s: ${times.join(' ')}`)

    await client.host.ping('10.20.0.1', client.home, 25)
    const seen = await wire.settled()
    const timeOf = (line: string): number => Number(line.split(' ')[0])
    const echoes = seen.filter((line) => ESP_IN_UDP.test(line)).map(timeOf)
    // Who was not let run for two seconds in the midst of it was silent for so long: then one is right.
    const isAmidTraffic = (time: number): boolean => echoes.some((echo) => echo > time - 1.5 && echo < time - 0.5)
    const during = seen.filter((line) => KEEPALIVE.test(line) && isAmidTraffic(timeOf(line)) && timeOf(line) < echoes.at(-1)!)
    assert.ok(echoes.length >= 40, `echoes and their answers: ${echoes.length}`)
    assert.deepEqual(during, [], 'no keepalive while traffic flows')
    await eventually('keepalives again when it has stopped', () =>
      wire.packets.some((line) => KEEPALIVE.test(line) && Number(line.split(' ')[0]) > echoes.at(-1)!) ? true : undefined,
    )
    // The kernel of the receiver takes them: charon never sees one, and says nothing.
    assert.doesNotMatch(await charon.log(), /received.*keep.?alive/i)
    // An orderly end is told to the peer: its kernel is empty too.
    await espalier.stop()
    await assertKernelEmpty(client.host)
    await charon.waitForLog(/received DELETE for IKE_SA/)
    await eventually('charon lets go', async () => ((await xfrmStates(gateway)).length === 0 ? true : undefined))
  })

  test('edge case 43: after a sleep in which the NAT forgot, the peer is asked instead of a keepalive, and told where we are', async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [client] = inside
    await Charon.start(gateway, { configuration: gatewayConfiguration() })
    const espalier = await Espalier.start(client.host, {
      configuration: clientConfiguration(client, { start: true }),
      settings: 'keep_alive = 2s\nkeep_alive_dpd_margin = 2s',
    })
    await espalier.event('child-established')
    await eventually('a keepalive', () => (espalier.events('keepalive-sent').length > 0 ? true : undefined))
    const place = async (): Promise<number | undefined> =>
      (await xfrmStates(gateway)).find(({ destination }) => destination === '192.0.2.1')?.encapsulation?.destinationPort
    const before = await place()
    espalier.daemon.signal('SIGSTOP')
    await router.forget()
    await new Promise((resolve) => setTimeout(resolve, 8000))
    espalier.daemon.signal('SIGCONT')
    assert.match(
      (await espalier.event('keepalive-late')).msg,
      /sending DPD instead of keep alive \d+s after last outbound message/,
    )
    await eventually('the gateway has it where it is', async () => ((await place()) === before ? undefined : true))
    await carryBothWays(client, gateway)
  })

  test('control: charon behind a NAT, idle and under traffic: its keepalives are counted', async (t) => {
    const { gateway, inside } = await scene(t)
    const [client] = inside
    await Charon.start(gateway, { configuration: gatewayConfiguration(), settings: 'keep_alive = 1s' })
    const wire = await Capture.start(gateway, 'wan', 'udp port 4500')
    const charon = await Charon.start(client.host, { configuration: clientConfiguration(client), settings: 'keep_alive = 2s' })
    await charon.initiate('net')
    const sent = (): number => wire.packets.filter((line) => KEEPALIVE.test(line)).length
    await eventually('three keepalives', () => (sent() >= 3 ? true : undefined))
    const before = sent()
    await client.host.ping('10.20.0.1', client.home, 25)
    t.diagnostic(`during five seconds of traffic charon sent ${sent() - before} keepalives of one every 2 s`)
  })

  test("a charon's keepalives never reach the gateway's TypeScript, and nobody else sends any", async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [a, b] = inside
    const everySecond = 'keep_alive = 1s'
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration(), settings: everySecond })
    const wire = await Capture.start(gateway, 'wan', 'udp')
    const charon = await Charon.start(a.host, { configuration: clientConfiguration(a), settings: everySecond })
    const settings = 'keep_alive = 0'
    const other = await Espalier.start(b.host, { configuration: clientConfiguration(b, { start: true }), settings })
    await Promise.all([charon.initiate('net'), other.event('child-established')])

    const keepalives = await eventually('four keepalives', () => {
      const seen = wire.packets.filter((line) => KEEPALIVE.test(line))
      return seen.length >= 4 ? seen : undefined
    })
    // Those of the client whose interval is not 0; the gateway has a public address.
    const mapping = (await router.mappings()).find((entry) => entry.inside.address === a.address && entry.remote.port === 4500)
    const charons = ` IP 192.0.2.1.${mapping?.outside.port} > ${GATEWAY}.4500: `
    assert.deepEqual(
      keepalives.filter((line) => !line.includes(charons)),
      [],
    )

    await Promise.all([charon.stop(), other.stop()])
    await espalier.stop()
    // Every datagram that the daemon had to read was IKE.
    const { datagrams } = await espalier.event('stopped')
    const messages = espalier.events('message-received')
    const account = [...espalier.events('datagram-dropped').map(({ msg }) => msg), ...(await wire.stop())].join('\n')
    assert.equal((datagrams as { received: number }).received, messages.length, account)
    assert.ok(messages.length >= 6, account)
    await assertKernelEmpty(gateway)
  })
})
