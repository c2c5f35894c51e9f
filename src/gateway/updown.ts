/**
 * Runs the commands of children (`updown`) when a CHILD_SA begins and when it ends; one that takes the place of another
 * is none that begins (strongSwan: updown_listener.c).
 *
 * What is run for the same traffic is run in order, a few at a time for all. Nobody waits for a command but the next
 * one: it may take its time, and a CHILD_SA carries packets meanwhile. One that has gone before its turn came is not
 * told of at all, so that what waits is bounded by the CHILD_SAs there are.
 */
import type { IpAddress } from '../base/ip.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import type { HostNetwork, Scripts } from '../ports.ts'
import { CALLS_MAX, exceedsCalls, updownCalls, type Variables } from './updown-environment.ts'

/** Commands that run at the same time. */
const PARALLEL_MAX = 4

/** strongSwan: where there is no way to the peer. */
const NO_INTERFACE = 'unknown'

/** A line of CHILD_SAs, each in the place of the one before. */
interface Tunnel {
  readonly command: string
  /** What is told of the same traffic is told in order. */
  readonly key: string
  readonly children: Set<ChildSa>
  interface: string | null
}

interface Job {
  readonly tunnel: Tunnel
  readonly verb: 'up' | 'down'
  readonly sa: IkeSa
  readonly child: string
  readonly local: IpAddress
  readonly remote: IpAddress
  readonly calls: readonly Variables[]
}

export class Updown {
  readonly #scripts: Scripts
  readonly #host: Pick<HostNetwork, 'interfaceTo'>
  readonly #settings: () => Pick<IkeSettings, 'runsUpdown' | 'updownHandlesNameServers'>
  readonly #report: (event: IkeEvent) => void
  readonly #tunnels = new Map<ChildSa, Tunnel>()
  #waiting: Job[] = []
  /** Keys of what runs. */
  readonly #running = new Set<string>()
  #idle: (() => void)[] = []

  constructor(
    scripts: Scripts,
    host: Pick<HostNetwork, 'interfaceTo'>,
    settings: () => Pick<IkeSettings, 'runsUpdown' | 'updownHandlesNameServers'>,
    report: (event: IkeEvent) => void,
  ) {
    this.#scripts = scripts
    this.#host = host
    this.#settings = settings
    this.#report = report
  }

  handle(event: IkeEvent): void {
    switch (event.event) {
      case 'child-established':
        return this.#begin(event.sa, event.child)
      case 'child-resumed':
        return void this.#know(event.child)
      case 'child-rekeyed':
        return this.#replace(event.old, event.child)
      case 'child-closed':
        return this.#end(event.sa, event.child)
      default:
    }
  }

  /** Resolves when nothing runs and nothing waits. */
  settled(): Promise<void> {
    if (this.#running.size === 0 && this.#waiting.length === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #begin(sa: IkeSa, child: ChildSa): void {
    const tunnel = this.#know(child)
    if (tunnel === null) return
    if (exceedsCalls(child))
      this.#tell(sa, child.connection.name, `it has too many selectors for its updown command: ${CALLS_MAX} pairs are told of`)
    this.#add(this.#job(tunnel, 'up', sa, child))
  }

  /** Null if there is no command for it. */
  #know(child: ChildSa): Tunnel | null {
    const command = child.connection.updown
    if (command === null || !this.#settings().runsUpdown) return null
    const tunnel: Tunnel = { command, key: child.claim, children: new Set([child]), interface: null }
    this.#tunnels.set(child, tunnel)
    return tunnel
  }

  #replace(old: ChildSa, child: ChildSa): void {
    const tunnel = this.#tunnels.get(old)
    if (tunnel === undefined) return
    tunnel.children.add(child)
    this.#tunnels.set(child, tunnel)
  }

  /** The last of its line: whichever that is, for what was to replace another may have gone before it. */
  #end(sa: IkeSa, child: ChildSa): void {
    const tunnel = this.#tunnels.get(child)
    if (tunnel === undefined) return
    this.#tunnels.delete(child)
    tunnel.children.delete(child)
    if (tunnel.children.size > 0) return
    const unbegun = this.#waiting.findIndex((job) => job.tunnel === tunnel)
    if (unbegun < 0) return this.#add(this.#job(tunnel, 'down', sa, child))
    this.#waiting.splice(unbegun, 1)
    this.#next()
  }

  #job(tunnel: Tunnel, verb: 'up' | 'down', sa: IkeSa, child: ChildSa): Job {
    const nameServers = this.#settings().updownHandlesNameServers ? sa.nameServers : []
    return {
      ...{ tunnel, verb, sa, child: child.connection.name },
      local: sa.local.address,
      remote: sa.remote.address,
      calls: updownCalls(sa, child, verb, nameServers),
    }
  }

  #add(job: Job): void {
    this.#waiting.push(job)
    this.#next()
  }

  #next(): void {
    while (this.#running.size < PARALLEL_MAX) {
      const at = this.#waiting.findIndex(({ tunnel }) => !this.#running.has(tunnel.key))
      if (at < 0) break
      const [job] = this.#waiting.splice(at, 1)
      const { key } = job!.tunnel
      this.#running.add(key)
      void this.#run(job!).then(() => {
        this.#running.delete(key)
        this.#next()
      })
    }
    if (this.#running.size > 0 || this.#waiting.length > 0) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #run({ tunnel, verb, sa, child, local, remote, calls }: Job): Promise<void> {
    // What comes down does so where it went up.
    if (verb === 'up') tunnel.interface = await this.#host.interfaceTo(local, remote)
    for (const variables of calls) {
      const failure = await this.#scripts.run(
        { command: tunnel.command, variables: { ...variables, PLUTO_INTERFACE: tunnel.interface ?? NO_INTERFACE } },
        (line) => this.#report({ event: 'script-said', sa, child, line }),
      )
      if (failure !== null) this.#tell(sa, child, `updown (${variables['PLUTO_VERB']}): ${failure}`)
    }
  }

  #tell(sa: IkeSa, child: string, sentence: string): void {
    this.#report({ event: 'script-trouble', sa, child, sentence })
  }
}
