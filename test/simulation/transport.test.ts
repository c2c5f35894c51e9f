/** Transport mode behind NATs (RFC 7296 2.23.1): each end reads the selectors in the addresses that it knows the ends by. */
import assert from 'node:assert/strict'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { MINUTE } from '../../src/base/time.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import { formatSelector } from '../../src/negotiate/selectors.ts'
import type { ConnectionWords } from './configuration.ts'
import type { Nat } from './nat.ts'
import { preservingPort } from './nat.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, GATEWAY } from './places.ts'
import { scenario, type World } from './world.ts'

const TRANSPORT: ConnectionWords = { mode: 'transport', local: ['dynamic'], remote: ['dynamic'] }
const OUTSIDE = '192.0.2.1'
const CLIENT_INSIDE = '192.168.1.7'
const GATEWAY_INSIDE = '192.168.9.1'

interface Ends {
  readonly gateway: SimulatedNode
  readonly client: SimulatedNode
}

function forwarding(world: World): Nat {
  const inside = IpAddress.parse(GATEWAY_INSIDE)
  const forwards = [500, 4500].map((port) => ({ port, to: new Endpoint(inside, port) }))
  return world.addNat('port-forward', GATEWAY, { forwards })
}

/** Both ends, each behind a NAT or not. */
function build(world: World, nats: 'client' | 'gateway' | 'both', gatewayWords = TRANSPORT, clientWords = TRANSPORT): Ends {
  const forward = nats === 'client' ? null : forwarding(world)
  const router = nats === 'gateway' ? null : world.addNat('router', OUTSIDE, { portFor: preservingPort })
  const gateway = addGateway(world, gatewayWords, forward === null ? {} : { address: GATEWAY_INSIDE, behind: forward })
  const client = addClient(world, clientWords, { behind: router })
  return { gateway, client }
}

/** The selectors of the newest CHILD_SA, as its end has them. */
function traffic({ session: { sa } }: SimulatedNode): string {
  const child = sa.children.at(-1)!
  const [local, remote] = [child.localSelectors, child.remoteSelectors].map((selectors) =>
    selectors.map(formatSelector).join(' '),
  )
  return `${child.mode} ${local} === ${remote}`
}

/** What an end is behind, and who it takes the other one for. */
const SEEN = {
  client: { client: [CLIENT_INSIDE, GATEWAY], gateway: [GATEWAY, OUTSIDE] },
  gateway: { client: [CLIENT, GATEWAY], gateway: [GATEWAY_INSIDE, CLIENT] },
  both: { client: [CLIENT_INSIDE, GATEWAY], gateway: [GATEWAY_INSIDE, OUTSIDE] },
} as const

async function carries(world: World, nats: keyof typeof SEEN, { gateway, client }: Ends): Promise<void> {
  for (const [node, [own, other]] of [
    [client, SEEN[nats].client],
    [gateway, SEEN[nats].gateway],
  ] as const) {
    assert.equal(traffic(node), `transport ${own}/32 === ${other}/32`)
    assert.ok(await world.ping(node, own, other), `${node.name} reaches the other end`)
  }
}

for (const nats of ['client', 'gateway', 'both'] as const) {
  scenario(`transport mode behind a NAT (${nats}): both ends carry, and go on after either has rekeyed`, async (world) => {
    const ends = build(world, nats)
    await world.initiate(ends.client)
    await carries(world, nats, ends)
    // Whichever end asks, it does so in the addresses that it knows, and the other one reads them in its own.
    for (const node of [ends.client, ends.gateway]) {
      const [child] = node.session.sa.children
      await world.outcome(node.session.runExchange((session) => rekeyChild(session, child!), 'rekey-child'))
      await carries(world, nats, ends)
      await world.pass(MINUTE)
      assert.equal(node.session.sa.children.length, 1)
      await carries(world, nats, ends)
    }
    for (const node of [ends.gateway, ends.client]) {
      await world.outcome(node.session.runExchange(rekeyIkeSa, 'rekey-ike'))
      await world.pass(MINUTE)
      await carries(world, nats, ends)
    }
  })
}

scenario('transport mode behind a NAT: a gateway asks for it when it makes another CHILD_SA itself', async (world) => {
  const children: ConnectionWords[] = [
    TRANSPORT,
    { ...TRANSPORT, name: 'tcp', local: ['dynamic[tcp]'], remote: ['dynamic[tcp]'] },
  ]
  const ends = build(world, 'client', { children }, { children })
  await world.initiate(ends.client)
  const { session } = ends.gateway
  await world.outcome(addChild(session, session.sa.connection!.children[1]!))
  assert.equal(traffic(ends.gateway), `transport ${GATEWAY}/32[tcp] === ${OUTSIDE}/32[tcp]`)
  assert.equal(traffic(ends.client), `transport ${CLIENT_INSIDE}/32[tcp] === ${GATEWAY}/32[tcp]`)
})

scenario('transport mode behind a NAT: selectors with ports keep them', async (world) => {
  const words: ConnectionWords = { ...TRANSPORT, local: ['dynamic[udp/l2tp]'], remote: ['dynamic[udp/l2tp]'] }
  const { gateway, client } = build(world, 'client', words, words)
  await world.initiate(client)
  assert.equal(traffic(gateway), `transport ${GATEWAY}/32[udp/1701] === ${OUTSIDE}/32[udp/1701]`)
  assert.equal(traffic(client), `transport ${CLIENT_INSIDE}/32[udp/1701] === ${GATEWAY}/32[udp/1701]`)
})

scenario(
  'transport mode behind a NAT: what is configured for the address the peer gives is a tunnel, as nobody could be reached there',
  async (world) => {
    const { gateway, client } = build(world, 'client', { ...TRANSPORT, remote: [`${CLIENT_INSIDE}/32`] })
    await world.initiate(client)
    assert.equal(traffic(gateway), `tunnel ${GATEWAY}/32 === ${CLIENT_INSIDE}/32`)
    assert.equal(traffic(client), `tunnel ${CLIENT_INSIDE}/32 === ${GATEWAY}/32`)
    assert.ok(await world.ping(client, CLIENT_INSIDE, GATEWAY))
  },
)

scenario('transport mode behind a NAT: what is configured for the address that is seen comes first', async (world) => {
  const children: ConnectionWords[] = [
    { ...TRANSPORT, name: 'raw', remote: [`${CLIENT_INSIDE}/32`] },
    { ...TRANSPORT, name: 'seen', remote: [`${OUTSIDE}/32`] },
  ]
  const { gateway, client } = build(world, 'client', { children })
  await world.initiate(client)
  assert.equal(gateway.session.sa.children[0]!.connection.name, 'seen')
  assert.equal(traffic(gateway), `transport ${GATEWAY}/32 === ${OUTSIDE}/32`)
})

for (const [what, words] of [
  ['a tunnel is what is configured', { local: ['dynamic'], remote: ['0.0.0.0/0'] }],
  ['the selectors are about a network', { ...TRANSPORT, remote: ['192.168.0.0/16'] }],
] as const) {
  scenario(`transport mode is declined with a tunnel: ${what}`, async (world) => {
    const { gateway, client } = build(world, 'client', words, { ...TRANSPORT, local: ['192.168.1.7/32', '192.168.1.8/32'] })
    await world.initiate(client)
    assert.match(traffic(gateway), /^tunnel /)
    assert.match(traffic(client), /^tunnel /)
    assert.ok(await world.ping(client, CLIENT_INSIDE, GATEWAY))
  })
}

scenario('transport mode without a NAT is declined for traffic that is not between the two ends', async (world) => {
  const gateway = addGateway(world, { ...TRANSPORT, local: ['10.1.0.0/16'] })
  const client = addClient(world, { ...TRANSPORT, remote: ['10.1.0.0/16'] })
  await world.initiate(client)
  assert.deepEqual(
    [traffic(gateway), traffic(client)],
    [`tunnel 10.1.0.0/16 === ${CLIENT}/32`, `tunnel ${CLIENT}/32 === 10.1.0.0/16`],
  )
})

scenario('transport mode with a NAT that is only claimed (encap = yes) goes in UDP', async (world) => {
  const gateway = addGateway(world, TRANSPORT)
  const client = addClient(world, { ...TRANSPORT, encap: true })
  await world.initiate(client)
  for (const { kernel } of [gateway, client])
    assert.ok(kernel.states().every(({ mode, encapsulation }) => mode === 'transport' && encapsulation !== null))
  assert.ok(await world.ping(client, CLIENT, GATEWAY))
  assert.ok(await world.ping(gateway, GATEWAY, CLIENT))
})
