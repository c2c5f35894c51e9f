/**
 * `espalier certs`: what list-certs tells, read for people: whose each is, who vouches for it, its key, until when it
 * is good, and whether the daemon has its private key.
 */
import { identitiesOf } from '../../auth/certificate-identities.ts'
import { formatIdentity, identityOfKey, identityOfSubject } from '../../auth/identity.ts'
import { EspalierError } from '../../base/errors.ts'
import { printable } from '../../base/printable.ts'
import { SECOND, type Milliseconds } from '../../base/time.ts'
import { EXPIRES_SOON } from '../../config/credential-warnings.ts'
import { readPublicKey, type PublicKey } from '../../crypto/public-key.ts'
import { readAttributeCertificate } from '../../pki/attribute-certificate.ts'
import { issuerOf, nameText, readCertificate, serialOf, subjectOf } from '../../pki/certificate.ts'
import { readCrl } from '../../pki/crl.ts'
import { bytesOf, type ViciNode, type ViciSection } from '../../vici/message.ts'
import { toJson, wordOf, type Json } from '../answers.ts'
import type { Cell } from '../table.ts'
import { count, formatTime } from '../words.ts'

/** One thing that is listed, as far as it can be read. */
interface Summary {
  readonly name: string
  /** Other names, or what else there is to say. */
  readonly details: readonly string[]
  readonly issuer: string | null
  readonly serial: string | null
  readonly key: PublicKey | null
  readonly notBefore: Milliseconds | null
  readonly notAfter: Milliseconds | null
}

const UNREADABLE: Summary = {
  name: '(cannot be read)',
  details: [],
  issuer: null,
  serial: null,
  key: null,
  notBefore: null,
  notAfter: null,
}

export function certificateName(cert: ViciSection): string {
  return summaryOf(cert).name
}

export function certificateRow(cert: ViciSection, now: Milliseconds): readonly Cell[] {
  const { name, details, issuer, key, notBefore, notAfter } = summaryOf(cert)
  const flag = wordOf(cert, 'flag') ?? ''
  return [
    [{ text: name, style: 'bold' }, ...details.map((text) => ({ text, style: 'dim' }) as const)],
    issuer ?? '',
    `${wordOf(cert, 'type') ?? ''}${flag === '' || flag === 'NONE' ? '' : ` ${flag}`}`,
    [
      ...(key === null ? [] : [`${key.type} ${key.bits}`]),
      ...(wordOf(cert, 'has_privkey') === 'yes' ? [{ text: 'private key', style: 'green' } as const] : []),
    ],
    validity(notBefore, notAfter, now),
  ]
}

/** strongSwan's keys, and ours for what is in the bytes. */
export function certificateJson(cert: ViciSection): Json {
  const { name, issuer, serial, key, notBefore, notAfter } = summaryOf(cert)
  const data = bytesOf(cert, 'data')
  // DER is bytes, also where by chance it is text.
  const entries: (readonly [string, ViciNode])[] = [...cert].filter(([name]) => name !== 'data')
  const add = (name: string, value: string | null): unknown => value !== null && entries.push([name, value])
  if (data !== null) add('data', Buffer.from(data).toString('base64'))
  add('subject', name)
  add('issuer', issuer)
  add('serial', serial)
  add('key', key === null ? null : `${key.type} ${key.bits}`)
  add('valid-from', notBefore === null ? null : new Date(notBefore).toISOString())
  add('valid-until', notAfter === null ? null : new Date(notAfter).toISOString())
  return toJson(new Map(entries))
}

function summaryOf(cert: ViciSection): Summary {
  const data = bytesOf(cert, 'data')
  const subject = wordOf(cert, 'subject')
  try {
    if (data !== null) return read(wordOf(cert, 'type') ?? '', subject, data)
  } catch (error) {
    // What we cannot read is still listed.
    if (!(error instanceof EspalierError)) throw error
  }
  return { ...UNREADABLE, name: subject ?? UNREADABLE.name }
}

function read(type: string, subject: string | null, data: Uint8Array): Summary {
  switch (type) {
    case 'X509': {
      const certificate = readCertificate(data)
      const { notBefore, notAfter, publicKey: key } = certificate
      const [, ...others] = identitiesOf(certificate)
      return {
        name: subjectOf(certificate),
        details: others.map(formatIdentity),
        issuer: issuerOf(certificate),
        serial: serialOf(certificate),
        key,
        notBefore,
        notAfter,
      }
    }
    case 'X509_AC': {
      const { holder, holderName, groups, issuer, notBefore, notAfter, ...certificate } = readAttributeCertificate(data)
      return {
        ...UNREADABLE,
        name: holderName === null ? `serial ${holder === null ? 'unknown' : serialOf(holder)}` : nameText(holderName),
        details: groups.flatMap(({ kind, value }) => (kind === 'string' ? [`group ${printable(value)}`] : [])),
        issuer: nameText(issuer),
        serial: serialOf(certificate),
        notBefore,
        notAfter,
      }
    }
    case 'X509_CRL': {
      const { issuer, entryCount, thisUpdate, nextUpdate } = readCrl(data)
      const details = [`${count(entryCount, 'certificate')} revoked`]
      return {
        ...UNREADABLE,
        name: formatIdentity(identityOfSubject(issuer)),
        details,
        notBefore: thisUpdate,
        notAfter: nextUpdate,
      }
    }
    case 'PUBKEY': {
      const key = readPublicKey(data)
      return { ...UNREADABLE, name: subject ?? formatIdentity(identityOfKey(key.spkiFingerprint)), key }
    }
    default:
      return { ...UNREADABLE, name: subject ?? UNREADABLE.name }
  }
}

function validity(notBefore: Milliseconds | null, notAfter: Milliseconds | null, now: Milliseconds): Cell {
  const day = (time: Milliseconds): string => new Date(time).toISOString().slice(0, 10)
  if (notBefore !== null && notBefore > now) return { text: `not before ${day(notBefore)}`, style: 'red' }
  if (notAfter === null) return ''
  if (notAfter < now) return { text: `${day(notAfter)} (expired)`, style: 'red' }
  if (notAfter - now < EXPIRES_SOON)
    return { text: `${day(notAfter)} (in ${formatTime(Math.floor((notAfter - now) / SECOND))})`, style: 'yellow' }
  return day(notAfter)
}
