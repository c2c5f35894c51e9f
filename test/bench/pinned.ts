/**
 * What the benches are made of: an owner for the lab, and programs of ours that have a core to themselves.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

import type { Host, LabOwner } from '../lab/support/network.ts'

export class Owner implements LabOwner {
  readonly passed = true
  readonly #actions: (() => Promise<void>)[] = []
  after(action: () => Promise<void>): void {
    this.#actions.push(action)
  }
  diagnostic(): void {}
  async end(): Promise<void> {
    for (const action of this.#actions.toReversed()) await action()
  }
}

/** A program of ours in a namespace, on one core, that is told things and answers each. */
export class Pinned<Told, Heard> {
  readonly #child: ChildProcess
  readonly #ended: Promise<never>

  constructor(host: Host, core: number, args: readonly string[], environment: Record<string, string> = {}) {
    const command = ['netns', 'exec', host.namespace, 'taskset', '--cpu-list', String(core), process.execPath, ...args]
    this.#child = spawn('ip', command, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    this.#child.stdout!.pipe(process.stderr)
    this.#ended = once(this.#child, 'close').then(([status]) => {
      throw new Error(`ended with status ${status}: ${this.#child.spawnargs.join(' ')}`)
    })
    // Somebody listens only while something is being waited for.
    this.#ended.catch(() => {})
    host.lab.atEnd(async () => {
      // There are thousands of tunnels, and nobody to miss them.
      if (this.#child.exitCode === null && this.#child.kill('SIGKILL')) await once(this.#child, 'close')
    })
  }

  /** `ip` and `taskset` become the program, so it is the program's. */
  get pid(): number {
    return this.#child.pid!
  }

  async hear(): Promise<Heard> {
    const heard = new Promise<Heard>((resolve) => this.#child.once('message', (message) => resolve(message as Heard)))
    return Promise.race([heard, this.#ended])
  }

  async tell(told: Told): Promise<Heard> {
    this.#child.send(told as object)
    return this.hear()
  }
}
