/**
 * What a handshake costs the responder, and what an established tunnel keeps of its memory: an `espalier daemon` with
 * the kernel in memory on one core, an initiator on another, a cable between two network namespaces. With `--peer` the
 * same initiator has its handshakes with charon as well, in turns, so that both meet the same neighbours on the machine.
 * scripts/bench runs it, docs/bench.md explains it. Nothing is asserted: figures are for people, who know the machine.
 */
import { mkdir } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import CliTable from 'cli-table3'

import { Lab, type Host, type LabOwner } from '../lab/support/network.ts'
import { AUTHS, isAuth, responderFiles, responderLines, type Auth } from './credentials.ts'
import type { Order, Outcome } from './initiator.ts'
import { Owner, Pinned } from './pinned.ts'
import { processorTimeOf } from './process.ts'
import { EspalierResponder, PEERS, startCharonResponder, type Memory, type Responder } from './responders.ts'

const ROWS = [100, 1_000, 5_000, 20_000]
const CONCURRENCY = 20
/** Handshakes before it is the other responder's turn. */
const TURN = 250
const IKE_PROPOSAL = 'aes128-sha256-x25519'
const ESP_PROPOSAL = 'aes128-sha256'
const PSK = 'what both sides of the bench know'
const RESPONDER = '192.0.2.2'
const RESPONDER_CORE = 0
const INITIATOR_CORE = availableParallelism() - 1

/** How the peers prove who they are, and what the IKE_SAs are made with. */
interface Suite {
  readonly auth: Auth
  readonly proposal: string
}

/** Read by both daemons. */
const configurationOf = ({ auth, proposal }: Suite): string => `
connections {
  peers {
    version = 2
    proposals = ${proposal}
    local { ${responderLines(auth).local}
      id = gateway.example }
    remote { ${responderLines(auth).remote}
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

/**
 * kernel-libipsec, with which charon needs no ESP of the kernel's, searches lists of all SAs and policies for each new
 * one. Further than this nobody would wait, and it would say nothing about charon.
 */
const PEER_ESTABLISHED_MAX = 5_000

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
  /** Null where only the responder itself could know it. */
  readonly liveBytesPerSa: number | null
}

/** A responder, an initiator of its own, and what came of their handshakes. */
class Pair<R extends Responder = Responder> {
  readonly name: string
  readonly responder: R
  readonly rows: Row[] = []
  readonly #initiator: Pinned<Order, Outcome>
  #established = 0
  #memory: Memory
  /** Of the row that is under way. */
  #begun = 0
  #outcomes: Outcome[] = []

  private constructor(name: string, responder: R, initiator: Pinned<Order, Outcome>, memory: Memory) {
    this.name = name
    this.responder = responder
    this.#initiator = initiator
    this.#memory = memory
  }

  static async start<R extends Responder>(
    owner: LabOwner,
    name: string,
    { auth, proposal }: Suite,
    start: (host: Host) => Promise<R>,
  ): Promise<Pair<R>> {
    const lab = new Lab(owner)
    const left = await lab.host('initiator')
    const right = await lab.host('responder')
    await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', `${RESPONDER}/24`)
    const responder = await start(right)
    const script = join(import.meta.dirname, 'initiator.ts')
    const words = [script, RESPONDER, proposal, ESP_PROPOSAL, PSK, '', auth]
    const initiator = new Pinned<Order, Outcome>(left, INITIATOR_CORE, words)
    await initiator.hear()
    return new Pair(name, responder, initiator, await responder.memory())
  }

  beginRow(): void {
    this.#begun = processorTimeOf(this.responder.pid)
    this.#outcomes = []
  }

  async shakeHands(handshakes: number): Promise<void> {
    this.#outcomes.push(await this.#initiator.tell({ handshakes, concurrency: CONCURRENCY }))
  }

  async endRow(mark: number): Promise<void> {
    const cpu = processorTimeOf(this.responder.pid) - this.#begun
    const memory = await this.responder.memory()
    const handshakes = mark - this.#established
    const sum = (of: (outcome: Outcome) => number): number => this.#outcomes.reduce((total, outcome) => total + of(outcome), 0)
    this.rows.push({
      established: mark,
      handshakes,
      failures: sum((outcome) => outcome.failed),
      retransmissions: sum((outcome) => outcome.retransmissions),
      cpuMicrosecondsPerHandshake: Math.round(cpu / handshakes),
      handshakesPerSecond: Math.round(sum((outcome) => outcome.succeeded) / sum((outcome) => outcome.seconds)),
      residentBytesPerSa: Math.round((memory.resident - this.#memory.resident) / handshakes),
      liveBytesPerSa:
        memory.live === null || this.#memory.live === null ? null : Math.round((memory.live - this.#memory.live) / handshakes),
    })
    this.#memory = memory
    this.#established = mark
  }
}

async function measure(
  count: number,
  peers: readonly string[],
  suite: Suite,
  profileDirectory: string | null,
  owner: LabOwner,
): Promise<readonly Pair[]> {
  const configuration = configurationOf(suite)
  const files = responderFiles(suite.auth, 'gateway.example')
  const espalier = await Pair.start(owner, 'espalier', suite, (host) =>
    EspalierResponder.start(host, RESPONDER_CORE, configuration, files),
  )
  const pairs: Pair[] = [espalier]
  for (const name of peers) {
    const tables = PEERS.get(name) ?? null
    pairs.push(
      await Pair.start(owner, name, suite, (host) => startCharonResponder(host, RESPONDER_CORE, configuration, tables, files)),
    )
  }
  let established = 0
  for (const mark of [...ROWS.filter((row) => row < count), count]) {
    const profile = mark === count ? profileDirectory : null
    const taking = mark > PEER_ESTABLISHED_MAX ? [espalier] : pairs
    if (profile !== null) await espalier.responder.beginProfile()
    for (const pair of taking) pair.beginRow()
    for (; established < mark; established += Math.min(TURN, mark - established)) {
      for (const pair of taking) await pair.shakeHands(Math.min(TURN, mark - established))
    }
    if (profile !== null) await espalier.responder.endProfile(join(profile, 'handshakes.cpuprofile'))
    for (const pair of taking) await pair.endRow(mark)
    if (profile !== null) await espalier.responder.writeHeap(join(profile, 'handshakes.heapsnapshot'))
  }
  return pairs
}

/** What a peer costs, in what espalier costs: above 1 espalier is the cheaper one. */
interface Ratio {
  readonly peer: string
  readonly established: number
  readonly cpu: number
  readonly resident: number
}

function ratiosOf([espalier, ...peers]: readonly Pair[]): readonly Ratio[] {
  return peers.flatMap((peer) =>
    peer.rows.map((row, i) => {
      const ours = espalier!.rows[i]!
      const hundredths = (ratio: number): number => Math.round(ratio * 100) / 100
      return {
        peer: peer.name,
        established: row.established,
        cpu: hundredths(row.cpuMicrosecondsPerHandshake / ours.cpuMicrosecondsPerHandshake),
        resident: hundredths(row.residentBytesPerSa / ours.residentBytesPerSa),
      }
    }),
  )
}

function table(pairs: readonly Pair[]): string {
  const head = ['', 'established', 'failed', 'sent again', 'CPU us each', 'handshakes/s', 'resident kB each', 'live kB each']
  const lines = new CliTable({
    head,
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  })
  const kilobytes = (bytes: number | null): string => (bytes === null ? '' : (bytes / 1000).toFixed(1))
  const ratios = ratiosOf(pairs)
  for (const [i, { established }] of pairs[0]!.rows.entries()) {
    for (const { name, rows } of pairs) {
      const row = rows[i]
      if (row === undefined) continue
      lines.push([
        name,
        row.established,
        row.failures,
        row.retransmissions,
        row.cpuMicrosecondsPerHandshake,
        row.handshakesPerSecond,
        kilobytes(row.residentBytesPerSa),
        kilobytes(row.liveBytesPerSa),
      ])
    }
    for (const ratio of ratios.filter((candidate) => candidate.established === established)) {
      lines.push([`${ratio.peer} / espalier`, '', '', '', ratio.cpu.toFixed(2), '', ratio.resident.toFixed(2), ''])
    }
  }
  return lines.toString()
}

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '5000' },
    peer: { type: 'string', multiple: true, default: [] },
    auth: { type: 'string', default: 'psk' },
    proposal: { type: 'string', default: IKE_PROPOSAL },
    json: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})
const count = Number(values.count)
if (!Number.isSafeInteger(count) || count < 1 || count > 100_000) throw new Error('--count is a number from 1 to 100000')
for (const peer of values.peer) {
  if (!PEERS.has(peer)) throw new Error(`--peer is one of ${[...PEERS.keys()].join(', ')}`)
}
const { auth, proposal } = values
if (!isAuth(auth)) throw new Error(`--auth is one of ${Object.keys(AUTHS).join(', ')}`)
if (values.profile !== undefined) await mkdir(values.profile, { recursive: true })
const owner = new Owner()
try {
  const pairs = await measure(count, values.peer, { auth, proposal }, values.profile ?? null, owner)
  const [espalier, ...peers] = pairs
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    auth,
    proposal,
    concurrency: CONCURRENCY,
  }
  const versions = peers.map((peer) => `, ${peer.name}: ${peer.responder.version}`).join('')
  process.stdout.write(
    values.json
      ? `${JSON.stringify(
          {
            ...machine,
            rows: espalier!.rows,
            peers: peers.map(({ name, responder: { version }, rows }) => ({ name, version, rows })),
            ratios: ratiosOf(pairs),
          },
          null,
          2,
        )}\n`
      : `${machine.cpu}, Node ${machine.node}${versions}; ${auth}, ${proposal}, ${CONCURRENCY} at once; each row since the one above\n${table(pairs)}\n`,
  )
} finally {
  await owner.end()
}
