/**
 * Sections of swanctl.conf as the VICI messages that load them (strongSwan: load_conns.c, load_creds.c, load_pools.c).
 */
import type { FlaggedCertificate } from '../auth/loaded-credentials.ts'
import type { SharedSecret } from '../auth/secrets.ts'
import type { CredentialFiles } from '../config/credential-files.ts'
import type { ResolvedSection } from '../config/references.ts'
import { parseBytes, parseList } from '../config/values.ts'
import { section, type ViciNode, type ViciSection } from '../vici/message.ts'

/** Keys of connections whose values are lists; strongSwan's daemon takes them in no other form. */
const LISTS = new Set([
  ...['local_addrs', 'remote_addrs', 'proposals', 'esp_proposals', 'ah_proposals', 'local_ts', 'remote_ts'],
  ...['vips', 'pools', 'groups', 'cert_policy'],
])

/** Keys whose values name files, and where those are. */
const DIRECTORIES = new Map([
  ['certs', 'x509'],
  ['cacerts', 'x509ca'],
  ['pubkeys', 'pubkey'],
])

/** `load-conn` of one connection. Certificates and public keys that it names go as they are. Throws EspalierError for a file. */
export function connectionMessage(connection: ResolvedSection, files: CredentialFiles): ViciSection {
  return section([
    connection.name,
    nested(
      connection,
      (key) => LISTS.has(key.toLowerCase()),
      (key, value) => blobsOf(key.toLowerCase(), value, files),
    ),
  ])
}

/** Null for keys that name no files. */
function blobsOf(key: string, value: string, files: CredentialFiles): readonly Uint8Array[] | null {
  const directory = DIRECTORIES.get(key)
  if (directory === undefined) return null
  return parseList(value).map((item) => {
    if (/^0[xs]/i.test(item)) return parseBytes(item)
    const path = files.pathOf(directory, item)
    return directory === 'pubkey' ? files.publicKey(path).spki : files.certificates(path)[0]!.der
  })
}

/** `load-pool` of one pool: the address range is a value, attributes are lists. */
export function poolMessage(pool: ResolvedSection): ViciSection {
  return section([pool.name, nested(pool, (key) => key !== 'addrs')])
}

/** `load-authority` of one certification authority. */
export function authorityMessage(authority: ResolvedSection, files: CredentialFiles): ViciSection {
  const cacert = (key: string, value: string): Uint8Array | null =>
    key === 'cacert' ? blobsOf('cacerts', value, files)![0]! : null
  return section([authority.name, nested(authority, (key) => key === 'crl_uris' || key === 'ocsp_uris', cacert)])
}

/** `load-cert`, with what stood behind it in its file. */
export function certificateMessage({ certificate, flag, chain }: FlaggedCertificate): ViciSection {
  const data = chain.length === 0 ? certificate.der : [certificate, ...chain].map(({ der }) => pemOf(der)).join('')
  return section(['type', 'X509'], ['flag', flag], ['data', data])
}

function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

/** `load-key`; `data` is the key itself, for the caller to overwrite when it is sent. */
export function keyMessage(data: Uint8Array): ViciSection {
  return section(['type', 'any'], ['data', data])
}

/** `load-shared`; the owners as they are written, for the daemon reads them itself. */
export function sharedMessage({ name, kind, secret }: SharedSecret, written: ResolvedSection): ViciSection {
  const owners = [...written.settings.values()].filter((setting) => setting.name.startsWith('id')).map(({ value }) => value)
  return section(
    ['id', name],
    ['type', kind],
    ['data', secret.dangerouslyReveal()],
    ['owners', owners.filter((owner) => owner !== null)],
  )
}

function nested(
  from: ResolvedSection,
  isList: (key: string) => boolean,
  blobs: (key: string, value: string) => ViciNode | null = () => null,
): ViciSection {
  const entries: (readonly [string, ViciNode])[] = []
  for (const { name, value } of from.settings.values()) {
    // `key =` says no more than that nothing is inherited.
    if (value !== null) entries.push([name, blobs(name, value) ?? (isList(name) ? parseList(value) : value)])
  }
  for (const inner of from.sections.values()) entries.push([inner.name, nested(inner, isList, blobs)])
  return section(...entries)
}
