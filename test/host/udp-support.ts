/** What the tests of the UDP sockets share: networks to talk with, child processes to fail in. */
import { execFile, execFileSync, fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { UdpNetwork, type UdpError, type UdpNetworkOptions } from '../../src/edge/udp.ts'
import type { Datagram } from '../../src/ports.ts'
import type { Scenarios } from './udp-scenarios.ts'

export function endpoint(address: string, port: number): Endpoint {
  return new Endpoint(IpAddress.parse(address), port)
}

export const marked = (...bytes: readonly number[]): Uint8Array => Uint8Array.of(0, 0, 0, 0, ...bytes)

/** A UdpNetwork on random ports that keeps what arrives until it is asked for. */
export class TestNetwork {
  readonly network: UdpNetwork
  readonly errors: { readonly error: UdpError; readonly total: number }[] = []
  readonly #arrived: Datagram[] = []
  #wake: () => void = () => {}

  constructor(options: Partial<UdpNetworkOptions> = {}) {
    this.network = new UdpNetwork(
      {
        port: 0,
        portNatT: 0,
        families: [4, 6],
        encapsulation: false,
        bypassPolicy: false,
        mark: 0,
        receiveBufferBytes: 0,
        reusePort: false,
        dscp: 0,
        ...options,
      },
      (datagram) => {
        this.#arrived.push(datagram)
        this.#wake()
      },
      (error, total) => {
        this.errors.push({ error, total })
        this.#wake()
      },
    )
  }

  /** The next `count` datagrams, however long they take. */
  async take(count: number): Promise<Datagram[]> {
    await this.until(() => this.#arrived.length >= count)
    return this.#arrived.splice(0, count)
  }

  /** Resolves when `condition` holds; it is looked at whenever a datagram or an error arrived. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  [Symbol.dispose](): void {
    this.network.close()
  }
}

const here = fileURLToPath(new URL('.', import.meta.url))
let folder: string | null = null

/** Compiles test/host/`source`.c; what it makes is removed when this process ends. */
export function compile(source: string, ...flags: readonly string[]): string {
  if (folder === null) {
    const made = (folder = mkdtempSync(join(tmpdir(), 'espalier-udp-')))
    process.on('exit', () => rmSync(made, { recursive: true }))
  }
  const made = join(folder, source)
  execFileSync('cc', ['-O1', '-D_GNU_SOURCE', '-Wall', '-Werror', ...flags, '-o', made, join(here, `${source}.c`)])
  return made
}

export interface ScenarioOptions {
  /** A command and its arguments that runs node: `['unshare', '-n']`. */
  readonly under?: readonly string[]
  readonly nodeFlags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** No scenario takes a hundredth of it: a hanging one shall fail its test by name, and nothing else depends on it. */
const SCENARIO_MILLISECONDS = 300_000

const scenarios = join(here, 'udp-scenarios.ts')

/** Runs a scenario of udp-scenarios.ts in a process of its own and gives what it printed as JSON. Rejects when it fails. */
export async function scenario<Name extends keyof Scenarios>(
  name: Name,
  options: ScenarioOptions,
  ...parameters: Parameters<Scenarios[Name]>
): Promise<Awaited<ReturnType<Scenarios[Name]>>> {
  const words = parameters.map((parameter) => JSON.stringify(parameter))
  const command = [...(options.under ?? []), process.execPath, ...(options.nodeFlags ?? []), scenarios, name, ...words]
  const env = { ...process.env, ...options.env }
  // The test runner's own: with it node would print for the runner, not for us.
  delete env['NODE_TEST_CONTEXT']
  const limits = { timeout: SCENARIO_MILLISECONDS, killSignal: 'SIGKILL' } as const
  const { stdout } = await promisify(execFile)(command[0]!, command.slice(1), { env, ...limits })
  return JSON.parse(stdout) as Awaited<ReturnType<Scenarios[Name]>>
}

/** Preloads `library` behind what is preloaded already (a sanitizer has to come first). */
export function preloading(library: string): Record<string, string> {
  return { LD_PRELOAD: [process.env['LD_PRELOAD'], library].filter(Boolean).join(':') }
}

/** Starts a scenario in a new network namespace, to talk with over IPC. */
export function forkInNamespace(name: keyof Scenarios): ChildProcess {
  return fork(scenarios, [name], { execPath: 'unshare', execArgv: ['-n', process.execPath] })
}

/** Null, or why tests that need namespaces and CAP_NET_ADMIN cannot run. */
export function lacksNamespaces(): string | null {
  try {
    execFileSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'pipe' })
    return null
  } catch {
    return 'needs network namespaces: unshare -n and ip (CAP_SYS_ADMIN)'
  }
}
