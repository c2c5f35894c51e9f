/**
 * X.501 distinguished names as identities use them: text to DER, DER to text, equality and wildcard matching.
 * Only as much DER as a Name needs: SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, string } (RFC 5280 4.1.2.4).
 */
import { OutOfBytes, Reader, Writer, concatBytes, equalBytes, toHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'

/** One attribute of a relative distinguished name; `tag` is the ASN.1 string type of `value`. Views on the DER they were read from. */
export interface NameAttribute {
  readonly oid: Uint8Array
  readonly tag: number
  readonly value: Uint8Array
}

/**
 * DER of `C=CH, O=strongSwan, CN=moon` or `/C=CH/O=strongSwan/CN=moon`. As strongSwan: no escapes, so a value with a
 * comma needs the form with slashes; PrintableString where the value's characters allow it, else UTF8String.
 * Throws EspalierError (caller, IDENTITY_INVALID) saying what is wrong.
 */
export function encodeDistinguishedName(text: string): Uint8Array {
  const slashes = text.trimStart().startsWith('/')
  const parts = (slashes ? text.trimStart().slice(1) : text).split(slashes ? '/' : ',')
  if (parts.at(-1)!.trim() === '') parts.pop()
  if (parts.length > MAXIMUM_ATTRIBUTES) throw badName(`more than ${MAXIMUM_ATTRIBUTES} attributes in '${text}'`)
  return wrap(SEQUENCE, ...parts.map((part) => encodeAttribute(part, text)))
}

/** The attributes of a DER Name in order, those of multi-valued RDNs one after the other; null if the bytes are no Name. */
export function decodeDistinguishedName(der: Uint8Array): NameAttribute[] | null {
  try {
    const outer = new Reader(der)
    const sets = readTagged(outer, SEQUENCE)
    if (sets === null || outer.remaining > 0) return null
    const attributes: NameAttribute[] = []
    while (sets.remaining > 0) {
      const set = readTagged(sets, SET)
      if (set === null) return null
      while (set.remaining > 0) {
        const sequence = readTagged(set, SEQUENCE)
        const oid = sequence && readTagged(sequence, OBJECT_IDENTIFIER)
        if (!sequence || !oid) return null
        const tag = sequence.u8()
        attributes.push({ oid: oid.rest(), tag, value: sequence.bytes(readLength(sequence)) })
        if (sequence.remaining > 0) return null
      }
    }
    return attributes
  } catch (error) {
    if (error instanceof OutOfBytes) return null
    throw error
  }
}

/** `C=CH, O=strongSwan, CN=moon`, values through `printable`; attributes without a name show their OID's bytes in hex. Null if the bytes are no Name. */
export function formatDistinguishedName(der: Uint8Array, printable: (bytes: Uint8Array) => string): string | null {
  const attributes = decodeDistinguishedName(der)
  return attributes && attributes.map(({ oid, value }) => `${nameOf(oid)}=${printable(value)}`).join(', ')
}

/** Same attributes in the same order; PrintableStrings and e-mail addresses without regard to case, as strongSwan compares. */
export function equalDistinguishedNames(a: Uint8Array, b: Uint8Array): boolean {
  return equalBytes(a, b) || (a.length === b.length && matchDistinguishedName(a, b) === 0)
}

/** Whether any value is `*`. */
export function hasWildcard(der: Uint8Array): boolean {
  return decodeDistinguishedName(der)?.some(({ value }) => isWildcard(value)) ?? false
}

/** How many wildcards of `pattern` it takes to match `name`, attribute by attribute in order; null if it does not match. */
export function matchDistinguishedName(pattern: Uint8Array, name: Uint8Array): number | null {
  const wanted = decodeDistinguishedName(pattern)
  const given = decodeDistinguishedName(name)
  if (wanted === null || given === null || wanted.length !== given.length) return null
  let wildcards = 0
  for (const [i, want] of wanted.entries()) {
    const have = given[i]!
    if (!equalBytes(want.oid, have.oid)) return null
    if (isWildcard(want.value)) wildcards++
    else if (!equalValues(want, have)) return null
  }
  return wildcards
}

function encodeAttribute(part: string, whole: string): Uint8Array {
  const equals = part.indexOf('=')
  if (equals < 0) throw badName(`'${part.trim()}' in '${whole}' has no '='`)
  const name = part.slice(0, equals).trim()
  const known = ATTRIBUTES.find(([known]) => known.toLowerCase() === name.toLowerCase())
  if (known === undefined) throw badName(`'${name}' in '${whole}' is no attribute of a distinguished name`)
  // "CN = = x" is read by strongSwan as "x".
  const value = part
    .slice(equals + 1)
    .replace(/^[ =]+/, '')
    .trimEnd()
  const [, oid, tag] = known
  const string = tag === IA5_STRING ? IA5_STRING : /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value) ? PRINTABLE_STRING : UTF8_STRING
  const pair = wrap(SEQUENCE, wrap(OBJECT_IDENTIFIER, encodeOid(oid)), wrap(string, new TextEncoder().encode(value)))
  return wrap(SET, pair)
}

function equalValues(a: NameAttribute, b: NameAttribute): boolean {
  if (a.value.length !== b.value.length) return false
  const email = a.tag === IA5_STRING && nameOf(a.oid) === 'E'
  if (a.tag !== b.tag || (a.tag !== PRINTABLE_STRING && !email)) return equalBytes(a.value, b.value)
  return a.value.every((byte, i) => lowerCase(byte) === lowerCase(b.value[i]!))
}

function isWildcard(value: Uint8Array): boolean {
  return value.length === 1 && value[0] === 0x2a
}
function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte
}

function nameOf(oid: Uint8Array): string {
  const known = ATTRIBUTES.find(([, dotted]) => equalBytes(encodeOid(dotted), oid))
  return known === undefined ? toHex(oid).replace(/..(?=.)/g, '$&:') : known[0]
}

/** The content of the next element if it has `tag`, else null. */
function readTagged(reader: Reader, tag: number): Reader | null {
  if (reader.u8() !== tag) return null
  return reader.sub(readLength(reader))
}

/** A definite length of up to 4 bytes (X.690 8.1.3); anything longer than what is there is OutOfBytes. */
function readLength(reader: Reader): number {
  const first = reader.u8()
  if (first < 0x80) return first
  const size = first & 0x7f
  if (size === 0 || size > 4) throw new OutOfBytes(reader.offset, Infinity, reader.remaining)
  let length = 0
  for (let i = 0; i < size; i++) length = length * 256 + reader.u8()
  return length
}

function wrap(tag: number, ...contents: Uint8Array[]): Uint8Array {
  const content = concatBytes(...contents)
  const writer = new Writer(content.length + 6).u8(tag)
  if (content.length < 0x80) writer.u8(content.length)
  else if (content.length < 0x100) writer.u8(0x81).u8(content.length)
  else if (content.length < 0x10000) writer.u8(0x82).u16(content.length)
  else writer.u8(0x84).u32(content.length)
  return writer.bytes(content).finish()
}

function encodeOid(dotted: string): Uint8Array {
  const [first, second, ...arcs] = dotted.split('.').map(Number) as [number, number, ...number[]]
  const bytes: number[] = []
  for (const arc of [first * 40 + second, ...arcs]) {
    const groups = [arc & 0x7f]
    for (let rest = arc >>> 7; rest > 0; rest >>>= 7) groups.unshift((rest & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return Uint8Array.from(bytes)
}

function badName(message: string): EspalierError {
  return new EspalierError('caller', 'IDENTITY_INVALID', message)
}

/** Our limit, strongSwan's too: attributes in one written name. */
const MAXIMUM_ATTRIBUTES = 20

const OBJECT_IDENTIFIER = 0x06
const UTF8_STRING = 0x0c
const PRINTABLE_STRING = 0x13
const IA5_STRING = 0x16
const SEQUENCE = 0x30
const SET = 0x31

/** Name, object identifier, string type where characters do not decide; the first name of an identifier is the one printed. */
const ATTRIBUTES: readonly (readonly [name: string, oid: string, tag?: number])[] = [
  ['ND', '0.2.262.1.10.7.20'],
  ['UID', '0.9.2342.19200300.100.1.1'],
  ['DC', '0.9.2342.19200300.100.1.25'],
  ['CN', '2.5.4.3'],
  ['SN', '2.5.4.4'],
  ['serialNumber', '2.5.4.5'],
  ['C', '2.5.4.6'],
  ['L', '2.5.4.7'],
  ['ST', '2.5.4.8'],
  ['STREET', '2.5.4.9'],
  ['O', '2.5.4.10'],
  ['OU', '2.5.4.11'],
  ['T', '2.5.4.12'],
  ['D', '2.5.4.13'],
  ['postalAddress', '2.5.4.16'],
  ['postalCode', '2.5.4.17'],
  ['N', '2.5.4.41'],
  ['G', '2.5.4.42'],
  ['I', '2.5.4.43'],
  ['ID', '2.5.4.45'],
  ['dnQualifier', '2.5.4.46'],
  ['dmdName', '2.5.4.54'],
  ['pseudonym', '2.5.4.65'],
  ['organizationIdentifier', '2.5.4.97'],
  ['employeeNumber', '2.16.840.1.113730.3.1.3'],
  ['EN', '2.16.840.1.113730.3.1.3'],
  ['E', '1.2.840.113549.1.9.1', IA5_STRING],
  ['Email', '1.2.840.113549.1.9.1', IA5_STRING],
  ['emailAddress', '1.2.840.113549.1.9.1', IA5_STRING],
  ['unstructuredName', '1.2.840.113549.1.9.2', IA5_STRING],
  ['UN', '1.2.840.113549.1.9.2', IA5_STRING],
  ['unstructuredAddress', '1.2.840.113549.1.9.8'],
  ['UA', '1.2.840.113549.1.9.8'],
  ['TCGID', '1.3.6.1.4.1.1201.1.1.2.2.75'],
]
