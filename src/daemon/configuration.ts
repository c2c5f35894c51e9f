/**
 * Where the configuration is on this machine, and what becomes of its problems.
 */
import { join } from 'node:path'

import { loadConfiguration, loadSettings, type Configuration, type Loaded } from '../config/load.ts'
import { credentialWarnings } from '../config/credential-warnings.ts'
import { CredentialFiles } from '../config/credential-files.ts'
import type { LogSettings } from '../config/log.ts'
import { formatProblem } from '../config/problems.ts'
import { systemClock } from '../edge/clock.ts'
import { diskFiles } from '../edge/files.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { Line } from '../report/report.ts'

export interface ConfigurationPaths {
  readonly strongswanConf: string
  readonly swanctlDir: string
}

/** strongSwan's own variables and defaults, so that both read the same files. */
export function configurationPaths(environment: Readonly<Record<string, string | undefined>>): ConfigurationPaths {
  return {
    strongswanConf: environment['STRONGSWAN_CONF'] ?? '/etc/strongswan.conf',
    swanctlDir: environment['SWANCTL_DIR'] ?? '/etc/swanctl',
  }
}

export interface LoadedConfiguration {
  /** Null when there are errors. */
  readonly configuration: Configuration | null
  readonly lines: readonly Line[]
}

/** Reads everything; each problem is one line with its file and line number. */
export function readConfiguration(paths: ConfigurationPaths): LoadedConfiguration {
  const { configuration, errors, warnings } = loadConfiguration({ ...paths, files: diskFiles })
  const more = configuration === null ? [] : credentialWarnings(configuration, systemClock.wall())
  const sentences = [...warnings.map(formatProblem), ...more]
  return { configuration, lines: linesOf(errors.map(formatProblem), sentences) }
}

/** Reads everything, for who hands it on to a daemon: also the sections as they are written, and problems as they are found. */
export function readForClient(paths: ConfigurationPaths): Loaded {
  return loadConfiguration({ ...paths, files: diskFiles })
}

/** Certificates and keys in files, as they are now. */
export function credentialFiles({ swanctlDir }: ConfigurationPaths): CredentialFiles {
  return new CredentialFiles(swanctlDir, diskFiles)
}

/** Reads strongswan.conf alone; null when there are errors. */
export function readSettings(paths: ConfigurationPaths): {
  readonly settings: IkeSettings | null
  readonly log: LogSettings
  readonly lines: readonly Line[]
} {
  const { settings, log, errors, warnings } = loadSettings({ ...paths, files: diskFiles })
  return { settings, log, lines: linesOf(errors.map(formatProblem), warnings.map(formatProblem)) }
}

function linesOf(errors: readonly string[], warnings: readonly string[]): readonly Line[] {
  return [
    ...warnings.map((message): Line => ({
      group: 'cfg',
      loudness: 1,
      level: 'warn',
      message,
      ike: null,
      fields: { event: 'configuration-warning' },
    })),
    ...errors.map((message): Line => ({
      group: 'cfg',
      loudness: 1,
      level: 'error',
      message,
      ike: null,
      fields: { event: 'configuration-error' },
    })),
  ]
}

export function describeConfiguration(configuration: Configuration, paths: ConfigurationPaths): string {
  const { connections, secrets, credentials } = configuration
  const children = connections.reduce((sum, connection) => sum + connection.children.length, 0)
  const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`
  const from = join(paths.swanctlDir, 'swanctl.conf')
  const parts = [
    `${count(connections.length, 'connection')} with ${children} ${children === 1 ? 'child' : 'children'}`,
    count(secrets.filter(({ kind }) => kind === 'ike').length, 'pre-shared key'),
    ...(credentials.certificates.length === 0 ? [] : [count(credentials.certificates.length, 'certificate')]),
    ...(credentials.privateKeys.length === 0 ? [] : [count(credentials.privateKeys.length, 'private key')]),
  ]
  return `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)!} from ${from}`
}
