/**
 * Traps and shunts in the books: what they are made of, and how they share policies with CHILD_SAs.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { MemoryKernel, type PlainPacket } from '../../src/edge/memory-kernel.ts'
import { Books } from '../../src/kernel/books.ts'
import { childPolicies, shuntPolicies, trapPolicies, type ProtectedTraffic } from '../../src/kernel/policies.ts'
import { UNSEPARATED } from '../../src/kernel/separation.ts'
import { KernelError, type KernelEvent, type Operation, type Policy } from '../../src/kernel/vocabulary.ts'
import { CountingEntropy, HandClock, installation, LEFT, RIGHT, traffic } from './fixtures.ts'

/** Of transport mode. */
const HOSTS = [[traffic('192.0.2.2/32')], [traffic('192.0.2.1/32')]] as const
const LOCAL = [traffic('10.1.0.0/16')]
const REMOTE = [traffic('10.2.3.0/24')]
const TRAP: ProtectedTraffic = {
  mode: 'tunnel',
  reqid: 7,
  local: LEFT,
  remote: RIGHT,
  localSelectors: LOCAL,
  remoteSelectors: REMOTE,
  priority: 0,
  separation: UNSEPARATED,
}
const PACKET: PlainPacket = {
  source: IpAddress.parse('10.1.0.5'),
  destination: IpAddress.parse('10.2.3.4'),
  protocol: 17,
  sourcePort: 1000,
  destinationPort: 2000,
  length: 100,
}

function world() {
  const events: KernelEvent[] = []
  const performed: Operation[] = []
  const world = { refuse: (_operation: Operation): number | null => null }
  const kernel = new MemoryKernel({
    clock: new HandClock(),
    entropy: new CountingEntropy(),
    onEvent: (event) => events.push(event),
    refuse: (operation) => {
      performed.push(operation)
      return world.refuse(operation)
    },
  })
  const books = new Books(kernel)
  const install = async (change = {}) =>
    books.install(
      installation(await books.allocateSpi(LEFT, RIGHT, 'tunnel'), { localSelectors: LOCAL, remoteSelectors: REMOTE, ...change }),
    )
  return { kernel, books, events, performed, install, world }
}

test('a trap asks once for a state, and drops what comes in the clear', async () => {
  const { kernel, books, events } = world()
  const trap = await books.installPolicies('home/net', trapPolicies(TRAP))
  assert.deepEqual(
    kernel.policies().map(({ direction, priority, template }) => [direction, priority, template?.reqid, template?.spi]),
    [
      // strongSwan: 375935 for a CHILD_SA with these selectors, one more for its trap.
      ['in', 379520, 7, 0],
      ['fwd', 379520, 7, 0],
      ['out', 379520, 7, 0],
    ],
  )
  assert.equal(kernel.protect(PACKET).kind, 'acquire')
  assert.equal(kernel.protect({ ...PACKET, sourcePort: 1001 }).kind, 'acquire')
  assert.deepEqual(
    events.map((event) => event.event === 'acquire' && [event.reqid, event.packet.sourcePorts.first]),
    [[7, 1000]],
  )
  assert.deepEqual(kernel.receiveClear({ ...PACKET, source: PACKET.destination, destination: PACKET.source }), {
    kind: 'dropped',
    counter: 'XfrmInTmplMismatch',
  })
  await books.removePolicies(trap)
  await books.removePolicies(trap)
  assert.deepEqual(kernel.policies(), [])
  assert.equal(books.installed.policies, 0)
})

test('a CHILD_SA takes over from its trap and gives back to it, and the policy is never gone', async () => {
  const { kernel, books, performed, install } = world()
  const trap = await books.installPolicies('home/net', trapPolicies(TRAP))
  const child = await install({ reqid: 7 })
  assert.equal(kernel.protect(PACKET).kind, 'protected')
  await books.remove(child)
  assert.equal(kernel.protect(PACKET).kind, 'acquire')
  assert.equal(performed.filter(({ op }) => op === 'delete-policy').length, 0)
  // The other way round: the trap goes while the CHILD_SA stands.
  const again = await install({ reqid: 7 })
  await books.removePolicies(trap)
  assert.equal(performed.filter(({ op }) => op === 'delete-policy').length, 0)
  assert.equal(kernel.protect(PACKET).kind, 'protected')
  await books.remove(again)
  assert.deepEqual(kernel.policies(), [])
})

test('a trap that is installed again, and one of a configured priority, stay behind the CHILD_SA that stands', async () => {
  for (const priority of [0, 1234]) {
    const { kernel, books, install } = world()
    const first = await books.installPolicies('home/net', trapPolicies({ ...TRAP, priority }))
    const child = await install({ reqid: 7, priority })
    const second = await books.installPolicies('home/net', trapPolicies({ ...TRAP, priority }))
    await books.removePolicies(first)
    const outward = kernel.policies().find(({ direction }) => direction === 'out')
    assert.equal(outward?.template?.spi, child.outbound.spi)
    await books.remove(child)
    // A narrower one of the same configured priority is not hidden by its trap, which the kernel has had for longer.
    await install({ reqid: 8, priority, localSelectors: [traffic('10.1.0.5/32')] })
    assert.equal(kernel.protect(PACKET).kind, 'protected')
    await books.removePolicies(second)
    assert.deepEqual(await books.removeAll(), [])
    assert.deepEqual(kernel.policies(), [])
  }
})

test('the state that answers an acquire, by its number or its reqid, lets the kernel ask again', async () => {
  const { kernel, books, events, install } = world()
  await books.installPolicies('home/net', trapPolicies(TRAP))
  kernel.protect(PACKET)
  const [acquire] = events
  assert.equal(acquire?.event, 'acquire')
  // Narrowed to the packet, so that it has another reqid.
  await install({
    reqid: 8,
    localSelectors: [traffic('10.1.0.5/32')],
    remoteSelectors: [traffic('10.2.3.4/32')],
    acquireSequence: acquire.event === 'acquire' ? acquire.sequence : 0,
  })
  assert.equal(kernel.protect(PACKET).kind, 'protected')
  const other = { ...PACKET, source: IpAddress.parse('10.1.0.6') }
  assert.equal(kernel.protect(other).kind, 'acquire')
  assert.equal(events.length, 2)
  const unasked = await install({ reqid: 7, outboundSpi: 0x3333 })
  await books.remove(unasked)
  assert.equal(kernel.protect(other).kind, 'acquire')
  assert.equal(events.length, 3)
})

test('what passes goes before a CHILD_SA, what is dropped after it', async () => {
  const { kernel, books, install } = world()
  const pass = await books.installPolicies(
    'lan/ssh',
    shuntPolicies({ mode: 'pass', localSelectors: LOCAL, remoteSelectors: [traffic('10.2.3.0/24', 17, 53, 53)], priority: 0 }),
  )
  const drop = await books.installPolicies(
    'lan/rest',
    shuntPolicies({
      mode: 'drop',
      localSelectors: [traffic('0.0.0.0/0')],
      remoteSelectors: [traffic('0.0.0.0/0')],
      priority: 0,
    }),
  )
  assert.deepEqual(
    kernel.policies().map(({ direction, action, template }) => [direction, action, template]),
    [
      ...['in', 'fwd', 'out'].map((direction) => [direction, 'allow', null]),
      ...['in', 'fwd', 'out'].map((direction) => [direction, 'block', null]),
    ],
  )
  const child = await install()
  assert.equal(kernel.protect({ ...PACKET, destinationPort: 53 }).kind, 'clear')
  assert.equal(kernel.protect(PACKET).kind, 'protected')
  assert.equal(kernel.protect({ ...PACKET, destination: RIGHT }).kind, 'blocked')
  assert.equal(kernel.receiveClear({ ...PACKET, source: RIGHT, destination: LEFT }).kind, 'dropped')
  await books.remove(child)
  assert.equal(kernel.protect(PACKET).kind, 'blocked')
  await books.removePolicies(pass)
  await books.removePolicies(drop)
  assert.deepEqual(kernel.policies(), [])
})

test('policies that the kernel refuses half-way are taken back, and what was there before is in force again', async () => {
  const { kernel, books, world: refusing, install } = world()
  const child = await install({ reqid: 7 })
  const before = kernel.policies()
  refusing.refuse = (operation) => (operation.op === 'set-policy' && operation.policy.direction === 'out' ? 12 : null)
  await assert.rejects(
    books.installPolicies(
      'lan/pass',
      shuntPolicies({ mode: 'pass', localSelectors: LOCAL, remoteSelectors: REMOTE, priority: 0 }),
    ),
    KernelError,
  )
  refusing.refuse = () => null
  assert.deepEqual(kernel.policies(), before)
  await books.remove(child)
  assert.deepEqual(kernel.policies(), [])
})

test('the policies of one with a mark of our choice come before those without a mark, of which it has some in reserve', () => {
  const mark = { value: 0x4553_0001, mask: 0xffff_ffff }
  const separation = { ...UNSEPARATED, markIn: mark, markOut: mark, isChosen: true }
  // Two host addresses make 64 bits.
  const calculated = 400_000 - 512 * 64
  for (const [priority, apart, plain, reserve] of [
    [0, calculated - 3, calculated - 1, calculated],
    [1000, 999, 1000, 1001],
  ] as const) {
    const traffic = { ...TRAP, mode: 'transport', localSelectors: HOSTS[0], remoteSelectors: HOSTS[1], priority } as const
    const short = (policies: readonly Policy[]): unknown =>
      policies.map(({ direction, mark, priority }) => [direction, mark?.value ?? null, priority])
    assert.deepEqual(short(childPolicies({ ...traffic, outboundSpi: 7 })), [
      ['in', null, plain],
      ['out', null, plain],
    ])
    assert.deepEqual(short(childPolicies({ ...traffic, separation, outboundSpi: 7 })), [
      ['in', mark.value, apart],
      ['out', mark.value, apart],
      ['in', null, reserve],
      ['out', null, reserve],
    ])
  }
})
