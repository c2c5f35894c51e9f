/**
 * The soak: espalier and charon rekey CHILD_SAs and IKE_SAs every 20 to 40 seconds, both of them, for minutes, under
 * traffic, in two pairs, in each of which another one is the initiator. scripts/soak runs it in the lab. Then nothing may have been
 * lost, and whatever looks like an error in either log must have its explanation (support/complaints.ts).
 */
import { complaintsOfCharon, complaintsOfEspalier, explain, MEETING, unexplained } from './support/complaints.ts'
import { couple, type Couple, HOME, PEERS, type PeerName } from './support/couple.ts'
import { type Flow, startFlow } from './support/flow.ts'
import { comesTo } from './support/listed.ts'
import type { LabOwner } from './support/network.ts'
import { eventually } from './support/process.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const PER_SECOND = 50
const EVERY = 'rekey_time = 40s\n rand_time = 20s'
/** Both rekey, so that none waits for longer than the longer of two; a retry is put off for up to 30 s. */
const REKEYS_PER_MINUTE_MIN = 1
const PATIENCE_MS = 240_000
const MINUTE_MS = 60_000
const LAST_LINES = 30

class Owner implements LabOwner {
  passed = false
  #actions: (() => Promise<void>)[] = []

  after(action: () => Promise<void>): void {
    this.#actions.push(action)
  }

  diagnostic(text: string): void {
    const [heading, ...lines] = text.trimEnd().split('\n')
    say(`the last lines of ${heading}`)
    for (const line of lines.slice(-LAST_LINES)) say(`  ${line}`)
  }

  async end(): Promise<void> {
    for (const action of this.#actions.splice(0)) await action()
  }
}

interface Pair {
  readonly initiator: PeerName
  readonly two: Couple
  readonly flow: Flow
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function begin(owner: LabOwner, initiator: PeerName): Promise<Pair> {
  const two = await couple(owner, { ike: `${EVERY}\n over_time = 60s`, child: `${EVERY}\n life_time = 100s` })
  await two[initiator].swanctl('--initiate', '--child', 'net')
  const { hosts } = two
  return { initiator, two, flow: await startFlow(hosts.charon, HOME.charon, hosts.espalier, HOME.espalier, PER_SECOND) }
}

interface Rekeys {
  readonly ike: number
  readonly child: number
}

/** As espalier tells them, whoever asked for them. */
function rekeys({ espalier }: Couple): Rekeys {
  return { ike: espalier.events('ike-rekeyed').length, child: espalier.events('child-rekeyed').length }
}

/** What is wrong, in sentences. */
async function judge({ initiator, two, flow }: Pair, minutes: number): Promise<string[]> {
  const wrong: string[] = []
  const { sent, missing } = await flow.end()
  const { ike, child } = rekeys(two)
  const charonLog = await two.charon.log()
  const asked = two.espalier.daemon.lines.filter((line) => /generating CREATE_CHILD_SA request/.test(line)).length
  const collisions = charonLog.match(/rekey collision (?:won|lost)/g)?.length ?? 0
  say(`${initiator} the initiator: ${ike} rekeys of the IKE_SA, ${child} of the CHILD_SA; espalier asked ${asked} times;`)
  say(`  ${collisions} times both rekeyed the same; ${sent} packets there and back, ${missing.length} lost`)
  if (missing.length > 0) wrong.push(`packets lost: ${missing.slice(0, 20).join(' ')}`)
  if (Math.min(ike, child) < minutes * REKEYS_PER_MINUTE_MIN) wrong.push('too few rekeys')

  for (const peer of PEERS) await comesTo(two[peer], 1, 1)
  await two[initiator].swanctl('--terminate', '--ike', 'peer')
  for (const peer of PEERS) {
    await eventually(
      `nothing is left at ${peer}`,
      async () => {
        const left = [...(await xfrmStates(two.hosts[peer])), ...(await xfrmPolicies(two.hosts[peer]))]
        return left.length === 0 ? true : undefined
      },
      PATIENCE_MS,
    )
  }
  const logs = { charon: complaintsOfCharon(charonLog), espalier: complaintsOfEspalier(two.espalier.daemon.lines) }
  for (const peer of PEERS) {
    const explained = explain(logs[peer], MEETING)
    say(`  complaints in the log of ${peer}: ${logs[peer].length}`)
    for (const { why, count, example } of explained) say(`    ${count} × ${why ?? 'UNEXPLAINED'}\n        ${example}`)
    for (const line of unexplained(explained)) wrong.push(`unexplained in the log of ${peer}: ${line}`)
  }
  return wrong.map((sentence) => `${initiator} the initiator: ${sentence}`)
}

async function soak(owner: LabOwner, minutes: number): Promise<string[]> {
  const pairs: Pair[] = []
  for (const initiator of PEERS) pairs.push(await begin(owner, initiator))
  for (let minute = 1; minute <= minutes; minute++) {
    await new Promise((resolve) => setTimeout(resolve, MINUTE_MS))
    const counts = pairs.map(({ initiator, two }) => {
      const { ike, child } = rekeys(two)
      return `${initiator} the initiator: ${ike} IKE_SAs, ${child} CHILD_SAs rekeyed`
    })
    say(`after ${minute} min: ${counts.join('; ')}`)
  }
  const wrong: string[] = []
  for (const pair of pairs) wrong.push(...(await judge(pair, minutes)))
  return wrong
}

async function main(): Promise<void> {
  const owner = new Owner()
  let wrong: string[]
  try {
    wrong = await soak(owner, Number(process.argv[2] ?? 10))
    owner.passed = true
  } catch (error) {
    wrong = [error instanceof Error ? error.message : String(error)]
  }
  await owner.end()
  for (const sentence of wrong) say(`WRONG: ${sentence}`)
  say(wrong.length === 0 ? 'all well' : `${wrong.length} things are wrong`)
  process.exitCode = wrong.length === 0 ? 0 : 1
}

await main()
