/**
 * Hosts, cables and NAT routers out of network namespaces, veth pairs and nftables. A `Lab` belongs to one test and
 * takes everything down when that test ends, however it ends.
 *
 *   const lab = new Lab(t)
 *   const client = await lab.host('client')
 *   const router = await lab.router('router')
 *   await lab.cable(client, 'lan', '10.1.0.2/24', router, 'inside', '10.1.0.1/24')
 *   await router.masquerade('outside')
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Daemon, type Finished, type RunOptions, run, tryRun } from './process.ts'

let labs = 0

const NOTES_TOLD = 20
/** IPsec's counters that are not zero; datagrams for which there was no room at a socket. */
const DROPPED = String.raw`grep -hsv '[[:space:]]0$' /proc/net/xfrm_stat; awk '/^Udp:/ && $6 + 0 > 0 { print "Udp RcvbufErrors", $6 }' /proc/net/snmp`

/** Whose lab it is: a test, or a program that calls back what was registered when it ends. */
export interface LabOwner {
  after(action: () => Promise<void>): void
  readonly passed: boolean
  diagnostic(text: string): void
  /** Of a test that has parts. */
  test?: unknown
}

/** The world of one test. */
export class Lab {
  readonly #prefix: string
  readonly #undo: (() => Promise<unknown>)[] = []
  readonly #test: LabOwner
  readonly #notes: string[] = []
  #hasFailedPart = false
  #directory: Promise<string> | null = null

  constructor(test: LabOwner) {
    // Namespaces have names that the whole machine shares, and several test files may run at once.
    this.#prefix = `esp${process.pid}-${++labs}-`
    this.#test = test
    test.after(() => this.#close())
    this.#watchParts(test)
    this.tellIfFailed('noted on the way', async () => this.#notes.slice(-NOTES_TOLD).join('\n'))
  }

  /** Something to be done at the end of the test, before whatever was registered earlier is undone. */
  atEnd(action: () => Promise<unknown>): void {
    this.#undo.push(action)
  }

  /** Shown with the test's result if it fails, for instance a daemon's log. */
  tellIfFailed(title: string, text: () => Promise<string>): void {
    this.atEnd(async () => {
      if (this.#test.passed && !this.#hasFailedPart) return
      const told = await text()
      if (told !== '') this.#test.diagnostic(`${title}:\n${told}`)
    })
  }

  /** What helps to understand a failure and is of no use otherwise. */
  note(text: string): void {
    this.#notes.push(text)
  }

  /** A directory of this test's own, removed at its end. */
  async directory(): Promise<string> {
    this.#directory ??= mkdtemp(join(tmpdir(), 'espalier-test-')).then((path) => {
      this.#undo.unshift(() => rm(path, { recursive: true, force: true }))
      return path
    })
    return await this.#directory
  }

  async host(name: string): Promise<Host> {
    const host = new Host(this, name, this.#prefix + name)
    await this.#create(host)
    return host
  }

  /** A host that forwards, and may translate addresses. */
  async router(name: string): Promise<Router> {
    const router = new Router(this, name, this.#prefix + name)
    await this.#create(router)
    await router.run('sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
    return router
  }

  /** A veth pair between two hosts: interface name and addresses ("10.0.0.1/24", "2001:db8::1/64") of either end. */
  async cable(
    left: Host,
    leftInterface: string,
    leftAddress: string | readonly string[],
    right: Host,
    rightInterface: string,
    rightAddress: string | readonly string[],
  ): Promise<void> {
    await run('ip', [
      ...['link', 'add', leftInterface, 'netns', left.namespace, 'type', 'veth'],
      ...['peer', 'name', rightInterface, 'netns', right.namespace],
    ])
    await left.addressed(leftInterface, leftAddress)
    await right.addressed(rightInterface, rightAddress)
  }

  /** A switch: every host gets an interface of this name on one network. */
  async network(interfaceName: string, members: readonly (readonly [Host, string | readonly string[]])[]): Promise<Host> {
    const hub = await this.host(`hub-${interfaceName}`)
    await hub.run('ip', ['link', 'add', 'bridge', 'type', 'bridge'])
    await hub.run('ip', ['link', 'set', 'bridge', 'up'])
    for (const [index, [member, addresses]] of members.entries()) {
      await this.cable(hub, `port${index}`, [], member, interfaceName, addresses)
      await hub.run('ip', ['link', 'set', `port${index}`, 'master', 'bridge'])
    }
    return hub
  }

  async #create(host: Host): Promise<void> {
    await run('ip', ['netns', 'add', host.namespace])
    this.atEnd(() => run('ip', ['netns', 'delete', host.namespace]))
    this.tellIfFailed(`what the kernel of ${host.name} has dropped`, async () => {
      const { stdout } = await host.tryRun('sh', ['-c', DROPPED])
      return stdout.trim()
    })
    await host.run('ip', ['link', 'set', 'lo', 'up'])
    // Addresses are used right after they are given; waiting for duplicates to answer only costs time.
    await host.run('sysctl', ['-q', '-w', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0'])
  }

  /** A test whose part has failed still says that it passed when it ends and would be told of that: it is noted here. */
  #watchParts(owner: LabOwner): void {
    if (typeof owner.test !== 'function') return
    const begin = owner.test.bind(owner) as (...args: unknown[]) => unknown
    const watched = (part: unknown): unknown =>
      typeof part !== 'function'
        ? part
        : async (context: unknown): Promise<void> => {
            try {
              await part(context)
            } catch (error) {
              this.#hasFailedPart = true
              throw error
            }
          }
    owner.test = (...args: unknown[]) => begin(...args.map(watched))
  }

  async #close(): Promise<void> {
    const failures: unknown[] = []
    // One thing that cannot be undone must not keep the others from being undone.
    for (let action = this.#undo.pop(); action !== undefined; action = this.#undo.pop()) {
      try {
        await action()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'the lab did not come down cleanly')
  }
}

/** A network namespace: what a test thinks of as a machine. */
export class Host {
  readonly lab: Lab
  readonly name: string
  readonly namespace: string

  constructor(lab: Lab, name: string, namespace: string) {
    this.lab = lab
    this.name = name
    this.namespace = namespace
  }

  /** Runs a command here; it must succeed. Returns what it wrote to standard output. */
  async run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<string> {
    return await run('ip', this.#argumentsOf(command, args), options)
  }

  /** Runs a command here, whatever its exit status. */
  async tryRun(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Finished> {
    return await tryRun('ip', this.#argumentsOf(command, args), options)
  }

  /** `ip` goes there by itself, which saves a mount namespace and a process image. */
  #argumentsOf(command: string, args: readonly string[]): string[] {
    return command === 'ip' ? ['-n', this.namespace, ...args] : ['netns', 'exec', this.namespace, command, ...args]
  }

  /** Starts a program here; it is stopped at the end of the test at the latest. */
  start(command: string, args: readonly string[] = [], env: Record<string, string> = {}): Daemon {
    // `ip netns exec` becomes the command, so the process identifier is the command's.
    const daemon = new Daemon('ip', ['netns', 'exec', this.namespace, command, ...args], env)
    this.lab.atEnd(() => daemon.stop())
    return daemon
  }

  /** Gives an interface its addresses ("10.0.0.1/24") and sets it up. */
  async addressed(interfaceName: string, addresses: string | readonly string[]): Promise<void> {
    for (const address of [addresses].flat()) {
      await this.run('ip', ['address', 'add', address, 'dev', interfaceName])
    }
    await this.run('ip', ['link', 'set', interfaceName, 'up'])
  }

  /** A network behind this host, as seen by tunnels: an interface with nothing attached. */
  async stub(interfaceName: string, addresses: string | readonly string[]): Promise<void> {
    await this.run('ip', ['link', 'add', interfaceName, 'type', 'dummy'])
    await this.addressed(interfaceName, addresses)
  }

  /** "default" or a prefix, and the next hop. */
  async route(to: string, via: string, ...more: string[]): Promise<void> {
    await this.run('ip', ['route', 'add', to, 'via', via, ...more])
  }

  /**
   * How many of `count` echo requests to `to` were answered; `from` is an address or interface of this host. One every
   * `interval` seconds; the last has as long as that at the least, and `patience` seconds if none was answered before.
   */
  async ping(to: string, from?: string, count = 1, { interval = 0.2, patience = 2 } = {}): Promise<number> {
    const source = from === undefined ? [] : ['-I', from]
    const { stdout, stderr } = await this.tryRun('ping', [
      '-D',
      '-c',
      `${count}`,
      '-i',
      `${interval}`,
      '-W',
      `${patience}`,
      ...source,
      to,
    ])
    const received = /(\d+) received/.exec(stdout)
    if (received === null) throw new Error(`ping ${to} from ${this.name}: ${stdout}${stderr}`)
    if (Number(received[1]) !== count) this.lab.note(`ping ${to} from ${this.name}, of ${count}: ${stdout}${stderr}`)
    return Number(received[1])
  }
}

/** What a router's address translation made of a flow that began inside. */
export interface Mapping {
  readonly protocol: string
  readonly inside: { readonly address: string; readonly port: number }
  readonly outside: { readonly address: string; readonly port: number }
  readonly remote: { readonly address: string; readonly port: number }
}

export class Router extends Host {
  /** Of `udpPorts`, the half that is in use and the one that is not. */
  #halves: readonly [string, string] | null = null

  /**
   * Everything that leaves through the interface gets its address; with `randomPorts` a port of the router's choice,
   * with `udpPorts` ("20000-29999") one of these.
   */
  async masquerade(outside: string, options: { readonly randomPorts?: boolean; readonly udpPorts?: string } = {}): Promise<void> {
    const random = options.randomPorts === true ? 'random' : ''
    const how = `masquerade ${random}`
    const [first, last] = (options.udpPorts ?? '').split('-').map(Number)
    if (first !== undefined && last !== undefined) {
      const middle = (first + last) >> 1
      this.#halves = [`${first}-${middle}`, `${middle + 1}-${last}`].map((ports) => `${ports} ${random}`) as [string, string]
    }
    const udp = this.#halves === null ? '' : `oifname "${outside}" meta l4proto udp jump ports;`
    // The filter table makes the router deaf to strangers, as such routers are: only answers to flows from inside pass.
    await this.nft(`
      table ip nat {
        chain ports { ${this.#halves === null ? '' : `meta l4proto udp masquerade to :${this.#halves[0]}`}; }
        chain postrouting { type nat hook postrouting priority srcnat; ${udp} oifname "${outside}" ${how}; }
      }
      table ip filter {
        chain forward {
          type filter hook forward priority filter; policy accept;
          iifname "${outside}" ct state new drop;
        }
      }`)
  }

  /** A way in from outside: UDP to this port of the router goes to an inside host. */
  async forwardPort(outside: string, port: number, to: { readonly address: string; readonly port: number }): Promise<void> {
    // Inserted, or the rule that makes the router deaf to strangers comes first.
    await this.nft(`
      table ip nat {
        chain prerouting {
          type nat hook prerouting priority dstnat;
          iifname "${outside}" udp dport ${port} dnat to ${to.address}:${to.port};
        }
      }
      table ip filter {
        chain forward { type filter hook forward priority filter; policy accept; }
      }
      insert rule ip filter forward ct status dnat accept`)
  }

  async nft(rules: string): Promise<void> {
    await this.run('nft', ['-f', '-'], { input: rules })
  }

  /** The translations in force, asked of the kernel. */
  async mappings(protocol = 'udp'): Promise<Mapping[]> {
    const listing = await this.run('conntrack', ['-L', '-p', protocol])
    return listing.split('\n').flatMap((line) => {
      // Two tuples a line: the packet as it came from inside, and the answer as it is expected from outside.
      const tuples = [...line.matchAll(/src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/g)]
      const [original, reply] = tuples
      if (original === undefined || reply === undefined) return []
      return {
        protocol,
        inside: { address: original[1]!, port: Number(original[3]) },
        remote: { address: original[2]!, port: Number(original[4]) },
        outside: { address: reply[2]!, port: Number(reply[4]) },
      }
    })
  }

  /**
   * Forgets every UDP flow, as a router does that loses its power: the next packet from inside gets a new mapping. Those
   * that there are, one by one: while a flush (`conntrack -F`) goes through the table, a flow that began anew behind its
   * back is met and forgotten as well, and the next packet gets yet another mapping. With `udpPorts` it is another port
   * for certain: chance would give the same one again once in thousands of times.
   */
  async forget(): Promise<void> {
    if (this.#halves !== null) {
      const [used, next] = this.#halves
      this.#halves = [next, used]
      await this.nft(`flush chain ip nat ports
        add rule ip nat ports meta l4proto udp masquerade to :${next}`)
    }
    await this.run('conntrack', ['-D', '-p', 'udp'])
  }
}
