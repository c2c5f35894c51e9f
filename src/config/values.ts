/**
 * Values of settings: text to booleans, numbers, times, sizes, addresses and secrets, as strongSwan reads them.
 * Every parser throws EspalierError (caller, VALUE_INVALID) with what was expected; the caller knows file, line and key.
 */
import { EspalierError } from '../base/errors.ts'
import { IpAddress, IpRange } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { Secret } from '../crypto/secret.ts'
import { NO_ACTION, type Action, type AddressPattern, type InterfaceId, type Mark } from '../ike/connection.ts'

/** Ours; the kernel's is XFRMA_REPLAY_ESN_MAX. */
const MAXIMUM_REPLAY_WINDOW = 4096
const MAXIMUM_U32 = 0xffff_ffff
const MAXIMUM_U64 = 0xffff_ffff_ffff_ffffn

/** yes, true, enabled, 1 or no, false, disabled, 0, in any case. */
export function parseBoolean(text: string): boolean {
  const word = text.toLowerCase()
  if (['yes', 'true', 'enabled', '1'].includes(word)) return true
  if (['no', 'false', 'disabled', '0'].includes(word)) return false
  throw expected('yes or no', text)
}

/** A whole number, decimal or with 0x hexadecimal, from `minimum` to `maximum`. */
export function parseInteger(text: string, minimum: number, maximum: number): number {
  const number = wholeNumber(text)
  if (number === null || number < minimum || number > maximum)
    throw expected(`a whole number from ${minimum} to ${maximum}`, text)
  return number
}

/** A number that may have decimals, from `minimum` to `maximum`. */
export function parseDecimal(text: string, minimum: number, maximum: number): number {
  const number = /^(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i.test(text) ? Number(text) : NaN
  if (!(number >= minimum && number <= maximum)) throw expected(`a number from ${minimum} to ${maximum}`, text)
  return number
}

/** A time: seconds, or a whole number with s, m, h or d behind it. */
export function parseTime(text: string): Milliseconds {
  const [number, unit] = splitUnit(text, /[smhd]/i)
  const milliseconds = number * SECOND * { s: 1, m: 60, h: 3600, d: 86_400 }[unit === '' ? 's' : unit]!
  if (!Number.isSafeInteger(milliseconds)) throw expected('a time such as 90, 90s, 5m, 4h or 1d', text)
  return milliseconds
}

/** A size: bytes, or a whole number with k, m or g (times 1024 each) behind it. */
export function parseSize(text: string): bigint {
  const [number, unit] = splitUnit(text, /[kmg]/i)
  if (!Number.isSafeInteger(number)) throw expected('a size such as 500000, 100k, 10m or 1g', text)
  return BigInt(number) * { '': 1n, 'k': 1n << 10n, 'm': 1n << 20n, 'g': 1n << 30n }[unit]!
}

/** How many packets, up to 64 bits. */
export function parseCount(text: string): bigint {
  const number = /^(0|[1-9]\d{0,19}|0x[0-9a-f]{1,16})$/i.test(text) ? BigInt(text) : null
  if (number === null || number > MAXIMUM_U64) throw expected('a whole number', text)
  return number
}

export function parseU32(text: string): number {
  return parseInteger(text, 0, MAXIMUM_U32)
}
export function parsePort(text: string): number {
  return parseInteger(text, 0, 65535)
}
export function parseReplayWindow(text: string): number {
  return parseInteger(text, 0, MAXIMUM_REPLAY_WINDOW)
}

/** A differentiated services codepoint in binary digits; strongSwan, too, keeps the last six of them. */
export function parseDscp(text: string): number {
  if (!/^[01]{1,32}$/.test(text)) throw expected('six binary digits', text)
  return Number.parseInt(text.slice(-6), 2)
}

/** Conversions of strftime(3) that our log files have. */
const TIME_CONVERSIONS = 'aAbBdDeFHIjmMnpRsStTyYzZ%'

/** A format of strftime(3). */
export function parseTimeFormat(text: string): string {
  for (const [, conversion] of text.matchAll(/%(.?)/gs)) {
    if (conversion === '' || !TIME_CONVERSIONS.includes(conversion!))
      throw expected(`a time made of text and %${TIME_CONVERSIONS.split('').join(' %')}`, text)
  }
  return text
}

/** Text for people and scripts: a path, a name. */
export function parsePrintable(text: string): string {
  if (!/^[ -~]*$/.test(text)) throw expected('printable characters', text)
  return text
}

/** `none`, `trap`, `start`, both with `|` between them, and strongSwan's older words for them. */
export function parseAction(text: string): Action {
  let action = NO_ACTION
  for (const item of text.split('|')) {
    const word = parseWord(item.trim(), ['none', 'clear', 'start', 'restart', 'trap', 'route'])
    action = {
      trap: action.trap || word === 'trap' || word === 'route',
      start: action.start || word === 'start' || word === 'restart',
    }
  }
  return action
}

/** `10`, `0xa/0xf`, `%unique`, `%unique-dir/0xff`; the mask is all bits without one. `words`: what may follow the `%`. */
export function parseMark(text: string, words: readonly ('unique' | 'unique-dir' | 'same')[]): Mark {
  const [mark, mask, ...rest] = text.split('/') as [string, string?, ...string[]]
  const what = `a mark such as 10, 0x0a/0xff or ${words.map((word) => `%${word}`).join(' or ')}`
  if (rest.length > 0) throw expected(what, text)
  const bits = mask === undefined ? MAXIMUM_U32 : (u32(mask) ?? NaN)
  const word = words.find((word) => mark.toLowerCase() === `%${word}`)
  const value = word ?? u32(mark) ?? NaN
  if (Number.isNaN(value) || Number.isNaN(bits)) throw expected(what, text)
  return { value: typeof value === 'number' ? (value & bits) >>> 0 : value, mask: bits }
}

/** A number of an XFRM interface, or `%unique`, `%unique-dir`. */
export function parseInterfaceId(text: string): InterfaceId {
  if (/^%unique(-dir)?$/i.test(text)) return text.toLowerCase() === '%unique' ? 'unique' : 'unique-dir'
  const id = u32(text)
  if (id === null) throw expected('an interface ID: a whole number, %unique or %unique-dir', text)
  return id
}

/** A virtual address to ask for, 0.0.0.0 and :: for any. */
export function parseVirtualAddress(text: string): IpAddress {
  const address = IpAddress.tryParse(text === '%any' || text === '%any4' ? '0.0.0.0' : text === '%any6' ? '::' : text)
  if (address === null) throw expected('an IP address', text)
  return address
}

/** An address that others see us at. */
export function parsePublicAddress(text: string): IpAddress {
  const address = IpAddress.tryParse(text)
  if (address === null || address.isAny) throw expected('a single IP address', text)
  return address
}

/** The items of a list with commas, without the spaces around them; empty ones are left out. */
export function parseList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** One of `words`, in any case. */
export function parseWord<Word extends string>(text: string, words: readonly Word[]): Word {
  const word = words.find((word) => word === text.toLowerCase())
  if (word === undefined) throw expected(words.join(', ').replace(/, (?=\S+$)/, ' or '), text)
  return word
}

/**
 * One entry of local_addrs or remote_addrs: %any (also 0.0.0.0 and :: for their families), an address, a subnet, a
 * range or a host name. What looks like an address and is none is refused: as a name it would be asked of the DNS.
 */
export function parseAddressPattern(text: string): AddressPattern {
  const any = ANY_ADDRESS.get(text.toLowerCase())
  if (any !== undefined) return { kind: 'any', family: any }
  const dash = text.indexOf('-')
  if (text.includes('/') || text.includes(':') || IpAddress.tryParse((dash < 0 ? text : text.slice(0, dash)).trim()) !== null) {
    try {
      return { kind: 'range', range: IpRange.parse(text) }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new EspalierError(
        'caller',
        'VALUE_INVALID',
        `expected an address, a subnet, a range or a host name: ${error.message}`,
      )
    }
  }
  const labels = text.replace(/\.$/, '').split('.')
  const isName = text.length <= 253 && labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label))
  if (!isName || /^\d+$/.test(labels.at(-1)!)) throw expected('an address, a subnet, a range, %any or a host name', text)
  return { kind: 'host', name: text }
}

/**
 * A secret: the UTF-8 bytes of the text, or with 0x hexadecimal, with 0s base64. What does not decode is refused, where
 * strongSwan makes some key of it. Messages never show it.
 */
export function parseSecret(text: string): Secret {
  const encoding = text.slice(0, 2).toLowerCase()
  const coded = text.slice(2)
  if (encoding === '0x') {
    const digits = coded.replaceAll(':', '')
    if (!/^[0-9a-f]+$/i.test(digits)) throw badSecret('hexadecimal digits behind 0x')
    return new Secret(Uint8Array.from(Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex')))
  }
  if (encoding === '0s') {
    if (coded.length % 4 !== 0 || !/^[a-z0-9+/]+={0,2}$/i.test(coded))
      throw badSecret('base64 in groups of four characters behind 0s')
    return new Secret(Uint8Array.from(Buffer.from(coded, 'base64')))
  }
  if (text === '') throw badSecret('a secret that is not empty')
  return new Secret(new TextEncoder().encode(text))
}

/** Octets: hexadecimal behind `0x` or base64 behind `0s`. */
export function parseBytes(text: string): Uint8Array {
  const secret = parseSecret(text)
  return secret.dangerouslyReveal()
}

/** An object identifier, `1.3.6.1.4.1`. */
export function parseOid(text: string): string {
  if (!/^[0-2](\.(0|[1-9]\d{0,18})){1,31}$/.test(text)) throw expected('an object identifier such as 1.3.6.1.4.1', text)
  return text
}

/** NaN for what is no number; the unit in lower case, '' if there is none. */
function splitUnit(text: string, units: RegExp): [number, string] {
  const unit = units.test(text.slice(-1)) && !/^0x/i.test(text) ? text.slice(-1).toLowerCase() : ''
  return [wholeNumber((unit === '' ? text : text.slice(0, -1)).trimEnd()) ?? NaN, unit]
}

/** A leading zero means octal to one half of strongSwan and nothing to the other: better refused. */
function wholeNumber(text: string): number | null {
  return /^(0|[1-9]\d{0,15}|0x[0-9a-f]{1,13})$/i.test(text) ? Number(text) : null
}

/** In hexadecimal a mark is written with all its digits, 0x00000000. */
function u32(text: string): number | null {
  const number = /^0x[0-9a-f]{1,8}$/i.test(text) ? Number(text) : wholeNumber(text)
  return number !== null && number <= MAXIMUM_U32 ? number : null
}

function expected(what: string, text: string): EspalierError {
  const shown = text.length <= 60 ? text : `${text.slice(0, 57)}...`
  return new EspalierError('caller', 'VALUE_INVALID', `expected ${what}, not '${shown}'`)
}
function badSecret(what: string): EspalierError {
  return new EspalierError('caller', 'VALUE_INVALID', `expected ${what}`)
}

const ANY_ADDRESS: ReadonlyMap<string, 4 | 6 | null> = new Map([
  ['%any', null],
  ['%any4', 4],
  ['%any6', 6],
  ['0.0.0.0', 4],
  ['::', 6],
  ['0::0', 6],
])
