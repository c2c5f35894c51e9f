/**
 * Proposals (RFC 7296 2.7, 3.3): strongSwan's strings to transforms and back, and the choice of one.
 */

/** `keyLength` in bits, null where the transform has no Key Length attribute. */
export interface Transform {
  readonly type: number
  readonly id: number
  readonly keyLength: number | null
}

/** A proposal without number and SPI: the transforms offered (any of each type), in order of preference. */
export interface SuiteProposal {
  readonly protocol: 'ike' | 'esp'
  readonly transforms: readonly Transform[]
}
