/**
 * Reauthentication between espalier and charon, through a NAT: begun by either or by both, whoever made the IKE_SA there
 * was, deleting first or afterwards. Each time one IKE_SA with one CHILD_SA remains at both, and in both kernels.
 *
 * Under traffic, making first, nothing is lost when charon begins. When we begin, charon sends on the new CHILD_SA before
 * its answer has come to us; the kernel counts those packets, and nothing else is lost. Two charons lose them, too.
 */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { startFlow } from './support/flow.ts'
import { type ListedSas, listedSas, type Peer } from './support/listed.ts'
import type { Host } from './support/network.ts'
import { eventually } from './support/process.ts'
import {
  becomesEmpty,
  type Client,
  clientConfiguration,
  gatewayConfiguration,
  OFFICE,
  pingBothWays,
  scene,
} from './support/scene.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

/** Of the emulated machine's clock, far more than any of it takes. */
const PATIENCE_MS = 240_000

/** What becomes of the new IKE_SA and of the old one, in espalier's log, whoever begins. */
const MAKE_BEFORE_BREAK = ['ike-established', 'ike-closed']
const BREAK_BEFORE_MAKE = ['ike-closed', 'ike-established']

/** Waits until a daemon has nothing but one IKE_SA and its CHILD_SA, others than these. */
async function renewed(daemon: Peer, before: ListedSas): Promise<ListedSas> {
  return await eventually(
    `${daemon.host.name} has one IKE_SA and one CHILD_SA, made anew`,
    async () => {
      const now = await listedSas(daemon)
      const isAlone = (kind: keyof ListedSas, state: string): boolean =>
        now[kind].length === 1 && now[kind][0]!.state === state && before[kind].every(({ id }) => id !== now[kind][0]!.id)
      return isAlone('ike', 'ESTABLISHED') && isAlone('child', 'INSTALLED') ? now : undefined
    },
    PATIENCE_MS,
  )
}

/** Before the daemons are asked to read their settings again. Charon has those an IKE_SA began with. */
async function set(daemon: Peer, makesBeforeBreak: 'yes' | 'no'): Promise<void> {
  const file = join(daemon.directory, 'strongswan.conf')
  const text = await readFile(file, 'utf8')
  await writeFile(file, text.replace(/make_before_break = \w+/, `make_before_break = ${makesBeforeBreak}`))
  await daemon.swanctl('--reload-settings')
}

/** Why the kernel has thrown packets away, and how many. */
async function thrownAway(host: Host): Promise<ReadonlyMap<string, number>> {
  const statistics = await host.run('cat', ['/proc/net/xfrm_stat'])
  return new Map([...statistics.matchAll(/^(\S+)\s+(\d+)$/gm)].map(([, why, count]) => [why!, Number(count)]))
}

/** What of a flow did not come back while something happened, and what came too early to the client and to the gateway. */
async function trafficDuring(
  client: Client,
  gateway: Host,
  happens: () => Promise<void>,
): Promise<{ readonly lost: number; readonly early: readonly [number, number]; readonly why: string }> {
  const look = (): Promise<readonly ReadonlyMap<string, number>[]> => Promise.all([client.host, gateway].map(thrownAway))
  const before = await look()
  const flow = await startFlow(client.host, client.home, gateway, OFFICE)
  await happens()
  const { sent, missing } = await flow.end()
  const now = await look()
  const grown = (why: string, i: number): number => now[i]!.get(why)! - before[i]!.get(why)!
  // Packets that came before the state for them was complete, which is how often somebody sent too early.
  const [atClient, atGateway] = [0, 1].map((i) => grown('XfrmAcquireError', i))
  const reasons = ['client', 'gateway'].map((name, i) => {
    const some = [...now[i]!.keys()].filter((why) => grown(why, i) > 0)
    return `${name}: ${some.map((why) => `${why} ${grown(why, i)}`).join(', ')}`
  })
  const why = `of ${sent} packets are missing: ${missing.join(' ')}; thrown away at the ${reasons.join('; at the ')}`
  return { lost: missing.length, early: [atClient!, atGateway!], why }
}

for (const [role, names] of [
  ['gateway', 'espalier the gateway of charon'],
  ['client', 'espalier the client of charon'],
] as const) {
  test(names, async (t) => {
    const { gateway, inside } = await scene(t)
    const [client] = inside
    const [Gateway, Client] = role === 'gateway' ? [Espalier, Charon] : [Charon, Espalier]
    const settings = 'make_before_break = yes'
    const [there, here] = await Promise.all([
      Gateway.start(gateway, { configuration: gatewayConfiguration(), settings }),
      Client.start(client.host, { configuration: clientConfiguration(client), settings }),
    ])
    const both: readonly Peer[] = [here, there]
    const [espalier, charon] = (role === 'gateway' ? [there, here] : [here, there]) as [Espalier, Charon]

    const reauthenticates = async (daemon: Peer, order: typeof MAKE_BEFORE_BREAK): Promise<void> => {
      const mark = espalier.daemon.lines.length
      const before = await Promise.all(both.map(listedSas))
      const spis = (await xfrmStates(gateway)).map(({ spi }) => spi)
      await daemon.swanctl('--rekey', '--reauth', '--ike', daemon === here ? 'gateway' : 'clients')
      await Promise.all(both.map((peer, index) => renewed(peer, before[index]!)))
      for (const host of [gateway, client.host]) {
        const states = await eventually(
          `two states on ${host.name}`,
          async () => {
            const now = await xfrmStates(host)
            return now.length === 2 ? now : undefined
          },
          PATIENCE_MS,
        )
        assert.ok(
          states.every(({ spi }) => !spis.includes(spi)),
          `states made anew on ${host.name}`,
        )
        const policies = await xfrmPolicies(host)
        assert.deepEqual(policies.map(({ direction }) => direction).toSorted(), ['fwd', 'in', 'out'], host.name)
      }
      const happened = await eventually('one comes, and one goes', () => {
        const events = espalier.daemon.lines.slice(mark).map((line) => /"event":"(ike-established|ike-closed)"/.exec(line)?.[1])
        const both = events.filter((event) => event !== undefined)
        return both.length >= order.length ? both : undefined
      })
      assert.deepEqual(happened, order)
      await pingBothWays(client, gateway)
    }
    const begins = async (): Promise<void> => {
      await here.swanctl('--initiate', '--child', 'net')
      await pingBothWays(client, gateway)
    }
    const ends = async (): Promise<void> => {
      await here.swanctl('--terminate', '--ike', 'gateway')
      for (const host of [gateway, client.host]) await becomesEmpty(host, PATIENCE_MS)
    }

    await t.test('make before break, by the client, then by the gateway, then by the client as the responder', async () => {
      await begins()
      for (const daemon of [here, there, here]) await reauthenticates(daemon, MAKE_BEFORE_BREAK)
      await ends()
    })

    await t.test('make before break under traffic: nothing is lost but what charon sends before we have the keys', async () => {
      await begins()
      for (const daemon of [here, there, here, there]) {
        const { lost, early, why } = await trafficDuring(client, gateway, async () => reauthenticates(daemon, MAKE_BEFORE_BREAK))
        t.diagnostic(`begun by ${daemon === espalier ? 'espalier' : 'charon'}: ${lost} lost, ${early.join(' and ')} early`)
        assert.equal(lost, daemon === charon ? 0 : early[0] + early[1], why)
      }
      await ends()
    })

    await t.test('both at once, make before break: charon would keep both for ever, espalier deletes one', async () => {
      await begins()
      for (let round = 0; round < 4; round++) {
        const before = await Promise.all(both.map(listedSas))
        const established = espalier.events('ike-established').length
        const reauthenticated = both.map((peer) =>
          peer.swanctl('--rekey', '--reauth', '--ike', peer === here ? 'gateway' : 'clients'),
        )
        await Promise.all(reauthenticated)
        await Promise.all(both.map((peer, index) => renewed(peer, before[index]!)))
        // One may be done before the other has begun.
        await eventually(
          'the same two states at both',
          async () => {
            const [one, other] = await Promise.all(
              [gateway, client.host].map(async (host) => (await xfrmStates(host)).map(({ spi }) => `${spi}`).toSorted()),
            )
            return one!.length === 2 && one!.join() === other!.join() ? true : undefined
          },
          PATIENCE_MS,
        )
        await pingBothWays(client, gateway)
        t.diagnostic(`${espalier.events('ike-established').length - established} new IKE_SAs`)
      }
      await ends()
    })

    await t.test('make before break with unique = replace: the old one goes once, and takes nothing with it', async () => {
      await here.configure(clientConfiguration(client, { ike: 'unique = replace' }))
      await there.configure(gatewayConfiguration({ ike: 'unique = replace' }))
      for (const daemon of both) await daemon.swanctl('--load-all', '--noprompt')
      await begins()
      for (const daemon of both) await reauthenticates(daemon, MAKE_BEFORE_BREAK)
      const suspected = /suspected reauthentication/
      assert.equal(espalier.daemon.lines.filter((line) => suspected.test(line)).length, 1)
      assert.equal((await charon.log()).split('\n').filter((line) => suspected.test(line)).length, 1)
      const standing = await listedSas(espalier)
      // A responder that suspects it deletes the old one 10 seconds after the new one came, if it is there still.
      await new Promise((resolve) => setTimeout(resolve, 11_000))
      assert.deepEqual(await listedSas(espalier), standing)
      await pingBothWays(client, gateway)
      await ends()
    })

    await t.test('break before make, by the client, then by the gateway', async () => {
      for (const daemon of both) await set(daemon, 'no')
      await begins()
      for (const daemon of both) await reauthenticates(daemon, BREAK_BEFORE_MAKE)
      await ends()
    })
  })
}

test('control: two charons, make before break under traffic', async (t) => {
  const { gateway, inside } = await scene(t)
  const [client] = inside
  const settings = 'make_before_break = yes'
  const both = await Promise.all([
    Charon.start(client.host, { configuration: clientConfiguration(client), settings }),
    Charon.start(gateway, { configuration: gatewayConfiguration(), settings }),
  ])
  const [here, there] = both
  await here.swanctl('--initiate', '--child', 'net')
  for (const daemon of [here, there, here, there]) {
    const before = await Promise.all(both.map(listedSas))
    const { lost, early, why } = await trafficDuring(client, gateway, async () => {
      await daemon.swanctl('--rekey', '--reauth', '--ike', daemon === here ? 'gateway' : 'clients')
      await Promise.all(both.map((peer, index) => renewed(peer, before[index]!)))
    })
    t.diagnostic(`begun by the ${daemon === here ? 'client' : 'gateway'}: ${lost} lost, ${early.join(' and ')} early`)
    assert.equal(lost, early[0] + early[1], why)
  }
})
