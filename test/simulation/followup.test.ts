/**
 * Additional key exchanges after CREATE_CHILD_SA, by IKE_FOLLOWUP_KE (RFC 9370 2.2.4): another CHILD_SA, and rekeys of
 * either kind, in both roles; in the way of each other, of deletes, of loss and of silence.
 */
import assert from 'node:assert/strict'

import { Writer } from '../../src/base/bytes.ts'
import { MINUTE, SECOND } from '../../src/base/time.ts'
import { createKeyExchange } from '../../src/crypto/key-exchange.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import { KeId } from '../../src/iana/transforms.ts'
import { addChild } from '../../src/ike/create-child.ts'
import { deleteChildSa } from '../../src/ike/delete.ts'
import { findNotify, notify } from '../../src/message/ikev2/find.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import { parseProposal, toWire } from '../../src/negotiate/proposals.ts'
import type { SimulatedNode } from './node.ts'
import { summaryOf, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, flows, GATEWAY, HOME_HOST, OFFICE_HOST } from './places.ts'
import { races } from './races.ts'
import { assertOne, beginChildRekey, beginIkeRekey, current, packet, standing, type Both } from './standing.ts'
import { Stranger } from './stranger.ts'
import { toyKeyExchange } from './toy-key-exchange.ts'
import { scenario, scenarioOverSeeds, type World } from './world.ts'

const ESP = 'aes128gcm16-curve25519-ke1_mlkem512'
const ESP_TWICE = 'aes128gcm16-curve25519-ke1_mlkem512-ke3_ecp256'
const IKE = 'aes128gcm16-prfsha256-curve25519-ke1_mlkem512'
const IKE_TWICE = 'aes128gcm16-prfsha256-curve25519-ke1_mlkem512-ke3_ecp256'

interface Words {
  readonly esp?: readonly string[]
  readonly ike?: readonly string[]
  /** Patience for wires that lose a third of what they carry. */
  readonly isPatient?: boolean
}

/** One tunnel, whose IKE_SA and CHILD_SA are rekeyed with additional key exchanges. */
async function tunnel(world: World, { esp = [ESP], ike = [IKE], isPatient = true }: Words = {}): Promise<Both> {
  const settings = isPatient ? { retransmitTries: 30, retransmitBase: 1.2 } : {}
  const gateway = addGateway(world, { proposals: esp, ikeProposals: ike }, { settings })
  const client = addClient(world, { proposals: esp, ikeProposals: ike }, { settings })
  await world.initiate(client)
  return { client, gateway }
}

/** From now on these are the IKE proposals of the IKE_SA that stands. */
function wantIke(node: SimulatedNode, proposals: readonly string[]): void {
  const { sa } = standing(node)
  assert.ok(sa.connection !== null)
  sa.connection = { ...sa.connection, proposals: proposals.map((text) => parseProposal(text, 'ike')) }
}

function otherOf(who: keyof Both): keyof Both {
  return who === 'client' ? 'gateway' : 'client'
}

/** Loses what `isLost` says of what one side sends, until the returned function is called. */
function losing(world: World, from: SimulatedNode, isLost: (summary: string) => boolean): () => void {
  const isFrom = (sent: Packet): boolean => sent.source.address.equals(from.address)
  return world.network.tap((sent) => (isFrom(sent) && isLost(summaryOf(sent)) ? [] : [sent]))
}

const isFollowUp = (summary: string): boolean => summary.startsWith('IKE_FOLLOWUP_KE')
const isFollowUpRequest = (summary: string): boolean => summary.startsWith('IKE_FOLLOWUP_KE request')

for (const who of ['client', 'gateway'] as const) {
  for (const [esp, ike, followUps] of [
    [ESP, IKE, 1],
    [ESP_TWICE, IKE_TWICE, 2],
  ] as const) {
    const how = followUps === 1 ? 'one more key exchange' : 'two more key exchanges'

    scenario(`the ${who} rekeys the CHILD_SA with ${how}: no packet is lost`, async (world) => {
      const both = await tunnel(world, { esp: [esp] })
      const { client, gateway } = both
      const mark = world.mark
      const rekeyed = beginChildRekey(both[who])
      for (let i = 0; i < 60; i++) {
        client.sendPlain(packet(HOME_HOST, OFFICE_HOST))
        gateway.sendPlain(packet(OFFICE_HOST, HOME_HOST))
        await world.pass(2)
      }
      await world.outcome(rekeyed)
      await world.pass(SECOND)
      assert.deepEqual([client.delivered.length, gateway.delivered.length], [60, 60])
      // ... and back each time, then the delete of the old one.
      const counts = ['CREATE_CHILD_SA', 'IKE_FOLLOWUP_KE', 'INFORMATIONAL'].map((kind) => world.countSent(kind, mark))
      assert.deepEqual(counts, [2, 2 * followUps, 2])
      assert.equal(current(client).proposal.transforms.length, 3 + followUps)
      await assertOne(world, both)
    })

    scenario(`the ${who} rekeys the IKE_SA with ${how}: the new one is there after the last of them`, async (world) => {
      const both = await tunnel(world, { ike: [ike] })
      const spi = current(both.client).inboundSpi
      const mark = world.mark
      const old = standing(both[otherOf(who)])
      const rekeyed = beginIkeRekey(both[who])
      await world.until(() => world.countSent('IKE_FOLLOWUP_KE request', mark) === followUps, 'the last exchange is under way')
      assert.equal(standing(both[otherOf(who)]), old)
      await world.outcome(rekeyed)
      await world.pass(SECOND)
      assert.deepEqual([world.countSent('CREATE_CHILD_SA', mark), world.countSent('IKE_FOLLOWUP_KE', mark)], [2, 2 * followUps])
      assert.equal(current(both.client).inboundSpi, spi)
      // Keys of the new IKE_SA are in use, from either side.
      for (const node of [both.client, both.gateway]) await world.outcome(beginChildRekey(node))
      assert.notEqual(current(both.client).inboundSpi, spi)
      await assertOne(world, both)
    })

    scenario(`the ${who} asks for another CHILD_SA with ${how}`, async (world) => {
      const both = await tunnel(world, { esp: [esp] })
      const session = standing(both[who])
      await world.outcome(session.runExchange((on) => deleteChildSa(on, current(both[who])), 'delete-child'))
      const mark = world.mark
      const child = await world.outcome(addChild(session, session.sa.connection!.children[0]!))
      assert.equal(child.proposal.transforms.length, 3 + followUps)
      assert.deepEqual([world.countSent('CREATE_CHILD_SA', mark), world.countSent('IKE_FOLLOWUP_KE', mark)], [2, 2 * followUps])
      await assertOne(world, both)
    })
  }
}

races({
  title: 'with key exchanges to follow',
  share: 0.4,
  pauseMax: 100,
  async begin(world, dice) {
    if (dice.chance(0.2)) world.keyExchangeLatency = dice.below(100)
    const pick = (more: string, twice: string, none: string): string[] =>
      dice.chance(0.2) ? [twice] : dice.chance(0.2) ? [more, none] : [more]
    const both = await tunnel(world, {
      esp: pick(ESP, ESP_TWICE, 'aes128gcm16-curve25519'),
      ike: pick(IKE, IKE_TWICE, 'aes128gcm16-prfsha256-curve25519'),
    })
    // One side that would rather do without makes one exchange complete when the other one is half made.
    if (dice.chance(0.2)) {
      const [node] = dice.chance(0.5) ? [both.client] : [both.gateway]
      wantIke(node, ['aes128gcm16-prfsha256-curve25519', IKE])
    }
    return both
  },
  end({ client, gateway }) {
    for (const node of [client, gateway]) assert.ok(node.sessions().every(({ halfMade }) => halfMade.length === 0))
  },
})

for (const kind of ['CHILD_SA', 'IKE_SA'] as const) {
  const begin = kind === 'CHILD_SA' ? beginChildRekey : beginIkeRekey
  const rekeyed = kind === 'CHILD_SA' ? ('child-rekeyed' as const) : ('ike-rekeyed' as const)

  scenario(
    `both rekey the ${kind} at once: the exchange with the lowest nonce stops before its next key exchange`,
    async (world) => {
      const both = await tunnel(world, { esp: [ESP_TWICE], ike: [IKE_TWICE] })
      const nodes = [both.client, both.gateway]
      const mark = world.mark
      await world.outcome(Promise.all(nodes.map(begin)))
      await world.pass(SECOND)
      assert.equal(world.countSent('CREATE_CHILD_SA', mark), 4)
      assert.equal(world.countSent('IKE_FOLLOWUP_KE', mark), 4)
      const collisions = nodes.flatMap((node) => node.eventsOf('rekey-collision').map(({ isLost }) => isLost))
      assert.deepEqual([collisions.length, collisions.filter(Boolean).length], [2, 1])
      const [lost, won] = collisions[0] === true ? nodes : nodes.toReversed()
      assert.equal(lost!.said('rekey-collision'), `${kind} rekey collision lost, abort incomplete multi-KE rekeying`)
      assert.equal(won!.said('rekey-collision'), `${kind} rekey collision won, continue with multi-KE rekeying`)
      // What did not come about is nobody's trouble, and is not tried again.
      await world.pass(2 * MINUTE)
      for (const node of nodes) {
        assert.equal(node.eventsOf(rekeyed).length, 1)
        assert.deepEqual([...node.eventsOf('child-rekey-failed'), ...node.eventsOf('ike-rekey-failed')], [])
        assert.deepEqual(node.eventsOf('follow-up-missing'), [])
        assert.equal(node.gateway.books.installed.spis, 0)
      }
      await assertOne(world, both)
    },
  )

  scenario(`a request to rekey the ${kind} that comes after our next key exchange is told TEMPORARY_FAILURE`, async (world) => {
    const both = await tunnel(world, { esp: [ESP_TWICE], ike: [IKE_TWICE] })
    const { client, gateway } = both
    // The gateway's request is late, and so is the answer to the client's last one.
    const heals = [
      losing(world, gateway, (summary) => summary === 'CREATE_CHILD_SA request 0'),
      losing(world, gateway, (summary) => summary.startsWith('IKE_FOLLOWUP_KE response')),
    ]
    const begun = [begin(gateway), begin(client)]
    await world.until(() => world.countSent('IKE_FOLLOWUP_KE response') > 0, 'the next key exchange is answered')
    for (const heal of heals) heal()
    await world.outcome(Promise.all(begun))
    assert.equal(client.said('create-refused').includes('being') || client.said('create-refused').includes('deleted'), true)
    await world.pass(2 * MINUTE)
    for (const node of [client, gateway]) {
      assert.equal(node.eventsOf(rekeyed).length, 1)
      assert.deepEqual([...node.eventsOf('child-rekey-failed'), ...node.eventsOf('ike-rekey-failed')], [])
    }
    await assertOne(world, both)
  })

  scenarioOverSeeds(
    `the peer has forgotten our rekey of the ${kind} when its answer comes, and has done its own: that one stays`,
    8,
    async (world) => {
      const both = await tunnel(world)
      const { client, gateway } = both
      const heals = [
        losing(world, gateway, (summary) => summary.startsWith('CREATE_CHILD_SA response')),
        losing(world, client, (summary) => summary.startsWith('IKE_FOLLOWUP_KE response')),
      ]
      const begun = begin(client)
      await world.until(() => gateway.eventsOf('follow-up-missing').length > 0, 'the gateway forgets it')
      const own = begin(gateway)
      await world.until(() => world.countSent('IKE_FOLLOWUP_KE response') > 0, 'the client has what comes of the other one')
      heals[0]!()
      await world.outcome(begun)
      heals[1]!()
      await world.outcome(own)
      await world.pass(5 * MINUTE)
      for (const node of [client, gateway]) assert.equal(node.eventsOf(rekeyed).length > 0, true)
      await assertOne(world, both)
    },
  )

  scenario(`the peer goes silent in the middle of our rekey of the ${kind}: it is lost, and nothing is left`, async (world) => {
    const both = await tunnel(world, { isPatient: false })
    const heal = losing(world, both.gateway, isFollowUp)
    await world.outcome(begin(both.client))
    assert.deepEqual(both.client.sessions(), [])
    assert.equal(both.client.gateway.books.installed.spis, 0)
    heal()
    world.expectsAgreement = false
  })

  scenario(
    `the peer does not go on with its rekey of the ${kind}: we forget it after a minute, and rekey it ourselves`,
    async (world) => {
      const both = await tunnel(world)
      const { client, gateway } = both
      const heal = losing(world, client, isFollowUpRequest)
      const begun = begin(client)
      await world.pass(2 * SECOND)
      assert.deepEqual(
        standing(gateway).halfMade.map(({ making }) => making.replaces),
        [kind === 'IKE_SA' ? 'ike' : current(gateway)],
      )
      // What it would only refuse waits.
      void begin(gateway)
      await world.pass(MINUTE)
      assert.deepEqual(standing(gateway).halfMade, [])
      assert.deepEqual([gateway.gateway.books.installed.spis, gateway.sessions().length], [0, 1])
      assert.match(gateway.said('follow-up-missing'), /^peer did not go on with IKE_FOLLOWUP_KE for 60 seconds/)
      heal()
      await world.outcome(begun)
      // The request came after all, to STATE_NOT_FOUND: somebody tries again.
      assert.match(client.lines.map(({ message }) => message).join('\n'), /received STATE_NOT_FOUND notify error/)
      await world.pass(3 * MINUTE)
      assert.ok(client.eventsOf(rekeyed).length > 0)
      await assertOne(world, both)
    },
  )

  scenario(
    `another program takes over in the middle of a rekey of the ${kind} by the peer: the peer begins it anew`,
    async (world) => {
      const both = await tunnel(world)
      const { client, gateway } = both
      const heal = losing(world, client, isFollowUpRequest)
      const begun = begin(client)
      await world.pass(SECOND)
      assert.equal(standing(gateway).halfMade.length, 1)
      await world.outcome(gateway.takeOver())
      assert.equal(gateway.sessions().length, 1)
      heal()
      await world.outcome(begun)
      await world.pass(MINUTE)
      assert.equal(client.eventsOf(rekeyed).length, 1)
      await assertOne(world, both)
    },
  )
}

scenario('a peer that forgets what was begun five times in a row is told that the IKE_SA ends', async (world) => {
  const { client, gateway } = await tunnel(world)
  const session = standing(client)
  const forget = (): void => {
    for (const { sa, halfMade } of gateway.sessions())
      if (halfMade.length > 0 && sa.state === 'established') gateway.session.setHalfMade([])
  }
  world.network.tap((sent) => {
    if (isFollowUpRequest(summaryOf(sent))) forget()
    return [sent]
  })
  void beginChildRekey(client)
  await world.until(() => session.sa.state === 'closed', 'the client gives it up')
  assert.equal(gateway.eventsOf('delete-received').length, 1)
  assert.equal(client.eventsOf('child-rekey-failed').length, 4)
  world.expectsAgreement = false
})

scenario('another CHILD_SA that the peer has forgotten in the middle is asked for again', async (world) => {
  const both = await tunnel(world)
  const { client } = both
  const session = standing(client)
  await world.outcome(session.runExchange((on) => deleteChildSa(on, current(client)), 'delete-child'))
  const heal = losing(world, client, isFollowUpRequest)
  const made = addChild(session, session.sa.connection!.children[0]!)
  await world.pass(MINUTE + 2 * SECOND)
  heal()
  await world.outcome(made)
  assert.match(client.said('child-failed'), /received STATE_NOT_FOUND notify error/)
  await assertOne(world, both)
})

scenario('the other side deletes the CHILD_SA while it is being rekeyed: nothing is left of either', async (world) => {
  const both = await tunnel(world, { esp: [ESP_TWICE] })
  const { client, gateway } = both
  const heal = losing(world, client, isFollowUpRequest)
  const begun = beginChildRekey(client)
  await world.pass(SECOND)
  const old = current(gateway)
  await world.outcome(standing(gateway).runExchange((session) => deleteChildSa(session, old), 'delete-child'))
  heal()
  await world.outcome(begun)
  assert.match(gateway.said('create-refused'), /has been replaced or deleted$/)
  for (const node of [client, gateway]) {
    assert.deepEqual([node.sessions().length, standing(node).sa.children.length], [1, 0])
    assert.equal(node.gateway.books.installed.spis, 0)
  }
})

scenario('both ask for the same CHILD_SA at once: it is made once', async (world) => {
  const both = await tunnel(world)
  const nodes = [both.client, both.gateway]
  await world.outcome(standing(both.client).runExchange((on) => deleteChildSa(on, current(both.client)), 'delete-child'))
  await world.outcome(Promise.all(nodes.map((node) => addChild(standing(node), standing(node).sa.connection!.children[0]!))))
  await world.pass(MINUTE)
  await assertOne(world, both)
})

scenario('one asks for the CHILD_SA that the other has half made: it waits for that', async (world) => {
  const both = await tunnel(world)
  const { client, gateway } = both
  await world.outcome(standing(client).runExchange((on) => deleteChildSa(on, current(client)), 'delete-child'))
  const heal = losing(world, gateway, isFollowUpRequest)
  const made = [addChild(standing(gateway), standing(gateway).sa.connection!.children[0]!)]
  await world.pass(SECOND)
  assert.equal(standing(client).halfMade.length, 1)
  made.push(addChild(standing(client), standing(client).sa.connection!.children[0]!))
  await world.pass(SECOND)
  heal()
  await world.outcome(Promise.all(made))
  await assertOne(world, both)
})

scenario('what is to be done with CHILD_SAs while the peer replaces the IKE_SA is done in the new one', async (world) => {
  const both = await tunnel(world)
  const { client, gateway } = both
  const old = standing(gateway)
  const heal = losing(world, client, isFollowUpRequest)
  const rekeyed = beginIkeRekey(client)
  await world.until(() => old.isBeingReplaced, 'it is half made')
  const mark = world.mark
  const begun = beginChildRekey(gateway)
  await world.pass(SECOND)
  assert.equal(world.countSent('CREATE_CHILD_SA', mark), 0)
  heal()
  await world.outcome(Promise.all([rekeyed, begun]))
  assert.equal(old.sa.state, 'closed')
  assert.equal(gateway.eventsOf('child-rekeyed').length, 1)
  await assertOne(world, both)
})

scenario('messages of a large key exchange go in fragments', async (world) => {
  const both = await tunnel(world, { esp: ['aes128gcm16-curve25519-ke1_mlkem1024'] })
  const mark = world.mark
  await world.outcome(beginChildRekey(both.client))
  assert.deepEqual([world.countSent('IKE_FOLLOWUP_KE request', mark), world.countSent('IKE_FOLLOWUP_KE response', mark)], [2, 2])
  await assertOne(world, both)
})

scenario('the peer wants another first group: asked again once, and the additional ones follow', async (world) => {
  const gateway = addGateway(world, { proposals: ['aes128gcm16-ecp256-ke1_mlkem512'] })
  const client = addClient(world, { proposals: ['aes128gcm16-curve25519-ecp256-ke1_mlkem512'] })
  await world.initiate(client)
  const mark = world.mark
  await world.outcome(beginChildRekey(client))
  assert.deepEqual([world.countSent('CREATE_CHILD_SA', mark), world.countSent('IKE_FOLLOWUP_KE', mark)], [4, 2])
  await assertOne(world, { client, gateway })
})

/** A peer that says what a scenario wants, with an IKE_SA that stands. */
class Asker {
  readonly peer: Stranger
  readonly gateway: SimulatedNode
  readonly #world: World
  #messageId = 1

  private constructor(world: World, peer: Stranger, gateway: SimulatedNode) {
    this.#world = world
    this.peer = peer
    this.gateway = gateway
  }

  static async begin(world: World, esp = ESP): Promise<Asker> {
    const gateway = addGateway(world, { proposals: [esp] })
    const peer = new Stranger(world, CLIENT, GATEWAY)
    await peer.init()
    await peer.auth()
    return new Asker(world, peer, gateway)
  }

  async ask(exchangeType: number, payloads: readonly Payload[]): Promise<readonly Payload[]> {
    this.peer.send(this.peer.protectedRequest(exchangeType, ++this.#messageId, payloads))
    return this.peer.open(await this.peer.answer())
  }

  /** CREATE_CHILD_SA for another CHILD_SA; the link in the answer. */
  async create(spi: number, esp = ESP): Promise<Uint8Array> {
    const [, tsi, tsr] = this.peer.childOffer(spi)
    const answer = await this.ask(ExchangeType.CREATE_CHILD_SA, [
      { kind: 'SA', proposals: [toWire(parseProposal(esp, 'esp'), 1, new Writer(4).u32(spi).finish())] },
      { kind: 'Nonce', data: this.peer.entropy.bytes(32) },
      this.ke(KeId.CURVE25519),
      tsi!,
      tsr!,
    ])
    return linkOf(answer)
  }

  ke(group: number): Payload {
    const exchange = toyKeyExchange(group, this.peer.entropy)
    const isReal = group === KeId.CURVE25519 || group === KeId.ECP_256
    return { kind: 'KE', group, data: isReal ? createKeyExchange(group, this.peer.entropy).publicValue : exchange.publicValue }
  }

  followUp(link: Uint8Array, ...payloads: readonly Payload[]): Promise<readonly Payload[]> {
    return this.ask(ExchangeType.IKE_FOLLOWUP_KE, [...payloads, notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)])
  }

  /** CHILD_SAs that stand, those that are half made, and SPIs that are reserved. */
  get counts(): readonly number[] {
    const { session, gateway } = this.gateway
    return [session.sa.children.length, session.halfMade.length, gateway.books.installed.spis]
  }

  /** What we said no to is no reason to let anything else go. */
  async end(): Promise<void> {
    await this.#world.pass(2 * MINUTE)
    const [, halfMade, spis] = this.counts
    assert.deepEqual([this.gateway.session.sa.state, halfMade, spis], ['established', 0, 0])
  }
}

function linkOf(answer: readonly Payload[]): Uint8Array {
  const link = findNotify(answer, NotifyType.ADDITIONAL_KEY_EXCHANGE)
  assert.ok(link !== null && link.data.length > 0 && link.protocol === 0 && link.spi.length === 0)
  return link.data.slice()
}

/** The answer says this and nothing else. */
function assertRefused(answer: readonly Payload[], notifyType: number): void {
  assert.deepEqual(
    answer.map((payload) => (payload.kind === 'Notify' ? payload.notifyType : payload.kind)),
    [notifyType],
  )
}

scenario('a peer in order: a link for each key exchange to come, and a CHILD_SA after the last one', async (world) => {
  const asker = await Asker.begin(world, ESP_TWICE)
  const first = await asker.create(0xcafe_0002, ESP_TWICE)
  assert.deepEqual(asker.counts, [1, 1, 1])
  const answer = await asker.followUp(first, asker.ke(KeId.ML_KEM_512))
  const second = linkOf(answer)
  assert.notDeepEqual(second, first)
  assert.deepEqual(asker.counts, [1, 1, 1])
  const last = await asker.followUp(second, asker.ke(KeId.ECP_256))
  assert.deepEqual(
    last.map((payload) => payload.kind),
    ['KE'],
  )
  assert.deepEqual(asker.counts, [2, 0, 0])
  assertRefused(await asker.followUp(second, asker.ke(KeId.ECP_256)), NotifyType.STATE_NOT_FOUND)
  await asker.end()
})

scenario('a link that we did not give, or that was for an earlier key exchange, is told STATE_NOT_FOUND', async (world) => {
  const asker = await Asker.begin(world, ESP_TWICE)
  for (const unknown of [new Uint8Array(), new Uint8Array(16), new Uint8Array(500)])
    assertRefused(await asker.followUp(unknown, asker.ke(KeId.ML_KEM_512)), NotifyType.STATE_NOT_FOUND)
  const first = await asker.create(0xcafe_0002, ESP_TWICE)
  assertRefused(await asker.followUp(first.subarray(1), asker.ke(KeId.ML_KEM_512)), NotifyType.STATE_NOT_FOUND)
  const second = linkOf(await asker.followUp(first, asker.ke(KeId.ML_KEM_512)))
  assertRefused(await asker.followUp(first, asker.ke(KeId.ML_KEM_512)), NotifyType.STATE_NOT_FOUND)
  // None of that has cost the one in order anything.
  await asker.followUp(second, asker.ke(KeId.ECP_256))
  assert.deepEqual(asker.counts, [2, 0, 0])
  await asker.end()
})

for (const [what, payloads] of [
  ['another method', (asker: Asker) => [asker.ke(KeId.ML_KEM_768)]],
  ['the method that comes after the next one', (asker: Asker) => [asker.ke(KeId.ECP_256)]],
  ['no KE payload', () => []],
  ['a value of another length', () => [{ kind: 'KE', group: KeId.ML_KEM_512, data: new Uint8Array(32) }]],
] as readonly [string, (asker: Asker) => readonly Payload[]][]) {
  scenario(`a peer that goes on with ${what} is told INVALID_SYNTAX, which is the end of the IKE_SA`, async (world) => {
    const asker = await Asker.begin(world, ESP_TWICE)
    const link = await asker.create(0xcafe_0002, ESP_TWICE)
    assertRefused(await asker.followUp(link, ...payloads(asker)), NotifyType.INVALID_SYNTAX)
    const { sessions, gateway } = { sessions: asker.gateway.sessions(), gateway: asker.gateway.gateway }
    assert.deepEqual([sessions, gateway.books.installed.spis, gateway.books.installed.states], [[], 0, 0])
  })
}

scenario('a peer that names no link is told INVALID_SYNTAX, which is the end of the IKE_SA', async (world) => {
  const asker = await Asker.begin(world)
  await asker.create(0xcafe_0002)
  assertRefused(await asker.ask(ExchangeType.IKE_FOLLOWUP_KE, [asker.ke(KeId.ML_KEM_512)]), NotifyType.INVALID_SYNTAX)
  assert.deepEqual([asker.gateway.sessions(), asker.gateway.gateway.books.installed.spis], [[], 0])
})

scenario(
  'a peer that begins a hundred and goes on with none has four of them kept, the last ones, for a minute',
  async (world) => {
    const asker = await Asker.begin(world)
    const links: Uint8Array[] = []
    for (let number = 0; number < 100; number++) links.push(await asker.create(0xcafe_1000 + number))
    assert.deepEqual(asker.counts, [1, 4, 4])
    assertRefused(await asker.followUp(links[95]!, asker.ke(KeId.ML_KEM_512)), NotifyType.STATE_NOT_FOUND)
    await asker.followUp(links[96]!, asker.ke(KeId.ML_KEM_512))
    assert.deepEqual(asker.counts, [2, 3, 3])
    await world.pass(61 * SECOND)
    assertRefused(await asker.followUp(links[99]!, asker.ke(KeId.ML_KEM_512)), NotifyType.STATE_NOT_FOUND)
    await asker.end()
  },
)

scenario('an IKE_SA that is closed lets go of what is half made in it', async (world) => {
  const asker = await Asker.begin(world)
  await asker.create(0xcafe_0002)
  assert.deepEqual(asker.counts, [1, 1, 1])
  await world.outcome(asker.gateway.session.run(() => asker.gateway.session.close('deleted-by-us')))
  assert.equal(asker.gateway.gateway.books.installed.spis, 0)
})

scenario('a request said twice is answered twice in the same words, and makes one CHILD_SA', async (world) => {
  const asker = await Asker.begin(world)
  const link = await asker.create(0xcafe_0002)
  const request = asker.peer.protectedRequest(ExchangeType.IKE_FOLLOWUP_KE, 3, [
    asker.ke(KeId.ML_KEM_512),
    notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link),
  ])
  asker.peer.send(request)
  const answer = await asker.peer.answer()
  asker.peer.send(request)
  assert.deepEqual(await asker.peer.answer(), answer)
  assert.deepEqual(asker.counts, [2, 0, 0])
})

for (const [what, isLast, spoil] of [
  ['names no link', false, (payload: Payload) => (payload.kind === 'Notify' ? [] : [payload])],
  [
    'goes on with another method',
    true,
    (payload: Payload) => (payload.kind === 'KE' ? [{ ...payload, group: KeId.ML_KEM_768 }] : [payload]),
  ],
  ['leaves its part of a key exchange out', true, (payload: Payload) => (payload.kind === 'KE' ? [] : [payload])],
] as readonly [string, boolean, (payload: Payload) => readonly Payload[]][]) {
  // After the last answer the peer has the new IKE_SA, and all is made anew (unusable.test.ts).
  for (const kind of isLast ? (['CHILD_SA'] as const) : (['CHILD_SA', 'IKE_SA'] as const)) {
    scenario(
      `a responder that ${what} in a rekey of the ${kind}: the old one stays at work, and it is tried again`,
      async (world) => {
        const both = await tunnel(world)
        const { client, gateway } = both
        const { exchanges } = standing(gateway)
        const respond = exchanges.respond.bind(exchanges)
        const followUp = ExchangeType.IKE_FOLLOWUP_KE
        exchanges.respond = (request, payloads) => {
          const isMeant = (request.exchangeType === followUp) === isLast && request.exchangeType !== ExchangeType.INFORMATIONAL
          return respond(request, isMeant ? payloads.flatMap(spoil) : payloads)
        }
        await world.outcome(kind === 'CHILD_SA' ? beginChildRekey(client) : beginIkeRekey(client))
        exchanges.respond = respond
        assert.equal(client.eventsOf(kind === 'CHILD_SA' ? 'child-rekey-failed' : 'ike-rekey-failed').length, 1)
        assert.equal(client.gateway.books.installed.spis, 0)
        assert.ok(await flows(world, client, gateway))
        await world.pass(31 * SECOND)
        assert.equal(client.eventsOf(kind === 'CHILD_SA' ? 'child-rekeyed' : 'ike-rekeyed').length, 1)
        await assertOne(world, both)
      },
    )
  }
}

scenario('a responder whose link fills a datagram alone: it is not said again, and the old CHILD_SA stays', async (world) => {
  const words = { proposals: [ESP], fragmentation: 'no' } as const
  const both = { gateway: addGateway(world, words), client: addClient(world, words) }
  const { client, gateway } = both
  await world.initiate(client)
  const { exchanges } = standing(gateway)
  const respond = exchanges.respond.bind(exchanges)
  const long = notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, new Uint8Array(65_100))
  exchanges.respond = (request, payloads) =>
    respond(
      request,
      payloads.map((payload) => (payload.kind === 'Notify' ? long : payload)),
    )
  await world.outcome(beginChildRekey(client))
  exchanges.respond = respond
  assert.match(client.eventsOf('child-rekey-failed')[0]!.error.message, /65100 octets long, more than 4096$/)
  await world.pass(31 * SECOND)
  assert.equal(client.eventsOf('child-rekeyed').length, 1)
  await assertOne(world, both)
})
