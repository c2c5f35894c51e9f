/**
 * What NAT keepalives cost: an `espalier daemon` with the kernel in memory, behind a NAT with tens of thousands of idle
 * peers, is on one core, the peers and the NAT on another. With `--peer` charon has the same, with fewer peers.
 * scripts/bench runs this, docs/bench.md explains it. Nothing is asserted: figures are for people, who know the machine.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import CliTable from 'cli-table3'

import { SECOND } from '../../src/base/time.ts'
import { DEFAULT_IKE_SETTINGS } from '../../src/ike/connection.ts'
import type { Host, LabOwner } from '../lab/support/network.ts'
import type { Tally } from './initiator.ts'
import { ESP_PROPOSAL, IKE_PROPOSAL, MEASURED_CORE, Pair, PSK } from './pair.ts'
import { Owner } from './pinned.ts'
import { processorTimeOf, residentBytesOf } from './process.ts'
import { EspalierResponder, PEERS, startCharonResponder, type Responder } from './responders.ts'

/** What the peers know it by. */
const OUTSIDE = '203.0.113.1'
const CONCURRENCY = 100
/** Each new SA costs charon with kernel-libipsec the more, the more there are. */
const CHARON_COUNT_MAX = 5_000

const INTERVAL = DEFAULT_IKE_SETTINGS.keepAlive
/** All of them once. */
const TRACED_SECONDS = INTERVAL / SECOND

const CONFIGURATION = `
connections { peers {
  version = 2
  proposals = ${IKE_PROPOSAL}
  local { auth = psk
    id = gateway.example }
  remote { auth = psk
    id = "*.peer.example" }
  children { net {
    esp_proposals = ${ESP_PROPOSAL}
    local_ts = 192.168.0.0/16
    remote_ts = 10.0.0.0/8
  } }
} }
secrets { ike-1 { secret = "${PSK}" } }
`

interface Row {
  readonly name: string
  readonly ikeSas: number
  readonly seconds: number
  readonly keepalives: number
  /** Of one core, in percent. */
  readonly cpuPercent: number
  readonly cpuMicrosecondsPerKeepalive: number
  /** As strace counts them, afterwards; null without strace. */
  readonly syscallsPerKeepalive: number | null
  readonly syscalls: readonly string[]
  readonly residentBytes: number
}

async function measure(
  owner: LabOwner,
  name: string,
  count: number,
  seconds: number,
  profile: string | null,
  start: (host: Host) => Promise<Responder>,
): Promise<Row> {
  const pair = await Pair.start(owner, name, { espProposal: ESP_PROPOSAL, outside: OUTSIDE }, start)
  await pair.establish(count, CONCURRENCY)
  const { responder } = pair
  const tally = (): Promise<Tally> => pair.tally()

  // Each has had its first one, and the code is warm.
  await sleep(INTERVAL + SECOND)
  const { pid } = responder
  if (profile !== null && responder instanceof EspalierResponder) await responder.beginProfile()
  const before = await tally()
  const [cpuBefore, begun] = [processorTimeOf(pid), performance.now()]
  await sleep(seconds * SECOND)
  const after = await tally()
  const [cpu, took] = [processorTimeOf(pid) - cpuBefore, performance.now() - begun]
  if (profile !== null && responder instanceof EspalierResponder)
    await responder.endProfile(join(profile, 'keepalives.cpuprofile'))
  const keepalives = after.keepalives - before.keepalives
  const traced = await trace(pid, tally)
  return {
    name,
    ikeSas: after.ikeSas,
    seconds: Math.round(took / SECOND),
    keepalives,
    cpuPercent: Math.round((cpu / 1000 / took) * 10_000) / 100,
    cpuMicrosecondsPerKeepalive: Math.round((cpu / keepalives) * 10) / 10,
    ...traced,
    residentBytes: residentBytesOf(pid),
  }
}

/** System calls by keepalive, and which they were. Being traced costs the process time of its own, so this is a look by itself. */
async function trace(
  pid: number,
  tally: () => Promise<Tally>,
): Promise<{ readonly syscallsPerKeepalive: number | null; readonly syscalls: readonly string[] }> {
  const none = { syscallsPerKeepalive: null, syscalls: [] }
  const strace = spawn('strace', ['-f', '-c', '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(strace, 'close').catch(() => null)
  const told = text(strace.stderr)
  // Until it has attached to every thread.
  await sleep(SECOND)
  if (strace.exitCode !== null || strace.pid === undefined) return none
  const before = (await tally()).keepalives
  await sleep(TRACED_SECONDS * SECOND)
  const keepalives = (await tally()).keepalives - before
  strace.kill('SIGINT')
  await ended
  // % time, seconds, usecs/call, calls, [errors], syscall
  const rows = (await told)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length >= 5 && /^\d+$/.test(fields[3] ?? '') && fields.at(-1) !== 'total')
    .map((fields) => ({ name: fields.at(-1)!, calls: Number(fields[3]) }))
    .toSorted((a, b) => b.calls - a.calls)
  if (rows.length === 0 || keepalives === 0) return none
  // The second before is traced as well.
  const calls = (rows.reduce((sum, row) => sum + row.calls, 0) * TRACED_SECONDS) / (TRACED_SECONDS + 1)
  return {
    syscallsPerKeepalive: Math.round((calls / keepalives) * 1000) / 1000,
    syscalls: rows.slice(0, 5).map((row) => `${row.name} ${row.calls}`),
  }
}

function tableOf(rows: readonly Row[]): string {
  const head = ['', 'IKE_SAs', 'keepalives', 'of one core', 'CPU us each', 'system calls each', 'resident']
  const table = new CliTable({ head, style: { head: [], border: [] } })
  for (const row of rows)
    table.push([
      row.name,
      row.ikeSas,
      `${row.keepalives} in ${row.seconds} s`,
      `${row.cpuPercent} %`,
      row.cpuMicrosecondsPerKeepalive,
      row.syscallsPerKeepalive ?? '(no strace)',
      `${(row.residentBytes / 1e6).toFixed(0)} MB`,
    ])
  return table.toString()
}

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '50000' },
    seconds: { type: 'string', default: '60' },
    peer: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})
function whole(name: 'count' | 'seconds', least: number, most: number): number {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < least || number > most)
    throw new Error(`--${name} is a number from ${least} to ${most}`)
  return number
}
const [count, seconds] = [whole('count', 1, 100_000), whole('seconds', 1, 3_600)]
for (const peer of values.peer) if (!PEERS.has(peer)) throw new Error(`--peer is one of ${[...PEERS.keys()].join(', ')}`)
const profile = values.profile ?? null
if (profile !== null) await mkdir(profile, { recursive: true })

async function owned(
  name: string,
  number: number,
  start: (host: Host) => Promise<Responder>,
): Promise<{ readonly row: Row; readonly version: string }> {
  const owner = new Owner()
  let version = name
  try {
    const row = await measure(owner, name, number, seconds, profile, async (host) => {
      const responder = await start(host)
      version = responder.version
      return responder
    })
    return { row, version }
  } finally {
    await owner.end()
  }
}

const results = [await owned('espalier', count, (host) => EspalierResponder.start(host, MEASURED_CORE, CONFIGURATION))]
for (const name of values.peer)
  results.push(
    await owned(name, Math.min(count, CHARON_COUNT_MAX), (host) =>
      startCharonResponder(host, MEASURED_CORE, CONFIGURATION, PEERS.get(name) ?? null),
    ),
  )
const rows = results.map(({ row }) => row)
const machine = { cpu: cpus()[0]?.model ?? 'unknown', node: process.version, versions: results.map(({ version }) => version) }
process.stdout.write(
  values.json
    ? `${JSON.stringify({ ...machine, intervalSeconds: INTERVAL / SECOND, rows }, null, 2)}\n`
    : `${[
        [machine.cpu, `Node ${machine.node}`, ...machine.versions].join(', '),
        `keep_alive = ${INTERVAL / SECOND} s, a CHILD_SA in UDP each`,
        tableOf(rows),
        ...rows.map(({ name, syscalls }) => `${name}: ${syscalls.join(', ')}`),
      ].join('\n')}\n`,
)
