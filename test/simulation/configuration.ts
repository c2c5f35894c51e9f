/** Connections in a few words, with the defaults a swanctl.conf would give them. */
import { NOTHING_LOADED, type LoadedCredentials } from '../../src/auth/loaded-credentials.ts'
import type { SharedSecret } from '../../src/auth/secrets.ts'
import { parseIdentity, parseIdentityPattern } from '../../src/auth/identity.ts'
import type { Pool } from '../../src/address/pool.ts'
import { IpAddress, IpRange } from '../../src/base/ip.ts'
import { SECOND, type Milliseconds } from '../../src/base/time.ts'
import { parseAction } from '../../src/config/values.ts'
import { Secret } from '../../src/crypto/secret.ts'
import type { GatewayConfiguration } from '../../src/gateway/gateway.ts'
import {
  DEFAULT_CHILD,
  DEFAULT_CONNECTION,
  DEFAULT_IKE_SETTINGS,
  DEFAULT_LOCAL,
  DEFAULT_REMOTE,
  type AddressPattern,
  type ChildConnection,
  type ChildLifetime,
  type Connection,
  type IkeLifetime,
  type IkeSettings,
  type InterfaceId,
  type LocalAuthentication,
  type RemoteAuthentication,
} from '../../src/ike/connection.ts'
import { parseProposal } from '../../src/negotiate/proposals.ts'
import { parseSelectorTemplate } from '../../src/negotiate/selectors.ts'

/** What all scenarios use unless they are about something else: quick, and as sure as any. */
const IKE_PROPOSAL = 'aes128gcm16-prfsha256-curve25519'
const ESP_PROPOSAL = 'aes128gcm16'
/** Long enough that no random bytes look like it. */
export const PSK = 'the pre-shared key of the whole simulated world'

export interface ChildWords {
  readonly name?: string
  readonly proposals?: readonly string[]
  readonly mode?: 'tunnel' | 'transport' | 'pass' | 'drop'
  readonly local?: readonly string[]
  readonly remote?: readonly string[]
  readonly start?: boolean
  readonly trap?: boolean
  /** `trap|start`. */
  readonly dpdAction?: string
  readonly closeAction?: string
  /** Of what is not said there is no limit. */
  readonly childLifetime?: Partial<ChildLifetime>
  readonly inactivity?: Milliseconds
  readonly updown?: string
  readonly hostAccess?: boolean
  readonly marks?: Partial<Pick<ChildConnection, 'markIn' | 'markInOnState' | 'markOut' | 'setMarkIn' | 'setMarkOut'>>
  /** Both directions'. */
  readonly interfaceId?: InterfaceId
}

export interface ConnectionWords extends ChildWords {
  readonly connection?: string
  readonly ikeProposals?: readonly string[]
  readonly localAddresses?: readonly string[]
  readonly remoteAddresses?: readonly string[]
  readonly localPort?: number
  readonly remotePort?: number
  readonly localId?: string
  readonly remoteId?: string
  /** Instead of one round by pre-shared key; who is who, if they do not say, is as above. */
  readonly localRounds?: readonly Partial<LocalAuthentication>[]
  readonly remoteRounds?: readonly Partial<RemoteAuthentication>[]
  readonly sendCertificate?: Connection['sendCertificate']
  readonly sendCertificateRequest?: boolean
  readonly encap?: boolean
  readonly nat?: Connection['natPolicy']
  readonly publicAddresses?: readonly string[]
  readonly mobike?: boolean
  readonly keepAlive?: Connection['keepAlive']
  readonly fragmentation?: Connection['fragmentation']
  readonly keyingTries?: number
  /** Seconds. */
  readonly dpdDelay?: number
  readonly unique?: Connection['unique']
  readonly childless?: Connection['childless']
  readonly ocsp?: Connection['ocsp']
  readonly lifetime?: Partial<IkeLifetime>
  /** Asked for: 0.0.0.0 and :: are any. */
  readonly vips?: readonly string[]
  /** Given away from. */
  readonly pools?: readonly string[]
  /** Of the connection, both directions'. */
  readonly defaultInterfaceId?: InterfaceId
  /** Instead of the one child described by the rest. */
  readonly children?: readonly ChildWords[]
}

export function connection(words: ConnectionWords): Connection {
  return {
    ...DEFAULT_CONNECTION,
    keepAlive: words.keepAlive ?? null,
    name: words.connection ?? 'home',
    localAddresses: (words.localAddresses ?? []).map(addressPattern),
    remoteAddresses: (words.remoteAddresses ?? []).map(addressPattern),
    localPort: words.localPort ?? 500,
    remotePort: words.remotePort ?? 500,
    proposals: (words.ikeProposals ?? [IKE_PROPOSAL]).map((text) => parseProposal(text, 'ike')),
    forceEncapsulation: words.encap ?? false,
    natPolicy: words.nat ?? 'allow',
    publicAddresses: (words.publicAddresses ?? []).map((text) => IpAddress.parse(text)),
    mobike: words.mobike ?? true,
    fragmentation: words.fragmentation ?? DEFAULT_CONNECTION.fragmentation,
    keyingTries: words.keyingTries ?? 1,
    dpdDelay: (words.dpdDelay ?? 0) * SECOND,
    unique: words.unique ?? 'no',
    childless: words.childless ?? 'allow',
    ocsp: words.ocsp ?? 'reply',
    lifetime: { ...DEFAULT_CONNECTION.lifetime, ...words.lifetime },
    virtualAddresses: (words.vips ?? []).map((text) => IpAddress.parse(text)),
    pools: words.pools ?? [],
    interfaceIdIn: words.defaultInterfaceId ?? 0,
    interfaceIdOut: words.defaultInterfaceId ?? 0,
    sendCertificate: words.sendCertificate ?? DEFAULT_CONNECTION.sendCertificate,
    sendCertificateRequest: words.sendCertificateRequest ?? DEFAULT_CONNECTION.sendCertificateRequest,
    local: (words.localRounds ?? [{ method: 'psk' }]).map((round) => ({
      ...DEFAULT_LOCAL,
      id: words.localId === undefined ? null : parseIdentity(words.localId),
      ...round,
    })),
    remote: (words.remoteRounds ?? [{ method: 'psk' }]).map((round) => ({
      ...DEFAULT_REMOTE,
      id: parseIdentityPattern(words.remoteId ?? '%any'),
      ...round,
    })),
    children: (words.children ?? [words]).map(child),
  }
}

const UNLIMITED: ChildLifetime = {
  time: { rekey: 0, life: 0, rand: 0 },
  bytes: { rekey: 0n, life: 0n, rand: 0n },
  packets: { rekey: 0n, life: 0n, rand: 0n },
}

function child(words: ChildWords): ChildConnection {
  return {
    ...DEFAULT_CHILD,
    name: words.name ?? 'net',
    proposals: (words.proposals ?? [ESP_PROPOSAL]).map((text) => parseProposal(text, 'esp')),
    mode: words.mode ?? 'tunnel',
    localSelectors: (words.local ?? ['dynamic']).map(parseSelectorTemplate),
    remoteSelectors: (words.remote ?? ['dynamic']).map(parseSelectorTemplate),
    startAction: { trap: words.trap === true, start: words.start === true },
    dpdAction: parseAction(words.dpdAction ?? 'none'),
    closeAction: parseAction(words.closeAction ?? 'none'),
    lifetime: words.childLifetime === undefined ? DEFAULT_CHILD.lifetime : { ...UNLIMITED, ...words.childLifetime },
    inactivity: words.inactivity ?? DEFAULT_CHILD.inactivity,
    updown: words.updown ?? null,
    hostAccess: words.hostAccess ?? false,
    ...words.marks,
    interfaceIdIn: words.interfaceId ?? 0,
    interfaceIdOut: words.interfaceId ?? 0,
  }
}

function addressPattern(text: string): AddressPattern {
  if (text === '%any') return { kind: 'any', family: null }
  try {
    return { kind: 'range', range: IpRange.parse(text) }
  } catch {
    return { kind: 'host', name: text }
  }
}

export interface SecretWords {
  readonly text: string
  readonly owners?: readonly string[]
}

export function sharedSecret(words: SecretWords): SharedSecret {
  return {
    name: 'ike-1',
    kind: 'ike',
    owners: (words.owners ?? []).map(parseIdentity),
    secret: new Secret(new TextEncoder().encode(words.text)),
  }
}

export function configuration(
  connections: readonly ConnectionWords[],
  settings: Partial<IkeSettings> = {},
  secrets: readonly SecretWords[] = [{ text: PSK }],
  pools: readonly Pool[] = [],
  credentials: LoadedCredentials = NOTHING_LOADED,
): GatewayConfiguration {
  return {
    credentials,
    connections: connections.map(connection),
    secrets: secrets.map(sharedSecret),
    pools,
    settings: { ...DEFAULT_IKE_SETTINGS, ...settings },
  }
}
