/**
 * The ways an exchange fails, with the notify that says so on the wire and the catalogue of their codes.
 */
import { type Accused, EspalierError } from '../base/errors.ts'
import { NotifyType, nameOf } from '../iana/ikev2.ts'

/**
 * Thrown inside an exchange, caught by whoever runs it. `notify` is the error notify to answer with (a responder), or
 * that was received (an initiator); null where nothing is said on the wire.
 */
export class ExchangeFailure extends EspalierError {
  override readonly name = 'ExchangeFailure'
  readonly notify: number | null
  /** Data of the notify: the wanted group of INVALID_KE_PAYLOAD, the type of UNSUPPORTED_CRITICAL_PAYLOAD. */
  readonly data: Uint8Array
  constructor(
    accused: Accused,
    code: string,
    message: string,
    notify: number | null = null,
    data: Uint8Array = new Uint8Array(),
  ) {
    super(accused, code, message)
    this.notify = notify
    this.data = data
  }
}

/** An initiation that ended before there was an IKE_SA: nobody to talk to, no way there, no time left. */
export class NotInitiated extends EspalierError {
  override readonly name = 'NotInitiated'
}

/** The peer broke a rule: we answer INVALID_SYNTAX. */
export function misbehaved(message: string): ExchangeFailure {
  return new ExchangeFailure('peer-misbehaved', 'PEER_INVALID_SYNTAX', message, NotifyType.INVALID_SYNTAX)
}

/** The peer answered with an error notify. */
export function refusedByPeer(notifyType: number, during: string): ExchangeFailure {
  const name = nameOf(NotifyType, notifyType)
  const hint = REMEDIES[notifyType]
  return new ExchangeFailure(
    'peer-incompatible',
    `PEER_SAID_${name}`,
    `the peer answered ${during} with ${name}${hint === undefined ? '' : `: ${hint}`}`,
    notifyType,
  )
}

const REMEDIES: Readonly<Record<number, string>> = {
  [NotifyType.AUTHENTICATION_FAILED]:
    'it does not accept our identity or our pre-shared key; compare id and secret on both sides',
  [NotifyType.NO_PROPOSAL_CHOSEN]:
    'it accepts none of our proposals, or has no connection for our addresses; compare the configurations',
  [NotifyType.TS_UNACCEPTABLE]: 'our local_ts and remote_ts and its own have nothing in common',
  [NotifyType.INVALID_KE_PAYLOAD]: 'it wants a key exchange group that we do not propose',
}
