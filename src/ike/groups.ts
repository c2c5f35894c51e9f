/**
 * The key exchange group of a message: which one we guess, which one the peer asks for instead, and the secret that
 * comes of it (RFC 7296 1.2, 1.3, 3.4).
 */
import { Reader, Writer } from '../base/bytes.ts'
import type { Secret } from '../crypto/secret.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { TransformType } from '../iana/transforms.ts'
import { find, findNotify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { groupName, type SuiteProposal } from '../negotiate/proposals.ts'
import type { KeyExchange, KeyExchanges } from '../ports.ts'
import { ExchangeFailure, misbehaved } from './failure.ts'

/**
 * The one that was negotiated before, if it is still proposed (strongSwan); else the group of the first proposal that has
 * one, null if that begins with NONE or none has any.
 */
export function preferredGroup(proposals: readonly SuiteProposal[], before: number | null = null): number | null {
  if (before !== null && isProposed(proposals, before)) return before
  for (const proposal of proposals) {
    const transform = proposal.transforms.find(({ type }) => type === TransformType.KE)
    if (transform !== undefined) return transform.id === 0 ? null : transform.id
  }
  return null
}

/** The group the peer wants instead of `usedGroup`, null if it does not ask. Throws ExchangeFailure for one that we did not offer. */
export function groupDemanded(
  answer: readonly Payload[],
  proposals: readonly SuiteProposal[],
  usedGroup: number | null,
): number | null {
  const demand = findNotify(answer, NotifyType.INVALID_KE_PAYLOAD)
  if (demand === null) return null
  if (demand.data.length !== 2) throw misbehaved('INVALID_KE_PAYLOAD names no group')
  const group = new Reader(demand.data).u16()
  if (!isProposed(proposals, group) || group === 0) {
    throw new ExchangeFailure(
      'peer-incompatible',
      'KE_GROUP_NOT_OFFERED',
      `requested key exchange method ${groupName(group)} not contained in any of our proposals`,
    )
  }
  if (group === usedGroup) throw misbehaved('the peer refuses the key exchange group and asks for the same one')
  return group
}

function isProposed(proposals: readonly SuiteProposal[], group: number): boolean {
  return proposals.some(({ transforms }) => transforms.some(({ type, id }) => type === TransformType.KE && id === group))
}

/** What a responder answers to a guess other than the group it chooses; `guessed` is null if the peer sent no KE. */
export function otherGroupWanted(guessed: number | null, chosen: number): ExchangeFailure {
  return new ExchangeFailure(
    'peer-incompatible',
    'KE_GROUP_MISMATCH',
    `key exchange method ${guessed === null ? 'NONE' : groupName(guessed)} unacceptable, requesting ${groupName(chosen)}`,
    NotifyType.INVALID_KE_PAYLOAD,
    new Writer(2).u16(chosen).finish(),
  )
}

/** An initiator's half: the secret of the chosen group, null if none was chosen. Throws when the peer used another. */
export async function secretAsInitiator(
  chosenGroup: number | null,
  ours: KeyExchange | null,
  answer: readonly Payload[],
): Promise<Secret | null> {
  if (chosenGroup === null) return null
  const ke = find(answer, 'KE')
  if (ke === null || ours === null || chosenGroup !== ours.group || ke.group !== ours.group)
    throw misbehaved('the peer chose another key exchange group than it used')
  return ours.agree(ke.data)
}

/** A responder's half: the secret of the chosen group and the payload with our part. Throws INVALID_KE_PAYLOAD, InvalidKeyExchange. */
export async function secretAsResponder(
  chosenGroup: number,
  request: readonly Payload[],
  keyExchanges: KeyExchanges,
): Promise<{ readonly secret: Secret; readonly payload: Payload }> {
  const ke = find(request, 'KE')
  if (ke === null || ke.group !== chosenGroup) throw otherGroupWanted(ke?.group ?? null, chosenGroup)
  const { secret, publicValue } = await keyExchanges.answer(chosenGroup, ke.data)
  return { secret, payload: { kind: 'KE', group: chosenGroup, data: publicValue } }
}
