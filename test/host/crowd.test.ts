/**
 * Many clients behind one NAT that begin in the same moment, over real sockets and a real router: all of them get in,
 * although the gateway asks for cookies and counts half-open IKE_SAs by address.
 *
 *   clients 10.1.0.2 to 10.1.0.41 ── router 192.0.2.1 ── 192.0.2.2 gateway
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { eventually } from '../lab/support/process.ts'

const GATEWAY = '192.0.2.2'
const CLIENTS = Array.from({ length: 40 }, (_, i) => i + 2)

const SECRETS = 'secrets { ike-1 { secret = "all together now" } }'
const GATEWAY_CONFIGURATION = `
connections { clients {
  local { auth = psk
    id = gateway.example }
  remote { auth = psk }
  children { net { local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16 } }
} }
${SECRETS}`

const client = (n: number): string => `
client-${n} {
  local_addrs = 10.1.0.${n}
  remote_addrs = ${GATEWAY}
  local { auth = psk
    id = client-${n}.example }
  remote { auth = psk
    id = gateway.example }
  children { net { local_ts = 10.10.${n}.0/24\n remote_ts = 10.20.0.0/24\n start_action = start } }
}`

test('edge case 19: forty clients behind one address that begin at once all get in, over real sockets', async (t) => {
  const lab = new Lab(t)
  const [clients, router, gateway] = [await lab.host('clients'), await lab.router('router'), await lab.host('gateway')]
  const addresses = CLIENTS.map((n) => `10.1.0.${n}/24`)
  await lab.cable(clients, 'lan', addresses, router, 'lan', '10.1.0.1/24')
  await lab.cable(router, 'wan', '192.0.2.1/24', gateway, 'wan', `${GATEWAY}/24`)
  await clients.route('default', '10.1.0.1')
  await router.masquerade('wan', { randomPorts: true })

  const server = await Espalier.start(gateway, { configuration: GATEWAY_CONFIGURATION, kernel: 'memory' })
  // One process in the part of all, each from its own address, which the router gives ports of its own.
  await Espalier.start(clients, {
    configuration: `connections {\n${CLIENTS.map(client).join('\n')}\n}\n${SECRETS}`,
    kernel: 'memory',
  })
  await eventually(
    'all have a CHILD_SA',
    () => (server.events('child-established').length >= CLIENTS.length ? true : undefined),
    120_000,
  )
  const established = server.events('ike-established')
  assert.equal(established.length, CLIENTS.length)
  const remotes = new Set(established.map(({ remote }) => remote))
  assert.equal(remotes.size, CLIENTS.length, 'each comes from a port of its own')
  for (const remote of remotes) assert.match(String(remote), /^192\.0\.2\.1\[\d+\]$/)
  // A request that was sent again may have left half an IKE_SA, for a while.
  await eventually('nothing else is left', async () =>
    (await server.swanctl('--stats')).includes('IKE_SAs: 40 total, 0 half-open') ? true : undefined,
  )
})
