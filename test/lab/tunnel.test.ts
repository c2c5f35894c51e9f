/**
 * Tunnels between espalier and Debian's charon, with real packets through the real kernel.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { Capture } from './support/capture.ts'
import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { eventually } from './support/process.ts'
import { assertKernelEmpty, clientConfiguration, gatewayConfiguration, GATEWAY, pingBothWays, scene } from './support/scene.ts'
import { xfrmStates } from './support/xfrm.ts'

/** UDP from any port to any, with an ESP packet behind it, as tcpdump words it. */
const ESP_IN_UDP = /UDP-encap: ESP/
const BARE_ESP = /^\S+ IP \S+ > \S+: ESP\(/
const KEEPALIVE = /isakmp-nat-keep-alive/
/** An echo outside its tunnel. (A port unreachable is none: a daemon that ended may miss its peer's last answer.) */
const ECHO = /ICMP6?,? echo/

describe('a tunnel through a NAT', () => {
  test('charon behind a NAT, espalier as the gateway', async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [client] = inside
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
    const charon = await Charon.start(client.host, { configuration: clientConfiguration(client) })
    const wire = await Capture.start(router, 'wan', 'ip')
    await charon.initiate('net')

    const established = await espalier.event('ike-established')
    assert.deepEqual(established['nat'], { supported: true, here: false, there: true, faked: false })
    await pingBothWays(client, gateway)

    // The gateway's kernel sends to the very port that the router gave to the client's flow to 4500.
    const mapping = (await router.mappings()).find((entry) => entry.remote.port === 4500)
    assert.ok(mapping !== undefined)
    const outbound = (await xfrmStates(gateway)).find((state) => state.destination === '192.0.2.1')
    assert.deepEqual(outbound?.encapsulation, { type: 'espinudp', sourcePort: 4500, destinationPort: mapping.outside.port })
    assert.equal(established['remote'], `192.0.2.1[${mapping.outside.port}]`)

    await charon.stop()
    await espalier.event('ike-closed')
    await assertKernelEmpty(gateway)
    const packets = await wire.stop()
    assert.equal(packets.filter((line) => ESP_IN_UDP.test(line)).length, 12, packets.join('\n'))
    assert.equal(packets.filter((line) => ECHO.test(line) || BARE_ESP.test(line)).length, 0)
  })

  test('espalier behind a NAT, charon as the gateway', async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [client] = inside
    const charon = await Charon.start(gateway, { configuration: gatewayConfiguration() })
    const wire = await Capture.start(router, 'wan', 'ip')
    const espalier = await Espalier.start(client.host, { configuration: clientConfiguration(client, { start: true }) })

    await espalier.event('child-established')
    const established = await espalier.event('ike-established')
    assert.deepEqual(established['nat'], { supported: true, here: true, there: false, faked: false })
    assert.equal(established['local'], '10.1.0.2[4500]')
    assert.equal(established['remote'], `${GATEWAY}[4500]`)
    await pingBothWays(client, gateway)
    for (const state of await xfrmStates(client.host)) {
      assert.deepEqual(state.encapsulation, { type: 'espinudp', sourcePort: 4500, destinationPort: 4500 })
      assert.equal(state.packets, 6)
    }

    // An orderly end is told to the peer: its kernel is empty too.
    await espalier.stop()
    await assertKernelEmpty(client.host)
    await eventually('charon lets go', async () => ((await xfrmStates(gateway)).length === 0 ? true : undefined))
    assert.match(await charon.log(), /received DELETE for IKE_SA/)
    const packets = await wire.stop()
    assert.equal(packets.filter((line) => ESP_IN_UDP.test(line)).length, 12, packets.join('\n'))
    assert.equal(packets.filter((line) => ECHO.test(line) || BARE_ESP.test(line)).length, 0)
  })

  test('two clients behind one NAT at once, charon and espalier, espalier as the gateway', async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [a, b] = inside
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
    const charon = await Charon.start(a.host, { configuration: clientConfiguration(a) })
    const other = await Espalier.start(b.host, { configuration: clientConfiguration(b, { start: true }) })
    await Promise.all([charon.initiate('net'), other.event('child-established')])
    await eventually('both tunnels stand', () => (espalier.events('child-established').length === 2 ? true : undefined))

    await Promise.all([pingBothWays(a, gateway), pingBothWays(b, gateway)])
    const ports = (await router.mappings()).filter((entry) => entry.remote.port === 4500).map((entry) => entry.outside.port)
    const states = (await xfrmStates(gateway)).filter((state) => state.destination === '192.0.2.1')
    assert.equal(states.length, 2)
    assert.deepEqual(
      states.map((state) => state.encapsulation?.destinationPort).toSorted((x, y) => x! - y!),
      ports.toSorted((x, y) => x - y),
    )

    // One of them leaves, the other's tunnel is none the worse.
    await charon.stop()
    await espalier.event('ike-closed')
    await pingBothWays(b, gateway)
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

    await client.host.ping('10.20.0.1', client.home, 40)
    const echoes = wire.packets.filter((line) => ESP_IN_UDP.test(line)).map((line) => Number(line.split(' ')[0]))
    const during = wire.packets
      .filter((line) => KEEPALIVE.test(line))
      .map((line) => Number(line.split(' ')[0]))
      .filter((time) => time > echoes[0]! + 0.5 && time < echoes.at(-1)!)
    assert.deepEqual(during, [], 'no keepalive while traffic flows')
    await eventually('keepalives again when it has stopped', () =>
      wire.packets.some((line) => KEEPALIVE.test(line) && Number(line.split(' ')[0]) > echoes.at(-1)!) ? true : undefined,
    )
    // The kernel of the receiver takes them: charon never sees one, and says nothing.
    assert.doesNotMatch(await charon.log(), /received.*keep.?alive/i)
    await espalier.stop()
    await assertKernelEmpty(client.host)
  })
})

describe('no NAT between the peers', () => {
  test('charon floats for MOBIKE, ESP stays bare', async (t) => {
    const { gateway, outside } = await scene(t)
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
    const charon = await Charon.start(outside.host, { configuration: clientConfiguration(outside) })
    await gateway.run('ip', ['route', 'replace', outside.homeNetwork, 'via', '192.0.2.3'])
    const wire = await Capture.start(gateway, 'wan', 'ip')
    await charon.initiate('net')
    const established = await espalier.event('ike-established')
    assert.equal(established['remote'], '192.0.2.3[4500]')
    await pingBothWays(outside, gateway)
    assert.ok((await xfrmStates(gateway)).every((state) => state.encapsulation === null))
    await espalier.stop()
    await assertKernelEmpty(gateway)
    const packets = await wire.stop()
    assert.equal(packets.filter((line) => BARE_ESP.test(line)).length, 12, packets.join('\n'))
    assert.equal(packets.filter((line) => ESP_IN_UDP.test(line)).length, 0)
  })

  test('mobike = no: espalier stays on port 500, ESP stays bare', async (t) => {
    const { gateway, outside } = await scene(t)
    await Charon.start(gateway, { configuration: gatewayConfiguration({ ike: 'mobike = no' }) })
    await gateway.run('ip', ['route', 'replace', outside.homeNetwork, 'via', '192.0.2.3'])
    const wire = await Capture.start(gateway, 'wan', 'ip')
    const espalier = await Espalier.start(outside.host, {
      configuration: clientConfiguration(outside, { start: true, ike: 'mobike = no' }),
    })
    await espalier.event('child-established')
    const established = await espalier.event('ike-established')
    assert.equal(established['local'], '192.0.2.3[500]')
    await pingBothWays(outside, gateway)
    assert.ok((await xfrmStates(outside.host)).every((state) => state.encapsulation === null))
    await espalier.stop()
    await assertKernelEmpty(outside.host)
    const packets = await wire.stop()
    assert.equal(packets.filter((line) => BARE_ESP.test(line)).length, 12, packets.join('\n'))
    assert.equal(packets.filter((line) => line.includes('.4500')).length, 0)
  })
})

describe('a wrong pre-shared key', () => {
  test("charon's: espalier as the gateway refuses it, and both say why", async (t) => {
    const { gateway, inside } = await scene(t)
    const [client] = inside
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
    const charon = await Charon.start(client.host, { configuration: clientConfiguration(client, { secret: 'a guess' }) })
    await assert.rejects(charon.initiate('net'))
    const failed = await espalier.event('ike-failed')
    assert.match(failed.msg, /tried 1 shared key for '.*' - 'client-a\.example', but MAC mismatched/)
    assert.match(await charon.log(), /received AUTHENTICATION_FAILED/)
    await espalier.event('ike-closed')
    await assertKernelEmpty(gateway)
    await assertKernelEmpty(client.host)
  })

  test("espalier's: charon as the gateway refuses it, and both say why", async (t) => {
    const { gateway, inside } = await scene(t)
    const [client] = inside
    const charon = await Charon.start(gateway, { configuration: gatewayConfiguration() })
    const espalier = await Espalier.start(client.host, {
      configuration: clientConfiguration(client, { start: true, secret: 'a guess' }),
    })
    const failed = await espalier.event('ike-failed')
    assert.match(
      failed.msg,
      /received AUTHENTICATION_FAILED notify error: the peer does not accept our identity or our pre-shared key/,
    )
    await espalier.event('ike-closed')
    assert.match(await charon.log(), /tried \d+ shared keys? for .* but MAC mismatched/)
    await assertKernelEmpty(gateway)
    await assertKernelEmpty(client.host)
  })
})
