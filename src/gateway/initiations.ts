/**
 * Initiations that come to nothing because a host name has no address yet, or there is no route: with
 * charon.retry_initiate_interval they are tried again after that time, until they come to an IKE_SA or nobody wants
 * them any more (strongSwan).
 */
import type { ChildConnection, Connection, IkeSettings } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import { NotInitiated } from '../ike/failure.ts'
import type { InitiationOptions } from '../ike/initiate.ts'
import type { Session } from '../ike/session.ts'
import type { Shard } from '../ike/shard.ts'
import type { Timeouts } from './timeouts.ts'

export interface OpenOptions extends InitiationOptions {
  /** Hears of every IKE_SA that is begun for it. */
  readonly opened?: (session: Session) => void
  /** Hears that it is put off. */
  readonly postponed?: () => void
  /** Asked before it is tried again. */
  readonly isWanted?: () => boolean
}

/** See Shard.initiate. */
export type Open = (connection: Connection, child: ChildConnection | null, options: OpenOptions) => Promise<Session>

export class Initiations {
  readonly #shard: Pick<Shard, 'initiate'>
  readonly #timeouts: Timeouts
  readonly #settings: () => IkeSettings
  readonly #report: (event: IkeEvent) => void
  readonly #stopped = Promise.withResolvers<void>()

  constructor(
    shard: Pick<Shard, 'initiate'>,
    timeouts: Timeouts,
    settings: () => IkeSettings,
    report: (event: IkeEvent) => void,
  ) {
    this.#shard = shard
    this.#timeouts = timeouts
    this.#settings = settings
    this.#report = report
  }

  readonly open: Open = async (connection, child, options) => {
    for (;;) {
      try {
        return await this.#shard.initiate(connection, child, options.opened, options)
      } catch (error) {
        const retryIn = this.#settings().retryInitiateInterval
        if (retryIn === 0 || !(error instanceof NotInitiated) || !mayPass(error, connection)) throw error
        this.#report({ event: 'initiating-later', connection: connection.name, error, retryIn })
        options.postponed?.()
        await this.#timeouts.within(retryIn, this.#stopped.promise)
        if (options.isWanted?.() === false) throw error
      }
    }
  }

  /** Nothing is waited for any more. */
  stop(): void {
    this.#stopped.resolve()
  }
}

function mayPass({ code }: NotInitiated, { remoteAddresses }: Connection): boolean {
  return code === 'NO_ROUTE' || (code === 'NO_REMOTE_ADDRESS' && remoteAddresses.some(({ kind }) => kind === 'host'))
}
