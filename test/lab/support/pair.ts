/**
 * Two gateways that stay up while many connections are tried between them: charon and espalier, either of which may
 * begin. An arrangement is built once; a case only reloads both configurations, so that it costs seconds, not a minute.
 *
 *   direct   charon 192.0.2.1 ──── 192.0.2.2 espalier                 (and 2001:db8::1, ::2)
 *   nats     charon 10.1.0.2 ─ router 192.0.2.1 ──── 192.0.2.2 router ─ 10.2.0.2 espalier
 *
 * Behind charon are 10.10.1.0/24 and fd00:10::/64, behind espalier 10.20.0.0/24 and fd00:20::/64. Both routers translate
 * what leaves and forward ports 500 and 4500.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'

import { Charon } from './charon.ts'
import { Espalier, type LogLine } from './espalier.ts'
import { type Host, Lab } from './network.ts'
import { eventually } from './process.ts'
import { TRANSFER_BYTES, transferBothWays } from './transfer.ts'
import { type XfrmState, xfrmPolicies, xfrmStates } from './xfrm.ts'

export type Peer = 'charon' | 'espalier'
export type Role = 'initiator' | 'responder'
export type Arrangement = 'direct' | 'nats'

export const PEERS: readonly Peer[] = ['charon', 'espalier']

/** What one side is configured with beside the defaults. */
export interface SideText {
  readonly proposals?: string
  readonly esp?: string
  readonly remoteTs?: string
  readonly localTs?: string
  /** More lines of the connection, `encap = yes`. */
  readonly ike?: string
}

export interface Seen {
  /** Somewhere in charon's log since the case began. */
  readonly charon?: readonly RegExp[]
  /** Among espalier's log lines (JSON) since the case began. */
  readonly espalier?: readonly RegExp[]
}

/** One connection, tried once by every initiator. */
export interface Case extends SideText {
  readonly name: string
  /** Both, one after the other, unless told. */
  readonly initiators?: readonly Peer[]
  /** What only one side has. */
  readonly initiator?: SideText
  readonly responder?: SideText
  /** IP version between the gateways, and those of what goes through the tunnel; 4 unless told. */
  readonly outside?: 4 | 6
  readonly inside?: readonly (4 | 6)[]
  readonly mode?: 'tunnel' | 'transport'
  /** ESP in UDP; as the arrangement has it unless told. */
  readonly encapsulated?: boolean
  /** Every one of them in each of the kernels' states, as `ip xfrm state` words them. */
  readonly kernel?: readonly RegExp[]
  /** No CHILD_SA comes of it. */
  readonly fails?: true
  /** What the logs must say, whoever begins, and when this one does. */
  readonly seen?: Seen
  readonly seenFrom?: Readonly<Partial<Record<Peer, Seen>>>
  /** A stranger leaves this responder with a half-open IKE_SA before, which is one too many for it. */
  readonly afterStranger?: true
}

const OUTSIDE: Readonly<Record<Peer, Readonly<Record<4 | 6, string>>>> = {
  charon: { 4: '192.0.2.1', 6: '2001:db8::1' },
  espalier: { 4: '192.0.2.2', 6: '2001:db8::2' },
}
const NETWORK: Readonly<Record<Peer, Readonly<Record<4 | 6, string>>>> = {
  charon: { 4: '10.10.1.0/24', 6: 'fd00:10::/64' },
  espalier: { 4: '10.20.0.0/24', 6: 'fd00:20::/64' },
}
const HOME: Readonly<Record<Peer, Readonly<Record<4 | 6, string>>>> = {
  charon: { 4: '10.10.1.1', 6: 'fd00:10::1' },
  espalier: { 4: '10.20.0.1', 6: 'fd00:20::1' },
}
const ECHOES = 2

export class Pair {
  readonly arrangement: Arrangement
  readonly hosts: Readonly<Record<Peer, Host>>
  #charon: Charon
  #espalier: Espalier
  #connections = 0

  private constructor(arrangement: Arrangement, hosts: Readonly<Record<Peer, Host>>, charon: Charon, espalier: Espalier) {
    this.arrangement = arrangement
    this.hosts = hosts
    this.#charon = charon
    this.#espalier = espalier
  }

  static async start(t: TestContext, arrangement: Arrangement): Promise<Pair> {
    const lab = new Lab(t)
    const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
    await (arrangement === 'direct' ? connectDirectly(lab, hosts) : connectThroughNats(lab, hosts))
    for (const peer of PEERS) await hosts[peer].stub('home', [`${HOME[peer][4]}/24`, `${HOME[peer][6]}/64`])
    const [charon, espalier] = await startDaemons(hosts)
    return new Pair(arrangement, hosts, charon, espalier)
  }

  /** Brings the connection up, looks at both kernels, sends echoes both ways, takes it down and sees that nothing is left. */
  async try(t: TestContext, what: Case, initiator: Peer): Promise<void> {
    const begun = this.#now()
    const charonSaid = (await this.#charon.log()).length
    try {
      await this.#tryOnce(what, initiator, begun)
      await this.#seen(begun, charonSaid, what.seen)
      await this.#seen(begun, charonSaid, what.seenFrom?.[initiator])
    } catch (error) {
      t.diagnostic(`espalier's log:\n${this.#espalier.daemon.lines.slice(begun).join('\n')}`)
      t.diagnostic(`charon's log:\n${(await this.#charon.log()).slice(charonSaid)}`)
      await this.#restart()
      throw error
    }
  }

  async #tryOnce(what: Case, initiator: Peer, begun: number): Promise<void> {
    const name = `c${++this.#connections}`
    // Espalier begins as soon as it has read that it shall, so charon has to know the connection before.
    await this.#charon.reload(this.#configuration(name, what, 'charon', initiator))
    if (what.afterStranger === true && initiator === 'espalier') await this.#strangerAt('charon')
    await this.#espalier.configure(this.#configuration(name, what, 'espalier', initiator))
    this.#espalier.daemon.signal('SIGHUP')
    await this.#event('reloaded', begun)
    if (what.afterStranger === true && initiator === 'charon') await this.#strangerAt('espalier')
    const initiated = initiator === 'charon' ? this.#charon.initiate('net', 20) : null

    if (what.fails === true) {
      if (initiated !== null) await assert.rejects(initiated)
      await eventually(
        'espalier says that it failed',
        () =>
          ['ike-failed', 'child-failed', 'request-refused'].some((event) => this.#events(event, begun).length > 0)
            ? true
            : undefined,
        15_000,
      )
      await this.#charon.swanctl('--terminate', '--ike', name).catch(() => 'there is none: it failed before')
    } else {
      await initiated
      await this.#event('child-established', begun)
      await this.#lookAtKernels(what, initiator)
      await this.#charon.swanctl('--terminate', '--ike', name)
    }
    // All that were begun have ended.
    const count = (event: string): number => this.#events(event, begun).length
    await eventually('espalier lets go', () =>
      count('ike-closed') >= Math.min(1, count('ike-established') + count('ike-initiating')) ? true : undefined,
    )
    for (const peer of PEERS) await this.#empty(peer)
  }

  async #lookAtKernels(what: Case, initiator: Peer): Promise<void> {
    const inside = what.mode === 'transport' ? [] : (what.inside ?? [4])
    const pairs =
      what.mode === 'transport'
        ? [{ charon: OUTSIDE.charon[4], espalier: OUTSIDE.espalier[4] }]
        : inside.map((version) => ({ charon: HOME.charon[version], espalier: HOME.espalier[version] }))
    for (const ends of pairs) {
      const [there, back] = await Promise.all([
        this.hosts.charon.ping(ends.espalier, ends.charon, ECHOES),
        this.hosts.espalier.ping(ends.charon, ends.espalier, ECHOES),
      ])
      assert.deepEqual({ there, back }, { there: ECHOES, back: ECHOES }, `echoes between ${ends.charon} and ${ends.espalier}`)
    }
    const states: Record<Peer, XfrmState[]> = { charon: [], espalier: [] }
    const isEncapsulated = what.encapsulated ?? this.arrangement === 'nats'
    for (const peer of PEERS) {
      states[peer] = await xfrmStates(this.hosts[peer])
      assert.equal(states[peer].length, 2, `one state in and one out at ${peer}`)
      for (const state of states[peer]) {
        assert.equal(state.encapsulation?.type ?? null, isEncapsulated ? 'espinudp' : null, state.text)
        assert.equal(state.mode, what.mode ?? 'tunnel')
        // Requests one way and answers the other: whatever was sent went through here.
        assert.equal(state.packets, 2 * ECHOES * pairs.length, state.text)
        for (const pattern of what.kernel ?? []) assert.match(state.text, pattern)
      }
      const other = peer === 'charon' ? 'espalier' : 'charon'
      const expected =
        what.mode === 'transport'
          ? [`${OUTSIDE[peer][4]}/32 ${OUTSIDE[other][4]}/32`]
          : inside.map((version) => `${NETWORK[peer][version]} ${NETWORK[other][version]}`)
      const found = (await xfrmPolicies(this.hosts[peer]))
        .filter((policy) => policy.direction === 'out')
        .map((policy) => `${policy.source} ${policy.destination}`)
      assert.deepEqual(found.toSorted(), expected.toSorted(), `outbound policies at ${peer}, ${initiator} having begun`)
    }
    const spis = (peer: Peer): number[] => states[peer].map((state) => state.spi).toSorted((a, b) => a - b)
    assert.deepEqual(spis('charon'), spis('espalier'))
    for (const ends of pairs) {
      const { charon, espalier } = this.hosts
      await transferBothWays({ from: charon, source: ends.charon, to: espalier, destination: ends.espalier })
    }
    for (const state of await xfrmStates(this.hosts.espalier)) {
      assert.ok(state.bytes >= pairs.length * TRANSFER_BYTES, `the megabyte went through here:\n${state.text}`)
    }
  }

  async #empty(peer: Peer): Promise<void> {
    await eventually(
      `nothing is left at ${peer}`,
      async () => {
        const left = [...(await xfrmStates(this.hosts[peer])), ...(await xfrmPolicies(this.hosts[peer]))]
        return left.length === 0 ? true : undefined
      },
      5_000,
    )
  }

  async #seen(begun: number, charonSaid: number, seen: Seen | undefined): Promise<void> {
    for (const pattern of seen?.charon ?? []) assert.match((await this.#charon.log()).slice(charonSaid), pattern)
    for (const pattern of seen?.espalier ?? []) assert.match(this.#espalier.daemon.lines.slice(begun).join('\n'), pattern)
  }

  #configuration(name: string, what: Case, self: Peer, initiator: Peer): string {
    const other = self === 'charon' ? 'espalier' : 'charon'
    const own = self === initiator ? what.initiator : what.responder
    const text: SideText = { ...what, ...own }
    const inside = what.inside ?? [4]
    const networks = (peer: Peer): string =>
      what.mode === 'transport' ? 'dynamic' : inside.map((version) => NETWORK[peer][version]).join(', ')
    const local = this.arrangement === 'direct' ? `local_addrs = ${OUTSIDE[self][what.outside ?? 4]}` : ''
    return `
connections {
  ${name} {
    version = 2
    ${local}
    remote_addrs = ${OUTSIDE[other][what.outside ?? 4]}
    ${text.proposals === undefined ? '' : `proposals = ${text.proposals}`}
    ${text.ike ?? ''}
    local {
      auth = psk
      id = ${self}.example
    }
    remote {
      auth = psk
      id = ${other}.example
    }
    children {
      net {
        mode = ${what.mode ?? 'tunnel'}
        local_ts = ${text.localTs ?? networks(self)}
        remote_ts = ${text.remoteTs ?? networks(other)}
        ${text.esp === undefined ? '' : `esp_proposals = ${text.esp}`}
        ${self === 'espalier' && initiator === 'espalier' ? 'start_action = start' : ''}
      }
    }
  }
}
secrets {
  ike-other {
    id-other = ${other}.example
    secret = "the gardener keeps the key"
  }
}
`
  }

  /** An IKE_SA_INIT request whose sender is never heard of again. */
  async #strangerAt(peer: Peer): Promise<void> {
    const { charon, espalier } = this.hosts
    const from = peer === 'charon' ? espalier : charon
    // Not by espalier's codec, and cheaper than one more Node.js: bash can send datagrams.
    const bytes = strangersRequest().replaceAll(/../g, String.raw`\x$&`)
    await from.run('bash', ['-c', `printf '${bytes}' >/dev/udp/${OUTSIDE[peer][4]}/500`])
  }

  #now(): number {
    return this.#espalier.daemon.lines.length
  }

  #events(name: string, since: number): readonly LogLine[] {
    return this.#espalier.daemon.lines
      .slice(since)
      .filter((line) => line.includes(`"event":"${name}"`))
      .map((line) => JSON.parse(line) as LogLine)
  }

  async #event(name: string, since: number): Promise<LogLine> {
    return await eventually(`${name} in espalier's log`, () => this.#events(name, since)[0], 20_000)
  }

  /** After a case that failed, so that it spoils no other. */
  async #restart(): Promise<void> {
    await Promise.all([this.#charon.stop(), this.#espalier.stop()])
    for (const peer of PEERS) {
      await this.hosts[peer].run('ip', ['xfrm', 'state', 'flush'])
      await this.hosts[peer].run('ip', ['xfrm', 'policy', 'flush'])
    }
    ;[this.#charon, this.#espalier] = await startDaemons(this.hosts)
  }
}

/** aes128-sha256-x25519, in hexadecimal. */
function strangersRequest(): string {
  // Without line feeds: bash sends what it has with each, and one request would be two datagrams.
  const random = (octets: number): string => Buffer.from(randomBytes(octets).map((octet) => octet | 0x80)).toString('hex')
  const transforms = ['0300000c0100000c800e0080', '0300000802000005', '030000080300000c', '000000080400001f'].join('')
  const payloads = `22000030 0000002c 01010004 ${transforms} 28000028 001f0000 ${random(32)} 00000024 ${random(32)}`
  const rest = payloads.replaceAll(' ', '')
  const length = (28 + rest.length / 2).toString(16).padStart(8, '0')
  return `${random(8)}0000000000000000 21202208 00000000 ${length}${rest}`.replaceAll(' ', '')
}

async function startDaemons(hosts: Readonly<Record<Peer, Host>>): Promise<[Charon, Espalier]> {
  // One half-open IKE_SA makes both ask for cookies; without a stranger there is none when a request comes in.
  const settings = 'cookie_threshold = 1'
  return await Promise.all([
    Charon.start(hosts.charon, { configuration: '', settings }),
    Espalier.start(hosts.espalier, { configuration: '', settings }),
  ])
}

async function connectDirectly(lab: Lab, hosts: Readonly<Record<Peer, Host>>): Promise<void> {
  const addresses = (peer: Peer): string[] => [`${OUTSIDE[peer][4]}/24`, `${OUTSIDE[peer][6]}/64`]
  await lab.cable(hosts.charon, 'wan', addresses('charon'), hosts.espalier, 'wan', addresses('espalier'))
  for (const peer of PEERS) {
    const other = peer === 'charon' ? 'espalier' : 'charon'
    // What goes into a tunnel needs a route first, over whatever.
    await hosts[peer].route(NETWORK[other][4], OUTSIDE[other][4])
    await hosts[peer].route(NETWORK[other][6], OUTSIDE[other][6])
  }
}

async function connectThroughNats(lab: Lab, hosts: Readonly<Record<Peer, Host>>): Promise<void> {
  const routers = { charon: await lab.router('router-c'), espalier: await lab.router('router-e') }
  await lab.cable(routers.charon, 'wan', `${OUTSIDE.charon[4]}/24`, routers.espalier, 'wan', `${OUTSIDE.espalier[4]}/24`)
  for (const [index, peer] of PEERS.entries()) {
    const lan = `10.${index + 1}.0`
    await lab.cable(routers[peer], 'lan', `${lan}.1/24`, hosts[peer], 'lan', `${lan}.2/24`)
    await hosts[peer].route('default', `${lan}.1`)
    // Never asked for a neighbour there: what takes this route is in the tunnel before it leaves.
    await hosts[peer].run('ip', ['route', 'add', NETWORK[peer === 'charon' ? 'espalier' : 'charon'][6], 'dev', 'lan'])
    await routers[peer].masquerade('wan', { randomPorts: true })
    for (const port of [500, 4500]) await routers[peer].forwardPort('wan', port, { address: `${lan}.2`, port })
  }
}
