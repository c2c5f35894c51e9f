/**
 * What an IKE_SA costs that stands: processor time by liveness check, by rekey of a CHILD_SA and of an IKE_SA, answered
 * and begun, and what thousands of idle ones cost that are checked. An `espalier daemon` with the kernel in memory is on
 * one core, its peers on another; with `--peer` charon has the same exchanges with peers of its own, in turns.
 * scripts/bench runs this, docs/bench.md explains it. Nothing is asserted: figures are for people, who know the machine.
 */
import { mkdir } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import CliTable from 'cli-table3'

import { SECOND } from '../../src/base/time.ts'
import type { Host, LabOwner } from '../lab/support/network.ts'
import type { Affair } from './initiator.ts'
import { ESP_PROPOSAL, IKE_PROPOSAL, MEASURED_CORE, Pair, PSK } from './pair.ts'
import { Owner } from './pinned.ts'
import { processorTimeOf, residentBytesOf } from './process.ts'
import { EspalierResponder, PEERS, startCharonResponder, type Responder } from './responders.ts'

const PFS_GROUP = 'x25519'
const CONCURRENCY = 20
/** Rounds of everything that are not counted. */
const WARM_UPS = 2
/** A liveness check is little work; so often in a round each IKE_SA has one. */
const PROBES = 5
/** The least dpd_delay there is. */
const QUICK_DPD_SECONDS = 1
/** How long the checks that the daemon begins are counted for, in each round. */
const WATCHED_SECONDS = 2
const PATIENCE_MS = 60_000
const POLL_MS = 20

/** Those of `watched` are checked on, those of `peers` are not. */
const configurationOf = (espProposal: string, dpdSeconds: number): string => {
  const connection = (name: string, id: string, more: string): string => `
  ${name} {
    version = 2
    proposals = ${IKE_PROPOSAL}
    ${more}
    local { auth = psk
      id = gateway.example }
    remote { auth = psk
      id = "${id}" }
    children { net {
      esp_proposals = ${espProposal}
      local_ts = 192.168.0.0/16
      remote_ts = 10.0.0.0/8
    } }
  }`
  return `
connections {
${connection('peers', '*.peer.example', '')}
${connection('watched', '*.watched.example', `dpd_delay = ${dpdSeconds}s`)}
}
secrets { ike-1 { secret = "${PSK}" } }
`
}

// -- exchanges -----------------------------------------------------------------------------------------------------

interface Measure {
  readonly what: string
  readonly affair: Affair
  /** Exchanges of each IKE_SA in a round. */
  readonly times: number
  readonly begin: (pair: Pair) => Promise<void>
}

const MEASURES: readonly Measure[] = [
  answered('liveness check answered, one at a time', 'probe', PROBES, 1),
  answered(`liveness check answered, ${CONCURRENCY} at once`, 'probe', PROBES, CONCURRENCY),
  answered(`CHILD_SA rekey answered, ${CONCURRENCY} at once`, 'rekey-child', 1, CONCURRENCY),
  begun('CHILD_SA rekey begun, all at once', 'rekey-child', ['--child', 'net']),
  answered(`IKE_SA rekey answered, ${CONCURRENCY} at once`, 'rekey-ike', 1, CONCURRENCY),
  begun('IKE_SA rekey begun, all at once', 'rekey-ike', ['--ike', 'peers']),
]
const WATCHED = `liveness check begun, dpd_delay ${QUICK_DPD_SECONDS} s`

function answered(what: string, affair: Affair, times: number, concurrency: number): Measure {
  return { what, affair, times, begin: (pair) => pair.haveExchanges(affair, times, concurrency) }
}

function begun(what: string, affair: Affair, command: readonly string[]): Measure {
  return { what, affair, times: 1, begin: (pair) => pair.beRekeyed(command) }
}

/** Processor time by exchange in one round, and how many there were. */
interface Round {
  readonly exchanges: number
  readonly cpuMicroseconds: number
}

/** Microseconds of processor time by exchange, of one that is measured: the rounds' median, least and most. */
interface Cost {
  readonly name: string
  readonly rounds: number
  readonly exchanges: number
  readonly median: number
  readonly least: number
  readonly most: number
}

interface Row {
  readonly what: string
  /** espalier's first. */
  readonly costs: readonly Cost[]
  /** By peer: its median in what espalier's is; above 1 espalier is the cheaper one. */
  readonly ratios: readonly number[]
}

async function measureRound(pair: Pair, { what, affair, times, begin }: Measure, count: number): Promise<Round> {
  const exchanges = count * times
  const before = (await pair.tally()).done[affair]
  const cpu = processorTimeOf(pair.responder.pid)
  await begin(pair)
  const giveUp = performance.now() + PATIENCE_MS
  for (;;) {
    // The last answer may be on its way still.
    await sleep(POLL_MS)
    const done = (await pair.tally()).done[affair] - before
    if (done >= exchanges) break
    if (performance.now() > giveUp) throw new Error(`${pair.name}: ${what}: ${done} of ${exchanges} came about`)
  }
  return { exchanges, cpuMicroseconds: (processorTimeOf(pair.responder.pid) - cpu) / exchanges }
}

/** Rounds in turns, so that all meet the same neighbours on the machine. */
async function measure(pairs: readonly Pair[], what: Measure, count: number, rounds: number): Promise<Row> {
  const results = pairs.map((): Round[] => [])
  for (let i = 0; i < rounds; i++)
    for (const [j, pair] of pairs.entries()) results[j]!.push(await measureRound(pair, what, count))
  return rowOf(what.what, pairs, results)
}

/** All at the same time: it is they who begin. */
async function measureWatched(pairs: readonly Pair[], count: number, rounds: number): Promise<Row> {
  for (const pair of pairs) await pair.establish(count, CONCURRENCY, 'watched')
  await sleep(WATCHED_SECONDS * SECOND)
  const results = pairs.map((): Round[] => [])
  const look = (): Promise<readonly (readonly [number, number])[]> =>
    Promise.all(pairs.map(async (pair) => [(await pair.tally()).probesAnswered, processorTimeOf(pair.responder.pid)] as const))
  for (let i = 0; i < rounds; i++) {
    const before = await look()
    await sleep(WATCHED_SECONDS * SECOND)
    for (const [j, [probes, cpu]] of (await look()).entries()) {
      const exchanges = probes - before[j]![0]
      if (exchanges > 0) results[j]!.push({ exchanges, cpuMicroseconds: (cpu - before[j]![1]) / exchanges })
    }
  }
  return rowOf(WATCHED, pairs, results)
}

function rowOf(what: string, pairs: readonly Pair[], results: readonly (readonly Round[])[]): Row {
  const costs = results.map((rounds, i): Cost => {
    const sorted = rounds.map(({ cpuMicroseconds }) => Math.round(cpuMicroseconds)).toSorted((a, b) => a - b)
    const [least, median, most] = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)]
    const { name } = pairs[i]!
    if (least === undefined || median === undefined || most === undefined) throw new Error(`${name}: ${what}: none came about`)
    return {
      name,
      rounds: rounds.length,
      exchanges: rounds.reduce((sum, { exchanges }) => sum + exchanges, 0),
      median,
      least,
      most,
    }
  })
  const [ours, ...theirs] = costs
  return { what, costs, ratios: theirs.map(({ median }) => Math.round((median / ours!.median) * 100) / 100) }
}

// -- idleness ------------------------------------------------------------------------------------------------------

interface Idleness {
  readonly ikeSas: number
  readonly dpdSeconds: number
  readonly seconds: number
  /** That were answered in this time. */
  readonly probes: number
  /** Of one core, in percent. */
  readonly cpuPercent: number
  readonly cpuMicrosecondsPerProbe: number
  /** At the end, nothing collected for it. */
  readonly residentBytes: number
  /** Before there was an IKE_SA, and by IKE_SA since then, both after a collection. */
  readonly residentBytesBefore: number
  readonly residentBytesPerSa: number
  readonly retransmissions: number
}

async function measureIdleness(
  owner: LabOwner,
  ikeSas: number,
  dpdSeconds: number,
  seconds: number,
  profile: string | null,
): Promise<Idleness> {
  const pair = await startEspalier(owner, ESP_PROPOSAL, dpdSeconds)
  const { pid } = pair.responder
  const { resident: residentBytesBefore } = await pair.responder.memory()
  await pair.establish(ikeSas, CONCURRENCY, 'watched')
  // Now each is checked on.
  await sleep(dpdSeconds * SECOND)
  if (profile !== null) await pair.responder.beginProfile()
  const before = await pair.tally()
  const [cpuBefore, begun] = [processorTimeOf(pid), performance.now()]
  await sleep(seconds * SECOND)
  const [cpu, took] = [processorTimeOf(pid) - cpuBefore, performance.now() - begun]
  const after = await pair.tally()
  const residentBytes = residentBytesOf(pid)
  if (profile !== null) await pair.responder.endProfile(join(profile, 'idle.cpuprofile'))
  const { resident } = await pair.responder.memory()
  const probes = after.probesAnswered - before.probesAnswered
  return {
    ikeSas: after.ikeSas,
    dpdSeconds,
    seconds: Math.round(took / SECOND),
    probes,
    cpuPercent: Math.round((cpu / 1000 / took) * 10_000) / 100,
    cpuMicrosecondsPerProbe: Math.round(cpu / probes),
    residentBytes,
    residentBytesBefore,
    residentBytesPerSa: Math.round((resident - residentBytesBefore) / ikeSas),
    retransmissions: after.retransmissions - before.retransmissions,
  }
}

// -- all of it -----------------------------------------------------------------------------------------------------

function startEspalier(owner: LabOwner, espProposal: string, dpdSeconds: number): Promise<Pair<EspalierResponder>> {
  const configuration = configurationOf(espProposal, dpdSeconds)
  return Pair.start(owner, 'espalier', { espProposal }, (host) => EspalierResponder.start(host, MEASURED_CORE, configuration))
}

async function measureExchanges(
  owner: LabOwner,
  espProposal: string,
  peers: readonly string[],
  count: number,
  rounds: number,
  profile: string | null,
): Promise<{ readonly rows: readonly Row[]; readonly versions: readonly string[] }> {
  const espalier = await startEspalier(owner, espProposal, QUICK_DPD_SECONDS)
  const pairs: Pair[] = [espalier]
  const configuration = configurationOf(espProposal, QUICK_DPD_SECONDS)
  for (const name of peers) {
    const start = (host: Host): Promise<Responder> =>
      startCharonResponder(host, MEASURED_CORE, configuration, PEERS.get(name) ?? null)
    pairs.push(await Pair.start(owner, name, { espProposal }, start))
  }
  for (const pair of pairs) await pair.establish(count, CONCURRENCY)
  // What has just been started runs code that is not compiled yet; compiling it is not what is measured here.
  for (let i = 0; i < WARM_UPS; i++) for (const what of MEASURES) for (const pair of pairs) await measureRound(pair, what, count)
  const rows: Row[] = []
  const profiled = async (name: string, work: () => Promise<Row>): Promise<void> => {
    if (profile !== null) await espalier.responder.beginProfile()
    rows.push(await work())
    if (profile !== null) await espalier.responder.endProfile(join(profile, `${name}.cpuprofile`))
  }
  for (const [i, what] of MEASURES.entries()) await profiled(`${i + 1}-${what.affair}`, () => measure(pairs, what, count, rounds))
  await profiled(`${MEASURES.length + 1}-watched`, () => measureWatched(pairs, count, rounds))
  return { rows, versions: pairs.slice(1).map(({ name, responder }) => `${name}: ${responder.version}`) }
}

function tableOf(rows: readonly Row[]): string {
  const names = rows[0]?.costs.map(({ name }) => name) ?? []
  const [, ...peers] = names
  const head = ['CPU us each', ...names, ...peers.map((name) => `${name} / espalier`)]
  const table = new CliTable({
    head,
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  })
  for (const { what, costs, ratios } of rows)
    table.push([
      what,
      ...costs.map(({ median, least, most }) => `${median} (${least} to ${most})`),
      ...ratios.map((ratio) => ratio.toFixed(2)),
    ])
  return table.toString()
}

function told(idleness: Idleness): string {
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
  return (
    `${idleness.ikeSas} idle IKE_SAs, dpd_delay ${idleness.dpdSeconds} s, for ${idleness.seconds} s: ${idleness.cpuPercent} % of a core, ` +
    `${idleness.probes} checks of ${idleness.cpuMicrosecondsPerProbe} us, ${idleness.retransmissions} retransmissions of the peers; resident ` +
    `${megabytes(idleness.residentBytes)}, ${megabytes(idleness.residentBytesBefore)} before, ` +
    `${(idleness.residentBytesPerSa / 1000).toFixed(1)} kB by IKE_SA after a collection`
  )
}

const { values } = parseArgs({
  options: {
    'count': { type: 'string', default: '200' },
    'rounds': { type: 'string', default: '10' },
    'idle': { type: 'string', default: '10000' },
    'dpd-delay': { type: 'string', default: '30' },
    'seconds': { type: 'string', default: '60' },
    'pfs': { type: 'boolean', default: false },
    'peer': { type: 'string', multiple: true, default: [] },
    'json': { type: 'boolean', default: false },
    'profile': { type: 'string' },
  },
})
function whole(name: 'count' | 'rounds' | 'idle' | 'dpd-delay' | 'seconds', least: number, most: number): number {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < least || number > most)
    throw new Error(`--${name} is a number from ${least} to ${most}`)
  return number
}
const [count, rounds] = [whole('count', 1, 5_000), whole('rounds', 1, 1_000)]
const [idle, dpdSeconds, seconds] = [whole('idle', 0, 50_000), whole('dpd-delay', 1, 3_600), whole('seconds', 1, 3_600)]
for (const peer of values.peer) if (!PEERS.has(peer)) throw new Error(`--peer is one of ${[...PEERS.keys()].join(', ')}`)
const profile = values.profile ?? null
if (profile !== null) await mkdir(profile, { recursive: true })

async function owned<T>(work: (owner: LabOwner) => Promise<T>): Promise<T> {
  const owner = new Owner()
  try {
    return await work(owner)
  } finally {
    await owner.end()
  }
}

const espProposal = values.pfs ? `${ESP_PROPOSAL}-${PFS_GROUP}` : ESP_PROPOSAL
const { rows, versions } = await owned((owner) => measureExchanges(owner, espProposal, values.peer, count, rounds, profile))
const idleness = idle === 0 ? null : await owned((owner) => measureIdleness(owner, idle, dpdSeconds, seconds, profile))
const machine = { cpu: cpus()[0]?.model ?? 'unknown', node: process.version, proposals: [IKE_PROPOSAL, espProposal] }
process.stdout.write(
  values.json
    ? `${JSON.stringify({ ...machine, versions, ikeSas: count, rows, idleness }, null, 2)}\n`
    : `${[
        [machine.cpu, `Node ${machine.node}`, ...versions].join(', '),
        `${machine.proposals.join(' and ')}; ${count} IKE_SAs, median (least to most) of ${rounds} rounds`,
        tableOf(rows),
        ...(idleness === null ? [] : [told(idleness)]),
      ].join('\n')}\n`,
)
