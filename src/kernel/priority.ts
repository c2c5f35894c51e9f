/**
 * Priorities of kernel policies, strongSwan's formula, so that our policies and those of a strongSwan that is being
 * replaced rank alike on one machine. Lower wins; a narrower selector is lower.
 */
import { portMaskBits, portMaskOf } from './selectors.ts'
import type { Selector } from './vocabulary.ts'

/** `pass`: shunts that let traffic by. `trap`: raises acquires. `normal`: a CHILD_SA's. `apart`: of one with a mark beside one without. `fallback`: drop until the SA is there. */
export type PolicyKind = 'pass' | 'normal' | 'trap' | 'apart' | 'fallback'

const BASE: Record<PolicyKind, number> = { pass: 200_000, normal: 400_000, trap: 400_000, apart: 400_000, fallback: 600_000 }

/**
 * strongSwan: base - 512 * (prefix bits of both sides) - 256 if a protocol is set - 4 * (port mask bits of both sides)
 * - 2 for an interface, which we never restrict to, or a mark that was chosen - 1 unless it is a trap.
 * Ranges count with the prefix that covers them, ports with the mask that covers them.
 */
export function policyPriority(selector: Selector, kind: PolicyKind): number {
  const addressBits = selector.source.coveringPrefixLength + selector.destination.coveringPrefixLength
  const portBits = portMaskBits(portMaskOf(selector.sourcePorts).mask) + portMaskBits(portMaskOf(selector.destinationPorts).mask)
  return (
    BASE[kind] -
    512 * addressBits -
    (selector.protocol === 0 ? 0 : 256) -
    4 * portBits -
    (kind === 'trap' ? 0 : kind === 'apart' ? 3 : 1)
  )
}
