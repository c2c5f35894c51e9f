/**
 * A NAT that gives a peer another port, or another address, in mid-life, under traffic of 200 packets a second each way:
 * edge cases 27, 28, 31 and 33 on a real kernel, with charon and with espalier behind the NAT, whoever began, and with
 * ESP or IKE the first that comes from the new mapping. What is lost is counted and printed: nothing of the peer's is to
 * be lost, and of ours what was on its way. Two charons have the same, to compare with.
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
const OTHERS = ['192.0.2.100', '192.0.2.101'] as const
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

interface Rebinding {
  readonly what: string
  readonly first: 'ESP' | 'IKE'
  readonly forget: () => Promise<void>
  /** Makes the client send an IKE request. */
  readonly speak: () => Promise<unknown>
  /** Of the gateway; without it the gateway is charon, which is counted to compare with. */
  readonly moves: Moves | null
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

/** While ESP is held back, IKE gets through: what has no marker of four zero octets is dropped, and counted. */
async function holdEspBack(router: Router, client: Client): Promise<void> {
  await router.nft(`
    table ip held {
      counter waiting { }
      chain prerouting {
        type filter hook prerouting priority raw;
        ip saddr ${client.address} udp dport 4500 @th,64,32 != 0 counter name waiting drop
      }
    }`)
}

/** Returns how many packets were dropped. */
async function letEspGo(router: Router): Promise<number> {
  await router.nft('flush chain ip held prerouting')
  const [, packets] = /packets (\d+)/.exec(await router.run('nft', ['list', 'counter', 'ip', 'held', 'waiting']))!
  await router.nft('delete table ip held')
  return Number(packets)
}

/** Streams go both ways while the NAT forgets; ESP of the client waits until its IKE has come, if that is to be first. */
async function rebind(t: TestContext, { gateway, router, inside: [client] }: Scene, how: Rebinding): Promise<void> {
  const before = await xfrmStates(gateway)
  const movesBefore = how.moves?.().length ?? 0
  const [old] = await places(before)
  const capture = await Capture.start(gateway, 'wan', 'udp port 4500 and greater 100')
  const toClient = await startStream(gateway, OFFICE, client.host, client.home, 7801)
  const toGateway = await startStream(client.host, client.home, gateway, OFFICE, 7802)
  await pause(WHILE)
  const isIkeFirst = how.first === 'IKE'
  if (isIkeFirst) await holdEspBack(router, client)
  await how.forget()
  if (isIkeFirst) await how.speak()
  const moved = await eventually(`the gateway has its peer elsewhere than at ${old}`, async () => {
    const found = await places(await xfrmStates(gateway))
    return found.length === 1 && found[0] !== old ? found[0] : undefined
  })
  const held = isIkeFirst ? await letEspGo(router) : 0
  await pause(WHILE)
  const [ofClient, ofGateway] = [await toGateway.end(), await toClient.end()]
  const lost = ofClient.missing.length - held
  const packets = await capture.stop()
  // `time IP a.port > b.port: UDP-encap: ESP(...)`
  const [address, port] = /^(.*)\[(\d+)\]$/.exec(moved)!.slice(1)
  const fromNew = packets.findIndex((line) => line.includes(`IP ${address}.${port} > ${GATEWAY}.4500`))
  assert.ok(fromNew >= 0, 'something came from the new mapping')
  const [oldAddress, oldPort] = /^(.*)\[(\d+)\]$/.exec(old!)!.slice(1)
  const late = packets.slice(fromNew).filter((line) => line.includes(`IP ${GATEWAY}.4500 > ${oldAddress}.${oldPort}`)).length
  t.diagnostic(
    `${how.what}, ${how.first} first: lost of the peer's ${lost} of ${ofClient.sent}${isIkeFirst ? ` (besides ${held} held back)` : ''}; ` +
      `of ours ${ofGateway.missing.length} of ${ofGateway.sent}, ${late} of them after the first packet from the new mapping`,
  )
  if (how.moves !== null) assertFollowed(how.moves().slice(movesBefore), how.first, packets, moved)
  // The last ones all arrive.
  for (const { missing, sent } of [ofClient, ofGateway])
    assert.deepEqual(
      missing.filter((number) => number >= sent - 100),
      [],
    )
  // To another address one may be while two of a reqid are moved: the kernel has to find the right one first.
  const isCertain = address === oldAddress || before.length === 2
  if (isCertain && how.moves !== null) assert.equal(lost, 0, 'nothing of the peer is lost')
  const after = await xfrmStates(gateway)
  // What was replaced a while ago may have gone meanwhile; nothing is new where nobody rekeyed.
  const known = new Set(before.map(({ spi }) => spi))
  if (how.first === 'ESP')
    assert.ok(
      after.length >= 2 && after.every(({ spi }) => known.has(spi)),
      `the states are those of before, ${[...known].join(' ')}:\n${after.map(({ text }) => text).join('\n')}`,
    )
  for (const { direction, templates } of await xfrmPolicies(gateway)) {
    const [template] = templates
    assert.equal(direction === 'out' ? template?.destination : template?.source, address)
  }
  await pingBothWays(client, gateway)
}

for (const [gatewayKind, clientKind, begins] of [
  ['espalier', 'charon', 'the client'],
  ['espalier', 'espalier', 'the client'],
  ['espalier', 'charon', 'the gateway'],
  ['charon', 'charon', 'the client'],
  ['charon', 'charon', 'the gateway'],
] as const) {
  const title =
    gatewayKind === 'charon'
      ? `what charon loses in the place of espalier, with the same configuration; ${begins} begins`
      : `edge cases 27, 28, 31 and 33: ${clientKind} behind a NAT that gives it another port, and another address; ${begins} begins`
  test(title, async (t) => {
    const place = await scene(t)
    const { router, gateway, inside } = place
    const [client] = inside
    for (const address of OTHERS) await router.run('ip', ['address', 'add', `${address}/24`, 'dev', 'wan'])
    const isCalled = begins === 'the gateway'
    if (isCalled) for (const port of [500, 4500]) await router.forwardPort('wan', port, { address: client.address, port })
    const kinds = { charon: Charon, espalier: Espalier }
    const there = await kinds[gatewayKind].start(gateway, {
      configuration: isCalled
        ? gatewayConfiguration({ ike: `${IKE}\n remote_addrs = 192.0.2.1` }).replace('10.10.0.0/16', client.homeNetwork)
        : gatewayConfiguration({ ike: IKE }),
    })
    const here = await kinds[clientKind].start(client.host, { configuration: clientConfiguration(client, { ike: IKE }) })
    await (isCalled ? there : here).swanctl('--initiate', '--child', 'net')
    await pingBothWays(client, gateway)

    // As long as a forwarding is there, a packet of ours that comes first makes the old mapping again.
    const forget = async (): Promise<void> => {
      if (isCalled) await router.nft('flush chain ip nat prerouting')
      await router.forget()
    }
    const readdressed = (address: string) => async (): Promise<void> => {
      await readdress(router, address)
      await forget()
    }
    const moves = there instanceof Espalier ? (): readonly LogLine[] => there.events('endpoints-moved') : null
    // Edge case 50, too: what is new of the rekeying, and what is old, is where the peer is.
    const speak = (): Promise<unknown> => here.swanctl('--rekey', '--child', 'net')
    for (const first of ['ESP', 'IKE'] as const) await rebind(t, place, { what: 'another port', first, forget, speak, moves })
    for (const [index, first] of (['ESP', 'IKE'] as const).entries())
      await rebind(t, place, { what: 'another address', first, forget: readdressed(OTHERS[index]!), speak, moves })
    if (!(there instanceof Espalier)) return
    assert.deepEqual(there.events('kernel-refused'), [])
    await here.stop()
    await there.event('ike-closed')
    await there.stop()
    await assertKernelEmpty(gateway)
  })
}
