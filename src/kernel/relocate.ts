/**
 * CHILD_SAs go to other addresses, or into or out of UDP, in a kernel that cannot be told so in place: each state is
 * taken and goes on at its new place with its keys, sequence numbers, replay window and age.
 *
 * First packets that want to leave are stopped, which keeps them from leaving in the clear or under a sequence number
 * that was used (it makes the IV of AES-GCM), and it is seen that the kernel tells what is in the states. Then, one
 * CHILD_SA after the other:
 * - Inbound states of tunnel mode are moved (xfrm/migration.ts): the kernel has one of them at every moment, and policies
 *   that let in from anywhere meanwhile let in what comes by either. Nothing is lost.
 * - What the kernel does not move so, and outbound states, which have nothing to lose while packets are stopped, are
 *   taken, and put where they belong, in two sends, so that a state is away for as short as can be. What comes for an
 *   inbound one in between is lost: Linux up to 2026 takes no second state beside one of the same SPI and address.
 * Policies follow, and let packets leave again.
 */
import type { InstalledChild } from './installed.ts'
import { isAt, movedState, type DynamicHosts, type Whereabouts } from './relocation.ts'
import type { KernelError, Operation, Outcome, State, StateContents, StateId } from './vocabulary.ts'

/** One CHILD_SA and where it is to be. */
export interface Relocation {
  readonly installed: InstalledChild
  readonly to: Whereabouts
  readonly dynamic: DynamicHosts
}

/** What a move came to, where it did not all come about. */
export interface MoveOutcome {
  readonly errors: KernelError[]
  /** Not all of them is where it should be; they are whole. */
  readonly stranded: Set<InstalledChild>
  /** The kernel has let go of a state and did not take it again. */
  readonly lost: Set<InstalledChild>
}

/** What the books do for it. */
export interface Ledger {
  perform(operations: readonly Operation[]): Promise<readonly Outcome[]>
  /** Keep packets from leaving by the policies that these have in force. */
  stops(children: readonly InstalledChild[]): readonly Operation[]
  /** Whether the kernel has `move-state`, and no other CHILD_SA than these has their reqid. */
  canMove(all: readonly InstalledChild[]): boolean
  /** Let in what its policies would let in from anywhere. */
  loosened(installed: InstalledChild): readonly Operation[]
  /** Gives the policies of a CHILD_SA the addresses of its states; the operations put those that win into force. */
  reclaim(installed: InstalledChild, dynamic: DynamicHosts): readonly Operation[]
  noteMoved(installed: InstalledChild, state: State): void
}

interface Half {
  readonly relocation: Relocation
  readonly from: State
  readonly to: State
}

interface Taken {
  readonly half: Half
  readonly contents: StateContents
}

export async function relocate(ledger: Ledger, relocations: readonly Relocation[], outcome: MoveOutcome): Promise<void> {
  // Written down before anything happens: whatever comes of it, the next move and the end see to the rest.
  for (const { installed } of relocations) installed.isUnsettled = true
  const strand = ({ relocation: { installed } }: Half, error: KernelError): void => {
    outcome.errors.push(error)
    outcome.stranded.add(installed)
  }
  const halves = relocations.flatMap(halvesOf)
  const present = halves.filter(
    ({ relocation: { installed }, from }) => from.direction === 'in' || installed.outboundHalf === 'installed',
  )
  const gone = new Set(halves.filter((half) => !present.includes(half)))

  const stops = ledger.stops(relocations.map(({ installed }) => installed))
  const prepared = await ledger.perform([
    ...stops,
    ...present.map(({ from }): Operation => ({ op: 'read-state', id: idOf(from) })),
  ])
  const unstopped = prepared.slice(0, stops.length).find((stop) => stop.kind === 'refused')
  const takeable: Half[] = []
  for (const [i, half] of present.entries()) {
    const read = prepared[stops.length + i]!
    if (read.kind === 'contents') read.contents.destroy()
    if (unstopped?.kind === 'refused') strand(half, unstopped.error)
    else if (read.kind !== 'refused') takeable.push(half)
    else if (isNoState(read)) gone.add(half)
    else strand(half, read.error)
  }

  // One after the other: what they let in while their states are away is lost, and that is to be for one at a time.
  for (const group of inGroups(relocations)) {
    const members = new Set(group)
    const ofGroup = ({ relocation }: Half): boolean => members.has(relocation)
    await moveGroup(ledger, group, takeable.filter(ofGroup), new Set([...gone].filter(ofGroup)), outcome, strand)
  }
}

/** CHILD_SAs of one reqid share their policies: a state is let in by them only where they are. */
function inGroups(relocations: readonly Relocation[]): readonly (readonly Relocation[])[] {
  return [...Map.groupBy(relocations, ({ installed }) => installed.reqid).values()]
}

async function moveGroup(
  ledger: Ledger,
  group: readonly Relocation[],
  takeable: readonly Half[],
  gone: Set<Half>,
  outcome: MoveOutcome,
  strand: (half: Half, error: KernelError) => void,
): Promise<void> {
  for (const { relocation, from, to } of takeable) (relocation.installed.traces ??= []).push(idOf(from), idOf(to))
  const atOnce = await moveAtOnce(ledger, takeable)
  // What packets are still let in by goes last, and comes first.
  const inOrder = takeable
    .filter((half) => !atOnce.has(half))
    .toSorted((a, b) => Number(a.from.direction === 'in') - Number(b.from.direction === 'in'))
  const takes = await ledger.perform(inOrder.map(({ from }): Operation => ({ op: 'take-state', id: idOf(from) })))
  const taken: Taken[] = []
  for (const [i, half] of inOrder.entries()) {
    const take = takes[i]!
    if (take.kind === 'contents') taken.push({ half, contents: take.contents })
    else if (isNoState(take)) gone.add(half)
    else if (take.kind === 'refused') strand(half, take.error)
  }

  // What the kernel does not have, not yet or not any more, is moved on paper.
  for (const half of [...gone, ...taken.map(({ half }) => half)]) ledger.noteMoved(half.relocation.installed, half.to)
  const { failed, unset } = await put(ledger, taken, group, (half) => half.to)
  for (const { half, error } of failed) strand(half, error)
  outcome.errors.push(...unset)
  const again = failed.map(({ half }) => taken.find((one) => one.half === half)!)
  for (const { half } of again) ledger.noteMoved(half.relocation.installed, half.from)
  // What was not taken at its new place goes on at the old one.
  const back = await put(ledger, again, [...new Set(again.map(({ half }) => half.relocation))], (half) => half.from)
  for (const { half } of back.failed) outcome.lost.add(half.relocation.installed)
  outcome.errors.push(...back.unset)
  for (const { contents } of taken) contents.destroy()
  const isClean = unset.length === 0 && back.unset.length === 0
  for (const { installed } of group) if (isClean && !outcome.stranded.has(installed)) installed.isUnsettled = false
}

/**
 * Inbound states need not be away. All there are of their reqid are moved in one send, the youngest first, for so the
 * kernel finds them; each is read back. What was not moved has not changed, and is taken and put.
 */
async function moveAtOnce(ledger: Ledger, takeable: readonly Half[]): Promise<ReadonlySet<Half>> {
  const inward = takeable.filter(({ from }) => from.direction === 'in').toReversed()
  const [first] = inward
  const children = inward.map(({ relocation }) => relocation.installed)
  const isOneGo = ({ from, to }: Half): boolean => isOneMove(from, to) && isSameWay(from, first!.from) && isSameWay(to, first!.to)
  if (first === undefined || !inward.every(isOneGo) || !ledger.canMove(children)) return new Set()
  const moves = inward.map(({ from, to }): Operation => ({ op: 'move-state', from, to }))
  const outcomes = await ledger.perform([...children.flatMap((installed) => ledger.loosened(installed)), ...moves])
  const moved = new Set(inward.filter((_, i) => outcomes.at(i - inward.length)!.kind === 'done'))
  for (const { relocation, to } of moved) ledger.noteMoved(relocation.installed, to)
  return moved
}

function isSameWay(one: State, other: State): boolean {
  return one.source.equals(other.source) && one.destination.equals(other.destination)
}

/** What the kernel can change of a state in one go. */
function isOneMove(from: State, to: State): boolean {
  if (from.mode !== 'tunnel' || from.destination.family !== to.destination.family) return false
  return from.encapsulation === null || to.encapsulation !== null
}

/**
 * States go in, and behind those of a direction its policies, which let packets in, and leave, by them: the inbound
 * direction first, whose packets nothing holds back.
 */
async function put(
  ledger: Ledger,
  taken: readonly Taken[],
  relocations: readonly Relocation[],
  place: (half: Half) => State,
): Promise<{ readonly failed: readonly { half: Half; error: KernelError }[]; readonly unset: readonly KernelError[] }> {
  const policies = relocations.flatMap(({ installed, dynamic }) => ledger.reclaim(installed, dynamic))
  const steps = (['in', 'out'] as const).flatMap((way): readonly Step[] => [
    ...taken
      .filter(({ half }) => half.from.direction === way)
      .map(({ half, contents }): Step => ({ half, operation: { op: 'add-state', state: place(half), contents } })),
    ...policies
      .filter((operation) => isOutward(operation) === (way === 'out'))
      .map((operation): Step => ({ half: null, operation })),
  ])
  if (steps.length === 0) return { failed: [], unset: [] }
  const outcomes = await ledger.perform(steps.map(({ operation }) => operation))
  const failed: { half: Half; error: KernelError }[] = []
  const unset: KernelError[] = []
  for (const [i, { half }] of steps.entries()) {
    const outcome = outcomes[i]!
    if (outcome.kind !== 'refused') continue
    if (half !== null) failed.push({ half, error: outcome.error })
    else if (outcome.error.code !== 'KERNEL_NO_SUCH_POLICY') unset.push(outcome.error)
  }
  return { failed, unset }
}

/** Of a put: a state that goes in, or what is done with a policy. */
interface Step {
  readonly half: Half | null
  readonly operation: Operation
}

function isOutward(operation: Operation): boolean {
  if (operation.op === 'set-policy') return operation.policy.direction === 'out'
  return operation.op === 'delete-policy' && operation.id.direction === 'out'
}

function halvesOf(relocation: Relocation): readonly Half[] {
  const { installed, to, dynamic } = relocation
  // One of them may be there already.
  const away = [installed.inbound, installed.outbound].filter((state) => !isAt(state, to))
  return away.map((from) => ({ relocation, from, to: movedState(from, to, dynamic) }))
}

function isNoState(outcome: Outcome): boolean {
  return outcome.kind === 'refused' && outcome.error.code === 'KERNEL_NO_SUCH_STATE'
}

function idOf({ spi, source, destination, mark }: StateId): StateId {
  return { spi, source, destination, mark: mark ?? null }
}
