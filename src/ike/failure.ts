/**
 * The ways an exchange fails, with the notify that says so on the wire and the catalogue of their codes.
 */
import { type Accused, EspalierError } from '../base/errors.ts'
import { NotifyType, ProtocolId, nameOf } from '../iana/ikev2.ts'
import { notify } from '../message/ikev2/find.ts'
import type { NotifyPayload, WireProposal } from '../message/ikev2/payload.ts'
import type { SuiteProposal } from '../negotiate/proposals.ts'

const NO_BYTES = new Uint8Array(0)

/**
 * Thrown inside an exchange, caught by whoever runs it. `notify` is the error notify to answer with (a responder), or
 * that was received (an initiator); null where nothing is said on the wire.
 */
export class ExchangeFailure extends EspalierError {
  override readonly name = 'ExchangeFailure'
  readonly notify: number | null
  /** Data of the notify: the wanted group of INVALID_KE_PAYLOAD, the type of UNSUPPORTED_CRITICAL_PAYLOAD. */
  readonly data: Uint8Array
  /** SPI of the ESP SA the notify is about; empty for all but CHILD_SA_NOT_FOUND (RFC 7296 3.10). */
  readonly spi: Uint8Array
  constructor(
    accused: Accused,
    code: string,
    message: string,
    notify: number | null = null,
    data: Uint8Array = NO_BYTES,
    spi: Uint8Array = NO_BYTES,
  ) {
    super(accused, code, message)
    this.notify = notify
    this.data = data
    this.spi = spi
  }
}

/** The Notify that answers a request which failed like this, or null where nothing is said on the wire. */
export function notifyFor(error: unknown): NotifyPayload | null {
  if (!(error instanceof ExchangeFailure) || error.notify === null) return null
  return notify(error.notify, error.data, error.spi.length === 0 ? ProtocolId.NONE : ProtocolId.ESP, error.spi)
}

/** What the peer proposes and what is configured have nothing in common; both are kept, for they are what a person compares. */
export class NoProposalChosen extends ExchangeFailure {
  readonly received: readonly WireProposal[]
  readonly configured: readonly SuiteProposal[]
  constructor(message: string, received: readonly WireProposal[], configured: readonly SuiteProposal[]) {
    super('peer-incompatible', 'NO_PROPOSAL_CHOSEN', message, NotifyType.NO_PROPOSAL_CHOSEN)
    this.received = received
    this.configured = configured
  }
}

/** An initiation that ended before there was an IKE_SA: nobody to talk to, no way there, no time left. */
export class NotInitiated extends EspalierError {
  override readonly name = 'NotInitiated'
}

export const AUTH_TOO_LATE = 'AUTH_TOO_LATE'

/** What IKE_AUTH needs of others, as to hear of a revocation, took longer than a half-open IKE_SA may. */
export function authTooLate(): ExchangeFailure {
  return new ExchangeFailure(
    'system',
    AUTH_TOO_LATE,
    'what IKE_AUTH waits for (a signature, a CRL, an OCSP answer) has not come in time',
    NotifyType.AUTHENTICATION_FAILED,
  )
}

/** The peer broke a rule: we answer INVALID_SYNTAX. */
export function misbehaved(message: string): ExchangeFailure {
  return new ExchangeFailure('peer-misbehaved', 'PEER_INVALID_SYNTAX', message, NotifyType.INVALID_SYNTAX)
}

/** Something else is under way that this request would get in the way of; the peer may ask again later (RFC 7296 2.25). */
export function notNow(message: string): ExchangeFailure {
  return new ExchangeFailure('peer-incompatible', 'TEMPORARY_FAILURE', message, NotifyType.TEMPORARY_FAILURE)
}

/** The peer has no time for what was asked for, or has forgotten it: it may be asked again (RFC 7296 2.25, RFC 9370 2.2.4). */
export function isTemporary(error: unknown): boolean {
  const { TEMPORARY_FAILURE, STATE_NOT_FOUND } = NotifyType
  return error instanceof ExchangeFailure && (error.notify === TEMPORARY_FAILURE || error.notify === STATE_NOT_FOUND)
}

/** The peer answered with an error notify. */
export function refusedByPeer(notifyType: number): ExchangeFailure {
  return refusal(notifyType, 'notify error')
}

/** The code of refusedByPeer(UNEXPECTED_NAT_DETECTED). */
export const REFUSED_FOR_NAT = 'PEER_SAID_UNEXPECTED_NAT_DETECTED'

/** The same about the CHILD_SA alone. */
export function childRefusedByPeer(notifyType: number): ExchangeFailure {
  return refusal(notifyType, 'notify, no CHILD_SA built')
}

function refusal(notifyType: number, what: string): ExchangeFailure {
  const name = nameOf(NotifyType, notifyType)
  const hint = REMEDIES[notifyType]
  const sentence = `received ${name} ${what}${hint === undefined ? '' : `: ${hint}`}`
  return new ExchangeFailure('peer-incompatible', `PEER_SAID_${name}`, sentence, notifyType)
}

const REMEDIES: Readonly<Record<number, string>> = {
  [NotifyType.AUTHENTICATION_FAILED]:
    'the peer does not accept our identity, our certificate or our pre-shared key; compare id and secret on both sides',
  [NotifyType.NO_PROPOSAL_CHOSEN]:
    'the peer accepts none of our proposals, or has no connection for our addresses; compare the configurations',
  [NotifyType.TS_UNACCEPTABLE]: 'our local_ts and remote_ts and those of the peer have nothing in common',
  [NotifyType.UNEXPECTED_NAT_DETECTED]:
    'a NAT is between us, and one of us wants none (nat = refuse); if it is a 1:1 NAT, tell who is behind it the outside address (public_addrs)',
  [NotifyType.INVALID_KE_PAYLOAD]: 'the peer wants a key exchange group that we do not propose',
}

/** For what somebody else waits for as well: what became of it was reported when it did. Throws what is our own mistake. */
export function told(error: unknown): null {
  if (!(error instanceof EspalierError)) throw error
  return null
}
