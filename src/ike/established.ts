/**
 * The established IKE_SAs by who is at the other end, so that a peer's other IKE_SA is found without a search
 * (INITIAL_CONTACT, RFC 7296 2.4): each handshake asks, with twenty thousand standing as with one.
 */
import { formatIdentity, identitiesEqual, type Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import type { Connection } from './connection.ts'
import type { IkeSa } from './sa.ts'
import type { Session } from './session.ts'

export class Established {
  readonly #byRemoteId = new Map<string, Set<Session>>()
  readonly #byConnection = new Map<Connection, Set<Session>>()

  add(session: Session): void {
    const { remoteId, connection } = session.sa
    assert(remoteId !== null && connection !== null, 'an established IKE_SA knows its peer and its connection')
    enter(this.#byRemoteId, keyOf(remoteId), session)
    enter(this.#byConnection, connection, session)
  }

  /** Nothing happens for one that was never added. */
  remove(session: Session): void {
    const { remoteId, connection } = session.sa
    if (remoteId !== null) leave(this.#byRemoteId, keyOf(remoteId), session)
    if (connection !== null) leave(this.#byConnection, connection, session)
  }

  /**
   * Other IKE_SAs, established and not being deleted, between the same two identities. While the peer has not said who
   * it is: those of the same connection.
   */
  twinsOf(sa: IkeSa): readonly Session[] {
    const { localId, remoteId, connection } = sa
    const candidates =
      remoteId !== null
        ? this.#byRemoteId.get(keyOf(remoteId))
        : connection === null
          ? undefined
          : this.#byConnection.get(connection)
    return [...(candidates ?? [])].filter(
      ({ sa: other }) =>
        other !== sa &&
        other.state === 'established' &&
        isSame(other.localId, localId) &&
        (remoteId === null || isSame(other.remoteId, remoteId)),
    )
  }
}

function isSame(a: Identity | null, b: Identity | null): boolean {
  return a !== null && b !== null && identitiesEqual(a, b)
}

/** The same for identities that are equal (names whatever their case); who shares it is compared again. */
function keyOf(identity: Identity): string {
  return `${identity.type} ${formatIdentity(identity).toLowerCase()}`
}

function enter<Key>(index: Map<Key, Set<Session>>, key: Key, session: Session): void {
  const sessions = index.get(key)
  if (sessions === undefined) index.set(key, new Set([session]))
  else sessions.add(session)
}

function leave<Key>(index: Map<Key, Set<Session>>, key: Key, session: Session): void {
  const sessions = index.get(key)
  sessions?.delete(session)
  if (sessions?.size === 0) index.delete(key)
}
