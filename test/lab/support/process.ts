/**
 * Commands and daemons started by lab and host tests. Every one has a time limit or an owner that ends it by its
 * process identifier; nothing is ever looked up by name.
 */
import { type ChildProcess, spawn } from 'node:child_process'

/** The emulated lab is some ten times slower than a real machine, and a cold disk cache slower still. */
const COMMAND_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000

export interface Finished {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string
  readonly env?: Record<string, string>
  readonly timeoutMs?: number
}

/** Runs a command to its end, whatever its exit status. Rejects when it cannot be started or exceeds its time. */
export async function tryRun(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawn(command, args, { env: { ...process.env, ...options.env }, stdio: ['pipe', 'pipe', 'pipe'] })
  const timeoutMs = options.timeoutMs ?? COMMAND_TIMEOUT_MS
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  // A command that ends without reading its input is not at fault.
  child.stdin.on('error', () => {}).end(options.input ?? '')
  return await new Promise<Finished>((resolve, reject) => {
    const limit = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`no end after ${timeoutMs} ms: ${command} ${args.join(' ')}\n${stdout}${stderr}`))
    }, timeoutMs)
    child.on('error', (error) => {
      clearTimeout(limit)
      reject(error)
    })
    child.on('close', (status) => {
      clearTimeout(limit)
      resolve({ status, stdout, stderr })
    })
  })
}

/** Runs a command that must succeed and returns what it wrote to standard output. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await tryRun(command, args, options)
  if (status !== 0) throw new Error(`exit status ${status}: ${command} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

/** A program that runs until it is stopped. Collects what it writes, line by line, both streams together. */
export class Daemon {
  readonly lines: string[] = []
  readonly pid: number
  #child: ChildProcess
  #command: string
  #watchers = new Set<() => void>()
  #closed: Promise<void>
  #over = false
  #status: number | null = null

  constructor(command: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#command = [command, ...args].join(' ')
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    if (this.#child.pid === undefined) {
      this.#child.on('error', () => {})
      throw new Error(`cannot start: ${this.#command}`)
    }
    this.pid = this.#child.pid
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      let rest = ''
      stream.setEncoding('utf8').on('data', (text: string) => {
        const parts = (rest + text).split('\n')
        rest = parts.pop()!
        this.lines.push(...parts)
        for (const watcher of this.#watchers) watcher()
      })
    }
    this.#closed = new Promise((resolve) => {
      this.#child.on('close', (status) => {
        this.#over = true
        this.#status = status
        for (const watcher of this.#watchers) watcher()
        resolve()
      })
    })
  }

  /** Exit status once it has ended; null before, and when a signal ended it. */
  get status(): number | null {
    return this.#status
  }

  get running(): boolean {
    return !this.#over
  }

  /** The first line that matches, waiting for it if need be. Rejects when the program ends or the time is up. */
  async waitFor(pattern: RegExp, timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
    return await new Promise<string>((resolve, reject) => {
      let next = 0
      const settle = (): void => {
        this.#watchers.delete(look)
        clearTimeout(limit)
      }
      const fail = (why: string): void => {
        settle()
        reject(new Error(`${why} before ${String(pattern)} was seen: ${this.#command}\n${this.lines.slice(-30).join('\n')}`))
      }
      const look = (): void => {
        for (; next < this.lines.length; next++) {
          if (!pattern.test(this.lines[next]!)) continue
          settle()
          return resolve(this.lines[next]!)
        }
        if (this.#over) fail('ended')
      }
      const limit = setTimeout(() => fail(`${timeoutMs} ms were over`), timeoutMs)
      this.#watchers.add(look)
      look()
    })
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Asks the program to end, insists after a while, and returns when it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.#over) this.#child.kill(signal)
    const insist = setTimeout(() => {
      this.lines.push(`(did not end within ${STOP_TIMEOUT_MS} ms of ${signal}, and was killed)`)
      this.#child.kill('SIGKILL')
    }, STOP_TIMEOUT_MS)
    await this.#closed
    clearTimeout(insist)
  }
}

/** Asks `probe` again and again until it answers with something other than undefined. `what` may tell how far it got. */
export async function eventually<T>(
  what: string | (() => string),
  probe: () => Promise<T | undefined> | T | undefined,
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = await probe()
    if (answer !== undefined) return answer
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
