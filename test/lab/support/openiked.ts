/**
 * OpenIKED, OpenBSD's daemon as Debian builds it for Linux, in a namespace of ours: a peer of another family. It cannot
 * be installed beside strongSwan; `scripts/setup --peers` unpacks it into a directory of its own.
 *
 * It gives up root for a user _iked and wants keys in /etc/iked even if it never uses any. So it gets an /etc of its own
 * that has nothing but these, in the mount namespace of `ip netns exec`, and this machine's stays as it is.
 */
import { generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

import type { Host } from './network.ts'
import type { Daemon } from './process.ts'

export interface OpenIkedOptions {
  /** iked.conf. */
  readonly configuration: string
  /** Of iked, for instance `-t`, which has it take every path for one with a NAT. */
  readonly args?: readonly string[]
}

const root = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'espalier/lab/openiked')

/** Nobody else has to have this number: only the kernel compares it, and no other process of this /etc knows a name. */
const USER = 64_500

export class OpenIked {
  readonly host: Host
  readonly daemon: Daemon
  readonly #socket: string

  private constructor(host: Host, daemon: Daemon, socket: string) {
    this.host = host
    this.daemon = daemon
    this.#socket = socket
  }

  /** Returns when the daemon has its configuration; an `active` policy of it is then on its way. */
  static async start(host: Host, options: OpenIkedOptions): Promise<OpenIked> {
    if (!existsSync(join(root, 'usr/sbin/iked'))) throw new Error('OpenIKED is not there: run scripts/setup --peers')
    const directory = join(await host.lab.directory(), host.name)
    const etc = join(directory, 'etc')
    for (const name of ['ca', 'certs', 'crls', 'private', 'pubkeys/fqdn', 'pubkeys/ipv4']) {
      await mkdir(join(etc, 'iked', name), { recursive: true })
    }
    await writeFile(join(etc, 'passwd'), `root:x:0:0::/root:/bin/sh\n_iked:x:${USER}:${USER}::/etc/iked/certs:/bin/false\n`)
    await writeFile(join(etc, 'nsswitch.conf'), 'passwd: files\n')
    const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    await writeFile(join(etc, 'iked/private/local.key'), key.privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 })
    await writeFile(join(etc, 'iked/local.pub'), key.publicKey.export({ type: 'spki', format: 'pem' }))
    // It reads no configuration that others may read.
    await writeFile(join(etc, 'iked.conf'), options.configuration, { mode: 0o600 })

    const socket = join(directory, 'iked.sock')
    const script = `mount --bind "$1" /etc && shift && exec "$0" "$@"`
    const command = [join(root, 'usr/sbin/iked'), etc, ...['-d', '-vv', '-s', socket], ...(options.args ?? [])]
    const iked = new OpenIked(host, host.start('sh', ['-c', script, ...command], await environment()), socket)
    host.lab.tellIfFailed(`OpenIKED's log on ${host.name}`, async () => iked.daemon.lines.join('\n'))
    await iked.daemon.waitFor(/config_getstatic: nattport/)
    return iked
  }

  /** Closes every IKE_SA with its peer, which the daemon does not do by itself when it ends. */
  async closeAll(): Promise<void> {
    await this.host.run(join(root, 'usr/sbin/ikectl'), ['-s', this.#socket, 'reset', 'sa'], { env: await environment() })
  }
}

/** Where the libraries are that were unpacked with it, and OpenSSL's providers: below a directory named after the processor. */
async function environment(): Promise<Record<string, string>> {
  const [libraries] = (await readdir(join(root, 'usr/lib'))).filter((name) => name.endsWith('-linux-gnu'))
  const path = join(root, 'usr/lib', libraries ?? '')
  return { LD_LIBRARY_PATH: path, OPENSSL_MODULES: join(path, 'ossl-modules') }
}
