/**
 * strongSwan 6, which is not Debian's of here and does ML-KEM, with espalier in either role: IKE_SAs and CHILD_SAs that come
 * up, are rekeyed by either side and go, and liveness checks. A kind of key exchange is a table's line; what comes of it
 * is asked of both daemons by VICI.
 *
 * charon does ESP by itself here (kernel-libipsec), always in UDP, so encap = yes makes espalier want the same.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test, type TestContext } from 'node:test'

import { connectControl } from '../../src/daemon/connect.ts'
import type { ViciClient } from '../../src/vici/client.ts'
import { section, sectionOf, textOf, type ViciSection } from '../../src/vici/message.ts'
import { Charon } from '../lab/support/charon.ts'
import {
  complaintsOfCharon,
  complaintsOfEspalier,
  explain,
  type Explanation,
  MEETING,
  unexplained,
} from '../lab/support/complaints.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { eventually } from '../lab/support/process.ts'
import { FLOATS_AT_INTERMEDIATE, watchOpening } from '../lab/support/opening.ts'
import { withoutStrongswan6 } from '../lab/support/strongswan.ts'

type Program = 'charon' | 'espalier'
const PROGRAMS: readonly Program[] = ['charon', 'espalier']
const other = (program: Program): Program => (program === 'charon' ? 'espalier' : 'charon')
const ADDRESS = { charon: '192.0.2.1', espalier: '192.0.2.2' } as const
const NETWORK = { charon: '10.10.1.0/24', espalier: '10.20.0.0/24' } as const
const TUN = '/dev/net/tun'
const ROUNDS = Number(process.env['ESPALIER_RACES'] ?? 8)

/** `dh-group`, then `ake1` and so on, of an SA in use; null for whatever they agree on. */
type KeyExchanges = readonly string[] | null

interface Kind {
  readonly name: string
  readonly proposals: string
  readonly esp: string
  readonly ike: KeyExchanges
  /** Of the CHILD_SA once it has been rekeyed: that of IKE_AUTH takes its keys from the IKE_SA. */
  readonly child: KeyExchanges
  readonly lines?: string
  readonly explained?: readonly Explanation[]
}

const CLASSIC: readonly Kind[] = [
  {
    name: 'aes256-sha256-x25519',
    proposals: 'aes256-sha256-x25519',
    esp: 'aes256gcm16-ecp256',
    ike: ['CURVE_25519'],
    child: ['ECP_256'],
  },
  {
    name: 'the defaults of either',
    proposals: 'default',
    esp: 'default',
    ike: null,
    child: null,
    explained: [{ pattern: /N\(INVAL_KE\)/, why: 'each has a favourite of its own (RFC 7296 1.3)' }],
  },
]

/** ML-KEM by IKE_INTERMEDIATE and IKE_FOLLOWUP_KE (RFC 9370), or alone. */
const ML_KEM: readonly Kind[] = [
  ...([512, 768, 1024] as const).map((size) => ({
    name: `aes256-sha256-x25519-ke1_mlkem${size}`,
    proposals: `aes256-sha256-x25519-ke1_mlkem${size}`,
    esp: 'aes256gcm16-x25519',
    ike: ['CURVE_25519', `ML_KEM_${size}`],
    child: ['CURVE_25519'],
  })),
  {
    name: 'two additional ones',
    proposals: 'aes128gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384',
    esp: 'aes256gcm16',
    ike: ['CURVE_25519', 'ML_KEM_768', 'ECP_384'],
    child: [],
  },
  {
    name: 'ML-KEM-768 alone',
    proposals: 'aes256-sha256-mlkem768',
    esp: 'aes256gcm16-mlkem768',
    ike: ['ML_KEM_768'],
    child: ['ML_KEM_768'],
  },
  {
    name: 'an additional one for the CHILD_SA',
    proposals: 'aes256-sha256-x25519-ke1_mlkem768',
    esp: 'aes256gcm16-x25519-ke1_mlkem768',
    ike: ['CURVE_25519', 'ML_KEM_768'],
    child: ['CURVE_25519', 'ML_KEM_768'],
  },
]

/** Of one that does one thing after the other. */
const ALONE: readonly Explanation[] = [
  {
    pattern: /\[JOB\] CHILD_SA \S+ not found for delete/,
    why: 'charon keeps a CHILD_SA that was rekeyed for some seconds, and its IKE_SA has gone meanwhile',
  },
  { pattern: /retransmit \d of request|received retransmit of request/, why: 'a machine that is busy' },
]

const TOGETHER: readonly Explanation[] = [...ALONE, ...MEETING]

interface Two {
  readonly charon: Charon
  readonly espalier: Espalier
  readonly control: Readonly<Record<Program, ViciClient>>
  readonly behind: Program | null
  readonly opening: () => Promise<string>
}

/** With `behind`, that one is behind a NAT, and `opening` tells where its IKE_SA begins. */
async function start(t: TestContext, behind: Program | null = null): Promise<Two> {
  const lab = new Lab(t)
  const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  let opening = async (): Promise<string> => ''
  if (behind === null) {
    await lab.cable(hosts.charon, 'wan', `${ADDRESS.charon}/24`, hosts.espalier, 'wan', `${ADDRESS.espalier}/24`)
  } else {
    const router = await lab.router('router')
    await lab.cable(hosts[behind], 'lan', '10.1.0.2/24', router, 'lan', '10.1.0.1/24')
    await lab.cable(router, 'wan', '192.0.2.9/24', hosts[other(behind)], 'wan', `${ADDRESS[other(behind)]}/24`)
    await hosts[behind].route('default', '10.1.0.1')
    await router.masquerade('wan', { randomPorts: true, udpPorts: '20000-29999' })
    opening = await watchOpening(router, 'wan', ADDRESS[other(behind)])
  }
  for (const program of PROGRAMS) await hosts[program].addressed('lo', NETWORK[program].replace('0/24', '1/32'))
  const charon = await Charon.start(hosts.charon, { configuration: '', esp: 'userspace', version: 6 })
  const espalier = await Espalier.start(hosts.espalier, { configuration: '', kernel: 'memory' })
  const control = { charon: await connectControl(charon.uri), espalier: await connectControl(espalier.uri) }
  t.after(() => PROGRAMS.forEach((program) => control[program].close()))
  return { charon, espalier, control, behind, opening }
}

function configuration(own: Program, { proposals, esp, lines = '' }: Kind, behind: Program | null = null): string {
  const side = (program: Program): string => `{ auth = psk\n id = ${program}.example }`
  return `
connections {
  peer {
    version = 2
    encap = yes
    local_addrs = ${behind === own ? '%any' : ADDRESS[own]}
    remote_addrs = ${behind === other(own) ? '%any' : ADDRESS[other(own)]}
    proposals = ${proposals}
    rekey_time = 0
    ${lines}
    local ${side(own)}
    remote ${side(other(own))}
    children { net {
      local_ts = ${NETWORK[own]}
      remote_ts = ${NETWORK[other(own)]}
      esp_proposals = ${esp}
      rekey_time = 0
      life_time = 0
    } }
  }
}
secrets { ike-peer { secret = "told to nobody" } }
`
}

async function load(two: Two, kind: Kind): Promise<void> {
  for (const program of PROGRAMS) await two[program].configure(configuration(program, kind, two.behind))
  for (const program of PROGRAMS) await two[program].swanctl('--load-all', '--noprompt')
}

/** What is in use: one IKE_SA and one CHILD_SA, if all is well. */
interface InUse {
  readonly ike: ViciSection
  readonly child: ViciSection
}

async function inUse(two: Two, program: Program): Promise<InUse | undefined> {
  const ikes: ViciSection[] = []
  const children: ViciSection[] = []
  for await (const listed of two.control[program].stream('list-sas', section(), 'list-sa')) {
    const ike = sectionOf(listed, 'peer')
    if (ike === null) continue
    ikes.push(ike)
    for (const child of sectionOf(ike, 'child-sas')?.values() ?? []) children.push(child as ViciSection)
  }
  const living = children.filter((child) => !/^(?:REKEYED|DELETING|DELETED)$/.test(textOf(child, 'state') ?? ''))
  const [ike, child] = [ikes[0], living[0]]
  const isOne = ikes.length === 1 && living.length === 1
  if (!isOne || textOf(ike!, 'state') !== 'ESTABLISHED' || textOf(child!, 'state') !== 'INSTALLED') return undefined
  return { ike: ike!, child: child! }
}

type Both = Readonly<Record<Program, InUse>>

/** Waits until both have one of each, and that of the kind is not what it was. */
async function settled(two: Two, what: string, before?: Both, kind?: keyof InUse): Promise<Both> {
  const found = PROGRAMS.map((program) =>
    eventually(`${what}: one IKE_SA and one CHILD_SA at ${program}`, async () => {
      const now = await inUse(two, program)
      if (now === undefined || kind === undefined) return now
      return textOf(now[kind], 'uniqueid') === textOf(before![program][kind], 'uniqueid') ? undefined : now
    }),
  )
  const [charon, espalier] = await Promise.all(found)
  return { charon: charon!, espalier: espalier! }
}

/** Both tell the same, and that is it. */
function assertKeyExchanges(both: Both, of: keyof InUse, expected: KeyExchanges, what: string): void {
  const [theirs, ours] = PROGRAMS.map((program) =>
    ['dh-group', 'ake1', 'ake2', 'ake3'].flatMap((key) => textOf(both[program][of], key) ?? []),
  )
  assert.deepEqual(ours, theirs, what)
  if (expected !== null) assert.deepEqual(ours, expected, what)
}

/** Up, all rekeys by either side, down; when something fails, down so that it spoils nothing else. */
async function live(two: Two, kind: Kind, initiator: Program): Promise<void> {
  try {
    await upAndDown(two, kind, initiator)
  } catch (error) {
    for (const program of PROGRAMS) await two[program].swanctl('--terminate', '--ike', 'peer', '--force').catch(() => '')
    throw error
  }
}

async function upAndDown(two: Two, kind: Kind, initiator: Program): Promise<void> {
  const logged = { charon: (await two.charon.log()).length, espalier: two.espalier.daemon.lines.length }
  await two[initiator].swanctl('--initiate', '--child', 'net', '--timeout', '30')
  let now = await settled(two, 'begun')
  assertKeyExchanges(now, 'ike', kind.ike, 'the IKE_SA')
  for (const program of PROGRAMS) {
    for (const rekeyed of ['child', 'ike'] as const) {
      await two[program].swanctl('--rekey', `--${rekeyed}`, rekeyed === 'ike' ? 'peer' : 'net')
      const what = `${program} rekeys the ${rekeyed.toUpperCase()}_SA`
      now = await settled(two, what, now, rekeyed)
      assertKeyExchanges(now, rekeyed, kind[rekeyed], what)
    }
  }
  assertKeyExchanges(now, 'child', kind.child, 'the CHILD_SA that was carried along')
  await two[other(initiator)].swanctl('--terminate', '--ike', 'peer', '--timeout', '30')
  for (const program of PROGRAMS) {
    await eventually(`nothing at ${program}`, async () => ((await two[program].swanctl('--list-sas')) === '' ? true : undefined))
  }
  const complaints = [
    ...complaintsOfEspalier(two.espalier.daemon.lines.slice(logged.espalier)),
    ...complaintsOfCharon((await two.charon.log()).slice(logged.charon)),
  ]
  assert.deepEqual(unexplained(explain(complaints, [...ALONE, ...(kind.explained ?? [])])), [])
}

const skip = existsSync(TUN) ? withoutStrongswan6 : `charon's own ESP needs ${TUN}`

test('strongSwan 6: up, rekeys by either side, down', { skip }, async (t) => {
  const two = await start(t)
  for (const kind of [...CLASSIC, ...ML_KEM]) {
    await load(two, kind)
    for (const initiator of PROGRAMS) await t.test(`${kind.name}, ${initiator} initiates`, () => live(two, kind, initiator))
  }
})

for (const behind of PROGRAMS)
  test(
    `edge case 52: IKE_INTERMEDIATE with strongSwan 6, ${behind} initiates behind a NAT: on port 4500 from there on`,
    { skip },
    async (t) => {
      const two = await start(t, behind)
      await load(two, ML_KEM.at(-1)!)
      await live(two, ML_KEM.at(-1)!, behind)
      assert.match(await two.opening(), FLOATS_AT_INTERMEDIATE)
    },
  )

test('strongSwan 6: both rekey at the same moment, in several exchanges each', { skip }, async (t) => {
  const two = await start(t)
  await load(two, ML_KEM.at(-1)!)
  await two.espalier.swanctl('--initiate', '--child', 'net', '--timeout', '30')
  let now = await settled(two, 'begun')
  const meetings: readonly Readonly<Record<Program, keyof InUse>>[] = [
    { charon: 'child', espalier: 'child' },
    { charon: 'ike', espalier: 'ike' },
    { charon: 'child', espalier: 'ike' },
    { charon: 'ike', espalier: 'child' },
  ]
  for (let round = 0; round < ROUNDS; round++) {
    const kinds = meetings[round % meetings.length]!
    const what = `round ${round}: charon rekeys the ${kinds.charon.toUpperCase()}_SA, espalier the ${kinds.espalier.toUpperCase()}_SA`
    await Promise.all(
      PROGRAMS.map((program) => {
        const kind = kinds[program]
        return two.control[program].call('rekey', section([kind, kind === 'ike' ? 'peer' : 'net']))
      }),
    )
    // What met something else may be put off.
    now = await settled(two, what, now, kinds.charon === kinds.espalier ? kinds.charon : undefined)
    await eventually(`${what}: the same SAs at both`, async () => {
      const [theirs, ours] = await Promise.all(PROGRAMS.map((program) => inUse(two, program)))
      if (theirs === undefined || ours === undefined) return undefined
      const isSame =
        textOf(theirs.ike, 'initiator-spi') === textOf(ours.ike, 'initiator-spi') &&
        textOf(theirs.child, 'spi-in') === textOf(ours.child, 'spi-out') &&
        textOf(theirs.child, 'spi-out') === textOf(ours.child, 'spi-in')
      return isSame || undefined
    })
    now = await settled(two, what)
  }
  const theirs = explain(complaintsOfCharon(await two.charon.log()), TOGETHER)
  const ours = explain(complaintsOfEspalier(two.espalier.daemon.lines), TOGETHER)
  for (const { why, count, example } of [...theirs, ...ours]) t.diagnostic(`${count} × ${why ?? 'unexplained'}: ${example}`)
  // charon has many words for whoever loses, one for each moment.
  assert.deepEqual(unexplained(ours), [])
})

for (const asking of PROGRAMS)
  test(`strongSwan 6: ${asking} asks whether the other is there`, { skip }, async (t) => {
    const two = await start(t)
    const kind = CLASSIC[0]!
    await load(two, kind)
    // One of them alone: whoever has just been asked does not ask.
    await two[asking].configure(configuration(asking, { ...kind, lines: 'dpd_delay = 1s' }))
    await two[asking].swanctl('--load-all', '--noprompt')
    await two.espalier.swanctl('--initiate', '--child', 'net', '--timeout', '30')
    const before = await settled(two, 'begun')
    await eventually('three questions', async () => {
      const log = asking === 'charon' ? await two.charon.log() : two.espalier.daemon.lines.join('\n')
      return (log.match(/sending DPD request/g)?.length ?? 0) >= 3 ? true : undefined
    })
    const after = await settled(two, 'later')
    for (const program of PROGRAMS)
      assert.equal(textOf(after[program].ike, 'uniqueid'), textOf(before[program].ike, 'uniqueid'), program)
  })
