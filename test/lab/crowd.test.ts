/**
 * Forty clients behind one NAT that begin in the same moment, with real kernels: all of them get in, in whichever role
 * espalier is. How long that takes is printed, and how long a charon takes in its place, with the same configuration:
 * its block_threshold does not listen to an address from which five have begun.
 *
 *   clients 10.1.0.2 to 10.1.0.41 ── router 192.0.2.1 ── 192.0.2.2 gateway ── office 10.20.0.1
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Capture } from './support/capture.ts'
import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo } from './support/listed.ts'
import { Lab } from './support/network.ts'
import { GATEWAY, OFFICE } from './support/scene.ts'
import { xfrmStates } from './support/xfrm.ts'

const CLIENTS = Array.from({ length: 40 }, (_, i) => i + 2)
const SECRETS = 'secrets { ike-1 { secret = "all together now" } }'
const GATEWAY_CONFIGURATION = `
connections { clients {
  version = 2
  local_addrs = ${GATEWAY}
  local { auth = psk
    id = gateway.example }
  remote { auth = psk }
  children { net { local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16\n esp_proposals = aes128gcm16 } }
} }
${SECRETS}`

const client = (n: number): string => `
client-${n} {
  version = 2
  local_addrs = 10.1.0.${n}
  remote_addrs = ${GATEWAY}
  proposals = aes128gcm16-prfsha256-x25519
  local { auth = psk
    id = client-${n}.example }
  remote { auth = psk
    id = gateway.example }
  children { net { local_ts = 10.10.${n}.0/24\n remote_ts = 10.20.0.0/24\n esp_proposals = aes128gcm16\n start_action = start } }
}`

const kinds = { charon: Charon, espalier: Espalier }

for (const [gatewayKind, clientKind] of [
  ['espalier', 'charon'],
  ['charon', 'espalier'],
  ['charon', 'charon'],
] as const) {
  const title =
    gatewayKind === clientKind
      ? 'control: forty clients of a charon behind one address, which are charon as well'
      : `edge case 19: forty clients behind one address get in at once, ${clientKind} in the part of all, ${gatewayKind} the gateway`
  test(title, async (t) => {
    const lab = new Lab(t)
    const [clients, router, gateway] = [await lab.host('clients'), await lab.router('router'), await lab.host('gateway')]
    await lab.cable(
      clients,
      'lan',
      CLIENTS.map((n) => `10.1.0.${n}/24`),
      router,
      'lan',
      '10.1.0.1/24',
    )
    await lab.cable(router, 'wan', '192.0.2.1/24', gateway, 'wan', `${GATEWAY}/24`)
    await clients.stub(
      'homes',
      CLIENTS.map((n) => `10.10.${n}.1/24`),
    )
    await clients.route('default', '10.1.0.1')
    await gateway.route('10.10.0.0/16', '192.0.2.1')
    await gateway.stub('office', `${OFFICE}/24`)
    await router.masquerade('wan', { randomPorts: true, udpPorts: '20000-29999' })

    const there = await kinds[gatewayKind].start(gateway, { configuration: GATEWAY_CONFIGURATION })
    const wire = await Capture.start(gateway, 'wan', 'udp')
    const configuration = `connections {\n${CLIENTS.map(client).join('\n')}\n}\n${SECRETS}`
    const here = await kinds[clientKind].start(clients, { configuration })
    // The gateway has each of them before the client itself does.
    for (const end of [there, here]) await comesTo(end, CLIENTS.length, CLIENTS.length)

    const lines = await wire.stop()
    const answers = lines.filter((line) => /ikev2_auth\[R\]|ikev2_auth.*\[R/.test(line)).map((line) => Number(line.split(' ')[0]))
    const begun = Number(lines.find((line) => /isakmp/.test(line))!.split(' ')[0])
    const late = answers.filter((time) => time > begun + 1).length
    t.diagnostic(
      `${answers.length - late} of ${CLIENTS.length} were in after a second, the last after ${(answers.at(-1)! - begun).toFixed(2)} s`,
    )
    const states = (await xfrmStates(gateway)).filter(({ destination }) => destination === '192.0.2.1')
    const ports = new Set(states.map(({ encapsulation }) => encapsulation?.destinationPort))
    assert.deepEqual([states.length, ports.size], [CLIENTS.length, CLIENTS.length], 'each at a port of its own')
    for (const n of CLIENTS)
      assert.equal(await clients.ping(OFFICE, `10.10.${n}.1`, 1, { patience: 10 }), 1, `client ${n} pings the office`)
    if (there instanceof Espalier)
      assert.deepEqual(
        there.events('datagram-dropped').filter(({ reason }) => reason === 'blocked'),
        [],
        'nobody was shut out',
      )
  })
}
