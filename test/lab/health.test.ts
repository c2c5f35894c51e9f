/**
 * How packets fare in tunnels, asked of real kernels: how large they may be, before and after a narrow place on the way
 * was found; that ESP in the wrong form is noticed and answered in kind; and what looking after many CHILD_SAs costs.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'

import { openNetlinkKernel } from '../../src/edge/netlink.ts'
import { Books, type InstalledChild } from '../../src/kernel/books.ts'
import { installation, LEFT, RIGHT, traffic } from '../kernel/fixtures.ts'
import { Charon } from './support/charon.ts'
import { ADDRESS, couple, HOME } from './support/couple.ts'
import { Espalier } from './support/espalier.ts'
import { type Host, Lab } from './support/network.ts'
import { eventually, run } from './support/process.ts'
import { transferBothWays } from './support/transfer.ts'
import { xfrmStates } from './support/xfrm.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

/** What is looked at a few times a minute, by the clock of a machine that may stand still. */
const PATIENCE_MS = 120_000
/** Seconds, for a packet that gets through. */
const DELAY_MOST = 10

async function ask<Answer>(of: Espalier, ...args: string[]): Promise<Answer> {
  return JSON.parse(await run(process.execPath, [main, ...args, '--json', '--uri', of.uri])) as Answer
}

interface ListedChild {
  readonly 'name': string
  readonly 'encap': boolean
  readonly 'mtu'?: number
  readonly 'health': string
  readonly 'health-reason'?: string
}
type Listed = readonly { readonly 'name': string; readonly 'child-sas': readonly ListedChild[] }[]

async function childrenOf(espalier: Espalier): Promise<ReadonlyMap<string, ListedChild>> {
  const listed = await ask<Listed>(espalier, 'sas')
  return new Map(listed.flatMap(({ 'child-sas': children }) => children.map((child) => [child.name, child] as const)))
}

// -- MTU -----------------------------------------------------------------------------------------------------------

/** One network behind charon for each child; `null` is transport mode between the gateways. */
const SHAPES: readonly {
  readonly name: string
  readonly ike: 'bare' | 'udp' | 'ipv6'
  readonly esp: string
  readonly net: number | null
}[] = [
  { name: 'gcm', ike: 'bare', esp: 'aes128gcm16', net: 11 },
  { name: 'cbc', ike: 'bare', esp: 'aes256-sha256', net: 12 },
  { name: 'host', ike: 'bare', esp: 'aes128-sha1', net: null },
  { name: 'gcm-udp', ike: 'udp', esp: 'aes128gcm16', net: 13 },
  { name: 'cbc-udp', ike: 'udp', esp: 'aes128-sha512', net: 14 },
  { name: 'chacha-6', ike: 'ipv6', esp: 'chacha20poly1305', net: 15 },
]

const OUTSIDE = { espalier: { 4: '10.2.0.2', 6: '2001:db8:2::2' }, charon: { 4: '192.0.2.1', 6: '2001:db8:1::1' } } as const

function configuration(own: 'espalier' | 'charon'): string {
  const other = own === 'espalier' ? 'charon' : 'espalier'
  const selectors = (net: number): string => {
    const networks = { espalier: '10.20.0.0/24', charon: `10.10.${net}.0/24` }
    return `local_ts = ${networks[own]}\n remote_ts = ${networks[other]}`
  }
  const connections = (['bare', 'udp', 'ipv6'] as const).map((ike) => {
    const children = SHAPES.filter((shape) => shape.ike === ike).map(
      ({ name, esp, net }) => `${name} { esp_proposals = ${esp}\n ${net === null ? 'mode = transport' : selectors(net)} }`,
    )
    const family = ike === 'ipv6' ? 6 : 4
    return `
  ${ike} {
    version = 2
    proposals = aes128gcm16-prfsha256-x25519
    local_addrs = ${OUTSIDE[own][family]}
    remote_addrs = ${OUTSIDE[other][family]}
    ${ike === 'udp' ? 'encap = yes' : ''}
    local { auth = psk
      id = ${ike}.${own} }
    remote { auth = psk
      id = ${ike}.${other} }
    children {
      ${children.join('\n      ')}
    }
  }`
  })
  return `connections {${connections.join('')}\n}\nsecrets { ike-1 { secret = "the gardener keeps the key" } }\n`
}

/** The MTU that the kernel, or a gateway on the way, tells who sends a packet of so many octets; null: it tells none. */
async function toldMtu(host: Host, from: string, to: string, octets: number): Promise<number | null> {
  const args = ['-c', '1', '-W', '2', '-M', 'do', '-s', `${octets - 28}`, '-I', from, to]
  const { stdout, stderr } = await host.tryRun('ping', args)
  const told = /mtu ?= ?(\d+)/.exec(stderr + stdout)
  return told === null ? null : Number(told[1])
}

/** Whether an echo request of so many octets, not to be fragmented, is answered. */
async function passes(host: Host, from: string, to: string, octets: number, patience = 2): Promise<boolean> {
  const args = ['-c', '1', '-W', `${patience}`, '-M', 'do', '-s', `${octets - 28}`, '-I', from, to]
  return (await host.tryRun('ping', args)).status === 0
}

test('MTU: what list-sas says is what the kernel lets through, before and after a narrow place on the way was found', async (t) => {
  const lab = new Lab(t)
  const home = await lab.host('home')
  const gateway = await lab.router('gateway')
  const between = await lab.router('between')
  const far = await lab.router('far')
  const office = await lab.host('office')
  await lab.cable(home, 'uplink', '10.20.0.9/24', gateway, 'home', '10.20.0.1/24')
  await lab.cable(gateway, 'wan', ['10.2.0.2/24', '2001:db8:2::2/64'], between, 'left', ['10.2.0.1/24', '2001:db8:2::1/64'])
  await lab.cable(between, 'right', ['10.3.0.1/24', '2001:db8:3::1/64'], far, 'left', ['10.3.0.2/24', '2001:db8:3::2/64'])
  await lab.cable(far, 'right', ['192.0.2.2/24', '2001:db8:1::2/64'], office, 'wan', ['192.0.2.1/24', '2001:db8:1::1/64'])
  await office.stub(
    'nets',
    SHAPES.flatMap(({ net }) => (net === null ? [] : [`10.10.${net}.1/24`])),
  )
  await home.route('default', '10.20.0.1')
  await gateway.route('default', '10.2.0.1')
  await between.route('default', '10.3.0.2')
  await far.route('default', '10.3.0.1')
  await office.route('default', '192.0.2.2')
  await gateway.run('ip', ['-6', 'route', 'add', 'default', 'via', '2001:db8:2::1'])
  await between.run('ip', ['-6', 'route', 'add', 'default', 'via', '2001:db8:3::2'])
  await far.run('ip', ['-6', 'route', 'add', 'default', 'via', '2001:db8:3::1'])
  await office.run('ip', ['-6', 'route', 'add', 'default', 'via', '2001:db8:1::2'])
  await Charon.start(office, { configuration: configuration('charon') })
  const espalier = await Espalier.start(gateway, { configuration: configuration('espalier') })
  for (const { name } of SHAPES) await espalier.swanctl('--initiate', '--child', name)

  const wide = await childrenOf(espalier)
  assert.equal(wide.size, SHAPES.length)
  for (const { name, net } of SHAPES) {
    const [from, to] = net === null ? ['10.2.0.2', '192.0.2.1'] : ['10.20.0.1', `10.10.${net}.1`]
    const { mtu } = wide.get(name)!
    t.diagnostic(`${name}: ${mtu} octets of 1500`)
    assert.equal(mtu, await toldMtu(gateway, from, to, 3000), name)
    assert.ok(await passes(gateway, from, to, mtu, DELAY_MOST), `${name}: ${mtu} octets get through`)
    assert.ok(!(await passes(gateway, from, to, mtu + 1)), `${name}: ${mtu + 1} octets do not`)
  }
  assert.deepEqual(
    SHAPES.map(({ name }) => wide.get(name)!.encap),
    SHAPES.map(({ ike }) => ike === 'udp'),
  )

  // From a host behind the gateway, 1500 octets are too many, and it is told at once; then the way turns out to be narrower.
  for (const name of ['gcm', 'gcm-udp']) {
    const to = `10.10.${SHAPES.find((shape) => shape.name === name)!.net}.1`
    assert.equal(await toldMtu(home, '10.20.0.9', to, 1500), wide.get(name)!.mtu)
  }
  await between.run('ip', ['link', 'set', 'right', 'mtu', '1400'])
  await far.run('ip', ['link', 'set', 'left', 'mtu', '1400'])
  for (const [name, narrow] of [
    ['gcm', 1346],
    ['gcm-udp', 1338],
  ] as const) {
    const to = `10.10.${SHAPES.find((shape) => shape.name === name)!.net}.1`
    const { mtu } = wide.get(name)!
    // The first is lost on the way, and the router says so to the gateway.
    assert.ok(!(await passes(home, '10.20.0.9', to, mtu!)))
    const what = `the host behind the gateway learns of the narrow place by ${name}`
    const learnt = await eventually(what, async () => (await toldMtu(home, '10.20.0.9', to, mtu!)) ?? undefined)
    assert.equal(learnt, narrow)
    assert.ok(await passes(home, '10.20.0.9', to, narrow, DELAY_MOST))
    // Each is to find it out by itself.
    if (name === 'gcm') await gateway.run('ip', ['route', 'flush', 'cache'])
    // TCP takes as little as it gets, either way.
    await transferBothWays({ from: home, source: '10.20.0.9', to: office, destination: to })
  }
  // It is asked again after a while only.
  let last: ReadonlyMap<string, ListedChild> = wide
  const shown = await eventually(
    () => `list-sas has what the kernel has learnt, but it has ${JSON.stringify([...last.values()])}`,
    async () => {
      last = await childrenOf(espalier)
      return last.get('gcm')!.mtu === 1346 && last.get('gcm-udp')!.mtu === 1338 ? last : undefined
    },
    PATIENCE_MS,
  )
  t.diagnostic(`with 1400 outside: ${SHAPES.map(({ name }) => `${name} ${shown.get(name)!.mtu}`).join(', ')}`)
})

// -- health --------------------------------------------------------------------------------------------------------

/**
 * Has a kernel send ESP in UDP, and take it in so, whatever its key daemon thinks: the states anew with the same keys.
 * Numbers begin at 1 again, so it is to be done before packets have flown.
 */
async function putIntoUdp(host: Host): Promise<void> {
  const listing = await host.run('ip', ['xfrm', 'state'])
  const commands = listing.split(/\n(?=src )/).flatMap((text) => {
    const found = /^src (?<src>\S+) dst (?<dst>\S+)\s+proto esp spi (?<spi>0x[0-9a-f]+) reqid (?<reqid>\d+)/.exec(text)?.groups
    const aead = /aead (\S+) (0x[0-9a-f]+) (\d+)/.exec(text)
    if (found === undefined || aead === null || text.includes('encap')) return []
    const name = `src ${found['src']} dst ${found['dst']} proto esp spi ${found['spi']}`
    const rest = `mode tunnel reqid ${found['reqid']} replay-window 32 flag af-unspec`
    return [
      `xfrm state delete ${name}`,
      `xfrm state add ${name} ${rest} aead ${aead[1]} ${aead[2]} ${aead[3]} encap espinudp 4500 4500 0.0.0.0`,
    ]
  })
  assert.ok(commands.length > 0, listing.replaceAll(/0x[0-9a-f]{20,}/g, '(a key)'))
  // At once: a packet that finds no state has the kernel make one that waits for half a minute.
  await host.run('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n` })
}

test('edge cases 48 and 49, with real kernels: a peer that switches to UDP in mid-life is noticed by XfrmInStateMismatch, and gets UDP', async (t) => {
  const { hosts, charon, espalier } = await couple(t)
  await espalier.swanctl('--initiate', '--child', 'net')
  assert.equal(await hosts.espalier.ping(HOME.charon, HOME.espalier, 3), 3)
  assert.equal(await hosts.charon.ping(HOME.espalier, HOME.charon, 3), 3)
  // What a host behind the peer sends all the while.
  hosts.charon.start('ping', ['-q', '-i', '0.2', '-I', HOME.charon, HOME.espalier])
  hosts.espalier.start('ping', ['-q', '-i', '0.2', '-I', HOME.espalier, HOME.charon])
  await putIntoUdp(hosts.charon)

  const ill = await eventually(
    'it is noticed',
    () => espalier.events('health-changed').find(({ reason }) => reason === 'encap-mismatch'),
    PATIENCE_MS,
  )
  assert.match(
    ill.msg,
    /^CHILD_SA net\{1\} may not work: the kernel drops ESP that comes in UDP, for an SA that is bare, and nothing else comes in$/,
  )
  assert.match(await hosts.espalier.run('cat', ['/proc/net/xfrm_stat']), /^XfrmInStateMismatch\s+[1-9]/m)
  const repairing = await espalier.event('child-repairing')
  assert.equal(repairing['repair'], 'switched')
  await espalier.event('child-rekeyed')
  // charon makes what its own NAT detection says; a Cisco would go on with UDP.
  await eventually('charon has let go of the old one', async () =>
    (await xfrmStates(hosts.charon)).filter(({ spi }) => spi !== 0).length === 2 ? true : undefined,
  )
  await putIntoUdp(hosts.charon)
  const well = await eventually(
    'it works again',
    () => espalier.events('health-changed').find(({ health }) => health === 'good'),
    PATIENCE_MS,
  )
  assert.match(well.msg, / works again: packets come in$/)
  assert.equal(await hosts.espalier.ping(HOME.charon, HOME.espalier, 3), 3)
  assert.equal(espalier.events('child-repairing').length, 1)

  const child = (await childrenOf(espalier)).get('net')!
  assert.deepEqual([child.encap, child.health, child.mtu], [true, 'good', 1438])
  // swanctl prints what it knows, and leaves alone what it does not.
  assert.match(await espalier.swanctl('--list-sas'), /^ {2}net: #\d+, reqid \d+, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128/m)
  assert.match(await espalier.swanctl('--list-sas', '--raw'), / health=good health-time=\d+ mtu=1438\}/)
  const told = await run(process.execPath, [main, 'nat', '--uri', espalier.uri])
  t.diagnostic(told)
  assert.match(told, /^ {2}ESP +in UDP, as the peer was found to send it$/m)
  assert.match(told, new RegExp(`^ {2}peer +${ADDRESS.charon.replaceAll('.', '\\.')}:4500, no NAT: `, 'm'))
  await charon.stop()
})

// -- what it costs -------------------------------------------------------------------------------------------------

const MANY = 500

test(`looking after ${MANY} CHILD_SAs: what the questions to the kernel cost`, async (t) => {
  const kernel = await openNetlinkKernel({ onEvent: () => undefined })
  const books = new Books(kernel)
  t.after(async () => {
    await books.removeAll()
    await kernel.close()
  })
  const children: InstalledChild[] = []
  for (let i = 0; i < MANY; i++) {
    const inboundSpi = await books.allocateSpi(LEFT, RIGHT, 'tunnel')
    const remoteSelectors = [traffic(`10.${64 + (i >> 8)}.${i & 255}.0/24`)]
    children.push(
      await books.install(installation(inboundSpi, { outboundSpi: 0xc200_0000 + i, reqid: 1000 + i, remoteSelectors })),
    )
  }
  const lookAtAll = async (): Promise<void> => {
    for (let i = 0; i < MANY; i += 64) {
      const { usages } = await books.look(children.slice(i, i + 64), false)
      assert.ok(usages.every((usage) => usage !== null && 'in' in usage))
    }
  }
  // Warm before it is measured, as the bench does it.
  for (let i = 0; i < 5; i++) await lookAtAll()
  const cpu = process.cpuUsage()
  const from = performance.now()
  await lookAtAll()
  const wall = performance.now() - from
  const { user, system } = process.cpuUsage(cpu)
  const each = (user + system) / MANY
  t.diagnostic(
    `${each.toFixed(1)} µs of CPU each (${(wall / MANY).toFixed(3)} ms by the clock): of 20,000 once a minute, ${((each * 20_000) / 60e4).toFixed(2)} % of a core`,
  )
  const reading = performance.now()
  for (let i = 0; i < 20; i++) assert.ok(((await books.look([], true)).stateMismatches ?? -1) >= 0)
  t.diagnostic(`the counters of the network namespace: ${((performance.now() - reading) / 20).toFixed(3)} ms each time`)
})
