/**
 * Who is measured: our daemon with the kernel in memory, and Debian's charon, each on a core of its own, with the same
 * configuration and no cookies.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { LEAN } from '../../src/daemon/lean.ts'
import type { Host } from '../lab/support/network.ts'
import { startCharon, type CharonTables } from './charon.ts'
import { Pinned } from './pinned.ts'
import { residentBytesOf } from './process.ts'
import type { Answer, Question } from './responder-probe.ts'

/** charon as Debian sets it up, and with hash tables for many IKE_SAs, which whoever has many is told to set. */
export const PEERS: ReadonlyMap<string, CharonTables | null> = new Map([
  ['charon', null],
  ['charon-sized', { size: 4096, segments: 16 }],
])

export interface Memory {
  /** Bytes. */
  readonly resident: number
  /** Null where only the responder itself could know it. */
  readonly live: number | null
}

export interface Responder {
  readonly version: string
  readonly pid: number
  /** Of its control socket. */
  readonly uri: string
  /** After it has given back what it can. */
  memory(): Promise<Memory>
}

/**
 * Cookies are another exchange, which a stranger causes and a peer pays for. What was replaced is taken away at once,
 * so that what it costs is told with what replaced it. The control socket is not where a daemon of this machine listens.
 */
const settingsWith = (uri: string): string => `
charon {
  cookie_threshold = 0
  cookie_threshold_ip = 0
  dos_protection = no
  delete_rekeyed_delay = 0
  plugins { vici { socket = ${uri} } }
}
`

/** Our daemon, with what it says about itself (responder-probe.ts). */
export class EspalierResponder implements Responder {
  readonly version = 'espalier'
  readonly uri: string
  readonly #process: Pinned<Question, Answer>

  private constructor(process: Pinned<Question, Answer>, uri: string) {
    this.#process = process
    this.uri = uri
  }

  static async start(
    host: Host,
    core: number,
    configuration: string,
    files: ReadonlyMap<string, string> = new Map(),
  ): Promise<EspalierResponder> {
    const directory = join(await host.lab.directory(), host.name)
    const uri = `unix://${directory}/espalier.vici`
    await mkdir(directory, { recursive: true })
    await writeFiles(directory, new Map([...files, ['swanctl.conf', configuration], ['strongswan.conf', settingsWith(uri)]]))
    const here = import.meta.dirname
    const daemon = ['daemon', '--kernel', 'memory', '--log-level', 'warn']
    return new EspalierResponder(
      new Pinned(
        host,
        core,
        // As the daemon starts itself; a process that begins anew loses the channel to us.
        [LEAN, '--expose-gc', '--import', join(here, 'responder-probe.ts'), join(here, '../../src/main.ts'), ...daemon],
        { SWANCTL_DIR: directory, STRONGSWAN_CONF: join(directory, 'strongswan.conf') },
      ),
      uri,
    )
  }

  get pid(): number {
    return this.#process.pid
  }

  async memory(): Promise<Memory> {
    const { live } = await this.#process.tell({ ask: 'memory' })
    return { resident: residentBytesOf(this.pid), live }
  }

  async beginProfile(): Promise<void> {
    await this.#process.tell({ ask: 'begin-profile' })
  }

  async endProfile(file: string): Promise<void> {
    await this.#process.tell({ ask: 'end-profile', file })
  }

  async writeHeap(file: string): Promise<void> {
    await this.#process.tell({ ask: 'heap', file })
  }
}

async function writeFiles(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(join(directory, path, '..'), { recursive: true })
    await writeFile(join(directory, path), content)
  }
}

export async function startCharonResponder(
  host: Host,
  core: number,
  configuration: string,
  tables: CharonTables | null,
  files: ReadonlyMap<string, string> = new Map(),
): Promise<Responder> {
  await writeFiles(join(await host.lab.directory(), host.name), files)
  const { pid, uri, version } = await startCharon(host, core, configuration, tables)
  return { pid, uri, version, memory: () => Promise.resolve({ resident: residentBytesOf(pid), live: null }) }
}
