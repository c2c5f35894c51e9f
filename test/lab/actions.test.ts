/**
 * What begins and ends by itself, with strongSwan's charon at the other end: tunnels that traffic asks for, tunnels whose
 * peer died, was cut off or closed them, whoever began them; tunnels that nobody uses; and what shunts let pass or drop.
 *
 *   charon 192.0.2.1 ──── 192.0.2.2 espalier
 *
 * Behind charon is 10.10.1.0/24, behind espalier 10.20.0.0/24.
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { comesTo } from './support/listed.ts'
import { type Host, Lab } from './support/network.ts'
import { eventually } from './support/process.ts'
import { countWire, takeWire } from './support/wire.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const ADDRESS = { charon: '192.0.2.1', espalier: '192.0.2.2' }
const HOME = { charon: '10.10.1.1', espalier: '10.20.0.1' }
const NETWORK = { charon: '10.10.1.0/24', espalier: '10.20.0.0/24' }
/** A peer that is gone is given up after 0.5 + 0.5 * 1.8 + ... = 6 s. */
const SETTINGS = 'retransmit_timeout = 0.5\nretransmit_tries = 4\n'

/** Nothing that comes in from the other one is heard. */
const CUT = `
table inet cut {
  chain arriving { type filter hook prerouting priority raw; iifname "wan" drop; }
}`

const PEERS = ['espalier', 'charon'] as const
type PeerName = (typeof PEERS)[number]

interface Two {
  readonly hosts: Readonly<Record<PeerName, Host>>
  startCharon(child?: string, ike?: string): Promise<Charon>
  startEspalier(child?: string, ike?: string, moreChildren?: string): Promise<Espalier>
}

async function two(t: TestContext): Promise<Two> {
  const lab = new Lab(t)
  const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  await lab.cable(hosts.charon, 'wan', `${ADDRESS.charon}/24`, hosts.espalier, 'wan', `${ADDRESS.espalier}/24`)
  for (const peer of ['charon', 'espalier'] as const) {
    await hosts[peer].stub('home', `${HOME[peer]}/24`)
    const other = peer === 'charon' ? 'espalier' : 'charon'
    await hosts[peer].route(NETWORK[other], ADDRESS[other])
  }
  return {
    hosts,
    startCharon: (child = '', ike = '') =>
      Charon.start(hosts.charon, { configuration: configuration('charon', child, ike), settings: SETTINGS }),
    startEspalier: (child = '', ike = '', moreChildren = '') =>
      Espalier.start(hosts.espalier, { configuration: configuration('espalier', child, ike, moreChildren), settings: SETTINGS }),
  }
}

function configuration(own: PeerName, child: string, ike: string, moreChildren = ''): string {
  const other = own === 'charon' ? 'espalier' : 'charon'
  return `
connections {
  peer {
    version = 2
    local_addrs = ${ADDRESS[own]}
    remote_addrs = ${ADDRESS[other]}
    ${ike}
    local {
      auth = psk
      id = ${own}.example
    }
    remote {
      auth = psk
      id = ${other}.example
    }
    children {
      net {
        local_ts = ${NETWORK[own]}
        remote_ts = ${NETWORK[other]}
        esp_proposals = aes128gcm16
        ${child}
      }
      ${moreChildren}
    }
  }
}
secrets {
  ike-1 {
    secret = "the gardener keeps the key"
  }
}
`
}

async function pings(from: Host, to: string, source: string, patience = 1): Promise<boolean> {
  return (await from.ping(to, source, 1, { patience })) > 0
}

/** The flow of somebody who goes on trying; through the tunnel, for without one pings would get through in the clear. */
async function works({ hosts }: Two, from: PeerName = 'espalier'): Promise<void> {
  const other = from === 'charon' ? 'espalier' : 'charon'
  let seen = {}
  await eventually(
    () => `a ping from behind ${from} gets through: ${JSON.stringify(seen)}`,
    async () => {
      const isAnswered = await pings(hosts[from], HOME[other], HOME[from])
      const states = await carrying(hosts.espalier)
      seen = { isAnswered, states }
      return isAnswered && states === 2 ? true : undefined
    },
  )
}

async function directions(host: Host): Promise<string[]> {
  return (await xfrmPolicies(host)).map(({ direction }) => direction).toSorted()
}

/** States that carry packets; those that wait for an answer have no SPI. */
async function carrying(host: Host): Promise<number> {
  return (await xfrmStates(host)).filter(({ spi }) => spi !== 0).length
}

async function endsEmpty(espalier: Espalier): Promise<void> {
  await espalier.stop()
  assert.deepEqual(await xfrmPolicies(espalier.host), [], 'no policy is left')
  assert.equal(await carrying(espalier.host), 0, 'no state is left')
}

test('a trap brings the tunnel up for the packet that meets it, again and again, and holds back what has none', async (t) => {
  const peers = await two(t)
  const espalier = await peers.startEspalier('start_action = trap')
  await espalier.event('policies-changed')
  assert.deepEqual(await directions(espalier.host), ['fwd', 'in', 'out'])
  // Nobody is there yet: nothing gets out in the clear.
  await countWire(espalier.host, 'wan')
  assert.equal(await pings(peers.hosts.espalier, HOME.charon, HOME.espalier), false)
  const charon = await peers.startCharon()
  await works(peers)
  assert.deepEqual(await directions(espalier.host), ['fwd', 'in', 'out'])
  const first = (await xfrmStates(espalier.host)).find(({ source, spi }) => source === ADDRESS.espalier && spi !== 0)
  assert.equal((await xfrmStates(espalier.host)).filter(({ spi }) => spi === 0).length, 0, 'the state that waited is answered')
  // The peer takes it away: the trap is there at once, and the next packet brings it back.
  await charon.swanctl('--terminate', '--ike', 'peer')
  await eventually('the tunnel is gone', async () => ((await carrying(espalier.host)) === 0 ? true : undefined))
  assert.deepEqual(await directions(espalier.host), ['fwd', 'in', 'out'])
  await works(peers)
  const second = (await xfrmStates(espalier.host)).find(({ source, spi }) => source === ADDRESS.espalier && spi !== 0)
  assert.notEqual(first?.spi, second?.spi)
  assert.equal(first?.reqid, second?.reqid)
  assert.equal((await takeWire(espalier.host)).clear.packets, 0, 'nothing left in the clear')
  const listed = await espalier.swanctl('--list-pols')
  assert.match(listed, /peer\/net, TUNNEL\s+local: {2}10\.20\.0\.0\/24\s+remote: 10\.10\.1\.0\/24/)
  await endsEmpty(espalier)
})

test("charon's trap gets its tunnel from espalier, for the packet that asked", async (t) => {
  const peers = await two(t)
  const espalier = await peers.startEspalier()
  await peers.startCharon('start_action = trap')
  await works(peers, 'charon')
  await endsEmpty(espalier)
})

for (const initiator of PEERS) {
  test(`${initiator} begins, charon is killed: it is given up, and dpd_action = restart brings the tunnel back when it is there again`, async (t) => {
    const peers = await two(t)
    const charon = await peers.startCharon()
    const espalier = await peers.startEspalier('dpd_action = restart', 'dpd_delay = 2s\nkeyingtries = 0')
    await { charon, espalier }[initiator].swanctl('--initiate', '--child', 'net')
    await works(peers)
    await charon.kill()
    await eventually('espalier tries again', () =>
      Promise.resolve(espalier.events('child-restarting').length > 0 ? true : undefined),
    )
    assert.match(String(espalier.events('child-restarting')[0]?.msg), /^restarting CHILD_SA net$/)
    assert.ok(espalier.events('liveness-checked').length > 0)
    assert.equal(await carrying(espalier.host), 0)
    // As after a power failure.
    await peers.hosts.charon.run('ip', ['xfrm', 'state', 'flush'])
    await peers.hosts.charon.run('ip', ['xfrm', 'policy', 'flush'])
    // Nobody is to reach it before it has its connections: its answer would be NO_PROPOSAL_CHOSEN, and that is final.
    await peers.hosts.charon.run('nft', ['-f', '-'], { input: CUT })
    await peers.startCharon()
    await peers.hosts.charon.run('nft', ['delete', 'table', 'inet', 'cut'])
    await works(peers)
    await endsEmpty(espalier)
  })

  test(`${initiator} begins, both are cut off: each gives the other up; dpd_action = trap waits for traffic`, async (t) => {
    const peers = await two(t)
    const charon = await peers.startCharon('dpd_action = trap', 'dpd_delay = 2s')
    const espalier = await peers.startEspalier('dpd_action = trap', 'dpd_delay = 2s')
    await { charon, espalier }[initiator].swanctl('--initiate', '--child', 'net')
    await works(peers)
    // Somewhere on the way: with MOBIKE, who has no route itself would wait for one.
    for (const host of Object.values(peers.hosts)) await host.run('nft', ['-f', '-'], { input: CUT })
    for (const host of [peers.hosts.espalier, peers.hosts.charon])
      await eventually(
        `the tunnel is given up at ${host.name}`,
        async () => ((await carrying(host)) === 0 ? true : undefined),
        60_000,
      )
    await eventually('the trap is set', async () => ((await directions(espalier.host)).length === 3 ? true : undefined))
    assert.equal(await pings(peers.hosts.espalier, HOME.charon, HOME.espalier), false)
    for (const host of Object.values(peers.hosts)) await host.run('nft', ['delete', 'table', 'inet', 'cut'])
    await works(peers)
    assert.match(await charon.log(), /giving up after 4 retransmits/)
    await endsEmpty(espalier)
  })

  test(`${initiator} begins; close_action: what one closes waits for traffic at the other, or is made again by it`, async (t) => {
    const peers = await two(t)
    const charon = await peers.startCharon()
    const espalier = await peers.startEspalier('close_action = trap')
    const daemons = { charon, espalier }
    const begins = (): Promise<string> => daemons[initiator].swanctl('--initiate', '--child', 'net')
    await begins()
    await works(peers)
    await charon.swanctl('--terminate', '--child', 'net')
    await eventually('it is gone', async () => ((await carrying(espalier.host)) === 0 ? true : undefined))
    assert.deepEqual(await directions(espalier.host), ['fwd', 'in', 'out'])
    await works(peers)

    await espalier.swanctl('--terminate', '--ike', 'peer')
    for (const name of PEERS) {
      await daemons[name].configure(configuration(name, 'close_action = start', ''))
      await daemons[name].swanctl('--load-all', '--noprompt')
      await comesTo(daemons[name], 0, 0)
    }
    await begins()
    await works(peers)
    const established = { ike: espalier.events('ike-established').length, child: espalier.events('child-established').length }
    for (const [index, name] of PEERS.entries()) {
      await daemons[name].swanctl('--terminate', '--child', 'net')
      await eventually('it is made again', () =>
        Promise.resolve(espalier.events('child-established').length === established.child + index + 1 ? true : undefined),
      )
      await works(peers)
    }
    assert.equal(espalier.events('ike-established').length, established.ike)
    await endsEmpty(espalier)
  })

  test(`${initiator} begins; inactivity: who has it closes the CHILD_SA when nobody uses it any more, and the IKE_SA stays`, async (t) => {
    const peers = await two(t)
    const charon = await peers.startCharon()
    const espalier = await peers.startEspalier()
    const daemons = { charon, espalier }
    for (const watcher of PEERS) {
      for (const name of PEERS) {
        await daemons[name].configure(configuration(name, name === watcher ? 'inactivity = 6s' : '', ''))
        await daemons[name].swanctl('--load-all', '--noprompt')
      }
      await daemons[initiator].swanctl('--initiate', '--child', 'net')
      const spis = async (): Promise<Set<number>> => new Set((await xfrmStates(espalier.host)).map(({ spi }) => spi))
      const before = await spis()
      // Longer than it may be idle, and never idle for as long, even if the machine stands still for a few seconds.
      assert.equal(await peers.hosts.espalier.ping(HOME.charon, HOME.espalier, 16, { interval: 0.5 }), 16)
      assert.deepEqual(await spis(), before)
      assert.deepEqual(espalier.events('child-idle').length, watcher === 'charon' ? 1 : 0)
      for (const name of PEERS) await comesTo(daemons[name], 1, 0)
      for (const name of PEERS)
        await eventually(`no state is left at ${name}`, async () =>
          (await xfrmStates(peers.hosts[name])).length === 0 ? true : undefined,
        )
      assert.equal(espalier.events('child-idle').length, 1, 'and once')
      await espalier.swanctl('--terminate', '--ike', 'peer')
      for (const name of PEERS) await comesTo(daemons[name], 0, 0)
    }
    assert.match(await charon.log(), /deleting CHILD_SA after \d+ seconds of inactivity/)
    await endsEmpty(espalier)
  })
}

test('shunts: the rest of the world is dropped, the neighbours pass beside a trap for everything', async (t) => {
  const peers = await two(t)
  await peers.startCharon()
  const espalier = await peers.startEspalier(
    'start_action = start',
    '',
    `lan {
        mode = pass
        local_ts = 192.0.2.0/24
        remote_ts = 192.0.2.0/24
        start_action = trap
      }
      world {
        local_ts = 192.0.2.2
        remote_ts = 0.0.0.0/0
        start_action = none
      }
      rest {
        mode = drop
        remote_ts = 10.0.0.0/8
      }`,
  )
  await works(peers)
  const espalierHost = peers.hosts.espalier
  await espalierHost.route('10.99.0.0/16', ADDRESS.charon)
  const objection = async (): Promise<string> => {
    const { stdout, stderr } = await espalierHost.tryRun('ping', ['-c', '1', '-W', '1', '10.99.0.1'])
    return stdout + stderr
  }
  assert.doesNotMatch(await objection(), /not permitted/)
  await espalier.swanctl('--install', '--child', 'rest')
  assert.match(await objection(), /not permitted/)
  await works(peers)
  await espalier.swanctl('--install', '--child', 'world')
  assert.equal(await pings(espalierHost, ADDRESS.charon, ADDRESS.espalier, 10), true)
  const listed = await espalier.swanctl('--list-pols')
  assert.match(listed, /peer\/world, TUNNEL[^]*peer\/lan, PASS[^]*peer\/rest, DROP/)
  await espalier.swanctl('--uninstall', '--child', 'world')
  await espalier.swanctl('--uninstall', '--child', 'rest')
  assert.doesNotMatch(await espalier.swanctl('--list-pols'), /world|rest/)
  await endsEmpty(espalier)
})
