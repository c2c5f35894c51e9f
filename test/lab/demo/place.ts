/**
 * The demo's network and what its daemons are told. The configurations are what a user would write, no more.
 */
import { type Host, Lab, type LabOwner, type Router } from '../support/network.ts'

export const GATEWAY = '192.0.2.2'
export const OUTSIDE = '192.0.2.1'
export const SERVER = '10.20.0.10'

export const DRAWING = [
  'private LAN 10.1.0.0/24                     Internet                 office 10.20.0.0/24',
  '',
  'client-a 10.1.0.2 --+',
  "(Debian's charon)   |             192.0.2.1      192.0.2.2",
  '                    +-- 10.1.0.1 router -------------- gateway 10.20.0.1 -- server 10.20.0.10',
  '                    |         (masquerades)          (espalier)',
  'client-b 10.1.0.3 --+',
  '(espalier)',
]

/** One that brings up a tunnel to the gateway. */
export interface Client {
  readonly name: string
  readonly program: string
  readonly address: string
  readonly host: Host
}

export interface Place {
  readonly router: Router
  readonly gateway: Router
  readonly a: Client
  readonly b: Client
}

export async function build(owner: LabOwner): Promise<Place> {
  const lab = new Lab(owner)
  const router = await lab.router('router')
  const gateway = await lab.router('gateway')
  const server = await lab.host('server')
  const a = { name: 'client-a', program: 'charon', address: '10.1.0.2', host: await lab.host('client-a') }
  const b = { name: 'client-b', program: 'espalier', address: '10.1.0.3', host: await lab.host('client-b') }
  await lab.network('lan', [
    [router, '10.1.0.1/24'],
    [a.host, `${a.address}/24`],
    [b.host, `${b.address}/24`],
  ])
  await lab.cable(router, 'wan', `${OUTSIDE}/24`, gateway, 'wan', `${GATEWAY}/24`)
  await lab.cable(gateway, 'office', '10.20.0.1/24', server, 'office', `${SERVER}/24`)
  for (const client of [a, b]) await client.host.route('default', '10.1.0.1')
  await gateway.route('default', OUTSIDE)
  await server.route('default', '10.20.0.1')
  // Ports other than the clients', so that nobody can take the one for the other, and none by which tcpdump would take
  // IKE for something else.
  await router.masquerade('wan', { randomPorts: true, udpPorts: '20000-29999' })
  return { router, gateway, a, b }
}

const SECRETS = `
secrets {
  ike-office {
    id = gateway.example
    secret = "the gardener keeps the key"
  }
}`

export const GATEWAY_CONFIGURATION = `
connections {
  clients {
    version = 2
    local_addrs = ${GATEWAY}
    local {
      auth = psk
      id = gateway.example
    }
    remote {
      auth = psk
      id = *.clients.example
    }
    children {
      office {
        local_ts = 10.20.0.0/24
        remote_ts = 10.1.0.0/24
      }
    }
  }
}
${SECRETS}
`

export function identityOf(client: Client): string {
  return `${client.name}.clients.example`
}

export function clientConfiguration(client: Client): string {
  return `
connections {
  gateway {
    version = 2
    remote_addrs = ${GATEWAY}
    local {
      auth = psk
      id = ${identityOf(client)}
    }
    remote {
      auth = psk
      id = gateway.example
    }
    children {
      office {
        remote_ts = 10.20.0.0/24
      }
    }
  }
}
${SECRETS}
`
}
