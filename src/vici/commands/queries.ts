/**
 * list-sas, list-policies, get-algorithms: what there is.
 */
import { fitsChild, fitsIke, ikeName, type SaFilter } from '../../gateway/control.ts'
import type { PoliciesInForce } from '../../gateway/traps.ts'
import { isShunt } from '../../ike/connection.ts'
import { childMtu, outerMtu } from '../../ike/mtu.ts'
import type { ChildSa } from '../../ike/sa.ts'
import type { Session } from '../../ike/session.ts'
import type { ChildUsage } from '../../kernel/books.ts'
import { formatSelector, formatSelectorTemplate } from '../../negotiate/selectors.ts'
import type { CommandContext, Handlers } from '../command.ts'
import { algorithms } from '../algorithms.ts'
import { saFilter } from '../filters.ts'
import { section, textOf, type ViciSection } from '../message.ts'
import { childSection, childrenSection, ikeEntries, tasksOf } from '../sas.ts'

/** IKE_SAs whose CHILD_SAs the kernel is asked about at a time: the others have their turns in between. */
const SESSIONS_AT_ONCE = 32

export const queryCommands: Handlers = {
  /** `noblock` changes nothing: a listing waits for nobody. */
  'list-sas': async (request, context) => {
    const filter = saFilter(request)
    // charon knows nothing of one that is being made to replace another.
    const listed = context.operations.gateway.sessions().filter((session) => !session.isSuccessor && fitsIke(session.sa, filter))
    for (let i = 0; i < listed.length; i += SESSIONS_AT_ONCE)
      await listSas(listed.slice(i, i + SESSIONS_AT_ONCE), filter, context)
    return section()
  },

  /** Of the kinds asked for, traps the newest first (strongSwan). What CHILD_SAs install is not listed. */
  'list-policies': async (request, context) => {
    const { ike, child } = saFilter(request)
    const fits = ({ connection, child: own }: PoliciesInForce): boolean =>
      (ike === null || ike === connection.name) && (child === null || child === own.name)
    const policies = context.operations.gateway.control.policies().filter(fits)
    const listed = [
      ...(textOf(request, 'trap') === null ? [] : policies.filter(({ child: own }) => !isShunt(own)).toReversed()),
      ...policies.filter(({ child: own }) => isShunt(own) && textOf(request, own.mode) !== null),
    ]
    for (const one of listed) await context.stream('list-policy', policySection(one))
    return section()
  },

  'get-algorithms': () => algorithms(),
}

/** A trap with its reqid and selectors, a shunt as it is configured. */
function policySection({ connection, child, reqid, localSelectors, remoteSelectors }: PoliciesInForce): ViciSection {
  const isTrap = !isShunt(child)
  return section([
    `${connection.name}/${child.name}`,
    section(
      ['child', child.name],
      ['reqid', isTrap ? String(reqid) : null],
      ['ike', connection.name],
      ['mode', child.mode.toUpperCase()],
      ['local-ts', isTrap ? localSelectors.map(formatSelector) : child.localSelectors.map(formatSelectorTemplate)],
      ['remote-ts', isTrap ? remoteSelectors.map(formatSelector) : child.remoteSelectors.map(formatSelectorTemplate)],
    ),
  ])
}

async function listSas(sessions: readonly Session[], filter: SaFilter, context: CommandContext): Promise<void> {
  const [usages, mtus] = await Promise.all([usagesOf(sessions, filter), outerMtusOf(sessions)])
  for (const session of sessions) {
    // What was closed while the kernel was asked, or the client read, is there no more.
    if (session.sa.state === 'closed') continue
    await context.stream('list-sa', listedSa(session, usages, mtus.get(session) ?? null, context.operations))
  }
}

/** Asked all at once, and put together by the kernel's door. */
async function usagesOf(sessions: readonly Session[], filter: SaFilter): Promise<ReadonlyMap<ChildSa, ChildUsage | null>> {
  const asked = sessions.flatMap((session) =>
    session.sa.children
      .filter((child) => fitsChild(child, filter))
      .map(async (child) => [child, await session.usageOf(child)] as const),
  )
  return new Map(await Promise.all(asked))
}

async function outerMtusOf(sessions: readonly Session[]): Promise<ReadonlyMap<Session, number | null>> {
  return new Map(await Promise.all(sessions.map(async (session) => [session, await outerMtu(session)] as const)))
}

function listedSa(
  session: Session,
  usages: ReadonlyMap<ChildSa, ChildUsage | null>,
  mtu: number | null,
  { clock }: CommandContext['operations'],
): ViciSection {
  const { sa } = session
  const children = sa.children
    .filter((child) => usages.has(child))
    .map((child) => [child, childSection(child, usages.get(child)!, clock, undefined, childMtu(child, mtu))] as const)
  return section([
    ikeName(sa),
    section(...ikeEntries(sa, clock.now(), tasksOf(session)), ['child-sas', childrenSection(children)]),
  ])
}
