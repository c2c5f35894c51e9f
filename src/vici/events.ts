/**
 * What happens to SAs, as events for whoever registered for them: ike-updown, child-updown,
 * ike-update, ike-rekey, child-rekey, alert, with strongSwan's keys and names (its vici_query.c).
 */
import { ikeName } from '../gateway/control.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { CloseReason, IkeEvent } from '../ike/events.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import type { ChildUsage } from '../kernel/books.ts'
import { KernelError } from '../kernel/vocabulary.ts'
import type { Way } from '../nat/path.ts'
import type { Repair } from '../nat/health.ts'
import type { Clock } from '../ports.ts'
import { healthSentence } from '../report/health.ts'
import type { EventName } from './event-names.ts'
import { section, type ViciSection } from './message.ts'
import { childrenSection, childSection, ikeEntries, ikeSection } from './sas.ts'

/** The part of the server that is needed: builds the message only when somebody has registered. */
export interface EventSink {
  raise(event: EventName, message: () => ViciSection): void
}

/** Alerts about nobody's IKE_SA are a stranger's doing: one of each kind in this time. */
const STRANGERS_ALERT_INTERVAL: Milliseconds = SECOND

export class SaEvents {
  readonly #sink: EventSink
  readonly #clock: Clock
  /** CHILD_SAs that are going with their IKE_SA: strongSwan tells of the IKE_SA first, and then of each of them. */
  readonly #goingAlong = new Map<IkeSa, { readonly child: ChildSa; readonly usage: ChildUsage | null }[]>()
  readonly #told = new Map<string, Milliseconds>()
  /** Requests of ours that were sent again and not answered yet. */
  readonly #retransmitted = new WeakSet<IkeSa>()

  constructor(sink: EventSink, clock: Clock) {
    this.#sink = sink
    this.#clock = clock
  }

  readonly handle = (event: IkeEvent): void => {
    switch (event.event) {
      case 'ike-established':
        this.#raiseIke(event.sa, true)
        break
      case 'ike-rekeyed':
        this.#ikeRekeyed(event.old, event.sa)
        break
      case 'endpoints-moved':
        this.#ikeUpdated(event.sa, event.to)
        break
      case 'child-established':
        this.#raiseChild(event.sa, event.child, null, 'INSTALLED', true)
        break
      case 'child-rekeyed':
        this.#childRekeyed(event.sa, event.old, event.child)
        break
      case 'health-changed':
        this.#raiseHealth(event.sa, event.child, null)
        break
      case 'child-repairing':
        this.#raiseHealth(event.sa, event.child, event.repair)
        break
      case 'child-closed':
        if (event.reason !== 'rekeyed') this.#childClosed(event.sa, event.child, event.usage)
        break
      case 'ike-closed':
        if (event.reason !== 'rekeyed') this.#ikeClosed(event.sa, event.reason)
        break
      case 'retransmitting':
        this.#retransmitted.add(event.sa)
        this.#alert('retransmit-send', event.sa)
        break
      case 'message-received':
        if (event.isRetransmission) this.#alert('retransmit-receive', event.sa)
        else if (event.isResponse && event.sa !== null && this.#retransmitted.delete(event.sa))
          this.#alert('retransmit-send-cleared', event.sa)
        break
      case 'request-given-up':
        this.#alert('retransmit-send-timeout', event.sa)
        // strongSwan: a peer that never answered at all was not reached.
        if (event.sa.state === 'connecting') this.#alert('peer-init-unreachable', event.sa)
        break
      case 'ike-expired':
        this.#alert('ike-sa-expired', event.sa)
        break
      case 'duplicate-found':
        this.#alert('unique-replace', event.old)
        break
      case 'ike-failed':
        this.#alertAbout(IKE_ALERTS, event.error.code, event.sa)
        break
      case 'child-failed':
        if (event.error instanceof KernelError) this.#alert('install-child-sa-failed', event.sa)
        else this.#alertAbout(CHILD_ALERTS, event.error.code, event.sa)
        this.#alert('keep-on-child-sa-failure', event.sa)
        break
      case 'not-initiated':
        if (event.error.code === 'NO_REMOTE_ADDRESS') this.#alert('peer-addr-failed', null)
        break
      case 'request-refused':
        if (event.error.code === 'NO_PROPOSAL_CHOSEN') this.#alert('proposal-mismatch-ike', null)
        break
      case 'datagram-dropped':
        if (event.reason === 'malformed') this.#alert('parse-error-header', null)
        if (event.reason === 'not-authentic') this.#alert('parse-error-body', null)
        if (event.reason === 'unknown-spi') this.#alert('invalid-ike-spi', null)
        break
      default:
    }
  }

  #childClosed(sa: IkeSa, child: ChildSa, usage: ChildUsage | null): void {
    if (sa.state !== 'closed') return this.#raiseChild(sa, child, usage, 'DELETED', false)
    const others = this.#goingAlong.get(sa)
    if (others === undefined) this.#goingAlong.set(sa, [{ child, usage }])
    else others.push({ child, usage })
  }

  #ikeClosed(sa: IkeSa, reason: CloseReason): void {
    const children = this.#goingAlong.get(sa) ?? []
    this.#goingAlong.delete(sa)
    if (reason === 'half-open-timeout') this.#alert('half-open-timeout', sa)
    // What was never up does not go down.
    if (sa.established === null) return
    this.#raiseIke(sa, false)
    for (const { child, usage } of children) this.#raiseChild(sa, child, usage, 'INSTALLED', false)
  }

  #ikeRekeyed(old: IkeSa, sa: IkeSa): void {
    const now = this.#clock.now()
    this.#sink.raise('ike-rekey', () =>
      section([ikeName(old), section(['old', ikeSection(old, now, null)], ['new', ikeSection(sa, now, null)])]),
    )
  }

  /** strongSwan: about to change, so that what is listed of the IKE_SA has the old endpoints. */
  #ikeUpdated(sa: IkeSa, { local, remote }: Way): void {
    this.#sink.raise('ike-update', () =>
      section(
        ['local-host', local.address.toString()],
        ['local-port', `${local.port}`],
        ['remote-host', remote.address.toString()],
        ['remote-port', `${remote.port}`],
        [ikeName(sa), ikeSection(sa, this.#clock.now(), null)],
      ),
    )
  }

  #childRekeyed(sa: IkeSa, old: ChildSa, child: ChildSa): void {
    this.#sink.raise('child-rekey', () => {
      const both = section(
        ['old', childSection(old, null, this.#clock, 'REKEYED')],
        ['new', childSection(child, null, this.#clock)],
      )
      const children = section([child.connection.name, both])
      return section([ikeName(sa), section(...ikeEntries(sa, this.#clock.now(), null), ['child-sas', children])])
    })
  }

  /** Ours: how a CHILD_SA fares now, or how what does not work is repaired. */
  #raiseHealth(sa: IkeSa, child: ChildSa, repair: Repair | null): void {
    this.#sink.raise('espalier-health', () => {
      const now = this.#clock.now()
      const children = childrenSection([[child, childSection(child, null, this.#clock)]])
      return section(
        ['text', healthSentence(sa, child, now)],
        ['repair', repair],
        [ikeName(sa), section(...ikeEntries(sa, now, null), ['child-sas', children])],
      )
    })
  }

  #raiseIke(sa: IkeSa, isUp: boolean): void {
    this.#sink.raise('ike-updown', () => section(up(isUp), [ikeName(sa), ikeSection(sa, this.#clock.now(), null)]))
  }

  #raiseChild(sa: IkeSa, child: ChildSa, usage: ChildUsage | null, state: string, isUp: boolean): void {
    this.#sink.raise('child-updown', () => {
      const children = childrenSection([[child, childSection(child, usage, this.#clock, state)]])
      return section(up(isUp), [ikeName(sa), section(...ikeEntries(sa, this.#clock.now(), null), ['child-sas', children])])
    })
  }

  #alertAbout(alerts: Readonly<Record<string, string>>, code: string, sa: IkeSa): void {
    const type = alerts[code]
    if (type !== undefined) this.#alert(type, sa)
  }

  #alert(type: string, sa: IkeSa | null): void {
    const now = this.#clock.now()
    if (sa === null) {
      if (now - (this.#told.get(type) ?? Number.NEGATIVE_INFINITY) < STRANGERS_ALERT_INTERVAL) return
      this.#told.set(type, now)
    }
    this.#sink.raise('alert', () =>
      section(['type', type], ['ike-sa', sa === null ? null : section([ikeName(sa), ikeSection(sa, now, null)])]),
    )
  }
}

/** strongSwan's alerts by the codes of our errors. */
const IKE_ALERTS: Readonly<Record<string, string>> = {
  UNIQUE_KEEP: 'unique-keep',
  AUTHENTICATION_FAILED: 'peer-auth-failed',
  PEER_SAID_AUTHENTICATION_FAILED: 'local-auth-failed',
  NO_SHARED_SECRET: 'local-auth-failed',
  NO_PROPOSAL_CHOSEN: 'proposal-mismatch-ike',
  PEER_SAID_NO_PROPOSAL_CHOSEN: 'proposal-mismatch-ike',
  PEER_INVALID_SYNTAX: 'parse-error-body',
}
const CHILD_ALERTS: Readonly<Record<string, string>> = {
  NO_PROPOSAL_CHOSEN: 'proposal-mismatch-child',
  PEER_SAID_NO_PROPOSAL_CHOSEN: 'proposal-mismatch-child',
  TS_UNACCEPTABLE: 'ts-mismatch',
  TRAFFIC_TAKEN: 'ts-mismatch',
  PEER_SAID_TS_UNACCEPTABLE: 'ts-mismatch',
  NO_VIRTUAL_ADDRESS: 'vip-failure',
}

/** Nothing says down. */
function up(isUp: boolean): readonly [string, string | null] {
  return ['up', isUp ? 'yes' : null]
}
