/**
 * Name servers in this machine's resolver: by resolvconf(8) where there is one, by systemd-resolved where that runs, else
 * in resolv.conf(5) itself, before all others (strongSwan: resolve_handler.c, which knows the first and the last).
 *
 * Which servers there are is always said as a whole, so that what was said before does not matter.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename } from 'node:path'

import { messageOf } from '../base/errors.ts'
import type { ResolverSettings } from '../config/system.ts'
import type { NameServer, Resolver, Scripts } from '../ports.ts'

/** What this machine has, at the places where it is usual. */
export interface ResolverPlaces {
  readonly resolvconf: string
  readonly resolvectl: string
  /** Is there while systemd-resolved runs. */
  readonly resolved: string
}

const USUAL: ResolverPlaces = {
  resolvconf: '/sbin/resolvconf',
  resolvectl: '/usr/bin/resolvectl',
  resolved: '/run/systemd/resolve',
}

/** Behind each line of ours in resolv.conf. */
const MARK = '   # by espalier'
/** Our limit: what is larger is no resolv.conf. */
const FILE_BYTES_MAX = 1024 * 1024

export type OnLine = (line: string) => void

/** `onLine` hears what the commands say. */
export function systemResolver(
  settings: ResolverSettings,
  scripts: Scripts,
  onLine: OnLine,
  places: ResolverPlaces = USUAL,
): Resolver {
  if (settings.resolvconf !== null) return new Resolvconf(settings.resolvconf, settings.interface, scripts, onLine)
  const isThere = existsSync(places.resolvconf)
  // systemd's own has a command of that name, which wants interfaces that there are.
  if (isThere && basename(realpathSync(places.resolvconf)) !== 'resolvectl')
    return new Resolvconf(places.resolvconf, settings.interface, scripts, onLine)
  if (existsSync(places.resolved) && existsSync(places.resolvectl)) return new Resolved(places.resolvectl, scripts, onLine)
  return new ResolvConf(settings.file)
}

class Resolvconf implements Resolver {
  readonly place = 'via resolvconf'
  readonly #command: string
  readonly #interface: string
  readonly #scripts: Scripts
  readonly #onLine: OnLine

  constructor(command: string, interfaceName: string, scripts: Scripts, onLine: OnLine) {
    this.#command = command
    this.#interface = interfaceName
    this.#scripts = scripts
    this.#onLine = onLine
  }

  use(servers: readonly NameServer[]): Promise<string | null> {
    const input = servers.map(({ address }) => `nameserver ${address.toString()}\n`).join('')
    const command = `${this.#command} ${servers.length > 0 ? '-a' : '-d'} ${this.#interface}`
    const script = { command, variables: {}, ...(servers.length > 0 ? { input } : {}) }
    return this.#scripts.run(script, (line) => this.#onLine(`resolvconf: ${line}`))
  }
}

/** Servers are those of an interface: that which leads to the peer. Ours come before those that it had, which stay. */
class Resolved implements Resolver {
  readonly place = 'via systemd-resolved'
  readonly #resolvectl: string
  readonly #scripts: Scripts
  readonly #onLine: OnLine
  /** What interfaces had before, while they have servers of ours. */
  readonly #before = new Map<string, readonly string[]>()

  constructor(resolvectl: string, scripts: Scripts, onLine: OnLine) {
    this.#resolvectl = resolvectl
    this.#scripts = scripts
    this.#onLine = onLine
  }

  async use(servers: readonly NameServer[]): Promise<string | null> {
    const byInterface = new Map<string, string[]>()
    for (const { address, interface: name } of servers) {
      if (name === null) return 'there is no interface that leads to the peer'
      byInterface.set(name, [...(byInterface.get(name) ?? []), address.toString()])
    }
    for (const [name, before] of this.#before) {
      if (byInterface.has(name)) continue
      this.#before.delete(name)
      const refused = await this.#set(name, before)
      if (refused !== null) return refused
    }
    for (const [name, ours] of byInterface) {
      const before = this.#before.get(name) ?? (await this.#serversOf(name))
      this.#before.set(name, before)
      const refused = await this.#set(name, [...ours, ...before.filter((server) => !ours.includes(server))])
      if (refused !== null) return refused
    }
    return null
  }

  /** `Link 2 (eth0): 192.0.2.53 2001:db8::53` */
  async #serversOf(name: string): Promise<readonly string[]> {
    const lines: string[] = []
    await this.#run('"$RESOLVECTL" dns "$LINK"', name, [], (line) => void lines.push(line))
    const found = lines.map((line) => /^Link \d+ \(.*\):(.*)$/.exec(line)?.[1]).find((servers) => servers !== undefined)
    return (found ?? '').split(' ').filter((server) => server !== '')
  }

  #set(name: string, servers: readonly string[]): Promise<string | null> {
    // Without any, an empty one says so.
    const command = 'set -- $SERVERS; [ $# -gt 0 ] || set -- ""; "$RESOLVECTL" dns "$LINK" "$@"'
    return this.#run(command, name, servers, (line) => this.#onLine(`resolvectl: ${line}`))
  }

  #run(command: string, name: string, servers: readonly string[], onLine: OnLine): Promise<string | null> {
    const variables = { RESOLVECTL: this.#resolvectl, LINK: name, SERVERS: servers.join(' ') }
    return this.#scripts.run({ command, variables }, onLine)
  }
}

class ResolvConf implements Resolver {
  readonly place: string
  readonly #file: string

  constructor(file: string) {
    this.#file = file
    this.place = `to ${file}`
    // What one of us left there that was killed leads nowhere.
    this.#rewrite([], true)
  }

  use(servers: readonly NameServer[]): Promise<string | null> {
    return Promise.resolve(this.#rewrite(servers, false))
  }

  #rewrite(servers: readonly NameServer[], onlyIfMarked: boolean): string | null {
    try {
      const text = readIfThere(this.#file)
      if (onlyIfMarked && !text.includes(MARK)) return null
      const others = text.split('\n').filter((line) => !line.endsWith(MARK))
      const ours = servers.map(({ address }) => `nameserver ${address.toString()}${MARK}`)
      replaceText(this.#file, [...ours, ...others].join('\n'))
      return null
    } catch (error) {
      return messageOf(error)
    }
  }
}

function readIfThere(file: string): string {
  const status = statSync(file, { throwIfNoEntry: false })
  if (status === undefined) return ''
  if (!status.isFile() || status.size > FILE_BYTES_MAX) throw new Error(`${file} is no resolv.conf`)
  return readFileSync(file, 'utf8')
}

/** A whole one is there at any time, unless it is mounted where it is: then it is written in place. What a link leads to stays that. */
function replaceText(file: string, text: string): void {
  const target = existsSync(file) ? realpathSync(file) : file
  const mode = statSync(target, { throwIfNoEntry: false })?.mode ?? 0o644
  const beside = `${target}.espalier`
  try {
    const descriptor = openSync(beside, 'w', mode & 0o777)
    try {
      writeFileSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(beside, target)
  } catch {
    rmSync(beside, { force: true })
    writeFileSync(target, text)
  }
}
