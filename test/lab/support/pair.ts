/**
 * Two gateways that stay up while many connections are tried between them: charon and espalier, either of which may
 * begin. An arrangement is built once; a case only reloads both configurations, so that it costs seconds, not a minute.
 *
 *   direct   charon 192.0.2.1 ──── 192.0.2.2 espalier                 (and 2001:db8::1, ::2)
 *   nat      charon 10.1.0.2 ──── router ──── 10.2.0.2 espalier       (and 2001:db8:1::2, 2001:db8:2::2)
 *   nats     charon 10.1.0.2 ─ router 192.0.2.1 ──── 192.0.2.2 router ─ 10.2.0.2 espalier
 *
 * The router of `nat` translates both ways: whoever begins is behind a NAT, and the other one is not. Those of `nats`
 * translate what leaves and forward ports 500 and 4500. Behind charon are 10.10.1.0/24 and fd00:10::/64, behind espalier
 * 10.20.0.0/24 and fd00:20::/64.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'

import { Charon } from './charon.ts'
import { Espalier, type LogLine } from './espalier.ts'
import { type Host, Lab } from './network.ts'
import { eventually } from './process.ts'
import { connects, type Ends, TRANSFER_BYTES, transferBothWays } from './transfer.ts'
import { countWire, takeWire, type Wire } from './wire.ts'
import { type XfrmState, xfrmPolicies, xfrmStates } from './xfrm.ts'

export type Peer = 'charon' | 'espalier'
export type Role = 'initiator' | 'responder'
export type Arrangement = 'direct' | 'nat' | 'nats'

export const PEERS: readonly Peer[] = ['charon', 'espalier']

/** What one side is configured with beside the defaults. */
export interface SideText {
  readonly proposals?: string
  readonly esp?: string
  readonly remoteTs?: string
  readonly localTs?: string
  readonly secret?: string
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
  /** false: IKE stays on port 500, instead of going on on 4500. */
  readonly floats?: false
  /** The selectors let only TCP to this port of the responder's through. */
  readonly onlyPort?: number
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
/** What a peer calls itself, and what it is called by one who begins. */
const ADDRESS: Readonly<Record<Arrangement, typeof OUTSIDE>> = {
  direct: OUTSIDE,
  nat: { charon: { 4: '10.1.0.2', 6: '2001:db8:1::2' }, espalier: { 4: '10.2.0.2', 6: '2001:db8:2::2' } },
  nats: OUTSIDE,
}
const INTERFACE: Readonly<Record<Arrangement, string>> = { direct: 'wan', nat: 'lan', nats: 'lan' }
const ECHOES = 2
/** Seconds. What passes takes no longer, and what does not pass is waited for. */
const HASTE = { interval: 0.2, patience: 1 }
/** keep_alive unless told, of either. */
const KEEPALIVE_SECONDS = 20
/** Of TCP, that `onlyPort` does not let through. */
const OTHER_PORT = 7778
const SECRET = 'the gardener keeps the key'

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
    await { direct: connectDirectly, nat: connectThroughNat, nats: connectThroughNats }[arrangement](lab, hosts)
    for (const peer of PEERS) {
      await hosts[peer].stub('home', [`${HOME[peer][4]}/24`, `${HOME[peer][6]}/64`])
      await countWire(hosts[peer], INTERFACE[arrangement])
    }
    const [charon, espalier] = await Promise.all([startCharon(hosts.charon), startEspalier(hosts.espalier)])
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
    const since = performance.now()
    // Espalier begins as soon as it has read that it shall, so charon has to know the connection before.
    await this.#charon.reload(this.#configuration(name, what, 'charon', initiator))
    if (what.afterStranger === true && initiator === 'espalier') await this.#strangerAt('charon')
    await this.#espalier.configure(this.#configuration(name, what, 'espalier', initiator))
    this.#espalier.daemon.signal('SIGHUP')
    await this.#event('reloaded', begun)
    if (what.afterStranger === true && initiator === 'charon') await this.#strangerAt('espalier')
    const initiated = initiator === 'charon' ? this.#charon.initiate('net') : null

    if (what.fails === true) {
      if (initiated !== null) await assert.rejects(initiated)
      await eventually('espalier says that it failed', () =>
        ['ike-failed', 'child-failed', 'request-refused'].some((event) => this.#events(event, begun).length > 0)
          ? true
          : undefined,
      )
      await this.#charon.swanctl('--terminate', '--ike', name).catch(() => 'there is none: it failed before')
    } else {
      await initiated
      await this.#event('child-established', begun)
      await this.#lookAtKernels(what, initiator)
      await this.#carry(what, initiator)
      if (what.encapsulated === undefined) await this.#lookAtNat(initiator, begun)
      await this.#terminate(name, initiator)
    }
    // All that were begun have ended.
    const count = (event: string): number => this.#events(event, begun).length
    await eventually('espalier lets go', () =>
      count('ike-closed') >= Math.min(1, count('ike-established') + count('ike-initiating')) ? true : undefined,
    )
    for (const peer of PEERS) {
      await this.#empty(peer)
      this.#lookAtWire(what, peer, await takeWire(this.hosts[peer]), (performance.now() - since) / 1000)
    }
  }

  /** Whoever began ends it, and the other one hears of it. */
  async #terminate(name: string, initiator: Peer): Promise<void> {
    const args = ['--terminate', '--ike', name]
    if (initiator === 'charon') {
      await this.#charon.swanctl(...args)
      return
    }
    await this.hosts.espalier.run('swanctl', [...args, '--uri', this.#espalier.uri], this.#charon.swanctlOptions())
    await this.#charon.waitForLog(new RegExp(`received DELETE for IKE_SA ${name}\\[`))
  }

  /** What goes through the tunnel: the initiator's end and the responder's, for each IP version. */
  #flows(what: Case, initiator: Peer): readonly Ends[] {
    const responder = initiator === 'charon' ? 'espalier' : 'charon'
    const flow = (at: Readonly<Record<Peer, Readonly<Record<4 | 6, string>>>>, version: 4 | 6): Ends => ({
      from: this.hosts[initiator],
      source: at[initiator][version],
      to: this.hosts[responder],
      destination: at[responder][version],
      ...(what.onlyPort === undefined ? {} : { port: what.onlyPort }),
    })
    if (what.mode === 'transport') return [flow(ADDRESS[this.arrangement], what.outside ?? 4)]
    return (what.inside ?? [4]).map((version) => flow(HOME, version))
  }

  /** Echoes and a megabyte both ways, or the megabyte alone if there is a port for nothing else. */
  async #carry(what: Case, initiator: Peer): Promise<void> {
    const flows = this.#flows(what, initiator)
    const passing = what.onlyPort === undefined ? ECHOES : 0
    for (const flow of flows) {
      const { from, source, to, destination } = flow
      const [there, back, elsewhere] = await Promise.all([
        from.ping(destination, source, ECHOES, HASTE),
        to.ping(source, destination, ECHOES, HASTE),
        what.onlyPort === undefined ? null : connects({ ...flow, port: OTHER_PORT }),
      ])
      assert.deepEqual({ there, back }, { there: passing, back: passing }, `echoes between ${source} and ${destination}`)
      if (what.onlyPort !== undefined) assert.equal(elsewhere, false, 'to another port')
    }
    // Requests one way and answers the other: whatever was sent went through here.
    for (const { packets, text } of await xfrmStates(this.hosts.espalier)) assert.equal(packets, 2 * passing * flows.length, text)
    for (const flow of flows) await transferBothWays(flow)
  }

  async #lookAtKernels(what: Case, initiator: Peer): Promise<void> {
    const states: Record<Peer, XfrmState[]> = { charon: [], espalier: [] }
    for (const peer of PEERS) {
      states[peer] = await xfrmStates(this.hosts[peer])
      assert.equal(states[peer].length, 2, `one state in and one out at ${peer}`)
      for (const state of states[peer]) {
        assert.equal(state.encapsulation?.type ?? null, this.#isEncapsulated(what) ? 'espinudp' : null, state.text)
        assert.equal(state.mode, what.mode ?? 'tunnel')
        for (const pattern of what.kernel ?? []) assert.match(state.text, pattern)
      }
      const policies = await xfrmPolicies(this.hosts[peer])
      assert.deepEqual(
        policies.flatMap(({ direction, selector }) => (direction === 'out' ? [selector] : [])).toSorted(),
        this.#outbound(what, peer, initiator).toSorted(),
        `outbound policies at ${peer}, ${initiator} having begun`,
      )
    }
    const spis = (peer: Peer): number[] => states[peer].map((state) => state.spi).toSorted((a, b) => a - b)
    assert.deepEqual(spis('charon'), spis('espalier'))
  }

  /** The selectors of the outbound policies, as `ip xfrm policy` words them. */
  #outbound(what: Case, peer: Peer, initiator: Peer): string[] {
    const other = peer === 'charon' ? 'espalier' : 'charon'
    const port = what.onlyPort === undefined ? '' : ` proto tcp ${peer === initiator ? 'dport' : 'sport'} ${what.onlyPort}`
    if (what.mode === 'transport') {
      const version = what.outside ?? 4
      const length = version === 4 ? 32 : 128
      return [`src ${OUTSIDE[peer][version]}/${length} dst ${OUTSIDE[other][version]}/${length}${port}`]
    }
    return (what.inside ?? [4]).map((version) => `src ${NETWORK[peer][version]} dst ${NETWORK[other][version]}${port}`)
  }

  /** Who found whom behind a NAT. */
  async #lookAtNat(initiator: Peer, begun: number): Promise<void> {
    const { nat } = await this.#event('ike-established', begun)
    const here = this.arrangement === 'nats' || (this.arrangement === 'nat' && initiator === 'espalier')
    const there = this.arrangement === 'nats' || (this.arrangement === 'nat' && initiator === 'charon')
    assert.deepEqual(nat, { supported: true, here, there, faked: false })
  }

  #isEncapsulated(what: Case): boolean {
    return what.encapsulated ?? this.arrangement !== 'direct'
  }

  /** In which form everything left this peer. */
  #lookAtWire(what: Case, peer: Peer, wire: Wire, seconds: number): void {
    const at = (kind: string): string => `${kind} from ${peer}: ${JSON.stringify(wire)}`
    const bytes = what.fails === true ? 0 : (what.inside ?? [4]).length * TRANSFER_BYTES
    const isEncapsulated = this.#isEncapsulated(what)
    const [form, other] = isEncapsulated ? [wire.udpEsp, wire.bareEsp] : [wire.bareEsp, wire.udpEsp]
    assert.ok(form.bytes >= bytes, at('the megabyte as ESP'))
    assert.equal(other.packets, 0, at('ESP in the other form'))
    if (what.fails === true) assert.equal(form.packets, 0, at('ESP'))
    assert.ok(wire.ike500.packets > 0, at('IKE on port 500'))
    if (what.floats === false) assert.equal(wire.ike4500.packets, 0, at('IKE on port 4500'))
    else if (what.fails !== true) assert.ok(wire.ike4500.packets > 0, at('IKE on port 4500'))
    // One for each interval at the most: usually the case is over before the first.
    assert.ok(wire.keepalives.packets <= Math.floor(seconds / KEEPALIVE_SECONDS), at(`keepalives in ${seconds.toFixed(1)} s`))
    // What the selectors leave out goes unprotected, and so does the word that a stranger has no port open any more.
    if (what.onlyPort === undefined && what.afterStranger !== true) assert.equal(wire.clear.packets, 0, at('anything else'))
  }

  async #empty(peer: Peer): Promise<void> {
    await eventually(`nothing is left at ${peer}`, async () => {
      const left = [...(await xfrmStates(this.hosts[peer])), ...(await xfrmPolicies(this.hosts[peer]))]
      return left.length === 0 ? true : undefined
    })
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
    // The responder's TCP port, if that is all there is: [tcp/80] at its end and [tcp] at the other.
    const only = (peer: Peer): string =>
      what.onlyPort === undefined ? '' : peer === initiator ? '[tcp]' : `[tcp/${what.onlyPort}]`
    const networks = (peer: Peer): string =>
      what.mode === 'transport' ? 'dynamic' : inside.map((version) => `${NETWORK[peer][version]}${only(peer)}`).join(', ')
    const local = this.arrangement === 'direct' ? `local_addrs = ${OUTSIDE[self][what.outside ?? 4]}` : ''
    // A responder hears of the initiator from wherever a NAT puts it.
    const isCalled = this.arrangement === 'nat' && self !== initiator
    return `
connections {
  ${name} {
    version = 2
    ${local}
    remote_addrs = ${isCalled ? '%any' : ADDRESS[this.arrangement][other][what.outside ?? 4]}
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
    secret = "${text.secret ?? SECRET}"
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
    // charon may be about something else in another thread, and take the next request for the first.
    const daemon = { charon: this.#charon, espalier: this.#espalier }[peer]
    await eventually(`the stranger is half-open at ${peer}`, async () =>
      /\b1 half-open/.test(await daemon.swanctl('--stats')) ? true : undefined,
    )
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
    return await eventually(`${name} in espalier's log`, () => this.#events(name, since)[0])
  }

  /** After a case that failed, so that it spoils no other. */
  async #restart(): Promise<void> {
    await Promise.all([this.#charon.stop(), this.#espalier.stop()])
    for (const peer of PEERS) {
      await this.hosts[peer].run('ip', ['xfrm', 'state', 'flush'])
      await this.hosts[peer].run('ip', ['xfrm', 'policy', 'flush'])
      await takeWire(this.hosts[peer])
    }
    ;[this.#charon, this.#espalier] = await Promise.all([startCharon(this.hosts.charon), startEspalier(this.hosts.espalier)])
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

/** One half-open IKE_SA makes either ask for cookies; without a stranger there is none when a request comes in. */
const SETTINGS = 'cookie_threshold = 1'

async function startCharon(host: Host): Promise<Charon> {
  return await Charon.start(host, { configuration: '', settings: SETTINGS })
}

async function startEspalier(host: Host): Promise<Espalier> {
  return await Espalier.start(host, { configuration: '', settings: SETTINGS })
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

async function connectThroughNat(lab: Lab, hosts: Readonly<Record<Peer, Host>>): Promise<void> {
  const router = await lab.router('router')
  for (const [index, peer] of PEERS.entries()) {
    const lan = { 4: `10.${index + 1}.0`, 6: `2001:db8:${index + 1}:` }
    const addresses = (last: number): string[] => [`${lan[4]}.${last}/24`, `${lan[6]}:${last}/64`]
    await lab.cable(router, `lan-${peer}`, addresses(1), hosts[peer], 'lan', addresses(2))
    await hosts[peer].route('default', `${lan[4]}.1`)
    await hosts[peer].route('default', `${lan[6]}:1`)
  }
  await router.nft(`
    table inet nat {
      chain postrouting { type nat hook postrouting priority srcnat; meta l4proto udp masquerade random; }
    }`)
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
