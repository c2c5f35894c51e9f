/**
 * The log beside charon's: the same negotiations with the daemons in either role, followed with Debian's swanctl. What
 * both have words for they say in the same words and in the same order.
 *
 * charon does ESP by itself here (kernel-libipsec), always in UDP, so encap = yes makes espalier want the same.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, test, type TestContext } from 'node:test'
import { isDeepStrictEqual } from 'node:util'

import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab, type Host } from '../lab/support/network.ts'
import { eventually } from '../lab/support/process.ts'
import { ONLY_CHARON, ONLY_ESPALIER, withoutChance } from './charon-log.ts'

const SECRET = 'told to nobody'
const HANDSHAKE_MS = 60_000
const TUN = '/dev/net/tun'

const connection = (name: string, own: string, other: string, secret: string, more: string): string => `
connections { ${name} {
  encap = yes
  mobike = no
  proposals = aes128-sha256-x25519
  local { auth = psk
    id = ${own} }
  remote { auth = psk
    id = ${other} }
  rekey_time = 0
  ${more}
} }
secrets { ike-1 { secret = "${secret}" } }
`
const CHILD = 'esp_proposals = aes128gcm16\n rekey_time = 0'
const clientOf = (secret = SECRET): string =>
  connection(
    'gw',
    'client.example',
    'gateway.example',
    secret,
    `remote_addrs = 192.0.2.2
  children {
    net { local_ts = 10.10.1.0/24\n remote_ts = 10.20.0.0/24\n ${CHILD} }
    wrong { local_ts = 10.10.1.0/24\n remote_ts = 172.16.0.0/12\n ${CHILD} }
  }`,
  )
const GATEWAY = connection(
  'rw',
  'gateway.example',
  'client.example',
  SECRET,
  `children { net { local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16\n ${CHILD} } }`,
)

const NOTHING = /^$/

/** Lines of swanctl, without what is of this one time or of one daemon. */
function comparable(output: string, omitted: readonly RegExp[]): string[] {
  return output
    .split('\n')
    .map((line) => line.replace(/^\d\d(?=\[)/, ''))
    .filter((line) => /^\[[A-Z]{3}\] /.test(line) && !omitted.some((pattern) => pattern.test(line)))
    .map((line) => withoutChance(line))
}

interface Followed {
  readonly client: string[]
  readonly gateway: string[]
}

type Program = 'charon' | 'espalier'

const ATTEMPTS_MAX = 3
/** Who had to wait for the other for seconds says so, on a machine that is busy. */
const AGAIN = /retransmit \d+ of request|received retransmit of request/

async function start(host: Host, program: Program, configuration: string): Promise<Charon | Espalier> {
  const settings = 'retransmit_tries = 1\n keep_alive = 0'
  return program === 'charon'
    ? Charon.start(host, { configuration, settings, esp: 'userspace', plugins: 'kernel-libipsec' })
    : Espalier.start(host, { configuration, settings, kernel: 'memory' })
}

/** What swanctl shows of the commands at the client, and of the log meanwhile at the gateway. */
async function follow(
  t: TestContext,
  programs: { client: Program; gateway: Program },
  commands: readonly string[][],
  configuration: string,
): Promise<Followed> {
  const lab = new Lab(t)
  const [left, right] = [await lab.host('client'), await lab.host('gateway')]
  await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', '192.0.2.2/24')
  for (const host of [left, right]) await host.addressed('lo', host === left ? '10.10.1.1/32' : '10.20.0.1/32')
  const gateway = await start(right, programs.gateway, GATEWAY)
  const initiator = await start(left, programs.client, configuration)
  const log = right.start('stdbuf', ['-oL', 'swanctl', '--log', '--uri', gateway.uri])
  // It does not say when it has registered: a command that is told shows it.
  await eventually('swanctl --log', async () => {
    await right.tryRun('swanctl', ['--initiate', '--child', 'nobody', '--uri', gateway.uri])
    return log.lines.some((line) => line.includes('nobody')) ? true : undefined
  })
  const from = log.lines.length
  let output = ''
  for (const command of commands) {
    const { stdout, stderr } = await left.tryRun('swanctl', [...command, '--uri', initiator.uri], { timeoutMs: HANDSHAKE_MS })
    output += stdout
    t.diagnostic(`${programs.client}: ${command.join(' ')}: ${stderr}`)
  }
  await eventually('the last line', async () =>
    /(?:IKE_SA deleted|N\((?:AUTH_FAILED|NO_PROP)\) \])[^]*sending packet/.test(log.lines.slice(from).join('\n'))
      ? true
      : undefined,
  )
  const told = log.lines.slice(from).join('\n')
  await log.stop()
  return {
    client: comparable(output, programs.client === 'charon' ? ONLY_CHARON : ONLY_ESPALIER),
    gateway: comparable(told, programs.gateway === 'charon' ? ONLY_CHARON : ONLY_ESPALIER),
  }
}

async function compare(
  t: TestContext,
  commands: readonly string[][],
  configuration = clientOf(),
  apart = NOTHING,
): Promise<Followed> {
  for (let attempt = 1; ; attempt++) {
    const theirs = await follow(t, { client: 'charon', gateway: 'espalier' }, commands, configuration)
    const ours = await follow(t, { client: 'espalier', gateway: 'charon' }, commands, configuration)
    const isAgain = [theirs, ours].some(({ client, gateway }) => [...client, ...gateway].some((line) => AGAIN.test(line)))
    if (isAgain && attempt < ATTEMPTS_MAX) continue
    assert.deepEqual(ours.client, theirs.client, 'as initiators both say the same')
    const said = ours.gateway.filter((line) => !apart.test(line))
    // charon hands its lines to VICI's clients from several threads: now and then two change places.
    const isShuffled = !isDeepStrictEqual(theirs.gateway, said) && isDeepStrictEqual(theirs.gateway.toSorted(), said.toSorted())
    if (isShuffled && attempt < ATTEMPTS_MAX) continue
    assert.deepEqual(theirs.gateway, said, 'as responders both say the same')
    return { client: ours.client, gateway: theirs.gateway }
  }
}

describe('the log beside that of charon', { skip: existsSync(TUN) ? false : `${TUN} is not there` }, () => {
  test('a tunnel brought up and taken down', async (t) => {
    const { client } = await compare(t, [
      ['--initiate', '--child', 'net'],
      ['--terminate', '--ike', 'gw'],
    ])
    assert.ok(client.length > 15, client.join('\n'))
  })

  test('a CHILD_SA with traffic that the gateway does not have', async (t) => {
    const { client, gateway } = await compare(t, [
      ['--initiate', '--child', 'wrong'],
      ['--terminate', '--ike', 'gw'],
    ])
    assert.ok(client.includes('[IKE] failed to establish CHILD_SA, keeping IKE_SA'), client.join('\n'))
    assert.ok(gateway.includes('[IKE] traffic selectors 172.16.0.0/12 === 10.10.1.0/24 unacceptable'), gateway.join('\n'))
  })

  test('a wrong pre-shared key', async (t) => {
    const { client, gateway } = await compare(t, [['--initiate', '--child', 'net']], clientOf('another one'))
    assert.ok(client.includes('[IKE] received AUTHENTICATION_FAILED notify error'), client.join('\n'))
    assert.ok(
      gateway.some((line) => line.includes('but MAC mismatched')),
      gateway.join('\n'),
    )
  })

  test('no proposal in common', async (t) => {
    const { client: told, gateway } = await compare(
      t,
      [['--initiate', '--child', 'net']],
      clientOf().replace('aes128-sha256-x25519', 'aes256-sha512-ecp384'),
      // Whom we refuse we do not look at any further.
      /remote host is behind NAT/,
    )
    assert.ok(told.includes('[IKE] received NO_PROPOSAL_CHOSEN notify error'), told.join('\n'))
    assert.ok(gateway.includes('[IKE] received proposals unacceptable'), gateway.join('\n'))
  })
})
