/** Packets seen on an interface, as tcpdump words them and, if asked for, as a file for other tools. */
import type { Daemon } from './process.ts'
import type { Host } from './network.ts'

export class Capture {
  readonly #tcpdump: Daemon

  private constructor(tcpdump: Daemon) {
    this.#tcpdump = tcpdump
  }

  /** Returns when tcpdump listens. The filter is in tcpdump's language, "udp port 4500"; `-X` as an argument shows bytes. */
  static async start(host: Host, interfaceName: string, filter: string, args: readonly string[] = []): Promise<Capture> {
    // Immediate: otherwise the last packets wait in a buffer that an end throws away.
    // Debian's tcpdump gives up root for a user who may write to no directory of ours, hence -Z.
    const tcpdump = host.start('tcpdump', [
      '-Z',
      'root',
      '--immediate-mode',
      '-l',
      '-n',
      '-tt',
      '-i',
      interfaceName,
      ...args,
      filter,
    ])
    await tcpdump.waitFor(/listening on/)
    return new Capture(tcpdump)
  }

  /** One line a packet so far, each beginning with the time in seconds. */
  get packets(): readonly string[] {
    return this.#tcpdump.lines.filter((line) => /^\d+\.\d+ /.test(line))
  }

  /** The first packet whose line matches. */
  async waitFor(pattern: RegExp, timeoutMs?: number): Promise<string> {
    return await this.#tcpdump.waitFor(pattern, timeoutMs)
  }

  async stop(): Promise<readonly string[]> {
    // tcpdump drains what the kernel has for it before it goes.
    await this.#tcpdump.stop('SIGINT')
    return this.packets
  }
}

/** Writes what passes an interface to a file in the pcap format, until the returned function is called. */
export async function recordPcap(host: Host, interfaceName: string, filter: string, path: string): Promise<() => Promise<void>> {
  const tcpdump = host.start('tcpdump', ['-Z', 'root', '-U', '-w', path, '-i', interfaceName, filter])
  await tcpdump.waitFor(/listening on/)
  return async () => await tcpdump.stop('SIGINT')
}
