/**
 * A stranger floods both sockets of a running daemon: it goes on serving its peers, its log stays short, and what the
 * flood made it keep for a while, it lets go.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { Lab, type Host } from '../lab/support/network.ts'
import { eventually, type Daemon } from '../lab/support/process.ts'

const sender = join(import.meta.dirname, 'flood-sender.ts')
const GATEWAY = '192.0.2.2'
/** By then some 100 MB were sent. */
const EVERY_LENGTH = /^every length$/
/** Both floods have four times as many; a slow reader loses some. */
const DATAGRAMS_LEAST = 18_000
/** A daemon that kept half of a flood would have grown by more. */
const GROWTH_MAX_KB = 24_000
/** A line for each reason to drop something, every ten seconds; a few for each of the handful of half-open IKE_SAs. */
const LINES_MAX = 300

const connection = (own: string, other: string, more: string): string => `
connections { c {
  local { auth = psk
    id = ${own} }
  remote { auth = psk
    id = ${other} }
  ${more}
} }
secrets { ike-1 { secret = "flooded" } }
`
const GATEWAY_CONFIGURATION = connection(
  'gateway.example',
  'client.example',
  'children { net { local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16 } }',
)
const CLIENT_CONFIGURATION = connection(
  'client.example',
  'gateway.example',
  `remote_addrs = ${GATEWAY}
  children { net { local_ts = 10.10.1.0/24\n remote_ts = 10.20.0.0/24\n start_action = start } }`,
)

function residentKilobytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])
}

/** Datagrams that came as far as a UDP socket, for which the IP stack has put the fragments together. */
async function received(host: Host): Promise<number> {
  const [names, numbers] = (await host.run('cat', ['/proc/net/snmp']))
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '))
  return Number(numbers![names!.indexOf('InDatagrams')])
}

async function flood(stranger: Host): Promise<Daemon> {
  const flood = stranger.start(process.execPath, [sender, GATEWAY])
  await flood.waitFor(/^sent 2000$/)
  return flood
}

test('a flood of junk and of forged requests keeps no peer out, fills no log and no memory', async (t) => {
  const lab = new Lab(t)
  const [client, stranger, gateway] = [await lab.host('client'), await lab.host('stranger'), await lab.host('gateway')]
  await lab.network('wire', [
    [client, '192.0.2.1/24'],
    [gateway, `${GATEWAY}/24`],
    [stranger, '192.0.2.66/24'],
  ])
  const settings = 'half_open_timeout = 2'
  const flooded = await Espalier.start(gateway, { kernel: 'memory', configuration: GATEWAY_CONFIGURATION, settings })

  const first = await flood(stranger)
  const peer = await Espalier.start(client, { kernel: 'memory', configuration: CLIENT_CONFIGURATION })
  await peer.event('child-established')
  assert.ok(first.running, 'the handshake was during the flood')
  await first.waitFor(EVERY_LENGTH)
  await first.stop()

  // The first one warmed it up: code was compiled, the heap has the size it likes.
  const before = residentKilobytes(flooded.daemon.pid)
  const second = await flood(stranger)
  await second.waitFor(EVERY_LENGTH)
  await second.stop()
  await eventually('the memory of the flood is given back', () => {
    const grown = residentKilobytes(flooded.daemon.pid) - before
    return grown <= GROWTH_MAX_KB ? true : undefined
  })

  t.diagnostic(
    `${await received(gateway)} datagrams, grown by ${residentKilobytes(flooded.daemon.pid) - before} kB, ${flooded.daemon.lines.length} lines`,
  )
  // It was no flood that passed unseen.
  assert.ok((await received(gateway)) > DATAGRAMS_LEAST, 'the flood arrived')
  const reasons = new Set(flooded.events('datagram-dropped').map((line) => line['reason']))
  for (const reason of ['not-ike', 'malformed', 'unknown-spi'])
    assert.ok(reasons.has(reason), `dropped for: ${[...reasons].join(' ')}`)
  assert.ok(flooded.events('cookie-demanded').length > 0, 'forged requests were asked for cookies')
  assert.deepEqual(flooded.events('broken'), [])
  assert.ok(flooded.daemon.lines.length <= LINES_MAX, `${flooded.daemon.lines.length} lines`)

  await peer.stop()
  assert.match((await flooded.event('ike-closed')).msg, /./)
  await flooded.stop()
  assert.equal(peer.daemon.status, 0)
  assert.equal(flooded.daemon.status, 0)
})
