/**
 * The established IKE_SAs by who is at the other end, so that a peer's other IKE_SA is found without a search
 * (INITIAL_CONTACT, RFC 7296 2.4): each handshake asks, with twenty thousand standing as with one.
 */
import { formatIdentity, identitiesEqual, type Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import type { IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/** Nearly every peer has one IKE_SA, which goes without a set. */
type Index<Key> = Map<Key, Session | Set<Session>>

export class Established {
  readonly #byRemoteId: Index<string> = new Map()
  /** By name: the connection an IKE_SA is of may be replaced by one with other children while it stands. */
  readonly #byConnection: Index<string> = new Map()

  add(session: Session): void {
    const { remoteId, connection } = session.sa
    assert(remoteId !== null && connection !== null, 'an established IKE_SA knows its peer and its connection')
    enter(this.#byRemoteId, keyOf(remoteId), session)
    enter(this.#byConnection, connection.name, session)
  }

  /** Nothing happens for one that was never added. */
  remove(session: Session): void {
    const { remoteId, connection } = session.sa
    if (remoteId !== null) leave(this.#byRemoteId, keyOf(remoteId), session)
    if (connection !== null) leave(this.#byConnection, connection.name, session)
  }

  get size(): number {
    return this.#byRemoteId.size + this.#byConnection.size
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
          : this.#byConnection.get(connection.name)
    return (candidates === undefined ? [] : candidates instanceof Set ? [...candidates] : [candidates]).filter(
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

function enter<Key>(index: Index<Key>, key: Key, session: Session): void {
  const there = index.get(key)
  if (there === undefined) index.set(key, session)
  else if (there instanceof Set) there.add(session)
  else if (there !== session) index.set(key, new Set([there, session]))
}

function leave<Key>(index: Index<Key>, key: Key, session: Session): void {
  const there = index.get(key)
  if (there instanceof Set) {
    there.delete(session)
    if (there.size === 0) index.delete(key)
  } else if (there === session) {
    index.delete(key)
  }
}
