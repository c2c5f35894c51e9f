/**
 * The one error that every reader of IKEv2 bytes ends in.
 */
import { EspalierError } from '../../base/errors.ts'

/**
 * Bytes that are no IKEv2 message. Every reader in this room fails with this and nothing else.
 *
 * `payload` is the payload at fault by its RFC name ('SA', 'TSi', the type in digits for one we do not know),
 * 'header' for the IKE header, or 'message' for bytes that belong to no payload.
 * `offset` is the offset of the field at fault, counted from the first byte of the IKE header (RFC 7296 3.1), the
 * non-ESP marker not counted; in decrypted content it counts from wherever the caller said that content begins.
 *
 * Wire answer, where one is due: INVALID_SYNTAX (RFC 7296 2.21.2 and 3.10.1).
 */
export class MalformedMessage extends EspalierError {
  override readonly name = 'MalformedMessage'
  readonly payload: string
  readonly offset: number
  readonly reason: string

  /** `reason` is a sentence without its full stop: "the length 3 is shorter than the generic header". */
  constructor(payload: string, offset: number, reason: string) {
    super('malformed', 'MESSAGE_MALFORMED', `${payload} at offset ${offset}: ${reason}`)
    this.payload = payload
    this.offset = offset
    this.reason = reason
  }
}
