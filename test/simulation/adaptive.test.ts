/**
 * keep_alive = adaptive: how long the NAT keeps a mapping is learnt from one that nobody needs, keepalives become as
 * seldom as it allows, and no mapping is ever lost over it. Behind a NAT that always gives the same port nothing can be
 * learnt, and keepalives stay as they are.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { configuration } from './configuration.ts'
import { preservingPort, type Nat, type NatOptions } from './nat.ts'
import { echoRequest, type SimulatedNode } from './node.ts'
import { addClient, addGateway, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { play, scenario, SEED, type World } from './world.ts'

const HOUR = 60 * MINUTE
const FIXED = 20 * SECOND
/** Longer than any of it takes to learn. */
const LEARNING = 3 * HOUR
const DAY = 24 * HOUR
/** No rekeys, which are traffic. */
const QUIET = { lifetime: { rekey: 0, reauth: 0, over: 0, rand: 0 } }

interface Scene {
  readonly client: SimulatedNode
  readonly gateway: SimulatedNode
  readonly nat: Nat
}

function behind(world: World, options: NatOptions, words: { mobike?: boolean } = {}): Scene {
  const nat = world.addNat('router', '192.0.2.1', options)
  const gateway = addGateway(world, QUIET)
  const client = addClient(world, { ...QUIET, ...words, keepAlive: 'adaptive' }, { behind: nat })
  return { client, gateway, nat }
}

/** The port by which the gateway knows the client, as the NAT has it. */
function mappedPort({ nat, client }: Scene): number | null {
  return nat.mappings().find(({ inside }) => inside === `${client.address.toString()}[4500]`)?.port ?? null
}

/** From now on the mapping that everything depends on must be there at any time, and stay the same. */
function watch(world: World, scene: Scene): void {
  const port = mappedPort(scene)
  assert.notEqual(port, null)
  world.invariants.push(() => {
    const { client } = scene
    // In the end the IKE_SA is deleted, and then it does not matter.
    if (client.sessions().every(({ sa }) => sa.state !== 'established')) return
    assert.equal(mappedPort(scene), port, 'the mapping is the same')
    assert.ok(scene.nat.isAlive(`${client.address.toString()}[4500]`), 'the mapping is alive')
  })
}

function sent({ client }: Scene): number {
  return client.session.sa.path.keepalivesSent
}

for (const rebinds of [true, false]) {
  const kind = rebinds ? 'gives another port' : 'gives the same port again'
  test(`behind a NAT that ${kind} keepalives become as seldom as they may be, and no mapping is lost`, async (t) => {
    for (const seconds of [25, 40, 65, 120, 300, 600]) {
      let [saved, learnt, interval]: [number, Milliseconds | null, Milliseconds] = [0, null, FIXED]
      await play(
        `${SEED}.${seconds}`,
        async (world) => {
          const scene = behind(world, { timeout: seconds * SECOND, ...(rebinds ? {} : { portFor: preservingPort }) })
          await world.initiate(scene.client)
          // Not even while it is being learnt.
          watch(world, scene)
          await world.pass(LEARNING)
          const before = sent(scene)
          await world.pass(DAY)
          const keepalives = sent(scene) - before
          learnt = scene.client.session.sa.path.learntLifetime
          saved = DAY / FIXED - keepalives
          interval = DAY / keepalives
          assert.ok(await world.ping(scene.gateway, OFFICE_HOST, HOME_HOST))
        },
        { isLong: true, remembers: false },
      )
      t.diagnostic(
        `NAT of ${seconds} s that ${kind}: learnt ${learnt === null ? 'nothing' : `${Math.round(learnt / SECOND)} s`}, a keepalive every ${Math.round(interval / SECOND)} s, ${saved} of ${DAY / FIXED} a day saved`,
      )
      assert.ok(interval < seconds * SECOND)
      if (!rebinds) assert.deepEqual([learnt, Math.round(interval / SECOND)], [null, 20])
      else if (seconds >= 40) assert.ok(interval > 0.6 * seconds * SECOND, `a keepalive every ${interval} ms`)
    }
  })
}

scenario('the probes leave from a port of their own, and the peer’s IKE_SA stays where it is', async (world) => {
  const scene = behind(world, { timeout: 2 * MINUTE })
  const { client, gateway } = scene
  await world.initiate(client)
  const before = gateway.session.sa.remote.toString()
  const mark = world.mark
  await world.pass(HOUR)
  const probes = world
    .sent(mark)
    .filter((line) => line.startsWith('192.168.1.7[49152] > 203.0.113.1[4500] INFORMATIONAL request'))
  // A first, one to warm it up, and one for each gap and each new mapping.
  assert.ok(probes.length > 6 && probes.length < 20, `${probes.length} probes`)
  assert.equal(gateway.session.sa.remote.toString(), before)
  assert.equal(gateway.session.sa.path.moveCount, 0)
  assert.equal(client.said('mapping-probed'), 'NAT kept the port of a probe after 105s without a packet')
  assert.equal(Math.round(client.session.sa.path.learntLifetime! / SECOND), 105)
})

scenario('without MOBIKE, and towards a peer that sends no hashes, keepalives stay as they are', async (world) => {
  const scene = behind(world, { timeout: 2 * MINUTE }, { mobike: false })
  await world.initiate(scene.client)
  const before = sent(scene)
  await world.pass(50 * MINUTE)
  assert.equal(sent(scene) - before, (50 * MINUTE) / FIXED)
  assert.equal(world.countSent('INFORMATIONAL'), 0)
})

scenario('a port that gets no answer is given up: the probes go on along the known way, and cease', async (world) => {
  const scene = behind(world, { timeout: 2 * MINUTE })
  const { client } = scene
  await world.initiate(client)
  const untap = world.network.tap((packet) => (packet.source.port === 49_152 ? [] : [packet]))
  const before = sent(scene)
  await world.pass(2 * HOUR)
  untap()
  assert.equal(client.session.sa.state, 'established')
  assert.equal(client.session.sa.path.learntLifetime, null)
  // Three questions went by the known way, and stood for a keepalive each.
  assert.ok(sent(scene) - before >= (2 * HOUR) / FIXED - 4)
  assert.ok(world.countSent('[49152]') <= 3)
})

scenario('ESP that leaves by the known way neither helps nor harms what is learnt', async (world) => {
  const scene = behind(world, { timeout: 3 * MINUTE })
  const { client } = scene
  await world.initiate(client)
  for (let i = 0; i < 120; i++) {
    assert.equal(client.sendPlain(echoRequest(IpAddress.parse(HOME_HOST), IpAddress.parse(OFFICE_HOST))), 'protected')
    await world.pass(10 * SECOND)
  }
  assert.equal(sent(scene), 0)
  assert.ok(client.session.sa.path.keepalivesSuppressed > 20)
  await world.pass(HOUR)
  assert.ok(client.session.sa.path.learntLifetime! > 2 * MINUTE)
})

scenario('a rekeyed IKE_SA goes on with what its predecessor learnt', async (world) => {
  const scene = behind(world, { timeout: 5 * MINUTE })
  const { client } = scene
  await world.initiate(client)
  await world.pass(LEARNING)
  const learnt = client.session.sa.path.learntLifetime
  assert.ok(learnt !== null)
  watch(world, scene)
  const old = client.session.sa
  await world.outcome(client.session.runExchange(rekeyIkeSa, 'rekey-ike'))
  await world.pass(10 * SECOND)
  assert.notEqual(client.session.sa, old)
  const before = sent(scene)
  await world.pass(HOUR)
  assert.ok(sent(scene) - before < 20, `${sent(scene) - before} keepalives in an hour`)
  assert.equal(client.session.sa.path.learntLifetime, learnt)
})

scenario('two IKE_SAs behind one NAT: one of them probes, both keep to what it learns', async (world) => {
  const nat = world.addNat('router', '192.0.2.1', { timeout: 5 * MINUTE })
  const gateway = addGateway(world, QUIET)
  const words = { ...QUIET, keepAlive: 'adaptive', remoteAddresses: [GATEWAY], remoteId: 'gateway.example.org' } as const
  const own = { local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] }
  const connections = ['one', 'two'].map((name) => ({ ...words, ...own, connection: name, localId: `${name}@example.org` }))
  const [first, second] = connections
  assert.ok(first !== undefined && second !== undefined)
  const client = world.addNode('client', '192.168.1.7', configuration([first, { ...second, local: ['10.2.7.0/24'] }]), nat)
  await world.initiate(client, 'one')
  await world.initiate(client, 'two')
  assert.equal(gateway.sessions().length, 2)
  await world.pass(LEARNING)
  const paths = client.sessions().map(({ sa }) => sa.path)
  assert.equal(paths.length, 2)
  const events = client.eventsOf('mapping-probed')
  assert.equal(new Set(events.map(({ sa }) => sa)).size, 1)
  const before = paths.map(({ keepalivesSent }) => keepalivesSent)
  await world.pass(HOUR)
  for (const [i, { keepalivesSent, learntLifetime }] of paths.entries()) {
    assert.ok(keepalivesSent - before[i]! < 25, `${keepalivesSent - before[i]!} keepalives in an hour`)
    assert.equal(learntLifetime, paths[0]!.learntLifetime)
    assert.ok(learntLifetime! > 4 * MINUTE)
  }
})

scenario('where the network may be another, keepalives are frequent again until it is known', async (world) => {
  const scene = behind(world, { timeout: 5 * MINUTE })
  const { client } = scene
  await world.initiate(client)
  await world.pass(LEARNING)
  assert.ok(client.session.sa.path.learntLifetime !== null)
  watch(world, scene)
  client.gateway.handleRoam()
  const before = sent(scene)
  await world.pass(4 * MINUTE)
  assert.ok(sent(scene) - before >= 11, `${sent(scene) - before} keepalives`)
  assert.equal(client.session.sa.path.learntLifetime, null)
  // Two gaps show it again.
  await world.pass(15 * MINUTE)
  assert.ok(client.session.sa.path.learntLifetime !== null)
})
