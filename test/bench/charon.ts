/**
 * Debian's charon as the responder of the bench: pinned to a core, silent, with ESP of its own (kernel-libipsec), since
 * the kernel at hand may have none. Its settings are those of the espalier it is compared with: no cookies, no limits,
 * and what was replaced goes at once.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Host } from '../lab/support/network.ts'
import { eventually } from '../lab/support/process.ts'

const PROGRAM = '/usr/sbin/charon-systemd'
// kernel-libipsec comes first: it brings states and policies, kernel-netlink after it addresses and routes.
const PLUGINS =
  'random nonce openssl curve25519 kdf hmac aes sha1 sha2 pem pkcs1 pkcs8 x509 pubkey kernel-libipsec kernel-netlink socket-default vici'

const LOCAL_ADDRESS = '192.168.0.1/32'

/** What the hash tables of IKE_SAs are made of: Debian's default is one bucket and one lock for all. */
export interface CharonTables {
  readonly size: number
  readonly segments: number
}

export interface BenchCharon {
  readonly pid: number
  /** Of its control socket. */
  readonly uri: string
  readonly version: string
}

/** Returns when it has its configuration. */
export async function startCharon(
  host: Host,
  core: number,
  configuration: string,
  tables: CharonTables | null,
): Promise<BenchCharon> {
  const directory = join(await host.lab.directory(), host.name)
  await mkdir(directory, { recursive: true })
  const uri = `unix://${directory}/charon.vici`
  const environment = { STRONGSWAN_CONF: `${directory}/strongswan.conf`, SWANCTL_DIR: directory }
  await writeFile(environment.STRONGSWAN_CONF, strongswanConf(uri, tables))
  await writeFile(join(directory, 'swanctl.conf'), configuration)

  // A route to each peer's network gets a source address, which is one of the network behind us.
  await host.addressed('lo', LOCAL_ADDRESS)
  // What charon keeps at fixed places is below /run; this one gets a /run of its own.
  const command = `mount -t tmpfs -o mode=755 run /run && exec taskset --cpu-list ${core} ${PROGRAM}`
  const daemon = host.start('sh', ['-c', command], environment)
  const swanctl = async (...args: string[]): Promise<string> => host.run('swanctl', [...args, '--uri', uri], { env: environment })
  const version = await eventually(`charon's control socket`, async () => {
    if (!daemon.running) throw new Error(`charon ended: ${daemon.lines.join('\n')}`)
    const answer = await host.tryRun('swanctl', ['--version', '--daemon', '--uri', uri], { env: environment })
    return answer.status === 0 ? answer.stdout.trim() : undefined
  })
  await swanctl('--load-all', '--noprompt')
  // Thousands of tunnels are not taken down one by one for nobody.
  host.lab.atEnd(async () => daemon.stop('SIGKILL'))
  return { pid: daemon.pid, uri, version }
}

function strongswanConf(uri: string, tables: CharonTables | null): string {
  return `
charon {
  load = ${PLUGINS}
  dos_protection = no
  cookie_threshold = 0
  block_threshold = 0
  delete_rekeyed_delay = 0
  init_limit_half_open = 0
  ${tables === null ? '' : `ikesa_table_size = ${tables.size}\n  ikesa_table_segments = ${tables.segments}`}
  plugins {
    vici { socket = ${uri} }
    # Its own routes, one for each peer, are no news to it.
    kernel-netlink { roam_events = no }
  }
}
charon-systemd {
  journal { default = -1 }
}
swanctl { load = openssl random nonce pem pkcs1 pkcs8 x509 pubkey }
`
}
