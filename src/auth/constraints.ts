/**
 * What `auth = pubkey…` of swanctl.conf asks of keys and signatures (strongSwan's syntax and meaning):
 *
 *   pubkey-sha256-sha384        hashes of the signatures in a chain of certificates, whatever the keys
 *   rsa-3072-ecdsa-384-sha384   least strength of the keys, by type; hashes count for the type they follow
 *   rsa/pss-sha256              RSASSA-PSS instead of PKCS#1 v1.5; rsa-pss-sha256 is the same
 *   ike:ecdsa-sha384            of the signature in AUTH alone; without any of these the others count there, too
 *
 * On our own side they choose what we sign with, in their order.
 */
import { EspalierError } from '../base/errors.ts'

type KeyType = 'rsa' | 'ecdsa' | 'ed25519' | 'ed448'

/** As much of a signature scheme (crypto/signature-scheme.ts) as rules are about. */
interface Scheme {
  readonly key: KeyType
  readonly hash: string
  readonly pss: boolean
}

/** One way of signing that is fine. `key` null: with keys of any type. */
export interface SchemeRule {
  readonly key: KeyType | null
  readonly hash: string
  readonly pss: boolean
}

export interface Constraints {
  /** Least sizes in bits; if either is there, keys of the other type do not do, and Edwards curves do (strongSwan). */
  readonly rsaBits: number | null
  readonly ecdsaBits: number | null
  /** Of certificates; none: any will do. */
  readonly chain: readonly SchemeRule[]
  /** Of AUTH, where it says so by itself. */
  readonly ike: readonly SchemeRule[]
}

export const NO_CONSTRAINTS: Constraints = { rsaBits: null, ecdsaBits: null, chain: [], ike: [] }

/** charon.rsa_pss, charon.signature_authentication_constraints. */
export interface ConstraintSettings {
  /** Hashes without more ado mean PSS as well, and before PKCS#1. */
  readonly rsaPss: boolean
  /** What is asked of certificates is asked of AUTH, too. */
  readonly signatureAuthenticationConstraints: boolean
}

/** MD5 and SHA-224 are taken as strongSwan takes them, and allow nothing: nobody here makes or checks such signatures. */
const HASHES = new Set(['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'identity'])
const PSS_HASHES = new Set(['sha1', 'sha224', 'sha256', 'sha384', 'sha512'])

/** strongSwan's names of what follows. */
const TYPES: Readonly<Record<string, { readonly key: KeyType | null; readonly pss: boolean }>> = {
  'pubkey': { key: null, pss: false },
  'rsa': { key: 'rsa', pss: false },
  'rsa/pss': { key: 'rsa', pss: true },
  'ecdsa': { key: 'ecdsa', pss: false },
  'ed25519': { key: 'ed25519', pss: false },
  'ed448': { key: 'ed448', pss: false },
}

/** Whether an `auth` asks for public keys at all. */
export function isPublicKeyMethod(text: string): boolean {
  return Object.hasOwn(TYPES, text.replace(/^ike:/, '').split('-', 1)[0]!)
}

/**
 * Throws EspalierError (caller, VALUE_INVALID) naming the word that is none: strongSwan ignores it, which leaves more
 * allowed than was meant.
 */
export function parseConstraints(text: string): Constraints {
  let rsaBits: number | null = null
  let ecdsaBits: number | null = null
  const chain: SchemeRule[] = []
  const ike: SchemeRule[] = []
  let type: { readonly key: KeyType | null; readonly pss: boolean } | null = null
  let rules = chain
  let takesStrength = false
  for (const token of text.split('-')) {
    if (token === '') continue
    const name = token.replace(/^ike:/, '')
    if (Object.hasOwn(TYPES, name)) {
      type = TYPES[name]!
      rules = name === token ? chain : ike
      takesStrength = type.key === 'rsa' || type.key === 'ecdsa'
      continue
    }
    if (type === null) throw invalid(`'${shown(token)}' is no type of key; known are ${Object.keys(TYPES).join(', ')}`)
    if (takesStrength && /^\d{1,5}$/.test(token)) {
      // Of several the least is enough (strongSwan).
      const bits = Number(token)
      if (bits > 0 && type.key === 'rsa') rsaBits = Math.min(bits, rsaBits ?? bits)
      if (bits > 0 && type.key === 'ecdsa') ecdsaBits = Math.min(bits, ecdsaBits ?? bits)
      takesStrength = false
      continue
    }
    takesStrength = false
    if (token === 'pss' && type === TYPES['rsa']) {
      type = TYPES['rsa/pss']!
      continue
    }
    if (!(type.pss ? PSS_HASHES : HASHES).has(token))
      throw invalid(`'${shown(token)}' is no hash and no type of key (RSASSA-PSS is rsa/pss)`)
    rules.push({ ...type, hash: token })
  }
  return { rsaBits, ecdsaBits, chain, ike }
}

/** The rules that AUTH has to keep, none: anything goes. */
export function rulesForAuth(constraints: Constraints, settings: ConstraintSettings): readonly SchemeRule[] {
  if (constraints.ike.length > 0) return constraints.ike
  return settings.signatureAuthenticationConstraints ? constraints.chain : []
}

/** Whether one of the rules allows it; without rules everything is allowed. */
export function isAllowed(rules: readonly SchemeRule[], scheme: Scheme, settings: ConstraintSettings): boolean {
  return rules.length === 0 || rules.some((rule) => allows(rule, scheme, settings))
}

/** The schemes among `possible` that the rules allow, in the order of the rules; all of them without rules. */
export function inOrderOf<Possible extends Scheme>(
  rules: readonly SchemeRule[],
  possible: readonly Possible[],
  settings: ConstraintSettings,
): readonly Possible[] {
  if (rules.length === 0) return possible
  const fitting = rules.flatMap((rule) => possible.filter((scheme) => allows(rule, scheme, settings)))
  return [...new Set(fitting)]
}

function allows(rule: SchemeRule, scheme: Scheme, { rsaPss }: ConstraintSettings): boolean {
  if (rule.hash !== scheme.hash || (rule.key !== null && rule.key !== scheme.key)) return false
  return rule.pss ? scheme.pss : !scheme.pss || rsaPss
}

/** Why keys are too weak, or of another type than is wanted; null if they are not. */
export function strengthRefusal(
  { rsaBits, ecdsaBits }: Constraints,
  keys: readonly { readonly type: KeyType; readonly bits: number }[],
): string | null {
  if (rsaBits === null && ecdsaBits === null) return null
  for (const { type, bits } of keys) {
    if (type !== 'rsa' && type !== 'ecdsa') continue
    const least = type === 'rsa' ? rsaBits : ecdsaBits
    if (least === null || bits < least) return `${type.toUpperCase()}-${bits} signatures not acceptable`
  }
  return null
}

function shown(token: string): string {
  return token.length <= 40 ? token : `${token.slice(0, 40)}...`
}

function invalid(message: string): EspalierError {
  return new EspalierError('caller', 'VALUE_INVALID', message)
}
