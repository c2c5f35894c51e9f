/**
 * The scene of most tunnel tests: a private LAN behind a masquerading router, a gateway on the public side with an
 * office behind it, and clients on either side.
 *
 *   client-a 10.1.0.2 ─┐
 *                      ├─ router 192.0.2.1 ── 192.0.2.2 gateway ── office 10.20.0.1
 *   client-b 10.1.0.3 ─┘                       └─ 192.0.2.3 public
 *
 * Each client has a network of its own to be reached through the tunnel: 10.10.<n>.0/24.
 */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

import { type Host, Lab, type Router } from './network.ts'
import { eventually } from './process.ts'
import { transferBothWays } from './transfer.ts'
import { xfrmPolicies, xfrmStates } from './xfrm.ts'

export const GATEWAY = '192.0.2.2'
export const OFFICE = '10.20.0.1'

/** A host that brings up a tunnel to the gateway. */
export interface Client {
  readonly host: Host
  readonly identity: string
  /** Its own address, as it sees it. */
  readonly address: string
  /** Address within its network, the source of what it sends through the tunnel. */
  readonly home: string
  readonly homeNetwork: string
}

export interface Scene {
  readonly lab: Lab
  readonly router: Router
  readonly gateway: Host
  readonly inside: readonly [Client, Client]
  readonly outside: Client
}

export async function scene(t: TestContext): Promise<Scene> {
  const lab = new Lab(t)
  const router = await lab.router('router')
  const gateway = await lab.host('gateway')
  const client = async (name: string, number: number, address: string): Promise<Client> => {
    const host = await lab.host(name)
    const home = `10.10.${number}.1`
    await host.stub('home', `${home}/24`)
    return { host, identity: `${name}.example`, address, home, homeNetwork: `10.10.${number}.0/24` }
  }
  const a = await client('client-a', 1, '10.1.0.2')
  const b = await client('client-b', 2, '10.1.0.3')
  const outside = await client('public', 3, '192.0.2.3')
  await lab.network('lan', [
    [router, '10.1.0.1/24'],
    [a.host, '10.1.0.2/24'],
    [b.host, '10.1.0.3/24'],
  ])
  await lab.network('wan', [
    [router, '192.0.2.1/24'],
    [gateway, `${GATEWAY}/24`],
    [outside.host, '192.0.2.3/24'],
  ])
  for (const { host } of [a, b]) await host.route('default', '10.1.0.1')
  await outside.host.route('10.20.0.0/24', GATEWAY)
  // What comes out of a tunnel must find its way back into it: the kernel looks the route up before the policy.
  await gateway.route('10.10.0.0/16', '192.0.2.1')
  await gateway.stub('office', `${OFFICE}/24`)
  // Ports that tcpdump knows for no other protocol, or it would not see the ESP in them.
  await router.masquerade('wan', { randomPorts: true, udpPorts: '20000-29999' })
  return { lab, router, gateway, inside: [a, b], outside }
}

export interface ConnectionText {
  /** Lines of the connection: `mobike = no`, `proposals = ...`. */
  readonly ike?: string
  /** Lines of the child. */
  readonly child?: string
  readonly secret?: string
}

const SECRET = 'the gardener keeps the key'

/** swanctl.conf of a client. `start` begins at once; otherwise someone has to ask for child `net`. */
export function clientConfiguration(client: Client, text: ConnectionText & { readonly start?: boolean } = {}): string {
  return `
connections {
  gateway {
    version = 2
    remote_addrs = ${GATEWAY}
    ${text.ike ?? ''}
    local {
      auth = psk
      id = ${client.identity}
    }
    remote {
      auth = psk
      id = gateway.example
    }
    children {
      net {
        local_ts = ${client.homeNetwork}
        remote_ts = 10.20.0.0/24
        ${text.start === true ? 'start_action = start' : ''}
        ${text.child ?? ''}
      }
    }
  }
}
secrets {
  ike-gateway {
    id-gateway = gateway.example
    secret = "${text.secret ?? SECRET}"
  }
}
`
}

/** swanctl.conf of the gateway for any client of the scene. */
export function gatewayConfiguration(text: ConnectionText = {}): string {
  return `
connections {
  clients {
    version = 2
    local_addrs = ${GATEWAY}
    ${text.ike ?? ''}
    local {
      auth = psk
      id = gateway.example
    }
    remote {
      auth = psk
    }
    children {
      net {
        local_ts = 10.20.0.0/24
        remote_ts = 10.10.0.0/16
        ${text.child ?? ''}
      }
    }
  }
}
secrets {
  ike-clients {
    id-gateway = gateway.example
    secret = "${text.secret ?? SECRET}"
  }
}
`
}

/** Echoes through the tunnel from both ends; every one must be answered. */
export async function pingBothWays(client: Client, gateway: Host): Promise<void> {
  assert.equal(await client.host.ping(OFFICE, client.home, 3), 3, `${client.identity} pings the office`)
  assert.equal(await gateway.ping(client.home, OFFICE, 3), 3, `the office pings ${client.identity}`)
}

/** Echoes both ways, then a megabyte each way by TCP, begun by the client. */
export async function carryBothWays(client: Client, gateway: Host): Promise<void> {
  await pingBothWays(client, gateway)
  await transferBothWays({ from: client.host, source: client.home, to: gateway, destination: OFFICE })
}

/**
 * Waits until nothing is left in this host's kernel: of a daemon that goes on, which takes out one thing after the other
 * when its peer says that it leaves.
 */
export async function becomesEmpty(host: Host, timeoutMs?: number): Promise<void> {
  const isEmpty = async (): Promise<true | undefined> =>
    (await xfrmStates(host)).length + (await xfrmPolicies(host)).length === 0 ? true : undefined
  // Then it is said what there is.
  await eventually('', isEmpty, timeoutMs).catch(() => undefined)
  await assertKernelEmpty(host)
}

/** Nothing of ours, or of anybody's, is left in this host's kernel. */
export async function assertKernelEmpty(host: Host): Promise<void> {
  const states = await xfrmStates(host)
  const policies = await xfrmPolicies(host)
  assert.deepEqual(
    states.map((state) => state.text),
    [],
    `states left on ${host.name}`,
  )
  assert.deepEqual(
    policies.map((policy) => policy.text),
    [],
    `policies left on ${host.name}`,
  )
}
