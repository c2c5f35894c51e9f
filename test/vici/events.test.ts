/** What clients that registered hear of SAs. */
import assert from 'node:assert/strict'

import { Endpoint } from '../../src/base/ip.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { addClient, addGateway, HOME_HOST, OFFICE_HOST } from '../simulation/places.ts'
import { packet } from '../simulation/standing.ts'
import { scenario } from '../simulation/world.ts'
import { at, Operator, text, type Heard } from './operator.ts'

const summary = ({ event, message }: Heard): string => `${event} ${message['up'] === undefined ? 'down' : text(message, 'up')}`

scenario("an IKE_SA and its CHILD_SA come up and go down, in strongSwan's order", async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  assert.deepEqual(operator.raised.map(summary), ['ike-updown yes', 'child-updown yes'])
  const [ikeUp, childUp] = operator.raised
  assert.deepEqual(Object.keys(ikeUp!.message), ['up', 'home'])
  assert.equal(at(ikeUp!.message, 'home')['state'], 'ESTABLISHED')
  assert.equal(at(ikeUp!.message, 'home')['child-sas'], undefined)
  assert.deepEqual(Object.keys(childUp!.message), ['up', 'home'])
  assert.equal(at(childUp!.message, 'home', 'child-sas', 'net-1')['state'], 'INSTALLED')

  assert.ok(await world.ping(client, HOME_HOST, OFFICE_HOST))
  operator.raised.length = 0
  await operator.command('terminate', { ike: 'home' })
  assert.deepEqual(operator.raised.map(summary), ['ike-updown down', 'child-updown down'])
  const [ikeDown, childDown] = operator.raised
  assert.deepEqual([Object.keys(ikeDown!.message), at(ikeDown!.message, 'home')['state']], [['home'], 'DELETING'])
  const child = at(childDown!.message, 'home', 'child-sas', 'net-1')
  assert.deepEqual([child['state'], child['bytes-in'], child['packets-out']], ['INSTALLED', '84', '1'])
})

scenario('a CHILD_SA that is deleted alone goes down alone, with what it has carried', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, gateway)
  await world.initiate(client)
  assert.ok(await world.ping(client, HOME_HOST, OFFICE_HOST))
  operator.raised.length = 0
  await new Operator(world, client).command('terminate', { child: 'net' })
  assert.deepEqual(operator.raised.map(summary), ['child-updown down'])
  const ike = at(operator.raised[0]!.message, 'home')
  const child = at(ike, 'child-sas', 'net-1')
  assert.deepEqual([ike['state'], child['state'], child['bytes-out']], ['ESTABLISHED', 'DELETED', '84'])
})

scenario('what was never up does not go down; why it failed is an alert', async (world) => {
  addGateway(world, {}, { secrets: [{ text: 'another secret altogether' }] })
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.failure(client.gateway.initiate('home', 'net'))
  assert.deepEqual(
    operator.raised.map(({ event, message }) => [event, message['type']]),
    [['alert', 'local-auth-failed']],
  )
  const [{ message }] = operator.raised as [Heard]
  assert.deepEqual(Object.keys(message), ['type', 'ike-sa'])
  assert.equal(at(message, 'ike-sa', 'home')['uniqueid'], '1')
})

const types = (operator: Operator): readonly string[] =>
  operator.raised.filter(({ event }) => event === 'alert').map(({ message }) => text(message, 'type'))

scenario('a silent peer: retransmissions, and the end of patience', async (world) => {
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.failure(client.gateway.initiate('home', 'net'))
  assert.deepEqual(types(operator), [
    ...Array.from({ length: 5 }, () => 'retransmit-send'),
    'retransmit-send-timeout',
    'peer-init-unreachable',
  ])
})

scenario('a late answer clears the alert about retransmissions', async (world) => {
  const client = addClient(world)
  const operator = new Operator(world, client)
  const initiating = client.gateway.initiate('home', 'net')
  await world.pass(5 * SECOND)
  const gateway = addGateway(world)
  const there = new Operator(world, gateway)
  await world.outcome(initiating)
  assert.deepEqual(types(operator), ['retransmit-send', 'retransmit-send', 'retransmit-send-cleared'])
  assert.deepEqual(types(there), [])
})

scenario('alerts say what did not match', async (world) => {
  const gateway = addGateway(world, { remote: ['192.0.2.0/24'] })
  const client = addClient(world)
  const [here, there] = [new Operator(world, client), new Operator(world, gateway)]
  await world.initiate(client)
  assert.deepEqual(
    [types(here), types(there)],
    [
      ['ts-mismatch', 'keep-on-child-sa-failure'],
      ['ts-mismatch', 'keep-on-child-sa-failure'],
    ],
  )
})

scenario("a refused suite is an alert on both sides; nobody's IKE_SA has no section", async (world) => {
  const gateway = addGateway(world, { ikeProposals: ['aes256-sha512-x448'] })
  const client = addClient(world)
  const [here, there] = [new Operator(world, client), new Operator(world, gateway)]
  await world.failure(client.gateway.initiate('home', 'net'))
  assert.deepEqual(types(here), ['proposal-mismatch-ike'])
  assert.deepEqual(
    there.raised.map(({ message }) => message),
    [{ type: 'proposal-mismatch-ike' }],
  )
})

scenario('a stranger cannot raise more than one alert of a kind a second', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, gateway)
  const junk = (): void =>
    client.sendRaw(new Uint8Array(60).fill(0xee), new Endpoint(client.address, 500), new Endpoint(gateway.address, 500))
  for (let i = 0; i < 100; i++) junk()
  await world.pass(SECOND / 2)
  assert.deepEqual(types(operator), ['parse-error-header'])
  await world.pass(SECOND)
  junk()
  await world.pass(MINUTE)
  assert.deepEqual(types(operator), ['parse-error-header', 'parse-error-header'])
  assert.equal(operator.counters.get(null)!.get('invalid'), 101)
})

scenario('a CHILD_SA that falls ill, and gets well again, is told of in words and keys', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  operator.raised.length = 0
  for (let i = 0; i < 100; i++) {
    client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(SECOND)
  }
  assert.ok(await world.ping(client, HOME_HOST, OFFICE_HOST))
  await world.pass(MINUTE)
  const [ill, well, ...others] = operator.raised
  assert.deepEqual(others, [])
  assert.ok(ill !== undefined && well !== undefined)
  assert.deepEqual([ill.event, well.event], ['espalier-health', 'espalier-health'])
  assert.deepEqual(Object.keys(ill.message), ['text', 'home'])
  assert.match(text(ill.message, 'text'), /^may not work: \d+ packets were sent in \d+s, and none ever came back; /)
  const child = at(ill.message, 'home', 'child-sas', 'net-1')
  assert.deepEqual([child['health'], child['health-reason'], child['health-time']], ['suspect', 'no-return', '0'])
  assert.equal(at(well.message, 'home', 'child-sas', 'net-1')['health'], 'good')
  assert.equal(at(well.message, 'home', 'child-sas', 'net-1')['health-reason'], undefined)
  assert.deepEqual(
    [operator.counters.get('home')!.get('health-suspect'), operator.counters.get(null)!.get('health-repair')],
    [1, 0],
  )
})

scenario('a peer that its NAT moves: told with the new endpoints, and the IKE_SA listed with the old ones', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  const operator = new Operator(world, gateway)
  nat.flush()
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  assert.deepEqual(
    operator.raised.map(({ event }) => event),
    ['ike-update'],
  )
  const [{ message }] = operator.raised as [Heard]
  assert.deepEqual(Object.keys(message), ['local-host', 'local-port', 'remote-host', 'remote-port', 'home'])
  assert.deepEqual(
    ['local-host', 'local-port', 'remote-host', 'remote-port'].map((key) => message[key]),
    ['203.0.113.1', '4500', '192.0.2.1', '30002'],
  )
  assert.equal(at(message, 'home')['remote-port'], '30001')
  assert.equal(at(message, 'home')['child-sas'], undefined)
})
