/**
 * Somebody at the controls of a simulated gateway: commands by their handlers, without a socket in between, and every
 * event as plain objects, whose keys keep their order.
 */
import { assert } from '../../src/base/assert.ts'
import { ClientGone } from '../../src/vici/command.ts'
import { COMMANDS } from '../../src/vici/commands.ts'
import { SaEvents } from '../../src/vici/events.ts'
import type { ViciNode, ViciSection } from '../../src/vici/message.ts'
import type { Operations } from '../../src/vici/operations.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { Counters } from '../../src/report/counters.ts'
import { CredentialFiles } from '../../src/config/credential-files.ts'
import type { ConfigurationFiles } from '../../src/config/files.ts'
import { memoryFiles } from '../config/memory-files.ts'
import type { SimulatedNode } from '../simulation/node.ts'
import type { World } from '../simulation/world.ts'

/** Values are text here. */
export interface Plain {
  readonly [key: string]: string | readonly string[] | Plain
}

export interface Heard {
  readonly event: string
  readonly message: Plain
}

export class Operator {
  /** What this client got while its commands were done, and what went to all. */
  readonly streamed: Heard[] = []
  readonly raised: Heard[] = []
  readonly counters = new Counters()
  readonly #world: World
  readonly #operations: Operations
  readonly #gone = new AbortController()
  reloads = 0
  /** What the daemon finds on its disk. */
  files: ConfigurationFiles = memoryFiles({})

  constructor(world: World, node: SimulatedNode) {
    this.#world = world
    const events = new SaEvents(
      { raise: (event, message) => this.raised.push({ event, message: plain(message()) }) },
      world.clock,
    )
    node.listeners.push(this.counters.handle, events.handle)
    this.#operations = {
      gateway: node.gateway,
      clock: world.clock,
      counters: this.counters,
      log: node.hub,
      credentialFiles: () => new CredentialFiles('/etc/swanctl', this.files),
      daemon: {
        version: '1.2.3',
        started: world.clock.wall(),
        system: { name: 'Linux', release: '6.1', machine: 'x86_64' },
        reloadSettings: () => {
          this.reloads++
          return Promise.resolve()
        },
      },
      process: {
        plugins: ['vici'],
        workers: () => ({ total: 1, busy: 1 }),
        memory: () => ({ heapTotal: 7, heapUsed: 5, external: 3 }),
        localTime: () => 'Nov 22 15:04:05 2026',
      },
    }
  }

  /** From now on nobody reads what comes. */
  leave(): void {
    this.#gone.abort(new ClientGone())
  }

  /** The answer, as the server would put it. */
  async command(name: string, request: Plain | ViciSection = {}): Promise<Plain> {
    return this.#world.outcome(this.begin(name, request))
  }

  /** The same, while the world is driven by somebody else. */
  async begin(name: string, request: Plain | ViciSection = {}): Promise<Plain> {
    const handler = COMMANDS[name]
    assert(handler !== undefined, `there is a command ${name}`)
    try {
      return plain(
        await handler(request instanceof Map ? (request as ViciSection) : sectionOf(request as Plain), {
          operations: this.#operations,
          signal: this.#gone.signal,
          stream: (event, message) => {
            if (this.#gone.signal.aborted) return Promise.reject(new ClientGone())
            this.streamed.push({ event, message: plain(message) })
            return Promise.resolve()
          },
        }),
      )
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      return { success: 'no', errmsg: error.message }
    }
  }

  /** What list-sas streams, by name of the connection; of two IKE_SAs of one name the later. */
  async listSas(request: Readonly<Record<string, string>> = {}): Promise<readonly Plain[]> {
    const before = this.streamed.length
    await this.command('list-sas', request)
    return this.streamed.slice(before).map(({ message }) => message)
  }
}

export function plain(section: ViciSection): Plain {
  const value = (node: ViciNode): Plain[string] =>
    typeof node === 'string'
      ? node
      : node instanceof Uint8Array
        ? Buffer.from(node).toString()
        : node instanceof Map
          ? plain(node as ViciSection)
          : (node as readonly string[])
  return Object.fromEntries([...section].map(([key, node]) => [key, value(node)]))
}

function sectionOf(message: Plain): ViciSection {
  return new Map(
    Object.entries(message).map(([key, value]) => [
      key,
      typeof value === 'string' || Array.isArray(value) ? (value as ViciNode) : sectionOf(value as Plain),
    ]),
  )
}

/** A section within a section. */
export function at(section: Plain, ...path: readonly string[]): Plain {
  return path.reduce<Plain>((found, key) => {
    const next = found[key]
    assert(typeof next === 'object' && !Array.isArray(next), `there is a section ${key}`)
    return next as Plain
  }, section)
}

/** A value within a section. */
export function text(section: Plain, key: string): string {
  const value = section[key]
  assert(typeof value === 'string', `there is a value ${key}`)
  return value
}
