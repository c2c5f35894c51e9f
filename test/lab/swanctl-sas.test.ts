/**
 * What charon and espalier tell of SAs, asked by the same client: each begins one connection to the other, and who
 * plays the same part has to tell the same, key by key, with the same values where these do not depend on the run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connectControl } from '../../src/daemon/connect.ts'
import { type ViciNode, type ViciSection, section, textOf } from '../../src/vici/message.ts'
import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { Lab } from './support/network.ts'

type Peer = Charon | Espalier

const HOMES = { '192.0.2.1': '10.10.0.0/16', '192.0.2.2': '10.20.0.0/16' }

/** Nothing is ever made anew: what is not scheduled is not told of. */
function configuration(own: keyof typeof HOMES, other: keyof typeof HOMES): string {
  return `
connections {
  gw {
    local_addrs = ${own}
    remote_addrs = ${other}
    proposals = aes256-sha256-x25519
    mobike = no
    rekey_time = 0
    local { auth = psk
      id = gw-${own} }
    remote { auth = psk
      id = gw-${other} }
    children {
      net {
        local_ts = ${HOMES[own]}
        remote_ts = ${HOMES[other]}
        esp_proposals = aes128-sha256-esn
        rekey_time = 0
        life_time = 0
      }
    }
  }
}
secrets { ike-1 { secret = "the gardener keeps the key" } }
`
}

/** Of a run, not of who tells of it. */
const CHANCE = /^(uniqueid|reqid|spi-(in|out)|(initiator|responder)-spi|established|install-time|use-(in|out))$/

/** `path = value`, one a line; what only the run decides is a star, and addresses are those of the two parts. */
function told(node: ViciSection, own: string, other: string, path = ''): string[] {
  const word = (value: ViciNode): string =>
    Buffer.from(value as Uint8Array)
      .toString()
      .replaceAll(own, 'OWN')
      .replaceAll(other, 'OTHER')
      .replaceAll(homeOf(own), 'HOME')
      .replaceAll(homeOf(other), 'AWAY')
  return [...node].flatMap(([key, value]) => {
    if (OURS.test(key)) return []
    const place = `${path}/${key.replace(/-\d+$/, '-N')}`
    if (value instanceof Map) return [place, ...told(value as ViciSection, own, other, place)]
    if (Array.isArray(value)) return [`${place} = [${(value as readonly Uint8Array[]).map(word).join(' ')}]`]
    return [`${place} = ${CHANCE.test(key) ? '*' : word(value)}`]
  })
}

const homeOf = (address: string): string => HOMES[address as keyof typeof HOMES]

/** Behind all that charon tells of a CHILD_SA. */
const OURS = /^(?:health(?:-reason|-time)?|mtu)$/

/** Only what there is, without values. */
const keysOf = (node: ViciSection, path = ''): string[] =>
  [...node].flatMap(([key, value]) =>
    value instanceof Map ? [`${path}/${key}`, ...keysOf(value as ViciSection, `${path}/${key}`)] : [`${path}/${key}`],
  )

async function listSas(of: Peer, own: string, other: string): Promise<string[]> {
  const client = await connectControl(of.uri)
  try {
    const lines: string[] = []
    for await (const event of client.stream('list-sas', section(), 'list-sa')) lines.push(...told(event, own, other))
    return lines
  } finally {
    client.close()
  }
}

async function call(of: Peer, command: string, ...request: (readonly [string, string])[]): Promise<ViciSection> {
  const client = await connectControl(of.uri)
  try {
    return await client.call(command, section(...request))
  } finally {
    client.close()
  }
}

test('charon and espalier tell the same of SAs', async (t) => {
  const lab = new Lab(t)
  const left = await lab.host('left')
  const right = await lab.host('right')
  await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', '192.0.2.2/24')
  const charon = await Charon.start(left, { configuration: configuration('192.0.2.1', '192.0.2.2') })
  const espalier = await Espalier.start(right, { configuration: configuration('192.0.2.2', '192.0.2.1') })
  const address = (peer: Peer): keyof typeof HOMES => (peer === charon ? '192.0.2.1' : '192.0.2.2')
  const both: readonly Peer[] = [charon, espalier]
  const otherThan = (peer: Peer): Peer => (peer === charon ? espalier : charon)

  // By part, charon's and then espalier's.
  const initiators: string[][] = []
  const responders: string[][] = []
  const terminations: string[][] = []
  for (const initiator of both) {
    const responder = otherThan(initiator)
    const answer = await call(initiator, 'initiate', ['child', 'net'], ['timeout', '60000'])
    assert.equal(textOf(answer, 'success'), 'yes', textOf(answer, 'errmsg') ?? '')
    initiators.push(await listSas(initiator, address(initiator), address(responder)))
    responders.unshift(await listSas(responder, address(responder), address(initiator)))
    terminations.push(told(await call(initiator, 'terminate', ['ike', 'gw'], ['timeout', '60000']), '-', '-'))
  }
  const compare = async (title: string, [theirs, ours]: readonly (readonly string[])[]): Promise<void> => {
    await t.test(title, () => {
      assert.ok(theirs!.length > 0)
      assert.deepEqual(ours, theirs)
    })
  }
  await compare('list-sas of the initiator', initiators)
  await compare('list-sas of the responder', responders)
  await compare('terminate', terminations)

  const refusals: readonly (readonly [string, ...(readonly [string, string])[]])[] = [
    ['initiate'],
    ['initiate', ['child', 'nobody']],
    ['initiate', ['ike', 'nobody']],
    ['terminate'],
    ['terminate', ['ike', 'nobody']],
    ['terminate', ['child-id', '4711']],
    ['rekey'],
    ['rekey', ['ike', 'nobody']],
    ['redirect'],
    ['redirect', ['gateway', 'someone@example.org'], ['ike', 'nobody']],
    ['redirect', ['gateway', '192.0.2.9']],
    ['redirect', ['gateway', '192.0.2.9'], ['ike', 'nobody']],
    ['install'],
    ['install', ['child', 'nobody']],
    ['uninstall'],
    ['uninstall', ['child', 'nobody']],
    ['get-counters', ['name', 'nobody']],
    ['list-policies', ['trap', 'yes']],
  ]
  for (const [command, ...request] of refusals) {
    const [theirs, ours] = [await call(charon, command, ...request), await call(espalier, command, ...request)]
    await compare(`${command} ${request.flat().join(' ')}`, [
      ['an answer', ...told(theirs, '-', '-')],
      ['an answer', ...told(ours, '-', '-')],
    ])
  }
  for (const command of ['stats', 'get-counters', 'reset-counters']) {
    const theirs = keysOf(await call(charon, command))
    const ours = keysOf(await call(espalier, command))
    // espalier counts more, behind what charon counts.
    const counted = ours.filter((key) => theirs.includes(key) || !key.startsWith('/counters/'))
    await compare(`keys of ${command}`, [theirs, counted])
  }
  // strongSwan 6.0 says ke where 5.9 said dh.
  const headings = async (of: Peer): Promise<string[]> =>
    [...(await call(of, 'get-algorithms')).keys()].map((heading) => (heading === 'dh' ? 'ke' : heading))
  await compare('headings of get-algorithms', [await headings(charon), await headings(espalier)])
})
