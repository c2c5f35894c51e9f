/**
 * espalier-nat: what is known of the path to each peer, and how packets fare on it. Ours; streamed like list-sas.
 */
import { fitsIke, ikeName } from '../../gateway/control.ts'
import { SECOND, type Milliseconds } from '../../base/time.ts'
import type { Endpoint } from '../../base/ip.ts'
import { keepaliveInterval } from '../../ike/adaptive.ts'
import { childMtu, outerMtu } from '../../ike/mtu.ts'
import type { ChildSa } from '../../ike/sa.ts'
import type { Session } from '../../ike/session.ts'
import { encapsulates } from '../../nat/detection.ts'
import { keepsAlive } from '../../nat/keepalives.ts'
import type { Detection, Move } from '../../nat/path.ts'
import { healthSentence } from '../../report/health.ts'
import type { CommandContext, Handlers } from '../command.ts'
import { saFilter } from '../filters.ts'
import { section, type ViciNode, type ViciSection } from '../message.ts'
import { childrenSection, elapsed, healthEntries, ikeEntries } from '../sas.ts'

type Entry = readonly [string, ViciNode | null]

export const natCommands: Handlers = {
  'espalier-nat': async (request, context) => {
    const filter = saFilter(request)
    const sessions = context.operations.gateway.sessions().filter(({ sa }) => fitsIke(sa, filter))
    for (const session of sessions) {
      // What was closed while the client read is there no more, and what is to replace another has not yet.
      if (session.sa.state === 'closed' || session.isSuccessor) continue
      const mtu = await outerMtu(session)
      await context.stream('espalier-path', section([ikeName(session.sa), pathSection(session, mtu, context.operations)]))
    }
    return section()
  },
}

/** As in list-sas. */
const KEYS = new Set([
  ...['uniqueid', 'state', 'local-host', 'local-port', 'local-id', 'remote-host', 'remote-port', 'remote-id'],
  ...['nat-local', 'nat-remote', 'nat-fake', 'nat-any', 'established'],
])

function pathSection(session: Session, mtu: number | null, { clock }: CommandContext['operations']): ViciSection {
  const { sa } = session
  const { path } = sa
  const now = clock.now()
  return section(
    ...ikeEntries(sa, now, null).filter(([key]) => KEYS.has(key)),
    ['encap', yes(encapsulates(sa.nat))],
    ['mobike', yes(sa.mobike !== null)],
    // There is no way to the peer at present, and nothing is sent.
    ['stale', sa.isStale ? 'yes' : null],
    // Only where the peer was found to do otherwise than the NATs ask for.
    ['peer-sends', sa.nat.esp ?? null],
    ['detection', path.detection === null ? null : detectionSection(path.detection, now)],
    ['move-count', String(path.moveCount)],
    ['moves', section(...path.moves.map((move, i) => [String(i + 1), moveSection(move, now)] as const))],
    ['keepalives', keepalivesSection(session)],
    ['outer-mtu', mtu === null ? null : String(mtu)],
    [
      'child-sas',
      childrenSection(
        sa.children.filter(({ state }) => state !== 'deleted').map((child) => [child, childPath(session, child, mtu, now)]),
      ),
    ],
  )
}

function detectionSection(detection: Detection, now: Milliseconds): ViciSection {
  const { supported, forced, local, remote } = detection
  return section(
    ['age', elapsed(detection.at, now)],
    ['supported', yes(supported)],
    // Nothing is compared where the peer sent nothing.
    ['source-matched', supported ? yes(detection.sourceMatched) : null],
    ['destination-matched', supported ? yes(detection.destinationMatched) : null],
    ['forced', yes(forced)],
    ...endpoint('local', local),
    ...endpoint('remote', remote),
  )
}

function moveSection({ at, cause, from, to }: Move, now: Milliseconds): ViciSection {
  return section(
    ['age', elapsed(at, now)],
    ['cause', cause],
    ...endpoint('old-local', from.local),
    ...endpoint('old-remote', from.remote),
    ...endpoint('local', to.local),
    ...endpoint('remote', to.remote),
  )
}

function keepalivesSection(session: Session): ViciSection {
  const { sa } = session
  const interval = keepaliveInterval(session)
  const { keepalivesSent, keepalivesSuppressed, learntLifetime } = sa.path
  return section(
    ['needed', yes(sa.nat.here)],
    ['interval', keepsAlive(sa.nat, interval) ? String(Math.floor(interval / SECOND)) : null],
    ['sent', String(keepalivesSent)],
    ['suppressed', String(keepalivesSuppressed)],
    ['learnt-lifetime', learntLifetime === null ? null : String(Math.floor(learntLifetime / SECOND))],
  )
}

function childPath({ sa }: Session, child: ChildSa, outer: number | null, now: Milliseconds): ViciSection {
  const mtu = childMtu(child, outer)
  return section(
    ['name', child.connection.name],
    ['uniqueid', String(child.uniqueId)],
    ['state', child.state.toUpperCase()],
    ['mode', child.mode.toUpperCase()],
    ['encap', yes(child.installed.inbound.encapsulation !== null)],
    ...healthEntries(child, now),
    ['health-text', healthSentence(sa, child, now)],
    ['repair', child.health.repair],
    ['mtu', mtu === null ? null : String(mtu)],
  )
}

function endpoint(which: string, { address, port }: Endpoint): readonly Entry[] {
  return [
    [`${which}-host`, address.toString()],
    [`${which}-port`, String(port)],
  ]
}

function yes(is: boolean): string {
  return is ? 'yes' : 'no'
}
