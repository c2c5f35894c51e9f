/**
 * Files with certificates and keys that a configuration names, each read once however many connections name it.
 */
import { EspalierError, messageOf } from '../base/errors.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import { readPublicKeyFile } from '../crypto/public-key.ts'
import { readCertificateFile, type Certificate } from '../pki/certificate.ts'
import type { ConfigurationFiles } from './files.ts'

/** Ours: octets of a file with certificates or keys. CRLs may be larger. */
export const FILE_BYTES_MAX = 1 << 20

export class CredentialFiles {
  readonly swanctlDir: string
  readonly files: ConfigurationFiles
  readonly #certificates = new Map<string, readonly Certificate[]>()
  readonly #publicKeys = new Map<string, PublicKey>()

  constructor(swanctlDir: string, files: ConfigurationFiles) {
    this.swanctlDir = swanctlDir
    this.files = files
  }

  /** Where `name` is: itself if it is absolute, else in one of swanctl's directories. */
  pathOf(directory: string, name: string): string {
    return name.startsWith('/') ? name : `${this.swanctlDir}/${directory}/${name}`
  }

  /** The certificates in a file, one at least. Throws EspalierError, which names the file. */
  certificates(path: string): readonly Certificate[] {
    return this.#read(this.#certificates, path, readCertificateFile)
  }

  publicKey(path: string): PublicKey {
    return this.#read(this.#publicKeys, path, readPublicKeyFile)
  }

  #read<Thing>(known: Map<string, Thing>, path: string, parse: (bytes: Uint8Array) => Thing): Thing {
    let thing = known.get(path)
    if (thing !== undefined) return thing
    thing = inFile(path, () => {
      const bytes = this.files.readBytes(path, FILE_BYTES_MAX)
      if (bytes === null) throw new EspalierError('caller', 'FILE_MISSING', 'there is no such file')
      return parse(bytes)
    })
    known.set(path, thing)
    return thing
  }
}

/** What `read` returns; what is wrong with the file names it. */
export function inFile<Thing>(path: string, read: () => Thing): Thing {
  try {
    return read()
  } catch (error) {
    throw new EspalierError('caller', 'CREDENTIAL_UNREADABLE', `${path}: ${messageOf(error)}`, { cause: error })
  }
}
