/**
 * Rekeying on demand between espalier and Debian's charon: by either, whoever began the IKE_SA, with `swanctl --rekey` and
 * `espalier rekey`; and by both at the same moment, again and again, over a path slow enough for the requests to cross.
 *
 * ESPALIER_RACES=500 scripts/lab run -- node --test test/lab/rekey.test.ts   has more rounds of that
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'

import { complaintsOfCharon, complaintsOfEspalier, explain, MEETING, unexplained } from './support/complaints.ts'
import { couple, type Couple, HOME, other, PEERS, type PeerName } from './support/couple.ts'
import { startFlow } from './support/flow.ts'
import { type ListedSas, listedSas } from './support/listed.ts'
import { eventually } from './support/process.ts'
import { withoutStrongswan6 } from './support/strongswan.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const RACES = Number(process.env.ESPALIER_RACES ?? 50)
/** Of the emulated machine's clock, far more than any of it takes. */
const PATIENCE_MS = 240_000
const NEVER = { ike: 'rekey_time = 0', child: 'rekey_time = 0\n life_time = 0' }

type Kind = 'ike' | 'child'
const NAME = { ike: 'peer', child: 'net' } as const

/** The SAs in use; what has been rekeyed and waits for its end does not count. */
async function inUse(two: Couple, peer: PeerName): Promise<ListedSas> {
  const { ike, child } = await listedSas(two[peer])
  const ended = /^(?:REKEYED|DELETING|DELETED)$/
  return { ike: ike.filter(({ state }) => !ended.test(state)), child: child.filter(({ state }) => !ended.test(state)) }
}

const ids = (sas: ListedSas, kind: Kind): string => sas[kind].map(({ id }) => id).join()

/** Waits until both have one IKE_SA and one CHILD_SA in use, and those of these kinds are not what they were. */
async function settled(two: Couple, what: string, before?: Before, kinds: readonly Kind[] = []): Promise<Before> {
  const look = async (peer: PeerName): Promise<ListedSas> =>
    await eventually(
      `${what}: one IKE_SA and one CHILD_SA at ${peer}`,
      async () => {
        const now = await inUse(two, peer)
        const isOne = now.ike.length === 1 && now.child.length === 1
        const isUp = now.ike[0]?.state === 'ESTABLISHED' && now.child[0]?.state === 'INSTALLED'
        const isNew = kinds.every((kind) => before === undefined || ids(now, kind) !== ids(before[peer], kind))
        return isOne && isUp && isNew ? now : undefined
      },
      PATIENCE_MS,
    )
  return { charon: await look('charon'), espalier: await look('espalier') }
}

type Before = Readonly<Record<PeerName, ListedSas>>

async function rekey(two: Couple, peer: PeerName, kind: Kind): Promise<void> {
  await two[peer].swanctl('--rekey', `--${kind}`, NAME[kind])
}

/** As whoever prefers our own command. */
async function rekeyByCommand({ espalier }: Couple, kind: Kind): Promise<void> {
  await espalier.host.run(process.execPath, [main, 'rekey', NAME[kind], `--${kind}`, '--uri', espalier.uri])
}

/** Nothing is left of what was replaced: one state in each direction, that both have. */
async function assertOnePair({ hosts }: Couple): Promise<void> {
  await eventually(
    'the same two states at both',
    async () => {
      const [here, there] = await Promise.all(
        PEERS.map(async (peer) =>
          (await xfrmStates(hosts[peer])).map(({ spi, destination }) => `${destination} ${spi}`).toSorted(),
        ),
      )
      return here!.length === 2 && here!.join() === there!.join() ? true : undefined
    },
    PATIENCE_MS,
  )
  for (const peer of PEERS) {
    const policies = await xfrmPolicies(hosts[peer])
    assert.equal(policies.length, 3, `${peer}:\n${policies.map(({ text }) => text).join('\n')}`)
  }
}

/** ML-KEM beside the first key exchange, in rekeys by IKE_FOLLOWUP_KE (RFC 9370 2.2.4); for CHILD_SAs another one, too. */
const WITH_MORE = {
  ...NEVER,
  version: 6,
  proposals: {
    ike: 'aes128gcm16-prfsha256-x25519-ke1_mlkem768',
    net: 'aes128gcm16-x25519-ke1_mlkem768-ke3_x448',
    one: 'aes128gcm16-x25519-ke2_mlkem512',
  },
} as const
const SCENES = [
  { initiator: 'charon', how: '', text: NEVER, skip: false },
  { initiator: 'espalier', how: '', text: NEVER, skip: false },
  { initiator: 'espalier', how: ', with additional key exchanges', text: WITH_MORE, skip: withoutStrongswan6 },
] as const

for (const { initiator, how, text, skip } of SCENES) {
  const title = `${initiator} begins; either rekeys the CHILD_SA and the IKE_SA, adds a CHILD_SA and deletes it, under traffic${how}`
  test(title, { skip }, async (t) => {
    const two = await couple(t, text)
    await two[initiator].swanctl('--initiate', '--child', 'net')
    let now = await settled(two, 'begun')
    const reqids = new Set((await xfrmStates(two.hosts.espalier)).map(({ reqid }) => reqid))
    const flow = await startFlow(two.hosts.charon, HOME.charon, two.hosts.espalier, HOME.espalier)

    for (const peer of PEERS) {
      for (const kind of ['child', 'ike', 'child'] as const) {
        await rekey(two, peer, kind)
        now = await settled(two, `${peer} rekeys ${kind}`, now, [kind])
      }
    }
    for (const kind of ['child', 'ike'] as const) {
      await rekeyByCommand(two, kind)
      now = await settled(two, `espalier rekey ${kind}`, now, [kind])
    }
    for (const peer of PEERS) {
      await two[peer].swanctl('--initiate', '--child', 'one')
      for (const name of PEERS)
        await eventually(`two CHILD_SAs at ${name}`, async () => ((await inUse(two, name)).child.length === 2 ? true : undefined))
      await two[other(peer)].swanctl('--terminate', '--child', 'one')
      now = await settled(two, `${other(peer)} deletes the additional CHILD_SA`)
    }
    const { sent, missing } = await flow.end()
    t.diagnostic(`${sent} packets`)
    assert.ok(sent > 100)
    assert.deepEqual(missing, [], `of ${sent} packets`)
    await assertOnePair(two)
    assert.deepEqual(new Set((await xfrmStates(two.hosts.espalier)).map(({ reqid }) => reqid)), reqids)
    const complaints = [...complaintsOfEspalier(two.espalier.daemon.lines), ...complaintsOfCharon(await two.charon.log())]
    assert.deepEqual(unexplained(explain(complaints)), [])
  })
}

for (const { how, text, rounds, met, skip } of [
  { how: '', text: NEVER, rounds: RACES, met: ['CHILD', 'IKE'], skip: false },
  {
    how: ', with additional key exchanges',
    text: WITH_MORE,
    rounds: Math.ceil(RACES / 10),
    met: ['(?:CHILD|IKE)'],
    skip: withoutStrongswan6,
  },
] as const)
  test(`both rekey at the same moment, ${rounds} times${how}`, { skip }, async (t) => {
    const two = await couple(t, { ...text, delayMs: 100 })
    await two.espalier.swanctl('--initiate', '--child', 'net')
    let now = await settled(two, 'begun')
    // In the third and the fourth, what is rekeyed by one is carried along by what the other rekeys (RFC 7296 2.25).
    const meetings: readonly Readonly<Record<PeerName, Kind>>[] = [
      { charon: 'child', espalier: 'child' },
      { charon: 'ike', espalier: 'ike' },
      { charon: 'child', espalier: 'ike' },
      { charon: 'ike', espalier: 'child' },
    ]
    /** Requests that crossed, which is what it is about: more rounds, until charon has told of each kind. */
    const haveMet = async (): Promise<boolean> => {
      const log = await two.charon.log()
      return met.every((kind) => new RegExp(`${kind}_SA rekey collision (?:won|lost)`).test(log))
    }
    for (let round = 0; round < rounds || (round < 4 * rounds && !(await haveMet())); round++) {
      const kinds = meetings[round % meetings.length]!
      await Promise.all(PEERS.map((peer) => rekey(two, peer, kinds[peer])))
      const isSame = kinds.charon === kinds.espalier
      const what = `round ${round}: charon rekeys ${kinds.charon}, espalier ${kinds.espalier}`
      // What met something else may be put off.
      now = await settled(two, what, now, isSame ? [kinds.charon] : [])
      assert.equal(await two.hosts.charon.ping(HOME.espalier, HOME.charon, 1, { patience: 5 }), 1, what)
      assert.equal(await two.hosts.espalier.ping(HOME.charon, HOME.espalier, 1, { patience: 5 }), 1, what)
    }
    await assertOnePair(two)
    const log = await two.charon.log()
    const complaints = [
      ...explain(complaintsOfCharon(log), MEETING),
      ...explain(complaintsOfEspalier(two.espalier.daemon.lines), MEETING),
    ]
    for (const { why, count, example } of complaints) t.diagnostic(`${count} × ${why ?? 'unexplained'}: ${example}`)
    assert.deepEqual(unexplained(complaints), [])
    assert.ok(await haveMet(), 'requests have crossed')
  })
