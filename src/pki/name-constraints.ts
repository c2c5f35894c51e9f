/**
 * Name constraints (RFC 5280 4.2.1.10 and 6.1.3 b, c): each CA with such says what the certificates below it may be called.
 *
 * Beyond strongSwan: URIs and excluded directory names are understood, where strongSwan refuses the whole chain; subtrees
 * of several CAs need not be one within the other, for each CA is asked by itself.
 */
import { IpAddress } from '../base/ip.ts'
import { printable } from '../base/printable.ts'
import { subjectOf, type Certificate, type GeneralName } from './certificate.ts'
import { canonicalName, emailsOfName, isEmptyName, isWithinName } from './names.ts'

/** How many comparisons one path may cost; shared by all of its certificates. */
export class ConstraintBudget {
  #left = MAXIMUM_COMPARISONS
  take(count: number): boolean {
    this.#left -= count
    return this.#left >= 0
  }
}

/**
 * What is wrong with the names of `certificate` below a CA with constraints, as the end of a sentence that begins with the
 * certificate; null if nothing is.
 */
export function constraintViolation(certificate: Certificate, ca: Certificate, budget: ConstraintBudget): string | null {
  if (ca.nameConstraints === null) return null
  const { permitted, excluded } = ca.nameConstraints
  const names = namesOf(certificate)
  if (!budget.take(names.length * (permitted.length + excluded.length) + 1))
    return 'has more names and constraints than we compare'
  const below = `below '${subjectOf(ca)}'`
  for (const name of names) {
    const constrains = (constraint: GeneralName): boolean => sameForm(constraint, name)
    const allowed = permitted.filter(constrains)
    const forbidden = excluded.filter(constrains)
    if (allowed.length + forbidden.length === 0) continue
    // RFC 5280 4.2.1.10: what we cannot process we have to refuse.
    if (!isUnderstood(name)) return `has a name that its constraints ${below} cannot be applied to (${describeName(name)})`
    if (forbidden.some((constraint) => isWithin(constraint, name)))
      return `has the name ${describeName(name)}, which is excluded ${below}`
    if (allowed.length > 0 && !allowed.some((constraint) => isWithin(constraint, name)))
      return `has the name ${describeName(name)}, which is not permitted ${below}`
  }
  return null
}

/** Subject, subjectAltNames, and e-mail addresses in the subject, as OpenSSL takes them too. */
function namesOf({ subject, subjectAltNames }: Certificate): GeneralName[] {
  if (isEmptyName(subject)) return [...subjectAltNames]
  const emails = emailsOfName(subject).map((email): GeneralName => ({ kind: 'email', value: email ?? NO_NAME }))
  return [{ kind: 'directory', value: subject }, ...emails, ...subjectAltNames]
}

/** `other` are several forms, told apart by their tag. */
function sameForm(constraint: GeneralName, name: GeneralName): boolean {
  return constraint.kind === name.kind && (name.kind !== 'other' || constraint.value[0] === name.value[0])
}

/** Characters alone are no guarantee: a NUL, which others might read as an end, is in no name that we compare. */
function isUnderstood({ kind, value }: GeneralName): boolean {
  switch (kind) {
    case 'dns':
      return isVisible(value)
    case 'email':
      return isVisible(value) && value.includes(AT)
    case 'uri':
      return isVisible(value) && hostOf(text(value)) !== null
    case 'ip':
    case 'directory':
      return true
    case 'other':
      return false
  }
}

function isWithin(constraint: GeneralName, name: GeneralName): boolean {
  switch (name.kind) {
    case 'dns':
      return isWithinDomain(text(constraint.value), text(name.value))
    case 'email':
      return isWithinMailbox(text(constraint.value), text(name.value))
    case 'uri':
      return isHostOrBelow(text(constraint.value), hostOf(text(name.value))!)
    case 'ip':
      return isWithinSubnet(constraint.value, name.value)
    case 'directory':
      return isWithinName(canonicalName(constraint.value), canonicalName(name.value))
    case 'other':
      return false
  }
}

/** Zero or more labels in front; `.example.org`, which RFC 5280 knows not, wants at least one (strongSwan, OpenSSL). */
function isWithinDomain(base: string, name: string): boolean {
  if (base === '' || name === base) return true
  return name.endsWith(base) && (base.startsWith('.') || name.at(-base.length - 1) === '.')
}

/** A mailbox, all mailboxes of a host, or with `.` in front those of all hosts of a domain. */
function isWithinMailbox(base: string, name: string): boolean {
  if (base === '') return true
  if (base.indexOf('@') > 0) return name === base
  return isHostOrBelow(base.replace(/^@/, ''), name.slice(name.lastIndexOf('@') + 1))
}

/** The host itself, or with `.` in front every host below. */
function isHostOrBelow(base: string, host: string): boolean {
  return base.startsWith('.') ? host.length > base.length && host.endsWith(base) : base === '' || host === base
}

/** Address and mask, of the same family. */
function isWithinSubnet(base: Uint8Array, address: Uint8Array): boolean {
  const half = base.length / 2
  return half === address.length && address.every((byte, i) => ((byte ^ base[i]!) & base[half + i]!) === 0)
}

/** The host of `scheme://user@host:port/…`; null for a URI without one or with an address (RFC 5280 4.2.1.10: to be refused). */
function hostOf(uri: string): string | null {
  const host = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#@:[\]]+)(?::\d*)?(?:[/?#].*)?$/.exec(uri)?.[1]
  return host === undefined || IpAddress.tryParse(host) !== null ? null : host
}

/** Names compare without regard to case (strongSwan: the local part of a mailbox, too). */
function text(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1').toLowerCase()
}
function isVisible(value: Uint8Array): boolean {
  return value.every((byte) => byte > 0x20 && byte < 0x7f)
}

function describeName({ kind, value }: GeneralName): string {
  if (value === NO_NAME) return 'an emailAddress that is no IA5String'
  switch (kind) {
    case 'directory':
      return 'of its subject or a directoryName'
    case 'ip':
      return new IpAddress(value).toString()
    case 'other':
      return 'of a kind that is neither DNS, e-mail, address, URI nor directory'
    default:
      return `'${printable(value.subarray(0, 256))}'`
  }
}

const AT = 0x40
/** Stands for an e-mail address that cannot be read: it is never understood. */
const NO_NAME = Uint8Array.of(0)

/** Our limit. */
const MAXIMUM_COMPARISONS = 100_000
