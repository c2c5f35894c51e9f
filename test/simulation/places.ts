/** The places most scenarios play in: two gateways with a network behind each, and a client that may be behind a NAT. */
import type { Pool } from '../../src/address/pool.ts'
import type { LoadedCredentials } from '../../src/auth/loaded-credentials.ts'
import type { IkeSettings } from '../../src/ike/connection.ts'
import { configuration, type ConnectionWords, type SecretWords } from './configuration.ts'
import type { Nat } from './nat.ts'
import type { SimulatedNode } from './node.ts'
import type { World } from './world.ts'

export const GATEWAY = '203.0.113.1'
export const CLIENT = '198.51.100.7'
/** A host in the network behind the gateway, and one behind the client. */
export const OFFICE_HOST = '10.1.0.9'
export const HOME_HOST = '10.2.0.9'

const OFFICE = '10.1.0.0/16'
const HOME = '10.2.0.0/16'

export interface SideWords {
  /** Nodes of one name throw the same dice. */
  readonly name?: string
  readonly address?: string
  readonly behind?: Nat | null
  readonly settings?: Partial<IkeSettings>
  readonly secrets?: readonly SecretWords[]
  readonly pools?: readonly Pool[]
  readonly credentials?: LoadedCredentials
}

/** Answers for 10.1.0.0/16, to anybody in 10.2.0.0/16. */
export function addGateway(world: World, words: ConnectionWords = {}, side: SideWords = {}): SimulatedNode {
  const connection = { localId: 'gateway.example.org', local: [OFFICE], remote: [HOME], ...words }
  return world.addNode(
    side.name ?? 'gateway',
    side.address ?? GATEWAY,
    configuration([connection], side.settings, side.secrets, side.pools, side.credentials),
    side.behind ?? null,
  )
}

/** Asks the gateway for 10.1.0.0/16 on behalf of 10.2.0.0/16. */
export function addClient(world: World, words: ConnectionWords = {}, side: SideWords = {}): SimulatedNode {
  const connection = {
    remoteAddresses: [GATEWAY],
    localId: 'client@example.org',
    remoteId: 'gateway.example.org',
    local: [HOME],
    remote: [OFFICE],
    ...words,
  }
  const behind = side.behind ?? null
  const address = side.address ?? (behind === null ? CLIENT : '192.168.1.7')
  const configured = configuration([connection], side.settings, side.secrets, side.pools, side.credentials)
  return world.addNode(side.name ?? 'client', address, configured, behind)
}

/** Whether packets flow both ways through the tunnel of these two. */
export async function flows(world: World, client: SimulatedNode, gateway: SimulatedNode): Promise<boolean> {
  return (await world.ping(client, HOME_HOST, OFFICE_HOST)) && (await world.ping(gateway, OFFICE_HOST, HOME_HOST))
}
