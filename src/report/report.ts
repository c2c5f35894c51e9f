/**
 * Events of the core in words: one sentence each, with the facts beside it as fields. Wording lives here and nowhere
 * else. Secrets cannot get here: they are no part of any event.
 */
import { formatIdentity } from '../auth/identity.ts'
import { messageOf } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { DropReason, CloseReason, IkeEvent } from '../ike/events.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import type { NatFacts } from '../nat/detection.ts'
import { formatProposal } from '../negotiate/proposals.ts'
import { formatSelector } from '../negotiate/selectors.ts'

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LEVELS)[number]

export interface Line {
  readonly level: Level
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A stranger decides how many datagrams we drop or refuse, not how many lines we write: one a reason in this time. */
const DROP_LINE_INTERVAL: Milliseconds = 10 * SECOND

export class Reporter {
  readonly #now: () => Milliseconds
  readonly #write: (line: Line) => void
  /** By what has a limit of its own: reasons and codes, of which there are a few, never anything a stranger made up. */
  readonly #limits = new Map<string, { count: number; told: Milliseconds }>()

  constructor(now: () => Milliseconds, write: (line: Line) => void) {
    this.#now = now
    this.#write = write
  }

  readonly handle = (event: IkeEvent): void => {
    if (event.event === 'datagram-dropped') return this.#limited(`dropped ${event.reason}`, event)
    // By code: one that is asked for another group in the ordinary course of things must not hide one that finds nothing in common.
    if (event.event === 'request-refused') return this.#limited(`refused ${event.error.code}`, event)
    if (event.event === 'cookie-demanded') return this.#limited(event.event, event)
    if (event.event === 'message-sent' || event.event === 'message-received') return
    this.#write(lineOf(event))
  }

  #limited(key: string, event: IkeEvent): void {
    const now = this.#now()
    const seen = this.#limits.get(key) ?? { count: 0, told: Number.NEGATIVE_INFINITY }
    this.#limits.set(key, seen)
    seen.count++
    if (now - seen.told < DROP_LINE_INTERVAL) return
    const line = lineOf(event)
    this.#write({ ...line, fields: { ...line.fields, count: seen.count } })
    seen.told = now
    seen.count = 0
  }
}

/** The line of one event. */
export function lineOf(event: IkeEvent): Line {
  const line = (level: Level, message: string, fields: Record<string, unknown> = {}): Line => ({
    level,
    message,
    fields: { event: event.event, ...fields },
  })
  const saLine = (level: Level, sa: IkeSa, message: string, fields: Record<string, unknown> = {}): Line =>
    line(level, `${saName(sa)}: ${message}`, { ike: sa.uniqueId, connection: sa.connection?.name ?? null, ...fields })

  switch (event.event) {
    case 'message-sent':
    case 'message-received':
      return line('debug', event.event)
    case 'ike-initiating':
      return saLine('info', event.sa, `initiating IKE_SA to ${event.sa.remote.toString()}`, endpoints(event.sa))
    case 'ike-responding':
      return saLine('info', event.sa, `${event.sa.remote.toString()} is initiating an IKE_SA`, endpoints(event.sa))
    case 'nat-detected':
      return saLine('info', event.sa, natSentence(event.sa.nat), { ...endpoints(event.sa), nat: event.sa.nat })
    case 'floated':
      return saLine(
        'info',
        event.sa,
        `floating from ${event.from.local.toString()} - ${event.from.remote.toString()} to ${event.sa.local.toString()} - ${event.sa.remote.toString()}`,
        {
          ...endpoints(event.sa),
          from: { local: event.from.local.toString(), remote: event.from.remote.toString() },
        },
      )
    case 'cookie-demanded':
      return line('info', `asking ${event.remote.toString()} for a cookie: too many half-open IKE_SAs`, {
        remote: event.remote.toString(),
      })
    case 'cookie-returned':
      return saLine('info', event.sa, 'the peer asks for a cookie, sending it back')
    case 'key-exchange-retry':
      return saLine('info', event.sa, `the peer wants key exchange group ${event.group}, trying again with it`, {
        group: event.group,
      })
    case 'retransmitting':
      return saLine(
        'info',
        event.sa,
        `no answer yet, sending request ${event.messageId} again (retransmission ${event.attempt})`,
        { messageId: event.messageId, attempt: event.attempt },
      )
    case 'ike-established': {
      const { sa } = event
      return saLine(
        'info',
        sa,
        `IKE_SA established between ${identity(sa.localId)} at ${sa.local.toString()} and ${identity(sa.remoteId)} at ${sa.remote.toString()}`,
        {
          ...endpoints(sa),
          localId: identity(sa.localId),
          remoteId: identity(sa.remoteId),
          proposal: sa.proposal === null ? null : formatProposal(sa.proposal),
          role: sa.role,
          nat: sa.nat,
        },
      )
    }
    case 'ike-failed':
      return saLine('error', event.sa, `IKE_SA failed: ${event.error.message}`, {
        code: event.error.code,
        accused: event.error.accused,
        ...endpoints(event.sa),
      })
    case 'not-initiated':
      return line('error', event.error.message, {
        connection: event.connection,
        code: event.error.code,
        accused: event.error.accused,
      })
    case 'ike-closed':
      return saLine('info', event.sa, `IKE_SA closed: ${CLOSE_REASONS[event.reason]}`, { reason: event.reason })
    case 'child-established': {
      const { sa, child } = event
      const how = child.encapsulated ? `in UDP ${sa.local.port} - ${sa.remote.port}` : 'without UDP'
      return saLine(
        'info',
        sa,
        `CHILD_SA ${child.connection.name}{${child.uniqueId}} established: ${selectors(child)}, ESP ${how}, SPIs ${spi(child.inboundSpi)} in and ${spi(child.outboundSpi)} out`,
        {
          ...endpoints(sa),
          child: childFields(child),
        },
      )
    }
    case 'child-failed':
      return saLine('error', event.sa, `CHILD_SA of ${event.name} failed, keeping the IKE_SA: ${event.error.message}`, {
        code: event.error.code,
        accused: event.error.accused,
      })
    case 'child-closed':
      return saLine(
        'info',
        event.sa,
        `CHILD_SA ${event.child.connection.name}{${event.child.uniqueId}} closed: ${CLOSE_REASONS[event.reason]}`,
        { reason: event.reason, child: childFields(event.child) },
      )
    case 'keepalive-sent':
      return saLine('debug', event.sa, `keepalive to ${event.sa.remote.toString()}`, endpoints(event.sa))
    case 'kernel-refused':
      return line('error', event.error.message, { code: event.error.code, errno: event.error.errno })
    case 'kernel-event':
      return line('debug', `the kernel tells of ${event.news.event}`, {
        ike: event.sa?.uniqueId ?? null,
        ...('spi' in event.news ? { spi: spi(event.news.spi) } : {}),
      })
    case 'broken':
      return saLine('error', event.sa, `internal error, giving this IKE_SA up: ${messageOf(event.error)}`, {
        stack: event.error instanceof Error ? event.error.stack : null,
      })
    case 'request-refused': {
      // Another group is asked for in the ordinary course of things (RFC 7296 1.2).
      const level = event.error.code === 'KE_GROUP_MISMATCH' ? 'debug' : 'warn'
      return line(level, `refusing IKE_SA_INIT from ${event.remote.toString()}: ${event.error.message}`, {
        remote: event.remote.toString(),
        local: event.local.toString(),
        code: event.error.code,
      })
    }
    case 'datagram-dropped':
      return line('debug', `dropping a datagram from ${event.remote.toString()}: ${DROP_REASONS[event.reason]}`, {
        remote: event.remote.toString(),
        local: event.local.toString(),
        reason: event.reason,
      })
  }
}

const CLOSE_REASONS: Readonly<Record<CloseReason, string>> = {
  'deleted-by-us': 'deleted by us',
  'deleted-by-peer': 'deleted by the peer',
  'half-open-timeout': 'the peer began and never authenticated',
  'peer-silent': 'the peer does not answer',
  'failed': 'the exchange failed',
  'replaced': 'the peer came back and says that it holds no other',
  'shutdown': 'shutting down',
}

const DROP_REASONS: Readonly<Record<DropReason, string>> = {
  'not-ike': 'no IKE message',
  'malformed': 'malformed',
  'unknown-spi': 'no such IKE_SA',
  'version': 'not IKEv2',
  'not-authentic': 'not authentic',
  'out-of-window': 'not the message expected next',
  'queue-full': 'too many waiting for this IKE_SA',
  'half-open-limit': 'too many half-open IKE_SAs',
  'unexpected': 'not expected now',
}

/** The NAT facts as a person says them. */
export function natSentence(facts: NatFacts): string {
  if (!facts.supported) return 'the peer does no NAT detection: no NAT traversal'
  if (facts.faked) return 'no NAT between us, but encap = yes: ESP goes into UDP all the same'
  if (facts.here && facts.there) return 'both sides are behind a NAT'
  if (facts.here) return 'we are behind a NAT'
  if (facts.there) return 'the peer is behind a NAT'
  return 'no NAT between us'
}

function saName(sa: IkeSa): string {
  return `${sa.connection?.name ?? '(unnamed)'}[${sa.uniqueId}]`
}

function endpoints(sa: IkeSa): Record<string, string> {
  return { local: sa.local.toString(), remote: sa.remote.toString() }
}

function identity(id: IkeSa['localId']): string {
  return id === null ? '(unknown)' : formatIdentity(id)
}

function selectors(child: ChildSa): string {
  return `${child.localSelectors.map(formatSelector).join(' ')} === ${child.remoteSelectors.map(formatSelector).join(' ')}`
}

function childFields(child: ChildSa): Record<string, unknown> {
  return {
    name: child.connection.name,
    id: child.uniqueId,
    mode: child.mode,
    reqid: child.reqid,
    spiIn: spi(child.inboundSpi),
    spiOut: spi(child.outboundSpi),
    localSelectors: child.localSelectors.map(formatSelector),
    remoteSelectors: child.remoteSelectors.map(formatSelector),
    proposal: formatProposal(child.proposal),
    encapsulated: child.encapsulated,
  }
}

function spi(value: number): string {
  return value.toString(16).padStart(8, '0')
}
