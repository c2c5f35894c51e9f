/**
 * version: who answers here.
 */
import type { Handlers } from '../command.ts'
import { section } from '../message.ts'

export const daemonCommands: Handlers = {
  /** strongSwan: the keys and their order; the name is our own. */
  version: (_request, { operations: { daemon } }) =>
    section(
      ['daemon', 'espalier'],
      ['version', daemon.version],
      ['sysname', daemon.system.name],
      ['release', daemon.system.release],
      ['machine', daemon.system.machine],
    ),
}
