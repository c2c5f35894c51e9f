/**
 * Tunnels between espalier and OpenIKED, a daemon that shares neither code nor habits with strongSwan's.
 *
 * On Linux it programs the kernel by PF_KEY, which knows no AEAD and cuts SHA-256 to 96 bits; it offers AES-GCM for ESP all
 * the same unless told otherwise. Hence proposals that name all of it.
 */
import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'

import { Capture } from './support/capture.ts'
import { Espalier, type LogLine } from './support/espalier.ts'
import type { Host, Router } from './support/network.ts'
import { OpenIked } from './support/openiked.ts'
import { eventually } from './support/process.ts'
import {
  assertKernelEmpty,
  type Client,
  clientConfiguration,
  GATEWAY,
  gatewayConfiguration,
  OFFICE,
  pingBothWays,
  scene,
} from './support/scene.ts'
import { transferBothWays } from './support/transfer.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const SECRET = 'between two families'
const ESP_IN_UDP = /UDP-encap: ESP/
const BARE_ESP = /^\S+ IP \S+ > \S+: ESP\(/
const ECHO = /ICMP,? echo/
const PORT_500 = /\.500 > |> \S+\.500:/
const PORT_4500 = /\.4500 > |> \S+\.4500:/
/** Three echoes each way, with their answers. */
const ECHOES = 12

/** What espalier finds out about NATs. */
const NO_NAT = { supported: true, here: false, there: false, faked: false }
const NAT_HERE = { ...NO_NAT, here: true }
const NAT_THERE = { ...NO_NAT, there: true }

describe('a NAT between OpenIKED and espalier', () => {
  test('OpenIKED behind the NAT, espalier as the gateway', async (t) => {
    await tunnel(
      t,
      { client: 'OpenIKED', behindNat: true, nat: NAT_THERE, esp: 'in UDP' },
      async ({ router, gateway, packets }) => {
        assert.ok(packets.every((line) => !ECHO.test(line)))
        // The gateway's kernel sends to the very port that the router gave to the client's flow to 4500.
        const mapping = (await router.mappings()).find((entry) => entry.remote.port === 4500)
        const outbound = (await xfrmStates(gateway)).find((state) => state.destination === '192.0.2.1')
        assert.deepEqual(outbound?.encapsulation, {
          type: 'espinudp',
          sourcePort: 4500,
          destinationPort: mapping?.outside.port,
        })
      },
    )
  })

  test('espalier behind the NAT, OpenIKED as the gateway, which answers with more traffic than was asked for', async (t) => {
    await tunnel(t, { client: 'espalier', behindNat: true, nat: NAT_HERE, esp: 'in UDP' }, async ({ client, child, packets }) => {
      assert.ok(packets.every((line) => !ECHO.test(line)))
      assert.deepEqual(child['localSelectors'], [client.homeNetwork])
    })
  })
})

describe('no NAT between OpenIKED and espalier', () => {
  test('OpenIKED initiates and stays on port 500: it has no MOBIKE as an initiator', async (t) => {
    await tunnel(t, { client: 'OpenIKED', nat: NO_NAT, esp: 'bare' }, ({ packets }) => {
      assert.ok(packets.every((line) => !PORT_4500.test(line)))
    })
  })

  test('espalier initiates and floats, OpenIKED follows it to port 4500, ESP stays bare', async (t) => {
    await tunnel(t, { client: 'espalier', nat: NO_NAT, esp: 'bare' }, ({ established }) => {
      assert.equal(established['remote'], `${GATEWAY}[4500]`)
    })
  })
})

// `iked -t` spoils both digests, by four random bytes each: either side seems to be behind a NAT.
describe('edge case 10: encapsulation forced where there is no NAT', () => {
  const bothBehind = { ...NO_NAT, here: true, there: true }
  const faked = { ...NO_NAT, faked: true }

  test('OpenIKED forces it and initiates, on port 4500 from the start: both flags are set, the tunnel works', async (t) => {
    await tunnel(t, { client: 'OpenIKED', ikedArgs: ['-t'], nat: bothBehind, esp: 'in UDP' }, ({ packets }) => {
      assert.ok(packets.every((line) => !PORT_500.test(line)))
    })
  })

  test('OpenIKED forces it and answers, on port 4500 only: both flags are set, the tunnel works', async (t) => {
    const ike = 'remote_port = 4500'
    await tunnel(t, { client: 'espalier', ikedArgs: ['-t'], ike, nat: bothBehind, esp: 'in UDP' })
  })

  test('espalier forces it by encap = yes and initiates: OpenIKED believes in the NAT, the tunnel works', async (t) => {
    await tunnel(t, { client: 'espalier', ike: 'encap = yes', nat: faked, esp: 'in UDP' })
  })

  test('espalier forces it by encap = yes and answers: OpenIKED believes in the NAT, the tunnel works', async (t) => {
    await tunnel(t, { client: 'OpenIKED', ike: 'encap = yes', nat: faked, esp: 'in UDP' })
  })
})

interface Case {
  /** Which of them initiates; the other one is the gateway. */
  readonly client: 'espalier' | 'OpenIKED'
  readonly behindNat?: true
  /** More lines of espalier's connection. */
  readonly ike?: string
  readonly ikedArgs?: readonly string[]
  /** As espalier finds it. */
  readonly nat: typeof NO_NAT
  readonly esp: 'in UDP' | 'bare'
}

interface Standing {
  readonly router: Router
  readonly gateway: Host
  readonly client: Client
  /** Espalier's own words. */
  readonly established: LogLine
  readonly child: Readonly<Record<string, unknown>>
  /** Seen on the public side from the first message to the last echo: on the router, or on the gateway without NAT. */
  readonly packets: readonly string[]
}

/** Brings a tunnel up, sends echoes and a megabyte both ways, and takes it down from the client's side. */
async function tunnel(t: TestContext, what: Case, look: (standing: Standing) => Promise<void> | void = () => {}): Promise<void> {
  const { router, gateway, inside, outside } = await scene(t)
  const client = what.behindNat === true ? inside[0] : outside
  if (client === outside) await gateway.run('ip', ['route', 'replace', client.homeNetwork, 'via', client.address])
  const wire = await Capture.start(client === outside ? gateway : router, 'wan', 'ip')
  const { espalier, iked } = await startBoth(what, gateway, client)

  const established = await espalier.event('ike-established')
  assert.deepEqual(established['nat'], what.nat)
  const child = (await espalier.event('child-established'))['child'] as Readonly<Record<string, unknown>>
  await iked.daemon.waitFor(/-> ESTABLISHED/)
  await pingBothWays(client, gateway)
  const packets = await wire.stop()
  const count = (pattern: RegExp): number => packets.filter((line) => pattern.test(line)).length
  const expected = what.esp === 'in UDP' ? { inUdp: ECHOES, bare: 0 } : { inUdp: 0, bare: ECHOES }
  assert.deepEqual({ inUdp: count(ESP_IN_UDP), bare: count(BARE_ESP) }, expected, packets.join('\n'))
  await assertOneTunnel(client.host, gateway, what.esp)
  await look({ router, gateway, client, established, child, packets })
  await transferBothWays({ from: client.host, source: client.home, to: gateway, destination: OFFICE })

  await (what.client === 'espalier' ? espalier.stop() : iked.closeAll())
  await espalier.event('ike-closed')
  // Espalier says so when nothing of it is left; OpenIKED takes its policies out when it comes to it.
  await assertKernelEmpty(what.client === 'espalier' ? client.host : gateway)
  const theirs = what.client === 'espalier' ? gateway : client.host
  await eventually('OpenIKED lets go', async () => {
    const left = [...(await xfrmStates(theirs)), ...(await xfrmPolicies(theirs))]
    return left.length === 0 ? true : undefined
  })
}

async function startBoth(what: Case, gateway: Host, client: Client): Promise<{ espalier: Espalier; iked: OpenIked }> {
  const text = {
    secret: SECRET,
    child: 'esp_proposals = aes256-sha512',
    ike: `proposals = aes128-sha256-x25519\n${what.ike ?? ''}`,
  }
  const args = what.ikedArgs ?? []
  if (what.client === 'espalier') {
    const iked = await OpenIked.start(gateway, { configuration: ikedGateway(), args })
    const configuration = clientConfiguration(client, { ...text, start: true })
    return { iked, espalier: await Espalier.start(client.host, { configuration }) }
  }
  const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration(text) })
  return { espalier, iked: await OpenIked.start(client.host, { configuration: ikedClient(client), args }) }
}

const IKED_PROPOSALS = `ikesa enc aes-128 prf hmac-sha2-256 auth hmac-sha2-256 group curve25519 \\
    childsa enc aes-256 auth hmac-sha2-512 group none noesn`

function ikedClient(client: Client): string {
  return `ikev2 "net" active esp from ${client.homeNetwork} to 10.20.0.0/24 local ${client.address} peer ${GATEWAY} \\
    ${IKED_PROPOSALS} \\
    srcid ${client.identity} dstid gateway.example psk "${SECRET}"
`
}

function ikedGateway(): string {
  return `ikev2 "clients" passive esp from 10.20.0.0/24 to 10.10.0.0/16 local ${GATEWAY} peer any \\
    ${IKED_PROPOSALS} \\
    srcid gateway.example psk "${SECRET}"
`
}

/** Two states in either kernel, the same SPIs in both, all wrapped alike, and every echo went through them. */
async function assertOneTunnel(one: Host, other: Host, esp: Case['esp']): Promise<void> {
  const [here, there] = await Promise.all([xfrmStates(one), xfrmStates(other)])
  const spis = (states: typeof here): number[] => states.map((state) => state.spi).toSorted((a, b) => a - b)
  assert.equal(here.length, 2, here.map((state) => state.text).join('\n'))
  assert.deepEqual(spis(here), spis(there))
  for (const state of [...here, ...there]) {
    assert.equal(state.encapsulation?.type ?? 'none', esp === 'in UDP' ? 'espinudp' : 'none', state.text)
    assert.equal(state.packets, ECHOES / 2, state.text)
  }
}
