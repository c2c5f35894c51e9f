/**
 * Identities (RFC 7296 3.5): who a peer says it is, and who we expect.
 */
import { equalBytes, fromHex, toHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { IpAddress, IpRange } from '../base/ip.ts'
import { printable } from '../base/printable.ts'
import {
  encodeDistinguishedName,
  equalDistinguishedNames,
  formatDistinguishedName,
  hasWildcard,
  matchDistinguishedName,
} from '../pki/distinguished-name.ts'

/** An ID payload's type (IANA IKEv2 ID types) and data. Type 0 with no data is strongSwan's `%any` and never sent. */
export interface Identity {
  readonly type: number
  readonly data: Uint8Array
}

/**
 * Whom we accept: anyone, exactly one identity (or the addresses of a subnet or range), or a wildcard of strongSwan's
 * (`*.example.org`, `*@example.org`, a DN with `*` values), whose `identity` has the stars in its data.
 */
export type IdentityPattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'exact'; readonly identity: Identity }
  | { readonly kind: 'wildcard'; readonly text: string; readonly type: number; readonly identity: Identity }

/** IANA "IKEv2 Identification Payload ID Types"; 4 and 6 to 8 are IKEv1's, which strongSwan still takes in patterns. */
const ID_ANY = 0
const ID_IPV4_ADDR = 1
const ID_FQDN = 2
const ID_RFC822_ADDR = 3
const ID_IPV4_ADDR_SUBNET = 4
const ID_IPV6_ADDR = 5
const ID_IPV6_ADDR_SUBNET = 6
const ID_IPV4_ADDR_RANGE = 7
const ID_IPV6_ADDR_RANGE = 8
const ID_DER_ASN1_DN = 9
const ID_DER_ASN1_GN = 10
const ID_KEY_ID = 11

/** strongSwan's scale of matches: how well a pattern fits an identity. */
export const MATCH_NONE = 0
export const MATCH_ANY = 1
export const MATCH_MAXIMUM_WILDCARDS = 2
export const MATCH_ONE_WILDCARD = 19
export const MATCH_PERFECT = 20

/**
 * The identity strongSwan reads in `text`: an address, subnet or range; `C=CH, O=...`; `user@host`; any other name as
 * FQDN; with `:` but no address KEY_ID. `@name` is an FQDN, `@@user@host` an RFC822 address, `@#hex` a KEY_ID. A prefix
 * (`fqdn:`, `keyid:`, `{11}:` ...) sets the type, `#` behind it says hex. Empty, `%any`, `*`, `0.0.0.0`, `::` are `%any`.
 * Throws EspalierError (caller, IDENTITY_INVALID) saying what is wrong.
 */
export function parseIdentity(text: string): Identity {
  const prefixed = /^(?:\{(\d{1,3}|0x[0-9a-f]{1,2})\}|([a-z0-9]+)):(.*)$/is.exec(text)
  if (prefixed?.[1] !== undefined) {
    const type = Number(prefixed[1])
    if (type > 255) throw badIdentity(`${type} is no ID type (0 to 255)`)
    return { type, data: rawData(prefixed[3]!) }
  }
  const prefix = prefixed?.[2]?.toLowerCase() ?? ''
  if (Object.hasOwn(PREFIXES, prefix)) return parsePrefixed(PREFIXES[prefix]!, prefix, prefixed![3]!)
  if (text.includes('=')) return parseName(text)
  if (text.startsWith('@#')) return { type: ID_KEY_ID, data: hexData(text.slice(2)) }
  if (text.startsWith('@@')) return { type: ID_RFC822_ADDR, data: utf8(text.slice(2)) }
  if (text.startsWith('@')) return { type: ID_FQDN, data: utf8(text.slice(1)) }
  if (text.includes('@')) return { type: ID_RFC822_ADDR, data: utf8(text) }
  if (['', '%any', '%any6', '0.0.0.0', '*', '::', '0::0'].includes(text)) return { type: ID_ANY, data: new Uint8Array() }
  return parseAddresses(text) ?? { type: text.includes(':') ? ID_KEY_ID : ID_FQDN, data: utf8(text) }
}

/** For people: what parseIdentity would read, unprintable bytes as \xNN. Never throws, whatever a peer sent; at most 512 characters. */
export function formatIdentity(identity: Identity): string {
  const text = describe(identity)
  return text.length <= MAXIMUM_TEXT ? text : `${text.slice(0, MAXIMUM_TEXT - 3)}...`
}

/** As parseIdentity, with strongSwan's wildcards; regular expressions (`fqdn:^...$`) are refused. Throws EspalierError (caller, IDENTITY_INVALID). */
export function parseIdentityPattern(text: string): IdentityPattern {
  if (/^(rfc822|email|userfqdn|fqdn|dns|asn1dn):\^.*\$$/is.test(text))
    throw badIdentity(`regular expressions such as '${text}' are not supported yet`)
  return patternOf(parseIdentity(text))
}

/** The pattern an identity is when it was configured, so that the owners of a secret may have wildcards. */
export function patternOf(identity: Identity): IdentityPattern {
  const { type, data } = identity
  if (type === ID_ANY) return { kind: 'any' }
  const star = type === ID_DER_ASN1_DN ? hasWildcard(data) : isName(type) && data[0] === STAR
  return star ? { kind: 'wildcard', text: formatIdentity(identity), type, identity } : { kind: 'exact', identity }
}

/**
 * How well `pattern` fits `identity`: MATCH_NONE (0), or higher is better: MATCH_ANY, DNs by the number of their
 * wildcards, MATCH_ONE_WILDCARD (also a subnet or range around an address), MATCH_PERFECT.
 */
export function matchIdentity(pattern: IdentityPattern, identity: Identity): number {
  if (pattern.kind === 'any') return MATCH_ANY
  const wanted = pattern.identity
  if (identitiesEqual(wanted, identity)) return MATCH_PERFECT
  if (pattern.kind === 'exact') return matchAddresses(wanted, identity)
  if (wanted.type !== identity.type) return MATCH_NONE
  if (wanted.type === ID_DER_ASN1_DN) {
    const wildcards = matchDistinguishedName(wanted.data, identity.data)
    return wildcards === null ? MATCH_NONE : Math.max(MATCH_PERFECT - wildcards, MATCH_MAXIMUM_WILDCARDS)
  }
  const tail = wanted.data.subarray(1)
  if (tail.length === 0) return MATCH_ANY
  const fits = identity.data.length > tail.length && equalNames(tail, identity.data.subarray(identity.data.length - tail.length))
  return fits && !identity.data.includes(0) ? MATCH_ONE_WILDCARD : MATCH_NONE
}

/** Same type and, by its rules, same data: names without regard to case, DNs attribute by attribute, all else byte by byte. */
export function identitiesEqual(a: Identity, b: Identity): boolean {
  if (a.type !== b.type) return false
  if (a.type === ID_DER_ASN1_DN) return equalDistinguishedNames(a.data, b.data)
  return isName(a.type) ? equalNames(a.data, b.data) : equalBytes(a.data, b.data)
}

/** ID_IPV4_ADDR or ID_IPV6_ADDR: the identity of a host without another one. */
export function identityOfAddress(address: IpAddress): Identity {
  return { type: address.family === 4 ? ID_IPV4_ADDR : ID_IPV6_ADDR, data: address.bytes }
}

/** ID_DER_ASN1_DN: what a certificate is about. `subject` is the DER of a Name. */
export function identityOfSubject(subject: Uint8Array): Identity {
  return { type: ID_DER_ASN1_DN, data: subject }
}

/** ID_KEY_ID: what a public key without a certificate goes by (strongSwan). */
export function identityOfKey(fingerprint: Uint8Array): Identity {
  return { type: ID_KEY_ID, data: fingerprint }
}

function parsePrefixed(type: number, prefix: string, text: string): Identity {
  if (text.startsWith('#')) {
    const data = hexData(text.slice(1))
    const length = ADDRESS_LENGTHS[type]
    if (length !== undefined && data.length !== length)
      throw badIdentity(`${prefix}: needs ${length} bytes, '${text}' has ${data.length}`)
    return { type, data }
  }
  // strongSwan takes the text itself as the address or DN, which no peer can understand; what was meant is plain.
  if (type === ID_DER_ASN1_DN) return { type, data: encodeDistinguishedName(text) }
  if (ADDRESS_LENGTHS[type] === undefined) return { type, data: utf8(text) }
  const identity = parseAddresses(text)
  if (identity?.type !== type) throw badIdentity(`'${text}' is not what ${prefix}: announces`)
  return identity
}

/** As strongSwan: what has an equals sign and is no distinguished name is a KEY_ID. */
function parseName(text: string): Identity {
  try {
    return { type: ID_DER_ASN1_DN, data: encodeDistinguishedName(text) }
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    return { type: ID_KEY_ID, data: utf8(text) }
  }
}

/** An address, subnet (address and mask) or range (first and last); null when `text` is none. */
function parseAddresses(text: string): Identity | null {
  const address = IpAddress.tryParse(text)
  if (address !== null) return identityOfAddress(address)
  if (!/[/-]/.test(text)) return null
  try {
    const range = IpRange.parse(text)
    const subnet = text.includes('/')
    const type =
      range.family === 4 ? (subnet ? ID_IPV4_ADDR_SUBNET : ID_IPV4_ADDR_RANGE) : subnet ? ID_IPV6_ADDR_SUBNET : ID_IPV6_ADDR_RANGE
    const second = subnet ? range.last.bytes.map((byte, i) => ~(byte ^ range.first.bytes[i]!)) : range.last.bytes
    return { type, data: Uint8Array.from([...range.first.bytes, ...second]) }
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** The addresses an identity stands for, null when it is none or its bytes are no address. */
function addressesOf({ type, data }: Identity): IpRange | null {
  const length = ADDRESS_LENGTHS[type]
  if (length === undefined || data.length !== length) return null
  if (type === ID_IPV4_ADDR || type === ID_IPV6_ADDR) return new IpRange(new IpAddress(data), new IpAddress(data))
  const [first, second] = [data.subarray(0, length / 2), data.subarray(length / 2)]
  const subnet = type === ID_IPV4_ADDR_SUBNET || type === ID_IPV6_ADDR_SUBNET
  const low = new IpAddress(subnet ? first.map((byte, i) => byte & second[i]!) : first)
  const high = new IpAddress(subnet ? first.map((byte, i) => byte | ~second[i]!) : second)
  return low.compare(high) <= 0 ? new IpRange(low, high) : null
}

function matchAddresses(wanted: Identity, identity: Identity): number {
  const around = addressesOf(wanted)
  const inside = addressesOf(identity)
  if (around === null || inside === null || !around.contains(inside)) return MATCH_NONE
  return MATCH_ONE_WILDCARD
}

function describe(identity: Identity): string {
  const { type, data } = identity
  switch (type) {
    case ID_ANY:
      return '%any'
    case ID_FQDN:
    case ID_RFC822_ADDR:
      return printable(data)
    case ID_KEY_ID:
      // A hash is a key id, too, and could be all printable by chance; strongSwan makes the same exception for SHA-1's length.
      return data.length === 20 || printable(data) !== latin1(data) ? `@#${toHex(data)}` : printable(data)
    case ID_DER_ASN1_DN:
      return formatDistinguishedName(data, printable) ?? `(no distinguished name: ${toHex(data)})`
  }
  const range = addressesOf(identity)
  if (range === null) return `{${type}}:#${toHex(data)}`
  if (type === ID_IPV4_ADDR || type === ID_IPV6_ADDR) return range.first.toString()
  return range.toString()
}

/** Case-insensitive in ASCII. strongSwan refuses names with a NUL, which other software might read as shorter than they are. */
function equalNames(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && !a.includes(0) && a.every((byte, i) => lowerCase(byte) === lowerCase(b[i]!))
}
function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte
}
function isName(type: number): boolean {
  return type === ID_FQDN || type === ID_RFC822_ADDR
}

function rawData(text: string): Uint8Array {
  return text.startsWith('#') ? hexData(text.slice(1)) : utf8(text)
}

/** As strongSwan: colons between the digits, a 0x before them and a missing leading zero are fine. */
function hexData(text: string): Uint8Array {
  const digits = text.replace(/^0x/i, '').replaceAll(':', '')
  if (!/^[0-9a-f]*$/i.test(digits)) throw badIdentity(`'${text}' is not hexadecimal`)
  return fromHex(digits.length % 2 === 0 ? digits : `0${digits}`)
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function badIdentity(message: string): EspalierError {
  return new EspalierError('caller', 'IDENTITY_INVALID', message)
}

/** The same text for identities that are equal (names whatever their case), and nearly always another for others. */
export function identityKey(identity: Identity): string {
  return `${identity.type} ${formatIdentity(identity).toLowerCase()}`
}

/** Our limit: characters of one identity in a log line. */
const MAXIMUM_TEXT = 512
const STAR = 0x2a

/** Bytes in the identities that are made of addresses. */
const ADDRESS_LENGTHS: Readonly<Record<number, number>> = {
  [ID_IPV4_ADDR]: 4,
  [ID_IPV4_ADDR_SUBNET]: 8,
  [ID_IPV4_ADDR_RANGE]: 8,
  [ID_IPV6_ADDR]: 16,
  [ID_IPV6_ADDR_SUBNET]: 32,
  [ID_IPV6_ADDR_RANGE]: 32,
}

/** strongSwan's prefixes, without those that make identities no IKE peer can be asked for (xmppaddr, uri). */
const PREFIXES: Readonly<Record<string, number>> = {
  ipv4: ID_IPV4_ADDR,
  ipv6: ID_IPV6_ADDR,
  ipv4net: ID_IPV4_ADDR_SUBNET,
  ipv6net: ID_IPV6_ADDR_SUBNET,
  ipv4range: ID_IPV4_ADDR_RANGE,
  ipv6range: ID_IPV6_ADDR_RANGE,
  rfc822: ID_RFC822_ADDR,
  email: ID_RFC822_ADDR,
  userfqdn: ID_RFC822_ADDR,
  fqdn: ID_FQDN,
  dns: ID_FQDN,
  asn1dn: ID_DER_ASN1_DN,
  asn1gn: ID_DER_ASN1_GN,
  keyid: ID_KEY_ID,
}
