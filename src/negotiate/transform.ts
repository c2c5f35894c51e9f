/**
 * One transform (RFC 7296 3.3.2), as configured, offered and chosen.
 */

/** `keyLength` in bits, null where the transform has no Key Length attribute. */
export interface Transform {
  readonly type: number
  readonly id: number
  readonly keyLength: number | null
}
