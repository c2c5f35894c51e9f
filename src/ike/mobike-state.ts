/**
 * What MOBIKE (RFC 4555) keeps for an IKE_SA: plain records. Exchanges are mobike.ts', what follows from changes of our
 * own addresses and routes roam.ts'.
 */
import type { IpAddress } from '../base/ip.ts'
import type { Way } from '../nat/path.ts'

/** Of an IKE_SA both of whose sides have said MOBIKE_SUPPORTED. */
export interface MobikeState {
  /** Where the peer said that it can be reached, all at once: where it said so from, and where else. */
  readonly peerAddresses: readonly IpAddress[]
  /** Where we were seen, hashed, in the peer's latest answer to our hashes; null before the first. */
  readonly destinationHash: Uint8Array | null
}

const NO_ADDRESSES: readonly IpAddress[] = []

export const NEW_MOBIKE_STATE: MobikeState = { peerAddresses: NO_ADDRESSES, destinationHash: null }

/** What a rekeyed IKE_SA hands to its successor: hashes are made of SPIs, which are others. */
export function inherited(state: MobikeState | null): MobikeState | null {
  return state === null ? null : { ...state, destinationHash: null }
}

/** What is to be found out or told. There is one of it at most: what is wanted meanwhile is added. */
export interface MobikeWork {
  /** On which of the ways that requests are tried on the peer is reached. */
  readonly check: boolean
  /** The peer is to learn where we are (UPDATE_SA_ADDRESSES): the original initiator's to say. */
  readonly update: boolean
  /** The peer is to learn where else we can be reached. */
  readonly addresses: boolean
  /** Ways that the peer would not have. */
  readonly refused: readonly Way[]
  /** How often in a row a NAT was found on the way that we are on, and is not to be there. */
  readonly natsMet: number
}

export const NO_WORK: MobikeWork = { check: false, update: false, addresses: false, refused: [], natsMet: 0 }

export function merged(before: MobikeWork | null, more: Partial<MobikeWork>): MobikeWork {
  const { check, update, addresses, refused, natsMet } = before ?? NO_WORK
  return {
    check: check || more.check === true,
    update: update || more.update === true,
    addresses: addresses || more.addresses === true,
    refused: [...refused, ...(more.refused ?? [])],
    natsMet: more.natsMet ?? natsMet,
  }
}
