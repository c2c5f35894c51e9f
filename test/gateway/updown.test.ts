/** The commands of children: when they are run, in what order, and what they are told, by scripts that note it. */
import assert from 'node:assert/strict'

import type { Pool } from '../../src/address/pool.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { Updown } from '../../src/gateway/updown.ts'
import { CALLS_MAX } from '../../src/gateway/updown-environment.ts'
import type { IkeSettings } from '../../src/ike/connection.ts'
import { deleteChildSa, deleteIkeSa } from '../../src/ike/delete.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import { reauthenticate } from '../../src/ike/reauthenticate.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { Script, Scripts } from '../../src/ports.ts'
import type { ConnectionWords } from '../simulation/configuration.ts'
import type { SimulatedNode } from '../simulation/node.ts'
import { addClient, addGateway, CLIENT, GATEWAY } from '../simulation/places.ts'
import { scenario, type World } from '../simulation/world.ts'

class NotedScripts implements Scripts {
  readonly calls: Script[] = []
  readonly events: IkeEvent[] = []
  /** Of those that run. */
  readonly ends: (() => void)[] = []
  holds = false
  failure: string | null = null
  updown!: Updown

  run(script: Script, onLine: (line: string) => void): Promise<string | null> {
    this.calls.push(script)
    onLine(`called as ${script.variables['PLUTO_VERB']}`)
    if (!this.holds) return Promise.resolve(this.failure)
    return new Promise((resolve) => this.ends.push(() => resolve(this.failure)))
  }

  get verbs(): readonly string[] {
    return this.calls.map(({ variables }) => variables['PLUTO_VERB']!)
  }
}

function follow(node: SimulatedNode, settings: Partial<IkeSettings> = {}): NotedScripts {
  const scripts = new NotedScripts()
  scripts.updown = new Updown(
    scripts,
    { interfaceTo: (local) => Promise.resolve(node.interfaces.with(local)?.name ?? null) },
    () => ({ ...node.configuration.settings, ...settings }),
    (event) => void scripts.events.push(event),
  )
  node.listeners.push((event) => scripts.updown.handle(event))
  return scripts
}

const POOL: Pool = { name: 'clients', base: IpAddress.parse('10.3.0.1'), size: 5, attributes: [] }
const COMMAND = '/usr/lib/ipsec/_updown iptables'

function pair(world: World, words: ConnectionWords = {}): { client: SimulatedNode; noted: NotedScripts } {
  addGateway(world)
  const client = addClient(world, { updown: COMMAND, ...words })
  return { client, noted: follow(client) }
}
const close = (world: World, { session }: SimulatedNode): Promise<unknown> =>
  world.outcome(session.runExchange((one) => deleteIkeSa(one, 'deleted-by-us')))

scenario('up when a CHILD_SA begins, down when it ends, with what strongSwan tells of it', async (world) => {
  const { client, noted } = pair(world)
  await world.initiate(client)
  const [{ sa }] = client.sessions() as [(typeof client)['session']]
  const [child] = sa.children
  const told = {
    PLUTO_VERSION: '1.1',
    PLUTO_VERB: 'up-client',
    PLUTO_CONNECTION: 'net',
    PLUTO_INTERFACE: 'eth0',
    PLUTO_REQID: String(child!.reqid),
    PLUTO_PROTO: 'esp',
    PLUTO_UNIQUEID: String(sa.uniqueId),
    PLUTO_ME: CLIENT,
    PLUTO_MY_ID: 'client@example.org',
    PLUTO_MY_CLIENT: '10.2.0.0/16',
    PLUTO_MY_PORT: '0',
    PLUTO_MY_PROTOCOL: '0',
    PLUTO_PEER: GATEWAY,
    PLUTO_PEER_ID: 'gateway.example.org',
    PLUTO_PEER_CLIENT: '10.1.0.0/16',
    PLUTO_PEER_PORT: '0',
    PLUTO_PEER_PROTOCOL: '0',
  }
  assert.deepEqual(noted.calls, [{ command: COMMAND, variables: told }])
  assert.deepEqual(
    noted.events.map((event) => (event.event === 'script-said' ? event.line : event.event)),
    ['called as up-client'],
  )
  await close(world, client)
  await world.pass(SECOND)
  assert.deepEqual(noted.calls.slice(1), [{ command: COMMAND, variables: { ...told, PLUTO_VERB: 'down-client' } }])
})

scenario('rekeying of either, by either, is no end and no beginning', async (world) => {
  const { client, noted } = pair(world)
  await world.initiate(client)
  const gateway = world.nodes.find(({ name }) => name === 'gateway')!
  for (const node of [client, gateway]) {
    await world.outcome(node.session.runExchange((session) => rekeyChild(session, session.sa.children[0]!)))
    await world.pass(MINUTE)
    await world.outcome(node.session.runExchange(rekeyIkeSa))
    await world.pass(MINUTE)
  }
  assert.deepEqual(noted.verbs, ['up-client'])
  await close(world, client)
  await world.pass(SECOND)
  assert.deepEqual(noted.verbs, ['up-client', 'down-client'])
})

scenario('both sides rekey at once: one line of CHILD_SAs all the same', async (world) => {
  const { client, noted } = pair(world)
  await world.initiate(client)
  const gateway = world.nodes.find(({ name }) => name === 'gateway')!
  const both = [client, gateway].map(({ session }) =>
    session.runExchange((one) => rekeyChild(one, one.sa.children[0]!)).catch(() => undefined),
  )
  await world.outcome(Promise.all(both))
  await world.pass(MINUTE)
  assert.equal(client.session.sa.children.length, 1)
  assert.deepEqual(noted.verbs, ['up-client'])
  await world.outcome(client.session.runExchange((session) => deleteChildSa(session, session.sa.children[0]!)))
  await world.pass(SECOND)
  assert.deepEqual(noted.verbs, ['up-client', 'down-client'])
})

scenario('a reauthentication is a new CHILD_SA and then the end of the old one, told in that order', async (world) => {
  const { client, noted } = pair(world)
  await world.initiate(client)
  client.session.enqueue(() => reauthenticate(client.session))
  await world.pass(MINUTE)
  assert.deepEqual(noted.verbs, ['up-client', 'up-client', 'down-client'])
})

scenario('one call for each pair of selectors that packets go between; at most so many', async (world) => {
  const many = Array.from({ length: 20 }, (_, i) => `10.2.${i}.0/24`)
  addGateway(world, { local: ['10.1.0.0/16', 'fd00:1::/32'], remote: [...many, 'fd00:2::/32'] })
  const client = addClient(world, {
    updown: COMMAND,
    children: [
      {
        name: 'net',
        updown: COMMAND,
        local: ['10.2.1.0/24', 'fd00:2::/64'],
        remote: ['10.1.0.0/24', '10.1.1.0/24', 'fd00:1::/64'],
      },
    ],
  })
  const noted = follow(client)
  await world.initiate(client)
  const pairs = noted.calls.map(({ variables: { PLUTO_VERB, PLUTO_MY_CLIENT, PLUTO_PEER_CLIENT } }) => [
    PLUTO_VERB,
    PLUTO_MY_CLIENT,
    PLUTO_PEER_CLIENT,
  ])
  assert.deepEqual(pairs, [
    ['up-client', '10.2.1.0/24', '10.1.0.0/24'],
    ['up-client', '10.2.1.0/24', '10.1.1.0/24'],
    ['up-client-v6', 'fd00:2::/64', 'fd00:1::/64'],
  ])
})

scenario('a peer that asks for very many selectors has not all of them told', async (world) => {
  const networks = (first: number): string[] => Array.from({ length: 20 }, (_, i) => `10.${first}.${i * 2}.0/24`)
  const gateway = addGateway(world, { updown: COMMAND })
  const noted = follow(gateway)
  await world.initiate(addClient(world, { local: networks(2), remote: networks(1) }))
  assert.equal(noted.calls.length, CALLS_MAX)
  assert.ok(noted.events.some(({ event }) => event === 'script-trouble'))
})

scenario('what is told of ports, ICMP, ranges, this machine itself, NAT, marks, interfaces and access', async (world) => {
  const nat = world.addNat('home', '198.51.100.1')
  addGateway(world, {
    localId: 'gateway.example.org',
    children: ['tcp', 'icmp', 'range', 'host'].map((name) => ({ name, local: ['10.1.0.0/16'], remote: ['0.0.0.0/0'] })),
  })
  const words = {
    tcp: { local: ['10.2.0.0/24[tcp/1000-2000]'], remote: ['10.1.0.0/24[tcp/443]'], hostAccess: true },
    icmp: { local: ['10.2.1.0/24[icmp/2051]'], remote: ['10.1.0.0/24[icmp/2051]'] },
    range: { local: ['10.2.2.3-10.2.2.9'], remote: ['10.1.0.1-10.1.0.14'], interfaceId: 42 },
    host: { local: ['192.168.1.7'], remote: ['10.1.0.0/24'], marks: { markIn: { value: 7, mask: 255 } as const } },
  } satisfies Record<string, ConnectionWords>
  const client = addClient(
    world,
    { children: Object.entries(words).map(([name, more]) => ({ name, updown: COMMAND, ...more })) },
    { behind: nat },
  )
  const noted = follow(client)
  const told: Record<string, Readonly<Record<string, string>>> = {}
  for (const name of Object.keys(words)) {
    await world.initiate(client, 'home', name)
    told[name] = noted.calls.at(-1)!.variables
  }
  const of = (name: string, ...keys: string[]): readonly (string | undefined)[] => keys.map((key) => told[name]![`PLUTO_${key}`])
  assert.deepEqual(of('tcp', 'MY_PORT', 'PEER_PORT', 'MY_PROTOCOL', 'PEER_PROTOCOL'), ['1000:2000', '443', '6', '6'])
  assert.deepEqual(of('tcp', 'HOST_ACCESS', 'UDP_ENC', 'ME'), ['1', '4500', '192.168.1.7'])
  assert.deepEqual(of('icmp', 'MY_PORT', 'PEER_PORT', 'MY_PROTOCOL', 'HOST_ACCESS'), ['8', '3', '1', undefined])
  assert.deepEqual(of('range', 'MY_CLIENT', 'PEER_CLIENT', 'IF_ID_IN', 'IF_ID_OUT'), ['10.2.2.0/28', '10.1.0.0/28', '42', '42'])
  assert.deepEqual(of('host', 'VERB', 'MY_CLIENT', 'MARK_IN', 'MARK_OUT'), [
    'up-host',
    '192.168.1.7/32',
    '7/0x000000ff',
    undefined,
  ])
})

scenario('virtual addresses are told on both sides, name servers where they are for the command', async (world) => {
  const gateway = addGateway(
    world,
    { remote: ['dynamic'], pools: ['clients'], updown: COMMAND },
    { pools: [{ ...POOL, attributes: [{ type: 3, value: Uint8Array.of(10, 1, 0, 53) }] }] },
  )
  const client = addClient(world, { local: ['dynamic'], vips: ['0.0.0.0'], updown: COMMAND })
  const [there, here, own] = [follow(gateway), follow(client), follow(client, { updownHandlesNameServers: true })]
  await world.initiate(client)
  const [theirs, ours, with53] = [there, here, own].map(({ calls }) => calls[0]!.variables) as [
    Script['variables'],
    Script['variables'],
    Script['variables'],
  ]
  assert.deepEqual([theirs['PLUTO_PEER_SOURCEIP'], theirs['PLUTO_PEER_SOURCEIP4_1']], ['10.3.0.1', '10.3.0.1'])
  assert.deepEqual([ours['PLUTO_MY_SOURCEIP'], ours['PLUTO_MY_SOURCEIP4_1']], ['10.3.0.1', '10.3.0.1'])
  assert.deepEqual([ours['PLUTO_DNS4_1'], with53['PLUTO_DNS4_1']], [undefined, '10.1.0.53'])
  await close(world, client)
  await world.pass(SECOND)
  assert.equal(there.calls[1]!.variables['PLUTO_PEER_SOURCEIP'], '10.3.0.1')
})

scenario(
  'what is told of the same traffic is told one after the other; what has gone before its turn is not told of',
  async (world) => {
    const { client, noted } = pair(world)
    noted.holds = true
    await world.initiate(client)
    await close(world, client)
    await world.initiate(client)
    await close(world, client)
    await world.initiate(client)
    await world.pass(SECOND)
    // The first one still runs.
    assert.deepEqual(noted.verbs, ['up-client'])
    let isSettled = false
    const settled = noted.updown.settled().then(() => (isSettled = true))
    for (let i = 0; i < 3; i++) {
      assert.equal(isSettled, false)
      noted.ends.shift()!()
      await world.pass(SECOND)
    }
    assert.deepEqual(noted.verbs, ['up-client', 'down-client', 'up-client'])
    assert.ok(await settled)
  },
)

scenario('few run at the same time, however many begin', async (world) => {
  const gateway = addGateway(
    world,
    { remote: ['dynamic'], pools: ['clients'], updown: COMMAND },
    { pools: [{ ...POOL, size: 50 }] },
  )
  const noted = follow(gateway)
  noted.holds = true
  for (let i = 0; i < 10; i++)
    await world.initiate(
      addClient(
        world,
        { connection: `c${i}`, localId: `c${i}`, local: ['dynamic'], vips: ['0.0.0.0'] },
        { name: `c${i}`, address: `198.51.100.${10 + i}` },
      ),
      `c${i}`,
    )
  await world.pass(SECOND)
  assert.equal(noted.calls.length, 4)
  while (noted.ends.length > 0) {
    for (const end of noted.ends.splice(0)) end()
    await world.pass(SECOND)
  }
  assert.equal(noted.calls.length, 10)
})

scenario('a command that ends badly is told, and no reason to give up the tunnel', async (world) => {
  const { client, noted } = pair(world)
  noted.failure = 'exit status 1'
  await world.initiate(client)
  assert.equal(client.session.sa.children.length, 1)
  assert.deepEqual(
    noted.events.flatMap((event) => (event.event === 'script-trouble' ? [event.sentence] : [])),
    ['updown (up-client): exit status 1'],
  )
})

scenario('without a command, or where they are not wanted, none is run', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const noted = follow(client)
  await world.initiate(client)
  const other = addClient(
    world,
    { connection: 'two', localId: 'two', local: ['10.2.9.0/24'], updown: COMMAND },
    { name: 'two', address: '198.51.100.9' },
  )
  const unwanted = follow(other, { runsUpdown: false })
  await world.initiate(other, 'two')
  await close(world, other)
  assert.deepEqual([noted.calls.length, unwanted.calls.length], [0, 0])
})
