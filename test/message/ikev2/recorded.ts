/** Messages as two gateways really send them, from a handshake in the simulation, and what is in the protected ones. */
import { assert } from '../../../src/base/assert.ts'
import { createOpener, type Opener } from '../../../src/crypto/protection.ts'
import { associatedDataOf, parseMessage } from '../../../src/message/ikev2/message.ts'
import { ikeBytes } from '../../simulation/packet.ts'
import { addClient, addGateway, GATEWAY } from '../../simulation/places.ts'
import { Stranger } from '../../simulation/stranger.ts'
import { play } from '../../simulation/world.ts'

export interface RecordedMessage {
  /** `IKE_AUTH request 1`. */
  readonly summary: string
  readonly bytes: Uint8Array
  /** Null of what goes in the clear. */
  readonly sealed: { readonly opener: Opener; readonly firstType: number; readonly content: Uint8Array } | null
}

const IKE_PROPOSALS = ['aes256gcm16-aes128gcm16-prfsha384-prfsha256', 'aes256-aes128-sha384-sha256']
const ESP_PROPOSALS = ['aes256gcm16-aes128gcm16', 'chacha20poly1305', 'aes256-aes128-sha256']

/**
 * Both messages of IKE_SA_INIT with a cookie, with another group, and with both hashes; of IKE_AUTH; and of the
 * INFORMATIONAL that deletes the IKE_SA.
 */
export async function recordMessages(): Promise<readonly RecordedMessage[]> {
  const openers = new Map<boolean, Opener>()
  const { network } = await play('recorded', async (world) => {
    const words = (groups: string): { ikeProposals: string[]; proposals: string[] } => ({
      ikeProposals: IKE_PROPOSALS.map((proposal) => `${proposal}-${groups}`),
      proposals: ESP_PROPOSALS,
    })
    addGateway(world, words('ecp256'), { settings: { cookieThreshold: 1 } })
    // Half open, so that whoever comes next is asked for a cookie.
    const halfOpen = new Stranger(world, '198.51.100.99', GATEWAY)
    halfOpen.send(halfOpen.initRequest())
    await world.pass(1)
    const client = addClient(world, words('curve25519-ecp256'), { behind: world.addNat('router', '192.0.2.1') })
    const { sa } = await world.initiate(client)
    const { suite, keys } = sa
    assert(suite !== null && keys !== null, 'an IKE_SA that is established has keys')
    // Copies, since the IKE_SA destroys its keys.
    openers.set(true, createOpener(suite, keys.ei.slice(0), keys.ai?.slice(0) ?? null))
    openers.set(false, createOpener(suite, keys.er.slice(0), keys.ar?.slice(0) ?? null))
    await world.outcome(client.gateway.stop('deleted-by-us'))
  })
  return network.trace
    .filter(({ fate }) => fate === 'sent')
    .flatMap(({ packet, summary }) => {
      const bytes = ikeBytes(packet)
      return bytes === null ? [] : [{ summary, bytes, sealed: sealedPart(bytes, openers) }]
    })
}

function sealedPart(bytes: Uint8Array, openers: ReadonlyMap<boolean, Opener>): RecordedMessage['sealed'] {
  const { header, payloads } = parseMessage(bytes)
  const sealed = payloads.at(-1)
  if (sealed?.kind !== 'SK') return null
  const opener = openers.get(header.fromInitiator)!
  const content = opener.open(associatedDataOf(bytes, sealed), sealed.body)
  assert(content !== null, 'what was recorded opens')
  return { opener, firstType: sealed.innerFirst, content }
}
