/**
 * Certificate policies (RFC 5280 6.1): which policies hold for a path, and whether a CA's constraints on them are kept. The
 * user-initial-policy-set is any-policy; qualifiers are texts for people and not read.
 *
 * The valid_policy_tree is kept as the set of its lowest expected policies: all that is asked of it is whether it is empty,
 * and which of the certificate's own policies are in it.
 */
import { issuerOf, type Certificate } from './certificate.ts'
import { equalNames } from './names.ts'

export interface PolicyFailure {
  readonly certificate: Certificate
  /** The end of a sentence that begins with the certificate. */
  readonly why: string
}

export type PolicyResult =
  | { readonly ok: true; /** Policies of the leaf that hold for the path, dotted. */ readonly policies: readonly string[] }
  | { readonly ok: false; readonly failure: PolicyFailure }

/**
 * `path` is leaf … anchor. As in strongSwan, the anchor's own constraints count, and its policies when it has any: they
 * bound those that hold for the leaf.
 */
export function checkPolicies(path: readonly Certificate[]): PolicyResult {
  const leaf = path[0]!
  const anchor = path.at(-1)!
  if (path.length === 1) return { ok: true, policies: leaf.policies.filter((policy) => policy !== ANY_POLICY) }
  // Each is how many certificates may follow before it counts.
  const counts = { explicit: Infinity, mapping: Infinity, any: Infinity }
  tighten(counts, anchor)
  let tree: Tree = { any: true, expected: new Set() }
  let bounded =
    anchor.policies.length === 0 ? tree : { any: anchor.policies.includes(ANY_POLICY), expected: new Set(anchor.policies) }
  for (let i = path.length - 2; i >= 0; i--) {
    const certificate = path[i]!
    const isLast = i === 0
    const isSelfIssued = !isLast && equalNames(certificate.subject, certificate.issuer)
    if (certificate.policyMappings.some(({ issuerPolicy, subjectPolicy }) => [issuerPolicy, subjectPolicy].includes(ANY_POLICY)))
      return failed(certificate, 'maps anyPolicy')
    const anyCounts = counts.any > 0 || isSelfIssued
    tree = below(tree, certificate, anyCounts)
    bounded = below(bounded, certificate, anyCounts)
    if (counts.explicit === 0 && isEmpty(tree))
      return failed(certificate, `has no policy that its issuer '${issuerOf(certificate)}' holds, and one is required`)
    if (isLast) break
    tree = mapped(tree, certificate, counts.mapping > 0)
    bounded = mapped(bounded, certificate, counts.mapping > 0)
    if (!isSelfIssued) for (const count of ['explicit', 'mapping', 'any'] as const) counts[count] = Math.max(0, counts[count] - 1)
    tighten(counts, certificate)
  }
  const explicit = leaf.requireExplicitPolicy === 0 ? 0 : counts.explicit - 1
  if (explicit <= 0 && isEmpty(tree))
    return failed(leaf, `has no policy that its issuer '${issuerOf(leaf)}' holds, and one is required`)
  return { ok: true, policies: leaf.policies.filter((policy) => bounded.expected.has(policy) && policy !== ANY_POLICY) }
}

/** The policies a next certificate may have: those expected, and any at all if `any`. */
interface Tree {
  readonly any: boolean
  readonly expected: ReadonlySet<string>
}

/** RFC 5280 6.1.3 d, e. */
function below(tree: Tree, { policies }: Certificate, anyCounts: boolean): Tree {
  const own = policies.filter((policy) => policy !== ANY_POLICY && (tree.any || tree.expected.has(policy)))
  const inherits = anyCounts && policies.includes(ANY_POLICY)
  return { any: inherits && tree.any, expected: new Set(inherits ? [...own, ...tree.expected] : own) }
}

/** RFC 5280 6.1.4 b: a mapped policy is expected under its new names, or no longer when mapping is inhibited. */
function mapped(tree: Tree, { policyMappings }: Certificate, mayMap: boolean): Tree {
  if (policyMappings.length === 0) return tree
  const valid = policyMappings.filter(({ issuerPolicy }) => tree.any || tree.expected.has(issuerPolicy))
  const gone = new Set(valid.map(({ issuerPolicy }) => issuerPolicy))
  const kept = [...tree.expected].filter((policy) => !gone.has(policy))
  return { any: tree.any, expected: new Set(mayMap ? [...kept, ...valid.map(({ subjectPolicy }) => subjectPolicy)] : kept) }
}

function tighten(counts: { explicit: number; mapping: number; any: number }, certificate: Certificate): void {
  counts.explicit = Math.min(counts.explicit, certificate.requireExplicitPolicy ?? Infinity)
  counts.mapping = Math.min(counts.mapping, certificate.inhibitPolicyMapping ?? Infinity)
  counts.any = Math.min(counts.any, certificate.inhibitAnyPolicy ?? Infinity)
}

function isEmpty({ any, expected }: Tree): boolean {
  return !any && expected.size === 0
}

function failed(certificate: Certificate, why: string): PolicyResult {
  return { ok: false, failure: { certificate, why } }
}

const ANY_POLICY = '2.5.29.32.0'
