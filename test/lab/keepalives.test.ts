/**
 * Keepalives behind NATs that forget: one that gives another port each time, of which an espalier learns how seldom
 * keepalives may be, and one that always gives the same, of which nothing can be learnt. charon is the gateway. What is
 * said of keepalives while traffic flows, and of keep_alive = 0, is shown in tunnel.test.ts.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Capture } from './support/capture.ts'
import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { eventually } from './support/process.ts'
import { carryBothWays, clientConfiguration, gatewayConfiguration, GATEWAY, scene } from './support/scene.ts'

const KEEPALIVE = /isakmp-nat-keep-alive/
/** Of the router's, in seconds, and of the clients' keepalives until they know better. */
const FORGETS_AFTER = 10
const INTERVAL = 4
/** Some gaps, each longer than the one before. */
const LEARNING_MS = 240_000

test('keep_alive = adaptive learns how long a router keeps a mapping, and keeps it; a faked NAT gets no keepalives', async (t) => {
  const { router, gateway, inside, outside } = await scene(t)
  const [rebound, preserved] = inside
  for (const name of ['nf_conntrack_udp_timeout', 'nf_conntrack_udp_timeout_stream'])
    await router.run('sysctl', ['-q', '-w', `net.netfilter.${name}=${FORGETS_AFTER}`])
  // A rule of its own for the second client: what leaves keeps its port, which nobody else has.
  await router.nft(`insert rule ip nat postrouting ip saddr ${preserved.address} oifname "wan" meta l4proto udp masquerade`)
  await Charon.start(gateway, { configuration: gatewayConfiguration() })
  const wire = await Capture.start(gateway, 'wan', 'udp port 4500')
  const client = (text: string) => ({ start: true, ike: text })
  const settings = `keep_alive = ${INTERVAL}s`
  const [espalier, other, faking] = await Promise.all([
    Espalier.start(rebound.host, { configuration: clientConfiguration(rebound, client('keep_alive = adaptive')), settings }),
    Espalier.start(preserved.host, { configuration: clientConfiguration(preserved, client('keep_alive = adaptive')), settings }),
    Espalier.start(outside.host, {
      configuration: clientConfiguration(outside, client('encap = yes\nkeep_alive = 1s')),
      settings,
    }),
  ])
  await Promise.all([espalier, other, faking].map((daemon) => daemon.event('child-established')))
  const mapped = async (address: string): Promise<number | undefined> =>
    (await router.mappings()).find((entry) => entry.inside.address === address && entry.inside.port === 4500)?.outside.port
  const port = await mapped(rebound.address)
  assert.ok(port !== undefined && port >= 20_000)
  assert.equal(await mapped(preserved.address), 4500)

  const probes = await eventually(
    'the client behind the router that gives other ports has learnt how long it keeps them',
    () => {
      const seen = espalier.events('mapping-probed').map((event) => ({
        gap: Number(event['gapSeconds']),
        survived: event['survived'] === true,
        lifetime: event['lifetimeSeconds'] as number | null,
      }))
      // Twice lost, and closed in upon.
      return seen.filter(({ survived }) => !survived).length >= 3 && seen.at(-1)!.lifetime !== null ? seen : undefined
    },
    LEARNING_MS,
  )
  t.diagnostic(probes.map(({ gap, survived }) => `${gap} s ${survived ? 'kept' : 'changed'}`).join(', '))
  const { lifetime } = probes.at(-1)!
  assert.ok(lifetime! > INTERVAL && lifetime! < FORGETS_AFTER + 1, `${lifetime} s`)
  for (const { gap, survived } of probes) assert.ok(survived ? gap <= FORGETS_AFTER : gap >= FORGETS_AFTER - 1, `${gap} s`)

  // From now on there are fewer, and the mapping that everything depends on has been the same since the beginning.
  const learntAt = (await wire.settled()).length
  const of = (address: string, outsidePort: number): readonly number[] =>
    wire.packets
      .slice(learntAt)
      .filter((line) => KEEPALIVE.test(line) && line.includes(` ${address}.${outsidePort} > ${GATEWAY}.4500: `))
      .map((line) => Number(line.split(' ')[0]))
  const [times, usual] = await eventually(
    'four keepalives of either',
    () => {
      const seen = [of('192.0.2.1', port), of('192.0.2.1', 4500)] as const
      return seen.every(({ length }) => length >= 4) ? seen : undefined
    },
    120_000,
  )
  const each = (times: readonly number[]): number => (times.at(-1)! - times[0]!) / (times.length - 1)
  const interval = each(times)
  t.diagnostic(`learnt ${lifetime} s; a keepalive every ${interval.toFixed(1)} s instead of ${INTERVAL} s`)
  assert.ok(interval > INTERVAL + 0.5 && interval < FORGETS_AFTER)
  const gaps = times.slice(1).map((time, i) => (time - times[i]!).toFixed(1))
  assert.equal(await mapped(rebound.address), port, `the last keepalives came after ${gaps.join(', ')} s`)

  // The other router told nothing, whatever it forgot.
  const others = other.events('mapping-probed')
  assert.ok(others.length > 0)
  assert.ok(others.every((event) => event['survived'] === true && event['lifetimeSeconds'] === null))
  assert.ok(each(usual) < interval, `a keepalive of the other client every ${each(usual).toFixed(1)} s`)
  assert.equal(await mapped(preserved.address), 4500)

  // What only claims to be behind a NAT has no mapping to keep.
  assert.deepEqual(
    (await wire.settled()).filter((line) => KEEPALIVE.test(line) && line.includes(` ${outside.address}.`)),
    [],
  )
  await Promise.all([carryBothWays(rebound, gateway), carryBothWays(preserved, gateway), carryBothWays(outside, gateway)])
  await Promise.all([espalier.stop(), other.stop(), faking.stop()])
})
