/**
 * What a handshake costs the responder, and what an established tunnel keeps of its memory: an `espalier daemon` with
 * the kernel in memory on one core, an initiator on another, a cable between two network namespaces. scripts/bench runs
 * it, docs/bench.md explains it. Nothing is asserted: figures are for people, who know the machine.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import CliTable from 'cli-table3'

import { Lab, type Host, type LabOwner } from '../lab/support/network.ts'
import type { Order, Outcome } from './initiator.ts'
import type { Answer, Question } from './responder-probe.ts'

const ROWS = [100, 1_000, 5_000, 20_000]
const CONCURRENCY = 20
const IKE_PROPOSAL = 'aes128-sha256-x25519'
const ESP_PROPOSAL = 'aes128-sha256'
const PSK = 'what both sides of the bench know'
const RESPONDER = '192.0.2.2'

const CONFIGURATION = `
connections {
  peers {
    version = 2
    proposals = ${IKE_PROPOSAL}
    local { auth = psk
      id = gateway.example }
    remote { auth = psk
      id = %any }
    children { net {
      esp_proposals = ${ESP_PROPOSAL}
      local_ts = 192.168.0.0/16
      remote_ts = 10.0.0.0/8
    } }
  }
}
secrets { ike-1 { secret = "${PSK}" } }
`
// Cookies are another exchange, which a stranger causes and a peer pays for.
const SETTINGS = 'charon { cookie_threshold = 0\n cookie_threshold_ip = 0\n dos_protection = no }\n'

/** One line of the table: what happened since the row before. */
interface Row {
  /** IKE_SAs that stand at its end. */
  readonly established: number
  readonly handshakes: number
  readonly failures: number
  readonly retransmissions: number
  /** Of the responder, all threads, user and system. */
  readonly cpuMicrosecondsPerHandshake: number
  readonly handshakesPerSecond: number
  /** Growth since the row before, by IKE_SA with its CHILD_SA: pages in memory, and bytes that are reachable. */
  readonly residentBytesPerSa: number
  readonly liveBytesPerSa: number
}

class Owner implements LabOwner {
  readonly passed = true
  readonly #actions: (() => Promise<void>)[] = []
  after(action: () => Promise<void>): void {
    this.#actions.push(action)
  }
  diagnostic(): void {}
  async end(): Promise<void> {
    for (const action of this.#actions.toReversed()) await action()
  }
}

/** A program of ours in a namespace, on one core, that is told things and answers each. */
class Pinned<Told, Heard> {
  readonly #child: ChildProcess
  readonly #ended: Promise<never>

  constructor(host: Host, core: number, args: readonly string[], environment: Record<string, string> = {}) {
    const command = ['netns', 'exec', host.namespace, 'taskset', '--cpu-list', String(core), process.execPath, ...args]
    this.#child = spawn('ip', command, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    this.#child.stdout!.pipe(process.stderr)
    this.#ended = once(this.#child, 'close').then(([status]) => {
      throw new Error(`ended with status ${status}: ${this.#child.spawnargs.join(' ')}`)
    })
    // Somebody listens only while something is being waited for.
    this.#ended.catch(() => {})
    host.lab.atEnd(async () => {
      // There are thousands of tunnels, and nobody to miss them.
      if (this.#child.exitCode === null && this.#child.kill('SIGKILL')) await once(this.#child, 'close')
    })
  }

  async hear(): Promise<Heard> {
    const heard = new Promise<Heard>((resolve) => this.#child.once('message', (message) => resolve(message as Heard)))
    return Promise.race([heard, this.#ended])
  }

  async tell(told: Told): Promise<Heard> {
    this.#child.send(told as object)
    return this.hear()
  }
}

async function measure(count: number, profileDirectory: string | null, owner: LabOwner): Promise<readonly Row[]> {
  const lab = new Lab(owner)
  const left = await lab.host('initiator')
  const right = await lab.host('responder')
  await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', `${RESPONDER}/24`)
  const directory = await lab.directory()
  await writeFile(join(directory, 'swanctl.conf'), CONFIGURATION)
  const control = `charon { plugins { vici { socket = unix://${directory}/vici\n} } }\n`
  await writeFile(join(directory, 'strongswan.conf'), SETTINGS + control)

  const here = import.meta.dirname
  const lastCore = availableParallelism() - 1
  const daemon = ['daemon', '--kernel', 'memory', '--log-level', 'warn']
  const responder = new Pinned<Question, Answer>(
    right,
    0,
    ['--expose-gc', '--import', join(here, 'responder-probe.ts'), join(here, '../../src/main.ts'), ...daemon],
    { SWANCTL_DIR: directory, STRONGSWAN_CONF: join(directory, 'strongswan.conf') },
  )
  const initiator = new Pinned<Order, Outcome>(left, lastCore, [
    join(here, 'initiator.ts'),
    RESPONDER,
    IKE_PROPOSAL,
    ESP_PROPOSAL,
    PSK,
  ])
  await initiator.hear()

  const rows: Row[] = []
  const marks = [...ROWS.filter((row) => row < count), count]
  let before = await responder.tell({ ask: 'memory' })
  let established = 0
  for (const mark of marks) {
    const isProfiled = profileDirectory !== null && mark === count
    if (isProfiled) await responder.tell({ ask: 'begin-profile' })
    const begun = await responder.tell({ ask: 'cpu' })
    const handshakes = mark - established
    const outcome = await initiator.tell({ handshakes, concurrency: CONCURRENCY })
    const ended = await responder.tell({ ask: 'cpu' })
    if (isProfiled) await responder.tell({ ask: 'end-profile', file: join(profileDirectory, 'handshakes.cpuprofile') })
    const after = await responder.tell({ ask: 'memory' })
    if (isProfiled) await responder.tell({ ask: 'heap', file: join(profileDirectory, 'handshakes.heapsnapshot') })
    rows.push({
      established: mark,
      handshakes,
      failures: outcome.failed,
      retransmissions: outcome.retransmissions,
      cpuMicrosecondsPerHandshake: Math.round((ended.cpu - begun.cpu) / handshakes),
      handshakesPerSecond: Math.round(outcome.succeeded / outcome.seconds),
      residentBytesPerSa: Math.round((after.resident - before.resident) / handshakes),
      liveBytesPerSa: Math.round((after.live - before.live) / handshakes),
    })
    before = after
    established = mark
  }
  return rows
}

function table(rows: readonly Row[]): string {
  const head = ['established', 'failed', 'sent again', 'CPU us each', 'handshakes/s', 'resident kB each', 'live kB each']
  const lines = new CliTable({ head, style: { head: [], border: [] }, colAligns: head.map(() => 'right') })
  const kilobytes = (bytes: number): string => (bytes / 1000).toFixed(1)
  for (const row of rows) {
    lines.push([
      row.established,
      row.failures,
      row.retransmissions,
      row.cpuMicrosecondsPerHandshake,
      row.handshakesPerSecond,
      kilobytes(row.residentBytesPerSa),
      kilobytes(row.liveBytesPerSa),
    ])
  }
  return lines.toString()
}

const { values } = parseArgs({
  options: { count: { type: 'string', default: '5000' }, json: { type: 'boolean', default: false }, profile: { type: 'string' } },
})
const count = Number(values.count)
if (!Number.isSafeInteger(count) || count < 1 || count > 100_000) throw new Error('--count is a number from 1 to 100000')
if (values.profile !== undefined) await mkdir(values.profile, { recursive: true })
const owner = new Owner()
try {
  const rows = await measure(count, values.profile ?? null, owner)
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', node: process.version, proposal: IKE_PROPOSAL, concurrency: CONCURRENCY }
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ ...machine, rows }, null, 2)}\n`
      : `${machine.cpu}, Node ${machine.node}, ${IKE_PROPOSAL}, ${CONCURRENCY} at once; each row since the one above\n${table(rows)}\n`,
  )
} finally {
  await owner.end()
}
