/**
 * The groups of the log.
 */

/** strongSwan's, in its order. Those nothing is told in are there for configurations and clients that name them. */
export const LOG_GROUPS = [
  'dmn',
  'mgr',
  'ike',
  'chd',
  'job',
  'cfg',
  'knl',
  'net',
  'asn',
  'enc',
  'tnc',
  'imc',
  'imv',
  'pts',
  'tls',
  'app',
  'esp',
  'lib',
] as const
export type LogGroup = (typeof LOG_GROUPS)[number]

/** The highest level of each group that is still told. */
export type LogLevels = Readonly<Record<LogGroup, number>>

export function logLevels(all: number): LogLevels {
  return Object.fromEntries(LOG_GROUPS.map((group) => [group, all])) as Record<LogGroup, number>
}
