/**
 * Traffic selectors (RFC 7296 2.9, 3.13): what a CHILD_SA carries, as configured and as narrowed.
 */
import { EspalierError } from '../base/errors.ts'
import { IpAddress, IpRange } from '../base/ip.ts'

/** One selector: an address range, an IP protocol (0 = any) and an inclusive port range (0..65535 = any; first > last = OPAQUE, RFC 7296 3.13.1). */
export interface TrafficSelector {
  readonly range: IpRange
  readonly protocol: number
  readonly firstPort: number
  readonly lastPort: number
}

/** As configured: `range` null is `dynamic`, to be replaced by the host's own address (or virtual IP) when the SA is negotiated. */
export interface SelectorTemplate {
  readonly range: IpRange | null
  readonly protocol: number
  readonly firstPort: number
  readonly lastPort: number
}

/** `dynamic` without protocol and ports: the default of local_ts and remote_ts. */
export const DYNAMIC_SELECTOR: SelectorTemplate = { range: null, protocol: 0, firstPort: 0, lastPort: 65535 }

/**
 * One entry of local_ts or remote_ts: `10.1.0.0/16`, `10.0.0.1-10.0.0.9`, `dynamic`, each with `[protocol/port]`
 * behind it, or that alone (then `dynamic`). Protocols and services by number or name; `any`, `opaque` and
 * `1024-2000` for ports; ICMP as `icmp/8`, `icmp/3(4)` (type, code) or the number made of both.
 * Throws EspalierError (caller, SELECTOR_INVALID) saying what is wrong.
 */
export function parseSelectorTemplate(text: string): SelectorTemplate {
  const open = text.indexOf('[')
  if (open < 0) return { ...DYNAMIC_SELECTOR, range: parseRange(text.trim()) }
  if (!text.endsWith(']')) throw badSelector(`'${text}' opens a bracket and does not end with one`)
  const address = text.slice(0, open).trim()
  // strongSwan refuses an empty address, yet its own documentation leaves out "dynamic" before the bracket.
  const range = address === '' ? null : parseRange(address)
  const inner = text.slice(open + 1, -1)
  const slash = inner.indexOf('/')
  const protocol = parseProtocol((slash < 0 ? inner : inner.slice(0, slash)).trim())
  const [firstPort, lastPort] = slash < 0 ? [0, 65535] : parsePorts(inner.slice(slash + 1).trim(), isIcmp(protocol))
  return { range, protocol, firstPort, lastPort }
}

/**
 * The selectors that `template` means for the host at `addresses`, one for each: only `dynamic` depends on them. An
 * unspecified one is every address of its family: one of them is still to be assigned (strongSwan).
 */
export function resolveTemplate(template: SelectorTemplate, addresses: readonly IpAddress[]): readonly TrafficSelector[] {
  const { range, protocol, firstPort, lastPort } = template
  if (range !== null) return [{ range, protocol, firstPort, lastPort }]
  return addresses.map((address) => ({ range: rangeOf(address), protocol, firstPort, lastPort }))
}

function rangeOf(address: IpAddress): IpRange {
  return address.isAny ? IpRange.ofPrefix(address, 0) : new IpRange(address, address)
}

/** A TS payload has no more: their number has 8 bits (RFC 7296 3.13). */
export const SELECTORS_MAX = 255

/**
 * What a responder answers (RFC 7296 2.9): the intersections of what is configured with what was offered, in the
 * order of the offer, without those that another one already contains, and no more than can be answered. Empty means
 * TS_UNACCEPTABLE.
 */
export function narrow(configured: readonly TrafficSelector[], offered: readonly TrafficSelector[]): TrafficSelector[] {
  const found: TrafficSelector[] = []
  for (const offer of offered) {
    for (const own of configured) {
      const both = intersect(own, offer)
      if (both === null || found.some((known) => isSubset(both, known))) continue
      for (let i = found.length - 1; i >= 0; i--) if (isSubset(found[i]!, both)) found.splice(i, 1)
      found.push(both)
      if (found.length === SELECTORS_MAX) return found
    }
  }
  // A copy has no room to grow into, which what is kept as long as a CHILD_SA does not need.
  return [...found]
}

/**
 * How well what is configured agrees with what was offered, 0 for not at all. strongSwan: what is the same counts five
 * times what only overlaps, and the earlier in the offer the more.
 */
export function agreement(configured: readonly TrafficSelector[], offered: readonly TrafficSelector[]): number {
  let score = 0
  for (const [index, offer] of offered.entries()) {
    const weight = offered.length - index
    for (const own of configured) {
      if (isSubset(own, offer) && isSubset(offer, own)) score += 5 * weight
      else if (intersect(own, offer) !== null) score += weight
    }
  }
  return score
}

/** Whether every packet of `a` is one of `b`. OPAQUE is contained in OPAQUE and in any port. */
export function isSubset(a: TrafficSelector, b: TrafficSelector): boolean {
  if (!b.range.contains(a.range)) return false
  if (b.protocol !== 0 && b.protocol !== a.protocol) return false
  if (isAnyPort(b)) return true
  if (isOpaque(a) || isOpaque(b)) return isOpaque(a) && isOpaque(b)
  return a.firstPort >= b.firstPort && a.lastPort <= b.lastPort
}

/** strongSwan's form: `10.1.0.0/16`, `10.0.0.1..10.0.0.9[tcp/80]`, `fec0::/16[icmp/3(4)]`, `[0/53]` and `[udp/OPAQUE]` behind them; ports as numbers. */
export function formatSelector(selector: TrafficSelector): string {
  const { range } = selector
  const address = range.prefixLength === null ? `${range.first.toString()}..${range.last.toString()}` : range.toString()
  return `${address}${formatProtocol(selector)}`
}

/** The same of a configured one, which may be `dynamic`. */
export function formatSelectorTemplate(template: SelectorTemplate): string {
  const { range } = template
  return range === null ? `dynamic${formatProtocol(template)}` : formatSelector({ ...template, range })
}

function formatProtocol(selector: SelectorTemplate): string {
  const { protocol } = selector
  if (protocol === 0 && isAnyPort(selector)) return ''
  const name = PROTOCOLS.find(([, number]) => number === protocol)?.[0] ?? String(protocol)
  return `[${name}${isAnyPort(selector) ? '' : `/${formatPorts(selector)}`}]`
}

/** The fewest prefixes that together are exactly `range`, in order: at most 62 for IPv4, 254 for IPv6. */
export function prefixesOf(range: IpRange): IpRange[] {
  // As nearly all of them are.
  if (range.prefixLength !== null) return [range]
  const bits = range.first.bytes.length * 8
  const last = toNumber(range.last)
  const prefixes: IpRange[] = []
  for (let at = toNumber(range.first); at <= last;) {
    let free = 0
    while (free < bits && (at & ((2n << BigInt(free)) - 1n)) === 0n && at + (2n << BigInt(free)) - 1n <= last) free++
    prefixes.push(IpRange.ofPrefix(toAddress(at, bits / 8), bits - free))
    at += 1n << BigInt(free)
  }
  return prefixes
}

function intersect(a: TrafficSelector, b: TrafficSelector): TrafficSelector | null {
  const range = a.range.intersect(b.range)
  if (range === null) return null
  if (a.protocol !== b.protocol && a.protocol !== 0 && b.protocol !== 0) return null
  const protocol = a.protocol === 0 ? b.protocol : a.protocol
  if (isOpaque(a) || isOpaque(b)) {
    const fits = (isOpaque(a) || isAnyPort(a)) && (isOpaque(b) || isAnyPort(b))
    return fits ? { range, protocol, firstPort: 65535, lastPort: 0 } : null
  }
  const firstPort = Math.max(a.firstPort, b.firstPort)
  const lastPort = Math.min(a.lastPort, b.lastPort)
  return firstPort <= lastPort ? { range, protocol, firstPort, lastPort } : null
}

function isAnyPort(selector: SelectorTemplate): boolean {
  return selector.firstPort === 0 && selector.lastPort === 65535
}
/** RFC 7296 3.13.1 writes OPAQUE as start 65535, end 0; a peer's other backward ranges mean no port either. */
function isOpaque(selector: SelectorTemplate): boolean {
  return selector.firstPort > selector.lastPort
}
function isIcmp(protocol: number): boolean {
  return protocol === 1 || protocol === 58
}

function parseRange(text: string): IpRange | null {
  if (text === 'dynamic') return null
  try {
    return IpRange.parse(text.includes('..') ? text.replace('..', '-') : text)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw badSelector(`'${text}' is no address, subnet, range or 'dynamic': ${error.message}`)
  }
}

function parseProtocol(text: string): number {
  const name = text.toLowerCase()
  if (name === '' || name === 'any') return 0
  const known = PROTOCOLS.find(([known]) => known === name)
  if (known !== undefined) return known[1]
  const number = parseNumber(name, 255)
  if (number === null) throw badSelector(`'${text}' is no IP protocol (a name such as tcp, or 0 to 255)`)
  return number
}

function parsePorts(text: string, icmp: boolean): [number, number] {
  const name = text.toLowerCase()
  if (name === '' || name === 'any') return [0, 65535]
  if (name === 'opaque') return [65535, 0]
  const service = Object.hasOwn(SERVICES, name) ? SERVICES[name] : undefined
  if (service !== undefined && !icmp) return [service, service]
  const parts = name.split('-')
  const first = icmp ? parseIcmp(parts[0]!) : parseNumber(parts[0]!, 65535)
  const last = parts.length === 1 ? first : icmp ? parseIcmp(parts[1]!) : parseNumber(parts[1]!, 65535)
  if (first === null || last === null || parts.length > 2) {
    const expected = icmp ? 'an ICMP type, type(code), or a range of them' : 'a port, a range of ports, a service, any or opaque'
    throw badSelector(`'${text}' is not ${expected}`)
  }
  if (first > last) throw badSelector(`the range '${text}' runs backwards`)
  return [first, last]
}

/** RFC 7296 3.13.1: the type in the upper, the code in the lower 8 bits. strongSwan: a number below 256 is a type with code 0. */
function parseIcmp(text: string): number | null {
  const both = /^(\d{1,3})\((\d{1,3})\)$/.exec(text)
  if (both !== null) {
    const [type, code] = [Number(both[1]), Number(both[2])]
    return type < 256 && code < 256 ? (type << 8) | code : null
  }
  const number = parseNumber(text, 65535)
  return number !== null && number < 256 ? number << 8 : number
}

function parseNumber(text: string, maximum: number): number | null {
  if (!/^(0x[0-9a-f]{1,4}|0|[1-9]\d{0,4})$/.test(text)) return null
  const number = Number(text)
  return number <= maximum ? number : null
}

function formatPorts(selector: SelectorTemplate): string {
  const { firstPort, lastPort } = selector
  if (isOpaque(selector)) return 'OPAQUE'
  const format = (port: number): string => {
    if (!isIcmp(selector.protocol)) return String(port)
    return (port & 0xff) === 0 ? String(port >> 8) : `${port >> 8}(${port & 0xff})`
  }
  return firstPort === lastPort ? format(firstPort) : `${format(firstPort)}-${format(lastPort)}`
}

function toNumber(address: IpAddress): bigint {
  return address.bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n)
}
function toAddress(number: bigint, length: number): IpAddress {
  return new IpAddress(Uint8Array.from({ length }, (_, i) => Number((number >> BigInt(8 * (length - 1 - i))) & 0xffn)))
}

function badSelector(message: string): EspalierError {
  return new EspalierError('caller', 'SELECTOR_INVALID', message)
}

/** Names people write in selectors, the one to print first; the rest of /etc/protocols is written as numbers (IANA protocol numbers). */
const PROTOCOLS: readonly (readonly [string, number])[] = [
  ['icmp', 1],
  ['igmp', 2],
  ['ipencap', 4],
  ['ipip', 4],
  ['tcp', 6],
  ['egp', 8],
  ['igp', 9],
  ['udp', 17],
  ['dccp', 33],
  ['ipv6', 41],
  ['rsvp', 46],
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['ipv6-icmp', 58],
  ['icmpv6', 58],
  ['eigrp', 88],
  ['ospf', 89],
  ['ospfigp', 89],
  ['pim', 103],
  ['ipcomp', 108],
  ['vrrp', 112],
  ['l2tp', 115],
  ['sctp', 132],
  ['udplite', 136],
]

/** Services people write in selectors; the rest of /etc/services is written as numbers (IANA service names). */
const SERVICES: Readonly<Record<string, number>> = {
  'ftp-data': 20,
  'ftp': 21,
  'ssh': 22,
  'telnet': 23,
  'smtp': 25,
  'domain': 53,
  'bootps': 67,
  'bootpc': 68,
  'tftp': 69,
  'http': 80,
  'kerberos': 88,
  'pop3': 110,
  'sunrpc': 111,
  'ntp': 123,
  'netbios-ns': 137,
  'netbios-dgm': 138,
  'netbios-ssn': 139,
  'imap2': 143,
  'snmp': 161,
  'snmp-trap': 162,
  'snmptrap': 162,
  'bgp': 179,
  'ldap': 389,
  'https': 443,
  'microsoft-ds': 445,
  'isakmp': 500,
  'syslog': 514,
  'submission': 587,
  'ldaps': 636,
  'domain-s': 853,
  'rsync': 873,
  'imaps': 993,
  'pop3s': 995,
  'l2tp': 1701,
  'l2f': 1701,
  'radius': 1812,
  'radius-acct': 1813,
  'mqtt': 1883,
  'nfs': 2049,
  'iscsi-target': 3260,
  'mysql': 3306,
  'ipsec-nat-t': 4500,
  'vxlan': 4789,
  'sip': 5060,
  'sip-tls': 5061,
  'postgresql': 5432,
  'git': 9418,
}
