/**
 * Two gateways side by side, charon and espalier, with a network behind each; both have the same to say of the
 * connection `peer` and its child `net`.
 *
 *   10.10.1.1 charon 192.0.2.1 ──── 192.0.2.2 espalier 10.20.0.1
 */
import { Charon } from './charon.ts'
import { Espalier } from './espalier.ts'
import { type Host, Lab, type LabOwner } from './network.ts'
import type { StrongswanVersion } from './strongswan.ts'

export const PEERS = ['charon', 'espalier'] as const
export type PeerName = (typeof PEERS)[number]

export const ADDRESS = { charon: '192.0.2.1', espalier: '192.0.2.2' } as const
export const HOME = { charon: '10.10.1.1', espalier: '10.20.0.1' } as const
const NETWORK = { charon: '10.10.1.0/24', espalier: '10.20.0.0/24' } as const

const QUICK = { ike: 'aes128gcm16-prfsha256-x25519', net: 'aes128gcm16-x25519', one: 'aes128gcm16' }

export interface Couple {
  readonly hosts: Readonly<Record<PeerName, Host>>
  readonly charon: Charon
  readonly espalier: Espalier
}

export interface CoupleText {
  /** Lines of the connection. */
  readonly ike?: string
  /** Lines of the child. */
  readonly child?: string
  /** Instead of quick ones, of which those of `net` have perfect forward secrecy. */
  readonly proposals?: { readonly ike: string; readonly net: string; readonly one: string }
  /** Of charon; 6 does ML-KEM. */
  readonly version?: StrongswanVersion
  /** How long a packet is on its way between the two, in milliseconds. */
  readonly delayMs?: number
}

export const other = (peer: PeerName): PeerName => (peer === 'charon' ? 'espalier' : 'charon')

/** Both run; nothing is up yet. */
export async function couple(owner: LabOwner, text: CoupleText = {}): Promise<Couple> {
  const lab = new Lab(owner)
  const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  await lab.cable(hosts.charon, 'wan', `${ADDRESS.charon}/24`, hosts.espalier, 'wan', `${ADDRESS.espalier}/24`)
  for (const peer of PEERS) {
    await hosts[peer].stub('home', `${HOME[peer]}/24`)
    await hosts[peer].route(NETWORK[other(peer)], ADDRESS[other(peer)])
    if (text.delayMs !== undefined)
      await hosts[peer].run('tc', ['qdisc', 'add', 'dev', 'wan', 'root', 'netem', 'delay', `${text.delayMs}ms`])
  }
  const [charon, espalier] = await Promise.all([
    Charon.start(hosts.charon, {
      configuration: configuration('charon', text),
      ...(text.version === undefined ? {} : { version: text.version }),
    }),
    Espalier.start(hosts.espalier, { configuration: configuration('espalier', text) }),
  ])
  return { hosts, charon, espalier }
}

function configuration(own: PeerName, { ike = '', child = '', proposals = QUICK }: CoupleText): string {
  const side = (peer: PeerName): string => `{
      auth = psk
      id = ${peer}.example
    }`
  return `
connections {
  peer {
    version = 2
    local_addrs = ${ADDRESS[own]}
    remote_addrs = ${ADDRESS[other(own)]}
    proposals = ${proposals.ike}
    ${ike}
    local ${side(own)}
    remote ${side(other(own))}
    children {
      net {
        local_ts = ${NETWORK[own]}
        remote_ts = ${NETWORK[other(own)]}
        esp_proposals = ${proposals.net}
        ${child}
      }
      one {
        local_ts = ${NETWORK[own]}[tcp]
        remote_ts = ${NETWORK[other(own)]}[tcp]
        esp_proposals = ${proposals.one}
        ${child}
      }
    }
  }
}
secrets {
  ike-peer {
    secret = "the gardener keeps the key"
  }
}
`
}
