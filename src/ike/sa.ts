/**
 * What an IKE_SA and a CHILD_SA are between exchanges: plain records. What a half-done exchange knows lives in its
 * function (init.ts, auth.ts); what waits on the wire lives in exchange.ts.
 */
import type { Lease } from '../address/leases.ts'
import type { Identity } from '../auth/identity.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { IkeKeys } from '../crypto/keys.ts'
import type { Suite } from '../crypto/protection.ts'
import type { InstalledChild } from '../kernel/books.ts'
import type { Separation } from '../kernel/separation.ts'
import { NO_NAT_TRAVERSAL, type NatFacts, type SpiPair } from '../nat/detection.ts'
import type { ChildHealth } from '../nat/health.ts'
import { Path } from '../nat/path.ts'
import type { ChosenTransforms } from '../negotiate/proposals.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { ChildConnection, Connection } from './connection.ts'
import type { MobikeState } from './mobike-state.ts'

export type Role = 'initiator' | 'responder'

/**
 * connecting: IKE_SA_INIT or IKE_AUTH under way; established: authenticated; rekeyed: another has taken its place, and
 * whoever replaced it is about to delete it; deleting: we asked the peer to delete it; closed: gone from every table,
 * kept only by whoever still holds a reference.
 */
export type IkeSaState = 'connecting' | 'established' | 'rekeyed' | 'deleting' | 'closed'

/** One for all that have none. */
const NONE: readonly never[] = []

/** IDs of XFRM interfaces by direction, 0 for none. */
export interface InterfaceIds {
  readonly in: number
  readonly out: number
}

export class IkeSa {
  /** Handed out by the gateway, shown to people; never on the wire. */
  readonly uniqueId: number
  /** Whose Initiator flag is set in the header: who began the exchange that made this IKE_SA. */
  readonly role: Role
  /** Who began the first IKE_SA of the line that this one comes at the end of. */
  originalRole: Role
  readonly ownSpi: bigint
  /** 0 until the peer's first message told it. */
  peerSpi = 0n
  state: IkeSaState = 'connecting'
  /** Null at a responder until IKE_AUTH told who the peer is. */
  connection: Connection | null
  /** The endpoints our own requests use, re-read at each transmission. */
  local: Endpoint
  remote: Endpoint
  nat: NatFacts = NO_NAT_TRAVERSAL
  /** For people; its successor takes it on. */
  path = new Path()
  /** Null unless both sides have said MOBIKE_SUPPORTED (RFC 4555 3.1). */
  mobike: MobikeState | null = null
  /** There is no way to the peer: nothing is asked of it until there is one (strongSwan). */
  isStale = false
  /** Both sides have said that they take in fragments (RFC 7383 2.3). */
  fragmentation = false
  /** The client can be sent to another gateway (RFC 5685). */
  takesRedirect = false
  suite: Suite | null = null
  /** What `suite` was chosen as. */
  proposal: ChosenTransforms | null = null
  keys: IkeKeys | null = null
  localId: Identity | null = null
  remoteId: Identity | null = null
  /** Addresses that the peer gave us, and those of our pools that we gave the peer. */
  virtualAddresses: readonly IpAddress[] = NONE
  leases: readonly Lease[] = NONE
  /** DNS servers that came with those addresses. */
  nameServers: readonly IpAddress[] = NONE
  /** What its CHILD_SAs have unless they have their own; null before the first one (gateway/separations.ts). */
  interfaceIds: InterfaceIds | null = null
  readonly children: ChildSa[] = []
  readonly created: Milliseconds
  established: Milliseconds | null = null
  /** When the first IKE_SA of the line that this one comes at the end of came to stand. */
  begun: Milliseconds | null = null
  /** The SPI that the initiator of that one chose. */
  firstSpi = 0n
  /** When it is to be replaced, by a new one that inherits it or from the beginning; null = never. */
  rekeyAt: Milliseconds | null = null
  reauthAt: Milliseconds | null = null
  /** When anything last left towards the peer (IKE), and last came authenticated from it. */
  lastOutbound: Milliseconds = 0
  lastInbound: Milliseconds = 0

  constructor(
    uniqueId: number,
    role: Role,
    ownSpi: bigint,
    connection: Connection | null,
    local: Endpoint,
    remote: Endpoint,
    created: Milliseconds,
  ) {
    this.uniqueId = uniqueId
    this.role = role
    this.originalRole = role
    this.ownSpi = ownSpi
    this.connection = connection
    this.local = local
    this.remote = remote
    this.created = created
  }

  /** Both SPIs in the order of the header. */
  get spis(): SpiPair {
    return this.role === 'initiator'
      ? { initiatorSpi: this.ownSpi, responderSpi: this.peerSpi }
      : { initiatorSpi: this.peerSpi, responderSpi: this.ownSpi }
  }
}

/**
 * installed: carries traffic; rekeying: our request to replace it is under way; rekeyed: replaced, and about to be
 * deleted by whoever replaced it; deleting: our delete is under way; deleted: gone with the peer, what the peer sent
 * before is still let in.
 */
export type ChildSaState = 'installed' | 'rekeying' | 'rekeyed' | 'deleting' | 'deleted'

/** Whether it is there to stay: neither replaced nor being deleted. */
export function isStanding({ state }: ChildSa): boolean {
  return state === 'installed' || state === 'rekeying'
}

export interface ChildSa {
  readonly uniqueId: number
  readonly connection: ChildConnection
  readonly mode: 'tunnel' | 'transport'
  readonly proposal: ChosenTransforms
  readonly reqid: number
  /** Both sides' selectors as text. */
  traffic: string
  readonly separation: Separation
  /** `traffic`, and the separation if there is one: the name of its claim (traffic-claims.ts), and of its reqid where that was handed out. */
  claim: string
  readonly inboundSpi: number
  readonly outboundSpi: number
  localSelectors: readonly TrafficSelector[]
  remoteSelectors: readonly TrafficSelector[]
  encapsulated: boolean
  readonly installedAt: Milliseconds
  readonly installed: InstalledChild
  state: ChildSaState
  /** What the peer replaced it by. We send on that as soon as the peer deletes this one (RFC 7296 2.8). */
  successor: ChildSa | null
  /** One of another IKE_SA of the peer that carries its traffic until the peer lets go of that (make-before-break.ts). */
  relieves: ChildSa | null
  /** Lowest nonce of the exchange that made the successor, if one of ours was under way at that time (RFC 7296 2.8.1). */
  rivalNonce: Uint8Array | null
  /** The peer was asked to delete it; it may be asking us at the same time (RFC 7296 1.4.1). */
  deleteSent: boolean
  /** When a deleted one is to go, one that waits is to be looked at, or a rekey that came to nothing is to be tried again. */
  dueAt: Milliseconds | null
  /** What limit the kernel has told of. */
  expiry: 'none' | 'soft' | 'hard'
  /** When to look next whether it is used at all; null = never. */
  idleAt: Milliseconds | null
  /** Packets it had carried at the last such look. */
  packetsSeen: bigint
  readonly health: ChildHealth
}

/** Whether it is there to stay as it is, and the kernel has it. */
export function isUsable({ state, expiry }: ChildSa): boolean {
  return state === 'installed' && expiry !== 'hard'
}

/** Whether there is another one for the same traffic that is there to stay. */
export function hasTwin({ children }: IkeSa, child: ChildSa): boolean {
  return children.some((other) => other !== child && isUsable(other) && other.traffic === child.traffic)
}
