/**
 * Rounds of authentication: sections `local…` and `remote…` of a connection (strongSwan: vici_config.c, auth_sn).
 */
import { isPublicKeyMethod, NO_CONSTRAINTS, parseConstraints, type Constraints } from '../auth/constraints.ts'
import {
  identityOfKey,
  identityOfSubject,
  parseIdentity,
  parseIdentityPattern,
  type Identity,
  type IdentityPattern,
} from '../auth/identity.ts'
import { EspalierError } from '../base/errors.ts'
import { readPublicKeyFile, type PublicKey } from '../crypto/public-key.ts'
import { DEFAULT_LOCAL, DEFAULT_REMOTE, type LocalAuthentication, type RemoteAuthentication } from '../ike/connection.ts'
import { readCertificateFile, type Certificate } from '../pki/certificate.ts'
import type { CredentialFiles } from './credential-files.ts'
import type { Values } from './section-values.ts'
import { parseBytes, parseOid, parsePrintable, parseU32, parseWord } from './values.ts'

/** Those of our side, in their order; one at least. */
export function readLocalRounds(connection: Values, files: CredentialFiles): readonly LocalAuthentication[] {
  const rounds = inOrder(connection, 'local').map((round): LocalAuthentication => {
    const shown = readShown(round, files)
    return {
      ...readMethod(round),
      ...shown,
      id: round.read('id', parseOwnIdentity, null) ?? identityOf(shown),
    }
  })
  return rounds.length === 0 ? [{ ...DEFAULT_LOCAL, method: 'any' }] : rounds
}

/** Those of the peer's side. */
export function readRemoteRounds(connection: Values, files: CredentialFiles): readonly RemoteAuthentication[] {
  const rounds = inOrder(connection, 'remote').map((round): RemoteAuthentication => {
    const shown = readShown(round, files)
    const identity = identityOf(shown)
    return {
      ...readMethod(round),
      ...shown,
      id: round.read<IdentityPattern>(
        'id',
        notCutShort(parseIdentityPattern),
        identity === null ? DEFAULT_REMOTE.id : { kind: 'exact', identity },
      ),
      caCertificates: readCertificates(round, 'cacert', files).map((certificate) => authority(round, certificate)),
      caId: round.read<IdentityPattern | null>('ca_id', notCutShort(parseIdentityPattern), null),
      groups: round.readList('groups', readOwner, DEFAULT_REMOTE.groups),
      certificatePolicies: round.readList('cert_policy', parseOid, []),
      revocation: round.read('revocation', (text) => parseWord(text, ['strict', 'ifuri', 'relaxed']), DEFAULT_REMOTE.revocation),
    }
  })
  return rounds.length === 0 ? [{ ...DEFAULT_REMOTE, method: 'any' }] : rounds
}

/** By `round`, and those of the same by their place. */
function inOrder(connection: Values, side: 'local' | 'remote'): readonly Values[] {
  return connection
    .sections((name) => name.startsWith(side))
    .map((values) => ({ values, round: values.read('round', parseU32, 0) }))
    .toSorted((a, b) => a.round - b.round)
    .map(({ values }) => values)
}

/** Nothing weaker or other is ever put in the place of what was asked for. */
function readMethod(round: Values): { readonly method: 'psk' | 'pubkey' | 'any'; readonly constraints: Constraints } {
  const text = round.read<string | null>('auth', (text) => text, null)
  if (text === null) return { method: 'any', constraints: NO_CONSTRAINTS }
  if (text.toLowerCase() === 'psk') return { method: 'psk', constraints: NO_CONSTRAINTS }
  if (isPublicKeyMethod(text)) return { method: 'pubkey', constraints: round.read('auth', parseConstraints, NO_CONSTRAINTS) }
  if (/^(eap|xauth)/i.test(text)) round.refuse('auth', `auth = ${text} is not supported yet, only pubkey and psk are`)
  else round.error('auth', `expected pubkey or psk, not '${text}'`)
  return { method: 'pubkey', constraints: NO_CONSTRAINTS }
}

/** What is shown, by us or to us. */
interface Shown {
  readonly certificates: readonly Certificate[]
  readonly publicKeys: readonly PublicKey[]
}

function readShown(round: Values, files: CredentialFiles): Shown {
  return {
    certificates: readCertificates(round, 'cert', files),
    publicKeys: readNamed(
      round,
      'pubkeys',
      (name) => files.publicKey(files.pathOf('pubkey', name)),
      (bytes) => readPublicKeyFile(bytes),
    ),
  }
}

/** strongSwan: without an id, the subject of the first certificate is it, or the key itself. */
function identityOf({ certificates: [certificate], publicKeys: [key] }: Shown): Identity | null {
  if (certificate !== undefined) return identityOfSubject(certificate.subject)
  return key === undefined ? null : identityOfKey(key.spkiFingerprint)
}

/** Those of the list (`certs`, `cacerts`) and those of sections. */
function readCertificates(round: Values, prefix: 'cert' | 'cacert', files: CredentialFiles): readonly Certificate[] {
  const key = `${prefix}s` as const
  const directory = prefix === 'cert' ? 'x509' : 'x509ca'
  const ofFile = (name: string): Certificate => {
    const certificates = files.certificates(files.pathOf(directory, name))
    // Of a file in the directory the others are loaded as well, to build chains with.
    return name.includes('/') ? first(certificates, round, key) : certificates[0]!
  }
  const listed = readNamed(round, key, ofFile, (bytes) => first(readCertificateFile(bytes), round, key))
  const sections = round.sections((name) => name.startsWith(prefix))
  return [...listed, ...sections.flatMap((section) => readCertificateSection(section, files) ?? [])]
}

/** A certificate by its file (strongSwan: auth_sn); `authorities` have the same keys. Null where there is none, which the report knows. */
export function readCertificateSection(
  section: Values,
  files: CredentialFiles,
  failure = 'unable to load certificate',
): Certificate | null {
  const [hasFile, hasHandle] = [section.has('file'), section.has('handle')]
  if (hasFile === hasHandle) {
    section.error(null, `handle ${hasFile ? 'and file path given' : 'or file path missing'}: ${section.name}`, 'other')
    return null
  }
  if (hasHandle) {
    section.refuse('handle', 'not supported: certificates on tokens are not read')
    return null
  }
  const path = section.read<string | null>('file', parsePrintable, null)
  if (path === null) return null
  try {
    return first(files.certificates(path), section, 'file')
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    section.error('file', `${failure}: ${section.name}: ${error.message}`, 'other')
    return null
  }
}

/** Things that came as they are, or by their names in files, or in hexadecimal or base64. */
export function readNamed<Thing>(
  values: Values,
  key: string,
  ofFile: (name: string) => Thing,
  ofBytes: (bytes: Uint8Array) => Thing,
): readonly Thing[] {
  const blobs = values.blobs(key)
  if (blobs !== null) return values.attempt(key, () => blobs.map(ofBytes), [])
  return values.readList<Thing>(key, (item) => (/^0[xs]/i.test(item) ? ofBytes(parseBytes(item)) : ofFile(item)), [])
}

/** The first counts (strongSwan); the others belong among the files of their directory. */
export function first(certificates: readonly Certificate[], values: Values, key: string): Certificate {
  const [certificate] = certificates
  if (certificate === undefined) throw new EspalierError('caller', 'VALUE_INVALID', 'there is no certificate in it')
  if (certificates.length > 1)
    values.warn(key, `there are ${certificates.length} certificates in one file: only the first counts, as with strongSwan`)
  return certificate
}

function authority(round: Values, certificate: Certificate): Certificate {
  if (!certificate.isCa) round.error('cacerts', 'this is no certificate of an authority: it lacks the CA basic constraint')
  return certificate
}

/** Null for %any: our address at the time. */
function parseOwnIdentity(text: string): Identity | null {
  const pattern = notCutShort(parseIdentityPattern)(text)
  return pattern.kind === 'any' ? null : pattern.identity
}

/** An identity that may have wildcards: auth/identity.ts patternOf. Throws EspalierError. */
export function readOwner(text: string): Identity {
  notCutShort(parseIdentityPattern)(text)
  return parseIdentity(text)
}

/** `id = @#0a0b` without quotes is `@` and a comment: said here, because it is never meant. */
function notCutShort<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    if (/^@{1,2}$|^[a-z0-9{}]+:$/i.test(text))
      throw new EspalierError(
        'caller',
        'VALUE_INVALID',
        `'${text}' is no identity; # begins a comment unless the value is in quotes`,
      )
    return parse(text)
  }
}
