/**
 * Reauthentication that makes the new IKE_SA before it breaks the old one, seen by the packets: none is lost, whoever
 * begins. And what is made anew, in this way or another, carries what the old one carried.
 */
import assert from 'node:assert/strict'

import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import type { ChildConnection } from '../../src/ike/connection.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows, HOME_HOST, OFFICE_HOST, type SideWords } from './places.ts'
import { assertOne, packet, standing, type Both } from './standing.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const SIDES = ['client', 'gateway'] as const
const NEVER = { lifetime: { rekey: 0, reauth: 0, over: 0, rand: 0 }, childLifetime: {} }
const OTHER_HOST = '10.2.0.77'
const LAB_HOST = '10.9.0.1'

async function tunnel(world: World, words: ConnectionWords = {}): Promise<Both> {
  const gateway = addGateway(world, { ...NEVER, ...words })
  world.kernelLatency = 3
  const client = addClient(world, { ...NEVER, ...words })
  await world.initiate(client)
  return { client, gateway }
}

/** One packet each way in each millisecond; tells how many did not arrive. Every one has to leave under protection. */
async function lostIn(world: World, { client, gateway }: Both, duration: Milliseconds): Promise<number> {
  const arrived = (): number => client.delivered.length + gateway.delivered.length
  const before = arrived()
  for (let sent = 0; sent < duration; sent++) {
    assert.equal(client.sendPlain(packet(HOME_HOST, OFFICE_HOST)), 'protected')
    assert.equal(gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)), 'protected')
    await world.pass(1)
  }
  await world.pass(SECOND)
  return 2 * duration - (arrived() - before)
}

for (const who of SIDES) {
  for (const unique of ['no', 'replace', 'never'] as const) {
    scenarioOverSeeds(`the ${who} makes before it breaks, unique = ${unique}: no packet is lost`, 3, async (world) => {
      const both = await tunnel(world, { unique })
      for (let i = 0; i < 3; i++) {
        const session = standing(both[who])
        session.enqueue(() => reauthenticate(session))
        assert.equal(await lostIn(world, both, 300), 0)
      }
      for (const node of [both.client, both.gateway]) assert.equal(node.eventsOf('ike-established').length, 4)
      await assertOne(world, both)
    })
  }
}

scenario('what the answer to the delete overtakes is let in', async (world) => {
  const both = await tunnel(world)
  both.client.session.enqueue(() => reauthenticate(both.client.session))
  const before = both.client.delivered.length
  let sent = 0
  // ESP takes its time, IKE does not.
  world.network.tap((one) => {
    if (one.esp === null || one.source.address.equals(both.client.address)) return [one]
    world.schedule(30, () => both.client.receive(one))
    return []
  })
  for (; sent < 300; sent++) {
    assert.equal(both.gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)), 'protected')
    await world.pass(1)
  }
  await world.pass(SECOND)
  assert.equal(both.client.delivered.length - before, sent)
  await assertOne(world, both)
})

/** What the CHILD_SAs of an IKE_SA carry. */
function carried(node: SimulatedNode): readonly string[] {
  return standing(node)
    .sa.children.map(({ connection, traffic }) => `${connection.name} ${traffic}`)
    .toSorted()
}

const TWO_CHILDREN = {
  gateway: [
    { name: 'net', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'], childLifetime: {} },
    { name: 'lab', local: ['10.9.0.0/16'], remote: ['10.2.0.0/16'], childLifetime: {} },
  ],
  client: [
    { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'], childLifetime: {} },
    { name: 'lab', local: ['10.2.0.0/16'], remote: ['10.9.0.0/16'], childLifetime: {} },
  ],
}

async function twoChildren(world: World, words: ConnectionWords = {}): Promise<Both> {
  const gateway = addGateway(world, { ...NEVER, children: TWO_CHILDREN.gateway })
  const client = addClient(world, { ...NEVER, children: TWO_CHILDREN.client, ...words })
  await world.initiate(client)
  return { client, gateway }
}

const childOf = (node: SimulatedNode, name: string): ChildConnection =>
  standing(node).sa.connection!.children.find((child) => child.name === name)!

scenario('one of several CHILD_SAs waits for its own predecessor, however long the others take', async (world) => {
  const both = await twoChildren(world)
  world.kernelLatency = 3
  await world.outcome(addChild(standing(both.client), childOf(both.client, 'lab')))
  for (const who of SIDES) {
    both[who].session.enqueue(() => reauthenticate(both[who].session))
    const before = both.client.delivered.length
    for (let sent = 0; sent < 300; sent++) {
      assert.equal(both.gateway.sendPlain(packet(LAB_HOST, HOME_HOST)), 'protected')
      await world.pass(1)
    }
    await world.pass(SECOND)
    assert.equal(both.client.delivered.length - before, 300)
    assert.equal(standing(both.gateway).sa.children.length, 2)
  }
})

/** By the time a reauthentication takes at most in this world, one begins after the other. */
const SPREAD: Milliseconds = 160

for (const first of SIDES) {
  for (const [ours, theirs] of [
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ] as const) {
    const how = (makesBeforeBreak: boolean): string => (makesBeforeBreak ? 'makes before it breaks' : 'breaks before it makes')
    scenarioOverSeeds(
      `the ${first} ${how(ours)}, and the other side, which ${how(theirs)}, begins meanwhile: one IKE_SA with all CHILD_SAs is left`,
      40,
      async (world) => {
        const [die, unique] = world.entropyFor('offset').bytes(2)
        const words = { unique: (['no', 'replace', 'keep', 'never'] as const)[unique! % 4]! }
        const settings = (node: (typeof SIDES)[number]): SideWords => ({
          settings: { makeBeforeBreak: node === first ? ours : theirs },
        })
        const gateway = addGateway(world, { ...NEVER, ...words, children: TWO_CHILDREN.gateway }, settings('gateway'))
        const client = addClient(world, { ...NEVER, ...words, children: TWO_CHILDREN.client }, settings('client'))
        await world.initiate(client)
        await world.outcome(addChild(standing(client), childOf(client, 'lab')))
        await world.pass(SECOND)
        const sessions = { client: client.session, gateway: gateway.session }
        const second = first === 'client' ? 'gateway' : 'client'
        sessions[first].enqueue(() => reauthenticate(sessions[first]))
        await world.pass((die! * SPREAD) / 256)
        sessions[second].enqueue(() => reauthenticate(sessions[second]))
        // Longer than one that is given up stays half-open.
        await world.pass(MINUTE)
        for (const node of [client, gateway]) {
          assert.equal(node.sessions().length, 1, `${node.name} has one IKE_SA`)
          assert.notEqual(node.session, sessions[node === client ? 'client' : 'gateway'])
          assert.deepEqual(
            carried(node).map((text) => text.slice(0, 3)),
            ['lab', 'net'],
          )
          assert.equal(node.kernel.states().length, 4)
        }
        assert.ok(await flows(world, client, gateway))
      },
    )
  }
}

/** A client that forgets its IKE_SA, comes back to the same place, and does not say so: nobody deletes the old one. */
async function forgetful(world: World): Promise<Both> {
  const gateway = addGateway(world, NEVER)
  // unique = never: no INITIAL_CONTACT.
  const client = addClient(world, { ...NEVER, unique: 'never' })
  await world.initiate(client)
  client.boot()
  await world.initiate(client)
  world.expectsAgreement = false
  assert.deepEqual(
    gateway.sessions().map(({ sa }) => sa.children[0]!.installed.outboundHalf),
    ['installed', 'pending'],
  )
  return { client, gateway }
}

const arrivesAtClient = async (world: World, { client, gateway }: Both): Promise<boolean> => {
  const before = client.delivered.length
  assert.equal(gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)), 'protected')
  await world.pass(SECOND / 2)
  return client.delivered.length > before
}

scenario('a peer that says nothing on the new CHILD_SA and keeps the old one gets it after seconds', async (world) => {
  const both = await forgetful(world)
  assert.ok(!(await arrivesAtClient(world, both)))
  await world.pass(6 * SECOND)
  assert.ok(await arrivesAtClient(world, both))
  // From now on it is one like any other.
  const [, session] = both.gateway.sessions()
  const [child] = session!.sa.children
  await world.outcome(session!.runExchange((current) => rekeyChild(current, child!), 'rekey-child'))
  assert.equal(both.gateway.eventsOf('child-rekeyed').length, 1)
})

scenario('its first packet tells that it has the new one', async (world) => {
  const both = await forgetful(world)
  assert.equal(both.client.sendPlain(packet(HOME_HOST, OFFICE_HOST)), 'protected')
  await world.pass(SECOND / 5)
  assert.ok(await arrivesAtClient(world, both))
})

scenario('the old one is given up while the new one waits: what leaves never leaves in the clear', async (world) => {
  const both = await forgetful(world)
  const [old] = both.gateway.sessions()
  const closing = old!.run(() => old!.close('peer-silent'))
  while (both.gateway.eventsOf('ike-closed').length === 0) {
    assert.equal(both.gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST)), 'protected')
    await world.pass(0.01)
  }
  await closing
  assert.ok(await arrivesAtClient(world, both))
})

scenario('a limit is reached while the new one waits: it is rekeyed as soon as it may be', async (world) => {
  const both = await forgetful(world)
  const { inbound } = both.gateway.sessions()[1]!.sa.children[0]!.installed
  const { spi, source, destination, reqid } = inbound
  both.gateway.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: false })
  await world.pass(5 * SECOND)
  assert.equal(both.gateway.eventsOf('child-rekeyed').length, 0)
  await world.pass(2 * SECOND)
  assert.equal(both.gateway.eventsOf('child-rekeyed').length, 1)
  assert.ok(await flows(world, both.client, both.gateway))
})

/** A client with two CHILD_SAs of one child: its gateway has narrowed each to the packet that asked for it. */
async function narrowed(world: World, makeBeforeBreak: boolean): Promise<Both> {
  const children = ['10.2.0.9', OTHER_HOST].map((remote, i) => ({
    name: ['net', 'other'][i]!,
    local: ['10.1.0.0/16'],
    remote: [remote],
    childLifetime: {},
  }))
  const gateway = addGateway(world, { ...NEVER, children })
  const client = addClient(world, { ...NEVER, trap: true }, { settings: { makeBeforeBreak } })
  client.gateway.start()
  await world.pass(SECOND)
  for (const host of [HOME_HOST, OTHER_HOST]) {
    assert.equal(client.sendPlain(packet(host, OFFICE_HOST)), 'acquire')
    await world.pass(SECOND)
  }
  assert.deepEqual(carried(client), NARROWED)
  return { client, gateway }
}

const NARROWED = ['net 10.2.0.77/32 === 10.1.0.0/16', 'net 10.2.0.9/32 === 10.1.0.0/16']

const MADE_ANEW: Readonly<Record<string, (both: Both) => void>> = {
  'a reauthenticated IKE_SA': ({ client }) => client.session.enqueue(() => reauthenticate(client.session)),
  'a CHILD_SA made anew after a hard limit': ({ client }) => {
    for (const { installed } of client.session.sa.children) {
      const { spi, source, destination, reqid } = installed.outbound
      client.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
    }
  },
  'a CHILD_SA that the peer does not know any more': ({ client, gateway }) => {
    for (const child of gateway.session.sa.children)
      gateway.session.enqueue(() => gateway.session.closeChild(child, 'deleted-by-us'))
    for (const child of client.session.sa.children)
      void client.session.runExchange((session) => rekeyChild(session, child), 'rekey-child')
  },
}

for (const [what, makeAnew] of Object.entries(MADE_ANEW)) {
  for (const makeBeforeBreak of what.includes('reauth') ? [true, false] : [true]) {
    const how = makeBeforeBreak ? '' : ', with make_before_break = no,'
    scenario(`${what}${how} carries what it carried before, not what is configured`, async (world) => {
      const both = await narrowed(world, makeBeforeBreak)
      const spis = (): readonly number[] => standing(both.client).sa.children.map(({ inboundSpi }) => inboundSpi)
      const before = spis()
      makeAnew(both)
      await world.pass(10 * SECOND)
      assert.deepEqual(carried(both.client), NARROWED)
      assert.ok(spis().every((spi) => !before.includes(spi)))
      for (const host of [HOME_HOST, OTHER_HOST]) assert.ok(await world.ping(both.client, host, OFFICE_HOST))
    })
  }
}
