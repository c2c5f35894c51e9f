/**
 * strongswan.conf's share of the configuration that is for the edges: which files and commands of this machine are used.
 */
import { EspalierError } from '../base/errors.ts'
import type { Report } from './check.ts'
import { isLoaded, pluginLayers, readFirst } from './plugins.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'

export interface SystemSettings {
  /** Where leases outlive the daemon: an absolute path, none at all, or wherever systemd has a directory for it. */
  readonly leaseFile: { readonly path: string } | 'none' | 'default'
  /** Where it is kept what of ours is in the kernel, for the next daemon (edge/state-file.ts). */
  readonly stateFile: { readonly path: string } | 'none' | 'default'
  /** Null: name servers that peers tell us are nobody's business. */
  readonly resolver: ResolverSettings | null
}

/** How this machine's resolver is told of name servers (strongSwan: charon.plugins.resolve). */
export interface ResolverSettings {
  /** As resolv.conf(5) has it. */
  readonly file: string
  /** A command in the manner of resolvconf(8), for the shell; null: whatever this machine has. */
  readonly resolvconf: string | null
  /** What resolvconf knows these servers by. */
  readonly interface: string
}

export const DEFAULT_SYSTEM_SETTINGS: SystemSettings = {
  leaseFile: 'default',
  stateFile: 'default',
  resolver: { file: '/etc/resolv.conf', resolvconf: null, interface: 'lo.ipsec' },
}

export function readSystem(root: ResolvedSection, report: Report): SystemSettings {
  const read = readFirst(['charon-systemd', 'charon'].map((name) => Values.of(root, name, report)))
  return {
    leaseFile: read<SystemSettings['leaseFile']>('lease_file', parseFile, DEFAULT_SYSTEM_SETTINGS.leaseFile),
    stateFile: read<SystemSettings['stateFile']>('state_file', parseFile, DEFAULT_SYSTEM_SETTINGS.stateFile),
    resolver: readResolver(root, report),
  }
}

function readResolver(root: ResolvedSection, report: Report): ResolverSettings | null {
  const layers = pluginLayers(root, 'resolve', report)
  const inner = readFirst(layers.flatMap((values) => values.sections((name) => name === 'resolvconf')))
  const { file, resolvconf, interface: name } = DEFAULT_SYSTEM_SETTINGS.resolver!
  const settings: ResolverSettings = {
    file: readFirst(layers)('file', parsePath, file),
    resolvconf: inner<string | null>('path', (text) => text || null, resolvconf),
    interface: inner('iface', parseInterface, name),
  }
  return isLoaded(layers) ? settings : null
}

function parseFile(text: string): SystemSettings['leaseFile'] {
  return text.toLowerCase() === 'none' ? 'none' : { path: parsePath(text) }
}

function parsePath(text: string): string {
  if (!text.startsWith('/') || text.includes('\0')) throw invalid(`expected an absolute path, not '${text}'`)
  return text
}

/** It stands in a command for the shell. */
function parseInterface(text: string): string {
  if (!/^[\w][\w.:@-]{0,63}$/.test(text)) throw invalid(`'${text}' is no name of an interface`)
  return text
}

function invalid(message: string): EspalierError {
  return new EspalierError('caller', 'VALUE_INVALID', message)
}
