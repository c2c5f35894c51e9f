/**
 * States in a kernel that has ESP. Our side is put in by the books over netlink, the peer's by `ip xfrm` with the same
 * keys in another namespace: what we call an algorithm, a window or a port must be what iproute2 calls it, or no packet
 * gets through.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { native, type NativeSocket } from '../../src/edge/native.ts'
import { type NetlinkKernel, openNetlinkKernel } from '../../src/edge/netlink.ts'
import { Books, type ChildInstallation, type InstalledChild, type Keying } from '../../src/kernel/books.ts'
import { NO_LIMITS, type KernelEvent, type Operation, type Outcome, type Usage } from '../../src/kernel/vocabulary.ts'
import type { EspAlgorithms } from '../../src/negotiate/algorithms.ts'
import { cipherKeyLength, kernelCipher, kernelIntegrity } from '../../src/kernel/xfrm/algorithms.ts'
import { counting, installation, policy, selector, state, traffic } from '../kernel/fixtures.ts'

const PEER = 'kernel-peer'
const US = IpAddress.parse('192.0.2.1')
const THEM = IpAddress.parse('192.0.2.2')
const US6 = IpAddress.parse('2001:db8::1')
const THEM6 = IpAddress.parse('2001:db8::2')
const OUR_NET = '10.1.0.0/16'
const THEIR_NET = '10.2.0.0/16'
const OUTBOUND_SPI = 0x00001234

const GCM: EspAlgorithms = { encryption: { id: 20, keyLength: 256 }, integrity: null }
const CHOICES: readonly EspAlgorithms[] = [
  GCM,
  { encryption: { id: 20, keyLength: 128 }, integrity: null },
  { encryption: { id: 19, keyLength: 192 }, integrity: null },
  { encryption: { id: 18, keyLength: 128 }, integrity: null },
  { encryption: { id: 28, keyLength: null }, integrity: null },
  { encryption: { id: 12, keyLength: 128 }, integrity: 2 },
  { encryption: { id: 12, keyLength: 256 }, integrity: 12 },
  { encryption: { id: 12, keyLength: 192 }, integrity: 13 },
  { encryption: { id: 12, keyLength: 256 }, integrity: 14 },
  { encryption: { id: 12, keyLength: 128 }, integrity: 5 },
  { encryption: { id: 12, keyLength: 128 }, integrity: 8 },
  { encryption: { id: 13, keyLength: 256 }, integrity: 12 },
  { encryption: { id: 11, keyLength: null }, integrity: 12 },
]

function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8' })
}

/** Several commands of ip in one process, in our namespace or the peer's. */
function ipBatch(namespace: string | null, lines: readonly string[]): void {
  const words = namespace === null ? ['-batch', '-'] : ['-n', namespace, '-batch', '-']
  execFileSync('ip', words, { input: `${lines.join('\n')}\n`, encoding: 'utf8' })
}

function nameOf({ encryption, integrity }: EspAlgorithms): string {
  const cipher = kernelCipher(encryption.id)!
  const bits = encryption.keyLength === null ? '' : ` ${encryption.keyLength}`
  const icv = cipher.icvBits === null ? '' : ` ICV ${cipher.icvBits}`
  return `${cipher.name}${bits}${icv}${integrity === null ? '' : ` with ${kernelIntegrity(integrity)!.name}`}`
}

function keying({ encryption, integrity }: EspAlgorithms, first: number): Keying {
  const length = cipherKeyLength(kernelCipher(encryption.id)!, encryption.keyLength)
  return {
    encryption: { ...encryption, key: new Secret(counting(first, length)) },
    integrity:
      integrity === null ? null : { id: integrity, key: new Secret(counting(first + 7, kernelIntegrity(integrity)!.keyLength)) },
  }
}

/** Algorithms and keys as `ip xfrm state add` wants them. */
function ipAlgorithms({ encryption, integrity }: Keying): string {
  const cipher = kernelCipher(encryption.id)!
  const key = encryption.key.length === 0 ? '""' : `0x${toHex(encryption.key.dangerouslyReveal())}`
  if (integrity === null) return `aead ${cipher.name} ${key} ${cipher.icvBits}`
  const auth = kernelIntegrity(integrity.id)!
  return `enc ${cipher.name} ${key} auth-trunc ${auth.name} 0x${toHex(integrity.key.dangerouslyReveal())} ${auth.truncatedBits}`
}

/** The peer's half of a child, put in by iproute2. `ports` are those of the ESP-in-UDP it sends, if other than the child's. */
function installPeer(child: ChildInstallation, ports = child.encapsulation): void {
  const encap = (source: number, destination: number): string => `encap espinudp ${source} ${destination} 0.0.0.0`
  const state = (source: IpAddress, destination: IpAddress, spi: number, keys: Keying, udp: string): string =>
    `xfrm state add src ${source.toString()} dst ${destination.toString()} proto esp spi ${spi} reqid 1 mode ${child.mode} ` +
    `replay-window 32 ${child.esn ? 'flag esn' : ''} ${child.mode === 'tunnel' ? 'flag af-unspec' : ''} ${ipAlgorithms(keys)} ${udp}`
  const [ours] = child.localSelectors
  const [theirs] = child.remoteSelectors
  const policy = (source: string, destination: string, direction: string, from: IpAddress, to: IpAddress): string =>
    `xfrm policy add src ${source} dst ${destination} dir ${direction} ` +
    `tmpl ${child.mode === 'tunnel' ? `src ${from.toString()} dst ${to.toString()}` : ''} proto esp reqid 1 mode ${child.mode}`
  const [ourNet, theirNet] = [ours!.range.toString(), theirs!.range.toString()]
  ipBatch(PEER, [
    state(
      child.local,
      child.remote,
      child.outboundSpi,
      child.outbound,
      child.encapsulation === null ? '' : encap(child.encapsulation.localPort, child.encapsulation.remotePort),
    ),
    state(
      child.remote,
      child.local,
      child.inboundSpi,
      child.inbound,
      ports === null ? '' : encap(ports.remotePort, ports.localPort),
    ),
    policy(theirNet, ourNet, 'out', child.remote, child.local),
    policy(ourNet, theirNet, 'in', child.local, child.remote),
  ])
}

function ping(source: string, destination: string, count = 2): boolean {
  const { status } = spawnSync('ping', ['-q', '-c', String(count), '-i', '0.2', '-W', '5', '-I', source, destination])
  return status === 0
}

/** All our states and policies but those of sockets, which go with their sockets. */
function ours(): string {
  return ip('xfrm', 'state') + ip('xfrm', 'policy', 'list', 'nosock')
}

/** What `ip -s xfrm state` says of each but for its ports, and when it was last used, which nobody can tell the kernel. */
function paragraphsOf(listing: string): readonly string[] {
  return listing
    .split(/\n(?=src )/)
    .map((text) =>
      text
        .replace(/\n\s*lastused .*/, '')
        .replace(/sport \d+ dport \d+/, '')
        .trim(),
    )
    .toSorted()
}

/** ICMP echo requests that have come. */
function echoesHeard(): number {
  const [names, values] = readFileSync('/proc/net/snmp', 'latin1')
    .match(/^Icmp: .*$/gm)!
    .map((line) => line.split(' '))
  return Number(values![names!.indexOf('InEchos')])
}

/** What IPsec has dropped of what has come, whatever for. */
function inboundDrops(): string {
  return (
    readFileSync('/proc/net/xfrm_stat', 'latin1')
      .match(/^XfrmIn.*(?<!\s0)$/gm)
      ?.join(', ') ?? ''
  )
}

/** Sends and does not wait for an answer. */
function poke(source: string, destination: string, count = 1): void {
  spawnSync('ping', ['-q', '-c', String(count), '-i', '0.2', '-W', '0.1', '-I', source, destination])
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let n = 0; !condition(); n++) {
    assert.ok(n < 600, what)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe('a kernel with ESP', () => {
  const events: KernelEvent[] = []
  const troubles: string[] = []
  let kernel: NetlinkKernel
  let books: Books
  let socket: NativeSocket
  let peerSocket: ChildProcess

  before(async () => {
    assert.doesNotMatch(
      ip('-o', 'address'),
      /scope global/,
      'this machine has addresses: run this by `scripts/lab run --`, it changes the network',
    )
    ip('netns', 'add', PEER)
    ipBatch(null, [
      'link set lo up',
      `link add wire type veth peer name wire netns ${PEER}`,
      'link set wire up',
      'address add 192.0.2.1/24 dev wire',
      'address add 2001:db8::1/64 dev wire nodad',
      'address add 10.1.0.1/32 dev lo',
      'address add fd00:1::1/128 dev lo nodad',
      'route add 10.2.0.0/16 via 192.0.2.2 src 10.1.0.1',
    ])
    ipBatch(PEER, [
      'link set lo up',
      'link set wire up',
      'address add 192.0.2.2/24 dev wire',
      'address add 2001:db8::2/64 dev wire nodad',
      'address add 10.2.0.1/32 dev lo',
      'address add fd00:2::1/128 dev lo nodad',
      'route add 10.1.0.0/16 via 192.0.2.1 src 10.2.0.1',
      'route add fd00:1::/32 via 2001:db8::1 src fd00:2::1',
    ])
    ip('route', 'add', 'fd00:2::/32', 'via', '2001:db8::2', 'src', 'fd00:1::1')
    // The sockets that take ESP out of UDP; on our side the daemon's own.
    socket = new native.UdpSocket(
      { family: 4, port: 4500, udpEncap: true, bypassPolicy: true },
      () => undefined,
      () => undefined,
    )
    const program = `import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 100, 2)
s.bind(('', 4500))
t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
t.setsockopt(17, 100, 2)
t.bind(('', 32100))
print('bound', flush=True)
sys.stdin.read()`
    peerSocket = spawn('ip', ['netns', 'exec', PEER, 'python3', '-c', program], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(peerSocket.stdout!, 'data')
    kernel = await openNetlinkKernel({
      onEvent: (event) => events.push(event),
      onTrouble: (sentence) => troubles.push(sentence),
      algorithms: CHOICES,
    })
  })
  after(async () => {
    peerSocket.kill()
    socket.close()
    await kernel.close()
    ip('link', 'del', 'wire')
    ipBatch(null, ['address del 10.1.0.1/32 dev lo', 'address del fd00:1::1/128 dev lo'])
    ip('netns', 'del', PEER)
  })
  beforeEach(() => {
    books = new Books(kernel)
    events.length = 0
  })
  afterEach(async () => {
    const refusals = await books.removeAll()
    const left = ours()
    // Whatever the test found: the next one starts with nothing.
    ipBatch(null, ['xfrm state flush', 'xfrm policy flush'])
    ipBatch(PEER, ['xfrm state flush', 'xfrm policy flush'])
    assert.deepEqual([refusals, left], [[], ''], 'removal leaves nothing')
  })

  const perform = async (operation: Operation): Promise<Outcome> => {
    const [outcome] = await kernel.perform([operation])
    return outcome!
  }
  const codeOf = (outcome: Outcome): string => (outcome.kind === 'refused' ? outcome.error.code : outcome.kind)

  const child = async (choice: EspAlgorithms, change: Partial<ChildInstallation> = {}): Promise<ChildInstallation> => {
    const [local, remote] = [change.local ?? US, change.remote ?? THEM]
    const inboundSpi = await books.allocateSpi(local, remote, change.mode ?? 'tunnel')
    return installation(inboundSpi, {
      local,
      remote,
      outboundSpi: OUTBOUND_SPI,
      inbound: keying(choice, 1),
      outbound: keying(choice, 101),
      localSelectors: [traffic(OUR_NET)],
      remoteSelectors: [traffic(THEIR_NET)],
      ...change,
    })
  }
  const usageOf = async (installed: InstalledChild): Promise<{ readonly in: Usage; readonly out: Usage }> => {
    const usage = await books.usage(installed)
    assert.ok(usage !== null)
    return usage
  }

  test('nothing is missing', () => {
    assert.deepEqual(kernel.capabilities, { missing: [], families: [4, 6], movesStates: true })
  })

  for (const choice of CHOICES) {
    test(`${nameOf(choice)} carries packets both ways`, async () => {
      const plan = await child(choice)
      const installed = await books.install(plan)
      installPeer(plan)
      assert.ok(ping('10.1.0.1', '10.2.0.1'))
      const usage = await usageOf(installed)
      assert.deepEqual([usage.out.packets, usage.in.packets, usage.out.bytes, usage.in.bytes], [2n, 2n, 168n, 168n])
      assert.deepEqual([usage.out.sequence, usage.in.sequence], [2n, 2n])
      assert.deepEqual([usage.in.replayed, usage.in.integrityFailed], [0, 0])
    })
  }

  test('extended sequence numbers and a wide window', async () => {
    for (const choice of [GCM, { encryption: { id: 12, keyLength: 256 }, integrity: 12 }]) {
      const plan = await child(choice, { esn: true, replayWindow: 1024 })
      const installed = await books.install(plan)
      installPeer(plan)
      assert.ok(ping('10.1.0.1', '10.2.0.1'))
      assert.equal((await usageOf(installed)).in.sequence, 2n)
      assert.match(ip('-s', 'xfrm', 'state'), /replay_window 1024, bitmap-length 32/)
      await books.remove(installed)
      ipBatch(PEER, ['xfrm state flush', 'xfrm policy flush'])
    }
  })

  test('ESP in UDP, and ports that move in place without losing a sequence number', async () => {
    const plan = await child(GCM, { encapsulation: { localPort: 4500, remotePort: 4500 } })
    const installed = await books.install(plan)
    installPeer(plan)
    assert.ok(ping('10.1.0.1', '10.2.0.1'))
    const encapsulation = { localPort: 4500, remotePort: 32100 }
    const to = { local: plan.local, remote: plan.remote, encapsulation }
    assert.deepEqual((await books.move([{ installed, to, dynamic: { local: false, remote: false } }])).errors, [])
    assert.match(ip('xfrm', 'state'), /type espinudp sport 4500 dport 32100[\s\S]*type espinudp sport 32100 dport 4500/)
    assert.ok(ping('10.1.0.1', '10.2.0.1'), 'the peer takes what comes to its other socket')
    const usage = await usageOf(installed)
    assert.deepEqual([usage.out.sequence, usage.in.sequence, usage.in.replayed], [4n, 4n, 0])
  })

  test('to another address and back, into UDP and out of it: keys, sequence numbers, window, age and use are what they were', async () => {
    for (const change of [{ esn: true, replayWindow: 1024 }, { replayWindow: 32 }]) {
      for (const choice of [GCM, { encryption: { id: 12, keyLength: 256 }, integrity: 12 }]) {
        const plan = await child(choice, { ...change, encapsulation: { localPort: 4500, remotePort: 4500 } })
        const installed = await books.install(plan)
        installPeer(plan)
        assert.ok(ping('10.1.0.1', '10.2.0.1'))
        const before = ip('-s', 'xfrm', 'state')
        const dynamic = { local: false, remote: false }
        const move = async (remote: string, encapsulation: ChildInstallation['encapsulation']): Promise<void> => {
          const to = { local: plan.local, remote: IpAddress.parse(remote), encapsulation }
          assert.deepEqual((await books.move([{ installed, to, dynamic }])).errors, [])
        }
        await move('192.0.2.77', { localPort: 4500, remotePort: 32_100 })
        const elsewhere = before.replaceAll('192.0.2.2', '192.0.2.77')
        assert.deepEqual(paragraphsOf(ip('-s', 'xfrm', 'state')), paragraphsOf(elsewhere))
        assert.doesNotMatch(ip('xfrm', 'policy', 'list', 'nosock'), /192\.0\.2\.2\b|action block/)
        await move('192.0.2.2', null)
        assert.doesNotMatch(ip('xfrm', 'state'), /encap/)
        await move('192.0.2.2', { localPort: 4500, remotePort: 4500 })
        assert.deepEqual(paragraphsOf(ip('-s', 'xfrm', 'state')), paragraphsOf(before))
        assert.ok(ping('10.1.0.1', '10.2.0.1'), 'the numbers go on where they ended')
        const usage = await usageOf(installed)
        assert.deepEqual([usage.out.sequence, usage.in.sequence, usage.in.replayed], [4n, 4n, 0])
        await books.remove(installed)
        ipBatch(PEER, ['xfrm state flush', 'xfrm policy flush'])
      }
    }
  })

  test('what comes in is let in at every moment of moves to another address and back, old and new of a rekeying', async () => {
    const encapsulation = { localPort: 4500, remotePort: 4500 }
    const plan = await child(GCM, { encapsulation })
    const old = await books.install(plan)
    installPeer(plan)
    const young = await books.install(await child(GCM, { encapsulation, outboundSpi: OUTBOUND_SPI + 1 }))
    assert.equal(old.reqid, young.reqid)
    const [heardBefore, droppedBefore] = [echoesHeard(), inboundDrops()]
    // The peer sends on the old one; nobody answers.
    const args = ['netns', 'exec', PEER, 'ping', '-q', '-i', '0.004', '-W', '1', '-I', '10.2.0.1', '10.1.0.1']
    const flood = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    flood.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    const end = once(flood, 'close')
    // Many times, and for as long as it takes to send many.
    let moves = 0
    while (moves < 10 || echoesHeard() < heardBefore + 300) {
      assert.ok(moves < 2000, `${echoesHeard() - heardBefore} packets in ${moves} moves`)
      const remote = moves % 2 === 0 ? IpAddress.parse('192.0.2.77') : plan.remote
      const to = { local: plan.local, remote, encapsulation: { localPort: 4500, remotePort: 4500 + (moves % 2) } }
      const dynamic = { local: false, remote: false }
      const { errors } = await books.move([old, young].map((installed) => ({ installed, to, dynamic })))
      assert.deepEqual(errors, [])
      for (const { inbound } of [old, young]) assert.deepEqual(inbound.source, remote)
      const shown = ip('xfrm', 'state')
      assert.equal(shown.split(`src ${remote.toString()} dst ${plan.local.toString()}`).length, 3, 'both are there')
      moves++
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    // It tells how many it sent.
    flood.kill('SIGINT')
    await end
    const sent = Number(/^(\d+) packets transmitted/m.exec(said)?.[1])
    for (let n = 0; n < 60 && echoesHeard() - heardBefore < sent; n++) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual([echoesHeard() - heardBefore, inboundDrops()], [sent, droppedBefore], `${moves} moves: ${said}`)
  })

  test('an update that the kernel would silently ignore is refused, one that it refuses is, too', async () => {
    const plan = await child(GCM, { encapsulation: { localPort: 4500, remotePort: 4500 } })
    const { inbound } = await books.install(plan)
    const moved = await perform({ op: 'update-state', state: { ...inbound, source: IpAddress.parse('192.0.2.77') } })
    assert.equal(codeOf(moved), 'KERNEL_UNCHANGED')
    assert.equal(codeOf(await perform({ op: 'update-state', state: { ...inbound, encapsulation: null } })), 'KERNEL_REFUSED')
    assert.equal(codeOf(await perform({ op: 'update-state', state: { ...inbound, spi: 0xc0000001 } })), 'KERNEL_NO_SUCH_STATE')
    assert.equal(codeOf(await perform({ op: 'update-state', state: inbound })), 'done')
  })

  test('a packet from another port is taken, and told of', async () => {
    const plan = await child(GCM, { encapsulation: { localPort: 4500, remotePort: 4500 } })
    const installed = await books.install(plan)
    installPeer(plan, { localPort: 4500, remotePort: 32100 })
    assert.ok(ping('10.1.0.1', '10.2.0.1'))
    // Of a state that another test had there may be news on its way still.
    const { spi } = installed.inbound
    const mappings = (): readonly Extract<KernelEvent, { event: 'mapping' }>[] =>
      events.filter(
        (event): event is Extract<KernelEvent, { event: 'mapping' }> => event.event === 'mapping' && event.spi === spi,
      )
    await until(() => mappings().length >= 2, 'one mapping event a packet')
    const [event] = mappings()
    assert.ok(event !== undefined)
    assert.deepEqual(
      [event.spi, event.reqid, event.destination.toString(), event.from.toString(), event.to.toString()],
      [spi, 7, '192.0.2.1', '192.0.2.2[4500]', '192.0.2.2[32100]'],
    )
    assert.equal(books.childOf(event), installed)
  })

  test('the bare form is not taken where UDP is expected', async () => {
    const plan = await child(GCM, { encapsulation: { localPort: 4500, remotePort: 4500 } })
    const installed = await books.install(plan)
    installPeer({ ...plan, encapsulation: null })
    poke('10.1.0.1', '10.2.0.1')
    assert.equal((await usageOf(installed)).in.packets, 0n)
  })

  test('time limits expire, softly and hard', async () => {
    // Far enough apart for a machine that stands still in between: the kernel does not tell of the first after the second.
    const limits = { ...NO_LIMITS, softSeconds: 1, hardSeconds: 6 }
    const plan = await child(GCM, { limits: { in: limits, out: limits } })
    const installed = await books.install(plan)
    const expiries = (hard: boolean): readonly number[] =>
      events.flatMap((event) => (event.event === 'expire' && event.hard === hard ? [event.id.spi] : []))
    await until(() => expiries(true).length === 2, 'both states expire')
    const spis = new Set([installed.inbound.spi, OUTBOUND_SPI])
    assert.deepEqual([new Set(expiries(false)), new Set(expiries(true))], [spis, spis])
    assert.deepEqual(await books.survey(), [{ child: installed, usage: null }])
    assert.equal(await books.usage(installed), null)
    // What is gone already does not keep the rest from being removed.
    await books.remove(installed)
  })

  test('packet limits expire', async () => {
    const limits = { ...NO_LIMITS, softPackets: 1n, hardPackets: 3n }
    const plan = await child(GCM, { limits: { in: limits, out: limits } })
    const installed = await books.install(plan)
    installPeer(plan)
    poke('10.1.0.1', '10.2.0.1', 5)
    const outbound = (hard: boolean) => (event: KernelEvent) =>
      event.event === 'expire' && event.hard === hard && books.childOf(event.id) === installed
    await until(() => events.some(outbound(true)), 'the hard limit is told of')
    assert.ok(events.some(outbound(false)))
  })

  test('an acquire is answered by the state that carries its sequence number', async () => {
    const trap = policy({
      selector: selector(OUR_NET, THEIR_NET),
      priority: 399_000,
      template: { source: US, destination: THEM, mode: 'tunnel', reqid: 7, spi: 0 },
    })
    assert.equal(codeOf(await perform({ op: 'set-policy', policy: trap })), 'done')
    poke('10.1.0.1', '10.2.0.1', 2)
    // Of a state that another test had there may be news on its way still.
    const acquires = (): readonly Extract<KernelEvent, { event: 'acquire' }>[] =>
      events.filter((event) => event.event === 'acquire')
    await until(() => acquires().length > 0, 'an acquire comes')
    const [event] = acquires()
    assert.ok(event !== undefined && acquires().length === 1)
    assert.deepEqual([event.reqid, event.source.toString(), event.destination.toString()], [7, '192.0.2.1', '192.0.2.2'])
    assert.deepEqual([event.packet.source.toString(), event.policy.destination.toString()], ['10.1.0.1/32', THEIR_NET])
    assert.match(ip('xfrm', 'state'), /spi 0x00000000/)
    const plan = await child(GCM, { acquireSequence: event.sequence })
    await books.install(plan)
    installPeer(plan)
    assert.doesNotMatch(ip('xfrm', 'state'), /spi 0x00000000/)
    assert.ok(ping('10.1.0.1', '10.2.0.1'))
  })

  test('an SPI whose reservation is gone is installed all the same', async () => {
    const plan = await child(GCM)
    ip('xfrm', 'state', 'flush')
    await books.install(plan)
    installPeer(plan)
    assert.ok(ping('10.1.0.1', '10.2.0.1'))
  })

  test('transport mode between the hosts themselves', async () => {
    const plan = await child(GCM, {
      mode: 'transport',
      localSelectors: [traffic('192.0.2.1', 1)],
      remoteSelectors: [traffic('192.0.2.2', 1)],
    })
    const installed = await books.install(plan)
    installPeer(plan)
    assert.ok(ping('192.0.2.1', '192.0.2.2'))
    assert.equal((await usageOf(installed)).in.packets, 2n)
  })

  test('IPv6 in IPv6, and IPv4 in IPv6', async () => {
    for (const [ours, theirs, from, to] of [
      ['fd00:1::/32', 'fd00:2::/32', 'fd00:1::1', 'fd00:2::1'],
      [OUR_NET, THEIR_NET, '10.1.0.1', '10.2.0.1'],
    ] as const) {
      const plan = await child(GCM, {
        local: US6,
        remote: THEM6,
        localSelectors: [traffic(ours)],
        remoteSelectors: [traffic(theirs)],
      })
      const installed = await books.install(plan)
      installPeer(plan)
      assert.ok(ping(from, to), `${from} to ${to}`)
      assert.equal((await usageOf(installed)).in.packets, 2n)
      await books.remove(installed)
      ipBatch(PEER, ['xfrm state flush', 'xfrm policy flush'])
    }
  })

  test('a rekey: the new SA sends at once, the old one still receives, and goes', async () => {
    const first = await child(GCM)
    const old = await books.install(first)
    installPeer(first)
    const second = await child(GCM, { outboundSpi: OUTBOUND_SPI + 1, inbound: keying(GCM, 30), outbound: keying(GCM, 60) })
    const young = await books.install(second)
    ipBatch(PEER, ['xfrm policy flush'])
    installPeer(second)
    assert.ok(ping('10.1.0.1', '10.2.0.1'))
    assert.deepEqual([(await usageOf(old)).out.packets, (await usageOf(young)).out.packets], [0n, 2n])
    await books.remove(old)
    assert.ok(ping('10.1.0.1', '10.2.0.1'))
    assert.equal((await usageOf(young)).out.packets, 4n)
  })

  test("what is half in when the kernel refuses is taken out, and nothing of somebody else's", async () => {
    ip(
      'xfrm',
      'state',
      'add',
      'src',
      '192.0.2.1',
      'dst',
      '192.0.2.2',
      'proto',
      'esp',
      'spi',
      String(OUTBOUND_SPI),
      'mode',
      'tunnel',
      'enc',
      'ecb(cipher_null)',
      '',
    )
    const theirs = ours()
    assert.notEqual(theirs, '')
    await assert.rejects(books.install(await child(GCM)), { code: 'KERNEL_EXISTS', errno: 17 })
    assert.equal(ours(), theirs)
    ip('xfrm', 'state', 'flush')
  })

  test('an update changes the ports and the limits of a state, and nothing of its keys', async () => {
    const limits = { ...NO_LIMITS, hardSeconds: 3600 }
    const plan = await child(GCM, { encapsulation: { localPort: 4500, remotePort: 4500 } })
    const installed = await books.install(plan)
    installPeer(plan)
    const zeros = { ...GCM.encryption, key: new Secret(new Uint8Array(36)) }
    for (const one of [installed.inbound, installed.outbound]) {
      assert.equal(codeOf(await perform({ op: 'update-state', state: state({ ...one, encryption: zeros, limits }) })), 'done')
    }
    assert.match(ip('-s', 'xfrm', 'state'), /expire add: soft 0\(sec\), hard 3600\(sec\)/)
    assert.ok(ping('10.1.0.1', '10.2.0.1'), 'the kernel kept the keys it had')
  })

  test('nothing troubled the sockets', () => {
    assert.deepEqual(troubles, [])
  })
})
