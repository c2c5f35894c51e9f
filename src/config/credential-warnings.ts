/**
 * What will not work with certificates and keys although each of them can be read: our own without their private keys,
 * and those that are out of date, or soon will be.
 */
import { toHex } from '../base/bytes.ts'
import { formatCalendar } from '../base/calendar.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import type { Connection } from '../ike/connection.ts'
import { describeAttributeCertificate } from '../pki/attribute-certificate.ts'
import { describeCertificate, type Certificate } from '../pki/certificate.ts'
import type { Configuration } from './load.ts'

/** How long before its end a certificate is told of. */
export const EXPIRES_SOON: Milliseconds = 30 * 86_400 * SECOND

/** A sentence each; `now` is the wall clock's. */
export function credentialWarnings({ connections, credentials }: Configuration, now: Milliseconds): readonly string[] {
  const keys = new Set(credentials.privateKeys.map(({ publicKey }) => idOf(publicKey)))
  const named = connections.flatMap(({ local, remote }) => [
    ...[...local, ...remote].flatMap(({ certificates }) => certificates),
    ...remote.flatMap(({ caCertificates }) => caCertificates),
  ])
  const loaded = credentials.certificates.map(({ certificate }) => certificate)
  const anchors = credentials.authorities.map(({ cacert }) => cacert)
  const all = new Map([...loaded, ...anchors, ...named].map((certificate) => [certificate.fingerprint, certificate]))
  return [
    ...connections.flatMap((connection) => withoutKeys(connection, keys)),
    ...Array.from(all.values()).flatMap(
      (certificate) => outOfDate(describeCertificate(certificate), certificate, now, EXPIRES_SOON) ?? [],
    ),
    // They are made for hours or days (RFC 5755 4.3.6 has those that nobody need revoke): that one will end is no news.
    ...credentials.attributeCertificates.flatMap(
      (certificate) => outOfDate(describeAttributeCertificate(certificate), certificate, now, 0) ?? [],
    ),
  ]
}

/** Of what we may show in each round one has to have its key, and the first is what a peer gets that asks for none. */
function withoutKeys({ name, local }: Connection, keys: ReadonlySet<string>): readonly string[] {
  return local.flatMap(({ method, certificates, publicKeys }) => {
    if (method === 'psk') return []
    const sentence = (what: string): string => `connections.${name}: there is no private key for ${what} until one is loaded`
    return [
      ...certificates.filter(({ publicKey }) => !keys.has(idOf(publicKey))).map((one) => sentence(describeCertificate(one))),
      ...publicKeys.filter((key) => !keys.has(idOf(key))).map((key) => sentence(`the public key ${idOf(key)}`)),
    ]
  })
}

function outOfDate(
  who: string,
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: Milliseconds,
  soon: Milliseconds,
): string | null {
  const day = (time: Milliseconds): string => formatCalendar(time).slice(0, 10)
  if (notBefore > now) return `${who} is not valid before ${day(notBefore)}`
  if (notAfter < now) return `${who} expired on ${day(notAfter)}`
  return notAfter - now < soon ? `${who} expires on ${day(notAfter)}` : null
}

function idOf({ fingerprint }: PublicKey): string {
  return toHex(fingerprint)
}
