/**
 * Wires a gateway to the edges, and sees it through its life: start, reload, stop. It decides nothing.
 */
import { messageOf } from '../base/errors.ts'
import { SECOND } from '../base/time.ts'
import { Alarm, systemClock } from '../edge/clock.ts'
import { systemEntropy } from '../edge/entropy.ts'
import { SystemKeyExchanges } from '../edge/key-exchanges.ts'
import { openLog } from '../edge/log.ts'
import type { UdpNetwork } from '../edge/udp.ts'
import { Gateway } from '../gateway/gateway.ts'
import type { IkeSettings } from '../ike/connection.ts'
import { Reporter, type Level, type Line } from '../report/report.ts'
import { configurationPaths, describeConfiguration, readConfiguration, type ConfigurationPaths } from './configuration.ts'
import { openKernel, type KernelKind, type OpenKernel } from './kernel.ts'
import { openSockets } from './sockets.ts'

/** How long peers have to answer our deletes at the end. */
const STOP_TIME = 2 * SECOND

export interface DaemonOptions {
  readonly kernel: KernelKind
  readonly logLevel: Level
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Runs until SIGTERM or SIGINT; resolves to the exit status: 0 after an orderly end, 1 when it could not start, 2 when the configuration is wrong. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const write = openLog(options.logLevel)
  const paths = configurationPaths(options.environment)
  const loaded = readConfiguration(paths)
  loaded.lines.forEach(write)
  if (loaded.configuration === null) {
    write(plain('error', 'not started: the configuration has errors', 'start-refused'))
    return 2
  }
  const running = new RunningDaemon(options.kernel, paths, write)
  try {
    await running.start(loaded.configuration)
  } catch (error) {
    write(plain('error', `not started: ${messageOf(error)}`, 'start-refused'))
    await running.close()
    return 1
  }
  write(plain('info', `configured: ${describeConfiguration(loaded.configuration, paths)}`, 'configured'))
  await running.untilStopped()
  return 0
}

class RunningDaemon {
  readonly #kind: KernelKind
  readonly #paths: ConfigurationPaths
  readonly #write: (line: Line) => void
  #kernel: OpenKernel | null = null
  #network: UdpNetwork | null = null
  #gateway: Gateway | null = null
  #ports: Pick<IkeSettings, 'port' | 'portNatT'> | null = null
  readonly #keyExchanges = new SystemKeyExchanges()
  readonly #alarm = new Alarm(() => {
    this.#gateway?.handleDeadlines()
    return this.#gateway?.nextDeadline() ?? null
  })

  constructor(kind: KernelKind, paths: ConfigurationPaths, write: (line: Line) => void) {
    this.#kind = kind
    this.#paths = paths
    this.#write = write
  }

  async start(configuration: NonNullable<ReturnType<typeof readConfiguration>['configuration']>): Promise<void> {
    this.#kernel = await openKernel(this.#kind, configuration.connections, {
      onEvent: (news) => this.#gateway?.handleKernelEvent(news),
      onTrouble: (sentence) => this.#write(plain('warn', sentence, 'kernel-trouble')),
    })
    const { missing } = this.#kernel.kernel.capabilities
    for (const sentence of missing) this.#write(plain('warn', sentence, 'kernel-lacks'))
    this.#ports = configuration.settings
    this.#network = openSockets(
      configuration.settings,
      this.#kind,
      (datagram) => this.#gateway?.handleDatagram(datagram),
      (error, total) =>
        this.#write(
          plain('warn', `a datagram could not be sent or received: ${messageOf(error)}`, 'network-error', {
            code: error.code,
            total,
          }),
        ),
    )
    const { port, portNatT } = this.#network
    const reporter = new Reporter(() => systemClock.now(), this.#write)
    this.#gateway = new Gateway(
      {
        network: this.#network,
        kernel: this.#kernel.kernel,
        clock: systemClock,
        entropy: systemEntropy,
        keyExchanges: this.#keyExchanges,
        ports: { port, portNatT },
      },
      configuration,
      reporter.handle,
      (at) => this.#alarm.arm(at),
    )
    this.#write(
      plain(
        'info',
        `espalier listens on UDP ports ${port} and ${portNatT}${this.#kind === 'memory' ? ', with a kernel in memory: no packet is protected' : ''}`,
        'started',
        { port, portNatT, pid: process.pid },
      ),
    )
    this.#gateway.start()
  }

  /** SIGHUP: a configuration with errors leaves the running one as it is. */
  reload(): void {
    const loaded = readConfiguration(this.#paths)
    loaded.lines.forEach(this.#write)
    if (loaded.configuration === null)
      return this.#write(
        plain('error', 'not reloaded: the configuration has errors; the one loaded before stays', 'reload-refused'),
      )
    const { port, portNatT } = loaded.configuration.settings
    if (this.#ports !== null && (port !== this.#ports.port || portNatT !== this.#ports.portNatT)) {
      this.#write(
        plain('warn', 'charon.port and charon.port_nat_t have changed; they count from the next start on', 'reload-partial'),
      )
    }
    this.#gateway?.reload(loaded.configuration)
    this.#write(plain('info', `reloaded: ${describeConfiguration(loaded.configuration, this.#paths)}`, 'reloaded'))
  }

  /** Resolves after SIGTERM or SIGINT, when the peers were told and nothing of ours is left in the kernel. */
  async untilStopped(): Promise<void> {
    const onReload = (): void => this.reload()
    process.on('SIGHUP', onReload)
    const signal = await new Promise<string>((resolve) => {
      process.once('SIGTERM', resolve)
      process.once('SIGINT', resolve)
    })
    process.off('SIGHUP', onReload)
    this.#write(plain('info', `stopping on ${signal}: ${this.#farewell()}`, 'stopping'))
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_TIME)))
    await Promise.race([this.#gateway?.stop('shutdown'), patience])
    clearTimeout(timer)
    await this.close()
    this.#write(plain('info', 'stopped', 'stopped'))
  }

  #farewell(): string {
    const count = this.#gateway?.sessions().length ?? 0
    return count === 0
      ? 'there is no IKE_SA to delete'
      : `deleting ${count} ${count === 1 ? 'IKE_SA' : 'IKE_SAs'} with the ${count === 1 ? 'peer' : 'peers'}`
  }

  async close(): Promise<void> {
    for (const error of (await this.#gateway?.abandon('shutdown')) ?? [])
      this.#write(plain('error', error.message, 'kernel-refused'))
    this.#alarm.stop()
    this.#network?.close()
    await this.#keyExchanges.close()
    await this.#kernel?.close()
  }
}

function plain(level: Level, message: string, event: string, fields: Record<string, unknown> = {}): Line {
  return { level, message, fields: { event, ...fields } }
}
