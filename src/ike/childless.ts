/**
 * Childless IKE_SAs (RFC 6023): IKE_AUTH without SA, TSi and TSr, for a responder that says in IKE_SA_INIT that it takes
 * that. CHILD_SAs come later, by CREATE_CHILD_SA, where each has a key exchange of its own. `childless` says:
 *
 *   allow   a peer may; we do where there is no child to begin with
 *   prefer  we do with every peer that takes it
 *   force   both sides have to
 *   never   a peer may not
 */
import { assert } from '../base/assert.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { find, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import type { ChildConnection, Connection } from './connection.ts'
import { ExchangeFailure } from './failure.ts'
import type { Session } from './session.ts'

/** What a responder's IKE_SA_INIT says about it. Which of the connections it is turns out in IKE_AUTH. */
export function childlessSupport(candidates: readonly Connection[]): readonly Payload[] {
  return candidates.every(({ childless }) => childless === 'never') ? [] : [notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED)]
}

/**
 * At an initiator: whether IKE_AUTH is to go without a CHILD_SA, of which `child` comes later unless it is null. Throws
 * ExchangeFailure when it would have to and the responder does not take that.
 */
export function goesChildless({ sa, opening }: Session, child: ChildConnection | null): boolean {
  assert(sa.connection !== null && opening !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const { childless } = sa.connection
  if (opening.takesChildless) return child === null || childless === 'prefer' || childless === 'force'
  if (child !== null && childless !== 'force') return false
  throw new ExchangeFailure('peer-incompatible', 'CHILDLESS_UNSUPPORTED', 'peer does not support childless IKE_SA initiation')
}

/** At a responder: whether the peer wants no CHILD_SA yet. Throws ExchangeFailure when `childless` has it otherwise. */
export function isChildless({ childless }: Connection, request: readonly Payload[]): boolean {
  const isWithout = (['SA', 'TSi', 'TSr'] as const).every((kind) => find(request, kind) === null)
  if (isWithout && childless === 'never') throw refused('peer tried to initiate a childless IKE_SA')
  if (!isWithout && childless === 'force') throw refused('peer did not initiate a childless IKE_SA')
  return isWithout
}

/** RFC 6023 3: as if the request made no sense. */
function refused(what: string): ExchangeFailure {
  return new ExchangeFailure('policy', 'CHILDLESS_MISMATCH', what, NotifyType.INVALID_SYNTAX)
}
