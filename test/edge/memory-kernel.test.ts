/**
 * The kernel in memory keeps the rules of Linux: two of them, and packets between them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import {
  ACQUIRE_EXPIRES,
  MemoryKernel,
  type PlainPacket,
  type ProtectedPacket,
  type Protection,
} from '../../src/edge/memory-kernel.ts'
import { probeKernel } from '../../src/kernel/check.ts'
import {
  NO_LIMITS,
  type KernelEvent,
  type Operation,
  type Outcome,
  type Policy,
  type State,
} from '../../src/kernel/vocabulary.ts'
import { cbc, CountingEntropy, gcm, HandClock, LEFT, policy, RIGHT, selector, state } from '../kernel/fixtures.ts'

const TO_RIGHT: PlainPacket = {
  source: IpAddress.parse('10.1.0.1'),
  destination: IpAddress.parse('10.2.3.1'),
  protocol: 17,
  sourcePort: 1000,
  destinationPort: 53,
  length: 100,
}

class Host {
  readonly clock: HandClock
  readonly events: KernelEvent[] = []
  readonly kernel: MemoryKernel
  constructor(clock = new HandClock()) {
    this.clock = clock
    this.kernel = new MemoryKernel({ clock, entropy: new CountingEntropy(), onEvent: (event) => this.events.push(event) })
  }
  async do(operation: Operation): Promise<Outcome> {
    const [outcome] = await this.kernel.perform([operation])
    return outcome!
  }
  async must(...operations: readonly Operation[]): Promise<void> {
    for (const outcome of await this.kernel.perform(operations)) assert.notEqual(outcome.kind, 'refused')
  }
  protect(packet = TO_RIGHT): ProtectedPacket {
    const protection = this.kernel.protect(packet)
    assert.ok(protection.kind === 'protected', protection.kind)
    return protection.packet
  }
}

const SPI = 0xc0000005
const OUT: State = state({ spi: SPI, direction: 'out', source: LEFT, destination: RIGHT })
const IN: State = state({ spi: SPI, direction: 'in', source: LEFT, destination: RIGHT })
const OUT_POLICY: Policy = policy({ template: { source: LEFT, destination: RIGHT, mode: 'tunnel', reqid: 7, spi: SPI } })
const IN_POLICY: Policy = policy({
  direction: 'fwd',
  template: { source: LEFT, destination: RIGHT, mode: 'tunnel', reqid: 7, spi: 0 },
})

async function pair(change: Partial<State> = {}): Promise<{ left: Host; right: Host }> {
  const left = new Host()
  const right = new Host(left.clock)
  await left.must({ op: 'add-state', state: { ...OUT, ...change } }, { op: 'set-policy', policy: OUT_POLICY })
  await right.must({ op: 'add-state', state: { ...IN, ...change } }, { op: 'set-policy', policy: IN_POLICY })
  return { left, right }
}

function code(outcome: Outcome): string {
  return outcome.kind === 'refused' ? outcome.error.code : outcome.kind
}
const counterOf = (reception: ReturnType<MemoryKernel['receive']>): string =>
  reception.kind === 'dropped' ? reception.counter : reception.kind
const blockedBy = (protection: Protection): string => (protection.kind === 'blocked' ? protection.counter : protection.kind)

test('a packet goes through a tunnel, and both ends count it', async () => {
  const { left, right } = await pair()
  const packet = left.protect()
  assert.deepEqual([packet.source, packet.destination, packet.spi, packet.sequence], [LEFT, RIGHT, SPI, 1n])
  assert.deepEqual(right.kernel.receive(packet), { kind: 'delivered', packet: TO_RIGHT })
  for (const host of [left, right]) {
    const outcome = await host.do({ op: 'query-state', id: OUT })
    assert.ok(outcome.kind === 'usage')
    assert.deepEqual(outcome.usage, {
      bytes: 100n,
      packets: 1n,
      lastUsedSeconds: 1_700_000_001,
      sequence: 1n,
      replayed: 0,
      integrityFailed: 0,
    })
  }
})

test('states are unique by destination and SPI, and refused as Linux refuses them', async () => {
  const host = new Host()
  await host.must({ op: 'add-state', state: IN })
  assert.equal(code(await host.do({ op: 'add-state', state: IN })), 'KERNEL_EXISTS')
  await host.must({ op: 'add-state', state: { ...IN, destination: LEFT } })
  assert.equal(code(await host.do({ op: 'update-state', state: { ...IN, spi: 1 } })), 'KERNEL_NO_SUCH_STATE')
  assert.equal(
    code(await host.do({ op: 'update-state', state: { ...IN, encapsulation: { sourcePort: 1, destinationPort: 2 } } })),
    'KERNEL_REFUSED',
  )
  assert.equal(code(await host.do({ op: 'update-state', state: { ...IN, source: RIGHT } })), 'KERNEL_UNCHANGED')
  await host.must({ op: 'delete-state', id: IN })
  assert.equal(code(await host.do({ op: 'delete-state', id: IN })), 'KERNEL_NO_SUCH_STATE')
  assert.equal(code(await host.do({ op: 'query-state', id: IN })), 'KERNEL_NO_SUCH_STATE')
  assert.equal(code(await host.do({ op: 'delete-policy', id: OUT_POLICY })), 'KERNEL_NO_SUCH_POLICY')
})

test('reserved SPIs differ, are installed over, given back, or die', async () => {
  const host = new Host()
  const allocate = async (): Promise<number> => {
    const outcome = await host.do({ op: 'allocate-spi', source: LEFT, destination: RIGHT, reqid: 0, mode: 'tunnel' })
    assert.ok(outcome.kind === 'spi')
    assert.equal(outcome.spi >>> 28, 0xc)
    return outcome.spi
  }
  const [a, b, c] = [await allocate(), await allocate(), await allocate()]
  assert.equal(new Set([a, b, c]).size, 3)
  await host.must({ op: 'add-state', state: { ...IN, spi: a } }, { op: 'delete-state', id: { ...IN, spi: b } })
  assert.deepEqual(
    host.kernel.reservations().map(({ spi }) => spi),
    [c],
  )
  host.clock.at += ACQUIRE_EXPIRES
  assert.deepEqual(host.kernel.reservations(), [])
  await host.must({ op: 'add-state', state: { ...IN, spi: c } })
})

test('a packet for a reserved or unknown SPI, or one in the wrong form, is dropped as Linux counts it', async () => {
  const { left, right } = await pair()
  const packet = left.protect()
  const udp = { ...packet, encapsulation: { sourcePort: 4500, destinationPort: 4500 } }
  assert.equal(counterOf(right.kernel.receive(udp)), 'XfrmInStateMismatch')
  assert.equal(counterOf(right.kernel.receive({ ...packet, spi: 1 })), 'XfrmInNoStates')
  assert.equal(counterOf(right.kernel.receive({ ...packet, mode: 'transport' })), 'XfrmInStateModeError')
  const reserved = await right.do({ op: 'allocate-spi', source: LEFT, destination: RIGHT, reqid: 0, mode: 'tunnel' })
  assert.ok(reserved.kind === 'spi')
  assert.equal(counterOf(right.kernel.receive({ ...packet, spi: reserved.spi })), 'XfrmAcquireError')
  assert.equal(counterOf(left.kernel.receive({ ...packet, destination: RIGHT })), 'XfrmInNoStates')
  assert.deepEqual(
    [...right.kernel.counters()],
    [
      ['XfrmInStateMismatch', 1],
      ['XfrmInNoStates', 1],
      ['XfrmInStateModeError', 1],
      ['XfrmAcquireError', 1],
    ],
  )
  assert.equal(counterOf(right.kernel.receive(packet)), 'delivered')
})

test('other keys, algorithms or sequence number lengths do not authenticate', async () => {
  for (const change of [gcm(2), cbc(), { esn: true }, { ...cbc(), integrity: { id: 14, key: cbc().integrity!.key } }]) {
    const { left, right } = await pair(cbc(9))
    await right.must({ op: 'delete-state', id: IN }, { op: 'add-state', state: { ...IN, ...cbc(9), ...change } })
    assert.equal(counterOf(right.kernel.receive(left.protect())), 'XfrmInStateProtoError')
    const outcome = await right.do({ op: 'query-state', id: IN })
    assert.ok(outcome.kind === 'usage' && outcome.usage.integrityFailed === 1 && outcome.usage.packets === 0n)
  }
  const { left, right } = await pair(cbc(9))
  assert.equal(counterOf(right.kernel.receive(left.protect())), 'delivered')
})

test('replays are dropped, packets late within the window are not, those behind it are', async () => {
  const { left, right } = await pair({ replayWindow: 4 })
  const packets = Array.from({ length: 10 }, () => left.protect())
  const receive = (n: number): string => counterOf(right.kernel.receive(packets[n - 1]!))
  assert.deepEqual(
    [receive(2), receive(2), receive(1), receive(9), receive(6), receive(5), receive(9)],
    ['delivered', 'XfrmInStateSeqError', 'delivered', 'delivered', 'delivered', 'XfrmInStateSeqError', 'XfrmInStateSeqError'],
  )
  const outcome = await right.do({ op: 'query-state', id: IN })
  assert.ok(outcome.kind === 'usage' && outcome.usage.replayed === 3 && outcome.usage.sequence === 9n)
})

test('without a window nothing is a replay', async () => {
  const { left, right } = await pair({ replayWindow: 0 })
  const packet = left.protect()
  assert.deepEqual([counterOf(right.kernel.receive(packet)), counterOf(right.kernel.receive(packet))], ['delivered', 'delivered'])
})

test('an encapsulated packet from elsewhere is taken and told of, each one, until the state is updated', async () => {
  const encapsulation = { sourcePort: 4500, destinationPort: 4500 }
  const { left, right } = await pair({ encapsulation })
  const behindNat = (): ProtectedPacket => ({
    ...left.protect(),
    source: IpAddress.parse('203.0.113.9'),
    encapsulation: { sourcePort: 32100, destinationPort: 4500 },
  })
  assert.equal(counterOf(right.kernel.receive(left.protect())), 'delivered')
  assert.deepEqual(right.events, [])
  assert.equal(counterOf(right.kernel.receive(behindNat())), 'delivered')
  assert.equal(counterOf(right.kernel.receive(behindNat())), 'delivered')
  const mapping: KernelEvent = {
    event: 'mapping',
    spi: SPI,
    reqid: 7,
    destination: RIGHT,
    from: new Endpoint(LEFT, 4500),
    to: new Endpoint(IpAddress.parse('203.0.113.9'), 32100),
  }
  assert.deepEqual(right.events, [mapping, mapping])
  // A forged one tells of nothing.
  right.kernel.receive({ ...behindNat(), seal: 'forged' })
  assert.equal(right.events.length, 2)
  await right.must({ op: 'update-state', state: { ...IN, encapsulation: { sourcePort: 32100, destinationPort: 4500 } } })
  right.kernel.receive({ ...left.protect(), encapsulation: { sourcePort: 32100, destinationPort: 4500 } })
  assert.equal(right.events.length, 2)
  const outcome = await right.do({ op: 'query-state', id: IN })
  assert.ok(outcome.kind === 'usage' && outcome.usage.sequence === 5n, 'an update keeps the sequence number')
})

test('policies: none is clear, block blocks, the lowest priority wins, the older of equal ones', async () => {
  const host = new Host()
  assert.equal(host.kernel.protect(TO_RIGHT).kind, 'clear')
  const any = policy({ selector: selector('0.0.0.0/0', '0.0.0.0/0'), action: 'block', template: null, priority: 500 })
  await host.must({ op: 'set-policy', policy: any })
  assert.equal(blockedBy(host.kernel.protect(TO_RIGHT)), 'XfrmOutPolBlock')
  const pass = policy({ selector: selector('10.0.0.0/8', '10.0.0.0/8'), template: null, priority: 500 })
  await host.must({ op: 'set-policy', policy: pass })
  assert.equal(host.kernel.protect(TO_RIGHT).kind, 'blocked')
  await host.must({ op: 'set-policy', policy: { ...pass, priority: 499 } })
  assert.equal(host.kernel.protect(TO_RIGHT).kind, 'clear')
  assert.equal(
    host.kernel.protect({ ...TO_RIGHT, source: IpAddress.parse('2001:db8::1'), destination: IpAddress.parse('2001:db8::2') })
      .kind,
    'clear',
  )
  await host.must({ op: 'delete-policy', id: pass })
  assert.equal(host.kernel.protect(TO_RIGHT).kind, 'blocked')
})

test('a selector is about protocol and ports, too, and its ports are masks', async () => {
  const host = new Host()
  const dns = selector('10.1.0.0/16', '10.2.3.0/24', { protocol: 17, destinationPorts: { first: 50, last: 53 } })
  await host.must({ op: 'set-policy', policy: policy({ selector: dns, action: 'block', template: null }) })
  const kind = (change: Partial<PlainPacket>): string => host.kernel.protect({ ...TO_RIGHT, ...change }).kind
  assert.deepEqual(
    [kind({}), kind({ protocol: 6 }), kind({ destinationPort: 48 }), kind({ destinationPort: 56 })],
    ['blocked', 'clear', 'blocked', 'clear'],
  )
})

test('a packet without a state raises one acquire, and the state that answers it lets the next one through', async () => {
  const { kernel, events, ...host } = new Host()
  await kernel.perform([{ op: 'set-policy', policy: { ...OUT_POLICY, template: { ...OUT_POLICY.template!, spi: 0 } } }])
  assert.deepEqual([kernel.protect(TO_RIGHT).kind, kernel.protect(TO_RIGHT).kind], ['acquire', 'acquire'])
  assert.deepEqual(events, [
    {
      event: 'acquire',
      sequence: 1,
      reqid: 7,
      source: LEFT,
      destination: RIGHT,
      packet: selector('10.1.0.1', '10.2.3.1', {
        protocol: 17,
        sourcePorts: { first: 1000, last: 1000 },
        destinationPorts: { first: 53, last: 53 },
      }),
      policy: OUT_POLICY.selector,
    },
  ])
  host.clock.at += ACQUIRE_EXPIRES
  assert.equal(kernel.protect(TO_RIGHT).kind, 'acquire')
  assert.equal(events.length, 2, 'an unanswered acquire is repeated when it has died')
  await kernel.perform([{ op: 'add-state', state: { ...OUT, acquireSequence: 2 } }])
  assert.equal(kernel.protect(TO_RIGHT).kind, 'protected')
  await kernel.perform([{ op: 'delete-state', id: OUT }])
  assert.equal(kernel.protect(TO_RIGHT).kind, 'acquire')
  assert.equal(events.length, 3, 'an answered acquire does not hold back the next')
})

test('of several states that fit, the newest sends, unless the policy names one', async () => {
  const { left } = await pair()
  await left.must({ op: 'add-state', state: { ...OUT, spi: 9 } })
  assert.equal(left.protect().spi, SPI)
  await left.must({ op: 'set-policy', policy: { ...OUT_POLICY, template: { ...OUT_POLICY.template!, spi: 0 } } })
  assert.equal(left.protect().spi, 9)
  await left.must({ op: 'set-policy', policy: { ...OUT_POLICY, template: { ...OUT_POLICY.template!, reqid: 8 } } })
  assert.equal(left.kernel.protect(TO_RIGHT).kind, 'acquire')
})

test('what a policy wants protected is not let in otherwise', async () => {
  const { left, right } = await pair()
  assert.equal(counterOf(right.kernel.receiveClear({ ...TO_RIGHT })), 'delivered')
  await right.must({ op: 'set-policy', policy: { ...IN_POLICY, direction: 'in' } })
  assert.equal(counterOf(right.kernel.receiveClear(TO_RIGHT)), 'XfrmInTmplMismatch')
  await right.must({ op: 'set-policy', policy: { ...IN_POLICY, template: { ...IN_POLICY.template!, reqid: 8 } } })
  assert.equal(counterOf(right.kernel.receive(left.protect())), 'XfrmInTmplMismatch')
  await right.must({
    op: 'set-policy',
    policy: { ...IN_POLICY, template: { ...IN_POLICY.template!, source: IpAddress.parse('203.0.113.1') } },
  })
  assert.equal(counterOf(right.kernel.receive(left.protect())), 'XfrmInTmplMismatch')
  await right.must({ op: 'set-policy', policy: { ...IN_POLICY, action: 'block', template: null } })
  assert.equal(counterOf(right.kernel.receive(left.protect())), 'XfrmInPolBlock')
  await right.must({ op: 'set-policy', policy: { ...IN_POLICY, template: null } })
  assert.equal(counterOf(right.kernel.receive(left.protect())), 'delivered')
})

test('transport mode: a packet arrives with the addresses the NATs gave it, and the state checks them', async () => {
  const left = new Host()
  const right = new Host()
  const packet: PlainPacket = { ...TO_RIGHT, source: LEFT, destination: RIGHT }
  const transport = { mode: 'transport', encapsulation: { sourcePort: 4500, destinationPort: 4500 } } as const
  const template = { source: LEFT, destination: RIGHT, mode: 'transport', reqid: 7, spi: 0 } as const
  const addresses = selector('192.0.2.1', '198.51.100.2')
  await left.must(
    { op: 'add-state', state: { ...OUT, ...transport, selector: addresses } },
    { op: 'set-policy', policy: policy({ selector: addresses, template }) },
  )
  await right.must(
    { op: 'add-state', state: { ...IN, ...transport } },
    { op: 'set-policy', policy: policy({ direction: 'in', selector: addresses, template }) },
  )
  const natted = IpAddress.parse('203.0.113.9')
  assert.deepEqual(right.kernel.receive({ ...left.protect(packet), source: natted }), {
    kind: 'delivered',
    packet: { ...packet, source: natted },
  })
  assert.equal(counterOf(right.kernel.receive(left.protect(packet))), 'delivered')
  await right.must(
    { op: 'delete-state', id: IN },
    { op: 'add-state', state: { ...IN, ...transport, selector: selector('10.0.0.0/8', '10.0.0.0/8') } },
  )
  assert.equal(counterOf(right.kernel.receive(left.protect(packet))), 'XfrmInStateMismatch')
})

test('limits of bytes and packets: the soft one is told of once, at the hard one the state is gone', async () => {
  const { left } = await pair({ limits: { ...NO_LIMITS, softPackets: 1n, hardPackets: 3n } })
  for (let n = 0; n < 3; n++) left.protect()
  const expire = (hard: boolean): KernelEvent => ({
    event: 'expire',
    id: { spi: SPI, source: LEFT, destination: RIGHT, mark: null },
    reqid: 7,
    hard,
  })
  assert.deepEqual(left.events, [expire(false)])
  assert.equal(blockedBy(left.kernel.protect(TO_RIGHT)), 'XfrmOutStateExpired')
  assert.deepEqual(left.events, [expire(false), expire(true)])
  assert.deepEqual(left.kernel.states(), [])

  const { left: sender, right } = await pair({ limits: { ...NO_LIMITS, hardBytes: 150n } })
  const first = sender.protect()
  const packets = [first, { ...first, sequence: 2n }, { ...first, sequence: 3n }]
  assert.deepEqual(
    packets.map((packet) => counterOf(right.kernel.receive(packet))),
    ['delivered', 'delivered', 'XfrmInStateExpired'],
  )
  assert.deepEqual(right.events, [expire(true)])
})

test('limits of time: soft, hard, in their order; an update arms the soft one again, as Linux does', async () => {
  const limits = { ...NO_LIMITS, softSeconds: 10, hardSeconds: 20 }
  const { left } = await pair({ limits })
  const { clock, kernel, events } = left
  assert.equal(kernel.nextTimeout(), clock.at + 10_000)
  clock.at += 9999
  kernel.handleTimeout()
  assert.equal(events.length, 0)
  clock.at += 1
  kernel.handleTimeout()
  kernel.handleTimeout()
  assert.deepEqual(
    events.map((event) => event.event === 'expire' && event.hard),
    [false],
  )
  await left.must({ op: 'update-state', state: { ...OUT, limits } })
  kernel.handleTimeout()
  assert.equal(events.length, 2)
  assert.equal(kernel.nextTimeout(), clock.at + 10_000)
  clock.at += 10_000
  kernel.handleTimeout()
  assert.deepEqual(
    events.map((event) => event.event === 'expire' && event.hard),
    [false, false, true],
  )
  assert.deepEqual([kernel.nextTimeout(), kernel.states()], [null, []])
})

test('short sequence numbers end, extended ones do not', async () => {
  for (const esn of [false, true]) {
    const { left } = await pair({ esn })
    left.protect()
    // Four thousand million packets later.
    left.kernel.skipSequence(OUT, 0xffff_ffffn)
    assert.equal(left.kernel.protect(TO_RIGHT).kind, esn ? 'protected' : 'blocked')
  }
})

test('a kernel that is told to refuse refuses, in its own words', async () => {
  const kernel = new MemoryKernel({
    clock: new HandClock(),
    entropy: new CountingEntropy(),
    onEvent: () => undefined,
    refuse: () => 1,
  })
  const [outcome] = await kernel.perform([{ op: 'add-state', state: IN }])
  assert.ok(outcome?.kind === 'refused')
  assert.equal(outcome.error.code, 'KERNEL_NOT_PERMITTED')
})

test('nothing is missing, and a probe leaves nothing', async () => {
  const { kernel } = new Host()
  assert.deepEqual(kernel.capabilities, { missing: [], families: [4, 6], movesStates: true })
  assert.deepEqual(await probeKernel(kernel, [{ encryption: { id: 20, keyLength: 256 }, integrity: null }]), {
    missing: [],
    families: [4, 6],
    movesStates: true,
  })
  assert.deepEqual([kernel.states(), kernel.reservations()], [[], []])
})

test('a state is had elsewhere with all it has carried; of two of a reqid it is the younger one', async () => {
  const { kernel } = new Host()
  const older: State = { ...IN, spi: IN.spi + 1 }
  await kernel.perform([
    { op: 'add-state', state: older },
    { op: 'add-state', state: IN },
  ])
  kernel.skipSequence(IN, 41n)
  const elsewhere = { source: IpAddress.parse('203.0.113.7'), encapsulation: { sourcePort: 7, destinationPort: 4500 } }
  const move = async (from: State): Promise<string> => {
    const [outcome] = await kernel.perform([{ op: 'move-state', from, to: { ...from, ...elsewhere } }])
    return outcome?.kind === 'refused' ? outcome.error.code : outcome!.kind
  }
  assert.equal(await move(older), 'KERNEL_UNCHANGED')
  assert.deepEqual(
    kernel.states().map(({ spi, source }) => [spi, source.equals(elsewhere.source)]),
    [
      [older.spi, false],
      [IN.spi, true],
    ],
  )
  const [usage] = await kernel.perform([{ op: 'query-state', id: IN }])
  assert.ok(usage?.kind === 'usage' && usage.usage.sequence === 41n)
  assert.equal(await move(older), 'done')
  assert.equal(await move(older), 'KERNEL_UNCHANGED', 'it is not there any more')
  assert.equal(await move({ ...IN, spi: 5 }), 'KERNEL_NO_SUCH_STATE')
})
