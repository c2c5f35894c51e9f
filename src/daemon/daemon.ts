/**
 * Wires a gateway to the edges, and sees it through its life: start, reload, stop. It decides nothing.
 */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

import { EspalierError, messageOf } from '../base/errors.ts'
import { SECOND } from '../base/time.ts'
import type { Configuration } from '../config/load.ts'
import type { SystemSettings } from '../config/system.ts'
import { Alarm, systemClock } from '../edge/clock.ts'
import { CrlFiles } from '../edge/crl-files.ts'
import { systemEntropy } from '../edge/entropy.ts'
import { NftFlows } from '../edge/flows.ts'
import { systemFetcher } from '../edge/fetch.ts'
import { SystemKeyExchanges } from '../edge/key-exchanges.ts'
import type { LeaseFile } from '../edge/lease-file.ts'
import type { OpenHostNetwork } from '../edge/rtnetlink.ts'
import { systemResolver } from '../edge/resolver.ts'
import { ShellScripts } from '../edge/scripts.ts'
import { systemSigner } from '../edge/signer.ts'
import type { State, StateFile } from '../edge/state-file.ts'
import { PROGRAM } from '../edge/successor.ts'
import type { OpenTunnelNetwork } from '../edge/tunnel-network.ts'
import type { UdpNetwork } from '../edge/udp.ts'
import { Gateway, type GatewayPorts } from '../gateway/gateway.ts'
import type { IkeSettings } from '../ike/connection.ts'
import { Counters } from '../report/counters.ts'
import { Reporter, type Level, type Line } from '../report/report.ts'
import type { Operations } from '../vici/operations.ts'
import {
  configurationPaths,
  credentialFiles,
  describeConfiguration,
  readConfiguration,
  readSettings,
  type ConfigurationPaths,
} from './configuration.ts'
import { daemonFacts, openControl, type Control } from './control.ts'
import { openHost } from './host.ts'
import type { KernelKind } from './kernel-kind.ts'
import { openKernel, type OpenKernel } from './kernel.ts'
import { openLeaseStore } from './lease-store.ts'
import { daemonLine, Logs } from './logs.ts'
import { processFacts } from './process-facts.ts'
import { obstacleToRenewal } from './renewal.ts'
import { openSockets } from './sockets.ts'
import { openStateFile } from './state-file.ts'
import { openTunnels } from './tunnels.ts'

/** How long peers have to answer our deletes at the end, and then commands of children to come to theirs. */
const STOP_TIME = 2 * SECOND
const SCRIPTS_STOP_TIME = 15 * SECOND

export interface DaemonOptions {
  readonly kernel: KernelKind
  /** Null: as strongswan.conf has it. */
  readonly logLevel: Level | null
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Runs until SIGTERM or SIGINT; resolves to the exit status: 0 after an orderly end, 1 when it could not start, 2 when the configuration is wrong. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const logs = new Logs(options.logLevel)
  const { write } = logs.hub
  const paths = configurationPaths(options.environment)
  const loaded = readConfiguration(paths)
  loaded.lines.forEach(write)
  if (loaded.configuration === null) {
    write(daemonLine('error', 'not started: the configuration has errors', 'start-refused'))
    return 2
  }
  logs.configure(loaded.configuration.log)
  // From here on, for whoever sees that we have started may stop us at once.
  const stopSignal = nextStopSignal()
  const running = new RunningDaemon(options, paths, logs)
  try {
    await running.start(loaded.configuration)
  } catch (error) {
    write(daemonLine('error', `not started: ${messageOf(error)}`, 'start-refused'))
    await running.close()
    return 1
  }
  write(daemonLine('info', `configured: ${describeConfiguration(loaded.configuration, paths)}`, 'configured'))
  await running.untilStopped(stopSignal)
  logs.closeFiles()
  return 0
}

function nextStopSignal(): Promise<string> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
}

function counted(ikeSas: number): string {
  return `${ikeSas} ${ikeSas === 1 ? 'IKE_SA' : 'IKE_SAs'}`
}

class RunningDaemon {
  readonly #kind: KernelKind
  readonly #environment: DaemonOptions['environment']
  readonly #paths: ConfigurationPaths
  readonly #logs: Logs
  readonly #write: (line: Line) => void
  #kernel: OpenKernel | null = null
  #network: UdpNetwork | null = null
  #host: OpenHostNetwork | null = null
  #tunnels: OpenTunnelNetwork | null = null
  #leaseFile: LeaseFile | null = null
  readonly #crlFiles: CrlFiles
  #stateFile: StateFile | null = null
  readonly #scripts: ShellScripts
  #gateway: Gateway | null = null
  #control: Control | null = null
  readonly #counters = new Counters()
  #ports: Pick<IkeSettings, 'port' | 'portNatT'> | null = null
  #system: SystemSettings | null = null
  #isRenewing = false
  #isStopping = false
  readonly #keyExchanges = new SystemKeyExchanges()
  readonly #alarm = new Alarm(() => {
    this.#gateway?.handleDeadlines()
    return this.#gateway?.nextDeadline() ?? null
  })

  readonly #flows = new NftFlows({
    onTrouble: (sentence) => this.#write(daemonLine('warn', sentence, 'kernel-trouble', {}, 'knl')),
  })

  constructor({ kernel, environment }: DaemonOptions, paths: ConfigurationPaths, logs: Logs) {
    this.#kind = kernel
    this.#environment = environment
    this.#scripts = new ShellScripts({ path: environment['PATH'] })
    this.#paths = paths
    this.#logs = logs
    this.#write = logs.hub.write
    this.#crlFiles = new CrlFiles(join(paths.swanctlDir, 'x509crl'), (sentence) =>
      this.#write(daemonLine('warn', sentence, 'crl-file-trouble', {}, 'cfg')),
    )
  }

  async start(configuration: Configuration): Promise<void> {
    this.#kernel = await openKernel(this.#kind, configuration.connections, {
      onEvent: (news) => this.#gateway?.handleKernelEvent(news),
      onTrouble: (sentence) => this.#write(daemonLine('warn', sentence, 'kernel-trouble', {}, 'knl')),
    })
    const { missing } = this.#kernel.kernel.capabilities
    for (const sentence of missing) this.#write(daemonLine('warn', sentence, 'kernel-lacks', {}, 'knl'))
    this.#ports = configuration.settings
    this.#system = configuration.system
    this.#stateFile = openStateFile(this.#kind, configuration.system, this.#environment, (sentence) =>
      this.#write(daemonLine('warn', sentence, 'state-file-trouble')),
    )
    const found = this.#stateFile?.found ?? null
    this.#network = openSockets(
      configuration.settings,
      this.#kind,
      (datagram) => this.#gateway?.handleDatagram(datagram),
      (error, total) =>
        this.#write(
          daemonLine(
            'warn',
            `a datagram could not be sent or received: ${messageOf(error)}`,
            'network-error',
            { code: error.code, total },
            'net',
          ),
        ),
      found?.kind === 'left' ? found.sockets : null,
    )
    this.#host = await openHost(
      configuration.settings,
      () => this.#gateway?.handleRoam(),
      (sentence) => this.#write(daemonLine('warn', sentence, 'network-trouble', {}, 'knl')),
    )
    this.#tunnels = await openTunnels(this.#kind, configuration.settings, (sentence) =>
      this.#write(daemonLine('warn', sentence, 'network-trouble', {}, 'knl')),
    )
    this.#leaseFile = openLeaseStore(configuration.system, this.#environment, (sentence) =>
      this.#write(daemonLine('warn', sentence, 'lease-file-trouble')),
    )
    const { port, portNatT } = this.#network
    const reporter = new Reporter(() => systemClock.now(), this.#logs.hub)
    this.#gateway = new Gateway(
      {
        network: this.#network,
        host: this.#host,
        kernel: this.#kernel.kernel,
        clock: systemClock,
        entropy: systemEntropy,
        keyExchanges: this.#keyExchanges,
        signer: systemSigner,
        fetcher: systemFetcher,
        // A kernel in memory has no packets to keep apart.
        ...(this.#kind === 'netlink' ? { flows: this.#flows } : {}),
        ...(this.#tunnels === null ? {} : { tunnels: this.#tunnels }),
        scripts: this.#scripts,
        ...this.#resolver(configuration),
        ...(this.#leaseFile === null ? {} : { leaseStore: this.#leaseFile }),
        crlStore: this.#crlFiles,
        ...(this.#stateFile === null ? {} : { journal: this.#stateFile }),
        ports: { port, portNatT },
      },
      configuration,
      (event) => {
        reporter.handle(event)
        this.#counters.handle(event)
        this.#control?.handle(event)
      },
      (at) => this.#alarm.arm(at),
    )
    if (configuration.control !== null) {
      const operations: Operations = {
        gateway: this.#gateway,
        clock: systemClock,
        daemon: daemonFacts(() => this.reloadSettings()),
        process: processFacts(this.#kind),
        counters: this.#counters,
        log: this.#logs.hub,
        credentialFiles: () => credentialFiles(this.#paths),
      }
      this.#control = await openControl(configuration.control, operations, (sentence, isDefect) =>
        this.#write(daemonLine(isDefect ? 'error' : 'warn', sentence, 'control-trouble')),
      )
    }
    const control = this.#control?.address ?? null
    this.#write(
      daemonLine(
        'info',
        `espalier listens on UDP ports ${port} and ${portNatT}${control === null ? '' : `, and on ${control}`}${this.#kind === 'memory' ? ', with a kernel in memory: no packet is protected' : ''}`,
        'started',
        { port, portNatT, control, pid: process.pid },
      ),
    )
    await this.#goOn(found)
    this.#gateway.start()
  }

  /** With what an earlier daemon has left, if it has. */
  async #goOn(found: State | null): Promise<void> {
    if (found === null || this.#gateway === null) return
    const { kind } = found
    if (kind === 'journal') {
      const { length } = found.objects
      this.#gateway.inherit(found.objects)
      const what = `${length} ${length === 1 ? 'thing' : 'things'} in the kernel`
      return this.#write(
        daemonLine(
          'warn',
          `an earlier daemon has ended without a word and left ${what}: it goes when something takes its place, or after a while`,
          'inherited',
          { length },
        ),
      )
    }
    const { length } = found.handover.sessions
    const lost = await this.#gateway.resume(found.handover)
    const words = `going on with ${counted(length - lost)}${lost === 0 ? '' : `; of ${counted(lost)} the connection is not as it was`}`
    this.#write(daemonLine(lost === 0 ? 'info' : 'warn', words, 'resumed', { resumed: length - lost, lost }))
  }

  /**
   * SIGUSR2: this process becomes the program anew, as it is on the disk now, which goes on with every IKE_SA that rests.
   * The sockets stay open, so that the kernel takes ESP in UDP all the while. Returns only if that cannot be: what is known
   * to be in the way (renewal.ts) leaves everything as it is.
   */
  async #renew(): Promise<void> {
    // Once is enough, and who has been told to end ends.
    if (this.#isRenewing || this.#isStopping) return
    this.#isRenewing = true
    const obstacle = await this.#obstacle()
    if (this.#isStopping) return
    this.#isRenewing = obstacle === null
    if (obstacle !== null)
      return this.#write(daemonLine('error', `not taken over, everything goes on as it is: ${obstacle}`, 'renew-refused'))
    const [gateway, network, stateFile] = [this.#gateway, this.#network, this.#stateFile]
    if (gateway === null || network === null || stateFile === null) return
    this.#write(
      daemonLine('info', `taken over on SIGUSR2: leaving ${counted(gateway.sessions().length)} as they are`, 'renewing'),
    )
    const handover = await gateway.leave(STOP_TIME)
    const { port, portNatT } = network
    try {
      await stateFile.leave(handover, { pid: process.pid, port, portNatT, sockets: network.leaveOpen() })
    } catch (error) {
      this.#write(daemonLine('error', `what there is cannot be left to anybody: ${messageOf(error)}`, 'renew-failed'))
      // The new program knows of none of them, and shall have the ports.
      network.close()
    }
    for (const { keys } of handover.sessions) keys.destroy()
    await this.#leaseFile?.flush()
    await this.#crlFiles.flush()
    this.#scripts.close()
    await this.#control?.close()
    this.#logs.closeFiles()
    process.execve!(process.execPath, [...PROGRAM, ...process.argv.slice(2)])
  }

  async #obstacle(): Promise<string | null> {
    const [paths, environment, ports, system, stateFile] = [
      this.#paths,
      this.#environment,
      this.#ports,
      this.#system,
      this.#stateFile,
    ]
    if (ports === null || system === null) return null
    return await obstacleToRenewal({ paths, environment, ports, system, stateFile }, this.#write)
  }

  /** A kernel in memory leads to no server. */
  #resolver({ system: { resolver } }: Configuration): Pick<GatewayPorts, 'resolver'> {
    if (this.#kind === 'memory' || resolver === null) return {}
    const write = (line: string): void => this.#write(daemonLine('info', line, 'resolver-said', {}, 'ike'))
    return { resolver: systemResolver(resolver, this.#scripts, write) }
  }

  /** SIGHUP: a configuration with errors leaves the running one as it is. */
  reload(): void {
    const loaded = readConfiguration(this.#paths)
    loaded.lines.forEach(this.#write)
    if (loaded.configuration === null)
      return this.#write(
        daemonLine('error', 'not reloaded: the configuration has errors; the one loaded before stays', 'reload-refused'),
      )
    this.#tellUnheeded(loaded.configuration.settings)
    if (!isDeepStrictEqual(loaded.configuration.system, this.#system))
      this.#write(
        daemonLine(
          'warn',
          'files and commands of this machine have changed; they count from the next start on',
          'reload-partial',
        ),
      )
    this.#gateway?.reload(loaded.configuration)
    this.#logs.configure(loaded.configuration.log)
    this.#write(daemonLine('info', `reloaded: ${describeConfiguration(loaded.configuration, this.#paths)}`, 'reloaded'))
  }

  /** strongswan.conf alone. Rejects with an EspalierError when it has errors; what was read before then stays. */
  async reloadSettings(): Promise<void> {
    const { settings, log, lines } = readSettings(this.#paths)
    lines.forEach(this.#write)
    if (settings === null)
      throw new EspalierError('caller', 'SETTINGS_REFUSED', `${this.#paths.strongswanConf} has errors, which the log names`)
    this.#tellUnheeded(settings)
    this.#gateway?.replaceSettings(settings)
    this.#logs.configure(log)
    this.#write(daemonLine('info', `settings reloaded from ${this.#paths.strongswanConf}`, 'settings-reloaded'))
  }

  #tellUnheeded({ port, portNatT }: IkeSettings): void {
    if (this.#ports === null || (port === this.#ports.port && portNatT === this.#ports.portNatT)) return
    this.#write(
      daemonLine('warn', 'charon.port and charon.port_nat_t have changed; they count from the next start on', 'reload-partial'),
    )
  }

  /** Resolves after the signal to stop, when the peers were told and nothing of ours is left in the kernel. */
  async untilStopped(stopSignal: Promise<string>): Promise<void> {
    const onReload = (): void => this.reload()
    const onRenew = (): void => void this.#renew()
    process.on('SIGHUP', onReload)
    process.on('SIGUSR2', onRenew)
    const signal = await stopSignal
    this.#isStopping = true
    process.off('SIGHUP', onReload)
    process.off('SIGUSR2', onRenew)
    this.#write(daemonLine('info', `stopping on ${signal}: ${this.#farewell()}`, 'stopping'))
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_TIME)))
    await Promise.race([this.#gateway?.stop('shutdown'), patience])
    clearTimeout(timer)
    const datagrams = this.#network?.counters()
    await this.close()
    this.#write(daemonLine('info', 'stopped', 'stopped', { datagrams }))
  }

  #farewell(): string {
    const count = this.#gateway?.sessions().length ?? 0
    return count === 0 ? 'there is no IKE_SA to delete' : `deleting ${counted(count)} with the ${count === 1 ? 'peer' : 'peers'}`
  }

  async close(): Promise<void> {
    const patience = setTimeout(() => this.#scripts.close(), SCRIPTS_STOP_TIME)
    for (const error of (await this.#gateway?.abandon('shutdown')) ?? [])
      this.#write(daemonLine('error', error.message, 'kernel-refused'))
    clearTimeout(patience)
    this.#scripts.close()
    await this.#leaseFile?.flush()
    await this.#crlFiles.flush()
    await this.#stateFile?.close()
    await this.#flows.close()
    // Last of those who are spoken with: its clients hear of the end of every SA.
    await this.#control?.close()
    this.#alarm.stop()
    this.#network?.close()
    await this.#tunnels?.close()
    await this.#host?.close()
    await this.#keyExchanges.close()
    await this.#kernel?.close()
  }
}
