/**
 * ML-KEM behind a NAT on a real kernel, with strongSwan 6: additional key exchanges by IKE_INTERMEDIATE, which is where the
 * initiator leaves port 500, and by IKE_FOLLOWUP_KE when either side rekeys under traffic.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { complaintsOfCharon, complaintsOfEspalier, explain, type Explanation, unexplained } from './support/complaints.ts'
import { Espalier } from './support/espalier.ts'
import { startFlow } from './support/flow.ts'
import { comesTo, listedSas, type Peer } from './support/listed.ts'
import type { Host } from './support/network.ts'
import { eventually } from './support/process.ts'
import { FLOATS_AT_INTERMEDIATE, watchOpening } from './support/opening.ts'
import { becomesEmpty, clientConfiguration, GATEWAY, gatewayConfiguration, OFFICE, scene } from './support/scene.ts'
import { withoutStrongswan6 } from './support/strongswan.ts'
import { xfrmStates } from './support/xfrm.ts'

const ML_KEM = {
  ike: 'proposals = aes128gcm16-prfsha256-x25519-ke1_mlkem768\n rekey_time = 0',
  child: 'esp_proposals = aes128gcm16-x25519-ke1_mlkem768\n rekey_time = 0\n life_time = 0',
}

const PER_SECOND = 100

/** What in a log looks like a mistake and is none. */
const EXPLAINED: readonly Explanation[] = [
  {
    pattern: /\[JOB\] CHILD_SA \S+ not found for delete/,
    why: 'charon forgets late what was rekeyed, and it has gone with its IKE_SA',
  },
]

/** The numbers of what is in use: what has been rekeyed and waits for its end does not count. */
async function inUse(peer: Peer, kind: 'ike' | 'child'): Promise<readonly number[]> {
  const sas = (await listedSas(peer))[kind]
  return sas.filter(({ state }) => /^(?:ESTABLISHED|INSTALLED)$/.test(state)).map(({ id }) => id)
}

/** Asks for it at `asked`; returns when both have one that they had not before. */
async function rekey(asked: Peer, peers: readonly Peer[], kind: 'ike' | 'child', name: string): Promise<void> {
  const before = await Promise.all(peers.map((peer) => inUse(peer, kind)))
  await asked.swanctl('--rekey', `--${kind}`, name)
  for (const [index, peer] of peers.entries())
    await eventually(
      `${asked.host.name} rekeys the ${kind.toUpperCase()}_SA: a new one at ${peer.host.name}`,
      async () => {
        const now = await inUse(peer, kind)
        return now.length === 1 && !before[index]!.includes(now[0]!) ? true : undefined
      },
      240_000,
    )
}

for (const client of ['espalier', 'charon'] as const)
  test(
    `edge case 52: ML-KEM with strongSwan 6, ${client} initiates behind a NAT: port 4500 from IKE_INTERMEDIATE on, packets, rekeys by both`,
    { skip: withoutStrongswan6 },
    async (t) => {
      const { gateway, inside, router } = await scene(t)
      const [a] = inside
      const [ours, theirs] = client === 'espalier' ? [a.host, gateway] : [gateway, a.host]
      const textOf = (host: Host): string => (host === gateway ? gatewayConfiguration(ML_KEM) : clientConfiguration(a, ML_KEM))
      const [espalier, charon] = await Promise.all([
        Espalier.start(ours, { configuration: textOf(ours) }),
        Charon.start(theirs, { configuration: textOf(theirs), version: 6 }),
      ])
      const peers: readonly Peer[] = [espalier, charon]
      const initiator = client === 'espalier' ? espalier : charon

      const opening = await watchOpening(router, 'wan', GATEWAY)
      await initiator.swanctl('--initiate', '--child', 'net', '--timeout', '100')
      for (const peer of peers) await comesTo(peer, 1, 1)
      assert.match(await opening(), FLOATS_AT_INTERMEDIATE)
      const forms = (await xfrmStates(gateway)).map(({ encapsulation }) => encapsulation?.type)
      assert.deepEqual(forms, ['espinudp', 'espinudp'])

      const flow = await startFlow(a.host, a.home, gateway, OFFICE, PER_SECOND)
      for (const peer of peers) {
        await rekey(peer, peers, 'child', 'net')
        await rekey(peer, peers, 'ike', peer.host === gateway ? 'clients' : 'gateway')
      }
      const { sent, missing } = await flow.end()
      t.diagnostic(`${sent} packets there and back`)
      assert.ok(sent > 0)
      assert.deepEqual(missing, [], `of ${sent} packets there and back`)
      // swanctl lists them since strongSwan 6.
      const listed = await charon.swanctl('--list-sas')
      assert.match(listed, /^ {2}AES_GCM_16-128\/PRF_HMAC_SHA2_256\/CURVE_25519\/KE1_ML_KEM_768$/m)
      assert.match(
        listed,
        /^ {2}net: #\d+, reqid \d+, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128\/CURVE_25519\/KE1_ML_KEM_768$/m,
      )

      await initiator.swanctl('--terminate', '--ike', 'gateway', '--timeout', '100')
      for (const peer of peers) await comesTo(peer, 0, 0)
      for (const host of [a.host, gateway]) await becomesEmpty(host)
      const complaints = [...complaintsOfEspalier(espalier.daemon.lines), ...complaintsOfCharon(await charon.log())]
      assert.deepEqual(unexplained(explain(complaints, EXPLAINED)), [])
    },
  )
