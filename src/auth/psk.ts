/**
 * Authentication with a pre-shared key (RFC 7296 2.15):
 *
 *   AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets> )
 *   InitiatorSignedOctets = first message of the initiator | Nr | prf(SK_pi, IDi') [| IntAuth]
 *   ResponderSignedOctets = first message of the responder | Ni | prf(SK_pr, IDr') [| IntAuth]
 *
 * where ID' is the ID payload without its generic header: type, three reserved octets, data; IntAuth is there if there
 * were IKE_INTERMEDIATE exchanges (intermediate.ts).
 */
import type { Prf } from '../crypto/prf.ts'
import { constantTimeEqual, type Secret } from '../crypto/secret.ts'

const KEY_PAD = new TextEncoder().encode('Key Pad for IKEv2')

/** What one side's AUTH covers. `message` is that side's IKE_SA_INIT as sent, `nonce` the other side's, `macKey` its own SK_p. */
export interface SignedOctets {
  readonly message: Uint8Array
  readonly nonce: Uint8Array
  /** RestOfIDPayload as on the wire, reserved octets included: the peer may have set them. */
  readonly idPayload: Uint8Array
  readonly macKey: Secret
  /** Empty if there was no IKE_INTERMEDIATE. */
  readonly intAuth: Uint8Array
}

/** The data of the AUTH payload. */
export function pskAuthentication(prf: Prf, key: Secret, octets: SignedOctets): Uint8Array {
  const macedIdentity = prf.compute(octets.macKey.dangerouslyReveal(), octets.idPayload)
  const padded = prf.compute(key.dangerouslyReveal(), KEY_PAD)
  return prf.compute(padded, octets.message, octets.nonce, macedIdentity, octets.intAuth)
}

/** Constant-time comparison with what the peer sent. */
export function verifyPsk(prf: Prf, key: Secret, octets: SignedOctets, received: Uint8Array): boolean {
  return constantTimeEqual(received, pskAuthentication(prf, key, octets))
}
