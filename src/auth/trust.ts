/**
 * Whether a peer's public key is trusted to be that of who the peer says it is, and for what reason (strongSwan:
 * credential_manager.c, auth_cfg.c). Three kinds of reason there are: a path from a certificate to a CA, the certificate
 * itself among those that are loaded or configured, the raw key among those that are configured.
 *
 * A stranger that has not even the key of the certificate it shows costs one verification: AUTH is looked at first
 * (keysOf), then the path, and only what holds all of a connection's wishes makes us ask for revocations.
 */
import { equalBytes } from '../base/bytes.ts'
import type { Milliseconds } from '../base/time.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import { schemeName, type KeyType, type SignatureScheme } from '../crypto/signature-scheme.ts'
import { IdType } from '../iana/ikev2.ts'
import type { AttributeCertificate } from '../pki/attribute-certificate.ts'
import { describeCertificate, KeyUsage, subjectOf, type Certificate } from '../pki/certificate.ts'
import { findPath, paths } from '../pki/path.ts'
import type { RevocationPolicy } from '../pki/revocation.ts'
import { certificatesOf, confirms, matchCertificate } from './certificate-identities.ts'
import { isAllowed, rulesForAuth, strengthRefusal, type Constraints, type ConstraintSettings } from './constraints.ts'
import type { Credentials } from './credentials.ts'
import { membershipOf, type Membership } from './groups.ts'
import { formatIdentity, matchIdentity, patternOf, type Identity, type IdentityPattern } from './identity.ts'

/** What a peer shows of itself in one round, before anything of it is believed. */
export interface Shown {
  readonly id: Identity
  /** Leaf first; what follows it is of use to find a path, and no more. */
  readonly certificates: readonly Certificate[]
  /** Of it, perhaps. */
  readonly attributeCertificates: readonly AttributeCertificate[]
}

/** What a connection wants of a peer's key in one round. */
export interface Requirements {
  /** If there are any: one of these certificates or public keys it has to be. */
  readonly certificates: readonly Certificate[]
  readonly publicKeys: readonly PublicKey[]
  /** If there are any: one of these authorities has to be in the chain. */
  readonly caCertificates: readonly Certificate[]
  /** One authority in the chain has to be called this. */
  readonly caId: IdentityPattern | null
  /** Of the keys and signatures in the chain, and in AUTH. */
  readonly constraints: Constraints
  /** Any one of these has to be shown by an attribute certificate. */
  readonly groups: readonly Identity[]
  /** OIDs, all of which the certificate has to have. */
  readonly certificatePolicies: readonly string[]
  /** What becomes of a certificate of which nothing is heard. */
  readonly revocation: RevocationPolicy
}

/** A key that may be the peer's; the certificate is null of a raw key. */
export interface PeerKey {
  readonly key: PublicKey
  readonly certificate: Certificate | null
}

/** Why a key is trusted. */
export interface Trust {
  readonly key: PublicKey
  /** Leaf … anchor; the certificate alone where it is trusted itself and nobody above it is known; none of a raw key. */
  readonly path: readonly Certificate[]
  /** It ends at a CA; else the certificate or key is trusted by itself. */
  readonly isAnchored: boolean
  /** Of an anchored path: the policies of the leaf that hold for it, dotted. */
  readonly policies: readonly string[]
}

/** Our limits for one IKE_AUTH: keys that AUTH is tried with, paths that are held against a connection's wishes. */
const KEYS_MAX = 8
const PATHS_MAX = 8

/**
 * Keys of a type that may be the peer's, the likeliest first: of the certificate that it sent, then of those that are
 * configured and loaded and confirm its identity.
 */
export function* keysOf(
  type: KeyType,
  { id, certificates: [leaf] }: Pick<Shown, 'id' | 'certificates'>,
  rounds: readonly Pick<Requirements, 'certificates' | 'publicKeys'>[],
  credentials: Credentials,
): Generator<PeerKey, void, undefined> {
  const given: PeerKey[] = []
  const isNew = ({ key }: PeerKey): boolean =>
    key.type === type && given.length < KEYS_MAX && !given.some((other) => equalBytes(other.key.spki, key.spki))
  function* offer(candidate: PeerKey): Generator<PeerKey, void, undefined> {
    if (!isNew(candidate)) return
    given.push(candidate)
    yield candidate
  }
  if (leaf !== undefined && confirms(leaf, id)) yield* offer({ key: leaf.publicKey, certificate: leaf })
  for (const { certificates, publicKeys } of rounds) {
    for (const certificate of certificates)
      if (confirms(certificate, id)) yield* offer({ key: certificate.publicKey, certificate })
    for (const key of publicKeys) yield* offer({ key, certificate: null })
  }
  for (const certificate of certificatesOf(id, credentials.certificates()))
    yield* offer({ key: certificate.publicKey, certificate })
  for (const key of credentials.rawPublicKeys()) if (isKeyId(key, id)) yield* offer({ key, certificate: null })
}

interface Context {
  readonly credentials: Credentials
  readonly settings: ConstraintSettings
  readonly now: Milliseconds
}

/** Why AUTH by a key is trusted, or the sentence that says why it is not. */
export function trustOf(
  { key, certificate }: PeerKey,
  scheme: SignatureScheme,
  shown: Shown,
  round: Requirements,
  context: Context,
): Trust | string {
  const { constraints } = round
  if (!isAllowed(rulesForAuth(constraints, context.settings), scheme, context.settings))
    return `IKE signature scheme ${schemeName(scheme)} not acceptable`
  let refusal: string | null = null
  for (const trust of trusts(key, certificate, shown, round, context)) {
    const against = typeof trust === 'string' ? trust : wishRefusal(trust, shown, round, context)
    if (against === null && typeof trust !== 'string') return trust
    // The first is about the likeliest path.
    refusal ??= against
  }
  return refusal ?? `no trusted ${key.type.toUpperCase()} public key found for '${formatIdentity(shown.id)}'`
}

/** Each reason there is to trust a key, and sentences about what would have been one. */
function* trusts(
  key: PublicKey,
  certificate: Certificate | null,
  shown: Shown,
  round: Requirements,
  { credentials, now }: { readonly credentials: Credentials; readonly now: Milliseconds },
): Generator<Trust | string, void, undefined> {
  const isRaw = round.publicKeys.some((other) => equalBytes(other.spki, key.spki))
  if (isRaw || credentials.rawPublicKeys().some((other) => equalBytes(other.spki, key.spki) && isKeyId(other, shown.id)))
    yield { key, path: [], isAnchored: false, policies: [] }
  if (certificate === null) return
  const isPinned = [round.certificates, credentials.certificates()].some((loaded) =>
    loaded.some((other) => other.fingerprint === certificate.fingerprint && equalBytes(other.der, certificate.der)),
  )
  let count = 0
  let isAnchored = false
  const request = {
    leaf: certificate,
    intermediates: [...shown.certificates.slice(1), ...credentials.intermediates()],
    // The CAs that a round names are trusted besides those that are loaded; whether a path goes through one is a wish.
    anchors: [...round.caCertificates, ...credentials.authorities()],
    now,
  }
  for (const result of paths(request)) {
    if (!result.ok) continue
    isAnchored = true
    yield { key, path: result.path, isAnchored, policies: result.policies }
    if (++count >= PATHS_MAX) break
  }
  if (isPinned) {
    // strongSwan asks nothing more of a certificate that is trusted itself; one whose time is over we do not take.
    const against = pinnedRefusal(certificate, now)
    yield against ?? { key, path: [certificate], isAnchored: false, policies: [] }
  } else if (!isAnchored) {
    const best = findPath(request)
    if (!best.ok)
      yield `no trusted ${key.type.toUpperCase()} public key found for '${formatIdentity(shown.id)}': ${best.reason.sentence}`
  }
}

function pinnedRefusal(certificate: Certificate, now: Milliseconds): string | null {
  const { notBefore, notAfter, unknownCritical, keyUsage } = certificate
  const which = describeCertificate(certificate)
  if (now < notBefore) return `${which}, though configured itself, is not valid yet`
  if (now > notAfter) return `${which}, though configured itself, has expired`
  if (unknownCritical.length > 0) return `${which} has the critical extension ${unknownCritical[0]}, which we do not know`
  const signs = KeyUsage.DIGITAL_SIGNATURE | KeyUsage.NON_REPUDIATION
  // RFC 4945 5.1.3.2.
  if (keyUsage !== null && (keyUsage & signs) === 0)
    return `rejecting ${which} without digitalSignature or nonRepudiation keyUsage flags`
  return null
}

/** What a connection wants more than trust (strongSwan: auth_cfg_t.complies, and its words); null if it has it. */
function wishRefusal(trust: Trust, shown: Shown, round: Requirements, context: Context): string | null {
  const { key, path, isAnchored } = trust
  const { settings } = context
  const { constraints, certificates, publicKeys, caCertificates, caId, groups, certificatePolicies } = round
  const [leaf] = path
  const above = isAnchored ? path.slice(1) : []
  if (certificates.length + publicKeys.length > 0) {
    const isOne =
      certificates.some(({ der }) => leaf !== undefined && equalBytes(der, leaf.der)) ||
      publicKeys.some(({ spki }) => equalBytes(spki, key.spki))
    const wanted = certificates[0] === undefined ? 'its public key' : `'${subjectOf(certificates[0])}'`
    if (!isOne) return `constraint check failed: peer not authenticated with peer cert ${wanted}`
  }
  // What is trusted by itself has no CA, and none that vouches for it (strongSwan).
  if (caCertificates.length > 0 && !caCertificates.some((ca) => above.some(({ der }) => equalBytes(der, ca.der))))
    return `constraint check failed: peer not authenticated by CA '${subjectOf(caCertificates[0]!)}'`
  if (caId !== null && !above.some((ca) => matchCertificate(caId, ca) > 0))
    return `constraint check failed: peer not authenticated by CA '${formatPattern(caId)}'`
  if (groups.length > 0) {
    // Who is trusted by itself is in no group: nobody vouches for it (strongSwan).
    const { groups: shownGroups, refusals } =
      leaf === undefined || !isAnchored ? NO_MEMBERSHIP : membershipOf(leaf, shown.attributeCertificates, context)
    if (!groups.some((wanted) => shownGroups.some((group) => matchIdentity(patternOf(wanted), group) > 0))) {
      const why = refusals.length === 0 ? '' : `: ${refusals.slice(0, REFUSALS_MAX).join(', ')}`
      return `constraint check failed: group membership to '${formatIdentity(groups.at(-1)!)}' required${why}`
    }
  }
  for (const policy of certificatePolicies)
    if (!hasPolicy(trust, policy)) return `constraint check failed: constraint requires cert policy ${policy}`
  for (const { signatureScheme, signatureAlgorithm } of isAnchored ? path.slice(0, -1) : []) {
    const isFine = signatureScheme !== null && isAllowed(constraints.chain, signatureScheme, settings)
    if (!isFine)
      return `constraint check failed: X.509 signature scheme ${signatureScheme === null ? signatureAlgorithm : schemeName(signatureScheme)} not acceptable`
  }
  const weak = strengthRefusal(constraints, path.length === 0 ? [key] : path.map(({ publicKey }) => publicKey))
  return weak === null ? null : `constraint check failed: ${weak}`
}

const NO_MEMBERSHIP: Membership = { groups: [], refusals: [] }
/** Ours, of one sentence. */
const REFUSALS_MAX = 3

/** Among those that hold for the path (RFC 5280 6.1, mapped ones by their last name); of what is trusted by itself in itself. */
function hasPolicy({ path: [leaf, ...above], isAnchored, policies }: Trust, policy: string): boolean {
  return isAnchored ? above.length > 0 && policies.includes(policy) : leaf?.policies.includes(policy) === true
}

function formatPattern(pattern: IdentityPattern): string {
  return pattern.kind === 'any' ? '%any' : formatIdentity(pattern.identity)
}

/** Whether a key id is that of a public key. */
function isKeyId({ fingerprint, spkiFingerprint }: PublicKey, { type, data }: Identity): boolean {
  return type === IdType.ID_KEY_ID && (equalBytes(fingerprint, data) || equalBytes(spkiFingerprint, data))
}
