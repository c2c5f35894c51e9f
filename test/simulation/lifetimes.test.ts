/** Lifetimes, by a clock that runs for hours: SAs are replaced in time, by either side, and what nobody uses is closed. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import { ExchangeType } from '../../src/iana/ikev2.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { StateId } from '../../src/kernel/vocabulary.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows, HOME_HOST, OFFICE_HOST, type SideWords } from './places.ts'
import { assertOne, current, packet, standing, type Both } from './standing.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const HOUR = 60 * MINUTE
const NEVER = { rekey: 0, reauth: 0, over: 0, rand: 0 }
const SIDES = ['client', 'gateway'] as const

/** What is said of the gateway holds for the client, unless that has words of its own. */
async function tunnel(world: World, words: ConnectionWords, own: ConnectionWords = words, side: SideWords = {}): Promise<Both> {
  const gateway = addGateway(world, words, side)
  const client = addClient(world, own, side)
  await world.initiate(client)
  return { client, gateway }
}

function limits<Unit>(rekey: Unit, life: Unit, rand: Unit): { readonly rekey: Unit; readonly life: Unit; readonly rand: Unit } {
  return { rekey, life, rand }
}

/** How often a node asked for a CHILD_SA, an IKE_SA or another key. */
function asked(node: SimulatedNode, exchangeType: number): number {
  return node
    .eventsOf('message-sent')
    .filter((event) => event.exchangeType === exchangeType && !event.isResponse && !event.isRetransmission).length
}

const MOVING: Milliseconds = 2
const RESTING: Milliseconds = 20 * SECOND

/**
 * Packets both ways for as long as that: one in 20 s while nothing happens, every 2 ms while anything is under way.
 * Every one has to leave under protection; tells how many of them did not arrive.
 */
async function sendFor(world: World, { client, gateway }: Both, duration: Milliseconds): Promise<number> {
  const before = client.delivered.length + gateway.delivered.length
  const end = world.clock.now() + duration
  const isMoving = (): boolean =>
    [client, gateway].some(
      (node) => node.sessions().length > 1 || node.sessions().some((session) => session.tasks.running !== null),
    )
  let sent = 0
  let last = 0
  while (world.clock.now() < end) {
    if (world.clock.now() - last >= (isMoving() ? MOVING : RESTING)) {
      last = world.clock.now()
      for (const [node, one] of [
        [client, packet(HOME_HOST, OFFICE_HOST)],
        [gateway, packet(OFFICE_HOST, HOME_HOST)],
      ] as const) {
        assert.equal(node.sendPlain(one), 'protected')
        sent++
      }
    }
    // Not past what happens next: that is when packets get lost.
    const pause = Math.max((world.nextTime() ?? end) - world.clock.now(), 0)
    await world.pass(Math.min(pause, isMoving() ? MOVING : RESTING))
  }
  await world.pass(SECOND)
  return sent - (client.delivered.length + gateway.delivered.length - before)
}

scenarioOverSeeds('both sides rekey by time for eight hours: no tunnel and no packet is lost', 3, async (world) => {
  const words = {
    lifetime: { ...NEVER, rekey: 31 * MINUTE, over: 5 * MINUTE, rand: 3 * MINUTE },
    childLifetime: { time: limits(10 * MINUTE, 11 * MINUTE, MINUTE) },
  }
  const both = await tunnel(world, words)
  assert.equal(await sendFor(world, both, 8 * HOUR), 0)
  await assertOne(world, both)
  for (const node of [both.client, both.gateway]) {
    const [children, ikes] = [node.eventsOf('child-rekeyed').length, node.eventsOf('ike-rekeyed').length]
    assert.ok(children >= 48 && children <= 54, `${children} rekeys of CHILD_SAs in 8 hours of 9 to 10 minutes each`)
    assert.ok(ikes >= 15 && ikes <= 17, `${ikes} rekeys of the IKE_SA in 8 hours of 28 to 31 minutes each`)
    assert.ok(asked(node, ExchangeType.CREATE_CHILD_SA) > 10, 'either side had its turn')
    assert.deepEqual(node.eventsOf('child-failed'), [])
    assert.equal(node.eventsOf('ike-established').length, 1)
  }
})

for (const who of SIDES) {
  const other = who === 'client' ? 'gateway' : 'client'
  const only = (world: World, words: ConnectionWords): Promise<Both> => {
    const peer = { lifetime: NEVER, childLifetime: {} }
    return who === 'client' ? tunnel(world, peer, words) : tunnel(world, words, peer)
  }

  scenario(`the ${who} rekeys by time, the other side never: once each time, although both directions tell`, async (world) => {
    const both = await only(world, {
      lifetime: { ...NEVER, rekey: 50 * MINUTE, over: 5 * MINUTE, rand: MINUTE },
      childLifetime: { time: limits(20 * MINUTE, 30 * MINUTE, SECOND) },
    })
    await world.pass(118 * MINUTE)
    assert.equal(both[who].eventsOf('child-rekeyed').length, 5)
    assert.equal(both[who].eventsOf('ike-rekeyed').length, 2)
    assert.equal(asked(both[who], ExchangeType.CREATE_CHILD_SA), 7)
    assert.equal(asked(both[other], ExchangeType.CREATE_CHILD_SA), 0)
    await assertOne(world, both)
  })

  for (const [unit, childLifetime, each] of [
    ['bytes', { bytes: limits(10_000n, 12_000n, 500n) }, 100],
    ['packets', { packets: limits(100n, 120n, 5n) }, 100],
  ] as const) {
    scenario(`the ${who} rekeys after so many ${unit}, and no packet is lost`, async (world) => {
      const both = await only(world, { lifetime: NEVER, childLifetime })
      for (let i = 0; i < 10 * each; i++) {
        assert.equal(both.client.sendPlain(packet(HOME_HOST, OFFICE_HOST)), 'protected')
        assert.equal(both.gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)), 'protected')
        await world.pass(20)
      }
      await world.pass(SECOND)
      assert.deepEqual([both.client.delivered.length, both.gateway.delivered.length], [10 * each, 10 * each])
      const rekeys = both[who].eventsOf('child-rekeyed').length
      assert.ok(rekeys >= 9 && rekeys <= 11, `${rekeys} rekeys`)
      assert.equal(asked(both[who], ExchangeType.CREATE_CHILD_SA), rekeys)
      await assertOne(world, both)
    })
  }

  scenario(`the ${who} rekeys before its sequence numbers have all been used`, async (world) => {
    const both = await only(world, { lifetime: NEVER, childLifetime: {} })
    const { outbound } = current(both[who]).installed
    // Eight tenths may be early, nine tenths is not.
    both[who].kernel.skipSequence(outbound, (0xffff_ffffn * 9n) / 10n)
    assert.ok(await flows(world, both.client, both.gateway))
    await world.pass(10 * SECOND)
    assert.equal(both[who].eventsOf('child-rekeyed').length, 1)
    assert.equal(both[who].eventsOf('child-failed').length, 0)
    await assertOne(world, both)
  })

  scenario(
    `nobody rekeys and the ${who}'s CHILD_SA reaches its end: another one is made, nothing leaves in the clear`,
    async (world) => {
      const both = await only(world, { lifetime: NEVER, childLifetime: { time: limits(0, 10 * MINUTE, 0) } })
      // The kernel throws states away before it tells.
      world.checksBooks = false
      await world.pass(9 * MINUTE)
      const outcomes = new Set<string>()
      for (let i = 0; i < 2000; i++) {
        outcomes.add(both.client.sendPlain(packet(HOME_HOST, OFFICE_HOST)))
        outcomes.add(both.gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)))
        await world.pass(100)
      }
      assert.ok(!outcomes.has('clear'), [...outcomes].join(' '))
      await world.pass(30 * MINUTE)
      assert.equal(both[who].eventsOf('child-recreating').length, 4)
      assert.equal(both[who].eventsOf('child-established').length, 5)
      await assertOne(world, both)
    },
  )

  scenario(`what the ${who} made anew by itself is reauthenticated, all of it, without a gap`, async (world) => {
    const words = {
      lifetime: { ...NEVER, reauth: HOUR, over: 5 * MINUTE, rand: 5 * MINUTE },
      children: [
        { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], childLifetime: {} },
        { name: 'more', local: ['10.2.0.0/16'], remote: ['10.3.0.0/16'], childLifetime: {} },
      ],
    }
    const mirrored = words.children.map(({ local, remote, ...rest }) => ({ ...rest, local: remote, remote: local }))
    const [client, gateway] =
      who === 'client'
        ? [words, { lifetime: NEVER, children: mirrored }]
        : [
            { ...words, lifetime: NEVER },
            { ...words, children: mirrored },
          ]
    const both = await tunnel(world, gateway, client)
    await world.outcome(addMore(both.client))
    assert.equal(await sendFor(world, both, 3 * HOUR), 0)
    for (const node of [both.client, both.gateway]) {
      assert.equal(node.eventsOf('ike-established').length, 4, `${node.name} has seen three reauthentications`)
      assert.deepEqual(
        standing(node)
          .sa.children.map(({ connection }) => connection.name)
          .toSorted(),
        ['more', 'net'],
      )
      assert.equal(node.kernel.states().length, 4)
    }
    assert.equal(both[who].eventsOf('reauthenticating').length, 3)
    assert.equal(both[other].eventsOf('reauthenticating').length, 0)
    assert.ok(await flows(world, both.client, both.gateway))
  })

  scenario(`with make_before_break = no the ${who} deletes first, and comes back`, async (world) => {
    const both = await tunnel(
      world,
      { lifetime: NEVER, childLifetime: {} },
      { lifetime: NEVER, childLifetime: {} },
      { settings: { makeBeforeBreak: false } },
    )
    const mark = world.mark
    both[who].session.enqueue(() => reauthenticate(both[who].session))
    await world.pass(SECOND)
    // D(IKE), then all from the beginning.
    assert.match(world.sent(mark)[0]!, /INFORMATIONAL request/)
    assert.equal(world.sent(mark).length, 6)
    assert.equal(standing(both[who]).sa.role, 'initiator')
    assert.deepEqual(
      both[other].eventsOf('ike-closed').map(({ reason }) => reason),
      ['deleted-by-peer'],
    )
    await assertOne(world, both)
  })

  scenario(`the ${who}'s IKE_SA that nobody rekeys is deleted when its time is over`, async (world) => {
    const both = await only(world, { lifetime: { ...NEVER, rekey: 30 * MINUTE, over: 10 * MINUTE }, childLifetime: {} })
    const { sa } = both[other].session
    // It has changed its mind about what it accepts.
    sa.connection = { ...sa.connection!, proposals: [] }
    await world.pass(39 * MINUTE)
    const failures = both[who].eventsOf('ike-rekey-failed').length
    assert.ok(failures >= 18 && failures <= 54, `tried again every 10 to 30 seconds, ${failures} times`)
    assert.equal(both[who].session.sa.state, 'established')
    await world.pass(2 * MINUTE)
    assert.deepEqual([both.client.sessions(), both.gateway.sessions()], [[], []])
    assert.equal(both[who].eventsOf('ike-expired').length, 1)
    assert.deepEqual(
      both[other].eventsOf('ike-closed').map(({ reason }) => reason),
      ['deleted-by-peer'],
    )
  })

  scenario(`the ${who} closes a CHILD_SA that is idle, and none that carries a packet now and then`, async (world) => {
    const both = await only(world, { lifetime: NEVER, childLifetime: {}, inactivity: 10 * MINUTE })
    for (let i = 0; i < 12; i++) {
      await world.pass(9 * MINUTE)
      // One direction is enough.
      both.client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    }
    assert.equal(both[who].eventsOf('child-idle').length, 0)
    await world.pass(9 * MINUTE)
    assert.equal(both[who].eventsOf('child-idle').length, 0)
    await world.pass(2 * MINUTE)
    for (const node of [both.client, both.gateway]) {
      assert.equal(node.session.sa.state, 'established')
      assert.deepEqual([node.session.sa.children, node.kernel.states(), node.kernel.policies()], [[], [], []])
    }
    assert.equal(both[who].eventsOf('child-idle').length, 1)
  })
}

scenario('a kernel that does not tell of the last use is asked for counts: closed when they stand still', async (world) => {
  const both = await tunnel(
    world,
    { lifetime: NEVER, childLifetime: {}, inactivity: 10 * MINUTE },
    { lifetime: NEVER, childLifetime: {} },
  )
  both.gateway.tellsLastUse = false
  for (let i = 0; i < 12; i++) {
    await world.pass(9 * MINUTE)
    both.client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  }
  assert.equal(both.gateway.eventsOf('child-idle').length, 0)
  await world.pass(21 * MINUTE)
  assert.equal(both.gateway.session.sa.children.length, 0)
})

scenario('with inactivity_close_ike an IKE_SA goes with its only CHILD_SA', async (world) => {
  const words = { lifetime: NEVER, childLifetime: {}, inactivity: 10 * MINUTE }
  const both = await tunnel(world, words, { ...words, inactivity: 0 }, { settings: { inactivityCloseIke: true } })
  await world.pass(11 * MINUTE)
  assert.deepEqual([both.client.sessions(), both.gateway.sessions()], [[], []])
})

scenario('both reach the end of a CHILD_SA at once, and make another: one stays', async (world) => {
  const both = await tunnel(world, { lifetime: NEVER, childLifetime: { time: limits(0, 10 * MINUTE, 0) } })
  world.checksBooks = false
  await world.pass(35 * MINUTE)
  await assertOne(world, both)
  assert.ok([both.client, both.gateway].flatMap((node) => node.eventsOf('child-recreating')).length >= 3)
})

scenario('the kernel tells of a limit twice, and an update lets it tell again: one exchange', async (world) => {
  const both = await tunnel(world, { lifetime: NEVER, childLifetime: {} })
  const { inbound, outbound } = current(both.client).installed
  const id = ({ spi, source, destination }: StateId): StateId => ({ spi, source, destination })
  for (const state of [inbound, outbound, inbound])
    both.client.gateway.handleKernelEvent({ event: 'expire', id: id(state), reqid: state.reqid, hard: false })
  await world.pass(SECOND)
  assert.equal(asked(both.client, ExchangeType.CREATE_CHILD_SA), 1)
  await assertOne(world, both)
})

scenario('a limit is reached while the peer cannot: tried again until it can', async (world) => {
  const both = await tunnel(
    world,
    { lifetime: NEVER, childLifetime: { time: limits(10 * MINUTE, 20 * MINUTE, 0) } },
    { lifetime: NEVER, childLifetime: {} },
  )
  both.client.refuse = ({ op }) => (op === 'allocate-spi' ? 1 : null)
  await world.pass(15 * MINUTE)
  assert.ok(both.gateway.eventsOf('child-rekey-failed').length >= 9)
  both.client.refuse = null
  await world.pass(MINUTE)
  assert.equal(both.gateway.eventsOf('child-rekeyed').length, 1)
  await assertOne(world, both)
})

scenario('a rekeyed IKE_SA is reauthenticated when the first was to be, and rekeyed by its own time', async (world) => {
  const both = await tunnel(
    world,
    { lifetime: NEVER, childLifetime: {} },
    {
      lifetime: { ...NEVER, rekey: 25 * MINUTE, reauth: HOUR, over: 5 * MINUTE },
      childLifetime: {},
    },
  )
  await world.pass(59 * MINUTE)
  assert.equal(both.client.eventsOf('ike-rekeyed').length, 2)
  await world.pass(90 * SECOND)
  assert.equal(both.client.eventsOf('reauthenticating').length, 1)
  assert.equal(both.client.eventsOf('ike-established').length, 2)
  await world.pass(24 * MINUTE)
  assert.equal(both.client.eventsOf('ike-rekeyed').length, 2)
  await world.pass(2 * MINUTE)
  assert.equal(both.client.eventsOf('ike-rekeyed').length, 3)
  await assertOne(world, both)
})

for (const makeBeforeBreak of [true, false]) {
  scenarioOverSeeds(
    `both reauthenticate in the same moment, ${makeBeforeBreak ? 'making' : 'breaking'} first: one tunnel is left`,
    20,
    async (world) => {
      const words = { lifetime: NEVER, childLifetime: {} }
      // Patience for wires that lose what they carry.
      const settings = { makeBeforeBreak, retransmitTries: 15, retransmitBase: 1.2, halfOpenTimeout: 10 * MINUTE }
      const both = await tunnel(world, words, words, { settings })
      for (const link of [both.client.link, both.gateway.link]) Object.assign(link, { loss: 0.2, jitter: 15 })
      for (const node of [both.client, both.gateway]) node.session.enqueue(() => reauthenticate(node.session))
      await world.pass(20 * MINUTE)
      for (const link of [both.client.link, both.gateway.link]) Object.assign(link, { loss: 0 })
      await assertOne(world, both)
    },
  )
}

scenario('a reauthentication that fails leaves what stands, and is tried again', async (world) => {
  const both = await tunnel(world, { lifetime: NEVER, childLifetime: {} })
  both.gateway.isAsleep = true
  both.client.session.enqueue(() => reauthenticate(standing(both.client)))
  await world.pass(3 * MINUTE)
  both.gateway.isAsleep = false
  assert.equal(both.client.said('reauthentication-failed').slice(0, 29), 'reauthenticating IKE_SA faile')
  assert.equal(standing(both.client).sa.uniqueId, 1)
  await world.pass(MINUTE)
  assert.equal(both.client.eventsOf('ike-established').length, 2)
  await assertOne(world, both)
})

scenario('the peer rekeys the IKE_SA while it is reauthenticated: the one that came of that goes too', async (world) => {
  const both = await tunnel(world, { lifetime: NEVER, childLifetime: {} })
  both.client.session.enqueue(() => reauthenticate(both.client.session))
  void both.gateway.session.runExchange(rekeyIkeSa, 'rekey-ike')
  await world.pass(10 * SECOND)
  assert.equal(both.client.eventsOf('ike-rekeyed').length, 1)
  await assertOne(world, both)
})

scenario('there is nothing to reauthenticate without a CHILD_SA', async (world) => {
  const both = await tunnel(world, { lifetime: NEVER, childLifetime: {}, inactivity: MINUTE })
  await world.pass(2 * MINUTE)
  both.client.session.enqueue(() => reauthenticate(both.client.session))
  await world.pass(SECOND)
  assert.equal(both.client.said('reauthentication-failed'), 'unable to reauthenticate IKE_SA, no CHILD_SA to recreate')
  assert.equal(both.client.session.sa.state, 'established')
})

async function addMore(node: SimulatedNode): Promise<void> {
  const session = standing(node)
  const more = session.sa.connection!.children.find(({ name }) => name === 'more')!
  await addChild(session, more)
}
