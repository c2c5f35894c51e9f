/**
 * AUTH_LIFETIME (RFC 4478) between espalier and charon: a gateway that has given its client an address cannot
 * reauthenticate. It says by when the client has to, and the client comes in time.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo, listedSas, type Peer } from './support/listed.ts'
import { Lab } from './support/network.ts'
import { eventually } from './support/process.ts'

const GATEWAY = '192.0.2.2'
/** Of the emulated machine's clock, far more than any of it takes. */
const PATIENCE_MS = 240_000
/**
 * By the gateway's clock, and how long before that the client begins: it may be late by most of it. Less than half, which
 * is the most that espalier begins before.
 */
const LIFETIME_S = 26
const OVER_S = 12
/** The lifetime is counted from the moment the IKE_SA stands, and told in whole seconds a little later. */
const RECEIVED = /^received AUTH_LIFETIME of (\d+)s, scheduling reauthentication in (\d+)s$/

function configuration(own: 'gateway' | 'client'): string {
  const side = (name: string): string => `{
      auth = psk
      id = ${name}.example
    }`
  const [ike, child] =
    own === 'gateway'
      ? [
          `local_addrs = ${GATEWAY}\n pools = clients\n reauth_time = ${LIFETIME_S}s`,
          'local_ts = 10.20.0.0/24\n remote_ts = dynamic',
        ]
      : [`remote_addrs = ${GATEWAY}\n vips = 0.0.0.0`, 'local_ts = dynamic\n remote_ts = 10.20.0.0/24']
  return `
connections {
  peer {
    version = 2
    proposals = aes128gcm16-prfsha256-x25519
    rekey_time = 0
    over_time = ${OVER_S}s
    rand_time = 0
    ${ike}
    local ${side(own)}
    remote ${side(own === 'gateway' ? 'client' : 'gateway')}
    children {
      net {
        ${child}
        esp_proposals = aes128gcm16
      }
    }
  }
}
pools {
  clients {
    addrs = 10.3.0.0/28
  }
}
secrets {
  ike-peer {
    secret = "the gardener keeps the key"
  }
}
`
}

/** What the client says when it hears of it. */
function assertReceived(line: string): void {
  const [, lifetime, delay] = (RECEIVED.exec(line) ?? []).map(Number)
  assert.ok(lifetime !== undefined && delay !== undefined, line)
  assert.ok(lifetime <= LIFETIME_S && lifetime >= LIFETIME_S - 2, line)
  assert.ok([lifetime - OVER_S, lifetime - OVER_S - 1].includes(delay), line)
}

for (const role of ['gateway', 'client'] as const) {
  test(`espalier the ${role} of charon: the client reauthenticates as often as the gateway wants`, async (t) => {
    const lab = new Lab(t)
    const [there, here] = [await lab.host('gateway'), await lab.host('client')]
    await lab.cable(here, 'wan', '192.0.2.1/24', there, 'wan', `${GATEWAY}/24`)
    const settings = 'make_before_break = yes'
    const [Gateway, Client] = role === 'gateway' ? [Espalier, Charon] : [Charon, Espalier]
    const [gateway, client]: readonly [Peer, Peer] = await Promise.all([
      Gateway.start(there, { configuration: configuration('gateway'), settings }),
      Client.start(here, { configuration: configuration('client'), settings }),
    ])
    await client.swanctl('--initiate', '--child', 'net')
    const first = await listedSas(gateway)
    for (const id of [1, 2]) {
      await eventually(
        `IKE_SA ${id + 1}, and no other`,
        async () => {
          const { ike, child } = await listedSas(gateway)
          const isNew = ike[0] !== undefined && ike[0].id > id && ike[0].state === 'ESTABLISHED'
          return ike.length === 1 && child.length === 1 && isNew ? true : undefined
        },
        PATIENCE_MS,
      )
    }
    assert.equal(first.ike.length, 1)
    if (client instanceof Espalier) {
      const heard = client.events('auth-lifetime-received').map(({ msg }) => msg)
      assert.ok(heard.length >= 2)
      for (const line of heard) assertReceived(line)
      // The old one is about to go: what its peer sent on it before may still be on its way.
      await comesTo(client, 1, 1)
    }
    if (client instanceof Charon && gateway instanceof Espalier) {
      const heard = (await client.log()).match(/received AUTH_LIFETIME of .*/g) ?? []
      assert.ok(heard.length >= 2)
      for (const line of heard) assertReceived(line)
      assert.deepEqual(gateway.events('reauthenticating'), [])
    }
  })
}
