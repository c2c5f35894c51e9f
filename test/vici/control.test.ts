/** What initiate, terminate and their like do and answer. */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { addClient, addGateway, flows } from '../simulation/places.ts'
import { scenario } from '../simulation/world.ts'
import { Operator, text } from './operator.ts'

scenario('initiate brings a child up, and whoever waits hears what becomes of it, line by line', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  assert.deepEqual(await operator.command('initiate', { child: 'net', ike: 'home', timeout: '0' }), { success: 'yes' })
  assert.equal(client.session.sa.children.length, 1)
  assert.ok(operator.streamed.length > 3)
  for (const { event, message } of operator.streamed) {
    assert.equal(event, 'control-log')
    assert.deepEqual(Object.keys(message), ['group', 'level', 'ikesa-name', 'ikesa-uniqueid', 'msg'])
    assert.deepEqual([message['ikesa-name'], message['ikesa-uniqueid']], ['home', '1'])
    assert.match(text(message, 'group'), /^[A-Z]{3}$/)
    assert.ok(Number(message['level']) <= 1)
  }
  assert.match(text(operator.streamed.at(-1)!.message, 'msg'), /CHILD_SA net\{1\} established/)
})

scenario('the lines of progress are as loud as was asked for', async (world) => {
  addGateway(world)
  const silent = new Operator(world, addClient(world))
  await silent.command('initiate', { child: 'net', loglevel: '-1' })
  assert.deepEqual(silent.streamed, [])
  const curious = new Operator(world, addClient(world, {}, { name: 'other', address: '198.51.100.8' }))
  await curious.command('initiate', { child: 'net', loglevel: '2' })
  assert.ok(curious.streamed.some(({ message }) => message['level'] === '2'))
  world.expectsAgreement = false
})

scenario('only the lines of the IKE_SA that is being made are told', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await operator.command('initiate', { child: 'net' })
  const terminating = operator.begin('terminate', { child: 'net' })
  const before = operator.streamed.length
  client.hub.write({
    group: 'ike',
    loudness: 1,
    level: 'info',
    message: 'another',
    ike: { name: 'home', uniqueId: 7 },
    fields: {},
  })
  client.hub.write({ group: 'ike', loudness: 1, level: 'info', message: 'nobody', ike: null, fields: {} })
  assert.deepEqual(operator.streamed.slice(before), [])
  assert.equal((await world.outcome(terminating))['success'], 'yes')
})

scenario('initiate names what it does not find, and what it is not told', async (world) => {
  const operator = new Operator(world, addClient(world))
  const errmsg = async (request: Record<string, string>): Promise<string> =>
    text(await operator.command('initiate', request), 'errmsg')
  assert.equal(await errmsg({}), 'missing configuration name')
  assert.equal(await errmsg({ child: 'nett' }), "CHILD_SA config 'nett' not found")
  assert.equal(await errmsg({ child: 'net', ike: 'office' }), "CHILD_SA config 'net' not found")
  assert.equal(await errmsg({ ike: 'office' }), "IKE_SA config 'office' not found")
})

scenario('an IKE_SA comes up without a child, and is up when it is asked for again; a child comes up in it', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  for (let i = 0; i < 2; i++) assert.deepEqual(await operator.command('initiate', { ike: 'home' }), { success: 'yes' })
  assert.deepEqual([client.session.sa.uniqueId, client.session.sa.children], [1, []])
  assert.deepEqual(await operator.command('initiate', { child: 'net' }), { success: 'yes' })
  assert.deepEqual(await operator.command('initiate', { ike: 'home' }), { success: 'yes' })
  assert.deepEqual([client.session.sa.uniqueId, client.session.sa.children.length], [1, 1])
  assert.ok(await flows(world, client, gateway))
})

scenario('a child that is up is not brought up again; one that is not comes up in the IKE_SA that stands', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await operator.command('initiate', { child: 'net' })
  assert.deepEqual(await operator.command('initiate', { child: 'net' }), {
    success: 'no',
    errmsg: "establishing CHILD_SA 'net' failed: it is up already, as net{1} of home[1]",
  })
  await operator.command('terminate', { child: 'net' })
  assert.deepEqual(await operator.command('initiate', { child: 'net' }), { success: 'yes' })
  assert.deepEqual([client.session.sa.uniqueId, client.session.sa.children.map(({ uniqueId }) => uniqueId)], [1, [2]])
  await operator.command('terminate', { ike: 'home' })
  assert.deepEqual(await operator.command('initiate', { child: 'net' }), { success: 'yes' })
  assert.equal(client.session.sa.uniqueId, 2)
})

scenario('an initiation that fails says so, as soon as it has', async (world) => {
  const client = addClient(world)
  const operator = new Operator(world, client)
  assert.deepEqual(await operator.command('initiate', { child: 'net' }), {
    success: 'no',
    errmsg: "establishing CHILD_SA 'net' failed",
  })
  assert.ok(operator.streamed.length > 5, 'the retransmissions are told')
  assert.deepEqual(client.sessions(), [])
})

scenario('a child that the peer refuses is a failure, even though its IKE_SA stands', async (world) => {
  addGateway(world, { remote: ['192.0.2.0/24'] })
  const client = addClient(world)
  const answer = await new Operator(world, client).command('initiate', { child: 'net' })
  assert.deepEqual(answer, { success: 'no', errmsg: "establishing CHILD_SA 'net' failed" })
  assert.equal(client.session.sa.state, 'established')
})

scenario('what fails before there is an IKE_SA has no lines, so the answer tells why', async (world) => {
  const operator = new Operator(world, addClient(world, { remoteAddresses: ['%any'] }))
  const errmsg = text(await operator.command('initiate', { child: 'net' }), 'errmsg')
  assert.match(errmsg, /^establishing CHILD_SA 'net' failed: connection home cannot be initiated: remote_addrs/)
  const unhurried = await operator.command('initiate', { child: 'net', timeout: '-1' })
  assert.equal(unhurried['errmsg'], errmsg, 'also for who does not wait')
})

scenario('with a timeout the answer comes in time, and the initiation goes on', async (world) => {
  const client = addClient(world)
  const operator = new Operator(world, client)
  const began = world.clock.now()
  assert.deepEqual(await operator.command('initiate', { child: 'net', timeout: '500' }), {
    success: 'no',
    errmsg: "CHILD_SA 'net' not established after 500ms",
  })
  assert.equal(world.clock.now() - began, 500)
  assert.equal(client.session.sa.state, 'connecting')
  const told = operator.streamed.length
  await world.pass(10 * SECOND)
  assert.equal(operator.streamed.length, told, 'nobody hears of what came after the answer')
  addGateway(world)
  await world.until(() => client.session.sa.state === 'established', 'the late peer answers')
})

scenario('who does not wait has the answer at once, without lines', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  assert.deepEqual(await operator.command('initiate', { child: 'net', timeout: '-1' }), { success: 'yes' })
  assert.equal(client.session.sa.state, 'connecting')
  await world.pass(SECOND)
  assert.equal(client.session.sa.state, 'established')
  assert.deepEqual(await operator.command('terminate', { ike: 'home', timeout: '-1' }), {
    success: 'yes',
    matches: '1',
    terminated: '1',
  })
  await world.pass(SECOND)
  assert.deepEqual(client.sessions(), [])
  assert.deepEqual(operator.streamed, [])
})

scenario('a client that leaves stops nothing', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  const initiating = operator.begin('initiate', { child: 'net' })
  operator.leave()
  assert.deepEqual(await world.outcome(initiating), { success: 'yes' })
  assert.deepEqual(operator.streamed, [])
})

scenario('init-limits counts half-open IKE_SAs, whoever began them', async (world) => {
  const client = addClient(
    world,
    { children: [{ name: 'net', local: ['10.2.0.0/16'], remote: ['10.1.0.0/16'] }] },
    { settings: { initLimitHalfOpen: 1 } },
  )
  const other = { ...client.configuration.connections[0]!, name: 'other' }
  client.gateway.reload({ ...client.configuration, connections: [...client.configuration.connections, other] })
  const operator = new Operator(world, client)
  assert.deepEqual(await operator.command('initiate', { 'child': 'net', 'timeout': '-1', 'init-limits': 'yes' }), {
    success: 'yes',
  })
  assert.deepEqual(
    await operator.command('initiate', { 'child': 'net', 'ike': 'other', 'timeout': '-1', 'init-limits': 'yes' }),
    {
      success: 'no',
      errmsg: "establishing CHILD_SA 'net' not possible at the moment due to limits",
    },
  )
  assert.equal((await operator.command('initiate', { child: 'net', ike: 'other', timeout: '-1' }))['success'], 'yes')
  world.expectsAgreement = false
})

scenario('terminate takes CHILD_SAs or IKE_SAs, by name or number', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  const terminate = (request: Record<string, string>): Promise<object> => operator.command('terminate', request)
  assert.deepEqual(await terminate({}), { success: 'no', errmsg: 'missing terminate selector' })
  const nothing = { success: 'no', matches: '0', terminated: '0', errmsg: 'no matching SAs to terminate found' }
  assert.deepEqual(await terminate({ ike: 'home' }), nothing)
  await world.initiate(client)
  assert.deepEqual(await terminate({ ike: 'office' }), nothing)
  assert.deepEqual(await terminate({ child: 'net', ike: 'office' }), nothing)
  assert.deepEqual(await terminate({ 'child': 'net', 'child-id': '2' }), nothing)
  assert.deepEqual(await terminate({ 'child-id': '1', 'ike-id': '2' }), nothing)

  const one = { success: 'yes', matches: '1', terminated: '1' }
  assert.deepEqual(await terminate({ 'child': 'net', 'ike': 'home', 'child-id': '1', 'ike-id': '1' }), one)
  assert.deepEqual(client.session.sa.children, [], 'the CHILD_SA is gone, its IKE_SA is not')
  assert.deepEqual(await terminate({ child: 'net' }), nothing)
  assert.deepEqual(await terminate({ 'ike-id': '1' }), one)
  assert.deepEqual([...client.sessions(), ...gateway.sessions()], [])
  assert.ok(operator.streamed.some(({ message }) => /deleting IKE_SA|IKE_SA deleted/.test(text(message, 'msg'))))
})

scenario('a name and a number of IKE_SAs mean either, as in strongSwan', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  assert.equal((await operator.command('terminate', { 'ike': 'home', 'ike-id': '9' }))['terminated'], '1')
})

scenario('a peer that is silent can be waited for, or not', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  gateway.isAsleep = true
  assert.deepEqual(await operator.command('terminate', { 'child-id': '1', 'timeout': '100' }), {
    success: 'no',
    matches: '1',
    terminated: '0',
    errmsg: 'terminating SA failed',
  })
  assert.deepEqual(await operator.command('terminate', { ike: 'home', timeout: '100' }), {
    success: 'no',
    matches: '1',
    terminated: '0',
    errmsg: 'terminating SA failed',
  })
  assert.equal(client.sessions().length, 1, 'the delete goes on')
  const began = world.clock.now()
  assert.equal((await operator.command('terminate', { ike: 'home', force: 'yes', timeout: '700' }))['terminated'], '1')
  assert.ok(world.clock.now() - began >= 700, 'the peer had its time')
  assert.deepEqual(client.sessions(), [])
  gateway.isAsleep = false
  world.expectsAgreement = false
})

scenario('force does not wait for the peer, but tells it', async (world) => {
  const gateway = addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  assert.deepEqual(await operator.command('terminate', { ike: 'home', force: 'yes' }), {
    success: 'yes',
    matches: '1',
    terminated: '1',
  })
  assert.deepEqual(client.sessions(), [])
  await world.pass(SECOND)
  assert.deepEqual(gateway.sessions(), [])

  await world.initiate(client)
  gateway.isAsleep = true
  const began = world.clock.now()
  assert.equal((await operator.command('terminate', { ike: 'home', force: 'yes' }))['terminated'], '1')
  assert.ok(world.clock.now() - began < SECOND)
  gateway.isAsleep = false
  world.expectsAgreement = false
})

scenario('of several SAs those that could be terminated are counted', async (world) => {
  const gateway = addGateway(world)
  const [one, two] = ['198.51.100.8', '198.51.100.9'].map((address, i) =>
    addClient(world, { localId: `client${i}@example.org`, local: [`10.2.${i}.0/24`] }, { name: `client${i}`, address }),
  )
  await world.initiate(one!)
  await world.initiate(two!)
  two!.isAsleep = true
  assert.deepEqual(await new Operator(world, gateway).command('terminate', { ike: 'home', timeout: '1000' }), {
    success: 'no',
    matches: '2',
    terminated: '1',
    errmsg: 'not all matching SAs could be terminated',
  })
  two!.isAsleep = false
  world.expectsAgreement = false
})

scenario('an IKE_SA that is not established yet is closed without a word', async (world) => {
  const client = addClient(world)
  const operator = new Operator(world, client)
  await operator.command('initiate', { child: 'net', timeout: '-1' })
  const before = world.mark
  assert.equal((await operator.command('terminate', { ike: 'home' }))['terminated'], '1')
  assert.deepEqual([client.sessions(), world.sent(before)], [[], []])
})

scenario("what names nothing is refused in strongSwan's words", async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  const refused = async (name: string, request: Record<string, string>): Promise<string> => {
    const answer = await operator.command(name, request)
    assert.equal(answer['success'], 'no')
    return text(answer, 'errmsg')
  }
  assert.equal(await refused('rekey', {}), 'missing rekey selector')
  assert.equal(await refused('rekey', { ike: 'home' }), 'no matching SAs to rekey found')
  assert.equal(await refused('redirect', { ike: 'home' }), 'missing target gateway')
  assert.equal(await refused('redirect', { ike: 'home', gateway: 'a@b' }), 'unsupported gateway identity')
  assert.equal(await refused('redirect', { gateway: '192.0.2.1' }), 'missing redirect selector')
  assert.equal(await refused('redirect', { gateway: '192.0.2.1', ike: 'home' }), 'no matching SAs to redirect found')
  assert.equal(await refused('install', {}), 'missing configuration name')
  assert.equal(await refused('install', { child: 'nett' }), 'configuration name not found')
  assert.equal(await refused('uninstall', {}), 'missing configuration name')
  assert.equal(await refused('uninstall', { child: 'net' }), "policy 'net' not found")
  assert.equal(await refused('redirect', { 'gateway': '192.0.2.1', 'peer-ip': '10.0.0.' }), 'invalid peer IP selector')
})

scenario('CHILD_SAs and IKE_SAs are rekeyed by name and by number', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  const done = { success: 'yes', matches: '1' }
  assert.deepEqual(await operator.command('rekey', { child: 'net' }), done)
  await world.pass(SECOND)
  assert.deepEqual(await operator.command('rekey', { 'ike-id': '1' }), done)
  await world.pass(10 * SECOND)
  assert.deepEqual([client.session.sa.uniqueId, client.session.sa.children.map(({ uniqueId }) => uniqueId)], [2, [2]])
})

scenario('an IKE_SA is reauthenticated by name, a CHILD_SA named with it is rekeyed', async (world) => {
  addGateway(world)
  const client = addClient(world)
  const operator = new Operator(world, client)
  await world.initiate(client)
  const done = { success: 'yes', matches: '1' }
  assert.deepEqual(await operator.command('rekey', { ike: 'home', reauth: 'yes' }), done)
  await world.pass(10 * SECOND)
  assert.equal(client.eventsOf('ike-established').length, 2)
  assert.deepEqual([client.session.sa.uniqueId, client.session.sa.children.map(({ uniqueId }) => uniqueId)], [2, [2]])
  assert.deepEqual(await operator.command('rekey', { ike: 'home', child: 'net', reauth: 'yes' }), done)
  await world.pass(10 * SECOND)
  assert.deepEqual([client.session.sa.uniqueId, client.session.sa.children.map(({ uniqueId }) => uniqueId)], [2, [3]])
})

scenario('reload-settings has the daemon read its settings anew', async (world) => {
  const operator = new Operator(world, addClient(world))
  assert.deepEqual(await operator.command('reload-settings'), { success: 'yes' })
  assert.equal(operator.reloads, 1)
})

scenario('a number that is none is named', async (world) => {
  const operator = new Operator(world, addClient(world))
  assert.match(text(await operator.command('terminate', { 'ike-id': 'one' }), 'errmsg'), /^ike-id: "one"/)
})
