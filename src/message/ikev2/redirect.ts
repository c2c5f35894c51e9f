/**
 * Data of the notifies REDIRECT and REDIRECTED_FROM (RFC 5685 9.2, 9.3):
 *
 *                      1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | GW Ident Type |  GW Ident Len |                               |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+      Gateway Identity         ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * ~   Nonce Data: of the initiator, in an IKE_SA_INIT response    ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { concatBytes } from '../../base/bytes.ts'
import { IpAddress } from '../../base/ip.ts'

/** Where a gateway can be found. */
export type GatewayIdentity =
  | { readonly kind: 'address'; readonly address: IpAddress }
  | { readonly kind: 'host'; readonly name: string }

export interface RedirectData {
  readonly gateway: GatewayIdentity
  /** Empty where there is none. */
  readonly nonce: Uint8Array
}

/** IANA "IKEv2 Gateway Identity Types". */
const GW_IPV4 = 1
const GW_IPV6 = 2
const GW_FQDN = 3
const HEADER_LENGTH = 2
/** Labels of letters, digits and hyphens: what else a peer may write is looked up nowhere and stands in no log. */
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_][a-z0-9_-]{0,62}(?:\.[a-z0-9_][a-z0-9_-]{0,62})*\.?$/i

/** Views on `data`. Null if it is too short, of an unknown type, or names nothing that could be a gateway. */
export function readRedirect(data: Uint8Array): RedirectData | null {
  const [type, length] = data
  if (type === undefined || length === undefined || data.length < HEADER_LENGTH + length) return null
  const gateway = readGateway(type, data.subarray(HEADER_LENGTH, HEADER_LENGTH + length))
  return gateway === null ? null : { gateway, nonce: data.subarray(HEADER_LENGTH + length) }
}

/** The name of a gateway has at most 253 octets. */
export function writeRedirect(gateway: GatewayIdentity): Uint8Array {
  if (gateway.kind === 'host') {
    const name = new TextEncoder().encode(gateway.name)
    return concatBytes(Uint8Array.of(GW_FQDN, name.length), name)
  }
  const { family, bytes } = gateway.address
  return concatBytes(Uint8Array.of(family === 4 ? GW_IPV4 : GW_IPV6, bytes.length), bytes)
}

/** For people. */
export function formatGateway(gateway: GatewayIdentity): string {
  return gateway.kind === 'host' ? gateway.name : gateway.address.toString()
}

/** What `text` names: an address, or a host; null if it can be neither. */
export function parseGateway(text: string): GatewayIdentity | null {
  const address = IpAddress.tryParse(text)
  if (address !== null) return { kind: 'address', address }
  return HOST_NAME.test(text) ? { kind: 'host', name: text } : null
}

function readGateway(type: number, bytes: Uint8Array): GatewayIdentity | null {
  switch (type) {
    case GW_IPV4:
    case GW_IPV6: {
      if (bytes.length !== (type === GW_IPV4 ? 4 : 16)) return null
      return { kind: 'address', address: new IpAddress(bytes.slice()) }
    }
    case GW_FQDN: {
      const name = new TextDecoder('latin1').decode(bytes)
      return HOST_NAME.test(name) ? { kind: 'host', name } : null
    }
    default:
      return null
  }
}
