/**
 * Where leases of virtual addresses outlive this daemon: as configured, in the directory that systemd has for it, or in
 * the usual place.
 */
import { join } from 'node:path'

import type { SystemSettings } from '../config/system.ts'
import { LeaseFile, type OnTrouble } from '../edge/lease-file.ts'

const STATE_DIRECTORY = '/var/lib/espalier'

/** Null: they are not to. */
export function openLeaseStore(
  { leaseFile }: Pick<SystemSettings, 'leaseFile'>,
  environment: Readonly<Record<string, string | undefined>>,
  onTrouble: OnTrouble,
): LeaseFile | null {
  if (leaseFile === 'none') return null
  if (leaseFile !== 'default') return new LeaseFile(leaseFile.path, onTrouble)
  // systemd.exec(5): StateDirectory= may name several, with colons between them.
  const [given] = (environment['STATE_DIRECTORY'] ?? '').split(':')
  return new LeaseFile(join(given || STATE_DIRECTORY, 'leases'), onTrouble)
}
