/** What espalier-nat tells of paths. */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { addClient, addGateway, HOME_HOST, OFFICE_HOST } from '../simulation/places.ts'
import { packet } from '../simulation/standing.ts'
import { scenario } from '../simulation/world.ts'
import { at, Operator, text, type Plain } from './operator.ts'

async function paths(operator: Operator, request: Plain = {}): Promise<readonly Plain[]> {
  const before = operator.streamed.length
  assert.deepEqual(await operator.command('espalier-nat', request), {})
  return operator.streamed.slice(before).map(({ event, message }) => {
    assert.equal(event, 'espalier-path')
    return message
  })
}

scenario('which hash differed, keepalives, and a mapping that changed, on either side of a NAT', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  const [atClient, atGateway] = [new Operator(world, client), new Operator(world, gateway)]
  await world.initiate(client)
  await world.pass(MINUTE)
  // One packet keeps the mapping alive as well as a keepalive does.
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(MINUTE)
  nat.flush()
  // The answer to the first packet from there is on its way before anybody is told.
  client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
  await world.pass(SECOND)
  assert.ok(await world.ping(client, HOME_HOST, OFFICE_HOST))

  const [mine, ...others] = await paths(atClient)
  assert.deepEqual(others, [])
  const here = at(mine!, 'home')
  assert.deepEqual([here['nat-local'], here['nat-remote'], here['encap'], here['move-count']], ['yes', undefined, 'yes', '0'])
  const { age: _, ...found } = at(here, 'detection')
  assert.deepEqual(found, {
    'supported': 'yes',
    'source-matched': 'yes',
    'destination-matched': 'no',
    'forced': 'no',
    'local-host': '192.168.1.7',
    'local-port': '500',
    'remote-host': '203.0.113.1',
    'remote-port': '500',
  })
  const { sent, suppressed, ...keepalives } = at(here, 'keepalives')
  assert.deepEqual(keepalives, { needed: 'yes', interval: '20' })
  assert.ok(Number(sent) >= 4 && Number(suppressed) >= 1, JSON.stringify({ sent, suppressed }))

  // The same, added up.
  const counted = async (operator: Operator): Promise<Plain> =>
    at(await operator.command('get-counters', { name: 'home' }), 'counters', 'home')
  const [ofClient, ofGateway] = [await counted(atClient), await counted(atGateway)]
  assert.deepEqual(
    [ofClient['nat-detected'], ofClient['keepalive-sent'], ofClient['keepalive-suppressed']],
    ['1', sent, suppressed],
  )
  assert.deepEqual([ofGateway['nat-detected'], ofGateway['keepalive-suppressed'], ofGateway['endpoints-moved']], ['1', '0', '1'])

  const [theirs] = await paths(atGateway)
  const there = at(theirs!, 'home')
  assert.equal(at(there, 'detection')['source-matched'], 'no')
  assert.deepEqual(at(there, 'keepalives'), { needed: 'no', sent: '0', suppressed: '0' })
  assert.equal(there['move-count'], '1')
  const { age, ...move } = at(there, 'moves', '1')
  assert.ok(Number(age) <= 2)
  assert.deepEqual(move, {
    'cause': 'mapping',
    'old-local-host': '203.0.113.1',
    'old-local-port': '4500',
    'old-remote-host': '192.0.2.1',
    'old-remote-port': '30001',
    'local-host': '203.0.113.1',
    'local-port': '4500',
    'remote-host': '192.0.2.1',
    'remote-port': text(there, 'remote-port'),
  })
  assert.notEqual(there['remote-port'], '30001')
})

scenario('how its CHILD_SAs fare is told in a word, a reason and a sentence', async (world) => {
  addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  const operator = new Operator(world, client)
  const child = async (): Promise<Plain> => at((await paths(operator, { ike: 'home' }))[0]!, 'home', 'child-sas', 'net-1')
  const { 'health-time': _, ...fresh } = await child()
  assert.deepEqual(fresh, {
    'name': 'net',
    'uniqueid': '1',
    'state': 'INSTALLED',
    'mode': 'TUNNEL',
    'encap': 'no',
    'health': 'untested',
    'health-text': 'has let nothing in yet',
    'mtu': '1446',
  })
  for (let i = 0; i < 100; i++) {
    client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    await world.pass(SECOND)
  }
  const ill = await child()
  assert.deepEqual([ill['health'], ill['health-reason']], ['suspect', 'no-return'])
  assert.match(text(ill, 'health-text'), /^may not work: /)
  assert.deepEqual(await paths(operator, { ike: 'nobody' }), [])
})

scenario('of a peer that sent no hashes none is said to match', async (world) => {
  addGateway(world)
  const client = addClient(world)
  await world.initiate(client)
  const { path } = client.session.sa
  assert.ok(path.detection !== null)
  path.noteDetection({ ...path.detection, supported: false, sourceMatched: false, destinationMatched: false })
  const [told] = await paths(new Operator(world, client))
  assert.deepEqual(Object.keys(at(told!, 'home', 'detection')).slice(1, 4), ['supported', 'forced', 'local-host'])
})
