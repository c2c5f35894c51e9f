/**
 * What passes from IKE_SA_INIT, by IKE_INTERMEDIATE, to IKE_AUTH, and is dropped after it.
 */
import { intAuth, type Intermediate } from '../auth/intermediate.ts'
import type { SignedOctets } from '../auth/psk.ts'
import { assert } from '../base/assert.ts'
import { restOfIdPayload, type IdPayload } from '../message/ikev2/id.ts'
import type { Environment } from './environment.ts'
import type { IkeSa } from './sa.ts'

/** What IKE_SA_INIT leaves for IKE_AUTH: both messages as on the wire and both nonces, since AUTH covers them. */
export interface Opening {
  readonly initiatorMessage: Uint8Array
  readonly responderMessage: Uint8Array
  readonly initiatorNonce: Uint8Array
  readonly responderNonce: Uint8Array
  /** Methods of the additional key exchanges that were agreed on, in their order. */
  readonly additional: readonly number[]
  /** Those that are over. */
  readonly intermediate: Intermediate
  /** At an initiator: the responder takes a childless IKE_SA (childless.ts). */
  readonly takesChildless: boolean
  /** Hashes of signatures that the peer takes (RFC 7427); null: it did not say, and knows the methods before that alone. */
  readonly peerHashes: ReadonlySet<number> | null
  /** At an initiator: the responder takes several rounds of authentication (RFC 4739). */
  readonly takesRounds: boolean
  /** At an initiator: the certificates that the responder asks for. */
  readonly certificateRequest: CertificateRequest | null
  /** We have asked for OCSP answers in IKE. */
  readonly asksOcsp: boolean
}

/** What the peer asks us to send (CERTREQ, RFC 7296 3.7). */
export interface CertificateRequest {
  /** Hex of SHA-1 of the public keys of CAs; none: any will do. */
  readonly authorities: ReadonlySet<string>
  readonly wantsRawKeys: boolean
  readonly wantsOcsp: boolean
}

/** What authentication asks of the session that it is for. */
export interface Authenticating {
  readonly sa: IkeSa
  readonly env: Environment
  readonly opening: Opening | null
  /** Waits for what is done in another thread or by another host; rejects when the time for IKE_AUTH is over before it comes. */
  elsewhere<Answer>(work: Promise<Answer>): Promise<Answer>
}

/** What the AUTH that goes with an ID payload covers. */
export function octetsOf({ keys }: IkeSa, opening: Opening, idPayload: IdPayload): SignedOctets {
  assert(keys !== null, 'IKE_SA_INIT left keys')
  const isInitiators = idPayload.kind === 'IDi'
  return {
    message: isInitiators ? opening.initiatorMessage : opening.responderMessage,
    nonce: isInitiators ? opening.responderNonce : opening.initiatorNonce,
    idPayload: restOfIdPayload(idPayload),
    macKey: isInitiators ? keys.pi : keys.pr,
    intAuth: intAuth(opening.intermediate),
  }
}
