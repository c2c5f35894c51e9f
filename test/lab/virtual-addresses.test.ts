/**
 * Virtual addresses against charon in either role, through one NAT: given by a pool of either family, on the client's
 * interface with a route from there, the same again for who comes back, though the daemon was another meanwhile, and
 * nothing of it left in the end. And what goes with them: name servers, split networks, the commands of children.
 */
import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo, type Peer } from './support/listed.ts'
import type { Host, Lab } from './support/network.ts'
import { eventually } from './support/process.ts'
import { assertKernelEmpty, type Client, clientConfiguration, gatewayConfiguration, OFFICE, scene } from './support/scene.ts'

const OFFICE6 = 'fd00:20::1'
const POOLS = `
pools {
  clients {
    addrs = 10.3.0.0/28
    dns = 10.20.0.53
  }
  six {
    addrs = fd00:3::/120
  }
}
`
const GATEWAY_CONFIGURATION =
  gatewayConfiguration({ ike: 'pools = clients, six' })
    .replace('remote_ts = 10.10.0.0/16', 'remote_ts = dynamic')
    .replace('local_ts = 10.20.0.0/24', 'local_ts = 10.20.0.0/24, fd00:20::/64') + POOLS
const configurationOf = (client: Client): string =>
  clientConfiguration(client, { ike: 'vips = 0.0.0.0, ::' })
    .replace(`local_ts = ${client.homeNetwork}`, 'local_ts = dynamic')
    .replace('remote_ts = 10.20.0.0/24', 'remote_ts = 10.20.0.0/24, fd00:20::/64')

/** As the host has them now: virtual addresses, and routes of tunnels. */
async function installed(host: Host): Promise<{ readonly addresses: string; readonly routes: string }> {
  const addresses = await host.run('ip', ['-o', 'address', 'show', 'dev', 'lan'])
  const routes = await Promise.all(['-4', '-6'].map((family) => host.tryRun('ip', [family, 'route', 'show', 'table', '220'])))
  return { addresses, routes: routes.map(({ stdout }) => stdout).join('') }
}

/** Without a word about the source: the route says it. */
async function carries(host: Host, gateway: Host, address: string, address6: string): Promise<void> {
  assert.equal(await host.ping(OFFICE, undefined, 3), 3, `${host.name} pings the office`)
  assert.equal(await gateway.ping(address, OFFICE, 3), 3, `the office pings ${address}`)
  assert.equal(await host.ping(OFFICE6, undefined, 2), 2, `${host.name} pings the office by IPv6`)
  assert.equal(await gateway.ping(address6, OFFICE6, 2), 2, `the office pings ${address6}`)
}

const listing = (daemon: Peer): Promise<string> => daemon.swanctl('--list-sas')

for (const [title, Gateway, Second] of [
  ['edge case 20: as gateway: clients behind one NAT, charon and espalier, have', Espalier, Espalier],
  ['control: two charons behind one NAT, the gateway is charon, too: both have', Charon, Charon],
] as const) {
  test(`${title} addresses of the pools, and again when they come back`, async (t) => {
    const { gateway, inside } = await scene(t)
    await gateway.stub('office6', `${OFFICE6}/64`)
    const there = await Gateway.start(gateway, { configuration: GATEWAY_CONFIGURATION })
    const [a, b] = inside
    const charon = await Charon.start(a.host, { configuration: configurationOf(a) })
    const espalier = await Second.start(b.host, { configuration: configurationOf(b) })
    for (const [at, client] of [charon, espalier].entries()) {
      await client.swanctl('--initiate', '--child', 'net')
      await carries(client.host, gateway, `10.3.0.${at + 1}`, `fd00:3::${at + 1}`)
    }
    assert.match(await listing(there), /10\.3\.0\.1.*fd00:3::1|fd00:3::1.*10\.3\.0\.1/)
    assert.match(await there.swanctl('--list-pools', '--leases'), /10\.3\.0\.2\s+online\s+'client-b\.example'/)

    await charon.swanctl('--terminate', '--ike', 'gateway')
    await comesTo(there, 1, 1)
    await eventually('its lease is free', async () =>
      /10\.3\.0\.1\s+offline\s+'client-a\.example'/.test(await there.swanctl('--list-pools', '--leases')) ? true : undefined,
    )
    await charon.swanctl('--initiate', '--child', 'net')
    await carries(a.host, gateway, '10.3.0.1', 'fd00:3::1')
    await carries(b.host, gateway, '10.3.0.2', 'fd00:3::2')
  })
}

test('as client of charon: the address is on the interface, the route has it for a source and the MTU that fits, and both go', async (t) => {
  const { gateway, inside } = await scene(t)
  const [client] = inside
  await gateway.stub('office6', `${OFFICE6}/64`)
  await Charon.start(gateway, { configuration: GATEWAY_CONFIGURATION })
  const resolvConf = join(await client.host.lab.directory(), 'resolv.conf')
  await writeFile(resolvConf, 'nameserver 192.0.2.53\n')
  const here = await Espalier.start(client.host, {
    configuration: configurationOf(client),
    settings: `plugins { resolve { file = ${resolvConf} } }`,
  })
  await here.swanctl('--initiate', '--child', 'net')
  await eventually('the name server of the office comes first', async () =>
    (await readFile(resolvConf, 'utf8')).startsWith('nameserver 10.20.0.53 ') ? true : undefined,
  )
  await carries(client.host, gateway, '10.3.0.1', 'fd00:3::1')
  const there = await installed(client.host)
  assert.match(there.addresses, /inet 10\.3\.0\.1\/32/)
  assert.match(there.addresses, /inet6 fd00:3::1\/128/)
  assert.match(there.routes, /^10\.20\.0\.0\/24 via 10\.1\.0\.1 dev lan .*src 10\.3\.0\.1 .*mtu 14\d\d/m)
  assert.match(there.routes, /^fd00:20::\/64 dev lan .*src fd00:3::1 .*mtu 14\d\d/m)
  assert.match(await listing(here), /10\.3\.0\.1/)
  // The kernel tells what is too large before it is sent.
  const { stdout, stderr } = await client.host.tryRun('ping', ['-M', 'do', '-s', '1472', '-c', '1', '-W', '2', OFFICE])
  assert.match(stdout + stderr, /mtu\s?=\s?14\d\d/)

  await here.swanctl('--rekey', '--ike', 'gateway')
  await here.swanctl('--rekey', '--child', 'net')
  await carries(client.host, gateway, '10.3.0.1', 'fd00:3::1')
  // What it has changed itself is no news that it goes on looking after: that was ten times a second.
  const news = here.events('roamed')
  assert.ok(news.length < 10, news.map(({ time, msg }) => `${String(time)} ${msg}`).join('\n'))

  await here.swanctl('--terminate', '--ike', 'gateway')
  await eventually('addresses and routes are gone', async () => {
    const left = await installed(client.host)
    return left.addresses.includes('10.3.0.1') || left.addresses.includes('fd00:3::1') || left.routes !== '' ? undefined : true
  })
  await eventually('and the name server', async () =>
    (await readFile(resolvConf, 'utf8')) === 'nameserver 192.0.2.53\n' ? true : undefined,
  )
  await here.stop()
  await assertKernelEmpty(client.host)
  assert.doesNotMatch(await client.host.run('ip', ['rule']), /220/)
})

test('two pools of one address each: who comes third is refused, and who comes back to a daemon that was started anew has its own', async (t) => {
  const { gateway, inside, outside } = await scene(t)
  const pools = POOLS.replace('10.3.0.0/28', '10.3.0.1-10.3.0.1')
    .replace('six {', 'more {')
    .replace('fd00:3::/120', '10.3.1.7-10.3.1.7')
  const configuration = GATEWAY_CONFIGURATION.replace('clients, six', 'clients, more').replace(/pools \{[^]*$/, pools)
  const there = await Espalier.start(gateway, { configuration })
  const [a, b] = inside
  const only4 = (client: Client): string => configurationOf(client).replace('0.0.0.0, ::', '0.0.0.0')
  const charon = await Charon.start(a.host, { configuration: only4(a) })
  const espalier = await Espalier.start(b.host, { configuration: only4(b) })
  const third = await Espalier.start(outside.host, { configuration: only4(outside) })
  const office = async (client: Peer): Promise<void> => assert.equal(await client.host.ping(OFFICE, undefined, 3), 3)
  for (const client of [charon, espalier]) {
    await client.swanctl('--initiate', '--child', 'net')
    await office(client)
  }
  assert.match(await listing(charon), /10\.3\.0\.1/)
  assert.match(await listing(espalier), /10\.3\.1\.7/)
  await assert.rejects(third.swanctl('--initiate', '--child', 'net'), /INTERNAL_ADDRESS_FAILURE|establishing CHILD_SA|failed/)
  assert.match((await third.event('child-failed')).msg, /INTERNAL_ADDRESS_FAILURE/)
  assert.match((await there.event('child-failed')).msg, /^no virtual IP found, sending INTERNAL_ADDRESS_FAILURE/)
  await third.stop()

  await there.stop()
  for (const client of [charon, espalier]) await comesTo(client, 0, 0)
  const again = await Espalier.start(gateway, { configuration })
  assert.match(await again.swanctl('--list-pools', '--leases'), /10\.3\.1\.7\s+offline\s+'client-b\.example'/)
  for (const client of [espalier, charon]) {
    await client.swanctl('--initiate', '--child', 'net')
    await office(client)
  }
  assert.match(await listing(charon), /10\.3\.0\.1/)
  assert.match(await listing(espalier), /10\.3\.1\.7/)
})

/** A command that notes its environment below the name that it is given, and where that is. */
async function recorder(
  lab: Lab,
): Promise<{ readonly command: string; readonly read: (name: string) => Promise<readonly string[]> }> {
  const directory = await lab.directory()
  const command = join(directory, 'record')
  await writeFile(command, `#!/bin/sh\n{ env | grep ^PLUTO_ | sort; echo; } >>${directory}/record-$1\n`)
  await chmod(command, 0o755)
  const read = async (name: string): Promise<readonly string[]> => {
    const text = await readFile(`${directory}/record-${name}`, 'utf8').catch(() => '')
    // The router chooses ports, each daemon its numbers.
    const plain = text
      .replace(/(?<=PLUTO_UDP_ENC=)2\d{4}$/gm, 'of the router')
      .replace(/(?<=PLUTO_(REQID|UNIQUEID)=)\d+$/gm, 'a number')
    return plain.split('\n\n').slice(0, -1)
  }
  return { command, read }
}

test('the command of a child is told by espalier what charon tells it, key by key, on either side; split networks have a route each', async (t) => {
  const { lab, gateway, inside } = await scene(t)
  const [client] = inside
  await gateway.stub('office6', `${OFFICE6}/64`)
  await gateway.stub('store', '10.21.0.1/24')
  const { command, read } = await recorder(lab)
  const networks = '10.20.0.0/24, 10.21.0.0/24, fd00:20::/64'
  const child = (name: string): string => `updown = ${command} ${name}\n hostaccess = yes`
  const there = (name: string): string =>
    (gatewayConfiguration({ ike: 'pools = clients, six', child: child(name) }) + POOLS)
      .replace('remote_ts = 10.10.0.0/16', 'remote_ts = dynamic')
      .replace('local_ts = 10.20.0.0/24', `local_ts = ${networks}`)
      .replace('dns = 10.20.0.53', 'subnet = 10.20.0.0/24, 10.21.0.0/24\n split_include = 10.20.0.0/24')
  const here = (name: string): string =>
    clientConfiguration(client, { ike: 'vips = 0.0.0.0, ::', child: child(name) })
      .replace(`local_ts = ${client.homeNetwork}`, 'local_ts = dynamic')
      .replace('remote_ts = 10.20.0.0/24', `remote_ts = ${networks}`)
  /** Up, rekeyed, down. */
  const live = async (one: Peer, name: string): Promise<void> => {
    await one.swanctl('--initiate', '--child', 'net')
    await eventually(`${name} was told of three pairs`, async () => ((await read(name)).length >= 3 ? true : undefined))
    await one.swanctl('--rekey', '--child', 'net')
    await carries(one.host, gateway, '10.3.0.1', 'fd00:3::1')
    assert.equal(await one.host.ping('10.21.0.1', undefined, 2), 2)
  }
  const ended = async (name: string): Promise<void> => {
    await eventually(`${name} was told of the end`, async () => ((await read(name)).length >= 6 ? true : undefined))
  }

  const ours = await Espalier.start(gateway, { configuration: there('gateway-espalier') })
  const theirClient = await Charon.start(client.host, { configuration: here('client-charon') })
  await live(theirClient, 'client-charon')
  await theirClient.swanctl('--terminate', '--ike', 'gateway')
  for (const name of ['client-charon', 'gateway-espalier']) await ended(name)
  assert.match(await theirClient.log(), /handling INTERNAL_IP4_SUBNET attribute/)
  await theirClient.stop()
  await ours.stop()

  const theirs = await Charon.start(gateway, { configuration: there('gateway-charon') })
  const ourClient = await Espalier.start(client.host, { configuration: here('client-espalier') })
  await live(ourClient, 'client-espalier')
  const { routes } = await installed(client.host)
  for (const network of ['10\\.20\\.0\\.0/24', '10\\.21\\.0\\.0/24'])
    assert.match(routes, new RegExp(`^${network} .*src 10\\.3\\.0\\.1 `, 'm'))
  await ourClient.swanctl('--terminate', '--ike', 'gateway')
  for (const name of ['client-espalier', 'gateway-charon']) await ended(name)
  await ourClient.stop()
  await theirs.stop()

  for (const side of ['client', 'gateway'])
    assert.deepEqual(sorted(await read(`${side}-espalier`)), sorted(await read(`${side}-charon`)))
})

/** What was told at one end, in whatever order. */
function sorted(records: readonly string[]): readonly string[] {
  return records.toSorted()
}

test('a trap has a route before there is a tunnel, what passes in the clear is led past it; virtual addresses go where they are to', async (t) => {
  const { gateway, inside } = await scene(t)
  const [client] = inside
  await Charon.start(gateway, {
    configuration: GATEWAY_CONFIGURATION.replace('remote_ts = dynamic', 'remote_ts = dynamic, 10.10.0.0/16'),
  })
  await client.host.stub('elsewhere', '10.99.0.1/24')
  const pass = `lan { mode = pass\n local_ts = 10.1.0.0/24\n remote_ts = 10.1.0.0/24\n start_action = trap\n }`
  const here = await Espalier.start(client.host, {
    configuration: clientConfiguration(client, { ike: 'vips = 0.0.0.0', child: 'start_action = trap' })
      .replace(`local_ts = ${client.homeNetwork}`, `local_ts = dynamic, ${client.homeNetwork}`)
      .replace(/children \{/, `children {\n${pass}`),
    settings: 'install_virtual_ip_on = elsewhere\n plugins { resolve { load = no } }',
  })
  const routes = await eventually('routes of the trap and of what passes', async () => {
    const { routes: now } = await installed(client.host)
    return now.includes('10.20.0.0/24') && now.includes('throw') ? now : undefined
  })
  assert.match(routes, /^10\.20\.0\.0\/24 via 10\.1\.0\.1 dev lan .*src 10\.1(0\.1|\.0)\.\d+/m)
  assert.match(routes, /^throw 10\.1\.0\.0\/24/m)
  // The first packet is held back, the tunnel comes, and with it the address.
  await eventually('the office answers', async () => ((await client.host.ping(OFFICE, undefined, 1)) === 1 ? true : undefined))
  // The first packet went by the source that it had; the route gets another one behind it.
  await eventually('the route has the address for a source', async () =>
    /^10\.20\.0\.0\/24 .*src 10\.3\.0\.1 /m.test((await installed(client.host)).routes) ? true : undefined,
  )
  assert.match(await client.host.run('ip', ['-o', 'address', 'show', 'dev', 'elsewhere']), /inet 10\.3\.0\.1\/32/)
  assert.doesNotMatch((await installed(client.host)).addresses, /10\.3\.0\.1/)
  await here.stop()
  assert.equal((await installed(client.host)).routes, '')
  await assertKernelEmpty(client.host)
})
