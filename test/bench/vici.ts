/**
 * What it costs to be looked at and told: `swanctl --list-sas` with thousands of IKE_SAs while handshakes go on, and
 * `swanctl --load-all` with hundreds of connections. An `espalier daemon` with the kernel in memory is on one core, an
 * initiator on another, where swanctl runs as well. scripts/bench runs this, docs/bench.md explains it.
 * Nothing is asserted: figures are for people, who know the machine.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import CliTable from 'cli-table3'

import { Lab, type Host } from '../lab/support/network.ts'
import { eventually, run, tryRun } from '../lab/support/process.ts'
import { startCharon } from './charon.ts'
import type { Order, Outcome } from './initiator.ts'
import { Owner, Pinned } from './pinned.ts'
import { forgetPeakOf, peakBytesOf, processorTimeOf, residentBytesOf } from './process.ts'

const IKE_PROPOSAL = 'aes128-sha256-x25519'
const ESP_PROPOSAL = 'aes128-sha256'
const PSK = 'what both sides of the bench know'
const RESPONDER = '192.0.2.2'
const RESPONDER_CORE = 0
const OTHER_CORE = availableParallelism() - 1
const CONCURRENCY = 20
/** Handshakes, one after the other, before each listing, while nobody looks. */
const ALONE = 50
/** As many are begun at a time while somebody looks. */
const HANDFUL = 4
const COMMAND_TIMEOUT_MS = 600_000
const MAIN = join(import.meta.dirname, '../../src/main.ts')

const PEERS = `
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
  }`
const SECRET = `ike-1 { secret = "${PSK}" }`
const fileOf = (connections: string, secrets: string): string => `connections {${connections}\n}\nsecrets {\n${secrets}\n}\n`

/** A branch office each, with a secret of its own. */
function branches(count: number): { readonly connections: string; readonly secrets: string } {
  const numbers = Array.from({ length: count }, (_, i) => i)
  const connections = numbers.map(
    (i) => `
  branch-${i} {
    version = 2
    remote_addrs = 198.51.${100 + (i >> 8)}.${i & 0xff}
    proposals = ${IKE_PROPOSAL}
    local { auth = psk
      id = gateway.example }
    remote { auth = psk
      id = branch-${i}.example }
    children { net {
      esp_proposals = ${ESP_PROPOSAL}
      local_ts = 192.168.0.0/16
      remote_ts = 172.16.${i >> 8}.${i & 0xff}/32
    } }
  }`,
  )
  const secrets = numbers.map((i) => `ike-branch-${i} { id-1 = branch-${i}.example\n secret = "of branch ${i}" }`)
  return { connections: connections.join(''), secrets: secrets.join('\n') }
}

// -- figures -------------------------------------------------------------------------------------------------------

/** Milliseconds. */
interface Spread {
  readonly count: number
  readonly median: number
  readonly p99: number
  readonly worst: number
}

interface Listing {
  readonly established: number
  readonly listings: number
  /** Of the whole command. */
  readonly listingMilliseconds: Spread
  /** Of the daemon, for a listing while nothing else goes on. */
  readonly processorMilliseconds: number
  /** What it printed each time. */
  readonly printedBytes: number
  readonly residentBytes: number
  readonly peakBytes: number
  /** How long a handshake takes. */
  readonly alone: Spread
  readonly meanwhile: Spread
}

interface Loading {
  readonly who: string
  readonly established: number
  readonly connections: number
  /** Of the whole command: the first time, and once more with nothing changed. */
  readonly milliseconds: number
  readonly againMilliseconds: number
  /** Of the daemon, the first time. */
  readonly processorMilliseconds: number
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 100) / 100
  return { count: sorted.length, median: at(0.5), p99: at(0.99), worst: at(1) }
}

// -- who is asked --------------------------------------------------------------------------------------------------

interface Asked {
  readonly pid: number
  readonly uri: string
}

async function startEspalier(host: Host, configuration: string): Promise<Asked> {
  const directory = join(await host.lab.directory(), host.name)
  await mkdir(directory, { recursive: true })
  const uri = `unix://${directory}/espalier.vici`
  const environment = { STRONGSWAN_CONF: join(directory, 'strongswan.conf'), SWANCTL_DIR: directory }
  await writeFile(join(directory, 'swanctl.conf'), configuration)
  // Cookies are another exchange, which a stranger causes and a peer pays for.
  const settings = `cookie_threshold = 0\n cookie_threshold_ip = 0\n dos_protection = no\n plugins { vici { socket = ${uri}\n } }`
  await writeFile(environment.STRONGSWAN_CONF, `charon {\n ${settings}\n}\n`)
  const pinned = ['--cpu-list', String(RESPONDER_CORE), process.execPath, MAIN]
  const daemon = host.start('taskset', [...pinned, 'daemon', '--kernel', 'memory', '--log-level', 'warn'], environment)
  // Thousands of tunnels are not taken down one by one for nobody.
  host.lab.atEnd(() => daemon.stop('SIGKILL'))
  await eventually('the control socket', async () => {
    if (!daemon.running) throw new Error(`espalier ended: ${daemon.lines.join('\n')}`)
    return (await tryRun('swanctl', ['--stats', '--uri', uri])).status === 0 ? true : undefined
  })
  return { pid: daemon.pid, uri }
}

/** swanctl where the initiator is. Returns its time in milliseconds. */
async function swanctl(directory: string, uri: string, ...args: string[]): Promise<number> {
  const begun = performance.now()
  const command = `exec taskset --cpu-list ${OTHER_CORE} swanctl "$@" >"$OUTPUT"`
  const env = { SWANCTL_DIR: directory, OUTPUT: join(directory, 'output') }
  await run('sh', ['-c', command, 'sh', ...args, '--uri', uri], { env, timeoutMs: COMMAND_TIMEOUT_MS })
  return performance.now() - begun
}

/** What swanctl has for a directory, with its configuration. */
async function clientDirectory(host: Host, name: string, configuration: string): Promise<string> {
  const directory = join(await host.lab.directory(), `swanctl-${name}`)
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, 'swanctl.conf'), configuration)
  return directory
}

// -- measuring -----------------------------------------------------------------------------------------------------

async function measureListing(
  host: Host,
  asked: Asked,
  initiator: Pinned<Order, Outcome>,
  count: number,
  listings: number,
): Promise<Listing> {
  await initiator.tell({ handshakes: count, concurrency: CONCURRENCY })
  const directory = await clientDirectory(host, 'lists', '')
  // What is compiled when it is used for the first time is compiled now.
  await swanctl(directory, asked.uri, '--list-sas')
  const before = processorTimeOf(asked.pid)
  for (let i = 0; i < listings; i++) await swanctl(directory, asked.uri, '--list-sas')
  const processor = (processorTimeOf(asked.pid) - before) / listings

  const residentBytes = residentBytesOf(asked.pid)
  forgetPeakOf(asked.pid)
  const times: number[] = []
  const alone: number[] = []
  const meanwhile: number[] = []
  // In turns, so that both meet the same neighbours on the machine.
  for (let i = 0; i < listings; i++) {
    alone.push(...(await initiator.tell({ handshakes: ALONE, concurrency: 1 })).milliseconds)
    const over = new AbortController()
    const listing = swanctl(directory, asked.uri, '--list-sas').finally(() => over.abort())
    while (!over.signal.aborted) {
      const { milliseconds } = await initiator.tell({ handshakes: HANDFUL, concurrency: 1 })
      // Those that went on when it was over are not counted.
      if (!over.signal.aborted) meanwhile.push(...milliseconds)
    }
    times.push(await listing)
  }
  const printed = await readFile(join(directory, 'output'), 'utf8')
  return {
    established: printed.match(/^peers: #/gm)?.length ?? 0,
    listings,
    listingMilliseconds: spreadOf(times),
    processorMilliseconds: Math.round(processor / 1000),
    printedBytes: printed.length,
    residentBytes,
    peakBytes: peakBytesOf(asked.pid),
    alone: spreadOf(alone),
    meanwhile: spreadOf(meanwhile),
  }
}

async function measureLoading(host: Host, who: string, asked: Asked, established: number, connections: number): Promise<Loading> {
  const more = branches(connections)
  const directory = await clientDirectory(host, who, fileOf(PEERS + more.connections, `${SECRET}\n${more.secrets}`))
  const before = processorTimeOf(asked.pid)
  const first = await swanctl(directory, asked.uri, '--load-all', '--noprompt')
  const processor = processorTimeOf(asked.pid) - before
  const printed = await readFile(join(directory, 'output'), 'utf8')
  if (!printed.includes(`successfully loaded ${connections + 1} connections`)) throw new Error(`${who}: ${printed}`)
  const again = await swanctl(directory, asked.uri, '--load-all', '--noprompt')
  return {
    who,
    established,
    connections,
    milliseconds: Math.round(first),
    againMilliseconds: Math.round(again),
    processorMilliseconds: Math.round(processor / 1000),
  }
}

// -- telling -------------------------------------------------------------------------------------------------------

function tableOf(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const table = new CliTable({
    head: [...head],
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  })
  for (const row of rows) table.push([...row])
  return table.toString()
}

function told(listing: Listing, loadings: readonly Loading[]): string {
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
  const row = (name: string, { count, median, p99, worst }: Spread): (string | number)[] => [name, count, median, p99, worst]
  return [
    tableOf(
      ['milliseconds', 'measured', 'median', 'p99', 'worst'],
      [
        row(`swanctl --list-sas, ${listing.established} IKE_SAs`, listing.listingMilliseconds),
        row('handshake, nobody looks', listing.alone),
        row('handshake, listing meanwhile', listing.meanwhile),
      ],
    ),
    `a listing takes ${listing.processorMilliseconds} ms of the daemon's processor time; ` +
      `resident before ${megabytes(listing.residentBytes)}, at most ${megabytes(listing.peakBytes)}; ${megabytes(listing.printedBytes)} printed each time`,
    tableOf(
      ['swanctl --load-all', 'established', 'connections', 'ms', 'again ms', "daemon's CPU ms"],
      loadings.map((loading) => [
        loading.who,
        loading.established,
        loading.connections,
        loading.milliseconds,
        loading.againMilliseconds,
        loading.processorMilliseconds,
      ]),
    ),
  ].join('\n')
}

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '5000' },
    connections: { type: 'string', default: '200' },
    listings: { type: 'string', default: '10' },
    peer: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
function whole(name: 'count' | 'connections' | 'listings', most: number): number {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < 1 || number > most) throw new Error(`--${name} is a number from 1 to ${most}`)
  return number
}
const count = whole('count', 50_000)
const connections = whole('connections', 10_000)
const listings = whole('listings', 1000)
if (values.peer !== undefined && values.peer !== 'charon') throw new Error('--peer is charon')

const owner = new Owner()
try {
  const lab = new Lab(owner)
  const left = await lab.host('initiator')
  const right = await lab.host('responder')
  await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', `${RESPONDER}/24`)
  const script = join(import.meta.dirname, 'initiator.ts')
  const initiator = new Pinned<Order, Outcome>(left, OTHER_CORE, [script, RESPONDER, IKE_PROPOSAL, ESP_PROPOSAL, PSK])
  await initiator.hear()
  const espalier = await startEspalier(right, fileOf(PEERS, SECRET))

  const loadings = [
    await measureLoading(right, 'espalier, just started', await startEspalier(await lab.host('idle'), ''), 0, connections),
  ]
  if (values.peer === 'charon') {
    const host = await lab.host('charon')
    const charon = await startCharon(host, RESPONDER_CORE, '', null)
    loadings.push(await measureLoading(host, charon.version, charon, 0, connections))
  }
  const listing = await measureListing(right, espalier, initiator, count, listings)
  loadings.push(await measureLoading(right, 'espalier', espalier, listing.established, connections))
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', node: process.version }
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ ...machine, listing, loadings }, null, 2)}\n`
      : `${machine.cpu}, Node ${machine.node}\n${told(listing, loadings)}\n`,
  )
} finally {
  await owner.end()
}
