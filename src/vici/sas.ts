/**
 * IKE_SAs and CHILD_SAs as VICI tells of them: strongSwan's keys in strongSwan's order, each there when strongSwan has it
 * there (its vici_query.c), since scripts match on them; what we tell beyond that stands at the end of a CHILD_SA. What we do not have yet (marks, interface IDs, IPComp, labels,
 * PPKs, EAP identities) is a key that strongSwan leaves out as well.
 */
import { formatIdentity, type Identity } from '../auth/identity.ts'
import type { IpAddress } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { ADDITIONAL_KE, EsnId, TransformType } from '../iana/transforms.ts'
import type { ChildSa, ChildSaState, IkeSa, IkeSaState } from '../ike/sa.ts'
import type { Session, Task } from '../ike/session.ts'
import type { ChildUsage } from '../kernel/books.ts'
import type { Separation } from '../kernel/separation.ts'
import type { Mark, Usage } from '../kernel/vocabulary.ts'
import { transformName, type ChosenTransforms } from '../negotiate/proposals.ts'
import { formatSelector } from '../negotiate/selectors.ts'
import type { Clock } from '../ports.ts'
import { section, type ViciNode, type ViciSection } from './message.ts'

type Entry = readonly [string, ViciNode | null]

const { ENCR, INTEG, PRF, KE, ESN } = TransformType

/** strongSwan tells of the end while it deletes; our records are closed by then. */
const IKE_STATES: Readonly<Record<IkeSaState, string>> = {
  connecting: 'CONNECTING',
  established: 'ESTABLISHED',
  rekeyed: 'REKEYED',
  deleting: 'DELETING',
  closed: 'DELETING',
}

const CHILD_STATES: Readonly<Record<ChildSaState, string>> = {
  installed: 'INSTALLED',
  rekeying: 'REKEYING',
  rekeyed: 'REKEYED',
  deleting: 'DELETING',
  deleted: 'DELETED',
}

/** `tasks` null: nobody is at it any more. */
export function ikeEntries(sa: IkeSa, now: Milliseconds, tasks: Tasks | null): readonly Entry[] {
  const { initiatorSpi, responderSpi } = sa.spis
  return [
    ['uniqueid', String(sa.uniqueId)],
    ['version', '2'],
    ['state', IKE_STATES[sa.state]],
    ['local-host', sa.local.address.toString()],
    ['local-port', String(sa.local.port)],
    ['local-id', identity(sa.localId)],
    ['remote-host', sa.remote.address.toString()],
    ['remote-port', String(sa.remote.port)],
    ['remote-id', identity(sa.remoteId)],
    ['initiator', sa.role === 'initiator' ? 'yes' : null],
    ['initiator-spi', hex(initiatorSpi, 16)],
    ['responder-spi', hex(responderSpi, 16)],
    ['nat-local', sa.nat.here ? 'yes' : null],
    ['nat-remote', sa.nat.there ? 'yes' : null],
    ['nat-fake', sa.nat.faked ? 'yes' : null],
    ['nat-any', sa.nat.here || sa.nat.there || sa.nat.faked ? 'yes' : null],
    ...interfaceIdEntries(sa.interfaceIds?.in ?? 0, sa.interfaceIds?.out ?? 0),
    ...algorithmEntries(sa.proposal, [ENCR, INTEG, PRF, KE, ...ADDITIONAL_KE]),
    ...(sa.state === 'established' && sa.established !== null ? lifeEntries(sa, sa.established, now) : []),
    ['local-vips', addresses(sa.virtualAddresses)],
    ['remote-vips', addresses(sa.leases.map(({ address }) => address))],
    ...taskEntries(tasks),
  ]
}

function addresses(list: readonly IpAddress[]): readonly string[] | null {
  return list.length === 0 ? null : list.map((address) => address.toString())
}

function lifeEntries({ rekeyAt, reauthAt }: IkeSa, established: Milliseconds, now: Milliseconds): readonly Entry[] {
  return [
    ['established', elapsed(established, now)],
    ['rekey-time', rekeyAt === null ? null : left(rekeyAt, 0, now)],
    ['reauth-time', reauthAt === null ? null : left(reauthAt, 0, now)],
  ]
}

export function ikeSection(sa: IkeSa, now: Milliseconds, tasks: Tasks | null): ViciSection {
  return section(...ikeEntries(sa, now, tasks))
}

/** The section `child-sas`. */
export function childrenSection(children: readonly (readonly [ChildSa, ViciSection])[]): ViciSection {
  return section(...children.map(([child, listed]) => [`${child.connection.name}-${child.uniqueId}`, listed] as const))
}

const UNUSED: Usage = { bytes: 0n, packets: 0n, lastUsedSeconds: null, sequence: 0n, replayed: 0, integrityFailed: 0 }

/** `usage` null: it has carried nothing yet, or the kernel does not tell. `mtu` null: nobody has asked, or knows. */
export function childSection(
  child: ChildSa,
  usage: ChildUsage | null,
  clock: Clock,
  state = CHILD_STATES[child.state],
  mtu: number | null = null,
): ViciSection {
  const now = clock.now()
  const { inbound, outbound } = child.installed
  // Whichever direction's comes first.
  const softSeconds = Math.min(...[inbound, outbound].map(({ limits }) => limits.softSeconds || Infinity))
  const { hardSeconds } = inbound.limits
  const carried = usage ?? { in: UNUSED, out: UNUSED }
  return section(
    ['name', child.connection.name],
    ['uniqueid', String(child.uniqueId)],
    ['reqid', String(child.reqid)],
    ['state', state],
    ['mode', child.mode.toUpperCase()],
    ['protocol', 'ESP'],
    ['encap', child.encapsulated ? 'yes' : null],
    ['spi-in', hex(child.inboundSpi, 8)],
    ['spi-out', hex(child.outboundSpi, 8)],
    ...separationEntries(child.separation),
    ...algorithmEntries(child.proposal, [ENCR, INTEG, KE, ...ADDITIONAL_KE]),
    ['esn', hasEsn(child.proposal) ? '1' : null],
    ...usageEntries('in', carried.in, clock.wall()),
    ...usageEntries('out', carried.out, clock.wall()),
    ['rekey-time', softSeconds < Infinity ? left(child.installedAt, softSeconds, now) : null],
    ['life-time', hardSeconds > 0 ? left(child.installedAt, hardSeconds, now) : null],
    ['install-time', elapsed(child.installedAt, now)],
    ['local-ts', child.localSelectors.map(formatSelector)],
    ['remote-ts', child.remoteSelectors.map(formatSelector)],
    ...healthEntries(child, now),
    ['mtu', mtu === null ? null : String(mtu)],
  )
}

/** Ours, behind all of strongSwan's. */
export function healthEntries({ health }: ChildSa, now: Milliseconds): readonly Entry[] {
  return [
    ['health', health.state],
    ['health-reason', health.reason],
    ['health-time', elapsed(health.since, now)],
  ]
}

function separationEntries({ markIn, markOut, ifIdIn, ifIdOut }: Separation): readonly Entry[] {
  return [...markEntries('in', markIn), ...markEntries('out', markOut), ...interfaceIdEntries(ifIdIn, ifIdOut)]
}

function markEntries(direction: 'in' | 'out', mark: Mark | null): readonly Entry[] {
  if (mark === null) return []
  return [
    [`mark-${direction}`, hex(mark.value, 8)],
    [`mark-mask-${direction}`, mark.mask === 0xffff_ffff ? null : hex(mark.mask, 8)],
  ]
}

function interfaceIdEntries(inward: number, outward: number): readonly Entry[] {
  return [
    ['if-id-in', inward === 0 ? null : hex(inward, 8)],
    ['if-id-out', outward === 0 ? null : hex(outward, 8)],
  ]
}

function algorithmEntries(proposal: ChosenTransforms | null, types: readonly number[]): readonly Entry[] {
  return types.flatMap((type): readonly Entry[] => {
    const transform = proposal?.transforms.find((candidate) => candidate.type === type)
    if (transform === undefined) return []
    const key = ALGORITHM_KEYS.get(type)!
    return [
      [key.name, transformName(transform)],
      [key.keySize, transform.keyLength === null ? null : String(transform.keyLength)],
    ]
  })
}

const ALGORITHM_KEYS: ReadonlyMap<number, { readonly name: string; readonly keySize: string }> = new Map([
  [ENCR, { name: 'encr-alg', keySize: 'encr-keysize' }],
  [INTEG, { name: 'integ-alg', keySize: 'integ-keysize' }],
  [PRF, { name: 'prf-alg', keySize: 'prf-keysize' }],
  [KE, { name: 'dh-group', keySize: 'dh-keysize' }],
  ...ADDITIONAL_KE.map((type, i) => [type, { name: `ake${i + 1}`, keySize: `ake${i + 1}-keysize` }] as const),
])

function hasEsn(proposal: ChosenTransforms): boolean {
  return proposal.transforms.some(({ type, id }) => type === ESN && id === EsnId.ESN)
}

function usageEntries(direction: 'in' | 'out', usage: Usage, wall: Milliseconds): readonly Entry[] {
  const { bytes, packets, lastUsedSeconds } = usage
  return [
    [`bytes-${direction}`, String(bytes)],
    [`packets-${direction}`, String(packets)],
    [`use-${direction}`, lastUsedSeconds === null ? null : String(Math.max(0, Math.floor(wall / SECOND) - lastUsedSeconds))],
  ]
}

// -- tasks ---------------------------------------------------------------------------------------------------------

/** Names of strongSwan's tasks: ours to begin, being done with the peer, and begun by the peer. */
export interface Tasks {
  readonly queued: readonly string[]
  readonly active: readonly string[]
  readonly passive: readonly string[]
}

/** What a session is at, in strongSwan's words. */
export function tasksOf(session: Session): Tasks {
  const { running, queued } = session.tasks
  const isHalfOpen = session.opening !== null
  return {
    queued: queued.flatMap((task) => TASKS[task]),
    // IKE_SA_INIT is over once it left something for IKE_AUTH.
    active: running === null ? [] : running === 'initiation' && isHalfOpen ? AUTH_TASKS : TASKS[running],
    passive: session.sa.role === 'responder' && isHalfOpen ? AUTH_TASKS : [],
  }
}

const AUTH_TASKS = ['IKE_AUTH', 'CHILD_CREATE']
const TASKS: Readonly<Record<Task, readonly string[]>> = {
  'initiation': ['IKE_INIT', 'IKE_NATD', ...AUTH_TASKS],
  'create-child': ['CHILD_CREATE'],
  'rekey-child': ['CHILD_REKEY'],
  'rekey-ike': ['IKE_REKEY'],
  'reauth-ike': ['IKE_REAUTH'],
  'redirect': ['IKE_REDIRECT'],
  'delete-ike': ['IKE_DELETE'],
  'expire-ike': ['IKE_DELETE'],
  'delete-child': ['CHILD_DELETE'],
  'mobike': ['IKE_MOBIKE'],
  'probe': ['IKE_DPD'],
}

function taskEntries(tasks: Tasks | null): readonly Entry[] {
  if (tasks === null) return []
  const entry = (key: string, names: readonly string[]): Entry => [key, names.length === 0 ? null : names]
  return [entry('tasks-queued', tasks.queued), entry('tasks-active', tasks.active), entry('tasks-passive', tasks.passive)]
}

// -- values --------------------------------------------------------------------------------------------------------

function identity(id: Identity | null): string {
  return id === null ? '%any' : formatIdentity(id)
}

function hex(value: bigint | number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** strongSwan counts whole seconds on its clock. */
export function elapsed(since: Milliseconds, now: Milliseconds): string {
  return String(Math.floor(now / SECOND) - Math.floor(since / SECOND))
}

function left(since: Milliseconds, seconds: number, now: Milliseconds): string {
  return String(Math.floor(since / SECOND) + seconds - Math.floor(now / SECOND))
}
