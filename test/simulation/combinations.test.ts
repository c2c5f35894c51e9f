/**
 * Everything that makes an exchange longer, all at once: a cookie, another first group than was guessed, additional key
 * exchanges by IKE_INTERMEDIATE and IKE_FOLLOWUP_KE, messages in several fragments; and any one datagram of all that is
 * lost, doubled, or overtaken.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { MINUTE, SECOND } from '../../src/base/time.ts'
import { formatProposal, parseProposal } from '../../src/negotiate/proposals.ts'
import type { SimulatedNode } from './node.ts'
import { ikeBytes, type Packet } from './packet.ts'
import { addClient, addGateway, CLIENT, GATEWAY } from './places.ts'
import { assertOne, beginChildRekey, beginIkeRekey, current, standing, type Both } from './standing.ts'
import { Stranger } from './stranger.ts'
import { play, SEED, type World } from './world.ts'

const IKE = 'aes128gcm16-prfsha256'
const ESP = 'aes128gcm16'
const MORE = '-ke1_mlkem768-ke3_x448'
/** Fragments of ML-KEM-768's values are three, and two. */
const SETTINGS = { fragmentSizeV4: 576, retransmitTries: 8 }

/** From now on these are the IKE proposals of the IKE_SA that stands. */
function wantIke(node: SimulatedNode, proposal: string): void {
  const { sa } = standing(node)
  assert.ok(sa.connection !== null)
  sa.connection = { ...sa.connection, proposals: [parseProposal(proposal, 'ike')] }
}

/** An IKE_SA comes up; its CHILD_SA, and then itself, are rekeyed, by one each. Each time the first guess is wrong. */
async function life(world: World, rekeyer: keyof Both): Promise<Both> {
  const words = { fragmentation: 'force' } as const
  const gateway = addGateway(
    world,
    { ...words, ikeProposals: [`${IKE}-ecp256${MORE}`, `${IKE}-curve25519`], proposals: [`${ESP}-ecp256${MORE}`] },
    { settings: { ...SETTINGS, cookieThreshold: 1 } },
  )
  // Somebody is half-open, so that cookies are asked for.
  await new Stranger(world, '198.51.100.66', GATEWAY).init()
  const client = addClient(
    world,
    { ...words, ikeProposals: [`${IKE}-curve25519-ecp256${MORE}`], proposals: [`${ESP}-curve25519-ecp256${MORE}`] },
    { settings: SETTINGS },
  )
  const both = { client, gateway }
  await world.initiate(client)
  await world.outcome(beginChildRekey(client))
  await world.pass(SECOND)
  wantIke(both[rekeyer], `${IKE}-ecp256-ecp384${MORE}`)
  wantIke(both[rekeyer === 'client' ? 'gateway' : 'client'], `${IKE}-ecp384${MORE}`)
  await world.outcome(beginIkeRekey(both[rekeyer]))
  await world.pass(SECOND)
  return both
}

async function checkLife(world: World, both: Both, rekeyer: keyof Both): Promise<void> {
  const { client, gateway } = both
  // Who was half-open has gone.
  await world.pass(MINUTE)
  await assertOne(world, both)
  assert.ok(client.eventsOf('cookie-returned').length > 0)
  assert.deepEqual([client.eventsOf('ike-rekeyed').length, gateway.eventsOf('child-rekeyed').length], [1, 1])
  const retries = { client: 2, gateway: 0 }
  retries[rekeyer]++
  assert.deepEqual(
    [client, gateway].map((node) => node.eventsOf('key-exchange-retry').length),
    [retries.client, retries.gateway],
  )
  const more = 'KE1_ML_KEM_768/KE3_CURVE_448'
  assert.equal(formatProposal(standing(client).sa.proposal!), `IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/ECP_384/${more}`)
  assert.equal(current(client).proposal.transforms.length, 5)
}

/** What goes on the wire in the place of a datagram, and what of it together with the next one. */
const FATES = [
  { fate: 'lost', now: 0, later: 0 },
  { fate: 'doubled', now: 2, later: 0 },
  { fate: 'overtaken by the next one', now: 0, later: 1 },
  { fate: 'replayed after the next one', now: 1, later: 1 },
] as const

/** Of the IKE datagrams between the two, this befalls the one of that number. Returns how many there were. */
function befall(world: World, number: number, { now, later }: (typeof FATES)[number]): () => number {
  let seen = 0
  let kept: readonly Packet[] = []
  world.network.tap((sent) => {
    const ends = [sent.source.address.toString(), sent.destination.address.toString()]
    if (ikeBytes(sent) === null || !ends.includes(CLIENT)) return [sent]
    const before = kept
    kept = []
    if (seen++ !== number) return [sent, ...before]
    kept = Array.from({ length: later }, () => sent)
    return Array.from({ length: now }, () => sent)
  })
  return () => seen
}

for (const rekeyer of ['client', 'gateway'] as const) {
  for (const fate of FATES) {
    test(`cookie, other groups, additional key exchanges, fragments, rekeyed by the ${rekeyer}; any one datagram is ${fate.fate}`, async () => {
      let total = Infinity
      for (let number = 0; number < total; number++) {
        await play(`${SEED}.${number}`, async (world) => {
          const seen = befall(world, number, fate)
          const both = await life(world, rekeyer)
          await checkLife(world, both, rekeyer)
          total = Math.min(total, seen())
        })
      }
      assert.ok(total > 40, `${total} datagrams`)
    })
  }
}
