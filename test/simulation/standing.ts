/** Two gateways with one tunnel: what of it is there to stay, and that it is there once. */
import assert from 'node:assert/strict'

import { IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import type { PlainPacket } from '../../src/edge/memory-kernel.ts'
import { rekeyChild } from '../../src/ike/rekey-child.ts'
import { rekeyIkeSa } from '../../src/ike/rekey-ike.ts'
import type { ChildSa } from '../../src/ike/sa.ts'
import type { Session } from '../../src/ike/session.ts'
import type { SimulatedNode } from './node.ts'
import { flows } from './places.ts'
import type { World } from './world.ts'

export interface Both {
  readonly client: SimulatedNode
  readonly gateway: SimulatedNode
}

/** The IKE_SA that stands. */
export function standing(node: SimulatedNode): Session {
  const [session, ...others] = node.sessions().filter(({ sa }) => sa.state === 'established')
  assert.ok(session !== undefined && others.length === 0, `${node.name} has one IKE_SA that stands`)
  return session
}

/** Its CHILD_SA that is there to stay. */
export function current(node: SimulatedNode): ChildSa {
  const [child, ...others] = standing(node).sa.children.filter(({ state }) => state === 'installed' || state === 'rekeying')
  assert.ok(child !== undefined && others.length === 0, `${node.name} has one CHILD_SA that stands`)
  return child
}

export function beginChildRekey(node: SimulatedNode): Promise<void> {
  const child = current(node)
  return standing(node).runExchange((session) => rekeyChild(session, child), 'rekey-child')
}

export function beginIkeRekey(node: SimulatedNode): Promise<void> {
  return standing(node).runExchange(rekeyIkeSa, 'rekey-ike')
}

/** Once everything has come to rest: one IKE_SA, one CHILD_SA at each, the same ones, and packets flow. */
export async function assertOne(world: World, { client, gateway }: Both): Promise<void> {
  await world.pass(10 * SECOND)
  for (const node of [client, gateway]) {
    assert.equal(node.sessions().length, 1, `${node.name} has one IKE_SA`)
    assert.equal(standing(node).sa.children.length, 1, `${node.name} has one CHILD_SA`)
    const { connection } = standing(node).sa
    assert.ok(connection !== null)
    assert.deepEqual(node.gateway.sessionsOf(connection.name), [standing(node)], `${node.name} finds it by its connection`)
    assert.deepEqual([node.kernel.states().length, node.kernel.policies().length], [2, 3])
  }
  assert.equal(standing(client).sa.ownSpi, standing(gateway).sa.peerSpi)
  assert.equal(current(client).inboundSpi, current(gateway).outboundSpi)
  assert.equal(current(client).outboundSpi, current(gateway).inboundSpi)
  assert.ok(await flows(world, client, gateway))
}

/** A UDP packet of 100 bytes that nobody answers. */
export function packet(source: string, destination: string): PlainPacket {
  return {
    source: IpAddress.parse(source),
    destination: IpAddress.parse(destination),
    protocol: 17,
    sourcePort: 9,
    destinationPort: 9,
    length: 100,
  }
}
