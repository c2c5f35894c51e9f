/**
 * The established IKE_SAs by who is at the other end, so that a peer's other IKE_SA is found without a search
 * (INITIAL_CONTACT, RFC 7296 2.4): each handshake asks, with twenty thousand standing as with one.
 */
import { identitiesEqual, identityKey, type Identity } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import type { IkeSa } from './sa.ts'
import { SessionIndex } from './session-index.ts'
import type { Session } from './session.ts'

export class Established {
  readonly #byRemoteId = new SessionIndex()

  add(session: Session): void {
    const { remoteId } = session.sa
    assert(remoteId !== null, 'an established IKE_SA knows its peer')
    this.#byRemoteId.add(identityKey(remoteId), session)
  }

  /** Nothing happens for one that was never added. */
  remove(session: Session): void {
    const { remoteId } = session.sa
    if (remoteId !== null) this.#byRemoteId.remove(identityKey(remoteId), session)
  }

  get size(): number {
    return this.#byRemoteId.size
  }

  /** Other IKE_SAs, established and not being deleted, between our identity in `sa` and that of a peer, over the same IP version. */
  twinsOf(sa: IkeSa, remoteId: Identity): readonly Session[] {
    return this.#byRemoteId
      .get(identityKey(remoteId))
      .filter(
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
