/**
 * An IKE_SA written down between exchanges, with its CHILD_SAs, and read back by another program in the place of this
 * one: what is on the wire and in the kernel goes on as if nothing had been. Keys are in it: whoever keeps a record keeps
 * a secret.
 *
 * Only what rests is written down: no exchange under way on either side, nothing half replaced. What does not rest is
 * deleted with the peer, as ever.
 */
import type { Lease } from '../address/leases.ts'
import type { Identity } from '../auth/identity.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import { ikeKeyMaterial, ikeKeysFrom } from '../crypto/keys.ts'
import { Secret } from '../crypto/secret.ts'
import { InstalledChild, type InstalledRecord } from '../kernel/books.ts'
import type { Separation } from '../kernel/separation.ts'
import { ChildHealth } from '../nat/health.ts'
import type { NatFacts } from '../nat/detection.ts'
import type { Detection, Move } from '../nat/path.ts'
import { suiteOf, type ChosenTransforms } from '../negotiate/proposals.ts'
import type { TrafficSelector } from '../negotiate/selectors.ts'
import type { AskedTraffic } from './asked-traffic.ts'
import type { ChildConnection, Connection } from './connection.ts'
import type { DeadlineName } from './deadlines.ts'
import type { Window } from './exchange.ts'
import type { MobikeState } from './mobike-state.ts'
import type { ChildSa, InterfaceIds, Role } from './sa.ts'
import type { Session } from './session.ts'

/** To be raised with every change of what is in a record: another layout is not read. */
export const RECORD_LAYOUT = 2

export interface IkeRecord {
  readonly connection: string
  readonly uniqueId: number
  readonly role: Role
  readonly originalRole: Role
  readonly ownSpi: bigint
  readonly peerSpi: bigint
  readonly local: Endpoint
  readonly remote: Endpoint
  readonly nat: NatFacts
  readonly mobike: MobikeState | null
  readonly isStale: boolean
  readonly fragmentation: boolean
  readonly takesRedirect: boolean
  readonly proposal: ChosenTransforms
  /** All of them in one (crypto/keys.ts). */
  readonly keys: Secret
  readonly window: Window
  readonly localId: Identity
  readonly remoteId: Identity
  readonly virtualAddresses: readonly IpAddress[]
  readonly nameServers: readonly IpAddress[]
  readonly leases: readonly Lease[]
  readonly interfaceIds: InterfaceIds | null
  readonly created: Milliseconds
  readonly established: Milliseconds | null
  readonly rekeyAt: Milliseconds | null
  readonly reauthAt: Milliseconds | null
  readonly lastOutbound: Milliseconds
  readonly lastInbound: Milliseconds
  readonly initHash: string | null
  readonly path: PathRecord
  readonly deadlines: Readonly<Partial<Record<DeadlineName, Milliseconds>>>
  readonly children: readonly ChildRecord[]
  readonly wanted: readonly WantedRecord[]
}

/** A CHILD_SA that the peer had no time for, and when it is asked for again. */
interface WantedRecord {
  readonly connection: string
  /** Null: what it is configured with. */
  readonly asked: AskedTraffic | null
  readonly at: Milliseconds
}

/** What `espalier nat` shows of it. */
interface PathRecord {
  readonly detection: Detection | null
  readonly moves: readonly Move[]
  readonly moveCount: number
  readonly keepalivesSent: number
  readonly keepalivesSuppressed: number
}

export interface ChildRecord {
  readonly connection: string
  readonly uniqueId: number
  readonly mode: 'tunnel' | 'transport'
  readonly proposal: ChosenTransforms
  readonly traffic: string
  readonly separation: Separation
  readonly claim: string
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly encapsulated: boolean
  readonly installedAt: Milliseconds
  readonly packetsSeen: bigint
  readonly installed: InstalledRecord
}

/** What goes with the requests that are under way, and is none of a resting IKE_SA's; keepalives begin anew. */
const NOT_KEPT: ReadonlySet<string> = new Set<DeadlineName>([
  'retransmit',
  'fragments',
  'half-open',
  'keepalive',
  'children',
  'move',
  'retry',
  'follow-up',
])

/** Null if it does not rest. */
export function recordOf(session: Session): IkeRecord | null {
  const { sa, exchanges } = session
  const { connection, proposal, keys, localId, remoteId } = sa
  if (connection === null || proposal === null || keys === null || localId === null || remoteId === null) return null
  if (!rests(session) || !sa.children.every(childRests)) return null
  const deadlines: Partial<Record<DeadlineName, Milliseconds>> = {}
  for (const deadline of Object.values(session.deadlines)) {
    if (deadline === null || NOT_KEPT.has(deadline.name)) continue
    deadlines[deadline.name as DeadlineName] = deadline.at
  }
  const { detection, moves, moveCount, keepalivesSent, keepalivesSuppressed } = sa.path
  return {
    connection: connection.name,
    uniqueId: sa.uniqueId,
    role: sa.role,
    originalRole: sa.originalRole,
    ownSpi: sa.ownSpi,
    peerSpi: sa.peerSpi,
    local: sa.local,
    remote: sa.remote,
    nat: sa.nat,
    mobike: sa.mobike,
    isStale: sa.isStale,
    fragmentation: sa.fragmentation,
    takesRedirect: sa.takesRedirect,
    proposal,
    keys: new Secret(ikeKeyMaterial(keys)),
    window: exchanges.window,
    localId,
    remoteId,
    virtualAddresses: sa.virtualAddresses,
    nameServers: sa.nameServers,
    leases: sa.leases,
    interfaceIds: sa.interfaceIds,
    created: sa.created,
    established: sa.established,
    rekeyAt: sa.rekeyAt,
    reauthAt: sa.reauthAt,
    lastOutbound: sa.lastOutbound,
    lastInbound: sa.lastInbound,
    initHash: session.initHash,
    path: { detection, moves, moveCount, keepalivesSent, keepalivesSuppressed },
    deadlines,
    children: sa.children.map(childRecordOf),
    // What nobody waits for by name a packet asks for again.
    wanted: session.putOffs.flatMap(({ at, wanted }) =>
      wanted === undefined ? [] : [{ connection: wanted.connection.name, asked: wanted.asked ?? null, at }],
    ),
  }
}

function rests(session: Session): boolean {
  const { sa, exchanges, opening, ikeRekey, halfMade, predecessor, elder, heir, mobikeWork, isReauthenticating } = session
  const isAlone = ikeRekey === null && halfMade.length === 0 && predecessor === null && elder === null && heir === null
  const isIdle = !exchanges.isWaiting && exchanges.ways === null && opening === null && mobikeWork === null
  return sa.state === 'established' && isAlone && isIdle && !isReauthenticating
}

function childRests(child: ChildSa): boolean {
  const { state, successor, relieves, deleteSent, dueAt, expiry, installed } = child
  const isWhole = installed.outboundHalf === 'installed' && !installed.isUnsettled && installed.traces === null
  const isAlone = successor === null && relieves === null && !deleteSent
  return state === 'installed' && isWhole && isAlone && dueAt === null && expiry === 'none'
}

function childRecordOf(child: ChildSa): ChildRecord {
  const { uniqueId, mode, proposal, traffic, separation, claim, localSelectors, remoteSelectors, encapsulated } = child
  const { owner, reqid, inbound, outbound, policies } = child.installed
  return {
    connection: child.connection.name,
    uniqueId,
    mode,
    proposal,
    traffic,
    separation,
    claim,
    localSelectors,
    remoteSelectors,
    encapsulated,
    installedAt: child.installedAt,
    packetsSeen: child.packetsSeen,
    installed: { owner, reqid, inbound, outbound, policies },
  }
}

/**
 * Puts into the IKE_SA of a new session, made for `record`, all but its CHILD_SAs. `later` is what the clock that is
 * read now has more than the one of the record had at the same time. False if the record makes no sense.
 */
export function resume(session: Session, record: IkeRecord, connection: Connection, later: Milliseconds): boolean {
  const { sa } = session
  const moved = <At extends Milliseconds | null>(at: At): At => (at === null ? at : ((at + later) as At))
  const suite = suiteOf(record.proposal)
  const keys = ikeKeysFrom(suite, record.keys.dangerouslyReveal().slice())
  if (keys === null) return false
  sa.originalRole = record.originalRole
  sa.peerSpi = record.peerSpi
  sa.nat = record.nat
  sa.mobike = record.mobike
  sa.isStale = record.isStale
  sa.fragmentation = record.fragmentation
  sa.takesRedirect = record.takesRedirect
  sa.suite = suite
  sa.proposal = record.proposal
  sa.keys = keys
  sa.connection = connection
  sa.localId = record.localId
  sa.remoteId = record.remoteId
  sa.virtualAddresses = record.virtualAddresses
  sa.nameServers = record.nameServers
  sa.interfaceIds = record.interfaceIds
  sa.established = moved(record.established)
  // What may have been begun together has settled.
  sa.begun = sa.established
  sa.firstSpi = sa.spis.initiatorSpi
  sa.rekeyAt = moved(record.rekeyAt)
  sa.reauthAt = moved(record.reauthAt)
  sa.lastOutbound = moved(record.lastOutbound)
  sa.lastInbound = moved(record.lastInbound)
  const { path } = record
  for (const move of path.moves) sa.path.noteMove({ ...move, at: moved(move.at) })
  sa.path.moveCount = path.moveCount
  sa.path.detection = path.detection === null ? null : { ...path.detection, at: moved(path.detection.at) }
  sa.path.keepalivesSent = path.keepalivesSent
  sa.path.keepalivesSuppressed = path.keepalivesSuppressed
  session.initHash = record.initHash
  session.exchanges.resume(suite, keys, record.window)
  sa.state = 'established'
  for (const [name, at] of Object.entries(record.deadlines)) session.setDeadline(name as DeadlineName, moved(at))
  return true
}

/** The CHILD_SA of a record; `installed` as the books have it, or null of one that the kernel has lost. */
export function resumedChild(
  record: ChildRecord,
  connection: ChildConnection,
  installed: InstalledChild | null,
  now: Milliseconds,
  later: Milliseconds,
): ChildSa {
  const { owner, reqid, inbound, outbound, policies } = record.installed
  return {
    uniqueId: record.uniqueId,
    connection,
    mode: record.mode,
    proposal: record.proposal,
    reqid,
    traffic: record.traffic,
    separation: record.separation,
    claim: record.claim,
    inboundSpi: inbound.spi,
    outboundSpi: outbound.spi,
    localSelectors: record.localSelectors,
    remoteSelectors: record.remoteSelectors,
    encapsulated: record.encapsulated,
    installedAt: record.installedAt + later,
    installed: installed ?? new InstalledChild(owner, reqid, inbound, outbound, policies),
    state: 'installed',
    successor: null,
    relieves: null,
    rivalNonce: null,
    deleteSent: false,
    dueAt: null,
    expiry: 'none',
    idleAt: connection.inactivity > 0 ? now + connection.inactivity : null,
    packetsSeen: record.packetsSeen,
    health: new ChildHealth(now),
  }
}
