/**
 * espalier's command as a user types it, against running daemons: every subcommand, slips, no daemon, Ctrl-C, a reader
 * that has seen enough, and the completion scripts in their shells.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import packageJson from '../../package.json' with { type: 'json' }
import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { Daemon, eventually, tryRun, type Finished } from '../lab/support/process.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const SECRET = 'a key nobody may ever read in a log'

const connection = (name: string, own: string, other: string, more: string): string => `
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
  'remote_addrs = 192.0.2.2\n encap = yes\n children { net { local_ts = 10.10.1.0/24\n remote_ts = 10.20.0.0/24 } }',
)

class Place {
  readonly client: Espalier
  readonly gateway: Espalier
  private constructor(client: Espalier, gateway: Espalier) {
    this.client = client
    this.gateway = gateway
  }

  /** A client and a gateway that know each other; nothing is up. */
  static async of(t: TestContext): Promise<Place> {
    const lab = new Lab(t)
    const left = await lab.host('client')
    const right = await lab.host('gateway')
    await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', '192.0.2.2/24')
    const gateway = await Espalier.start(right, { kernel: 'memory', configuration: GATEWAY })
    const client = await Espalier.start(left, { kernel: 'memory', configuration: CLIENT })
    return new Place(client, gateway)
  }

  /** Finds its daemon by strongswan.conf, as on a gateway. */
  try(...args: string[]): Promise<Finished> {
    return tryRun(process.execPath, [main, ...args], { env: this.environment() })
  }

  async run(...args: string[]): Promise<string> {
    const { stdout, stderr, status } = await this.try(...args)
    assert.equal(status, 0, `espalier ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  /** Until it is stopped. */
  follow(t: TestContext, ...args: string[]): Daemon {
    const daemon = new Daemon(process.execPath, [main, ...args], this.environment())
    t.after(() => daemon.stop('SIGKILL'))
    return daemon
  }

  environment(): Record<string, string> {
    const { directory } = this.client
    return { STRONGSWAN_CONF: join(directory, 'strongswan.conf'), SWANCTL_DIR: join(directory, 'swanctl') }
  }
}

describe('the command', () => {
  test('brings a tunnel up, shows it, and takes it down', async (t) => {
    const place = await Place.of(t)
    const progress = (await place.run('up', 'gateway')).trimEnd().split('\n')
    assert.match(progress[0]!, /^\[IKE\] initiating IKE_SA gateway\[1\] to 192\.0\.2\.2$/)
    assert.ok(
      progress.some((line) => line.startsWith('[IKE] CHILD_SA net{1} established with SPIs')),
      progress.join('\n'),
    )
    assert.equal(progress.at(-1), 'gateway/net is up')

    const table = await place.run('sas')
    assert.match(table, /^SA +PEER +HERE +CIPHER +AGE +REKEY\ngateway\[1\] +192\.0\.2\.2:4500 +192\.0\.2\.1:4500 /)
    assert.match(table, /^ +gateway\.example +client\.example /m)
    assert.match(table, /^ net\{1\} +10\.20\.0\.0\/24 +10\.10\.1\.0\/24 .*\n +in 0 B +out 0 B +in UDP/m)
    const [sa] = JSON.parse(await place.run('sas', '--json')) as [{ readonly 'state': string; readonly 'nat-fake': boolean }]
    assert.deepEqual([sa.state, sa['nat-fake']], ['ESTABLISHED', true])

    const path = await place.run('nat')
    assert.match(path, /^gateway\[1\] {2}gateway\.example\n {2}peer +192\.0\.2\.2:4500, no NAT: NAT_DETECTION_SOURCE_IP is of /)
    assert.match(
      path,
      /^ {2}MOBIKE +yes\n {2}ESP +in UDP, by encap = yes alone\n {2}keepalives {2}none: there is no mapping to keep$/m,
    )
    assert.match(path, /^ {2}net\{1\} +untested for \d+s: has let nothing in yet$/m)
    const [told] = JSON.parse(await place.run('nat', 'gateway', '--json')) as [
      { readonly detection: { readonly forced: boolean } },
    ]
    assert.equal(told.detection.forced, true)
    const slip = await place.try('nat', 'gatewy')
    assert.deepEqual([slip.status, slip.stderr], [1, "espalier: no SA called 'gatewy' is up; did you mean 'gateway'?\n"])

    const again = await place.try('up', 'net')
    assert.equal(again.status, 1)
    assert.match(again.stderr, /^espalier: establishing CHILD_SA 'net' failed: it is up already/)

    assert.match(await place.run('down', 'net', '--child'), /\nnet is down, 1 CHILD_SA ended\n$/)
    assert.match(await place.run('down', '#1'), /\[IKE\] IKE_SA deleted\n#1 is down, 1 IKE_SA ended\n$/)
    assert.equal(await place.run('sas'), '')
    const nothing = await place.try('down', 'gateway')
    assert.deepEqual(
      [nothing.status, nothing.stderr],
      [1, "espalier: no SA called 'gateway' is up; 'espalier sas' shows what is\n"],
    )
  })

  test('rekey begins what the log then tells', async (t) => {
    const place = await Place.of(t)
    await place.run('up', 'net')
    const log = place.follow(t, 'log', 'gateway')
    const monitor = place.follow(t, 'monitor')
    // One that came before they had registered is not told: again, then.
    const isTold = (follower: Daemon, pattern: RegExp): boolean => follower.lines.some((line) => pattern.test(line))
    await eventually('log and monitor tell of a rekeying', async () => {
      assert.match(await place.run('rekey', 'net', '--child'), /^rekeying \d SAs?; 'espalier log' shows how it goes\n$/)
      await new Promise((resolve) => setTimeout(resolve, 500))
      const isLogged = isTold(log, /^\d\d:\d\d:\d\d \[ENC\] <gateway\|1> generating CREATE_CHILD_SA request/)
      return (isLogged && isTold(monitor, /^\d\d:\d\d:\d\d rekeyed gateway net\{\d+\} to net\{\d+\}$/)) || undefined
    })
    await place.run('down', '1')
    await monitor.waitFor(
      /^\d\d:\d\d:\d\d down {4}gateway\[1\] 192\.0\.2\.1\[4500\] client\.example \.\.\. 192\.0\.2\.2\[4500\] gateway\.example$/,
    )
    for (const following of [log, monitor]) {
      await following.stop('SIGINT')
      assert.equal(following.status, 0)
    }
  })

  test('shows what is loaded, and counts', async (t) => {
    const place = await Place.of(t)
    assert.match(
      await place.run('conns'),
      /^gateway +192\.0\.2\.2 +any address .*\n IKEv1\/2 .*\n.*pre-shared key.*\n {2}net +10\.20\.0\.0\/24 +10\.10\.1\.0\/24 /m,
    )
    assert.equal((JSON.parse(await place.run('conns', '--json')) as unknown[]).length, 1)
    for (const command of ['certs', 'pools', 'policies']) {
      assert.equal(await place.run(command), '')
      assert.deepEqual(JSON.parse(await place.run(command, '--json')), [])
    }
    await place.run('up', 'gateway')
    assert.match(await place.run('counters'), /^COUNTER +ALL\n(?:.*\n)*ike-init-out-req +1\n/)
    const counters = JSON.parse(await place.run('counters', 'gateway', '--json')) as Record<string, Record<string, number>>
    assert.equal(counters['gateway']!['ike-auth-in-resp'], 1)
    await place.run('counters', '--reset')
    assert.match(await place.run('counters'), /^ike-init-out-req +0$/m)
    const { version } = packageJson
    assert.match(await place.run('version'), new RegExp(`^command  espalier ${version}\ndaemon   espalier ${version} \\(Linux, `))
    assert.equal((JSON.parse(await place.run('version', '--json')) as { command: string }).command, version)
  })

  test('load takes over what the files say now, and says what it cannot', async (t) => {
    const place = await Place.of(t)
    const loaded = ["loaded ike secret 'ike-1'", "loaded connection 'gateway'"]
    assert.deepEqual((await place.run('load')).trim().split('\n'), [...loaded, '1 secret, 1 connection loaded, 0 unloaded'])
    assert.equal(place.client.events('configuration-changed').length, 0, 'the same again changes nothing')

    await place.client.configure(CLIENT.replace('gateway {', 'office {'))
    assert.match(
      await place.run('load', '--conns'),
      /^loaded connection 'office'\nunloaded connection 'gateway'\n1 connection loaded, 1 unloaded\n$/,
    )
    assert.match(await place.run('up', 'office'), /office\/net is up\n$/)

    await place.client.configure(CLIENT.replace('encap', 'encapp'))
    const { status, stderr, stdout } = await place.try('load')
    assert.deepEqual([status, stdout], [1, ''])
    assert.match(
      stderr,
      /^error: \S+\/swanctl\.conf:\d+: .*encapp.*encap.*\nespalier: nothing was loaded: 1 error in the configuration\n$/,
    )
    assert.match(await place.run('conns'), /^office /m)
    assert.ok(!place.client.daemon.lines.join('\n').includes(SECRET))
  })

  test('says in one line that no daemon is there, that one left, or that it was not understood', async (t) => {
    const place = await Place.of(t)
    const ending = async (...args: string[]): Promise<string> => {
      const { status, stdout, stderr } = await place.try(...args)
      assert.equal(stdout, '')
      return `${status} ${stderr}`
    }
    const nobody = join(place.client.directory, 'nobody')
    assert.equal(
      await ending('sas', '--uri', `unix://${nobody}`),
      `3 espalier: the daemon cannot be reached: unix://${nobody}: no daemon listens there\n`,
    )
    assert.match(
      await ending('--uri', 'tcp://192.0.2.9:4502', 'sas'),
      /^2 espalier: "tcp:\/\/192\.0\.2\.9:4502": VICI is neither/,
    )
    assert.match(await ending('sass'), /^2 espalier: unknown command 'sass' \(Did you mean sas\?\); see 'espalier --help'\n$/)
    assert.match(
      await ending('up', 'gatway'),
      /^1 espalier: no connection or child 'gatway' is loaded; did you mean 'gateway'\?\n$/,
    )
    assert.match(await ending(), /^2 Usage: espalier /)

    const log = place.follow(t, 'log')
    await eventually('log follows', async () => {
      await place.try('up', 'gateway', '--timeout', '5')
      return log.lines.length > 0 || undefined
    })
    await place.client.stop()
    assert.equal(await log.waitFor(/^espalier: /), 'espalier: the daemon closed the connection')
    // It has said so, and ends by itself.
    await eventually('log has ended', () => !log.running || undefined)
    assert.equal(log.status, 3)
  })

  test('who does not read to the end is no failure, nor is Ctrl-C under --watch', async (t) => {
    const place = await Place.of(t)
    await place.run('up', 'gateway')
    const pipe = `set -o pipefail; "$0" "$1" sas | head -1; "$0" "$1" sas --watch 0.1 | head -3`
    const { status, stdout, stderr } = await tryRun('bash', ['-c', pipe, process.execPath, main], { env: place.environment() })
    assert.deepEqual([status, stderr], [0, ''])
    assert.equal(stdout.trim().split('\n').length, 4)

    const watching = place.follow(t, 'sas', '--watch', '0.1', '--json')
    await watching.waitFor(/^\[\{"name":"gateway"/)
    await watching.stop('SIGINT')
    assert.equal(watching.status, 0)
  })

  test('a terminal gets colours and lines that fit it; NO_COLOR is respected', async (t) => {
    const place = await Place.of(t)
    await place.run('up', 'gateway')
    const onTerminal = async (env: Record<string, string>): Promise<string> => {
      // Under CI node takes no terminal for one that has colours.
      const line = `stty cols 80 rows 24; env -u CI ${process.execPath} ${main} sas`
      const { stdout } = await tryRun('script', ['-qec', line, '/dev/null'], {
        env: { TERM: 'xterm', ...place.environment(), ...env },
      })
      return stdout
    }
    const coloured = await onTerminal({})
    assert.ok(coloured.includes('\x1b[32mgateway[1]\x1b[39m'), coloured)
    const plain = await onTerminal({ NO_COLOR: '1' })
    assert.ok(!plain.includes('\x1b'), plain)
    for (const line of plain.split('\r\n')) assert.ok(line.length <= 80, line)
  })
})

describe('completion', () => {
  /** A directory for PATH in which espalier is espalier. */
  async function path(place: Place): Promise<string> {
    const directory = join(place.client.directory, 'bin')
    await mkdir(directory)
    await symlink(join(import.meta.dirname, '../../scripts/espalier'), join(directory, 'espalier'))
    return `${directory}:${process.env['PATH']}`
  }

  /** As readline cuts it, with the cursor at its end. */
  const BASH = String.raw`
    source <(espalier completion bash)
    complete -p espalier >/dev/null || exit 9
    while IFS= read -r line; do
      COMP_LINE=$line COMP_POINT=${'${#line}'}
      spaced=${'${line//:/ : }'}; spaced=${'${spaced//=/ = }'}
      read -ra COMP_WORDS <<<"$spaced"; [[ $line == *' ' ]] && COMP_WORDS+=('')
      COMP_CWORD=$((${'${#COMP_WORDS[@]}'} - 1))
      _espalier
      echo "${'${COMPREPLY[*]}'}"
    done`
  /** zsh's own way to type at a shell is a second shell; what it would offer is enough. */
  const ZSH = String.raw`
    autoload -Uz compinit; compinit -D -u
    source <(espalier completion zsh)
    compadd() { shift; print -r -- "${'${(P)1}'}" }
    while IFS= read -r line; do
      words=("${'${(@s: :)line}'}"); CURRENT=${'${#words}'}
      _espalier
    done`

  const expected = (uri: string): readonly (readonly [line: string, offered: RegExp])[] => [
    ['espalier sas --', /^--json --watch --help --uri$/],
    ['espalier completion ', /^bash zsh$/],
    ['espalier log --level ', /^0 1$/],
    ['espalier up ', /^gateway net gateway\/net odd\\?\$\\?\(id/],
    [`espalier --uri ${uri} conns `, /^gateway odd/],
    [`espalier --uri ${uri} down `, /^gateway gateway\\?\[1\\?\] net net\\?\{1\\?\}$/],
    [`espalier --uri=${uri} down `, /^gateway gateway\\?\[1\\?\] net net\\?\{1\\?\}$/],
    ['espalier --uri unix:///nobody down ', /^$/],
    ['espalier up x --timeout ', /^$/],
  ]

  for (const [shell, script] of [
    ['bash', BASH],
    ['zsh', ZSH],
  ] as const) {
    test(`${shell}: commands, options, values, and the names that the daemon knows, none of them ever run`, async (t) => {
      if ((await tryRun('sh', ['-c', `command -v ${shell}`])).status !== 0) return t.skip(`${shell} is not installed`)
      const place = await Place.of(t)
      await place.run('up', 'gateway')
      const hit = join(place.client.directory, 'hit')
      await place.client.configure(`${CLIENT}\nconnections { odd$(id>${hit}) { local { auth = psk }\n remote { auth = psk } } }`)
      await place.run('load')
      const lines = expected(place.client.uri)
      const { stdout, stderr, status } = await tryRun(shell, ['-c', script], {
        input: lines.map(([line]) => `${line}\n`).join(''),
        env: { ...place.environment(), PATH: await path(place), HOME: place.client.directory },
      })
      assert.equal(status, 0, stderr)
      const offered = stdout.split('\n')
      lines.forEach(([line, pattern], i) => assert.match(offered[i]!, pattern, line))
      assert.ok(!existsSync(hit), 'a name was run')
    })
  }

  test('a daemon that is not there is silent', async (t) => {
    const place = await Place.of(t)
    await place.client.stop()
    const { stdout, stderr, status } = await place.try('names', 'children')
    assert.deepEqual([stdout, stderr, status], ['', '', 0])
  })
})
