/**
 * The `espalier` command as a user types it, on this machine's sockets and with the kernel in memory.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { eventually, tryRun, type Finished } from '../lab/support/process.ts'
import { compile, preloading } from './udp-support.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const SECRET = 'a key nobody may ever read in a log'

function connection(name: string, own: string, other: string, more: string): string {
  return `
connections {
  ${name} {
    local { auth = psk
      id = ${own} }
    remote { auth = psk
      id = ${other} }
    ${more}
  }
}
secrets {
  ike-1 {
    secret = "${SECRET}"
  }
}
`
}

const GATEWAY = connection(
  'clients',
  'gateway.example',
  'client.example',
  'children { net { local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16 } }',
)
const CLIENT = connection(
  'gateway',
  'client.example',
  'gateway.example',
  'remote_addrs = 192.0.2.2\n children { net { local_ts = 10.10.1.0/24\n remote_ts = 10.20.0.0/24\n start_action = start } }',
)

async function pair(t: TestContext): Promise<{ client: Espalier; gateway: Espalier }> {
  const lab = new Lab(t)
  const left = await lab.host('client')
  const right = await lab.host('gateway')
  await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', '192.0.2.2/24')
  const gateway = await Espalier.start(right, { kernel: 'memory', configuration: GATEWAY })
  const client = await Espalier.start(left, { kernel: 'memory', configuration: CLIENT })
  return { client, gateway }
}

/** Runs the command with a configuration directory of its own. */
async function espalier(
  t: TestContext,
  args: readonly string[],
  swanctlConf: string,
  { strongswanConf = '', env = {} }: { readonly strongswanConf?: string; readonly env?: Record<string, string> } = {},
): Promise<Finished> {
  const directory = await mkdtemp(join(tmpdir(), 'espalier-test-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await writeFile(join(directory, 'swanctl.conf'), swanctlConf)
  await writeFile(join(directory, 'strongswan.conf'), strongswanConf)
  return tryRun(process.execPath, [main, ...args], {
    env: { ...env, SWANCTL_DIR: directory, STRONGSWAN_CONF: join(directory, 'strongswan.conf') },
  })
}

describe('espalier daemon', () => {
  test('two daemons bring up a tunnel; SIGTERM deletes it with the peer and ends with status 0', async (t) => {
    const { client, gateway } = await pair(t)
    const child = await client.event('child-established')
    assert.match(
      child.msg,
      /^CHILD_SA net\{1\} established with SPIs [0-9a-f]{8}_i [0-9a-f]{8}_o and TS 10\.10\.1\.0\/24 === 10\.20\.0\.0\/24$/,
    )
    await gateway.event('child-established')
    await client.stop()
    assert.equal(client.daemon.status, 0)
    assert.match((await gateway.event('delete-received')).msg, /^received DELETE for IKE_SA clients\[1\]$/)
    assert.equal((await gateway.event('ike-closed'))['reason'], 'deleted-by-peer')
    await gateway.stop()
    assert.equal(gateway.daemon.status, 0)
    for (const line of [...client.daemon.lines, ...gateway.daemon.lines]) assert.ok(!line.includes(SECRET), line)
  })

  test('SIGTERM with a peer that is gone ends all the same', async (t) => {
    const { client, gateway } = await pair(t)
    await client.event('child-established')
    await gateway.daemon.stop('SIGKILL')
    await client.stop()
    assert.equal(client.daemon.status, 0)
    await client.event('stopped')
  })

  test('SIGHUP reads the configuration anew; one with an error changes nothing', async (t) => {
    const { client, gateway } = await pair(t)
    await client.event('child-established')
    await gateway.configure('connections { clients { lokal_addrs = 192.0.2.2 } }')
    gateway.daemon.signal('SIGHUP')
    const refused = await gateway.event('configuration-error')
    assert.match(refused.msg, /swanctl\.conf:1: .*lokal_addrs.*local_addrs/)
    await gateway.event('reload-refused')
    // Another client could still come: the connection is as it was.
    await client.stop()
    await gateway.event('ike-closed')
    const again = await Espalier.start(client.host, { kernel: 'memory', configuration: CLIENT })
    await again.event('child-established')

    await gateway.configure(GATEWAY.replace('client.example', 'someone-else.example'))
    gateway.daemon.signal('SIGHUP')
    await gateway.event('reloaded')
    await again.stop()
    const late = await Espalier.start(client.host, { kernel: 'memory', configuration: CLIENT })
    assert.match((await late.event('ike-failed')).msg, /AUTHENTICATION_FAILED/)
  })

  test('SIGUSR2 is refused while the new program could not go on, and leaves everything as it is until it can', async (t) => {
    const lab = new Lab(t)
    const left = await lab.host('client')
    const right = await lab.host('gateway')
    await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', '192.0.2.2/24')
    const directory = await lab.directory()
    const program = join(directory, 'main.ts')
    await symlink(main, program)
    const rest = join(directory, 'rest')
    await mkdir(rest)
    const settings = `state_file = ${join(rest, 'state')}`
    // Of the real kernel: one in memory would end with the program.
    const gateway = await Espalier.start(right, { configuration: GATEWAY, settings, program })
    const childless = CLIENT.replace('children', 'childless = force\n children').replace('start_action = start', '')
    const client = await Espalier.start(left, { kernel: 'memory', configuration: childless })
    await client.swanctl('--initiate', '--ike', 'gateway')
    await gateway.event('ike-established')

    const refusals: RegExp[] = []
    const refused = async (why: RegExp): Promise<void> => {
      gateway.daemon.signal('SIGUSR2')
      refusals.push(why)
      await eventually(String(why), () => gateway.events('renew-refused')[refusals.length - 1])
    }
    await gateway.configure(GATEWAY.replace('children', 'mobik = no\n children'))
    await refused(/goes on as it is: the configuration has errors$/)
    assert.match((await gateway.event('configuration-error')).msg, /swanctl\.conf:\d+: .*mobik.*mobike/)
    await gateway.configure(GATEWAY)

    await gateway.configureSettings(`${settings}\n port = 5000`)
    await refused(/charon\.port .*has changed/)
    await gateway.configureSettings(`state_file = ${join(rest, 'other')}`)
    await refused(/charon\.state_file has changed/)
    await gateway.configureSettings(settings)

    await rm(rest, { recursive: true })
    await writeFile(rest, '')
    await refused(/nothing can be left: ENOTDIR/)
    await rm(rest)

    await unlink(program)
    await refused(/the program .* would not start: exit status 1: .*Cannot find module/)
    await symlink(main, program)

    assert.deepEqual(gateway.events('renewing'), [])
    for (const [i, line] of gateway.events('renew-refused').entries()) assert.match(line.msg, refusals[i]!)
    gateway.daemon.signal('SIGUSR2')
    const { resumed, lost } = await gateway.event('resumed', 60_000)
    assert.deepEqual([resumed, lost], [1, 0])
    await client.swanctl('--rekey', '--ike', 'gateway')
    await gateway.event('ike-rekeyed')
    await client.stop()
    // The one that was replaced has gone for another reason.
    await eventually('its IKE_SA is gone', () =>
      gateway.events('ike-closed').some(({ reason }) => reason === 'deleted-by-peer') ? true : undefined,
    )
    await gateway.stop()
    assert.equal(gateway.daemon.status, 0)
  })

  test('a port that is taken is named, with what to do', async (t) => {
    const { client } = await pair(t)
    const second = await client.host.tryRun(process.execPath, [main, 'daemon', '--kernel', 'memory'], {
      env: { SWANCTL_DIR: join(client.directory, 'swanctl'), STRONGSWAN_CONF: join(client.directory, 'strongswan.conf') },
    })
    assert.equal(second.status, 1)
    assert.match(second.stdout, /cannot be opened: .*EADDRINUSE.*another IKE daemon is running/)
  })

  test('a configuration with errors is not started: status 2, every problem with its line', async (t) => {
    const { status, stdout } = await espalier(
      t,
      ['daemon', '--kernel', 'memory'],
      'connections {\n  a {\n    mobik = no\n    encap = perhaps\n    local { auth = psk }\n    remote { auth = psk }\n  }\n}\n',
    )
    assert.equal(status, 2)
    assert.match(stdout, /swanctl\.conf:3: .*mobik.*mobike/)
    assert.match(stdout, /swanctl\.conf:4: .*encap/)
    assert.match(stdout, /not started/)
  })
})

describe('espalier check', () => {
  test('says what is well and ends with status 0', async (t) => {
    const { status, stdout } = await espalier(t, ['check', '--kernel', 'memory'], GATEWAY)
    assert.equal(status, 0, stdout)
    assert.match(stdout, /^ok +configuration: 1 connection with 1 child and 1 pre-shared key/m)
    assert.match(stdout, /^ok +sockets: UDP over IPv4/m)
    assert.ok(!stdout.includes(SECRET))
  })

  test('edge case 61: names a kernel that refuses UDP_ENCAP, and the daemon does not start on it', async (t) => {
    const { ENOPROTOOPT } = constants.errno
    // SOL_UDP, UDP_ENCAP.
    const env = { ...preloading(compile('udp-shim', '-shared', '-fPIC')), SHIM_SETSOCKOPT: `17,100,${ENOPROTOOPT}` }
    const strongswanConf = 'charon {\n port = 0\n port_nat_t = 0\n}\n'
    for (const command of ['check', 'daemon']) {
      const { status, stdout } = await espalier(t, [command, '--kernel', 'memory'], GATEWAY, { strongswanConf, env })
      assert.equal(status, 1, stdout)
      assert.match(stdout, /cannot be opened: ENOPROTOOPT.*UDP_ENCAP; this kernel takes no ESP-in-UDP \(CONFIG_XFRM is missing\)/)
    }
  })

  test('names each error with file and line and ends with status 1', async (t) => {
    const { status, stdout } = await espalier(t, ['check', '--kernel', 'memory'], GATEWAY.replace('auth = psk', 'auth = eap-md5'))
    assert.equal(status, 1)
    assert.match(stdout, /^error .*swanctl\.conf:4: .*eap-md5/m)
  })
})

describe('a mistyped command', () => {
  test('is answered with the nearest one and status 2', async (t) => {
    const { status, stderr } = await espalier(t, ['deamon'], '')
    assert.equal(status, 2)
    assert.match(stderr, /unknown command 'deamon' \(Did you mean daemon\?\)/)
  })

  test('an option value that does not exist is answered with those that do', async (t) => {
    const { status, stderr } = await espalier(t, ['daemon', '--kernel', 'windows'], '')
    assert.equal(status, 2)
    assert.match(stderr, /Allowed choices are netlink, memory/)
  })
})
