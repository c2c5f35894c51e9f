/**
 * Ports and NAT policy against charon: a gateway that is reached on one custom port only, ports that the system chooses,
 * ESP forced into UDP by both, and a 1:1 NAT that is told of, refused, or neither.
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo, listedSas, type ListedSas, type Peer } from './support/listed.ts'
import type { Host, Router } from './support/network.ts'
import { eventually } from './support/process.ts'
import {
  becomesEmpty,
  clientConfiguration,
  GATEWAY,
  gatewayConfiguration,
  OFFICE,
  pingBothWays,
  scene,
  type Client,
  type Scene,
} from './support/scene.ts'
import { transferBothWays } from './support/transfer.ts'
import { countWire, takeWire } from './support/wire.ts'
import { xfrmStates } from './support/xfrm.ts'

const PORT = 24_500
const GATEWAY_PORTS = `port = 2500\nport_nat_t = ${PORT}`
/** Who is silent is given up soon: after 9.5 s, so that nobody is who waits for a slow disk. */
const HASTE = 'retransmit_tries = 2\nretransmit_timeout = 2.0\nretransmit_base = 1.5'
/** The gateway's address in the cloud is the router's to give. */
const PUBLIC = '192.0.2.50'

/** A firewall that lets UDP to and from this one port of the gateway through, and nothing else of IKE or ESP. */
async function allowOnly(router: Router, port: number): Promise<void> {
  await router.nft(`
    table ip firewall {
      chain forward {
        type filter hook forward priority -10; policy accept;
        ip daddr ${GATEWAY} udp dport != ${port} drop
        ip saddr ${GATEWAY} udp sport != ${port} drop
        meta l4proto esp drop
      }
    }`)
}

async function emptyKernel(host: Host): Promise<void> {
  await host.run('ip', ['xfrm', 'state', 'flush'])
  await host.run('ip', ['xfrm', 'policy', 'flush'])
}

for (const [role, title] of [
  ['gateway', 'espalier as the gateway of charon'],
  ['client', 'espalier as the client of charon'],
  ['neither', 'control: two charons'],
] as const) {
  test(`edge case 15: one custom port and no other, ${title}: rekeys by both, DPD, reauthentication, back after a loss`, async (t) => {
    const { router, gateway, inside } = await scene(t)
    const [client] = inside
    await allowOnly(router, PORT)
    const [Gateway, Client] = [role === 'gateway' ? Espalier : Charon, role === 'client' ? Espalier : Charon]
    const text = { configuration: gatewayConfiguration({ ike: 'dpd_delay = 2s' }), settings: `${GATEWAY_PORTS}\n${HASTE}` }
    let there: Espalier | Charon = await Gateway.start(gateway, text)
    const here = await Client.start(client.host, {
      configuration: clientConfiguration(client, {
        // charon before 6.0.1 does not leave its port 500 by itself.
        ike: `remote_port = ${PORT}\nlocal_port = 4500\ndpd_delay = 2s\nkeyingtries = 0`,
        child: 'dpd_action = restart',
      }),
      settings: HASTE,
    })
    await here.swanctl('--initiate', '--child', 'net')
    await pingBothWays(client, gateway)

    const names = new Map<Espalier | Charon, string>([
      [here, 'gateway'],
      [there, 'clients'],
    ])
    for (const [daemon, ike] of names) {
      await changes(daemon, 'ike', () => daemon.swanctl('--rekey', '--ike', ike))
      await changes(daemon, 'child', () => daemon.swanctl('--rekey', '--child', 'net'))
      await pingBothWays(client, gateway)
    }
    await changes(here, 'ike', () => here.swanctl('--rekey', '--ike', 'gateway', '--reauth'))
    for (const daemon of [here, there]) await comesTo(daemon, 1, 1)
    await pingBothWays(client, gateway)
    const states = await xfrmStates(gateway)
    for (const { encapsulation, text } of states)
      assert.ok([encapsulation?.sourcePort, encapsulation?.destinationPort].includes(PORT), text)

    await (there instanceof Charon ? there.kill() : there.daemon.stop('SIGKILL'))
    await emptyKernel(gateway)
    there = await Gateway.start(gateway, text)
    await comesTo(there, 1, 1)
    await eventually('the tunnel is back', async () => ((await client.host.ping(OFFICE, client.home)) === 1 ? true : undefined))
    await pingBothWays(client, gateway)
  })
}

/** What the command is about has another one in its place when it is over. */
async function changes(daemon: Peer, kind: keyof ListedSas, command: () => Promise<unknown>): Promise<void> {
  const before = (await listedSas(daemon))[kind]
  await command()
  await eventually(
    `another ${kind} SA in the place of ${before.map(({ name, id }) => `${name} #${id}`).join(' and ')}`,
    async () => {
      const now = (await listedSas(daemon))[kind]
      // What was replaced before is listed for some seconds still.
      return now.length === 1 && before.every(({ id }) => id !== now[0]!.id) ? true : undefined
    },
  )
}

for (const [gatewayKind, clientKind] of [
  ['charon', 'espalier'],
  ['espalier', 'charon'],
  ['charon', 'charon'],
] as const) {
  const title = gatewayKind === clientKind ? 'control: two charons' : `${clientKind} the client of ${gatewayKind}`
  test(`edge case 9: encap = yes of both, and ports of the client's that the system chooses: ESP in UDP, no keepalives; ${title}`, async (t) => {
    const { gateway, outside } = await scene(t)
    await gateway.run('ip', ['route', 'replace', outside.homeNetwork, 'via', outside.address])
    const kinds = { charon: Charon, espalier: Espalier }
    const there = await kinds[gatewayKind].start(gateway, {
      configuration: gatewayConfiguration({ ike: 'encap = yes' }),
      settings: 'keep_alive = 1s',
    })
    for (const host of [gateway, outside.host]) await countWire(host, 'wan')
    const here = await kinds[clientKind].start(outside.host, {
      configuration: clientConfiguration(outside, { ike: 'encap = yes' }),
      settings: 'keep_alive = 1s\nport = 0\nport_nat_t = 0',
    })
    await here.swanctl('--initiate', '--child', 'net')
    await pingBothWays(outside, gateway)
    const [, local] = /local-port=(\d+)/.exec(await here.swanctl('--list-sas', '--raw')) ?? []
    assert.ok(Number(local) > 1023)
    if (here instanceof Espalier) {
      const { port, portNatT, msg } = await here.event('started')
      assert.match(msg, new RegExp(`listens on UDP ports ${String(port)} and ${String(portNatT)}\\b`))
      assert.ok([port, portNatT].every((chosen) => Number(chosen) > 1023) && port !== portNatT)
      assert.equal(Number(local), portNatT)
    }
    assert.match(await there.swanctl('--list-sas'), new RegExp(`remote .* @ ${outside.address}\\[${local}\\]`))
    for (const state of await xfrmStates(gateway)) assert.equal(state.encapsulation?.type, 'espinudp', state.text)
    // Three intervals of silence.
    await new Promise((resolve) => setTimeout(resolve, 3000))
    for (const host of [gateway, outside.host]) {
      const { udpEsp, bareEsp, keepalives, clear } = await takeWire(host)
      // The gateway's port is 4500, so that what they are counted by is right.
      const counts = { udpEsp, bareEsp, keepalives, clear }
      assert.deepEqual(
        Object.values(counts).map(({ packets }) => packets),
        [6, 0, 0, 0],
        `${host.name}: ${JSON.stringify(counts)}`,
      )
    }
  })
}

/** The router gives a client an outside address of its own, for whatever protocol: what clouds do. */
async function oneToOne({ router, inside: [client] }: Scene): Promise<Client> {
  await router.run('ip', ['address', 'add', `${PUBLIC}/24`, 'dev', 'wan'])
  await router.nft(`
    table ip nat {
      chain prerouting { type nat hook prerouting priority dstnat; ip daddr ${PUBLIC} dnat to ${client.address}; }
    }
    insert rule ip nat postrouting oifname "wan" ip saddr ${client.address} snat to ${PUBLIC}
    insert rule ip filter forward ct status dnat accept`)
  return client
}

interface Cloud {
  readonly scene: Scene
  readonly client: Client
  readonly espalier: Espalier
  readonly charon: Charon
}

async function cloud(t: TestContext): Promise<Cloud> {
  const built = await scene(t)
  const client = await oneToOne(built)
  const [espalier, charon] = await Promise.all([
    Espalier.start(client.host, { configuration: '' }),
    Charon.start(built.gateway, { configuration: gatewayConfiguration({ ike: `remote_addrs = ${PUBLIC}` }) }),
  ])
  await countWire(built.gateway, 'wan')
  return { scene: built, client, espalier, charon }
}

test('edge case 60: behind a 1:1 NAT against charon: with the public address told, refused, and neither', async (t) => {
  const { scene, client, espalier, charon } = await cloud(t)
  const { gateway } = scene
  /** By Debian's swanctl, which does not know these keys, and passes them on. */
  const load = async (ike: string): Promise<void> => {
    await espalier.configure(clientConfiguration(client, { ike }))
    await espalier.swanctl('--load-all', '--noprompt')
  }
  const since = async (): Promise<() => Promise<string>> => {
    const before = (await charon.log()).length
    return async () => (await charon.log()).slice(before)
  }
  const initiate = {
    espalier: () => espalier.swanctl('--initiate', '--child', 'net'),
    charon: () => charon.initiate('net', 20),
  }

  await t.test('told: no NAT to either side, ESP without UDP, whoever initiates', async () => {
    await load(`public_addrs = ${PUBLIC}, 2001:db8::50\nnat = refuse`)
    for (const initiator of ['espalier', 'charon'] as const) {
      const said = await since()
      await takeWire(gateway)
      await initiate[initiator]()
      await pingBothWays(client, gateway)
      await transferBothWays({ from: client.host, source: client.home, to: gateway, destination: OFFICE })
      assert.doesNotMatch(await said(), /behind NAT|faking NAT/)
      const { bareEsp, udpEsp, keepalives } = await takeWire(gateway)
      assert.ok(bareEsp.packets > 6)
      assert.deepEqual([udpEsp.packets, keepalives.packets], [0, 0])
      const ends = async (host: Host): Promise<string[]> => (await xfrmStates(host)).map((state) => state.destination).toSorted()
      assert.deepEqual(await ends(client.host), ['10.1.0.2', GATEWAY])
      assert.deepEqual(await ends(gateway), [GATEWAY, PUBLIC])
      await espalier.swanctl('--terminate', '--ike', 'gateway')
      await comesTo(charon, 0, 0)
    }
  })

  await t.test('refused and not told: no IKE_SA, and the reason in both logs, whoever initiates', async () => {
    await load('nat = refuse')
    for (const initiator of ['espalier', 'charon'] as const) {
      const said = await since()
      const before = espalier.events('ike-failed').length
      await assert.rejects(initiate[initiator]())
      await eventually('espalier says why', () => espalier.events('ike-failed')[before])
      assert.match(
        espalier.events('ike-failed')[before]!.msg,
        /unexpected NAT detected, which connection gateway refuses \(nat = refuse\): local host is behind NAT/,
      )
      const theirs = initiator === 'charon' ? /received UNEXPECTED_NAT_DETECTED notify error/ : /N\(UNEXPECT_NAT\)|UNEXPECTED_NAT/
      await eventually('charon says why', async () => (theirs.test(await said()) ? true : undefined))
      await comesTo(charon, 0, 0)
      for (const host of [client.host, gateway]) await becomesEmpty(host)
    }
  })

  await t.test('neither: a NAT as any other, ESP in UDP', async () => {
    await load('')
    const said = await since()
    await initiate.espalier()
    await pingBothWays(client, gateway)
    assert.match(await said(), /remote host is behind NAT/)
    for (const state of await xfrmStates(gateway)) assert.equal(state.encapsulation?.type, 'espinudp', state.text)
  })
})
