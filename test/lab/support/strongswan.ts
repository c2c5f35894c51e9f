/**
 * Which strongSwan a test talks to: the one that Debian has installed here, or strongSwan 6, which does ML-KEM and which
 * `scripts/setup --peers` unpacks, with all its libraries, into a directory of its own. The latter runs where that
 * directory is /usr: in a mount namespace of its own, so that this machine stays as it is.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

export type StrongswanVersion = 'installed' | 6

const usr = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'espalier/lab/strongswan6/usr')

/** For `skip` of a test that takes strongSwan 6: false, or what is missing. */
export const withoutStrongswan6: string | false = existsSync(join(usr, 'sbin/charon-systemd'))
  ? false
  : 'strongSwan 6 is not there: run scripts/setup --peers'

/** How to run `swanctl` of a version. There is no other program in that /usr: a shell there would find nothing. */
export function swanctlCommand(version: StrongswanVersion, args: readonly string[]): readonly [string, readonly string[]] {
  if (version === 'installed') return ['swanctl', args]
  return ['unshare', ['--mount', 'sh', '-c', `${mountOf(version)} && exec /usr/sbin/swanctl "$@"`, 'swanctl', ...args]]
}

/** For a shell in a mount namespace of its own, as its last command but an `exec`. */
export function mountOf(version: StrongswanVersion): string {
  return version === 'installed' ? 'true' : `mount --bind '${usr}' /usr`
}
