/**
 * IP addresses, endpoints, prefixes and ranges on bytes. Text goes through node:net's `isIP`, which refuses the
 * octal and shortened forms that other parsers read as some different address.
 */
import { isIPv4, isIPv6 } from 'node:net'

import { compareBytes, equalBytes } from './bytes.ts'

export type Family = 4 | 6

/** An IPv4 or IPv6 address: 4 or 16 bytes in network order. Immutable. */
export class IpAddress {
  readonly family: Family
  readonly bytes: Uint8Array
  #text: string | null = null

  constructor(bytes: Uint8Array) {
    if (bytes.length !== 4 && bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`)
    this.family = bytes.length === 4 ? 4 : 6
    this.bytes = bytes
  }

  /** Null when `text` is no plain IPv4 or IPv6 address (zone suffixes are refused). */
  static tryParse(text: string): IpAddress | null {
    if (isIPv4(text)) return new IpAddress(Uint8Array.from(text.split('.'), Number))
    if (!isIPv6(text) || text.includes('%')) return null
    return new IpAddress(parseV6(text))
  }

  /** Throws RangeError when `text` is no address. */
  static parse(text: string): IpAddress {
    const address = IpAddress.tryParse(text)
    if (address === null) throw new RangeError(`not an IP address: ${text}`)
    return address
  }

  static any(family: Family): IpAddress {
    return new IpAddress(new Uint8Array(family === 4 ? 4 : 16))
  }

  /** 0.0.0.0 or :: */
  get isAny(): boolean {
    return this.bytes.every((byte) => byte === 0)
  }

  equals(other: IpAddress): boolean {
    return this === other || (this.family === other.family && equalBytes(this.bytes, other.bytes))
  }

  /** Order by bytes; only meaningful within one family. */
  compare(other: IpAddress): number {
    return compareBytes(this.bytes, other.bytes)
  }

  /** Dotted quad, or RFC 5952 text. */
  toString(): string {
    this.#text ??= this.family === 4 ? this.bytes.join('.') : formatV6(this.bytes)
    return this.#text
  }
  toJSON(): string {
    return this.toString()
  }
}

/** An address and a UDP port. Immutable. */
export class Endpoint {
  readonly address: IpAddress
  readonly port: number
  constructor(address: IpAddress, port: number) {
    this.address = address
    this.port = port
  }
  equals(other: Endpoint): boolean {
    return this.port === other.port && this.address.equals(other.address)
  }
  withPort(port: number): Endpoint {
    return port === this.port ? this : new Endpoint(this.address, port)
  }
  /** strongSwan's form: `192.0.2.1[4500]`. */
  toString(): string {
    return `${this.address.toString()}[${this.port}]`
  }
  toJSON(): string {
    return this.toString()
  }
}

/** First and last address of one family, both included. */
export class IpRange {
  readonly first: IpAddress
  readonly last: IpAddress
  constructor(first: IpAddress, last: IpAddress) {
    if (first.family !== last.family)
      throw new RangeError(`a range from ${first.toString()} to ${last.toString()} mixes families`)
    if (first.compare(last) > 0) throw new RangeError(`a range from ${first.toString()} to ${last.toString()} runs backwards`)
    this.first = first
    this.last = last
  }

  static ofPrefix(address: IpAddress, length: number): IpRange {
    const bits = address.bytes.length * 8
    if (!Number.isInteger(length) || length < 0 || length > bits)
      throw new RangeError(`prefix length ${length} is not within 0 to ${bits}`)
    const first = new Uint8Array(address.bytes)
    const last = new Uint8Array(address.bytes)
    for (let bit = length; bit < bits; bit++) {
      const mask = 0x80 >> (bit & 7)
      first[bit >> 3]! &= ~mask
      last[bit >> 3]! |= mask
    }
    return new IpRange(new IpAddress(first), new IpAddress(last))
  }

  /** `192.0.2.0/24`, `192.0.2.1`, `192.0.2.10-192.0.2.20` and the same for IPv6; throws RangeError saying what is wrong. */
  static parse(text: string): IpRange {
    const slash = text.indexOf('/')
    if (slash >= 0) {
      const length = text.slice(slash + 1)
      if (!/^\d{1,3}$/.test(length)) throw new RangeError(`not a prefix length: ${length}`)
      return IpRange.ofPrefix(IpAddress.parse(text.slice(0, slash)), Number(length))
    }
    const dash = text.indexOf('-')
    if (dash >= 0) return new IpRange(IpAddress.parse(text.slice(0, dash).trim()), IpAddress.parse(text.slice(dash + 1).trim()))
    const address = IpAddress.parse(text)
    return new IpRange(address, address)
  }

  get family(): Family {
    return this.first.family
  }

  /** Length of the prefix that is exactly this range, or null when there is none. */
  get prefixLength(): number | null {
    const [first, last] = [this.first.bytes, this.last.bytes]
    const length = this.coveringPrefixLength
    for (let at = length >> 3; at < first.length; at++) {
      const mask = at === length >> 3 ? 0xff >> (length & 7) : 0xff
      if ((first[at]! & mask) !== 0 || (last[at]! & mask) !== mask) return null
    }
    return length
  }

  /** Length of the longest prefix that covers this range; equals prefixLength where that is not null. */
  get coveringPrefixLength(): number {
    const [first, last] = [this.first.bytes, this.last.bytes]
    for (let at = 0; at < first.length; at++) {
      const differing = first[at]! ^ last[at]!
      if (differing !== 0) return at * 8 + Math.clz32(differing) - 24
    }
    return first.length * 8
  }

  contains(other: IpAddress | IpRange): boolean {
    const first = other instanceof IpRange ? other.first : other
    const last = other instanceof IpRange ? other.last : other
    return first.family === this.family && this.first.compare(first) <= 0 && this.last.compare(last) >= 0
  }

  intersect(other: IpRange): IpRange | null {
    if (other.family !== this.family) return null
    const first = this.first.compare(other.first) >= 0 ? this.first : other.first
    const last = this.last.compare(other.last) <= 0 ? this.last : other.last
    return first.compare(last) <= 0 ? new IpRange(first, last) : null
  }

  equals(other: IpRange): boolean {
    return this.first.equals(other.first) && this.last.equals(other.last)
  }

  /** `192.0.2.0/24` where it is a prefix, else `first-last`. A single address is written /32 or /128, as strongSwan does. */
  toString(): string {
    const length = this.prefixLength
    return length === null ? `${this.first.toString()}-${this.last.toString()}` : `${this.first.toString()}/${length}`
  }
  toJSON(): string {
    return this.toString()
  }
}

function parseV6(text: string): Uint8Array {
  const embedded = text.lastIndexOf(':') + 1
  let plain = text
  if (text.includes('.')) {
    const [a, b, c, d] = text.slice(embedded).split('.').map(Number) as [number, number, number, number]
    plain = `${text.slice(0, embedded)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  }
  const gap = plain.indexOf('::')
  const words = (part: string): number[] => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)))
  const head = words(gap < 0 ? plain : plain.slice(0, gap))
  const tail = gap < 0 ? [] : words(plain.slice(gap + 2))
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  head.forEach((word, i) => view.setUint16(i * 2, word))
  tail.forEach((word, i) => view.setUint16((8 - tail.length + i) * 2, word))
  return bytes
}

function formatV6(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16)
  const words = Array.from({ length: 8 }, (_, i) => view.getUint16(i * 2))
  let gapStart = -1
  let gapLength = 1
  for (let i = 0; i < 8; i++) {
    let length = 0
    while (i + length < 8 && words[i + length] === 0) length++
    if (length > gapLength) {
      gapStart = i
      gapLength = length
    }
  }
  const hex = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(':')
  if (gapStart < 0) return hex(words)
  return `${hex(words.slice(0, gapStart))}::${hex(words.slice(gapStart + gapLength))}`
}
