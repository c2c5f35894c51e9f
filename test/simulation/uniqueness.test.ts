/** How many IKE_SAs a peer may have: `unique` and INITIAL_CONTACT (RFC 7296 2.4). */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import type { Connection } from '../../src/ike/connection.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { configuration, type ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, type SideWords } from './places.ts'
import { summaryOf } from './packet.ts'
import { assertOne } from './standing.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

type Unique = Connection['unique']

/** A client that never says INITIAL_CONTACT. */
const QUIET: ConnectionWords = { unique: 'never' }

/** What became of the gateway's IKE_SAs, by number. */
function closed(gateway: SimulatedNode): readonly (readonly [number, string])[] {
  return gateway.eventsOf('ike-closed').map(({ sa, reason }) => [sa.uniqueId, reason])
}

function standing(gateway: SimulatedNode): readonly number[] {
  return gateway
    .sessions()
    .filter(({ sa }) => sa.state === 'established')
    .map(({ sa }) => sa.uniqueId)
}

/** A client that is up, loses its memory and comes back; the gateway's IKE_SAs are 1 and 2. */
async function reboots(world: World, unique: Unique, client: ConnectionWords): Promise<[SimulatedNode, SimulatedNode]> {
  const [gateway, node] = [addGateway(world, { unique }), addClient(world, client)]
  await world.initiate(node)
  node.boot()
  await world.initiate(node)
  return [gateway, node]
}

for (const [unique, heeds] of [
  ['never', false],
  ['no', true],
  ['replace', true],
  ['keep', true],
] as const) {
  scenario(`INITIAL_CONTACT is ${heeds ? 'heeded' : 'ignored'} with unique = ${unique}`, async (world) => {
    const [gateway, client] = await reboots(world, unique, {})
    assert.deepEqual(closed(gateway), heeds ? [[1, 'replaced']] : [])
    assert.deepEqual(standing(gateway), heeds ? [2] : [1, 2])
    assert.ok(await flows(world, client, gateway))
    // What nobody remembers any more at the other end has no counterpart there.
    world.expectsAgreement = heeds
  })
}

for (const words of [{ unique: 'never' }, { remoteId: '%any' }] as const) {
  scenario(`a client with ${JSON.stringify(words)} does not say INITIAL_CONTACT`, async (world) => {
    const [gateway, client] = await reboots(world, 'no', words)
    assert.deepEqual(closed(gateway), [])
    assert.deepEqual(standing(gateway), [1, 2])
    // The gateway sends on the old one until it sees that the client uses the other.
    assert.ok(!(await flows(world, client, gateway)))
    assert.ok(await flows(world, client, gateway))
    world.expectsAgreement = false
  })
}

scenario(
  'unique = replace: a reboot at the same endpoint is taken for a reauthentication, and the old one goes later',
  async (world) => {
    const [gateway, client] = await reboots(world, 'replace', QUIET)
    assert.equal(
      gateway.said('duplicate-found'),
      "schedule delete of duplicate IKE_SA for peer 'client@example.org' due to uniqueness policy and suspected reauthentication",
    )
    assert.deepEqual(standing(gateway), [1, 2])
    await world.pass(10 * SECOND)
    assert.deepEqual(standing(gateway), [2])
    assert.ok(await flows(world, client, gateway))
    // The client has forgotten it and does not answer.
    await world.pass(3 * MINUTE)
    assert.deepEqual(closed(gateway), [[1, 'peer-silent']])
    assert.equal(gateway.kernel.states().length, 2)
    assert.ok(await flows(world, client, gateway))
  },
)

scenario('unique = replace: a client that comes back from another port deletes its old IKE_SA at once', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world, { unique: 'replace' })
  const client = addClient(world, QUIET, { behind: nat })
  await world.initiate(client)
  client.boot()
  nat.flush()
  await world.initiate(client)
  assert.equal(
    gateway.said('duplicate-found'),
    "deleting duplicate IKE_SA for peer 'client@example.org' due to uniqueness policy",
  )
  assert.deepEqual(standing(gateway), [2])
  await world.pass(3 * MINUTE)
  assert.deepEqual(
    closed(gateway).map(([number]) => number),
    [1],
  )
  assert.ok(await flows(world, client, gateway))
})

scenario('unique = replace: a peer that lives is told, and another peer is left alone', async (world) => {
  const gateway = world.addNode(
    'gateway',
    GATEWAY,
    configuration([
      { unique: 'replace', localId: 'gateway.example.org', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16', '10.3.0.0/16'] },
    ]),
  )
  const other = addClient(
    world,
    { localId: 'other@example.org', local: ['10.3.0.0/16'] },
    { name: 'other', address: '198.51.100.8' },
  )
  const first = addClient(world, QUIET)
  const second = addClient(world, QUIET, { name: 'second', address: '198.51.100.9' })
  await world.initiate(other)
  await world.initiate(first)
  await world.initiate(second)
  assert.deepEqual(first.sessions(), [])
  assert.deepEqual(closed(gateway), [[2, 'deleted-by-us']])
  assert.deepEqual(standing(gateway), [1, 3])
  assert.ok(await flows(world, second, gateway))
})

scenario('unique = keep: a second one from elsewhere is refused, and the first one goes on', async (world) => {
  const gateway = addGateway(world, { unique: 'keep' })
  const first = addClient(world, QUIET)
  const second = addClient(world, QUIET, { name: 'second', address: '198.51.100.9' })
  await world.initiate(first)
  const error = await world.failure(second.gateway.initiate('home', 'net'))
  assert.equal(error.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.match(gateway.said('ike-failed'), /^canceling IKE_SA setup due to uniqueness policy/)
  assert.deepEqual([standing(gateway), second.sessions()], [[1], []])
  assert.ok(await flows(world, first, gateway))
})

scenario('unique = keep: from the very endpoint of the first it may be a reauthentication', async (world) => {
  const [gateway, client] = await reboots(world, 'keep', QUIET)
  assert.deepEqual(standing(gateway), [1, 2])
  assert.ok(!(await flows(world, client, gateway)))
  assert.ok(await flows(world, client, gateway))
  world.expectsAgreement = false
})

for (const unique of ['replace', 'keep', 'no', 'never'] as const) {
  for (const makeBeforeBreak of [true, false]) {
    scenario(
      `unique = ${unique} lets a peer reauthenticate with make_before_break = ${makeBeforeBreak ? 'yes' : 'no'}, and one IKE_SA stays`,
      async (world) => {
        const gateway = addGateway(world, { unique, lifetime: { rekey: 0, reauth: 0 } })
        const client = addClient(
          world,
          { lifetime: { rekey: 0, reauth: 10 * MINUTE, rand: 0 } },
          { settings: { makeBeforeBreak } },
        )
        await world.initiate(client)
        await world.pass(11 * MINUTE)
        assert.deepEqual(standing(gateway), [2])
        assert.equal(client.sessions().length, 1)
        assert.equal(gateway.eventsOf('delete-sent').filter(({ child }) => child === null).length, 0)
        assert.ok(await flows(world, client, gateway))
      },
    )
  }
}

scenario('the old IKE_SA that is rekeyed before its time is up has nothing superseded any more', async (world) => {
  const gateway = addGateway(world, { unique: 'replace' })
  const client = addClient(world, QUIET)
  await world.initiate(client)
  // From the same endpoint, while the first lives.
  await world.initiate(client)
  assert.deepEqual(standing(gateway), [1, 2])
  await world.outcome(client.sessions()[0]!.runExchange(rekeyIkeSa, 'rekey-ike'))
  await world.pass(30 * SECOND)
  assert.deepEqual(standing(gateway), [2, 3])
})

scenario('an IKE_SA over IPv6 does not replace the one over IPv4', async (world) => {
  const both = ['203.0.113.1', '2001:db8::1']
  const gateway = world.addNode(
    'gateway',
    both,
    configuration([
      { unique: 'replace', localId: 'gateway.example.org', local: ['10.1.0.0/16'], remote: ['10.2.0.0/16', '10.3.0.0/16'] },
    ]),
  )
  const four = { connection: 'four', remoteAddresses: [GATEWAY], local: ['10.2.0.0/16'] }
  const six = { connection: 'six', remoteAddresses: ['2001:db8::1'], local: ['10.3.0.0/16'] }
  const ids = { localId: 'client@example.org', remoteId: 'gateway.example.org', remote: ['10.1.0.0/16'] }
  const client = world.addNode(
    'client',
    [CLIENT, '2001:db8::7'],
    configuration([
      { ...four, ...ids },
      { ...six, ...ids },
    ]),
  )
  await world.initiate(client, 'four')
  await world.initiate(client, 'six')
  assert.deepEqual([standing(gateway), closed(gateway)], [[1, 2], []])
})

/** What is lost until both have sent it twice or seen that they need not. */
const LOST = [
  null,
  [CLIENT, 'IKE_SA_INIT request 0'],
  [CLIENT, 'IKE_AUTH request 1'],
  [CLIENT, 'IKE_AUTH response 1'],
  [GATEWAY, 'IKE_SA_INIT request 0'],
  [GATEWAY, 'IKE_AUTH request 1'],
  [GATEWAY, 'IKE_AUTH response 1'],
] as const

function bothInitiate(
  world: World,
  words: ConnectionWords = {},
  unique: Unique = 'no',
  settings: SideWords['settings'] = {},
): readonly [SimulatedNode, SimulatedNode] {
  const known = { remoteAddresses: [CLIENT], remoteId: 'client@example.org' }
  const gateway = addGateway(world, { unique, ...known, ...mirrored(words) }, { settings })
  return [addClient(world, { unique, ...words }, { settings }), gateway]
}

function mirrored({ children }: ConnectionWords): ConnectionWords {
  return children === undefined
    ? {}
    : { children: children.map((child) => ({ ...child, local: child.remote!, remote: child.local! })) }
}

for (const unique of ['no', 'replace', 'keep'] as const) {
  for (const lost of LOST) {
    scenarioOverSeeds(
      `both begin an IKE_SA at once, with unique = ${unique}${lost === null ? '' : `, and ${lost[0] === CLIENT ? 'the client' : 'the gateway'}'s ${lost[1]} is late`}: one stays`,
      // Their SPIs decide which.
      6,
      async (world) => {
        const [client, gateway] = bothInitiate(world, {}, unique)
        const heal = world.network.tap((packet) =>
          lost !== null && packet.source.address.toString() === lost[0] && summaryOf(packet) === lost[1] ? [] : [packet],
        )
        const begun = [client, gateway].map((node) => node.gateway.initiate('home', 'net'))
        await world.pass(SECOND)
        heal()
        await world.outcome(Promise.all(begun))
        await world.pass(SECOND)
        // Both may be about to delete one: the same.
        const going = [client, gateway].map((node) => node.sessions().find(({ yields }) => yields !== null)?.sa.spis)
        if (going.every((spis) => spis !== undefined)) assert.deepEqual(going[0], going[1])
        await world.pass(2 * MINUTE)
        await assertOne(world, { client, gateway })
      },
    )
  }
}

const TWO_CHILDREN = {
  children: [
    { name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] },
    { name: 'lab', local: ['10.2.0.0/16'], remote: ['10.3.0.0/16'] },
  ],
}

for (const isLate of [false, true]) {
  scenarioOverSeeds(
    `both begin an IKE_SA at once with another CHILD_SA${isLate ? ', one a little later' : ''}: one stays, with both of them`,
    4,
    async (world) => {
      const nodes = bothInitiate(world, TWO_CHILDREN)
      const heal = world.network.tap((packet) =>
        isLate && packet.source.address.toString() === GATEWAY && summaryOf(packet) === 'IKE_SA_INIT request 0' ? [] : [packet],
      )
      const begun = nodes.map((node, i) => node.gateway.initiate('home', TWO_CHILDREN.children[i]!.name))
      await world.pass(SECOND)
      heal()
      await world.outcome(Promise.all(begun))
      await world.pass(2 * MINUTE)
      for (const node of nodes) {
        assert.equal(node.sessions().length, 1)
        assert.deepEqual(
          node
            .sessions()[0]!
            .sa.children.map(({ connection }) => connection.name)
            .toSorted(),
          ['lab', 'net'],
        )
      }
    },
  )
}

scenario('both begin an IKE_SA at once, with unique = never: both stay', async (world) => {
  const [client, gateway] = bothInitiate(world, {}, 'never')
  await world.outcome(Promise.all([client, gateway].map((node) => node.gateway.initiate('home', 'net'))))
  await world.pass(2 * MINUTE)
  assert.deepEqual([client.sessions().length, gateway.sessions().length], [2, 2])
})

scenarioOverSeeds(
  'of two that both begin at once the one that goes is the one that stays, when the other is lost at the other end',
  4,
  async (world) => {
    const [client, gateway] = bothInitiate(world)
    const begun = [client, gateway].map((node) => node.gateway.initiate('home', 'net'))
    await world.outcome(Promise.all(begun))
    await world.pass(SECOND)
    const [going] = client.sessions().filter(({ yields }) => yields !== null)
    const lost = gateway.sessions().find(({ sa }) => sa.ownSpi === going!.yields!.to.sa.peerSpi)
    // Without a word.
    await world.outcome(lost!.close('failed'))
    await world.pass(10 * MINUTE)
    assert.equal(client.sessions()[0], going)
    await assertOne(world, { client, gateway })
  },
)

scenario('a rekey of the IKE_SA there is while the peer begins another one is no second begin', async (world) => {
  const [client, gateway] = bothInitiate(world)
  await world.outcome(gateway.gateway.initiate('home', 'net'))
  await world.pass(SECOND)
  const heal = world.network.tap((packet) =>
    packet.source.address.toString() === CLIENT && summaryOf(packet) === 'IKE_AUTH request 1' ? [] : [packet],
  )
  const old = gateway.session
  const begun = client.gateway.initiate('home', 'net')
  await world.pass(SECOND)
  await world.outcome(old.runExchange(rekeyIkeSa, 'rekey-ike'))
  heal()
  await world.outcome(begun)
  await world.pass(MINUTE)
  for (const node of [client, gateway]) assert.equal(node.eventsOf('both-initiated').length, 0)
})

scenario(
  'what is reauthenticated is not made anew when another one comes up while it is being broken, begun before it',
  async (world) => {
    const [client, gateway] = bothInitiate(world, {}, 'no', { makeBeforeBreak: false })
    const losing = (summary: string): (() => void) =>
      world.network.tap((packet) =>
        packet.source.address.toString() === GATEWAY && summaryOf(packet) === summary ? [] : [packet],
      )
    const healInit = losing('IKE_SA_INIT request 0')
    const begun = gateway.gateway.initiate('home', 'net')
    await world.initiate(client)
    const old = gateway.sessions().find(({ sa }) => sa.state === 'established')!
    const healDelete = losing('INFORMATIONAL request 0')
    old.enqueue(() => reauthenticate(old))
    await world.pass(SECOND)
    healInit()
    await world.outcome(begun)
    healDelete()
    // The client has let go of the old one without a word.
    await world.pass(5 * MINUTE)
    await assertOne(world, { client, gateway })
  },
)

scenarioOverSeeds(
  'both begin an IKE_SA at once, and one of the two is rekeyed before the other stands at both ends: one stays',
  8,
  async (world) => {
    const [client, gateway] = bothInitiate(world)
    const heal = world.network.tap((packet) =>
      packet.source.address.toString() === GATEWAY && summaryOf(packet) === 'IKE_AUTH response 1' ? [] : [packet],
    )
    const begun = [client, gateway].map((node) => node.gateway.initiate('home', 'net'))
    await world.outcome(begun[1]!)
    await world.outcome(
      gateway
        .sessions()
        .find(({ sa }) => sa.role === 'initiator')!
        .runExchange(rekeyIkeSa, 'rekey-ike'),
    )
    heal()
    await world.outcome(begun[0]!)
    const going = [client, gateway].map((node) => node.sessions().filter(({ yields }) => yields !== null))
    assert.deepEqual(
      going[0]!.map(({ sa }) => sa.ownSpi),
      going[1]!.map(({ sa }) => sa.peerSpi),
    )
    assert.equal(going[0]!.length, 1)
    await world.pass(3 * MINUTE)
    await assertOne(world, { client, gateway })
  },
)
