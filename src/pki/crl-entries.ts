/**
 * The entries of a CRL (RFC 5280 5.1.2.6) where they stand in its DER, found by serial number. They are walked once, when
 * the list is read, without an object for any of them; a bucket of the index says which begin with the same hash. Whoever
 * makes all of them fall into one bucket makes us walk the list, no more.
 */
import { equalBytes } from '../base/bytes.ts'
import { DerReader, Tag, type DerElement } from '../base/der.ts'
import { EspalierError } from '../base/errors.ts'
import type { Milliseconds } from '../base/time.ts'
import { readGeneralNames } from './certificate.ts'

export interface Revocation {
  /** Milliseconds since 1970. */
  readonly at: Milliseconds
  /** RFC 5280 5.3.1. */
  readonly reason: number
}

export interface Entries {
  readonly count: number
  /**
   * The entry of a serial number (contents of an INTEGER), or null. One that names its certificate's issuer (in an indirect
   * list) counts if `isIssuer` knows the name. Of an entry without a readable date it is known to be no later than `latest`.
   */
  find(serial: Uint8Array, isIssuer: (names: readonly Uint8Array[]) => boolean, latest: Milliseconds): Revocation | null
}

export const NO_ENTRIES: Entries = { count: 0, find: () => null }

export class CrlEntries implements Entries {
  readonly count: number
  readonly #der: Uint8Array
  /** Where entries begin, those of one bucket together. */
  readonly #starts: Uint32Array
  /** By bucket, where its first one is in `#starts`; one more at the end. */
  readonly #buckets: Uint32Array
  /** From the entry at `start` on, entries are about certificates of the issuer of these names (RFC 5280 5.3.3). */
  readonly #issuers: readonly { readonly start: number; readonly names: readonly Uint8Array[] }[]

  /** `revoked` is the SEQUENCE of them within `der`. Throws EspalierError of der.ts, CRL_MALFORMED or CRL_UNSUPPORTED. */
  constructor(der: Uint8Array, revoked: DerElement) {
    this.#der = der
    const walk = new Walk(der, revoked.offset, revoked.offset + revoked.contents.length)
    this.#issuers = walk.issuers
    this.count = walk.count
    // A power of two, at least one bucket for each.
    const buckets = 2 ** Math.ceil(Math.log2(Math.max(1, walk.count)))
    this.#buckets = new Uint32Array(buckets + 1)
    this.#starts = new Uint32Array(walk.count)
    const bucketOf = (start: number): number => {
      const at = walk.serialAt(start)
      return hashOf(der, at, at + der[at - 1]!) & (buckets - 1)
    }
    // Counted, summed up, and filled from the last to the first, after which each bucket's number is where it begins.
    for (let i = 0; i < walk.count; i++) this.#buckets[bucketOf(walk.starts[i]!)]!++
    for (let i = 0, sum = 0; i <= buckets; i++) sum = this.#buckets[i]! += sum
    for (let i = walk.count - 1; i >= 0; i--) {
      const start = walk.starts[i]!
      this.#starts[--this.#buckets[bucketOf(start)]!] = start
    }
  }

  find(serial: Uint8Array, isIssuer: (names: readonly Uint8Array[]) => boolean, latest: Milliseconds): Revocation | null {
    const wanted = withoutLeadingZeros(serial)
    const bucket = hashOf(wanted, 0, wanted.length) & (this.#buckets.length - 2)
    for (let i = this.#buckets[bucket]!; i < this.#buckets[bucket + 1]!; i++) {
      const start = this.#starts[i]!
      const entry = new DerReader(this.#der.subarray(start), start).enter()
      if (!equalBytes(withoutLeadingZeros(entry.read(Tag.INTEGER).contents), wanted)) continue
      const names = this.#issuerNames(start)
      if (names === null || isIssuer(names)) return readEntry(entry, latest)
    }
    return null
  }

  /** Null where the entry is about certificates of the list's own issuer. */
  #issuerNames(start: number): readonly Uint8Array[] | null {
    let names: readonly Uint8Array[] | null = null
    for (const issuer of this.#issuers) {
      if (issuer.start > start) break
      names = issuer.names
    }
    return names
  }
}

export function withoutLeadingZeros(number: Uint8Array): Uint8Array {
  let start = 0
  while (start < number.length - 1 && number[start] === 0) start++
  return number.subarray(start)
}

/** One pass over all entries: where each begins, and whether there is anything in them that must not be overlooked. */
class Walk {
  readonly issuers: { start: number; names: readonly Uint8Array[] }[] = []
  starts = new Uint32Array(64)
  count = 0
  readonly #der: Uint8Array
  /** Of the element whose header was read last. */
  #contents = 0
  #end = 0

  constructor(der: Uint8Array, start: number, end: number) {
    this.#der = der
    for (let at = start; at < end; at = this.#end) this.#entry(at, end)
  }

  /** Where the contents of an entry's serial number begin; their length is the byte before, for no serial number is long. */
  serialAt(start: number): number {
    return start + (this.#der[start + 1]! < 0x80 ? 4 : 4 + (this.#der[start + 1]! & 0x7f))
  }

  #entry(start: number, end: number): void {
    this.#header(start, end, Tag.SEQUENCE)
    const contents = this.#contents
    const stop = this.#end
    this.#header(contents, stop, Tag.INTEGER)
    if (this.#end === this.#contents || this.#end - this.#contents > SERIAL_BYTES_MAX)
      throw malformed(contents, `a serial number of ${this.#end - this.#contents} bytes`)
    const date = this.#end
    this.#header(date, stop, this.#der[date] === Tag.GENERALIZED_TIME ? Tag.GENERALIZED_TIME : Tag.UTC_TIME)
    if (this.#end < stop) this.#extensions(start, this.#end, stop)
    this.#end = stop
    if (this.count === this.starts.length) {
      const longer = new Uint32Array(2 * this.count)
      longer.set(this.starts)
      this.starts = longer
    }
    this.starts[this.count++] = start
  }

  /** RFC 5280 5.3: of extensions that are critical we know one, the certificate's issuer. */
  #extensions(entry: number, at: number, stop: number): void {
    this.#header(at, stop, Tag.SEQUENCE)
    if (this.#end !== stop) throw malformed(this.#end, 'an entry goes on after its extensions')
    for (let next = this.#contents; next < stop; next = this.#end) {
      this.#header(next, stop, Tag.SEQUENCE)
      const end = this.#end
      this.#header(this.#contents, end, Tag.OBJECT_IDENTIFIER)
      const oid = this.#contents
      const known = this.#end - oid === 3 && this.#der[oid] === 0x55 && this.#der[oid + 1] === 0x1d ? this.#der[oid + 2]! : 0
      let value = this.#end
      const isCritical = this.#der[value] === Tag.BOOLEAN && this.#der[value + 1] === 1 && value + 3 <= end
      if (isCritical) value += 3
      this.#header(value, end, Tag.OCTET_STRING)
      if (this.#end !== end) throw malformed(this.#end, "an entry's extension goes on after its value")
      if (known === CERTIFICATE_ISSUER) this.#issuer(entry, this.#contents, end)
      else if (isCritical && this.#der[value - 1] !== 0 && !HARMLESS.has(known))
        throw new EspalierError(
          'peer-incompatible',
          'CRL_UNSUPPORTED',
          `the CRL has a critical extension in its entry at byte ${entry}, which we don't know`,
        )
      this.#end = end
    }
  }

  #issuer(start: number, at: number, end: number): void {
    if (this.issuers.length === ISSUERS_MAX) throw malformed(at, `entries of more than ${ISSUERS_MAX} issuers`)
    const names = readGeneralNames(DerReader.inside(this.#der.subarray(at, end), Tag.SEQUENCE, at))
    this.issuers.push({ start, names: names.filter(({ kind }) => kind === 'directory').map(({ value }) => value) })
  }

  /** As DerReader reads it, but where it stands. */
  #header(at: number, end: number, tag: number): void {
    const der = this.#der
    if (at + 2 > end || der[at] !== tag) throw malformed(at, `no element of tag ${tag} where an entry has one`)
    let length = der[at + 1]!
    let contents = at + 2
    if (length >= 0x80) {
      const size = length & 0x7f
      if (size === 0 || size > 3 || contents + size > end) throw malformed(at, 'a length that an entry has none of')
      length = 0
      for (let i = 0; i < size; i++) length = (length << 8) | der[contents++]!
      if (length < 0x80 || length < 1 << (8 * (size - 1))) throw malformed(at, 'a length that could be shorter')
    }
    if (length > end - contents) throw malformed(at, `${length} bytes announced, ${end - contents} left`)
    this.#contents = contents
    this.#end = contents + length
  }
}

/** What follows the serial number: date and reason. */
function readEntry(entry: DerReader, latest: Milliseconds): Revocation {
  let at = latest
  let reason = 0
  try {
    at = entry.time()
    if (entry.isAtEnd) return { at, reason }
    const extensions = entry.enter()
    while (!extensions.isAtEnd) {
      const extension = extensions.enter()
      const oid = extension.oid()
      extension.optional(Tag.BOOLEAN)
      if (oid === REASON_CODE) reason = extension.enter(Tag.OCTET_STRING).smallInteger(Tag.ENUMERATED)
    }
  } catch (error) {
    // It is revoked, however badly that is said.
    if (!(error instanceof EspalierError)) throw error
  }
  return { at, reason }
}

/** FNV-1a of a number without its leading zeros. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end - 1 && bytes[at] === 0) at++
  let hash = 0x811c9dc5
  for (; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  // The low bits, which choose the bucket, have seen too little of the last bytes' high bits.
  return (hash ^ (hash >>> 15)) >>> 0
}

function malformed(offset: number, what: string): EspalierError {
  return new EspalierError('malformed', 'CRL_MALFORMED', `the CRL is malformed: at byte ${offset}: ${what}`)
}

const REASON_CODE = '2.5.29.21'
/** The last arcs of 2.5.29: id-ce-certificateIssuer; reasonCode, holdInstructionCode and invalidityDate, which change nothing. */
const CERTIFICATE_ISSUER = 29
const HARMLESS: ReadonlySet<number> = new Set([21, 23, 24])

/** RFC 5280 4.1.2.2 allows 20; our limit, which keeps a length to one byte. */
const SERIAL_BYTES_MAX = 64
/** Our limit. */
const ISSUERS_MAX = 1024
