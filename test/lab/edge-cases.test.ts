/**
 * What strangers and odd NATs send to a gateway whose kernel does ESP, where the kernel's part cannot be simulated: the
 * edge cases by their numbers (test/edge-cases.test.ts has the list). The kernel's own counters tell what became of it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier, type LogLine } from './support/espalier.ts'
import type { Host } from './support/network.ts'
import { eventually } from './support/process.ts'
import { clientConfiguration, gatewayConfiguration, GATEWAY, pingBothWays, scene } from './support/scene.ts'
import { xfrmStates } from './support/xfrm.ts'

/** The level of what is told unless somebody asks for more. */
const INFO = 30

/** Sends the payloads, in hex, from one port: UDP to `port`, or bare behind the IP header when that is null. */
async function send(from: Host, port: number | null, payloads: readonly string[], sourcePort = 32_100): Promise<void> {
  const udp = `s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', ${sourcePort}))`
  const bare = 's = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ESP)'
  const program = `import socket, sys
${port === null ? bare : udp}
for payload in sys.argv[1:]:
    s.sendto(bytes.fromhex(payload), ('${GATEWAY}', ${port ?? 0}))`
  await from.run('python3', ['-c', program, ...payloads])
}

/** ESP of this SPI that nobody sealed: SPI, sequence number, 64 octets. */
function unsealedEsp(spi: number, sequence = 1000): string {
  return [spi, sequence].map((word) => word.toString(16).padStart(8, '0')).join('') + '5a'.repeat(64)
}

/** A counter of /proc/net/xfrm_stat. */
async function counter(host: Host, name: string): Promise<number> {
  const statistics = await host.run('cat', ['/proc/net/xfrm_stat'])
  return Number(new RegExp(`^${name}\\s+(\\d+)$`, 'm').exec(statistics)![1])
}

/** Does what the kernel must count once under this name. */
async function counted(host: Host, name: string, action: () => Promise<void>): Promise<void> {
  const before = await counter(host, name)
  await action()
  await eventually(`${name} is ${before + 1}`, async () => ((await counter(host, name)) > before ? true : undefined))
  assert.equal(await counter(host, name), before + 1)
}

async function inboundSpi(gateway: Host): Promise<number> {
  const states = await xfrmStates(gateway)
  return states.find((state) => state.destination === GATEWAY)!.spi
}

test('a gateway whose peer is behind a NAT', async (t) => {
  const { router, gateway, inside, outside } = await scene(t)
  const [client] = inside
  const stranger = outside.host
  const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
  const peer = await Espalier.start(client.host, { configuration: clientConfiguration(client, { start: true }) })
  await peer.event('child-established')
  await espalier.event('child-established')
  await pingBothWays(client, gateway)
  const spi = await inboundSpi(gateway)

  /** Whatever happens in it: the daemon has nothing to say, the states stay as they are, and packets flow. */
  const unmoved = async (action: () => Promise<void>): Promise<void> => {
    const endpoints = async (): Promise<unknown> =>
      (await xfrmStates(gateway)).map(({ source, destination, encapsulation }) => ({ source, destination, encapsulation }))
    const before = await endpoints()
    const lines = espalier.daemon.lines.length
    await action()
    assert.deepEqual(await endpoints(), before)
    await pingBothWays(client, gateway)
    assert.deepEqual(espalier.daemon.lines.slice(lines), [])
  }

  await t.test('edge case 45: a keepalive to 500 is dropped without a word but for who debugs', async () => {
    const lines = espalier.daemon.lines.length
    await send(stranger, 500, ['ff', '00'.repeat(8)])
    const said = (): readonly LogLine[] => espalier.daemon.lines.slice(lines).map((line) => JSON.parse(line) as LogLine)
    // What comes behind it is worth a line at any level.
    await eventually('the datagram behind it is told of', () => said().find(({ reason }) => reason === 'malformed'))
    assert.deepEqual(
      said().map(({ reason, level }) => [reason, level < INFO]),
      [
        ['keepalive', true],
        ['malformed', false],
      ],
    )
  })

  await t.test('edge case 46: what the kernel leaves to us on 4500 and is no IKE is one line in ten seconds', async () => {
    const lines = espalier.daemon.lines.length
    await send(stranger, 4500, ['ff', '00', 'ffff', '0102030405060708', '0102030405060708', '01'])
    await eventually('the first is told of', () => (espalier.daemon.lines.length > lines ? true : undefined))
    await pingBothWays(client, gateway)
    assert.deepEqual(
      espalier.daemon.lines.slice(lines).map((line) => (JSON.parse(line) as { reason: string }).reason),
      ['not-ike'],
    )
  })

  await t.test('edge case 47: 60 octets of an unknown SPI on 4500 are counted by the kernel and never seen by us', async () => {
    await unmoved(async () => {
      await counted(gateway, 'XfrmInNoStates', () => send(stranger, 4500, [`deadbeef${'00'.repeat(56)}`]))
    })
  })

  await t.test('edge case 48: bare ESP to an SA in UDP is counted by the kernel as a mismatch, and moves nothing', async () => {
    await unmoved(async () => {
      await counted(gateway, 'XfrmInStateMismatch', () => send(stranger, null, [unsealedEsp(spi)]))
    })
  })

  await t.test('edge case 29: ESP from another port that is not authentic is no news of a mapping', async () => {
    await unmoved(async () => {
      await counted(gateway, 'XfrmInStateProtoError', () => send(router, 4500, [unsealedEsp(spi)]))
    })
  })

  await t.test('edge case 30: authentic ESP replayed from another address is no news of a mapping', async () => {
    // Neither a keepalive nor IKE, which may come in between.
    const filter = `udp and dst ${GATEWAY} and udp[8:4] = ${spi}`
    const tcpdump = router.start('tcpdump', ['-Z', 'root', '-l', '-n', '-x', '-c', '1', '-i', 'wan', filter])
    await tcpdump.waitFor(/listening on/)
    assert.equal(await client.host.ping('10.20.0.1', client.home), 1)
    await eventually('a packet is captured', () => (tcpdump.running ? undefined : true))
    const packet = tcpdump.lines.flatMap((line) => /^\s+0x[0-9a-f]+:\s+(.*)$/.exec(line)?.[1]?.replaceAll(' ', '') ?? []).join('')
    // Behind the IP header of 20 octets and the UDP header of 8.
    const payload = packet.slice(2 * 28)
    assert.equal(payload.slice(0, 8), spi.toString(16).padStart(8, '0'))
    await unmoved(async () => {
      await counted(gateway, 'XfrmInStateSeqError', () => send(stranger, 4500, [payload]))
    })
  })

  await t.test('and authentic ESP from another port is news', async () => {
    assert.deepEqual(espalier.events('kernel-event'), [])
    await router.forget()
    await client.host.ping('10.20.0.1', client.home)
    assert.match((await espalier.event('kernel-event')).msg, /mapping/)
  })
})

test('edge case 48: ESP in UDP to a bare SA is counted by the kernel as a mismatch, and moves nothing', async (t) => {
  const { gateway, outside, router } = await scene(t)
  const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
  const peer = await Espalier.start(outside.host, { configuration: clientConfiguration(outside, { start: true }) })
  await peer.event('child-established')
  await espalier.event('child-established')
  await gateway.route('10.10.3.0/24', outside.address)
  const spi = await inboundSpi(gateway)
  const lines = espalier.daemon.lines.length
  await counted(gateway, 'XfrmInStateMismatch', () => send(router, 4500, [unsealedEsp(spi)]))
  await pingBothWays(outside, gateway)
  // The route above is news, too, and may be told of now.
  const said = espalier.daemon.lines.slice(lines).filter((line) => !line.includes('"event":"roamed"'))
  assert.deepEqual(said, [])
})

test("edge case 12: the NAT makes an outside 500 of charon's 4500", async (t) => {
  const { router, gateway, inside } = await scene(t)
  const [client] = inside
  await router.nft(`flush chain ip nat postrouting
    add rule ip nat postrouting oifname "wan" udp sport 4500 masquerade to :500
    add rule ip nat postrouting oifname "wan" meta l4proto udp masquerade to :20000-29999`)
  const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
  const charon = await Charon.start(client.host, { configuration: clientConfiguration(client) })
  await charon.initiate('net')
  assert.equal((await espalier.event('ike-established'))['remote'], '192.0.2.1[500]')
  const outbound = (await xfrmStates(gateway)).find((state) => state.destination === '192.0.2.1')
  assert.deepEqual(outbound?.encapsulation, { type: 'espinudp', sourcePort: 4500, destinationPort: 500 })
  await pingBothWays(client, gateway)
})
