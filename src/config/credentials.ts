/**
 * Certificates and keys in swanctl's directories, loaded as `swanctl --load-creds` does. A file that nobody can read is
 * told of and left out: the others count.
 */
import { flagged, type CertificateFlag, type FlaggedCertificate, type LoadedCredentials } from '../auth/loaded-credentials.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import { readPrivateKey, type PrivateKey } from '../crypto/private-key.ts'
import { readPublicKeyFile, type PublicKey } from '../crypto/public-key.ts'
import { Secret } from '../crypto/secret.ts'
import { readAttributeCertificateFile, type AttributeCertificate } from '../pki/attribute-certificate.ts'
import type { Authority } from '../pki/authority.ts'
import { readCertificate, readCertificateFile, type Certificate } from '../pki/certificate.ts'
import { CRL_BYTES_MAX, readCrlFile, type Crl } from '../pki/crl.ts'
import { readPkcs12 } from '../pki/pkcs12.ts'
import type { Report } from './check.ts'
import { FILE_BYTES_MAX, type CredentialFiles } from './credential-files.ts'
import { escapePattern } from './files.ts'
import { problemAt } from './problems.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'

/** swanctl's directories of certificates, in its order, and what those in them are for. */
const CERTIFICATE_DIRECTORIES: readonly (readonly [string, CertificateFlag])[] = [
  ['x509', 'NONE'],
  ['x509ca', 'CA'],
  ['x509ocsp', 'OCSP'],
  ['x509aa', 'AA'],
]

/** Its directories of keys, whatever their type: they say it themselves. The sections with their passphrases begin with the same names. */
const KEY_DIRECTORIES = ['private', 'rsa', 'ecdsa', 'pkcs8']
const CONTAINER_DIRECTORY = 'pkcs12'

/** Which files of which directory a passphrase is for. */
interface Passphrases {
  readonly directory: string
  readonly file: string
  readonly secrets: readonly Secret[]
  readonly values: Values
}

/** Private keys and containers: what strongSwan's prefixes of `secrets` mean besides shared secrets. */
export function readPassphrases(all: ResolvedSection, report: Report): readonly Passphrases[] {
  const directories = [...KEY_DIRECTORIES, CONTAINER_DIRECTORY]
  const secrets = new Values(all, 'secrets', false, report)
  return secrets
    .sections(() => true)
    .flatMap((values): readonly Passphrases[] => {
      const directory = directories.find((name) => values.name.startsWith(name))
      if (directory === undefined) return []
      const file = values.read<string | null>('file', (text) => text, null)
      if (file === null) values.error(null, `there is no file in it: the name of one in ${directory}`)
      // The text itself (strongSwan): neither 0x nor 0s means anything.
      const texts = values.keys((key) => key.startsWith('secret'))
      const read = texts.flatMap((key) => values.read(key, (text) => new Secret(new TextEncoder().encode(text)), null) ?? [])
      return file === null ? [] : [{ directory, file, secrets: read, values }]
    })
}

export interface CredentialSections {
  readonly passphrases: readonly Passphrases[]
  readonly authorities: readonly Authority[]
}

/** Everything in swanctl's directories. Passphrases are destroyed: they are of no other use. */
export function readCredentials(
  files: CredentialFiles,
  { passphrases, authorities }: CredentialSections,
  report: Report,
): LoadedCredentials {
  const directories = new CredentialDirectories(files, report)
  for (const [directory, flag] of CERTIFICATE_DIRECTORIES)
    directories.each(directory, FILE_BYTES_MAX, (bytes) => directories.addCertificates(readCertificateFile(bytes), flag))
  directories.each('x509ac', FILE_BYTES_MAX, (bytes) =>
    directories.attributeCertificates.push(...readAttributeCertificateFile(bytes)),
  )
  directories.each('x509crl', CRL_BYTES_MAX, (bytes) => directories.crls.push(...readCrlFile(bytes)))
  directories.each('pubkey', FILE_BYTES_MAX, (bytes) => directories.publicKeys.push(readPublicKeyFile(bytes)))
  for (const directory of KEY_DIRECTORIES) {
    directories.each(directory, FILE_BYTES_MAX, (bytes, name) => {
      const secrets = passphrasesFor(passphrases, directory, name)
      directories.privateKeys.push(readWith(secrets, (secret) => readPrivateKey(bytes, secret)))
    })
  }
  directories.each(CONTAINER_DIRECTORY, FILE_BYTES_MAX, (bytes, name) => {
    const { keys, certificates } = readWith(passphrasesFor(passphrases, CONTAINER_DIRECTORY, name), (secret) =>
      readPkcs12(bytes, secret),
    )
    for (const der of certificates) directories.addCertificates([readCertificate(der)], 'NONE')
    directories.privateKeys.push(...keys)
  })
  for (const { directory, file, secrets, values } of passphrases) {
    if (!directories.has(directory, file)) values.warn('file', `there is no such file in ${files.pathOf(directory, '')}`)
    for (const secret of secrets) secret.destroy()
  }
  return directories.loaded(authorities)
}

/** strongSwan compares names without regard to case. */
function passphrasesFor(all: readonly Passphrases[], directory: string, name: string): readonly Secret[] {
  const isMeant = (passphrases: Passphrases): boolean =>
    passphrases.directory === directory && passphrases.file.toLowerCase() === name.toLowerCase()
  return all.filter(isMeant).flatMap(({ secrets }) => secrets)
}

/** With the first of the passphrases that does; without any as it is. */
function readWith<Thing>(secrets: readonly Secret[], read: (secret: Secret | null) => Thing): Thing {
  let wrong: unknown = null
  for (const secret of secrets.length === 0 ? [null] : secrets) {
    try {
      return read(secret)
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      wrong = error
    }
  }
  throw wrong
}

/** What has been read so far. */
class CredentialDirectories {
  readonly #files: CredentialFiles
  readonly #report: Report
  readonly #names = new Set<string>()
  readonly certificates: FlaggedCertificate[] = []
  readonly attributeCertificates: AttributeCertificate[] = []
  readonly crls: Crl[] = []
  readonly publicKeys: PublicKey[] = []
  readonly privateKeys: PrivateKey[] = []

  constructor(files: CredentialFiles, report: Report) {
    this.#files = files
    this.#report = report
  }

  /** Whether `directory` has a file of this name, whatever its case. */
  has(directory: string, name: string): boolean {
    return this.#names.has(`${directory}/${name.toLowerCase()}`)
  }

  /** Reads the files of one directory, by name. The bytes are overwritten afterwards: they may be a key. */
  each(directory: string, maximum: number, read: (bytes: Uint8Array, name: string) => void): void {
    const below = this.#files.pathOf(directory, '')
    let paths: string[] = []
    this.#heedless(below, () => (paths = this.#files.files.glob(`${escapePattern(below)}*`).toSorted()))
    for (const path of paths) {
      const name = path.slice(below.length)
      this.#heedless(path, () => {
        const bytes = this.#files.files.readBytes(path, maximum)
        if (bytes === null) return
        this.#names.add(`${directory}/${name.toLowerCase()}`)
        try {
          read(bytes, name)
        } finally {
          if (isForKeys(directory)) bytes.fill(0)
        }
      })
    }
  }

  #heedless(file: string, read: () => void): void {
    try {
      read()
    } catch (error) {
      this.#report.warnings.push(problemAt({ file, line: 0 }, null, `not loaded: ${messageOf(error)}`, 'unsupported'))
    }
  }

  /** The first of a file is what it is about. */
  addCertificates([certificate, ...chain]: readonly Certificate[], asked: CertificateFlag): void {
    if (certificate === undefined) throw new EspalierError('caller', 'CREDENTIAL_UNREADABLE', 'there is no certificate in it')
    const added = flagged(certificate, asked, chain)
    if (added === null)
      throw new EspalierError('caller', 'CREDENTIAL_UNSUPPORTED', 'ca certificate lacks CA basic constraint, rejected')
    this.certificates.push(added)
  }

  loaded(authorities: readonly Authority[]): LoadedCredentials {
    const { certificates, attributeCertificates, crls, publicKeys, privateKeys } = this
    return { certificates, attributeCertificates, crls, publicKeys, privateKeys, authorities }
  }
}

function isForKeys(directory: string): boolean {
  return directory === CONTAINER_DIRECTORY || KEY_DIRECTORIES.includes(directory)
}
