/**
 * The Configuration payloads of IKE_AUTH (RFC 7296 2.19, 3.15): the responder gives the initiator an address of its
 * pools, and tells what else they say. What `dynamic` traffic is, follows from it (dynamic-hosts.ts).
 *
 *   HDR, SK { IDi, AUTH, CP(CFG_REQUEST), SAi2, TSi, TSr }  -->
 *                    <--  HDR, SK { IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr }
 */
import { formatIdentity, identityKey } from '../auth/identity.ts'
import { assert } from '../base/assert.ts'
import { IpAddress } from '../base/ip.ts'
import { CpAttribute, CpType, NotifyType } from '../iana/ikev2.ts'
import type { WireAttribute } from '../message/ikev2/cp.ts'
import { find } from '../message/ikev2/find.ts'
import { MAX_CP_ATTRIBUTES } from '../message/ikev2/limits.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { ExchangeFailure } from './failure.ts'
import type { Session } from './session.ts'

/** Addresses that one peer may ask for, or give, and servers; what comes after is not heard. One of each family is usual. */
const ADDRESSES_MAX = 8

/** strongSwan: the prefix length it puts behind an IPv6 address. */
const IPV6_PREFIX_LENGTH = 64

/**
 * The responder's answer to what an authentic peer asks for; null when there is nothing to tell. Throws ExchangeFailure
 * when the peer gets no address that it asked for, or asked for none and should have: then it gets no CHILD_SA
 * (RFC 7296 3.15.4).
 */
export function answerConfiguration(session: Session, request: readonly Payload[]): Payload | null {
  const { sa, env } = session
  const { connection, remoteId } = sa
  assert(connection !== null && remoteId !== null, 'who gets an address has proved who it is')
  const requested = addressesIn(request, CpType.CFG_REQUEST)
  const holder = { key: identityKey(remoteId), name: formatIdentity(remoteId) }
  for (const address of requested) {
    const lease = env.leases.acquire(connection.pools, holder, address, sa.remote)
    if (lease !== null) sa.leases = [...sa.leases, lease]
    env.report({ event: 'address-answered', sa, requested: address, lease })
  }
  if (requested.length > 0 && sa.leases.length === 0) {
    throw new ExchangeFailure(
      'policy',
      'NO_VIRTUAL_ADDRESS',
      connection.pools.length === 0
        ? `no virtual IP found, sending INTERNAL_ADDRESS_FAILURE: connection ${connection.name} has no pools`
        : `no virtual IP found, sending INTERNAL_ADDRESS_FAILURE: the pools ${connection.pools.join(', ')} have none for it`,
      NotifyType.INTERNAL_ADDRESS_FAILURE,
    )
  }
  if (requested.length === 0 && connection.pools.length > 0) {
    throw new ExchangeFailure(
      'policy',
      'VIRTUAL_ADDRESS_REQUIRED',
      `expected a virtual IP request, sending FAILED_CP_REQUIRED: connection ${connection.name} has pools`,
      NotifyType.FAILED_CP_REQUIRED,
    )
  }
  if (sa.leases.length === 0) return null
  const attributes = [
    ...sa.leases.map(({ address }) => addressAttribute(address)),
    ...env.leases.attributesOf(sa.leases),
    ...env.settings().attributes,
  ]
  return { kind: 'CP', cpType: CpType.CFG_REPLY, attributes: attributes.slice(0, MAX_CP_ATTRIBUTES) }
}

/**
 * The initiator's question for the addresses that its connection says; null if it wants none. Until the answer comes,
 * any address is one of ours.
 */
export function requestAddresses({ sa }: Session): Payload | null {
  assert(sa.connection !== null, 'an initiator knows its connection')
  const wanted = sa.connection.virtualAddresses
  if (wanted.length === 0) return null
  sa.virtualAddresses = wanted
  const families = new Set(wanted.map(({ family }) => family))
  const servers = [...families].map((family) => (family === 4 ? CpAttribute.INTERNAL_IP4_DNS : CpAttribute.INTERNAL_IP6_DNS))
  const attributes = [...wanted.map(addressAttribute), ...servers.map((type) => ({ type, value: new Uint8Array() }))]
  return { kind: 'CP', cpType: CpType.CFG_REQUEST, attributes }
}

/** What we were given, if we asked; none if the responder says nothing of addresses. */
export function acceptAddresses({ sa }: Session, answer: readonly Payload[]): void {
  if (sa.virtualAddresses.length === 0) return
  sa.virtualAddresses = addressesIn(answer, CpType.CFG_REPLY).filter((address) => !address.isAny)
  sa.nameServers = nameServersIn(answer)
}

/** Each once; what is none is passed over. */
function nameServersIn(answer: readonly Payload[]): readonly IpAddress[] {
  const cp = find(answer, 'CP')
  if (cp === null || cp.cpType !== CpType.CFG_REPLY) return []
  const servers = cp.attributes.flatMap(({ type, value }) => {
    const octets = type === CpAttribute.INTERNAL_IP4_DNS ? 4 : type === CpAttribute.INTERNAL_IP6_DNS ? 16 : 0
    return octets !== 0 && value.length === octets ? [new IpAddress(value.slice())] : []
  })
  const known = new Map(servers.filter(({ isAny }) => !isAny).map((server) => [server.toString(), server]))
  return [...known.values()].slice(0, ADDRESSES_MAX)
}

/** What the peer asks for, or gives: unspecified for any address of a family. Attributes of other lengths are passed over. */
function addressesIn(payloads: readonly Payload[], cpType: number): readonly IpAddress[] {
  const cp = find(payloads, 'CP')
  if (cp === null || cp.cpType !== cpType) return []
  return cp.attributes.flatMap((attribute) => addressIn(attribute) ?? []).slice(0, ADDRESSES_MAX)
}

/** RFC 7296 3.15.1: 4 octets, or 16 with a prefix length behind; none at all for any. */
function addressIn({ type, value }: WireAttribute): IpAddress | null {
  const octets = type === CpAttribute.INTERNAL_IP4_ADDRESS ? 4 : type === CpAttribute.INTERNAL_IP6_ADDRESS ? 16 : 0
  if (octets === 0) return null
  if (value.length === 0) return new IpAddress(new Uint8Array(octets))
  if (value.length === octets || (octets === 16 && value.length === 17)) return new IpAddress(value.slice(0, octets))
  return null
}

function addressAttribute(address: IpAddress): WireAttribute {
  const { isAny } = address
  if (address.family === 4) return { type: CpAttribute.INTERNAL_IP4_ADDRESS, value: isAny ? new Uint8Array() : address.bytes }
  const value = isAny ? new Uint8Array() : Uint8Array.from([...address.bytes, IPV6_PREFIX_LENGTH])
  return { type: CpAttribute.INTERNAL_IP6_ADDRESS, value }
}
