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
