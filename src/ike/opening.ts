/**
 * What passes from IKE_SA_INIT to IKE_AUTH, and is dropped after it.
 */

/** What IKE_SA_INIT leaves for IKE_AUTH: both messages as on the wire and both nonces, since AUTH covers them. */
export interface Opening {
  readonly initiatorMessage: Uint8Array
  readonly responderMessage: Uint8Array
  readonly initiatorNonce: Uint8Array
  readonly responderNonce: Uint8Array
  /** At an initiator: the responder takes a childless IKE_SA (childless.ts). */
  readonly takesChildless: boolean
}
