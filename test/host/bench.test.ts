/**
 * That the bench works: a few handshakes with either responder, and figures that can be read. What they say is for
 * people (docs/bench.md).
 */
import { strict as assert } from 'node:assert'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { run } from '../lab/support/process.ts'

interface Row {
  readonly established: number
  readonly handshakes: number
  readonly failures: number
  readonly cpuMicrosecondsPerHandshake: number
  readonly residentBytesPerSa: number
}

const TUN = '/dev/net/tun'
const PROGRAM = join(import.meta.dirname, '../bench/handshakes.ts')

const skip = existsSync(TUN) ? false : `charon's own ESP needs ${TUN}`
test('scripts/bench handshakes: twenty with espalier, twenty with charon, and a ratio', { skip }, async () => {
  const output = await run(process.execPath, [PROGRAM, '--count', '20', '--peer', 'charon', '--json'], { timeoutMs: 100_000 })
  const { rows, peers, ratios } = JSON.parse(output) as {
    readonly rows: readonly Row[]
    readonly peers: readonly { readonly name: string; readonly version: string; readonly rows: readonly Row[] }[]
    readonly ratios: readonly { readonly peer: string; readonly established: number; readonly cpu: number }[]
  }
  const [charon] = peers
  assert.match(charon?.version ?? '', /strongSwan/)
  for (const [row, surplus] of [rows, charon!.rows]) {
    assert.equal(surplus, undefined)
    assert.deepEqual([row!.established, row!.handshakes, row!.failures], [20, 20, 0])
    assert.ok(row!.cpuMicrosecondsPerHandshake > 0 && Number.isFinite(row!.residentBytesPerSa))
  }
  assert.equal(ratios.length, 1)
  assert.deepEqual([ratios[0]!.peer, ratios[0]!.established], ['charon', 20])
  assert.ok(ratios[0]!.cpu > 0)
})

interface Spread {
  readonly count: number
  readonly median: number
  readonly worst: number
}

test('scripts/bench vici: twenty IKE_SAs listed while handshakes go on, five connections loaded', async () => {
  const options = ['--count', '20', '--connections', '5', '--listings', '2', '--json']
  const output = await run(process.execPath, [join(import.meta.dirname, '../bench/vici.ts'), ...options], { timeoutMs: 100_000 })
  const { listing, loadings } = JSON.parse(output) as {
    readonly listing: { readonly established: number; readonly peakBytes: number } & Record<
      'listingMilliseconds' | 'alone' | 'meanwhile',
      Spread
    >
    readonly loadings: readonly { readonly established: number; readonly connections: number; readonly milliseconds: number }[]
  }
  assert.ok(listing.established >= 20 && listing.peakBytes > 0)
  assert.equal(listing.listingMilliseconds.count, 2)
  for (const { median, worst } of [listing.listingMilliseconds, listing.alone]) assert.ok(median > 0 && median <= worst)
  assert.deepEqual(
    loadings.map(({ established, connections }) => [established, connections]),
    [
      [0, 5],
      [listing.established, 5],
    ],
  )
})

interface Cost {
  readonly name: string
  readonly exchanges: number
  readonly least: number
  readonly median: number
  readonly most: number
}

test(
  'scripts/bench life: ten IKE_SAs with espalier, ten with charon, checked and rekeyed by either side, and twenty idle ones',
  { skip },
  async () => {
    const program = join(import.meta.dirname, '../bench/life.ts')
    const options = [
      '--count',
      '10',
      '--rounds',
      '1',
      '--idle',
      '20',
      '--dpd-delay',
      '1',
      '--seconds',
      '3',
      '--peer',
      'charon',
      '--json',
    ]
    const { rows, idleness } = JSON.parse(await run(process.execPath, [program, ...options], { timeoutMs: 200_000 })) as {
      readonly rows: readonly { readonly what: string; readonly costs: readonly Cost[]; readonly ratios: readonly number[] }[]
      readonly idleness: {
        readonly ikeSas: number
        readonly probes: number
        readonly cpuPercent: number
        readonly residentBytes: number
      }
    }
    assert.deepEqual(
      rows.map(({ what }) => what.split(',')[0]),
      [
        'liveness check answered',
        'liveness check answered',
        'CHILD_SA rekey answered',
        'CHILD_SA rekey begun',
        'IKE_SA rekey answered',
        'IKE_SA rekey begun',
        'liveness check begun',
      ],
    )
    for (const { costs, ratios } of rows) {
      assert.deepEqual(
        costs.map(({ name }) => name),
        ['espalier', 'charon'],
      )
      for (const { exchanges, least, median, most } of costs)
        assert.ok(exchanges > 0 && 0 < least && least <= median && median <= most)
      assert.ok(ratios.length === 1 && ratios[0]! > 0)
    }
    assert.equal(idleness.ikeSas, 20)
    assert.ok(idleness.probes > 0 && idleness.cpuPercent > 0 && idleness.residentBytes > 0)
  },
)
