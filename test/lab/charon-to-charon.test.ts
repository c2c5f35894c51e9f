/**
 * The lab proves itself before anything of ours is tested in it: if this fails, look at the lab, not at espalier.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Capture } from './support/capture.ts'
import { Charon } from './support/charon.ts'
import { Lab } from './support/network.ts'
import { transferBothWays } from './support/transfer.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const SECRETS = `
secrets {
  ike-peers {
    id-client = client.example
    id-gateway = gateway.example
    secret = "an old secret between the two"
  }
}`

test('the lab itself: two charons tunnel through a masquerading router, ESP in UDP', async (t) => {
  const lab = new Lab(t)
  const client = await lab.host('client')
  const router = await lab.router('router')
  const gateway = await lab.host('gateway')
  await lab.cable(client, 'lan', '10.1.0.2/24', router, 'inside', '10.1.0.1/24')
  await lab.cable(router, 'outside', '192.0.2.1/24', gateway, 'wan', '192.0.2.2/24')
  await client.route('default', '10.1.0.1')
  await client.stub('home', '10.10.0.1/24')
  await gateway.stub('office', '10.20.0.1/24')
  await router.masquerade('outside', { randomPorts: true, udpPorts: '20000-29999' })

  await Charon.start(gateway, {
    configuration: `
connections {
  clients {
    version = 2
    local_addrs = 192.0.2.2
    local { auth = psk
      id = gateway.example }
    remote { auth = psk
      id = client.example }
    children {
      net {
        local_ts = 10.20.0.0/24
        remote_ts = 10.10.0.0/24
        esp_proposals = aes128gcm16
      }
    }
  }
}
${SECRETS}`,
  })
  const initiator = await Charon.start(client, {
    configuration: `
connections {
  gateway {
    version = 2
    remote_addrs = 192.0.2.2
    local { auth = psk
      id = client.example }
    remote { auth = psk
      id = gateway.example }
    children {
      net {
        local_ts = 10.10.0.0/24
        remote_ts = 10.20.0.0/24
        esp_proposals = aes128gcm16
      }
    }
  }
}
${SECRETS}`,
  })

  const wire = await Capture.start(router, 'outside', 'ip')
  await initiator.initiate('net')
  assert.equal(await client.ping('10.20.0.1', '10.10.0.1', 3), 3)

  // The router chose a port of its own for the flow to 4500, and the gateway's kernel sends to that port.
  const mapping = (await router.mappings()).find((entry) => entry.remote.port === 4500)
  assert.ok(mapping !== undefined)
  assert.deepEqual(mapping.inside, { address: '10.1.0.2', port: 4500 })
  assert.notEqual(mapping.outside.port, 4500)
  const states = await xfrmStates(gateway)
  assert.equal(states.length, 2)
  const outbound = states.find((state) => state.destination === '192.0.2.1')
  assert.deepEqual(outbound?.encapsulation, { type: 'espinudp', sourcePort: 4500, destinationPort: mapping.outside.port })
  assert.deepEqual(outbound.algorithms, ['rfc4106(gcm(aes))'])
  assert.equal(outbound.packets, 3)

  const policies = await xfrmPolicies(gateway)
  assert.deepEqual(policies.map((policy) => policy.direction).toSorted(), ['fwd', 'in', 'out'])
  assert.equal(policies.find((policy) => policy.direction === 'out')?.templates[0]?.destination, '192.0.2.1')

  // Nothing but IKE and ESP in UDP was on the wire, and the echoes were in the latter.
  const packets = await wire.stop()
  const encapsulated = packets.filter((line) => line.includes('UDP-encap: ESP'))
  assert.equal(encapsulated.length, 6)
  assert.equal(packets.filter((line) => line.includes('ICMP')).length, 0)

  await transferBothWays({ from: client, source: '10.10.0.1', to: gateway, destination: '10.20.0.1' })
})
