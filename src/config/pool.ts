/**
 * One pool of virtual addresses out of its section (strongSwan: vici_attribute.c).
 */
import { poolOfRange, poolOfSubnet, type Pool, type PoolAttribute } from '../address/pool.ts'
import { EspalierError } from '../base/errors.ts'
import { IpAddress, IpRange } from '../base/ip.ts'
import { CpAttribute } from '../iana/ikev2.ts'
import type { Report } from './check.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'

/** Attributes by name: their types for IPv4 and IPv6. Any other one goes by its number. */
const ATTRIBUTES: Readonly<Record<string, readonly [number, number]>> = {
  address: [CpAttribute.INTERNAL_IP4_ADDRESS, CpAttribute.INTERNAL_IP6_ADDRESS],
  dns: [CpAttribute.INTERNAL_IP4_DNS, CpAttribute.INTERNAL_IP6_DNS],
  nbns: [CpAttribute.INTERNAL_IP4_NBNS, 11],
  dhcp: [CpAttribute.INTERNAL_IP4_DHCP, CpAttribute.INTERNAL_IP6_DHCP],
  netmask: [CpAttribute.INTERNAL_IP4_NETMASK, 9],
  server: [CpAttribute.INTERNAL_IP4_SERVER, CpAttribute.INTERNAL_IP6_SERVER],
  subnet: [CpAttribute.INTERNAL_IP4_SUBNET, CpAttribute.INTERNAL_IP6_SUBNET],
  p_cscf: [CpAttribute.P_CSCF_IP4_ADDRESS, CpAttribute.P_CSCF_IP6_ADDRESS],
  split_include: [CpAttribute.UNITY_SPLIT_INCLUDE, CpAttribute.UNITY_SPLIT_INCLUDE],
  split_exclude: [CpAttribute.UNITY_LOCAL_LAN, CpAttribute.UNITY_LOCAL_LAN],
}

/** strongSwan: SERVER_MAX, how many of each kind `charon.dns1` and so on can name. */
const SERVERS_MAX = 2

/** What clients are told whatever their pool is: charon.dns1, dns2, nbns1, nbns2 (strongSwan: attr_provider.c). */
export function readServers(layers: readonly Values[]): readonly PoolAttribute[] {
  const keys = Array.from({ length: SERVERS_MAX }, (_, at) => ['dns', 'nbns'].map((kind) => ({ kind, key: `${kind}${at + 1}` })))
  return keys.flat().flatMap(({ kind, key }) => {
    const layer = layers.find((values) => values.has(key))
    return layer?.read<PoolAttribute | null>(key, (text) => parseServer(kind, text), null) ?? []
  })
}

/** The same as charon.plugins.attr has it: attributes by name or number. Split networks are IKEv1's there. */
export function readAttributes(layers: readonly Values[]): readonly PoolAttribute[] {
  const keys = new Set(
    layers.flatMap((values) => values.keys((key) => Object.hasOwn(ATTRIBUTES, key.replace('-', '_')) || /^\d/.test(key))),
  )
  return [...keys]
    .filter((key) => !key.startsWith('split-'))
    .flatMap((key) => {
      const layer = layers.find((values) => values.has(key))
      return layer?.readList(key, (text) => parseAttribute(key.replace('-', '_'), text), []) ?? []
    })
}

/** Null if it has no addresses; the report says why. */
export function readPool(section: ResolvedSection, report: Report): Pool | null {
  const values = new Values(section, `pools.${section.name}`, false, report)
  const addresses = values.read('addrs', parseAddresses, null)
  if (addresses === null && !values.has('addrs')) values.error(null, 'there are no addrs in it')
  const attributes = values
    .keys((key) => Object.hasOwn(ATTRIBUTES, key) || /^\d/.test(key))
    .flatMap((key) => values.readList(key, (text) => parseAttribute(key, text), []))
  return addresses === null ? null : { name: section.name, ...addresses, attributes }
}

function parseAddresses(text: string): Pick<Pool, 'base' | 'size'> {
  const slash = text.indexOf('/')
  try {
    const pool =
      slash < 0
        ? poolOfRange(IpRange.parse(text))
        : poolOfSubnet(IpAddress.parse(text.slice(0, slash)), prefixLength(text.slice(slash + 1)))
    if (pool !== null) return pool
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
  }
  throw invalid(`expected a subnet or a range of addresses, not '${text}'`)
}

/** An address, a subnet with its mask (IPv4) or prefix length (IPv6), and where there is only a number any text. */
function parseAttribute(key: string, text: string): PoolAttribute {
  const types = Object.hasOwn(ATTRIBUTES, key) ? ATTRIBUTES[key]! : null
  const number = /^\d{1,5}$/.test(key) ? Number(key) : 0
  if (types === null && (number === 0 || number > 0x7fff)) throw invalid(`'${key}' is no attribute`)
  const [addressText, lengthText] = text.split('/') as [string, string?]
  const address = IpAddress.tryParse(addressText)
  if (address === null) {
    if (types !== null) throw invalid(`expected an address, not '${text}'`)
    return { type: number, value: new TextEncoder().encode(text) }
  }
  const type = types === null ? number : types[address.family === 4 ? 0 : 1]
  if (lengthText === undefined) return { type, value: address.bytes }
  try {
    const length = prefixLength(lengthText)
    const mask = IpRange.ofPrefix(new IpAddress(new Uint8Array(address.bytes.length).fill(0xff)), length).first.bytes
    return { type, value: Uint8Array.from([...address.bytes, ...(address.family === 4 ? mask : [length])]) }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw invalid(`expected an address, not '${text}'`)
  }
}

function parseServer(kind: string, text: string): PoolAttribute {
  if (IpAddress.tryParse(text) === null) throw invalid(`expected an address, not '${text}'`)
  return parseAttribute(kind, text)
}

function prefixLength(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new RangeError(`not a prefix length: ${text}`)
  return Number(text)
}

function invalid(message: string): EspalierError {
  return new EspalierError('caller', 'VALUE_INVALID', message)
}
