/**
 * X.501 names as certificates compare them (RFC 5280 7.1): letters without regard to case, runs of spaces as one, whatever
 * string type they were written in. Identities are compared more narrowly, by distinguished-name.ts, as strongSwan does.
 */
import { equalBytes, toHex } from '../base/bytes.ts'
import { DerReader, Tag } from '../base/der.ts'

/** One text for all names that are equal, by RDN; what is no Name stands for itself. */
export function canonicalName(der: Uint8Array): readonly string[] {
  try {
    const sets = DerReader.inside(der)
    const names: string[] = []
    while (!sets.isAtEnd) names.push(canonicalRdn(sets.enter(Tag.SET)))
    return names
  } catch {
    return [toHex(der)]
  }
}

export function equalNames(a: Uint8Array, b: Uint8Array): boolean {
  return equalBytes(a, b) || canonicalName(a).join('\0') === canonicalName(b).join('\0')
}

/** Whether `name` begins with all RDNs of `base`: a directoryName subtree (RFC 5280 4.2.1.10). */
export function isWithinName(base: readonly string[], name: readonly string[]): boolean {
  return base.length <= name.length && base.every((rdn, i) => rdn === name[i])
}

export function isEmptyName(der: Uint8Array): boolean {
  return der.length === 2
}

/** Values of the emailAddress attributes of a Name: characters, or null for one that is not of IA5 characters. */
export function emailsOfName(der: Uint8Array): (Uint8Array | null)[] {
  const found: (Uint8Array | null)[] = []
  const sets = DerReader.inside(der)
  while (!sets.isAtEnd) {
    const set = sets.enter(Tag.SET)
    while (!set.isAtEnd) {
      const attribute = set.enter()
      const isEmail = attribute.oid() === EMAIL_ADDRESS
      const { tag, contents } = attribute.next()
      if (isEmail) found.push(tag === Tag.IA5_STRING ? contents : null)
    }
  }
  return found
}

/** The attributes of a multi-valued RDN are a set: their order says nothing. */
function canonicalRdn(set: DerReader): string {
  const attributes: string[] = []
  while (!set.isAtEnd) {
    const attribute = set.enter()
    const type = attribute.oid()
    const { tag, contents } = attribute.next()
    const text = textOf(tag, contents)
    // JSON, so that no value can look like two.
    attributes.push(`${type}=${text === null ? `#${tag} ${toHex(contents)}` : JSON.stringify(folded(text))}`)
  }
  return attributes.toSorted().join('+')
}

function folded(text: string): string {
  return text
    .replace(/[ \t\n\v\f\r]+/g, ' ')
    .replace(/^ | $/g, '')
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/** The characters of a DirectoryString or IA5String, null when it is neither or not well-formed. */
function textOf(tag: number, bytes: Uint8Array): string | null {
  switch (tag) {
    case Tag.UTF8_STRING:
      return decoded('utf-8', bytes)
    case Tag.PRINTABLE_STRING:
    case Tag.IA5_STRING:
    case Tag.VISIBLE_STRING:
    // Called T.61, written as Latin-1 by everybody.
    case Tag.TELETEX_STRING:
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    case Tag.BMP_STRING:
      return decoded('utf-16be', bytes)
    default:
      return null
  }
}

function decoded(encoding: string, bytes: Uint8Array): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

const EMAIL_ADDRESS = '1.2.840.113549.1.9.1'
