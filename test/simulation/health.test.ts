/** Whether packets get through a CHILD_SA (nat/health.ts, ike/health.ts): what is noticed, what is said, what is done about it. */
import assert from 'node:assert/strict'

import { Endpoint } from '../../src/base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../../src/base/time.ts'
import type { SimulatedNode } from './node.ts'
import type { Packet } from './packet.ts'
import { addClient, addGateway, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { current, packet, standing, type Both } from './standing.ts'
import { scenario, type World } from './world.ts'

type Words = Parameters<typeof addGateway>[1]

async function tunnel(world: World, words: Words = {}): Promise<Both> {
  const gateway = addGateway(world, words)
  const client = addClient(world, words)
  await world.initiate(client)
  return { client, gateway }
}

/** A packet a second, out from behind one of them or both. */
async function traffic(
  world: World,
  { client, gateway }: Both,
  time: Milliseconds,
  who: 'client' | 'gateway' | 'both',
): Promise<void> {
  for (let passed = 0; passed < time; passed += SECOND) {
    if (who !== 'gateway') client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
    if (who !== 'client') gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST))
    await world.pass(SECOND)
  }
}

const healthOf = (node: SimulatedNode): string => {
  const { state, reason } = current(node).health
  return reason === null ? state : `${state} ${reason}`
}

const isFrom = (node: SimulatedNode, { source, esp }: Packet): boolean => esp !== null && source.address.equals(node.address)

const repairs = (node: SimulatedNode): readonly string[] => node.eventsOf('child-repairing').map(({ repair }) => repair)

scenario('where packets go both ways, or none at all, nothing is said and nothing done', async (world) => {
  const both = await tunnel(world)
  assert.equal(healthOf(both.client), 'untested')
  await traffic(world, both, 2 * MINUTE, 'both')
  await world.pass(10 * MINUTE)
  for (const node of [both.client, both.gateway]) {
    assert.equal(healthOf(node), 'good')
    assert.deepEqual(node.eventsOf('health-changed'), [])
    assert.equal(node.eventsOf('child-rekeyed').length, 0)
  }
})

scenario('one that sends and never hears anything is suspected, as a log host is, and left as it is', async (world) => {
  const both = await tunnel(world)
  await traffic(world, both, 5 * MINUTE, 'client')
  assert.equal(healthOf(both.client), 'suspect no-return')
  assert.match(
    both.client.said('health-changed'),
    /^CHILD_SA net\{1\} may not work: \d+ packets were sent in \d+s, and none ever came back; /,
  )
  assert.equal(both.client.eventsOf('health-changed').length, 1)
  // The other side hears, and has nothing to wonder about.
  assert.equal(healthOf(both.gateway), 'good')
  for (const node of [both.client, both.gateway]) assert.equal(node.eventsOf('child-rekeyed').length, 0)
  await traffic(world, both, MINUTE, 'both')
  assert.equal(healthOf(both.client), 'good')
  assert.equal(both.client.said('health-changed'), 'CHILD_SA net{1} works again: packets come in')
})

scenario('a tunnel that falls silent while the peer answers IKE is named and rekeyed, once', async (world) => {
  const both = await tunnel(world, { dpdDelay: 30 })
  await traffic(world, both, 2 * MINUTE, 'both')
  // What the gateway sends is lost; IKE is not.
  const untap = world.network.tap((one) => (isFrom(both.gateway, one) ? [] : [one]))
  await traffic(world, both, 15 * MINUTE, 'both')
  assert.equal(healthOf(both.client), 'suspect no-return')
  assert.match(both.client.said('health-changed'), /, and none came back; the peer answers IKE$/)
  assert.deepEqual(repairs(both.client), ['rekeyed'])
  assert.equal(both.client.eventsOf('child-rekeyed').length, 1)
  assert.equal(standing(both.client).sa.state, 'established')
  untap()
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.equal(healthOf(both.client), 'good')
  assert.deepEqual(repairs(both.client), ['rekeyed'])
})

scenario('a peer that does not answer IKE either is not for this to tell: it is lost', async (world) => {
  const both = await tunnel(world, { dpdDelay: 30 })
  await traffic(world, both, 2 * MINUTE, 'both')
  both.gateway.isAsleep = true
  await traffic(world, both, 5 * MINUTE, 'client')
  assert.deepEqual(both.client.sessions(), [])
  assert.deepEqual(both.client.eventsOf('health-changed'), [])
  both.gateway.isAsleep = false
  world.expectsAgreement = false
})

/** A peer that puts ESP into UDP, or out of it, and takes in either, as RFC 7296 2.23 has it and Linux has not. */
function sendsInUdp(world: World, peer: SimulatedNode, isActive: () => boolean): void {
  world.network.tap((one) => {
    if (one.esp === null || !isActive()) return [one]
    if (isFrom(peer, one) && one.protocol === 'esp')
      return [{ ...one, protocol: 'udp', source: one.source.withPort(4500), destination: one.destination.withPort(4500) }]
    if (one.destination.address.equals(peer.address) && one.protocol === 'udp')
      return [{ ...one, protocol: 'esp', source: one.source.withPort(0), destination: one.destination.withPort(0) }]
    return [one]
  })
}

scenario('edge case 49: a peer that switches from bare ESP to UDP in mid-life gets UDP, by a rekey', async (world) => {
  const both = await tunnel(world)
  world.expectsAgreement = false
  await traffic(world, both, 2 * MINUTE, 'both')
  sendsInUdp(world, both.gateway, () => true)
  await traffic(world, both, 2 * MINUTE, 'both')
  const told = both.client.eventsOf('health-changed')
  assert.deepEqual(
    told.map(({ was }) => was.reason),
    [null, 'encap-mismatch'],
  )
  assert.ok(
    both.client.lines.some(
      ({ message }) =>
        message ===
        'CHILD_SA net{1} may not work: the kernel drops ESP that comes in UDP, for an SA that is bare, and nothing else comes in',
    ),
  )
  assert.equal(both.client.said('child-repairing'), 'rekeying CHILD_SA net{1} with ESP in UDP, as the peer seems to send it')
  assert.deepEqual(repairs(both.client), ['switched'])
  assert.equal(healthOf(both.client), 'good')
  assert.ok(current(both.client).encapsulated)
  assert.ok(await flows(world, both.client, both.gateway))
  // And from now on.
  await traffic(world, both, 3 * MINUTE, 'both')
  assert.deepEqual(repairs(both.client), ['switched'])
})

scenario('edge case 49: the same where IKE is on 500: ESP in UDP takes both to 4500', async (world) => {
  const both = await tunnel(world, { mobike: false })
  world.expectsAgreement = false
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.equal(standing(both.client).sa.remote.port, 500)
  sendsInUdp(world, both.gateway, () => true)
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.equal(standing(both.client).sa.remote.toString(), `${GATEWAY}[4500]`)
  assert.equal(healthOf(both.client), 'good')
  assert.ok(await flows(world, both.client, both.gateway))
})

scenario('edge case 48: bare ESP for an SA in UDP is named, and behind a NAT UDP stays', async (world) => {
  const nat = world.addNat('router', '192.0.2.1')
  const gateway = addGateway(world)
  const client = addClient(world, {}, { behind: nat })
  await world.initiate(client)
  const both = { client, gateway }
  await traffic(world, both, 2 * MINUTE, 'both')
  // Not by way of the NAT, which knows no bare ESP.
  const untap = world.network.tap((one) => {
    if (!isFrom(client, one)) return [one]
    gateway.receive({ ...one, protocol: 'esp', source: new Endpoint(nat.address, 0), destination: one.destination.withPort(0) })
    return []
  })
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.equal(gateway.kernel.counters().get('XfrmInStateMismatch')! > 0, true)
  assert.equal(healthOf(gateway), 'suspect encap-mismatch')
  assert.match(
    gateway.said('health-changed'),
    /may not work: the kernel drops ESP that comes bare, for an SA that is in UDP, and nothing else comes in; through a NAT it stays in UDP$/,
  )
  assert.deepEqual(repairs(gateway), [])
  untap()
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.equal(healthOf(gateway), 'good')
})

scenario(
  'edge case 48: UDP that somebody else sends moves no tunnel for good: the other encapsulation is taken back',
  async (world) => {
    const both = await tunnel(world)
    const { client, gateway } = both
    await traffic(world, both, 2 * MINUTE, 'both')
    // A peer that looks after nothing.
    gateway.refuse = ({ op }) => (op === 'query-drops' ? 2 : null)
    // One way from here on, while somebody on the way sends copies in UDP of what he saw before.
    let copy: Packet | null = null
    const untap = world.network.tap((one) => {
      if (!isFrom(gateway, one)) return [one]
      copy ??= one
      return []
    })
    const replay = (): void => {
      if (copy?.esp === null || copy === null) return
      const { inboundSpi } = current(client)
      const esp = { ...copy.esp, spi: inboundSpi }
      client.receive({
        ...copy,
        esp,
        protocol: 'udp',
        source: copy.source.withPort(4500),
        destination: copy.destination.withPort(4500),
      })
    }
    for (let i = 0; i < 120; i++) {
      replay()
      await traffic(world, both, SECOND, 'both')
    }
    untap()
    for (let i = 0; i < 10; i++) {
      replay()
      await traffic(world, both, MINUTE, 'both')
    }
    assert.deepEqual(repairs(client), ['switched', 'reverted'])
    assert.equal(current(client).encapsulated, false)
    assert.equal(healthOf(client), 'good')
    assert.ok(await flows(world, client, gateway))
  },
)

scenario('ESP in the wrong form is told to be nobody’s where too many are silent', async (world) => {
  const gateway = addGateway(world, { remote: ['10.0.0.0/8'] })
  const clients: SimulatedNode[] = []
  for (let i = 0; i < 6; i++) {
    const address = `198.51.100.${10 + i}`
    const client = addClient(
      world,
      { local: [`10.2.${i}.0/24`], localId: `client-${i}@example.org` },
      { name: `client ${i}`, address },
    )
    await world.outcome(client.gateway.initiate('home', 'net'))
    clients.push(client)
  }
  // Something has come of each, and nothing comes any more but what is in the wrong form.
  for (const [i, client] of clients.entries()) client.sendPlain(packet(`10.2.${i}.9`, OFFICE_HOST))
  await world.pass(MINUTE)
  const [first] = clients
  const untap = world.network.tap((one) =>
    isFrom(first!, one)
      ? [{ ...one, protocol: 'udp', source: one.source.withPort(4500), destination: one.destination.withPort(4500) }]
      : [one],
  )
  for (let i = 0; i < 60; i++) {
    first!.sendPlain(packet('10.2.0.9', OFFICE_HOST))
    await world.pass(SECOND)
  }
  untap()
  assert.deepEqual(repairs(gateway), [])
  assert.equal(gateway.eventsOf('encapsulation-mismatch').length, 1)
  assert.match(
    gateway.said('encapsulation-mismatch'),
    /^the kernel has dropped \d+ ESP packets .* \(XfrmInStateMismatch\); which CHILD_SA they are of cannot be told$/,
  )
})

scenario('keys that do not fit are known from the packets that fail, and new ones made', async (world) => {
  const both = await tunnel(world)
  await traffic(world, both, 2 * MINUTE, 'both')
  const spi = current(both.client).inboundSpi
  world.network.tap((one) => (one.esp?.spi === spi ? [{ ...one, esp: { ...one.esp, seal: 'other keys' } }] : [one]))
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.ok(
    both.client.lines.some(
      ({ message, level }) =>
        level === 'warn' &&
        /^CHILD_SA net\{1\} does not work: \d+ packets came in and failed their integrity check, none passed it$/.test(message),
    ),
  )
  assert.deepEqual(repairs(both.client), ['rekeyed'])
  assert.equal(healthOf(both.client), 'good')
})

scenario('a peer whose sequence numbers began anew is known from the packets that are old, and new keys made', async (world) => {
  const both = await tunnel(world)
  await traffic(world, both, 2 * MINUTE, 'both')
  const spi = current(both.client).inboundSpi
  // As from a copy of a machine that was put back to where it was: numbers and keys are those of before.
  world.network.tap((one) => (one.esp?.spi === spi ? [{ ...one, esp: { ...one.esp, sequence: 1n } }] : [one]))
  await traffic(world, both, 2 * MINUTE, 'both')
  assert.ok(
    both.client.lines.some(
      ({ message, level }) =>
        level === 'warn' &&
        /^CHILD_SA net\{1\} does not work: \d+ packets came in that are old or repeated, and none that is new$/.test(message),
    ),
  )
  assert.deepEqual(
    both.client.eventsOf('health-changed').map(({ was }) => was.reason),
    [null, 'replayed'],
  )
  assert.deepEqual(repairs(both.client), ['rekeyed'])
  assert.equal(healthOf(both.client), 'good')
  assert.ok(await flows(world, both.client, both.gateway))
})

scenario('a peer that is elsewhere, and is not followed there, is named with both places', async (world) => {
  const gateway = addGateway(world, { encap: true })
  const client = addClient(world)
  await world.initiate(client)
  const both = { client, gateway }
  await traffic(world, both, MINUTE, 'both')
  // The gateway knows that its client is behind no NAT, and so has no mapping to follow.
  const untap = world.network.tap((one) => (isFrom(both.client, one) ? [{ ...one, source: one.source.withPort(4777) }] : [one]))
  await traffic(world, both, MINUTE, 'both')
  assert.equal(healthOf(both.gateway), 'failing mapping-ignored')
  assert.equal(
    both.gateway.said('health-changed'),
    'CHILD_SA net{1} does not work: the peer sends from 198.51.100.7[4777], and what is sent to it goes to 198.51.100.7[4500]',
  )
  untap()
  await traffic(world, both, 4 * MINUTE, 'both')
  assert.equal(healthOf(both.gateway), 'good')
})
