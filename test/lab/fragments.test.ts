/**
 * IKE fragmentation (RFC 7383) with Debian's charon over a path that carries no more than it has to, 576 octets over IPv4
 * and 1280 over IPv6, and no fragments of IP:
 *
 *   charon .2 ──── router, which drops what IP has split ──── .2 espalier
 *
 * Both offer so much, and protect so many networks, that neither IKE_AUTH nor CREATE_CHILD_SA fits, either way.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { type Host, Lab, type Router } from './support/network.ts'
import { eventually } from './support/process.ts'
import { xfrmStates } from './support/xfrm.ts'

type Peer = 'charon' | 'espalier'

const ADDRESS = {
  4: { charon: '10.1.0.2', espalier: '10.2.0.2' },
  6: { charon: '2001:db8:1::2', espalier: '2001:db8:2::2' },
} as const
/** RFC 791: what everybody takes in; RFC 8200: what every link carries. */
const MTU = { 4: 576, 6: 1280 } as const
/** Behind charon; espalier has as many as it takes. */
const HOME = { charon: '10.10.0.1', espalier: '10.20.0.1' } as const
const NETWORKS = 72

/** As different ones as there are: of those that are the same without their group, charon offers one. */
const ESP_PROPOSALS = ['aes128', 'aes192', 'aes256']
  .flatMap((cipher) =>
    [...['gcm16', 'gcm12', 'gcm8'], ...['-sha1', '-sha256', '-sha384', '-sha512']].map((rest) => cipher + rest),
  )
  .flatMap((suite) => [`${suite}-x25519-noesn`, `${suite}-x25519-esn`])

interface Place {
  readonly charon: Charon
  readonly espalier: Espalier
  readonly router: Router
  readonly hosts: Readonly<Record<Peer, Host>>
}

async function place(t: TestContext, family: 4 | 6, ike: string, moreSettings = ''): Promise<Place> {
  const lab = new Lab(t)
  const router = await lab.router('router')
  const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  for (const [index, peer] of (['charon', 'espalier'] as const).entries()) {
    const lan = { 4: `10.${index + 1}.0`, 6: `2001:db8:${index + 1}:` }
    const addresses = (last: number): string[] => [`${lan[4]}.${last}/24`, `${lan[6]}:${last}/64`]
    await lab.cable(router, peer, addresses(1), hosts[peer], 'wan', addresses(2))
    await hosts[peer].route('default', `${lan[4]}.1`)
    await hosts[peer].route('default', `${lan[6]}:1`)
    for (const [host, name] of [
      [router, peer],
      [hosts[peer], 'wan'],
    ] as const)
      // Below 1280 there is no IPv6: the addresses go.
      await host.run('ip', ['link', 'set', name, 'mtu', String(MTU[family])])
    await hosts[peer].stub('home', `${HOME[peer]}/16`)
  }
  // Before connection tracking, which would put them together.
  await router.nft(`
    table inet path {
      counter fragments { }
      chain prerouting {
        type filter hook prerouting priority -450;
        ip frag-off & 0x3fff != 0 counter name fragments drop;
        exthdr frag exists counter name fragments drop;
      }
    }`)
  const settings = `fragment_size = 0\n  ${moreSettings}`
  const text = (self: Peer, other: Peer): { configuration: string; settings: string } => ({
    configuration: configuration(self, other, family, ike),
    settings,
  })
  const [charon, espalier] = await Promise.all([
    Charon.start(hosts.charon, text('charon', 'espalier')),
    Espalier.start(hosts.espalier, text('espalier', 'charon')),
  ])
  return { charon, espalier, router, hosts }
}

function configuration(self: Peer, other: Peer, family: 4 | 6, ike: string): string {
  const many = Array.from({ length: NETWORKS }, (_, i) => `10.20.${i}.0/24`).join(', ')
  const [local, remote] = self === 'charon' ? ['10.10.0.0/24', many] : [many, '10.10.0.0/24']
  return `
connections {
  path {
    version = 2
    local_addrs = ${ADDRESS[family][self]}
    remote_addrs = ${ADDRESS[family][other]}
    # An IKE_SA_INIT goes in one piece whatever is in it; charon's usual one is too long for such a path.
    proposals = aes128-sha256-x25519
    ${ike}
    local {
      auth = psk
      id = ${self}.example
    }
    remote {
      auth = psk
      id = ${other}.example
    }
    children {
      net {
        local_ts = ${local}
        remote_ts = ${remote}
        esp_proposals = ${ESP_PROPOSALS.join(', ')}
      }
    }
  }
}
secrets {
  ike-path {
    secret = "the gardener keeps the key"
  }
}
`
}

async function droppedFragments(router: Router): Promise<number> {
  const listing = await router.run('nft', ['list', 'counter', 'inet', 'path', 'fragments'])
  const packets = /packets (\d+)/.exec(listing)
  assert.ok(packets !== null, listing)
  return Number(packets[1])
}

/** Lines about splitting and putting together, once a message. */
function fragmented(log: string): { readonly sent: number; readonly received: number } {
  return {
    sent: [...log.matchAll(/splitting IKE message \(\d+ bytes\) into \d+ fragments/g)].length,
    received: [...log.matchAll(/received fragment #\d+ of \d+, reassembled fragmented IKE message \(\d+ bytes\)/g)].length,
  }
}

for (const family of [4, 6] as const) {
  test(`IKE_AUTH and CREATE_CHILD_SA in fragments over IPv${family} and a path of ${MTU[family]} octets, begun by either`, async (t) => {
    const { charon, espalier, router, hosts } = await place(t, family, 'fragmentation = force')
    const peers = { charon, espalier } as const
    const seen = async (): Promise<Record<Peer, { readonly sent: number; readonly received: number }>> => ({
      charon: fragmented(await charon.log()),
      espalier: fragmented(espalier.daemon.lines.join('\n')),
    })
    let messages = 0
    /** After an exchange whose request and answer were too long: one message each way more. */
    const exchanged = async (what: string): Promise<void> => {
      messages++
      const expected = { sent: messages, received: messages }
      let last: unknown = null
      await eventually(
        () => `${what} went in fragments both ways: ${messages} each wanted, ${JSON.stringify(last)}`,
        async () => {
          const { charon: one, espalier: other } = await seen()
          last = { charon: one, espalier: other }
          return [one, other].every(({ sent, received }) => sent >= messages && received >= messages) ? true : undefined
        },
      )
      assert.deepEqual(await seen(), { charon: expected, espalier: expected }, what)
    }
    for (const initiator of ['charon', 'espalier'] as const) {
      await peers[initiator].swanctl('--initiate', '--child', 'net', '--timeout', '30')
      await exchanged(`IKE_AUTH of ${initiator}`)
      assert.equal(await hosts.charon.ping(HOME.espalier, HOME.charon, 2), 2)
      for (const rekeyer of ['espalier', 'charon'] as const) {
        await peers[rekeyer].swanctl('--rekey', '--child', 'net')
        await exchanged(`the rekey of the CHILD_SA by ${rekeyer}`)
        // That it was agreed on goes over to the IKE_SA that takes the place of this one.
        const rekeyed = espalier.events('ike-rekeyed').length
        await peers[rekeyer].swanctl('--rekey', '--ike', 'path')
        await eventually('the IKE_SA is rekeyed', () => (espalier.events('ike-rekeyed').length > rekeyed ? true : undefined))
      }
      assert.equal(await hosts.espalier.ping(HOME.charon, HOME.espalier, 2), 2)
      await peers[initiator].swanctl('--terminate', '--ike', 'path')
      for (const host of Object.values(hosts))
        await eventually(`nothing is left on ${host.name}`, async () =>
          (await xfrmStates(host)).length === 0 ? true : undefined,
        )
    }
    assert.equal(await droppedFragments(router), 0)
  })
}

test('without it the same messages do not come through', async (t) => {
  const { charon, espalier, router } = await place(t, 4, 'fragmentation = no', 'retransmit_timeout = 1')
  for (const peer of [charon, espalier]) {
    const before = await droppedFragments(router)
    await assert.rejects(peer.swanctl('--initiate', '--child', 'net', '--timeout', '4'))
    await eventually('fragments of IP come, and are dropped', async () =>
      (await droppedFragments(router)) >= before + 2 ? true : undefined,
    )
    await peer.swanctl('--terminate', '--ike', 'path', '--force')
  }
  // What fits came through: all of IKE_SA_INIT.
  assert.ok(espalier.events('nat-detected').length >= 2)
  assert.equal(espalier.events('ike-established').length, 0)
})
