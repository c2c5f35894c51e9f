/**
 * Identities (RFC 7296 3.5): who a peer says it is, and who we expect.
 */

/** An ID payload's type (IANA IKEv2 ID types) and data. */
export interface Identity {
  readonly type: number
  readonly data: Uint8Array
}

/** Whom we accept: anyone, exactly one identity, or a wildcard of strongSwan's (`*.example.org`, `*@example.org`, a DN with `*` values). */
export type IdentityPattern = { readonly kind: 'any' } | { readonly kind: 'exact'; readonly identity: Identity } | { readonly kind: 'wildcard'; readonly text: string; readonly type: number }
