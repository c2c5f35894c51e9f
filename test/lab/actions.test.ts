/**
 * What begins by itself, with strongSwan's charon at the other end: tunnels that traffic asks for, tunnels whose peer
 * died, was cut off or closed them; and what shunts let pass or drop.
 *
 *   charon 192.0.2.1 ──── 192.0.2.2 espalier
 *
 * Behind charon is 10.10.1.0/24, behind espalier 10.20.0.0/24.
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { type Host, Lab } from './support/network.ts'
import { eventually } from './support/process.ts'
import { countWire, takeWire } from './support/wire.ts'
import { xfrmPolicies, xfrmStates } from './support/xfrm.ts'

const ADDRESS = { charon: '192.0.2.1', espalier: '192.0.2.2' }
const HOME = { charon: '10.10.1.1', espalier: '10.20.0.1' }
const NETWORK = { charon: '10.10.1.0/24', espalier: '10.20.0.0/24' }
/** A peer that is gone is given up after 0.5 + 0.5 * 1.8 + ... = 6 s. */
const SETTINGS = 'retransmit_timeout = 0.5\nretransmit_tries = 4\n'

interface Two {
  readonly hosts: Readonly<Record<'charon' | 'espalier', Host>>
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

function configuration(own: 'charon' | 'espalier', child: string, ike: string, moreChildren = ''): string {
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

async function pings(from: Host, to: string, source: string): Promise<boolean> {
  return (await from.ping(to, source, 1, { patience: 1 })) > 0
}

/** The flow of somebody who goes on trying; through the tunnel, for without one pings would get through in the clear. */
async function works({ hosts }: Two, from: 'charon' | 'espalier' = 'espalier'): Promise<void> {
  const other = from === 'charon' ? 'espalier' : 'charon'
  await eventually(`a ping from behind ${from} gets through`, async () => {
    const isAnswered = await pings(hosts[from], HOME[other], HOME[from])
    return isAnswered && (await carrying(hosts.espalier)) === 2 ? true : undefined
  })
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

test('a peer that was killed is given up, and dpd_action = restart brings the tunnel back when it is there again', async (t) => {
  const peers = await two(t)
  const charon = await peers.startCharon()
  const espalier = await peers.startEspalier('start_action = start\ndpd_action = restart', 'dpd_delay = 2s\nkeyingtries = 0')
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
  await peers.startCharon()
  await works(peers)
  await endsEmpty(espalier)
})

test('a peer that was cut off is given up; dpd_action = trap waits for traffic, charon doing the same', async (t) => {
  const peers = await two(t)
  const charon = await peers.startCharon('dpd_action = trap', 'dpd_delay = 2s')
  const espalier = await peers.startEspalier('start_action = start\ndpd_action = trap', 'dpd_delay = 2s')
  await works(peers)
  await peers.hosts.charon.run('ip', ['link', 'set', 'wan', 'down'])
  for (const host of [peers.hosts.espalier, peers.hosts.charon])
    await eventually(
      `the tunnel is given up at ${host.name}`,
      async () => ((await carrying(host)) === 0 ? true : undefined),
      60_000,
    )
  await eventually('the trap is set', async () => ((await directions(espalier.host)).length === 3 ? true : undefined))
  assert.equal(await pings(peers.hosts.espalier, HOME.charon, HOME.espalier), false)
  await peers.hosts.charon.run('ip', ['link', 'set', 'wan', 'up'])
  await peers.hosts.charon.run('ip', ['route', 'replace', NETWORK.espalier, 'via', ADDRESS.espalier])
  await works(peers)
  assert.match(await charon.log(), /giving up after 4 retransmits/)
  await endsEmpty(espalier)
})

test('close_action: what charon closes is made again, or waits for traffic', async (t) => {
  const peers = await two(t)
  const charon = await peers.startCharon()
  const espalier = await peers.startEspalier('start_action = start\nclose_action = start')
  await works(peers)
  await charon.swanctl('--terminate', '--child', 'net')
  await eventually('it is made again', () =>
    Promise.resolve(espalier.events('child-established').length === 2 ? true : undefined),
  )
  assert.equal(espalier.events('ike-established').length, 1)
  await works(peers)
  await espalier.configure(configuration('espalier', 'start_action = start\nclose_action = trap', ''))
  await espalier.swanctl('--load-all', '--noprompt')
  await eventually('it is started anew', () =>
    Promise.resolve(espalier.events('child-established').length === 3 ? true : undefined),
  )
  await works(peers)
  await charon.swanctl('--terminate', '--child', 'net')
  await eventually('it is gone', async () => ((await carrying(espalier.host)) === 0 ? true : undefined))
  assert.deepEqual(await directions(espalier.host), ['fwd', 'in', 'out'])
  await works(peers)
  await endsEmpty(espalier)
})

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
  assert.equal(await pings(espalierHost, ADDRESS.charon, ADDRESS.espalier), true)
  const listed = await espalier.swanctl('--list-pols')
  assert.match(listed, /peer\/world, TUNNEL[^]*peer\/lan, PASS[^]*peer\/rest, DROP/)
  await espalier.swanctl('--uninstall', '--child', 'world')
  await espalier.swanctl('--uninstall', '--child', 'rest')
  assert.doesNotMatch(await espalier.swanctl('--list-pols'), /world|rest/)
  await endsEmpty(espalier)
})
