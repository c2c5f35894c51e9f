/**
 * What the tests of the UDP sockets run in processes of their own: because it ends the process, needs a namespace, other
 * privileges, or a failing kernel. `node udp-scenarios.ts NAME PARAMETER...` prints its findings as JSON.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

import { native, type NativeBatchError, type NativeSocketOptions } from '../../src/edge/native.ts'
import type { Family } from '../../src/base/ip.ts'
import { openUdpSocket, type UdpNetworkOptions, type UdpSocket } from '../../src/edge/udp.ts'
import { endpoint, forkInNamespace, TestNetwork } from './udp-support.ts'

declare const gc: () => void

function ip(words: string): void {
  execFileSync('ip', words.split(' '))
}

function linkOf(name: string): { readonly address: string; readonly ifindex: number } {
  const [link] = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', name], { encoding: 'utf8' })) as [ReturnType<typeof linkOf>]
  return link
}

/** The parts of an error that survive JSON; what is undefined does not. */
function described(error: unknown): Partial<NativeBatchError> {
  const { code, errno, syscall, option, message, address } = error as NativeBatchError
  return JSON.parse(JSON.stringify({ code, errno, syscall, option, message, address })) as Partial<NativeBatchError>
}

const ignore = (): void => {}

/** Sockets that hear nothing and say what fails. */
function quiet(options: NativeSocketOptions): UdpSocket {
  return openUdpSocket(options, ignore, (error) => {
    throw error
  })
}

/** Why a network with these options does not open. */
function failureOf(options: Partial<UdpNetworkOptions>): Partial<NativeBatchError> | null {
  try {
    new TestNetwork(options).network.close()
    return null
  } catch (error) {
    return described(error)
  }
}

/** Collects garbage until no native socket is left, or for a hundred turns of the loop. */
async function collected(): Promise<void> {
  for (let collection = 0; collection < 100 && native.socketsInExistence() > 0; collection++) {
    gc()
    await turn()
  }
}

/** What the other end of a link is asked to do. */
interface Question {
  /** Commands for `ip`, done first. */
  readonly commands?: readonly string[]
  /** Open a socket of this family and answer with its `port` and the link's `mac`. */
  readonly listen?: Family
  /** Answer with the first four bytes of this many datagrams, as `numbers`, when they are there. */
  readonly take?: number
  readonly send?: { readonly bytes: readonly number[]; readonly from: string; readonly to: string; readonly port: number }
}
interface Answer {
  readonly port: number
  readonly mac: string
  readonly numbers: readonly number[]
}

/** A link from this namespace to a forked process in another; we are .1, it is .2, and fe80::1 and fe80::2. */
async function linked() {
  const peer = forkInNamespace('peer')
  await once(peer, 'message')
  ip('link set lo up')
  ip('link add near type veth peer name far')
  ip(`link set far netns ${peer.pid}`)
  ip('addr add 192.0.2.1/24 dev near')
  ip('addr add fe80::1/64 dev near nodad')
  ip('link set near addrgenmode none up')
  const ask = async (question: Question): Promise<Answer> => {
    peer.send(question)
    const [answer] = (await once(peer, 'message')) as [Answer]
    return answer
  }
  return { peer, ask }
}

export type Scenarios = typeof scenarios

const scenarios = {
  /** Opens one socket with the given options. */
  'open'(options: NativeSocketOptions) {
    try {
      const socket = quiet(options)
      socket.close()
      return { opened: true }
    } catch (error) {
      return described(error)
    }
  },

  /** Opens a network; `leaked` are descriptors that a failing one left open. */
  'network'(options: Partial<UdpNetworkOptions>) {
    const before = readdirSync('/proc/self/fd').length
    try {
      using test = new TestNetwork(options)
      const { families, port, portNatT } = test.network
      const errors = test.errors.map(({ error }) => described(error))
      return { families, open: port !== 0 && portNatT !== 0, errors, failure: null, leaked: 0 }
    } catch (error) {
      return {
        families: [],
        open: false,
        errors: [],
        failure: described(error),
        leaked: readdirSync('/proc/self/fd').length - before,
      }
    }
  },

  /** Sends to itself while every other recvmmsg fails. */
  async 'failing receive'() {
    using test = new TestNetwork({ families: [4] })
    const { network } = test
    const self = endpoint('127.0.0.1', network.port)
    for (let at = 0; at < 3; at++) network.send(Uint8Array.of(at), self, self)
    const received = await test.take(3)
    await test.until(() => test.errors.length > 0)
    return { bytes: received.map(({ bytes }) => bytes[0]), errors: test.errors.map(({ error }) => described(error)) }
  },

  /** Somebody with `ss -K` aborts the socket; libuv then stops polling it. Null where ss cannot do that. */
  async 'aborted'() {
    ip('link set lo up')
    using test = new TestNetwork({ families: [4], port: 500, portNatT: 4500 })
    const self = endpoint('127.0.0.1', 500)
    try {
      // It prints what it aborted, and is silent about what it could not.
      if (!execFileSync('ss', ['-K', '-n', '-u', '-a', 'sport = :500'], { encoding: 'utf8' }).includes(':500')) return null
    } catch {
      return null
    }
    await test.until(() => test.errors.length > 0)
    test.network.send(Uint8Array.of(7), self, self)
    const [datagram] = await test.take(1)
    return { errors: test.errors.map(({ error }) => described(error)), bytes: [...datagram!.bytes] }
  },

  /** A callback that throws at the second of three datagrams. */
  async 'throwing'() {
    const uncaught: string[] = []
    const seen: number[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    process.on('uncaughtException', (error) => uncaught.push(error.message))
    const socket: UdpSocket = openUdpSocket(
      { family: 4, port: 0 },
      (bytes) => {
        seen.push(bytes[0]!)
        if (bytes[0] === 4) resolve()
        if (bytes[0] === 2) throw new Error('the second')
      },
      ignore,
    )
    const to = endpoint('127.0.0.1', socket.port)
    for (const value of [1, 2, 3]) socket.send(Uint8Array.of(value), to.address, to)
    await turn()
    socket.send(Uint8Array.of(4), to.address, to)
    await promise
    socket.close()
    return { uncaught, seen }
  },

  /** The same one level below: the addon's own callback throws. */
  async 'throwing below'() {
    const uncaught: string[] = []
    let calls = 0
    let wake = ignore
    process.on('uncaughtException', (error) => uncaught.push(error.message))
    const socket = new native.UdpSocket(
      { family: 4, port: 0 },
      () => {
        wake()
        throw new Error(`call ${++calls}`)
      },
      ignore,
    )
    const sender = quiet({ family: 4, port: 0 })
    const to = endpoint('127.0.0.1', socket.port)
    for (let sent = 0; sent < 2; sent++) {
      sender.send(Uint8Array.of(1), to.address, to)
      await new Promise<void>((resolve) => (wake = resolve))
    }
    await turn()
    socket.close()
    sender.close()
    return uncaught
  },

  /** Ends the process from inside the callback, all sockets open. */
  'exit while delivering'() {
    const socket: UdpSocket = openUdpSocket(
      { family: 4, port: 0 },
      () => {
        process.stdout.write(JSON.stringify({ delivered: true }))
        process.exit()
      },
      ignore,
    )
    const to = endpoint('127.0.0.1', socket.port)
    socket.send(Uint8Array.of(1), to.address, to)
  },

  /** Opens, uses and closes sockets, the first half within one turn of the loop. */
  async 'churn'(cycles: number) {
    const before = readdirSync('/proc/self/fd').length
    let most = 0
    // A function of its own: what it held is garbage when it has returned.
    const run = async (): Promise<void> => {
      const peer = quiet({ family: 6, port: 0 })
      const to = endpoint('::1', peer.port)
      for (let cycle = 0; cycle < cycles; cycle++) {
        const socket = quiet({ family: 6, port: 0, udpEncap: true, udpGro: true })
        socket.send(Uint8Array.of(1), to.address, to)
        socket.close()
        if (cycle >= cycles / 2) await turn()
        if (cycle % 100 === 0) most = Math.max(most, readdirSync('/proc/self/fd').length - before)
      }
      peer.close()
    }
    await run()
    await collected()
    return { most, after: readdirSync('/proc/self/fd').length - before, inExistence: native.socketsInExistence() }
  },

  /** Sockets that failed to open leave nothing behind either. */
  async 'failing churn'(cycles: number) {
    const before = readdirSync('/proc/self/fd').length
    const run = (): number => {
      const occupied = quiet({ family: 4, port: 0 })
      let failed = 0
      for (let cycle = 0; cycle < cycles; cycle++) {
        try {
          quiet({ family: 4, port: occupied.port })
        } catch {
          failed++
        }
      }
      occupied.close()
      return failed
    }
    const failed = run()
    await collected()
    return { failed, after: readdirSync('/proc/self/fd').length - before, inExistence: native.socketsInExistence() }
  },

  /** Terminates workers with open sockets and looks whether their ports are free again. */
  async 'workers end'(count: number) {
    const code = `
      import { workerData, parentPort } from 'node:worker_threads'
      const { openUdpSocket } = await import(workerData)
      const sockets = [4, 6, 4].map((family) => openUdpSocket({ family, port: 0 }, () => {}, () => {}))
      sockets[2].close()
      parentPort.postMessage(sockets.map(({ port }) => port))`
    const workers: Worker[] = []
    const ports: number[] = []
    const module = new URL('../../src/edge/udp.ts', import.meta.url).href
    for (let at = 0; at < count; at++) {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: module })
      workers.push(worker)
      const [[v4]] = (await once(worker, 'message')) as [[number]]
      ports.push(v4)
    }
    await Promise.all(workers.map((worker) => worker.terminate()))
    for (const port of ports) quiet({ family: 4, port }).close()
    await collected()
    return { ports: ports.length, inExistence: native.socketsInExistence() }
  },

  /** One of two random ports is taken in IPv6 only. */
  async 'port collision'() {
    ip('link set lo up')
    writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', '40000 40001')
    const taken = quiet({ family: 6, port: 40000 })
    const found = new Set<number>()
    // The kernel chooses at random, so one try could be lucky. The NAT-T port is none of the random ones.
    for (let attempt = 0; attempt < 20; attempt++) {
      using test = new TestNetwork({ portNatT: 4500 })
      found.add(test.network.port)
    }
    const alsoTaken = quiet({ family: 6, port: 40001 })
    const none = failureOf({ portNatT: 4500 })
    taken.close()
    alsoTaken.close()
    return { found: [...found], none }
  },

  /** Datagrams pile up behind an unresolved link-layer address until there is no room, then all leave at once. */
  async 'full send buffer'(count: number, size: number) {
    const { peer, ask } = await linked()
    // Nobody answers ARP, and the kernel holds what waits for the answer, charged to the socket's send buffer.
    writeFileSync('/proc/sys/net/ipv4/neigh/near/unres_qlen_bytes', '100000000')
    writeFileSync('/proc/sys/net/ipv4/neigh/near/mcast_solicit', '100000')
    const { port, mac } = await ask({
      commands: ['link set lo up', 'addr add 192.0.2.2/24 dev far', 'link set far up arp off'],
      listen: 4,
    })
    using test = new TestNetwork({ families: [4] })
    const { network } = test
    const from = endpoint('0.0.0.0', network.port)
    const to = endpoint('192.0.2.2', port)
    const datagram = new Uint8Array(size)
    const view = new DataView(datagram.buffer)
    for (let number = 0; number < count; number++) {
      view.setUint32(0, number)
      network.send(datagram, from, to)
    }
    await turn()
    const full = network.counters()
    ip(`neigh replace 192.0.2.2 dev near lladdr ${mac} nud permanent`)
    // There is room again, but before the loop has seen it: what is sent now must not overtake what waits.
    view.setUint32(0, count)
    network.send(datagram, from, to)
    await turn()
    while (network.counters().queued > 0) await turn()
    const empty = network.counters()
    const { numbers } = await ask({ take: empty.sent })
    peer.disconnect()
    const errors = test.errors.map(({ error }) => described(error))
    return { full, empty, numbers, errors, totals: Object.fromEntries(network.errorTotals) }
  },

  /** Closes a socket whose datagrams wait. */
  async 'close while full'(count: number) {
    ip('link set lo up')
    ip('link add near type veth peer name far')
    ip('link set far up arp off')
    ip('addr add 192.0.2.1/24 dev near')
    ip('link set near up')
    writeFileSync('/proc/sys/net/ipv4/neigh/near/unres_qlen_bytes', '100000000')
    writeFileSync('/proc/sys/net/ipv4/neigh/near/mcast_solicit', '100000')
    const test = new TestNetwork({ families: [4] })
    const { network } = test
    for (let number = 0; number < count; number++) {
      network.send(new Uint8Array(100), endpoint('0.0.0.0', network.port), endpoint('192.0.2.2', 500))
    }
    await turn()
    const before = network.counters()
    network.close()
    return { before, after: network.counters() }
  },

  /** Counts in the firewall what a network with mark and DSCP sends, and of it what may not be fragmented. */
  async 'on the wire'() {
    ip('link set lo up')
    const rules = (family: string, never: string): string => `
      table ${family} t {
        chain c {
          type filter hook output priority 0
          udp dport 9 meta mark 0x1234 ${family} dscp ef counter
          udp dport 9 ${never} counter
        }
      }`
    execFileSync('nft', ['-f', '-'], { input: rules('ip', 'ip frag-off & 0x4000 != 0') + rules('ip6', 'meta mark != 0x1234') })
    using test = new TestNetwork({ mark: 0x1234, dscp: 46 })
    for (const [any, to] of [
      ['0.0.0.0', '127.0.0.1'],
      ['::', '::1'],
    ] as const) {
      test.network.send(Uint8Array.of(1), endpoint(any, test.network.port), endpoint(to, 9))
      test.network.send(Uint8Array.of(1), endpoint(any, test.network.portNatT), endpoint(to, 9))
    }
    await turn()
    const listing = JSON.parse(execFileSync('nft', ['-j', 'list', 'ruleset'], { encoding: 'utf8' })) as {
      readonly nftables: readonly { rule?: { expr: readonly { counter?: { packets: number } }[] } }[]
    }
    const expressions = listing.nftables.flatMap(({ rule }) => rule?.expr ?? [])
    return expressions.flatMap(({ counter }) => counter?.packets ?? [])
  },

  /** Policies block all UDP; only sockets with the bypass policy get through them, in both directions. */
  async 'past policies'(family: 4 | 6) {
    const { peer, ask } = await linked()
    const ours = family === 4 ? '192.0.2.1' : '2001:db8::1'
    const theirs = family === 4 ? '192.0.2.2' : '2001:db8::2'
    const length = family === 4 ? 24 : 64
    if (family === 6) ip(`addr add ${ours}/64 dev near nodad`)
    const address = `addr add ${theirs}/${length} dev far${family === 6 ? ' nodad' : ''}`
    // Neighbours are told, not discovered: what is late would be in the wrong order.
    const neighbour = `neigh replace ${ours} dev far lladdr ${linkOf('near').address} nud permanent`
    const { port, mac } = await ask({ commands: [address, 'link set far up', neighbour], listen: family })
    ip(`neigh replace ${theirs} dev near lladdr ${mac} nud permanent`)
    for (const direction of ['out', 'in']) {
      const [from, to] = direction === 'out' ? [ours, theirs] : [theirs, ours]
      ip(`xfrm policy add src ${from} dst ${to} proto udp dir ${direction} action block`)
    }
    using blocked = new TestNetwork({ families: [family] })
    using bypassing = new TestNetwork({ families: [family], bypassPolicy: true })
    for (const [at, { network }] of [blocked, bypassing].entries()) {
      network.send(Uint8Array.of(0, 0, 0, at), endpoint(ours, network.port), endpoint(theirs, port))
    }
    const { numbers } = await ask({ take: 1 })
    for (const { network } of [blocked, bypassing]) {
      await ask({ send: { bytes: [1], from: theirs, to: ours, port: network.port } })
    }
    await bypassing.take(1)
    const source = async ({ network }: TestNetwork): Promise<string | undefined> =>
      (await network.sourceFor(endpoint(theirs, 0).address))?.toString()
    const sources = { blocked: await source(blocked), bypassing: await source(bypassing) }
    peer.disconnect()
    return {
      numbers,
      sources,
      blocked: { ...blocked.network.counters(), errors: blocked.errors.length },
      bypassing: { ...bypassing.network.counters(), errors: bypassing.errors.length },
    }
  },

  /** Link-local addresses: we answer a peer we heard, and address one we never heard. */
  async 'link local'() {
    // A link that is there earlier: what names no interface goes there.
    ip('link add other type veth peer name away')
    ip('link set away up')
    ip('link set other addrgenmode none up')
    ip('addr add fe80::9/64 dev other nodad')
    const { peer, ask } = await linked()
    const commands = [
      'link set far addrgenmode none up',
      'addr add fe80::2/64 dev far nodad',
      'addr add fe80::3/64 dev far nodad',
    ]
    const { port } = await ask({ commands, listen: 6 })
    using test = new TestNetwork({ families: [6] })
    const { network } = test
    // Never heard: the interface is the one that has our own address.
    network.send(Uint8Array.of(0, 0, 0, 1), endpoint('fe80::1', network.port), endpoint('fe80::2', port))
    const first = await ask({ take: 1 })
    // Heard: it works even when our own address does not say which interface.
    await ask({ send: { bytes: [0, 0, 0, 2], from: 'fe80::3', to: 'fe80::1', port: network.port } })
    const [heard] = await test.take(1)
    network.send(Uint8Array.of(0, 0, 0, 3), endpoint('::', network.port), heard!.remote)
    const second = await ask({ take: 1 })
    peer.disconnect()
    return {
      first: first.numbers,
      heard: { local: heard!.local.address.toString(), remote: heard!.remote.address.toString(), bytes: [...heard!.bytes] },
      second: second.numbers,
      errors: test.errors.length,
    }
  },

  /** The other end of linked(): does what it is told until the channel closes. */
  async 'peer'() {
    let socket: UdpSocket | null = null
    const numbers: number[] = []
    let wanted = Infinity
    const tell = (): void => {
      if (numbers.length >= wanted) {
        process.send!({ numbers: numbers.splice(0, wanted) })
        wanted = Infinity
      }
    }
    process.on('disconnect', () => process.exit())
    process.on('message', (question: Question) => {
      for (const command of question.commands ?? []) ip(command)
      if (question.listen !== undefined) {
        socket = openUdpSocket(
          { family: question.listen, port: 0, receiveBufferBytes: 64 << 20 },
          (bytes) => {
            numbers.push(new DataView(bytes.buffer).getUint32(0))
            tell()
          },
          (error) => {
            throw error
          },
        )
        process.send!({ port: socket.port, mac: linkOf('far').address })
      } else if (question.take !== undefined) {
        wanted = question.take
        tell()
      } else if (question.send !== undefined) {
        const { bytes, from, to, port } = question.send
        socket!.send(Uint8Array.from(bytes), endpoint(from, 0).address, endpoint(to, port), linkOf('far').ifindex)
        socket!.flush()
        process.send!({})
      }
    })
    process.send!('ready')
    await once(process, 'disconnect')
  },
}

const [name, ...words] = process.argv.slice(2)
const run = scenarios[name as keyof Scenarios] as (...parameters: unknown[]) => unknown
const found = await run(...words.map((word) => JSON.parse(word) as unknown))
if (found !== undefined) process.stdout.write(JSON.stringify(found))
