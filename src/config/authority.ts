/**
 * One certification authority out of its section (strongSwan: vici_authority.c).
 */
import type { Authority } from '../pki/authority.ts'
import { readCertificateFile, type Certificate } from '../pki/certificate.ts'
import { first, readCertificateSection, readNamed } from './authentication.ts'
import type { Report } from './check.ts'
import type { CredentialFiles } from './credential-files.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import { parsePrintable } from './values.ts'

/** Null where there is no certificate, which the report knows. */
export function readAuthority(section: ResolvedSection, files: CredentialFiles, report: Report): Authority | null {
  const values = new Values(section, `authorities.${section.name}`, false, report)
  const crlUris = values.readList('crl_uris', parsePrintable, [])
  const ocspUris = values.readList('ocsp_uris', parsePrintable, [])
  const certUriBase = values.read<string | null>('cert_uri_base', parsePrintable, null)
  const cacert = readCa(values, files)
  if (cacert === null) return null
  if (!cacert.isCa) values.error(values.has('cacert') ? 'cacert' : 'file', 'certificate without CA flag, rejected')
  return { name: section.name, cacert, crlUris, ocspUris, certUriBase }
}

function readCa(values: Values, files: CredentialFiles): Certificate | null {
  if (!['cacert', 'file', 'handle'].some((key) => values.has(key))) {
    values.error(null, `CA certificate missing: ${values.name}`, 'other')
    return null
  }
  if (!values.has('cacert')) return readCertificateSection(values, files, 'CA certificate missing')
  const read = readNamed(
    values,
    'cacert',
    (name) => first(files.certificates(files.pathOf('x509ca', name)), values, 'cacert'),
    (bytes) => first(readCertificateFile(bytes), values, 'cacert'),
  )
  return read[0] ?? null
}
