/**
 * The peer has made what was asked for, and its answer, or what it is to become here, is of no use: what the two have is
 * not the same, which is mended at once rather than found out by silence (RFC 7296 2.21.3).
 */
import assert from 'node:assert/strict'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { ExchangeType, PayloadType } from '../../src/iana/ikev2.ts'
import { KeId } from '../../src/iana/transforms.ts'
import { addChild } from '../../src/ike/create-child.ts'
import type { ChildSa } from '../../src/ike/sa.ts'
import { ERRNO } from '../../src/kernel/refusals.ts'
import type { Operation } from '../../src/kernel/vocabulary.ts'
import type { Payload } from '../../src/message/ikev2/payload.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, CLIENT, flows } from './places.ts'
import { assertOne, beginChildRekey, beginIkeRekey, current, standing, type Both } from './standing.ts'
import { scenario, type World } from './world.ts'

const { CREATE_CHILD_SA, IKE_FOLLOWUP_KE } = ExchangeType
const IKE = 'aes128gcm16-prfsha256-curve25519'
const ESP = 'aes128gcm16-curve25519'
const MORE = '-ke1_mlkem512'

const UNKNOWN: Payload = { kind: 'Unknown', payloadType: 200, critical: true, data: new Uint8Array(4) }
/** A KE payload that has no room for its method. */
const SENSELESS: Payload = { kind: 'Unknown', payloadType: PayloadType.KE, critical: false, data: new Uint8Array(2) }

const SPOILT: readonly (readonly [string, (payload: Payload) => readonly Payload[]])[] = [
  ['is of another method', (payload) => (payload.kind === 'KE' ? [{ ...payload, group: KeId.ECP_521 }] : [payload])],
  ['is too short', (payload) => (payload.kind === 'KE' ? [{ ...payload, data: payload.data.subarray(1) }] : [payload])],
  ['has no KE', (payload) => (payload.kind === 'KE' ? [] : [payload])],
  ['has a payload that we must know and do not', (payload) => (payload.kind === 'KE' ? [payload, UNKNOWN] : [payload])],
  ['makes no sense', (payload) => (payload.kind === 'KE' ? [payload, SENSELESS] : [payload])],
]

/** What a node answers in these exchanges goes out spoilt, until the returned function is called. */
function spoiling(node: SimulatedNode, exchangeType: number, spoil: (payload: Payload) => readonly Payload[]): () => void {
  const { exchanges } = standing(node)
  const respond = exchanges.respond.bind(exchanges)
  exchanges.respond = (request, payloads) =>
    respond(request, request.exchangeType === exchangeType ? payloads.flatMap(spoil) : payloads)
  return () => {
    exchanges.respond = respond
  }
}

async function tunnel(world: World, more: string): Promise<Both> {
  const proposals = { proposals: [`${ESP}${more}`], ikeProposals: [`${IKE}${more}`] }
  // Each knows whom it expects, and can say INITIAL_CONTACT.
  const gateway = addGateway(world, { ...proposals, remoteId: 'client@example.org', remoteAddresses: [CLIENT] })
  const client = addClient(world, proposals)
  await world.initiate(client)
  return { client, gateway }
}

const otherOf = (who: keyof Both): keyof Both => (who === 'client' ? 'gateway' : 'client')

/** What the peer made is gone, the old one works until it is tried again, and then there is a new one. */
async function assertOnly(world: World, both: Both, old: ChildSa): Promise<void> {
  for (const node of [both.client, both.gateway]) assert.equal(standing(node).sa.children.length, 1)
  assert.ok([both.client, both.gateway].some((node) => current(node) === old))
  assert.ok(await flows(world, both.client, both.gateway))
  await world.pass(MINUTE)
  await assertOne(world, both)
}

for (const who of ['client', 'gateway'] as const) {
  for (const [how, more, exchangeType] of [
    ['CREATE_CHILD_SA', '', CREATE_CHILD_SA],
    ['the last IKE_FOLLOWUP_KE', MORE, IKE_FOLLOWUP_KE],
  ] as const) {
    for (const [what, spoil] of SPOILT) {
      scenario(`the ${who} rekeys the IKE_SA, and the answer to ${how} ${what}: all is made anew at once`, async (world) => {
        const both = await tunnel(world, more)
        const before = standing(both[who])
        const heal = spoiling(both[otherOf(who)], exchangeType, spoil)
        await world.outcome(beginIkeRekey(both[who]))
        heal()
        await world.pass(SECOND)
        assert.equal(before.sa.state, 'closed')
        assert.ok(await flows(world, both.client, both.gateway))
        assert.match(both[who].said('ike-rekey-failed'), /but the peer has replaced the IKE_SA, beginning anew$/)
        await assertOne(world, both)
      })

      scenario(
        `the ${who} rekeys the CHILD_SA, and the answer to ${how} ${what}: what the peer made goes at once`,
        async (world) => {
          const both = await tunnel(world, more)
          const old = current(both[who])
          const heal = spoiling(both[otherOf(who)], exchangeType, spoil)
          await world.outcome(beginChildRekey(both[who]))
          heal()
          await world.pass(SECOND)
          assert.equal(both[who].eventsOf('child-rekey-failed').length, 1)
          await assertOnly(world, both, old)
        },
      )
    }

    for (const op of ['add-state', 'set-policy'] as const) {
      scenario(
        `the ${who} rekeys the CHILD_SA by ${how}, and its kernel refuses ${op}: what the peer made goes at once`,
        async (world) => {
          const both = await tunnel(world, more)
          const old = current(both[who])
          let refused = 0
          both[who].refuse = (operation: Operation) => (operation.op === op && refused++ === 0 ? ERRNO.ENOMEM : null)
          await world.outcome(beginChildRekey(both[who]))
          await world.pass(SECOND)
          assert.equal(both[who].eventsOf('child-rekey-failed').length, 1)
          await assertOnly(world, both, old)
        },
      )
    }
  }
}

scenario('what waited to be made in the IKE_SA is made in the one that is begun anew', async (world) => {
  const both = await tunnel(world, MORE)
  const { client, gateway } = both
  const heal = spoiling(gateway, IKE_FOLLOWUP_KE, SPOILT[0]![1])
  const old = standing(client)
  const rekeyed = beginIkeRekey(client)
  const made = addChild(old, old.sa.connection!.children[0]!)
  await world.outcome(Promise.all([rekeyed, made]))
  heal()
  assert.equal(old.sa.state, 'closed')
  await assertOne(world, both)
})
