/**
 * strongSwan's daemon as Debian ships it, here or in a later release, in a namespace of ours: a peer that was not written
 * by us.
 *
 * Any number run side by side. What charon keeps at fixed places is below /run, so each gets a /run of its own (the
 * mount namespace is `ip netns exec`'s); its control socket, configuration and log are in the test's directory.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'

import type { Host } from './network.ts'
import { type Daemon, eventually, type RunOptions } from './process.ts'
import { mountOf, swanctlCommand, type StrongswanVersion } from './strongswan.ts'

export interface CharonOptions {
  /** swanctl.conf: connections, secrets, pools. */
  readonly configuration: string
  /** strongswan.conf's settings within `charon { }`, for instance "retransmit_tries = 2". */
  readonly settings?: string
  /** More plugins than what IKEv2 with PSK, certificates or EAP and kernel IPsec take. */
  readonly plugins?: string
  /** Where ESP is done: in the kernel, or by charon itself (kernel-libipsec), always in UDP then, where the kernel has none. */
  readonly esp?: 'kernel' | 'userspace'
  /** Of the daemon and its swanctl; 'installed' unless told, or 6 if ESPALIER_STRONGSWAN says so of all that are not told. */
  readonly version?: StrongswanVersion
}

// In this order, which is also that of preference. Loading everything Debian has takes seconds in an emulated machine.
const PLUGINS =
  'random nonce x509 revocation constraints pubkey pkcs1 pkcs8 pem openssl curve25519 chapoly gcm kdf hmac cmac xcbc ' +
  'aes sha1 sha2 md5 ctr ccm kernel-netlink socket-default vici updown eap-identity eap-md5 eap-mschapv2 ' +
  'attr counters'

export class Charon {
  readonly host: Host
  readonly directory: string
  /** Of the control socket, to be given to clients. */
  readonly uri: string
  readonly logFile: string
  readonly #version: StrongswanVersion
  #daemon: Daemon

  private constructor(host: Host, directory: string, version: StrongswanVersion, daemon: Daemon) {
    this.host = host
    this.#version = version
    this.directory = directory
    this.uri = `unix://${directory}/charon.vici`
    this.logFile = `${directory}/charon.log`
    this.#daemon = daemon
  }

  /** Returns when the daemon has its configuration loaded. */
  static async start(host: Host, options: CharonOptions): Promise<Charon> {
    const directory = join(await host.lab.directory(), host.name)
    // Where swanctl looks for certificates and keys; tests put theirs there before they call reload().
    for (const name of ['x509', 'x509ca', 'private', 'rsa', 'ecdsa', 'pkcs8', 'conf.d']) {
      await mkdir(join(directory, 'swanctl', name), { recursive: true })
    }
    await writeFile(join(directory, 'strongswan.conf'), strongswanConf(directory, options))
    await writeFile(join(directory, 'swanctl/swanctl.conf'), options.configuration)

    const version = options.version ?? (process.env['ESPALIER_STRONGSWAN'] === '6' ? 6 : 'installed')
    const daemon = host.start(
      'sh',
      ['-c', `mount -t tmpfs -o mode=755 run /run && ${mountOf(version)} && exec /usr/sbin/charon-systemd`],
      environment(directory),
    )
    const charon = new Charon(host, directory, version, daemon)
    host.lab.tellIfFailed(`charon's log on ${host.name}`, () => charon.log())
    await eventually(`charon's control socket on ${host.name}`, async () => {
      if (!daemon.running) throw new Error(`charon ended on ${host.name}: ${daemon.lines.join('\n')}`)
      return (await accepts(`${directory}/charon.vici`)) ? true : undefined
    })
    await charon.reload()
    return charon
  }

  /** Writes swanctl.conf, to be loaded. */
  async configure(configuration: string): Promise<void> {
    await writeFile(join(this.directory, 'swanctl/swanctl.conf'), configuration)
  }

  /** Loads swanctl.conf (anew, if text is given) with everything it names. */
  async reload(configuration?: string): Promise<void> {
    if (configuration !== undefined) await this.configure(configuration)
    await this.swanctl('--load-all', '--noprompt')
  }

  /** Runs swanctl against this daemon; it must succeed. `charon.swanctl('--initiate', '--child', 'net')` */
  async swanctl(...args: string[]): Promise<string> {
    return await this.host.run(...swanctlCommand(this.#version, [...args, '--uri', this.uri]), this.swanctlOptions())
  }

  /** Initiates a CHILD_SA and, if there is none yet, its IKE_SA. Rejects when charon says it failed. */
  async initiate(child: string, timeoutSeconds = 60): Promise<string> {
    return await this.swanctl('--initiate', '--child', child, '--timeout', `${timeoutSeconds}`)
  }

  /** `swanctl --list-sas`, one line per SA property, for eyes and patterns. */
  async listSas(): Promise<string> {
    return await this.swanctl('--list-sas')
  }

  async log(): Promise<string> {
    return await readFile(this.logFile, 'utf8').catch(() => this.#daemon.lines.join('\n'))
  }

  /** The first line of the log that matches. */
  async waitForLog(pattern: RegExp, timeoutMs?: number): Promise<string> {
    const look = async (): Promise<string | undefined> => (await this.log()).split('\n').find((line) => pattern.test(line))
    return await eventually(`${String(pattern)} in charon's log on ${this.host.name}`, look, timeoutMs)
  }

  /** Ends the daemon in good order: it tells its peers. */
  async stop(): Promise<void> {
    await this.#daemon.stop('SIGTERM')
  }

  /** Ends it without a word, as a power failure would. What it put into the kernel stays. */
  async kill(): Promise<void> {
    await this.#daemon.stop('SIGKILL')
  }

  /** With which swanctl runs, wherever it does: it has settings of its own, in charon's directory. */
  swanctlOptions(): RunOptions {
    return { env: environment(this.directory), timeoutMs: 120_000 }
  }
}

function environment(directory: string): Record<string, string> {
  return { STRONGSWAN_CONF: `${directory}/strongswan.conf`, SWANCTL_DIR: `${directory}/swanctl` }
}

function strongswanConf(directory: string, options: CharonOptions): string {
  return `
charon {
  load = ${options.esp === 'userspace' ? PLUGINS.replace('kernel-netlink', 'kernel-libipsec kernel-netlink') : PLUGINS} ${options.plugins ?? ''}
  plugins {
    vici {
      socket = unix://${directory}/charon.vici
    }
  }
  filelog {
    log {
      path = ${directory}/charon.log
      flush_line = yes
      time_format = %H:%M:%S
      default = 1
      ike = 2
      cfg = 1
    }
  }
${options.settings ?? ''}
}
swanctl {
  load = pem pkcs1 pkcs8 x509 pubkey openssl random nonce
}
`
}

async function accepts(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
