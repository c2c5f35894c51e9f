/**
 * Two clients of one private network behind two NATs, in a real kernel: the second is refused, or told apart by a unique
 * mark, where that is configured; and interface IDs with an XFRM interface.
 *
 *   one 10.1.0.2 ── router-1 192.0.2.1 ──┐
 *                                        ├── 192.0.2.2 gateway ── office 10.20.0.1
 *   two 10.1.0.2 ── router-2 192.0.2.3 ──┘
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { type Host, Lab } from './support/network.ts'
import { eventually } from './support/process.ts'
import { assertKernelEmpty, GATEWAY, OFFICE } from './support/scene.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const HOME = '10.1.0.2'
const NETWORK = '10.1.0.0/24'

function configuration(own: string, remote: string, child: string): string {
  return `
connections {
  way {
    version = 2
    ${remote}
    local {
      auth = psk
      id = ${own}
    }
    remote {
      auth = psk
    }
    children {
      net {
        ${child}
      }
    }
  }
}
secrets {
  ike {
    secret = "the gardener keeps the key"
  }
}
`
}

const ofClient = (name: string): string =>
  configuration(name, `remote_addrs = ${GATEWAY}`, `local_ts = ${NETWORK}\n remote_ts = 10.20.0.0/24`)
const ofGateway = (keys: string): string =>
  configuration('gateway.example', `local_addrs = ${GATEWAY}`, `local_ts = 10.20.0.0/24\n remote_ts = ${NETWORK}\n ${keys}`)

/** What a firewall is told where answers are to go back by the mark that they came with. */
const FIREWALL = `
table inet firewall {
  chain arriving { type filter hook input priority mangle; meta mark != 0 ct mark set meta mark; }
  chain leaving { type route hook output priority mangle; ct mark != 0 meta mark set ct mark; }
}`

async function place(t: TestContext): Promise<{ readonly gateway: Host; readonly clients: readonly [Host, Host] }> {
  const lab = new Lab(t)
  const gateway = await lab.host('gateway')
  const clients = [await lab.host('client-1'), await lab.host('client-2')] as const
  const routers = [await lab.router('router-1'), await lab.router('router-2')] as const
  for (const [i, router] of routers.entries()) {
    await lab.cable(router, 'lan', '10.1.0.1/24', clients[i]!, 'lan', `${HOME}/24`)
    await clients[i]!.route('default', '10.1.0.1')
  }
  await lab.network('wan', [
    [routers[0], '192.0.2.1/24'],
    [routers[1], '192.0.2.3/24'],
    [gateway, `${GATEWAY}/24`],
  ])
  for (const router of routers) await router.masquerade('wan', { randomPorts: true })
  await gateway.stub('office', `${OFFICE}/24`)
  await gateway.route(NETWORK, '192.0.2.1')
  return { gateway, clients }
}

test('edge case 21: without marks the second of two clients with the same traffic is refused, both logs say why, the first is unharmed', async (t) => {
  const { gateway, clients } = await place(t)
  const server = await Espalier.start(gateway, { configuration: ofGateway('') })
  const espalier = await Espalier.start(clients[0], { configuration: ofClient('one.example') })
  const charon = await Charon.start(clients[1], { configuration: ofClient('two.example') })
  for (const [first, second, name] of [
    [espalier, charon, 'one'],
    [charon, espalier, 'two'],
  ] as const) {
    const refused = server.events('child-failed').length
    await first.swanctl('--initiate', '--child', 'net', '--timeout', '60')
    await assert.rejects(second.swanctl('--initiate', '--child', 'net', '--timeout', '60'))
    const { msg } = await eventually('the gateway says why', () => server.events('child-failed')[refused])
    assert.match(msg, new RegExp(`unacceptable: they are what ${name}\\.example has already`))
    const told = /received TS_UNACCEPTABLE notify, no CHILD_SA built/
    await (second instanceof Charon ? second.waitForLog(told) : second.daemon.waitFor(told))
    assert.equal(await first.host.ping(OFFICE, HOME, 3), 3)
    assert.equal(await gateway.ping(HOME, OFFICE, 3), 3)
    for (const daemon of [first, second]) await daemon.swanctl('--terminate', '--ike', 'way')
    await eventually('nothing is left', async () => ((await xfrmStates(gateway)).length === 0 ? true : undefined))
  }
})

test('control: charon as the gateway of two clients with the same traffic', async (t) => {
  const { gateway, clients } = await place(t)
  await Charon.start(gateway, { configuration: ofGateway('') })
  const both = [
    await Charon.start(clients[0], { configuration: ofClient('one.example') }),
    await Charon.start(clients[1], { configuration: ofClient('two.example') }),
  ]
  const isIn: boolean[] = []
  for (const daemon of both)
    isIn.push(
      await daemon.initiate('net', 20).then(
        () => true,
        () => false,
      ),
    )
  const answered: number[] = []
  for (const { host } of both) answered.push(await host.ping(OFFICE, HOME, 3))
  const [first, second] = isIn.map((is, i) => `${is ? 'gets in' : 'is refused'}, ${answered[i]} of its 3 echoes answered`)
  t.diagnostic(`charon: the first ${first}; the second ${second}`)
})

test('edge case 21: two clients with the same traffic have a mark each, and an XFRM interface has its own policies', async (t) => {
  const { gateway, clients } = await place(t)
  await gateway.run('nft', ['-f', '-'], { input: FIREWALL })

  const server = await Espalier.start(gateway, {
    configuration: ofGateway('mark_in = %unique\n mark_out = %unique\n set_mark_in = %same'),
  })
  const [first, second] = await Promise.all([
    Espalier.start(clients[0], { configuration: ofClient('one.example') }),
    Charon.start(clients[1], { configuration: ofClient('two.example') }),
  ])
  for (const daemon of [first, second]) await daemon.swanctl('--initiate', '--child', 'net', '--timeout', '60')

  /** Packets that a client has got out of its tunnel, by SPI: what has been rekeyed may go at any time, with what it has counted. */
  const received = async (client: Host): Promise<ReadonlyMap<number, number>> =>
    new Map((await xfrmStates(client)).flatMap(({ destination, spi, packets }) => (destination === HOME ? [[spi, packets]] : [])))
  /** Echoes from the gateway with a mark reach the client whose mark it is, and are answered. */
  const reached = async (mark: number): Promise<readonly number[]> => {
    const before = await Promise.all(clients.map(received))
    const { stdout } = await gateway.tryRun('ping', ['-c', '2', '-i', '0.2', '-W', '2', '-m', `${mark}`, '-I', OFFICE, HOME])
    assert.match(stdout, / 2 received/)
    const after = await Promise.all(clients.map(received))
    return after.map((now, i) => [...now].reduce((sum, [spi, packets]) => sum + packets - (before[i]!.get(spi) ?? 0), 0))
  }

  await t.test('the kernel has the marks, and so has list-sas', async () => {
    const listed = await server.swanctl('--list-sas', '--raw')
    for (const [direction, mark] of ['in', 'out'].flatMap((way) => ['00000001', '00000002'].map((one) => [way, one] as const)))
      assert.ok(listed.includes(`mark-${direction}=${mark}`), `mark-${direction}=${mark}`)
    const marks = (texts: readonly string[]): string[] => texts.flatMap((text) => /mark (0x\S+)/.exec(text)?.[1] ?? []).toSorted()
    const each = ['0x1/0xffffffff', '0x2/0xffffffff']
    const policies = await xfrmPolicies(gateway)
    for (const way of ['in', 'fwd', 'out'])
      assert.deepEqual(marks(policies.filter(({ direction }) => direction === way).map(({ text }) => text)), each, way)
    const states = await xfrmStates(gateway)
    assert.deepEqual(
      marks(states.filter(({ source }) => source === GATEWAY).map(({ text }) => text.replaceAll(/output-mark.*/g, ''))),
      each,
    )
    assert.equal(new Set(states.map(({ reqid }) => reqid)).size, 2)
  })

  await t.test('each is reached by its mark, and heard, and goes on being so with new keys from either side', async () => {
    assert.deepEqual(await reached(1), [2, 0])
    assert.deepEqual(await reached(2), [0, 2])
    for (const client of clients) assert.equal(await client.ping(OFFICE, HOME, 2), 2)
    // The server rekeys that of either client.
    for (const [daemon, count] of [
      [server, 2],
      [second, 1],
    ] as const) {
      const rekeyed = server.events('child-rekeyed').length
      await daemon.swanctl('--rekey', '--child', 'net')
      await eventually('all are rekeyed', () => (server.events('child-rekeyed').length >= rekeyed + count ? true : undefined))
    }
    assert.deepEqual(await reached(2), [0, 2])
    assert.deepEqual(await reached(1), [2, 0])
  })

  await t.test('with interface IDs what goes through the XFRM interface is protected, and nothing else is', async () => {
    for (const daemon of [first, second]) await daemon.swanctl('--terminate', '--ike', 'way')
    await eventually('both are gone', async () => ((await xfrmStates(gateway)).length === 0 ? true : undefined))
    await server.configure(ofGateway('if_id_in = 42\n if_id_out = 42'))
    const reloads = server.events('reloaded').length
    server.daemon.signal('SIGHUP')
    await eventually('it has read that', () => (server.events('reloaded').length > reloads ? true : undefined))
    await gateway.run('ip', ['link', 'add', 'ipsec0', 'type', 'xfrm', 'dev', 'wan', 'if_id', '42'])
    await gateway.run('ip', ['link', 'set', 'ipsec0', 'up'])
    await gateway.run('ip', ['route', 'replace', NETWORK, 'dev', 'ipsec0'])
    await first.swanctl('--initiate', '--child', 'net', '--timeout', '60')
    assert.match(await server.swanctl('--list-sas', '--raw'), /if-id-in=0000002a if-id-out=0000002a/)
    assert.equal(await gateway.ping(HOME, OFFICE, 2), 2)
    assert.equal(await clients[0].ping(OFFICE, HOME, 2), 2)
    for (const { packets, text } of await xfrmStates(gateway)) assert.equal(packets, 4, text)
  })

  await server.stop()
  await assertKernelEmpty(gateway)
})
