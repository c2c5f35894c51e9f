/**
 * Values of ours as plain data that the structured clone algorithm takes, and back: what a gateway leaves to the program
 * after it, and what a journal has of the kernel. Keys are octets in it.
 */
import { assert } from '../base/assert.ts'
import { Endpoint, IpAddress, IpRange } from '../base/ip.ts'
import { Secret } from '../crypto/secret.ts'

/** Marks an object that was one of a class; no record of ours has such a property. */
const CLASS = '$'

/** Of plain objects, arrays, octets, numbers, words, and of the few classes that records are made of. */
export function writeDown(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(writeDown)
  if (value instanceof Secret) return { [CLASS]: 'Secret', bytes: value.dangerouslyReveal() }
  if (value instanceof IpAddress) return { [CLASS]: 'IpAddress', bytes: value.bytes }
  if (value instanceof Endpoint) return { [CLASS]: 'Endpoint', address: value.address.bytes, port: value.port }
  if (value instanceof IpRange) return { [CLASS]: 'IpRange', first: value.first.bytes, last: value.last.bytes }
  assert(Object.getPrototypeOf(value) === Object.prototype, 'only plain objects and known classes are written down')
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, writeDown(member)]))
}

/** What `writeDown` was given: octets are copied, whoever had them may overwrite them. Throws for what it was not given. */
export function readBack(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  if (Array.isArray(value)) return value.map(readBack)
  const members = value as Readonly<Record<string, unknown>>
  const octets = (key: string): Uint8Array => {
    const bytes = members[key]
    if (!(bytes instanceof Uint8Array)) throw new TypeError(`${key} has no octets`)
    return Uint8Array.from(bytes)
  }
  const address = (key: string): IpAddress => new IpAddress(octets(key))
  switch (members[CLASS]) {
    case undefined:
      return Object.fromEntries(Object.entries(members).map(([key, member]) => [key, readBack(member)]))
    case 'Secret':
      return new Secret(octets('bytes'))
    case 'IpAddress':
      return address('bytes')
    case 'Endpoint':
      return new Endpoint(address('address'), Number(members['port']))
    case 'IpRange':
      return new IpRange(address('first'), address('last'))
    default:
      throw new TypeError('an object of an unknown class')
  }
}
