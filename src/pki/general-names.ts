/**
 * Names in certificates: GeneralNames (RFC 5280 4.2.1.6) and the Names in them.
 */
import { DerReader, Tag, contextTag } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'

/**
 * RFC 5280 4.2.1.6. Bytes: the characters of dns, email and uri (which may be anything a stranger put there); 4 or 16 of
 * ip (8 or 32 with a mask in constraints); DER of the Name of directory; the whole element of all others.
 */
export interface GeneralName {
  readonly kind: 'dns' | 'email' | 'ip' | 'directory' | 'uri' | 'other'
  readonly value: Uint8Array
}

/** The GeneralNames of a list. `ipLengths` as below. */
export function readGeneralNames(list: DerReader, ipLengths: readonly number[] | null = null): GeneralName[] {
  return listOf(list, (list) => readGeneralName(list, ipLengths))
}

/** RFC 5280 4.2.1.6. `ipLengths`: how many bytes an iPAddress may have here, null if none of them matters. */
export function readGeneralName(reader: DerReader, ipLengths: readonly number[] | null): GeneralName {
  const { tag, contents, whole, offset } = reader.next()
  switch (tag) {
    case contextTag(1, false):
      return { kind: 'email', value: contents }
    case contextTag(2, false):
      return { kind: 'dns', value: contents }
    case contextTag(4, true): {
      const inside = new DerReader(contents, offset)
      const value = readName(inside)
      inside.end()
      return { kind: 'directory', value }
    }
    case contextTag(6, false):
      return { kind: 'uri', value: contents }
    case contextTag(7, false):
      if (ipLengths !== null && !ipLengths.includes(contents.length))
        throw malformed(`an iPAddress of ${contents.length} bytes (not ${ipLengths.join(' or ')})`)
      return { kind: 'ip', value: contents }
    // otherName, x400Address, ediPartyName, registeredID
    case contextTag(0, true):
    case contextTag(3, true):
    case contextTag(5, true):
    case contextTag(8, false):
      return { kind: 'other', value: whole }
  }
  throw malformed(`at byte ${offset}: tag 0x${tag.toString(16).padStart(2, '0')} is no GeneralName`)
}

/** The URI as text, in a list, if it is one. What no URI may have is escaped: nobody can be asked there, and that is known. */
export function uriOf({ kind, value }: GeneralName): string[] {
  return kind === 'uri' ? [printable(value)] : []
}

/** DER of a Name that is one: SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, a value }. */
export function readName(reader: DerReader): Uint8Array {
  const { whole, contents, offset } = reader.read(Tag.SEQUENCE)
  const sets = new DerReader(contents, offset)
  let attributes = 0
  while (!sets.isAtEnd) {
    const set = sets.enter(Tag.SET)
    do {
      const attribute = set.enter()
      attribute.oid()
      attribute.next()
      attribute.end()
      if (++attributes > MAXIMUM_ATTRIBUTES) throw malformed(`a name of more than ${MAXIMUM_ATTRIBUTES} attributes`)
    } while (!set.isAtEnd)
  }
  return whole
}

/** All of a list, which has a limit. */
export function listOf<T>(list: DerReader, readOne: (list: DerReader) => T): T[] {
  const all: T[] = []
  while (!list.isAtEnd) {
    if (all.length === MAXIMUM_LIST) throw malformed(`at byte ${list.offset}: a list of more than ${MAXIMUM_LIST}`)
    all.push(readOne(list))
  }
  return all
}

export function malformed(message: string, cause?: unknown): EspalierError {
  return new EspalierError('malformed', 'CERTIFICATE_MALFORMED', message, { cause })
}

// Our limits.
/** Of one name. */
const MAXIMUM_ATTRIBUTES = 64
/** Of names, constraints, policies in one extension: a thousand by a thousand is compared in milliseconds. */
const MAXIMUM_LIST = 1024
