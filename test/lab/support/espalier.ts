/**
 * Our own daemon in a namespace, from this checkout, configured by the files a user would write. Its log is JSON, one
 * event a line, which is what tests wait for and look into.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Host } from './network.ts'
import type { Daemon } from './process.ts'

export interface EspalierOptions {
  /** swanctl.conf. */
  readonly configuration: string
  /** strongswan.conf's settings within `charon { }`. */
  readonly settings?: string
  /** 'memory' where the machine has no ESP. */
  readonly kernel?: 'netlink' | 'memory'
  /** A link to this checkout's program. */
  readonly program?: string
  /** More of the environment. */
  readonly env?: Readonly<Record<string, string>>
}

/** One line of the log. */
export interface LogLine {
  readonly level: number
  readonly event: string
  readonly msg: string
  readonly [field: string]: unknown
}

const main = join(import.meta.dirname, '../../../src/main.ts')

const controlOf = (directory: string): string => `unix://${directory}/vici`

export class Espalier {
  readonly host: Host
  readonly directory: string
  readonly daemon: Daemon
  /** Of its own VICI socket, as --uri of swanctl takes it. */
  readonly uri: string

  private constructor(host: Host, directory: string, daemon: Daemon) {
    this.host = host
    this.directory = directory
    this.daemon = daemon
    this.uri = controlOf(directory)
  }

  /** Returns when the sockets are open; connections of `start_action = start` are then on their way. */
  static async start(host: Host, options: EspalierOptions): Promise<Espalier> {
    const directory = join(await host.lab.directory(), host.name)
    const env = environment(directory)
    await mkdir(env.SWANCTL_DIR, { recursive: true })
    await writeFile(env.STRONGSWAN_CONF, strongswanConf(directory, options.settings ?? ''))
    await writeFile(join(env.SWANCTL_DIR, 'swanctl.conf'), options.configuration)
    const daemon = host.start(
      process.execPath,
      [options.program ?? main, 'daemon', '--log-level', 'debug', '--kernel', options.kernel ?? 'netlink'],
      { ...options.env, ...env },
    )
    const espalier = new Espalier(host, directory, daemon)
    host.lab.tellIfFailed(`espalier's log on ${host.name}`, async () => espalier.daemon.lines.join('\n'))
    await espalier.event('started')
    return espalier
  }

  /** Runs Debian's swanctl against this daemon; it must succeed. `espalier.swanctl('--initiate', '--child', 'net')` */
  async swanctl(...args: string[]): Promise<string> {
    return await this.host.run('swanctl', [...args, '--uri', this.uri], { env: environment(this.directory), timeoutMs: 120_000 })
  }

  /** Writes swanctl.conf; the running daemon reads it after SIGHUP, or has it loaded by swanctl. */
  async configure(configuration: string): Promise<void> {
    await writeFile(join(this.directory, 'swanctl/swanctl.conf'), configuration)
  }

  /** Writes the settings of strongswan.conf, as `start` does. */
  async configureSettings(settings: string): Promise<void> {
    await writeFile(environment(this.directory).STRONGSWAN_CONF, strongswanConf(this.directory, settings))
  }

  /** The first line of this event, waiting for it if need be. */
  async event(name: string, timeoutMs?: number): Promise<LogLine> {
    return JSON.parse(await this.daemon.waitFor(new RegExp(`"event":"${name}"`), timeoutMs)) as LogLine
  }

  /** All lines of an event so far. */
  events(name: string): readonly LogLine[] {
    return this.daemon.lines.filter((line) => line.includes(`"event":"${name}"`)).map((line) => JSON.parse(line) as LogLine)
  }

  /** Ends it without a word, as a power failure would. */
  async kill(): Promise<void> {
    await this.daemon.stop('SIGKILL')
  }

  /** Ends the daemon in good order: SAs are deleted with the peers, the kernel is left clean. */
  async stop(): Promise<void> {
    await this.daemon.stop('SIGTERM')
  }
}

/** Namespaces share the file system: a socket for each. */
function strongswanConf(directory: string, settings: string): string {
  return `charon {\nplugins { vici { socket = ${controlOf(directory)}\n} }\n${settings}\n}\n`
}

/** As systemd would give it. */
function environment(
  directory: string,
): Record<'STRONGSWAN_CONF' | 'SWANCTL_DIR' | 'STATE_DIRECTORY' | 'RUNTIME_DIRECTORY', string> {
  return {
    STRONGSWAN_CONF: join(directory, 'strongswan.conf'),
    SWANCTL_DIR: join(directory, 'swanctl'),
    STATE_DIRECTORY: join(directory, 'state'),
    RUNTIME_DIRECTORY: join(directory, 'run'),
  }
}
