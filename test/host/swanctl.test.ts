/**
 * Every subcommand of swanctl, Debian's and that of strongSwan 6, plain, raw and pretty, with charon and with espalier at the other end of its
 * socket: the same configuration, the same peer, the same order. What it prints is the same, but for what only a run
 * decides, and but for the exceptions below, each of which has its reason.
 *
 * charon does ESP by itself here (kernel-libipsec), always in UDP, so encap = yes makes espalier want the same.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { connectControl } from '../../src/daemon/connect.ts'
import { section, type ViciSection } from '../../src/vici/message.ts'
import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { LISTED_PROPOSALS } from '../lab/support/listed.ts'
import { Lab, type Host } from '../lab/support/network.ts'
import { Daemon, eventually, tryRun } from '../lab/support/process.ts'
import { swanctlCommand, type StrongswanVersion, withoutStrongswan6 } from '../lab/support/strongswan.ts'
import { ONLY_CHARON, ONLY_ESPALIER, withoutChance } from './charon-log.ts'

const SECRET = 'told to nobody'
const TUN = '/dev/net/tun'

const connections = (name: string, own: string, other: string, more: string, child: string): string => `
connections {
  ${name} {
    version = 2
    encap = yes
    mobike = no
    proposals = aes128-sha256-x25519
    rand_time = 0
    ${more}
    local { auth = psk
      id = ${own} }
    remote { auth = psk
      id = ${other} }
    children { net {
      esp_proposals = aes128gcm16
      rand_time = 0
      ${child}
    } }
  }
}
secrets { ike-1 { secret = "${SECRET}" } }
`
const PEER = connections(
  'rw',
  'gateway.example',
  'client.example',
  'rekey_time = 0',
  'local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16\n rekey_time = 0\n life_time = 0',
)
const CONFIGURATION = `${connections(
  'gw',
  'client.example',
  'gateway.example',
  'local_addrs = 192.0.2.1\n remote_addrs = 192.0.2.2\n rekey_time = 4h',
  'local_ts = 10.10.1.0/24\n remote_ts = 10.20.0.0/24\n rekey_time = 1h\n life_time = 70m',
)}
pools {
  clients {
    addrs = 10.3.0.0/24
    dns = 10.20.0.53
  }
}`

const FORMATS = [[], ['--raw'], ['--pretty']] as const
type Program = 'charon' | 'espalier'
const PROGRAMS: readonly Program[] = ['charon', 'espalier']

// -- what may differ -----------------------------------------------------------------------------------------------

interface Exception {
  readonly because: string
  /** What is left of the output, to be the same. */
  readonly without: (said: string, program: Program) => string
}

/** Takes away what matches, from what both say or one of them. */
const lacking = (because: string, pattern: RegExp, whose?: Program): Exception => ({
  because,
  without: (said, program) => (whose === undefined || whose === program ? said.replaceAll(pattern, '') : said),
})

const APART = {
  program: {
    because: 'another program, of another version',
    without: (said) =>
      said
        .replace(/strongSwan \S+ (?:charon-systemd|espalier)/, 'VERSION')
        .replace(/daemon ?= ?\S+(\s+)version ?= ?\S+/, 'DAEMON$1VERSION'),
  },
  warnings: lacking(
    'what is not honoured is told in a list of its own, which swanctl leaves alone',
    / warnings=\[[^\]]*\]|^ *warnings = \[\n(?: .*\n)*? *\]\n/gm,
    'espalier',
  ),
  ports: lacking(
    'ports are listed by strongSwan 6.0.3 and later',
    / (?:local|remote)_port=\d+|^ *(?:local|remote)_port = \d+\n/gm,
  ),
  proposals: lacking('proposals are listed by strongSwan 6.0.7 and later', LISTED_PROPOSALS),
  poolBase: {
    because: 'a pool that is a whole subnet begins with its first host since strongSwan 6.0',
    without: (said) => said.replaceAll('10.3.0.0', '10.3.0.1').replaceAll(/ {2,}/g, ' '),
  },
  algorithms: {
    because: 'they are not made by the same library; espalier has no algorithm that charon lacks (tested apart)',
    without: (said) =>
      said.replaceAll(/ *[A-Z0-9_]+ ?(?:\[\w+\]|= ?\w+)\n?/g, '').replaceAll(/^(dh|ke)\b|(?<=\{| )(dh|ke)(?= ?\{)/gm, 'ke'),
  },
  statistics: {
    because: 'processes differ in threads, memory, plugins and how long they have been there',
    without: (said) =>
      said
        .replaceAll(/plugins(?: ?= ?\[[^\]]*\]|: .*)/g, 'plugins')
        .replaceAll(/\w{3} \d\d \d\d:\d\d:\d\d \d{4}/g, 'DATE')
        .replaceAll(/\d+ (?:second|minute)s?/g, 'N seconds')
        .replaceAll(/(?<=[=:, /] ?)\d+/g, 'N'),
  },
  logged: {
    because: 'some lines are of one of them alone: test/host/log.test.ts compares the rest',
    without: (said, program) =>
      blocks(said)
        .filter((block) => !(program === 'charon' ? ONLY_CHARON : ONLY_ESPALIER).some((pattern) => pattern.test(lineOf(block))))
        .map((block) => withoutChance(block))
        .join(''),
  },
  closing: lacking(
    'espalier closes a CHILD_SA when the peer has answered, with all it has carried; charon tells of it before (5.9.8) or after that (6), and of the answer',
    /^(?:\[IKE\]|log \{group=IKE.*msg=|log \{\n {2}group = IKE\n(?: .*\n)* {2}msg = )(?:closing CHILD_SA|received DELETE for ESP CHILD_SA|CHILD_SA (?:\S+ )?closed).*\n(?:\}\n)?|^\[IKE\] (?:closing CHILD_SA|received DELETE for ESP CHILD_SA|CHILD_SA (?:\S+ )?closed).*\n/gm,
  ),
  reqids: {
    because: 'charon gives reqids away again at once, espalier as late as it can',
    without: (said) => said.replaceAll(/(?<=reqid(?: ?= ?| ))\d+/g, 'N'),
  },
  policyReqids: lacking(
    'policies are listed with their reqids by newer ones than strongSwan 5.9.8',
    / reqid=\d+|^ *reqid = \d+\n/gm,
  ),
  numbers: {
    because: 'charon uses a number up for a policy, and for a CHILD_SA that it does not make',
    without: (said) => said.replaceAll(/(?<=net\{)\d+(?=\})/g, 'N'),
  },
  forced: lacking(
    'charon does not say of an IKE_SA that its peer did not hear of that it is deleted',
    /^(?:\[IKE\] |log \{group=IKE.*msg=|log \{\n {2}group = IKE\n(?: .*\n)*? {2}msg = )IKE_SA deleted.*\n(?:\}\n)?/gm,
  ),
  shape: {
    because: 'the log has other lines: what they are made of is the same, and test/host/log.test.ts compares what they say',
    without: (said) => {
      const shapes = blocks(said).map((block) =>
        block
          .replace(/^\d\d\[[A-Z]{3}\] (<gw\|\d+> )?.*/, (_line, sa) => `NN[GRP] ${sa === undefined ? '' : '<gw|N> '}...`)
          .replaceAll(/(?<=(?:group|level|thread|ikesa-name|ikesa-uniqueid) ?= ?)\w+/g, '...')
          .replace(/(?<=msg ?= ?).*?(?=\}?\n)/, '...'),
      )
      return [...new Set(shapes)].toSorted().join('')
    },
  },
  tasks: lacking(
    'charon tells of an SA while the task is at it; espalier when it is done',
    /^ {2}active: .*\n|^\S*\/tasks-active\n| tasks-active=\[[^\]]*\]|^ *tasks-active = \[\n(?: .*\n)*? *\]\n/gm,
  ),
} satisfies Record<string, Exception>

/** What espalier tells of CHILD_SAs, and counts, behind all that charon does. */
const OURS =
  / (?:health(?:-reason|-time)?|mtu)=[^ }]+|^ *(?:health(?:-reason|-time)?|mtu) = .*\n|^\S*\/(?:health(?:-reason|-time)?|mtu)\n| (?:nat-detected|endpoints-moved|keepalive-\w+|mapping-probed|health-\w+|encap-mismatch)=\d+|^ *(?:nat-detected|endpoints-moved|keepalive-\w+|mapping-probed|health-\w+|encap-mismatch) *[=:] \d+\n/gm

/** Only a run decides these. */
function withoutRun(said: string): string {
  return said
    .replaceAll(OURS, '')
    .replaceAll(/\b[0-9a-f]{16}(?=_[ir])|(?<=-spi ?= ?)[0-9a-f]{16}/g, 'SPI')
    .replaceAll(/(?<= {4}(?:in|out) {1,2})[0-9a-f]{8}|(?<=spi-(?:in|out) ?= ?)[0-9a-f]{8}/g, 'SPI')
    .replaceAll(/(?<=SPIs? )[0-9a-f]{8}\b/g, 'SPI')
    .replaceAll(/(established|installed) \d+s ago|(rekeying|expires) in \d+s/g, '$1$2 N')
    .replaceAll(/(established|install-time|rekey-time|life-time)( ?= ?)\d+/g, '$1$2N')
}

/** From one thing printed to the next: a line, or a section over many. */
function blocks(said: string): string[] {
  return said.match(/^[^\n]*\{\n(?:[ \t][^\n]*\n)*\}\n|^[^\n]*\n/gm) ?? []
}

/** A control-log event as swanctl prints it plain. */
function lineOf(block: string): string {
  const event = /^log \{\s*group ?= ?(\w+)[^]*?msg ?= ?([^]*?)\s*\}\n$/.exec(block)
  return event === null ? block : `[${event[1]!}] ${event[2]!}`
}

// -- what is asked -------------------------------------------------------------------------------------------------

interface Step {
  readonly args: readonly string[]
  readonly apart?: readonly Exception[]
  /** What each says instead, if it is not the same in any way. */
  readonly instead?: Readonly<Record<Program, RegExp>> & { readonly because: string }
  /** What has to be so before it goes on: a pattern for `--list-sas --raw`. */
  readonly until?: RegExp
  /** It goes on when another CHILD_SA is in the place of the one there was, which is listed for some seconds still. */
  readonly renews?: true
}

const {
  program,
  warnings,
  ports,
  proposals,
  poolBase,
  algorithms,
  statistics,
  logged,
  closing,
  reqids,
  policyReqids,
  numbers,
  forced,
  shape,
  tasks,
} = APART

/** What strongSwan 6.1 does as espalier does. */
const UNTIL_6: readonly Exception[] = [ports, proposals, poolBase, policyReqids]

const WITHOUT_SAS: readonly Step[] = [
  { args: ['--version', '--daemon'], apart: [program] },
  { args: ['--load-creds', '--noprompt'] },
  { args: ['--load-pools'], apart: [warnings, poolBase] },
  { args: ['--load-conns'] },
  { args: ['--load-authorities'] },
  { args: ['--load-all', '--noprompt'], apart: [warnings, poolBase] },
  { args: ['--load-creds', '--clear', '--noprompt'] },
  { args: ['--list-conns'], apart: [ports, proposals] },
  { args: ['--list-pools'], apart: [poolBase] },
  { args: ['--list-pools', '--leases'], apart: [poolBase] },
  { args: ['--list-pools', '--name', 'nobody'] },
  { args: ['--list-authorities'] },
  { args: ['--list-authorities', '--name', 'nobody'] },
  { args: ['--list-certs'] },
  { args: ['--list-certs', '--type', 'x509', '--subject', 'nobody'] },
  { args: ['--list-algs'], apart: [algorithms] },
  { args: ['--list-pols'] },
  { args: ['--list-sas'] },
  { args: ['--flush-certs'] },
  { args: ['--flush-certs', '--type', 'x509'] },
  { args: ['--reload-settings'] },
  { args: ['--initiate'] },
  { args: ['--initiate', '--child', 'nobody'] },
  { args: ['--initiate', '--ike', 'nobody'] },
  { args: ['--terminate'] },
  { args: ['--terminate', '--ike', 'nobody'] },
  { args: ['--terminate', '--child-id', '4711', '--force'] },
  { args: ['--rekey'] },
  { args: ['--rekey', '--child', 'nobody'] },
  { args: ['--redirect', '--ike', 'nobody', '--gateway', '192.0.2.9'] },
  { args: ['--install'] },
  { args: ['--install', '--child', 'nobody'] },
  { args: ['--uninstall', '--child', 'nobody'] },
]

/** One IKE_SA of the connection, one CHILD_SA in it, and nothing of what they replaced. */
const ONE_OF_EACH = /^list-sa event \{gw \{[^}]*?child-sas \{net-\d+ \{[^}]*?state=INSTALLED[^}]*\}\}\}\}\nlist-sas reply \{\}\n$/
const NONE = /^list-sas reply \{\}\n$/

const UP = { args: ['--initiate', '--child', 'net'], until: ONE_OF_EACH }
const DOWN = { args: ['--terminate', '--ike', 'gw'], until: NONE }

const WITH_SAS: readonly Step[] = [
  { ...UP, apart: [logged] },
  { args: ['--list-sas'], apart: [reqids] },
  { args: ['--list-sas', '--ike', 'gw', '--child', 'net', '--noblock'], apart: [reqids] },
  { args: ['--list-sas', '--ike', 'nobody'] },
  { args: ['--stats'], apart: [statistics] },
  { args: ['--counters'] },
  { args: ['--counters', '--name', 'gw'] },
  { args: ['--counters', '--all'] },
  { args: ['--counters', '--name', 'nobody'] },
  { args: ['--rekey', '--child', 'net'], renews: true },
  { args: ['--rekey', '--ike', 'gw'], until: ONE_OF_EACH },
  { args: ['--list-sas'], apart: [reqids] },
  { args: ['--terminate', '--child', 'net'], apart: [logged, closing] },
  { args: ['--list-sas'] },
  { ...DOWN, apart: [logged] },
  { args: ['--counters', '--reset'] },
  { args: ['--counters', '--reset', '--name', 'gw'] },
  { args: ['--counters', '--reset', '--all'] },
]

/** What charon uses numbers up for, or espalier answers in another way. */
const OTHERWISE: readonly Step[] = [
  { args: ['--install', '--child', 'net'] },
  { args: ['--list-pols'], apart: [policyReqids, reqids] },
  { args: ['--list-pols', '--trap'], apart: [policyReqids, reqids] },
  { args: ['--list-pols', '--drop', '--pass'] },
  { args: ['--uninstall', '--child', 'net'] },
  { args: ['--list-pols'] },
  { ...UP, apart: [logged, numbers] },
  {
    args: ['--initiate', '--child', 'net'],
    instead: {
      because: 'charon says in the log why it does not bring up what is up already, espalier in the answer',
      charon: /establishing CHILD_SA 'net' failed\}?\n/,
      espalier: /establishing CHILD_SA 'net' failed: it is up already, as net\{\d+\} of gw\[\d+\]\}?\n/,
    },
  },
  { args: ['--terminate', '--ike', 'gw', '--force'], apart: [logged, forced], until: NONE },
]

// -- who is asked --------------------------------------------------------------------------------------------------

/** A swanctl that prints what happens until it is stopped. */
class Watcher {
  readonly args: readonly string[]
  readonly #daemon: Daemon
  #from = 0

  constructor(t: TestContext, version: StrongswanVersion, args: readonly string[], uri: string) {
    this.args = args
    const [command, rest] = swanctlCommand(version, [...args, '--uri', uri])
    this.#daemon = new Daemon('stdbuf', ['-oL', command, ...rest])
    t.after(() => this.stop())
  }

  get said(): string {
    return this.#daemon.lines
      .slice(this.#from)
      .map((line) => `${line}\n`)
      .join('')
  }

  /** How often it has heard of a CHILD_SA that went. In plain monitoring nothing tells it from one that came. */
  get cycles(): number {
    const count = (pattern: RegExp): number => this.said.match(pattern)?.length ?? 0
    if (this.args[0] === '--log') return count(/IKE_SA deleted/g)
    if (this.args.length === 1) return count(/^ {2}net: .*\n(?: {4}.*\n){5}/gm) / 2
    return count(/^child-updown event \{(?:gw .*|\n {2}gw \{\n(?: .*\n)*\})$/gm)
  }

  get apart(): readonly Exception[] {
    return this.args[0] === '--log' ? [shape] : [tasks, reqids]
  }

  forget(): void {
    this.#from = this.#daemon.lines.length
  }

  stop(): Promise<void> {
    return this.#daemon.stop()
  }
}

class World {
  readonly #daemons: Readonly<Record<Program, Charon | Espalier>>
  /** swanctl's own: the same for both. */
  readonly #env: Record<string, string>
  readonly #version: StrongswanVersion

  private constructor(charon: Charon, espalier: Espalier, version: StrongswanVersion) {
    this.#version = version
    this.#daemons = { charon, espalier }
    this.#env = charon.swanctlOptions().env!
  }

  static async of(t: TestContext, version: StrongswanVersion): Promise<World> {
    const lab = new Lab(t)
    const [charon, espalier] = [
      await Charon.start(await withPeer(lab, 'charon'), { configuration: '', esp: 'userspace', version }),
      await Espalier.start(await withPeer(lab, 'espalier'), { configuration: '', kernel: 'memory' }),
    ]
    await writeFile(join(charon.directory, 'swanctl/swanctl.conf'), CONFIGURATION)
    return new World(charon, espalier, version)
  }

  watch(t: TestContext, program: Program, args: readonly string[]): Watcher {
    return new Watcher(t, this.#version, args, this.#daemons[program].uri)
  }

  async ask(program: Program, args: readonly string[]): Promise<string> {
    const command = [...args, '--uri', this.#daemons[program].uri]
    const { stdout, stderr, status } = await tryRun(...swanctlCommand(this.#version, command), { env: this.#env })
    return `${stdout}${stderr}status ${String(status)}\n`
  }

  /** Events of rekeys, key by key. */
  async compareRekeys(t: TestContext): Promise<void> {
    const heard = await Promise.all(
      PROGRAMS.map(async (program) => {
        const client = await connectControl(this.#daemons[program].uri)
        t.after(() => client.close())
        const [children, ikes] = [await client.register('child-rekey'), await client.register('ike-rekey')]
        const next = async (events: typeof ikes): Promise<string> =>
          keysOf(((await events.next()).value as ViciSection | undefined) ?? section())
        await this.ask(program, UP.args)
        await this.ask(program, ['--rekey', '--child', 'net'])
        const child = await next(children)
        await this.ask(program, ['--rekey', '--ike', 'gw'])
        const ike = await next(ikes)
        await this.ask(program, DOWN.args)
        return { 'child-rekey': child, 'ike-rekey': ike }
      }),
    )
    for (const event of ['child-rekey', 'ike-rekey'] as const)
      await compare(
        t,
        `event ${event}`,
        heard.map((events) => events[event]),
        [tasks],
      )
    await this.settled(NONE)
  }

  /** Asks both and compares; goes on when both have come to what the step says. */
  async take(t: TestContext, step: Step, format: readonly string[]): Promise<void> {
    const args = [...step.args, ...format]
    const before = await Promise.all(PROGRAMS.map(async (program) => (step.renews ? await this.#inUse(program) : null)))
    const said = await Promise.all(PROGRAMS.map((program) => this.ask(program, args)))
    const { until } = step
    if (until !== undefined) await this.settled(until)
    for (const [i, program] of PROGRAMS.entries())
      if (step.renews)
        await eventually(`${program} has another CHILD_SA than ${before[i]}`, async () => {
          const now = await this.#inUse(program)
          return now !== null && now !== before[i] ? true : undefined
        })
    const title = `swanctl ${args.join(' ')}`
    const apart = (step.apart ?? []).filter((exception) => this.#version === 'installed' || !UNTIL_6.includes(exception))
    if (step.instead === undefined) return compare(t, title, said, apart)
    const { because, ...instead } = step.instead
    await t.test(title, (subtest) => {
      subtest.diagnostic(`apart: ${because}`)
      for (const [i, program] of PROGRAMS.entries()) assert.match(said[i]!, instead[program])
    })
  }

  /** The number of the one CHILD_SA, beside which there is none but what has been deleted; null as long as it is not so. */
  async #inUse(program: Program): Promise<string | null> {
    const listed = await this.ask(program, ['--list-sas', '--raw'])
    const found = [...listed.matchAll(/ net-(\d+) \{[^}]*?state=(\w+)/g)].filter(([, , state]) => state !== 'DELETED')
    return found.length === 1 && found[0]![2] === 'INSTALLED' ? found[0]![1]! : null
  }

  async settled(state: RegExp): Promise<void> {
    for (const program of PROGRAMS) {
      await eventually(`${String(state)} of ${program}`, async () => {
        const listed = (await this.ask(program, ['--list-sas', '--raw'])).replace(/status 0\n$/, '')
        return state.test(listed) ? true : undefined
      })
    }
  }
}

/** Keys of a section and of those in it, each with where it is. */
function keysOf(node: ViciSection, path = ''): string {
  const lines = [...node].map(([key, value]) => {
    const place = `${path}/${key.replace(/-\d+$/, '-N')}`
    return value instanceof Map ? `${place}\n${keysOf(value as ViciSection, place)}` : `${place}\n`
  })
  return lines.join('')
}

/** A host for the daemon that is asked; its peer is an espalier. */
async function withPeer(lab: Lab, name: Program): Promise<Host> {
  const [host, peer] = [await lab.host(name), await lab.host(`peer-of-${name}`)]
  await lab.cable(host, 'wire', '192.0.2.1/24', peer, 'wire', '192.0.2.2/24')
  await host.addressed('lo', '10.10.1.1/32')
  await Espalier.start(peer, { configuration: PEER, kernel: 'memory' })
  return host
}

async function compare(t: TestContext, title: string, said: readonly string[], apart: readonly Exception[]): Promise<void> {
  const [theirs, ours] = PROGRAMS.map((program, i) =>
    withoutRun(apart.reduce((rest, { without }) => without(rest, program), said[i]!)),
  )
  await t.test(title, (subtest) => {
    for (const { because } of apart) subtest.diagnostic(`apart: ${because}`)
    assert.equal(ours, theirs)
  })
}

const skip = existsSync(TUN) ? false : `charon's own ESP needs ${TUN}`

test("Debian's swanctl prints the same of charon and espalier", { skip }, (t) => everything(t, 'installed'))

test('that of strongSwan 6, too', { skip: skip === false ? withoutStrongswan6 : skip }, (t) => everything(t, 6))

async function everything(t: TestContext, version: StrongswanVersion): Promise<void> {
  const world = await World.of(t, version)
  for (const step of WITHOUT_SAS) for (const format of FORMATS) await world.take(t, step, format)

  await t.test('espalier has no algorithm that charon lacks', async () => {
    const [theirs, ours] = await Promise.all(PROGRAMS.map((program) => world.ask(program, ['--list-algs'])))
    const named = (said: string): string[] => said.match(/^ {2}\S+(?=\[)/gm) ?? []
    const isNew = (name: string): boolean => version === 'installed' && name.includes('ML_KEM')
    assert.ok(named(ours!).length > 20)
    assert.deepEqual(
      named(ours!).filter((name) => !named(theirs!).includes(name) && !isNew(name)),
      [],
    )
  })

  // They do not say when they have registered: what they hear of says it.
  const watchers = ['--monitor-sa', '--log'].flatMap((command) =>
    FORMATS.flatMap((format) => PROGRAMS.map((program) => world.watch(t, program, [command, ...format]))),
  )
  await eventually('all who watch hear of a whole cycle', async () => {
    for (const watcher of watchers) watcher.forget()
    for (const { args, until } of [UP, DOWN]) {
      await Promise.all(PROGRAMS.map((program) => world.ask(program, args)))
      await world.settled(until)
    }
    return eventually('a cycle', () => (watchers.every((watcher) => watcher.cycles === 1) ? true : undefined), 5_000).catch(
      () => undefined,
    )
  })

  for (const format of FORMATS) for (const step of WITH_SAS) await world.take(t, step, format)

  await eventually('all who watch hear of all cycles', () =>
    watchers.every(({ cycles }) => cycles > FORMATS.length) ? true : undefined,
  )
  for (let i = 0; i < watchers.length; i += PROGRAMS.length) {
    const both = watchers.slice(i, i + PROGRAMS.length)
    const { args, apart } = both[0]!
    await compare(
      t,
      `swanctl ${args.join(' ')}`,
      both.map(({ said }) => said),
      apart,
    )
  }
  for (const watcher of watchers) await watcher.stop()
  // What newer ones than Debian's swanctl, and exporters, register for.
  await world.compareRekeys(t)

  for (const format of FORMATS) for (const step of OTHERWISE) await world.take(t, step, format)
}
