/**
 * What is known of the path between two peers, for people: what NAT detection found and why, where the endpoints went
 * and what moved them, what keepalives were needed. One for a line of IKE_SAs: it outlives every rekey.
 */
import type { Endpoint } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { NatFacts, Observation } from './detection.ts'

/** From where to where. */
export interface Way {
  readonly local: Endpoint
  readonly remote: Endpoint
}

/**
 * What made the endpoints move. ike-message: an authentic IKE message from elsewhere; mapping: the kernel saw authentic
 * ESP from elsewhere; mobike: UPDATE_SA_ADDRESSES, of either side; roam: our own addresses or routes changed; rekey:
 * what a replacement found.
 */
export type MoveCause = 'ike-message' | 'mapping' | 'mobike' | 'roam' | 'rekey'

/** One comparison of the peer's hashes with what was seen (RFC 7296 2.23). */
export interface Detection {
  readonly at: Milliseconds
  /** The peer sent both kinds of hashes. Without them nothing was compared. */
  readonly supported: boolean
  /** One of its source hashes is of the address and port it was seen at: no NAT before the peer. */
  readonly sourceMatched: boolean
  /** One of its destination hashes is of our own address and port: no NAT before us. */
  readonly destinationMatched: boolean
  /** We claimed a NAT (`encap = yes`). */
  readonly forced: boolean
  /** Where the message came in, and from where. */
  readonly local: Endpoint
  readonly remote: Endpoint
}

/** What `facts` were concluded from. */
export function detectionOf(at: Milliseconds, seen: Omit<Observation, 'spis' | 'publicAddresses'>, facts: NatFacts): Detection {
  return {
    at,
    supported: facts.supported,
    sourceMatched: facts.supported && !facts.there,
    destinationMatched: facts.supported && !facts.here,
    forced: seen.forced,
    local: seen.local,
    remote: seen.remote,
  }
}

export interface Move {
  readonly at: Milliseconds
  readonly from: Way
  readonly to: Way
  readonly cause: MoveCause
}

/** Moves that are remembered one by one: a NAT that changes its mind all day costs no more than these. */
export const MOVES_KEPT = 16

const NONE: readonly Move[] = []

export class Path {
  /** The latest; null before the peer's first message that could carry hashes. */
  detection: Detection | null = null
  /** All there have been. */
  moveCount = 0
  keepalivesSent = 0
  /** Not sent, because something else had left within the interval. */
  keepalivesSuppressed = 0
  /** How long the NAT keeps a mapping that nothing uses, as far as adaptive keepalives have learnt it. */
  learntLifetime: Milliseconds | null = null
  /** What the kernel knew of the way to the peer (ike/mtu.ts); null: not asked since it moved. */
  mtu: { readonly at: Milliseconds; readonly octets: number | null } | null = null
  /** Made when there is a first one: most paths never move. */
  #moves: Move[] | null = null

  /** The latest MOVES_KEPT, oldest first. */
  get moves(): readonly Move[] {
    return this.#moves ?? NONE
  }

  noteDetection(detection: Detection): void {
    this.detection = detection
  }

  noteMove(move: Move): void {
    this.moveCount++
    this.mtu = null
    this.#moves ??= []
    if (this.#moves.length === MOVES_KEPT) this.#moves.shift()
    this.#moves.push(move)
  }
}
