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

  add(session: Session): void {
    const { remoteId } = session.sa
    assert(remoteId !== null, 'an established IKE_SA knows its peer')
    enter(this.#byRemoteId, keyOf(remoteId), session)
  }

  /** Nothing happens for one that was never added. */
  remove(session: Session): void {
    const { remoteId } = session.sa
    if (remoteId !== null) leave(this.#byRemoteId, keyOf(remoteId), session)
  }

  get size(): number {
    return this.#byRemoteId.size
  }

  /** Other IKE_SAs, established and not being deleted, between our identity in `sa` and that of a peer, over the same IP version. */
  twinsOf(sa: IkeSa, remoteId: Identity): readonly Session[] {
    const there = this.#byRemoteId.get(keyOf(remoteId))
    if (there === undefined) return []
    return (there instanceof Set ? [...there] : [there]).filter(
      ({ sa: other }) =>
        other !== sa &&
        other.state === 'established' &&
        isSame(other.localId, sa.localId) &&
        isSame(other.remoteId, remoteId) &&
        other.remote.address.family === sa.remote.address.family,
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
