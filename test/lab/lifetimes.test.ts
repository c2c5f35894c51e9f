/**
 * Rekeying between espalier and Debian's charon because the time has come, or so many octets or packets, under 500 packets
 * a second there and back: not one of them may be lost, whoever made the IKE_SA and whoever rekeys.
 */
import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { startFlow } from './support/flow.ts'
import { Lab } from './support/network.ts'
import { eventually } from './support/process.ts'
import { xfrmStates } from './support/xfrm.ts'

const CHARON = { address: '192.0.2.1', home: '10.10.1.1', network: '10.10.1.0/24' }
const ESPALIER = { address: '192.0.2.2', home: '10.20.0.1', network: '10.20.0.0/24' }
/** Of the emulated machine's clock, far more than any of it takes. */
const PATIENCE_MS = 240_000

/** What one side says of lifetimes, for the connection and for the child. */
interface Lifetimes {
  readonly ike: string
  readonly child: string
}
const NEVER: Lifetimes = { ike: 'rekey_time = 0', child: 'rekey_time = 0\n life_time = 0' }
const often = (childSeconds: number): Lifetimes => ({
  ike: 'rekey_time = 9s\n over_time = 60s\n rand_time = 0s',
  child: `rekey_time = ${childSeconds}s\n life_time = 60s\n rand_time = 0s`,
})

function configuration(own: typeof CHARON, other: typeof CHARON, { ike, child }: Lifetimes): string {
  return `
    connections { c {
      version = 2
      local_addrs = ${own.address}
      remote_addrs = ${other.address}
      proposals = aes128gcm16-prfsha256-curve25519
      ${ike}
      local { auth = psk\n id = ${own.address}\n }
      remote { auth = psk\n id = ${other.address}\n }
      children { net {
        local_ts = ${own.network}
        remote_ts = ${other.network}
        esp_proposals = aes128gcm16
        ${child}
      } }
    } }
    secrets { ike { secret = "no clock is like another" } }`
}

/** Lets the packets flow until espalier has seen so many rekeys of CHILD_SAs and of IKE_SAs, and sees that none was lost. */
async function rekeys(
  t: TestContext,
  initiator: 'charon' | 'espalier',
  lifetimes: { readonly charon: Lifetimes; readonly espalier: Lifetimes },
  count: number,
  ikeCount: number,
): Promise<{ readonly charon: Charon; readonly espalier: Espalier }> {
  const lab = new Lab(t)
  const [there, here] = [await lab.host('charon'), await lab.host('espalier')]
  await lab.cable(there, 'wan', [`${CHARON.address}/24`], here, 'wan', [`${ESPALIER.address}/24`])
  await there.stub('home', `${CHARON.home}/24`)
  await here.stub('home', `${ESPALIER.home}/24`)
  await there.route(ESPALIER.network, ESPALIER.address)
  await here.route(CHARON.network, CHARON.address)
  const [charon, espalier] = await Promise.all([
    Charon.start(there, { configuration: configuration(CHARON, ESPALIER, lifetimes.charon) }),
    Espalier.start(here, { configuration: configuration(ESPALIER, CHARON, lifetimes.espalier) }),
  ])
  await { charon, espalier }[initiator].swanctl('--initiate', '--child', 'net')
  const flow = await startFlow(there, CHARON.home, here, ESPALIER.home)
  const done = (): readonly number[] => ['child-rekeyed', 'ike-rekeyed'].map((event) => espalier.events(event).length)
  await eventually(
    () => `${count} CHILD_SAs and ${ikeCount} IKE_SAs are rekeyed, but it is ${done().join(' and ')}`,
    () => (done()[0]! >= count && done()[1]! >= ikeCount ? true : undefined),
    PATIENCE_MS,
  )
  const { sent, missing } = await flow.end()
  t.diagnostic(
    `${sent} packets, ${espalier.events('child-rekeyed').length} rekeys of CHILD_SAs, ${espalier.events('ike-rekeyed').length} of IKE_SAs`,
  )
  assert.ok(sent > 100 * count, `${sent} packets`)
  assert.deepEqual(missing, [], `of ${sent} packets`)
  // What was replaced is gone, but for a few seconds' grace.
  for (const host of [there, here]) {
    let left = 0
    await eventually(
      () => `what was replaced is gone on ${host.name}, but ${left} states are left`,
      async () => ((left = (await xfrmStates(host)).length) <= 10 ? true : undefined),
    )
  }
  assert.deepEqual(espalier.events('child-failed'), [])
  assert.deepEqual(
    espalier.events('ike-closed').filter(({ reason }) => reason !== 'rekeyed'),
    [],
  )
  return { charon, espalier }
}

const asks = ({ daemon }: Espalier): number =>
  daemon.lines.filter((line) => /generating CREATE_CHILD_SA request/.test(line)).length

// With swanctl --rekey either rekeys what either began: rekey.test.ts.
describe('rekeying under 500 packets a second', () => {
  test('charon begins, espalier rekeys by time, 20 times', async (t) => {
    const { espalier } = await rekeys(t, 'charon', { charon: NEVER, espalier: often(2) }, 20, 2)
    assert.ok(asks(espalier) >= 22)
  })

  test('espalier begins, charon rekeys by time, 20 times', async (t) => {
    const { espalier } = await rekeys(t, 'espalier', { charon: often(1), espalier: NEVER }, 20, 2)
    assert.equal(asks(espalier), 0)
  })

  for (const [initiator, unit, limits] of [
    // The end is far away: unless told it is 110 %, as much as flows in a sixth of a second.
    ['charon', 'octets', 'rekey_bytes = 100000\n rand_bytes = 10000\n life_bytes = 1000000'],
    ['espalier', 'packets', 'rekey_packets = 800\n rand_packets = 80\n life_packets = 8000'],
  ] as const) {
    test(`${initiator} begins, espalier rekeys by ${unit}`, async (t) => {
      const byCount = { ...NEVER, child: `${NEVER.child}\n ${limits}` }
      const { espalier } = await rekeys(t, initiator, { charon: NEVER, espalier: byCount }, 8, 0)
      // The kernel tells of either direction. Nothing flows any more, so that the last one is over soon.
      const [asked, rekeyed] = [(): number => asks(espalier), (): number => espalier.events('child-rekeyed').length]
      await eventually(
        () => `each is asked for once: ${asked()} for ${rekeyed()}`,
        () => (asked() === rekeyed() ? true : undefined),
      )
    })
  }
})
