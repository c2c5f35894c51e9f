/**
 * Commands of the configuration, run by the shell as strongSwan runs them: they may have arguments, and what they say
 * on either stream is told line by line. They get a PATH and what they are to know, and nothing else of this process;
 * one that does not come to its end is ended, with all that it has begun.
 */
import { spawn, type ChildProcess } from 'node:child_process'

import { messageOf } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { Script, Scripts } from '../ports.ts'

/** A script sets up routes and firewalls: what takes longer than this hangs. */
export const SCRIPT_TIME_MAX: Milliseconds = 30 * SECOND

/** Our limits: of what a script says. */
const LINE_CHARACTERS_MAX = 1000
const LINES_MAX = 1000

/** For what was said before its end to be read. */
const LAST_WORDS: Milliseconds = SECOND

/** What this process has no PATH for, or one with relative directories in it. */
const USUAL_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export interface ScriptsOptions {
  /** PATH of this process. */
  readonly path: string | undefined
  readonly timeMax?: Milliseconds
}

export class ShellScripts implements Scripts {
  readonly #path: string
  readonly #timeMax: Milliseconds
  readonly #running = new Set<ChildProcess>()
  #isClosed = false

  constructor({ path, timeMax = SCRIPT_TIME_MAX }: ScriptsOptions) {
    this.#path = path !== undefined && path.split(':').every((directory) => directory.startsWith('/')) ? path : USUAL_PATH
    this.#timeMax = timeMax
  }

  run({ command, variables, input }: Script, onLine: (line: string) => void): Promise<string | null> {
    if (this.#isClosed) return Promise.resolve('not run: there is no time left')
    return new Promise((resolve) => {
      let child: ChildProcess
      try {
        // Both streams are one, or their lines would come in another order than they were said in.
        child = spawn('/bin/sh', ['-c', `exec 2>&1\n${command}`], {
          env: { ...variables, PATH: this.#path },
          cwd: '/',
          // A process group of its own, which can be ended as a whole.
          detached: true,
          stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'ignore'],
        })
      } catch (error) {
        return resolve(`cannot be run: ${messageOf(error)}`)
      }
      this.#running.add(child)
      const lines = new Lines(onLine)
      let ended: string | null = null
      const timer = setTimeout(() => {
        ended = `ended after ${this.#timeMax / SECOND} s without coming to its end`
        end(child)
      }, this.#timeMax)
      const settle = (failure: string | null): void => {
        clearTimeout(timer)
        this.#running.delete(child)
        lines.flush()
        resolve(failure)
      }
      child.stdout?.setEncoding('utf8').on('data', (text: string) => lines.add(text))
      // Who does not read its input is not at fault.
      child.stdin?.on('error', () => undefined).end(input)
      child.on('error', (error) => settle(`cannot be run: ${messageOf(error)}`))
      // What it has begun in the background may keep the stream open; nobody waits for long for that.
      let grace: NodeJS.Timeout | undefined
      child.on('exit', () => (grace = setTimeout(() => child.stdout?.destroy(), LAST_WORDS)))
      child.on('close', (status, signal) => {
        clearTimeout(grace)
        settle(ended ?? failureOf(status, signal))
      })
    })
  }

  /** Ends what runs; nothing more is run. */
  close(): void {
    this.#isClosed = true
    for (const child of this.#running) end(child)
  }
}

/** The whole group: a shell's children outlive it. */
function end({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has come to its end by itself.
  }
}

function failureOf(status: number | null, signal: string | null): string | null {
  if (status === 0) return null
  return signal === null ? `exit status ${status}` : `ended by ${signal}`
}

/** Pieces of text, told by lines; what is too much is left out. */
class Lines {
  readonly #onLine: (line: string) => void
  #rest = ''
  #count = 0

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  add(text: string): void {
    const [first, ...others] = text.split('\n')
    this.#rest = (this.#rest + first!).slice(0, LINE_CHARACTERS_MAX)
    for (const line of others) {
      this.flush()
      this.#rest = line.slice(0, LINE_CHARACTERS_MAX)
    }
  }

  flush(): void {
    // Whatever a script prints is one line of the log.
    const line = this.#rest.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ')
    this.#rest = ''
    if (line === '' || this.#count > LINES_MAX) return
    this.#onLine(this.#count++ < LINES_MAX ? line : 'and more, which is left out')
  }
}
