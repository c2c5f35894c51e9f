/**
 * Transport mode behind NATs (RFC 7296 2.23.1) in real kernels, with charon as the peer; and several clients behind one
 * NAT that all have UDP port 1701 at both ends, as Windows' L2TP does: each is answered, without configuration.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { type Host, Lab, type Router } from './support/network.ts'
import { eventually } from './support/process.ts'
import { assertKernelEmpty, GATEWAY } from './support/scene.ts'
import { countWire, takeWire } from './support/wire.ts'
import { xfrmStates } from './support/xfrm.ts'

const SECRET = 'the gardener keeps the key'

interface Child {
  readonly name: string
  readonly local: string
  readonly remote: string
}

const ANYTHING: Child = { name: 'net', local: 'dynamic', remote: 'dynamic' }

/** swanctl.conf. `peer` null: whoever comes. */
function configuration(
  own: string,
  peer: { readonly id: string; readonly address: string } | null,
  children: readonly Child[],
): string {
  return `
connections {
  way {
    version = 2
    remote_addrs = ${peer?.address ?? '%any'}
    local {
      auth = psk
      id = ${own}
    }
    remote {
      auth = psk
      ${peer === null ? '' : `id = ${peer.id}`}
    }
    children {
      ${children.map(({ name, local, remote }) => `${name} {\n mode = transport\n local_ts = ${local}\n remote_ts = ${remote}\n }`).join('\n')}
    }
  }
}
secrets {
  ike {
    secret = "${SECRET}"
  }
}
`
}

// -- either or both behind NATs ------------------------------------------------------------------------------------

const END = {
  charon: { inside: '10.1.0.2', outside: '192.0.2.1' },
  espalier: { inside: '10.2.0.2', outside: '192.0.2.2' },
} as const
type End = keyof typeof END
const ENDS = ['charon', 'espalier'] as const

const other = (end: End): End => (end === 'charon' ? 'espalier' : 'charon')

/** Whoever is not `behind` a NAT has its outside address itself. */
async function hostsOf(lab: Lab, behind: readonly End[]): Promise<Readonly<Record<End, Host>>> {
  const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  const isBehind = (end: End): boolean => behind.includes(end)
  const router = async (end: End): Promise<Router | null> => (isBehind(end) ? await lab.router(`router-${end[0]}`) : null)
  const routers = { charon: await router('charon'), espalier: await router('espalier') }
  const wire = (end: End): [Host, string, string] => [
    routers[end] ?? hosts[end],
    routers[end] === null ? 'lan' : 'wan',
    `${END[end].outside}/24`,
  ]
  await lab.cable(...wire('charon'), ...wire('espalier'))
  for (const end of ENDS) {
    const [between, host, { inside }] = [routers[end], hosts[end], END[end]]
    if (between !== null) {
      await lab.cable(between, 'lan', `${inside.replace(/2$/, '1')}/24`, host, 'lan', `${inside}/24`)
      await host.route('default', inside.replace(/2$/, '1'))
      await between.masquerade('wan', { randomPorts: true })
      for (const port of [500, 4500]) await between.forwardPort('wan', port, { address: inside, port })
    }
    await countWire(host, 'lan')
  }
  return hosts
}

for (const [what, behind, Other] of [
  ['both ends behind NATs', ENDS, Espalier],
  ['charon behind a NAT, espalier not', ['charon'], Espalier],
  ['espalier behind a NAT, charon not', ['espalier'], Espalier],
  ['both ends behind NATs, control: charon in the place of espalier', ENDS, Charon],
] as const) {
  test(`transport mode with ${what}: whoever begins and whoever rekeys`, async (t) => {
    const lab = new Lab(t)
    const hosts = await hostsOf(lab, behind)
    const text = (end: End): string =>
      configuration(`${end}.example`, { id: `${other(end)}.example`, address: END[other(end)].outside }, [ANYTHING])
    const [charon, espalier] = await Promise.all([
      Charon.start(hosts.charon, { configuration: text('charon') }),
      Other.start(hosts.espalier, { configuration: text('espalier') }),
    ])
    const daemons = { charon, espalier }

    /** Each knows the other by its outside address, and routers answer nobody who is not protected. */
    const carries = async (): Promise<void> => {
      for (const end of ENDS) {
        assert.equal(await hosts[end].ping(END[other(end)].outside, undefined, 2), 2, `${end} pings the other`)
        await speaks(hosts[end], hosts[other(end)], END[other(end)].outside)
      }
      for (const end of ENDS) {
        const { clear, bareEsp, udpEsp } = await takeWire(hosts[end])
        assert.deepEqual({ clear: clear.packets, bareEsp: bareEsp.packets }, { clear: 0, bareEsp: 0 }, `what ${end} sends`)
        assert.ok(udpEsp.packets > 4, `${end} sends ESP in UDP`)
        for (const state of await xfrmStates(hosts[end])) assert.equal(state.mode, 'transport', state.text)
      }
    }

    for (const initiator of ENDS) {
      await t.test(`${initiator} begins`, async () => {
        await daemons[initiator].swanctl('--initiate', '--child', 'net', '--timeout', '60')
        await carries()
        // Where one of them is behind a NAT it is the one who was called that rekeys.
        for (const end of behind.length === 2 ? ENDS : [other(initiator)]) {
          const spis = async (): Promise<number[]> => (await xfrmStates(hosts[end])).map(({ spi }) => spi)
          const before = await spis()
          await daemons[end].swanctl('--rekey', '--child', 'net')
          await eventually(`${end} has other SPIs`, async () =>
            (await spis()).some((spi) => !before.includes(spi)) ? true : undefined,
          )
          await carries()
        }
        await daemons[initiator].swanctl('--terminate', '--ike', 'way')
        for (const end of ENDS)
          await eventually(`nothing is left at ${end}`, async () =>
            (await xfrmStates(hosts[end])).length === 0 ? true : undefined,
          )
        await Promise.all(ENDS.map((end) => takeWire(hosts[end])))
      })
    }
  })
}

/** A hundred thousand octets each way by TCP: checksums are right although addresses have changed on the way. */
async function speaks(from: Host, to: Host, address: string): Promise<void> {
  const server = to.start('python3', [
    '-c',
    `import socket
s = socket.create_server(('', 7777))
print('ready', flush=True)
c = s.accept()[0]
got = 0
while got < 100000:
    got += len(c.recv(65536))
c.sendall(b'x' * got)
c.close()`,
  ])
  await server.waitFor(/ready/)
  const told = await from.run('python3', [
    '-c',
    `import socket
s = socket.create_connection(('${address}', 7777), 30)
s.sendall(b'x' * 100000)
s.shutdown(socket.SHUT_WR)
got = 0
while True:
    part = s.recv(65536)
    if not part: break
    got += len(part)
print(got)`,
  ])
  assert.equal(told.trim(), '100000')
  await server.stop()
}

// -- several behind one NAT ----------------------------------------------------------------------------------------

const OF_GATEWAY: readonly Child[] = [
  { name: 'l2tp', local: 'dynamic[udp/1701]', remote: 'dynamic[udp/1701]' },
  { name: 'web', local: 'dynamic[tcp/7777]', remote: 'dynamic[tcp]' },
]
const OF_CLIENT = OF_GATEWAY.map(({ name, local, remote }) => ({ name, local: remote, remote: local }))

/** Answers UDP only when all have asked, each with its own words, and then everybody's TCP. */
const SERVER = `
import socket, sys
count = int(sys.argv[1])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('${GATEWAY}', 1701))
tcp = socket.create_server(('${GATEWAY}', 7777))
print('ready', flush=True)
asked = {}
while len(asked) < count:
    words, address = udp.recvfrom(100)
    asked[address] = words
for address, words in asked.items():
    udp.sendto(b'to ' + words, address)
connections = [tcp.accept()[0] for _ in range(count)]
for connection in connections:
    connection.sendall(connection.recv(1) * 100000)
    connection.close()
print('ports', sorted(port for _, port in asked), flush=True)`

const CLIENT = `
import socket, sys
name = sys.argv[1].encode()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('', 1701))
udp.settimeout(60)
udp.sendto(name, ('${GATEWAY}', 1701))
print(udp.recv(100).decode())
tcp = socket.create_connection(('${GATEWAY}', 7777), 60)
tcp.sendall(name)
got = b''
while True:
    part = tcp.recv(65536)
    if not part: break
    got += part
print(len(got), ''.join(sorted(set(got.decode()))))`

test('edge case 22: two transport mode clients behind one NAT, UDP 1701 at both ends, are both answered', async (t) => {
  const lab = new Lab(t)
  const router = await lab.router('router')
  const gateway = await lab.host('gateway')
  const [one, two] = [await lab.host('one'), await lab.host('two')]
  await lab.network('lan', [
    [router, '10.1.0.1/24'],
    [one, '10.1.0.2/24'],
    [two, '10.1.0.3/24'],
  ])
  await lab.cable(router, 'wan', '192.0.2.1/24', gateway, 'wan', `${GATEWAY}/24`)
  for (const host of [one, two]) await host.route('default', '10.1.0.1')
  await router.masquerade('wan', { randomPorts: true })
  await countWire(gateway, 'wan')

  const peer = { id: 'gateway.example', address: GATEWAY }
  const [server, first, second] = await Promise.all([
    Espalier.start(gateway, { configuration: configuration('gateway.example', null, OF_GATEWAY) }),
    Espalier.start(one, { configuration: configuration('one.example', peer, OF_CLIENT) }),
    Charon.start(two, { configuration: configuration('two.example', peer, OF_CLIENT) }),
  ])
  for (const daemon of [first, second])
    for (const { name } of OF_CLIENT) await daemon.swanctl('--initiate', '--child', name, '--timeout', '60')
  const listed = await server.swanctl('--list-sas', '--raw')
  assert.deepEqual(Array.from(listed.matchAll(/mark-in=(\S+)/g), ([, mark]) => mark!).toSorted(), ['45530001', '45530002'])

  const answered = async (...clients: readonly (readonly [Host, string])[]): Promise<string> => {
    const process = gateway.start('python3', ['-c', SERVER, `${clients.length}`])
    await process.waitFor(/ready/)
    const told = await Promise.all(clients.map(([host, name]) => host.run('python3', ['-c', CLIENT, name])))
    for (const [i, [, name]] of clients.entries()) assert.equal(told[i], `to ${name}\n100000 ${name}\n`)
    const ports = await process.waitFor(/^ports/)
    await process.stop()
    const { clear, udpEsp } = await takeWire(gateway)
    assert.equal(clear.packets, 0, 'nothing of it leaves unprotected')
    assert.ok(udpEsp.bytes > 100_000 * clients.length)
    return ports
  }

  // Whoever was there first keeps his port.
  assert.match(await answered([one, 'a'], [two, 'b']), /\[1701, [3-6]\d{4}\]/)

  // After new keys on either side.
  for (const [daemon, count] of [
    [second, 1],
    [server, 2],
  ] as const) {
    const rekeyed = server.events('child-rekeyed').length
    await daemon.swanctl('--rekey', '--child', 'l2tp')
    await eventually('all are rekeyed', () => (server.events('child-rekeyed').length >= rekeyed + count ? true : undefined))
  }
  await answered([one, 'a'], [two, 'b'])

  // The second one is reached without the first, and what has no mark is protected as well.
  await first.swanctl('--terminate', '--ike', 'way')
  await server.event('ike-closed')
  await answered([two, 'b'])

  assert.match(await gateway.run('nft', ['list', 'tables']), /table inet espalier/)
  await server.stop()
  await assertKernelEmpty(gateway)
  assert.doesNotMatch(await gateway.run('nft', ['list', 'tables']), /espalier/)
})
