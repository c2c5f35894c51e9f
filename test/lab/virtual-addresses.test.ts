/**
 * Virtual addresses against charon in either role, through one NAT: given by a pool of either family, on the client's
 * interface with a route from there, the same again for who comes back, and nothing of it left in the end.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo, type Peer } from './support/listed.ts'
import type { Host } from './support/network.ts'
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

test('edge case 20: as gateway: clients behind one NAT, charon and espalier, have addresses of the pools, and again when they come back', async (t) => {
  const { gateway, inside } = await scene(t)
  await gateway.stub('office6', `${OFFICE6}/64`)
  const there = await Espalier.start(gateway, { configuration: GATEWAY_CONFIGURATION })
  const [a, b] = inside
  const charon = await Charon.start(a.host, { configuration: configurationOf(a) })
  const espalier = await Espalier.start(b.host, { configuration: configurationOf(b) })
  for (const [at, client] of [charon, espalier].entries()) {
    await client.swanctl('--initiate', '--child', 'net')
    await carries(client.host, gateway, `10.3.0.${at + 1}`, `fd00:3::${at + 1}`)
  }
  assert.match(await listing(there), /10\.3\.0\.1.*fd00:3::1|fd00:3::1.*10\.3\.0\.1/)
  assert.match(await there.swanctl('--list-pools', '--leases'), /10\.3\.0\.2\s+online\s+'client-b\.example'/)

  await charon.swanctl('--terminate', '--ike', 'gateway')
  await comesTo(there, 1, 1)
  assert.match(await there.swanctl('--list-pools', '--leases'), /10\.3\.0\.1\s+offline\s+'client-a\.example'/)
  await charon.swanctl('--initiate', '--child', 'net')
  await carries(a.host, gateway, '10.3.0.1', 'fd00:3::1')
  await carries(b.host, gateway, '10.3.0.2', 'fd00:3::2')
})

test('as client of charon: the address is on the interface, the route has it for a source and the MTU that fits, and both go', async (t) => {
  const { gateway, inside } = await scene(t)
  const [client] = inside
  await gateway.stub('office6', `${OFFICE6}/64`)
  await Charon.start(gateway, { configuration: GATEWAY_CONFIGURATION })
  const here = await Espalier.start(client.host, { configuration: configurationOf(client) })
  await here.swanctl('--initiate', '--child', 'net')
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

  await here.swanctl('--terminate', '--ike', 'gateway')
  await eventually('addresses and routes are gone', async () => {
    const left = await installed(client.host)
    return left.addresses.includes('10.3.0.1') || left.addresses.includes('fd00:3::1') || left.routes !== '' ? undefined : true
  })
  await here.stop()
  await assertKernelEmpty(client.host)
  assert.doesNotMatch(await client.host.run('ip', ['rule']), /220/)
})
