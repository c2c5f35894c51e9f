/**
 * A line of the log: strongSwan's group and level (loudness, here), pino's level, the words, the facts beside them.
 */
import { logLevels, type LogGroup, type LogLevels } from '../config/log-groups.ts'

export { LOG_GROUPS, type LogGroup } from '../config/log-groups.ts'

/** pino's, the least first. */
export const LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LEVELS)[number]

/** strongSwan's level: 0 audit, 1 control, 2 detail, 3 raw. Nothing is raw here, and nothing is ever private (4). */
export type Loudness = 0 | 1 | 2 | 3

export interface Line {
  readonly group: LogGroup
  readonly loudness: Loudness
  readonly level: Level
  readonly message: string
  /** The IKE_SA it is about. */
  readonly ike: { readonly name: string; readonly uniqueId: number } | null
  readonly fields: Readonly<Record<string, unknown>>
}

/** How loud lines of a group may be and still be heard; -1 is silence. */
export type Loudnesses = LogLevels

/** The same for all groups, but for those named. */
export function loudnesses(all: number, others: Readonly<Partial<Loudnesses>> = {}): Loudnesses {
  return { ...logLevels(all), ...others }
}

/** What strongSwan logs unless it is told otherwise. */
export const DEFAULT_LOUDNESS = 1
