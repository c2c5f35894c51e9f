/**
 * A NAT that gives a peer another port, or another address, in mid-life, under traffic of 200 packets a second each way:
 * edge cases 27, 28, 31 and 33 on a real kernel, with charon and with espalier behind the NAT. What is lost is counted
 * and printed: nothing of the peer's is to be lost, and of ours what was on its way.
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { Capture } from './support/capture.ts'
import { Charon } from './support/charon.ts'
import { Espalier, type LogLine } from './support/espalier.ts'
import type { Router } from './support/network.ts'
import { eventually } from './support/process.ts'
import {
  assertKernelEmpty,
  clientConfiguration,
  gatewayConfiguration,
  GATEWAY,
  OFFICE,
  pingBothWays,
  scene,
  type Client,
  type Scene,
} from './support/scene.ts'
import { startStream } from './support/stream.ts'
import { xfrmPolicies, xfrmStates, type XfrmState } from './support/xfrm.ts'

/** IKE messages move their sender only without it. */
const IKE = 'mobike = no'
const ANOTHER = '192.0.2.100'
/** Of the machine's time: long before and long after anything that happens. */
const WHILE = 1500

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** The outside of the NAT becomes another one, for what it sees for the first time. */
async function readdress(router: Router, address: string): Promise<void> {
  await router.nft(`
    flush chain ip nat postrouting
    add rule ip nat postrouting oifname "wan" meta l4proto udp snat to ${address}:20000-29999 random
    add rule ip nat postrouting oifname "wan" snat to ${address}`)
}

/** Where the gateway has its peer: each place once. */
async function places(states: readonly XfrmState[]): Promise<readonly string[]> {
  return [
    ...new Set(
      states.map(({ source, destination, encapsulation }) =>
        destination === GATEWAY ? `${source}[${encapsulation?.sourcePort}]` : `${destination}[${encapsulation?.destinationPort}]`,
      ),
    ),
  ]
}

interface Side {
  readonly client: Client
  /** Makes the client send an IKE request. */
  readonly speak: () => Promise<unknown>
}

interface Rebinding {
  readonly what: string
  readonly first: 'ESP' | 'IKE'
  readonly forget: () => Promise<void>
  /** Of the gateway; without it the gateway is charon, which is counted to compare with. */
  readonly moves?: Moves
}

/** What the gateway's log has of moves so far. */
type Moves = () => readonly LogLine[]

/**
 * Packets by the dozen, an event for each, and one move: to the place that the peer was seen at. Where it was seen at two
 * there may be two moves, never one back.
 */
function assertFollowed(moves: readonly LogLine[], first: 'ESP' | 'IKE', packets: readonly string[], last: string): void {
  const seen = packets.flatMap((line) => {
    const [, address, port] = new RegExp(`IP (\\S+)\\.(\\d+) > ${GATEWAY}\\.4500`).exec(line) ?? []
    return address === undefined ? [] : `${address}[${port}]`
  })
  const followed = moves.map(({ remote }) => String(remote))
  assert.equal(followed.at(-1), last, 'the last move is to where the gateway has its peer')
  assert.equal(seen.at(-1), last, 'which is where it is')
  assert.equal(new Set(followed).size, followed.length, `no move back: ${followed.join(', ')}`)
  for (const place of followed) assert.ok(seen.includes(place), `${place} is a place that the peer was seen at`)
  assert.equal(moves[0]?.['cause'], first === 'ESP' ? 'mapping' : 'ike-message')
}

/** Streams go both ways, or towards the client only when its IKE is to come first; the NAT forgets in between. */
async function rebind(t: TestContext, { gateway }: Scene, { client, speak }: Side, how: Rebinding): Promise<void> {
  const before = await xfrmStates(gateway)
  const movesBefore = how.moves?.().length ?? 0
  const [old] = await places(before)
  const capture = await Capture.start(gateway, 'wan', 'udp port 4500 and greater 100')
  const toClient = await startStream(gateway, OFFICE, client.host, client.home, 7801)
  const toGateway = how.first === 'ESP' ? await startStream(client.host, client.home, gateway, OFFICE, 7802) : null
  await pause(WHILE)
  await how.forget()
  if (how.first === 'IKE') await speak()
  const moved = await eventually(`the gateway has its peer elsewhere than at ${old}`, async () => {
    const found = await places(await xfrmStates(gateway))
    return found.length === 1 && found[0] !== old ? found[0] : undefined
  })
  await pause(WHILE)
  const [ofClient, ofGateway] = [await toGateway?.end(), await toClient.end()]
  const packets = await capture.stop()
  // `time IP a.port > b.port: UDP-encap: ESP(...)`
  const [address, port] = /^(.*)\[(\d+)\]$/.exec(moved)!.slice(1)
  const fromNew = packets.findIndex((line) => line.includes(`IP ${address}.${port} > ${GATEWAY}.4500`))
  assert.ok(fromNew >= 0, 'something came from the new mapping')
  const [oldAddress, oldPort] = /^(.*)\[(\d+)\]$/.exec(old!)!.slice(1)
  const late = packets.slice(fromNew).filter((line) => line.includes(`IP ${GATEWAY}.4500 > ${oldAddress}.${oldPort}`)).length
  t.diagnostic(
    `${how.what}, ${how.first} first: lost of the peer's ${ofClient === undefined ? 'none sent' : `${ofClient.missing.length} of ${ofClient.sent}`}; ` +
      `of ours ${ofGateway.missing.length} of ${ofGateway.sent}, ${late} of them after the first packet from the new mapping`,
  )
  if (how.moves !== undefined) assertFollowed(how.moves().slice(movesBefore), how.first, packets, moved)
  // The last ones all arrive.
  assert.deepEqual(
    ofGateway.missing.filter((number) => number >= ofGateway.sent - 100),
    [],
  )
  // To another address one may be while two of a reqid are moved: the kernel has to find the right one first.
  const isCertain = address === oldAddress || before.length === 2
  if (ofClient !== undefined && how.moves !== undefined && isCertain)
    assert.equal(ofClient.missing.length, 0, 'nothing of the peer is lost')
  const after = await xfrmStates(gateway)
  // What was replaced a while ago may have gone meanwhile; nothing is new where nobody rekeyed.
  const known = new Set(before.map(({ spi }) => spi))
  if (how.first === 'ESP')
    assert.ok(after.length >= 2 && after.every(({ spi }) => known.has(spi)), 'the states are those of before')
  for (const { direction, templates } of await xfrmPolicies(gateway)) {
    const [template] = templates
    assert.equal(direction === 'out' ? template?.destination : template?.source, address)
  }
  await pingBothWays(client, gateway)
}

for (const kind of ['charon', 'espalier'] as const) {
  test(`edge cases 27, 28, 31 and 33: ${kind} behind a NAT that gives it another port, and another address`, async (t) => {
    const place = await scene(t)
    const { router, gateway, inside } = place
    const [client] = inside
    await router.run('ip', ['address', 'add', `${ANOTHER}/24`, 'dev', 'wan'])
    const espalier = await Espalier.start(gateway, { configuration: gatewayConfiguration({ ike: IKE }) })
    const peer = await (kind === 'charon' ? Charon : Espalier).start(client.host, {
      configuration: clientConfiguration(client, { ike: IKE }),
    })
    await peer.swanctl('--initiate', '--child', 'net')
    await espalier.event('child-established')
    await pingBothWays(client, gateway)
    const side: Side = { client, speak: () => peer.swanctl('--rekey', '--child', 'net') }
    const forget = (): Promise<void> => router.forget()

    const moves: Moves = () => espalier.events('endpoints-moved')

    await rebind(t, place, side, { what: 'another port', first: 'ESP', forget, moves })
    // Edge case 50, too: what is new of the rekeying, and what is old, is where the peer is.
    await rebind(t, place, side, { what: 'another port', first: 'IKE', forget, moves })
    const readdressed = async (): Promise<void> => {
      await readdress(router, ANOTHER)
      await router.forget()
    }
    await rebind(t, place, side, { what: 'another address', first: 'ESP', forget: readdressed, moves })
    assert.deepEqual(espalier.events('kernel-refused'), [])
    await peer.stop()
    await espalier.event('ike-closed')
    await espalier.stop()
    await assertKernelEmpty(gateway)
  })
}

test('edge case 27: a peer that was called through a port forwarding, and comes by another port afterwards', async (t) => {
  const place = await scene(t)
  const { router, gateway, inside } = place
  const [client] = inside
  for (const port of [500, 4500]) await router.forwardPort('wan', port, { address: client.address, port })
  const peer = await Charon.start(client.host, {
    configuration: clientConfiguration(client, { ike: IKE }),
  })
  const configuration = gatewayConfiguration({ ike: `${IKE}\n remote_addrs = 192.0.2.1` }).replace(
    '10.10.0.0/16',
    client.homeNetwork,
  )
  const espalier = await Espalier.start(gateway, { configuration })
  await espalier.swanctl('--initiate', '--child', 'net')
  await pingBothWays(client, gateway)
  const side: Side = { client, speak: () => peer.swanctl('--rekey', '--child', 'net') }
  // As long as the forwarding is there, a packet of ours that comes first makes the old mapping again.
  const forget = async (): Promise<void> => {
    await router.nft('flush chain ip nat prerouting')
    await router.forget()
  }
  const moves: Moves = () => espalier.events('endpoints-moved')
  await rebind(t, place, side, { what: 'another port, called by us', first: 'ESP', forget, moves })
  await espalier.stop()
  await assertKernelEmpty(gateway)
})

test('what charon loses in the place of espalier, with the same configuration', async (t) => {
  const place = await scene(t)
  const { router, gateway, inside } = place
  const [client] = inside
  await router.run('ip', ['address', 'add', `${ANOTHER}/24`, 'dev', 'wan'])
  await Charon.start(gateway, { configuration: gatewayConfiguration({ ike: IKE }) })
  const peer = await Charon.start(client.host, { configuration: clientConfiguration(client, { ike: IKE }) })
  await peer.initiate('net')
  await pingBothWays(client, gateway)
  const side: Side = { client, speak: () => peer.swanctl('--rekey', '--child', 'net') }
  await rebind(t, place, side, { what: 'charon: another port', first: 'ESP', forget: () => router.forget() })
  const readdressed = async (): Promise<void> => {
    await readdress(router, ANOTHER)
    await router.forget()
  }
  await rebind(t, place, side, { what: 'charon: another address', first: 'ESP', forget: readdressed })
})
