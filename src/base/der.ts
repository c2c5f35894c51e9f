/**
 * DER (X.690), the encoding of certificates, keys and algorithm identifiers: a reader that takes only what the rules
 * allow and cannot run past its end, and a writer for what we send ourselves.
 *
 * Strict: definite, minimal lengths; tags of one byte; minimal INTEGERs and OBJECT IDENTIFIERs; TRUE is 0xff. Whoever
 * reads a structure ends it with `end()`, so that nothing unread hides in it. Nothing here follows nesting by itself: how
 * deep a structure goes is written in the code that reads it. What is handed out are views on the input.
 */
import { concatBytes } from './bytes.ts'
import { fromCalendar, toCalendar } from './calendar.ts'
import { EspalierError } from './errors.ts'
import type { Milliseconds } from './time.ts'

/** Universal tags, the constructed ones with their bit. */
export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OBJECT_IDENTIFIER: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  TELETEX_STRING: 0x14,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  VISIBLE_STRING: 0x1a,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const

/** Tag of a context-specific element: `[number]`, primitive or constructed. */
export function contextTag(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number
}

/** One element. `whole` is tag, length and contents; `offset` is where `contents` begin, counted from the outermost input. */
export interface DerElement {
  readonly tag: number
  readonly contents: Uint8Array
  readonly whole: Uint8Array
  readonly offset: number
}

/** Reads the elements of one structure in order. Throws EspalierError (malformed, DER_MALFORMED), which says at which byte. */
export class DerReader {
  readonly #bytes: Uint8Array
  readonly #base: number
  #at = 0

  /** `base` is the offset of `bytes` in the outermost input, for the sentences of errors. */
  constructor(bytes: Uint8Array, base = 0) {
    this.#bytes = bytes
    this.#base = base
  }

  /** The inside of the one element that `bytes` are. */
  static inside(bytes: Uint8Array, tag: number = Tag.SEQUENCE, base = 0): DerReader {
    const outer = new DerReader(bytes, base)
    const reader = outer.enter(tag)
    outer.end()
    return reader
  }

  get offset(): number {
    return this.#base + this.#at
  }
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** Tag of the next element, null at the end. */
  peek(): number | null {
    return this.#bytes[this.#at] ?? null
  }

  /** The next element, whatever it is. */
  next(): DerElement {
    const bytes = this.#bytes
    const start = this.#at
    const tag = bytes[start]
    let at = start + 1
    let length = bytes[at++]
    if (tag === undefined || length === undefined) throw this.#broken('an element is missing or cut short')
    if ((tag & 0x1f) === 0x1f) throw this.#broken('a tag of more than one byte')
    if (length >= 0x80) {
      const size = length & 0x7f
      if (size === 0 || size > 4) throw this.#broken(size === 0 ? 'an indefinite length' : `a length of ${size} bytes`)
      if (at + size > bytes.length) throw this.#broken('a length is cut short')
      length = 0
      for (let i = 0; i < size; i++) length = length * 256 + bytes[at++]!
      if (length < 0x80 || length < 2 ** (8 * (size - 1))) throw this.#broken('a length that could be shorter')
    }
    if (length > bytes.length - at) throw this.#broken(`${length} bytes announced, ${bytes.length - at} left`)
    this.#at = at + length
    return { tag, contents: bytes.subarray(at, this.#at), whole: bytes.subarray(start, this.#at), offset: this.#base + at }
  }

  /** The next element, which has to have `tag`. */
  read(tag: number): DerElement {
    if (this.peek() !== tag) throw this.#broken(`${nameOfTag(tag)} expected, ${nameOfTag(this.peek())} found`)
    return this.next()
  }

  /** The next element if it has `tag`, else null and nothing is read. */
  optional(tag: number): DerElement | null {
    return this.peek() === tag ? this.next() : null
  }

  /** A reader of the inside of the next element, which has to have `tag`. */
  enter(tag: number = Tag.SEQUENCE): DerReader {
    const { contents, offset } = this.read(tag)
    return new DerReader(contents, offset)
  }
  enterOptional(tag: number): DerReader | null {
    return this.peek() === tag ? this.enter(tag) : null
  }

  /** Nothing may be left. */
  end(): void {
    if (!this.isAtEnd) throw this.#broken(`${this.#bytes.length - this.#at} bytes too many`)
  }

  /** Dotted decimal. */
  oid(): string {
    return decodeOid(this.read(Tag.OBJECT_IDENTIFIER))
  }

  /** Contents of an INTEGER, minimal two's complement: a positive number with its highest bit set begins with a zero. */
  integer(tag: number = Tag.INTEGER): Uint8Array {
    const { contents, offset } = this.read(tag)
    const [first, second] = contents
    if (first === undefined) throw broken(offset, 'an INTEGER without contents')
    if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
      throw broken(offset, 'an INTEGER that could be shorter')
    return contents
  }

  /** A number from 0 to 2^31 - 1. */
  smallInteger(tag: number = Tag.INTEGER): number {
    const offset = this.offset
    const contents = this.integer(tag)
    if (contents[0]! >= 0x80 || contents.length > 4) throw broken(offset, 'a number from 0 to 2147483647 expected')
    return contents.reduce((number, byte) => number * 256 + byte, 0)
  }

  boolean(tag: number = Tag.BOOLEAN): boolean {
    const { contents, offset } = this.read(tag)
    if (contents.length !== 1 || (contents[0] !== 0 && contents[0] !== 0xff)) throw broken(offset, 'neither TRUE nor FALSE')
    return contents[0] === 0xff
  }

  octetString(): Uint8Array {
    return this.read(Tag.OCTET_STRING).contents
  }

  /** A BIT STRING of whole bytes, as keys and signatures are. */
  bitString(tag: number = Tag.BIT_STRING): Uint8Array {
    const { contents, offset } = this.read(tag)
    if (contents[0] !== 0) throw broken(offset, 'a BIT STRING of whole bytes expected')
    return contents.subarray(1)
  }

  /** A BIT STRING of named bits, at most 32: bit 0 is the lowest of the answer. */
  namedBits(tag: number = Tag.BIT_STRING): number {
    const { contents, offset } = this.read(tag)
    const unused = contents[0]
    if (unused === undefined || unused > 7 || contents.length > 5 || (contents.length === 1 && unused > 0))
      throw broken(offset, 'no BIT STRING of up to 32 named bits')
    let bits = 0
    for (let i = 0; i < (contents.length - 1) * 8 - unused; i++) {
      if ((contents[1 + (i >> 3)]! & (0x80 >> (i & 7))) !== 0) bits |= 2 ** i
    }
    return bits >>> 0
  }

  /** UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 wants them: to the second, in UTC. Milliseconds since 1970. */
  time(): Milliseconds {
    const { tag, contents, offset } = this.next()
    const text = String.fromCharCode(...contents.subarray(0, 16))
    const form = tag === Tag.UTC_TIME ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
    const match = tag === Tag.UTC_TIME || tag === Tag.GENERALIZED_TIME ? form.exec(text) : null
    if (match === null || contents.length > 15) throw broken(offset, 'no time of the form YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ')
    const [given, month, day, hour, minute, second] = match.slice(1).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    const year = tag === Tag.GENERALIZED_TIME ? given : given < 50 ? 2000 + given : 1900 + given
    const time = fromCalendar({ year, month, day, hour, minute, second })
    if (time === null) throw broken(offset, `${text} is no time there is`)
    return time
  }

  #broken(what: string): EspalierError {
    return broken(this.offset, what)
  }
}

/** Dotted decimal of an OBJECT IDENTIFIER's contents. */
export function decodeOid({ contents, offset }: Pick<DerElement, 'contents' | 'offset'>): string {
  if (contents.length === 0 || contents.length > MAXIMUM_OID_BYTES || contents.at(-1)! >= 0x80)
    throw broken(offset, `no OBJECT IDENTIFIER of up to ${MAXIMUM_OID_BYTES} bytes`)
  const arcs: bigint[] = []
  let arc = 0n
  let isFirstByte = true
  for (const byte of contents) {
    if (isFirstByte && byte === 0x80) throw broken(offset, 'an OBJECT IDENTIFIER that could be shorter')
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    isFirstByte = byte < 0x80
    if (!isFirstByte) continue
    arcs.push(arc)
    arc = 0n
  }
  const top = arcs[0]! < 80n ? arcs[0]! / 40n : 2n
  return [top, arcs[0]! - top * 40n, ...arcs.slice(1)].join('.')
}

// -- writing -------------------------------------------------------------------------------------------------------

export function encodeElement(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const length = contents.reduce((sum, { length }) => sum + length, 0)
  const octets: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
  const head = length < 0x80 ? [tag, length] : [tag, 0x80 | octets.length, ...octets]
  return concatBytes(Uint8Array.from(head), ...contents)
}

export function encodeSequence(...contents: readonly Uint8Array[]): Uint8Array {
  return encodeElement(Tag.SEQUENCE, ...contents)
}

/** `[number] EXPLICIT`, or the constructed form of `[number] IMPLICIT` when given what is inside. */
export function encodeContext(number: number, ...contents: readonly Uint8Array[]): Uint8Array {
  return encodeElement(contextTag(number, true), ...contents)
}

/** A number from 0 to 2^53, or big-endian bytes of a number that is not negative. */
export function encodeInteger(value: number | Uint8Array): Uint8Array {
  if (typeof value === 'number') {
    const octets: number[] = []
    for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
    return encodeInteger(Uint8Array.from(octets))
  }
  let start = 0
  while (start < value.length - 1 && value[start] === 0) start++
  const bytes = value.length === 0 ? new Uint8Array(1) : value.subarray(start)
  return encodeElement(Tag.INTEGER, ...(bytes[0]! >= 0x80 ? [new Uint8Array(1), bytes] : [bytes]))
}

export function encodeBoolean(value: boolean): Uint8Array {
  return encodeElement(Tag.BOOLEAN, Uint8Array.of(value ? 0xff : 0))
}
export function encodeOctetString(bytes: Uint8Array): Uint8Array {
  return encodeElement(Tag.OCTET_STRING, bytes)
}
/** A BIT STRING of whole bytes. */
export function encodeBitString(bytes: Uint8Array): Uint8Array {
  return encodeElement(Tag.BIT_STRING, new Uint8Array(1), bytes)
}
export function encodeNull(): Uint8Array {
  return encodeElement(Tag.NULL)
}
/** An OBJECT IDENTIFIER with tag and length. */
export function encodeOid(dotted: string): Uint8Array {
  return encodeElement(Tag.OBJECT_IDENTIFIER, encodeOidContents(dotted))
}
/** The contents of an OBJECT IDENTIFIER. */
export function encodeOidContents(dotted: string): Uint8Array {
  const [first, second, ...arcs] = dotted.split('.').map(BigInt) as [bigint, bigint, ...bigint[]]
  const bytes: number[] = []
  for (const arc of [first * 40n + second, ...arcs]) {
    const groups = [Number(arc & 0x7fn)]
    for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) groups.unshift(Number(rest & 0x7fn) | 0x80)
    bytes.push(...groups)
  }
  return Uint8Array.from(bytes)
}

/** As RFC 5280 4.1.2.5 has it: UTCTime up to 2049, GeneralizedTime from 2050. */
export function encodeTime(time: Milliseconds): Uint8Array {
  const { year, ...rest } = toCalendar(time)
  const isUtcTime = year >= 1950 && year < 2050
  const digits = Object.values(rest).map((number) => String(number).padStart(2, '0'))
  const text = [isUtcTime ? String(year).slice(2) : String(year).padStart(4, '0'), ...digits, 'Z'].join('')
  return encodeElement(isUtcTime ? Tag.UTC_TIME : Tag.GENERALIZED_TIME, new TextEncoder().encode(text))
}

function nameOfTag(tag: number | null): string {
  if (tag === null) return 'nothing'
  const known = Object.entries(Tag).find(([, value]) => value === tag)
  return known === undefined ? `tag 0x${tag.toString(16).padStart(2, '0')}` : known[0].replaceAll('_', ' ')
}

function broken(offset: number, what: string): EspalierError {
  return new EspalierError('malformed', 'DER_MALFORMED', `at byte ${offset}: ${what}`)
}

/** Our limit: bytes of an OBJECT IDENTIFIER's contents. */
const MAXIMUM_OID_BYTES = 64
